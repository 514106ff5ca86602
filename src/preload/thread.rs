//! What only a thread itself can ask the kernel, and the table of threads.

use crate::arrival::Arrival;
use crate::helper::Stop;
use crate::message::Failure;
use crate::scratch::{Full, Scratch};
use image::format::{Thread, thread_flag};
use sys::process::{self, Stored, pr};
use sys::signal::{self, greg};
use sys::thread::Rseq;
use sys::{Errno, memory, thread};

/// What the kernel says, or the default where this kernel has no such thing. What it does not tell for another reason cannot be saved.
pub fn known<T: Default>(call: &'static str, answer: sys::Result<T>) -> Result<T, Failure> {
    match answer {
        Err(Errno::EINVAL | Errno::ENOSYS) => Ok(T::default()),
        answer => answer.map_err(|errno| Failure::Ask(call, errno)),
    }
}

/// State that the kernel tells to its owner only.
#[derive(Clone, Copy, Default)]
pub struct OwnState {
    pub tid: u32,
    fs_base: u64,
    gs_base: u64,
    pub tid_address: u64,
    pdeathsig: u32,
    timerslack: u64,
    rseq: Rseq,
    /// Its name, padded with NULs.
    pub comm: [u8; 16],
    /// Signals that are pending for it or for the process.
    pub pending: u64,
    /// Why something of this is not known.
    trouble: Option<Failure>,
}

impl OwnState {
    /// Asks for it, of the thread that has arrived. Needs no descriptor.
    pub fn ask(arrival: &Arrival) -> Self {
        let mut own = Self { tid: thread::tid(), ..Self::default() };
        own.trouble = own.ask_all(arrival.told_rseq()).err();
        own
    }

    fn ask_all(&mut self, told: Option<Rseq>) -> Result<(), Failure> {
        self.fs_base = known("arch_prctl", thread::fs_base())?;
        self.gs_base = known("arch_prctl", thread::gs_base())?;
        self.tid_address = known("prctl(PR_GET_TID_ADDRESS)", process::prctl_stored(Stored::TidAddress))?;
        self.pdeathsig =
            known("prctl(PR_GET_PDEATHSIG)", process::prctl_stored(Stored::ParentDeathSignal))? as u32;
        self.timerslack =
            u64::from(known("prctl(PR_GET_TIMERSLACK)", process::prctl_value(pr::GET_TIMERSLACK))?);
        self.pending = known("rt_sigpending", signal::pending())?;
        self.comm = known("prctl(PR_GET_NAME)", process::name())?;
        self.rseq = match told {
            Some(area) => area,
            None => crate::rseq::area(self.fs_base, self.tid, self.comm)?,
        };
        Ok(())
    }

    /// The thread's entry in the table, with what others can ask of it.
    pub fn describe(&self, arrival: &Arrival, scratch: &mut Scratch) -> Result<Thread, Stop> {
        if let Some(failure) = self.trouble {
            return Err(failure.into());
        }
        let user = &arrival.user;
        let (robust_list, robust_len) = known("get_robust_list", thread::robust_list(self.tid))?;
        let attr = known("sched_getattr", thread::scheduling(self.tid))?;
        // The kernel takes whole words only, and knows at most 8192 CPUs.
        let mask = thread::affinity(self.tid, scratch.room().get_mut(..thread::CPU_MASK).ok_or(Full)?);
        let mask_len = known("sched_getaffinity", mask)?;
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
            rseq: self.rseq.address,
            rseq_len: self.rseq.len,
            rseq_sig: self.rseq.signature,
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
            ioprio: known("ioprio_get", thread::io_priority(self.tid))?,
            deadline: [attr.runtime, attr.deadline, attr.period],
            frame_registers: registers(arrival, self.fs_base, self.gs_base),
            util_clamp: [attr.util_min, attr.util_max],
            reserved: [0; 3],
        })
    }
}

/// The thread structure of this thread, if its libc is musl.
pub fn of_musl() -> Option<u64> {
    let fs = thread::fs_base().ok()?;
    // A thread with an FS base has its thread structure there, in every libc of the ABI (the TLS variant II header); one that no libc made may have anything.
    let mut words = [0; 32];
    // SAFETY: every thread of the process is in libckpt.
    if fs == 0 || !unsafe { memory::read(fs, &mut words) } {
        return None;
    }
    let [own, third, fourth] = [0, 16, 24].map(|at| image::plain::read::<u64>(&words, at).unwrap_or(0));
    // Both begin with their own address. Then musl has the threads before and behind it in the ring of all (src/internal/pthread_impl.h), which a save may
    // find half changed; glibc has the address once more, and two small numbers (`tcbhead_t`, sysdeps/x86_64/nptl/tls.h).
    const GLIBC_NUMBERS: u64 = 0xf_0000_000f;
    let is_glibc = third == fs && fourth & !GLIBC_NUMBERS == 0;
    (own == fs && !is_glibc).then_some(fs)
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
