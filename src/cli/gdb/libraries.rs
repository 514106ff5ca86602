//! The libraries of a process as its dynamic linker has them listed: that is where gdb takes their names from.
//!
//! The list hangs on the executable's dynamic section (`DT_DEBUG`, `struct r_debug` and `struct link_map` of <link.h>).

use crate::opened::Opened;
use crate::pages;
use image::elf::Phdr;
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

    fn string(&self, address: u64) -> Option<Vec<u8>> {
        let mut bytes = vec![];
        loop {
            match self.value::<u8>(address + bytes.len() as u64)? {
                0 => return Some(bytes),
                byte if bytes.len() < 4096 => bytes.push(byte),
                _ => return None,
            }
        }
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
        .map_while(|at| memory.value(table + at * size_of::<Phdr>() as u64))
        .collect();
    let find = |kind| headers.iter().find(|header| header.p_type == kind);
    // A program that is not position-independent may have no PT_PHDR, and no bias.
    let bias = find(PT_PHDR).map_or(0, |header| table.wrapping_sub(header.p_vaddr));
    let dynamic = find(PT_DYNAMIC)?;
    let start = bias.wrapping_add(dynamic.p_vaddr);
    let mut entries = (0..dynamic.p_memsz / 16)
        .map_while(|at| {
            Some((memory.value::<u64>(start + at * 16)?, memory.value::<u64>(start + at * 16 + 8)?))
        })
        .take_while(|(tag, _)| *tag != DT_NULL);
    let (_, debug) = entries.find(|(tag, _)| *tag == DT_DEBUG)?;
    let mut found = vec![];
    let mut entry: u64 = memory.value(debug.checked_add(8)?)?;
    while entry != 0 && found.len() < MOST {
        let [_, name, dynamic, next]: [u64; 4] =
            [0, 8, 16, 24].map(|at| memory.value(entry + at).unwrap_or(0));
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
