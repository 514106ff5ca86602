//! `libckpt.so`: the half of the checkpointer that lives inside the target.
//!
//! # Rules of this crate
//!
//! Its code runs inside somebody else's program, between two arbitrary instructions of it. So:
//!
//! - Nothing but raw system calls through `sys`: no libc, no `errno`, no thread-local storage, no lock of the program's.
//! - No allocation from the program's heap: tables live in [`scratch::Scratch`], a mapping that exists during the save only.
//! - No panic: indexing with `[]`, `unwrap` and the formatting machinery are out. A panic that stays reachable in a release
//!   build does not link, because the handler below calls a function that does not exist.
//! - The stack of the signal belongs to the program: `asm/entry.s` takes a few bytes of it and moves on to our own.
//! - The program's descriptor table is never touched: [`helper`] works on a copy of it.
//! - Between saves nothing happens: no thread, no timer, no wrapper, no system call.

#![no_std]

mod alike;
mod api;
mod arrival;
mod attributes;
mod background;
mod blocking;
mod chained;
mod children;
mod command;
mod config;
mod contents;
mod crash;
mod descriptors;
mod entered;
mod evidence;
mod file;
mod helper;
mod maps;
mod memory_file;
mod message;
mod notes;
mod objects;
mod pagemap;
mod pages;
mod pending;
mod private;
mod process;
mod questions;
mod regions;
mod report;
mod resume;
mod rseq;
mod scratch;
mod second;
mod sink;
mod special;
mod start;
mod thread;
mod threads;
mod timers;
mod whose;
mod writer;
mod written;
mod xstate;

use core::arch::global_asm;

global_asm!(include_str!("../../asm/mem.s"), options(raw));
global_asm!(include_str!("../../asm/weak.s"), options(raw));

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
