//! `libckpt.so`: the half of the checkpointer that lives inside the target.

#![no_std]

use core::arch::global_asm;

global_asm!(include_str!("../../asm/mem.s"), options(raw));

/// A panic that stays reachable after optimisation must not link: its handler calls a function that does not exist.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    #[cfg(not(debug_assertions))]
    {
        unsafe extern "C" {
            safe fn a_panic_is_reachable_in_libckpt() -> !;
        }
        a_panic_is_reachable_in_libckpt()
    }
    #[cfg(debug_assertions)]
    sys::process::exit_group(70)
}
