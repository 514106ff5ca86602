//! Timers of each kind.

use harness::survives;

#[test]
fn interval_timers_keep_value_and_interval() {
    survives("interval_timers");
}

#[test]
fn interval_timer_goes_on_ticking() {
    survives("timer_ticks");
}

#[test]
fn posix_timers_keep_ids_clocks_values_and_expiry() {
    survives("posix_timers");
}
