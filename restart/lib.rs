//! `myrestart`, but for its entry and its panic handler: rebuilds a process from its image, in this process.
//!
//! ```text
//! options    the command line
//! probe      opens the image, looks at this process: everything that can be refused is refused here
//! pid        which ids the process gets; a child that has the old ones, and what stays in its parent
//! crew       the other threads, which wait until they are needed
//! plan       image + facts -> an array of system calls; pure
//! execute    carries the plan out: early ops in Rust (pages by load.rs), late ops in asm/executor.s
//! print      the plan in strace's notation
//! ```
//!
//! Nothing here allocates or panics: memory comes from one block ([`arena`]), which is the hole in the address space that the executor
//! leaves to libckpt.

#![cfg_attr(not(test), no_std)]

#[cfg(test)]
extern crate std;

pub mod arena;
pub mod crew;
pub mod execute;
pub mod exit;
pub mod files;
pub mod load;
pub mod objects;
pub mod op;
pub mod options;
pub mod pid;
pub mod plan;
pub mod present;
pub mod print;
pub mod probe;
pub mod run;
pub mod vdso;
