//! Asking a target for a save or a check, and hearing what comes of it: docs/protocol.md.

use crate::asker::Asker;
use crate::exit::{Code, Failure, Result};
use crate::report::{Line, Lines};
use crate::signal;
use crate::target::{Status, Target};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::{pipe2, read};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
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
    /// Whoever sends it, with the write end of the pipe; closed when the target has its own.
    to: Option<Asker>,
    nonce: u32,
    lines: Lines,
    ready: std::vec::IntoIter<Line>,
    sent: Instant,
    /// When to stop waiting for the first line.
    deadline: Option<Instant>,
    finished: bool,
    /// The signal is not used: the target was entered, and stood still for so long before it began.
    entered: Option<Duration>,
}

/// How a target is asked.
enum Way {
    /// By the signal, of which it is certain that libckpt.so takes it.
    Signal,
    /// By putting its threads into libckpt.so.
    Entry(Box<inject::Entry>, inject::Slots),
}

impl<'a> Request<'a> {
    /// Sends it. The target has until `deadline` to begin.
    pub fn send(target: &'a Target, kind: Kind, patience: Option<Duration>) -> Result<Self> {
        let flags = OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        let (from, to) = pipe2(flags).map_err(|errno| Failure::call("pipe", errno))?;
        let (nonce, file) = nonce().map_err(|e| Failure::new(Code::Io, format!("a nonce: {e}")))?;
        let mut request = Self {
            target,
            kind,
            from,
            to: Some(Asker::new(target, to, file)?),
            nonce,
            lines: Lines::default(),
            ready: vec![].into_iter(),
            sent: Instant::now(),
            deadline: patience.map(|patience| Instant::now() + patience),
            finished: false,
            entered: None,
        };
        request.ask()?;
        Ok(request)
    }

    /// Asks in the way that the target allows.
    fn ask(&mut self) -> Result<()> {
        let Some(to) = &mut self.to else { return Ok(()) };
        // Before anything stands still.
        let sender = to.identity(self.target)?;
        match way(self.target, self.deadline)? {
            Way::Signal => self.signal(),
            Way::Entry(entry, slots) => {
                let info = information(self.kind, sender, self.nonce);
                let stood =
                    entry.enter(&slots, info).map_err(|trouble| not_entered(self.target, &trouble))?;
                self.entered = Some(stood);
                Ok(())
            }
        }
    }

    /// How long the target stood still before it began; nothing where it was asked by the signal.
    pub fn entered(&self) -> Duration {
        self.entered.unwrap_or_default()
    }

    fn signal(&mut self) -> Result<()> {
        let Some(to) = &mut self.to else { return Ok(()) };
        let sent = to.send(self.target, self.kind, self.nonce)?;
        sent.map_err(|errno| match errno {
            Errno::ESRCH => self.target.ended(),
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
            Err(Errno::EAGAIN) if gone => Err(self.target.ended()),
            Err(Errno::EAGAIN | Errno::EINTR) if accepted => Ok(()),
            Err(Errno::EAGAIN | Errno::EINTR) => self.look(),
            Err(errno) => Err(Failure::call("reading the report", errno)),
        }
    }

    /// Looks at a target that has not answered yet: sends the request again if it was lost, and gives up when the time is over.
    fn look(&mut self) -> Result<()> {
        let status = self.target.status()?;
        if self.entered.is_some() {
            return self.look_entered(status.state);
        }
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

    /// Looks at a target that was entered and has not answered yet.
    fn look_entered(&self, state: u8) -> Result<()> {
        if self.deadline.is_none_or(|deadline| Instant::now() < deadline) {
            return Ok(());
        }
        let (why, advice) = match state {
            b'T' | b't' => ("is stopped", "continue it (kill -CONT)"),
            _ => ("does not answer", "see what it is doing"),
        };
        Err(Failure::new(
            Code::Timeout,
            format!(
                "process {} ({}): {why}, and will be saved when it can; {advice}, or wait with --wait",
                self.target.pid, self.target.name
            ),
        ))
    }
}

/// What libckpt.so blocks during a save: everything but KILL, STOP, and the two signals of glibc, which may hide.
const ALL: u64 = !(1 << 8 | 1 << 18 | 1 << 31 | 1 << 32);
/// `CKPT`, in the upper half of the signal's value.
const MAGIC: u64 = 0x5450_4b43 << 32;

/// A number that nobody knows, and a file with it: the target writes to no pipe that has none beside it.
fn nonce() -> io::Result<(u32, OwnedFd)> {
    let mut bytes = [0; 4];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    let mut file = File::from(memfd_create(c"ckpt-request", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(b"CKPT")?;
    file.write_all(&bytes)?;
    Ok((u32::from_le_bytes(bytes), file.into()))
}

/// The value that goes with the signal.
pub fn value(kind: u8, fd: i32) -> u64 {
    MAGIC | u64::from(kind) << 24 | fd as u64 & 0xff_ffff
}

/// Finds out how a target is to be asked. One that is to be entered stands still from then on.
fn way(target: &Target, deadline: Option<Instant>) -> Result<Way> {
    /// How long threads may take to stop, as for those that are stopped by the signal.
    const PATIENCE: Duration = Duration::from_secs(2);
    /// Between two tries.
    const PAUSE: Duration = Duration::from_millis(2);
    let settings = crate::target::settings(target.pid);
    loop {
        match try_way(target, &settings, Instant::now() + PATIENCE) {
            Ok(way) => return Ok(way),
            // The signal has a handler, and whoever names it says whose that is.
            Err(inject::Trouble::Denied(_)) if target.is_prepared && target.is_signal_named => {
                return Ok(Way::Signal);
            }
            // Nothing can be asked there.
            Err(inject::Trouble::Filtered) if target.is_prepared => return Ok(Way::Signal),
            Err(inject::Trouble::Busy) if deadline.is_none_or(|deadline| Instant::now() < deadline) => {
                std::thread::sleep(PAUSE);
            }
            Err(trouble) => return Err(not_entered(target, &trouble)),
        }
    }
}

fn try_way(target: &Target, settings: &inject::Settings, deadline: Instant) -> inject::Result<Way> {
    let mut entry = Box::new(inject::Entry::attach(target.pid as i32)?);
    // From here the number is that of the process that is traced.
    if !target.lives() {
        return Err(inject::Trouble::Gone);
    }
    if target.is_prepared && entry.has_library() {
        entry.stop_first(deadline)?;
        if entry.would_take(target.signal)? {
            return Ok(Way::Signal);
        }
    }
    entry.stop(deadline)?;
    let slots = entry.load(settings)?;
    Ok(Way::Entry(entry, slots))
}

fn not_entered(target: &Target, trouble: &inject::Trouble) -> Failure {
    use inject::Trouble;
    let code = match trouble {
        Trouble::Denied(_) => Code::Permission,
        Trouble::Gone => Code::Died,
        Trouble::Refused(_) | Trouble::Filtered => Code::Refused,
        Trouble::Stuck(..) | Trouble::Busy => Code::Timeout,
        Trouble::Failed(..) => Code::Failed,
    };
    Failure::new(code, format!("process {} ({}): {trouble}", target.pid, target.name))
}

/// The start of a `siginfo_t` with the request in it, as rt_sigqueueinfo(2) would bring it. `sender` is the process that has the pipe, as the target's namespace
/// has it, and the number of the pipe.
fn information(kind: Kind, (sender, fd): (u32, i32), nonce: u32) -> [u64; 6] {
    let code = u64::from(libc::SI_QUEUE as u32);
    [libc::SIGUSR2 as u64 | u64::from(nonce) << 32, code, u64::from(sender), value(kind as u8, fd), 0, 0]
}

/// Queues the signal with the request in it. `pid` is this process, as the target's namespace has it.
pub fn queue(pidfd: i32, signal: u32, pid: u32, value: u64, nonce: u32) -> nix::Result<()> {
    /// `siginfo_t` of rt_sigqueueinfo(2): the fields of SI_QUEUE.
    #[repr(C)]
    struct Info {
        signo: i32,
        errno: u32,
        code: i32,
        pad: i32,
        pid: i32,
        uid: u32,
        value: u64,
        rest: [u64; 12],
    }
    const _: () = assert!(size_of::<Info>() == 128);
    let info = Info {
        signo: signal as i32,
        errno: nonce,
        code: libc::SI_QUEUE,
        pad: 0,
        pid: pid as i32,
        // The kernel believes it, and so nobody else does.
        uid: 0,
        value,
        rest: [0; 12],
    };
    // SAFETY: `info` is a whole siginfo_t, which the kernel copies.
    let result =
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd, signal as i32, &raw const info, 0) };
    Errno::result(result).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_is_that_of_the_protocol() {
        assert_eq!(value(Kind::Save as u8, 5), 0x5450_4b43_0000_0005);
        assert_eq!(value(Kind::SaveAndEnd as u8, 0x12_3456), 0x5450_4b43_0212_3456);
        assert_eq!(&value(Kind::Check as u8, 0).to_le_bytes()[4..], b"CKPT");
    }
}
