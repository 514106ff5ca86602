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
    pub const DIRECTORY: u32 = 0o200000;
    pub const NOFOLLOW: u32 = 0o400000;
    pub const CLOEXEC: u32 = 0o2000000;
    pub const PATH: u32 = 0o10000000;
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
