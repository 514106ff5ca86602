//! Pending signals: taken from the kernel, because that is the only way to see them, and put back in the same order.
//!
//! rt_sigtimedwait(2) takes the signals of the thread first, then those of the process (kernel/signal.c, `dequeue_signal`). Which is which is in
//! `/proc/PID/task/TID/status`, as `SigPnd` and `ShdPnd`. Only the main thread may put back a signal of the process that kill(2) or the kernel has sent
//! (kernel/signal.c, `do_rt_sigqueueinfo`), so it is the one that takes them.

use crate::message::{Failure, Kind};
use crate::scratch::{Full, List, Scratch};
use crate::threads::STOP_SIGNAL;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use image::fields;
use image::format::{NONE, Pending, Thread};
use image::number::{take_decimal, take_hex};
use image::sender;
use sys::fd::{self, open_flag};
use sys::line::Line;
use sys::signal::{self, Info, bit, sig};
use sys::{Errno, process, thread};

/// Number of pending signals that can be saved.
const ROOM: usize = 1024;
/// What the kernel queues without counting it: one of each number for the thread, and for the process.
const UNCOUNTED: usize = 128;
/// The first queued signal; of the others one is pending at most.
const FIRST_QUEUED: u32 = 32;

/// What a thread is to take, as sets of signals.
#[derive(Clone, Copy, Default)]
pub struct Wanted {
    /// Those that are pending for the thread.
    pub own: u64,
    /// Those that are pending for the process.
    pub shared: u64,
    /// It takes the latter as well.
    pub takes_shared: bool,
}

impl Wanted {
    /// Whether there is any.
    pub fn any(&self) -> bool {
        self.own != 0 || self.takes_shared && self.shared != 0
    }
}

/// A signal that was taken.
#[derive(Clone, Copy)]
struct Taken {
    /// The thread that took it.
    by: u32,
    /// It was pending for the process.
    is_shared: bool,
    info: Info,
}

struct Queue(UnsafeCell<[Taken; ROOM]>);
// SAFETY: each entry is written by the thread that got its number from LEN, and read after all have stood still.
unsafe impl Sync for Queue {}

static QUEUE: Queue = Queue(UnsafeCell::new([Taken { by: 0, is_shared: false, info: [0; 128] }; ROOM]));
/// Number of entries.
static LEN: AtomicU32 = AtomicU32::new(0);
/// Why some could not be taken, or zero.
static ERRNO: AtomicI32 = AtomicI32::new(0);
/// The process that was saved.
static PID: AtomicU32 = AtomicU32::new(0);

/// Forgets what an earlier save has taken.
pub fn begin() {
    PID.store(process::pid(), Ordering::Relaxed);
    LEN.store(0, Ordering::Relaxed);
    ERRNO.store(0, Ordering::Relaxed);
}

/// Whether everything could be taken that was pending.
pub fn check() -> Result<(), Failure> {
    match ERRNO.load(Ordering::Acquire) {
        0 => Ok(()),
        errno => Err(Failure::Ask("rt_sigtimedwait", Errno::new(errno))),
    }
}

/// Takes a signal; none when none is pending.
fn next(set: u64) -> Option<(u32, Info)> {
    loop {
        match signal::take(set) {
            Ok(taken) => return Some(taken),
            Err(Errno::EINTR) => {}
            Err(errno) => {
                if errno != Errno::EAGAIN {
                    ERRNO.store(errno.into_raw(), Ordering::Release);
                }
                return None;
            }
        }
    }
}

fn taken() -> &'static [Taken] {
    let len = (LEN.load(Ordering::Acquire) as usize).min(ROOM);
    // SAFETY: entries below LEN are not written any more when somebody reads them.
    unsafe { (*QUEUE.0.get()).get(..len) }.unwrap_or_default()
}

/// Whether a signal can be pending for process `pid` or one of its threads: whether its user has any that are queued.
pub fn may_be_any(pid: u32) -> Result<bool, Failure> {
    let mut path = Line::<64>::new();
    path.text("/proc/").dec(u64::from(pid)).text("/status\0");
    status(path.as_bytes()).map(|status| status.queued != 0)
}

/// What is pending for thread `tid` of process `pid`. Called by the helper.
pub fn look(pid: u32, tid: u32) -> Result<Wanted, Failure> {
    let mut path = Line::<64>::new();
    path.text("/proc/").dec(u64::from(pid)).text("/task/").dec(u64::from(tid)).text("/status\0");
    let Status { own, shared, queued } = status(path.as_bytes())?;
    if own | shared != 0 && queued > (ROOM - UNCOUNTED) as u64 {
        return Err(Failure::Process(Kind {
            what: "too many pending signals (SigQ in /proc/PID/status)",
            advice: "save it when it has taken some",
        }));
    }
    Ok(Wanted { own, shared, takes_shared: false })
}

/// What `/proc/PID/status` tells of signals.
struct Status {
    own: u64,
    shared: u64,
    /// Of all processes of the user.
    queued: u64,
}

fn status(path: &[u8]) -> Result<Status, Failure> {
    const NAME: &str = "/proc/self/status";
    let from = fd::open_at(fd::AT_FDCWD, path, open_flag::RDONLY | open_flag::CLOEXEC, 0)
        .map_err(|errno| Failure::Proc(NAME, errno))?;
    let mut text = [0; 4096];
    let len = fd::read(from, &mut text);
    let _ = fd::close(from);
    let text = text.get(..len.map_err(|errno| Failure::Proc(NAME, errno))?).unwrap_or_default();
    let set = |name: &[u8]| fields::find(text, name).and_then(take_hex).map(|(set, _)| set);
    let (own, shared) = set(b"SigPnd:").zip(set(b"ShdPnd:")).ok_or(Failure::ProcText(NAME))?;
    let queued = fields::find(text, b"SigQ:").and_then(take_decimal).map_or(0, |(count, _)| count);
    Ok(Status { own, shared, queued })
}

/// Takes the signals of this thread.
pub fn take(tid: u32, wanted: Wanted) {
    let mut own = wanted.own;
    while own != 0 {
        let Some((number, info)) = next(own) else { break };
        if !add(tid, false, info) {
            return;
        }
        let is_in_both = wanted.shared & bit(number) != 0;
        // While all other threads stand still, a descriptor of ours disturbs nobody.
        let is_last = number < FIRST_QUEUED
            || is_in_both
                && status(b"/proc/thread-self/status\0").is_ok_and(|now| now.own & bit(number) == 0);
        if is_last {
            own &= !bit(number);
        }
    }
    if wanted.shared == 0 {
        return;
    }
    while let Some((_, info)) = next(wanted.shared) {
        if !add(tid, true, info) {
            return;
        }
    }
}

/// Takes what has become pending since the threads were asked; tells whether there was any. Called by the leader, when all others stand still: nobody sees
/// the descriptor.
pub fn take_late(tid: u32) -> bool {
    let others = !(bit(crate::config::get().signal) | bit(STOP_SIGNAL));
    let late = signal::pending().unwrap_or(0) & others;
    if late == 0 {
        return false;
    }
    // Timers and other processes signal the process, as a rule.
    let (own, shared) = status(b"/proc/thread-self/status\0")
        .map_or((0, late), |now| (now.own & others, now.shared & others));
    take(tid, Wanted { own, shared, takes_shared: true });
    true
}

/// Keeps a signal; false when there is no room for another one.
fn add(by: u32, is_shared: bool, info: Info) -> bool {
    let index = LEN.fetch_add(1, Ordering::AcqRel) as usize;
    let entry = Taken { by, is_shared, info };
    if index >= ROOM {
        // Only if somebody sends them faster than we look.
        put(&entry);
        return false;
    }
    // SAFETY: the number is ours alone, and below ROOM.
    unsafe { QUEUE.0.get().cast::<Taken>().add(index).write(entry) };
    true
}

/// Drops what writes of our own have raised in this thread: on a pipe without a reader, beyond the limit of file sizes. `before` is what was pending
/// before them.
pub fn drop_ours(before: u64) {
    let set = (bit(sig::PIPE) | bit(sig::XFSZ)) & !before;
    while set != 0 && signal::take(set).is_ok() {}
}

/// Puts back what thread `tid` has taken: called by the thread itself, in the process that was saved.
pub fn put_back(tid: u32) {
    taken().iter().filter(|entry| entry.by == tid).for_each(put);
}

/// Puts back what thread `old` had taken for itself: called by the thread that it has become after a restart. The restarter has done
/// it for the main thread and the process.
pub fn put_back_restarted(old: u32) {
    let (saved, pid) = (PID.load(Ordering::Relaxed), process::pid());
    for entry in taken().iter().filter(|entry| entry.by == old && !entry.is_shared && !is_ours(&entry.info)) {
        let mut entry = *entry;
        sender::rename(&mut entry.info, saved, pid);
        put(&entry);
    }
}

fn put(entry: &Taken) {
    let pid = process::pid();
    let number = number(&entry.info);
    // The queue has a limit for the user (RLIMIT_SIGPENDING); there was room a moment ago.
    for _ in 0..1000 {
        let result = if entry.is_shared {
            signal::queue_process(pid, number, &entry.info)
        } else {
            signal::queue_thread(pid, thread::tid(), number, &entry.info)
        };
        match result {
            Err(Errno::EAGAIN) => thread::yield_now(),
            // Only when the main thread has ended: the signal comes, its sender is us.
            Err(_) => return process::send(pid, number),
            Ok(()) => return,
        }
    }
}

fn number(info: &Info) -> u32 {
    image::plain::read::<u32>(info, 0).unwrap_or(0)
}

/// Whether a signal is one of ours, which a restarted process does not want: a second request to save, a call to stop.
fn is_ours(info: &Info) -> bool {
    let number = number(info);
    number == crate::config::get().signal || number == STOP_SIGNAL && crate::threads::is_call(info)
}

/// The table for the image.
pub fn table(scratch: &mut Scratch, threads: &[Thread]) -> Result<List<Pending>, Full> {
    let mut list = scratch.list();
    for entry in taken().iter().filter(|entry| !is_ours(&entry.info)) {
        let index = threads.iter().position(|thread| thread.tid == entry.by && !entry.is_shared);
        let thread = index.map_or(NONE, |index| index as u32);
        scratch.push(&mut list, Pending { thread, reserved: 0, info: entry.info })?;
    }
    Ok(list)
}
