//! timerfd_create(2). The program stands still, but its timers do not.

use super::info::Info;
use super::{Table, info};
use crate::helper::Stop;
use image::details::Timerfd;
use image::format::Time;
use image::plain::{bytes_of, read};
use sys::descriptor;

/// `it_value` of a timer that is stopped. `/proc` says it also of one that has rung, and of one whose time has come while its CPU is late.
const NEVER: Time = Time { sec: 0, frac: 0 };

/// Lets the kernel begin the period of one that has rung: it does so when somebody reads or asks.
pub fn bring_up_to_date(number: u32) {
    let _ = descriptor::timer_remaining(number as i32);
}

/// What `/proc` says of it.
pub fn detail(info: &Info) -> Timerfd {
    let mut timer = info.timer;
    if info.ticks != 0 && timer.value == NEVER {
        // It has rung since it was brought up to date: just now.
        timer.value = timer.interval;
    }
    Timerfd { clock: info.clock, flags: info.settime, ticks: info.ticks, timer }
}

/// Second pass: one that seems to be stopped may have been about to ring.
pub fn look_again(table: &mut Table<'_>, index: usize) -> Result<(), Stop> {
    let first = table.file(index).detail;
    let seems_stopped = |known: Timerfd| known.ticks == 0 && known.timer.value == NEVER;
    if read(table.scratch.blob(first), 0).is_some_and(seems_stopped) {
        let info = info::read(table, table.number(index) as u32)?;
        let second = table.scratch.bytes(bytes_of(&detail(&info)))?;
        if let Some(file) = table.files.get_mut(index) {
            file.detail = second;
        }
    }
    Ok(())
}
