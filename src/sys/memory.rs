//! Mapping memory, and asking about it.

use crate::call::sc;
use crate::{Errno, Result};

/// Protection of a mapping (mmap(2)).
pub mod prot {
    #![allow(missing_docs)]
    pub const NONE: u32 = 0;
    pub const READ: u32 = 1;
    pub const WRITE: u32 = 2;
    pub const EXEC: u32 = 4;
}

/// Flags of mmap(2) (include/uapi/linux/mman.h, include/uapi/asm-generic/mman.h).
pub mod map {
    #![allow(missing_docs)]
    pub const SHARED: u32 = 1;
    pub const PRIVATE: u32 = 2;
    pub const DROPPABLE: u32 = 8;
    pub const FIXED: u32 = 0x10;
    pub const ANONYMOUS: u32 = 0x20;
    pub const GROWSDOWN: u32 = 0x100;
    pub const NORESERVE: u32 = 0x4000;
    pub const POPULATE: u32 = 0x8000;
    pub const STACK: u32 = 0x20000;
    pub const FIXED_NOREPLACE: u32 = 0x0010_0000;
}

/// Advice of madvise(2) (include/uapi/asm-generic/mman-common.h).
pub mod advice {
    #![allow(missing_docs)]
    pub const RANDOM: u32 = 1;
    pub const SEQUENTIAL: u32 = 2;
    pub const DONTFORK: u32 = 10;
    pub const DOFORK: u32 = 11;
    pub const MERGEABLE: u32 = 12;
    pub const HUGEPAGE: u32 = 14;
    pub const NOHUGEPAGE: u32 = 15;
    pub const DONTDUMP: u32 = 16;
    pub const WIPEONFORK: u32 = 18;
    pub const KEEPONFORK: u32 = 19;
    pub const POPULATE_READ: u32 = 22;
    pub const POPULATE_WRITE: u32 = 23;
    pub const GUARD_INSTALL: u32 = 102;
}

/// mmap(2); returns the address.
///
/// # Safety
///
/// With `map::FIXED`, nothing that is in use is at `addr`.
pub unsafe fn mmap(addr: u64, len: u64, prot: u32, flags: u32, fd: i32, offset: u64) -> Result<u64> {
    // SAFETY: without FIXED a new mapping hurts nothing; with it the caller answers.
    unsafe { sc!(mmap, addr, len, prot, flags, fd, offset) }.map(|addr| addr as u64)
}

/// munmap(2).
///
/// # Safety
///
/// Nothing uses the range any more.
pub unsafe fn munmap(addr: u64, len: u64) -> Result<()> {
    // SAFETY: the caller answers for the range.
    unsafe { sc!(munmap, addr, len) }.map(drop)
}

/// mprotect(2).
///
/// # Safety
///
/// Nothing relies on the present protection of the range.
pub unsafe fn mprotect(addr: u64, len: u64, prot: u32) -> Result<()> {
    // SAFETY: the caller answers for the range.
    unsafe { sc!(mprotect, addr, len, prot) }.map(drop)
}

/// mremap(2) with MREMAP_MAYMOVE: grows or shrinks a mapping; returns its new address.
///
/// # Safety
///
/// Nothing holds an address inside the mapping.
pub unsafe fn mremap(addr: u64, old: u64, new: u64) -> Result<u64> {
    // SAFETY: the caller answers for the mapping.
    unsafe { sc!(mremap, addr, old, new, 1) }.map(|addr| addr as u64)
}

/// madvise(2).
///
/// # Safety
///
/// The advice does not throw away contents that are still needed.
pub unsafe fn madvise(addr: u64, len: u64, advice: u32) -> Result<()> {
    // SAFETY: the caller answers for the advice.
    unsafe { sc!(madvise, addr, len, advice) }.map(drop)
}

/// Categories of a page for [`scan_pages`] (include/uapi/linux/fs.h).
pub mod page {
    #![allow(missing_docs)]
    pub const FILE: u64 = 1 << 2;
    pub const PRESENT: u64 = 1 << 3;
    pub const SWAPPED: u64 = 1 << 4;
    pub const PFNZERO: u64 = 1 << 5;
    pub const HUGE: u64 = 1 << 6;
    pub const GUARD: u64 = 1 << 8;
}

/// A range of pages of equal categories (`struct page_region`).
#[repr(C)]
#[derive(Clone, Copy, Default, Debug)]
pub struct PageRegion {
    /// First byte.
    pub start: u64,
    /// Behind the last byte.
    pub end: u64,
    /// [`page`] bits.
    pub categories: u64,
}

/// `struct pm_scan_arg`.
#[repr(C)]
struct ScanArg {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vec: u64,
    vec_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}
const _: () = assert!(size_of::<ScanArg>() == 96);

/// What [`scan_pages`] looks for.
#[derive(Clone, Copy, Debug)]
pub struct Scan {
    /// Pages of at least one of these categories,
    pub any_of: u64,
    /// and of none of these.
    pub none_of: u64,
    /// Categories to return.
    pub report: u64,
    /// Stop after so many pages; zero: no limit.
    pub max_pages: u64,
}

/// `PAGEMAP_SCAN` on a pagemap descriptor (Linux 6.7; admin-guide/mm/pagemap): fills `out` with ranges of
/// pages in `start..end`; returns how many, and where the walk ended.
///
/// # Errors
///
/// `ENOTTY` on kernels that do not have it; `EINVAL` for a category that the kernel does not know.
pub fn scan_pages(
    pagemap: i32,
    start: u64,
    end: u64,
    scan: Scan,
    out: &mut [PageRegion],
) -> Result<(usize, u64)> {
    /// `_IOWR('f', 16, struct pm_scan_arg)`.
    const PAGEMAP_SCAN: u32 = 0xc060_6610;
    let mut arg = ScanArg {
        size: size_of::<ScanArg>() as u64,
        flags: 0,
        start,
        end,
        walk_end: 0,
        vec: out.as_mut_ptr() as u64,
        vec_len: out.len() as u64,
        max_pages: scan.max_pages,
        category_inverted: scan.none_of,
        category_mask: scan.none_of,
        category_anyof_mask: scan.any_of,
        return_mask: scan.report,
    };
    // SAFETY: the kernel writes at most `vec_len` entries to `out`, and updates `arg`.
    let n = unsafe { sc!(ioctl, pagemap, PAGEMAP_SCAN, &raw mut arg) }?;
    if n > out.len() {
        return Err(Errno::EOVERFLOW);
    }
    Ok((n, arg.walk_end))
}

/// Whether the word at `addr` can be read, asked of the kernel: without a signal, whatever is there.
///
/// rt_sigprocmask(2) copies the new set from the address before it looks at `how`, which is one that does not exist: the answer is
/// `EINVAL` for memory and `EFAULT` for none (kernel/signal.c). An address of zero it takes for no set at all.
pub fn is_readable(addr: u64) -> bool {
    // SAFETY: the kernel reads 8 bytes and changes nothing.
    let answer = unsafe { sc!(rt_sigprocmask, 99, addr, 0, 8) };
    addr != 0 && answer != Err(Errno::EFAULT)
}

/// Copies memory of this process from `addr` on, at most a page; false where there is none.
///
/// # Safety
///
/// Nobody unmaps it meanwhile.
pub unsafe fn read(addr: u64, to: &mut [u8]) -> bool {
    const PAGE: u64 = 4096;
    let last = (to.len() as u64).checked_sub(1).and_then(|last| addr.checked_add(last));
    let Some(last) = last.filter(|_| to.len() as u64 <= PAGE) else { return false };
    // An aligned word lies in one page, and the bytes are in two at most.
    if !is_readable(addr & !7) || last / PAGE != addr / PAGE && !is_readable(last & !7) {
        return false;
    }
    // SAFETY: the kernel could read both ends just now, and the caller promises that this lasts.
    unsafe { core::ptr::copy_nonoverlapping(addr as *const u8, to.as_mut_ptr(), to.len()) };
    true
}

/// process_vm_readv(2) of a process, which may be the caller itself: copies memory from `addr` on, as far as it can be read.
///
/// # Errors
///
/// `EFAULT` when not even the first byte can be read.
pub fn copy_from(pid: u32, addr: u64, buf: &mut [u8]) -> Result<usize> {
    let (to, from) = ([buf.as_mut_ptr() as u64, buf.len() as u64], [addr, buf.len() as u64]);
    // SAFETY: the kernel reads two `struct iovec`, and writes at most `buf.len()` bytes to `buf`.
    unsafe { sc!(process_vm_readv, pid, &raw const to, 1, &raw const from, 1, 0) }
}

/// munlock(2).
pub fn unlock(addr: u64, len: u64) -> Result<()> {
    // SAFETY: what is in memory stays as it is.
    unsafe { sc!(munlock, addr, len) }.map(drop)
}

/// mincore(2): which pages from `addr` on are in memory, in bit 0 of one byte each. Pages of a file that the caller may neither write to nor
/// owns all count as being there.
pub fn in_core(addr: u64, len: u64, pages: &mut [u8]) -> Result<()> {
    if (pages.len() as u64) < len.div_ceil(4096) {
        return Err(Errno::EINVAL);
    }
    // SAFETY: the kernel writes one byte for each page.
    unsafe { sc!(mincore, addr, len, pages.as_mut_ptr()) }.map(drop)
}
