//! Lines of a text that comes in pieces.

use memchr::arch::x86_64::sse2::memchr::One;

/// A buffer of `N` bytes that cuts what is read into lines and carries a line over from one read to the next.
#[derive(Debug)]
pub struct Lines<const N: usize> {
    buf: [u8; N],
    /// First byte that was not handed out; `start <= end <= N` always.
    start: usize,
    /// Behind the last byte that was read.
    end: usize,
    /// The last read gave nothing.
    ended: bool,
}

/// Why there is no next line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinesError<E> {
    /// The read failed.
    Read(E),
    /// A line is longer than the buffer.
    TooLong,
}

impl<const N: usize> Default for Lines<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Lines<N> {
    /// Nothing read yet.
    pub const fn new() -> Self {
        Self { buf: [0; N], start: 0, end: 0, ended: false }
    }

    /// The next line without its newline, or `None` at the end; a last line without a newline counts. `read` fills the start of the
    /// slice it is given and tells how many bytes it put there, zero at the end of the text: read(2). It is called only when no whole line
    /// is left in the buffer, and not again after the end.
    ///
    /// # Errors
    ///
    /// What `read` says, or [`LinesError::TooLong`] for a line of `N` bytes or more, its newline not counted.
    #[inline]
    pub fn next_line<E>(
        &mut self,
        read: &mut impl FnMut(&mut [u8]) -> Result<usize, E>,
    ) -> Result<Option<&[u8]>, LinesError<E>> {
        let mut searched = 0;
        loop {
            // All three cannot be out of range; said in a way that leaves no panic behind.
            let unread = self.buf.get(self.start..self.end).unwrap_or_default();
            if let Some(at) = newline(unread.get(searched..).unwrap_or_default()) {
                let line = self.start..self.start + searched + at;
                self.start = line.end + 1;
                return Ok(self.buf.get(line));
            }
            searched = unread.len();
            if self.ended {
                let line = self.start..self.end;
                self.start = self.end;
                return Ok(self.buf.get(line).filter(|line| !line.is_empty()));
            }
            self.move_to_front();
            let free = self.buf.get_mut(self.end..).unwrap_or_default();
            if free.is_empty() {
                return Err(LinesError::TooLong);
            }
            let room = free.len();
            let count = read(free).map_err(LinesError::Read)?.min(room);
            self.end += count;
            self.ended = count == 0;
        }
    }

    /// Moves the unread bytes to the front of the buffer, so that there is room behind them.
    fn move_to_front(&mut self) {
        if self.start == 0 {
            return;
        }
        let (start, end) = (self.start, self.end);
        if start <= end && end <= N {
            self.buf.copy_within(start..end, 0);
        }
        (self.start, self.end) = (0, end.saturating_sub(start));
    }
}

/// Offset of the first newline.
#[inline]
fn newline(bytes: &[u8]) -> Option<usize> {
    // SSE2 is part of x86-64, so that there always is a searcher; memchr's own choice among AVX2 and SSE2 would go through a
    // function pointer in writable memory.
    match One::new(b'\n') {
        Some(searcher) => searcher.find(bytes),
        None => bytes.iter().position(|byte| *byte == b'\n'),
    }
}
