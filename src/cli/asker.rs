//! Who sends the request to a target of another user, with other capabilities, or in other namespaces.
//!
//! The target opens our pipe by `/proc` (docs/protocol.md), and whoever may do that may also look into the process that has it, and trace it. So for such a target
//! this is never a process of the one who runs ckpt, but one that has nothing of theirs: a fresh image of this program in memory of its own, without an environment,
//! in all namespaces, the root directory, the user and the capabilities of the target, with no descriptors but those of the request, and under a seccomp filter that
//! leaves it four system calls. Only then it can be looked into.

use crate::args::Ask;
use crate::exit::{Code, Failure, Result};
use crate::request::{Kind, queue, value};
use crate::target::{Status, Target};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sched::{CloneFlags, setns};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::Mode;
use nix::sys::wait::waitpid;
use nix::unistd::{
    ForkResult, Gid, Uid, chroot, fchdir, fchown, fork, setgroups, setresgid, setresuid, setsid,
};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// The namespaces that a process can be in, but for that of users.
const NAMESPACES: [&str; 7] = ["pid", "net", "ipc", "uts", "cgroup", "time", "mnt"];
/// A target's root directory, among the namespaces that are entered.
const ROOT: &str = "root";
/// Descriptors of the other process: the pipe's write end with the nonce behind it, the target, us, and the target's directory in our /proc.
const PIPE: i32 = 3;
const TARGET: i32 = 5;
const CONTROL: i32 = 6;
const PROC: i32 = 7;
/// The first of those that are entered.
const PLACES: i32 = 8;

/// Sends requests. Closes its end of the pipe when dropped.
pub enum Asker {
    /// This process: a target like it may look into it anyway. The pipe's write end and the nonce, under numbers that follow each other.
    Own(OwnedFd, #[expect(dead_code, reason = "the target opens it")] OwnedFd),
    /// Another one, and a line to it.
    Other(Child, UnixStream),
}

/// What the other process answers: a step, 0 for the signal itself, and the error of it, 0 for none; then its id in the target's namespace.
type Answer = [u8; 9];

impl Asker {
    /// One that may be asked by the target, with the write end of the pipe and the nonce (a file).
    pub fn new(target: &Target, pipe: OwnedFd, nonce: OwnedFd) -> Result<Self> {
        let places = places(target)?;
        let is_like_us = is_like_us(target)?;
        if places.is_empty() && is_like_us {
            let (pipe, nonce) = neighbours(&pipe, &nonce).map_err(|errno| Failure::call("fcntl", errno))?;
            return Ok(Self::Own(pipe, nonce));
        }
        Self::start(target, &pipe, &nonce, &places)
    }

    fn start(
        target: &Target,
        pipe: &OwnedFd,
        nonce: &OwnedFd,
        places: &[(&'static str, OwnedFd)],
    ) -> Result<Self> {
        let failed = |errno: Errno| Failure::call("a process that asks", errno);
        if Uid::effective().is_root() {
            let status = target.status()?;
            let [uid, gid] = [status.uids[1], status.gids[1]];
            fchown(pipe, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))).map_err(failed)?;
        }
        let folder = open(target.folder().as_str(), OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
            .map_err(failed)?;
        let program = copy_of_us().map_err(|e| Failure::new(Code::Io, format!("a copy of ckpt: {e}")))?;
        // Entering a user namespace would make it one that others may look into, before it has left the others (proc_sys_fs(5)).
        if fs::read("/proc/sys/fs/suid_dumpable").is_ok_and(|text| text.starts_with(b"1")) {
            return Err(refused(target, 3, Errno::EPERM));
        }
        // All by number so far: it was the target's if that has not ended.
        if !target.lives() {
            return Err(target.ended());
        }
        let (ours, theirs) =
            UnixStream::pair().map_err(|e| Failure::new(Code::Io, format!("socketpair: {e}")))?;
        // Whoever traces the other process may stop it.
        let _ = ours.set_read_timeout(Some(std::time::Duration::from_secs(5)));
        let mut given =
            vec![pipe.as_fd(), nonce.as_fd(), target.pidfd.as_fd(), theirs.as_fd(), folder.as_fd()];
        given.extend(places.iter().map(|(_, file)| file.as_fd()));
        let given: Vec<i32> = given.iter().map(AsRawFd::as_raw_fd).collect();
        let mut command = Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()));
        command
            .arg0("ckpt")
            .args(["ask", "--"])
            .args(places.iter().map(|(name, _)| name))
            .env_clear()
            .current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let hand_over = move || {
            // The terminal of whoever runs ckpt stays theirs.
            setsid()?;
            // Above all of them first, so that none is overwritten before it is there.
            let high = PIPE + given.len() as i32;
            let moved = given.iter().map(|fd| duplicate(*fd, high)).collect::<nix::Result<Vec<i32>>>()?;
            for (fd, number) in moved.into_iter().zip(PIPE..) {
                // SAFETY: dup2(2) takes two numbers; what was open under the second one is nobody's in this process.
                Errno::result(unsafe { libc::dup2(fd, number) })?;
            }
            Ok(())
        };
        // SAFETY: between fork and exec it makes system calls, and one allocation in a process of one thread.
        unsafe { command.pre_exec(hand_over) };
        let child =
            command.spawn().map_err(|e| Failure::new(Code::Io, format!("a process that asks: {e}")))?;
        Ok(Self::Other(child, ours))
    }

    /// Sends the signal with a request in it.
    pub fn send(&mut self, target: &Target, kind: Kind, nonce: u32) -> Result<nix::Result<()>> {
        match self {
            Self::Own(pipe, _) => {
                let value = value(kind as u8, pipe.as_raw_fd());
                Ok(queue(target.pidfd.as_raw_fd(), target.signal, std::process::id(), value, nonce))
            }
            Self::Other(_, line) => {
                let [a, b, c, d] = nonce.to_le_bytes();
                let request = [target.signal as u8, kind as u8, a, b, c, d];
                Ok(tell(line, target, request)?.0)
            }
        }
    }

    /// The process that has the pipe, as the target's namespace has it, and the number of the pipe.
    pub fn identity(&mut self, target: &Target) -> Result<(u32, i32)> {
        match self {
            Self::Own(pipe, _) => Ok((std::process::id(), pipe.as_raw_fd())),
            Self::Other(_, line) => Ok((tell(line, target, [0; 6])?.1, PIPE)),
        }
    }
}

/// Has the other process send a request, or nothing (signal 0). Gives what came of it, and its id.
fn tell(line: &mut UnixStream, target: &Target, request: [u8; 6]) -> Result<(nix::Result<()>, u32)> {
    let mut answer: Answer = [0; 9];
    if let Err(e) = line.write_all(&request).and_then(|()| line.read_exact(&mut answer)) {
        let text = format!("process {} ({}): whoever was to ask it is gone: {e}", target.pid, target.name);
        return Err(Failure::new(Code::Io, text));
    }
    let [step, e0, e1, e2, e3, pid @ ..] = answer;
    let errno = i32::from_le_bytes([e0, e1, e2, e3]);
    let result = if errno == 0 { Ok(()) } else { Err(Errno::from_raw(errno)) };
    if step == 0 {
        Ok((result, u32::from_le_bytes(pid)))
    } else {
        Err(refused(target, step, Errno::from_raw(errno)))
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        if let Self::Other(child, _) = self {
            // Errors mean that it has ended.
            let _ = (child.kill(), child.wait());
        }
    }
}

/// Steps of the other process that can fail, by number.
const STEPS: [&str; 4] =
    ["", "namespaces or root directory", "user or group", "restrictions (or fs.suid_dumpable is 1)"];

fn refused(target: &Target, step: u8, errno: Errno) -> Failure {
    let who = format!("process {} ({})", target.pid, target.name);
    let what = STEPS.get(usize::from(step)).unwrap_or(&"");
    Failure::new(
        Code::Permission,
        format!(
            "{who}: runs as somebody else or in a container; ask inside of it, as its user and group, or as root: {what}: {errno}"
        ),
    )
}

/// The namespaces of a target that are not ours, opened in the order in which they can be entered; with its root directory, if that is another one.
fn places(target: &Target) -> Result<Vec<(&'static str, OwnedFd)>> {
    let unseen = |e: io::Error| {
        let text = format!(
            "process {} ({}): its namespaces cannot be looked at; ask as root: {e}",
            target.pid, target.name
        );
        Failure::new(Code::Permission, text)
    };
    let mut places = vec![];
    let is_same = |name: &str| -> io::Result<bool> {
        let Ok(ours) = fs::metadata(format!("/proc/self/{name}")) else { return Ok(true) };
        let theirs = fs::metadata(format!("{}/{name}", target.folder()))?;
        Ok((ours.dev(), ours.ino()) == (theirs.dev(), theirs.ino()))
    };
    for name in NAMESPACES {
        let path = format!("ns/{name}");
        if !is_same(&path).map_err(unseen)? {
            places.push((name, File::open(format!("{}/{path}", target.folder())).map_err(unseen)?.into()));
        }
    }
    // A mount namespace brings its own root.
    if !is_same(ROOT).map_err(unseen)? || places.iter().any(|(name, _)| *name == "mnt") {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let root = open(format!("{}/{ROOT}", target.folder()).as_str(), flags, Mode::empty());
        places.push((ROOT, root.map_err(|errno| unseen(errno.into()))?));
    }
    if !is_same("ns/user").map_err(unseen)? {
        let user = File::open(format!("{}/ns/user", target.folder())).map_err(unseen)?;
        // Root may enter the others without, whoever made this one only with the rights in it.
        let at = if Uid::effective().is_root() { places.len() } else { 0 };
        places.insert(at, ("user", user.into()));
    }
    if places.is_empty() || target.lives() { Ok(places) } else { Err(target.ended()) }
}

/// Whether a target has our ids, and all of our capabilities.
fn is_like_us(target: &Target) -> Result<bool> {
    let theirs = target.status()?;
    let ours = Status::of("self").map_err(|e| Failure::new(Code::Io, format!("/proc/self/status: {e}")))?;
    Ok(theirs.uids == ours.uids && theirs.gids == ours.gids && ours.capabilities & !theirs.capabilities == 0)
}

/// Both under numbers that follow each other.
fn neighbours(first: &OwnedFd, second: &OwnedFd) -> nix::Result<(OwnedFd, OwnedFd)> {
    let mut from = 3;
    loop {
        let [a, b] = [(first, from), (second, from + 1)].map(|(fd, from)| duplicate(fd.as_raw_fd(), from));
        // SAFETY: they are new.
        let [a, b] = [a, b].map(|fd| fd.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
        let (a, b) = (a?, b?);
        if b.as_raw_fd() == a.as_raw_fd() + 1 {
            return Ok((a, b));
        }
        from = a.as_raw_fd().max(b.as_raw_fd()) + 1;
    }
}

/// A copy of a descriptor, under the lowest number from `from` on.
fn duplicate(fd: i32, from: i32) -> nix::Result<i32> {
    // SAFETY: fcntl(F_DUPFD_CLOEXEC) takes numbers.
    Errno::result(unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, from) })
}

/// This program in memory: `/proc/PID/exe` of a process in a container must not lead to the file of it (CVE-2019-5736).
fn copy_of_us() -> io::Result<OwnedFd> {
    let copy = memfd_create(c"ckpt", MFdFlags::MFD_CLOEXEC)?;
    let mut copy = File::from(copy);
    io::copy(&mut File::open("/proc/self/exe")?, &mut copy)?;
    // Open for writing, it could not be executed.
    Ok(File::open(format!("/proc/self/fd/{}", copy.as_raw_fd()))?.into())
}

/// `ckpt ask`, in the other process: becomes like the target, then sends what it is asked to.
pub fn run(args: &Ask) -> Result<Code> {
    // SAFETY: prctl(2) takes numbers here. Nobody looks into us before we have nothing.
    let hidden = Errno::result(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) });
    let end = PLACES as u32 + args.places.len() as u32;
    // SAFETY: nothing else is open in here.
    let _ = unsafe { libc::syscall(libc::SYS_close_range, end, u32::MAX, 0) };
    // SAFETY: whoever started us gave us this one.
    let mut line = File::from(unsafe { OwnedFd::from_raw_fd(CONTROL) });
    let ready = hidden.map_err(|errno| (3, errno)).and_then(|_| become_harmless(&args.places));
    let mut request = [0; 6];
    while line.read_exact(&mut request).is_ok() {
        let [signal, kind, nonce @ ..] = request;
        let nonce = u32::from_le_bytes(nonce);
        let (step, result, pid) = match ready {
            Ok(pid) if signal == 0 => (0, Ok(()), pid),
            Ok(pid) => (0, queue(TARGET, u32::from(signal), pid, value(kind, PIPE), nonce), pid),
            Err((step, errno)) => (step, Err(errno), 0),
        };
        let mut answer: Answer = [step, 0, 0, 0, 0, 0, 0, 0, 0];
        answer[1..5].copy_from_slice(&result.err().map_or(0, |errno| errno as i32).to_le_bytes());
        answer[5..].copy_from_slice(&pid.to_le_bytes());
        if line.write_all(&answer).is_err() {
            break;
        }
    }
    // SAFETY: _exit(2) takes a number.
    unsafe { libc::_exit(0) }
}

/// A step that failed, by its number in [`STEPS`], and why.
type Step<T> = std::result::Result<T, (u8, Errno)>;

/// Leaves everything that is not the target's. Gives the id that this process has in the target's namespace.
fn become_harmless(places: &[String]) -> Step<u32> {
    for (place, number) in places.iter().zip(PLACES..) {
        // SAFETY: whoever started us gave us these.
        let file = unsafe { OwnedFd::from_raw_fd(number) };
        let entered = match place.as_str() {
            ROOT => fchdir(&file).and_then(|()| chroot(".")).and_then(|()| fchdir(&file)),
            _ => setns(&file, CloneFlags::empty()),
        };
        entered.map_err(|errno| (1, errno))?;
    }
    // SAFETY: as above.
    let folder = unsafe { OwnedFd::from_raw_fd(PROC) };
    // Opened in here: ids as the target's user namespace has them.
    let status = openat(&folder, "status", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty());
    let mut text = vec![];
    File::from(status.map_err(|errno| (2, errno))?).read_to_end(&mut text).map_err(|_| (2, Errno::EIO))?;
    drop(folder);
    take_on(&Status::parse(&text)).map_err(|errno| (2, errno))?;
    if places.iter().any(|place| place == "pid") {
        // Only a child is in it. SAFETY: this process has one thread.
        if let ForkResult::Parent { child } = unsafe { fork() }.map_err(|errno| (1, errno))? {
            while waitpid(child, None) == Err(Errno::EINTR) {}
            // SAFETY: _exit(2) takes a number.
            unsafe { libc::_exit(0) }
        }
    }
    let pid = std::process::id();
    restrict().map_err(|errno| (3, errno))?;
    Ok(pid)
}

/// Takes on the user, the group and at most the capabilities of the target.
fn take_on(theirs: &Status) -> nix::Result<()> {
    let [uid, euid, ..] = theirs.uids;
    let [gid, egid, ..] = theirs.gids;
    if Uid::effective().is_root() {
        // Not in a user namespace in which nobody may.
        let _ = setgroups(&[]);
    }
    let id = Gid::from_raw;
    setresgid(id(gid), id(egid), id(egid))?;
    let id = Uid::from_raw;
    setresuid(id(uid), id(euid), id(euid))?;
    drop_capabilities(theirs.capabilities)
}

/// The last step: gives up whatever is left but to send signals and to answer, and may be looked into from then on.
fn restrict() -> nix::Result<()> {
    let set = |option, value: u64| {
        // SAFETY: prctl(2) takes numbers for these.
        Errno::result(unsafe { libc::prctl(option, value, 0, 0, 0) }).map(drop)
    };
    set(libc::PR_SET_PDEATHSIG, libc::SIGKILL as u64)?;
    set(libc::PR_SET_NO_NEW_PRIVS, 1)?;
    const ALLOWED: [i64; 6] = [
        libc::SYS_read,
        libc::SYS_write,
        libc::SYS_pidfd_send_signal,
        libc::SYS_rt_sigreturn,
        libc::SYS_restart_syscall,
        libc::SYS_exit_group,
    ];
    /// `AUDIT_ARCH_X86_64`.
    const ARCHITECTURE: u32 = 0xc000_003e;
    let jump = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    let load = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    let end = (libc::BPF_RET | libc::BPF_K) as u16;
    let op = |code, k, jt, jf| libc::sock_filter { code, jt, jf, k };
    let (allow, kill) =
        (op(end, libc::SECCOMP_RET_ALLOW, 0, 0), op(end, libc::SECCOMP_RET_KILL_PROCESS, 0, 0));
    // `struct seccomp_data`: the number, the architecture, and the arguments at 16.
    let mut filter = vec![op(load, 4, 0, 0), op(jump, ARCHITECTURE, 1, 0), kill, op(load, 0, 0, 0)];
    for number in ALLOWED {
        filter.extend([op(jump, number as u32, 0, 1), allow]);
    }
    // The last call of this function.
    filter.extend([op(jump, libc::SYS_prctl as u32, 0, 3), op(load, 16, 0, 0)]);
    filter.extend([op(jump, libc::PR_SET_DUMPABLE as u32, 0, 1), allow, kill]);
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the kernel copies the program.
    Errno::result(unsafe {
        libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program, 0, 0)
    })?;
    // Not before: what may be looked into may be traced.
    set(libc::PR_SET_DUMPABLE, 1)
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
