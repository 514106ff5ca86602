//! Page data is summed in chunks that know nothing of runs: a chunk may hold many runs, and a run many chunks.

/// Bytes at an address: a run of pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// First byte.
    pub addr: u64,
    /// Number of bytes.
    pub len: u64,
}

/// A part of one [`Piece`] inside one chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// First byte.
    pub addr: u64,
    /// Number of bytes, at least one.
    pub len: u64,
    /// Which piece it is part of, counted from zero.
    pub piece: u64,
    /// Which chunk it is part of, counted from zero.
    pub chunk: u64,
    /// Whether it is the last of its chunk.
    pub ends_chunk: bool,
}

/// Cuts pieces, given in the order in which they lie in the file, at the boundaries of chunks.
///
/// A writer gathers the cuts of a chunk into a buffer, a reader scatters them out of one: both see the same.
#[derive(Clone, Debug)]
pub struct Cutter<I> {
    pieces: I,
    /// What is left of the present piece; never empty.
    rest: Option<Piece>,
    piece: u64,
    chunk: u64,
    chunk_len: u64,
    /// Bytes that the present chunk still lacks; never zero.
    room: u64,
}

impl<I: Iterator<Item = Piece>> Cutter<I> {
    /// `chunk_len` is the length of a chunk in bytes; all but the last one have it. Zero counts as one. Pieces of no bytes are passed
    /// over, but counted.
    pub fn new(pieces: I, chunk_len: u64) -> Self {
        let chunk_len = chunk_len.max(1);
        let mut cutter = Self { pieces, rest: None, piece: 0, chunk: 0, chunk_len, room: chunk_len };
        cutter.rest = cutter.pieces.next();
        cutter.skip_empty();
        cutter
    }

    /// Goes on to the next piece.
    fn advance(&mut self) {
        self.rest = self.pieces.next();
        self.piece = self.piece.wrapping_add(1);
        self.skip_empty();
    }

    fn skip_empty(&mut self) {
        while self.rest.is_some_and(|piece| piece.len == 0) {
            self.rest = self.pieces.next();
            self.piece = self.piece.wrapping_add(1);
        }
    }
}

impl<I: Iterator<Item = Piece>> Iterator for Cutter<I> {
    type Item = Cut;

    fn next(&mut self) -> Option<Cut> {
        let Piece { addr, len } = self.rest?;
        let mut cut =
            Cut { addr, len: len.min(self.room), piece: self.piece, chunk: self.chunk, ends_chunk: false };
        if cut.len < len {
            self.rest = Some(Piece { addr: addr.wrapping_add(cut.len), len: len - cut.len });
        } else {
            self.advance();
        }
        self.room -= cut.len;
        cut.ends_chunk = self.room == 0 || self.rest.is_none();
        if self.room == 0 {
            self.room = self.chunk_len;
            self.chunk = self.chunk.wrapping_add(1);
        }
        Some(cut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn cuts(lens: &[u64], chunk_len: u64) -> Vec<Cut> {
        let pieces = lens.iter().enumerate().map(|(i, len)| Piece { addr: i as u64 * 1000, len: *len });
        Cutter::new(pieces, chunk_len).collect()
    }

    #[test]
    fn a_piece_on_a_boundary_is_cut_there_and_the_end_ends_a_chunk() {
        let cut = |addr, len, piece, chunk, ends_chunk| Cut { addr, len, piece, chunk, ends_chunk };
        assert_eq!(
            cuts(&[3, 0, 6, 1, 0], 4),
            [
                cut(0, 3, 0, 0, false),
                cut(2000, 1, 2, 0, true),
                cut(2001, 4, 2, 1, true),
                cut(2005, 1, 2, 2, false),
                cut(3000, 1, 3, 2, true)
            ]
        );
        assert_eq!(cuts(&[4, 4], 4), [cut(0, 4, 0, 0, true), cut(1000, 4, 1, 1, true)]);
        assert_eq!(cuts(&[], 4), []);
        assert_eq!(cuts(&[0, 0], 4), []);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 256 }))]

        #[test]
        fn cuts_are_the_bytes_in_order(lens in prop::collection::vec(0u64..900, 0..if cfg!(miri) { 5 } else { 20 }), chunk_len in 1u64..700) {
            let mut naive = Vec::new();
            for (i, len) in lens.iter().enumerate() {
                naive.extend((0..*len).map(|byte| (i as u64 * 1000 + byte, i as u64)));
            }
            let mut seen = Vec::new();
            let cuts = cuts(&lens, chunk_len);
            for (i, cut) in cuts.iter().enumerate() {
                prop_assert!(cut.len > 0);
                prop_assert_eq!(cut.chunk, seen.len() as u64 / chunk_len);
                seen.extend((0..cut.len).map(|byte| (cut.addr + byte, cut.piece)));
                let last = (seen.len() as u64).is_multiple_of(chunk_len) || i + 1 == cuts.len();
                prop_assert_eq!(cut.ends_chunk, last);
            }
            prop_assert_eq!(seen, naive);
        }
    }
}
