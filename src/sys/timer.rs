//! Timers of timer_create(2).

use crate::Result;
use crate::call::sc;
use crate::process::{pr, prctl};

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

/// Whether timer_create(2) can be told to use given ids (`PR_TIMER_CREATE_RESTORE_IDS`, Linux 6.15).
pub fn takes_ids() -> bool {
    const GET: u64 = 2;
    // SAFETY: only asks.
    unsafe { prctl(pr::TIMER_CREATE_RESTORE_IDS, [GET, 0, 0, 0]) }.is_ok()
}
