//! `myrestart`: rebuilds a process from its image, in this process.
//!
//! Only the entry is here, and what an executable without a libc needs; the rest is the library of this crate.

#![no_std]
#![no_main]

use core::arch::global_asm;
use core::ffi::{CStr, c_char};

global_asm!(include_str!("../asm/mem.s"), options(raw));
global_asm!(include_str!("../asm/start.s"), options(raw));

/// Entered from `asm/start.s` with the address of the initial stack.
///
/// # Safety
///
/// `stack` is the stack as the kernel set it up: argc, argv, envp, auxv.
#[unsafe(no_mangle)]
unsafe extern "C" fn myrestart_main(stack: *const usize) -> ! {
    // SAFETY: the first word is argc, and as many pointers to strings follow.
    let argv = unsafe { core::slice::from_raw_parts(stack.add(1).cast::<*const c_char>(), *stack) };
    // SAFETY: the strings are on the initial stack, which stays until the executor unmaps it.
    let args = argv.iter().skip(1).map(|arg| unsafe { CStr::from_ptr(*arg) });
    match restart::options::parse(args) {
        Ok(mut options) => {
            // SAFETY: the stack is as the kernel has set it up.
            options.secure = unsafe { is_secure(stack) };
            restart::run::run(options)
        }
        Err(failure) => failure.exit(),
    }
}

/// `AT_SECURE` of getauxval(3): the file of this program has given it privileges.
///
/// # Safety
///
/// As [`myrestart_main`].
unsafe fn is_secure(stack: *const usize) -> bool {
    const AT_NULL: usize = 0;
    const AT_SECURE: usize = 23;
    // SAFETY: behind argc and argv, which ends with a null pointer, is envp, which does so too; then come pairs, up to AT_NULL.
    unsafe {
        let mut at = stack.add(*stack + 2);
        while *at != 0 {
            at = at.add(1);
        }
        at = at.add(1);
        while *at != AT_NULL {
            if *at == AT_SECURE {
                return *at.add(1) != 0;
            }
            at = at.add(2);
        }
    }
    false
}

/// A panic that stays reachable after optimisation must not link: its handler calls a function that does not exist.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    #[cfg(not(debug_assertions))]
    {
        unsafe extern "C" {
            safe fn a_panic_is_reachable_in_myrestart() -> !;
        }
        a_panic_is_reachable_in_myrestart()
    }
    #[cfg(debug_assertions)]
    sys::process::exit_group(restart::exit::Code::Internal as i32)
}
