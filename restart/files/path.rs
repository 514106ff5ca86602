//! Files that have a name: regular files, directories, devices without state, files opened with O_PATH.

use super::found::{Found, Way};
use crate::exit::Result;
use crate::op::Op;
use crate::plan::Builder;
use image::format::OpenFile;
use sys::Sysno;
use sys::fd::{AT_FDCWD, open_flag};

/// Flags that open(2) takes and F_GETFL reports, and that mean the same again. Those that create or cut a file are not
/// among them, whatever the image says.
pub(super) const KEPT: u32 =
    super::object::KEPT | open_flag::DIRECTORY | open_flag::NOFOLLOW | open_flag::PATH;

/// A path of 4095 bytes and the words before it.
pub const LONGEST_THING: usize = 4160;

impl<'a> Builder<'a, '_> {
    /// Opens `file` by its name, as descriptor `number`, and goes to its offset.
    pub(super) fn open_path(
        &mut self,
        file: &OpenFile,
        found: &Found,
        number: u32,
        cloexec: bool,
    ) -> Result<'a, ()> {
        let path = match found.way {
            Way::Null => b"/dev/null\0",
            _ => self.inputs.image.c_str(file.path),
        };
        let path = path.as_ptr() as u64;
        let dir = i64::from(AT_FDCWD) as u64;
        // Never the controlling terminal by accident.
        let mut flags = file.flags & KEPT | open_flag::NOCTTY | if cloexec { open_flag::CLOEXEC } else { 0 };
        if found.way == Way::Null {
            flags &= !(open_flag::DIRECTORY | open_flag::DIRECT);
        }
        // A file that was made without a name and got one later: the bit of O_TMPFILE goes with that of O_DIRECTORY.
        if file.flags & (open_flag::TMPFILE & !open_flag::DIRECTORY) != 0 {
            flags &= !open_flag::DIRECTORY;
        }
        if found.way == Way::Created {
            flags |= open_flag::CREAT;
        }
        let [for_now, present] = found.modes.map(u64::from);
        if for_now != 0 {
            self.early(Op::zero(Sysno::fchmodat, [dir, path, for_now]))?;
        }
        let args = [dir, path, u64::from(flags), u64::from(file.mode & 0o777)];
        self.early(Op::exact(Sysno::openat, args, u64::from(number)))?;
        if for_now != 0 {
            self.early(Op::zero(Sysno::fchmodat, [dir, path, present]))?;
        }
        if file.pos != 0 && found.way != Way::Null {
            self.early(Op::exact(Sysno::lseek, [u64::from(number), file.pos, 0], file.pos))?;
        }
        Ok(())
    }
}
