//! `ckpt verify`: every checksum of an image.

use crate::args::Verify;
use crate::exit::{Code, Failure, Result};
use crate::opened::Opened;
use crate::output::{self, Output};
use crate::text::{count, shown, size};
use image::crc::crc32c;
use std::path::Path;

/// Verifies all of them; fails with the first failure at the end.
pub fn run(args: &Verify, quiet: bool, out: &mut Output) -> Result<()> {
    let mut failures = vec![];
    for path in &args.images {
        match verify(path) {
            Ok(line) if !quiet => output::line(out, line)?,
            Ok(_) => {}
            Err(failure) => failures.push(failure),
        }
    }
    let Some(first) = failures.first() else { return Ok(()) };
    let lines = failures.iter().map(|failure| failure.text.as_str()).collect::<Vec<_>>();
    Err(Failure::new(first.code, lines.join("\nckpt: ")))
}

/// Verifies one image: what was found to be right.
fn verify(path: &Path) -> Result<String> {
    let opened = Opened::new(path)?;
    let image = opened.image()?;
    let head = image.head();
    let table = opened.sums(&image)?;
    let sums = opened.parse_sums(&table)?;
    let mut buf = vec![0; head.chunk as usize];
    let mut at = head.data_off;
    let end = head.data_off + head.data_len;
    for number in 0..sums.len() {
        let len = (end - at).min(u64::from(head.chunk));
        let chunk = &mut buf[..len as usize];
        opened.read_into(at, chunk)?;
        if Some(crc32c(chunk)) != sums.get(number) {
            return Err(damaged(&opened, &image, at, at + len));
        }
        at += len;
    }
    let checked = count(sums.len() as u64, "chunk");
    Ok(format!("{}: whole: {}, headers and notes, {checked} of page data", shown(path), size(head.file_len)))
}

/// The line for page data in a part of the file that does not have its sum: whose memory it is.
fn damaged(opened: &Opened, image: &image::read::Image<'_>, start: u64, end: u64) -> Failure {
    let hit = |load: &image::elf::Phdr| {
        load.p_filesz > 0 && load.p_offset < end && start < load.p_offset + load.p_filesz
    };
    let regions =
        image.regions().iter().filter(|region| image.loads_of(region).iter().any(|load| hit(&load)));
    let mut names: Vec<_> = regions
        .map(|region| {
            let name = crate::show::map(image, &region).name;
            if name.is_empty() { format!("{:#x}", region.start) } else { name }
        })
        .collect();
    names.dedup();
    if names.len() > 3 {
        let more = names.len() - 2;
        names.truncate(2);
        names.push(format!("{more} more"));
    }
    let whose = if names.is_empty() { String::new() } else { format!(", memory of {}", names.join(", ")) };
    Failure::new(
        Code::Corrupt,
        format!(
            "{}: the image is damaged (the checksum of bytes {start} to {end} is wrong{whose}); use another copy",
            shown(opened.path())
        ),
    )
}
