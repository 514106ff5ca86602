//! How the clocks of the process compare with those here.
//!
//! CLOCK_MONOTONIC and CLOCK_BOOTTIME count from the start of a machine (time_namespaces(7)). What the process has noted of them, a deadline for one,
//! is meant by the clocks that it was saved under.

use image::format::{Process, Time};

/// Nanoseconds in a second.
const SECOND: i64 = 1_000_000_000;

/// What the clocks of the process show more than those here, in nanoseconds: add it to a time here for the process's, take it off from the
/// process's for a time here. Zero in a time namespace in which they go on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ahead {
    /// Of CLOCK_MONOTONIC.
    pub monotonic: i64,
    /// Of CLOCK_BOOTTIME.
    pub boottime: i64,
}

impl Ahead {
    /// Of the saved process, when the clocks here show `monotonic` and `boottime`: seconds and nanoseconds.
    pub fn new(process: &Process, monotonic: [i64; 2], boottime: [i64; 2]) -> Self {
        let more = |saved: Time, [sec, frac]: [i64; 2]| {
            let saved = saved.sec.saturating_mul(SECOND).saturating_add(saved.frac);
            saved.saturating_sub(sec.saturating_mul(SECOND).saturating_add(frac))
        };
        Self { monotonic: more(process.monotonic, monotonic), boottime: more(process.boottime, boottime) }
    }

    /// Whether a deadline of the process is further away here than it was: a clock has been set back.
    pub fn is_behind(self) -> bool {
        self.monotonic > 0 || self.boottime > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn difference_is_saved_less_present_in_nanoseconds() {
        let time = |sec, frac| Time { sec, frac };
        let process =
            Process { monotonic: time(100, 5), boottime: time(90, 999_999_999), ..Process::default() };
        let ahead = Ahead::new(&process, [99, 999_999_999], [91, 0]);
        assert_eq!(ahead, Ahead { monotonic: 6, boottime: -1 });
        assert!(ahead.is_behind());
        assert!(!Ahead { monotonic: -1, boottime: 0 }.is_behind());
        assert!(Ahead { monotonic: 0, boottime: 1 }.is_behind());
    }

    #[test]
    fn impossible_times_do_not_overflow() {
        let process = Process { monotonic: Time { sec: i64::MAX, frac: i64::MAX }, ..Process::default() };
        let ahead = Ahead::new(&process, [i64::MIN, i64::MIN], [0, 0]);
        assert_eq!(ahead, Ahead { monotonic: i64::MAX, boottime: 0 });
    }
}
