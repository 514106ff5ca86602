//! Asking a target for a save or a check, and hearing what comes of it: docs/protocol.md.

use crate::exit::{Code, Failure, Result};
use crate::namespace;
use crate::report::{Line, Lines};
use crate::signal;
use crate::target::{Status, Target};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{Gid, Uid, pipe2, read, setgroups, setresgid, setresuid};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// What is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Save and go on.
    Save = 0,
    /// Say what a save would refuse.
    Check = 1,
    /// Save, and end where it was saved.
    SaveAndEnd = 2,
}

/// Time between two looks at a target that does not answer.
const LOOK: Duration = Duration::from_millis(200);
/// A request that is neither pending nor answered after this is sent again.
const LOST: Duration = Duration::from_secs(1);

/// A request that was sent.
pub struct Request<'a> {
    target: &'a Target,
    kind: Kind,
    from: OwnedFd,
    /// Our write end; closed when the target has its own.
    to: Option<OwnedFd>,
    lines: Lines,
    ready: std::vec::IntoIter<Line>,
    sent: Instant,
    /// When to stop waiting for the first line.
    deadline: Option<Instant>,
    finished: bool,
}

impl<'a> Request<'a> {
    /// Sends it. The target has until `deadline` to begin.
    pub fn send(target: &'a Target, kind: Kind, patience: Option<Duration>) -> Result<Self> {
        namespace::enter(target)?;
        become_like(target)?;
        let flags = OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        let (from, to) = pipe2(flags).map_err(|errno| Failure::call("pipe", errno))?;
        let mut request = Self {
            target,
            kind,
            from,
            to: Some(to),
            lines: Lines::default(),
            ready: vec![].into_iter(),
            sent: Instant::now(),
            deadline: patience.map(|patience| Instant::now() + patience),
            finished: false,
        };
        request.signal()?;
        Ok(request)
    }

    fn signal(&mut self) -> Result<()> {
        let Some(to) = &self.to else { return Ok(()) };
        queue(self.target, self.kind, to.as_raw_fd()).map_err(|errno| match errno {
            Errno::ESRCH => self.died(),
            Errno::EPERM => Failure::new(
                Code::Permission,
                format!("process {}: may not be signalled; ask as its user or as root", self.target.pid),
            ),
            Errno::EAGAIN => Failure::call("the queue of signals is full (ulimit -i)", errno),
            errno => Failure::call("pidfd_send_signal", errno),
        })?;
        self.sent = Instant::now();
        Ok(())
    }

    /// Waits for the next line; none follows one that is final.
    ///
    /// # Errors
    ///
    /// When the target ends, or whoever writes the image, or when the target does not begin in time.
    pub fn next(&mut self) -> Result<Line> {
        loop {
            if let Some(line) = self.ready.next() {
                if let Line::Accepted { .. } = line {
                    self.to = None;
                }
                self.finished |= line.is_final();
                return Ok(line);
            }
            self.wait()?;
        }
    }

    /// Whether the final line was given.
    pub fn finished(&self) -> bool {
        self.finished
    }

    /// Waits until something is there to read, and reads it.
    fn wait(&mut self) -> Result<()> {
        let accepted = self.to.is_none();
        let mut fds = vec![PollFd::new(self.from.as_fd(), PollFlags::POLLIN)];
        // Later the writer counts, which may outlive the target.
        if !accepted {
            fds.push(PollFd::new(self.target.pidfd.as_fd(), PollFlags::POLLIN));
        }
        let timeout = if accepted { PollTimeout::NONE } else { PollTimeout::from(LOOK.as_millis() as u16) };
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(Failure::call("poll", errno)),
        }
        let gone = fds.get(1).is_some_and(|fd| fd.any().unwrap_or(false));
        let mut buf = [0; 4096];
        match read(&self.from, &mut buf) {
            Ok(0) => Err(Failure::new(
                Code::Died,
                format!(
                    "process {} ({}): the writer of the image was killed; the previous image is as it was",
                    self.target.pid, self.target.name
                ),
            )),
            Ok(len) => {
                self.ready = self.lines.push(&buf[..len]).into_iter();
                Ok(())
            }
            Err(Errno::EAGAIN) if gone => Err(self.died()),
            Err(Errno::EAGAIN | Errno::EINTR) if accepted => Ok(()),
            Err(Errno::EAGAIN | Errno::EINTR) => self.look(),
            Err(errno) => Err(Failure::call("reading the report", errno)),
        }
    }

    /// Looks at a target that has not answered yet: sends the request again if it was lost, and gives up when the time is over.
    fn look(&mut self) -> Result<()> {
        let status = Status::of(self.target.pid).map_err(|_| self.died())?;
        let pending = Status::has(status.pending, self.target.signal);
        let saving = status.blocked & ALL == ALL;
        if !pending && !saving && self.sent.elapsed() > LOST {
            self.signal()?;
        }
        if self.deadline.is_none_or(|deadline| Instant::now() < deadline) {
            return Ok(());
        }
        let signal = signal::name(self.target.signal);
        if !pending && !saving && status.state != b'D' {
            return Err(Failure::new(
                Code::Timeout,
                format!(
                    "process {} ({}): took {signal} and did not save; if it handles that signal itself, as Go programs do, \
                     start it with another one in CKPT_SIGNAL",
                    self.target.pid, self.target.name
                ),
            ));
        }
        let (why, advice) = match status.state {
            b'T' | b't' => ("is stopped".to_owned(), "continue it (kill -CONT)"),
            b'D' => ("is in an uninterruptible system call".to_owned(), "try again later"),
            _ if pending && Status::has(status.blocked, self.target.signal) => {
                (format!("blocks {signal}"), "choose another signal with CKPT_SIGNAL when starting it")
            }
            _ => ("does not answer".to_owned(), "see what it is doing"),
        };
        Err(Failure::new(
            Code::Timeout,
            format!(
                "process {} ({}): {why}, and will be saved when it can; {advice}, or wait with --wait",
                self.target.pid, self.target.name
            ),
        ))
    }

    fn died(&self) -> Failure {
        let text = format!("process {} ({}): ended before it was saved", self.target.pid, self.target.name);
        Failure::new(Code::Died, text)
    }
}

/// What libckpt.so blocks during a save: everything but KILL, STOP, and the two signals of glibc, which may hide.
const ALL: u64 = !(1 << 8 | 1 << 18 | 1 << 31 | 1 << 32);
/// `CKPT`, in the upper half of the signal's value.
const MAGIC: u64 = 0x5450_4b43 << 32;

/// The value that goes with the signal.
fn value(kind: Kind, fd: i32) -> u64 {
    MAGIC | u64::from(kind as u8) << 24 | fd as u64 & 0xff_ffff
}

/// Queues the signal with the request in it.
fn queue(target: &Target, kind: Kind, fd: i32) -> nix::Result<()> {
    /// `siginfo_t` of rt_sigqueueinfo(2): the fields of SI_QUEUE.
    #[repr(C)]
    struct Info {
        signo: i32,
        errno: i32,
        code: i32,
        pad: i32,
        pid: i32,
        uid: u32,
        value: u64,
        rest: [u64; 12],
    }
    const _: () = assert!(size_of::<Info>() == 128);
    let info = Info {
        signo: target.signal as i32,
        errno: 0,
        code: libc::SI_QUEUE,
        pad: 0,
        pid: std::process::id() as i32,
        uid: Uid::current().as_raw(),
        value: value(kind, fd),
        rest: [0; 12],
    };
    // SAFETY: `info` is a whole siginfo_t, which the kernel copies.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            target.pidfd.as_raw_fd(),
            target.signal as i32,
            &raw const info,
            0,
        )
    };
    Errno::result(result).map(drop)
}

/// Takes on the user, the group and at most the capabilities of the target: it opens our pipe by `/proc`, and may only do that when we are no
/// more than it is (ptrace(2), "Ptrace access mode checking").
pub fn become_like(target: &Target) -> Result<()> {
    let read = |pid: &dyn std::fmt::Display| {
        Status::of(pid).map_err(|e| Failure::new(Code::NoProcess, format!("process {}: {e}", target.pid)))
    };
    let (theirs, ours) = (read(&target.pid)?, read(&"self")?);
    let [uid, euid, ..] = theirs.uids;
    let [gid, egid, ..] = theirs.gids;
    let somebody_else = |errno| {
        let text = format!(
            "process {} ({}): runs as uid {euid}, gid {egid}; ask as that user and group, or as root: {errno}",
            target.pid, target.name
        );
        Failure::new(Code::Permission, text)
    };
    let changes = theirs.uids != ours.uids || theirs.gids != ours.gids;
    if changes {
        let id = |id| (Uid::from_raw(id), Gid::from_raw(id));
        if Uid::effective().is_root() {
            setgroups(&[]).map_err(somebody_else)?;
        }
        setresgid(id(gid).1, id(egid).1, id(egid).1).map_err(somebody_else)?;
        setresuid(id(uid).0, id(euid).0, id(euid).0).map_err(somebody_else)?;
    }
    if ours.capabilities & !theirs.capabilities != 0 {
        drop_capabilities(theirs.capabilities).map_err(|errno| Failure::call("capset", errno))?;
    }
    // Another user id takes it away.
    // SAFETY: prctl(PR_SET_DUMPABLE) takes a number.
    Errno::result(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0) })
        .map_err(|errno| Failure::call("prctl", errno))?;
    Ok(())
}

/// Keeps of the capabilities only those in `kept` (capset(2)).
fn drop_capabilities(kept: u64) -> nix::Result<()> {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    #[derive(Clone, Copy, Default)]
    #[repr(C)]
    struct Data {
        effective: u32,
        permitted: u32,
        inheritable: u32,
    }
    /// `_LINUX_CAPABILITY_VERSION_3`.
    const VERSION: u32 = 0x2008_0522;
    let header = Header { version: VERSION, pid: 0 };
    let mut data = [Data::default(); 2];
    // SAFETY: version 3 takes a header and two structs, which the kernel fills.
    Errno::result(unsafe { libc::syscall(libc::SYS_capget, &raw const header, data.as_mut_ptr()) })?;
    for (half, shift) in data.iter_mut().zip([0, 32]) {
        let kept = (kept >> shift) as u32;
        *half = Data {
            effective: half.effective & kept,
            permitted: half.permitted & kept,
            inheritable: half.inheritable & kept,
        };
    }
    // SAFETY: as above; the kernel reads them.
    Errno::result(unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_is_that_of_the_protocol() {
        assert_eq!(value(Kind::Save, 5), 0x5450_4b43_0000_0005);
        assert_eq!(value(Kind::SaveAndEnd, 0x12_3456), 0x5450_4b43_0212_3456);
        assert_eq!(&value(Kind::Check, 0).to_le_bytes()[4..], b"CKPT");
    }
}
