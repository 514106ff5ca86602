//! Processes in another PID namespace: in a container, or restarted by `myrestart --pid=keep`.
//!
//! The request names its sender by a process id, and the target looks for that one in its own `/proc` (docs/protocol.md). Only a process of the same namespace has
//! an id there.

use crate::exit::{Code, Failure, Result};
use crate::request::become_like;
use crate::target::{Status, Target};
use nix::sched::{CloneFlags, setns};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use std::fs::File;
use std::os::unix::fs::MetadataExt;

/// Goes on in the PID namespace of a target: in a child, if that is another one. The parent ends as the child ends.
///
/// # Errors
///
/// [`Code::Permission`] when this user may not enter it.
pub fn enter(target: &Target) -> Result<()> {
    let depth = |pid: &dyn std::fmt::Display| Status::of(pid).map_or(1, |status| status.depth);
    // What is seen in our /proc is in our namespace or in one below it.
    if depth(&target.pid) <= depth(&"self") {
        return Ok(());
    }
    let refused = |why: String| {
        let text = format!(
            "process {} ({}): is in another PID namespace; ask inside of it (in its container), or as root: {why}",
            target.pid, target.name
        );
        Failure::new(Code::Permission, text)
    };
    let open = |kind: &str| File::open(format!("/proc/{}/ns/{kind}", target.pid));
    let file = open("pid").map_err(|e| refused(e.to_string()))?;
    let user = open("user").map_err(|e| refused(e.to_string()))?;
    let ours = File::open("/proc/self/ns/user").and_then(|file| file.metadata());
    let is_ours = user.metadata().is_ok_and(|theirs| ours.is_ok_and(|ours| theirs.ino() == ours.ino()));
    if !is_ours {
        // Whoever made the user namespace may enter it; nobody in it may look at a process outside of it.
        become_like(target)?;
        setns(&user, CloneFlags::CLONE_NEWUSER).map_err(|errno| refused(errno.to_string()))?;
    }
    setns(&file, CloneFlags::CLONE_NEWPID).map_err(|errno| refused(errno.to_string()))?;
    // SAFETY: this process has one thread.
    match unsafe { fork() }.map_err(|errno| Failure::call("fork", errno))? {
        ForkResult::Child => Ok(()),
        ForkResult::Parent { child } => {
            let code = loop {
                match waitpid(child, None) {
                    Ok(WaitStatus::Exited(_, code)) => break code,
                    Ok(WaitStatus::Signaled(_, signal, _)) => break 128 + signal as i32,
                    Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                    Err(_) => break Code::Internal as i32,
                }
            };
            // SAFETY: _exit(2) takes a number. Whatever there was to write, the child has written.
            unsafe { libc::_exit(code) }
        }
    }
}
