//! The thread by which glibc carries out timers that start functions in threads (`SIGEV_THREAD` of timer_create(2)).
//!
//! glibc starts it for the first such timer, and keeps its id in a variable for the next ones: timer_create(3) would fail after a restart.
//! The variable has no name that could be looked up, but it stands beside the pthread_once_t of the start, in the data of the
//! library whose function the thread was started with.

use crate::helper::Snapshot;
use crate::maps::Vma;
use image::format::Thread;
use image::owners::timer_thread;
use sys::memory::prot;

/// Data of a libc reaches this far behind its code at most, in bytes. A mapping of somebody else's may follow without a gap.
const REACH: u64 = 4 << 20;
/// No struct pthread is larger, in bytes: it is what the thread pointer points to.
const DESCRIPTOR: u64 = 4096;

/// Tells `found` the address of each word that is the id of such a thread, and the index of the thread. The memory is read in place.
pub fn find(snapshot: &Snapshot, mut found: impl FnMut(u64, u32)) {
    for (index, thread) in snapshot.threads.iter().enumerate().filter(|(_, thread)| may_be_one(thread)) {
        let libraries = (0..snapshot.vmas.len()).filter(|at| started_in(&snapshot.vmas, *at, thread));
        for vma in libraries.flat_map(|code| libc_data(&snapshot.vmas, code)) {
            for (at, word) in words(vma, vma.start..vma.end) {
                if let Some(offset) = timer_thread(word, thread.tid) {
                    found(at + offset, index as u32);
                }
            }
        }
    }
}

/// Whether the thread blocks signal 32, which glibc lets nobody else do, and not 33.
fn may_be_one(thread: &Thread) -> bool {
    thread.sigmask >> 31 & 3 == 1
}

/// Whether the region is the code that holds the function that the thread was started with: glibc keeps its address in the thread's struct pthread.
/// Where the thread itself is tells nothing: it may be at work in the dynamic linker, or in the program's own malloc(3).
fn started_in(vmas: &[Vma], code: usize, thread: &Thread) -> bool {
    let Some(code) = vmas.get(code).filter(|vma| vma.prot & prot::EXEC != 0 && vma.ino != 0) else {
        return false;
    };
    let descriptor = thread.fs_base..thread.fs_base.saturating_add(DESCRIPTOR);
    let holds = vmas.iter().find(|vma| (vma.start..vma.end).contains(&descriptor.start));
    holds.is_some_and(|vma| words(vma, descriptor).any(|(_, word)| (code.start..code.end).contains(&word)))
}

/// The aligned words of a range, as far as the region has it and can be read, with their addresses.
fn words(vma: &Vma, range: core::ops::Range<u64>) -> impl Iterator<Item = (u64, u64)> {
    let end = if vma.prot & prot::READ == 0 { vma.start } else { vma.end.min(range.end) };
    let all = (vma.start.max(range.start).next_multiple_of(8)..end).step_by(8);
    // SAFETY: the map says that the region can be read, and it is the process's own.
    all.map(|at| (at, unsafe { (at as *const u64).read_volatile() }))
}

/// The writable regions of a library: those of its file behind its code, and the memory that follows them without a gap.
fn libc_data(vmas: &[Vma], code: usize) -> impl Iterator<Item = &Vma> {
    const DATA: u32 = prot::READ | prot::WRITE;
    let behind = vmas.iter().skip(code);
    let code = vmas.get(code).copied().unwrap_or_default();
    let mut end = code.start;
    let library = behind.take_while(move |vma| {
        let is_same = (vma.dev, vma.ino) == (code.dev, code.ino) || vma.ino == 0;
        let follows = vma.start == end && is_same && vma.end - code.start <= REACH && code.ino != 0;
        end = vma.end;
        follows
    });
    library.filter(|vma| vma.shared == 0 && vma.prot & DATA == DATA)
}
