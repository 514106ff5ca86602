//! The checkpoint image: an ELF core file and its notes, the sums that guard them, and the parsers of the `/proc`
//! texts that feed it. Pure code: no system call, no allocation, no panic, `unsafe` only to view plain data and to use
//! instructions that the CPU was found to have.

#![no_std]

#[cfg(test)]
extern crate std;

pub mod cpu;
pub mod crc;
pub mod elf;
pub mod format;
pub mod lines;
pub mod maps;
pub mod number;
pub mod plain;
pub mod write;
