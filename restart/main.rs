//! `myrestart`: rebuilds a process from its image, in this process.

#![no_std]
#![no_main]

use core::arch::global_asm;

global_asm!(include_str!("../asm/mem.s"), options(raw));
global_asm!(include_str!("../asm/start.s"), options(raw));

/// Entered from `asm/start.s` with the address of the initial stack.
///
/// # Safety
///
/// `stack` is the stack as the kernel set it up: argc, argv, envp, auxv.
#[unsafe(no_mangle)]
unsafe extern "C" fn myrestart_main(stack: *const usize) -> ! {
    let _ = stack;
    sys::process::exit_group(64)
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
    sys::process::exit_group(70)
}
