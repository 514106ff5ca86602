//! The rseq(2) area of a thread: the kernel knows where it is, and tells nobody but a debugger. It does say whether a given one is registered.
//!
//! Where glibc has registered its own, one question is enough. Another one (of tcmalloc, librseq, or any program that turns glibc's off) is looked for where such areas
//! are, among the thread's own variables and those of the executable; one that is not found there cannot be restored.

use crate::config;
use crate::message::{Failure, Kind};
use sys::thread::{self, Rseq};
use sys::{Errno, memory};

unsafe extern "C" {
    static ckpt_rseq_offset: *const i64;
    static ckpt_rseq_size: *const u32;
}

/// `RSEQ_SIG` of x86-64, the signature that every library registers with.
const SIGNATURE: u32 = 0x5305_3053;
/// The length of the first version of `struct rseq`, which most register whatever they use of it. The kernel takes no shorter one.
const FIRST: u32 = 32;
/// Alignment of an area.
const ALIGNMENT: u64 = 32;
const PAGE: u64 = 4096;

/// The area of the calling thread, which has id `tid` and name `comm`; zeros when there is none.
pub fn area(fs_base: u64, tid: u32, comm: [u8; 16]) -> Result<Rseq, Failure> {
    let refuse = |what| {
        let advice = "let the libc register it (glibc 2.35 or newer does), or save with none registered";
        Err(Failure::Thread(tid, comm, Kind { what, advice }))
    };
    let of_libc = of_glibc(fs_base);
    let found = match of_libc.filter(|area| is_registered(*area)) {
        Some(area) => area,
        None => match any_registered() {
            Ok(false) => return Ok(Rseq::default()),
            Err(errno) => return Err(Failure::Ask("rseq", errno)),
            Ok(true) => match search(fs_base) {
                Some(area) => area,
                None => return refuse("an rseq(2) area, and the kernel does not tell where"),
            },
        },
    };
    if of_libc != Some(found) && thread::rseq(found, 0) != Err(Errno::EBUSY) {
        return refuse("an rseq(2) area with a signature that is not the usual one");
    }
    Ok(found)
}

/// Where glibc has an area for a thread.
fn of_glibc(fs_base: u64) -> Option<Rseq> {
    // SAFETY: the dynamic linker filled in the addresses of glibc's constants, or zero.
    let (offset, size) = unsafe { (ckpt_rseq_offset.as_ref()?, *ckpt_rseq_size.as_ref()?) };
    let address = fs_base.wrapping_add_signed(*offset);
    (size > 0).then_some(Rseq { address, len: size.max(FIRST), signature: SIGNATURE })
}

/// Whether this very area is registered for the calling thread.
fn is_registered(area: Rseq) -> bool {
    const UNREGISTER: u32 = 1;
    // The kernel compares address and length first, and then refuses because of the signature (kernel/rseq.c).
    let wrong = Rseq { signature: !area.signature, ..area };
    match thread::rseq(wrong, UNREGISTER) {
        Err(Errno::EPERM) => true,
        // That was its signature.
        Ok(()) => {
            let _ = thread::rseq(wrong, 0);
            true
        }
        Err(_) => false,
    }
}

/// Whether any area is registered for the calling thread.
fn any_registered() -> sys::Result<bool> {
    // No program has memory there, so that it cannot become registered now.
    let outside = Rseq { address: 1 << 63, len: FIRST, signature: SIGNATURE };
    match thread::rseq(outside, 0) {
        Err(Errno::EINVAL | Errno::EPERM | Errno::EBUSY) => Ok(true),
        Err(Errno::EFAULT | Errno::ENOSYS) | Ok(()) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Looks for the registered area: in the thread-local variables of programs and libraries that are there from the start, which are below the FS base
/// (psABI, TLS variant II), and in the variables of the executable.
fn search(fs_base: u64) -> Option<Rseq> {
    /// Bytes of thread-local variables that are looked at.
    const BELOW: u64 = 256 << 10;
    /// Longer versions of the area.
    const LENGTHS: [u32; 12] = [FIRST, 36, 40, 44, 48, 52, 56, 60, 64, 96, 128, 256];
    let mut left = 1 << 17;
    for len in LENGTHS {
        let thread = [fs_base.saturating_sub(BELOW), fs_base.saturating_add(PAGE)];
        if let Some(area) = search_in(thread, len, &mut left) {
            return Some(area);
        }
        let mut segment = 0;
        while let Some(range) = config::writable_segment(segment) {
            if let Some(area) = search_in(range, len, &mut left) {
                return Some(area);
            }
            segment += 1;
        }
    }
    None
}

/// Looks in `start..end`, with at most `left` questions to the kernel.
#[inline(never)] // the stack of a thread that has parked is small
fn search_in([start, end]: [u64; 2], len: u32, left: &mut u32) -> Option<Rseq> {
    const PIECE: usize = 512;
    let mut piece = start & !(PAGE - 1);
    let mut bytes = [0; PIECE];
    while piece < end {
        // SAFETY: nobody unmaps the variables of this thread or of the executable.
        let is_there = unsafe { memory::read(piece, &mut bytes) };
        let areas = bytes.chunks_exact(ALIGNMENT as usize).zip((piece..).step_by(ALIGNMENT as usize));
        for (words, address) in areas.filter(|_| is_there) {
            // The kernel keeps the number of the CPU in both words.
            let [first, second] = [0, 4].map(|at| image::plain::read::<u32>(words, at));
            const CPUS: u32 = 8192;
            if first != second || first.is_none_or(|cpu| cpu >= CPUS) {
                continue;
            }
            *left = left.checked_sub(1)?;
            let area = Rseq { address, len, signature: SIGNATURE };
            if is_registered(area) {
                return Some(area);
            }
        }
        piece += PIECE as u64;
    }
    None
}
