//! A thread that a signal of ours has stopped.

use core::arch::global_asm;
use core::mem::offset_of;
use core::sync::atomic::{AtomicU32, AtomicU64};
use image::format::Context;
use sys::signal::{Info, UContext};

/// What an entry leaves on the stack that took the signal. It is part of the image, and `ckpt_resume` finds it again.
#[repr(C)]
pub struct Arrival {
    /// The registers of the capture.
    pub context: Context,
    /// The interrupted code.
    pub ucontext: *mut UContext,
    /// Who asked.
    pub info: *const Info,
    /// set_tid_address(2) of the thread at the save.
    pub tid_address: u64,
    /// Its id at the save.
    pub tid: u32,
    /// [`ROLE_LEADER`] or [`ROLE_PARKED`].
    pub role: u32,
    /// After a restart: index in THREADS.
    pub index: u32,
    /// Makes the size 8 modulo 16, so that the stack below is aligned.
    pad: u32,
}
const _: () = assert!(size_of::<Arrival>() % 16 == 8);

/// This thread runs the save.
const ROLE_LEADER: u32 = 1;
/// This thread waits for the end of one.
const ROLE_PARKED: u32 = 2;

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

    /// Whether this thread runs the save.
    pub fn leads(&self) -> bool {
        self.role == ROLE_LEADER
    }
}

/// Size of the stack on which a save runs, in bytes. The deepest path holds two paths of 4 KiB and one piece of `/proc` text.
const STACK: usize = 64 * 1024;
/// A slot has `1 << SLOT_SHIFT` bytes: a record and a stack.
pub const SLOT_SHIFT: u32 = 13;

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
    role = const offset_of!(Arrival, role),
    index = const offset_of!(Arrival, index),
    role_leader = const ROLE_LEADER,
    role_parked = const ROLE_PARKED,
    slot_shift = const SLOT_SHIFT,
    slot_size = const 1 << SLOT_SHIFT,
    stack_size = const STACK,
    sys_futex = const sys::Sysno::futex as i32,
    sys_rt_sigreturn = const sys::Sysno::rt_sigreturn as i32,
    lead = sym crate::helper::ckpt_lead,
    park = sym crate::threads::ckpt_park,
    resumed = sym crate::resume::ckpt_resumed,
    thread_resumed = sym crate::resume::ckpt_thread_resumed,
);

unsafe extern "C" {
    /// Handler of the checkpoint signal.
    pub fn ckpt_entry();
    /// Handler of the signal that stops other threads.
    pub fn ckpt_stop();
    /// Where a restarted process comes back.
    pub fn ckpt_resume();
    /// The handlers' way out.
    pub fn ckpt_restorer();
    /// 0 nobody leads, 1 somebody, 2 somebody and others sleep.
    pub static ckpt_leader: AtomicU32;
    /// Whether whoever arrives parks.
    pub static ckpt_gathering: AtomicU32;
    /// Number of slots.
    pub static ckpt_slots: AtomicU32;
    /// Number of slots that were asked for.
    pub static ckpt_taken: AtomicU32;
    /// Threads that use a slot.
    pub static ckpt_inside: AtomicU32;
    /// Threads that have entered after a restart.
    pub static ckpt_entered: AtomicU32;
    /// Whether they may go on.
    pub static ckpt_released: AtomicU32;
    /// Address of the first slot.
    pub static ckpt_slot_base: AtomicU64;
}
