//! What becomes of a save, told to whoever wants to know.
//!
//! A failure is one line on the program's standard error. Besides, a requester that sent the signal by rt_sigqueueinfo(2) can get every step as
//! a line of text over a pipe of its own: `docs/protocol.md`. Both are best effort: nobody waits for a reader.

use crate::helper::{Job, Stop};
use crate::message::Failure;
use crate::sink::Sink;
use sys::Errno;
use sys::descriptor::{poll_event, poll_now};
use sys::fd::{self, open_flag};
use sys::line::Line;
use sys::signal::Info;
use sys::{process, time};

/// Where to tell it, and what is known so far.
pub struct Report {
    /// The requester's pipe, or -1.
    pub fd: i32,
    /// `/proc/PID` of the target, or -1: the writer reaches the target's standard error through it, and keeps nothing else of the target open.
    pub target: i32,
    /// Process id of the target.
    pid: u32,
    /// Nothing is saved.
    pub is_check: bool,
    /// How many things a check has found.
    refusals: u32,
    /// The writer reports, not the helper.
    pub is_orphan: bool,
    /// When the signal arrived, in nanoseconds of `CLOCK_MONOTONIC`.
    started: u64,
    /// When progress was told last.
    told: u64,
    /// Length of the image in bytes, and of its page data.
    pub size: [u64; 2],
}

/// Where a failure is told, as long as it is not the writer that tells it.
pub const STANDARD_ERROR: i32 = 2;
/// What a pipe takes in one piece (pipe(7)).
const PIPE_BUF: usize = 4096;

/// Nanoseconds of `CLOCK_MONOTONIC`.
pub fn now() -> u64 {
    let [sec, nsec] = time::now(time::clock::MONOTONIC);
    sec as u64 * 1_000_000_000 + nsec as u64
}

/// What a requester can ask for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// A save.
    Save,
    /// Everything that a save would refuse, and no save.
    Check,
    /// A save, and then the end of the program.
    SaveAndEnd,
}

/// Where the requester listens.
#[derive(Clone, Copy)]
struct Listener {
    pid: u32,
    fd: u32,
    nonce: u32,
    request: Request,
}

/// Takes a request apart: `docs/protocol.md`. A signal that is none is a request to save, and nobody listens.
fn listener(info: &Info) -> Option<Listener> {
    const SI_QUEUE: i32 = -1;
    const MARK: u64 = u32::from_le_bytes(*b"CKPT") as u64;
    let word = |at: usize| image::plain::read::<u32>(info, at);
    let (nonce, code, pid) = (word(4)?, word(8)?, word(16)?);
    let value = image::plain::read::<u64>(info, 24)?;
    let request = match value >> 24 & 0xff {
        0 => Request::Save,
        1 => Request::Check,
        2 => Request::SaveAndEnd,
        _ => return None,
    };
    let is_request = code as i32 == SI_QUEUE && pid != 0 && value >> 32 == MARK;
    is_request.then_some(Listener { pid, fd: value as u32 & 0xff_ffff, nonce, request })
}

/// What the signal asks for.
pub fn request(info: &Info) -> Request {
    listener(info).map_or(Request::Save, |listener| listener.request)
}

impl Report {
    /// Finds the requester's pipe.
    pub fn new(job: &Job) -> Self {
        let fd = listener(&job.arrival.info()).and_then(open).unwrap_or(-1);
        let mut path = Line::<32>::new();
        path.text("/proc/").dec(u64::from(job.pid)).text("\0");
        let flags = open_flag::PATH | open_flag::DIRECTORY | open_flag::CLOEXEC;
        let target = fd::open_at(fd::AT_FDCWD, path.as_bytes(), flags, 0).unwrap_or(-1);
        let started = job.started;
        Self {
            fd,
            target,
            pid: job.pid,
            is_check: request(&job.arrival.info()) == Request::Check,
            refusals: 0,
            is_orphan: false,
            started,
            told: started,
            size: [0; 2],
        }
    }

    /// Says that the save has begun. The requester closes its end of the pipe then, so only the helper that stays until the end may say it:
    /// between two helpers nobody has the pipe open.
    pub fn accept(&self, job: &Job) {
        let mut line = Line::<128>::new();
        line.text("ckpt 1 accepted pid=")
            .dec(u64::from(job.pid))
            .text(" generation=")
            .dec(u64::from(job.generation));
        self.tell(&mut line);
    }

    /// The target goes on from here.
    pub fn target_runs(&self) {
        if self.fd < 0 {
            return;
        }
        let mut line = Line::<64>::new();
        line.text("running stop_us=").dec((now() - self.started) / 1000);
        self.tell(&mut line);
    }

    /// Something cannot be restored: that ends a save, and is one line of a check.
    pub fn refuse(&mut self, failure: Failure) -> Result<(), Stop> {
        if !self.is_check {
            return Err(Stop::Failed(failure));
        }
        self.refusals += 1;
        let mut line = Line::<1024>::new();
        line.text("refusal ");
        failure.describe(&mut line);
        self.tell(&mut line);
        Ok(())
    }

    /// The end of a check.
    pub fn checked(&self) {
        let mut line = Line::<64>::new();
        line.text("checked refusals=").dec(u64::from(self.refusals));
        self.tell(&mut line);
    }

    /// So much page data is written; told a few times a second.
    pub fn progress(&mut self, bytes: u64) {
        const PAUSE: u64 = 100_000_000;
        crate::crash::step();
        if self.fd < 0 {
            return;
        }
        let now = now();
        if now - self.told >= PAUSE {
            self.told = now;
            let mut line = Line::<128>::new();
            line.text("progress bytes=").dec(bytes).text(" of=").dec(self.size[1]);
            self.tell(&mut line);
        }
    }

    /// The image has its name.
    pub fn saved(&self, sink: &Sink) {
        if self.fd < 0 {
            return;
        }
        let total = now() - self.started;
        let mut line = Line::<PIPE_BUF>::new();
        line.text("saved bytes=").dec(self.size[0]);
        line.text(" pages=").dec(self.size[1] / image::format::PAGE);
        if !self.is_orphan {
            line.text(" stop_us=").dec(total / 1000);
        }
        line.text(" total_us=").dec(total / 1000);
        let short = line.as_bytes().len();
        line.text(" path=");
        sink.describe(&mut line);
        if line.is_full() {
            line.truncate(short);
        }
        self.tell(&mut line);
    }

    /// There is no image.
    pub fn failed(&self, stop: Stop) {
        let failure = match stop {
            Stop::Failed(failure) => failure,
            Stop::Full => Failure::Scratch(sys::Errno::ENOMEM),
        };
        let mut line = Line::<1024>::new();
        line.text(if failure.is_refusal() { "refused " } else { "failed " });
        failure.describe(&mut line);
        if self.fd >= 0 {
            return self.tell(&mut line);
        }
        let mut line = Line::<1024>::new();
        line.text("ckpt: not saved: ");
        failure.describe(&mut line);
        if !self.is_orphan {
            line.send(STANDARD_ERROR);
            return;
        }
        if let Ok(stderr) = self.standard_error() {
            line.send(stderr);
            let _ = fd::close(stderr);
        }
    }

    /// The target's standard error, for the writer, which keeps nothing of the target open.
    fn standard_error(&self) -> sys::Result<i32> {
        // Append, because a file opened anew would start at its beginning; no wait, because the reader may have stopped reading.
        let flags = open_flag::WRONLY
            | open_flag::APPEND
            | open_flag::NOCTTY
            | open_flag::NONBLOCK
            | open_flag::CLOEXEC;
        match fd::open_at(self.target, b"fd/2\0", flags, 0) {
            // A file that somebody else has opened for the program, or a socket.
            Err(Errno::EACCES | Errno::ENXIO) => {}
            opened => return opened,
        }
        let pidfd = process::open_pid(self.pid)?;
        // The number is not another process's by now.
        let lives = fd::stat_at(self.target, b"stat\0", true).is_ok();
        let taken = if lives { process::take_descriptor(pidfd, STANDARD_ERROR) } else { Err(Errno::ESRCH) };
        let _ = fd::close(pidfd);
        let stderr = taken?;
        // It waits where the program would.
        if poll_now(stderr, poll_event::OUT).is_ok_and(|events| events & poll_event::OUT != 0) {
            return Ok(stderr);
        }
        let _ = fd::close(stderr);
        Err(Errno::EAGAIN)
    }

    /// Closes its descriptors.
    pub fn close(&self) {
        for fd in [self.fd, self.target] {
            if fd >= 0 {
                let _ = fd::close(fd);
            }
        }
    }

    /// Sends a line to the requester.
    pub fn tell<const N: usize>(&self, line: &mut Line<N>) {
        if self.fd >= 0 {
            line.send(self.fd);
        }
    }
}

/// Opens the requester's pipe, both ends: so a write neither waits nor raises SIGPIPE.
///
/// The kernel lets whoever may signal write any process id into a request. So the file behind the pipe must hold the nonce that came with it: nobody can put
/// that beside a pipe of another process.
fn open(listener: Listener) -> Option<i32> {
    const S_IFIFO: u32 = 0o010_000;
    const S_IFREG: u32 = 0o100_000;
    let file = open_if(listener.pid, listener.fd + 1, S_IFREG, open_flag::RDONLY)?;
    let mut text = [0; 8];
    let read = fd::read_at(file, &mut text, 0);
    let _ = fd::close(file);
    let [a, b, c, d, nonce @ ..] = text;
    let is_theirs = read == Ok(8) && [a, b, c, d] == *b"CKPT" && u32::from_le_bytes(nonce) == listener.nonce;
    if is_theirs { open_if(listener.pid, listener.fd, S_IFIFO, open_flag::RDWR) } else { None }
}

/// Opens a descriptor of another process if it is of a type of `st_mode`: opening may do something if it is not.
fn open_if(pid: u32, number: u32, wanted: u32, access: u32) -> Option<i32> {
    const S_IFMT: u32 = 0o170_000;
    let mut path = Line::<64>::new();
    path.text("/proc/").dec(u64::from(pid)).text("/fd/").dec(u64::from(number)).text("\0");
    let stat = fd::stat_at(fd::AT_FDCWD, path.as_bytes(), true).ok()?;
    if stat.mode & S_IFMT != wanted {
        return None;
    }
    let flags = access | open_flag::NONBLOCK | open_flag::CLOEXEC;
    fd::open_at(fd::AT_FDCWD, path.as_bytes(), flags, 0).ok()
}
