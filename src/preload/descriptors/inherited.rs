//! `CKPT_DROP_FDS=outside`: pipes and sockets that were open when the program started, and that it knows nothing of: a terminal or a job runner leaks them.

use crate::config;
use core::sync::atomic::{AtomicU64, Ordering};
use image::number::decimal;
use sys::fd::{self, open_flag};

/// How many are noted: more than anybody leaks.
const MOST: usize = 256;

/// Number and inode of each; inode zero where there is none.
static THERE: [[AtomicU64; 2]; MOST] = [const { [const { AtomicU64::new(0) }; 2] }; MOST];

/// Called by the constructor: notes what is open, if that is wanted.
pub fn note() {
    if !config::get().drops_outside {
        return;
    }
    let flags = open_flag::RDONLY | open_flag::DIRECTORY | open_flag::CLOEXEC;
    let Ok(dir) = fd::open_at(fd::AT_FDCWD, b"/proc/self/fd\0", flags, 0) else { return };
    let mut places = THERE.iter();
    let mut buf = [0u8; 4096];
    while let Ok(len @ 1..) = fd::read_dir(dir, &mut buf) {
        for name in fd::dir_names(buf.get(..len).unwrap_or_default()) {
            let Some(number) = decimal(name).filter(|number| (3..1 << 31).contains(number)) else { continue };
            let Ok(stat) = fd::stat_fd(number as i32) else { continue };
            let is_channel = matches!(stat.mode & super::mode::TYPE, super::mode::FIFO | super::mode::SOCKET);
            if let Some([at, ino]) = is_channel.then(|| places.next()).flatten() {
                at.store(number, Ordering::Relaxed);
                ino.store(stat.ino, Ordering::Relaxed);
            }
        }
    }
    let _ = fd::close(dir);
}

/// Whether a file was open under that number when the program started.
pub fn was_there(number: u32, ino: u64) -> bool {
    let is_it = |[at, there]: &[AtomicU64; 2]| {
        there.load(Ordering::Relaxed) == ino && at.load(Ordering::Relaxed) == u64::from(number)
    };
    ino != 0 && THERE.iter().any(is_it)
}
