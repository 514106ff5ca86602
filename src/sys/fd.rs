//! Files and descriptors.

use crate::call::sc;
use crate::{Errno, Result};

/// `AT_FDCWD`.
pub const AT_FDCWD: i32 = -100;

/// Flags of open(2) (include/uapi/asm-generic/fcntl.h).
pub mod open_flag {
    #![allow(missing_docs)]
    pub const RDONLY: u32 = 0;
    pub const WRONLY: u32 = 1;
    pub const RDWR: u32 = 2;
    pub const ACCMODE: u32 = 3;
    pub const CREAT: u32 = 0o100;
    pub const EXCL: u32 = 0o200;
    pub const NOCTTY: u32 = 0o400;
    pub const TRUNC: u32 = 0o1000;
    pub const APPEND: u32 = 0o2000;
    pub const NONBLOCK: u32 = 0o4000;
    pub const DIRECTORY: u32 = 0o200_000;
    pub const NOFOLLOW: u32 = 0o400_000;
    pub const TMPFILE: u32 = 0o20_200_000;
    pub const CLOEXEC: u32 = 0o2_000_000;
    pub const PATH: u32 = 0o10_000_000;
    pub const DSYNC: u32 = 0o10000;
    pub const ASYNC: u32 = 0o20000;
    pub const DIRECT: u32 = 0o40000;
    pub const NOATIME: u32 = 0o1_000_000;
    pub const SYNC: u32 = 0o4_010_000;
}

/// `struct stat` of x86-64 (arch/x86/include/uapi/asm/stat.h).
#[repr(C)]
#[derive(Clone, Copy, Default, Debug)]
#[allow(missing_docs)]
pub struct Stat {
    pub dev: u64,
    pub ino: u64,
    pub nlink: u64,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pad0: u32,
    pub rdev: u64,
    pub size: i64,
    pub blksize: i64,
    pub blocks: i64,
    pub atime: i64,
    pub atime_nsec: u64,
    pub mtime: i64,
    pub mtime_nsec: u64,
    pub ctime: i64,
    pub ctime_nsec: u64,
    unused: [i64; 3],
}
const _: () = assert!(size_of::<Stat>() == 144);

/// A buffer for readv(2) and writev(2) (`struct iovec`).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct IoVec {
    /// Address.
    pub base: usize,
    /// Length in bytes.
    pub len: usize,
}
const _: () = assert!(size_of::<IoVec>() == 16);

/// openat(2). `path` ends with a NUL.
pub fn open_at(dir: i32, path: &[u8], flags: u32, mode: u32) -> Result<i32> {
    if path.last() != Some(&0) {
        return Err(Errno::EINVAL);
    }
    // SAFETY: `path` is a NUL-terminated string; the call reads it only.
    unsafe { sc!(openat, dir, path.as_ptr(), flags, mode) }.map(|fd| fd as i32)
}

/// Bits of [`How::resolve`] (include/uapi/linux/openat2.h): no magic links of /proc, no symbolic links.
pub const RESOLVE_NO_LINKS: u64 = 2 | 4;

/// How openat2(2) opens (`struct open_how`).
#[repr(C)]
#[derive(Clone, Copy, Default, Debug)]
pub struct How {
    /// As for open(2), but unknown ones are refused.
    pub flags: u64,
    /// Mode of a file that is created; else zero.
    pub mode: u64,
    /// What a path may not go through.
    pub resolve: u64,
}
const _: () = assert!(size_of::<How>() == 24);

/// openat2(2) (Linux 5.6). `path` ends with a NUL.
pub fn open_how(dir: i32, path: &[u8], how: &How) -> Result<i32> {
    if path.last() != Some(&0) {
        return Err(Errno::EINVAL);
    }
    // SAFETY: a NUL-terminated string and one `struct open_how`; the call reads them only.
    unsafe { sc!(openat2, dir, path.as_ptr(), core::ptr::from_ref(how), size_of::<How>()) }
        .map(|fd| fd as i32)
}

/// close(2).
pub fn close(fd: i32) -> Result<()> {
    // SAFETY: no memory is involved.
    unsafe { sc!(close, fd) }.map(drop)
}

/// read(2), once.
pub fn read(fd: i32, buf: &mut [u8]) -> Result<usize> {
    // SAFETY: the kernel writes at most `buf.len()` bytes to `buf`.
    unsafe { sc!(read, fd, buf.as_mut_ptr(), buf.len()) }
}

/// write(2), once.
pub fn write(fd: i32, buf: &[u8]) -> Result<usize> {
    // SAFETY: the kernel reads `buf` only.
    unsafe { sc!(write, fd, buf.as_ptr(), buf.len()) }
}

/// fstat(2).
pub fn stat_fd(fd: i32) -> Result<Stat> {
    let mut stat = Stat::default();
    // SAFETY: the kernel writes one `struct stat`.
    unsafe { sc!(fstat, fd, &raw mut stat) }?;
    Ok(stat)
}

/// stat(2) of a path, or of the link itself with `follow` false. `path` ends with a NUL.
pub fn stat_at(dir: i32, path: &[u8], follow: bool) -> Result<Stat> {
    const AT_SYMLINK_NOFOLLOW: u32 = 0x100;
    if path.last() != Some(&0) {
        return Err(Errno::EINVAL);
    }
    let mut stat = Stat::default();
    let flags = if follow { 0 } else { AT_SYMLINK_NOFOLLOW };
    // SAFETY: `path` is NUL-terminated and only read; the kernel writes one `struct stat`.
    unsafe { sc!(newfstatat, dir, path.as_ptr(), &raw mut stat, flags) }?;
    Ok(stat)
}

/// lseek(2); `whence` 0 set, 1 current, 2 end.
pub fn seek(fd: i32, offset: i64, whence: u32) -> Result<u64> {
    // SAFETY: no memory is involved.
    unsafe { sc!(lseek, fd, offset, whence) }.map(|pos| pos as u64)
}

/// pread64(2), once.
pub fn read_at(fd: i32, buf: &mut [u8], offset: u64) -> Result<usize> {
    // SAFETY: the kernel writes at most `buf.len()` bytes to `buf`.
    unsafe { sc!(pread64, fd, buf.as_mut_ptr(), buf.len(), offset) }
}

/// writev(2), once.
///
/// The memory is named by address: the caller dumps memory that Rust knows nothing of. An address that cannot be read
/// is `EFAULT`, never a signal.
pub fn write_vector(fd: i32, pieces: &[IoVec]) -> Result<usize> {
    // SAFETY: the kernel reads the array and the memory that it names, and checks every address.
    unsafe { sc!(writev, fd, pieces.as_ptr(), pieces.len()) }
}

/// readlinkat(2): the target of the link, without a NUL.
pub fn read_link<'a>(dir: i32, path: &[u8], buf: &'a mut [u8]) -> Result<&'a [u8]> {
    if path.last() != Some(&0) {
        return Err(Errno::EINVAL);
    }
    // SAFETY: `path` is NUL-terminated; the kernel writes at most `buf.len()` bytes to `buf`.
    let n = unsafe { sc!(readlinkat, dir, path.as_ptr(), buf.as_mut_ptr(), buf.len()) }?;
    buf.get(..n).ok_or(Errno::ENAMETOOLONG)
}

/// getdents64(2): entries of an open directory; zero at its end.
pub fn read_dir(fd: i32, buf: &mut [u8]) -> Result<usize> {
    // SAFETY: the kernel writes at most `buf.len()` bytes to `buf`.
    unsafe { sc!(getdents64, fd, buf.as_mut_ptr(), buf.len()) }
}

/// flock(2), exclusive and without waiting: EAGAIN (EWOULDBLOCK) when another open file description has a lock.
pub fn lock(fd: i32) -> Result<()> {
    const LOCK_EX: u32 = 2;
    const LOCK_NB: u32 = 4;
    // SAFETY: no memory is involved.
    unsafe { sc!(flock, fd, LOCK_EX | LOCK_NB) }.map(drop)
}

/// fsync(2).
pub fn sync(fd: i32) -> Result<()> {
    // SAFETY: no memory is involved.
    unsafe { sc!(fsync, fd) }.map(drop)
}

/// renameat(2); both paths end with a NUL and are relative to `dir`.
pub fn rename_at(dir: i32, from: &[u8], to: &[u8]) -> Result<()> {
    if from.last() != Some(&0) || to.last() != Some(&0) {
        return Err(Errno::EINVAL);
    }
    // SAFETY: both are NUL-terminated strings and only read.
    unsafe { sc!(renameat, dir, from.as_ptr(), dir, to.as_ptr()) }.map(drop)
}

/// [`rename_as`]: fail with EEXIST rather than replace a file.
pub const NO_REPLACE: u32 = 1;
/// [`rename_as`]: the two names exchange their files.
pub const EXCHANGE: u32 = 2;

/// renameat2(2); both paths end with a NUL and are relative to `dir`.
pub fn rename_as(dir: i32, from: &[u8], to: &[u8], how: u32) -> Result<()> {
    if from.last() != Some(&0) || to.last() != Some(&0) {
        return Err(Errno::EINVAL);
    }
    // SAFETY: both are NUL-terminated strings and only read.
    unsafe { sc!(renameat2, dir, from.as_ptr(), dir, to.as_ptr(), how) }.map(drop)
}

/// unlinkat(2) of a file; `path` ends with a NUL.
pub fn unlink_at(dir: i32, path: &[u8]) -> Result<()> {
    if path.last() != Some(&0) {
        return Err(Errno::EINVAL);
    }
    // SAFETY: a NUL-terminated string, only read.
    unsafe { sc!(unlinkat, dir, path.as_ptr(), 0) }.map(drop)
}

/// fcntl(2) with an integer argument, or the address of what a command only reads.
pub fn control(fd: i32, command: u32, arg: usize) -> Result<usize> {
    // SAFETY: no command of `fcntl` below, which callers pass, writes to memory.
    unsafe { sc!(fcntl, fd, command, arg) }
}

/// Commands of fcntl(2) (include/uapi/linux/fcntl.h).
pub mod fcntl {
    #![allow(missing_docs)]
    pub const DUPFD_CLOEXEC: u32 = 1030;
    pub const GETFD: u32 = 1;
    pub const SETFD: u32 = 2;
    pub const GETFL: u32 = 3;
    pub const SETFL: u32 = 4;
    pub const SETLK: u32 = 6;
    pub const OFD_SETLK: u32 = 37;
    pub const SETOWN_EX: u32 = 15;
    pub const GETSIG: u32 = 11;
    pub const SETSIG: u32 = 10;
    pub const GETPIPE_SZ: u32 = 1032;
    pub const SETPIPE_SZ: u32 = 1031;
    pub const ADD_SEALS: u32 = 1033;
    pub const GET_SEALS: u32 = 1034;
}

/// chdir(2); the path ends with a NUL.
pub fn change_dir(path: &[u8]) -> Result<()> {
    if path.last() != Some(&0) {
        return Err(Errno::EINVAL);
    }
    // SAFETY: a NUL-terminated string, only read.
    unsafe { sc!(chdir, path.as_ptr()) }.map(drop)
}

/// Closes `first` to `last`, by close_range(2). Where that is not to be had (Linux before 5.9, or a seccomp profile that does not know it), each by itself.
///
/// # Errors
///
/// `ENOSYS` where there is no `/proc/self/fd` either, which tells which ones there are.
pub fn close_range(first: u32, last: u32) -> Result<()> {
    // SAFETY: no memory is involved.
    match unsafe { sc!(close_range, first, last, 0) } {
        Err(Errno::ENOSYS | Errno::EPERM) => close_each(first, last),
        other => other.map(drop),
    }
}

/// Closes the descriptors that `/proc/self/fd` lists.
fn close_each(first: u32, last: u32) -> Result<()> {
    let flags = open_flag::DIRECTORY | open_flag::CLOEXEC;
    let list = open_at(AT_FDCWD, b"/proc/self/fd\0", flags, 0).map_err(|_| Errno::ENOSYS)?;
    let mut entries = [0u8; 1024];
    // What was closed may shift the others: until nothing is left.
    let mut done = false;
    while !done {
        done = true;
        seek(list, 0, 0)?;
        loop {
            let len = read_dir(list, &mut entries)?;
            if len == 0 {
                break;
            }
            for name in dir_names(entries.get(..len).unwrap_or_default()) {
                let number = name
                    .iter()
                    .try_fold(0u32, |number, digit| {
                        let digit =
                            u32::from(*digit).checked_sub(u32::from(b'0')).filter(|digit| *digit < 10)?;
                        number.checked_mul(10)?.checked_add(digit)
                    })
                    .filter(|number| (first..=last).contains(number) && *number != list as u32);
                if let Some(number) = number {
                    done &= close(number as i32).is_err();
                }
            }
        }
    }
    let _ = close(list);
    Ok(())
}

/// pipe2(2): the reading and the writing end.
pub fn pipe(flags: u32) -> Result<[i32; 2]> {
    let mut ends = [0; 2];
    // SAFETY: the kernel writes two descriptors.
    unsafe { sc!(pipe2, &raw mut ends, flags) }?;
    Ok(ends)
}

/// fchmod(2).
pub fn set_mode(fd: i32, mode: u32) -> Result<()> {
    // SAFETY: no memory is involved.
    unsafe { sc!(fchmod, fd, mode) }.map(drop)
}

/// poll(2) for one descriptor, without a timeout: waits until it can be read (for a pidfd: until the process has ended).
pub fn wait_readable(fd: i32) -> Result<()> {
    #[repr(C)]
    struct PollFd {
        fd: i32,
        events: i16,
        revents: i16,
    }
    const POLLIN: i16 = 1;
    let mut entry = PollFd { fd, events: POLLIN, revents: 0 };
    loop {
        // SAFETY: the kernel reads and writes one `struct pollfd`.
        match unsafe { sc!(poll, &raw mut entry, 1, -1_isize) } {
            Err(Errno::EINTR) => {}
            result => return result.map(drop),
        }
    }
}

/// An entry of a folder.
#[derive(Clone, Copy, Debug)]
pub struct DirEntry<'a> {
    /// Inode.
    pub ino: u64,
    /// Name, without a NUL.
    pub name: &'a [u8],
    /// A folder; some file systems do not tell.
    pub is_dir: bool,
}

/// What [`read_dir`] gave (`struct linux_dirent64`: inode 8 bytes, offset 8, length 2, type 1, then the name).
pub fn dir_entries(mut entries: &[u8]) -> impl Iterator<Item = DirEntry<'_>> {
    const DT_DIR: u8 = 4;
    core::iter::from_fn(move || {
        let len = usize::from(u16::from_le_bytes(*entries.get(16..)?.first_chunk()?));
        let entry = entries.get(..len)?;
        entries = entries.get(len..)?;
        let ino = u64::from_le_bytes(*entry.first_chunk()?);
        let name = entry.get(19..)?.split(|byte| *byte == 0).next()?;
        Some(DirEntry { ino, name, is_dir: entry.get(18) == Some(&DT_DIR) })
    })
}

/// The names in what [`read_dir`] gave.
pub fn dir_names(entries: &[u8]) -> impl Iterator<Item = &[u8]> {
    dir_entries(entries).map(|entry| entry.name)
}

/// lseek(2) with SEEK_DATA and SEEK_HOLE: the first range at or behind `at`, below `end`, that may hold something else than zeros. Empty when
/// there is none. Moves the file offset.
pub fn data_range(fd: i32, at: u64, end: u64) -> Result<(u64, u64)> {
    const SEEK_DATA: u32 = 3;
    const SEEK_HOLE: u32 = 4;
    match seek(fd, at as i64, SEEK_DATA) {
        Ok(start) if start < end => Ok((start, seek(fd, start as i64, SEEK_HOLE)?.min(end))),
        Ok(_) | Err(Errno::ENXIO) => Ok((end, end)),
        Err(Errno::EINVAL) => Ok((at, end)),
        Err(errno) => Err(errno),
    }
}

/// fstatfs(2): the type of the file system (`f_type`, include/uapi/linux/magic.h).
pub fn file_system(fd: i32) -> Result<u64> {
    // `struct statfs` of x86-64 is 15 words; the first one is the type.
    let mut stat = [0u64; 15];
    // SAFETY: the kernel writes one `struct statfs`, 120 bytes.
    unsafe { sc!(fstatfs, fd, stat.as_mut_ptr()) }?;
    let [kind, ..] = stat;
    Ok(kind)
}

/// statfs(2): the type of the file system that a path leads to. `path` ends with a NUL.
pub fn file_system_at(path: &[u8]) -> Result<u64> {
    if path.last() != Some(&0) {
        return Err(Errno::EINVAL);
    }
    let mut stat = [0u64; 15];
    // SAFETY: `path` is NUL-terminated and only read; the kernel writes one `struct statfs`.
    unsafe { sc!(statfs, path.as_ptr(), stat.as_mut_ptr()) }?;
    let [kind, ..] = stat;
    Ok(kind)
}

/// Type of overlayfs.
pub const OVERLAY: u64 = 0x794c_7630;
/// Type of hugetlbfs.
pub const HUGETLBFS: u64 = 0x9584_58f6;

/// memfd_create(2): a file without a name in any directory. `name` ends with a NUL; `flags` are those of [`memfd`].
pub fn create_memfd(name: &[u8], flags: u32) -> Result<i32> {
    if name.last() != Some(&0) {
        return Err(Errno::EINVAL);
    }
    // SAFETY: `name` is a NUL-terminated string; the call reads it only.
    unsafe { sc!(memfd_create, name.as_ptr(), flags) }.map(|fd| fd as i32)
}

/// Flags of memfd_create(2) (include/uapi/linux/memfd.h).
pub mod memfd {
    #![allow(missing_docs)]
    pub const CLOEXEC: u32 = 1;
    pub const ALLOW_SEALING: u32 = 2;
    pub const NOEXEC_SEAL: u32 = 8;
    pub const EXEC: u32 = 16;
}

/// ftruncate(2).
pub fn set_length(fd: i32, len: u64) -> Result<()> {
    // SAFETY: no memory is involved.
    unsafe { sc!(ftruncate, fd, len) }.map(drop)
}

/// dup2(2): the new descriptor is open across execve(2), also when it is the old one.
pub fn duplicate(from: i32, to: i32) -> Result<()> {
    if from == to {
        return control(from, fcntl::SETFD, 0).map(drop);
    }
    // SAFETY: no memory is involved.
    unsafe { sc!(dup2, from, to) }.map(drop)
}
