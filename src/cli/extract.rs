//! `ckpt extract`: a piece of an image as a file.

use crate::args::Extract;
use crate::exit::{Code, Failure, Result};
use crate::opened::Opened;
use crate::pages::{self, PIECE};
use crate::show;
use crate::text::{shown, size};
use image::elf::{Ehdr, MAGIC, PT_LOAD, Phdr};
use image::format::{Object, PAGE, Region, region_kind};
use image::plain::{bytes_of, read};
use image::read::Image;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;
use tempfile::NamedTempFile;

/// Runs it.
pub fn run(args: &Extract) -> Result<()> {
    let opened = Opened::new(&args.image)?;
    opened.trusted()?;
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
        return Output::create(&opened, &args.output, object.size)?
            .write(&args.output, |file| write_object(&opened, &image, &object, file));
    };
    let len =
        pieces.iter().map(|piece| piece.offset + piece.region.end - piece.region.start).max().unwrap_or(0);
    Output::create(&opened, &args.output, len)?.write(&args.output, |file| {
        write_pieces(&opened, &image, &pieces, file)?;
        if args.exe || args.file.is_some() { mend_elf(file, &pieces) } else { Ok(()) }
    })
}

/// Writes what an image has of a mapped file to a file that is empty.
pub fn mapped_file(opened: &Opened, image: &Image<'_>, path: &Path, to: &File) -> Result<()> {
    let pieces = file_pieces(image, path);
    write_pieces(opened, image, &pieces, to)?;
    mend_elf(to, &pieces)
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

/// Writes what the image has of each piece; all else stays a hole.
fn write_pieces(opened: &Opened, image: &Image<'_>, pieces: &[Piece], to: &File) -> Result<()> {
    for Piece { region, offset } in pieces {
        for (address, from, len) in pages::parts(image, region, region.start, region.end) {
            copy(opened, from, len, to, offset + (address - region.start))?;
        }
        let end = offset + (region.end - region.start);
        if to.metadata().map_err(unwritable)?.len() < end {
            to.set_len(end).map_err(unwritable)?;
        }
    }
    Ok(())
}

fn write_object(opened: &Opened, image: &Image<'_>, object: &Object, to: &File) -> Result<()> {
    for run in image.runs_of(object).iter() {
        copy(opened, run.data, run.len.min(object.size.saturating_sub(run.offset)), to, run.offset)?;
    }
    to.set_len(object.size).map_err(unwritable)
}

/// Copies bytes of an image to an offset of a file.
fn copy(opened: &Opened, from: u64, len: u64, to: &File, at: u64) -> Result<()> {
    let mut buf = vec![0; len.min(PIECE) as usize];
    let mut done = 0;
    while done < len {
        let piece = &mut buf[..(len - done).min(PIECE) as usize];
        opened.read_into(from + done, piece)?;
        to.write_all_at(piece, at + done).map_err(unwritable)?;
        done += piece.len() as u64;
    }
    Ok(())
}

fn unwritable(error: io::Error) -> Failure {
    Failure::file(Code::Io, Path::new("the output"), "cannot be written", error)
}

/// Makes a mapped ELF file whole again, as far as that can be: section headers are not mapped, so that its header must not point to them any
/// more, and glibc has made addresses of some offsets in the dynamic section (elf/get-dynamic-info.h, `ADJUST_DYN_INFO`).
fn mend_elf(to: &File, pieces: &[Piece]) -> Result<()> {
    let read_at = |offset: u64, len: usize| {
        let mut bytes = vec![0; len];
        to.read_exact_at(&mut bytes, offset).ok().map(|()| bytes)
    };
    let write = |offset: u64, bytes: &[u8]| to.write_all_at(bytes, offset).map_err(unwritable);
    let header = read_at(0, size_of::<Ehdr>());
    let Some(header) =
        header.filter(|bytes| bytes.starts_with(&MAGIC)).and_then(|bytes| read::<Ehdr>(&bytes, 0))
    else {
        return Ok(());
    };
    write(0, bytes_of(&Ehdr { e_shoff: 0, e_shnum: 0, e_shstrndx: 0, ..header }))?;
    let Some(first) = pieces.iter().find(|piece| piece.offset == 0) else { return Ok(()) };
    let entry = |at: u64| {
        let offset = header.e_phoff.checked_add(at * size_of::<Phdr>() as u64)?;
        read::<Phdr>(&read_at(offset, size_of::<Phdr>())?, 0)
    };
    let segments: Vec<Phdr> = (0..u64::from(header.e_phnum)).filter_map(entry).collect();
    let loads = || segments.iter().filter(|segment| segment.p_type == PT_LOAD);
    let lowest = loads().map(|load| load.p_vaddr).min().unwrap_or(0) & !(PAGE - 1);
    let highest = loads().filter_map(|load| load.p_vaddr.checked_add(load.p_memsz)).max().unwrap_or(0);
    let Some(bias) = first.region.start.checked_sub(lowest).filter(|bias| *bias != 0) else { return Ok(()) };
    let Some(dynamic) = segments.iter().find(|segment| segment.p_type == PT_DYNAMIC) else { return Ok(()) };
    for at in (0..dynamic.p_filesz.min(PAGE)).step_by(16) {
        let offset = dynamic.p_offset.saturating_add(at);
        let Some(bytes) = read_at(offset, 16) else { break };
        let (tag, value) = (read::<u64>(&bytes, 0).unwrap_or(0), read::<u64>(&bytes, 8).unwrap_or(0));
        let offset_again = value.checked_sub(bias).filter(|value| (lowest..highest).contains(value));
        if let Some(value) = offset_again.filter(|_| ADJUSTED.contains(&tag)) {
            write(offset + 8, &value.to_le_bytes())?;
        }
    }
    Ok(())
}

const PT_DYNAMIC: u32 = 2;
/// DT_PLTGOT, DT_HASH, DT_STRTAB, DT_SYMTAB, DT_RELA, DT_REL, DT_JMPREL, DT_VERSYM, DT_GNU_HASH.
const ADJUSTED: [u64; 9] = [3, 4, 5, 6, 7, 17, 23, 0x6fff_fff0, 0x6fff_fef5];

/// Where the bytes go: a new file, with holes, which then gets the name; or, in order, a stream.
enum Output {
    File(NamedTempFile),
    Stream(File, Box<dyn Write>),
}

impl Output {
    /// One for `len` bytes.
    fn create(opened: &Opened, path: &Path, len: u64) -> Result<Self> {
        let failed = |e| Failure::file(Code::Io, path, "cannot be created", e);
        let kind = path.symlink_metadata().ok().map(|metadata| metadata.file_type());
        let is_stream =
            path.as_os_str() == "-" || kind.is_some_and(|kind| !kind.is_file() && !kind.is_symlink());
        if !is_stream {
            if kind.is_some_and(|kind| kind.is_symlink()) {
                let text = format!("{}: a symbolic link; give the name of the file itself", shown(path));
                return Err(Failure::new(Code::Usage, text));
            }
            let folder =
                path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            // Memory of a process is for its owner's eyes: a file of mode 0600, which was not there.
            let file =
                tempfile::Builder::new().prefix(".ckpt-extract-").tempfile_in(folder).map_err(failed)?;
            return Ok(Self::File(file));
        }
        // Zeros that the image does not have take no room in a file, but in a stream.
        if len > MOST_ZEROS && len / 64 > opened.len() {
            let text = format!(
                "{}: {}, of which the image has little; give the name of a file, in which zeros take no room",
                shown(path),
                size(len)
            );
            return Err(Failure::new(Code::Usage, text));
        }
        let stream: Box<dyn Write> = if path.as_os_str() == "-" {
            Box::new(io::stdout())
        } else {
            Box::new(File::options().write(true).open(path).map_err(failed)?)
        };
        Ok(Self::Stream(tempfile::tempfile().map_err(failed)?, stream))
    }

    /// Lets `make` write the file, and gives it its name, or copies it.
    fn write(self, path: &Path, make: impl Fn(&File) -> Result<()>) -> Result<()> {
        let failed = |e| Failure::file(Code::Io, path, "cannot be written", e);
        match self {
            Self::File(file) => {
                make(file.as_file())?;
                file.persist(path).map(drop).map_err(|e| failed(e.error))
            }
            Self::Stream(mut file, mut stream) => {
                make(&file)?;
                file.rewind()
                    .and_then(|()| io::copy(&mut file, &mut stream))
                    .and_then(|_| stream.flush())
                    .map_err(failed)
            }
        }
    }
}

/// So many zeros go down any stream.
const MOST_ZEROS: u64 = 1 << 30;
