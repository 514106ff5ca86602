//! Exit codes, and the one line that explains each.
//!
//! A restart that succeeds never exits with one of these: the program that came back has its own exit status. The numbers keep away from
//! 0 to 63, which programs use, and from 126 to 165, which shells give to commands that they cannot run or that a signal ended.

use core::sync::atomic::{AtomicI32, Ordering};
use sys::Errno;
use sys::line::Line;

/// Why `myrestart` gave up. Nothing was restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Code {
    /// Wrong arguments.
    Usage = 64,
    /// The file is not an ELF core file at all: empty, a text, an executable.
    NotAnImage = 65,
    /// The image cannot be opened.
    NoImage = 66,
    /// A core file, but not of ours, or of another machine.
    Foreign = 67,
    /// An image of another version.
    Version = 68,
    /// The image is shorter than it says.
    Truncated = 69,
    /// A bug in `myrestart`.
    Internal = 70,
    /// A checksum does not hold, or a table contradicts itself.
    Corrupt = 71,
    /// A file that the process had open or mapped is gone.
    FileMissing = 72,
    /// A file that the process had open or mapped is another one now.
    FileChanged = 73,
    /// Reading the image failed.
    Io = 74,
    /// The CPU lacks a feature that the process was using.
    Cpu = 75,
    /// The kernel lacks what the process needs.
    Kernel = 76,
    /// The permission is missing: another owner, or a privilege.
    Permission = 77,
    /// Not enough memory.
    Memory = 78,
    /// A resource limit is in the way.
    Limit = 79,
    /// No place in the address space for the restarter beside the process.
    Layout = 80,
    /// The image is a directory, a FIFO, a device.
    NotRegular = 81,
    /// The image has state that this version cannot restore.
    Unsupported = 82,
    /// The process id of the image cannot be had.
    Pid = 83,
    /// The executor failed, after the restarter's own memory was gone.
    Late = 84,
    /// A system call of the plan failed for another reason.
    Call = 85,
    /// Something that the process held is taken: a lock, an address. (86 to 92 are those of `ckpt`.)
    Busy = 93,
}

/// The restarter's standard error: another number than 2 when 2 is going to be the process's.
static STDERR: AtomicI32 = AtomicI32::new(2);

/// Sends the line of a failure to descriptor `fd` from now on.
pub fn speak_to(fd: i32) {
    STDERR.store(fd, Ordering::Relaxed);
}

/// A code and its line: the thing, the cause, and what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure<'a> {
    /// Class of the failure.
    pub code: Code,
    /// The thing: a path, an option, a system call.
    pub thing: &'a [u8],
    /// What is the matter with it.
    pub cause: &'a str,
    /// The kernel's word on it.
    pub errno: Option<Errno>,
    /// What to do about it.
    pub advice: &'static str,
}

/// Result of what can fail with a [`Failure`].
pub type Result<'a, T> = core::result::Result<T, Failure<'a>>;

impl<'a> Failure<'a> {
    /// A failure without an errno.
    pub const fn new(code: Code, thing: &'a [u8], cause: &'a str, advice: &'static str) -> Self {
        Self { code, thing, cause, errno: None, advice }
    }

    /// A failure that the kernel reported.
    pub const fn os(code: Code, thing: &'a [u8], cause: &'a str, errno: Errno, advice: &'static str) -> Self {
        Self { code, thing, cause, errno: Some(errno), advice }
    }

    /// The same failure, filed under the class that its errno names where that tells more.
    pub fn by_errno(mut self) -> Self {
        self.code = match self.errno {
            Some(Errno::ENOMEM) => Code::Memory,
            Some(Errno::EACCES | Errno::EPERM) => Code::Permission,
            Some(Errno::EMFILE | Errno::ENFILE) => Code::Limit,
            _ => self.code,
        };
        self
    }

    /// The line, without the name of the program.
    pub fn write<'l, const N: usize>(&self, line: &'l mut Line<N>) -> &'l mut Line<N> {
        if !self.thing.is_empty() {
            line.quoted(self.thing.strip_suffix(b"\0").unwrap_or(self.thing)).text(": ");
        }
        line.text(self.cause);
        if let Some(errno) = self.errno {
            line.text(": ").errno(errno);
        }
        if !self.advice.is_empty() {
            line.text("; ").text(self.advice);
        }
        line
    }

    /// Writes the line to stderr and exits.
    pub fn exit(&self) -> ! {
        let mut line: Line<4096> = Line::new();
        self.write(line.text("myrestart: ")).send(STDERR.load(Ordering::Relaxed));
        sys::process::exit_group(self.code as i32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_the_thing_the_cause_and_what_to_do() {
        let failure =
            Failure::os(Code::NoImage, b"a\nb\0", "cannot open the image", Errno::ENOENT, "give its path");
        let mut line: Line<256> = Line::new();
        assert_eq!(
            core::str::from_utf8(failure.write(&mut line).as_bytes()),
            Ok("a?b: cannot open the image: ENOENT (No such file or directory); give its path"),
        );
    }
}
