//! Stopping the other threads of the target, and letting them go.
//!
//! The leader makes slots and says that it gathers; then the helper lists `/proc/PID/task`, sends each thread a signal, and waits until the threads
//! that are listed are the ones that are parked. New ones are found by listing again; ones that end are no longer listed.
//!
//! The signal is 33. libcs keep it to themselves (glibc for setuid(2) in all threads, musl for cancellation) and never let a program block it,
//! so that threads which block "every" signal take this one. Its action is ours during the gathering only. A thread that
//! gets the libc's own signal 33 meanwhile sends it to itself again when it goes on.
//!
//! A thread in the middle of execve(2) takes no signal any more, and one that is pending would end the new program, which has no handler for it. But
//! execve(2) drops pending signals of timers (fs/exec.c, `flush_itimer_signals`), so ours says that it is one. It must be sent before the new program
//! has begun, of course. Until then the id of the thread is another one, unless that is the first thread: so that one is called by the
//! leader. Before execve(2) comes so far all other threads have ended (`de_thread`), and the leader has not, as it is calling.

use crate::alike::Answers;
use crate::arrival::{
    Arrival, SLOT_SHIFT, ckpt_gathering, ckpt_inside, ckpt_leader, ckpt_restorer, ckpt_slot_base, ckpt_slots,
    ckpt_stop, ckpt_taken,
};
use crate::message::{Failure, ThreadTrouble};
use crate::pending::Wanted;
use crate::process::proc_has_number;
use crate::report;
use crate::thread::OwnState;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use image::number::take_decimal;
use image::stat::Stat;
use sys::fd::{self, open_flag};
use sys::line::Line;
use sys::memory::{self, map, prot};
use sys::process::Shared;
use sys::signal::{self, Action, Info, sa};
use sys::{Errno, process, thread};

/// The signal that stops threads.
pub const STOP_SIGNAL: u32 = 33;
/// How long threads may take to stop, in nanoseconds: they are refused by name then.
const PATIENCE: u64 = 2_000_000_000;
/// Marks our own signal 33 in its `si_value`.
const MARK: u64 = 0x544f_5053_5450_4b43;

/// A parked thread: the end of its slot. The stack is below, so that one page does for both as a rule.
#[repr(C, align(64))]
pub struct Slot {
    /// Its arrival; null as long as it is on its way.
    pub arrival: *const Arrival,
    /// What it asked the kernel about itself.
    pub own: OwnState,
    /// What it says of itself that must be the same in all threads.
    pub answers: Answers,
    /// Set when the fields above are.
    parked: AtomicU32,
    /// 1 while there is a question about its signals.
    asked: AtomicU32,
    /// Signals that it is to take: its own, those of the process, and whether it takes these.
    wanted: [AtomicU64; 3],
}
const _: () = assert!(size_of::<Slot>() < 1024);

impl Slot {
    /// Has the thread take signals.
    pub fn ask(&self, wanted: Wanted) {
        let [own, shared, takes_shared] = &self.wanted;
        own.store(wanted.own, Ordering::Relaxed);
        shared.store(wanted.shared, Ordering::Relaxed);
        takes_shared.store(wanted.takes_shared.into(), Ordering::Relaxed);
        self.asked.store(1, Ordering::Release);
    }

    /// What the thread is asked, if it is.
    pub fn question(&self) -> Option<Wanted> {
        if !self.is_asked() {
            return None;
        }
        let [own, shared, takes_shared] = self.wanted.each_ref().map(|word| word.load(Ordering::Relaxed));
        Some(Wanted { own, shared, takes_shared: takes_shared != 0 })
    }

    /// Whether it has not answered yet.
    pub fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Acquire) != 0
    }

    /// Says that the signals are taken.
    pub fn answered(&self) {
        self.asked.store(0, Ordering::Release);
        thread::futex_wake(&self.asked, 1);
    }

    /// Sleeps for the answer. Without a limit: a futex that has one and is interrupted (SIGSTOP, a freezer) would be what restart_syscall(2) continues.
    pub fn wait_for_answer(&self) {
        let _ = thread::futex_wait(&self.asked, 1, 0);
    }
}

/// The threads that a save has stopped.
///
/// One mapping: the ids of parked threads by slot, the ids of signalled ones, whether all have left, and the slots from the next page on.
pub struct Gathering {
    base: u64,
    slots: u32,
    /// What signal 33 did before.
    pub action: Action,
    /// What the leader says of itself.
    pub leader: Answers,
    /// A tracer stops the threads: nobody is signalled.
    entered: bool,
}

/// Offset of the word that says whether all have left, in bytes.
fn left_at(slots: u32) -> u64 {
    u64::from(slots) * 8
}

/// Offset of the slots in the mapping, in bytes.
fn tables_len(slots: u32) -> u64 {
    (left_at(slots) + size_of::<AtomicU32>() as u64).next_multiple_of(4096)
}

/// Number of threads of this process, without a descriptor: `/proc/self/task` has a link for each, and two of its own.
pub fn count() -> Result<u32, Failure> {
    count_in(b"/proc/self/task\0").map_err(|errno| Failure::Proc("/proc/self/task", errno))
}

fn count_in(path: &[u8]) -> sys::Result<u32> {
    fd::stat_at(fd::AT_FDCWD, path, true).map(|stat| (stat.nlink as u32).saturating_sub(2).max(1))
}

impl Gathering {
    /// Called by the leader, thread `tid` of `threads`: from now on whoever arrives parks. `entered` says that a tracer has stopped the others.
    pub fn begin(tid: u32, threads: u32, entered: bool) -> Result<Self, Failure> {
        // Some may be born before all have stopped.
        let slots = threads.saturating_mul(2).saturating_add(64);
        let len = tables_len(slots) + (u64::from(slots) << SLOT_SHIFT);
        // Shared, so that it has an inode of its own and never merges with the program's memory.
        let flags = map::SHARED | map::ANONYMOUS | map::NORESERVE;
        // SAFETY: a new mapping, at an address of the kernel's choice.
        let base = unsafe { memory::mmap(0, len, prot::READ | prot::WRITE, flags, -1, 0) }
            .map_err(Failure::Scratch)?;
        let action = signal::action(STOP_SIGNAL).unwrap_or_default();
        let this = Self { base, slots, action, leader: Answers::of_leader(tid, threads), entered };
        let ours = Action {
            handler: ckpt_stop as *const () as usize,
            flags: sa::SIGINFO | sa::RESTORER | sa::ONSTACK | sa::RESTART,
            restorer: ckpt_restorer as *const () as usize,
            mask: u64::MAX,
        };
        ckpt_slot_base.store(base + tables_len(slots), Ordering::Relaxed);
        ckpt_slots.store(slots, Ordering::Relaxed);
        ckpt_taken.store(0, Ordering::Relaxed);
        ckpt_gathering.store(1, Ordering::SeqCst);
        // Whoever found the lock taken and has not looked at `ckpt_gathering` yet will, because the value it sleeps on is gone.
        ckpt_leader.store(1, Ordering::SeqCst);
        thread::futex_wake(&ckpt_leader, u32::MAX >> 1);
        if entered {
            crate::entered::gathers();
            return Ok(this);
        }
        // SAFETY: `ckpt_stop` keeps everything that it interrupts.
        if let Err(errno) = unsafe { signal::set_action(STOP_SIGNAL, &ours) } {
            this.end(false);
            return Err(Failure::Ask("rt_sigaction", errno));
        }
        let pid = process::pid();
        if let Some(first) = this.called_ids().first()
            && tid != pid
        {
            first.store(pid, Ordering::Relaxed);
            send(pid, pid);
        }
        Ok(this)
    }

    /// The addresses that it occupies.
    pub fn range(&self) -> (u64, u64) {
        (self.base, self.base + tables_len(self.slots) + (u64::from(self.slots) << SLOT_SHIFT))
    }

    /// The threads that are parked.
    pub fn parked(&self) -> impl Iterator<Item = &Slot> {
        let taken = ckpt_taken.load(Ordering::Acquire).min(self.slots);
        (0..taken).map(|index| self.slot(index)).filter(|slot| slot.parked.load(Ordering::Acquire) != 0)
    }

    fn slot(&self, index: u32) -> &Slot {
        let next = self.base + tables_len(self.slots) + ((u64::from(index) + 1) << SLOT_SHIFT);
        let at = next - size_of::<Slot>() as u64;
        // SAFETY: the mapping starts as zeros, which is a `Slot` that nobody has taken; it lives as long as `self`. Only its thread writes what is no atomic,
        // through a pointer, and before it says that it is parked; others read that later.
        unsafe { &*(at as *const Slot) }
    }

    /// Ids of parked threads by slot, zero where nobody has parked.
    fn parked_ids(&self) -> &[AtomicU32] {
        let taken = ckpt_taken.load(Ordering::Acquire).min(self.slots);
        // SAFETY: the first part of the mapping, which starts as zeros and lives as long as `self`.
        unsafe { core::slice::from_raw_parts(self.base as *const AtomicU32, taken as usize) }
    }

    /// Ids of signalled threads, zero behind the last one. The leader begins it, and the helper goes on.
    fn called_ids(&self) -> &[AtomicU32] {
        let start = self.base + u64::from(self.slots) * 4;
        // SAFETY: the second part of the mapping, likewise.
        unsafe { core::slice::from_raw_parts(start as *const AtomicU32, self.slots as usize) }
    }

    /// 1 when the threads have left.
    fn left(&self) -> &AtomicU32 {
        // SAFETY: the third part of the mapping, which lives as long as `self`.
        unsafe { &*((self.base + left_at(self.slots)) as *const AtomicU32) }
    }

    /// Called by the writer, in its copy of the process: lets the threads have the CPUs first, as long as that takes no time worth mentioning.
    pub fn wait_until_left(&self) {
        const PATIENCE: u64 = 20_000_000;
        let _ = thread::futex_wait(self.left(), 0, PATIENCE);
    }

    /// Called by the helper: stops every thread of `pid` but `leader`.
    pub fn stop(&self, pid: u32, leader: u32) -> Result<(), Failure> {
        // The threads of another process would be found instead.
        if !proc_has_number(process::pid()) {
            return Err(Failure::Threads(ThreadTrouble::Unseen));
        }
        let mut path = Line::<32>::new();
        path.text("/proc/").dec(u64::from(pid)).text("/task\0");
        let deadline = report::now() + PATIENCE;
        // The leader may have called the first thread.
        let mut called = self.called_ids().iter().take_while(|id| id.load(Ordering::Relaxed) != 0).count();
        loop {
            if ckpt_taken.load(Ordering::Acquire) > self.slots {
                return Err(Failure::Threads(ThreadTrouble::TooMany));
            }
            let Some(missing) = self.call(path.as_bytes(), pid, leader, &mut called)? else { return Ok(()) };
            if report::now() >= deadline {
                return Err(name(pid, missing));
            }
            wait(called as u32);
            // The parked ones do not end: when there are no more than these and the leader, nobody is left who could start another one.
            let standing = 1 + PARKED.load(Ordering::SeqCst);
            if count_in(path.as_bytes()) == Ok(standing) {
                return Ok(());
            }
        }
    }

    /// Signals every thread in the directory `tasks` that is not parked, once; returns one that is not parked, if there is one.
    fn call(&self, tasks: &[u8], pid: u32, leader: u32, called: &mut usize) -> Result<Option<u32>, Failure> {
        const NAME: &str = "/proc/self/task";
        let flags = open_flag::RDONLY | open_flag::DIRECTORY | open_flag::CLOEXEC;
        let dir = match fd::open_at(fd::AT_FDCWD, tasks, flags, 0) {
            Ok(dir) => dir,
            Err(Errno::ENOENT | Errno::ESRCH) => return Err(Failure::Threads(ThreadTrouble::Ending)),
            Err(errno) => return Err(Failure::Proc(NAME, errno)),
        };
        // A thread may have called execve(2): then the others belong to a new program, or to none.
        if !matches!(
            process::share(Shared::Memory, leader, thread::tid()),
            Ok(true) | Err(Errno::EPERM | Errno::ENOSYS)
        ) {
            let _ = fd::close(dir);
            return Err(Failure::Threads(ThreadTrouble::Ending));
        }
        let (mut parked_before, mut called_before) = (0, 0);
        let mut missing = None;
        let mut buf = [0u8; 8192];
        let result = loop {
            let len = match fd::read_dir(dir, &mut buf) {
                Ok(0) => break Ok(()),
                Ok(len) => len,
                Err(errno) => break Err(Failure::Proc(NAME, errno)),
            };
            for name in fd::dir_names(buf.get(..len).unwrap_or_default()) {
                let Some((tid, _)) = take_decimal(name) else { continue };
                let tid = tid as u32;
                if tid == leader || is_among(self.parked_ids(), tid, &mut parked_before) {
                    continue;
                }
                missing = Some(tid);
                if is_among(self.called_ids().get(..*called).unwrap_or_default(), tid, &mut called_before) {
                    continue;
                }
                if let Some(slot) = self.called_ids().get(*called) {
                    slot.store(tid, Ordering::Relaxed);
                    *called += 1;
                    if !self.entered {
                        send(pid, tid);
                    }
                }
            }
        };
        let _ = fd::close(dir);
        result.map(|()| missing)
    }

    /// Called by the leader: lets everybody go, and waits until nobody needs the slots. `all_stopped` says that no signal of ours
    /// is on its way any more.
    pub fn end(self, all_stopped: bool) {
        // A signal that nobody took yet would meet the old action. A libc's handler ignores it, because it was not sent by the libc; the
        // default would end the process, so then ours stays, which ignores it as well.
        if !self.entered && (all_stopped || self.action.handler > 1) {
            // SAFETY: this is the action that the program had.
            let _ = unsafe { signal::set_action(STOP_SIGNAL, &self.action) };
        }
        ckpt_gathering.store(0, Ordering::SeqCst);
        thread::futex_wake(&ckpt_gathering, u32::MAX >> 1);
        loop {
            let inside = ckpt_inside.load(Ordering::SeqCst);
            if inside == 0 {
                break;
            }
            // The last one wakes us. No limit: see `Slot::wait_for_answer`.
            let _ = thread::futex_wait(&ckpt_inside, inside, 0);
        }
        self.left().store(1, Ordering::Release);
        thread::futex_wake(self.left(), 1);
        PARKED.store(0, Ordering::Relaxed);
        let (start, end) = self.range();
        // SAFETY: the mapping of `begin`; no thread is on a slot any more, and nobody can be borrowing one from `self`.
        let _ = unsafe { memory::munmap(start, end - start) };
    }
}

/// Whether an id is in a list. `before` is the place behind the last one that was found: `/proc` lists threads in the order in which they were started, in which
/// they are called, and stop as a rule.
fn is_among(ids: &[AtomicU32], tid: u32, before: &mut usize) -> bool {
    let is = |id: &AtomicU32| id.load(Ordering::Acquire) == tid;
    let (skipped, ahead) = ids.split_at_checked(*before).unwrap_or((&[], ids));
    let place = ahead.iter().position(is).map(|place| skipped.len() + place);
    let Some(place) = place.or_else(|| skipped.iter().position(is)) else { return false };
    *before = place + 1;
    true
}

/// Sleeps until as many threads have parked as were signalled; not for long, because some may have ended and others may be new.
fn wait(called: u32) {
    const LOOK: u64 = 3_000_000;
    let until = report::now() + LOOK;
    AWAITED.store(called, Ordering::SeqCst);
    loop {
        let parked = PARKED.load(Ordering::SeqCst);
        let now = report::now();
        if parked >= called || now >= until {
            return;
        }
        let _ = thread::futex_wait(&PARKED, parked, until - now);
    }
}

/// Why a thread did not stop.
fn name(pid: u32, tid: u32) -> Failure {
    let mut path = Line::<64>::new();
    path.text("/proc/").dec(u64::from(pid)).text("/task/").dec(u64::from(tid)).text("/stat\0");
    let mut text = [0u8; 1024];
    let mut state = b'?';
    if let Ok(from) = fd::open_at(fd::AT_FDCWD, path.as_bytes(), open_flag::RDONLY | open_flag::CLOEXEC, 0) {
        let len = fd::read(from, &mut text).unwrap_or(0);
        let _ = fd::close(from);
        if let Some(stat) = Stat::parse(text.get(..len).unwrap_or_default()) {
            state = stat.state;
            let mut comm = [0; 16];
            comm.iter_mut().zip(stat.comm).for_each(|(to, from)| *to = *from);
            return Failure::Threads(ThreadTrouble::Stuck { tid, state, comm });
        }
    }
    Failure::Threads(ThreadTrouble::Stuck { tid, state, comm: [0; 16] })
}

/// How many threads have parked.
static PARKED: AtomicU32 = AtomicU32::new(0);
/// How many the helper waits for: the one that makes up the number wakes it.
static AWAITED: AtomicU32 = AtomicU32::new(0);

/// After a restart: the slots of the save belong to another process.
pub fn forget() {
    PARKED.store(0, Ordering::Relaxed);
    ckpt_inside.store(0, Ordering::Relaxed);
    ckpt_gathering.store(0, Ordering::Relaxed);
    crate::entered::forget();
}

/// Sends a thread our signal 33, as if a timer did.
fn send(pid: u32, tid: u32) {
    const SI_TIMER: i32 = -2;
    let mut info: Info = [0; 128];
    let _ = image::plain::write(&mut info, 0, &STOP_SIGNAL);
    let _ = image::plain::write(&mut info, 8, &(SI_TIMER as u32));
    let _ = image::plain::write(&mut info, 24, &MARK);
    // It may have ended since it was listed.
    let _: Result<(), Errno> = signal::queue_thread(pid, tid, STOP_SIGNAL, &info);
}

/// Called by `ckpt_park_here`, on the slot's stack, with every signal blocked: says that this thread stands still, and returns when it may go on.
///
/// Both are pointers, because the helper and the leader look at them meanwhile: nothing here may hold a `&mut` of either then.
///
/// # Safety
///
/// The arrival is this thread's own, and the slot was taken by it.
pub unsafe extern "C" fn ckpt_park(arrival: *mut Arrival, slot: *mut Slot) {
    // SAFETY: this thread's own, which nobody else knows until it says that it is parked.
    unsafe { crate::blocking::arrived(&mut *arrival) };
    // SAFETY: as above.
    let own = unsafe { OwnState::ask(&*arrival) };
    // SAFETY: as above.
    let slot = unsafe {
        (*arrival).tid = own.tid;
        (*arrival).tid_address = own.tid_address;
        (*slot).own = own;
        (*slot).answers = Answers::ask(own.tid);
        (*slot).arrival = arrival;
        &*slot
    };
    slot.parked.store(1, Ordering::Release);
    let first = ckpt_slot_base.load(Ordering::Relaxed);
    let index = (core::ptr::from_ref(slot) as u64 - first) >> SLOT_SHIFT;
    let ids = (first - tables_len(ckpt_slots.load(Ordering::Relaxed))) as *const AtomicU32;
    // SAFETY: the ids stand before the slots, one for each.
    unsafe { (*ids.add(index as usize)).store(own.tid, Ordering::Release) };
    if PARKED.fetch_add(1, Ordering::SeqCst) + 1 == AWAITED.load(Ordering::SeqCst) {
        thread::futex_wake(&PARKED, 1);
    }
    loop {
        let gathering = ckpt_gathering.load(Ordering::Acquire);
        if gathering == 0 {
            break;
        }
        crate::questions::answer_in(slot);
        let _ = thread::futex_wait(&ckpt_gathering, gathering, 0);
    }
    crate::pending::put_back(own.tid);
    // SAFETY: the gathering is over: nobody but this thread looks at it any more.
    let arrival = unsafe { &mut *arrival };
    redeliver(arrival);
    crate::blocking::settle(arrival, false);
}

/// Whether a pending signal 33 is our own.
pub fn is_call(info: &Info) -> bool {
    image::plain::read::<u64>(info, 24) == Some(MARK)
}

/// If what stopped this thread was the libc's own signal 33, it is sent again: it arrives when the handler returns.
pub fn redeliver(arrival: &Arrival) {
    const SI_TKILL: u32 = -6_i32 as u32;
    let word = |at: usize| image::plain::read::<u32>(&arrival.info, at).unwrap_or(0);
    if word(0) == STOP_SIGNAL && word(8) == SI_TKILL {
        let _ = signal::raise(process::pid(), thread::tid(), STOP_SIGNAL);
    }
}
