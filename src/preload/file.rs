//! The image's file: written under a temporary name beside the final one, then renamed over it.

use crate::config::PATH_MAX;
use crate::message::Failure;
use sys::Errno;
use sys::fd::{self, open_flag};
use sys::line::Line;

/// An image that is being written.
pub struct ImageFile {
    /// Directory of the image.
    pub dir: i32,
    /// The temporary file.
    pub fd: i32,
    temporary: Line<256>,
    name: Line<256>,
}

impl ImageFile {
    /// Creates the temporary file beside `path`, mode 0600 whatever the umask is.
    pub fn create(path: &[u8], pid: u32) -> Result<Self, Failure> {
        let (dir, name) = split(path)?;
        let dir = open_dir(dir.as_bytes()).map_err(Failure::Directory)?;
        let mut temporary = Line::new();
        // A name has at most 255 bytes, of which the suffix needs some. Without its NUL, or this would be the image itself.
        let stem = name.as_bytes().strip_suffix(b"\0").unwrap_or(name.as_bytes());
        temporary.bytes(stem.get(..200).unwrap_or(stem));
        let [sec, nsec] = sys::time::now(sys::time::clock::REALTIME);
        temporary
            .text(".")
            .dec(u64::from(pid))
            .text(".")
            .bare_hex((sec as u64) << 30 | nsec as u64)
            .text(".tmp\0");
        let flags =
            open_flag::RDWR | open_flag::CREAT | open_flag::EXCL | open_flag::NOFOLLOW | open_flag::CLOEXEC;
        let fd = match fd::open_at(dir, temporary.as_bytes(), flags, 0o600) {
            Ok(fd) => fd,
            Err(errno) => {
                let _ = fd::close(dir);
                return Err(Failure::Create(errno));
            }
        };
        let file = Self { dir, fd, temporary, name };
        match fd::set_mode(fd, 0o600) {
            Ok(()) => Ok(file),
            Err(errno) => {
                file.discard();
                file.close();
                Err(Failure::Create(errno))
            }
        }
    }

    /// Syncs the file, gives it its name, and syncs the directory.
    pub fn finish(&self) -> Result<(), Failure> {
        fd::sync(self.fd).map_err(Failure::Sync)?;
        fd::rename_at(self.dir, self.temporary.as_bytes(), self.name.as_bytes()).map_err(Failure::Rename)?;
        // Some file systems cannot sync a directory; the image is whole all the same.
        let _ = fd::sync(self.dir);
        Ok(())
    }

    /// Appends the path of the image, absolute where `/proc` tells it.
    pub fn path<const N: usize>(&self, line: &mut Line<N>) {
        let mut link = Line::<32>::new();
        link.text("/proc/self/fd/").dec(self.dir as u64).text("\0");
        let mut buf = [0; PATH_MAX];
        match fd::read_link(fd::AT_FDCWD, link.as_bytes(), &mut buf) {
            Ok(b"/") => line.text("/"),
            Ok(dir) => line.escaped(dir).text("/"),
            Err(_) => line,
        };
        line.escaped(self.name.as_bytes().strip_suffix(b"\0").unwrap_or_default());
    }

    /// Closes the descriptors.
    pub fn close(&self) {
        let _ = fd::close(self.fd);
        let _ = fd::close(self.dir);
    }

    /// Removes the temporary file.
    pub fn discard(&self) {
        let _ = fd::unlink_at(self.dir, self.temporary.as_bytes());
    }
}

/// Opens a directory (with its NUL): for syncing if it can be read, else just to have it.
fn open_dir(path: &[u8]) -> sys::Result<i32> {
    let flags = open_flag::DIRECTORY | open_flag::CLOEXEC;
    match fd::open_at(fd::AT_FDCWD, path, flags | open_flag::RDONLY, 0) {
        Err(Errno::EACCES) => fd::open_at(fd::AT_FDCWD, path, flags | open_flag::PATH, 0),
        result => result,
    }
}

/// Splits a path into directory and name, each with a NUL.
fn split(path: &[u8]) -> Result<(Line<PATH_MAX>, Line<256>), Failure> {
    let (dir, name) = match path.iter().rposition(|byte| *byte == b'/') {
        Some(0) => (&b"/"[..], path.get(1..).unwrap_or_default()),
        Some(at) => (path.get(..at).unwrap_or_default(), path.get(at + 1..).unwrap_or_default()),
        None => (&b"."[..], path),
    };
    if name.len() > 255 {
        return Err(Failure::NameTooLong);
    }
    let (mut dir_line, mut name_line) = (Line::new(), Line::new());
    dir_line.bytes(dir).bytes(b"\0");
    name_line.bytes(name).bytes(b"\0");
    Ok((dir_line, name_line))
}
