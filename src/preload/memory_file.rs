//! Reading memory through `/proc/PID/mem`: what is protected can be read too, what does not exist is no signal, and it may be another
//! process's (proc_pid_mem(5)).

use crate::message::Failure;
use image::format::PAGE;
use sys::fd::{self, open_flag};

/// The memory of a process.
pub struct MemoryFile {
    fd: i32,
}

impl MemoryFile {
    /// This process's own.
    pub fn open() -> Result<Self, Failure> {
        let flags = open_flag::RDONLY | open_flag::CLOEXEC;
        let opened = fd::open_at(fd::AT_FDCWD, b"/proc/self/mem\0", flags, 0);
        Ok(Self { fd: opened.map_err(|errno| Failure::Proc("/proc/self/mem", errno))? })
    }

    /// Closes it.
    pub fn close(&self) {
        let _ = fd::close(self.fd);
    }

    /// Reads at `address`; gives the number of bytes, which is zero when not even the first one can be read.
    pub fn read(&self, address: u64, buf: &mut [u8]) -> usize {
        fd::read_at(self.fd, buf, address).unwrap_or(0)
    }

    /// Copies `start..end` to `to`, all of them multiples of the page size; pages that cannot be read are left out.
    ///
    /// # Safety
    ///
    /// There is memory for all of it at `to`, which nobody borrows.
    pub unsafe fn copy(&self, start: u64, end: u64, to: u64) {
        let mut at = start;
        while at < end {
            let place = (at - start + to) as *mut u8;
            // SAFETY: inside the place that the caller answers for.
            let place = unsafe { core::slice::from_raw_parts_mut(place, (end - at) as usize) };
            match self.read(at, place) as u64 / PAGE * PAGE {
                0 => at += PAGE,
                read => at += read,
            }
        }
    }
}
