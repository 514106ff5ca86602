//! What happens in the restored libckpt before the program goes on: see "The resume contract" in ARCHITECTURE.md.

use crate::arrival::{Arrival, ckpt_entered, ckpt_released};
use core::sync::atomic::{AtomicU32, Ordering};
use sys::{memory, thread};

/// How often this line of processes was saved. Part of the image.
static GENERATION: AtomicU32 = AtomicU32::new(0);

/// The number of the save that begins now, from 1.
pub fn next_generation() -> u32 {
    GENERATION.fetch_add(1, Ordering::Relaxed).wrapping_add(1)
}

/// Called by `ckpt_resume` in the thread that led the save, on the leader's stack.
pub extern "C" fn ckpt_resumed(arrival: &mut Arrival, length: u64, hole: u64, threads: u32) {
    ckpt_thread_resumed(arrival);
    crate::background::forget();
    crate::config::take_image_name();
    crate::api::restarted();
    crate::threads::forget();
    sleep_until(|entered| entered + 1 >= threads);
    // SAFETY: the restarter has nothing but this mapping left, and no thread is in it any more: all others have entered libckpt.
    let _ = unsafe { memory::munmap(hole, length) };
    ckpt_released.store(1, Ordering::Release);
    thread::futex_wake(&ckpt_released, u32::MAX >> 1);
    crate::api::tell_restart();
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

/// Called by `ckpt_resume` in each thread: it gets to know its new id.
pub extern "C" fn ckpt_thread_resumed(arrival: &mut Arrival) {
    tell(arrival, thread::tid());
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

/// Writes the new thread id where it is known that the old one stands, and nowhere else.
fn tell(arrival: &Arrival, new: u32) {
    let old = arrival.tid;
    if old == new {
        return;
    }
    // glibc clears the word behind the tid address when the thread ends, and keeps the tid there until then. musl's is the lock of its list of threads,
    // which has the tid while the thread holds it.
    replace(arrival.tid_address, old, new);
    if let Some(fs) = crate::thread::of_musl() {
        replace(fs + crate::evidence::MUSL_TID, old, new);
    }
    tell_robust(old, new);
}

/// The thread's robust mutexes, by the list that the kernel would walk if it ended (`struct robust_list_head`, include/uapi/linux/futex.h): their words have the id of the
/// thread that holds them.
fn tell_robust(old: u32, new: u32) {
    /// As far as the kernel walks (`ROBUST_LIST_LIMIT`): a list may be a circle.
    const LIMIT: usize = 2048;
    let Ok((head, _)) = thread::robust_list(0) else { return };
    let Some([first, offset, pending]) = words(head) else { return };
    let mut entry = first;
    for _ in 0..LIMIT {
        // Bit 0 says that the mutex inherits priority.
        let at = entry & !1;
        if at == head {
            break;
        }
        let Some([next]) = words(at) else { break };
        tell_mutex(at, offset, old, new);
        entry = next;
    }
    // One that the thread was about to put on the list, or to take off it.
    if pending != 0 {
        tell_mutex(pending & !1, offset, old, new);
    }
}

/// A mutex by its entry in a robust list: `offset` leads to its word.
fn tell_mutex(entry: u64, offset: u64, old: u32, new: u32) {
    /// In glibc's mutexes, the link is this far behind the word, and the owner, which is the same id once more, 8 bytes behind the word.
    const OF_GLIBC: u64 = -32_i64 as u64;
    let address = entry.wrapping_add(offset);
    if replace_id(address, old, new) && offset == OF_GLIBC {
        replace(address + 8, old, new);
    }
}

/// Aligned words of eight bytes at `address`, if there are any.
fn words<const N: usize>(address: u64) -> Option<[u64; N]> {
    let mut found = [[0; 8]; N];
    // SAFETY: every thread of the process is in libckpt.
    let is_there = address.is_multiple_of(8) && unsafe { memory::read(address, found.as_flattened_mut()) };
    (is_there && address != 0).then(|| found.map(u64::from_ne_bytes))
}

/// Replaces the word at `address` if it is `old`.
fn replace(address: u64, old: u32, new: u32) {
    change(address, |found| (found == old).then_some(new));
}

/// Replaces the id in the futex word at `address` if it is `old`; tells whether it was.
fn replace_id(address: u64, old: u32, new: u32) -> bool {
    /// `FUTEX_TID_MASK` (include/uapi/linux/futex.h).
    const ID: u32 = 0x3fff_ffff;
    change(address, |found| (found & ID == old).then_some(found & !ID | new))
}

/// Changes the word at `address` to what `becomes` says, if anything; tells whether it did. There may be anything else there, memory that cannot be written, or nothing: the kernel
/// does not look at such an address before the thread ends, and takes no offence then.
fn change(address: u64, becomes: impl Fn(u32) -> Option<u32>) -> bool {
    let mut found = [0; 4];
    // SAFETY: every thread of the process is in libckpt.
    let is_there = address.is_multiple_of(4) && unsafe { memory::read(address, &mut found) };
    let found = u32::from_ne_bytes(found);
    let Some(new) = becomes(found).filter(|_| is_there && thread::is_writable(address)) else { return false };
    // SAFETY: aligned, and the kernel says that it can be written; no thread of the process unmaps it now.
    let word = unsafe { &*(address as *const AtomicU32) };
    // Other processes may see it too.
    word.compare_exchange(found, new, Ordering::Relaxed, Ordering::Relaxed).is_ok()
}
