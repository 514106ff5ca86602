//! Blocking calls that a save interrupts go on as if nothing had happened.
//!
//! The kernel rewinds most calls by itself, because the handler is set with `SA_RESTART`. The calls of signal(7), "Interruption of system calls and
//! library functions by signal handlers", last list, return `EINTR` all the same. So the saved frame is corrected: before the handler
//! returns, and again in the process that a restart makes. Which call it was is read from the code ([`image::interrupted`]).
//!
//! | call | after the save | after a restart |
//! | --- | --- | --- |
//! | no timeout | made again | made again |
//! | an absolute one | made again, or continued by restart_syscall(2) | with what is left, by a clock that counts from boot; else made again |
//! | select, pselect, ppoll | made again: the kernel has written back what is left | the same |
//! | nanosleep, clock_nanosleep | continued by restart_syscall(2), which knows when it ends | with what is left, if the program asked for it, else in full |
//! | poll, futex | continued in the same way | in full |
//! | epoll_wait, sigtimedwait, semtimedop | in full | in full |
//! | a socket's `SO_RCVTIMEO` | in full, each time | in full, each time |
//!
//! "In full" is once: from then on libckpt knows when the call ends, because it made it itself (`ckpt_wait` in `asm/entry.s`), and later saves
//! and restarts keep to that. No process can ask the kernel how long a call of its own has been waiting; a timeout is never cut short.
//!
//! If a handler of the program is about to run, the call ends with `EINTR` as it would have without us. It may also have run already: see
//! [`is_ours`].

use crate::arrival::{
    Arrival, ckpt_entry, ckpt_stop, ckpt_wait, ckpt_wait_leaving, ckpt_wait_left, ckpt_wait_loaded,
    ckpt_wait_loading, ckpt_waited, leave, onward,
};
use crate::config;
use crate::report::now;
use crate::threads::STOP_SIGNAL;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use image::interrupted::{self, SYSCALL, Target};
use sys::signal::{self, Action, SIGNALS, bit, greg, sa};
use sys::time::clock;
use sys::{Sysno, memory, thread, time};

/// A call that `ckpt_wait` makes once more, on the stack of the interrupted code.
#[repr(C)]
pub struct Wait {
    /// The program's first argument.
    pub rdi: u64,
    /// Its third.
    pub rdx: u64,
    /// Its fourth.
    pub r10: u64,
    /// The program's stack pointer.
    pub rsp: u64,
    /// Behind the program's `syscall` instruction.
    pub rip: u64,
    /// Number of the call.
    number: u64,
    /// When a relative timeout ends, in nanoseconds of `CLOCK_MONOTONIC`.
    deadline: u64,
    /// Its timeout, as a `struct timespec`.
    time: [i64; 2],
}
/// Bytes below the stack pointer that belong to the interrupted code (psABI 3.2.2, "red zone").
const RED_ZONE: u64 = 128;

/// `-EINTR` in rax.
const INTERRUPTED: u64 = -4i64 as u64;
const NANOSECONDS: u64 = 1_000_000_000;
const MILLISECOND: u64 = 1_000_000;

/// When the last save began, in nanoseconds of `CLOCK_MONOTONIC` and of `CLOCK_BOOTTIME`. Part of the image.
static SAVED_AT: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];

/// Signals whose handlers run with the checkpoint signal blocked, and those with [`STOP_SIGNAL`] blocked; nothing while `IS_LEARNT` is zero.
static BLOCKERS: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];
static IS_LEARNT: AtomicU32 = AtomicU32::new(0);

/// Notes when a save began, by `CLOCK_MONOTONIC`.
pub fn begin(started: u64) {
    let [monotonic, _] = &SAVED_AT;
    monotonic.store(started, Ordering::Relaxed);
    // Actions may have changed since, and an image must not say that it knows them.
    IS_LEARNT.store(0, Ordering::Relaxed);
}

/// Notes the time of the save by `CLOCK_BOOTTIME`, in seconds and nanoseconds.
pub fn note_boottime(now: [i64; 2]) {
    let [_, boottime] = &SAVED_AT;
    boottime.store(nanoseconds(now), Ordering::Relaxed);
}

fn nanoseconds([sec, nsec]: [i64; 2]) -> u64 {
    sec as u64 * NANOSECONDS + nsec as u64
}

/// Notes which handlers block our signals, from the actions of all signals. Called before any other thread goes on.
pub fn learn(actions: &[Action; SIGNALS as usize]) {
    for (blockers, ours) in BLOCKERS.iter().zip([config::get().signal, STOP_SIGNAL]) {
        let mut set = 0;
        for (number, action) in (1..).zip(actions) {
            if number != ours && blocks(action, ours) {
                set |= bit(number);
            }
        }
        blockers.store(set, Ordering::Relaxed);
    }
    IS_LEARNT.store(1, Ordering::Release);
}

/// Whether a handler of the program runs, or has run, with signal `ours` blocked.
fn blocks(action: &Action, ours: u32) -> bool {
    let is_own =
        [ckpt_entry as *const () as usize, ckpt_stop as *const () as usize].contains(&action.handler);
    // The kernel has taken back a handler that is for one time; the rest of its action is still there.
    let is_handler = action.handler > signal::IGNORE || action.flags & sa::RESETHAND != 0;
    is_handler && !is_own && action.mask & bit(ours) != 0
}

/// Signals whose handlers run with signal `ours` blocked.
fn blockers(ours: u32) -> u64 {
    if IS_LEARNT.load(Ordering::Acquire) == 0 {
        let mut actions = [Action::default(); SIGNALS as usize];
        signal::read_actions(&mut actions);
        learn(&actions);
    }
    let [save, stop] = &BLOCKERS;
    if ours == STOP_SIGNAL { stop } else { save }.load(Ordering::Relaxed)
}

/// How a call that was interrupted can go on.
enum Call {
    /// It is made again, with the same arguments.
    Again,
    /// It has a relative timeout that the kernel does not write back.
    Timed(Timeout),
    /// It has an absolute timeout.
    Until(Until),
}

/// An absolute timeout.
#[derive(Clone, Copy)]
struct Until {
    /// Register of the address of its `struct timespec`, as an index of `gregs`.
    argument: usize,
    /// Its clock.
    clock: u32,
    /// restart_syscall(2) continues the call.
    continues: bool,
}

/// A relative timeout.
#[derive(Clone, Copy)]
struct Timeout {
    /// Register of the argument, as an index of `gregs`.
    argument: usize,
    unit: Unit,
    /// Register of the address of what is left of a sleep.
    left: Option<usize>,
    /// restart_syscall(2) continues it.
    continues: bool,
    /// It runs with `CLOCK_MONOTONIC`.
    monotonic: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    /// Address of a `struct timespec`.
    Timespec,
    /// An `int`, negative for no timeout.
    Milliseconds,
}

/// What is known of call `number`. Only calls are listed that have done nothing when they return `EINTR`.
fn call(number: u64, gregs: &[u64; 18]) -> Option<Call> {
    const TIMER_ABSTIME: u64 = 1;
    const FUTEX_WAIT: u64 = 0;
    const FUTEX_LOCK_PI: u64 = 6;
    const FUTEX_WAIT_BITSET: u64 = 9;
    const FUTEX_WAIT_REQUEUE_PI: u64 = 11;
    const FUTEX_LOCK_PI2: u64 = 13;
    const FUTEX_CLOCK_REALTIME: u64 = 256;
    const FUTEX_CMD_MASK: u64 = 0x7f;
    // CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_TAI: all pass at one speed.
    let wall_clock = |clock: u64| matches!(clock as u32, 0 | 1 | 7 | 11);
    let timeout =
        Timeout { argument: greg::R10, unit: Unit::Timespec, left: None, continues: false, monotonic: true };
    let timed = |timeout| Some(Call::Timed(timeout));
    let until = |argument, clock, continues| Some(Call::Until(Until { argument, clock, continues }));
    match Sysno::new(number as usize)? {
        Sysno::nanosleep => {
            timed(Timeout { argument: greg::RDI, left: Some(greg::RSI), continues: true, ..timeout })
        }
        Sysno::clock_nanosleep if gregs[greg::RSI] & TIMER_ABSTIME == 0 => timed(Timeout {
            argument: greg::RDX,
            left: Some(greg::R10),
            continues: true,
            monotonic: wall_clock(gregs[greg::RDI]),
            ..timeout
        }),
        Sysno::poll => {
            timed(Timeout { argument: greg::RDX, unit: Unit::Milliseconds, continues: true, ..timeout })
        }
        Sysno::futex if gregs[greg::RSI] & FUTEX_CMD_MASK == FUTEX_WAIT => {
            timed(Timeout { continues: true, ..timeout })
        }
        Sysno::epoll_wait | Sysno::epoll_pwait => timed(Timeout { unit: Unit::Milliseconds, ..timeout }),
        Sysno::epoll_pwait2 | Sysno::semtimedop => timed(timeout),
        Sysno::rt_sigtimedwait => timed(Timeout { argument: greg::RDX, ..timeout }),
        Sysno::clock_nanosleep => until(greg::RDX, gregs[greg::RDI] as u32, false),
        Sysno::futex => {
            let operation = gregs[greg::RSI] & FUTEX_CMD_MASK;
            let is_wall_clock = gregs[greg::RSI] & FUTEX_CLOCK_REALTIME != 0 || operation == FUTEX_LOCK_PI;
            let clock = if is_wall_clock { clock::REALTIME } else { clock::MONOTONIC };
            match operation {
                FUTEX_WAIT_BITSET => until(greg::R10, clock, true),
                FUTEX_LOCK_PI | FUTEX_LOCK_PI2 | FUTEX_WAIT_REQUEUE_PI => until(greg::R10, clock, false),
                _ => Some(Call::Again),
            }
        }
        Sysno::futex_waitv => until(greg::R10, gregs[greg::R8] as u32, false),
        Sysno::pause
        | Sysno::rt_sigsuspend
        | Sysno::select
        | Sysno::pselect6
        | Sysno::ppoll
        | Sysno::semop
        | Sysno::msgrcv
        | Sysno::msgsnd
        | Sysno::read
        | Sysno::readv
        | Sysno::write
        | Sysno::writev
        | Sysno::recvfrom
        | Sysno::recvmsg
        | Sysno::recvmmsg
        | Sysno::sendto
        | Sysno::sendmsg
        | Sysno::sendmmsg
        | Sysno::accept
        | Sysno::accept4
        | Sysno::connect
        | Sysno::io_getevents
        | Sysno::io_pgetevents
        | Sysno::io_uring_enter => Some(Call::Again),
        _ => None,
    }
}

/// Called first in every thread that stops: if it was on its way into a call that goes on, its frame says again that the call was
/// interrupted, so that a restart finds it so.
pub fn arrived(arrival: &mut Arrival) {
    let address = |symbol: unsafe extern "C" fn()| symbol as *const () as u64;
    let gregs = &mut arrival.user.gregs;
    let rip = gregs[greg::RIP];
    if rip >= address(ckpt_wait_loading) && rip < address(ckpt_wait_left) {
        if rip < address(ckpt_wait_loaded) {
            // SAFETY: at this stage rbx is the arrival that the thread was leaving, above the present frame.
            *gregs = unsafe { (*(gregs[greg::RBX] as *const Arrival)).user.gregs };
        } else {
            if rip < address(ckpt_wait_leaving) {
                gregs[greg::RSP] = gregs[greg::RAX];
            }
            gregs[greg::RIP] = gregs[greg::RCX].wrapping_add(SYSCALL.len() as u64);
            gregs[greg::RCX] = gregs[greg::RIP];
            gregs[greg::RAX] = INTERRUPTED;
        }
        arrival.onward = onward::CONTINUES;
    } else if rip == address(ckpt_wait) {
        gregs[greg::RIP] = address(ckpt_waited);
        gregs[greg::RAX] = INTERRUPTED;
        arrival.onward = onward::BEGINS;
    } else if gregs[greg::RAX] == Sysno::restart_syscall as u64 && is_syscall(rip) {
        gregs[greg::RIP] = rip.wrapping_add(SYSCALL.len() as u64);
        gregs[greg::RAX] = INTERRUPTED;
        arrival.onward = onward::CONTINUES;
    }
}

/// The registers of the program itself, for debuggers: also while a call of `ckpt_wait` stands for one of the program's.
pub fn program_registers(arrival: &Arrival) -> [u64; 18] {
    let mut gregs = arrival.user.gregs;
    if gregs[greg::RIP] == ckpt_waited as *const () as u64 {
        // SAFETY: the stack pointer is a `Wait` there.
        let wait = unsafe { &*(gregs[greg::RSP] as *const Wait) };
        gregs[greg::RIP] = wait.rip;
        gregs[greg::RSP] = wait.rsp;
        gregs[greg::RDI] = wait.rdi;
        gregs[greg::RDX] = wait.rdx;
        gregs[greg::R10] = wait.r10;
    }
    gregs
}

/// Called last in every thread that goes on, in the process that was saved (`restarted` is false) or in the new one: an interrupted call
/// goes on as well.
pub fn settle(arrival: &mut Arrival, restarted: bool) {
    if arrival.leave != leave::RETURN {
        // Not written without need: the page belongs to the writer's copy as well, and a thousand of them would have to be copied.
        arrival.leave = leave::RETURN;
    }
    let gregs = &arrival.user.gregs;
    let rip = gregs[greg::RIP];
    if gregs[greg::RAX] != INTERRUPTED {
        // Signals interrupt some calls in such a way that the kernel has the program make them again.
        if !end_rewound(arrival) && restarted {
            begin_in_time(arrival);
        }
        return;
    }
    if arrival.entered() && arrival.call == 0 && arrival.onward == 0 {
        // The kernel has told that it was in no call: the result of one is there, and the program's.
        return;
    }
    let syscall = rip.wrapping_sub(SYSCALL.len() as u64);
    let mut wait = None;
    let number = if rip == ckpt_waited as *const () as u64 {
        // SAFETY: the stack pointer is a `Wait` there, which belongs to this call alone.
        let known = unsafe { &mut *(gregs[greg::RSP] as *mut Wait) };
        let number = known.number;
        wait = Some(known);
        Some(number)
    } else if arrival.call != 0 {
        Some(arrival.call - 1)
    } else if is_syscall(syscall) {
        interrupted::number(&Frame(gregs), syscall)
    } else {
        return;
    };
    let pending = deliverable(arrival);
    if pending.handled {
        return;
    }
    let is_known_to_kernel = !restarted && arrival.onward != onward::BEGINS;
    let Some(call) = number.and_then(|number| call(number, gregs)) else {
        // The kernel was continuing it: it is one that can be continued, whichever it is.
        if arrival.onward == onward::CONTINUES && !restarted {
            wait_on(arrival, pending.ours);
        }
        return;
    };
    let continues = match call {
        Call::Again => false,
        Call::Timed(timeout) => timeout.continues,
        Call::Until(until) => until.continues,
    };
    // What a handler has ended, the kernel does not continue: restart_syscall(2) returns EINTR at once.
    if continues && is_known_to_kernel && wait_on(arrival, pending.ours) {
        return;
    }
    let number = number.unwrap_or(0);
    if !is_ours(arrival, number) {
        return;
    }
    match call {
        Call::Timed(timeout) => {
            let left = left(&arrival.user.gregs, timeout, wait.as_deref(), restarted);
            match left {
                Some(left) => wait_again(arrival, number, timeout, left, wait),
                None => again(arrival, number),
            }
        }
        Call::Until(until) if restarted => wait_until(arrival, number, until, wait),
        Call::Until(_) | Call::Again => again(arrival, number),
    }
}

/// The kernel has rewound a call because our handler is set with `SA_RESTART`; but a handler of the program without it is about to run, and would have ended
/// the call: it ends now. Tells whether that was so.
fn end_rewound(arrival: &mut Arrival) -> bool {
    let gregs = &arrival.user.gregs;
    let rip = gregs[greg::RIP];
    let behind = rip.wrapping_add(SYSCALL.len() as u64);
    // The instruction has been there: it leaves its own end in rcx. In code that makes the same call again and again this may be the call before; then it is as if
    // the signal had come a moment later.
    if gregs[greg::RCX] != behind || !is_rewound(gregs) || !deliverable(arrival).ends || !is_syscall(rip) {
        return false;
    }
    let gregs = &mut arrival.user.gregs;
    gregs[greg::RIP] = behind;
    gregs[greg::RAX] = INTERRUPTED;
    true
}

/// Whether the kernel rewinds a call for a handler with `SA_RESTART`, and for no other (signal(7)).
fn is_rewound(gregs: &[u64; 18]) -> bool {
    const FUTEX_WAIT: u64 = 0;
    const FUTEX_WAIT_BITSET: u64 = 9;
    match Sysno::new(gregs[greg::RAX] as usize) {
        Some(Sysno::futex) => matches!(gregs[greg::RSI] & 0x7f, FUTEX_WAIT | FUTEX_WAIT_BITSET),
        Some(
            Sysno::read
            | Sysno::readv
            | Sysno::write
            | Sysno::writev
            | Sysno::recvfrom
            | Sysno::recvmsg
            | Sysno::recvmmsg
            | Sysno::sendto
            | Sysno::sendmsg
            | Sysno::sendmmsg
            | Sysno::accept
            | Sysno::accept4
            | Sysno::connect
            | Sysno::wait4
            | Sysno::waitid
            | Sysno::flock
            | Sysno::futex_waitv
            | Sysno::mq_timedreceive
            | Sysno::mq_timedsend,
        ) => true,
        _ => false,
    }
}

/// Whether it was our signal that has interrupted the call, for certain.
///
/// The frame is the same when a handler of the program has ended the call, with our signal blocked, and ours arrives as it returns: in that case `EINTR` is
/// the program's. What rt_sigreturn(2) leaves in the kernel tells nothing but where restart_syscall(2) continues (`restart_block.fn`). So it is
/// ours only if no such handler could run during the call: none for a signal that was not blocked has a mask that blocks ours.
fn is_ours(arrival: &Arrival, number: u64) -> bool {
    if arrival.onward != 0 || arrival.entered() {
        // The kernel has told that it was in the call. Or it had not begun, or the kernel was about to continue it, after an interruption that was ours.
        return true;
    }
    let ours = arrival.signal();
    let Some(mask) = mask_of_call(arrival, number) else { return false };
    mask & bit(ours) == 0 && blockers(ours) & !mask == 0
}

/// The signals that are blocked during a call; `None` when the mask that it was given cannot be read.
fn mask_of_call(arrival: &Arrival, number: u64) -> Option<u64> {
    let gregs = &arrival.user.gregs;
    let word = |address: u64| {
        let mut bytes = [0; 8];
        read(address, &mut bytes).then(|| u64::from_le_bytes(bytes))
    };
    let address = match Sysno::new(number as usize) {
        Some(Sysno::rt_sigsuspend) => gregs[greg::RDI],
        Some(Sysno::ppoll) => gregs[greg::R10],
        Some(Sysno::epoll_pwait | Sysno::epoll_pwait2) => gregs[greg::R8],
        // The address of the address.
        Some(Sysno::pselect6 | Sysno::io_pgetevents) if gregs[greg::R9] != 0 => word(gregs[greg::R9])?,
        // It may be in a structure, or in one that was registered.
        Some(Sysno::io_uring_enter) => return None,
        _ => 0,
    };
    if address == 0 { Some(arrival.user.sigmask) } else { word(address) }
}

/// Makes the call again, by the program's own instruction.
fn again(arrival: &mut Arrival, number: u64) {
    let gregs = &mut arrival.user.gregs;
    gregs[greg::RIP] = gregs[greg::RIP].wrapping_sub(SYSCALL.len() as u64);
    gregs[greg::RAX] = number;
}

/// What is left of a timeout in nanoseconds; `None` when the arguments say it, or that there is no timeout.
fn left(gregs: &[u64; 18], timeout: Timeout, wait: Option<&Wait>, restarted: bool) -> Option<u64> {
    let argument = *gregs.get(timeout.argument)?;
    let rest = timeout.left.and_then(|register| gregs.get(register).copied()).filter(|address| *address != 0);
    if rest == Some(argument) || !timeout.monotonic {
        // The kernel has written what is left over the timeout itself; or nobody can tell.
        return None;
    }
    if let Some(rest) = rest {
        return timespec(rest);
    }
    match wait {
        Some(wait) => {
            let [monotonic, _] = &SAVED_AT;
            let stopped = if restarted { monotonic.load(Ordering::Relaxed) } else { now() };
            Some(wait.deadline.saturating_sub(stopped))
        }
        None => match timeout.unit {
            Unit::Timespec => timespec(argument),
            Unit::Milliseconds => u64::try_from(argument as i32).ok().map(|ms| ms * MILLISECOND),
        },
    }
}

/// The nanoseconds of a `struct timespec` in the program's memory; `None` when there is none.
fn timespec(address: u64) -> Option<u64> {
    let mut bytes = [0u8; 16];
    if address == 0 || !read(address, &mut bytes) {
        return None;
    }
    let [sec, nsec] = [bytes.first_chunk()?, bytes.last_chunk()?].map(|part| u64::from_le_bytes(*part));
    if nsec >= NANOSECONDS || sec > i64::MAX as u64 {
        return None;
    }
    Some(sec.saturating_mul(NANOSECONDS).saturating_add(nsec))
}

/// Has `ckpt_wait` make the call with `left` nanoseconds as its timeout.
fn wait_again(arrival: &mut Arrival, number: u64, timeout: Timeout, left: u64, wait: Option<&mut Wait>) {
    let Some(wait) = wait.or_else(|| new_wait(arrival, number)) else { return again(arrival, number) };
    wait.deadline = now().saturating_add(left);
    wait.time = as_timespec(left);
    let value = match timeout.unit {
        Unit::Timespec => (&raw const wait.time) as u64,
        Unit::Milliseconds => left.div_ceil(MILLISECOND).min(i32::MAX as u64),
    };
    wait_with(arrival, number, timeout.argument, value);
}

/// After a restart: has `ckpt_wait` make the call with the time at which its clock, which counts from boot, has passed as far as it should.
fn wait_until(arrival: &mut Arrival, number: u64, until: Until, wait: Option<&mut Wait>) {
    let deadline = arrival.user.gregs.get(until.argument).and_then(|address| timespec(*address));
    let Some(deadline) = deadline.zip(elapsed(until.clock)).map(|(time, by)| time.saturating_add_signed(by))
    else {
        // No timeout, one of the world's clock, or none that the kernel takes.
        return again(arrival, number);
    };
    let Some(wait) = wait.or_else(|| new_wait(arrival, number)) else { return again(arrival, number) };
    wait.time = as_timespec(deadline);
    let value = (&raw const wait.time) as u64;
    wait_with(arrival, number, until.argument, value);
}

/// After a restart: the thread may be about to make a call, whose absolute timeout is by the clock of the saved process.
fn begin_in_time(arrival: &mut Arrival) {
    let number = arrival.user.gregs[greg::RAX];
    if let Some(Call::Until(until)) = call(number, &arrival.user.gregs)
        && elapsed(until.clock).is_some()
        && is_syscall(arrival.user.gregs[greg::RIP])
    {
        // As if it had been interrupted.
        arrival.user.gregs[greg::RIP] = arrival.user.gregs[greg::RIP].wrapping_add(SYSCALL.len() as u64);
        wait_until(arrival, number, until, None);
    }
}

/// How far a clock that counts from boot has gone from the save to now, be it backwards; `None` for others.
fn elapsed(number: u32) -> Option<i64> {
    const BOOTTIME_ALARM: u32 = 9;
    let [monotonic, boottime] = &SAVED_AT;
    let (number, saved) = match number {
        clock::MONOTONIC => (clock::MONOTONIC, monotonic),
        clock::BOOTTIME | BOOTTIME_ALARM => (clock::BOOTTIME, boottime),
        _ => return None,
    };
    Some(nanoseconds(time::now(number)).wrapping_sub(saved.load(Ordering::Relaxed)) as i64)
}

/// Makes room for a [`Wait`] on the stack of the interrupted code.
fn new_wait(arrival: &mut Arrival, number: u64) -> Option<&'static mut Wait> {
    let address = place(arrival)?;
    let gregs = &mut arrival.user.gregs;
    let new = Wait {
        rdi: gregs[greg::RDI],
        rdx: gregs[greg::RDX],
        r10: gregs[greg::R10],
        rsp: gregs[greg::RSP],
        rip: gregs[greg::RIP],
        number,
        deadline: 0,
        time: [0; 2],
    };
    gregs[greg::RSP] = address;
    let wait = address as *mut Wait;
    // SAFETY: below its red zone, the stack of interrupted code belongs to signal handlers, and `place` is below the frame of this one.
    unsafe {
        wait.write(new);
        Some(&mut *wait)
    }
}

/// Has `ckpt_wait`, whose [`Wait`] is there, make the call with `value` as its timeout.
fn wait_with(arrival: &mut Arrival, number: u64, argument: usize, value: u64) {
    let gregs = &mut arrival.user.gregs;
    if let Some(argument) = gregs.get_mut(argument) {
        *argument = value;
    }
    gregs[greg::RIP] = ckpt_wait as *const () as u64;
    gregs[greg::RAX] = number;
}

/// Nanoseconds as a `struct timespec`.
fn as_timespec(nanoseconds: u64) -> [i64; 2] {
    [(nanoseconds / NANOSECONDS) as i64, (nanoseconds % NANOSECONDS) as i64]
}

/// Where a [`Wait`] can be; `None` when the alternate stack that the code runs on has no room left.
fn place(arrival: &Arrival) -> Option<u64> {
    const SIZE: u64 = size_of::<Wait>() as u64;
    let user = &arrival.user;
    let frame = core::ptr::from_ref(arrival) as u64;
    let rsp = user.gregs[greg::RSP];
    let is_on_alternate = |address: u64| address.wrapping_sub(user.stack_sp) < user.stack_size;
    if arrival.entered() || is_on_alternate(frame) && !is_on_alternate(rsp) {
        // The frame is elsewhere.
        let address = rsp.checked_sub(RED_ZONE + SIZE)? & !15;
        return (!is_on_alternate(rsp) || is_on_alternate(address)).then_some(address);
    }
    let address = frame.checked_sub(SIZE)? & !15;
    (!is_on_alternate(frame) || is_on_alternate(address)).then_some(address)
}

/// Lets the kernel continue the call; false when the frame has something that only rt_sigreturn(2) can bring back, or there is no room for another.
fn wait_on(arrival: &mut Arrival, asked_again: bool) -> bool {
    const TRAP_FLAG: u64 = 1 << 8;
    let user = &arrival.user;
    if user.fpstate == 0 || user.gregs[greg::EFLAGS] & TRAP_FLAG != 0 || thread::has_shadow_stack() {
        return false;
    }
    let (features, size) = crate::process::xstate(user.fpstate);
    if !has_room_below(arrival, size) {
        return false;
    }
    arrival.xfeatures = features;
    if asked_again && let Ok((_, info)) = signal::take(signal::bit(config::get().signal)) {
        arrival.info.iter_mut().zip(&info).for_each(|(to, from)| *to = *from);
        arrival.leave = leave::AGAIN;
        return true;
    }
    // The kernel has disarmed such a stack for the time of the handler.
    // SAFETY: the values are those of the frame.
    unsafe { signal::rearm_stack(user.stack_sp, user.stack_flags, user.stack_size) };
    arrival.leave = leave::WAITING;
    true
}

/// Whether another frame fits below this one, whose register area has `size` bytes: a signal may arrive when they are not blocked any more and the
/// thread is not back on the program's stack yet.
fn has_room_below(arrival: &Arrival, size: u64) -> bool {
    /// What the kernel may leave out to align a frame and its register area (get_sigframe() in arch/x86/kernel/signal.c).
    const GAPS: u64 = 256;
    let user = &arrival.user;
    let frame = core::ptr::from_ref(arrival) as u64;
    let room = frame.wrapping_sub(user.stack_sp);
    // Not on the alternate stack: on one that grows.
    room >= user.stack_size || room >= user.fpstate.wrapping_sub(frame).saturating_add(size + RED_ZONE + GAPS)
}

/// Signals that will arrive when the handler returns.
struct Deliverable {
    /// A handler of the program's will run.
    handled: bool,
    /// The first one ends calls that `SA_RESTART` would rewind.
    ends: bool,
    /// The checkpoint signal is among them.
    ours: bool,
}

fn deliverable(arrival: &Arrival) -> Deliverable {
    let mut set = signal::pending().unwrap_or(0) & !arrival.user.sigmask;
    let mut found = Deliverable { handled: false, ends: false, ours: false };
    while set != 0 {
        let number = set.trailing_zeros() + 1;
        set &= set - 1;
        // SIG_DFL 0 and SIG_IGN 1 end the process, stop it or do nothing, but the call goes on if it does.
        let action = signal::action(number).unwrap_or_default();
        match action.handler {
            0 | 1 => {}
            handler if handler == ckpt_entry as *const () as usize => found.ours = true,
            handler if handler == ckpt_stop as *const () as usize => {}
            _ => {
                found.ends = if found.handled { found.ends } else { action.flags & sa::RESTART == 0 };
                found.handled = true;
            }
        }
    }
    found
}

/// The interrupted code, as [`interrupted::number`] looks at it.
struct Frame<'a>(&'a [u64; 18]);

impl Target for Frame<'_> {
    fn register(&self, number: u8) -> u64 {
        const ORDER: [usize; 16] = [
            greg::RAX,
            greg::RCX,
            greg::RDX,
            greg::RBX,
            greg::RSP,
            greg::RBP,
            greg::RSI,
            greg::RDI,
            greg::R8,
            greg::R9,
            greg::R10,
            greg::R11,
            greg::R12,
            greg::R13,
            greg::R14,
            greg::R15,
        ];
        ORDER.get(usize::from(number)).and_then(|index| self.0.get(*index)).copied().unwrap_or(0)
    }

    fn read(&self, address: u64, to: &mut [u8]) -> bool {
        read(address, to)
    }
}

/// Reads up to a page of the program's memory; false where there is none.
fn read(address: u64, to: &mut [u8]) -> bool {
    // SAFETY: it is code that is being run, or an argument that the kernel was given.
    unsafe { memory::read(address, to) }
}

fn is_syscall(address: u64) -> bool {
    let mut code = [0; 2];
    read(address, &mut code) && code == SYSCALL
}
