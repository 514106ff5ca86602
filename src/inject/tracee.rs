//! ptrace(2), as far as entering needs it.

use crate::frame::{Rseq, State, undisturbed};
use image::elf::UserRegs;
use std::io;
use std::time::{Duration, Instant};

type Result<T> = io::Result<T>;

const PTRACE_CONT: i32 = 7;
const PTRACE_DETACH: i32 = 17;
const PTRACE_SYSCALL: i32 = 24;
const PTRACE_GETREGSET: i32 = 0x4204;
const PTRACE_SETREGSET: i32 = 0x4205;
const PTRACE_SEIZE: i32 = 0x4206;
const PTRACE_INTERRUPT: i32 = 0x4207;
const PTRACE_PEEKSIGINFO: i32 = 0x4209;
const PTRACE_GETSIGMASK: i32 = 0x420a;
const PTRACE_SETSIGMASK: i32 = 0x420b;
const PTRACE_GET_RSEQ_CONFIGURATION: i32 = 0x420f;

const NT_PRSTATUS: u64 = 1;
const NT_X86_XSTATE: u64 = 0x202;

/// A thread that is being traced; not any more when it is dropped.
pub struct Tracee {
    pub tid: i32,
}

/// Why a thread has stopped, or that it has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It was interrupted, or its process is stopped.
    Event,
    /// At the entry of a system call, or at its end.
    Call,
    /// A signal is about to be delivered.
    Signal(i32),
    /// It has ended.
    Ended,
}

fn ptrace(request: i32, tid: i32, address: u64, data: u64) -> Result<i64> {
    let [request, tid] = [request, tid].map(libc::c_long::from);
    // SAFETY: the callers pass what the request takes: numbers, or addresses of memory that they own.
    let result = unsafe { libc::syscall(libc::SYS_ptrace, request, tid, address, data) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

impl Tracee {
    /// Attaches, without stopping the thread.
    pub fn seize(tid: i32) -> Result<Self> {
        const TRACESYSGOOD: u64 = 1;
        ptrace(PTRACE_SEIZE, tid, 0, TRACESYSGOOD).map(|_| Self { tid })
    }

    /// Has it stop soon.
    pub fn interrupt(&self) -> Result<()> {
        ptrace(PTRACE_INTERRUPT, self.tid, 0, 0).map(drop)
    }

    /// Lets a stopped thread go on, with a signal or none (0), to the next interruption.
    pub fn go_on(&self, signal: i32) -> Result<()> {
        ptrace(PTRACE_CONT, self.tid, 0, signal as u64).map(drop)
    }

    /// The same, to the entry or the end of a system call.
    pub fn go_to_call(&self, signal: i32) -> Result<()> {
        ptrace(PTRACE_SYSCALL, self.tid, 0, signal as u64).map(drop)
    }

    /// Waits for its next stop; `None` when there is none in time.
    pub fn wait(&self, deadline: Instant) -> Result<Option<Stop>> {
        /// Between two looks, where the notification is lost: SIGCHLD is ignored.
        const LOOK: Duration = Duration::from_millis(2);
        loop {
            let mut status = 0;
            // SAFETY: the kernel writes the status.
            match unsafe { libc::waitpid(self.tid, &raw mut status, libc::__WALL | libc::WNOHANG) } {
                0 => {}
                -1 => {
                    let error = io::Error::last_os_error();
                    match error.raw_os_error() {
                        Some(libc::EINTR) => continue,
                        Some(libc::ECHILD) => return Ok(Some(Stop::Ended)),
                        _ => return Err(error),
                    }
                }
                _ => return Ok(Some(stop(status))),
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            wait_for_child(left.min(LOOK));
        }
    }

    /// All that a frame is made of.
    pub fn state(&self) -> Result<State> {
        /// More than any CPU has.
        const ROOM: usize = 16 * 1024;
        let mut xstate = vec![0; ROOM];
        let len = self.get(NT_X86_XSTATE, &mut xstate)?;
        xstate.truncate(len);
        let mut mask = 0_u64;
        ptrace(PTRACE_GETSIGMASK, self.tid, 8, (&raw mut mask) as u64)?;
        let mut rseq = Rseq::default();
        ptrace(PTRACE_GET_RSEQ_CONFIGURATION, self.tid, size_of::<Rseq>() as u64, (&raw mut rseq) as u64)?;
        Ok(State { regs: self.regs()?, mask, xstate, rseq })
    }

    /// Its registers.
    pub fn regs(&self) -> Result<UserRegs> {
        let mut bytes = [0; size_of::<UserRegs>()];
        let len = self.get(NT_PRSTATUS, &mut bytes)?;
        // A 32-bit thread has fewer.
        image::plain::read(&bytes[..len], 0).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOEXEC))
    }

    /// Sets them.
    pub fn set_regs(&self, regs: &UserRegs) -> Result<()> {
        let vector = libc::iovec {
            iov_base: std::ptr::from_ref(regs).cast_mut().cast(),
            iov_len: size_of::<UserRegs>(),
        };
        ptrace(PTRACE_SETREGSET, self.tid, NT_PRSTATUS, (&raw const vector) as u64).map(drop)
    }

    fn get(&self, set: u64, to: &mut [u8]) -> Result<usize> {
        let mut vector = libc::iovec { iov_base: to.as_mut_ptr().cast(), iov_len: to.len() };
        ptrace(PTRACE_GETREGSET, self.tid, set, (&raw mut vector) as u64)?;
        Ok(vector.iov_len)
    }

    /// Sets its signal mask.
    pub fn set_mask(&self, mask: u64) -> Result<()> {
        ptrace(PTRACE_SETSIGMASK, self.tid, 8, (&raw const mask) as u64).map(drop)
    }

    /// Whether any signal is pending for it or for its process.
    pub fn has_pending(&self) -> Result<bool> {
        #[repr(C)]
        struct Which {
            offset: u64,
            flags: u32,
            number: i32,
        }
        let mut info = [0_u64; 16];
        for flags in [0, 1] {
            let which = Which { offset: 0, flags, number: 1 };
            if ptrace(PTRACE_PEEKSIGINFO, self.tid, (&raw const which) as u64, info.as_mut_ptr() as u64)? > 0
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Stops tracing it. It goes on, also when it has ended meanwhile.
    pub fn detach(self) {
        drop(self);
    }
}

impl Drop for Tracee {
    fn drop(&mut self) {
        /// A thread that does not stop is let go of when we end.
        const PATIENCE: Duration = Duration::from_secs(2);
        let detach = |signal: i32| ptrace(PTRACE_DETACH, self.tid, 0, signal as u64);
        if detach(0).is_ok() || self.interrupt().is_err() {
            return;
        }
        // It runs: only one that stands still can be let go of.
        match self.wait(Instant::now() + PATIENCE) {
            Ok(Some(Stop::Event)) => {
                if let Some(regs) = self.regs().ok().as_ref().and_then(undisturbed) {
                    let _ = self.set_regs(&regs);
                }
                let _ = detach(0);
            }
            Ok(Some(Stop::Signal(signal))) => drop(detach(signal)),
            _ => drop(detach(0)),
        }
    }
}

fn stop(status: i32) -> Stop {
    const PTRACE_EVENT_STOP: i32 = 128;
    const CALL: i32 = libc::SIGTRAP | 0x80;
    if !libc::WIFSTOPPED(status) {
        return Stop::Ended;
    }
    match (status >> 16, libc::WSTOPSIG(status)) {
        (PTRACE_EVENT_STOP, _) => Stop::Event,
        (0, CALL) => Stop::Call,
        (0, signal) => Stop::Signal(signal),
        _ => Stop::Event,
    }
}

fn child_signal() -> libc::sigset_t {
    // SAFETY: a set of bits, which sigemptyset fills; sigaddset takes a number.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        set
    }
}

fn wait_for_child(time: Duration) {
    let time = libc::timespec { tv_sec: time.as_secs() as i64, tv_nsec: i64::from(time.subsec_nanos()) };
    // SAFETY: the kernel reads both.
    let _ = unsafe { libc::sigtimedwait(&child_signal(), std::ptr::null_mut(), &raw const time) };
}

/// SIGCHLD is blocked as long as this lives, so that [`Tracee::wait`] can wait for it.
pub struct Quiet(libc::sigset_t);

impl Quiet {
    pub fn new() -> Self {
        // SAFETY: the kernel reads one set and writes the other.
        unsafe {
            let mut old = std::mem::zeroed();
            libc::sigprocmask(libc::SIG_BLOCK, &child_signal(), &raw mut old);
            Self(old)
        }
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // SAFETY: the kernel reads the set.
        let _ = unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const self.0, std::ptr::null_mut()) };
    }
}
