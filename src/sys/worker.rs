//! Threads that work for their process for a while: started on a stack of the caller's, waited for, and gone.

use crate::thread::futex_wait;
use crate::{Errno, Result, Sysno};
use core::arch::global_asm;
use core::ffi::c_void;
use core::sync::atomic::{AtomicU32, Ordering};

global_asm!(
    include_str!("../../asm/worker.s"),
    NR_CLONE = const Sysno::clone as u32,
    NR_EXIT = const Sysno::exit as u32,
);

unsafe extern "C" {
    fn ckpt_worker_spawn(
        flags: u64,
        stack: u64,
        tid: *const AtomicU32,
        argument: *const c_void,
        main: *const c_void,
    ) -> isize;
}

/// Number of CPUs in an affinity mask.
pub fn cpus(affinity: &[u8]) -> u32 {
    affinity.iter().map(|byte| byte.count_ones()).sum()
}

/// Starts a thread of the calling process that calls `main(argument)` and ends. `tid` holds its id until the kernel lets go of it.
///
/// # Errors
///
/// As clone(2): `EAGAIN` when there may be no more threads.
///
/// # Safety
///
/// The memory below `stack_top`, which is 16-byte aligned, is the thread's alone and enough for it; it, `tid` and `argument` stay until [`wait`] has
/// returned. `main` does not unwind.
pub unsafe fn start<T>(
    stack_top: u64,
    tid: &AtomicU32,
    main: unsafe extern "C" fn(*const T),
    argument: *const T,
) -> Result<()> {
    /// CLONE_VM, FS, FILES, SIGHAND, THREAD, SYSVSEM, PARENT_SETTID, CHILD_CLEARTID.
    const FLAGS: u64 = 0x100 | 0x200 | 0x400 | 0x800 | 0x10000 | 0x40000 | 0x0010_0000 | 0x0020_0000;
    // SAFETY: the caller answers for the stack and the argument; `main` takes one pointer, as the assembly passes it.
    let id = unsafe { ckpt_worker_spawn(FLAGS, stack_top, tid, argument.cast(), main as *const c_void) };
    if id < 0 { Err(Errno::new(-id as i32)) } else { Ok(()) }
}

/// Waits until the kernel has cleared the word, which it does when the thread no longer uses any memory. Returns at once where none was started.
pub fn wait(tid: &AtomicU32) {
    loop {
        match tid.load(Ordering::Acquire) {
            0 => return,
            running => {
                let _ = futex_wait(tid, running, 0);
            }
        }
    }
}
