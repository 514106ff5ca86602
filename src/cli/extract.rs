//! `ckpt extract`: a piece of an image as a file.

use crate::args::Extract;
use crate::exit::{Code, Failure, Result};
use crate::opened::Opened;
use crate::pages::{self, PIECE};
use crate::show;
use crate::text::shown;
use image::elf::{Ehdr, MAGIC, PT_LOAD, Phdr};
use image::format::{PAGE, Region, region_kind};
use image::plain::{bytes_of, read};
use image::read::Image;
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// Runs it.
pub fn run(args: &Extract) -> Result<()> {
    let opened = Opened::new(&args.image)?;
    let image = opened.image()?;
    let exe = Path::new(OsStr::from_bytes(image.bytes(image.process().exe)));
    let missing = |what: String| {
        let text = format!("{}: has no {what}; see ckpt show --maps", shown(&args.image));
        Failure::new(Code::Missing, text)
    };
    let pieces = if args.exe || args.file.is_some() {
        let path = args.file.as_deref().unwrap_or(exe);
        let pieces = file_pieces(&image, path);
        if pieces.is_empty() {
            return Err(missing(format!("mapped file {}", shown(path))));
        }
        pieces
    } else if let Some(wanted) = &args.region {
        let region = region(&image, wanted).ok_or_else(|| missing(format!("region {wanted}")))?;
        vec![Piece { region, offset: 0 }]
    } else {
        let number = args.object.unwrap_or_default();
        let object = image.objects().get(number).ok_or_else(|| missing(format!("object {number}")))?;
        return write_object(&opened, &image, &object, &args.output);
    };
    let mut sink = Sink::create(&args.output)?;
    write_pieces(&opened, &image, &pieces, &mut sink)?;
    if args.exe || args.file.is_some() {
        mend_elf(&mut sink, &pieces)?;
    }
    sink.finish()
}

/// Writes what an image has of a mapped file. Tells whether it has anything.
pub fn mapped_file(opened: &Opened, image: &Image<'_>, path: &Path, output: &Path) -> Result<bool> {
    let pieces = file_pieces(image, path);
    if pieces.is_empty() {
        return Ok(false);
    }
    let mut sink = Sink::create(output)?;
    write_pieces(opened, image, &pieces, &mut sink)?;
    mend_elf(&mut sink, &pieces)?;
    sink.finish()?;
    Ok(true)
}

/// A region and the offset in the output where it goes.
struct Piece {
    region: Region,
    offset: u64,
}

/// The regions of a mapped file. Where a page is mapped twice (text and read-only data share one in the file), the later one wins, unless it can be
/// written: then the program may have changed it.
fn file_pieces(image: &Image<'_>, path: &Path) -> Vec<Piece> {
    let is_it = |region: &Region| {
        let file = image.files().get(region.file as usize);
        region.kind == region_kind::FILE
            && file.is_some_and(|file| image.bytes(file.path) == path.as_os_str().as_bytes())
    };
    let regions = image.regions().iter().filter(is_it);
    let mut pieces: Vec<_> = regions.map(|region| Piece { offset: region.offset, region }).collect();
    pieces.sort_by_key(|piece| std::cmp::Reverse(piece.region.prot & 2));
    pieces
}

/// The region at an address, or of a name.
fn region(image: &Image<'_>, wanted: &str) -> Option<Region> {
    let number = wanted.strip_prefix("0x").unwrap_or(wanted);
    // Names have brackets or slashes, so that no name is taken for an address.
    match u64::from_str_radix(number, 16) {
        Ok(address) => image.region_at(address),
        Err(_) => image.regions().iter().find(|region| show::map(image, region).name == wanted),
    }
}

fn write_pieces(opened: &Opened, image: &Image<'_>, pieces: &[Piece], sink: &mut Sink) -> Result<()> {
    let mut buf = vec![];
    for Piece { region, offset } in pieces {
        let mut at = region.start;
        while at < region.end {
            pages::read(opened, image, region, at, &mut buf)?;
            sink.write(offset + (at - region.start), &buf)?;
            at += PIECE.min(region.end - at);
        }
    }
    Ok(())
}

fn write_object(
    opened: &Opened,
    image: &Image<'_>,
    object: &image::format::Object,
    output: &Path,
) -> Result<()> {
    let mut sink = Sink::create(output)?;
    for run in image.runs_of(object).iter() {
        let len = run.len.min(object.size.saturating_sub(run.offset));
        let mut done = 0;
        while done < len {
            let piece = opened.read(run.data + done, PIECE.min(len - done))?;
            sink.write(run.offset + done, &piece)?;
            done += piece.len() as u64;
        }
    }
    sink.set_len(object.size)?;
    sink.finish()
}

/// Makes a mapped ELF file whole again, as far as that can be: section headers are not mapped, so that its header must not point to them any
/// more, and glibc has made addresses of some offsets in the dynamic section (elf/get-dynamic-info.h, `ADJUST_DYN_INFO`).
fn mend_elf(sink: &mut Sink, pieces: &[Piece]) -> Result<()> {
    let header = sink.read(0, size_of::<Ehdr>());
    let Some(header) =
        header.filter(|bytes| bytes.starts_with(&MAGIC)).and_then(|bytes| read::<Ehdr>(&bytes, 0))
    else {
        return Ok(());
    };
    sink.write(0, bytes_of(&Ehdr { e_shoff: 0, e_shnum: 0, e_shstrndx: 0, ..header }))?;
    let Some(first) = pieces.iter().find(|piece| piece.offset == 0) else { return Ok(()) };
    let entry = |at: u64| {
        let offset = header.e_phoff.checked_add(at * size_of::<Phdr>() as u64)?;
        read::<Phdr>(&sink.read(offset, size_of::<Phdr>())?, 0)
    };
    let segments: Vec<Phdr> = (0..u64::from(header.e_phnum)).filter_map(entry).collect();
    let loads = || segments.iter().filter(|segment| segment.p_type == PT_LOAD);
    let lowest = loads().map(|load| load.p_vaddr).min().unwrap_or(0) & !(PAGE - 1);
    let highest = loads().filter_map(|load| load.p_vaddr.checked_add(load.p_memsz)).max().unwrap_or(0);
    let Some(bias) = first.region.start.checked_sub(lowest).filter(|bias| *bias != 0) else { return Ok(()) };
    let Some(dynamic) = segments.iter().find(|segment| segment.p_type == PT_DYNAMIC) else { return Ok(()) };
    for at in (0..dynamic.p_filesz.min(PAGE)).step_by(16) {
        let offset = dynamic.p_offset.saturating_add(at);
        let Some(bytes) = sink.read(offset, 16) else { break };
        let (tag, value) = (read::<u64>(&bytes, 0).unwrap_or(0), read::<u64>(&bytes, 8).unwrap_or(0));
        let offset_again = value.checked_sub(bias).filter(|value| (lowest..highest).contains(value));
        if let Some(value) = offset_again.filter(|_| ADJUSTED.contains(&tag)) {
            sink.write(offset + 8, &value.to_le_bytes())?;
        }
    }
    Ok(())
}

const PT_DYNAMIC: u32 = 2;
/// DT_PLTGOT, DT_HASH, DT_STRTAB, DT_SYMTAB, DT_RELA, DT_REL, DT_JMPREL, DT_VERSYM, DT_GNU_HASH.
const ADJUSTED: [u64; 9] = [3, 4, 5, 6, 7, 17, 23, 0x6fff_fff0, 0x6fff_fef5];

/// Where the bytes go: a file, with holes, or standard output, which needs them in order and so waits for the end.
enum Sink<'a> {
    File(&'a Path, File),
    Standard(Vec<u8>),
}

impl<'a> Sink<'a> {
    fn create(path: &'a Path) -> Result<Self> {
        if path.as_os_str() == "-" {
            return Ok(Self::Standard(vec![]));
        }
        // Memory of a process is for its owner's eyes.
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(path);
        file.map(|file| Self::File(path, file))
            .map_err(|e| Failure::file(Code::Io, path, "cannot be created", e))
    }

    fn failed(&self) -> impl Fn(io::Error) -> Failure + use<'a> {
        let path = match self {
            Self::File(path, _) => path,
            Self::Standard(_) => Path::new("standard output"),
        };
        move |e| Failure::file(Code::Io, path, "cannot be written", e)
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        let failed = self.failed();
        match self {
            Self::File(_, file) => file.write_all_at(bytes, offset).map_err(failed),
            Self::Standard(all) => {
                let start = offset as usize;
                all.resize(all.len().max(start + bytes.len()), 0);
                all[start..start + bytes.len()].copy_from_slice(bytes);
                Ok(())
            }
        }
    }

    fn set_len(&mut self, len: u64) -> Result<()> {
        let failed = self.failed();
        match self {
            Self::File(_, file) => file.set_len(len).map_err(failed),
            Self::Standard(all) => {
                all.resize(len as usize, 0);
                Ok(())
            }
        }
    }

    fn read(&self, offset: u64, len: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; len];
        match self {
            Self::File(_, file) => file.read_exact_at(&mut bytes, offset).ok()?,
            Self::Standard(all) => {
                let start = usize::try_from(offset).ok()?;
                bytes.copy_from_slice(all.get(start..start.checked_add(len)?)?);
            }
        }
        Some(bytes)
    }

    fn finish(self) -> Result<()> {
        let failed = self.failed();
        match self {
            Self::File(..) => Ok(()),
            Self::Standard(all) => io::stdout().lock().write_all(&all).map_err(failed),
        }
    }
}
