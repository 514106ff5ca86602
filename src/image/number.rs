//! Numbers in the texts of `/proc`, read by hand: no sign unless said so, no `0x`, no separators, and `None` for what
//! does not fit in 64 bits.

/// Reads the digits at the start of `text` in the given base (at most 16). Gives the number and what follows it.
#[inline]
fn take(text: &[u8], base: u8) -> Option<(u64, &[u8])> {
    let mut value = 0u64;
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        let digit = match first {
            b'0'..=b'9' => first - b'0',
            b'a'..=b'f' => first - b'a' + 10,
            b'A'..=b'F' => first - b'A' + 10,
            _ => break,
        };
        if digit >= base {
            break;
        }
        value = value.checked_mul(u64::from(base))?.checked_add(u64::from(digit))?;
        rest = tail;
    }
    (rest.len() < text.len()).then_some((value, rest))
}

/// Takes a hexadecimal number off the start of `text`: its value and the rest. `None` when there is no digit.
#[inline]
pub fn take_hex(text: &[u8]) -> Option<(u64, &[u8])> {
    take(text, 16)
}

/// Takes a decimal number off the start of `text`.
#[inline]
pub fn take_decimal(text: &[u8]) -> Option<(u64, &[u8])> {
    take(text, 10)
}

/// Takes an octal number off the start of `text`.
#[inline]
pub fn take_octal(text: &[u8]) -> Option<(u64, &[u8])> {
    take(text, 8)
}

/// Takes a decimal number with an optional minus sign off the start of `text`.
#[inline]
pub fn take_signed(text: &[u8]) -> Option<(i64, &[u8])> {
    match text {
        [b'-', text @ ..] => {
            let (value, rest) = take(text, 10)?;
            Some((0i64.checked_sub_unsigned(value)?, rest))
        }
        _ => {
            let (value, rest) = take(text, 10)?;
            Some((i64::try_from(value).ok()?, rest))
        }
    }
}

/// The whole of `text` as a hexadecimal number; spaces and tabs around it are allowed.
pub fn hex(text: &[u8]) -> Option<u64> {
    whole(take_hex(text.trim_ascii())?)
}

/// The whole of `text` as a decimal number.
pub fn decimal(text: &[u8]) -> Option<u64> {
    whole(take_decimal(text.trim_ascii())?)
}

/// The whole of `text` as an octal number.
pub fn octal(text: &[u8]) -> Option<u64> {
    whole(take_octal(text.trim_ascii())?)
}

/// The whole of `text` as a decimal number with an optional minus sign.
pub fn signed(text: &[u8]) -> Option<i64> {
    whole(take_signed(text.trim_ascii())?)
}

fn whole<T>((value, rest): (T, &[u8])) -> Option<T> {
    rest.is_empty().then_some(value)
}

/// Takes the byte `expected` off the start of `text`.
#[inline]
pub(crate) fn take_byte(text: &[u8], expected: u8) -> Option<&[u8]> {
    match text {
        [first, rest @ ..] if *first == expected => Some(rest),
        _ => None,
    }
}

/// `text` without the spaces and tabs at its start.
#[inline]
pub(crate) fn skip_blanks(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = text {
        text = rest;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_prints() {
        assert_eq!(hex(b"7ffd1f5e2000"), Some(0x7ffd_1f5e_2000));
        assert_eq!(hex(b"ffffffffffffffff"), Some(u64::MAX));
        assert_eq!(octal(b"02004002"), Some(0o2_004_002));
        assert_eq!(decimal(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(decimal(b"\t 42\n"), Some(42));
        assert_eq!(signed(b"-1"), Some(-1));
        assert_eq!(signed(b"-9223372036854775808"), Some(i64::MIN));
        assert_eq!(take_hex(b"1f-20"), Some((0x1f, &b"-20"[..])));
        assert_eq!(take_octal(b"1789"), Some((0o17, &b"89"[..])));
    }

    #[test]
    fn refuses_what_is_no_number() {
        for text in [&b""[..], b" ", b"-", b"x", b"0x10", b"12 34", b"+1", b"-1"] {
            assert_eq!(decimal(text), None, "{text:?}");
        }
        assert_eq!(hex(b"10000000000000000"), None, "65 bits");
        assert_eq!(decimal(b"18446744073709551616"), None, "2^64");
        assert_eq!(signed(b"9223372036854775808"), None);
        assert_eq!(signed(b"-9223372036854775809"), None);
        assert_eq!(octal(b"8"), None);
    }
}
