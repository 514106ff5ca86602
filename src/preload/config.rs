//! Configuration from the environment, read once at start.
//!
//! `CKPT_IMAGE`, `CKPT_SIGNAL` and `CKPT_FOREGROUND`; libckpt(7) describes them. A bad value is one line on stderr and the default.

use core::cell::UnsafeCell;
use core::ffi::c_char;
use sys::descriptor::{poll_event, poll_now};
use sys::line::Line;
use sys::signal::{self, sig};

const DEFAULT_SIGNAL: u32 = sig::USR2;
/// Longest image name, with its NUL: `PATH_MAX`.
pub const PATH_MAX: usize = 4096;

/// What the environment said at start.
pub struct Config {
    /// `CKPT_IMAGE` as it was given; empty for the default.
    image: [u8; PATH_MAX],
    image_len: usize,
    /// The signal that asks for a save.
    pub signal: u32,
    /// Write before the program goes on.
    pub foreground: bool,
}

struct Cell(UnsafeCell<Config>);
// SAFETY: written by the constructor only, before the program has a second thread or a signal can arrive.
unsafe impl Sync for Cell {}

static CONFIG: Cell = Cell(UnsafeCell::new(Config {
    image: [0; PATH_MAX],
    image_len: 0,
    signal: DEFAULT_SIGNAL,
    foreground: false,
}));

impl Config {
    /// The name of the image, before `%` is expanded, without a NUL.
    pub fn image(&self) -> &[u8] {
        match self.image.get(..self.image_len) {
            Some(name) if !name.is_empty() => name,
            _ => b"myckpt",
        }
    }
}

/// The configuration.
pub fn get() -> &'static Config {
    // SAFETY: nobody writes after the constructor.
    unsafe { &*CONFIG.0.get() }
}

unsafe extern "C" {
    /// `&environ` of the program's libc, or null.
    static ckpt_environ: *const *const *const c_char;
}

/// The program's environment as it is now, for execve(2).
pub fn environment() -> *const *const c_char {
    // SAFETY: the dynamic linker has filled in the slot: the address of the libc's variable, or zero.
    unsafe { ckpt_environ.as_ref() }.map_or(core::ptr::null(), |environ| *environ)
}

/// Reads the environment. Returns false in a program that gained privileges at exec (`AT_SECURE`), which is left alone.
///
/// # Safety
///
/// Called by the constructor, before anything else of this crate.
pub unsafe fn read() -> bool {
    // SAFETY: nobody else holds a reference yet.
    let config = unsafe { &mut *CONFIG.0.get() };
    // SAFETY: the dynamic linker has filled in the slot: the address of the libc's variable, or zero.
    let Some(&environ) = (unsafe { ckpt_environ.as_ref() }) else { return true };
    if environ.is_null() {
        return true;
    }
    let mut entry = environ;
    loop {
        // SAFETY: the environment is an array of strings that ends with a null pointer.
        let text = unsafe { *entry };
        // SAFETY: at most one behind the null, which is the auxiliary vector.
        entry = unsafe { entry.add(1) };
        if text.is_null() {
            break;
        }
        // SAFETY: each entry is a string.
        let text = unsafe { core::ffi::CStr::from_ptr(text) }.to_bytes();
        if let Some(value) = text.strip_prefix(b"CKPT_") {
            config.set(value);
        }
    }
    // SAFETY: at the start of a program the auxiliary vector follows the environment (man 3 getauxval).
    !unsafe { is_secure(entry.cast()) }
}

/// Whether `AT_SECURE` is set in an auxiliary vector.
///
/// # Safety
///
/// `auxv` is one: pairs of words up to a zero.
unsafe fn is_secure(mut auxv: *const [u64; 2]) -> bool {
    const AT_SECURE: u64 = 23;
    loop {
        // SAFETY: the vector has not ended yet.
        match unsafe { *auxv } {
            [0, _] => return false,
            [AT_SECURE, value] => return value != 0,
            // SAFETY: the entry was not the last one.
            _ => auxv = unsafe { auxv.add(1) },
        }
    }
}

impl Config {
    /// Takes one variable, `NAME=value` without its `CKPT_`. Others than ours are none of our business.
    fn set(&mut self, variable: &[u8]) {
        if let Some(name) = variable.strip_prefix(b"IMAGE=") {
            match self.image.get_mut(..name.len()) {
                Some(room) if name.len() < PATH_MAX => {
                    room.iter_mut().zip(name).for_each(|(to, from)| *to = *from);
                    self.image_len = name.len();
                }
                _ => bad(b"CKPT_IMAGE", b"(too long)", "a path of at most 4095 bytes"),
            }
        } else if let Some(name) = variable.strip_prefix(b"SIGNAL=") {
            match signal_number(name) {
                Some(number) => self.signal = number,
                None => bad(
                    b"CKPT_SIGNAL",
                    name,
                    "a name like USR1 or RTMIN+3, or a number from 1 to 64, but KILL and STOP",
                ),
            }
        } else if let Some(value) = variable.strip_prefix(b"FOREGROUND=") {
            match value {
                b"" | b"0" => self.foreground = false,
                b"1" => self.foreground = true,
                _ => bad(b"CKPT_FOREGROUND", value, "0 or 1"),
            }
        }
    }
}

fn bad(name: &[u8], value: &[u8], wanted: &str) {
    const STDERR: i32 = 2;
    // Nobody may be there to read it any more: SIGPIPE would end a program that has not begun.
    let events = poll_now(STDERR, poll_event::OUT).unwrap_or(poll_event::ERR);
    if events & poll_event::ERR != 0 {
        return;
    }
    let mut line = Line::<512>::new();
    line.text("ckpt: ")
        .bytes(name)
        .text("=")
        .quoted(value)
        .text(" is not ")
        .text(wanted)
        .text("; using the default")
        .send(STDERR);
}

/// A signal by name, with or without `SIG`, by `RTMIN+n`, or by number. KILL and STOP cannot be caught and are none.
fn signal_number(text: &[u8]) -> Option<u32> {
    /// What libcs call SIGRTMIN: two are left to them.
    const RTMIN: u32 = 34;
    let name = text.strip_prefix(b"SIG").unwrap_or(text);
    let number = match name.strip_prefix(b"RTMIN") {
        Some(b"") => RTMIN,
        Some(more) => RTMIN.checked_add(decimal(more.strip_prefix(b"+")?)?)?,
        None => match (1..).zip(signal::NAMES).find(|(_, known)| known.as_bytes() == name) {
            Some((number, _)) => number,
            None => decimal(name)?,
        },
    };
    ((1..=signal::SIGNALS).contains(&number) && !matches!(number, sig::KILL | sig::STOP)).then_some(number)
}

fn decimal(text: &[u8]) -> Option<u32> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u32, |n, &digit| {
        if digit.is_ascii_digit() { n.checked_mul(10)?.checked_add(u32::from(digit - b'0')) } else { None }
    })
}
