//! A path for an inode. The kernel tells of an inotify watch no more than device, inode and file handle.
//!
//! 1. Root opens the handle, and asks for the path of that.
//! 2. Otherwise: what the process has open, and the folders in which that is.
//! 3. Otherwise: the tree below the working directory, then the file system from its root, nearest folders first, up to a limit.

use crate::scratch::{Full, Growing, Scratch};
use image::format::{Blob, OpenFile, file_kind};
use image::lines::Lines;
use image::maps::device;
use image::number::{take_decimal, take_octal};
use sys::descriptor::open_handle;
use sys::fd::{self, open_flag};
use sys::line::Line;

/// What is looked for.
pub struct Wanted<'a> {
    /// Device, as stat(2) gives it.
    pub dev: u64,
    /// Inode.
    pub ino: u64,
    /// Type of the file handle.
    pub handle_type: u32,
    /// File handle; empty where there is none.
    pub handle: &'a [u8],
}

/// Entries of folders that are looked at before the search ends: a fraction of a second.
pub const MOST_ENTRIES: u32 = 300_000;
/// The same, of the folder of a file that has lost its name.
const MOST_BESIDE: u32 = 10_000;
const PATH_MAX: usize = 4096;
type Path = Line<PATH_MAX>;

impl Wanted<'_> {
    /// Whether `path`, which ends with a NUL, leads there.
    fn is_at(&self, path: &[u8]) -> bool {
        fd::stat_at(fd::AT_FDCWD, path, false).is_ok_and(|stat| (stat.dev, stat.ino) == (self.dev, self.ino))
    }
}

/// A path, or `None` when none was found. `left`: how many entries of folders may still be looked at; zero when there would have been more.
pub fn path(
    files: &[OpenFile],
    scratch: &mut Scratch,
    wanted: &Wanted<'_>,
    left: &mut u32,
) -> Result<Option<Blob>, Full> {
    let mut found = Path::new();
    let known = by_handle(wanted, &mut found)
        || among_open(files, scratch, wanted, &mut found)
        || by_walk(wanted, &mut found, left);
    match found.as_bytes().strip_suffix(b"\0") {
        Some(path) if known => Ok(Some(scratch.bytes(path)?)),
        _ => Ok(None),
    }
}

/// Makes `path` the path to be tried, with its NUL.
fn set<'p>(path: &'p mut Path, parts: &[&[u8]]) -> &'p [u8] {
    path.truncate(0);
    for part in parts {
        path.bytes(part);
    }
    path.bytes(b"\0");
    path.as_bytes()
}

/// Another name of a file that has lost the one by which it was opened, in the same folder; `None` when there is none. A hard link is made and the first
/// name taken away where a file is to appear with all that is in it: sem_open(3) does so.
pub fn beside(scratch: &mut Scratch, lost: Blob, dev: u64, ino: u64) -> Result<Option<Blob>, Full> {
    let mut path = Path::new();
    let old = scratch.blob(lost);
    let Some(end) = old.iter().rposition(|byte| *byte == b'/').filter(|_| old.starts_with(b"/")) else {
        return Ok(None);
    };
    let folder = old.get(..end).unwrap_or_default();
    let wanted = Wanted { dev, ino, handle_type: 0, handle: &[] };
    let mut left = MOST_BESIDE;
    let mut no_folders = None;
    let top: &[u8] = if folder.is_empty() { b"/" } else { folder };
    let mut c_path = Path::new();
    c_path.bytes(top).bytes(b"\0");
    if !look(&mut no_folders, top, c_path.as_bytes(), &wanted, &mut path, &mut left) {
        return Ok(None);
    }
    let found = path.as_bytes().strip_suffix(b"\0").unwrap_or_default();
    Ok(Some(scratch.bytes(found)?))
}

fn by_handle(wanted: &Wanted<'_>, found: &mut Path) -> bool {
    if wanted.handle.is_empty() {
        return false;
    }
    let mut hit = false;
    mount_points(wanted.dev, &mut |mount| {
        let flags = open_flag::RDONLY | open_flag::NONBLOCK | open_flag::NOCTTY | open_flag::CLOEXEC;
        let Ok(mount) = fd::open_at(fd::AT_FDCWD, mount, flags, 0) else { return false };
        let file = open_handle(mount, wanted.handle_type, wanted.handle);
        let _ = fd::close(mount);
        let Ok(file) = file else { return false };
        let mut link = Line::<32>::new();
        link.text("/proc/self/fd/").dec(file as u64).text("\0");
        let mut buf = [0u8; PATH_MAX];
        if let Ok(path) = fd::read_link(fd::AT_FDCWD, link.as_bytes(), &mut buf) {
            hit = wanted.is_at(set(found, &[path]));
        }
        let _ = fd::close(file);
        hit
    });
    hit
}

/// The files that are open, and the folders above them.
fn among_open(files: &[OpenFile], scratch: &Scratch, wanted: &Wanted<'_>, found: &mut Path) -> bool {
    let named = |kind| matches!(kind, file_kind::REGULAR | file_kind::DIRECTORY | file_kind::PATH);
    for file in files.iter().filter(|file| named(file.kind)) {
        let mut path = scratch.blob(file.path);
        if (file.dev, file.ino) == (wanted.dev, wanted.ino) && wanted.is_at(set(found, &[path])) {
            return true;
        }
        if let Some(end) = path.iter().rposition(|byte| *byte == b'/').filter(|end| *end > 0) {
            path = path.get(..end).unwrap_or_default();
            if wanted.is_at(set(found, &[path])) {
                return true;
            }
        }
    }
    false
}

/// Walks the working directory, then the file system.
fn by_walk(wanted: &Wanted<'_>, found: &mut Path, left: &mut u32) -> bool {
    let mut folders = Some(Growing::<u8>::new());
    let mut buf = [0u8; PATH_MAX];
    let mut hit = false;
    if let Ok(len) = sys::process::current_dir(&mut buf)
        && let Some(cwd) = buf.get(..len.saturating_sub(1)).filter(|cwd| cwd.starts_with(b"/"))
    {
        hit = wanted.is_at(set(found, &[cwd])) || walk(&mut folders, cwd, wanted, found, left);
    }
    if !hit {
        mount_points(wanted.dev, &mut |mount| {
            let mount = mount.strip_suffix(b"\0").unwrap_or(mount);
            hit = wanted.is_at(set(found, &[mount])) || walk(&mut folders, mount, wanted, found, left);
            hit
        });
    }
    hit
}

/// Looks through `top` and everything below it on the same file system, breadth first. `folders` is room for paths, one behind the other.
fn walk(
    folders: &mut Option<Growing<u8>>,
    top: &[u8],
    wanted: &Wanted<'_>,
    found: &mut Path,
    left: &mut u32,
) -> bool {
    let first = folders.as_mut().and_then(|folders| {
        folders.truncate(0);
        remember(folders, &[top])
    });
    if first.is_none() {
        return false;
    }
    let mut at = 0;
    while *left > 0 {
        let rest = folders.as_ref().and_then(|folders| folders.get(at..)).filter(|rest| !rest.is_empty());
        let Some(rest) = rest else { return false };
        let len = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
        let mut folder = [0u8; PATH_MAX];
        folder.iter_mut().zip(rest.iter().take(len.min(PATH_MAX - 1))).for_each(|(to, from)| *to = *from);
        at += len + 1;
        let Some(path) = folder.get(..len.min(PATH_MAX - 1)) else { return false };
        let c_path = folder.get(..len.min(PATH_MAX - 1) + 1).unwrap_or_default();
        if look(folders, path, c_path, wanted, found, left) {
            return true;
        }
    }
    false
}

/// Looks through one folder, and notes those inside of it where that is wanted.
fn look(
    folders: &mut Option<Growing<u8>>,
    path: &[u8],
    c_path: &[u8],
    wanted: &Wanted<'_>,
    found: &mut Path,
    left: &mut u32,
) -> bool {
    let flags = open_flag::RDONLY | open_flag::DIRECTORY | open_flag::NOFOLLOW | open_flag::CLOEXEC;
    let Ok(dir) = fd::open_at(fd::AT_FDCWD, c_path, flags, 0) else { return false };
    let slash: &[u8] = if path.ends_with(b"/") { b"" } else { b"/" };
    let mut hit = false;
    if fd::stat_fd(dir).is_ok_and(|stat| stat.dev == wanted.dev) {
        let mut buf = [0u8; 8192];
        while let Ok(len) = fd::read_dir(dir, &mut buf)
            && len > 0
            && !hit
            && *left > 0
        {
            for entry in fd::dir_entries(buf.get(..len).unwrap_or_default()) {
                *left = left.saturating_sub(1);
                if matches!(entry.name, b"." | b"..") {
                    continue;
                }
                if entry.ino == wanted.ino && wanted.is_at(set(found, &[path, slash, entry.name])) {
                    hit = true;
                    break;
                }
                if entry.is_dir
                    && let Some(folders) = folders
                {
                    // Without room the search just finds less.
                    let _ = remember(folders, &[path, slash, entry.name]);
                }
            }
        }
    }
    let _ = fd::close(dir);
    hit
}

/// Appends a path and its NUL.
fn remember(folders: &mut Growing<u8>, parts: &[&[u8]]) -> Option<()> {
    for part in parts.iter().chain(&[&b"\0"[..]]) {
        let room = folders.spare(part.len()).ok()?;
        room.iter_mut().zip(part.iter()).for_each(|(to, from)| *to = *from);
        folders.fill_spare(part.len());
    }
    Some(())
}

/// Shows `visit` the places at which a file system is mounted (`/proc/self/mountinfo`, proc_pid_mountinfo(5)), with their NUL, until it has what it wants.
fn mount_points(dev: u64, visit: &mut dyn FnMut(&[u8]) -> bool) {
    let flags = open_flag::RDONLY | open_flag::CLOEXEC;
    let Ok(from) = fd::open_at(fd::AT_FDCWD, b"/proc/self/mountinfo\0", flags, 0) else { return };
    let mut lines = Lines::<8192>::new();
    while let Ok(Some(line)) = lines.next_line(&mut |buf| fd::read(from, buf)) {
        let mut words = line.split(|byte| *byte == b' ').skip(2);
        let (Some(number), Some(_root), Some(place)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        let mut path = Path::new();
        if parse_device(number) == Some(dev) && visit(unescape(place, &mut path)) {
            break;
        }
    }
    let _ = fd::close(from);
}

/// `254:0`.
fn parse_device(text: &[u8]) -> Option<u64> {
    let (major, rest) = take_decimal(text)?;
    let (minor, _) = take_decimal(rest.strip_prefix(b":")?)?;
    device(major, minor)
}

/// Blanks and backslashes are three octal digits.
fn unescape<'p>(mut text: &[u8], path: &'p mut Path) -> &'p [u8] {
    while let Some((&byte, rest)) = text.split_first() {
        let escaped = rest.get(..3).and_then(take_octal).filter(|(_, more)| byte == b'\\' && more.is_empty());
        match escaped {
            Some((value, _)) => {
                path.bytes(&[value as u8]);
                text = rest.get(3..).unwrap_or_default();
            }
            None => {
                path.bytes(&[byte]);
                text = rest;
            }
        }
    }
    path.bytes(b"\0").as_bytes()
}
