//! `ckpt verify`: every checksum of an image.

use crate::args::Verify;
use crate::exit::{Code, Failure, Result};
use crate::opened::Opened;
use crate::output::{self, Output};
use crate::text::{count, shown, size};
use image::crc::crc32c;
use serde::Serialize;
use std::path::Path;

/// What was found of one image, as JSON.
#[derive(Serialize)]
struct Verdict {
    image: String,
    whole: bool,
    /// Length of the file, and number of chunks of page data, when it is whole.
    bytes: Option<u64>,
    chunks: Option<u64>,
    /// What is wrong, and the exit code for it.
    error: Option<String>,
    code: Option<u8>,
}

impl Verdict {
    fn new(path: &Path, found: &Result<Whole>) -> Self {
        let (whole, failure) = (found.as_ref().ok(), found.as_ref().err());
        Self {
            image: shown(path),
            whole: whole.is_some(),
            bytes: whole.map(|whole| whole.bytes),
            chunks: whole.map(|whole| whole.chunks),
            error: failure.map(|failure| failure.text.clone()),
            code: failure.map(|failure| failure.code as u8),
        }
    }
}

/// Verifies all of them; fails with the first failure at the end.
pub fn run(args: &Verify, quiet: bool, out: &mut Output) -> Result<()> {
    let (mut failures, mut verdicts) = (vec![], vec![]);
    for path in &args.images {
        let found = verify(path);
        if args.json {
            verdicts.push(Verdict::new(path, &found));
        }
        match found {
            Ok(whole) if !quiet && !args.json => output::line(out, whole.describe(path))?,
            Ok(_) => {}
            Err(failure) => failures.push(failure),
        }
    }
    if args.json {
        output::json(out, &verdicts)?;
    }
    let Some(first) = failures.first() else { return Ok(()) };
    let lines = failures.iter().map(|failure| failure.text.as_str()).collect::<Vec<_>>();
    Err(Failure::new(first.code, lines.join("\nckpt: ")))
}

/// An image in which every sum is right.
struct Whole {
    bytes: u64,
    chunks: u64,
}

impl Whole {
    fn describe(&self, path: &Path) -> String {
        let checked = count(self.chunks, "chunk");
        format!("{}: whole: {}, headers and notes, {checked} of page data", shown(path), size(self.bytes))
    }
}

/// Verifies one image.
fn verify(path: &Path) -> Result<Whole> {
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
    Ok(Whole { bytes: head.file_len, chunks: sums.len() as u64 })
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
