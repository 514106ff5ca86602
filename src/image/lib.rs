//! The checkpoint image: an ELF core file and its notes, the sums that guard them, and the parsers of the `/proc`
//! texts that feed it. Pure code: no system call, no allocation, no panic, `unsafe` only to view plain data and to use
//! instructions that the CPU was found to have.

#![no_std]

#[cfg(test)]
extern crate std;

pub mod boot;
mod check;
pub mod chunks;
pub mod cpu;
pub mod crc;
pub mod details;
pub mod elf;
pub mod error;
pub mod evidence;
pub mod exit;
pub mod fdinfo;
pub mod fields;
pub mod format;
mod instruction;
pub mod interrupted;
pub mod lines;
pub mod maps;
pub mod notes;
pub mod number;
pub mod plain;
pub mod read;
pub mod sender;
pub mod smaps;
pub mod stat;
pub mod timers;
pub mod trust;
pub mod write;
pub mod zero;

pub use check::USER_END;
