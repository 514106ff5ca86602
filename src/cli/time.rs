//! Times and periods.

use std::time::Duration;

/// A time in UTC, RFC 3339, as the local time without fractions; as it is when it cannot be read.
pub fn local(utc: &str) -> String {
    let Ok(time) = utc.parse::<jiff::Timestamp>() else { return utc.to_owned() };
    time.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S %z").to_string()
}

/// A period: `90`, which is seconds, or with units: `10m`, `1h30m`, `500ms`.
pub fn period(text: &str) -> Result<Duration, String> {
    let bare = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let parsed: Option<jiff::SignedDuration> =
        if bare { text.parse().ok().map(jiff::SignedDuration::from_secs) } else { text.parse().ok() };
    parsed
        .and_then(|period| Duration::try_from(period).ok())
        .filter(|period| !period.is_zero())
        .ok_or_else(|| "a period like 90, 10m or 1h30m, longer than nothing".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_have_units() {
        let seconds = |text| period(text).map(|period| period.as_secs_f64());
        assert_eq!(seconds("90"), Ok(90.0));
        assert_eq!(seconds("10m"), Ok(600.0));
        assert_eq!(seconds("1h30m"), Ok(5400.0));
        assert_eq!(seconds("1h 30m"), Ok(5400.0));
        assert_eq!(seconds("500ms"), Ok(0.5));
    }

    #[test]
    fn no_period_is_refused() {
        for text in ["", "0", "0s", "-5s", "ten", "5 parsecs"] {
            assert!(period(text).is_err(), "{text}");
        }
    }
}
