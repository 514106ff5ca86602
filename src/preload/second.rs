//! A second thread of the writer: where the writer may use another CPU, that one looks for zeros and sums pages while the first one writes.
//!
//! A file takes bytes from one writer at a time, so that more than two threads would gain nothing.

use crate::scratch::Growing;
use core::arch::global_asm;
use core::ffi::c_void;
use core::sync::atomic::{AtomicU32, Ordering};
use sys::Sysno;
use sys::thread;

global_asm!(
    include_str!("../../asm/worker.s"),
    NR_CLONE = const Sysno::clone as u32,
    NR_EXIT = const Sysno::exit as u32,
    MAIN = sym second_main,
);

unsafe extern "C" {
    fn ckpt_worker_spawn(flags: u64, stack: u64, tid: *const AtomicU32, argument: *const c_void) -> isize;
}

/// Stack of the thread in bytes; the handler of a fault runs on it as well.
const STACK: usize = 64 * 1024;

/// Work of a kind that the assembly need not know.
#[repr(C)]
struct Task {
    run: unsafe fn(*mut c_void),
    work: *mut c_void,
}

/// The second thread, while it does not run: its stack.
pub struct Second {
    stack: Growing<u8>,
}

impl Second {
    /// `None` where one CPU is all that the program may use, or memory is short. `affinity` is its mask.
    pub fn new(affinity: &[u8]) -> Option<Self> {
        let cpus: u32 = affinity.iter().map(|byte| byte.count_ones()).sum();
        if cpus < 2 {
            return None;
        }
        let mut stack = Growing::new().ok()?;
        stack.extend_zeros(STACK).ok()?;
        Some(Self { stack })
    }

    /// Does `other` in the second thread and `own` in this one, and returns when both are done. Where no thread can be started, `other` is done
    /// first.
    pub fn both<W: FnMut() + Send, R>(&mut self, mut other: W, own: impl FnOnce() -> R) -> R {
        /// CLONE_VM, FS, FILES, SIGHAND, THREAD, SYSVSEM, PARENT_SETTID, CHILD_CLEARTID.
        const FLAGS: u64 = 0x100 | 0x200 | 0x400 | 0x800 | 0x10000 | 0x40000 | 0x0010_0000 | 0x0020_0000;
        let task = Task { run: run::<W>, work: (&raw mut other).cast() };
        let tid = AtomicU32::new(0);
        let top = self.stack.as_ptr() as u64 + STACK as u64;
        // SAFETY: the stack is borrowed, and `task` and `tid` outlive the thread, which is waited for.
        let started = unsafe { ckpt_worker_spawn(FLAGS, top, &raw const tid, (&raw const task).cast()) };
        if started < 0 {
            other();
            return own();
        }
        let result = own();
        loop {
            match tid.load(Ordering::Acquire) {
                0 => return result,
                running => {
                    let _ = thread::futex_wait(&tid, running, 0);
                }
            }
        }
    }
}

/// Calls the closure behind `work`.
///
/// # Safety
///
/// `work` is a `W`, and nobody else's.
unsafe fn run<W: FnMut()>(work: *mut c_void) {
    // SAFETY: the caller's promise.
    unsafe { (*work.cast::<W>())() }
}

/// Where the thread begins.
extern "C" fn second_main(task: *const Task) {
    // SAFETY: `both` waits for this thread before its task goes, and touches the work only then.
    unsafe { ((*task).run)((*task).work) }
}
