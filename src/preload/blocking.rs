//! Blocking calls that a save interrupts go on as if nothing had happened.
//!
//! The kernel rewinds most calls by itself, because the handler is set with `SA_RESTART`. The calls of signal(7), "Interruption of system calls and
//! library functions by signal handlers", last list, return `EINTR` all the same. So the saved frame is corrected: before the handler
//! returns, and again in the process that a restart makes. Which call it was is read from the code ([`image::interrupted`]).
//!
//! | call | after the save | after a restart |
//! | --- | --- | --- |
//! | no timeout, or an absolute one | made again | made again |
//! | select, pselect, ppoll | made again: the kernel has written back what is left | the same |
//! | nanosleep, clock_nanosleep | continued by restart_syscall(2), which knows when it ends | with what is left, if the program asked for it, else in full |
//! | poll, futex | continued in the same way | in full |
//! | epoll_wait, sigtimedwait, semtimedop | in full | in full |
//! | a socket's `SO_RCVTIMEO` | in full, each time | in full, each time |
//!
//! "In full" is once: from then on libckpt knows when the call ends, because it made it itself (`ckpt_wait` in `asm/entry.s`), and later saves
//! and restarts keep to that. No process can ask the kernel how long a call of its own has been waiting; a timeout is never cut short.
//!
//! If a handler of the program is about to run, the call ends with `EINTR` as it would have without us.

use crate::arrival::{
    Arrival, ckpt_entry, ckpt_stop, ckpt_wait, ckpt_wait_leaving, ckpt_wait_left, ckpt_wait_loaded,
    ckpt_wait_loading, ckpt_waited, leave, onward,
};
use crate::config;
use crate::report::now;
use core::sync::atomic::{AtomicU64, Ordering};
use image::interrupted::{self, SYSCALL, Target};
use sys::signal::{self, greg};
use sys::{Sysno, memory, thread};

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
    /// When it ends, in nanoseconds of `CLOCK_MONOTONIC`.
    deadline: u64,
    /// What is left, as a `struct timespec`.
    time: [i64; 2],
}
/// Bytes below the stack pointer that belong to the interrupted code (psABI 3.2.2, "red zone").
const RED_ZONE: u64 = 128;

/// `-EINTR` in rax.
const INTERRUPTED: u64 = -4i64 as u64;
const NANOSECONDS: u64 = 1_000_000_000;
const MILLISECOND: u64 = 1_000_000;

/// When the last save began, in nanoseconds of `CLOCK_MONOTONIC`. Part of the image.
static SAVED_AT: AtomicU64 = AtomicU64::new(0);

/// Notes when a save began.
pub fn begin(started: u64) {
    SAVED_AT.store(started, Ordering::Relaxed);
}

/// How a call that was interrupted can go on.
enum Call {
    /// It is made again, with the same arguments.
    Again,
    /// It has a relative timeout that the kernel does not write back.
    Timed(Timeout),
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
    const FUTEX_CMD_MASK: u64 = 0x7f;
    // CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_TAI: all pass at one speed.
    let wall_clock = |clock: u64| matches!(clock as u32, 0 | 1 | 7 | 11);
    let timeout =
        Timeout { argument: greg::R10, unit: Unit::Timespec, left: None, continues: false, monotonic: true };
    let timed = |timeout| Some(Call::Timed(timeout));
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
        Sysno::clock_nanosleep
        | Sysno::futex
        | Sysno::futex_waitv
        | Sysno::pause
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
    } else if is_syscall(syscall) {
        interrupted::number(&Frame(gregs), syscall)
    } else {
        return;
    };
    let pending = deliverable(arrival);
    if pending.handled {
        return;
    }
    let Some(call) = number.and_then(|number| call(number, gregs)) else {
        // The kernel was continuing it: it is one that can be continued, whichever it is.
        if arrival.onward == onward::CONTINUES && !restarted {
            wait_on(arrival, pending.ours);
        }
        return;
    };
    let number = number.unwrap_or(0);
    let is_known_to_kernel = !restarted && arrival.onward != onward::BEGINS;
    match call {
        Call::Timed(timeout) if timeout.continues && is_known_to_kernel && wait_on(arrival, pending.ours) => {
        }
        Call::Timed(timeout) => {
            let left = left(&arrival.user.gregs, timeout, wait.as_deref(), restarted);
            match left {
                Some(left) => wait_again(arrival, number, timeout, left, wait),
                None => again(arrival, number),
            }
        }
        Call::Again => again(arrival, number),
    }
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
            let stopped = if restarted { SAVED_AT.load(Ordering::Relaxed) } else { now() };
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
    Some(sec.saturating_mul(NANOSECONDS).saturating_add(nsec))
}

/// Has `ckpt_wait` make the call with `left` nanoseconds as its timeout.
fn wait_again(arrival: &mut Arrival, number: u64, timeout: Timeout, left: u64, wait: Option<&mut Wait>) {
    let place = place(arrival);
    let gregs = &mut arrival.user.gregs;
    let wait = match wait {
        Some(wait) => wait,
        None => {
            let Some(address) = place else { return again(arrival, number) };
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
                &mut *wait
            }
        }
    };
    wait.deadline = now().saturating_add(left);
    wait.time = [(left / NANOSECONDS) as i64, (left % NANOSECONDS) as i64];
    let value = match timeout.unit {
        Unit::Timespec => (&raw const wait.time) as u64,
        Unit::Milliseconds => left.div_ceil(MILLISECOND).min(i32::MAX as u64),
    };
    if let Some(argument) = gregs.get_mut(timeout.argument) {
        *argument = value;
    }
    gregs[greg::RIP] = ckpt_wait as *const () as u64;
    gregs[greg::RAX] = number;
}

/// Where a [`Wait`] can be; `None` when the alternate stack that the code runs on has no room left.
fn place(arrival: &Arrival) -> Option<u64> {
    const SIZE: u64 = size_of::<Wait>() as u64;
    let user = &arrival.user;
    let frame = core::ptr::from_ref(arrival) as u64;
    let rsp = user.gregs[greg::RSP];
    let is_on_alternate = |address: u64| address.wrapping_sub(user.stack_sp) < user.stack_size;
    if is_on_alternate(frame) && !is_on_alternate(rsp) {
        // The frame is elsewhere.
        return rsp.checked_sub(RED_ZONE + SIZE).map(|address| address & !15);
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
    /// The checkpoint signal is among them.
    ours: bool,
}

fn deliverable(arrival: &Arrival) -> Deliverable {
    let mut set = signal::pending().unwrap_or(0) & !arrival.user.sigmask;
    let mut found = Deliverable { handled: false, ours: false };
    while set != 0 {
        let number = set.trailing_zeros() + 1;
        set &= set - 1;
        // SIG_DFL 0 and SIG_IGN 1 end the process, stop it or do nothing, but the call goes on if it does.
        match signal::action(number).map_or(0, |action| action.handler) {
            0 | 1 => {}
            handler if handler == ckpt_entry as *const () as usize => found.ours = true,
            handler if handler == ckpt_stop as *const () as usize => {}
            _ => found.handled = true,
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
