//! A thread that the checkpoint signal has stopped.

use core::arch::global_asm;
use core::mem::offset_of;
use image::format::Context;
use sys::signal::{Info, UContext};

/// What `ckpt_entry` leaves on the stack that took the signal. It is part of the image, and `ckpt_resume` finds it again.
#[repr(C)]
pub struct Arrival {
    /// The registers of the capture.
    pub context: Context,
    /// The interrupted code.
    pub ucontext: *mut UContext,
    /// Who asked.
    pub info: *const Info,
    /// Makes the size 8 modulo 16, so that the stack below is aligned.
    pad: u64,
}
const _: () = assert!(size_of::<Arrival>() % 16 == 8);

impl Arrival {
    /// The signal frame's view of the interrupted code.
    pub fn user(&self) -> &UContext {
        // SAFETY: the kernel put the ucontext on the signal's stack, which stays as it is until rt_sigreturn.
        unsafe { &*self.ucontext }
    }

    /// The signal's information.
    pub fn info(&self) -> &Info {
        // SAFETY: as above, for the siginfo.
        unsafe { &*self.info }
    }
}

/// Size of the stack on which a save runs, in bytes. The deepest path holds two paths of 4 KiB and one piece of `/proc` text.
const STACK: usize = 64 * 1024;

global_asm!(
    include_str!("../../asm/entry.s"),
    arrival_size = const size_of::<Arrival>(),
    rbx = const offset_of!(Arrival, context) + offset_of!(Context, rbx),
    rbp = const offset_of!(Arrival, context) + offset_of!(Context, rbp),
    r12 = const offset_of!(Arrival, context) + offset_of!(Context, r12),
    r13 = const offset_of!(Arrival, context) + offset_of!(Context, r13),
    r14 = const offset_of!(Arrival, context) + offset_of!(Context, r14),
    r15 = const offset_of!(Arrival, context) + offset_of!(Context, r15),
    rsp = const offset_of!(Arrival, context) + offset_of!(Context, rsp),
    ucontext = const offset_of!(Arrival, ucontext),
    info = const offset_of!(Arrival, info),
    stack_size = const STACK,
    sys_futex = const sys::Sysno::futex as i32,
    sys_rt_sigreturn = const sys::Sysno::rt_sigreturn as i32,
    lead = sym crate::helper::ckpt_lead,
    resume = sym crate::resume::ckpt_resumed,
);

unsafe extern "C" {
    /// The signal handler.
    pub fn ckpt_entry();
    /// Where a restarted process comes back.
    pub fn ckpt_resume();
    /// Its way out.
    pub fn ckpt_restorer();
}
