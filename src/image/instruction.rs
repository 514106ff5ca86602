//! Decodes the instructions that compilers put before a system call (Intel SDM volume 2).

/// Numbers of the general registers in instructions.
pub mod reg {
    #![allow(missing_docs)]
    pub const RAX: u8 = 0;
    pub const RCX: u8 = 1;
    pub const RDX: u8 = 2;
    pub const RBX: u8 = 3;
    pub const RSP: u8 = 4;
    pub const RBP: u8 = 5;
    pub const RSI: u8 = 6;
    pub const RDI: u8 = 7;
    pub const R11: u8 = 11;
    pub const R12: u8 = 12;
    pub const R15: u8 = 15;
}

/// Where an instruction gets what it writes to a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A constant.
    Immediate(u64),
    /// A register by number.
    Register(u8),
    /// `[rsp + disp]`
    Stack(i64),
    /// `[rbp + disp]`
    Frame(i64),
    /// Something else, or it writes only a part of the register.
    Other,
}

/// What the search needs to know of an instruction.
#[derive(Clone, Copy, Debug)]
pub struct Instruction {
    /// Length in bytes.
    pub len: usize,
    /// The general register that it writes.
    pub writes: Option<u8>,
    /// What it writes there.
    pub source: Source,
    /// What it adds to the stack pointer.
    pub moves: i64,
    /// The slot of the stack that it writes, from the stack pointer before it.
    pub stores: Option<i64>,
    /// A jump, a call, or one whose effect is not followed: only its length is known.
    pub is_barrier: bool,
}

impl Instruction {
    /// Writes no general register.
    fn harmless(len: usize) -> Option<Self> {
        Some(Self { len, writes: None, source: Source::Other, moves: 0, stores: None, is_barrier: false })
    }

    fn barrier(len: usize) -> Option<Self> {
        Some(Self { len, writes: None, source: Source::Other, moves: 0, stores: None, is_barrier: true })
    }

    /// Writes a register. The stack pointer is followed through the few instructions that move it by a constant, and no others.
    fn write(len: usize, register: u8, source: Source) -> Option<Self> {
        let is_barrier = register == reg::RSP;
        Some(Self { len, writes: Some(register), source, moves: 0, stores: None, is_barrier })
    }

    fn push(len: usize) -> Option<Self> {
        Some(Self {
            len,
            writes: None,
            source: Source::Other,
            moves: -8,
            stores: Some(-8),
            is_barrier: false,
        })
    }

    /// Writes the operand of a ModRM byte.
    fn write_to(len: usize, operand: Operand, source: Source) -> Option<Self> {
        match operand {
            Operand::Register(register) => Self::write(len, register, source),
            Operand::Stack(disp) => Some(Self {
                len,
                writes: None,
                source: Source::Other,
                moves: 0,
                stores: Some(disp),
                is_barrier: false,
            }),
            Operand::Frame(_) | Operand::Memory => Self::harmless(len),
        }
    }
}

/// The operand of a ModRM byte.
#[derive(Clone, Copy)]
enum Operand {
    Register(u8),
    Stack(i64),
    Frame(i64),
    Memory,
}

impl From<Operand> for Source {
    fn from(operand: Operand) -> Self {
        match operand {
            Operand::Register(register) => Self::Register(register),
            Operand::Stack(disp) => Self::Stack(disp),
            Operand::Frame(disp) => Self::Frame(disp),
            Operand::Memory => Self::Other,
        }
    }
}

/// Bytes of an instruction that are taken off one after another.
struct Bytes<'a> {
    code: &'a [u8],
    at: usize,
}

impl Bytes<'_> {
    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn peek(&self) -> Option<u8> {
        self.code.get(self.at).copied()
    }

    /// A signed number of 1, 2, 4 or 8 bytes.
    fn number(&mut self, size: u32) -> Option<i64> {
        let mut value = 0;
        for byte in 0..size {
            value |= u64::from(self.next()?) << (8 * byte);
        }
        let unused = 64 - 8 * size;
        Some((value as i64) << unused >> unused)
    }

    /// Decodes a ModRM byte with what belongs to it: the operand and the register.
    fn modrm(&mut self, rex: u8) -> Option<(Operand, u8)> {
        let byte = self.next()?;
        let (mode, register, rm) = (byte >> 6, byte >> 3 & 7 | (rex & 4) << 1, byte & 7);
        let high = (rex & 1) << 3;
        if mode == 3 {
            return Some((Operand::Register(rm | high), register));
        }
        let mut base = rm;
        let mut indexed = false;
        if rm == 4 {
            let sib = self.next()?;
            base = sib & 7;
            indexed = sib >> 3 & 7 != 4 || rex & 2 != 0;
        }
        // A displacement instead of a base; from rip when there is no SIB byte.
        if mode == 0 && base == 5 {
            self.number(4)?;
            return Some((Operand::Memory, register));
        }
        let disp = match mode {
            0 => 0,
            1 => self.number(1)?,
            _ => self.number(4)?,
        };
        let operand = match base | high {
            _ if indexed => Operand::Memory,
            reg::RSP => Operand::Stack(disp),
            reg::RBP => Operand::Frame(disp),
            _ => Operand::Memory,
        };
        Some((operand, register))
    }
}

/// Decodes the first instruction of 64-bit code; `None` for those that are not known here.
pub fn decode(code: &[u8]) -> Option<Instruction> {
    let mut bytes = Bytes { code, at: 0 };
    let mut is_short = false;
    let mut prefix = 0;
    while let Some(byte @ (0x66 | 0x2e | 0x64 | 0x65 | 0xf0 | 0xf2 | 0xf3)) = bytes.peek() {
        match byte {
            0x66 => is_short = true,
            0x2e => {}
            _ => prefix = byte,
        }
        bytes.at += 1;
    }
    let rex = match bytes.peek()? {
        rex @ 0x40..=0x4f => {
            bytes.at += 1;
            rex
        }
        _ => 0,
    };
    let is_wide = rex & 8 != 0;
    let opcode = bytes.next()?;
    // Operands of instructions whose lowest opcode bit is clear have one byte. Without REX, 4 to 7 are then the second bytes of 0 to 3.
    let byte_register = |register: u8| if rex == 0 && register >= 4 { register - 4 } else { register };
    let byte_operand = |operand| match operand {
        Operand::Register(register) => Operand::Register(byte_register(register)),
        memory => memory,
    };
    // Only what is moved whole tells the whole register.
    let is_whole = !is_short && prefix == 0;
    let moved = |source: Source| if is_whole { source } else { Source::Other };
    let constant = |n: i64| Source::Immediate(if is_wide { n as u64 } else { u64::from(n as u32) });
    let imm = if is_short { 2 } else { 4 };
    match opcode {
        // add or adc sbb and sub xor cmp, each in six forms
        0x00..=0x3f if opcode & 7 < 6 => {
            let (operation, form) = (opcode >> 3, opcode & 7);
            if form >= 4 {
                bytes.number(if form == 4 { 1 } else { imm })?;
                return if operation == 7 {
                    Instruction::harmless(bytes.at)
                } else {
                    Instruction::write(bytes.at, reg::RAX, Source::Other)
                };
            }
            let (operand, register) = bytes.modrm(rex)?;
            let clears = operation == 6 && matches!(operand, Operand::Register(other) if other == register);
            let result = if clears && form & 1 == 1 { moved(Source::Immediate(0)) } else { Source::Other };
            match form {
                _ if operation == 7 => Instruction::harmless(bytes.at),
                0 => Instruction::write_to(bytes.at, byte_operand(operand), result),
                1 => Instruction::write_to(bytes.at, operand, result),
                2 => Instruction::write(bytes.at, byte_register(register), result),
                _ => Instruction::write(bytes.at, register, result),
            }
        }
        0x50..=0x57 => Instruction::push(bytes.at),
        // pop
        0x58..=0x5f => Instruction::write(bytes.at, opcode & 7 | (rex & 1) << 3, moved(Source::Stack(0)))
            .map(|pop| Instruction { moves: 8, ..pop }),
        // movsxd: the number of a call is positive
        0x63 => {
            let (operand, register) = bytes.modrm(rex)?;
            Instruction::write(bytes.at, register, moved(operand.into()))
        }
        0x68 | 0x6a => {
            bytes.number(if opcode == 0x68 { 4 } else { 1 })?;
            Instruction::push(bytes.at)
        }
        // imul
        0x69 | 0x6b => {
            let (_, register) = bytes.modrm(rex)?;
            bytes.number(if opcode == 0x69 { imm } else { 1 })?;
            Instruction::write(bytes.at, register, Source::Other)
        }
        // the operations of 0x00 with a constant
        0x80 | 0x81 | 0x83 => {
            let (operand, operation) = bytes.modrm(rex & !4)?;
            let by = bytes.number(if opcode == 0x81 { imm } else { 1 })?;
            match (operand, operation) {
                (_, 7) => Instruction::harmless(bytes.at),
                (Operand::Register(reg::RSP), 0 | 5) if is_wide => {
                    let moves = if operation == 0 { by } else { -by };
                    Instruction::harmless(bytes.at).map(|add| Instruction { moves, ..add })
                }
                (operand, _) if opcode == 0x80 => {
                    Instruction::write_to(bytes.at, byte_operand(operand), Source::Other)
                }
                (operand, _) => Instruction::write_to(bytes.at, operand, Source::Other),
            }
        }
        // jumps
        0x70..=0x7f | 0xeb => bytes.number(1).and_then(|_| Instruction::barrier(bytes.at)),
        // test
        0x84 | 0x85 => bytes.modrm(rex).and_then(|_| Instruction::harmless(bytes.at)),
        // xchg
        0x86 | 0x87 => bytes.modrm(rex).and_then(|_| Instruction::barrier(bytes.at)),
        // mov
        0x88 => {
            let (operand, _) = bytes.modrm(rex)?;
            Instruction::write_to(bytes.at, byte_operand(operand), Source::Other)
        }
        0x89 => {
            let (operand, register) = bytes.modrm(rex)?;
            Instruction::write_to(bytes.at, operand, moved(Source::Register(register)))
        }
        0x8a => {
            let (_, register) = bytes.modrm(rex)?;
            Instruction::write(bytes.at, byte_register(register), Source::Other)
        }
        0x8b => {
            let (operand, register) = bytes.modrm(rex)?;
            Instruction::write(bytes.at, register, moved(operand.into()))
        }
        // lea
        0x8d => {
            let (_, register) = bytes.modrm(rex)?;
            Instruction::write(bytes.at, register, Source::Other)
        }
        // nop
        0x90 if rex & 1 == 0 => Instruction::harmless(bytes.at),
        // cdqe, cqo
        0x98 => Instruction::write(bytes.at, reg::RAX, Source::Other),
        0x99 => Instruction::write(bytes.at, reg::RDX, Source::Other),
        // test
        0xa8 | 0xa9 => {
            bytes.number(if opcode == 0xa8 { 1 } else { imm })?;
            Instruction::harmless(bytes.at)
        }
        // mov
        0xb0..=0xb7 => {
            bytes.number(1)?;
            Instruction::write(bytes.at, byte_register(opcode & 7 | (rex & 1) << 3), Source::Other)
        }
        0xb8..=0xbf => {
            let value = bytes.number(if is_wide { 8 } else { imm })?;
            Instruction::write(bytes.at, opcode & 7 | (rex & 1) << 3, moved(constant(value)))
        }
        // shifts
        0xc0 | 0xc1 | 0xd0..=0xd3 => {
            let (operand, _) = bytes.modrm(rex)?;
            if opcode < 0xd0 {
                bytes.number(1)?;
            }
            let operand = if opcode & 1 == 0 { byte_operand(operand) } else { operand };
            Instruction::write_to(bytes.at, operand, Source::Other)
        }
        // movs, stos
        0xa4 | 0xa5 | 0xaa | 0xab => Instruction::barrier(bytes.at),
        // ret, leave, int3, hlt
        0xc3 | 0xc9 | 0xcc | 0xf4 => Instruction::barrier(bytes.at),
        // call, jmp
        0xe8 | 0xe9 => bytes.number(4).and_then(|_| Instruction::barrier(bytes.at)),
        // mov
        0xc6 | 0xc7 => {
            let (operand, group) = bytes.modrm(rex & !4)?;
            let value = bytes.number(if opcode == 0xc6 { 1 } else { imm })?;
            match (group, opcode) {
                (0, 0xc6) => Instruction::write_to(bytes.at, byte_operand(operand), Source::Other),
                (0, _) => Instruction::write_to(bytes.at, operand, moved(constant(value))),
                _ => None,
            }
        }
        // test, not, neg
        0xf6 | 0xf7 => {
            let (operand, group) = bytes.modrm(rex & !4)?;
            match (group, opcode) {
                (0 | 1, _) => {
                    bytes.number(if opcode == 0xf6 { 1 } else { imm })?;
                    Instruction::harmless(bytes.at)
                }
                (2 | 3, 0xf6) => Instruction::write_to(bytes.at, byte_operand(operand), Source::Other),
                (2 | 3, _) => Instruction::write_to(bytes.at, operand, Source::Other),
                // mul, div
                _ => Instruction::barrier(bytes.at),
            }
        }
        // inc, dec, call, jmp, push
        0xff => match bytes.modrm(rex & !4)? {
            (operand, 0 | 1) => Instruction::write_to(bytes.at, operand, Source::Other),
            (_, 2..=5) => Instruction::barrier(bytes.at),
            (_, 6) => Instruction::push(bytes.at),
            _ => None,
        },
        0x0f => {
            let second = bytes.next()?;
            match second {
                // syscall, ud2, rdtsc, cpuid
                0x05 | 0x0b | 0x31 | 0xa2 => return Instruction::barrier(bytes.at),
                // jumps
                0x80..=0x8f => return bytes.number(4).and_then(|_| Instruction::barrier(bytes.at)),
                _ => {}
            }
            let (operand, register) = bytes.modrm(rex)?;
            match second {
                // moves and logic of vector registers, nop
                0x10..=0x17
                | 0x1f
                | 0x28
                | 0x29
                | 0x54..=0x57
                | 0x60..=0x6f
                | 0x7f
                | 0xd6
                | 0xdb
                | 0xeb
                | 0xef => Instruction::harmless(bytes.at),
                // endbr64
                0x1e if prefix == 0xf3 => Instruction::harmless(bytes.at),
                0x70 | 0xc6 => bytes.number(1).and_then(|_| Instruction::harmless(bytes.at)),
                // movd to a general register
                0x7e => Instruction::write_to(bytes.at, operand, Source::Other),
                // cmov, imul, movzx, movsx
                0x40..=0x4f | 0xaf | 0xb6 | 0xb7 | 0xbe | 0xbf => {
                    Instruction::write(bytes.at, register, Source::Other)
                }
                // cmpxchg, xadd
                0xb0 | 0xb1 | 0xc0 | 0xc1 => Instruction::barrier(bytes.at),
                // set
                0x90..=0x9f => Instruction::write_to(bytes.at, byte_operand(operand), Source::Other),
                _ => None,
            }
        }
        _ => None,
    }
}
