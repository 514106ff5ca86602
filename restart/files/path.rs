//! Files that have a name: regular files, directories, devices without state, files opened with O_PATH. How any path is followed in the plan.

use super::found::{Found, Way};
use super::paths::{self, Identity, STEP, how};
use crate::exit::Result;
use crate::objects::descriptor_path;
use crate::op::Op;
use crate::plan::Builder;
use image::format::{OpenFile, file_kind};
use sys::Sysno;
use sys::fd::{AT_FDCWD, How, Stat, open_flag};
use sys::process::NOFILE;

/// Flags that open(2) takes and F_GETFL reports, and that mean the same again. Those that create or cut a file are not
/// among them, whatever the image says.
pub(super) const KEPT: u32 =
    super::object::KEPT | open_flag::DIRECTORY | open_flag::NOFOLLOW | open_flag::PATH;

/// A path of 4095 bytes and the words before it.
pub const LONGEST_THING: usize = 4160;
/// `AT_FDCWD` as an argument.
pub(super) const CWD: u64 = AT_FDCWD as i64 as u64;

/// The most system calls that opening a path takes.
pub fn bounds(path: &[u8]) -> usize {
    paths::steps(path).count() * 2 + 12
}

impl<'a> Builder<'a, '_> {
    /// Opens `file` by its name, as descriptor `number`, and goes to its offset.
    pub(super) fn open_path(&mut self, file: &OpenFile, found: &Found, cloexec: bool) -> Result<'a, u32> {
        // Never the controlling terminal by accident.
        let mut flags = file.flags & KEPT | open_flag::NOCTTY | if cloexec { open_flag::CLOEXEC } else { 0 };
        // A file that was made without a name and got one later: the bit of O_TMPFILE goes with that of O_DIRECTORY.
        if file.flags & (open_flag::TMPFILE & !open_flag::DIRECTORY) != 0 {
            flags &= !open_flag::DIRECTORY;
        }
        let path = self.path_of(file, found);
        let number = match found.way {
            Way::Null => {
                flags &= !(open_flag::DIRECTORY | open_flag::DIRECT | open_flag::NOFOLLOW);
                let number = self.numbers.take();
                let null = c"/dev/null".as_ptr() as u64;
                self.early(Op::exact(Sysno::openat, [CWD, null, u64::from(flags)], u64::from(number)))?;
                number
            }
            Way::Created => self.create(file, path, flags)?,
            _ => self.open_named(path, found.identity, flags, found.modes)?,
        };
        if file.pos != 0 && found.way != Way::Null {
            self.early(Op::exact(Sysno::lseek, [u64::from(number), file.pos, 0], file.pos))?;
        }
        Ok(number)
    }

    /// Where the path of a file leads now.
    pub(super) fn path_of(&self, file: &OpenFile, found: &Found) -> &'a [u8] {
        if found.path.is_empty() { self.inputs.image.c_str(file.path) } else { found.path }
    }

    /// Makes a file that is not there; one that is there is an error. Another open file of this path, which made it, is opened again.
    fn create(&mut self, file: &OpenFile, path: &'a [u8], flags: u32) -> Result<'a, u32> {
        let image = self.inputs.image;
        let made = (0u32..).zip(image.open_files().iter()).find_map(|(index, other)| {
            let found = self.found(index);
            let is_it = found.way == Way::Created && image.c_str(other.path) == image.c_str(file.path);
            self.numbers.twin(index).filter(|_| is_it)
        });
        if let Some(made) = made {
            let link = self.keep_bytes(descriptor_path(made as i32).as_bytes())?;
            return self.opened(Sysno::openat, [CWD, link, u64::from(flags & !open_flag::NOFOLLOW), 0]);
        }
        let mode = u64::from(file.mode & 0o777);
        let flags = flags | open_flag::CREAT | open_flag::EXCL;
        let (parent, name) = paths::split(path, self.arena)?;
        let parent = self.hold(parent, Identity::default(), open_flag::DIRECTORY)?;
        let args = [u64::from(parent), name.as_ptr() as u64, u64::from(flags), mode];
        let number = self.opened(Sysno::openat, args)?;
        self.let_go(parent)?;
        Ok(number)
    }

    /// A call that gives out the lowest free number.
    pub(super) fn opened(&mut self, call: Sysno, args: [u64; 4]) -> Result<'static, u32> {
        let number = self.numbers.take();
        self.early(Op::exact(call, args, u64::from(number)))?;
        Ok(number)
    }

    /// Opens what is at `path`, if it is what was found there, with the permissions `modes` ([`Found::modes`]); gives the number, which is in use for a moment.
    pub(crate) fn open_named(
        &mut self,
        path: &'a [u8],
        identity: Identity,
        flags: u32,
        modes: [u32; 2],
    ) -> Result<'a, u32> {
        const BY_PATH: u32 = open_flag::PATH | open_flag::NOFOLLOW;
        if flags & BY_PATH != 0 || !self.has_two_numbers() {
            // Such flags are gone when a file is opened by a descriptor.
            let flags = if flags & open_flag::PATH == 0 {
                flags
            } else {
                flags & (BY_PATH | open_flag::DIRECTORY | open_flag::CLOEXEC)
            };
            let number = self.follow(path, flags)?;
            self.must_be(number, identity)?;
            return Ok(number);
        }
        let held = self.hold(path, identity, 0)?;
        let link = self.keep_bytes(descriptor_path(held as i32).as_bytes())?;
        let [for_now, present] = modes.map(u64::from);
        if for_now != 0 {
            self.early(Op::zero(Sysno::fchmodat, [CWD, link, for_now]))?;
        }
        let number = self.opened(Sysno::openat, [CWD, link, u64::from(flags), 0])?;
        if for_now != 0 {
            self.early(Op::zero(Sysno::fchmodat, [CWD, link, present]))?;
        }
        self.let_go(held)?;
        Ok(number)
    }

    /// Takes hold of what is at `path`, if it is what was found there ([`paths::Paths::hold`]).
    pub(crate) fn hold(&mut self, path: &'a [u8], identity: Identity, flags: u32) -> Result<'a, u32> {
        let held = self.follow(path, open_flag::PATH | open_flag::CLOEXEC | flags)?;
        if identity != Identity::default() {
            self.must_be(held, identity)?;
        }
        Ok(held)
    }

    /// Closes what [`Builder::hold`] gave.
    pub(crate) fn let_go(&mut self, held: u32) -> Result<'static, ()> {
        self.early(Op::zero(Sysno::close, [u64::from(held)]))?;
        self.numbers.give_back(held);
        Ok(())
    }

    /// Opens `path` without following a link.
    fn follow(&mut self, path: &'a [u8], flags: u32) -> Result<'a, u32> {
        if !self.inputs.paths.walks {
            let how = self.keep(how(flags))?;
            let args = [CWD, path.as_ptr() as u64, how, size_of::<How>() as u64];
            return self.opened(Sysno::openat2, args);
        }
        let start = if path.starts_with(b"/") { b"/\0" } else { b".\0" };
        let mut at = self.opened(Sysno::openat, [CWD, start.as_ptr() as u64, u64::from(STEP), 0])?;
        for (name, is_last) in paths::steps(path) {
            let mut text = sys::line::Line::<4096>::new();
            let name = self.keep_bytes(text.bytes(name).text("\0").as_bytes())?;
            let flags = if is_last { flags | open_flag::NOFOLLOW } else { STEP };
            let next = self.opened(Sysno::openat, [u64::from(at), name, u64::from(flags), 0])?;
            self.let_go(at)?;
            at = next;
        }
        Ok(at)
    }

    /// The file of a descriptor must be the one that was found.
    pub(super) fn must_be(&mut self, number: u32, identity: Identity) -> Result<'static, ()> {
        let stat = self.keep(Stat::default())?;
        let identity = self.keep(identity)?;
        self.early(Op::same(Sysno::fstat, [u64::from(number), stat, 0], identity))
    }

    /// What is called `name` in a directory must be what was found.
    pub(super) fn entry_must_be(
        &mut self,
        parent: u32,
        name: &'a [u8],
        identity: Identity,
    ) -> Result<'static, ()> {
        const AT_SYMLINK_NOFOLLOW: u64 = 0x100;
        let stat = self.keep(Stat::default())?;
        let identity = self.keep(identity)?;
        let args = [u64::from(parent), name.as_ptr() as u64, stat, AT_SYMLINK_NOFOLLOW];
        self.early(Op::same(Sysno::newfstatat, args, identity))
    }

    /// Whether there are two numbers that are free: a process may have all that there can be.
    fn has_two_numbers(&mut self) -> bool {
        let [first, second] = [self.numbers.take(), self.numbers.take()];
        self.numbers.give_back(second);
        self.numbers.give_back(first);
        let limit = self.inputs.limits.get(NOFILE as usize).map_or(0, |limit| limit.soft);
        limit == 0 || u64::from(second) < limit
    }

    /// Whether a file is opened by its path.
    pub(super) fn has_path(file: &OpenFile) -> bool {
        matches!(
            file.kind,
            file_kind::REGULAR
                | file_kind::DIRECTORY
                | file_kind::DEVICE
                | file_kind::PATH
                | file_kind::FIFO
                | file_kind::TERMINAL
        )
    }
}
