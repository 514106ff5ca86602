//! A thread that a signal of ours has stopped.

use crate::blocking::Wait;
use core::arch::global_asm;
use core::mem::offset_of;
use core::sync::atomic::{AtomicU32, AtomicU64};
use image::format::Context;
use sys::signal::{Info, UContext, greg};
use sys::thread::Rseq;

/// The signal frame of a stopped thread (`struct rt_sigframe`, arch/x86/include/asm/sigframe.h), and in its unused words what libckpt keeps
/// with the thread: an alternate stack need not have room for anything else. It is part of the image, and `ckpt_resume` finds it again.
///
/// What is behind `info` is zero when a thread arrives: the kernel clears the rest of a `siginfo_t` (copy_siginfo_to_user() in kernel/signal.c).
#[repr(C)]
pub struct Arrival {
    /// Where the handler returns to.
    restorer: u64,
    /// The interrupted code, and the registers of the capture.
    pub user: UContext<Context>,
    /// Who asked: what the kernel uses of a `siginfo_t` (`struct kernel_siginfo`).
    pub info: [u8; 48],
    /// set_tid_address(2) of the thread at the save.
    pub tid_address: u64,
    /// Its id at the save.
    pub tid: u32,
    /// [`ROLE_LEADER`] or [`ROLE_PARKED`].
    pub role: u32,
    /// After a restart: index in THREADS.
    pub index: u32,
    /// How the thread goes on: [`leave`].
    pub leave: u32,
    /// Whether the thread was on its way into a call that goes on: [`onward`].
    pub onward: u32,
    /// Not zero when `ckpt_called` has stopped the thread, which releases the lock itself.
    pub called: u32,
    /// The register sets in the frame; zero when it is one of FXSAVE.
    pub xfeatures: u64,
    /// One more than the number of the system call that was interrupted; zero when the kernel did not tell it.
    pub call: u64,
    /// The rseq(2) area of the thread, its length in bytes and its signature.
    rseq: u64,
    rseq_len: u32,
    rseq_sig: u32,
    /// 1: a tracer has made the frame, in memory of its own, and has filled in `call` and what follows.
    entered: u32,
    pad: u32,
    unused: u64,
}
const _: () = assert!(size_of::<Arrival>() == 8 + 304 + 128);

/// Values of [`Arrival::onward`]; zero when it was not.
pub mod onward {
    /// The kernel was about to continue the call, by restart_syscall(2).
    pub const CONTINUES: u32 = 1;
    /// `ckpt_wait` was about to make it: the kernel knows nothing of it.
    pub const BEGINS: u32 = 2;
}

/// This thread runs the save.
const ROLE_LEADER: u32 = 1;
/// This thread waits for the end of one.
const ROLE_PARKED: u32 = 2;

/// How a thread leaves the handler.
pub mod leave {
    /// By rt_sigreturn(2).
    pub const RETURN: u32 = 0;
    /// Into restart_syscall(2), which continues the interrupted call.
    pub const WAITING: u32 = 1;
    /// Not yet: it was asked to save once more.
    pub const AGAIN: u32 = 2;
}

// What a tracer fills in.
const _: () = {
    use image::boot::Frame;
    assert!(size_of::<Frame>() == size_of::<Arrival>());
    assert!(offset_of!(Frame, gregs) == USER + offset_of!(UContext<Context>, gregs));
    assert!(offset_of!(Frame, segments) == USER + offset_of!(UContext<Context>, segments));
    assert!(offset_of!(Frame, fpstate) == USER + offset_of!(UContext<Context>, fpstate));
    assert!(offset_of!(Frame, sigmask) == USER + offset_of!(UContext<Context>, sigmask));
    assert!(offset_of!(Frame, info) == offset_of!(Arrival, info));
    assert!(offset_of!(Frame, leave) == offset_of!(Arrival, leave));
    assert!(offset_of!(Frame, onward) == offset_of!(Arrival, onward));
    assert!(offset_of!(Frame, entered) == offset_of!(Arrival, entered));
    assert!(offset_of!(Frame, call) == offset_of!(Arrival, call));
    assert!(offset_of!(Frame, rseq) == offset_of!(Arrival, rseq));
    assert!(offset_of!(Frame, rseq_len) == offset_of!(Arrival, rseq_len));
    assert!(offset_of!(Frame, rseq_sig) == offset_of!(Arrival, rseq_sig));
    assert!(Frame::CONTINUES == onward::CONTINUES && Frame::WAITING == leave::WAITING);
};

impl Arrival {
    /// Whether a tracer has made the frame: it is neither on the program's stack nor on its alternate one.
    pub fn entered(&self) -> bool {
        self.entered != 0
    }

    /// The rseq(2) area of the thread, where a tracer has asked the kernel.
    pub fn told_rseq(&self) -> Option<Rseq> {
        let area = Rseq { address: self.rseq, len: self.rseq_len, signature: self.rseq_sig };
        self.entered().then_some(area)
    }

    /// The registers of the capture.
    pub fn context(&self) -> &Context {
        &self.user.reserved
    }

    /// The signal's information, with zeros in the words that are ours.
    pub fn info(&self) -> Info {
        let mut info = [0; 128];
        info.iter_mut().zip(&self.info).for_each(|(to, from)| *to = *from);
        info
    }

    /// The signal that has stopped the thread.
    pub fn signal(&self) -> u32 {
        image::plain::read::<u32>(&self.info, 0).unwrap_or(0)
    }

    /// Address of the `ucontext`.
    pub fn ucontext(&self) -> u64 {
        (&raw const self.user) as u64
    }

    /// Whether this thread runs the save.
    pub fn leads(&self) -> bool {
        self.role == ROLE_LEADER
    }
}

/// Size of a stack on which a save runs, in bytes. The deepest path holds several buffers for lines of `/proc`, of 16 KiB each. What is never
/// touched takes no memory.
pub const STACK: usize = 256 * 1024;
/// A slot has `1 << SLOT_SHIFT` bytes: a stack and a record.
pub const SLOT_SHIFT: u32 = 13;

/// Size of the stack on which `ckpt_called` stops its thread, in bytes: a frame with AMX state has some 12 KiB.
const CALLED_STACK: usize = 32 * 1024;

/// Offset of the interrupted code's registers in an [`Arrival`].
const USER: usize = offset_of!(Arrival, user);
/// Offset of the capture.
const CAPTURE: usize = USER + offset_of!(UContext<Context>, reserved);

global_asm!(
    include_str!("../../asm/entry.s"),
    rbx = const CAPTURE + offset_of!(Context, rbx),
    rbp = const CAPTURE + offset_of!(Context, rbp),
    r12 = const CAPTURE + offset_of!(Context, r12),
    r13 = const CAPTURE + offset_of!(Context, r13),
    r14 = const CAPTURE + offset_of!(Context, r14),
    r15 = const CAPTURE + offset_of!(Context, r15),
    rsp = const CAPTURE + offset_of!(Context, rsp),
    gregs = const USER + offset_of!(UContext<Context>, gregs),
    eflags = const USER + offset_of!(UContext<Context>, gregs) + 8 * greg::EFLAGS,
    fpstate = const USER + offset_of!(UContext<Context>, fpstate),
    sigmask = const USER + offset_of!(UContext<Context>, sigmask),
    altstack = const USER + offset_of!(UContext<Context>, stack_sp),
    xfeatures = const offset_of!(Arrival, xfeatures),
    leave = const offset_of!(Arrival, leave),
    leave_waiting = const leave::WAITING,
    leave_again = const leave::AGAIN,
    wait_rdi = const offset_of!(Wait, rdi),
    wait_rdx = const offset_of!(Wait, rdx),
    wait_r10 = const offset_of!(Wait, r10),
    wait_rsp = const offset_of!(Wait, rsp),
    wait_rip = const offset_of!(Wait, rip),
    role = const offset_of!(Arrival, role),
    index = const offset_of!(Arrival, index),
    role_leader = const ROLE_LEADER,
    role_parked = const ROLE_PARKED,
    called = const offset_of!(Arrival, called),
    user = const USER,
    called_stack = const CALLED_STACK,
    slot_shift = const SLOT_SHIFT,
    slot_record = const (1 << SLOT_SHIFT) - size_of::<crate::threads::Slot>(),
    stack_size = const STACK,
    sys_futex = const sys::Sysno::futex as i32,
    sys_rt_sigprocmask = const sys::Sysno::rt_sigprocmask as i32,
    sys_sigaltstack = const sys::Sysno::sigaltstack as i32,
    sys_restart_syscall = const sys::Sysno::restart_syscall as i32,
    sys_rt_sigreturn = const sys::Sysno::rt_sigreturn as i32,
    lead = sym crate::helper::ckpt_lead,
    park = sym crate::threads::ckpt_park,
    stop_itself = sym crate::chained::ckpt_stop_itself,
    is_itself = sym crate::chained::ckpt_is_itself,
    resumed = sym crate::resume::ckpt_resumed,
    thread_resumed = sym crate::resume::ckpt_thread_resumed,
);

/// Addresses of the first byte and behind the last one.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct OwnMemory {
    pub start: u64,
    pub end: u64,
}

unsafe extern "C" {
    /// Where this library is.
    pub fn ckpt_own_memory() -> OwnMemory;
    /// Handler of the checkpoint signal.
    pub fn ckpt_entry();
    /// Handler of the signal that stops other threads.
    pub fn ckpt_stop();
    /// Handler of the signal by which a thread stops itself.
    pub fn ckpt_itself();
    /// Where a tracer puts a thread.
    pub fn ckpt_enter();
    /// Where one goes on that does not lead.
    pub fn ckpt_join();
    /// Where a restarted process comes back.
    pub fn ckpt_resume();
    /// Makes a blocking call once more; rsp is a [`Wait`].
    pub fn ckpt_wait();
    /// Behind its syscall instruction.
    pub fn ckpt_waited();
    /// On the way into restart_syscall(2): registers are in the [`Arrival`] of rbx from here on,
    pub fn ckpt_wait_loading();
    /// loaded but for rsp, which is in rax, from here on,
    pub fn ckpt_wait_loaded();
    /// all loaded from here on.
    pub fn ckpt_wait_leaving();
    /// The end of it.
    pub fn ckpt_wait_left();
    /// The handlers' way out.
    pub fn ckpt_restorer();
    /// 0 nobody leads, 1 somebody, 2 somebody and others sleep.
    pub safe static ckpt_leader: AtomicU32;
    /// Whether whoever arrives parks.
    pub safe static ckpt_gathering: AtomicU32;
    /// Number of slots.
    pub safe static ckpt_slots: AtomicU32;
    /// Number of slots that were asked for.
    pub safe static ckpt_taken: AtomicU32;
    /// Threads that use a slot.
    pub safe static ckpt_inside: AtomicU32;
    /// Threads that have entered after a restart.
    pub safe static ckpt_entered: AtomicU32;
    /// Whether they may go on.
    pub safe static ckpt_released: AtomicU32;
    /// What threads that a tracer put here do: [`crate::entered`].
    pub safe static ckpt_joining: AtomicU32;
    /// Address of the first slot.
    pub safe static ckpt_slot_base: AtomicU64;
}
