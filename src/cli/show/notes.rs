//! The notes of the file.

use crate::names;
use crate::table::Table;
use crate::text::shown_bytes;
use image::notes::NoteIter;
use image::read::Image;
use serde::Serialize;
use std::io::{self, Write};

/// One note.
#[derive(Serialize)]
pub struct Note {
    /// Who defines the type.
    pub owner: String,
    /// Type.
    pub kind: String,
    /// Offset of the contents in the file.
    pub offset: u64,
    /// Length of the contents in bytes.
    pub size: u64,
}

/// The notes of an image; `prefix` is the part of the file that has them.
pub fn notes(image: &Image<'_>, prefix: &[u8]) -> Vec<Note> {
    let head = image.head();
    let (start, len) = (head.notes_off as usize, head.notes_len as usize);
    let bytes = prefix.get(start..).and_then(|notes| notes.get(..len)).unwrap_or_default();
    let describe = |note: image::notes::Note<'_>| Note {
        owner: shown_bytes(note.owner.strip_suffix(b"\0").unwrap_or(note.owner)),
        kind: names::note(note.owner, note.kind),
        // The contents are a part of `prefix`, which begins where the file begins.
        offset: (note.desc.as_ptr() as u64).wrapping_sub(prefix.as_ptr() as u64),
        size: note.desc.len() as u64,
    };
    NoteIter::new(bytes).map(describe).collect()
}

/// Writes them as text.
pub fn print(notes: &[Note], out: &mut dyn Write) -> io::Result<()> {
    let mut table = Table::new(&["OWNER", "TYPE", ">OFFSET", ">BYTES"]);
    for note in notes {
        table.row([note.owner.clone(), note.kind.clone(), note.offset.to_string(), note.size.to_string()]);
    }
    table.print(out)
}
