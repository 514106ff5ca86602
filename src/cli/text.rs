//! How names, sizes and times are written.

use std::ffi::OsStr;
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;
use sys::line::disturbs;

/// Bytes from outside as text that cannot disturb a terminal or a line: control and format characters and backslashes are `\ooo`, what is not UTF-8 becomes
/// U+FFFD.
pub fn shown(name: impl AsRef<OsStr>) -> String {
    escaped(name.as_ref().as_bytes(), |c| disturbs(c) || c == '\\')
}

/// [`shown`] for what is escaped already, if whoever sent it has kept to that.
pub fn shown_once(text: &[u8]) -> String {
    escaped(text, disturbs)
}

fn escaped(text: &[u8], meant: impl Fn(char) -> bool) -> String {
    String::from_utf8_lossy(text).chars().fold(String::new(), |mut out, c| {
        if meant(c) {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                let _ = write!(out, "\\{byte:03o}");
            }
        } else {
            out.push(c);
        }
        out
    })
}

/// [`shown`] for a name that is bytes already.
pub fn shown_bytes(name: &[u8]) -> String {
    shown(OsStr::from_bytes(name))
}

/// Undoes the `\ooo` of [`shown`] and of the report pipe (docs/protocol.md).
pub fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, more @ ..] = rest {
        (out, rest) = match (first, more) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', more @ ..]) => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                (out, more)
            }
            _ => {
                out.push(*first);
                (out, more)
            }
        };
    }
    out
}

/// Words of a command as a shell would take them.
pub fn command_line<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let quoted = words.into_iter().map(|word| {
        let plain = |c: char| c.is_alphanumeric() || "-_./=:,+@%".contains(c);
        if !word.is_empty() && word.chars().all(plain) {
            word.to_owned()
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

/// A number of bytes in the largest binary unit that keeps three digits: `0 B`, `4.0 KiB`, `812 MiB`.
pub fn size(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    for unit in ["KiB", "MiB", "GiB"] {
        if value < 999.5 {
            return number(value, unit);
        }
        value /= 1024.0;
    }
    number(value, "TiB")
}

fn number(value: f64, unit: &str) -> String {
    if value < 9.95 { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") }
}

/// A time of a save or a restart in the unit that suits it: `812 us`, `12.1 ms`, `3.20 s`.
pub fn elapsed(time: Duration) -> String {
    let us = time.as_micros();
    match us {
        0..1_000 => format!("{us} us"),
        1_000..1_000_000 => format!("{:.1} ms", us as f64 / 1e3),
        1_000_000..100_000_000 => format!("{:.2} s", us as f64 / 1e6),
        _ => format!("{} min {} s", us / 60_000_000, us / 1_000_000 % 60),
    }
}

/// `1 page`, `2 pages`.
pub fn count(n: impl TryInto<u64>, thing: &str) -> String {
    match n.try_into().unwrap_or(u64::MAX) {
        1 => format!("1 {thing}"),
        n => format!("{n} {thing}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_stay_on_their_line() {
        assert_eq!(shown("a b"), "a b");
        assert_eq!(shown("a\nb\\c\u{85}"), r"a\012b\134c\302\205");
        assert_eq!(shown("photo\u{202e}gpj.exe\u{feff}"), r"photo\342\200\256gpj.exe\357\273\277");
        assert_eq!(shown_once("a\\012b\u{1b}[2J".as_bytes()), r"a\012b\033[2J");
    }

    #[test]
    fn sizes_have_few_digits() {
        let shown = [0, 1023, 1024, 4096, 10_188, 1 << 20, 1_047_000_000, u64::MAX].map(size);
        assert_eq!(
            shown,
            ["0 B", "1023 B", "1.0 KiB", "4.0 KiB", "9.9 KiB", "1.0 MiB", "998 MiB", "16777216 TiB"]
        );
    }

    #[test]
    fn times_have_a_unit_that_suits_them() {
        let shown = [999, 1_000, 12_140, 3_204_000, 754_000_000].map(|us| elapsed(Duration::from_micros(us)));
        assert_eq!(shown, ["999 us", "1.0 ms", "12.1 ms", "3.20 s", "12 min 34 s"]);
    }

    #[test]
    fn words_are_quoted_where_a_shell_needs_it() {
        assert_eq!(command_line(["a", "b c", "", "it's"]), r"a 'b c' '' 'it'\''s'");
    }

    proptest! {
        #[test]
        fn escapes_can_be_undone(text in "\\PC*[\\x00-\\x1f\\\\]{0,4}\\PC*") {
            prop_assert_eq!(unescaped(shown(&text).as_bytes()), text.as_bytes());
        }
    }
}
