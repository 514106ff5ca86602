//! Files that live only in the image: memfds and deleted files.

use crate::exit::Result;
use crate::objects::descriptor_path;
use crate::op::Op;
use crate::plan::Builder;
use image::format::OpenFile;
use sys::Sysno;
use sys::fd::{AT_FDCWD, open_flag};

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
    pub(super) fn open_object(&mut self, file: &OpenFile, number: u32, cloexec: bool) -> Result<'a, ()> {
        let fd = self.inputs.objects.get(file.object as usize).map_or(-1, |made| made.fd);
        let path = self.keep_bytes(descriptor_path(fd).as_bytes())?;
        let flags = file.flags & KEPT | if cloexec { open_flag::CLOEXEC } else { 0 };
        let number = u64::from(number);
        self.early(Op::exact(Sysno::openat, [i64::from(AT_FDCWD) as u64, path, u64::from(flags)], number))?;
        if file.pos != 0 {
            self.early(Op::exact(Sysno::lseek, [number, file.pos, 0], file.pos))?;
        }
        Ok(())
    }
}
