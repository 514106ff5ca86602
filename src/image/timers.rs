//! `/proc/PID/timers` (`man 5 proc_pid_timers`): the timers of timer_create(2).
//!
//! ```text
//! ID: 1
//! signal: 60/00007fff86e452a8
//! notify: signal/pid.2634
//! ClockID: 1
//! ```

use crate::format::{NONE, PosixTimer};
use crate::number::{take_decimal, take_hex, take_signed};

/// Kinds of notification (include/uapi/asm-generic/siginfo.h).
pub mod notify {
    #![allow(missing_docs)]
    pub const SIGNAL: u32 = 0;
    pub const NONE: u32 = 1;
    pub const THREAD: u32 = 2;
    /// To one thread, with [`SIGNAL`].
    pub const THREAD_ID: u32 = 4;
}

/// Reads the text line by line.
#[derive(Debug, Default)]
pub struct Timers(PosixTimer);

impl Timers {
    /// Takes the next line, without its newline. Gives a timer when it is complete, without its times; [`PosixTimer::thread`] is the id of the
    /// thread that gets the signal, or [`NONE`]. `Err` when the line is not one of those above.
    #[allow(clippy::result_unit_err)]
    pub fn line(&mut self, line: &[u8]) -> Result<Option<PosixTimer>, ()> {
        self.take(line).ok_or(())
    }

    fn take(&mut self, line: &[u8]) -> Option<Option<PosixTimer>> {
        let timer = &mut self.0;
        if let Some(text) = line.strip_prefix(b"ID: ") {
            *timer = PosixTimer { id: whole(take_decimal(text)?)?, thread: NONE, ..PosixTimer::default() };
        } else if let Some(text) = line.strip_prefix(b"signal: ") {
            let (signal, rest) = take_decimal(text)?;
            timer.signal = u32::try_from(signal).ok()?;
            (timer.value, _) = take_hex(rest.strip_prefix(b"/")?)?;
        } else if let Some(text) = line.strip_prefix(b"notify: ") {
            let slash = text.iter().position(|byte| *byte == b'/')?;
            let (kind, target) = text.split_at_checked(slash)?;
            timer.notify = match kind {
                b"signal" => notify::SIGNAL,
                b"none" => notify::NONE,
                b"thread" => notify::THREAD,
                _ => return None,
            };
            if let Some(tid) = target.strip_prefix(b"/tid.") {
                timer.notify |= notify::THREAD_ID;
                timer.thread = whole(take_decimal(tid)?)?;
            } else {
                target.strip_prefix(b"/pid.")?;
            }
        } else {
            let (clock, _) = take_signed(line.strip_prefix(b"ClockID: ")?)?;
            timer.clock = i32::try_from(clock).ok()?;
            return Some(Some(*timer));
        }
        Some(None)
    }
}

fn whole((value, rest): (u64, &[u8])) -> Option<u32> {
    rest.is_empty().then_some(u32::try_from(value).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn parse(text: &[u8]) -> Result<Vec<PosixTimer>, ()> {
        let mut timers = Timers::default();
        let lines = text.strip_suffix(b"\n").unwrap_or(text).split(|byte| *byte == b'\n');
        lines.filter_map(|line| timers.line(line).transpose()).collect()
    }

    #[test]
    fn three_timers() {
        let text = b"ID: 2\nsignal: 35/00007fff86e452a8\nnotify: signal/pid.2634\nClockID: 1\n\
            ID: 1\nsignal: 32/000055d0c8f022b0\nnotify: signal/tid.2640\nClockID: -21070\n\
            ID: 0\nsignal: 0/0000000000000000\nnotify: none/pid.2634\nClockID: 0\n";
        let timer = PosixTimer { thread: NONE, ..PosixTimer::default() };
        let expected = [
            PosixTimer { id: 2, signal: 35, value: 0x7fff_86e4_52a8, clock: 1, ..timer },
            PosixTimer {
                id: 1,
                signal: 32,
                value: 0x55d0_c8f0_22b0,
                notify: 4,
                thread: 2640,
                clock: -21070,
                ..timer
            },
            PosixTimer { notify: notify::NONE, ..timer },
        ];
        assert_eq!(parse(text).unwrap(), expected);
    }

    #[test]
    fn other_lines_are_refused() {
        for text in [
            &b"ID: x"[..],
            b"ID: 4294967296",
            b"ID: 1 ",
            b"signal: 35",
            b"signal: 35/x",
            b"notify: both/pid.1",
            b"notify: signal",
            b"notify: signal/tid.",
            b"ClockID: ",
            b"",
            b"Something: new",
        ] {
            assert_eq!(parse(text), Err(()), "{}", text.escape_ascii());
        }
    }
}
