//! One line of text in a fixed buffer, for messages: formatting without `core::fmt`, which can panic.

use crate::{Errno, fd};

/// Whether a character does something to a terminal or to the order of a line, rather than being seen: control characters (category Cc of Unicode, of which terminals take
/// U+0080 to U+009F as they take ESC), format characters (Cf: the order of writing, joiners, tags; Unicode 16), and the separators of lines and paragraphs.
pub const fn disturbs(c: char) -> bool {
    matches!(c as u32,
        ..0x20 | 0x7f..0xa0 | 0xad | 0x600..=0x605 | 0x61c | 0x6dd | 0x70f | 0x890..=0x891 | 0x8e2 | 0x180e | 0x200b..=0x200f
        | 0x2028..=0x202e | 0x2060..=0x206f | 0xfeff | 0xfff9..=0xfffb | 0x110bd | 0x110cd | 0x13430..=0x1343f | 0x1bca0..=0x1bca3
        | 0x1d173..=0x1d17a | 0xe0000..=0xe007f)
}

/// A line under construction. What does not fit is cut off.
pub struct Line<const N: usize = 1024> {
    buf: [u8; N],
    len: usize,
}

impl<const N: usize> Default for Line<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Line<N> {
    /// An empty line.
    pub const fn new() -> Self {
        Self { buf: [0; N], len: 0 }
    }

    /// Appends bytes.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        for &byte in bytes {
            if let Some(slot) = self.buf.get_mut(self.len) {
                *slot = byte;
                self.len += 1;
            }
        }
        self
    }

    /// Appends text.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    /// Appends bytes that come from outside: what [`disturbs`] and what is no UTF-8 becomes `?`, so that a line stays one line.
    pub fn quoted(&mut self, bytes: &[u8]) -> &mut Self {
        self.replaced(bytes, disturbs, |line, _| {
            line.bytes(b"?");
        })
    }

    /// Appends bytes, and lets `instead` append each byte of characters that are `meant`, and each that belongs to none.
    fn replaced(
        &mut self,
        bytes: &[u8],
        meant: impl Fn(char) -> bool,
        instead: impl Fn(&mut Self, u8),
    ) -> &mut Self {
        for chunk in bytes.utf8_chunks() {
            for c in chunk.valid().chars() {
                let mut encoded = [0; 4];
                let encoded = c.encode_utf8(&mut encoded).as_bytes();
                if meant(c) {
                    for byte in encoded {
                        instead(self, *byte);
                    }
                } else {
                    self.bytes(encoded);
                }
            }
            for byte in chunk.invalid() {
                instead(self, *byte);
            }
        }
        self
    }

    /// Appends a number in decimal.
    pub fn dec(&mut self, mut n: u64) -> &mut Self {
        let mut digits = [0u8; 20];
        let mut used = 0;
        for slot in digits.iter_mut().rev() {
            *slot = b'0' + (n % 10) as u8;
            n /= 10;
            used += 1;
            if n == 0 {
                break;
            }
        }
        self.bytes(digits.get(digits.len().wrapping_sub(used)..).unwrap_or_default())
    }

    /// Appends a signed number in decimal.
    pub fn int(&mut self, n: i64) -> &mut Self {
        if n < 0 {
            self.text("-");
        }
        self.dec(n.unsigned_abs())
    }

    /// Appends a number in hexadecimal, with `0x`.
    pub fn hex(&mut self, n: u64) -> &mut Self {
        self.text("0x").bare_hex(n)
    }

    /// Appends a number in hexadecimal, without a prefix.
    pub fn bare_hex(&mut self, n: u64) -> &mut Self {
        let mut shift = 60;
        while shift > 0 && (n >> shift) & 15 == 0 {
            shift -= 4;
        }
        loop {
            let digit = ((n >> shift) & 15) as u8;
            self.bytes(&[if digit < 10 { b'0' + digit } else { b'a' + digit - 10 }]);
            if shift == 0 {
                return self;
            }
            shift -= 4;
        }
    }

    /// Appends the name of an error and what it means: `ENOSPC (No space left on device)`.
    pub fn errno(&mut self, errno: Errno) -> &mut Self {
        match (errno.name(), errno.description()) {
            (Some(name), Some(text)) => self.text(name).text(" (").text(text).text(")"),
            _ => self.text("error ").int(i64::from(errno.into_raw())),
        }
    }

    /// Appends bytes that come from outside in a form that can be read back: what [`disturbs`], what is no UTF-8, and the backslash become `\ooo`.
    pub fn escaped(&mut self, bytes: &[u8]) -> &mut Self {
        self.replaced(
            bytes,
            |c| disturbs(c) || c == '\\',
            |line, byte| {
                let digit = |shift: u32| b'0' + (byte >> shift & 7);
                line.bytes(&[b'\\', digit(6), digit(3), digit(0)]);
            },
        )
    }

    /// Whether something may have been cut off.
    pub fn is_full(&self) -> bool {
        self.len == N
    }

    /// Takes back all but the first `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// The text so far.
    pub fn as_bytes(&self) -> &[u8] {
        self.buf.get(..self.len).unwrap_or_default()
    }

    /// Ends the line and writes it to descriptor `to`, in one write(2) so that lines of several processes do not mix.
    /// There is nobody to tell of a failure.
    pub fn send(&mut self, to: i32) {
        if self.len == N {
            self.len -= 1;
        }
        self.text("\n");
        let mut rest = self.as_bytes();
        while !rest.is_empty() {
            match fd::write(to, rest) {
                Err(Errno::EINTR) => {}
                Err(_) | Ok(0) => return,
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_disturbs_a_terminal_is_not_written() {
        let text = "a\u{9b}31m\u{202e}b\u{feff}\u{2028}\u{1b}[\n\u{7f}\u{e0041}\u{e9}\u{4e2d}".as_bytes();
        let mut line = Line::<256>::new();
        line.quoted(&[text, b"\x9b\xc2"].concat());
        assert_eq!(line.as_bytes(), "a??31m???b???????[??????\u{e9}\u{4e2d}??".as_bytes());
        let mut line = Line::<256>::new();
        line.escaped(b"a\xc2\x9b\xe2\x80\xae\\\n\xff\xc3\xa9");
        assert_eq!(line.as_bytes(), b"a\\302\\233\\342\\200\\256\\134\\012\\377\xc3\xa9");
    }
}
