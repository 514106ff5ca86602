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
/// The FXSAVE area's bytes for software: in a frame they describe it, in a core file they hold XCR0.
const SOFTWARE: core::ops::Range<usize> = 464..512;
/// Size of the FXSAVE area and the XSAVE header.
const LEGACY: usize = 576;

/// Appends the contents of the note, made from the register area of a signal frame.
pub fn push(notes: &mut Notes<'_>, area: &[u8], xcr0: u64) -> Result<(), Full> {
    notes.push(area.get(..SOFTWARE.start).ok_or(Full)?)?;
    notes.push(&xcr0.to_le_bytes())?;
    notes.push(&[0; SOFTWARE.end - SOFTWARE.start - size_of::<u64>()])?;
    notes.push(area.get(SOFTWARE.end..LEGACY).ok_or(Full)?)?;
    let mut len = LEGACY;
    for (number, place) in PLACES {
        if xcr0 >> number & 1 == 0 {
            continue;
        }
        let (offset, size) = cpu::xsave_place(number);
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
