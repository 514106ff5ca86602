//! Which descriptors are open.

use crate::helper::Stop;
use crate::message::Failure;
use crate::scratch::{List, Scratch};
use image::number::decimal;
use sys::fd::{self, open_flag};

const NAME: &str = "/proc/self/fd";

/// The open numbers, ascending (the order in which the kernel lists them: fs/proc/fd.c, `proc_readfd_common`), without those in `ours`.
pub fn open(scratch: &mut Scratch, ours: &[i32]) -> Result<List<u32>, Stop> {
    let fail = |errno| Stop::from(Failure::Proc(NAME, errno));
    let flags = open_flag::RDONLY | open_flag::DIRECTORY | open_flag::CLOEXEC;
    let dir = fd::open_at(fd::AT_FDCWD, b"/proc/self/fd\0", flags, 0).map_err(fail)?;
    let numbers = read(dir, scratch, ours);
    let _ = fd::close(dir);
    numbers
}

fn read(dir: i32, scratch: &mut Scratch, ours: &[i32]) -> Result<List<u32>, Stop> {
    let mut numbers = scratch.list();
    let mut buf = [0u8; 4096];
    loop {
        let len = fd::read_dir(dir, &mut buf).map_err(|errno| Failure::Proc(NAME, errno))?;
        if len == 0 {
            return Ok(numbers);
        }
        for name in fd::dir_names(buf.get(..len).unwrap_or_default()) {
            let number = decimal(name).and_then(|number| u32::try_from(number).ok());
            if let Some(number) = number.filter(|n| *n as i32 != dir && !ours.contains(&(*n as i32))) {
                scratch.push(&mut numbers, number)?;
            }
        }
    }
}
