//! A handler of the program that calls ours: it was there before and is called in turn (signal-hook does so), or the program saved the action and calls it.
//!
//! Then there is no frame of the kernel where one is when a signal is delivered, and what the second and third argument point to, if they are arguments at all,
//! may be anybody's. So the thread stops itself, by a real-time signal that the program does not use, and that frame is as good as any: after a restart
//! the thread goes on in `ckpt_called`, and returns to the program's handler.

use crate::arrival::{Arrival, ckpt_itself, ckpt_restorer};
use crate::config;
use crate::report::STANDARD_ERROR;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU32, Ordering};
use sys::line::Line;
use sys::signal::{self, Action, Info, SIGNALS, bit, sa};
use sys::{memory, process, thread};

/// The real-time signals that libcs leave to programs begin here, at the latest.
const FIRST: u32 = 35;
/// Marks our own signal in its `si_value`.
const MARK: u64 = 0x4445_4c4c_4143_4b43;
/// Offset of `si_value` in a `siginfo_t`, in bytes.
const VALUE: usize = 24;

/// What the signal that the program has handled says of itself.
struct Asked(UnsafeCell<Info>);
// SAFETY: written and read by the thread that holds the lock.
unsafe impl Sync for Asked {}
static ASKED: Asked = Asked(UnsafeCell::new([0; 128]));

/// Whether it has been told that this cannot be done.
static TOLD: AtomicU32 = AtomicU32::new(0);

/// Called by `ckpt_called`, on a stack of ours, with the lock held and every signal blocked but the one that stops threads. `info` is a `siginfo_t` of
/// the checkpoint signal, or anything.
pub extern "C" fn ckpt_stop_itself(info: u64) {
    // SAFETY: the lock is ours.
    let asked = unsafe { &mut *ASKED.0.get() };
    *asked = told(info).unwrap_or([0; 128]);
    let pending = signal::pending().unwrap_or(u64::MAX);
    let is_free = |number: &u32| {
        let action = signal::action(*number);
        action.is_ok_and(|action| action.handler == signal::DEFAULT) && pending & bit(*number) == 0
    };
    let Some(number) = (FIRST..=SIGNALS).rev().find(is_free) else {
        return complain("uses every real-time signal");
    };
    let ours = Action {
        handler: ckpt_itself as *const () as usize,
        flags: sa::SIGINFO | sa::RESTORER | sa::RESTART,
        restorer: ckpt_restorer as *const () as usize,
        mask: u64::MAX,
    };
    // SAFETY: `ckpt_itself` keeps everything that it interrupts.
    if unsafe { signal::set_action(number, &ours) }.is_err() {
        return complain("may not set a signal's action");
    }
    let mut mark: Info = [0; 128];
    const SI_QUEUE: i32 = -1;
    let _ = image::plain::write(&mut mark, 8, &(SI_QUEUE as u32));
    let _ = image::plain::write(&mut mark, VALUE, &MARK);
    let before = signal::set_mask(!bit(number));
    // The signal is for this thread and not blocked: the save is over when the call returns.
    let sent = signal::queue_thread(process::pid(), thread::tid(), number, &mark);
    if let Ok(before) = before {
        let _ = signal::set_mask(before);
    }
    if sent.is_err() {
        signal::set_simple(number, signal::DEFAULT);
        complain("has too many pending signals (ulimit -i)");
    }
}

/// The `siginfo_t` at an address, if there is one of the checkpoint signal.
fn told(address: u64) -> Option<Info> {
    /// What the kernel uses of it.
    const USED: usize = 48;
    let mut info: Info = [0; 128];
    // SAFETY: an argument of a call, which nobody unmaps; where it is none, reading asks the kernel first.
    let is_there = address.is_multiple_of(8) && unsafe { memory::read(address, info.get_mut(..USED)?) };
    (is_there && image::plain::read::<u32>(&info, 0) == Some(config::get().signal)).then_some(info)
}

/// Called by `ckpt_itself`: whether the signal is ours, which then has done its work. Else it is sent again, to whom it was meant for as a rule.
pub extern "C" fn ckpt_is_itself(arrival: &mut Arrival) -> u32 {
    let info = arrival.info();
    if image::plain::read::<u64>(&info, VALUE) != Some(MARK) {
        let _ = signal::queue_process(process::pid(), arrival.signal(), &info);
        return 0;
    }
    signal::set_simple(arrival.signal(), signal::DEFAULT);
    // SAFETY: the lock is ours.
    let asked = unsafe { &mut *ASKED.0.get() };
    let _ = image::plain::write(asked, 0, &config::get().signal);
    arrival.info.iter_mut().zip(asked).for_each(|(to, from)| *to = *from);
    1
}

/// Says why there is no save, once.
#[cold]
fn complain(why: &str) {
    if TOLD.swap(1, Ordering::Relaxed) == 0 {
        let mut line = Line::<256>::new();
        line.text("ckpt: not saved: the program's own handler of the checkpoint signal calls libckpt's, and the program ").text(why);
        line.text("; set CKPT_SIGNAL to a signal that it does not handle");
        line.send(STANDARD_ERROR);
    }
}
