//! Files that a path leads to, and files that have lost theirs.

use super::{CLOSE, Table, mode, refused, search};
use crate::helper::Stop;
use crate::message::{Failure, Kind};
use image::format::{Blob, OpenFile, file_kind};
use image::number::take_decimal;
use sys::descriptor::{access, permission};
use sys::fd::{self, Stat, open_flag};
use sys::{Errno, descriptor, process};

/// Behind the name of a file that has none any more (fs/d_path.c).
const DELETED: &[u8] = b" (deleted)";

/// Types of file systems (include/uapi/linux/magic.h).
mod magic {
    pub const OVERLAY: u64 = 0x794c_7630;
    pub const MQUEUE: u64 = 0x1980_0202;
    pub const SECRETMEM: u64 = 0x5345_434d;
    pub const NAMESPACE: u64 = 0x6e73_6673;
    pub const PIDFD: u64 = 0x5049_4446;
}

const HIDDEN: Kind = Kind {
    what: "a file in a folder that the process may not enter",
    advice: "close it before the save, or give its user the permission",
};

/// Where the path of an open file leads now.
enum Path {
    /// To the file itself.
    Same,
    /// To nothing, or to another file.
    Lost,
    /// Through a folder that the process may not enter.
    Hidden,
}

/// A regular file or a directory.
pub fn describe(table: &mut Table<'_>, number: u32, stat: &Stat, file: &mut OpenFile) -> Result<(), Stop> {
    let refuse = |kind| Stop::from(Failure::Descriptor(number as i32, kind));
    let is_directory = stat.mode & mode::TYPE == mode::DIRECTORY;
    if in_proc(table, file).map_err(refuse)? {
        file.kind = if is_directory { file_kind::DIRECTORY } else { file_kind::REGULAR };
        return Ok(());
    }
    let path = look(table, number, file, stat);
    if let Path::Hidden = path
        && stat.nlink > 0
    {
        if is_output(number, file) && !is_directory {
            file.kind = file_kind::STANDARD;
            return Ok(());
        }
        return Err(refuse(HIDDEN));
    }
    if let Path::Same = path {
        file.kind = if is_directory { file_kind::DIRECTORY } else { file_kind::REGULAR };
        return match may_open(table, file, stat) {
            Err(kind) if kind.what == NOT_AGAIN.what && is_output(number, file) && !is_directory => {
                file.kind = file_kind::STANDARD;
                Ok(())
            }
            result => result.map_err(refuse),
        };
    }
    if is_directory {
        return Err(refuse(refused("a directory that was removed or cannot be reached by its path")));
    }
    match fd::file_system(number as i32) {
        Ok(fd::HUGETLBFS) => return Err(refuse(refused("made of huge pages of hugetlbfs"))),
        Ok(magic::MQUEUE) => return Err(refuse(refused("a POSIX message queue"))),
        Ok(magic::NAMESPACE) => return Err(refuse(refused("a namespace"))),
        Ok(magic::PIDFD) => return Err(refuse(refused("a pidfd of another process"))),
        Ok(magic::SECRETMEM) => return Err(refuse(refused("secret memory (memfd_secret)"))),
        _ => {}
    }
    let bare = without_decoration(table.scratch.blob(file.path)).len();
    if stat.nlink > 0
        && let Some(path) =
            search::beside(table.scratch, Blob { len: bare as u32, ..file.path }, stat.dev, stat.ino)?
    {
        (file.path, file.kind) = (path, file_kind::REGULAR);
        return may_open(table, file, stat).map_err(refuse);
    }
    let name = table.scratch.blob(file.path);
    file.kind = if name.starts_with(b"/memfd:") { file_kind::MEMFD } else { file_kind::DELETED };
    let is_written = file.flags & open_flag::ACCMODE != open_flag::RDONLY;
    if has_attributes(table, number) {
        return Err(refuse(refused(
            "a file without a name that has extended attributes or an access control list",
        )));
    }
    if stat.nlink > 0 && is_written {
        return Err(refuse(Kind {
            what: "a file that has lost the name by which it was opened, but has another one",
            advice: "close it before the save, or give it back its name",
        }));
    }
    if let Some(end) = table.scratch.blob_mut(file.path).get_mut(bare) {
        *end = 0;
    }
    file.path.len = bare as u32;
    Ok(())
}

/// A path without what the kernel puts behind it.
fn without_decoration(path: &[u8]) -> &[u8] {
    path.strip_suffix(DELETED).unwrap_or(path)
}

/// Whether a file has extended attributes that a new one would lack. Those of the system's security modules it gets by itself.
fn has_attributes(table: &mut Table<'_>, number: u32) -> bool {
    let room = table.scratch.room();
    let len = descriptor::list_attributes(number as i32, room).unwrap_or(0);
    let mut names = room.get(..len).unwrap_or_default().split(|byte| *byte == 0);
    names.any(|name| !name.is_empty() && !name.starts_with(b"security."))
}

/// A device without a state: the file that it was opened by may be gone (a container's, a chroot's), or another one.
pub fn device(table: &mut Table<'_>, file: &mut OpenFile) -> Result<(), Kind> {
    const USUAL: [&[u8]; 5] =
        [b"/dev/null\0", b"/dev/zero\0", b"/dev/full\0", b"/dev/random\0", b"/dev/urandom\0"];
    let is_it = |path: &[u8]| {
        fd::stat_at(fd::AT_FDCWD, path, true)
            .is_ok_and(|found| (found.mode & mode::TYPE, found.rdev) == (mode::CHARACTER, file.rdev))
    };
    if is_it(table.scratch.c_str(file.path)) {
        return Ok(());
    }
    let usual = USUAL.into_iter().find(|path| is_it(path)).and_then(|path| path.strip_suffix(b"\0"));
    match usual.map(|path| table.scratch.bytes(path)) {
        Some(Ok(path)) => {
            file.path = path;
            Ok(())
        }
        _ => Err(refused("a device whose file is gone")),
    }
}

/// A file that was opened with O_PATH.
pub fn path_only(table: &mut Table<'_>, number: u32, stat: &Stat, file: &mut OpenFile) -> Result<(), Stop> {
    let refuse = |kind| Stop::from(Failure::Descriptor(number as i32, kind));
    file.kind = file_kind::PATH;
    if in_proc(table, file).map_err(refuse)? {
        return Ok(());
    }
    match look(table, number, file, stat) {
        Path::Same => Ok(()),
        Path::Hidden => Err(refuse(HIDDEN)),
        Path::Lost => Err(refuse(refused("opened with O_PATH, and no path leads to it any more"))),
    }
}

/// Whether the path of an open file still leads to it. A file may be called `x (deleted)` in earnest.
fn look(table: &Table<'_>, number: u32, file: &OpenFile, stat: &Stat) -> Path {
    let follow = stat.mode & mode::TYPE != mode::LINK;
    let path = table.scratch.c_str(file.path);
    match fd::stat_at(fd::AT_FDCWD, path, follow) {
        Ok(found) if (found.dev, found.ino) == (stat.dev, stat.ino) => Path::Same,
        // A file of a lower layer that was written to since has moved to the upper one.
        Ok(found)
            if found.mode == stat.mode
                && !table.scratch.blob(file.path).ends_with(DELETED)
                && fd::file_system(number as i32) == Ok(magic::OVERLAY) =>
        {
            Path::Same
        }
        Err(Errno::EACCES) => Path::Hidden,
        _ => Path::Lost,
    }
}

/// What only somebody else may open, as the one that has started the process.
const NOT_AGAIN: Kind = Kind {
    what: "a file that may not be opened again",
    advice: "close it before the save, or give its user the permission",
};

/// Whether the restarter will be allowed to open a file again, which was opened before its permissions or those of the process changed. Its
/// owner can give himself the permission for that moment.
pub fn may_open(table: &Table<'_>, file: &OpenFile, stat: &Stat) -> Result<(), Kind> {
    let wanted = match file.flags & open_flag::ACCMODE {
        open_flag::RDONLY => permission::READ,
        open_flag::WRONLY => permission::WRITE,
        _ => permission::READ | permission::WRITE,
    };
    const NOATIME: Kind = Kind {
        what: "a file of another user that was opened with O_NOATIME",
        advice: "close it before the save, or save and restart it as root",
    };
    let is_own = stat.uid == process::effective_uid();
    let may = |capability: u32| process::capabilities().is_ok_and(|set| set >> capability & 1 != 0);
    if file.flags & open_flag::NOATIME != 0 && !is_own && !may(process::capability::FOWNER) {
        return Err(NOATIME);
    }
    match access(table.scratch.c_str(file.path), wanted) {
        Err(Errno::EPERM) => Err(refused("a file that was opened for writing before it was made immutable")),
        Err(Errno::EACCES) if stat.uid != process::effective_uid() => Err(NOT_AGAIN),
        Err(Errno::EROFS) => {
            Err(refused("a file that was opened for writing before its file system became read-only"))
        }
        _ => Ok(()),
    }
}

/// Whether the process only writes to a file, as a standard stream: if whoever started the process opened it (a service manager, or root before it became
/// the user), whoever restarts it will have done the same.
fn is_output(number: u32, file: &OpenFile) -> bool {
    number <= 2 && file.flags & open_flag::ACCMODE == open_flag::WRONLY
}

/// Whether a file is one of /proc that follows the process: its path is made one of `/proc/self` then, because the process will have
/// another id. Files of other processes are refused.
fn in_proc(table: &mut Table<'_>, file: &mut OpenFile) -> Result<bool, Kind> {
    const PROC: &[u8] = b"/proc/";
    let Some((pid, rest)) = table.scratch.blob(file.path).strip_prefix(PROC).and_then(take_decimal) else {
        return Ok(false);
    };
    if !(rest.is_empty() || rest.starts_with(b"/")) {
        return Ok(false);
    }
    if pid != u64::from(table.target.pid) || rest.ends_with(DELETED) {
        return Err(Kind { what: "a file of /proc that belongs to another process", advice: CLOSE });
    }
    let (start, behind): (&[u8], &[u8]) = match rest.strip_prefix(b"/task/").and_then(take_decimal) {
        Some((tid, rest)) if tid == pid => (b"/proc/thread-self", rest),
        Some(_) => {
            return Err(Kind { what: "a file of /proc that belongs to another thread", advice: CLOSE });
        }
        None => (b"/proc/self", rest),
    };
    let len = start.len() + behind.len();
    let from = file.path.len as usize - behind.len();
    file.path =
        rewrite(table, file.path, start, from, len).ok_or(refused("a file of /proc with too long a path"))?;
    Ok(true)
}

/// A new path: `start`, and what stands from `from` on in the old one.
fn rewrite(table: &mut Table<'_>, old: Blob, start: &[u8], from: usize, len: usize) -> Option<Blob> {
    let mut path = [0u8; 4096];
    let behind = table.scratch.blob(old).get(from..)?;
    let room = path.get_mut(..len)?;
    room.iter_mut().zip(start.iter().chain(behind)).for_each(|(to, from)| *to = *from);
    table.scratch.bytes(room).ok()
}
