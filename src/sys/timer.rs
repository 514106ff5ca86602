//! Timers of timer_create(2).

use crate::Result;
use crate::call::sc;

/// timer_gettime(2): interval seconds, nanoseconds, then the same of what is left; zeros when it is disarmed.
pub fn time(id: u32) -> Result<[i64; 4]> {
    let mut time = [0; 4];
    // SAFETY: the kernel writes one `struct itimerspec`.
    unsafe { sc!(timer_gettime, id, &raw mut time) }?;
    Ok(time)
}

/// timer_getoverrun(2).
pub fn overrun(id: u32) -> Result<u32> {
    // SAFETY: no memory is involved.
    unsafe { sc!(timer_getoverrun, id) }.map(|count| count as u32)
}
