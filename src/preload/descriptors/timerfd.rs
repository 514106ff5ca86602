//! timerfd_create(2). The program stands still, but its timers do not.

use super::info::Info;
use super::{Table, info};
use crate::helper::Stop;
use image::details::Timerfd;
use image::format::Time;
use image::plain::{bytes_of, read};
use sys::descriptor::{self, poll_event};

/// `it_value` of a timer that is stopped. The kernel says it also of one that has rung, and of one whose time has come while its CPU is late.
const NEVER: Time = Time { sec: 0, frac: 0 };
/// As soon as can be.
const NOW: Time = Time { sec: 0, frac: 1 };

/// Lets the kernel begin the period of one that has rung: it does so when somebody reads or asks. Tells whether it runs.
pub fn bring_up_to_date(number: u32) -> bool {
    descriptor::timer_remaining(number as i32).is_ok_and(|[.., sec, nsec]| sec | nsec != 0)
}

/// What `/proc` says of it.
pub fn detail(info: &Info) -> Timerfd {
    let mut timer = info.timer;
    if timer.value == NEVER && info.ticks != 0 {
        // It has rung since it was brought up to date: just now.
        timer.value = timer.interval;
    } else if timer.value == NEVER && info.ran {
        timer.value = NOW;
    }
    Timerfd { clock: info.clock, flags: info.settime, ticks: info.ticks, timer }
}

/// Second pass: one that seemed to be stopped may have been about to ring.
pub fn look_again(table: &mut Table<'_>, index: usize) -> Result<(), Stop> {
    /// A CPU is not that late, in milliseconds.
    const LATE: u32 = 2;
    let first = table.file(index).detail;
    let seems_stopped = |known: &Timerfd| known.ticks == 0 && known.timer.value == NEVER;
    let Some(known) = read::<Timerfd>(table.scratch.blob(first), 0).filter(seems_stopped) else {
        return Ok(());
    };
    let number = table.number(index);
    // Hardly anybody stops a timer and leaves it a period.
    let timeout = if known.timer.interval == NEVER { 0 } else { LATE };
    if descriptor::poll(number, poll_event::IN, timeout).is_ok_and(|events| events != 0) {
        let info = info::read(table, number as u32)?;
        let second = table.scratch.bytes(bytes_of(&detail(&info)))?;
        if let Some(file) = table.files.get_mut(index) {
            file.detail = second;
        }
    }
    Ok(())
}
