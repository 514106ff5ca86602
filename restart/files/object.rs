//! Files that live only in the image: memfds and deleted files.

use crate::exit::Result;
use crate::objects::descriptor_path;
use crate::op::Op;
use crate::plan::Builder;
use image::format::{OpenFile, file_kind};
use sys::Sysno;
use sys::fd::{AT_FDCWD, fcntl, open_flag};

/// Flags that mean the same again; the others belong to the way in which the file was made.
pub(super) const KEPT: u32 = open_flag::ACCMODE
    | open_flag::APPEND
    | open_flag::NONBLOCK
    | open_flag::DSYNC
    | open_flag::SYNC
    | open_flag::DIRECT
    | open_flag::NOATIME;

impl<'a> Builder<'a, '_> {
    /// Opens the file of an object once more, as descriptor `number`, and goes to its offset.
    pub(super) fn open_object(
        &mut self,
        index: u32,
        file: &OpenFile,
        number: u32,
        cloexec: bool,
    ) -> Result<'a, ()> {
        let fd = self.inputs.objects.get(file.object as usize).map_or(-1, |made| made.fd);
        let is_made = |other: &OpenFile| other.object == file.object && accesses(other) == open_flag::RDWR;
        let first = self.inputs.image.open_files().iter().position(|other| is_made(&other));
        if file.kind == file_kind::MEMFD && first == Some(index as usize) {
            return self.take_memfd(fd, file, number, cloexec);
        }
        let path = self.keep_bytes(descriptor_path(fd).as_bytes())?;
        let flags = file.flags & KEPT | if cloexec { open_flag::CLOEXEC } else { 0 };
        let number = u64::from(number);
        self.early(Op::exact(Sysno::openat, [i64::from(AT_FDCWD) as u64, path, u64::from(flags)], number))?;
        self.seek_to(number, file)
    }

    /// Takes what memfd_create(2) gave, as the process had it: no writer, for the kernel, while one that opens the file by a path is. A memfd that was
    /// executed can be executed again.
    fn take_memfd(&mut self, fd: i32, file: &OpenFile, number: u32, cloexec: bool) -> Result<'a, ()> {
        let number = u64::from(number);
        let cloexec = u64::from(if cloexec { open_flag::CLOEXEC } else { 0 });
        self.early(Op::exact(Sysno::dup3, [fd as u64, number, cloexec], number))?;
        let settable = file.flags & KEPT & !open_flag::ACCMODE;
        if settable != 0 {
            let args = [number, u64::from(fcntl::SETFL), u64::from(settable)];
            self.early(Op::zero(Sysno::fcntl, args))?;
        }
        self.seek_to(number, file)
    }

    fn seek_to(&mut self, number: u64, file: &OpenFile) -> Result<'a, ()> {
        if file.pos == 0 {
            return Ok(());
        }
        self.early(Op::exact(Sysno::lseek, [number, file.pos, 0], file.pos))
    }
}

fn accesses(file: &OpenFile) -> u32 {
    file.flags & open_flag::ACCMODE
}
