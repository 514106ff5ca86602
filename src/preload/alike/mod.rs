//! What a thread may have of its own where a restart makes all threads alike: credentials, namespaces, a working directory, descriptors.
//! Only raw system calls make such threads (unshare(2), setns(2), setresuid(2) past the libc), so that they are refused rather than restored.

mod answers;

pub use answers::Answers;

use crate::helper::{Job, Stop};
use crate::message::{Failure, Kind, ThreadTrouble};
use crate::report::Report;
use crate::threads::Slot;
use answers::{asked_namespaces, namespace};
use image::fields;
use image::number::take_hex;
use image::stat::Stat;
use sys::fd::{self, open_flag};
use sys::line::Line;
use sys::process::{self, Shared};
use sys::signal::{bit, sig};

/// Refuses what a thread has of its own. Called by the helper, when all threads stand still.
#[inline(never)] // its buffers are off the stack again when it returns
pub fn check(job: &Job, report: &mut Report) -> Result<(), Stop> {
    let Some(gathering) = &job.gathering else { return Ok(()) };
    let mut first = Text::default();
    first.read(job.pid, job.own.tid)?;
    if is_ending(job.pid, job.own.tid, &first) {
        return Err(Failure::Threads(ThreadTrouble::Ending).into());
    }
    for slot in gathering.parked() {
        let differences = if gathering.leader.complete && slot.answers.complete {
            by_answers(&gathering.leader, &slot.answers)
        } else {
            by_texts(job, &first, slot.own.tid)?
        };
        for (_, what) in differences.iter().zip(KINDS).filter(|(differs, _)| **differs) {
            refuse(slot, what, report)?;
        }
    }
    Ok(())
}

/// What a thread can have of its own.
const KINDS: [&str; 5] = [
    "a table of descriptors of its own",
    "a working directory, root and umask of its own",
    "credentials of its own",
    "seccomp filters, or other security settings, of its own",
    "a namespace of its own",
];

/// Which of the [`KINDS`] a thread has, by what it and the leader say.
fn by_answers(leader: &Answers, thread: &Answers) -> [bool; KINDS.len()] {
    [
        thread.own_files,
        thread.own_fs,
        thread.credentials != leader.credentials,
        thread.settings != leader.settings,
        thread.namespaces != leader.namespaces,
    ]
}

/// The same by what others see of it; `first` is the text of the leader. Slower by far.
fn by_texts(job: &Job, first: &Text, tid: u32) -> Result<[bool; KINDS.len()], Failure> {
    // Where kcmp(2) is forbidden, nothing can be said; that they share it is the rule.
    let has_own = |part| process::share(part, job.own.tid, tid) == Ok(false);
    let mut text = Text::default();
    text.read(job.pid, tid)?;
    let [credentials, settings] = text.differences(first);
    let of = |tid: u32, name| namespace(job.pid, tid, name);
    let namespaces = asked_namespaces().any(|name| of(tid, name) != of(job.own.tid, name));
    Ok([has_own(Shared::Files), has_own(Shared::Fs), credentials, settings, namespaces])
}

fn refuse(slot: &Slot, what: &'static str, report: &mut Report) -> Result<(), Stop> {
    let advice = "save when it has ended, or give all threads the same";
    report.refuse(Failure::Thread(slot.own.tid, slot.own.comm, Kind { what, advice }))
}

/// Whether the thread is on its way out. exit_group(2) and execve(2) in one thread send SIGKILL to all others, which then end rather than stop: an
/// image would lack them.
fn is_ending(pid: u32, tid: u32, status: &Text) -> bool {
    /// `PF_EXITING` (include/linux/sched.h).
    const EXITING: u32 = 4;
    if status.set(b"SigPnd:") & bit(sig::KILL) != 0 {
        return true;
    }
    let mut text = [0u8; 1024];
    let Ok(len) = read(pid, tid, "/stat\0", &mut text) else { return true };
    Stat::parse(text.get(..len).unwrap_or_default()).is_none_or(|stat| stat.flags & EXITING != 0)
}

/// Reads a file of `/proc/PID/task/TID`.
fn read(pid: u32, tid: u32, name: &str, text: &mut [u8]) -> sys::Result<usize> {
    let mut path = Line::<64>::new();
    path.text("/proc/").dec(u64::from(pid)).text("/task/").dec(u64::from(tid)).text(name);
    let from = fd::open_at(fd::AT_FDCWD, path.as_bytes(), open_flag::RDONLY | open_flag::CLOEXEC, 0)?;
    let len = fd::read(from, text);
    let _ = fd::close(from);
    len
}

/// The text of `/proc/PID/task/TID/status`.
struct Text {
    bytes: [u8; 8192],
    len: usize,
}

impl Default for Text {
    fn default() -> Self {
        Self { bytes: [0; 8192], len: 0 }
    }
}

impl Text {
    fn read(&mut self, pid: u32, tid: u32) -> Result<(), Failure> {
        const NAME: &str = "/proc/self/task/TID/status";
        let len = read(pid, tid, "/status\0", &mut self.bytes);
        self.len = len.map_err(|errno| Failure::Proc(NAME, errno))?;
        Ok(())
    }

    fn lines(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.get(..self.len).unwrap_or_default().split(|byte| *byte == b'\n')
    }

    /// Whether credentials, and whether security settings are others in `other`. Both texts are of one kernel, and have the same lines.
    fn differences(&self, other: &Self) -> [bool; 2] {
        /// Starts of the lines that tell.
        const LINES: [&[&[u8]]; 2] = [
            &[b"Uid:", b"Gid:", b"Groups:", b"CapInh:", b"CapPrm:", b"CapEff:", b"CapBnd:", b"CapAmb:"],
            &[b"NoNewPrivs:", b"Seccomp:", b"Seccomp_filters:", b"x86_Thread_features:"],
        ];
        let mut kinds = [false; LINES.len()];
        for (ours, _) in self.lines().zip(other.lines()).filter(|(ours, theirs)| ours != theirs) {
            for (differs, names) in kinds.iter_mut().zip(LINES) {
                *differs |= names.iter().any(|name| ours.starts_with(name));
            }
        }
        kinds
    }

    fn set(&self, name: &[u8]) -> u64 {
        self.lines().find_map(|line| fields::field(line, name)).and_then(take_hex).map_or(0, |(set, _)| set)
    }
}
