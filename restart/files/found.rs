//! What there is now of the files that the process had open, found out before anything is planned: whether a file is there, may be opened, has grown.
//!
//! A missing file is refused here, unless the options say what to do.

use super::out_of_the_way;
use super::paths::{Identity, Paths, mode, same_inode};
use crate::arena::Arena;
use crate::exit::{Code, Failure, Result};
use crate::objects::descriptor_path;
use crate::options::{Check, Missing, Mode, Options, Stdio, Target};
use image::details::Socket;
use image::format::{NONE, OpenFile, file_kind};
use image::read::Image;
use sys::descriptor::{access_by, permission};
use sys::fd::{self, AT_FDCWD, Stat, open_flag};
use sys::line::Line;
use sys::socket::kind;
use sys::{Errno, descriptor, socket};

/// An open file of the image, and what there is of it now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// How it comes back.
    pub way: Way,
    /// Where its path leads now, with a NUL; empty where it has none.
    pub path: &'static [u8],
    /// What is there: nothing else is opened, cut or taken away. Of a socket with a path, what it left behind.
    pub identity: Identity,
    /// Whether it is the file that the process had open: device and inode.
    pub same: bool,
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
    /// It is not there: its copy in the image.
    Image,
    /// `--fd N=PATH`: the file at [`Found::held`].
    Held,
    /// `--fd N=&M`: the restarter's own descriptor M.
    Own(u32),
    /// A socket whose path is taken by what it left behind itself.
    Stale,
}

/// A file of which nothing had to be found out.
pub(super) const NOTHING: Found = Found {
    way: Way::Same,
    path: b"",
    identity: Identity { dev: 0, ino: 0, kind: 0, rdev: 0 },
    same: false,
    size: 0,
    modes: [0; 2],
    held: -1,
    queued: 0,
};

/// The devices without a state (major 1): null, zero, full, random, urandom.
const STATELESS: [u64; 5] = [0x103, 0x105, 0x107, 0x108, 0x109];

/// Whether opening a file does nothing but open it: a regular one, or a device without a state.
pub fn is_harmless(stat: &Stat) -> bool {
    match stat.mode & mode::TYPE {
        mode::REGULAR => true,
        mode::CHARACTER => STATELESS.contains(&stat.rdev),
        _ => false,
    }
}

/// Looks at every open file; opens none.
///
/// # Errors
///
/// [`Code::FileMissing`], [`Code::FileChanged`], [`Code::Permission`], [`Code::Busy`]; [`Code::Usage`] for an option that names a descriptor which the process does
/// not have.
pub fn find<'a>(
    image: &Image<'static>,
    options: &Options<'a>,
    paths: &Paths<'static>,
    arena: &mut Arena<'static>,
) -> Result<'a, &'static mut [Found]> {
    let mut all = arena.list::<Found>(image.open_files().len())?;
    for _ in 0..image.open_files().len() {
        all.push(NOTHING)?;
    }
    let found = all.into_mut_slice();
    for (number, target) in options.redirected() {
        redirect(image, *number, *target, found)?;
    }
    own_streams(image, options, found);
    for (index, file) in (0u32..).zip(image.open_files().iter()) {
        let Some(found) = found.get_mut(index as usize).filter(|found| found.way == Way::Same) else {
            continue;
        };
        match file.kind {
            file_kind::REGULAR
            | file_kind::DIRECTORY
            | file_kind::DEVICE
            | file_kind::PATH
            | file_kind::FIFO => {
                let mut look = Look { image, index, file: &file, options, paths, arena };
                look.named(found)?;
            }
            file_kind::TERMINAL => {
                found.path = paths.now(image.c_str(file.path), arena)?;
                found.identity = Identity { kind: mode::CHARACTER, rdev: file.rdev, ..Identity::default() };
            }
            file_kind::UNIX_SOCKET | file_kind::UNIX_PAIR => {
                look_at_node(image, &file, options, paths, found, arena)?;
            }
            _ => {}
        }
    }
    take_away_once(image, found);
    Ok(found)
}

/// `--stdio`: regular files on 0, 1 and 2 whose place the restarter's own take. By default those that are the very file: whoever started both knows how far it is written.
fn own_streams(image: &Image<'static>, options: &Options<'_>, found: &mut [Found]) {
    for descriptor in image.descriptors().iter().take_while(|descriptor| descriptor.number < 3) {
        let Some(file) = image.open_files().get(descriptor.file as usize) else { continue };
        let entry = found.get_mut(descriptor.file as usize).filter(|found| found.way == Way::Same);
        let Some(entry) = entry.filter(|_| file.kind == file_kind::REGULAR) else { continue };
        // Its own number first.
        for own in [descriptor.number, 1, 2] {
            let Ok(stat) = fd::stat_fd(own as i32) else { continue };
            let same = same_inode([file.dev, file.ino], &stat);
            let takes = match options.stdio {
                Stdio::Saved => false,
                Stdio::Own => own == descriptor.number,
                Stdio::Same => same && is_written(&file) && own > 0,
            };
            if takes {
                (entry.way, entry.same, entry.identity) = (Way::Own(own), same, Identity::of(&stat));
                entry.size = u64::try_from(stat.size).unwrap_or(0);
                break;
            }
        }
    }
}

/// Opens what must be open before the plan is made: files of `--fd`, FIFOs. What is in the directory of this process in /proc is looked up once more, since that may
/// be another one by now.
///
/// # Errors
///
/// [`Code::NoImage`], [`Code::Call`], [`Code::FileChanged`].
pub fn hold<'a>(
    image: &Image<'static>,
    options: &Options<'a>,
    paths: &Paths<'static>,
    found: &mut [Found],
    arena: &mut Arena<'static>,
) -> Result<'a, ()> {
    let is_plan = options.mode == Mode::Plan;
    for (number, target) in options.redirected() {
        let Target::Path(path) = *target else { continue };
        let descriptor = image.descriptors().iter().find(|descriptor| descriptor.number == *number);
        let Some(index) = descriptor.map(|descriptor| descriptor.file as usize) else { continue };
        if let (Some(file), Some(found)) = (image.open_files().get(index), found.get_mut(index)) {
            found.held = open_target(image, path, file.flags, is_plan)?;
        }
    }
    for (index, file) in (0u32..).zip(image.open_files().iter()) {
        let Some(found) = found.get_mut(index as usize).filter(|found| found.way == Way::Same) else {
            continue;
        };
        let saved = image.c_str(file.path);
        if saved.starts_with(b"/proc/self") || saved.starts_with(b"/proc/thread-self") {
            found.path = paths.now(saved, arena)?;
            found.identity = Identity { kind: found.identity.kind, ..Identity::default() };
        }
        if file.kind == file_kind::FIFO && file.peer == index {
            hold_fifo(image, paths, found, is_plan)?;
        }
    }
    Ok(())
}

/// Bytes that [`find`] and [`hold`] need of the arena.
pub fn room(image: &Image) -> usize {
    image.open_files().len() * (size_of::<Found>() + 512) + 4 * super::path::LONGEST_THING
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
    let Some(entry) = descriptor.and_then(|descriptor| found.get_mut(descriptor.file as usize)) else {
        let cause = "the process has no descriptor of the number given with --fd";
        return Err(Failure::new(Code::Usage, thing, cause, "see ckpt show --fds"));
    };
    match target {
        Target::Own(own) if fd::control(own as i32, fd::fcntl::GETFD, 0).is_ok() => entry.way = Way::Own(own),
        Target::Own(_) => {
            let cause = "a descriptor given with --fd N=&M is not open";
            return Err(Failure::new(Code::Usage, thing, cause, "redirect it: M is 0, 1 or 2"));
        }
        Target::Path(_) => entry.way = Way::Held,
    }
    Ok(())
}

/// Opens the file of `--fd N=PATH` as the process had its file open, at the end if it writes: nothing is destroyed. For `--plan`, anything stands for it.
fn open_target<'a>(image: &Image, path: &'a [u8], saved: u32, is_plan: bool) -> Result<'a, i32> {
    let fail = |errno| Failure::os(Code::NoImage, path, "cannot open the file of --fd", errno, "").by_errno();
    const KEPT: u32 = open_flag::ACCMODE | open_flag::APPEND | open_flag::NONBLOCK;
    if is_plan {
        return stand_in().and_then(|fd| out_of_the_way(image, fd)).map_err(fail);
    }
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

/// A descriptor for `--plan`, which makes and opens nothing: it has the number that the real one would get.
pub fn stand_in() -> sys::Result<i32> {
    fd::open_at(AT_FDCWD, b"/\0", open_flag::PATH | open_flag::CLOEXEC, 0)
}

/// Opens what a descriptor of `O_PATH` stands for.
pub fn open_held(held: i32, flags: u32) -> sys::Result<i32> {
    fd::open_at(AT_FDCWD, descriptor_path(held).as_bytes(), flags | open_flag::CLOEXEC, 0)
}

/// A file with a path, and what must be known to look at it.
struct Look<'l, 'a> {
    image: &'l Image<'static>,
    index: u32,
    file: &'l OpenFile,
    options: &'l Options<'a>,
    paths: &'l Paths<'static>,
    arena: &'l mut Arena<'static>,
}

impl Look<'_, '_> {
    fn refuse<T>(
        &mut self,
        code: Code,
        cause: &'static str,
        errno: Option<Errno>,
        advice: &'static str,
    ) -> Result<'static, T> {
        let path = self.image.c_str(self.file.path);
        let thing = thing(self.image, self.index, path, self.arena);
        Err(Failure { code, thing, cause, errno, advice })
    }

    /// A file that is opened by its path.
    fn named(&mut self, found: &mut Found) -> Result<'static, ()> {
        found.path = self.paths.now(self.image.c_str(self.file.path), self.arena)?;
        const LINK: u32 = open_flag::PATH | open_flag::NOFOLLOW;
        let nofollow = if self.file.flags & LINK == LINK { open_flag::NOFOLLOW } else { 0 };
        let held = match self.paths.hold(AT_FDCWD, found.path, nofollow) {
            Ok(held) => held,
            Err(Errno::ENOENT | Errno::ENOTDIR) => return self.missing(found),
            Err(Errno::ELOOP) => {
                let cause = "a symbolic link is in the path of a file of the process now";
                return self.refuse(Code::FileChanged, cause, None, "put the file back, or use --fd N=PATH");
            }
            Err(errno) => {
                let cause = "cannot look at a file of the process";
                let advice = "use --fd N=PATH to give it another file";
                return self.refuse(Code::FileMissing, cause, Some(errno), advice);
            }
        };
        let result = match fd::stat_fd(held) {
            Ok(stat) => self.held(held, &stat, found),
            Err(errno) => {
                let cause = "cannot look at a file of the process";
                let advice = "use --fd N=PATH to give it another file";
                self.refuse(Code::FileMissing, cause, Some(errno), advice)
            }
        };
        let _ = fd::close(held);
        result
    }

    /// One that is not there.
    fn missing(&mut self, found: &mut Found) -> Result<'static, ()> {
        found.way = match self.options.missing {
            Missing::Null => Way::Null,
            _ if self.options.roll_back && has_contents(self.image, self.file.object) => Way::Created,
            _ if self.file.kind == file_kind::REGULAR && has_copy(self.image, self.file.object) => Way::Image,
            Missing::Create if self.file.kind == file_kind::REGULAR => Way::Created,
            _ => {
                let cause = "a file of the process is not there";
                // A program that reads takes an empty file for the end of its work.
                let advice = if self.file.flags & open_flag::ACCMODE == open_flag::WRONLY {
                    "put it back, or use --map OLD=NEW, --missing-files=create|null or --fd N=PATH"
                } else {
                    "put it back, or use --map OLD=NEW or --fd N=PATH"
                };
                return self.refuse(Code::FileMissing, cause, None, advice);
            }
        };
        Ok(())
    }

    /// One that is there.
    fn held(&mut self, held: i32, stat: &Stat, found: &mut Found) -> Result<'static, ()> {
        let file = self.file;
        let is_device = file.kind == file_kind::DEVICE;
        if stat.mode & mode::TYPE != file.mode & mode::TYPE
            || is_device && (stat.rdev != file.rdev || !is_harmless(stat))
        {
            let cause = "a file of the process is of another type now";
            return self.refuse(Code::FileChanged, cause, None, "put it back, or use --fd N=PATH");
        }
        found.identity = Identity::of(stat);
        found.same = same_inode([file.dev, file.ino], stat);
        let is_regular = stat.mode & mode::TYPE == mode::REGULAR;
        let of_kernel = found.path.starts_with(b"/proc/") || found.path.starts_with(b"/sys/");
        found.size = u64::try_from(stat.size).unwrap_or(0);
        let opens = file.flags & open_flag::PATH == 0;
        if opens && is_written(file) && !found.same && !self.is_trusted(stat, found.path) {
            let cause = "another file is in the place of one that the process writes to, and somebody else may have put it there";
            let advice = "put the old one back, or use --fd N=PATH, or --force=paths if you trust it";
            return self.refuse(Code::FileChanged, cause, None, advice);
        }
        if opens && is_regular && !of_kernel {
            let access = file.flags & open_flag::ACCMODE;
            let comes_back = self.options.roll_back && has_contents(self.image, file.object);
            let is_accepted = self.options.accepts_changes || comes_back;
            if access == open_flag::RDWR && !is_accepted && !(found.same && is_unchanged(file, stat)) {
                let cause = "a file that the process reads and writes is not what it was at the save";
                let advice =
                    "put it back as it was, or use --changed-files=accept if the process can go on with it";
                return self.refuse(Code::FileChanged, cause, None, advice);
            }
            if access == open_flag::WRONLY && self.options.roll_back && !found.same && found.size > file.size
            {
                let cause = "--rollback-files would cut another file than the one that the process wrote to";
                return self.refuse(
                    Code::FileChanged,
                    cause,
                    None,
                    "cut it yourself, and leave the option out",
                );
            }
        }
        if opens {
            match may_open(held, file, stat) {
                Ok(modes) => found.modes = modes,
                Err(errno) => {
                    let cause = "a file of the process may not be opened any more";
                    let advice = "allow it, or use --fd N=PATH";
                    return self.refuse(Code::Permission, cause, Some(errno), advice);
                }
            }
        }
        Ok(())
    }

    /// Whether writing to another file than the one of the image is what the user wants.
    fn is_trusted(&self, stat: &Stat, path: &[u8]) -> bool {
        let matters = matches!(stat.mode & mode::TYPE, mode::REGULAR | mode::FIFO);
        let of_kernel = path.starts_with(b"/proc/") || path.starts_with(b"/sys/");
        !matters || of_kernel || self.options.forces(Check::Paths) || self.paths.are_mine(path, stat)
    }
}

/// Whether the file of an image is what it was, as far as can be told without reading it.
fn is_unchanged(file: &OpenFile, stat: &Stat) -> bool {
    file.size == stat.size as u64
        && (file.mtime.sec, file.mtime.frac) == (stat.mtime, stat.mtime_nsec as i64)
        && (file.ctime.sec, file.ctime.frac) == (stat.ctime, stat.ctime_nsec as i64)
}

/// Whether an object is the copy of a file.
pub fn has_copy(image: &Image, object: u32) -> bool {
    image
        .objects()
        .get(object as usize)
        .is_some_and(|object| object.kind == image::format::object_kind::SPARE && object.flags == 0)
}

/// Whether an object is what was in a file, which `--rollback-files` brings back.
pub fn has_contents(image: &Image, object: u32) -> bool {
    let object = image.objects().get(object as usize);
    object.is_some_and(|object| object.kind == image::format::object_kind::WRITTEN)
}

/// Whether a file was open for writing.
pub fn is_written(file: &OpenFile) -> bool {
    file.flags & open_flag::ACCMODE != open_flag::RDONLY
}

/// The mode that a file needs to be opened and its present one, if it is one of our own that lacks it; else zeros.
fn may_open(held: i32, file: &OpenFile, stat: &Stat) -> sys::Result<[u32; 2]> {
    let (wanted, bits) = match file.flags & open_flag::ACCMODE {
        open_flag::RDONLY => (permission::READ, 0o400),
        open_flag::WRONLY => (permission::WRITE, 0o200),
        _ => (permission::READ | permission::WRITE, 0o600),
    };
    match access_by(held, wanted) {
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
fn hold_fifo(
    image: &Image<'static>,
    paths: &Paths<'static>,
    found: &mut Found,
    is_plan: bool,
) -> Result<'static, ()> {
    let fail = |errno| Failure::os(Code::Call, found.path, "cannot open a named pipe", errno, "").by_errno();
    let held = paths.hold(AT_FDCWD, found.path, 0).map_err(fail)?;
    let stat = fd::stat_fd(held).map_err(fail)?;
    if !found.identity.is(&stat) {
        return Err(replaced(found.path));
    }
    let opened = if is_plan { stand_in() } else { open_held(held, open_flag::RDWR | open_flag::NONBLOCK) };
    let _ = fd::close(held);
    let fd = opened.map_err(fail)?;
    let queued = descriptor::readable_bytes(fd).unwrap_or(0);
    let moved = out_of_the_way(image, fd).map_err(fail)?;
    (found.queued, found.held) = (queued, moved);
    Ok(())
}

/// What is at a path is not what was there a moment ago.
pub fn replaced(path: &[u8]) -> Failure<'_> {
    let cause = "a file of the process was replaced while it was restarted";
    Failure::new(Code::FileChanged, path, cause, "see who does that, and restart it again")
}

/// The longest path in the address of a unix socket, its NUL included (unix(7)).
const SUN_PATH: usize = 109;

/// The path of a unix socket: what the killed process left there goes; somebody else's socket stays.
fn look_at_node(
    image: &Image<'static>,
    file: &OpenFile,
    options: &Options<'_>,
    paths: &Paths<'static>,
    found: &mut Found,
    arena: &mut Arena<'static>,
) -> Result<'static, ()> {
    let detail = image.detail::<Socket>(file);
    let Some(path) = super::socket::path(image, detail.name) else { return Ok(()) };
    let path = paths.now(path, arena)?;
    let cwd = paths.cwd(image, arena)?;
    let whole = if path.starts_with(b"/") { path } else { super::paths::beside(cwd, path, arena)? };
    found.path = path;
    if path.len() > SUN_PATH {
        let cause = "the path of a socket of the process is longer than an address may be";
        return Err(Failure::new(Code::Unsupported, path, cause, "use a shorter folder with --map"));
    }
    let (is_safe, _) = paths.leads_through_mine(whole);
    if !is_safe && !options.forces(Check::Paths) {
        let cause = "a socket of the process has its path in a directory that others can change";
        let advice = "see who they are, and use --force=paths if you trust them";
        return Err(Failure::new(Code::FileChanged, path, cause, advice));
    }
    // The plan says what is wrong with the directory.
    let Ok(node) = paths.hold(AT_FDCWD, whole, open_flag::NOFOLLOW) else { return Ok(()) };
    let stat = fd::stat_fd(node);
    let result = stat.map_err(|errno| Failure::os(Code::Call, path, "cannot try a socket", errno, ""));
    // A socket that had lost its path at the save has left nothing there; another one of the process may have.
    let is_left = detail.ino != 0 || has_another(image, &detail);
    let result = result.and_then(|stat| try_node(&detail, is_left, path, node, &stat, options, found));
    let _ = fd::close(node);
    result
}

/// Whether the path of a socket was that of another one's file at the save.
fn has_another(image: &Image<'static>, detail: &Socket) -> bool {
    sockets(image).any(|(_, other)| other.ino != 0 && image.bytes(other.name) == image.bytes(detail.name))
}

/// The unix sockets, with their indices.
fn sockets(image: &Image<'static>) -> impl Iterator<Item = (u32, Socket)> {
    let files = (0u32..).zip(image.open_files().iter());
    files
        .filter(|(_, file)| matches!(file.kind, file_kind::UNIX_SOCKET | file_kind::UNIX_PAIR))
        .map(|(index, file)| (index, image.detail::<Socket>(&file)))
}

/// What is left at a path is taken away once: before the first socket is bound to it. Those that had lost it come first.
fn take_away_once(image: &Image<'static>, found: &mut [Found]) {
    let is_stale =
        |found: &[Found], index: u32| found.get(index as usize).is_some_and(|found| found.way == Way::Stale);
    let lost = |(index, socket): &(u32, Socket)| socket.ino == 0 && is_stale(found, *index);
    if !sockets(image).any(|socket| lost(&socket)) {
        return;
    }
    for (index, socket) in sockets(image) {
        let has_first = is_stale(found, index)
            && sockets(image).any(|(other, first)| {
                first.ino == 0
                    && (socket.ino != 0 || other < index)
                    && image.bytes(first.name) == image.bytes(socket.name)
            });
        if let Some(found) = found.get_mut(index as usize).filter(|_| has_first) {
            found.way = Way::Same;
        }
    }
}

/// Whether what is at the path of a socket is the leftover of the saved process.
fn try_node(
    detail: &Socket,
    is_left: bool,
    path: &'static [u8],
    node: i32,
    stat: &Stat,
    options: &Options<'_>,
    found: &mut Found,
) -> Result<'static, ()> {
    let advice = "stop who uses it, or remove it";
    let is_own = same_inode([detail.dev, detail.ino], stat) || stat.uid == sys::process::effective_uid();
    if stat.mode & mode::TYPE != mode::SOCKET || !is_own || !is_left {
        let cause = "the path of a socket of the process is taken by another file";
        return Err(Failure::new(Code::Busy, path, cause, advice));
    }
    found.identity = Identity::of(stat);
    found.way = Way::Stale;
    if options.mode == Mode::Plan {
        return Ok(());
    }
    // By a socket of another type, which a living one refuses (EPROTOTYPE) without noticing; a path without a socket behind it does otherwise.
    let other = if detail.kind == kind::DGRAM { kind::STREAM } else { kind::DGRAM };
    let call = |errno| Failure::os(Code::Call, path, "cannot try a socket", errno, "").by_errno();
    let probe = socket::open(socket::family::UNIX, other | kind::CLOEXEC, 0).map_err(call)?;
    let mut address = Line::<108>::new();
    address.bytes(&(socket::family::UNIX as u16).to_ne_bytes());
    address.bytes(descriptor_path(node).as_bytes());
    let answer = socket::connect(probe, address.as_bytes());
    let _ = fd::close(probe);
    match answer {
        Err(Errno::ECONNREFUSED | Errno::ENOENT) => Ok(()),
        _ => Err(Failure::new(Code::Busy, path, "the path of a socket of the process is in use", advice)),
    }
}

/// Whether a file is regular.
pub fn is_regular(file: &OpenFile) -> bool {
    file.mode & mode::TYPE == mode::REGULAR
}
