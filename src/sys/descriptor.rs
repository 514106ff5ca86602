//! What can be asked of an open file description beyond its path and offset.

use crate::call::sc;
use crate::{Errno, Result};

/// The signal's receiver of an open file description (`struct f_owner_ex`, fcntl(2)).
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Owner {
    /// `F_OWNER_TID` 0, `F_OWNER_PID` 1, `F_OWNER_PGRP` 2.
    pub kind: i32,
    /// Its id; zero when there is none.
    pub id: i32,
}
const _: () = assert!(size_of::<Owner>() == 8);

/// [`Owner::kind`] `F_OWNER_PGRP`.
pub const OWNER_GROUP: i32 = 2;

/// fcntl(2) `F_GETOWN_EX`.
pub fn owner(fd: i32) -> Result<Owner> {
    const GETOWN_EX: u32 = 16;
    let mut owner = Owner::default();
    // SAFETY: the kernel writes one `struct f_owner_ex`.
    unsafe { sc!(fcntl, fd, GETOWN_EX, &raw mut owner) }?;
    Ok(owner)
}

/// A record lock (`struct flock` of x86-64, fcntl(2)).
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct RecordLock {
    /// `F_RDLCK` 0, `F_WRLCK` 1, `F_UNLCK` 2.
    pub kind: i16,
    /// `SEEK_SET` 0.
    pub whence: i16,
    pad: i32,
    /// First byte.
    pub start: i64,
    /// Number of bytes; zero: to the end.
    pub len: i64,
    /// Who holds it; -1 for an open file description.
    pub pid: i32,
    pad2: i32,
}
const _: () = assert!(size_of::<RecordLock>() == 32);

impl RecordLock {
    /// A lock of `len` bytes from `start` on; none: to the end.
    pub fn new(kind: i16, start: i64, len: i64) -> Self {
        Self { kind, start, len, ..Self::default() }
    }
}

/// fcntl(2) `F_GETLK`: a lock of another process that would be in the way of an exclusive one of the whole file.
pub fn conflicting_lock(fd: i32) -> Result<Option<RecordLock>> {
    const GETLK: u32 = 5;
    const WRLCK: i16 = 1;
    const UNLCK: i16 = 2;
    let mut lock = RecordLock { kind: WRLCK, ..RecordLock::default() };
    // SAFETY: the kernel reads and writes one `struct flock`.
    unsafe { sc!(fcntl, fd, GETLK, &raw mut lock) }?;
    Ok((lock.kind != UNLCK).then_some(lock))
}

/// Which of two descriptors' open file descriptions comes first, in an order that holds as long as both are open (kcmp(2), `KCMP_FILE`).
pub fn compare(pid: u32, a: i32, b: i32) -> Result<core::cmp::Ordering> {
    const FILE: u32 = 0;
    // SAFETY: no memory is involved.
    match unsafe { sc!(kcmp, pid, pid, FILE, a, b) }? {
        0 => Ok(core::cmp::Ordering::Equal),
        1 => Ok(core::cmp::Ordering::Less),
        2 => Ok(core::cmp::Ordering::Greater),
        _ => Err(Errno::ENOSYS),
    }
}

/// Whether two descriptors are of one open file description (fcntl(2) `F_DUPFD_QUERY`, Linux 6.10).
pub fn is_duplicate(a: i32, b: i32) -> Result<bool> {
    const DUPFD_QUERY: u32 = 1027;
    // SAFETY: no memory is involved.
    unsafe { sc!(fcntl, a, DUPFD_QUERY, b) }.map(|same| same != 0)
}

/// Whether the entry `number` of an epoll is of the open file description of `fd` (kcmp(2), `KCMP_EPOLL_TFD`). Of several
/// entries of that number, the one at `position` is meant.
///
/// # Errors
///
/// `ENOENT` when the epoll has no such entry.
pub fn is_epoll_target(pid: u32, fd: i32, epoll: i32, number: u32, position: u32) -> Result<bool> {
    const EPOLL_TFD: u32 = 7;
    // `struct kcmp_epoll_slot` (include/uapi/linux/kcmp.h).
    let slot = [epoll as u32, number, position];
    // SAFETY: the kernel reads the three words.
    unsafe { sc!(kcmp, pid, pid, EPOLL_TFD, fd, &raw const slot) }.map(|order| order == 0)
}

/// Events of poll(2).
pub mod poll_event {
    #![allow(missing_docs)]
    pub const IN: i16 = 1;
    pub const OUT: i16 = 4;
    pub const ERR: i16 = 8;
    pub const HUP: i16 = 16;
    pub const RDHUP: i16 = 0x2000;
}

/// poll(2) without waiting: which of the events hold, errors and hang-ups included.
pub fn poll_now(fd: i32, events: i16) -> Result<i16> {
    poll(fd, events, 0)
}

/// poll(2) for so many milliseconds.
pub fn poll(fd: i32, events: i16, timeout: u32) -> Result<i16> {
    #[repr(C)]
    struct PollFd {
        fd: i32,
        events: i16,
        revents: i16,
    }
    let mut entry = PollFd { fd, events, revents: 0 };
    // SAFETY: the kernel reads and writes one `struct pollfd`.
    unsafe { sc!(poll, &raw mut entry, 1, timeout) }?;
    Ok(entry.revents)
}

/// ioctl(2) `FIONREAD`: bytes that can be read.
pub fn readable_bytes(fd: i32) -> Result<u32> {
    const FIONREAD: u32 = 0x541b;
    let mut count = 0u32;
    // SAFETY: the kernel writes one int.
    unsafe { sc!(ioctl, fd, FIONREAD, &raw mut count) }?;
    Ok(count)
}

/// Bytes that a socket still has to send (`SIOCOUTQ`, udp(7)).
pub fn unsent_bytes(fd: i32) -> Result<u32> {
    const SIOCOUTQ: u32 = 0x5411;
    let mut count = 0u32;
    // SAFETY: the kernel writes one int.
    unsafe { sc!(ioctl, fd, SIOCOUTQ, &raw mut count) }?;
    Ok(count)
}

/// flistxattr(2): the names of a file's extended attributes, each with a NUL; the length of all.
pub fn list_attributes(fd: i32, names: &mut [u8]) -> Result<usize> {
    // SAFETY: the kernel writes at most `names.len()` bytes.
    unsafe { sc!(flistxattr, fd, names.as_mut_ptr(), names.len()) }
}

/// timerfd_create(2).
pub fn new_timer(clock: i32) -> Result<i32> {
    const CLOEXEC: u32 = 0o2_000_000;
    // SAFETY: no memory is involved.
    unsafe { sc!(timerfd_create, clock, CLOEXEC) }.map(|fd| fd as i32)
}

/// tee(2): duplicates up to `len` bytes of the pipe `from` in the pipe `to`, without waiting.
pub fn tee(from: i32, to: i32, len: usize) -> Result<usize> {
    const NONBLOCK: u32 = 2;
    // SAFETY: no memory is involved.
    unsafe { sc!(tee, from, to, len, NONBLOCK) }
}

/// timerfd_gettime(2). Besides, the kernel brings its count of expirations up to date.
pub fn timer_remaining(fd: i32) -> Result<[i64; 4]> {
    let mut timer = [0i64; 4];
    // SAFETY: the kernel writes one `struct itimerspec`.
    unsafe { sc!(timerfd_gettime, fd, timer.as_mut_ptr()) }?;
    Ok(timer)
}

/// Permission bits of [`access`].
pub mod permission {
    #![allow(missing_docs)]
    pub const WRITE: u32 = 2;
    pub const READ: u32 = 4;
}

/// faccessat2(2) with the effective ids: whether a file may be opened so. `path` ends with a NUL.
pub fn access(path: &[u8], permission: u32) -> Result<()> {
    const AT_FDCWD: i32 = -100;
    const AT_EACCESS: u32 = 0x200;
    if path.last() != Some(&0) {
        return Err(Errno::EINVAL);
    }
    // SAFETY: a NUL-terminated string, only read.
    unsafe { sc!(faccessat2, AT_FDCWD, path.as_ptr(), permission, AT_EACCESS) }.map(drop)
}

/// [`access`] for the file of a descriptor, which may be one of `O_PATH`.
pub fn access_by(fd: i32, permission: u32) -> Result<()> {
    const AT_EACCESS: u32 = 0x200;
    const AT_EMPTY_PATH: u32 = 0x1000;
    // SAFETY: an empty string, only read.
    unsafe { sc!(faccessat2, fd, c"".as_ptr(), permission, AT_EACCESS | AT_EMPTY_PATH) }.map(drop)
}

/// open_by_handle_at(2) with `O_PATH`: the file of a handle, on the file system of `mount`.
///
/// # Errors
///
/// `EPERM` without the capability CAP_DAC_READ_SEARCH.
pub fn open_handle(mount: i32, handle_type: u32, handle: &[u8]) -> Result<i32> {
    const FLAGS: u32 = 0o10_000_000 | 0o2_000_000;
    /// `struct file_handle` with room for the longest handle (`MAX_HANDLE_SZ`).
    #[repr(C)]
    struct Handle {
        bytes: u32,
        kind: u32,
        handle: [u8; 128],
    }
    let mut whole = Handle { bytes: handle.len() as u32, kind: handle_type, handle: [0; 128] };
    if handle.len() > whole.handle.len() {
        return Err(Errno::EINVAL);
    }
    whole.handle.iter_mut().zip(handle).for_each(|(to, from)| *to = *from);
    // SAFETY: the kernel reads the handle, whose length is inside the struct.
    unsafe { sc!(open_by_handle_at, mount, &raw mut whole, FLAGS) }.map(|fd| fd as i32)
}
