//! Timers of timer_create(2): which ones there are is in `/proc/PID/timers`; their times only the process itself can ask for.

use crate::message::{Failure, Kind};
use crate::scratch::{Full, List, Scratch};
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU32, Ordering};
use image::format::{NONE, PosixTimer, Thread, Time, Timer};
use image::lines::{Lines, LinesError};
use image::timers::Timers;
use sys::fd::{self, open_flag};
use sys::line::Line;
use sys::timer;

/// Number of timers that can be saved.
const ROOM: usize = 512;

struct Table(UnsafeCell<[PosixTimer; ROOM]>);
// SAFETY: the helper writes it while the leader sleeps, then the leader; all other threads stand still.
unsafe impl Sync for Table {}

static TABLE: Table = Table(UnsafeCell::new([NO_TIMER; ROOM]));
/// Number of entries.
static LEN: AtomicU32 = AtomicU32::new(0);

const NO_TIME: Time = Time { sec: 0, frac: 0 };
const NO_TIMER: PosixTimer = PosixTimer {
    id: 0,
    clock: 0,
    notify: 0,
    signal: 0,
    value: 0,
    thread: NONE,
    overrun: 0,
    timer: Timer { interval: NO_TIME, value: NO_TIME },
    reserved: [0; 4],
};

/// Forgets the timers of an earlier save.
pub fn begin() {
    LEN.store(0, Ordering::Relaxed);
}

fn entry(index: usize) -> Option<*mut PosixTimer> {
    // SAFETY: inside the table.
    (index < ROOM).then(|| unsafe { TABLE.0.get().cast::<PosixTimer>().add(index) })
}

fn timers() -> &'static [PosixTimer] {
    // SAFETY: see `Table`: nobody writes while somebody reads.
    unsafe { (*TABLE.0.get()).get(..LEN.load(Ordering::Relaxed) as usize) }.unwrap_or_default()
}

/// Lists the timers of process `pid`, which may have more than one thread; tells whether there are any. Called by the helper; by the leader if
/// the kernel does not let another process look (`PR_SET_DUMPABLE`).
pub fn look(pid: u32, has_threads: bool) -> Result<bool, Failure> {
    const NAME: &str = "/proc/self/timers";
    begin();
    let mut path = Line::<64>::new();
    path.text("/proc/").dec(u64::from(pid)).text("/timers\0");
    let from = match fd::open_at(fd::AT_FDCWD, path.as_bytes(), open_flag::RDONLY | open_flag::CLOEXEC, 0) {
        Ok(from) => from,
        // A kernel without CONFIG_CHECKPOINT_RESTORE or CONFIG_POSIX_TIMERS.
        Err(sys::Errno::ENOENT) => return Ok(false),
        Err(errno) => return Err(Failure::Proc(NAME, errno)),
    };
    let mut lines = Lines::<1024>::new();
    let mut text = Timers::default();
    let result = loop {
        match lines.next_line(&mut |buf| fd::read(from, buf)) {
            Ok(Some(line)) => match text.line(line) {
                Ok(Some(timer)) => {
                    if let Err(failure) = add(pid, has_threads, timer) {
                        break Err(failure);
                    }
                }
                Ok(None) => {}
                Err(()) => break Err(Failure::ProcText(NAME)),
            },
            Ok(None) => break Ok(LEN.load(Ordering::Relaxed) != 0),
            Err(LinesError::Read(errno)) => break Err(Failure::Proc(NAME, errno)),
            Err(LinesError::TooLong) => break Err(Failure::ProcText(NAME)),
        }
    };
    let _ = fd::close(from);
    result
}

fn add(pid: u32, has_threads: bool, mut timer: PosixTimer) -> Result<(), Failure> {
    let refuse = |what, advice| Err(Failure::Process(Kind { what, advice }));
    timer.clock = match own_clock(timer.clock, pid, has_threads) {
        Some(clock) => clock,
        None => {
            return refuse(
                "a timer (timer_create) with the CPU clock of another process or thread",
                "delete it before the save (timer_delete)",
            );
        }
    };
    let index = LEN.load(Ordering::Relaxed) as usize;
    let Some(entry) = entry(index) else {
        return refuse("more than 512 timers (timer_create)", "delete some before the save (timer_delete)");
    };
    // SAFETY: inside the table, which only this process uses now.
    unsafe { entry.write(timer) };
    LEN.store(index as u32 + 1, Ordering::Relaxed);
    Ok(())
}

/// The clock as a new process names it: CPU clocks of the process itself, or of its only thread, go by its id or by zero (`MAKE_PROCESS_CPUCLOCK`,
/// include/linux/posix-timers.h). `None` for those of others: the kernel does not tell which thread a zero meant.
fn own_clock(clock: i32, pid: u32, has_threads: bool) -> Option<i32> {
    const PER_THREAD: i32 = 4;
    const KIND: i32 = 7;
    if clock >= 0 {
        return Some(clock);
    }
    let owner = !(clock >> 3);
    let is_known = clock & PER_THREAD == 0 || !has_threads;
    (is_known && (owner == 0 || owner as u32 == pid)).then_some(!0 << 3 | clock & KIND)
}

/// Asks for the times. Called by the leader.
pub fn ask() {
    for index in 0..LEN.load(Ordering::Relaxed) as usize {
        let Some(entry) = entry(index) else { break };
        // SAFETY: inside the table; the helper has ended.
        let timer = unsafe { &mut *entry };
        // A timer that another thread has deleted just before it stopped is as good as disarmed.
        let [interval_sec, interval_nsec, sec, nsec] = timer::time(timer.id).unwrap_or_default();
        timer.timer = Timer {
            interval: Time { sec: interval_sec, frac: interval_nsec },
            value: Time { sec, frac: nsec },
        };
        timer.overrun = timer::overrun(timer.id).unwrap_or(0);
    }
}

/// The table for the image: by ascending id, with indices of threads.
pub fn table(scratch: &mut Scratch, threads: &[Thread]) -> Result<List<PosixTimer>, Full> {
    let mut list = scratch.list();
    let mut last = None;
    loop {
        let next = timers()
            .iter()
            .filter(|timer| last.is_none_or(|last| timer.id > last))
            .min_by_key(|timer| timer.id);
        let Some(timer) = next else { return Ok(list) };
        last = Some(timer.id);
        let thread = threads.iter().position(|thread| thread.tid == timer.thread);
        let thread = thread.map_or(NONE, |index| index as u32);
        scratch.push(&mut list, PosixTimer { thread, ..*timer })?;
    }
}
