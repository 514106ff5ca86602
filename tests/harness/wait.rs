//! Waiting for a condition that another process will make true.

use std::time::{Duration, Instant};

/// How long anything may take before the test fails. Generous: the machine may be busy with other tests.
const DEADLINE: Duration = Duration::from_secs(30);
/// Time between two looks at a condition that cannot be waited for otherwise.
const PERIOD: Duration = Duration::from_micros(300);

/// Looks until `condition` gives a value; `None` when the deadline has passed.
pub fn wait<T>(mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        if let Some(value) = condition() {
            return Some(value);
        }
        if start.elapsed() > DEADLINE {
            return None;
        }
        std::thread::sleep(PERIOD);
    }
}
