//! The threads of the process but the first, made before anything else, because their ids are wanted: they wait at a gate until the main thread
//! has built the process, and then become its threads.
//!
//! An id can be taken by somebody else at any moment. When that is found out, here, nothing has been done yet that cannot be left alone.

use crate::execute::Record;
use crate::exit::Result;
use core::arch::global_asm;
use core::mem::offset_of;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use image::number;
use image::read::Image;
use sys::memory::{map, prot};
use sys::process::CloneArgs;
use sys::{Errno, Sysno};

/// Where the threads wait.
#[repr(C)]
struct Gate {
    /// [`CLOSED`], [`OPEN`], or [`NOT_NEEDED`].
    state: AtomicU32,
    /// Threads that have not come through.
    outside: AtomicU32,
    /// Address of the executor.
    executor: AtomicU64,
    /// Address of the first [`Record`].
    records: AtomicU64,
}

const CLOSED: u32 = 0;
const OPEN: u32 = 1;
const NOT_NEEDED: u32 = 2;

/// There is one process to become.
static GATE: Gate = Gate {
    state: AtomicU32::new(CLOSED),
    outside: AtomicU32::new(0),
    executor: AtomicU64::new(0),
    records: AtomicU64::new(0),
};

global_asm!(
    include_str!("../asm/crew.s"),
    GATE_STATE = const offset_of!(Gate, state),
    GATE_EXECUTOR = const offset_of!(Gate, executor),
    GATE_RECORDS = const offset_of!(Gate, records),
    CLOSED = const CLOSED,
    OPEN = const OPEN,
    RECORD_SIZE = const size_of::<Record>(),
    FUTEX_WAIT = const 0,
    NR_FUTEX = const Sysno::futex as u32,
    NR_EXIT = const Sysno::exit as u32,
    NR_CLONE = const Sysno::clone as u32,
);

unsafe extern "C" {
    fn ckpt_crew_start(nr: u64, first: u64, second: u64, gate: *const Gate, index: u64) -> isize;
    fn ckpt_id_skip(flags: u64) -> isize;
}

/// CLONE_VM, FS, FILES, SIGHAND, THREAD, SYSVSEM (include/uapi/linux/sched.h).
const FLAGS: u64 = 0x100 | 0x200 | 0x400 | 0x800 | 0x10000 | 0x40000;
/// CLONE_VFORK: the caller waits until the other no longer uses the memory that both have.
const VFORK: u64 = 0x4000;

/// Which ids the threads get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ids {
    /// Whatever comes.
    New,
    /// Those of the image, by clone3(2) with `set_tid`.
    Set,
    /// Those of the image, by using up the numbers between them.
    Counted,
}

/// Why an id of the image was not to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// clone(2) or clone3(2) of the thread of this id failed.
    Refused(u32, Errno),
    /// Numbers have gone past this id.
    Passed(u32),
    /// It is so many numbers away that it would take too long.
    Far(u32),
}

/// A thread of the image: the order is that of the ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(C)]
struct Wanted {
    tid: u32,
    index: u32,
}

/// Threads that wait.
#[derive(Clone, Copy, Debug, Default)]
pub struct Crew {
    /// By index in THREADS, from the second thread on.
    ids: &'static [u32],
}

impl Crew {
    /// Makes the threads of `image`, in ascending order of their ids: where numbers come by themselves, they come in this order.
    ///
    /// # Errors
    ///
    /// The first id that cannot be had; no thread of those made before is left then. With [`Ids::New`], only what clone(2) says.
    pub fn start<'a>(image: &Image, ids: Ids) -> Result<'a, core::result::Result<Self, Lost>> {
        let threads = image.threads();
        let count = threads.len().saturating_sub(1);
        if count == 0 {
            return Ok(Ok(Self::default()));
        }
        let (wanted, made) = room(count)?;
        for ((slot, thread), index) in wanted.iter_mut().zip(threads.iter().skip(1)).zip(1..) {
            *slot = Wanted { tid: thread.tid, index };
        }
        if ids != Ids::New {
            sort(wanted);
        }
        GATE.state.store(CLOSED, Ordering::Release);
        GATE.outside.store(count as u32, Ordering::Relaxed);
        let mut last = if ids == Ids::Counted { last_id() } else { 0 };
        for one in wanted.iter() {
            match make(*one, ids, last) {
                Ok(tid) => {
                    last = tid;
                    if let Some(slot) = made.get_mut((one.index as usize).wrapping_sub(1)) {
                        *slot = tid;
                    }
                    if ids != Ids::New && tid != one.tid {
                        dismiss(made);
                        return Ok(Err(Lost::Passed(one.tid)));
                    }
                }
                Err(lost) => {
                    dismiss(made);
                    return Ok(Err(lost));
                }
            }
        }
        Ok(Ok(Self { ids: made }))
    }

    /// Ids of the threads from the second one on.
    pub fn ids(&self) -> &'static [u32] {
        self.ids
    }

    /// Sends the threads to the executor at `executor`, each with its one of `records`. When this returns, none of them is in the restarter's code any more.
    ///
    /// # Safety
    ///
    /// The executor is there, and the records are what it expects: they outlive the restarter.
    pub unsafe fn release(&self, executor: u64, records: u64) {
        if self.ids.is_empty() {
            return;
        }
        GATE.executor.store(executor, Ordering::Relaxed);
        GATE.records.store(records, Ordering::Relaxed);
        GATE.state.store(OPEN, Ordering::Release);
        sys::thread::futex_wake(&GATE.state, u32::MAX >> 1);
        while GATE.outside.load(Ordering::Acquire) != 0 {
            sys::thread::yield_now();
        }
    }
}

/// Address of the count that a thread takes itself off in the executor.
pub fn outside() -> u64 {
    &raw const GATE.outside as u64
}

/// Memory for `count` threads.
fn room<'a>(count: usize) -> Result<'a, (&'static mut [Wanted], &'static mut [u32])> {
    let len = count * (size_of::<Wanted>() + size_of::<u32>());
    let flags = map::PRIVATE | map::ANONYMOUS;
    // SAFETY: a new mapping, at an address of the kernel's choice.
    let start = unsafe { sys::memory::mmap(0, len as u64, prot::READ | prot::WRITE, flags, -1, 0) };
    let start = start.map_err(crate::probe::no_memory)?;
    // SAFETY: just mapped, zeros, aligned to pages; nobody unmaps it before the executor does.
    let wanted = unsafe { core::slice::from_raw_parts_mut(start as *mut Wanted, count) };
    let behind = start + (count * size_of::<Wanted>()) as u64;
    // SAFETY: as above, behind the first part.
    let made = unsafe { core::slice::from_raw_parts_mut(behind as *mut u32, count) };
    Ok((wanted, made))
}

/// Shell's sort: threads are nearly in order, and there may be thousands.
fn sort(wanted: &mut [Wanted]) {
    let mut gap = wanted.len() / 2;
    while gap > 0 {
        for end in gap..wanted.len() {
            let mut at = end;
            while let Some(before) = at.checked_sub(gap) {
                let [Some(low), Some(high)] =
                    [wanted.get(before), wanted.get(at)].map(Option::<&Wanted>::copied)
                else {
                    break;
                };
                if low <= high {
                    break;
                }
                for (place, value) in [(before, high), (at, low)] {
                    if let Some(slot) = wanted.get_mut(place) {
                        *slot = value;
                    }
                }
                at = before;
            }
        }
        gap /= 2;
    }
}

/// Makes one thread. `last` is the number that was given out last.
fn make(one: Wanted, ids: Ids, last: u32) -> core::result::Result<u32, Lost> {
    if ids == Ids::Counted {
        reach(one.tid, last)?;
    }
    let set_tid = one.tid;
    let args = CloneArgs {
        flags: FLAGS,
        set_tid: &raw const set_tid as u64,
        set_tid_size: 1,
        ..CloneArgs::default()
    };
    let (nr, first, second) = match ids {
        Ids::Set => (Sysno::clone3, &raw const args as u64, size_of::<CloneArgs>() as u64),
        Ids::New | Ids::Counted => (Sysno::clone, FLAGS, 0),
    };
    let mut tries = 0;
    loop {
        // SAFETY: the thread uses no memory but the gate, before it is let through; every signal is blocked.
        let id = unsafe { ckpt_crew_start(nr as u64, first, second, &raw const GATE, u64::from(one.index)) };
        if id >= 0 {
            return Ok(id as u32);
        }
        let errno = Errno::new(-id as i32);
        tries += 1;
        // An id stays in use for some microseconds after the thread that had it is gone for all to see.
        if errno != Errno::EEXIST || tries == TRIES || tries > 1 && sys::process::exists(one.tid) {
            return Err(Lost::Refused(one.tid, errno));
        }
        sys::thread::yield_now();
    }
}

/// As long as any thread may take to end.
const TRIES: usize = 10_000;

/// Lets threads end that nobody needs, and waits until they have.
fn dismiss(made: &mut [u32]) {
    GATE.state.store(NOT_NEEDED, Ordering::Release);
    sys::thread::futex_wake(&GATE.state, u32::MAX >> 1);
    for id in made {
        while *id != 0 && sys::process::exists(*id) {
            sys::thread::yield_now();
        }
        *id = 0;
    }
}

/// Nanoseconds that may be spent on numbers that nobody wants.
const MOST_NS: u64 = 1_000_000_000;
/// What one of them takes at the very least: those that are further away are not tried.
const LEAST_NS: u64 = 5_000;
/// So many are used up before it is known what they take.
const SAMPLE: u32 = 64;

/// Sees that the next process or thread of this PID namespace gets the number `id`, unless somebody else takes it first. `last` is the number that was
/// given out last, as far as is known.
///
/// # Errors
///
/// When numbers have gone past it, or it is too far away.
pub fn reach(id: u32, last: u32) -> core::result::Result<(), Lost> {
    let begin = now();
    let (mut before, mut done) = (last, 0u32);
    while before != id.wrapping_sub(1) {
        if before >= id {
            return Err(Lost::Passed(id));
        }
        if done == 0 && leap(id - 1) {
            return Ok(());
        }
        let left = u64::from(id - before);
        let spent = now().saturating_sub(begin);
        let each = if done < SAMPLE { LEAST_NS } else { spent / u64::from(done) };
        if spent.saturating_add(each.saturating_mul(left)) > MOST_NS {
            return Err(Lost::Far(id));
        }
        let next = skip().map_err(|errno| Lost::Refused(id, errno))?;
        // Behind the highest number they start again from below.
        if next <= before {
            return Err(Lost::Passed(id));
        }
        before = next;
        done += 1;
    }
    Ok(())
}

/// Whether the number `id` is ahead, and may be reached in time, when `last` is the one that was given out last.
///
/// # Errors
///
/// As [`reach`].
pub fn is_near(id: u32, last: u32) -> core::result::Result<(), Lost> {
    match id.checked_sub(last) {
        None | Some(0) => Err(Lost::Passed(id)),
        Some(left) if u64::from(left) * LEAST_NS > MOST_NS => Err(Lost::Far(id)),
        Some(_) => Ok(()),
    }
}

/// The number that was given out last in this PID namespace; where that cannot be read, a number that was given out.
pub fn last_id() -> u32 {
    let mut text = [0u8; 128];
    crate::probe::proc_text(b"/proc/loadavg\0", &mut text)
        .and_then(|text| number::decimal(text.trim_ascii_end().rsplit(|byte| *byte == b' ').next()?))
        .and_then(|number| u32::try_from(number).ok())
        .unwrap_or_else(sys::process::pid)
}

/// Nanoseconds of CLOCK_MONOTONIC.
fn now() -> u64 {
    let [sec, frac] = sys::time::now(sys::time::clock::MONOTONIC);
    (sec as u64).wrapping_mul(1_000_000_000).wrapping_add(frac as u64)
}

/// Uses up a number, and says which.
fn skip() -> sys::Result<u32> {
    // SAFETY: the thread uses no memory at all.
    let id = unsafe { ckpt_id_skip(FLAGS | VFORK) };
    if id < 0 { Err(Errno::new(-id as i32)) } else { Ok(id as u32) }
}

/// Makes `last` the number that was given out last, where that may be set (CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN over the PID namespace).
fn leap(last: u32) -> bool {
    let mut text = sys::line::Line::<16>::new();
    text.dec(u64::from(last));
    crate::probe::write_proc(c"/proc/sys/kernel/ns_last_pid", text.as_bytes()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_sorted_by_their_ids() {
        let ids = [7, 3, 9, 1, 8, 2, 2, 100, 5, 4];
        let mut wanted: Vec<_> =
            ids.iter().zip(1..).map(|(tid, index)| Wanted { tid: *tid, index }).collect();
        let mut sorted = wanted.clone();
        sorted.sort();
        sort(&mut wanted);
        assert_eq!(wanted, sorted);
    }
}
