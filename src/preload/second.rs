//! A second thread of the writer: where the writer may use another CPU, that one looks for zeros and sums pages while the first one writes.
//!
//! A file takes bytes from one writer at a time, so that more than two threads would gain nothing.

use crate::scratch::Growing;
use core::ffi::c_void;
use core::sync::atomic::AtomicU32;
use sys::worker;

/// Stack of the thread in bytes; the handler of a fault runs on it as well.
const STACK: usize = 64 * 1024;

/// Work of a kind that the thread need not know.
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
        if worker::cpus(affinity) < 2 {
            return None;
        }
        let mut stack = Growing::new();
        stack.extend_zeros(STACK).ok()?;
        Some(Self { stack })
    }

    /// Does `other` in the second thread and `own` in this one, and returns when both are done. Where no thread can be started, `other` is done
    /// first.
    pub fn both<W: FnMut() + Send, R>(&mut self, mut other: W, own: impl FnOnce() -> R) -> R {
        let task = Task { run: run::<W>, work: (&raw mut other).cast() };
        let tid = AtomicU32::new(0);
        let top = self.stack.as_ptr() as u64 + STACK as u64;
        // SAFETY: the stack is borrowed, and `task` and `tid` outlive the thread, which is waited for.
        if unsafe { worker::start(top, &tid, second_main, &raw const task) }.is_err() {
            other();
            return own();
        }
        let result = own();
        worker::wait(&tid);
        result
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
///
/// # Safety
///
/// `task` outlives the thread.
unsafe extern "C" fn second_main(task: *const Task) {
    // SAFETY: `both` waits for this thread before its task goes, and touches the work only then.
    unsafe { ((*task).run)((*task).work) }
}
