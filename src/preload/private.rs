//! Files of `/proc/self` in a process that nobody may look into (`PR_SET_DUMPABLE` 0): some belong to root then, also for the process itself (proc(5)).

use core::sync::atomic::{AtomicBool, Ordering};
use sys::Errno;
use sys::fd::{self, open_flag};
use sys::process;

/// Whether the process may be made dumpable for the moment of an open(2).
static ALLOWED: AtomicBool = AtomicBool::new(false);

/// Says whether it may.
pub fn allow(is_allowed: bool) {
    ALLOWED.store(is_allowed, Ordering::Relaxed);
}

/// From now on nobody may look into this process, but for such moments.
pub fn close() {
    process::set_dumpable(0);
    allow(true);
}

/// Opens a file of `/proc/self` (with its NUL). Where only the owner of a dumpable process can do it, the process is one for the time of this one call.
pub fn open(path: &[u8], access: u32) -> sys::Result<i32> {
    let flags = access | open_flag::CLOEXEC;
    match fd::open_at(fd::AT_FDCWD, path, flags, 0) {
        Err(Errno::EACCES) if ALLOWED.load(Ordering::Relaxed) => {
            process::set_dumpable(1);
            let opened = fd::open_at(fd::AT_FDCWD, path, flags, 0);
            process::set_dumpable(0);
            opened
        }
        opened => opened,
    }
}
