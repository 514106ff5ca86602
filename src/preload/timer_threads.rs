//! The thread by which glibc carries out timers that start functions in threads (`SIGEV_THREAD` of timer_create(2)).
//!
//! glibc starts it for the first such timer, and keeps its id in a variable for the next ones: timer_create(3) would fail after a restart.
//! The variable has no name that could be looked up, but it stands beside the pthread_once_t of the start, in glibc's own data.

use crate::helper::Snapshot;
use crate::maps::Vma;
use image::format::Thread;
use image::owners::timer_thread;
use sys::memory::prot;

/// Data of a libc reaches this far behind its code at most, in bytes. A mapping of somebody else's may follow without a gap.
const REACH: u64 = 4 << 20;
/// Index of RIP in [`Thread::frame_registers`].
const RIP: usize = 16;

/// Tells `found` the address of each word that is the id of such a thread, and the index of the thread. The memory is read in place.
pub fn find(snapshot: &Snapshot, mut found: impl FnMut(u64, u32)) {
    for (index, thread) in snapshot.threads.iter().enumerate().filter(|(_, thread)| may_be_one(thread)) {
        for vma in libc_data(&snapshot.vmas, thread.frame_registers[RIP]) {
            for at in (vma.start..vma.end).step_by(8) {
                // SAFETY: the map says that the region can be read, and it is the process's own.
                let word = unsafe { (at as *const u64).read_volatile() };
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

/// The writable regions of the library whose code is at `ip`: those of its file behind the code, and the memory that follows them without a gap.
fn libc_data(vmas: &[Vma], ip: u64) -> impl Iterator<Item = &Vma> {
    const DATA: u32 = prot::READ | prot::WRITE;
    let behind = vmas.iter().skip_while(move |vma| vma.end <= ip || vma.start > ip);
    let code = behind.clone().next().copied().unwrap_or_default();
    let mut end = code.start;
    let library = behind.take_while(move |vma| {
        let is_same = (vma.dev, vma.ino) == (code.dev, code.ino) || vma.ino == 0;
        let follows = vma.start == end && is_same && vma.end - code.start <= REACH && code.ino != 0;
        end = vma.end;
        follows
    });
    library.filter(|vma| vma.shared == 0 && vma.prot & DATA == DATA)
}
