//! The one line that explains each failure.

pub use image::exit::Code;

use nix::errno::Errno;
use std::fmt;
use std::path::Path;

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
