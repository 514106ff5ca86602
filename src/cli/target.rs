//! The process that is to be saved: found, and known to be one that can be asked.

use crate::exit::{Code, Failure, Result};
use crate::signal;
use crate::text::{shown, shown_bytes};
use image::fields::find;
use image::stat::Stat;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::time::Duration;

/// A process that may be asked for a save.
pub struct Target {
    /// Its process id, as we see it.
    pub pid: u32,
    /// Refers to it even when its id has gone to another one.
    pub pidfd: OwnedFd,
    /// Name as ps(1) shows it.
    pub name: String,
    /// Signal that asks for a save, where libckpt.so takes it.
    pub signal: u32,
    /// Whoever asks has named the signal.
    pub is_signal_named: bool,
    /// libckpt.so was there when the program started.
    has_library: bool,
    /// The same, and the signal has a handler.
    pub is_prepared: bool,
}

/// What `/proc/PID/status` says, as far as it matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Letter of the state: R, S, D, T, Z ...
    pub state: u8,
    /// Real, effective, saved and file system user id.
    pub uids: [u32; 4],
    /// The same for groups.
    pub gids: [u32; 4],
    /// Signals that are pending for the process or its first thread.
    pub pending: u64,
    /// Signals that its first thread blocks.
    pub blocked: u64,
    /// Signals that have a handler.
    pub caught: u64,
    /// Effective capabilities.
    pub capabilities: u64,
    /// The strict mode of seccomp(2): a process may only read, write and end.
    pub strict: bool,
}

impl Status {
    /// Reads it; `pid` is a number or `self`.
    pub fn of(pid: impl std::fmt::Display) -> io::Result<Self> {
        Ok(Self::parse(&fs::read(format!("/proc/{pid}/status"))?))
    }

    /// Reads its text.
    pub fn parse(text: &[u8]) -> Self {
        let word =
            |name: &[u8]| find(text, name).and_then(|value| std::str::from_utf8(value).ok()).unwrap_or("");
        let mask = |name| u64::from_str_radix(word(name).trim(), 16).unwrap_or(0);
        let ids = |name| {
            let mut ids = [u32::MAX; 4];
            ids.iter_mut().zip(word(name).split_whitespace()).for_each(|(id, text)| {
                *id = text.parse().unwrap_or(u32::MAX);
            });
            ids
        };
        Self {
            state: word(b"State:").trim().bytes().next().unwrap_or(b'?'),
            uids: ids(b"Uid:"),
            gids: ids(b"Gid:"),
            pending: mask(b"SigPnd:") | mask(b"ShdPnd:"),
            blocked: mask(b"SigBlk:"),
            caught: mask(b"SigCgt:"),
            capabilities: mask(b"CapEff:"),
            strict: word(b"Seccomp:").trim() == "1",
        }
    }

    /// Whether a mask of this status has a signal.
    pub fn has(mask: u64, signal: u32) -> bool {
        mask >> (signal - 1) & 1 != 0
    }
}

impl Target {
    /// The process with an id, or the only one of a name that can be saved. `signal` is for programs that have overwritten their environment.
    pub fn find(wanted: &str, signal: Option<u32>) -> Result<Self> {
        let pid = if wanted.bytes().all(|byte| byte.is_ascii_digit()) && !wanted.is_empty() {
            let pid = wanted.parse().map_err(|_| no_process(wanted))?;
            program_of(pid)
        } else {
            by_name(wanted)?
        };
        Self::open(pid, signal)
    }

    /// The process with an id.
    pub fn open(pid: u32, signal: Option<u32>) -> Result<Self> {
        // SAFETY: pidfd_open(2) takes two numbers and gives a new descriptor.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid as libc::pid_t, 0) };
        let fd = Errno::result(fd).map_err(|errno| match errno {
            Errno::ESRCH | Errno::EINVAL => no_process(pid),
            errno => Failure::call("pidfd_open", errno),
        })?;
        // SAFETY: it is new, and nobody else has it.
        let pidfd = unsafe { OwnedFd::from_raw_fd(fd as i32) };
        let status = Status::of(pid).map_err(|_| no_process(pid))?;
        if matches!(status.state, b'Z' | b'X') {
            return Err(Failure::new(Code::NoProcess, format!("process {pid}: has ended")));
        }
        let name = name(pid).unwrap_or_default();
        let has_library = has_library(pid).map_err(|e| not_readable(pid, e))?;
        if status.strict {
            return Err(Failure::new(
                Code::Refused,
                format!(
                    "process {pid} ({name}): is in the strict mode of seccomp, in which saving itself would kill it; \
                     use a seccomp filter instead"
                ),
            ));
        }
        let number = signal.or_else(|| configured_signal(pid)).unwrap_or(signal::DEFAULT);
        let is_prepared = has_library && Status::has(status.caught, number);
        let target = Self {
            pid,
            pidfd,
            name,
            signal: number,
            is_signal_named: signal.is_some(),
            has_library,
            is_prepared,
        };
        // What was read by its number was its own.
        if target.lives() { Ok(target) } else { Err(target.ended()) }
    }

    /// Whether it has not ended: then its number is still its own.
    pub fn lives(&self) -> bool {
        poll(&mut [PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO) == Ok(0)
    }

    /// The line for one that has ended.
    pub fn ended(&self) -> Failure {
        let text = format!("process {} ({}): ended before it was saved", self.pid, self.name);
        Failure::new(Code::Died, text)
    }

    /// Whether it is on its way to become another program: forked by a shell, it has not executed that yet, or its dynamic linker has not loaded
    /// libckpt.so yet.
    pub fn is_beginning(&self) -> bool {
        /// `PF_FORKNOEXEC` (include/linux/sched.h).
        const FORKED: u32 = 0x40;
        let exe = |pid: u32| fs::read_link(format!("/proc/{pid}/exe")).ok();
        let text = fs::read(format!("{}/stat", self.folder())).unwrap_or_default();
        let is_copy = Stat::parse(&text)
            .is_some_and(|stat| stat.flags & FORKED != 0 && exe(stat.ppid) == exe(self.pid));
        if self.has_library { !self.is_prepared } else { is_copy }
    }

    /// Its directory in our `/proc`.
    pub fn folder(&self) -> String {
        format!("/proc/{}", self.pid)
    }

    /// Its present status.
    pub fn status(&self) -> Result<Status> {
        Status::of(self.pid).map_err(|_| self.ended())
    }
}

/// Settings of libckpt.so for a process that was started without it: of its environment, else of ours.
pub fn settings(pid: u32) -> inject::Settings {
    /// `PATH_MAX`, with its NUL.
    const LONGEST: usize = 4096;
    let value = |name: &str| {
        variable(pid, name).or_else(|| std::env::var_os(name).map(OsString::into_vec)).unwrap_or_default()
    };
    let image = value("CKPT_IMAGE");
    inject::Settings {
        image: if image.len() < LONGEST { image } else { vec![] },
        foreground: value("CKPT_FOREGROUND") == b"1",
        ignores_children: value("CKPT_CHILDREN") == b"ignore",
    }
}

fn no_process(pid: impl std::fmt::Display) -> Failure {
    Failure::new(Code::NoProcess, format!("process {pid}: there is none"))
}

fn not_readable(pid: u32, error: io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::NotFound => no_process(pid),
        // Root has been refused, and need not be told to be root.
        _ if nix::unistd::Uid::effective().is_root() => Failure::new(
            Code::Permission,
            format!(
                "process {pid}: may not be looked into from here ({error}); ask as root of the machine, not of a container"
            ),
        ),
        _ => Failure::new(
            Code::Permission,
            format!("process {pid}: belongs to somebody else; ask as its user or as root"),
        ),
    }
}

/// Name of a process as ps(1) shows it.
fn name(pid: u32) -> Option<String> {
    let text = fs::read(format!("/proc/{pid}/stat")).ok()?;
    Some(shown_bytes(Stat::parse(&text)?.comm))
}

/// How long ago a process was started, to a hundredth of a second (proc(5): `starttime`).
pub fn age(pid: u32) -> Option<Duration> {
    /// `USER_HZ` of x86-64.
    const TICKS: u64 = 100;
    let text = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let uptime = fs::read_to_string("/proc/uptime").ok()?;
    let uptime: f64 = uptime.split(' ').next()?.parse().ok()?;
    let started = Duration::from_millis(Stat::parse(&text)?.starttime * (1000 / TICKS));
    Some(Duration::try_from_secs_f64(uptime).ok()?.saturating_sub(started))
}

/// Whether a process has libckpt.so mapped. After a restart on a machine without the file, its memory has no name any more: then the environment
/// tells.
fn has_library(pid: u32) -> io::Result<bool> {
    let maps = fs::read(format!("/proc/{pid}/maps"))?;
    let mapped = maps.split(|byte| *byte == b'\n').any(|line| {
        let name = line.strip_suffix(b" (deleted)").unwrap_or(line);
        name.ends_with(b"/libckpt.so")
    });
    let told = || variable(pid, "LD_PRELOAD").is_some_and(|value| value.ends_with(b"libckpt.so"));
    Ok(mapped || told() && !crate::program::is_static(format!("/proc/{pid}/exe").as_ref()))
}

/// A variable of the environment that a process was started with.
fn variable(pid: u32, name: &str) -> Option<Vec<u8>> {
    let environ = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let value = |entry: &[u8]| entry.strip_prefix(name.as_bytes())?.strip_prefix(b"=").map(<[u8]>::to_vec);
    environ.split(|byte| *byte == 0).find_map(value)
}

/// The signal that `CKPT_SIGNAL` names. libckpt.so takes the default for a bad value, and so do we.
fn configured_signal(pid: u32) -> Option<u32> {
    signal::parse(std::str::from_utf8(&variable(pid, "CKPT_SIGNAL")?).ok()?).ok()
}

/// Processes of a name that can be saved; the only one.
fn by_name(wanted: &str) -> Result<u32> {
    let is_it = |pid: &u32| {
        let exe = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
        let base = exe.file_name().unwrap_or(OsStr::new("")).as_bytes() == wanted.as_bytes();
        *pid != std::process::id() && (base || name(*pid).is_some_and(|name| name == wanted))
    };
    let mut found: Vec<u32> = processes().filter(is_it).collect();
    // Of several, those that were started for it.
    let prepared = |pid: &u32| has_library(*pid).unwrap_or(false);
    if found.iter().any(prepared) {
        found.retain(prepared);
    }
    match found[..] {
        [] => {
            let text = format!("{}: there is no process of that name", shown(wanted));
            Err(Failure::new(Code::NoProcess, text))
        }
        [pid] => Ok(pid),
        _ => {
            let pids = found.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
            let text = format!("{}: more than one process has that name; give one of {pids}", shown(wanted));
            Err(Failure::new(Code::NoProcess, text))
        }
    }
}

/// All processes.
fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The children of all threads of a process, with their names; those that have ended but were not waited for, too. Not the helper of a save, of whose
/// end the program is not told.
pub fn children(pid: u32) -> Vec<(u32, String)> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = tasks.map(|task| fs::read_to_string(task.path().join("children")).unwrap_or_default());
    let ids: Vec<u32> = lists.flat_map(|list| numbers(&list)).collect();
    ids.into_iter().filter(|id| exit_signal(*id) != Some(0)).filter_map(|id| Some((id, name(id)?))).collect()
}

/// The signal that the parent of a process gets when it ends: field 38 of proc_pid_stat(5).
fn exit_signal(pid: u32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The third field is the first one behind the name.
    stat.rsplit_once(") ")?.1.split_whitespace().nth(38 - 3)?.parse().ok()
}

/// The numbers of a line.
fn numbers(line: &str) -> Vec<u32> {
    line.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

/// The program that a supervisor (`ckpt run`), or `myrestart` as a stand-in, looks after; any other process is itself. `$!` in a script is the supervisor's id.
fn program_of(pid: u32) -> u32 {
    let read = |file: String| fs::read_to_string(file).unwrap_or_default();
    let exe = |pid: u32| fs::read_link(format!("/proc/{pid}/exe")).ok();
    let ours: Option<PathBuf> = std::env::current_exe().ok();
    let comm = |pid: u32| read(format!("/proc/{pid}/comm"));
    if ours.is_none() || exe(pid) != ours && comm(pid) != "myrestart\n" {
        return pid;
    }
    let mut children = numbers(&read(format!("/proc/{pid}/task/{pid}/children")));
    // Neither its namespace's first process nor its guard is the program.
    children.retain(|child| !comm(*child).starts_with("myrestart-"));
    match children[..] {
        [child] => child,
        _ => pid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_is_understood() {
        let text = b"Name:\tsleep\nNSpid:\t34\t1\nState:\tT (stopped)\nUid:\t1000\t1001\t1002\t1003\nGid:\t5\t5\t5\t5\n\
            SigPnd:\t0000000000000001\nShdPnd:\t0000000000000800\nSigBlk:\t0000000000010000\n\
            SigCgt:\t0000000000000800\nCapEff:\t000001ffffffffff\n";
        let status = Status::parse(text);
        assert_eq!(status.state, b'T');
        assert_eq!(status.uids, [1000, 1001, 1002, 1003]);
        assert_eq!(status.gids, [5; 4]);
        assert_eq!(status.pending, 0x801);
        assert_eq!(status.capabilities, 0x1ff_ffff_ffff);
        assert!(Status::has(status.caught, 12) && !Status::has(status.caught, 11));
    }

    #[test]
    fn a_number_that_no_process_has_is_no_target() {
        let failure = Target::find("4194305", None).err().unwrap();
        assert_eq!(failure.code, Code::NoProcess);
    }
}
