//! What becomes of a save, told to whoever wants to know.
//!
//! A failure is one line on the program's standard error. Besides, a requester that sent the signal by rt_sigqueueinfo(2) can get every step as
//! a line of text over a pipe of its own: `docs/protocol.md`. Both are best effort: nobody waits for a reader.

use crate::file::ImageFile;
use crate::helper::{Job, Stop};
use crate::message::Failure;
use sys::fd::{self, open_flag};
use sys::line::Line;
use sys::signal::Info;
use sys::time;

/// Where to tell it, and what is known so far.
pub struct Report {
    /// The requester's pipe, or -1.
    pub fd: i32,
    /// `/proc/PID` of the target, or -1: the writer reaches the target's standard error through it, and keeps nothing else of the target open.
    pub target: i32,
    /// The writer reports, not the helper.
    pub is_orphan: bool,
    /// When the signal arrived, in nanoseconds of `CLOCK_MONOTONIC`.
    started: u64,
    /// How long the target stood still, in nanoseconds.
    stopped: u64,
    /// When progress was told last.
    told: u64,
    /// Length of the image in bytes, and of its page data.
    pub size: [u64; 2],
}

/// Nanoseconds of `CLOCK_MONOTONIC`.
pub fn now() -> u64 {
    let [sec, nsec] = time::now(time::clock::MONOTONIC);
    sec as u64 * 1_000_000_000 + nsec as u64
}

/// What a requester can ask for, in the upper byte of the signal's value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// A save.
    Save,
    /// Only what a save would refuse.
    Check,
}

/// Where the requester listens.
#[derive(Clone, Copy)]
struct Listener {
    pid: u32,
    fd: u32,
    request: Request,
}

/// Takes a request apart: `si_code` must be SI_QUEUE, `si_pid` the sender, and the value `kind << 24 | descriptor`.
fn listener(info: &Info) -> Option<Listener> {
    const SI_QUEUE: i32 = -1;
    let word = |at: usize| image::plain::read::<u32>(info, at);
    let (code, pid, value) = (word(8)?, word(16)?, word(24)?);
    let request = match value >> 24 {
        0xc0 => Request::Save,
        0xc1 => Request::Check,
        _ => return None,
    };
    (code as i32 == SI_QUEUE && pid != 0).then_some(Listener { pid, fd: value & 0xff_ffff, request })
}

/// What the signal asks for.
pub fn request(info: &Info) -> Request {
    listener(info).map_or(Request::Save, |listener| listener.request)
}

impl Report {
    /// Finds the requester's pipe.
    pub fn new(job: &Job) -> Self {
        let fd = listener(job.arrival.info()).and_then(open).unwrap_or(-1);
        let mut path = Line::<32>::new();
        path.text("/proc/").dec(u64::from(job.pid)).text("\0");
        let flags = open_flag::PATH | open_flag::DIRECTORY | open_flag::CLOEXEC;
        let target = fd::open_at(fd::AT_FDCWD, path.as_bytes(), flags, 0).unwrap_or(-1);
        let started = job.started;
        let report = Self { fd, target, is_orphan: false, started, stopped: 0, told: started, size: [0; 2] };
        let mut line = Line::<128>::new();
        line.text("ckpt 1 accepted pid=")
            .dec(u64::from(job.pid))
            .text(" generation=")
            .dec(u64::from(job.generation));
        report.tell(&mut line);
        report
    }

    /// The target goes on from here.
    pub fn target_runs(&mut self) {
        self.stopped = now() - self.started;
    }

    /// So much page data is written; told a few times a second.
    pub fn progress(&mut self, bytes: u64) {
        const PAUSE: u64 = 100_000_000;
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
    pub fn saved(&self, file: &ImageFile) {
        if self.fd < 0 {
            return;
        }
        let total = now() - self.started;
        let stop = if self.stopped == 0 { total } else { self.stopped };
        let mut line = Line::<4608>::new();
        line.text("saved bytes=").dec(self.size[0]);
        line.text(" pages=").dec(self.size[1] / image::format::PAGE);
        line.text(" stop_us=").dec(stop / 1000);
        line.text(" total_us=").dec(total / 1000);
        line.text(" path=");
        file.path(&mut line);
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
        self.tell(&mut line);
        let mut line = Line::<1024>::new();
        line.text("ckpt: not saved: ");
        failure.describe(&mut line);
        if !self.is_orphan {
            line.send(2);
            return;
        }
        // Append, because a file opened anew would start at its beginning; no wait, because the reader may have stopped reading.
        let flags = open_flag::WRONLY
            | open_flag::APPEND
            | open_flag::NOCTTY
            | open_flag::NONBLOCK
            | open_flag::CLOEXEC;
        if let Ok(stderr) = fd::open_at(self.target, b"fd/2\0", flags, 0) {
            line.send(stderr);
            let _ = fd::close(stderr);
        }
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
fn open(listener: Listener) -> Option<i32> {
    const S_IFMT: u32 = 0o170_000;
    const S_IFIFO: u32 = 0o010_000;
    let mut path = Line::<64>::new();
    path.text("/proc/").dec(u64::from(listener.pid)).text("/fd/").dec(u64::from(listener.fd)).text("\0");
    // Looked at before it is opened: opening may do something if it is not a pipe.
    let stat = fd::stat_at(fd::AT_FDCWD, path.as_bytes(), true).ok()?;
    if stat.mode & S_IFMT != S_IFIFO {
        return None;
    }
    let flags = open_flag::RDWR | open_flag::NONBLOCK | open_flag::CLOEXEC;
    fd::open_at(fd::AT_FDCWD, path.as_bytes(), flags, 0).ok()
}
