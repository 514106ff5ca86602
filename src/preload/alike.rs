//! What a thread may have of its own where a restart makes all threads alike: credentials, namespaces, a working directory, descriptors.
//! Only raw system calls make such threads (unshare(2), setns(2), setresuid(2) past the libc), so that they are refused rather than restored.

use crate::helper::{Job, Stop};
use crate::message::{Failure, Kind, ThreadTrouble};
use crate::report::Report;
use crate::threads::{Gathering, Slot};
use image::fields;
use image::number::take_hex;
use image::stat::Stat;
use sys::fd::{self, open_flag};
use sys::line::Line;
use sys::process::{self, Shared};
use sys::signal::{bit, sig};

/// Starts of lines of `/proc/PID/task/TID/status`, and what it is when they differ.
const KINDS: [(&[&[u8]], &str); 2] = [
    (
        &[b"Uid:", b"Gid:", b"Groups:", b"CapInh:", b"CapPrm:", b"CapEff:", b"CapBnd:", b"CapAmb:"],
        "credentials of its own",
    ),
    (
        &[b"NoNewPrivs:", b"Seccomp:", b"Seccomp_filters:", b"x86_Thread_features:"],
        "seccomp filters, or other security settings, of its own",
    ),
];

/// Namespaces that one thread of several can leave, those in use first. A mount namespace of its own comes with a working directory of its own; user
/// namespaces are all threads'.
const NAMESPACES: &[&str] = &["net", "uts", "ipc", "cgroup", "pid_for_children", "time_for_children"];

/// Refuses what a thread has of its own. Called by the helper, when all threads stand still.
#[inline(never)] // its buffers are off the stack again when it returns
pub fn check(job: &Job, report: &mut Report) -> Result<(), Stop> {
    let Some(gathering) = &job.gathering else { return Ok(()) };
    let mut first = Text::default();
    first.read(job.pid, job.own.tid)?;
    if is_ending(job.pid, job.own.tid, &first) {
        return Err(Failure::Threads(ThreadTrouble::Ending).into());
    }
    let namespaces = namespaces(gathering, &first);
    let mut links = [Link::default(); NAMESPACES.len()];
    for (link, name) in links.iter_mut().zip(namespaces) {
        *link = Link::of(job.pid, job.own.tid, name);
    }
    let mut text = Text::default();
    for slot in gathering.parked() {
        let tid = slot.own.tid;
        // Where kcmp(2) is forbidden, nothing can be said; that they share it is the rule.
        let has_own = |part| process::share(part, job.own.tid, tid) == Ok(false);
        if has_own(Shared::Files) {
            refuse(slot, "a table of descriptors of its own", report)?;
        }
        if has_own(Shared::Fs) {
            refuse(slot, "a working directory, root and umask of its own", report)?;
        }
        text.read(job.pid, tid)?;
        let kinds = text.differences(&first);
        for (_, what) in KINDS.iter().zip(kinds).filter(|(_, differs)| *differs).map(|(kind, _)| kind) {
            refuse(slot, what, report)?;
        }
        if links.iter().zip(namespaces).any(|(link, name)| *link != Link::of(job.pid, tid, name)) {
            refuse(slot, "a namespace of its own", report)?;
        }
    }
    Ok(())
}

fn refuse(slot: &Slot, what: &'static str, report: &mut Report) -> Result<(), Stop> {
    let advice = "save when it has ended, or give all threads the same";
    report.refuse(Failure::Thread(slot.own.tid, slot.own.comm, Kind { what, advice }))
}

/// The namespaces that are looked at: each costs every thread some microseconds of the stop.
fn namespaces(gathering: &Gathering, first: &Text) -> &'static [&'static str] {
    // To leave a namespace takes this capability. Who has given it up since had it for the network, as a rule.
    const SYS_ADMIN: u64 = 1 << 21;
    const MANY: usize = 100;
    let count = match (first.set(b"CapPrm:") & SYS_ADMIN != 0, gathering.parked().count()) {
        (false, _) => 1,
        (true, MANY..) => 3,
        (true, _) => NAMESPACES.len(),
    };
    NAMESPACES.get(..count).unwrap_or(NAMESPACES)
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

    /// Which of the [`KINDS`] are others in `other`. Both texts are of one kernel, and have the same lines.
    fn differences(&self, other: &Self) -> [bool; KINDS.len()] {
        let mut kinds = [false; KINDS.len()];
        for (ours, _) in self.lines().zip(other.lines()).filter(|(ours, theirs)| ours != theirs) {
            for (differs, (names, _)) in kinds.iter_mut().zip(KINDS) {
                *differs |= names.iter().any(|name| ours.starts_with(name));
            }
        }
        kinds
    }

    fn set(&self, name: &[u8]) -> u64 {
        self.lines().find_map(|line| fields::field(line, name)).and_then(take_hex).map_or(0, |(set, _)| set)
    }
}

/// What a link of `/proc/PID/task/TID/ns` says: the kind and number of a namespace. Zeros when it cannot be read.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Link([u8; 32]);

impl Link {
    fn of(pid: u32, tid: u32, name: &str) -> Self {
        let mut path = Line::<96>::new();
        path.text("/proc/").dec(u64::from(pid)).text("/task/").dec(u64::from(tid));
        path.text("/ns/").text(name).text("\0");
        let mut link = Self::default();
        let _ = fd::read_link(fd::AT_FDCWD, path.as_bytes(), &mut link.0);
        link
    }
}
