//! An image file, opened: its tables in memory, its page data read when it is asked for.

use crate::exit::{Code, Failure, Result};
use crate::text::{shown, size};
use image::error::ImageError;
use image::format::PAGE;
use image::read::{Image, Sums, prefix_len};
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// An image file. Nothing of it was checked yet but what [`prefix_len`] looks at.
pub struct Opened {
    path: PathBuf,
    file: File,
    len: u64,
    prefix: Vec<u8>,
}

impl Opened {
    /// Opens an image, `-` for the one on standard input, and reads everything before its page data.
    pub fn new(path: &Path) -> Result<Self> {
        let file = if path.as_os_str() == "-" { spooled() } else { open(path) }?;
        let failed = |e| Failure::file(Code::Io, path, "cannot be read", e);
        let metadata = file.metadata().map_err(failed)?;
        let kind = metadata.file_type();
        if !kind.is_file() {
            let what = match () {
                () if kind.is_dir() => "a directory",
                () if kind.is_fifo() => "a FIFO",
                () if kind.is_socket() => "a socket",
                () => "a device",
            };
            let text = format!("{}: {what}, not an image; give the path of an image", shown(path));
            return Err(Failure::new(Code::NotRegular, text));
        }
        let len = metadata.len();
        let mut opened = Self { path: path.to_owned(), file, len, prefix: vec![] };
        opened.prefix = opened.read(0, len.min(PAGE))?;
        let wanted = prefix_len(&opened.prefix).map_err(|e| opened.refuse(e))?.min(len);
        if wanted > PAGE {
            opened.prefix = opened.read(0, wanted)?;
        }
        Ok(opened)
    }

    /// Its tables.
    pub fn image(&self) -> Result<Image<'_>> {
        Image::parse(&self.prefix, self.len).map_err(|e| self.refuse(e))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Everything before the page data.
    pub fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    /// Bytes of the file.
    pub fn read(&self, offset: u64, len: u64) -> Result<Vec<u8>> {
        let failed = |e: std::io::Error| Failure::file(Code::Io, &self.path, "cannot be read", e);
        let len = usize::try_from(len).map_err(|_| failed(std::io::ErrorKind::OutOfMemory.into()))?;
        let mut bytes = vec![0; len];
        self.read_into(offset, &mut bytes)?;
        Ok(bytes)
    }

    /// Fills a buffer with bytes of the file.
    pub fn read_into(&self, offset: u64, bytes: &mut [u8]) -> Result<()> {
        let failed = |e: std::io::Error| Failure::file(Code::Io, &self.path, "cannot be read", e);
        self.file.read_exact_at(bytes, offset).map_err(failed)
    }

    /// The bytes of the table of sums; [`Sums::parse`] reads it.
    pub fn sums(&self, image: &Image<'_>) -> Result<Vec<u8>> {
        self.read(image.head().sums_off, image.head().sums_len)
    }

    /// [`Sums::parse`] with the name of the file in its failure.
    pub fn parse_sums<'a>(&self, bytes: &'a [u8]) -> Result<Sums<'a>> {
        Sums::parse(bytes).map_err(|e| self.refuse(e))
    }

    /// The line for an image that is not sound.
    pub fn refuse(&self, error: ImageError) -> Failure {
        let name = shown(&self.path);
        let text = match error {
            ImageError::Version(version) => format!("{name}: {} (version {version})", error.text()),
            ImageError::UnknownRequired(what) => format!("{name}: {} (number {what})", error.text()),
            ImageError::Truncated { expected, actual } => {
                format!(
                    "{name}: {}: {} of {} are there; use a whole copy",
                    error.text(),
                    size(actual),
                    size(expected)
                )
            }
            ImageError::Overlong { expected, actual } => {
                format!("{name}: {}: {actual} bytes instead of {expected}; use an exact copy", error.text())
            }
            _ => format!("{name}: {}", error.text()),
        };
        Failure::new(code(error), text)
    }
}

fn open(path: &Path) -> Result<File> {
    // A FIFO must not make the command wait for a writer.
    let mut options = File::options();
    let options = options.read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC);
    options.open(path).map_err(|e| Failure::file(Code::NoImage, path, "cannot be opened", e))
}

/// What is on standard input, in a file without a name: an image is not read in order.
fn spooled() -> Result<File> {
    let copy = || {
        let mut file = tempfile::tempfile()?;
        io::copy(&mut io::stdin().lock(), &mut file)?;
        Ok(file)
    };
    copy().map_err(|e: io::Error| Failure::file(Code::Io, Path::new("standard input"), "cannot be read", e))
}

/// The class of an image's fault.
fn code(error: ImageError) -> Code {
    match error {
        ImageError::Empty | ImageError::NotElf | ImageError::NotCore => Code::NotAnImage,
        ImageError::WrongMachine | ImageError::NotCkpt => Code::Foreign,
        ImageError::Version(_) => Code::Version,
        ImageError::UnknownRequired(_) => Code::Unsupported,
        ImageError::Truncated { .. } => Code::Truncated,
        ImageError::Overlong { .. }
        | ImageError::TablesCorrupt
        | ImageError::NotesCorrupt
        | ImageError::SumsCorrupt
        | ImageError::BadTable(_) => Code::Corrupt,
    }
}
