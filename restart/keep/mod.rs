//! `--pid=keep`: the process gets the id that it had.
//!
//! The kernel gives a process an id of one's choice only when it is made (clone3(2), `set_tid`), so the process becomes a child of `myrestart`, which
//! stays as a stand-in ([`stand_in`]): whoever started it and knows its number can do with it what could be done with the program.
//!
//! ```text
//! with CAP_CHECKPOINT_RESTORE          without it: a user, a PID and a mount namespace
//!
//! myrestart   stand-in                 myrestart   stand-in
//!  `- N       the process               |- 1       its init: takes in orphans (init.rs)
//!                                       `- N       the process, with a /proc of the namespace
//! ```
//!
//! In the namespace the process has its own user and group id, and no capability.

mod init;
mod stand_in;

use crate::crew::{Crew, Ids, Lost};
use crate::exit::{Code, Failure, Result};
use crate::options::Pid;
use crate::probe;
use core::ffi::CStr;
use core::sync::atomic::AtomicU32;
use image::format::NONE;
use image::read::Image;
use init::Init;
use stand_in::StandIn;
use sys::Errno;
use sys::line::Line;
use sys::process::namespace;

/// What the rest of the restart has to know of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Threads get their old ids as well.
    pub threads: bool,
    /// The process is in a user namespace of its own: its capabilities are good for nothing outside.
    pub namespace: bool,
    /// It has capabilities that its user would not have; it loses them when the last thread has its id.
    pub drops_capabilities: bool,
}

const ADVICE: &str = "restart it with a new one (without --pid=keep)";

/// Comes back in a process that has the id of the image's. The one that called it never does.
///
/// # Errors
///
/// [`Code::Pid`] when the id cannot be had.
pub fn keep<'a>(image: &Image, how: Pid, force: bool) -> Result<'a, Kept> {
    let process = *image.process();
    let mut kept = Kept { threads: true, namespace: false, drops_capabilities: false };
    if how == Pid::New {
        return Ok(Kept::default());
    }
    if process.pid == 0 || process.pid == NONE {
        return Err(Failure::new(Code::Pid, b"", "the image does not tell the process id", ADVICE));
    }
    let stand_in = StandIn::new();
    let here = if how == Pid::Keep { fork_here(process.pid) } else { Err(Errno::EPERM) };
    let (child, init) = match here {
        Err(Errno::EPERM) => {
            kept.namespace = enter_namespaces(how)?;
            // The first process of a PID namespace is its init, also when it is the one of the image.
            let init = if process.pid == 1 { None } else { Some(init::start(process.pid)?) };
            // SAFETY: there is one thread; the child goes on from here as its parent would have.
            (unsafe { sys::process::fork_as(process.pid) }.map_err(not_had)?, init)
        }
        other => (other.map_err(not_had)?, None),
    };
    if child != 0 {
        stand_in.run(child, init)
    }
    for fd in init.into_iter().flat_map(Init::pipes) {
        let _ = sys::fd::close(fd);
    }
    stand_in.settle(&process);
    if here == Err(Errno::EPERM) {
        own_proc(force)?;
    }
    let user = sys::process::effective_uid();
    kept.drops_capabilities = user != 0 && sys::process::capabilities().unwrap_or(0) != 0;
    Ok(kept)
}

/// A child with this id in the present namespace. Where the process was killed a moment ago, the last that had its id or that of its group may not be gone yet.
fn fork_here(id: u32) -> sys::Result<u32> {
    const TRIES: usize = 100;
    const PAUSE_NS: u64 = 10_000_000;
    let nothing = AtomicU32::new(0);
    for _ in 1..TRIES {
        // SAFETY: there is one thread; the child goes on from here as its parent would have.
        match unsafe { sys::process::fork_as(id) } {
            Err(Errno::EEXIST) => {}
            other => return other,
        }
        let _ = sys::thread::futex_wait(&nothing, 0, PAUSE_NS);
    }
    Err(Errno::EEXIST)
}

/// Why the kernel did not make a process with that id.
fn not_had<'a>(errno: Errno) -> Failure<'a> {
    let (cause, advice) = match errno {
        Errno::EEXIST => (
            "its process id is in use",
            "end the process that has it, or use --pid=namespace or a new id (without --pid=keep)",
        ),
        Errno::EINVAL => ("its process id is higher than /proc/sys/kernel/pid_max", ADVICE),
        Errno::ENOSYS => ("this kernel has no clone3(2), which gives process ids", ADVICE),
        Errno::EAGAIN => {
            ("its process id cannot be had, for there may be no more processes (ulimit -u)", ADVICE)
        }
        _ => ("its process id cannot be had", ADVICE),
    };
    Failure::os(Code::Pid, b"", cause, errno, advice)
}

/// A PID namespace for children, and a mount namespace for its `/proc`; with a user namespace where they need one, which is what it returns.
fn enter_namespaces<'a>(how: Pid) -> Result<'a, bool> {
    let both = namespace::PID | namespace::MOUNT;
    if how == Pid::Namespace && sys::process::unshare(both).is_ok() {
        return Ok(false);
    }
    // Asked now: in the new namespace they have no names yet.
    let (user, group) = (sys::process::effective_uid(), sys::process::effective_gid());
    // The files of /proc/self belong to root for a program that its user may not read.
    sys::process::set_dumpable(1);
    let denied = |errno| {
        Failure::os(
            Code::Pid,
            b"",
            "its process id needs CAP_CHECKPOINT_RESTORE, or a user namespace, which this system does not let you have",
            errno,
            ADVICE,
        )
    };
    sys::process::unshare(namespace::USER | both).map_err(denied)?;
    let map = |file: &CStr, id: u32| {
        let mut line = Line::<32>::new();
        line.dec(u64::from(id)).text(" ").dec(u64::from(id)).text(" 1\n");
        probe::write_proc(file, line.as_bytes()).map_err(denied)
    };
    map(c"/proc/self/uid_map", user)?;
    // Who could leave a group by setgroups(2) could get at what is forbidden to that group.
    probe::write_proc(c"/proc/self/setgroups", b"deny").map_err(denied)?;
    map(c"/proc/self/gid_map", group)?;
    Ok(true)
}

/// A `/proc` in which the process finds itself under its number.
fn own_proc<'a>(force: bool) -> Result<'a, ()> {
    match sys::process::mount_proc() {
        Err(errno) if !force => {
            let cause =
                "its process id can be had in a PID namespace only, and that cannot have a /proc of its own";
            let advice = "use --force=proc to go on without (it cannot be saved then), or a new id (without --pid=keep)";
            Err(Failure::os(Code::Pid, b"", cause, errno, advice))
        }
        _ => Ok(()),
    }
}

/// The other threads, with the ids that `kept` says.
///
/// # Errors
///
/// [`Code::Pid`] when one of the old ids cannot be had.
pub fn crew<'a>(image: &Image, kept: Kept) -> Result<'a, Crew> {
    let ids = if kept.threads { Ids::Set } else { Ids::New };
    match Crew::start(image, ids)? {
        Ok(crew) => Ok(crew),
        Err(Lost::Refused(_, Errno::EEXIST)) => {
            let cause = "the id of one of its threads is in use";
            Err(Failure::new(Code::Pid, b"", cause, "use --pid=namespace or a new id (without --pid=keep)"))
        }
        Err(Lost::Refused(_, errno)) => {
            let cause = "a thread cannot be started";
            Err(Failure::os(Code::Limit, b"", cause, errno, "there may be no more threads (ulimit -u)"))
        }
        Err(Lost::Passed(_) | Lost::Far(_)) => {
            Err(Failure::new(Code::Pid, b"", "the id of one of its threads cannot be had", ADVICE))
        }
    }
}
