//! Raw Linux system calls with types: the only place that names the `syscalls` crate.
//!
//! One function per call that the project uses, and no other. Each returns `Result` with the errno of the kernel;
//! none allocates, locks, or knows of a libc's `errno`.
//!
//! # Safety
//!
//! A system call is unsafe where it can change memory behind the compiler's back (mapping, unmapping, or a pointer that the
//! kernel writes through and Rust cannot see); such functions are `unsafe`. Those that take slices and plain numbers are not.

#![no_std]

mod call;
pub mod cpu;
pub mod descriptor;
pub mod fd;
pub mod line;
pub mod memory;
pub mod process;
pub mod signal;
pub mod socket;
pub mod terminal;
pub mod thread;
pub mod time;
pub mod timer;
pub mod worker;

pub use call::call;
pub use syscalls::{Errno, Sysno};

/// Result of a system call.
pub type Result<T> = core::result::Result<T, Errno>;
