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
        Ok(options) => restart::run::run(options),
        Err(failure) => failure.exit(),
    }
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
