//! The libraries of a process as its dynamic linker has them listed: that is where gdb takes their names from.
//!
//! The list hangs on the executable's dynamic section (`DT_DEBUG`, `struct r_debug` and `struct link_map` of <link.h>).

use crate::opened::Opened;
use crate::pages;
use image::elf::Phdr;
use image::format::PAGE;
use image::plain::{Plain, read};
use image::read::Image;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

const AT_PHDR: u64 = 3;
const AT_PHNUM: u64 = 5;
const PT_DYNAMIC: u32 = 2;
const PT_PHDR: u32 = 6;
const DT_NULL: u64 = 0;
const DT_DEBUG: u64 = 21;
/// More libraries than any program has: the list may be damaged.
const MOST: usize = 10_000;

/// Each library by the name that the dynamic linker has for it, and by that of the file that is mapped. Empty when there is no list.
pub fn loaded(opened: &Opened, image: &Image<'_>) -> Vec<(PathBuf, PathBuf)> {
    list(&Memory { opened, image }).unwrap_or_default()
}

struct Memory<'a> {
    opened: &'a Opened,
    image: &'a Image<'a>,
}

impl Memory<'_> {
    fn value<T: Plain>(&self, address: u64) -> Option<T> {
        read(&pages::at(self.opened, self.image, address, size_of::<T>() as u64)?, 0)
    }

    fn words<const N: usize>(&self, address: u64) -> Option<[u64; N]> {
        let bytes = pages::at(self.opened, self.image, address, 8 * N as u64)?;
        let mut words = [0; N];
        words.iter_mut().zip(bytes.chunks_exact(8)).for_each(|(to, from)| *to = read(from, 0).unwrap_or(0));
        Some(words)
    }

    /// At most `PATH_MAX` bytes up to a NUL.
    fn string(&self, address: u64) -> Option<Vec<u8>> {
        /// Strings are mostly shorter.
        const PIECE: u64 = 256;
        let mut bytes = vec![];
        while bytes.len() < 4096 {
            let at = address.checked_add(bytes.len() as u64)?;
            // To the end of the page: the next one may not be there.
            let piece = pages::at(self.opened, self.image, at, PIECE.min(PAGE - at % PAGE))?;
            let end = piece.iter().position(|byte| *byte == 0);
            bytes.extend_from_slice(&piece[..end.unwrap_or(piece.len())]);
            if end.is_some() {
                return Some(bytes);
            }
        }
        None
    }
}

fn list(memory: &Memory<'_>) -> Option<Vec<(PathBuf, PathBuf)>> {
    let image = memory.image;
    let auxv = image.bytes(image.process().auxv);
    let aux = |wanted: u64| {
        let mut entries = auxv.chunks_exact(16).filter(|entry| read::<u64>(entry, 0) == Some(wanted));
        entries.next().and_then(|entry| read::<u64>(entry, 8))
    };
    let table = aux(AT_PHDR)?;
    let headers: Vec<Phdr> = (0..aux(AT_PHNUM)?.min(1000))
        .map_while(|at| memory.value(table.checked_add(at * size_of::<Phdr>() as u64)?))
        .collect();
    let find = |kind| headers.iter().find(|header| header.p_type == kind);
    // A program that is not position-independent may have no PT_PHDR, and no bias.
    let bias = find(PT_PHDR).map_or(0, |header| table.wrapping_sub(header.p_vaddr));
    let dynamic = find(PT_DYNAMIC)?;
    let start = bias.wrapping_add(dynamic.p_vaddr);
    let mut entries = (0..(dynamic.p_memsz / 16).min(MOST as u64))
        .map_while(|at| {
            let [tag, value]: [u64; 2] = memory.words(start.checked_add(at * 16)?)?;
            Some((tag, value))
        })
        .take_while(|(tag, _)| *tag != DT_NULL);
    let (_, debug) = entries.find(|(tag, _)| *tag == DT_DEBUG)?;
    let mut found = vec![];
    let mut entry: u64 = memory.value(debug.checked_add(8)?)?;
    while entry != 0 && found.len() < MOST {
        let Some([_, name, dynamic, next]) = memory.words(entry) else { break };
        let region = image.region_at(dynamic);
        let file = region.and_then(|region| image.files().get(region.file as usize));
        if let (Some(file), Some(name)) = (file, memory.string(name).filter(|name| !name.is_empty())) {
            let path = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
            found.push((path(&name), path(image.bytes(file.path))));
        }
        entry = next;
    }
    Some(found)
}
