//! Reading memory through `/proc/PID/mem`: what is protected can be read too, what does not exist is no signal, and it may be another
//! process's (proc_pid_mem(5)).

use crate::message::Failure;
use crate::private;
use image::format::PAGE;
use sys::Errno;
use sys::fd::{self, open_flag};

/// The memory of a process.
pub struct MemoryFile {
    fd: i32,
}

impl MemoryFile {
    /// This process's own.
    pub fn open() -> Result<Self, Failure> {
        let opened = private::open(b"/proc/self/mem\0", open_flag::RDONLY);
        Ok(Self { fd: opened.map_err(|errno| Failure::Proc("/proc/self/mem", errno))? })
    }

    /// Closes it.
    pub fn close(&self) {
        let _ = fd::close(self.fd);
    }

    /// Reads at `address`; gives the number of bytes, which is zero when not even the first one is there.
    ///
    /// # Errors
    ///
    /// Anything but EIO, by which the kernel says that there is nothing.
    pub fn read(&self, address: u64, buf: &mut [u8]) -> sys::Result<usize> {
        loop {
            match fd::read_at(self.fd, buf, address) {
                Err(Errno::EINTR) => {}
                Err(Errno::EIO) => return Ok(0),
                result => return result,
            }
        }
    }

    /// Copies `start..end` to `to`, all of them multiples of the page size. Pages that are not there are left out if there `may_be_gaps`: a
    /// mapping can be longer than its file.
    ///
    /// # Errors
    ///
    /// When something cannot be read.
    ///
    /// # Safety
    ///
    /// There is memory for all of it at `to`, which nobody borrows.
    pub unsafe fn copy(&self, start: u64, end: u64, to: u64, may_be_gaps: bool) -> Result<(), Failure> {
        let fail = |errno| Failure::Proc("/proc/self/mem", errno);
        let mut at = start;
        while at < end {
            let place = (at - start + to) as *mut u8;
            // SAFETY: inside the place that the caller answers for.
            let place = unsafe { core::slice::from_raw_parts_mut(place, (end - at) as usize) };
            match self.read(at, place).map_err(fail)? as u64 {
                0 if may_be_gaps => at = at / PAGE * PAGE + PAGE,
                0 => return Err(fail(Errno::EIO)),
                read => at += read,
            }
        }
        Ok(())
    }
}
