//! A fault in the helper or the writer: a bug of ours, or a file that was cut short under its mapping while it was read. The program must not notice,
//! nothing may be left behind, and somebody must be told.
//!
//! The helper has a table of signal actions of its own, and the writer inherits it: these handlers are never the target's.

use crate::arrival::{STACK, ckpt_restorer};
use crate::message::Failure;
use crate::report::Report;
use crate::sink::Sink;
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use sys::process;
use sys::signal::{self, Action, Info, SIGNALS, UContext, sa, sig};

/// The signals of faults.
const FAULTS: [u32; 4] = [sig::ILL, sig::BUS, sig::FPE, sig::SEGV];

/// What is being written, if anything is.
static SINK: AtomicPtr<Sink> = AtomicPtr::new(core::ptr::null_mut());
/// Whom to tell.
static REPORT: AtomicPtr<Report> = AtomicPtr::new(core::ptr::null_mut());

unsafe extern "C" {
    /// The leader's stack, which nobody uses while its owner sleeps, and in the writer nobody ever.
    static ckpt_stack: [u8; STACK];
}

/// Reads the actions of all signals, and then takes the faults for ourselves. Called first thing in the helper.
pub fn guard(actions: &mut [Action; SIGNALS as usize]) {
    signal::read_actions(actions);
    let ours = Action {
        handler: fault as *const () as usize,
        flags: sa::SIGINFO | sa::RESTORER | sa::ONSTACK,
        restorer: ckpt_restorer as *const () as usize,
        mask: u64::MAX,
    };
    // SAFETY: the lower half of a stack whose owner sleeps, or is not there. The upper one holds what the leader was doing, which the helper still
    // looks at.
    let _ = unsafe { signal::set_alternate_stack(&raw const ckpt_stack as u64, STACK as u64 / 2) };
    let mut blocked = u64::MAX;
    for number in FAULTS {
        // SAFETY: the handler does not return.
        let _ = unsafe { signal::set_action(number, &ours) };
        // A fault whose signal is blocked ends the process without asking anybody.
        blocked &= !signal::bit(number);
    }
    let _ = signal::set_mask(blocked);
}

/// How far the writer has come: it changes with each step.
static STEPS: AtomicU32 = AtomicU32::new(0);
/// What it was at the last look.
static SEEN: AtomicU32 = AtomicU32::new(0);

/// A step of the writer.
pub fn step() {
    STEPS.fetch_add(1, Ordering::Relaxed);
}

/// From now on, a writer that uses the CPU for minutes without a step is ended like one that has a fault. Called in the writer, which has its own timers.
pub fn bound() {
    /// Seconds of CPU time between two looks. The longest step is a look at the page tables of one region.
    const LOOK: i64 = 120;
    let ours = Action {
        handler: look as *const () as usize,
        flags: sa::SIGINFO | sa::RESTORER | sa::RESTART,
        restorer: ckpt_restorer as *const () as usize,
        mask: u64::MAX,
    };
    // SAFETY: the handler changes nothing that it interrupts.
    if unsafe { signal::set_action(sig::PROF, &ours) }.is_ok()
        && let Ok(mask) = signal::mask()
    {
        let _ = signal::set_mask(mask & !signal::bit(sig::PROF));
        let _ = process::set_cpu_timer(LOOK);
    }
}

/// The handler of that timer.
extern "C" fn look(_: i32, _: *const Info, user: *const UContext) {
    let steps = STEPS.load(Ordering::Relaxed);
    if SEEN.swap(steps, Ordering::Relaxed) == steps {
        // SAFETY: the kernel passes the address of its ucontext, above this frame.
        let [.., ip, _] = unsafe { &(*user).gregs };
        give_up(Failure::Stuck(*ip));
    }
}

/// What a fault from now on has to tell, and to take back, until [`unwatch`].
pub fn watch(sink: &mut Sink, report: &mut Report) {
    SINK.store(sink, Ordering::Relaxed);
    REPORT.store(report, Ordering::Relaxed);
}

/// Nothing is being written any more.
pub fn unwatch() {
    SINK.store(core::ptr::null_mut(), Ordering::Relaxed);
    REPORT.store(core::ptr::null_mut(), Ordering::Relaxed);
}

/// The handler: on the leader's stack, in the process in which the fault happened.
extern "C" fn fault(number: i32, _: *const Info, user: *const UContext) -> ! {
    // SAFETY: the kernel passes the address of its ucontext, above this frame.
    let [.., ip, _] = unsafe { &(*user).gregs };
    give_up(Failure::Fault(number as u32, *ip))
}

/// Ends this process with nothing left behind.
fn give_up(failure: Failure) -> ! {
    // SAFETY: null, or what `watch` was given, which is there until `unwatch`. Nobody else uses it any more: the code that was interrupted never goes on.
    if let Some(sink) = unsafe { SINK.swap(core::ptr::null_mut(), Ordering::Relaxed).as_mut() } {
        sink.discard();
    }
    // SAFETY: as above.
    if let Some(report) = unsafe { REPORT.swap(core::ptr::null_mut(), Ordering::Relaxed).as_mut() } {
        report.failed(failure.into());
    }
    process::exit_group(1)
}
