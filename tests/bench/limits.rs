//! What the machine needs for the bytes alone.

use crate::clock::now;
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};
use std::fs::{File, remove_file};
use std::io::{ErrorKind, Read, Write};
use std::num::NonZeroUsize;
use std::path::Path;

/// Writes `len` bytes into a new file, from `bytes` and, where that is not enough, from its start again; returns the time in
/// nanoseconds. The file is removed.
pub fn write_file(bytes: &[u8], len: usize, path: &Path, sync: bool) -> u64 {
    let before = now();
    let mut file = File::options().write(true).create_new(true).open(path).expect("a new file");
    let mut left = len;
    while left > 0 {
        let piece = &bytes[..left.min(bytes.len())];
        file.write_all(piece).expect("write");
        left -= piece.len();
    }
    if sync {
        file.sync_all().expect("fsync");
    }
    let time = now() - before;
    remove_file(path).expect("unlink");
    time
}

/// `bench read FILE`: prints how long it takes to read a file into fresh memory.
pub fn read_main(path: &str) {
    let mut file = File::open(path).expect("a file");
    let len = file.metadata().expect("fstat").len() as usize;
    let before = now();
    let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE;
    let size = NonZeroUsize::new(len).expect("a file with contents");
    // SAFETY: a new mapping, at an address of the kernel's choice.
    let memory = unsafe { mmap_anonymous(None, size, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, flags) };
    // SAFETY: just mapped, as long as that, and nobody else's.
    let mut room = unsafe { std::slice::from_raw_parts_mut(memory.expect("mmap").cast().as_ptr(), len) };
    while !room.is_empty() {
        match file.read(room) {
            Ok(0) => panic!("the file became shorter"),
            Ok(count) => room = &mut room[count..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!("read: {error}"),
        }
    }
    println!("{}", now() - before);
}
