//! What there is now of the files that the process had open, found out before anything is planned: whether a file is there, may be opened, has grown.
//!
//! A missing file is refused here, unless the options say what to do.

use super::out_of_the_way;
use crate::arena::Arena;
use crate::exit::{Code, Failure, Result};
use crate::options::{Missing, Options, Target};
use image::details::Socket;
use image::format::{NONE, OpenFile, file_kind};
use image::read::Image;
use sys::descriptor::{access, permission};
use sys::fd::{self, AT_FDCWD, Stat, open_flag};
use sys::line::Line;
use sys::socket::kind;
use sys::{Errno, descriptor, socket};

const S_IFMT: u32 = 0o170_000;
const S_IFREG: u32 = 0o100_000;

/// An open file of the image, and what there is of it now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// How it comes back.
    pub way: Way,
    /// Present length of a regular file.
    pub size: u64,
    /// Permissions to be set while it is opened, because its owner has taken them away since, and the present ones; else zeros.
    pub modes: [u32; 2],
    /// A descriptor that was opened for it, or -1: the file of `--fd N=PATH`, or a FIFO that must not be without an end for a moment.
    pub held: i32,
    /// Bytes that wait in a FIFO.
    pub queued: u32,
}

/// How a file comes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Way {
    /// As it was.
    #[default]
    Same,
    /// It is not there: made anew, empty.
    Created,
    /// It is not there: `/dev/null` in its place.
    Null,
    /// `--fd N=PATH`: the file at [`Found::held`].
    Held,
    /// `--fd N=&M`: the restarter's own descriptor M.
    Own(u32),
    /// A socket whose path is taken by what it left behind itself.
    Stale,
}

/// A file of which nothing had to be found out.
pub(super) const NOTHING: Found = Found { way: Way::Same, size: 0, modes: [0; 2], held: -1, queued: 0 };

/// Looks at every open file.
///
/// # Errors
///
/// [`Code::FileMissing`], [`Code::FileChanged`], [`Code::Permission`], [`Code::Busy`]; [`Code::Usage`] for an option that names a descriptor which the process does
/// not have.
pub fn find<'a>(
    image: &Image<'static>,
    options: &Options<'a>,
    arena: &mut Arena<'static>,
) -> Result<'a, &'static [Found]> {
    let mut all = arena.list::<Found>(image.open_files().len())?;
    for _ in 0..image.open_files().len() {
        all.push(NOTHING)?;
    }
    let found = all.into_mut_slice();
    for (number, target) in options.redirected() {
        redirect(image, *number, *target, found)?;
    }
    for (index, file) in (0u32..).zip(image.open_files().iter()) {
        let leads = file.peer == index;
        let Some(found) = found.get_mut(index as usize).filter(|found| found.way == Way::Same) else {
            continue;
        };
        match file.kind {
            file_kind::REGULAR | file_kind::DIRECTORY | file_kind::DEVICE | file_kind::PATH => {
                named(image, index, &file, options, found, arena)?;
            }
            file_kind::FIFO => {
                named(image, index, &file, options, found, arena)?;
                if leads && found.way == Way::Same {
                    hold_fifo(image, &file, found)?;
                }
            }
            file_kind::UNIX_SOCKET => look_at_node(image, &file, found)?,
            _ => {}
        }
    }
    Ok(found)
}

/// Bytes that [`find`] needs of the arena.
pub fn room(image: &Image) -> usize {
    image.open_files().len() * size_of::<Found>() + super::path::LONGEST_THING
}

/// `--fd`.
fn redirect<'a>(
    image: &Image<'static>,
    number: u32,
    target: Target<'a>,
    found: &mut [Found],
) -> Result<'a, ()> {
    let descriptor = image.descriptors().iter().find(|descriptor| descriptor.number == number);
    let thing = match target {
        Target::Path(path) => path,
        Target::Own(_) => b"--fd",
    };
    let entry = descriptor.and_then(|descriptor| {
        Some((found.get_mut(descriptor.file as usize)?, image.open_files().get(descriptor.file as usize)?))
    });
    let Some((entry, file)) = entry else {
        let cause = "the process has no descriptor of the number given with --fd";
        return Err(Failure::new(Code::Usage, thing, cause, "see ckpt show --fds"));
    };
    match target {
        Target::Own(own) if fd::control(own as i32, fd::fcntl::GETFD, 0).is_ok() => entry.way = Way::Own(own),
        Target::Own(_) => {
            let cause = "a descriptor given with --fd N=&M is not open";
            return Err(Failure::new(Code::Usage, thing, cause, "redirect it: M is 0, 1 or 2"));
        }
        Target::Path(path) => {
            entry.held = open_target(image, path, file.flags)?;
            entry.way = Way::Held;
        }
    }
    Ok(())
}

/// Opens the file of `--fd N=PATH` as the process had its file open, at the end if it writes: nothing is destroyed.
fn open_target<'a>(image: &Image, path: &'a [u8], saved: u32) -> Result<'a, i32> {
    let fail = |errno| Failure::os(Code::NoImage, path, "cannot open the file of --fd", errno, "").by_errno();
    const KEPT: u32 = open_flag::ACCMODE | open_flag::APPEND | open_flag::NONBLOCK;
    let writes = saved & open_flag::ACCMODE != open_flag::RDONLY;
    let create = if writes { open_flag::CREAT } else { 0 };
    let flags = saved & KEPT | create | open_flag::NOCTTY | open_flag::CLOEXEC;
    let fd = fd::open_at(AT_FDCWD, path, flags, 0o666).map_err(fail)?;
    if writes {
        // A terminal or a pipe has no end.
        let _ = fd::seek(fd, 0, 2);
    }
    out_of_the_way(image, fd).map_err(fail)
}

/// A file that is opened by its path.
fn named(
    image: &Image<'static>,
    index: u32,
    file: &OpenFile,
    options: &Options<'_>,
    found: &mut Found,
    arena: &mut Arena<'static>,
) -> Result<'static, ()> {
    let path = image.c_str(file.path);
    const LINK: u32 = open_flag::PATH | open_flag::NOFOLLOW;
    let follow = file.flags & LINK != LINK;
    let mut refuse = |code, cause, errno, advice| {
        let thing = thing(image, index, path, arena);
        Err(Failure { code, thing, cause, errno, advice })
    };
    let stat = match fd::stat_at(AT_FDCWD, path, follow) {
        Ok(stat) => stat,
        Err(Errno::ENOENT | Errno::ENOTDIR) => {
            found.way = match options.missing {
                Missing::Null => Way::Null,
                Missing::Create if file.kind == file_kind::REGULAR => Way::Created,
                _ => {
                    let advice = "put it back, or use --missing-files=create|null or --fd N=PATH";
                    return refuse(Code::FileMissing, "a file of the process is not there", None, advice);
                }
            };
            return Ok(());
        }
        Err(errno) => {
            let cause = "cannot look at a file of the process";
            return refuse(Code::FileMissing, cause, Some(errno), "use --fd N=PATH to give it another file");
        }
    };
    if stat.mode & S_IFMT != file.mode & S_IFMT || file.kind == file_kind::DEVICE && stat.rdev != file.rdev {
        let cause = "a file of the process is of another type now";
        return refuse(Code::FileChanged, cause, None, "put it back, or use --fd N=PATH");
    }
    found.size = u64::try_from(stat.size).unwrap_or(0);
    if file.flags & open_flag::PATH == 0 {
        match may_open(path, file, &stat) {
            Ok(modes) => found.modes = modes,
            Err(errno) => {
                let cause = "a file of the process may not be opened any more";
                return refuse(Code::Permission, cause, Some(errno), "allow it, or use --fd N=PATH");
            }
        }
    }
    Ok(())
}

/// The mode that a file needs to be opened and its present one, if it is one of our own that lacks it; else zeros.
fn may_open(path: &[u8], file: &OpenFile, stat: &Stat) -> sys::Result<[u32; 2]> {
    let (wanted, bits) = match file.flags & open_flag::ACCMODE {
        open_flag::RDONLY => (permission::READ, 0o400),
        open_flag::WRONLY => (permission::WRITE, 0o200),
        _ => (permission::READ | permission::WRITE, 0o600),
    };
    match access(path, wanted) {
        Err(Errno::EACCES) if stat.uid == sys::process::effective_uid() && stat.mode & bits != bits => {
            Ok([stat.mode & 0o7777 | bits, stat.mode & 0o7777])
        }
        // Before Linux 5.8: opening it will tell.
        Err(Errno::ENOSYS) => Ok([0; 2]),
        result => result.map(|()| [0; 2]),
    }
}

/// The words for a file: `descriptor 5, /var/log/x`.
fn thing(image: &Image, index: u32, path: &[u8], arena: &mut Arena<'static>) -> &'static [u8] {
    let number = image.descriptors().iter().find(|descriptor| descriptor.file == index);
    let mut line = Line::<{ super::path::LONGEST_THING }>::new();
    line.text("descriptor ").dec(u64::from(number.map_or(NONE, |descriptor| descriptor.number)));
    line.text(", ").bytes(path.strip_suffix(b"\0").unwrap_or(path));
    super::keep_line(line.as_bytes(), arena)
}

/// Keeps both ends of a FIFO open until the process has its own: what others have written stays, and nobody sees an end of file.
fn hold_fifo(image: &Image<'static>, file: &OpenFile, found: &mut Found) -> Result<'static, ()> {
    let path = image.c_str(file.path);
    let fail = |errno| Failure::os(Code::Call, path, "cannot open a named pipe", errno, "").by_errno();
    let flags = open_flag::RDWR | open_flag::NONBLOCK | open_flag::CLOEXEC;
    let fd = fd::open_at(AT_FDCWD, path, flags, 0).map_err(fail)?;
    found.queued = descriptor::readable_bytes(fd).unwrap_or(0);
    found.held = out_of_the_way(image, fd).map_err(fail)?;
    Ok(())
}

/// The path of a unix socket: what the killed process left there goes; somebody else's socket stays.
fn look_at_node(image: &Image<'static>, file: &OpenFile, found: &mut Found) -> Result<'static, ()> {
    let detail = image.detail::<Socket>(file);
    let name = image.bytes(detail.name);
    let Some(path) = super::socket::path(image, detail.name) else { return Ok(()) };
    if !path.starts_with(b"/") {
        // Bound against the working directory, which the plan makes ours anyway.
        let _ = fd::change_dir(image.c_str(image.process().cwd));
    }
    let Ok(stat) = fd::stat_at(AT_FDCWD, path, false) else { return Ok(()) };
    const S_IFSOCK: u32 = 0o140_000;
    let advice = "stop who uses it, or remove it";
    if stat.mode & S_IFMT != S_IFSOCK {
        let cause = "the path of a socket of the process is taken by another file";
        return Err(Failure::new(Code::Busy, path, cause, advice));
    }
    // By a socket of another type, which a living one refuses (EPROTOTYPE) without noticing; a path without a socket behind it does otherwise.
    let other = if detail.kind == kind::DGRAM { kind::STREAM } else { kind::DGRAM };
    let call = |errno| Failure::os(Code::Call, path, "cannot try a socket", errno, "").by_errno();
    let probe = socket::open(socket::family::UNIX, other | kind::CLOEXEC, 0).map_err(call)?;
    let answer = socket::connect(probe, name);
    let _ = fd::close(probe);
    match answer {
        Err(Errno::ECONNREFUSED | Errno::ENOENT) => {
            found.way = Way::Stale;
            Ok(())
        }
        _ => Err(Failure::new(Code::Busy, path, "the path of a socket of the process is in use", advice)),
    }
}

/// Whether a file is regular.
pub fn is_regular(file: &OpenFile) -> bool {
    file.mode & S_IFMT == S_IFREG
}
