//! Every path of an image is followed here, and nowhere else.
//!
//! The world may have changed since the save, and by the hand of an enemy who may write to some directory on the way. So
//!
//! 1. no symbolic link is followed: the paths of an image are those that the kernel told, and have none;
//! 2. a file is taken hold of first (`O_PATH`, which opens nothing), looked at by that descriptor, and opened by it;
//! 3. what was looked at before the plan was made is compared, device and inode, with what is there when the plan is carried out ([`Identity`]).

use crate::arena::Arena;
use crate::exit::{Code, Failure, Result};
use crate::objects::descriptor_path;
use crate::options::{MAPS, Options};
use image::read::Image;
use sys::fd::{self, AT_FDCWD, How, RESOLVE_NO_LINKS, Stat, open_flag};
use sys::line::Line;
use sys::{Errno, process};

/// File types of `st_mode` (inode(7)).
pub mod mode {
    #![allow(missing_docs)]
    pub const TYPE: u32 = 0o170_000;
    pub const REGULAR: u32 = 0o100_000;
    pub const DIRECTORY: u32 = 0o040_000;
    pub const CHARACTER: u32 = 0o020_000;
    pub const FIFO: u32 = 0o010_000;
    pub const LINK: u32 = 0o120_000;
    pub const SOCKET: u32 = 0o140_000;
    pub(super) const STICKY: u32 = 0o1000;
    pub(super) const OTHERS_WRITE: u32 = 0o022;
}

/// Flags of a descriptor that only stands for a file.
const HOLD: u32 = open_flag::PATH | open_flag::CLOEXEC;
/// Those with which each step of a path is taken where the kernel cannot be asked to follow no link.
pub const STEP: u32 = HOLD | open_flag::NOFOLLOW | open_flag::DIRECTORY;
/// Room for a name and its NUL.
const NAME: usize = 256;

/// What a file must be, as far as that is known: a field of zero may be anything.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Device.
    pub dev: u64,
    /// Inode.
    pub ino: u64,
    /// Type, as in `st_mode`.
    pub kind: u32,
    /// Device number of a device file.
    pub rdev: u64,
}

impl Identity {
    /// There is none.
    pub const MISSING: Self = Self { dev: 0, ino: 0, kind: u32::MAX, rdev: 0 };

    /// That of a file.
    pub fn of(stat: &Stat) -> Self {
        Self { dev: stat.dev, ino: stat.ino, kind: stat.mode & mode::TYPE, rdev: stat.rdev }
    }

    /// Whether a file is the one that is meant.
    pub fn is(&self, stat: &Stat) -> bool {
        let fits = |wanted: u64, is: u64| wanted == 0 || wanted == is;
        fits(self.dev, stat.dev)
            && fits(self.ino, stat.ino)
            && fits(u64::from(self.kind), u64::from(stat.mode & mode::TYPE))
            && fits(self.rdev, stat.rdev)
    }
}

/// Whether a file is the one of an image, of which device and inode are known. The device number of a file system without a device (major number 0: tmpfs, NFS,
/// btrfs, overlays) is another one after each mount.
pub fn same_inode([dev, ino]: [u64; 2], stat: &Stat) -> bool {
    // `new_encode_dev` of the kernel: the major number is in bits 8 to 19.
    let is_without_device = |dev: u64| dev & 0xf_ff00 == 0;
    ino == stat.ino && (dev == stat.dev || is_without_device(dev) && is_without_device(stat.dev))
}

/// Where the paths of an image lead now.
#[derive(Clone, Copy, Debug, Default)]
pub struct Paths<'a> {
    /// The directory of this process in /proc, without a NUL.
    own: &'a [u8],
    /// That of this thread.
    thread: &'a [u8],
    /// Folders that are elsewhere now: old and new, both without a NUL.
    moved: [Option<(&'a [u8], &'a [u8])>; MAPS],
    /// The working directory that was asked for, with a NUL; empty: that of the image.
    cwd: &'a [u8],
    /// The kernel has no openat2(2), or a filter forbids it: each step of a path is taken by itself.
    pub walks: bool,
}

impl<'a> Paths<'a> {
    /// Asks the kernel what it can do, and which directory of /proc is that of this process.
    ///
    /// # Errors
    ///
    /// When the arena is too small, or a folder that the user has named is not there.
    pub fn new<'o>(options: &Options<'o>, arena: &mut Arena<'a>) -> Result<'o, Self> {
        let root = fd::open_how(AT_FDCWD, b"/\0", &how(HOLD));
        let walks = matches!(root, Err(Errno::ENOSYS | Errno::EPERM | Errno::EACCES));
        if let Ok(root) = root {
            let _ = fd::close(root);
        }
        let mut link = |of: &[u8]| {
            let mut number = [0u8; 64];
            let mut path = Line::<80>::new();
            path.text("/proc/").bytes(fd::read_link(AT_FDCWD, of, &mut number).unwrap_or(b"self"));
            arena.copy(path.as_bytes())
        };
        let (own, thread) = (link(b"/proc/self\0")?, link(b"/proc/thread-self\0")?);
        let mut moved = [None; MAPS];
        for (slot, (old, new)) in moved.iter_mut().zip(options.maps.iter().flatten()) {
            let new = real_path(new, arena)?;
            // Below the root directory, everything begins with its slash.
            *slot = Some((
                &*arena.copy(old)?,
                new.strip_suffix(b"\0").filter(|new| *new != b"/").unwrap_or_default(),
            ));
        }
        let cwd = if options.cwd.is_empty() { b"" } else { real_path(options.cwd, arena)? };
        Ok(Self { own, thread, moved, cwd, walks })
    }

    /// The working directory of the process, with a NUL.
    ///
    /// # Errors
    ///
    /// When the arena is too small.
    pub fn cwd(&self, image: &Image<'a>, arena: &mut Arena<'a>) -> Result<'static, &'a [u8]> {
        if self.cwd.is_empty() { self.now(image.c_str(image.process().cwd), arena) } else { Ok(self.cwd) }
    }

    /// Where a path of the image, which ends with a NUL, leads now.
    ///
    /// # Errors
    ///
    /// When the arena is too small.
    pub fn now(&self, path: &'a [u8], arena: &mut Arena<'a>) -> Result<'static, &'a [u8]> {
        const OWN: &[u8] = b"/proc/self";
        const THREAD: &[u8] = b"/proc/thread-self";
        for (before, now) in [(OWN, self.own), (THREAD, self.thread)] {
            if let Some(rest) = below(path, before) {
                return join(now, rest, arena);
            }
        }
        // The longest one, as of mounts.
        let fits = self.moved.iter().flatten().filter(|(old, _)| below(path, old).is_some());
        match fits.max_by_key(|(old, _)| old.len()) {
            Some((old, new)) => {
                let rest = below(path, old).unwrap_or_default();
                join(if new.is_empty() && rest.is_empty() { b"/" } else { new }, rest, arena)
            }
            None => Ok(path),
        }
    }

    /// Takes hold of what is at `path`, which ends with a NUL and starts at `dir` where it is relative: a descriptor with which nothing can be done
    /// but look. With `O_NOFOLLOW` in `flags` that may be a symbolic link; with `O_DIRECTORY` it must be a directory.
    ///
    /// # Errors
    ///
    /// `ELOOP` where a symbolic link is on the way.
    pub fn hold(&self, dir: i32, path: &[u8], flags: u32) -> sys::Result<i32> {
        if self.walks {
            return walk(dir, path, flags, &mut |_| {});
        }
        fd::open_how(dir, path, &how(HOLD | flags))
    }

    /// Whether nobody but this user and root can have put the file there that `stat` is of: it is this user's, and so is every directory on the way, or
    /// root's; and none of them can be written by others, unless it is sticky, where they can take nothing away. To a sticky one they can
    /// add another name of this user's file.
    pub fn are_mine(&self, path: &[u8], stat: &Stat) -> bool {
        let me = process::effective_uid();
        stat.uid == me && {
            let (safe, is_sticky) = self.leads_through_mine(path);
            safe && !(is_sticky && stat.nlink > 1 && stat.mode & mode::TYPE == mode::REGULAR)
        }
    }

    /// Whether every directory on the way to `path` is this user's, or root's, and cannot be changed by others; and whether they can add to the last one.
    pub fn leads_through_mine(&self, path: &[u8]) -> (bool, bool) {
        let me = process::effective_uid();
        let (mut safe, mut is_sticky) = (true, false);
        let end = path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
        let mut parent = Line::<4097>::new();
        parent.bytes(path.get(..end).unwrap_or_default()).text(".\0");
        let walked = walk(AT_FDCWD, parent.as_bytes(), open_flag::DIRECTORY, &mut |stat| {
            let others = stat.mode & mode::OTHERS_WRITE != 0;
            is_sticky = others && stat.mode & mode::STICKY != 0;
            safe &= (stat.uid == me || stat.uid == 0) && (!others || is_sticky);
        });
        let Ok(last) = walked else { return (false, false) };
        let _ = fd::close(last);
        (safe, is_sticky)
    }
}

/// The path without links of a folder that the user has named.
fn real_path<'a, 'o>(folder: &'o [u8], arena: &mut Arena<'a>) -> Result<'o, &'a [u8]> {
    let fail = |errno| {
        let cause = "the folder given with --map or --cwd cannot be had";
        Failure::os(Code::NoImage, folder, cause, errno, "").by_errno()
    };
    let held = fd::open_at(AT_FDCWD, folder, HOLD | open_flag::DIRECTORY, 0).map_err(fail)?;
    let mut buf = [0u8; 4096];
    let link = fd::read_link(AT_FDCWD, descriptor_path(held).as_bytes(), &mut buf);
    let _ = fd::close(held);
    join(link.map_err(fail)?, b"", arena)
}

/// How openat2(2) is asked.
pub fn how(flags: u32) -> How {
    How { flags: u64::from(flags), mode: 0, resolve: RESOLVE_NO_LINKS }
}

/// What of `path`, which ends with a NUL, is below directory `top`: empty, or beginning with a slash. `None` when it is not below.
pub fn below<'p>(path: &'p [u8], top: &[u8]) -> Option<&'p [u8]> {
    let rest = path.strip_prefix(top)?;
    let rest = rest.strip_suffix(b"\0").unwrap_or(rest);
    (rest.is_empty() || rest.starts_with(b"/")).then_some(rest)
}

/// `top` and `rest`, one behind the other, and a NUL.
fn join<'a>(top: &[u8], rest: &[u8], arena: &mut Arena<'a>) -> Result<'static, &'a [u8]> {
    let whole = arena.zeros(top.len() + rest.len() + 1)?;
    whole.iter_mut().zip(top.iter().chain(rest)).for_each(|(to, from)| *to = *from);
    Ok(whole)
}

/// The path of `name`, which ends with a NUL, in directory `top`.
pub fn beside<'a>(top: &[u8], name: &[u8], arena: &mut Arena<'a>) -> Result<'static, &'a [u8]> {
    let top = top.strip_suffix(b"\0").unwrap_or(top);
    let name = name.strip_suffix(b"\0").unwrap_or(name);
    let whole = arena.zeros(top.len() + name.len() + 2)?;
    let bytes = top.iter().chain(b"/").chain(name);
    whole.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    Ok(whole)
}

/// The steps of a path, and whether each is the last one.
pub fn steps(path: &[u8]) -> impl Iterator<Item = (&[u8], bool)> {
    let path = path.strip_suffix(b"\0").unwrap_or(path);
    let end = path.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
    let names = path.get(..end).unwrap_or_default().split(|byte| *byte == b'/');
    let mut left = names.clone().filter(|name| !name.is_empty()).count();
    names.filter(|name| !name.is_empty()).map(move |name| {
        left -= 1;
        (name, left == 0)
    })
}

/// Directory and name of a path that ends with a NUL; both get one. The directory of a bare name is `.`.
pub fn split<'a>(path: &[u8], arena: &mut Arena<'a>) -> Result<'static, (&'a [u8], &'a [u8])> {
    let slash = path.iter().rposition(|byte| *byte == b'/');
    let name = path.get(slash.map_or(0, |slash| slash + 1)..).unwrap_or_default();
    let parent = match slash {
        None => &b"."[..],
        Some(slash) => path.get(..slash.max(1)).unwrap_or_default(),
    };
    Ok((join(parent, b"", arena)?, arena.copy(name)?))
}

/// Follows `path` step by step, and shows `visit` what each directory is, the first one included.
fn walk(dir: i32, path: &[u8], flags: u32, visit: &mut dyn FnMut(&Stat)) -> sys::Result<i32> {
    let start: &[u8] = if path.starts_with(b"/") { b"/\0" } else { b".\0" };
    let mut at = fd::open_at(dir, start, STEP, 0)?;
    for (name, is_last) in steps(path) {
        let next = fd::stat_fd(at).and_then(|stat| {
            visit(&stat);
            step(at, name, if is_last { HOLD | open_flag::NOFOLLOW | flags } else { STEP })
        });
        let _ = fd::close(at);
        at = next?;
    }
    let stat = fd::stat_fd(at);
    let is_link = stat.is_ok_and(|stat| stat.mode & mode::TYPE == mode::LINK);
    if is_link && flags & open_flag::NOFOLLOW == 0 {
        let _ = fd::close(at);
        return Err(Errno::ELOOP);
    }
    if flags & open_flag::DIRECTORY != 0
        && let Ok(stat) = stat
    {
        visit(&stat);
    }
    Ok(at)
}

/// One step of a path.
fn step(at: i32, name: &[u8], flags: u32) -> sys::Result<i32> {
    let mut text = Line::<NAME>::new();
    if name.len() >= NAME {
        return Err(Errno::ENAMETOOLONG);
    }
    let name = text.bytes(name).text("\0").as_bytes();
    match fd::open_at(at, name, flags, 0) {
        // A link is no directory.
        Err(Errno::ENOTDIR)
            if fd::stat_at(at, name, false).is_ok_and(|stat| stat.mode & mode::TYPE == mode::LINK) =>
        {
            Err(Errno::ELOOP)
        }
        opened => opened,
    }
}
