//! Signals by name and number, as libckpt.so reads them from `CKPT_SIGNAL`.

/// The standard signals by number, without their `SIG` (signal(7)).
const NAMES: [&str; 32] = [
    "", "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];
/// What libcs call SIGRTMIN: two are left to them.
const RTMIN: u32 = 34;
/// Number of signals.
const LAST: u32 = 64;

/// The signal that asks for a save when nothing else is said: SIGUSR2.
pub const DEFAULT: u32 = 12;

/// A signal by name, with or without `SIG`, by `RTMIN+n`, or by number. KILL and STOP, which cannot be caught, are none.
pub fn parse(text: &str) -> Result<u32, String> {
    let name = text.strip_prefix("SIG").unwrap_or(text);
    let number = match name.strip_prefix("RTMIN") {
        Some("") => Some(RTMIN),
        Some(more) => more.strip_prefix('+').and_then(number).and_then(|n| RTMIN.checked_add(n)),
        None => match NAMES.iter().position(|known| !known.is_empty() && *known == name) {
            Some(number) => Some(number as u32),
            None => number(name),
        },
    };
    number
        .filter(|n| (1..=LAST).contains(n) && *n != 9 && *n != 19)
        .ok_or_else(|| "a name like USR1 or RTMIN+3, or a number from 1 to 64, but KILL and STOP".to_owned())
}

/// Digits only: `u32::from_str` takes a plus sign as well.
fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// `SIGUSR2`, `SIGRTMIN+3`, or the number where there is no name.
pub fn name(number: u32) -> String {
    match NAMES.get(number as usize) {
        Some(name) if !name.is_empty() => format!("SIG{name}"),
        _ if number == RTMIN => "SIGRTMIN".to_owned(),
        _ if number > RTMIN && number <= LAST => format!("SIGRTMIN+{}", number - RTMIN),
        _ => number.to_string(),
    }
}

/// The names of the signals in a mask, in which bit 0 is signal 1.
pub fn names(mask: u64) -> Vec<String> {
    (1..=LAST).filter(|number| mask >> (number - 1) & 1 != 0).map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_agree() {
        for number in (1..=LAST).filter(|n| ![9, 19, 32, 33].contains(n)) {
            assert_eq!(parse(&name(number)), Ok(number));
            assert_eq!(parse(&number.to_string()), Ok(number));
        }
        assert_eq!(parse("USR2"), Ok(DEFAULT));
    }

    #[test]
    fn what_cannot_be_caught_or_does_not_exist_is_refused() {
        for text in
            ["", "SIG", "KILL", "9", "STOP", "19", "0", "65", "RTMIN+31", "RTMIN-1", "+5", "usr2", "USR3"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
