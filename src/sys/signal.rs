//! Signals.

use crate::Result;
use crate::call::sc;

/// Number of signals; signal numbers are 1 to 64.
pub const SIGNALS: u32 = 64;
/// Size of the kernel's signal set in bytes.
const SET_BYTES: usize = 8;

/// Signals by their numbers (arch/x86/include/uapi/asm/signal.h).
pub mod sig {
    #![allow(missing_docs)]
    pub const HUP: u32 = 1;
    pub const INT: u32 = 2;
    pub const QUIT: u32 = 3;
    pub const ILL: u32 = 4;
    pub const BUS: u32 = 7;
    pub const FPE: u32 = 8;
    pub const KILL: u32 = 9;
    pub const SEGV: u32 = 11;
    pub const USR2: u32 = 12;
    pub const PIPE: u32 = 13;
    pub const CHLD: u32 = 17;
    pub const CONT: u32 = 18;
    pub const STOP: u32 = 19;
    pub const TSTP: u32 = 20;
    pub const XFSZ: u32 = 25;
    pub const PROF: u32 = 27;
    pub const WINCH: u32 = 28;
}

/// The names of the signals from 1 on, without their `SIG`. The rest are real-time signals, which have none.
pub const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// A signal's bit in the kernel's signal sets: the first signal has the lowest. Zero, which is no signal, has none.
pub const fn bit(signal: u32) -> u64 {
    if signal == 0 { 0 } else { 1 << (signal.wrapping_sub(1) & 63) }
}

/// `struct sigaction` of the kernel (arch/x86/include/uapi/asm/signal.h).
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Action {
    /// `SIG_DFL` 0, `SIG_IGN` 1, or an address.
    pub handler: usize,
    /// `SA_` flags.
    pub flags: u64,
    /// Where the handler returns to; on x86-64 there is no other way.
    pub restorer: usize,
    /// Signals blocked while it runs.
    pub mask: u64,
}
const _: () = assert!(size_of::<Action>() == 32);

/// Flags of sigaction(2).
pub mod sa {
    #![allow(missing_docs)]
    pub const SIGINFO: u64 = 4;
    pub const RESTORER: u64 = 0x0400_0000;
    pub const ONSTACK: u64 = 0x0800_0000;
    pub const RESTART: u64 = 0x1000_0000;
    pub const RESETHAND: u64 = 0x8000_0000;
}

/// rt_sigaction(2): the present action.
pub fn action(signal: u32) -> Result<Action> {
    let mut old = Action::default();
    // SAFETY: only asks; the kernel writes one `struct sigaction`.
    unsafe { sc!(rt_sigaction, signal, 0, &raw mut old, SET_BYTES) }?;
    Ok(old)
}

/// rt_sigaction(2): the present actions of all signals.
pub fn read_actions(actions: &mut [Action; SIGNALS as usize]) {
    for (number, slot) in (1..).zip(actions) {
        *slot = action(number).unwrap_or_default();
    }
}

/// sigaltstack(2).
///
/// # Safety
///
/// The memory is there, and used for nothing else, as long as a signal with `SA_ONSTACK` may arrive.
pub unsafe fn set_alternate_stack(addr: u64, len: u64) -> Result<()> {
    // `stack_t`: address, flags (and padding), size.
    let stack = [addr, 0, len];
    // SAFETY: the kernel reads one `stack_t`; the caller answers for the memory.
    unsafe { sc!(sigaltstack, &raw const stack, 0) }.map(drop)
}

/// rt_sigaction(2): sets an action.
///
/// # Safety
///
/// The handler keeps what it interrupts as it was, and the restorer calls `rt_sigreturn`.
pub unsafe fn set_action(signal: u32, new: &Action) -> Result<()> {
    // SAFETY: the caller answers for the handler.
    unsafe { sc!(rt_sigaction, signal, core::ptr::from_ref(new), 0, SET_BYTES) }.map(drop)
}

/// `SIG_DFL`, for [`set_simple`].
pub const DEFAULT: usize = 0;
/// `SIG_IGN`, for [`set_simple`].
pub const IGNORE: usize = 1;

/// rt_sigaction(2) with [`DEFAULT`] or [`IGNORE`].
pub fn set_simple(signal: u32, how: usize) {
    let action = Action { handler: how.min(IGNORE), ..Action::default() };
    // SAFETY: there is no handler.
    let _ = unsafe { set_action(signal, &action) };
}

/// rt_sigprocmask(2) with SIG_SETMASK; returns the old mask.
pub fn set_mask(mask: u64) -> Result<u64> {
    const SIG_SETMASK: u32 = 2;
    let mut old = 0u64;
    // SAFETY: the kernel reads one mask and writes another.
    unsafe { sc!(rt_sigprocmask, SIG_SETMASK, &raw const mask, &raw mut old, SET_BYTES) }?;
    Ok(old)
}

/// sigaltstack(2) again for a stack with `SS_AUTODISARM`, which the kernel disarms while a handler runs on it; others stay as they are.
///
/// # Safety
///
/// The values are those that a signal frame of this thread has: then the stack is the one that the program has set.
pub unsafe fn rearm_stack(address: u64, flags: u32, size: u64) {
    const SS_AUTODISARM: u32 = 1 << 31;
    if flags & SS_AUTODISARM != 0 {
        // `struct sigaltstack`: address, flags and padding, size.
        let stack = [address, u64::from(flags), size];
        // SAFETY: the kernel reads the struct; the caller answers for the stack.
        let _ = unsafe { sc!(sigaltstack, stack.as_ptr(), 0) };
    }
}

/// rt_sigpending(2): signals pending for the thread or the process.
pub fn pending() -> Result<u64> {
    let mut set = 0u64;
    // SAFETY: the kernel writes one mask.
    unsafe { sc!(rt_sigpending, &raw mut set, SET_BYTES) }?;
    Ok(set)
}

/// `siginfo_t` as bytes.
pub type Info = [u8; 128];

/// `si_code`: above zero the kernel sent the signal, else somebody did (sigaction(2)).
pub fn code(info: &Info) -> i32 {
    let [_, _, _, _, _, _, _, _, a, b, c, d, ..] = *info;
    i32::from_le_bytes([a, b, c, d])
}

/// rt_sigtimedwait(2) with no waiting: takes one pending signal of `set`.
///
/// # Errors
///
/// `EAGAIN` when none is pending.
pub fn take(set: u64) -> Result<(u32, Info)> {
    let mut info = [0; 128];
    let zero = [0i64; 2];
    // SAFETY: the kernel reads the set and the time, and writes one `siginfo_t`.
    let signal = unsafe { sc!(rt_sigtimedwait, &raw const set, &raw mut info, &raw const zero, SET_BYTES) }?;
    Ok((signal as u32, info))
}

/// pidfd_send_signal(2).
pub fn send_by(pidfd: i32, signal: u32) -> Result<()> {
    // SAFETY: no memory is involved: the signal looks as if it came from kill(2).
    unsafe { sc!(pidfd_send_signal, pidfd, signal, 0, 0) }.map(drop)
}

/// rt_sigtimedwait(2) without a limit: the next signal of `set`, which is blocked.
pub fn next(set: u64) -> Result<(u32, Info)> {
    let mut info = [0; 128];
    // SAFETY: the kernel reads the set, and writes one `siginfo_t`.
    let signal = unsafe { sc!(rt_sigtimedwait, &raw const set, &raw mut info, 0, SET_BYTES) }?;
    Ok((signal as u32, info))
}

/// rt_sigqueueinfo(2): queues a signal for a process.
pub fn queue_process(pid: u32, signal: u32, info: &Info) -> Result<()> {
    // SAFETY: the kernel reads one `siginfo_t`.
    unsafe { sc!(rt_sigqueueinfo, pid, signal, info.as_ptr()) }.map(drop)
}

/// rt_tgsigqueueinfo(2): queues a signal for a thread.
pub fn queue_thread(pid: u32, tid: u32, signal: u32, info: &Info) -> Result<()> {
    // SAFETY: the kernel reads one `siginfo_t`.
    unsafe { sc!(rt_tgsigqueueinfo, pid, tid, signal, info.as_ptr()) }.map(drop)
}

/// Sigreturn frame parts: `struct ucontext` of x86-64 (arch/x86/include/uapi/asm/ucontext.h, sigcontext.h). The kernel neither writes nor reads
/// its eight reserved words.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct UContext<Reserved = [u64; 8]> {
    /// `UC_` flags.
    pub flags: u64,
    /// Unused.
    pub link: u64,
    /// Alternate stack: address.
    pub stack_sp: u64,
    /// Alternate stack: flags.
    pub stack_flags: u32,
    pad: u32,
    /// Alternate stack: size.
    pub stack_size: u64,
    /// r8 to r15, then rdi rsi rbp rbx rdx rax rcx rsp rip eflags.
    pub gregs: [u64; 18],
    /// cs, gs, fs, ss, sixteen bits each from the low end.
    pub segments: u64,
    /// err, trapno, oldmask, cr2.
    pub trap: [u64; 4],
    /// Address of the FXSAVE or XSAVE area; zero when the FPU was never used.
    pub fpstate: u64,
    /// Not the kernel's.
    pub reserved: Reserved,
    /// Signal mask of the interrupted code.
    pub sigmask: u64,
}
const _: () = assert!(size_of::<UContext>() == 304);

/// Indices of [`UContext::gregs`].
pub mod greg {
    #![allow(missing_docs)]
    pub const R8: usize = 0;
    pub const R9: usize = 1;
    pub const R10: usize = 2;
    pub const R11: usize = 3;
    pub const R12: usize = 4;
    pub const R13: usize = 5;
    pub const R14: usize = 6;
    pub const R15: usize = 7;
    pub const RDI: usize = 8;
    pub const RSI: usize = 9;
    pub const RBP: usize = 10;
    pub const RBX: usize = 11;
    pub const RDX: usize = 12;
    pub const RAX: usize = 13;
    pub const RCX: usize = 14;
    pub const RSP: usize = 15;
    pub const RIP: usize = 16;
    pub const EFLAGS: usize = 17;
}

/// tgkill(2): sends a signal to a thread.
pub fn raise(pid: u32, tid: u32, signal: u32) -> Result<()> {
    // SAFETY: no memory is involved.
    unsafe { sc!(tgkill, pid, tid, signal) }.map(drop)
}

/// rt_sigprocmask(2), asking only: the present mask.
pub fn mask() -> Result<u64> {
    let mut old = 0u64;
    // SAFETY: the kernel writes one mask.
    unsafe { sc!(rt_sigprocmask, 0, 0, &raw mut old, SET_BYTES) }?;
    Ok(old)
}
