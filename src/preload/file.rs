//! The image's file: written under a temporary name beside the final one, then renamed over it.

use crate::config::PATH_MAX;
use crate::message::Failure;
use crate::whose;
use image::format::Whose;
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
    whose: Whose,
    /// It is the image by now.
    has_name: bool,
}

/// What has a name in the image's folder.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Present {
    /// Nothing.
    Nothing,
    /// The image of this process: nobody else takes its place.
    Own,
    /// A regular file whose place may be taken: its device and inode.
    File(u64, u64),
    /// A folder, a link, a device.
    Other,
}

impl ImageFile {
    /// Creates the temporary file beside `path`, mode 0600 whatever the umask is.
    pub fn create(path: &[u8], whose: &Whose) -> Result<Self, Failure> {
        let (dir, name) = split(path)?;
        let dir = open_dir(dir.as_bytes()).map_err(Failure::Directory)?;
        if let Err(failure) = look(dir, &name, whose) {
            let _ = fd::close(dir);
            return Err(failure);
        }
        let mut temporary = Line::new();
        temporary.bytes(stem(&name));
        let [sec, nsec] = sys::time::now(sys::time::clock::REALTIME);
        temporary
            .text(".")
            .dec(u64::from(whose.pid))
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
        let file = Self { dir, fd, temporary, name, whose: *whose, has_name: false };
        match fd::set_mode(fd, 0o600) {
            Ok(()) => {
                // As long as a process of this save lives. Where the file system has no locks, nobody takes the file for abandoned.
                let _ = fd::lock(fd);
                Ok(file)
            }
            Err(errno) => {
                file.discard();
                file.close();
                Err(Failure::Create(errno))
            }
        }
    }

    /// Removes temporary files of this name whose writers were killed: nobody has a lock on them.
    #[inline(never)] // its buffer is off the stack again when it returns
    pub fn clean(&self) {
        /// A directory with more is not worth the time.
        const MOST_READS: usize = 256;
        let flags = open_flag::RDONLY | open_flag::DIRECTORY | open_flag::CLOEXEC;
        let Ok(dir) = fd::open_at(self.dir, b".\0", flags, 0) else { return };
        let mut buf = [0u8; 4096];
        for _ in 0..MOST_READS {
            let Ok(len) = fd::read_dir(dir, &mut buf) else { break };
            if len == 0 {
                break;
            }
            for name in fd::dir_names(buf.get(..len).unwrap_or_default()) {
                if is_temporary(name, stem(&self.name)) {
                    self.remove_abandoned(name);
                }
            }
        }
        let _ = fd::close(dir);
    }

    fn remove_abandoned(&self, name: &[u8]) {
        let mut path = Line::<256>::new();
        path.bytes(name).bytes(b"\0");
        let flags = open_flag::RDONLY | open_flag::NOFOLLOW | open_flag::NONBLOCK | open_flag::CLOEXEC;
        let Ok(other) = fd::open_at(self.dir, path.as_bytes(), flags, 0) else { return };
        // One that is being exchanged has no lock.
        let is_image = whose::of_image(other);
        let is_others = is_image.is_some_and(|whose| whose::is_another_that_runs(&whose, &self.whose));
        if !is_others && fd::lock(other).is_ok() {
            let _ = fd::unlink_at(self.dir, path.as_bytes());
        }
        let _ = fd::close(other);
    }

    /// Tells whether [`ImageFile::create`] would refuse the name.
    pub fn check(path: &[u8], whose: &Whose) -> Result<(), Failure> {
        let (dir, name) = split(path)?;
        let dir = open_dir(dir.as_bytes()).map_err(Failure::Directory)?;
        let result = look(dir, &name, whose);
        let _ = fd::close(dir);
        result.map(drop)
    }

    /// Syncs the file, gives it its name, and syncs the directory.
    pub fn finish(&mut self) -> Result<(), Failure> {
        fd::sync(self.fd).map_err(Failure::Sync)?;
        self.take_name()?;
        self.has_name = true;
        match fd::sync(self.dir) {
            // Some file systems cannot sync a directory, and one that may not be read cannot be synced.
            Ok(()) | Err(Errno::EINVAL | Errno::EBADF | Errno::EOPNOTSUPP) => Ok(()),
            Err(errno) => Err(Failure::SyncDirectory(errno)),
        }
    }

    /// Gives the file its name. Two processes that do so at once find out: each exchanges the two names rather than to replace the other's image, and looks at what
    /// it has got.
    #[inline(never)] // its buffers are off the stack again when it returns
    fn take_name(&self) -> Result<(), Failure> {
        let (temporary, name) = (self.temporary.as_bytes(), self.name.as_bytes());
        loop {
            let before = look(self.dir, &self.name, &self.whose)?;
            let how = match before {
                Present::Nothing => fd::NO_REPLACE,
                Present::File(..) => fd::EXCHANGE,
                Present::Own | Present::Other => {
                    return fd::rename_at(self.dir, temporary, name).map_err(Failure::Rename);
                }
            };
            match fd::rename_as(self.dir, temporary, name, how) {
                Ok(()) if how == fd::NO_REPLACE => return Ok(()),
                Ok(()) => {}
                // Somebody was faster, or has removed the image.
                Err(Errno::EEXIST | Errno::ENOENT) if look(self.dir, &self.name, &self.whose)? != before => {
                    continue;
                }
                // The file system has no such ways (NFS, some of FUSE).
                Err(Errno::EINVAL | Errno::ENOSYS) => {
                    return fd::rename_at(self.dir, temporary, name).map_err(Failure::Rename);
                }
                Err(errno) => return Err(Failure::Rename(errno)),
            }
            // What had the name has the temporary one now.
            match look(self.dir, &self.temporary, &self.whose) {
                Ok(_) => {
                    let _ = fd::unlink_at(self.dir, temporary);
                    return Ok(());
                }
                Err(failure) => loop {
                    fd::rename_as(self.dir, temporary, name, fd::EXCHANGE).map_err(Failure::Rename)?;
                    // Unless its owner has just saved once more.
                    let [own, back] = [fd::stat_fd(self.fd), fd::stat_at(self.dir, temporary, false)];
                    if own.map(|stat| stat.ino) == back.map(|stat| stat.ino) {
                        return Err(failure);
                    }
                },
            }
        }
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

    /// Removes the temporary file, and gives its room back at once: whoever is told of the failure may need it.
    pub fn discard(&self) {
        if self.has_name {
            return;
        }
        let _ = fd::set_length(self.fd, 0);
        let _ = fd::unlink_at(self.dir, self.temporary.as_bytes());
    }
}

/// Looks at what has a name. Fails where its place may not be taken.
#[inline(never)] // its buffers are off the stack again when it returns
fn look(dir: i32, name: &Line<256>, own: &Whose) -> Result<Present, Failure> {
    const S_IFMT: u32 = 0o170_000;
    const S_IFREG: u32 = 0o100_000;
    let Ok(stat) = fd::stat_at(dir, name.as_bytes(), false) else {
        return Ok(Present::Nothing);
    };
    let is_there = Ok(Present::File(stat.dev, stat.ino));
    if stat.mode & S_IFMT != S_IFREG {
        return Ok(Present::Other);
    }
    let flags = open_flag::RDONLY | open_flag::NOFOLLOW | open_flag::NONBLOCK | open_flag::CLOEXEC;
    let file = match fd::open_at(dir, name.as_bytes(), flags, 0) {
        Ok(file) => file,
        Err(Errno::ENOENT | Errno::ELOOP) => return is_there,
        Err(errno) => return Err(Failure::Unreadable(errno)),
    };
    let whose = whose::of_image(file);
    let _ = fd::close(file);
    match whose {
        Some(whose) if whose == *own => Ok(Present::Own),
        Some(whose) if whose::is_another_that_runs(&whose, own) => Err(Failure::Others(whose.pid)),
        _ => is_there,
    }
}

/// What the temporary names of an image begin with. A name has at most 255 bytes, of which the suffix needs some.
fn stem(name: &Line<256>) -> &[u8] {
    // Without its NUL, or this would be the image itself.
    let bare = name.as_bytes().strip_suffix(b"\0").unwrap_or(name.as_bytes());
    bare.get(..200).unwrap_or(bare)
}

/// Whether a name is of the form that [`ImageFile::create`] gives: the stem, a process id, a time in hexadecimal digits, `tmp`.
fn is_temporary(name: &[u8], stem: &[u8]) -> bool {
    let middle = name
        .strip_prefix(stem)
        .and_then(|rest| rest.strip_prefix(b"."))
        .and_then(|rest| rest.strip_suffix(b".tmp"));
    let Some(middle) = middle else { return false };
    let mut parts = middle.split(|byte| *byte == b'.');
    let (pid, time, more) = (parts.next(), parts.next(), parts.next());
    let all = |part: Option<&[u8]>, is: fn(&u8) -> bool| {
        part.is_some_and(|part| !part.is_empty() && part.iter().all(is))
    };
    all(pid, u8::is_ascii_digit) && all(time, u8::is_ascii_hexdigit) && more.is_none()
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
