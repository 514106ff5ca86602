//! Threads that a tracer has put into libckpt: `src/inject`, docs/entry.md.

use crate::arrival::{
    ckpt_enter, ckpt_entry, ckpt_join, ckpt_joining, ckpt_leader, ckpt_restorer, ckpt_wait, ckpt_waited,
};
use crate::config;
use core::cell::UnsafeCell;
use core::ffi::c_char;
use core::sync::atomic::{AtomicU32, Ordering};
use image::boot::{self, Kept};
use sys::thread;

/// What a tracer keeps here.
#[repr(transparent)]
struct Cell(UnsafeCell<Kept>);
// SAFETY: only tracers write it, when no thread runs.
unsafe impl Sync for Cell {}

static KEPT: Cell =
    Cell(UnsafeCell::new(Kept { ready: boot::READY, slots: 0, count: 0, environ: 0, answer: [0; 4] }));

type Code = unsafe extern "C" fn();
type Word = *const AtomicU32;

/// [`boot::Boot`], with addresses that the dynamic linker fills in.
#[repr(C)]
pub struct Table {
    magic: u64,
    version: u64,
    code: [Code; 6],
    words: [Word; 2],
    kept: *const Cell,
    config: [*const u8; 5],
}
const _: () = assert!(size_of::<Table>() == size_of::<boot::Boot>());
// SAFETY: it is never written.
unsafe impl Sync for Table {}

/// The table that tracers look for.
#[unsafe(no_mangle)]
#[used]
pub static ckpt_boot: Table = Table {
    magic: boot::MAGIC,
    version: boot::VERSION,
    code: [ckpt_enter, ckpt_entry, ckpt_join, ckpt_restorer, ckpt_wait, ckpt_waited],
    words: [&raw const ckpt_leader, &raw const ckpt_joining],
    kept: &raw const KEPT,
    config: {
        let places = config::places();
        [places.image, places.image_len, places.signal, places.foreground, places.ignores_children]
    },
};

/// Values of `ckpt_joining`, beside [`boot::COMING`].
const GATHERS: u32 = 2;
const OVER: u32 = 3;

/// Called by the leader: the others may park.
pub fn gathers() {
    say(GATHERS);
}

/// Called by the leader: whoever comes now is too late, and goes on.
pub fn over() {
    say(OVER);
}

/// After a restart: nobody waits.
pub fn forget() {
    ckpt_joining.store(OVER, Ordering::Relaxed);
}

fn say(state: u32) {
    ckpt_joining.store(state, Ordering::SeqCst);
    thread::futex_wake(&ckpt_joining, u32::MAX >> 1);
}

/// The environment where no libc tells it.
pub fn environment() -> *const *const c_char {
    // SAFETY: a tracer wrote it before any of this code ran, or nobody did.
    unsafe { (*KEPT.0.get()).environ as *const *const c_char }
}
