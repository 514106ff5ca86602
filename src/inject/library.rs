//! libckpt.so, as it is to be in the memory of a process.

use image::boot::{self, Boot};
use image::elf::{Ehdr, PF_R, PF_W, PF_X, PT_LOAD, PT_NOTE, Phdr};
use image::plain::read;

/// What is loaded of the library that `ckpt` was built with; nothing in one that was built for its unit tests.
static FILE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/libckpt.bin"));

const PAGE: u64 = 4096;

/// A range of pages and the rights that they have when the library runs.
pub struct Part {
    pub offset: u64,
    pub len: u64,
    pub prot: u64,
}

/// The library, with what a loader must know of it.
pub struct Library {
    /// Bytes from its first page to the end of its last one.
    pub span: u64,
    /// Its first bytes, up to the end of its build id: no other build has the same.
    pub identity: &'static [u8],
    /// Its pages.
    pub parts: Vec<Part>,
    memory: Vec<u8>,
    /// Offset in memory, and what is there from the base address on.
    relocations: Vec<(usize, u64)>,
    boot: usize,
}

impl Library {
    /// The library of this `ckpt`; `None` when it was built without.
    pub fn ours() -> Option<Self> {
        Self::parse(FILE)
    }

    fn parse(file: &'static [u8]) -> Option<Self> {
        const PT_DYNAMIC: u32 = 2;
        const PT_GNU_RELRO: u32 = 0x6474_e552;
        let header: Ehdr = read(file, 0)?;
        let headers: Vec<Phdr> = (0..usize::from(header.e_phnum))
            .map(|number| read(file, header.e_phoff as usize + number * size_of::<Phdr>()))
            .collect::<Option<_>>()?;
        let loads = || headers.iter().filter(|header| header.p_type == PT_LOAD);
        let of_type = |kind| headers.iter().find(|header| header.p_type == kind);
        let mut memory = vec![0; loads().map(|load| load.p_vaddr + load.p_filesz).max()? as usize];
        let mut parts = vec![];
        for load in loads() {
            let from = file.get(load.p_offset as usize..)?.get(..load.p_filesz as usize)?;
            memory.get_mut(load.p_vaddr as usize..)?.get_mut(..from.len())?.copy_from_slice(from);
            let (start, end) =
                (load.p_vaddr & !(PAGE - 1), (load.p_vaddr + load.p_memsz).next_multiple_of(PAGE));
            let is_relro = of_type(PT_GNU_RELRO).is_some_and(|relro| relro.p_vaddr == load.p_vaddr);
            let may = |flag, prot| if load.p_flags & flag != 0 { prot } else { 0 };
            let write = if is_relro { 0 } else { may(PF_W, libc::PROT_WRITE) };
            let prot = may(PF_R, libc::PROT_READ) | write | may(PF_X, libc::PROT_EXEC);
            parts.push(Part { offset: start, len: end - start, prot: prot as u64 });
        }
        let relocations = relocations(&memory, of_type(PT_DYNAMIC)?)?;
        let note = of_type(PT_NOTE)?;
        let identity = file.get(..(note.p_offset + note.p_filesz) as usize)?;
        let is_boot = |at: &usize| {
            read(&memory, *at) == Some(boot::MAGIC) && read(&memory, *at + 8) == Some(boot::VERSION)
        };
        let boot = (0..memory.len()).step_by(8).find(is_boot)?;
        let span = parts.iter().map(|part| part.offset + part.len).max()?;
        Some(Self { span, identity, parts, memory, relocations, boot })
    }

    /// What is in memory when the library is at `base`; behind it there are zeros.
    pub fn at(&self, base: u64) -> Vec<u8> {
        let mut memory = self.memory.clone();
        for (at, value) in &self.relocations {
            // Undefined symbols are weak, and no addresses.
            let value = if *value == 0 { 0 } else { base.wrapping_add(*value) };
            if let Some(word) = memory.get_mut(*at..at + 8) {
                word.copy_from_slice(&value.to_le_bytes());
            }
        }
        memory
    }

    /// The table for tracers of a library at `base`.
    pub fn boot(&self, base: u64) -> Boot {
        read(&self.at(base), self.boot).unwrap_or_default()
    }
}

/// The relocations: where, and what is there at base address zero. `None` for any that this library should not have.
fn relocations(memory: &[u8], dynamic: &Phdr) -> Option<Vec<(usize, u64)>> {
    const DT_SYMTAB: u64 = 6;
    const DT_RELA: u64 = 7;
    const DT_RELASZ: u64 = 8;
    const R_X86_64_64: u64 = 1;
    const R_X86_64_GLOB_DAT: u64 = 6;
    const R_X86_64_RELATIVE: u64 = 8;
    let word = |at: u64| read::<u64>(memory, at as usize);
    let entry = |wanted: u64| {
        let places = (dynamic.p_vaddr..dynamic.p_vaddr + dynamic.p_memsz).step_by(16);
        places
            .map_while(|at| Some((word(at)?, word(at + 8)?)))
            .find(|(tag, _)| *tag == wanted)
            .map(|found| found.1)
    };
    let (table, len, symbols) = (entry(DT_RELA)?, entry(DT_RELASZ)?, entry(DT_SYMTAB)?);
    let mut found = vec![];
    for at in (table..table + len).step_by(24) {
        let (place, info, addend) = (word(at)?, word(at + 8)?, word(at + 16)?);
        let value = match info & 0xffff_ffff {
            R_X86_64_RELATIVE => addend,
            R_X86_64_64 | R_X86_64_GLOB_DAT => {
                let symbol = symbols + (info >> 32) * 24;
                let is_defined = read::<u16>(memory, symbol as usize + 6)? != 0;
                if is_defined { word(symbol + 8)?.wrapping_add(addend) } else { 0 }
            }
            _ => return None,
        };
        found.push((place as usize, value));
    }
    Some(found)
}
