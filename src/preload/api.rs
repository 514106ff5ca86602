//! The exported functions: `include/ckpt.h`, ckpt_checkpoint(3).

use crate::{config, start};
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};
use sys::{process, signal, thread};

/// `ckpt_checkpoint` is on its way into the handler.
static CALLING: AtomicBool = AtomicBool::new(false);
/// What it will return.
static RESULT: AtomicI32 = AtomicI32::new(0);
/// How often this line of processes was restarted.
static RESTARTS: AtomicU32 = AtomicU32::new(0);

/// Whether the save that begins now was asked for by `ckpt_checkpoint`.
pub fn is_calling() -> bool {
    CALLING.swap(false, Ordering::Relaxed)
}

/// The signal that the program gets after a restart; none: 0.
static AFTER_RESTART: AtomicI32 = AtomicI32::new(0);

/// Sets what `ckpt_checkpoint` will return.
pub fn set_result(result: i32) {
    RESULT.store(result, Ordering::Relaxed);
}

/// Notes a restart.
pub fn restarted() {
    RESTARTS.fetch_add(1, Ordering::Relaxed);
    set_result(1);
}

/// Saves the process now, and returns when the image is complete: 0 after the save, 1 after a restart from it, -1 when there is no image
/// (one line on standard error says why).
///
/// The program's handler for the checkpoint signal must be libckpt's; otherwise nothing happens, and the result is -1.
#[unsafe(no_mangle)]
pub extern "C" fn ckpt_checkpoint() -> i32 {
    let number = config::get().signal;
    // Only the handler: the kernel takes KILL and STOP out of the mask.
    if signal::action(number).map(|action| action.handler) != Ok(start::action().handler) {
        return -1;
    }
    let Ok(mask) = signal::mask() else { return -1 };
    let _ = signal::set_mask(mask & !signal::bit(number));
    CALLING.store(true, Ordering::Relaxed);
    set_result(-1);
    // The signal is for this thread and not blocked: the handler has run when the call returns.
    let sent = signal::raise(process::pid(), thread::tid(), number);
    let _ = signal::set_mask(mask);
    CALLING.store(false, Ordering::Relaxed);
    if sent.is_ok() { RESULT.load(Ordering::Relaxed) } else { -1 }
}

/// How often the process has been restarted from an image: 0 in one that was not.
#[unsafe(no_mangle)]
pub extern "C" fn ckpt_restarts() -> u32 {
    RESTARTS.load(Ordering::Relaxed)
}

/// Sends `number` to the process after each restart from now on, before it goes on; 0: none. Returns what was set before, or -1 for what is no signal.
#[unsafe(no_mangle)]
pub extern "C" fn ckpt_after_restart(number: i32) -> i32 {
    if (0..=64).contains(&number) { AFTER_RESTART.swap(number, Ordering::Relaxed) } else { -1 }
}

/// Sends the process the signal that it wants after a restart. Every signal is blocked: it arrives when the threads go on.
pub fn tell_restart() {
    let number = AFTER_RESTART.load(Ordering::Relaxed);
    if number != 0 {
        process::send(process::pid(), number as u32);
    }
}
