//! `NT_X86_XSTATE` in the one layout that every debugger knows.
//!
//! Where a register set lies in the XSAVE area is up to the CPU: AMD's puts the AVX-512 sets directly behind the AVX one. A core file
//! does not say so (before `NT_X86_XSAVE_LAYOUT` of Linux 6.12), and gdb 13 assumes the places that Intel's CPUs use. So the sets
//! are written there, whatever CPU they come from. Restarting does not use this note.

use image::write::{Full, Notes};
use sys::cpu;

/// Number of each register set in XCR0, and where debuggers look for it: AVX, the two of MPX, the three of AVX-512, PKRU, and the
/// two of AMX (Intel SDM volume 1, section 13.4; gdb's `i386_guess_xsave_layout`).
const PLACES: [(u32, usize); 9] =
    [(2, 576), (3, 960), (4, 1024), (5, 1088), (6, 1152), (7, 1664), (9, 2688), (17, 2752), (18, 2816)];
/// The two of AMX. gdb 13 knows their places but not their size: it warns of a note that has them, the kernel's own included.
const AMX: u64 = 1 << 17 | 1 << 18;
/// Where the first of them is.
const AMX_PLACE: usize = 2752;
/// `XSTATE_BV` in the XSAVE header: which sets are not in their initial state (Intel SDM volume 1, section 13.4.2).
const IN_USE: core::ops::Range<usize> = 512..520;
/// The FXSAVE area's bytes for software: in a frame they describe it, in a core file they hold XCR0.
const SOFTWARE: core::ops::Range<usize> = 464..512;
/// Size of the FXSAVE area and the XSAVE header.
const LEGACY: usize = 576;

/// Where the register sets of a process are: in the area of a signal frame, and in the note.
pub struct Sets {
    xcr0: u64,
    /// Place in the note, offset and size in the area, in bytes; zeros behind the last one.
    places: [(usize, usize, usize); PLACES.len()],
}

impl Sets {
    /// Asks the CPU, once for all threads: under a hypervisor each answer takes it some microseconds.
    pub fn new(xcr0: u64) -> Self {
        let mut places = [(0, 0, 0); PLACES.len()];
        let there = PLACES.iter().filter(|(number, _)| xcr0 >> number & 1 != 0);
        for (entry, &(number, place)) in places.iter_mut().zip(there) {
            let (offset, size) = cpu::xsave_place(number);
            *entry = (place, offset, size);
        }
        Self { xcr0, places }
    }
}

/// Appends the contents of the note, made from the register area of a signal frame. A thread that does not use AMX has no AMX sets in it.
pub fn push(notes: &mut Notes<'_>, area: &[u8], sets: &Sets) -> Result<(), Full> {
    let in_use =
        area.get(IN_USE).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes).ok_or(Full)?;
    let (xcr0, end) = if in_use & AMX == 0 { (sets.xcr0 & !AMX, AMX_PLACE) } else { (sets.xcr0, usize::MAX) };
    notes.push(area.get(..SOFTWARE.start).ok_or(Full)?)?;
    notes.push(&xcr0.to_le_bytes())?;
    notes.push(&[0; SOFTWARE.end - SOFTWARE.start - size_of::<u64>()])?;
    notes.push(area.get(SOFTWARE.end..LEGACY).ok_or(Full)?)?;
    let mut len = LEGACY;
    for &(place, offset, size) in sets.places.iter().take_while(|(place, ..)| *place != 0 && *place < end) {
        let Some(set) = area.get(offset..offset.saturating_add(size)) else { break };
        while len < place {
            let gap = (place - len).min(64);
            notes.push([0; 64].get(..gap).unwrap_or_default())?;
            len += gap;
        }
        notes.push(set)?;
        len += set.len();
    }
    Ok(())
}
