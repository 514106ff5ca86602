//! The checkpoint image: an ELF core file and its notes, the sums that guard them, and the parsers of the `/proc`
//! texts that feed it. Pure code: no system call, no allocation, no panic, `unsafe` only to view plain data.

#![no_std]

pub mod format;
pub mod plain;
