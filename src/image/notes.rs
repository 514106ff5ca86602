//! Walks over the notes of a core file.

use crate::elf::Nhdr;
use crate::plain;

/// One note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note<'a> {
    /// Who defines the type, with the NUL.
    pub owner: &'a [u8],
    /// Type, in the name space of the owner.
    pub kind: u32,
    /// Contents.
    pub desc: &'a [u8],
}

/// The notes in `bytes`, in order. A note that does not fit ends the walk: [`NoteIter::rest`] is not empty then.
#[derive(Clone, Debug)]
pub struct NoteIter<'a> {
    bytes: &'a [u8],
}

impl<'a> NoteIter<'a> {
    /// Walks over `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// What was not walked over yet.
    pub fn rest(&self) -> &'a [u8] {
        self.bytes
    }
}

impl<'a> Iterator for NoteIter<'a> {
    type Item = Note<'a>;

    fn next(&mut self) -> Option<Note<'a>> {
        let header: Nhdr = plain::read(self.bytes, 0)?;
        let rest = self.bytes.get(size_of::<Nhdr>()..)?;
        let (owner, rest) = take_padded(rest, header.n_namesz)?;
        let (desc, rest) = take_padded(rest, header.n_descsz)?;
        self.bytes = rest;
        Some(Note { owner, kind: header.n_type, desc })
    }
}

/// The first `len` bytes, and what follows them and their padding to a multiple of 4.
fn take_padded(bytes: &[u8], len: u32) -> Option<(&[u8], &[u8])> {
    let padded = (len as usize).checked_next_multiple_of(4)?;
    Some((bytes.get(..len as usize)?, bytes.get(padded..)?))
}
