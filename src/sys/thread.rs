//! Threads: ids, lists that the kernel keeps for them, scheduling, futexes.

use crate::call::sc;
use crate::{Errno, Result};

/// gettid(2).
pub fn tid() -> u32 {
    // SAFETY: no arguments; cannot fail.
    unsafe { sc!(gettid) }.unwrap_or(0) as u32
}

/// FS base of the caller (arch_prctl(2), ARCH_GET_FS).
pub fn fs_base() -> Result<u64> {
    arch_value(0x1003)
}

/// GS base of the caller (ARCH_GET_GS).
pub fn gs_base() -> Result<u64> {
    arch_value(0x1004)
}

/// Extended register sets that the process has permission for (ARCH_GET_XCOMP_PERM).
pub fn xstate_permission() -> Result<u64> {
    arch_value(0x1022)
}

/// Whether the thread has a shadow stack (ARCH_SHSTK_STATUS, Linux 6.6).
pub fn has_shadow_stack() -> bool {
    arch_value(0x5005).is_ok_and(|features| features & 1 != 0)
}

/// What the kernel leaves of an address: all of it unless the process has tags in its pointers (ARCH_GET_UNTAG_MASK, Linux 6.4).
pub fn untag_mask() -> Result<u64> {
    arch_value(0x4001)
}

/// modify_ldt(2), asking only: copies the local descriptor table of the process; its length in bytes, at most that of `entries`.
pub fn local_descriptors(entries: &mut [u8]) -> Result<usize> {
    // SAFETY: function 0 writes at most `entries.len()` bytes.
    unsafe { sc!(modify_ldt, 0, entries.as_mut_ptr(), entries.len()) }
}

fn arch_value(code: u32) -> Result<u64> {
    let mut value = 0u64;
    // SAFETY: the codes above store one u64 at the address.
    unsafe { sc!(arch_prctl, code, &raw mut value) }?;
    Ok(value)
}

/// get_robust_list(2) of a thread: head and length.
pub fn robust_list(tid: u32) -> Result<(u64, u64)> {
    let (mut head, mut len) = (0u64, 0u64);
    // SAFETY: the kernel writes two words.
    unsafe { sc!(get_robust_list, tid, &raw mut head, &raw mut len) }?;
    Ok((head, len))
}

/// An area of rseq(2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rseq {
    /// Its address; zero when there is none.
    pub address: u64,
    /// Its length in bytes.
    pub len: u32,
    /// What stands before each abort handler.
    pub signature: u32,
}

/// rseq(2) for the caller. Used for the answers only: see the errors.
///
/// # Errors
///
/// Where the thread has an area: `EINVAL` when it is another one, `EPERM` when it has another signature, `EBUSY` when it is this one.
pub fn rseq(area: Rseq, flags: u32) -> Result<()> {
    // SAFETY: the caller registers nothing but what was registered before: of an area, the kernel writes to the first words.
    unsafe { sc!(rseq, area.address, area.len, flags, area.signature) }.map(drop)
}

/// sched_getaffinity(2): number of bytes of the mask.
pub fn affinity(tid: u32, mask: &mut [u8]) -> Result<usize> {
    // SAFETY: the kernel writes at most `mask.len()` bytes.
    unsafe { sc!(sched_getaffinity, tid, mask.len(), mask.as_mut_ptr()) }
}

/// Room for a mask of CPUs, in bytes: a bit for each of 8192, the most that Linux can be built for (`NR_CPUS`).
pub const CPU_MASK: usize = 1024;

/// The CPU on which the caller runs: getcpu(2).
pub fn cpu() -> Result<u32> {
    let mut cpu = 0u32;
    // SAFETY: the kernel writes one word; null is allowed for the node.
    unsafe { sc!(getcpu, &raw mut cpu, 0, 0) }?;
    Ok(cpu)
}

/// Has the caller go on on a CPU, where it stays as long as the scheduler has no reason against it: which CPUs it may use is as before.
///
/// # Errors
///
/// As `sched_setaffinity(2)`: `EINVAL` where it may not use that one.
pub fn move_to(cpu: u32) -> Result<()> {
    if self::cpu() == Ok(cpu) {
        return Ok(());
    }
    let (mut all, mut one) = ([0u8; CPU_MASK], [0u8; CPU_MASK]);
    let len = affinity(0, &mut all)?.min(CPU_MASK);
    let byte = one.get_mut(cpu as usize / 8).ok_or(Errno::EINVAL)?;
    *byte = 1 << (cpu % 8);
    for mask in [one, all] {
        // SAFETY: the kernel reads the mask.
        unsafe { sc!(sched_setaffinity, 0, len, mask.as_ptr()) }?;
    }
    Ok(())
}

/// `struct sched_attr` (include/uapi/linux/sched/types.h).
#[repr(C)]
#[derive(Clone, Copy, Default, Debug)]
#[allow(missing_docs)]
pub struct SchedAttr {
    pub size: u32,
    pub policy: u32,
    pub flags: u64,
    pub nice: i32,
    pub priority: u32,
    pub runtime: u64,
    pub deadline: u64,
    pub period: u64,
    pub util_min: u32,
    pub util_max: u32,
}
const _: () = assert!(size_of::<SchedAttr>() == 56);

/// sched_getattr(2).
pub fn scheduling(tid: u32) -> Result<SchedAttr> {
    let mut attr = SchedAttr::default();
    // SAFETY: the kernel writes at most the size it is given.
    unsafe { sc!(sched_getattr, tid, &raw mut attr, size_of::<SchedAttr>(), 0) }?;
    Ok(attr)
}

/// ioprio_get(2) of a thread.
pub fn io_priority(tid: u32) -> Result<u32> {
    const WHO_PROCESS: u32 = 1;
    // SAFETY: no memory is involved.
    unsafe { sc!(ioprio_get, WHO_PROCESS, tid) }.map(|prio| prio as u32)
}

/// sched_yield(2).
pub fn yield_now() {
    // SAFETY: no arguments.
    let _ = unsafe { sc!(sched_yield) };
}

/// futex(2) FUTEX_WAIT: sleeps while `*word == value`, at most `timeout_ns` nanoseconds when that is not zero.
///
/// # Errors
///
/// `EAGAIN` when the value is another already, `ETIMEDOUT`, `EINTR`.
pub fn futex_wait(word: &core::sync::atomic::AtomicU32, value: u32, timeout_ns: u64) -> Result<()> {
    let time = [(timeout_ns / 1_000_000_000) as i64, (timeout_ns % 1_000_000_000) as i64];
    let timeout = if timeout_ns == 0 { core::ptr::null() } else { &raw const time };
    // SAFETY: the kernel reads the word and the time.
    unsafe { sc!(futex, word.as_ptr(), 0, value, timeout, 0, 0) }.map(drop)
}

/// futex(2) FUTEX_WAKE: wakes up to `count` sleepers.
pub fn futex_wake(word: &core::sync::atomic::AtomicU32, count: u32) {
    // SAFETY: the kernel only looks the address up.
    let _ = unsafe { sc!(futex, word.as_ptr(), 1, count, 0, 0, 0) };
}

/// Whether the aligned word of four bytes at an address can be written. Nothing changes: FUTEX_WAKE_OP (futex(2)) adds zero to it, in one step with whatever others
/// do to it.
pub fn is_writable(addr: u64) -> bool {
    const WAKE_OP_PRIVATE: u32 = 5 | 128;
    /// `FUTEX_OP(FUTEX_OP_ADD, 0, FUTEX_OP_CMP_EQ, -1)`: one who waits there is woken only if the word is -1.
    const ADD_ZERO: u32 = 1 << 28 | 0xfff;
    let nobody = core::sync::atomic::AtomicU32::new(0);
    // SAFETY: the kernel reads the word at `addr` and writes back what it has read, or says that it cannot.
    unsafe { sc!(futex, nobody.as_ptr(), WAKE_OP_PRIVATE, 0, 0, addr, ADD_ZERO) }.is_ok()
}
