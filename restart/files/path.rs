//! Files that have a name: regular files, directories, devices without state.

use crate::exit::Result;
use crate::op::Op;
use crate::plan::Builder;
use image::format::OpenFile;
use sys::Sysno;
use sys::fd::{AT_FDCWD, open_flag};

/// Flags that open(2) takes and F_GETFL reports, and that mean the same again. Those that create or cut a file are not
/// among them, whatever the image says.
const KEPT: u32 = open_flag::ACCMODE
    | open_flag::APPEND
    | open_flag::NONBLOCK
    | open_flag::DSYNC
    | open_flag::SYNC
    | open_flag::DIRECT
    | open_flag::NOATIME
    | open_flag::DIRECTORY
    | open_flag::NOFOLLOW
    | open_flag::PATH;

impl<'a> Builder<'a, '_> {
    /// Opens `file` by its name, as descriptor `number`, and goes to its offset.
    pub(super) fn open_path(&mut self, file: &OpenFile, number: u32, cloexec: bool) -> Result<'a, ()> {
        let path = self.inputs.image.c_str(file.path);
        // Never the controlling terminal by accident.
        let flags = file.flags & KEPT | open_flag::NOCTTY | if cloexec { open_flag::CLOEXEC } else { 0 };
        let number = u64::from(number);
        let args = [i64::from(AT_FDCWD) as u64, path.as_ptr() as u64, u64::from(flags)];
        self.early(Op::exact(Sysno::openat, args, number))?;
        if file.pos != 0 {
            self.early(Op::exact(Sysno::lseek, [number, file.pos, 0], file.pos))?;
        }
        Ok(())
    }
}
