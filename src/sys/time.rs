//! Clocks.

use crate::call::sc;

/// Clocks of clock_gettime(2).
pub mod clock {
    #![allow(missing_docs)]
    pub const REALTIME: u32 = 0;
    pub const MONOTONIC: u32 = 1;
    pub const BOOTTIME: u32 = 7;
}

/// clock_gettime(2), as a system call: seconds and nanoseconds.
pub fn now(clock: u32) -> [i64; 2] {
    let mut time = [0i64; 2];
    // SAFETY: the kernel writes one `struct timespec`.
    let _ = unsafe { sc!(clock_gettime, clock, &raw mut time) };
    time
}
