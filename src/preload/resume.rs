//! What happens in the restored libckpt before the program goes on: see "The resume contract" in ARCHITECTURE.md.

use crate::arrival::{Arrival, ckpt_entered, ckpt_released};
use core::sync::atomic::{AtomicU32, Ordering};
use image::format::Owner;
use image::owners::TID_MASK;
use sys::{memory, thread};

/// How often this line of processes was saved. Part of the image.
static GENERATION: AtomicU32 = AtomicU32::new(0);

/// The number of the save that begins now, from 1.
pub fn next_generation() -> u32 {
    GENERATION.fetch_add(1, Ordering::Relaxed).wrapping_add(1)
}

/// Called by `ckpt_resume` in the thread that led the save, on the leader's stack.
pub extern "C" fn ckpt_resumed(
    arrival: &mut Arrival,
    length: u64,
    hole: u64,
    threads: u32,
    owners: *const Owner,
    count: u64,
) {
    ckpt_thread_resumed(arrival, owners, count);
    crate::background::forget();
    crate::api::restarted();
    crate::threads::forget();
    sleep_until(|entered| entered + 1 >= threads);
    // SAFETY: the restarter has nothing but this mapping left, and no thread is in it any more: all others have entered libckpt.
    let _ = unsafe { memory::munmap(hole, length) };
    ckpt_released.store(1, Ordering::Release);
    thread::futex_wake(&ckpt_released, u32::MAX >> 1);
    // Until all have seen it: the next save takes it back, and would keep one here for good.
    sleep_until(|entered| entered == 0);
}

/// Sleeps until the number of threads that are in `ckpt_resume` is as it should be.
fn sleep_until(is_so: impl Fn(u32) -> bool) {
    loop {
        let entered = ckpt_entered.load(Ordering::Acquire);
        if is_so(entered) {
            return;
        }
        let _ = thread::futex_wait(&ckpt_entered, entered, 0);
    }
}

/// Called by `ckpt_resume` in each thread: its libc gets to know its new id.
pub extern "C" fn ckpt_thread_resumed(arrival: &mut Arrival, owners: *const Owner, count: u64) {
    let tid = thread::tid();
    tell_libc(arrival.tid_address, arrival.tid, tid);
    tell_locks(arrival, tid, owners, count);
    if arrival.index != 0 {
        crate::pending::put_back_restarted(arrival.tid);
    }
    if !arrival.leads() {
        crate::threads::redeliver(arrival);
    }
    crate::blocking::settle(arrival, true);
}

/// Before a save: nobody has come back from it yet.
pub fn prepare() {
    ckpt_entered.store(0, Ordering::Relaxed);
    ckpt_released.store(0, Ordering::Relaxed);
}

/// Writes the new thread id into the locks that the thread holds.
fn tell_locks(arrival: &Arrival, tid: u32, owners: *const Owner, count: u64) {
    for number in 0..count as usize {
        // SAFETY: the restarter passes that many, in the hole, at any alignment.
        let owner = unsafe { owners.add(number).read_unaligned() };
        if owner.thread != arrival.index || !owner.addr.is_multiple_of(4) {
            continue;
        }
        // SAFETY: the writer found the word inside a lock, in memory that was restored since.
        let word = unsafe { &*(owner.addr as *const AtomicU32) };
        let old = word.load(Ordering::Relaxed);
        if old & TID_MASK == arrival.tid {
            // Nobody else changes it: every thread of the process is here.
            word.store(old & !TID_MASK | tid, Ordering::Relaxed);
        }
    }
}

/// Writes the new thread id where libc keeps the old one.
fn tell_libc(address: u64, old: u32, tid: u32) {
    // glibc clears the word behind the tid address when the thread ends, and keeps the tid there until then. musl's is the lock of its list of threads,
    // which has the tid while the thread holds it.
    replace(address, old, tid);
    const MUSL_TID: u64 = 48;
    if let Some(fs) = crate::thread::of_musl() {
        replace(fs + MUSL_TID, old, tid);
    }
}

/// Replaces the word at `address` if it is `old`. There may be anything else there, or nothing: the kernel does not look at the address before the
/// thread ends, and takes no offence then.
fn replace(address: u64, old: u32, new: u32) {
    let mut found = [0; 4];
    // SAFETY: every thread of the process is in libckpt.
    let is_there = address.is_multiple_of(4) && unsafe { memory::read(address, &mut found) };
    // Memory that is not written to need not be writable.
    if is_there && u32::from_ne_bytes(found) == old {
        // SAFETY: aligned, there as long as no thread unmaps it, and its libc writes to it.
        let word = unsafe { &*(address as *const AtomicU32) };
        // Another value is left alone: musl has one word for all threads.
        let _ = word.compare_exchange(old, new, Ordering::Relaxed, Ordering::Relaxed);
    }
}
