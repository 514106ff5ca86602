//! Configuration from the environment, read once at start.
//!
//! `CKPT_IMAGE`, `CKPT_SIGNAL` and `CKPT_FOREGROUND`; libckpt(7) describes them. A bad value is one line on stderr and the default.

use crate::process::auxv_value;
use crate::report::STANDARD_ERROR;
use core::cell::UnsafeCell;
use core::ffi::c_char;
use core::mem::offset_of;
use core::sync::atomic::{AtomicU32, Ordering};
use image::elf::{PF_W, PT_LOAD, Phdr};
use image::number::take_decimal;
use sys::descriptor::{poll_event, poll_now};
use sys::fd::{self, open_flag};
use sys::line::Line;
use sys::memory;
use sys::signal::{self, sig};

const DEFAULT_SIGNAL: u32 = sig::USR2;
/// Longest image name, with its NUL: `PATH_MAX`.
pub const PATH_MAX: usize = 4096;

/// Longest command line that `ckpt run` hands on.
const COMMAND: usize = 2048;

/// What the environment said at start.
pub struct Config {
    /// `CKPT_IMAGE` as it was given; empty for the default.
    image: [u8; PATH_MAX],
    image_len: usize,
    /// The signal that asks for a save; zero where none does, because the library came in without its constructor.
    pub signal: u32,
    /// Write before the program goes on.
    pub foreground: bool,
    /// Take the contents of files that the program reads and writes into the image.
    pub saves_files: bool,
    /// `CKPT_COMMAND`, which goes into the image.
    command: [u8; COMMAND],
    command_len: usize,
    /// Save a program that nobody may look into.
    pub undumpable: bool,
    /// `LD_PRELOAD` names the library. The dynamic linker takes that variable, but not ours, from programs that gain privileges, and so from their children: where
    /// something else has loaded the library, another user may have set `CKPT_IMAGE`.
    pub is_preloaded: bool,
    /// Save a program that has children, without them.
    pub ignores_children: bool,
    /// Let go of pipes and sockets to the outside that were open at the start.
    pub drops_outside: bool,
}

/// The process that `CKPT_IMAGE` is meant for. All others have inherited it.
static FIRST_USER: AtomicU32 = AtomicU32::new(0);

/// [`FIRST_USER`]: the one that `ckpt run` has started, else the one in which the library was loaded, or which was restarted.
pub fn first_user() -> u32 {
    FIRST_USER.load(Ordering::Relaxed)
}

/// Where there was no constructor, the name is meant for whoever is saved first.
pub fn take_free_image_name() {
    if first_user() == 0 {
        take_image_name();
    }
}

/// From now on, `CKPT_IMAGE` is meant for this process.
pub fn take_image_name() {
    FIRST_USER.store(sys::process::pid(), Ordering::Relaxed);
}

struct Cell(UnsafeCell<Config>);
// SAFETY: written by the constructor only, before the program has a second thread or a signal can arrive; or by a tracer, before any of this code runs.
unsafe impl Sync for Cell {}

/// Addresses of what a tracer fills in, where there was no constructor.
pub struct Places {
    pub image: *const u8,
    pub image_len: *const u8,
    pub signal: *const u8,
    pub foreground: *const u8,
    pub ignores_children: *const u8,
}

/// Where the parts of the configuration are.
pub const fn places() -> Places {
    let base = (&raw const CONFIG).cast::<u8>();
    Places {
        image: base.wrapping_add(offset_of!(Config, image)),
        image_len: base.wrapping_add(offset_of!(Config, image_len)),
        signal: base.wrapping_add(offset_of!(Config, signal)),
        foreground: base.wrapping_add(offset_of!(Config, foreground)),
        ignores_children: base.wrapping_add(offset_of!(Config, ignores_children)),
    }
}

static CONFIG: Cell = Cell(UnsafeCell::new(Config {
    image: [0; PATH_MAX],
    image_len: 0,
    signal: DEFAULT_SIGNAL,
    foreground: false,
    saves_files: false,
    command: [0; COMMAND],
    command_len: 0,
    undumpable: false,
    is_preloaded: false,
    ignores_children: false,
    drops_outside: false,
}));

impl Config {
    /// The name of the image, before `%` is expanded, without a NUL.
    pub fn image(&self) -> &[u8] {
        match self.image.get(..self.image_len) {
            Some(name) if !name.is_empty() => name,
            _ => b"myckpt",
        }
    }

    /// The command line that `ckpt run` was given, or nothing.
    pub fn command(&self) -> &[u8] {
        self.command.get(..self.command_len).unwrap_or_default()
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
    /// `getauxval` of the program's libc, if it has one.
    static ckpt_getauxval: Option<unsafe extern "C" fn(u64) -> u64>;
}

/// The program's environment as it is now, for execve(2).
pub fn environment() -> *const *const c_char {
    // SAFETY: the dynamic linker has filled in the slot: the address of the libc's variable, or zero.
    unsafe { ckpt_environ.as_ref() }.map_or_else(crate::entered::environment, |environ| *environ)
}

/// Reads the environment. Returns false in a program that gained privileges at exec, which is left alone: nothing else is done then.
///
/// # Safety
///
/// Called by the constructor, before anything else of this crate.
pub unsafe fn read() -> bool {
    if is_secure() {
        return false;
    }
    // SAFETY: nobody else holds a reference yet.
    let config = unsafe { &mut *CONFIG.0.get() };
    let mut mark = None;
    let mut entry = environment();
    while !entry.is_null() {
        // SAFETY: the environment is an array of strings that ends with a null pointer.
        let text = unsafe { *entry };
        if text.is_null() {
            break;
        }
        // SAFETY: each entry is a string.
        let text = unsafe { core::ffi::CStr::from_ptr(text) }.to_bytes();
        if let Some(value) = text.strip_prefix(b"CKPT_") {
            config.set(value);
            mark = mark.or(value.strip_prefix(b"IMAGE_OF="));
        } else if let Some(value) = text.strip_prefix(b"LD_PRELOAD=") {
            let mut files = value.split(|byte| b" :".contains(byte));
            config.is_preloaded |= files.any(|file| file.ends_with(b"libckpt.so"));
        }
        // SAFETY: this was not the last one.
        entry = unsafe { entry.add(1) };
    }
    // It counts for the name that it was set with: one that was set since is meant for whoever gets it.
    let marked = |mark| match take_decimal(mark)? {
        (pid, [b':', name @ ..]) if config.image.get(..config.image_len) == Some(name) => {
            u32::try_from(pid).ok()
        }
        _ => None,
    };
    match mark.and_then(marked) {
        Some(pid) => FIRST_USER.store(pid, Ordering::Relaxed),
        None => take_image_name(),
    }
    true
}

/// `AT_SECURE` of getauxval(3).
const AT_SECURE: u64 = 23;

/// Whether the program gained privileges at exec: by a set-user-ID or set-group-ID bit, or by capabilities of its file.
///
/// The libc knows. What the kernel put behind the environment is not to be found from here: a constructor that ran before this one
/// may have called setenv(3), and the environment is somewhere else since.
fn is_secure() -> bool {
    // SAFETY: the dynamic linker has filled in the slot: the address of the libc's function, or zero.
    match unsafe { ckpt_getauxval } {
        // SAFETY: getauxval(3) looks into a table of the dynamic linker's, which is there before any constructor.
        Some(getauxval) => unsafe { getauxval(AT_SECURE) != 0 },
        None => is_secure_by_proc(),
    }
}

/// A writable segment of the executable, by its number among these: first address, and the one behind the last.
pub fn writable_segment(number: usize) -> Option<[u64; 2]> {
    const AT_PHDR: u64 = 3;
    const AT_PHNUM: u64 = 5;
    const PT_PHDR: u32 = 6;
    // SAFETY: the dynamic linker has filled in the slot; getauxval(3) looks into a table.
    let value = |kind| unsafe { ckpt_getauxval.map_or(0, |getauxval| getauxval(kind)) };
    let (first, count) = (value(AT_PHDR), value(AT_PHNUM));
    let headers = (0..count).map_while(|index| {
        let mut header = [0; size_of::<Phdr>()];
        // SAFETY: the program's own headers, which nobody unmaps now.
        let is_there = unsafe { memory::read(first + index * size_of::<Phdr>() as u64, &mut header) };
        if is_there { image::plain::read::<Phdr>(&header, 0) } else { None }
    });
    // Where they say that they are themselves, and where they are.
    let own = headers.clone().find(|header| header.p_type == PT_PHDR);
    let base = own.map_or(0, |own| first.wrapping_sub(own.p_vaddr));
    let mut writable = headers.filter(|header| header.p_type == PT_LOAD && header.p_flags & PF_W != 0);
    writable.nth(number).map(|header| {
        let start = base.wrapping_add(header.p_vaddr);
        [start, start.wrapping_add(header.p_memsz)]
    })
}

/// The same of a program without a libc. One that cannot be looked at is left alone.
fn is_secure_by_proc() -> bool {
    let flags = open_flag::RDONLY | open_flag::CLOEXEC;
    let Ok(file) = fd::open_at(fd::AT_FDCWD, b"/proc/self/auxv\0", flags, 0) else { return true };
    let mut vector = [0; 1024];
    let len = fd::read(file, &mut vector);
    let _ = fd::close(file);
    match len.ok().and_then(|len| vector.get(..len)) {
        Some(vector) if !vector.is_empty() => auxv_value(vector, AT_SECURE) != 0,
        _ => true,
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
        } else if let Some(value) = variable.strip_prefix(b"FILES=") {
            match value {
                b"" | b"names" => self.saves_files = false,
                b"written" => self.saves_files = true,
                _ => bad(b"CKPT_FILES", value, "names or written"),
            }
        } else if let Some(line) = variable.strip_prefix(b"COMMAND=") {
            self.command_len = image::plain::copy(&mut self.command, line);
        } else if let Some(value) = variable.strip_prefix(b"DROP_FDS=") {
            match value {
                b"" => self.drops_outside = false,
                b"outside" => self.drops_outside = true,
                _ => bad(b"CKPT_DROP_FDS", value, "outside"),
            }
        } else if let Some(value) = variable.strip_prefix(b"UNDUMPABLE=") {
            match value {
                b"" | b"0" => self.undumpable = false,
                b"1" => self.undumpable = true,
                _ => bad(b"CKPT_UNDUMPABLE", value, "0 or 1"),
            }
        } else if let Some(value) = variable.strip_prefix(b"CHILDREN=") {
            match value {
                b"" | b"refuse" => self.ignores_children = false,
                b"ignore" => self.ignores_children = true,
                _ => bad(b"CKPT_CHILDREN", value, "refuse or ignore"),
            }
        }
    }
}

fn bad(name: &[u8], value: &[u8], wanted: &str) {
    // Nobody may be there to read it any more: SIGPIPE would end a program that has not begun.
    let events = poll_now(STANDARD_ERROR, poll_event::OUT).unwrap_or(poll_event::ERR);
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
        .send(STANDARD_ERROR);
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
