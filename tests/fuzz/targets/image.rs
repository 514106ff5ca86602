//! The image reader, on files that mean harm.
//!
//! Left alone, a fuzzer would never get past the sums. So the input is not a file but what to put into one: the program headers and
//! the notes. The file around them is made here, with everything right that a sum or the layout would catch, and with as much page
//! data as there are program headers with bytes.

#[path = "../../../src/image/tests/synthetic/mod.rs"]
mod synthetic;

use image::crc::crc32c_append;
use image::elf::Phdr;
use image::error::ImageError;
use image::format::{Head, OWNER, PAGE, note};
use image::plain::{Table, bytes_of};
use image::read::{Image, prefix_len};
use image::write::{Layout, Notes, seal};

/// The input: number of program headers and of pages of data, one byte each, then the headers, then the notes behind HEAD. With a first
/// byte of 255 the rest is taken as a file.
pub fn run(input: &[u8]) {
    outcome(input);
}

/// What the reader says, after it was shown to be true; nothing when the input makes no file.
pub fn outcome(input: &[u8]) -> Option<Result<(), ImageError>> {
    let (file, file_len) = match input {
        [255, file @ ..] => (file.to_vec(), file.len() as u64),
        _ => assemble(input)?,
    };
    let parse = || {
        let prefix = usize::try_from(prefix_len(&file, file_len)?).expect("64 bits");
        let image = Image::parse(&file[..file.len().min(prefix)], file_len)?;
        synthetic::use_all_of(&image);
        Ok(())
    };
    Some(parse())
}

/// The start of a file, up to its page data, and its length.
pub fn assemble(input: &[u8]) -> Option<(Vec<u8>, u64)> {
    let (counts, rest) = input.split_first_chunk::<2>()?;
    let [loads, pages] = counts.map(u64::from);
    let (phdrs, more_notes) = rest.split_at_checked(loads as usize * size_of::<Phdr>())?;
    let more_notes = &more_notes[..more_notes.len() & !3];

    let mut buf = vec![0; 124 + more_notes.len()];
    let mut notes = Notes::new(&mut buf);
    notes.add(OWNER, note::HEAD, bytes_of(&Head::default())).ok()?;
    let notes = notes.finish();
    let head_len = notes.len();
    buf[head_len..].copy_from_slice(more_notes);

    let layout = Layout::new(loads, buf.len() as u64, pages * PAGE)?;
    let mut all_phdrs = bytes_of(&layout.note_phdr()).to_vec();
    for mut phdr in Table::<Phdr>::new(phdrs)?.iter() {
        phdr.p_offset = phdr.p_offset.wrapping_add(layout.data_off);
        all_phdrs.extend(bytes_of(&phdr));
    }
    seal(&mut buf, &layout, crc32c_append(layout.front_crc(), &all_phdrs))?;
    let mut file = bytes_of(&layout.ehdr()).to_vec();
    file.extend(layout.section_zero().into_iter().flatten());
    file.extend(&all_phdrs);
    file.extend(&buf);
    file.resize(layout.data_off as usize, 0);
    Some((file, layout.file_len))
}

/// The input that makes the tables of this image.
#[cfg(test)]
pub fn disassemble(file: &[u8]) -> Vec<u8> {
    let image = synthetic::parse(file).expect("an image");
    let head = *image.head();
    let mut input = vec![image.loads().len() as u8, (head.data_len / PAGE) as u8];
    for mut phdr in image.loads().iter() {
        phdr.p_offset = phdr.p_offset.wrapping_sub(head.data_off);
        input.extend(bytes_of(&phdr));
    }
    let notes = &file[head.notes_off as usize..][..head.notes_len as usize];
    input.extend(&notes[124..]);
    input
}

#[cfg(test)]
pub use synthetic::Parts;
