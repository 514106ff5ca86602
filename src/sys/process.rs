//! The process and its attributes.

use crate::call::sc;
use crate::signal::sig;
use crate::{Errno, Result};

/// getpid(2). Never cached: the target forks.
pub fn pid() -> u32 {
    // SAFETY: no arguments; cannot fail.
    unsafe { sc!(getpid) }.unwrap_or(0) as u32
}

/// getppid(2).
pub fn parent_pid() -> u32 {
    // SAFETY: no arguments; cannot fail.
    unsafe { sc!(getppid) }.unwrap_or(0) as u32
}

/// getpgid(2) of the caller.
pub fn group() -> u32 {
    // SAFETY: no memory is involved; cannot fail for the caller itself.
    unsafe { sc!(getpgid, 0) }.unwrap_or(0) as u32
}

/// getpgid(2) of a process.
pub fn group_of(pid: u32) -> Result<u32> {
    // SAFETY: no memory is involved.
    unsafe { sc!(getpgid, pid) }.map(|id| id as u32)
}

/// getsid(2) of the caller.
pub fn session() -> u32 {
    // SAFETY: no memory is involved; cannot fail for the caller itself.
    unsafe { sc!(getsid, 0) }.unwrap_or(0) as u32
}

/// setsid(2).
pub fn new_session() -> Result<u32> {
    // SAFETY: no arguments.
    unsafe { sc!(setsid) }.map(|id| id as u32)
}

/// Real user id.
pub fn uid() -> u32 {
    // SAFETY: no arguments; cannot fail.
    unsafe { sc!(getuid) }.unwrap_or(0) as u32
}

/// Effective user id.
pub fn effective_uid() -> u32 {
    // SAFETY: no arguments; cannot fail.
    unsafe { sc!(geteuid) }.unwrap_or(0) as u32
}

/// Real group id.
pub fn gid() -> u32 {
    // SAFETY: no arguments; cannot fail.
    unsafe { sc!(getgid) }.unwrap_or(0) as u32
}

/// Effective group id.
pub fn effective_gid() -> u32 {
    // SAFETY: no arguments; cannot fail.
    unsafe { sc!(getegid) }.unwrap_or(0) as u32
}

/// getresuid(2): real, effective and saved user id.
pub fn user_ids() -> Result<[u32; 3]> {
    let [mut real, mut effective, mut saved] = [0u32; 3];
    // SAFETY: the kernel writes three numbers.
    unsafe { sc!(getresuid, &raw mut real, &raw mut effective, &raw mut saved) }?;
    Ok([real, effective, saved])
}

/// getresgid(2): real, effective and saved group id.
pub fn group_ids() -> Result<[u32; 3]> {
    let [mut real, mut effective, mut saved] = [0u32; 3];
    // SAFETY: the kernel writes three numbers.
    unsafe { sc!(getresgid, &raw mut real, &raw mut effective, &raw mut saved) }?;
    Ok([real, effective, saved])
}

/// setfsuid(2) and setfsgid(2) with an id that cannot be: they only return the user and group id for files.
pub fn file_ids() -> [u32; 2] {
    // SAFETY: no memory is involved.
    unsafe { [sc!(setfsuid, u32::MAX), sc!(setfsgid, u32::MAX)] }.map(|id| id.unwrap_or(0) as u32)
}

/// getgroups(2): supplementary groups; returns how many.
///
/// # Errors
///
/// `EINVAL` when there are more than `groups` has room for.
pub fn supplementary_groups(groups: &mut [u32]) -> Result<usize> {
    // SAFETY: the kernel writes at most `groups.len()` numbers.
    unsafe { sc!(getgroups, groups.len(), groups.as_mut_ptr()) }
}

/// exit_group(2): ends every thread of the process.
pub fn exit_group(code: i32) -> ! {
    loop {
        // SAFETY: ends the process; does not come back.
        let _ = unsafe { sc!(exit_group, code) };
    }
}

/// prctl(2) with integer arguments; returns the call's value.
///
/// # Safety
///
/// Options that take an address get one that is valid for what they do.
pub unsafe fn prctl(option: u32, args: [u64; 4]) -> Result<usize> {
    let [a, b, c, d] = args;
    // SAFETY: the caller answers for the arguments.
    unsafe { sc!(prctl, option, a, b, c, d) }
}

/// Options of prctl(2) (include/uapi/linux/prctl.h).
pub mod pr {
    #![allow(missing_docs)]
    pub const SET_PDEATHSIG: u32 = 1;
    pub const GET_PDEATHSIG: u32 = 2;
    pub const GET_DUMPABLE: u32 = 3;
    pub const SET_DUMPABLE: u32 = 4;
    pub const GET_KEEPCAPS: u32 = 7;
    pub const SET_KEEPCAPS: u32 = 8;
    pub const SET_NAME: u32 = 15;
    pub const GET_NAME: u32 = 16;
    pub const GET_SECCOMP: u32 = 21;
    pub const CAPBSET_READ: u32 = 23;
    pub const CAPBSET_DROP: u32 = 24;
    pub const GET_TSC: u32 = 25;
    pub const SET_TSC: u32 = 26;
    pub const GET_SECUREBITS: u32 = 27;
    pub const SET_SECUREBITS: u32 = 28;
    pub const SET_TIMERSLACK: u32 = 29;
    pub const GET_TIMERSLACK: u32 = 30;
    pub const MCE_KILL: u32 = 33;
    pub const MCE_KILL_GET: u32 = 34;
    pub const SET_MM: u32 = 35;
    pub const SET_CHILD_SUBREAPER: u32 = 36;
    pub const GET_CHILD_SUBREAPER: u32 = 37;
    pub const SET_NO_NEW_PRIVS: u32 = 38;
    pub const GET_NO_NEW_PRIVS: u32 = 39;
    pub const GET_TID_ADDRESS: u32 = 40;
    pub const SET_THP_DISABLE: u32 = 41;
    pub const GET_THP_DISABLE: u32 = 42;
    pub const CAP_AMBIENT: u32 = 47;
    pub const SET_MDWE: u32 = 65;
    pub const GET_MDWE: u32 = 66;
    pub const SET_MEMORY_MERGE: u32 = 67;
    pub const GET_MEMORY_MERGE: u32 = 68;
    pub const TIMER_CREATE_RESTORE_IDS: u32 = 77;
    pub const GET_AUXV: u32 = 0x4155_5856;
    pub const SET_VMA: u32 = 0x5356_4d41;
}

/// A prctl(2) option that returns its value (`PR_GET_DUMPABLE` and the like).
pub fn prctl_value(option: u32) -> Result<u32> {
    // SAFETY: an option that wants an address gets null, at which the kernel neither reads nor writes.
    unsafe { prctl(option, [0; 4]) }.map(|value| value as u32)
}

/// Options of prctl(2) that store an `int` or a pointer-sized value through their first argument.
#[derive(Clone, Copy)]
pub enum Stored {
    /// `PR_GET_PDEATHSIG`.
    ParentDeathSignal = pr::GET_PDEATHSIG as isize,
    /// `PR_GET_TSC`.
    Tsc = pr::GET_TSC as isize,
    /// `PR_GET_CHILD_SUBREAPER`.
    ChildSubreaper = pr::GET_CHILD_SUBREAPER as isize,
    /// `PR_GET_TID_ADDRESS`.
    TidAddress = pr::GET_TID_ADDRESS as isize,
}

/// prctl(2) with an option that stores its value.
pub fn prctl_stored(option: Stored) -> Result<u64> {
    let mut value = 0u64;
    // SAFETY: these options store 4 or 8 bytes at the address.
    unsafe { prctl(option as u32, [&raw mut value as u64, 0, 0, 0]) }?;
    Ok(value)
}

/// `PR_GET_NAME`: the name of the calling thread, padded with NULs.
pub fn name() -> Result<[u8; 16]> {
    let mut name = [0; 16];
    // SAFETY: the option stores 16 bytes.
    unsafe { prctl(pr::GET_NAME, [&raw mut name as u64, 0, 0, 0]) }?;
    Ok(name)
}

/// `PR_SET_PDEATHSIG`: the signal that the caller gets when its parent ends; zero: none.
pub fn set_death_signal(signal: u32) {
    // SAFETY: no memory is involved.
    let _ = unsafe { prctl(pr::SET_PDEATHSIG, [u64::from(signal), 0, 0, 0]) };
}

/// `PR_SET_DUMPABLE`.
pub fn set_dumpable(value: u32) {
    // SAFETY: no memory is involved.
    let _ = unsafe { prctl(pr::SET_DUMPABLE, [u64::from(value), 0, 0, 0]) };
}

/// `PR_GET_AUXV` (Linux 6.4): the auxiliary vector as it was at exec.
pub fn auxv(buf: &mut [u8]) -> Result<usize> {
    // SAFETY: the kernel writes at most `buf.len()` bytes.
    unsafe { prctl(pr::GET_AUXV, [buf.as_mut_ptr() as u64, buf.len() as u64, 0, 0]) }
}

/// umask(2) can only be read by setting it: sets it, for a moment, to one that lets nobody else in, and back.
pub fn umask() -> u32 {
    // SAFETY: no memory is involved; cannot fail.
    unsafe {
        let mask = sc!(umask, 0o077).unwrap_or(0);
        let _ = sc!(umask, mask);
        mask as u32
    }
}

/// personality(2), read only.
pub fn personality() -> u32 {
    // SAFETY: all ones only asks.
    unsafe { sc!(personality, 0xffff_ffff_u32) }.unwrap_or(0) as u32
}

/// Number of the limit of the stack.
pub const STACK: u32 = 3;
/// Number of the limit of descriptors.
pub const NOFILE: u32 = 7;

/// prlimit64(2) of the caller: sets soft and hard limit.
pub fn set_limit(resource: u32, limit: [u64; 2]) -> Result<()> {
    // SAFETY: the kernel reads one `struct rlimit64`.
    unsafe { sc!(prlimit64, 0, resource, &raw const limit, 0) }.map(drop)
}

/// prlimit64(2) of the caller, read only: soft and hard limit.
pub fn limit(resource: u32) -> Result<[u64; 2]> {
    let mut limit = [0; 2];
    // SAFETY: the kernel writes one `struct rlimit64`.
    unsafe { sc!(prlimit64, 0, resource, 0, &raw mut limit) }?;
    Ok(limit)
}

/// getitimer(2): interval seconds, microseconds, value seconds, microseconds.
pub fn interval_timer(which: u32) -> Result<[i64; 4]> {
    let mut timer = [0; 4];
    // SAFETY: the kernel writes one `struct itimerval`.
    unsafe { sc!(getitimer, which, &raw mut timer) }?;
    Ok(timer)
}

/// setitimer(2): `SIGPROF` each time that the process has used the CPU for so many seconds.
pub fn set_cpu_timer(seconds: i64) -> Result<()> {
    const ITIMER_PROF: u32 = 2;
    let timer = [seconds, 0, seconds, 0];
    // SAFETY: the kernel reads one `struct itimerval`.
    unsafe { sc!(setitimer, ITIMER_PROF, &raw const timer, 0) }.map(drop)
}

/// setitimer(2) of all three interval timers: none runs any more.
pub fn stop_interval_timers() {
    let never = [0i64; 4];
    for which in 0..3 {
        // SAFETY: the kernel reads one `struct itimerval`.
        let _ = unsafe { sc!(setitimer, which, &raw const never, 0) };
    }
}

/// getcwd(2): the path with its NUL. Starts with `(unreachable)` when it is outside the root.
pub fn current_dir(buf: &mut [u8]) -> Result<usize> {
    // SAFETY: the kernel writes at most `buf.len()` bytes.
    unsafe { sc!(getcwd, buf.as_mut_ptr(), buf.len()) }
}

/// `struct new_utsname`: six names of 65 bytes.
pub type UtsName = [[u8; 65]; 6];

/// uname(2).
pub fn uname() -> Result<UtsName> {
    let mut name = [[0; 65]; 6];
    // SAFETY: the kernel writes one `struct new_utsname`.
    unsafe { sc!(uname, &raw mut name) }?;
    Ok(name)
}

/// membarrier(2) command.
pub fn membarrier(command: u32) -> Result<u32> {
    // SAFETY: no memory is involved.
    unsafe { sc!(membarrier, command, 0, 0) }.map(|value| value as u32)
}

/// wait4(2) for one child, whatever its exit signal (`__WALL`); returns its wait status.
pub fn wait_for(pid: u32) -> Result<i32> {
    const WALL: u32 = 0x4000_0000;
    let mut status = 0i32;
    loop {
        // SAFETY: the kernel writes one int.
        match unsafe { sc!(wait4, pid, &raw mut status, WALL, 0) } {
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
            Ok(_) => return Ok(status),
        }
    }
}

/// A child process with a copy of this one's memory that sends no signal when it ends (clone(2) with no flags). Returns
/// its pid, and zero in the child.
///
/// # Safety
///
/// As fork(2) in a program with threads: the child uses only what is async-signal-safe.
pub unsafe fn fork_silently() -> Result<u32> {
    // SAFETY: without CLONE_VM the child goes on with a copy of this very stack.
    unsafe { sc!(clone, 0, 0, 0, 0, 0) }.map(|pid| pid as u32)
}

/// `struct clone_args` (include/uapi/linux/sched.h).
#[repr(C)]
#[derive(Clone, Copy, Default, Debug)]
pub struct CloneArgs {
    /// `CLONE_` flags.
    pub flags: u64,
    /// Where a descriptor of the child is written.
    pub pidfd: u64,
    /// Where the child's id is kept in its memory.
    pub child_tid: u64,
    /// Where the child's id is written for its parent.
    pub parent_tid: u64,
    /// Signal to the parent when the child ends.
    pub exit_signal: u64,
    /// Lowest byte of its stack; zero: a copy of the caller's.
    pub stack: u64,
    /// Bytes of its stack.
    pub stack_size: u64,
    /// FS base.
    pub tls: u64,
    /// Address of the ids that it is to have, one for each PID namespace from the innermost one.
    pub set_tid: u64,
    /// Number of them.
    pub set_tid_size: u64,
    /// Descriptor of a cgroup.
    pub cgroup: u64,
}
const _: () = assert!(size_of::<CloneArgs>() == 88);

/// fork(2), by clone(2), with SIGCHLD at its end. Returns the child's id, and zero in the child.
///
/// # Safety
///
/// As fork(2) in a program with threads: the child uses only what is async-signal-safe.
pub unsafe fn fork() -> Result<u32> {
    // SAFETY: without CLONE_VM the child goes on with a copy of this very stack.
    unsafe { sc!(clone, sig::CHLD, 0, 0, 0, 0) }.map(|pid| pid as u32)
}

/// [`fork`] by clone3(2): the child has the id `id` in the PID namespace of its own.
///
/// # Errors
///
/// `EEXIST` when the id is in use, `EPERM` without CAP_CHECKPOINT_RESTORE over the namespace, `EINVAL` when ids do not go that far, `ENOSYS` and `E2BIG` on
/// a kernel that cannot do it, `ENOSYS` also under a seccomp profile such as Docker's.
///
/// # Safety
///
/// As [`fork`].
pub unsafe fn fork_as(id: u32) -> Result<u32> {
    let args = CloneArgs {
        exit_signal: u64::from(sig::CHLD),
        set_tid: &raw const id as u64,
        set_tid_size: 1,
        ..CloneArgs::default()
    };
    // SAFETY: the kernel reads the arguments; without CLONE_VM the child goes on with a copy of this very stack.
    unsafe { sc!(clone3, &raw const args, size_of::<CloneArgs>()) }.map(|pid| pid as u32)
}

/// CLONE_PARENT: a child of the caller's parent (include/uapi/linux/sched.h).
const PARENT: u64 = 0x8000;

/// [`fork`], but the new process is a child of the caller's parent, which gets the signal that it gets for the caller.
///
/// # Safety
///
/// As [`fork`].
pub unsafe fn fork_sibling() -> Result<u32> {
    // SAFETY: without CLONE_VM the child goes on with a copy of this very stack.
    unsafe { sc!(clone, PARENT, 0, 0, 0, 0) }.map(|pid| pid as u32)
}

/// [`fork_as`], but the new process is a child of the caller's parent.
///
/// # Errors
///
/// As [`fork_as`].
///
/// # Safety
///
/// As [`fork`].
pub unsafe fn fork_sibling_as(id: u32) -> Result<u32> {
    let args =
        CloneArgs { flags: PARENT, set_tid: &raw const id as u64, set_tid_size: 1, ..CloneArgs::default() };
    // SAFETY: the kernel reads the arguments; without CLONE_VM the child goes on with a copy of this very stack.
    unsafe { sc!(clone3, &raw const args, size_of::<CloneArgs>()) }.map(|pid| pid as u32)
}

/// Namespaces of unshare(2) (include/uapi/linux/sched.h).
pub mod namespace {
    #![allow(missing_docs)]
    pub const TIME: u32 = 0x80;
    pub const MOUNT: u32 = 0x0002_0000;
    pub const USER: u32 = 0x1000_0000;
    pub const PID: u32 = 0x2000_0000;
}

/// unshare(2): new namespaces for the caller; a PID namespace for its children.
pub fn unshare(namespaces: u32) -> Result<()> {
    // SAFETY: namespaces only, no memory.
    unsafe { sc!(unshare, namespaces) }.map(drop)
}

/// Mounts a fresh proc(5), of the caller's PID namespace, on `/proc` of its mount namespace, and keeps that from other mount namespaces.
pub fn mount_proc() -> Result<()> {
    const MS_NOSUID_NODEV_NOEXEC: u32 = 2 | 4 | 8;
    const MS_REC_SLAVE: u32 = 1 << 14 | 1 << 19;
    // SAFETY: the kernel reads the strings.
    unsafe {
        sc!(mount, 0, c"/".as_ptr(), 0, MS_REC_SLAVE, 0)?;
        sc!(mount, c"proc".as_ptr(), c"/proc".as_ptr(), c"proc".as_ptr(), MS_NOSUID_NODEV_NOEXEC, 0)
    }
    .map(drop)
}

/// setpgid(2).
pub fn set_group(pid: u32, group: u32) -> Result<()> {
    // SAFETY: no memory is involved.
    unsafe { sc!(setpgid, pid, group) }.map(drop)
}

/// wait4(2) with `WNOHANG`, `WUNTRACED` and `__WALL`: a child that has ended or stopped, if there is one, and its wait status.
pub fn news() -> Result<Option<(u32, i32)>> {
    const FLAGS: u32 = 1 | 2 | 0x4000_0000;
    let mut status = 0i32;
    // SAFETY: the kernel writes one int.
    let changed = unsafe { sc!(wait4, -1i32, &raw mut status, FLAGS, 0) }?;
    Ok((changed != 0).then_some((changed as u32, status)))
}

/// wait4(2) for all children, of which the kernel takes care itself (SIGCHLD is ignored): comes back when there is none left.
pub fn wait_for_all() {
    // SAFETY: no status is written.
    while unsafe { sc!(wait4, -1i32, 0, 0, 0) } != Err(Errno::ECHILD) {}
}

/// Whether there is any child.
pub fn has_children() -> bool {
    const WNOHANG: u32 = 1;
    // SAFETY: no status is written.
    let result = unsafe { sc!(wait4, -1i32, 0, WNOHANG, 0) };
    result != Err(Errno::ECHILD)
}

/// Whether the process has any child, ended or not and whatever its exit signal (`__WALL`), or traces another process: waitid(2), which takes nothing here.
pub fn has_any_child() -> Result<bool> {
    const P_ALL: u32 = 0;
    const WEXITED_WNOHANG_WNOWAIT_WALL: u32 = 4 | 1 | 0x0100_0000 | 0x4000_0000;
    // SAFETY: the kernel writes nothing to a null.
    match unsafe { sc!(waitid, P_ALL, 0, 0, WEXITED_WNOHANG_WNOWAIT_WALL, 0) } {
        Ok(_) => Ok(true),
        Err(Errno::ECHILD) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// kill(2) with no signal: whether a process or a thread has this id.
pub fn exists(id: u32) -> bool {
    // SAFETY: no memory is involved.
    let result = unsafe { sc!(kill, id, 0) };
    result != Err(Errno::ESRCH)
}

/// kill(2) of a process group; zero is the caller's own.
pub fn send_group(group: u32, signal: u32) {
    // SAFETY: no memory is involved.
    let _ = unsafe { sc!(kill, (group as i32).wrapping_neg(), signal) };
}

/// kcmp(2) of two descriptors of processes: whether they are the same open file description.
pub fn same_open_file(pid: u32, a: i32, b: i32) -> Result<bool> {
    // SAFETY: no memory is involved.
    unsafe { sc!(kcmp, pid, pid, 0, a, b) }.map(|order| order == 0)
}

/// What threads share or have of their own (`enum kcmp_type`, include/uapi/linux/kcmp.h).
#[derive(Clone, Copy)]
pub enum Shared {
    /// Their memory.
    Memory = 1,
    /// Their table of descriptors.
    Files = 2,
    /// Working directory, root and umask.
    Fs = 3,
}

/// kcmp(2) of two threads: whether they share something.
pub fn share(part: Shared, a: u32, b: u32) -> Result<bool> {
    // SAFETY: no memory is involved.
    unsafe { sc!(kcmp, a, b, part as i32, 0, 0) }.map(|order| order == 0)
}

/// The end of the heap that brk(2) grows.
pub fn program_break() -> u64 {
    // SAFETY: an impossible value only asks.
    unsafe { sc!(brk, 0) }.unwrap_or(0) as u64
}

/// pidfd_open(2).
pub fn open_pid(pid: u32) -> Result<i32> {
    // SAFETY: no memory is involved.
    unsafe { sc!(pidfd_open, pid, 0) }.map(|fd| fd as i32)
}

/// pidfd_getfd(2): a descriptor of ours for what descriptor `fd` of another process refers to. Linux 5.6; whoever may trace the process may do it.
pub fn take_descriptor(pidfd: i32, fd: i32) -> Result<i32> {
    // SAFETY: no memory is involved.
    unsafe { sc!(pidfd_getfd, pidfd, fd, 0) }.map(|fd| fd as i32)
}

/// Sets the name of the calling thread (`PR_SET_NAME`); at most 15 bytes and a NUL.
pub fn set_name(name: &[u8]) {
    if name.last() == Some(&0) {
        // SAFETY: a NUL-terminated string, of which the kernel reads at most 16 bytes.
        let _ = unsafe { prctl(pr::SET_NAME, [name.as_ptr() as u64, 0, 0, 0]) };
    }
}

/// Ends the process by SIGKILL: nothing of it runs any more.
pub fn kill_self() -> ! {
    loop {
        // SAFETY: no memory is involved; the signal cannot be blocked.
        let _ = unsafe { sc!(kill, pid(), sig::KILL) };
    }
}

/// Bytes of swap that the machine uses, in units of `mem_unit` (sysinfo(2)).
pub fn swap_in_use() -> Result<u64> {
    /// `struct sysinfo` (include/uapi/linux/sysinfo.h) as words: uptime, three loads, then six sizes.
    const TOTAL_SWAP: usize = 8;
    let mut info = [0u64; 14];
    // SAFETY: the kernel writes one `struct sysinfo`, 112 bytes.
    unsafe { sc!(sysinfo, info.as_mut_ptr()) }?;
    Ok(info[TOTAL_SWAP].wrapping_sub(info[TOTAL_SWAP + 1]))
}

/// Capabilities (`man 7 capabilities`) by their numbers.
pub mod capability {
    #![allow(missing_docs)]
    pub const SETGID: u32 = 6;
    pub const SETPCAP: u32 = 8;
    pub const SYS_ADMIN: u32 = 21;
    pub const CHOWN: u32 = 0;
    pub const FOWNER: u32 = 3;
    pub const SYS_RESOURCE: u32 = 24;
    pub const SYS_TIME: u32 = 25;
    pub const CHECKPOINT_RESTORE: u32 = 40;
}

/// `_LINUX_CAPABILITY_VERSION_3` (include/uapi/linux/capability.h).
pub const CAPABILITY_VERSION: u32 = 0x2008_0522;

/// capget(2) of the caller: effective, permitted, inheritable; the low halves, then the high ones.
pub fn capability_sets() -> Result<[u32; 6]> {
    let header = [CAPABILITY_VERSION, 0];
    let mut sets = [0u32; 6];
    // SAFETY: the kernel reads the header and writes two triples of numbers.
    unsafe { sc!(capget, &raw const header, &raw mut sets) }?;
    Ok(sets)
}

/// capget(2): the effective capabilities of the caller, a bit for each.
pub fn capabilities() -> Result<u64> {
    let [low, _, _, high, ..] = capability_sets()?;
    Ok(u64::from(high) << 32 | u64::from(low))
}

/// `PR_CAPBSET_READ`: the bounding set of the caller, a bit for each capability that the kernel knows.
pub fn bounding_capabilities() -> u64 {
    each_capability(|number| [pr::CAPBSET_READ, number, 0])
}

/// `PR_CAP_AMBIENT_IS_SET`: the ambient set of the caller.
pub fn ambient_capabilities() -> u64 {
    const IS_SET: u32 = 1;
    each_capability(|number| [pr::CAP_AMBIENT, IS_SET, number])
}

/// Asks for every capability, until the kernel knows no more.
fn each_capability(question: impl Fn(u32) -> [u32; 3]) -> u64 {
    let mut set = 0;
    for number in 0..u64::BITS {
        let [option, first, second] = question(number);
        // SAFETY: these options take numbers only.
        match unsafe { prctl(option, [u64::from(first), u64::from(second), 0, 0]) } {
            Ok(0) => {}
            Ok(_) => set |= 1 << number,
            Err(_) => break,
        }
    }
    set
}

/// kill(2) with SIGKILL.
pub fn kill(pid: u32) {
    // SAFETY: no memory is involved.
    let _ = unsafe { sc!(kill, pid, sig::KILL) };
}

/// execve(2). Comes back only with an error.
///
/// # Safety
///
/// `argv` and `envp` are arrays of strings that end with a null.
pub unsafe fn execute(
    path: &[u8],
    argv: *const *const u8,
    envp: *const *const core::ffi::c_char,
) -> Result<()> {
    if path.last() != Some(&0) {
        return Err(Errno::EINVAL);
    }
    // SAFETY: the caller answers for the arrays; `path` ends with a NUL.
    unsafe { sc!(execve, path.as_ptr(), argv, envp) }.map(drop)
}

/// kill(2). There is nobody to tell of a failure.
pub fn send(pid: u32, signal: u32) {
    // SAFETY: no memory is involved.
    let _ = unsafe { sc!(kill, pid, signal) };
}
