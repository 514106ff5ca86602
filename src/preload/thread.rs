//! What only a thread itself can ask the kernel, and the table of threads.

use crate::arrival::Arrival;
use crate::scratch::{Full, Scratch};
use image::format::{Thread, thread_flag};
use sys::process::{self, pr};
use sys::signal::{self, greg};
use sys::thread;

/// State that the kernel tells to its owner only.
#[derive(Clone, Copy, Default)]
pub struct OwnState {
    pub tid: u32,
    fs_base: u64,
    gs_base: u64,
    pub tid_address: u64,
    pdeathsig: u32,
    timerslack: u64,
    /// Its name, padded with NULs.
    pub comm: [u8; 16],
    /// The interval timers: interval, then value, in seconds and microseconds.
    pub itimers: [[i64; 4]; 3],
    /// Signals that are pending for it or for the process.
    pub pending: u64,
    /// `PR_GET_CHILD_SUBREAPER`.
    pub subreaper: u32,
}

impl OwnState {
    /// Asks for it. Needs no descriptor.
    pub fn ask() -> Self {
        let mut own = Self {
            tid: thread::tid(),
            fs_base: thread::fs_base().unwrap_or(0),
            gs_base: thread::gs_base().unwrap_or(0),
            tid_address: process::prctl_stored(pr::GET_TID_ADDRESS).unwrap_or(0),
            pdeathsig: process::prctl_stored(pr::GET_PDEATHSIG).unwrap_or(0) as u32,
            timerslack: u64::from(process::prctl_value(pr::GET_TIMERSLACK).unwrap_or(0)),
            comm: [0; 16],
            itimers: [[0; 4]; 3],
            pending: signal::pending().unwrap_or(0),
            subreaper: process::prctl_stored(pr::GET_CHILD_SUBREAPER).unwrap_or(0) as u32,
        };
        // SAFETY: PR_GET_NAME stores 16 bytes.
        let _ = unsafe { process::prctl(pr::GET_NAME, [own.comm.as_mut_ptr() as u64, 0, 0, 0]) };
        for (which, timer) in own.itimers.iter_mut().enumerate() {
            *timer = process::interval_timer(which as u32).unwrap_or_default();
        }
        own
    }

    /// The thread's entry in the table, with what others can ask of it.
    pub fn describe(&self, arrival: &Arrival, scratch: &mut Scratch) -> Result<Thread, Full> {
        let user = &arrival.user;
        let (robust_list, robust_len) = thread::robust_list(self.tid).unwrap_or((0, 0));
        let attr = thread::scheduling(self.tid).unwrap_or_default();
        let (rseq, rseq_len) = rseq_area(self.fs_base);
        // The kernel takes whole words only, and knows at most 8192 CPUs.
        let mask_len = thread::affinity(self.tid, scratch.room().get_mut(..1024).ok_or(Full)?).unwrap_or(0);
        let affinity = scratch.keep(mask_len)?;
        const RESET_ON_FORK: u64 = 1;
        Ok(Thread {
            tid: self.tid,
            flags: if arrival.leads() { thread_flag::LEADER } else { 0 },
            context: *arrival.context(),
            fs_base: self.fs_base,
            gs_base: self.gs_base,
            tid_address: self.tid_address,
            robust_list,
            robust_len,
            rseq,
            rseq_len,
            rseq_sig: RSEQ_SIGNATURE,
            sigmask: user.sigmask,
            altstack: user.stack_sp,
            altstack_len: user.stack_size,
            altstack_flags: user.stack_flags,
            pdeathsig: self.pdeathsig,
            ucontext: arrival.ucontext(),
            comm: self.comm,
            timerslack: self.timerslack,
            affinity,
            nice: attr.nice,
            policy: attr.policy | if attr.flags & RESET_ON_FORK != 0 { 0x4000_0000 } else { 0 },
            priority: attr.priority,
            ioprio: thread::io_priority(self.tid).unwrap_or(0),
            deadline: [attr.runtime, attr.deadline, attr.period],
            frame_registers: registers(arrival, self.fs_base, self.gs_base),
            util_clamp: [attr.util_min, attr.util_max],
            reserved: [0; 3],
        })
    }
}

/// `RSEQ_SIG` of x86-64, the signature that every libc registers with.
const RSEQ_SIGNATURE: u32 = 0x5305_3053;

unsafe extern "C" {
    static ckpt_rseq_offset: *const i64;
    static ckpt_rseq_size: *const u32;
}

/// The rseq(2) area that glibc registered for a thread, and its length; zeros when there is none.
fn rseq_area(fs_base: u64) -> (u64, u32) {
    /// The length of the first version of `struct rseq`, which glibc registers whatever it uses of it.
    const REGISTERED: u32 = 32;
    // SAFETY: the dynamic linker filled in the addresses of glibc's constants, or zero.
    let (offset, size) = unsafe { (ckpt_rseq_offset.as_ref(), ckpt_rseq_size.as_ref()) };
    match (offset, size) {
        (Some(&offset), Some(&size)) if size > 0 => {
            (fs_base.wrapping_add_signed(offset), size.max(REGISTERED))
        }
        _ => (0, 0),
    }
}

/// The interrupted code's registers in the order of `struct user_regs_struct`, without the last four segments.
fn registers(arrival: &Arrival, fs_base: u64, gs_base: u64) -> [u64; 23] {
    let user = &arrival.user;
    let g = crate::blocking::program_registers(arrival);
    [
        g[greg::R15],
        g[greg::R14],
        g[greg::R13],
        g[greg::R12],
        g[greg::RBP],
        g[greg::RBX],
        g[greg::R11],
        g[greg::R10],
        g[greg::R9],
        g[greg::R8],
        g[greg::RAX],
        g[greg::RCX],
        g[greg::RDX],
        g[greg::RSI],
        g[greg::RDI],
        u64::MAX, // orig_rax: the frame does not have it
        g[greg::RIP],
        user.segments & 0xffff,
        g[greg::EFLAGS],
        g[greg::RSP],
        user.segments >> 48,
        fs_base,
        gs_base,
    ]
}
