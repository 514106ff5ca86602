//! What happens in the restored libckpt before the program goes on: see "The resume contract" in ARCHITECTURE.md.

use crate::arrival::Arrival;
use core::sync::atomic::{AtomicU32, Ordering};
use sys::{memory, thread};

/// How often this line of processes was saved. Part of the image.
static GENERATION: AtomicU32 = AtomicU32::new(0);

/// The number of the save that begins now, from 1.
pub fn next_generation() -> u32 {
    GENERATION.fetch_add(1, Ordering::Relaxed).wrapping_add(1)
}

/// Called by `ckpt_resume` on the leader's stack.
pub extern "C" fn ckpt_resumed(arrival: &mut Arrival, index: u32, hole: u64, length: u64, threads: u32) {
    let _ = (index, threads, &arrival);
    tell_libc();
    crate::background::forget();
    crate::api::restarted();
    // SAFETY: the restarter has nothing but this mapping left, and nobody runs in it any more.
    let _ = unsafe { memory::munmap(hole, length) };
}

/// Writes the new thread id where libc keeps the old one.
fn tell_libc() {
    let tid = thread::tid();
    let old = SAVED_TID.load(Ordering::Relaxed);
    let address = SAVED_TID_ADDRESS.load(Ordering::Relaxed);
    // glibc clears the word behind the tid address when the thread ends, and keeps the tid there until then.
    if replace(address, old, tid) {
        return;
    }
    // musl's tid address is a lock; its thread structure, to which FS points, begins with its own address and has the tid at 48.
    let Ok(fs) = thread::fs_base() else { return };
    const MUSL_TID: u64 = 48;
    // SAFETY: a thread with an FS base has its thread structure there, in every libc of the ABI (the TLS variant II header).
    if fs != 0 && unsafe { *(fs as *const u64) } == fs {
        replace(fs + MUSL_TID, old, tid);
    }
}

use core::sync::atomic::AtomicU64;
static SAVED_TID: AtomicU32 = AtomicU32::new(0);
static SAVED_TID_ADDRESS: AtomicU64 = AtomicU64::new(0);

/// Notes what [`tell_libc`] will need, before the image is made.
pub fn remember(tid: u32, tid_address: u64) {
    SAVED_TID.store(tid, Ordering::Relaxed);
    SAVED_TID_ADDRESS.store(tid_address, Ordering::Relaxed);
}

/// Replaces the word at `address` if it is `old`; tells whether it was.
fn replace(address: u64, old: u32, new: u32) -> bool {
    if address == 0 || !address.is_multiple_of(4) {
        return false;
    }
    // SAFETY: the kernel was told to write to this address when the thread ends, or it is inside the thread structure.
    let word = unsafe { &*(address as *const AtomicU32) };
    word.compare_exchange(old, new, Ordering::Relaxed, Ordering::Relaxed).is_ok()
}
