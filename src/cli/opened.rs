//! An image file, opened: its tables in memory, its page data read when it is asked for.

use crate::exit::{Code, Failure, Result};
use crate::text::{shown, size};
use image::error::ImageError;
use image::format::PAGE;
use image::read::{HEAD_LEN, Image, Sums, head_off, prefix};
use image::trust::{Distrust, distrust};
use image::zero::is_zero;
use nix::unistd::Uid;
use std::alloc::{Layout, alloc_zeroed};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// An image file. Nothing of it was checked yet but what [`prefix`] looks at.
pub struct Opened {
    path: PathBuf,
    file: File,
    len: u64,
    owner: u32,
    mode: u32,
    prefix: Vec<u8>,
}

impl Opened {
    /// Opens an image, `-` for the one on standard input, and reads everything before its page data.
    pub fn new(path: &Path) -> Result<Self> {
        let is_standard = path.as_os_str() == "-";
        let file = if is_standard { spooled() } else { open(path) }?;
        let failed = |e| Failure::file(Code::Io, path, "cannot be read", e);
        let metadata = file.metadata().map_err(failed)?;
        // A file on standard input has an owner too, and the copy of a pipe is ours.
        let origin = if is_standard {
            File::from(io::stdin().as_fd().try_clone_to_owned().map_err(failed)?).metadata()
        } else {
            file.metadata()
        };
        let origin = origin.ok().filter(|origin| origin.is_file()).unwrap_or(metadata.clone());
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
        let mut opened = Self {
            path: path.to_owned(),
            file,
            len,
            owner: origin.uid(),
            mode: origin.mode(),
            prefix: vec![],
        };
        opened.prefix = opened.tables()?;
        Ok(opened)
    }

    /// Reads everything before the page data. Takes no more memory than that takes on the disk, whatever the file says of itself.
    fn tables(&self) -> Result<Vec<u8>> {
        let first = self.read(0, self.len.min(PAGE))?;
        let head_off = head_off(&first).map_err(|e| self.refuse(e))?;
        let head = self.read(head_off, self.len.saturating_sub(head_off).min(HEAD_LEN as u64))?;
        let prefix = prefix(&first, &head, self.len).map_err(|e| self.refuse(e))?;
        self.sparse(0, prefix.len, |offset| prefix.take_zeros(offset).map_err(|e| self.refuse(e)))
    }

    /// Bytes of the file, in which pages of zeros take no memory; `zeros` is asked about each.
    fn sparse(&self, offset: u64, len: u64, zeros: impl Fn(u64) -> Result<()>) -> Result<Vec<u8>> {
        let no_memory = || Failure::file(Code::Io, &self.path, "cannot be read", io::ErrorKind::OutOfMemory);
        let mut bytes = usize::try_from(len).ok().and_then(zeroed).ok_or_else(no_memory)?;
        let mut buf = vec![0; (64 * PAGE) as usize];
        let mut at = offset;
        for piece in bytes.chunks_mut(buf.len()) {
            let read = &mut buf[..piece.len()];
            self.read_into(at, read)?;
            for (page, bytes) in piece.chunks_mut(PAGE as usize).zip(read.chunks(PAGE as usize)) {
                if is_zero(bytes) {
                    zeros(at)?;
                } else {
                    page.copy_from_slice(bytes);
                }
                at += bytes.len() as u64;
            }
        }
        Ok(bytes)
    }

    /// Its tables.
    pub fn image(&self) -> Result<Image<'_>> {
        Image::parse(&self.prefix, self.len).map_err(|e| self.refuse(e))
    }

    /// Refuses an image that somebody else could have made or changed: what it says may go to another program, or be taken for what a process of ours was.
    ///
    /// # Errors
    ///
    /// [`Code::Permission`].
    pub fn trusted(&self) -> Result<()> {
        let name = shown(&self.path);
        let text = match distrust(self.owner, self.mode, Uid::effective().as_raw()) {
            None => return Ok(()),
            Some(Distrust::Owner) => {
                format!(
                    "{name}: belongs to uid {}, who decides what it says; copy it if you trust it",
                    self.owner
                )
            }
            Some(Distrust::Mode) => {
                format!(
                    "{name}: others can write to it; copy it if you trust it, or take the right from them (chmod go-w)"
                )
            }
        };
        Err(Failure::new(Code::Permission, text))
    }

    /// Length of its file in bytes.
    pub fn len(&self) -> u64 {
        self.len
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
        self.sparse(image.head().sums_off, image.head().sums_len, |_| Ok(()))
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

/// So many zeros, of which the kernel gives none before they are written to.
fn zeroed(len: usize) -> Option<Vec<u8>> {
    let layout = Layout::array::<u8>(len).ok().filter(|layout| layout.size() > 0)?;
    // SAFETY: the size is not zero.
    let start = unsafe { alloc_zeroed(layout) };
    // SAFETY: the global allocator gave it, with this layout, and every byte is one.
    (!start.is_null())
        .then(|| unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(start, len)) }.into_vec())
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
