//! The one line that explains each failure of `myrestart`. Nothing was restarted then; a restart that succeeds has the exit status of its program.

pub use image::exit::Code;

use core::sync::atomic::{AtomicI32, Ordering};
use sys::Errno;
use sys::line::Line;

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

/// Writes a line that is no failure: there is something to know.
pub fn say<const N: usize>(line: &mut Line<N>) {
    line.send(STDERR.load(Ordering::Relaxed));
}

/// Writes the last line, and exits.
pub fn last_line<const N: usize>(code: Code, line: &mut Line<N>) -> ! {
    say(line);
    sys::process::exit_group(code as i32)
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
