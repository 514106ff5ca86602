//! Exit codes, and the one line that explains each failure.
//!
//! The numbers are an interface: scripts rely on them, tests compare them by value, and the manual page is made from [`TABLE`]. 64 to 85 and 93 mean what
//! they mean for `myrestart`.

use nix::errno::Errno;
use std::fmt;
use std::path::Path;

macro_rules! codes {
    ($($(#[doc = $text:literal])+ $name:ident = $number:literal,)*) => {
        /// Class of an outcome.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Code { $($(#[doc = $text])+ $name = $number,)* }

        /// Every code with what it means, by number.
        pub const TABLE: &[(u8, &str)] = &[$(($number, concat!($($text),+).trim_ascii()),)*];
    };
}

codes! {
    /// It was done; the answer is yes.
    Done = 0,
    /// The answer is no: the images differ, a save would be refused, something that ckpt needs is missing here.
    No = 1,
    /// Wrong arguments.
    Usage = 64,
    /// The file is not an ELF core file at all: empty, a text, an executable.
    NotAnImage = 65,
    /// The image, or another file, cannot be opened.
    NoImage = 66,
    /// A core file, but not of ckpt, or of another machine.
    Foreign = 67,
    /// An image of another version.
    Version = 68,
    /// The image is cut short.
    Truncated = 69,
    /// A bug in ckpt.
    Internal = 70,
    /// The image is damaged: a checksum is wrong, a table contradicts itself, or the file goes on behind it.
    Corrupt = 71,
    /// The image has nothing of that name.
    Missing = 72,
    /// Reading or writing failed.
    Io = 74,
    /// The kernel lacks what is needed.
    Kernel = 76,
    /// The permission is missing.
    Permission = 77,
    /// The image is a directory, a FIFO, a device.
    NotRegular = 81,
    /// The image needs something that this version does not know.
    Unsupported = 82,
    /// A tool is missing: libckpt.so, myrestart, gdb.
    NoTool = 86,
    /// There is no such process, or more than one of that name.
    NoProcess = 87,
    /// The process runs without libckpt.so, or does not catch the signal.
    NotTarget = 88,
    /// The save was refused: something in the process could not be restored.
    Refused = 89,
    /// The save failed: a system call did. The previous image is as it was.
    Failed = 90,
    /// The process, or the writer of its image, ended during the save.
    Died = 91,
    /// No answer in time.
    Timeout = 92,
    /// The command cannot be executed (`ckpt run`).
    CannotRun = 126,
    /// The command is not found (`ckpt run`).
    NotFound = 127,
}

/// Why a command gave up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Class of the failure.
    pub code: Code,
    /// The thing, the cause and what to do, in one line without a full stop.
    pub text: String,
}

/// Result of what can fail with a [`Failure`].
pub type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// A failure.
    pub fn new(code: Code, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    /// A failure of an operation on a file; its class follows from the error where that tells more than `code`.
    pub fn file(code: Code, path: &Path, what: &str, error: impl Into<std::io::Error>) -> Self {
        let error = error.into();
        let code = match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EACCES | Errno::EPERM) => Code::Permission,
            _ => code,
        };
        Self::new(code, format!("{}: {what}: {}", crate::text::shown(path.as_os_str()), reason(&error)))
    }

    /// A failed system call that is about no file.
    pub fn call(what: &str, errno: Errno) -> Self {
        let code = match errno {
            Errno::EACCES | Errno::EPERM => Code::Permission,
            Errno::ENOSYS => Code::Kernel,
            _ => Code::Io,
        };
        Self::new(code, format!("{what}: {errno}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Failure {}

/// What the kernel says of an error, in the form that the other parts of ckpt use: `ENOENT: No such file or directory`.
fn reason(error: &std::io::Error) -> String {
    match error.raw_os_error() {
        Some(raw) => Errno::from_raw(raw).to_string(),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_told_apart_and_in_order() {
        assert!(TABLE.windows(2).all(|pair| pair[0].0 < pair[1].0), "{TABLE:?}");
        assert!(TABLE.iter().all(|(_, text)| text.ends_with('.')), "{TABLE:?}");
    }

    #[test]
    fn a_missing_permission_has_its_own_code() {
        let denied = Failure::file(Code::NoImage, Path::new("a\nb"), "cannot be opened", Errno::EACCES);
        assert_eq!(denied.code, Code::Permission);
        assert_eq!(denied.text, "a\\012b: cannot be opened: EACCES: Permission denied");
        let gone = Failure::file(Code::NoImage, Path::new("f"), "cannot be opened", Errno::ENOENT);
        assert_eq!(gone.code, Code::NoImage);
        assert_eq!(Failure::call("kcmp", Errno::EPERM).code, Code::Permission);
    }

    #[test]
    fn a_call_that_the_kernel_does_not_have_has_its_own_code() {
        assert_eq!(Failure::call("pidfd_open", Errno::ENOSYS).code, Code::Kernel);
        assert_eq!(Failure::call("pipe", Errno::EMFILE).code, Code::Io);
    }
}
