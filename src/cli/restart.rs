//! `ckpt restart`: become `myrestart`.

use crate::args::Restart;
use crate::exit::{Code, Failure, Result};
use crate::tools;
use nix::errno::Errno;
use nix::unistd::execv;
use std::convert::Infallible;
use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// Runs it. Comes back only if it cannot be run.
pub fn run(args: &Restart) -> Result<Infallible> {
    become_restarter(args.args.iter().map(OsString::as_os_str))
}

/// Executes `myrestart` with arguments.
pub fn become_restarter<'a>(args: impl IntoIterator<Item = &'a OsStr>) -> Result<Infallible> {
    let restarter = tools::restarter()?;
    let args: Vec<_> =
        [OsStr::new("myrestart")].into_iter().chain(args).map(c_string).collect::<Result<_>>()?;
    let errno = execv(&c_string(restarter.as_os_str())?, &args).unwrap_err();
    Err(cannot_run(&restarter, errno))
}

/// Why a program was not executed, with the exit code that shells use for it.
pub fn cannot_run(program: &Path, errno: Errno) -> Failure {
    let code = if errno == Errno::ENOENT { Code::NotFound } else { Code::CannotRun };
    let text = format!("{}: cannot be executed: {errno}", crate::text::shown(program));
    Failure::new(code, text)
}

/// An argument for execve(2). What comes from a command line has no NUL.
pub fn c_string(text: &OsStr) -> Result<CString> {
    CString::new(text.to_owned().into_vec()).map_err(|_| {
        Failure::new(Code::Usage, format!("{:?}: has a NUL", text.as_bytes().escape_ascii().to_string()))
    })
}
