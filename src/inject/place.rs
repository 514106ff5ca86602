//! What a tracer must find in the memory of a process: libckpt.so, if it is there, and room for a few instructions.

use crate::library::Library;
use image::maps::{MapsLine, parse_line};
use std::fs::File;
use std::os::unix::fs::FileExt;

/// Bytes that the instructions and what they need take.
const LEN: u64 = 256;
/// First bytes of a gate: what a tracer that was killed has left is known by them.
const MAGIC: [u8; 8] = *b"ckptgate";
/// Offset of the first instruction.
const CODE: u64 = 8;
/// Offset of the words behind the instructions.
const WORDS: usize = 128;

/// Where things are.
#[derive(Clone, Copy, Default)]
pub struct Places {
    /// libckpt.so.
    pub library: Option<u64>,
    /// Room for a [`gate`].
    pub gate: Option<u64>,
}

/// Looks for them.
pub fn find(maps: &[u8], mem: &File, library: &Library) -> Places {
    let mut places = Places::default();
    for line in maps.split(|byte| *byte == b'\n').filter_map(parse_line) {
        if line.shared || line.start >= image::USER_END {
            continue;
        }
        if places.library.is_none() && is_library(&line, mem, library) {
            places.library = Some(line.start);
        }
        if line.prot & 4 != 0 && (places.gate.is_none() || line.name == b"[vdso]") {
            places.gate = gate_in(&line, mem).or(places.gate);
        }
    }
    places
}

/// Whether the library begins there: it does nowhere but at the start of a mapping.
fn is_library(line: &MapsLine<'_>, mem: &File, library: &Library) -> bool {
    line.prot & 1 != 0 && line.offset == 0 && is_at(line.start, mem, library)
}

/// Whether the library is at an address.
pub fn is_at(address: u64, mem: &File, library: &Library) -> bool {
    let mut start = vec![0; library.identity.len()];
    mem.read_exact_at(&mut start, address).is_ok() && start == library.identity
}

/// The end of a mapping, where no code is: linkers and the kernel fill the last page with zeros.
fn gate_in(line: &MapsLine<'_>, mem: &File) -> Option<u64> {
    let address = line.end - LEN;
    is_free(address, mem).then_some(address)
}

/// Whether there is room for a gate, still.
pub fn is_free(address: u64, mem: &File) -> bool {
    let mut bytes = [0; LEN as usize];
    mem.read_exact_at(&mut bytes, address).is_ok()
        && (bytes == [0; LEN as usize] || bytes.starts_with(&MAGIC))
}

/// Whether an instruction pointer is in the gate at an address.
pub fn is_in(address: u64, rip: u64) -> bool {
    rip.wrapping_sub(address) < LEN
}

/// A gate: a system call by which a thread needs its tracer no longer than until it begins. It takes the arguments that are in the registers, and then goes
/// on by itself where the thread was: with its signal mask and its registers, which are all that a system call changes.
pub struct Gate {
    pub mask: u64,
    /// rdi, rsi, rdx, rcx, rax, r8, r9, r10, r11 and rip, in this order.
    pub registers: [u64; 10],
}

impl Gate {
    /// Address of its first instruction, in a gate at an address.
    pub fn entry(address: u64) -> u64 {
        address + CODE
    }

    /// Where it is after the call.
    pub fn after(address: u64) -> u64 {
        address + CODE + 2
    }

    /// Its bytes. It is code for any address.
    pub fn bytes(&self) -> Vec<u8> {
        /// `mov register, [rip + ...]` for each of the registers.
        const LOADS: [[u8; 3]; 9] = [
            [0x48, 0x8b, 0x3d],
            [0x48, 0x8b, 0x35],
            [0x48, 0x8b, 0x15],
            [0x48, 0x8b, 0x0d],
            [0x48, 0x8b, 0x05],
            [0x4c, 0x8b, 0x05],
            [0x4c, 0x8b, 0x0d],
            [0x4c, 0x8b, 0x15],
            [0x4c, 0x8b, 0x1d],
        ];
        let mut bytes = MAGIC.to_vec();
        // The offset of word `number` from the end of an instruction that ends with it.
        let to_word = |bytes: &mut Vec<u8>, number: usize| {
            let offset = (WORDS + number * 8) as i32 - (bytes.len() as i32 + 4);
            bytes.extend(offset.to_le_bytes());
        };
        bytes.extend([0x0f, 0x05]); // syscall
        bytes.extend([0xbf, 2, 0, 0, 0]); // mov edi, SIG_SETMASK
        bytes.extend([0x48, 0x8d, 0x35]); // lea rsi, [the mask]
        to_word(&mut bytes, 0);
        bytes.extend([0xba, 0, 0, 0, 0]); // mov edx, 0
        bytes.extend([0x41, 0xba, 8, 0, 0, 0]); // mov r10d, 8
        bytes.extend([0xb8, libc::SYS_rt_sigprocmask as u8, 0, 0, 0]); // mov eax, rt_sigprocmask
        bytes.extend([0x0f, 0x05]); // syscall
        for (number, load) in LOADS.iter().enumerate() {
            bytes.extend(load);
            to_word(&mut bytes, 1 + number);
        }
        bytes.extend([0xff, 0x25]); // jmp [rip]
        to_word(&mut bytes, 10);
        bytes.resize(WORDS, 0);
        for word in [self.mask].iter().chain(&self.registers) {
            bytes.extend(word.to_le_bytes());
        }
        bytes.resize(LEN as usize, 0);
        bytes
    }
}

/// What is there when a gate is gone.
pub const NOTHING: [u8; LEN as usize] = [0; LEN as usize];
