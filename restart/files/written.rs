//! Contents of files that belong to the image (`CKPT_FILES`): `--rollback-files` brings them back, when all pages were read and checked.
//!
//! A file keeps its inode, owner and mode: what was in it is replaced.

use super::found::Way;
use crate::exit::Result;
use crate::op::Op;
use crate::plan::Builder;
use image::format::{OpenFile, object_kind};
use image::read::Image;
use sys::Sysno;
use sys::fd::{AT_FDCWD, fcntl, open_flag};

/// Whether the image has the contents of the file of a path, which has its NUL.
pub fn has_name(image: &Image, path: &[u8]) -> bool {
    image
        .objects()
        .iter()
        .any(|object| object.kind == object_kind::WRITTEN && image.c_str(object.name) == path)
}

impl<'a> Builder<'a, '_> {
    /// Brings all of them back.
    pub(super) fn put_back(&mut self) -> Result<'a, ()> {
        if !self.inputs.roll_back {
            return Ok(());
        }
        let image = self.inputs.image;
        let here = i64::from(AT_FDCWD) as u64;
        for ((index, object), made) in (0u32..).zip(image.objects().iter()).zip(self.inputs.objects) {
            match object.kind {
                // As a rule there is none.
                object_kind::ABSENT => {
                    self.early(Op::any(Sysno::unlinkat, [here, made.path.as_ptr() as u64, 0]))?;
                }
                object_kind::WRITTEN => {
                    let open = (0u32..).zip(image.open_files().iter()).find(|(_, file)| file.object == index);
                    match open {
                        Some((file, open)) => {
                            let is_it = matches!(self.found(file).way, Way::Same | Way::Created);
                            if let Some(number) = self.numbers.twin(file).filter(|_| is_it) {
                                self.put_back_into(number, &open, made.fd, object.size)?;
                            }
                        }
                        None => {
                            let number = self.numbers.take();
                            let flags = open_flag::WRONLY
                                | open_flag::CREAT
                                | open_flag::NOFOLLOW
                                | open_flag::NONBLOCK
                                | open_flag::CLOEXEC;
                            let mode = u64::from(object.mode & 0o777);
                            let args = [here, made.path.as_ptr() as u64, u64::from(flags), mode];
                            self.early(Op::exact(Sysno::openat, args, u64::from(number)))?;
                            let file = OpenFile { flags, ..OpenFile::default() };
                            self.put_back_into(number, &file, made.fd, object.size)?;
                            self.early(Op::zero(Sysno::close, [u64::from(number)]))?;
                            self.numbers.give_back(number);
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Replaces what is in the file of descriptor `number` by what is in that of `from`, whose offset is at its start.
    fn put_back_into(&mut self, number: u32, file: &OpenFile, from: i32, size: u64) -> Result<'a, ()> {
        let (number, set) = (u64::from(number), u64::from(fcntl::SETFL));
        let appends = file.flags & open_flag::APPEND != 0;
        self.early(Op::zero(Sysno::ftruncate, [number, size]))?;
        if size == 0 {
            return Ok(());
        }
        if appends {
            // sendfile(2) writes at an offset, and not to a file of which all is appended.
            let without = u64::from(file.flags & !open_flag::APPEND);
            self.early(Op::zero(Sysno::fcntl, [number, set, without]))?;
        }
        self.early(Op::exact(Sysno::lseek, [number, 0, 0], 0))?;
        self.early(Op::exact(Sysno::sendfile, [number, from as u64, 0, size], size))?;
        self.early(Op::exact(Sysno::lseek, [number, file.pos, 0], file.pos))?;
        if appends {
            self.early(Op::zero(Sysno::fcntl, [number, set, u64::from(file.flags)]))?;
        }
        Ok(())
    }
}
