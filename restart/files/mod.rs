//! Descriptors: one function for each kind of open file.
//!
//! ```text
//! found       what there is of the files now; refuses what is missing           (before the plan)
//! numbers     which numbers are in use, so that the plan knows what the kernel will give out
//! settle      from that number to the one that the process had
//! standard    the restarter's own 0, 1, 2, and terminals
//! paths       how the path of a file is followed; who could have changed what is there
//! path object pipe event socket      the kinds
//! lock        what must wait until every descriptor is in its place
//! notation    these system calls as strace prints them
//! ```
//!
//! Descriptors come back in ascending order: mostly the lowest free number is the wanted one.

mod event;
pub mod found;
mod lock;
pub mod notation;
mod numbers;
mod object;
mod path;
mod paths;
mod pipe;
mod settle;
mod socket;
mod standard;
pub mod written;

use crate::arena::Arena;
use crate::exit::{Code, Failure, Result};
use crate::op::Op;
use crate::plan::Builder;
use found::{Found, Way};
use image::details::{EpollItem, InotifyWatch, SocketOption};
use image::format::{Descriptor, Lock, OpenFile, file_kind};
use image::read::Image;
use sys::fd::{fcntl, open_flag};
use sys::{Errno, Sysno};

pub use numbers::Numbers;
pub use paths::{Identity, Paths, mode, same_inode, split};
pub use standard::Own;

/// `FD_CLOEXEC` in [`Descriptor::flags`].
const CLOEXEC: u32 = 1;

/// How many ops the files of an image may take.
pub fn bounds(image: &Image) -> usize {
    let of_file = |file: OpenFile| {
        // What is longest: a socket's options, an epoll's items of five calls each, watches of two, packets, messages, locks.
        let details = match file.kind {
            file_kind::PIPE | file_kind::FIFO => {
                image.detail::<image::details::Pipe>(&file).packets.len as usize / size_of::<u32>()
            }
            file_kind::EPOLL => {
                let items = image.detail::<image::details::Epoll>(&file).items;
                items.len as usize / size_of::<EpollItem>() * 5
            }
            file_kind::INOTIFY => {
                let watches = image.detail::<image::details::Inotify>(&file).watches;
                watches.len as usize / size_of::<InotifyWatch>() * 2
            }
            file_kind::UNIX_PAIR | file_kind::UNIX_SOCKET | file_kind::TCP | file_kind::UDP => {
                let socket = image.detail::<image::details::Socket>(&file);
                socket.options.len as usize / size_of::<SocketOption>()
                    + socket.messages.len as usize / size_of::<u32>() * 4
            }
            _ => 0,
        };
        24 + details + file.locks.len as usize / size_of::<Lock>() + path::bounds(image.c_str(file.path)) * 2
    };
    image.open_files().iter().map(of_file).sum::<usize>()
        + image.descriptors().len() * 3
        + path::bounds(image.c_str(image.process().cwd))
        + path::bounds(image.c_str(image.process().exe))
        + 32
}

/// How many bytes the values may take to which these ops refer.
pub fn room(image: &Image) -> usize {
    /// What a path needs: names, a link of /proc, how it is opened; what fstat(2) fills and what that is compared with.
    const OF_PATH: usize = 3 * (size_of::<sys::fd::Stat>() + size_of::<Identity>()) + 1024;
    bounds(image) * 24
        + image.descriptors().len()
        + (image.open_files().len() + 4) * OF_PATH
        + image.objects().len() * 8
}

/// Copies a line that must last.
fn keep_line(line: &[u8], arena: &mut Arena<'static>) -> &'static [u8] {
    arena.copy(line).map_or(b"a file", |copy| copy)
}

/// Gives a descriptor a number that the process did not use.
pub fn out_of_the_way(image: &Image, fd: i32) -> sys::Result<i32> {
    // The kernel gave out the lowest free number: what is below is in use.
    let wanted = image.descriptors();
    let mut number = fd as u32;
    for descriptor in wanted.iter().skip(wanted.partition_point(|descriptor| descriptor.number < number)) {
        if descriptor.number != number {
            break;
        }
        number += 1;
    }
    if number == fd as u32 {
        return Ok(fd);
    }
    let moved = sys::fd::control(fd, fcntl::DUPFD_CLOEXEC, number as usize)? as i32;
    let _ = sys::fd::close(fd);
    // Numbers of our own may lie in between, and number then be one of the image's.
    if wanted.iter().any(|descriptor| descriptor.number == moved as u32) {
        out_of_the_way(image, moved)
    } else {
        Ok(moved)
    }
}

/// What the failure of an op means, where this module knows.
pub fn explain(op: &Op, errno: Errno) -> Option<(Code, &'static str, &'static str)> {
    let command = op.args[1] as u32;
    match (op.sysno()?, errno) {
        (Sysno::bind | Sysno::listen, Errno::EADDRINUSE) => Some((
            Code::Busy,
            "an address of the process is in use",
            "stop who uses it; connections that have just ended use it for a minute",
        )),
        (Sysno::bind, Errno::EADDRNOTAVAIL) => {
            Some((Code::Call, "an address of the process is not one of this machine", ""))
        }
        (Sysno::flock, Errno::EAGAIN) => Some((
            Code::Busy,
            "a lock of the process is held by another one",
            "stop it: is it the process itself?",
        )),
        (Sysno::fcntl, Errno::EAGAIN | Errno::EACCES)
            if matches!(command, fcntl::SETLK | fcntl::OFD_SETLK) =>
        {
            Some((
                Code::Busy,
                "a lock of the process is held by another one",
                "stop it: is it the process itself?",
            ))
        }
        (Sysno::fcntl, Errno::EPERM) if command == fcntl::SETPIPE_SZ => Some((
            Code::Limit,
            "a pipe of the process was larger than is allowed here",
            "raise /proc/sys/fs/pipe-max-size",
        )),
        (Sysno::inotify_add_watch, Errno::ENOENT) => {
            Some((Code::FileMissing, "a file that the process watched is not there", "put it back"))
        }
        _ => None,
    }
}

impl<'a> Builder<'a, '_> {
    /// What there is now of an open file.
    fn found(&self, index: u32) -> Found {
        self.inputs.found.get(index as usize).copied().unwrap_or(found::NOTHING)
    }

    /// Restores every descriptor.
    pub(crate) fn open_files(&mut self) -> Result<'a, ()> {
        let image = self.inputs.image;
        for made in self.inputs.objects {
            self.numbers.hold(made.fd)?;
            self.numbers.hold(made.read_only)?;
        }
        for found in self.inputs.found {
            self.numbers.hold(found.held)?;
        }
        if self.inputs.stderr > 2 {
            self.numbers.hold(self.inputs.stderr)?;
        }
        // First those that live on the restarter's own 0, 1, 2, before others take these numbers.
        self.keep_standard()?;
        // Standard error last: until then, what goes wrong is said on the restarter's own.
        let (before, after) = (|d: &Descriptor| d.number != 2, |d: &Descriptor| d.number == 2);
        let descriptors = image.descriptors();
        for descriptor in descriptors.iter().filter(before).chain(descriptors.iter().filter(after)) {
            if self.numbers.is_back(descriptor.number) {
                continue;
            }
            let Some(file) = image.open_files().get(descriptor.file as usize) else { continue };
            match self.numbers.twin(descriptor.file) {
                Some(twin) => self.duplicate(twin, &descriptor)?,
                None => self.open(&file, &descriptor)?,
            }
            // What comes with others, as the ends of a pipe do, goes to the first of its numbers.
            if !self.numbers.is_back(descriptor.number)
                && let Some(twin) = self.numbers.twin(descriptor.file)
            {
                self.duplicate(twin, &descriptor)?;
            }
        }
        self.put_back()?;
        self.finish_objects()?;
        for made in self.inputs.objects {
            self.numbers.let_go(made.fd);
            self.numbers.let_go(made.read_only);
        }
        // Own ones that the process did not have.
        for number in 0..3 {
            if !self.numbers.is_back(number) {
                self.early(Op::zero(Sysno::close, [u64::from(number)]))?;
                self.numbers.close_standard(number);
            }
        }
        self.name_sockets()?;
        self.fill_epolls()?;
        self.fill_inotifies()?;
        self.own_files()?;
        self.roll_back()?;
        self.locks_and_owners()?;
        self.start_timerfds()
    }

    /// Makes `descriptor` a duplicate of number `from`.
    fn duplicate(&mut self, from: u32, descriptor: &Descriptor) -> Result<'static, ()> {
        let flags = if descriptor.flags & CLOEXEC != 0 { open_flag::CLOEXEC } else { 0 };
        let number = u64::from(descriptor.number);
        self.early(Op::exact(Sysno::dup3, [u64::from(from), number, u64::from(flags)], number))?;
        self.numbers.set_back(descriptor.number);
        Ok(())
    }

    /// Opens `file` anew as `descriptor`, its first one.
    fn open(&mut self, file: &OpenFile, descriptor: &Descriptor) -> Result<'a, ()> {
        let found = self.found(descriptor.file);
        if found.way == Way::Held {
            self.duplicate(found.held as u32, descriptor)?;
            return self.close_held(found.held);
        }
        if found.way == Way::Image {
            let number = self.numbers.take();
            self.open_object(descriptor.file, file, number, true)?;
            self.numbers.give_back(number);
            self.duplicate(number, descriptor)?;
            return self.early(Op::zero(Sysno::close, [u64::from(number)]));
        }
        match file.kind {
            file_kind::PIPE => return self.open_pipe(file.peer),
            file_kind::FIFO if found.way != Way::Null => return self.open_fifo(file.peer),
            file_kind::UNIX_PAIR => return self.open_pair(descriptor.file, file),
            _ => {}
        }
        if Self::has_path(file) {
            let number = match file.kind {
                file_kind::TERMINAL => self.open_terminal(file, &found)?,
                _ => self.open_path(file, &found, true)?,
            };
            self.numbers.give_back(number);
            if number != descriptor.number {
                self.duplicate(number, descriptor)?;
                return self.early(Op::zero(Sysno::close, [u64::from(number)]));
            }
            self.numbers.set_back(number);
            if descriptor.flags & CLOEXEC == 0 {
                let args = [u64::from(number), u64::from(fcntl::SETFD), 0];
                self.early(Op::zero(Sysno::fcntl, args))?;
            }
            return Ok(());
        }
        // If the kernel gives out the wanted number, the call that opens can set close-on-exec at once.
        let number = self.numbers.take();
        let direct = number == descriptor.number;
        let cloexec = !direct || descriptor.flags & CLOEXEC != 0;
        match file.kind {
            file_kind::MEMFD | file_kind::DELETED => {
                self.open_object(descriptor.file, file, number, cloexec)?;
            }
            file_kind::EVENTFD
            | file_kind::TIMERFD
            | file_kind::SIGNALFD
            | file_kind::EPOLL
            | file_kind::INOTIFY
            | file_kind::PIDFD_SELF => self.open_event(file, number, cloexec)?,
            file_kind::UNIX_SOCKET | file_kind::TCP | file_kind::UDP => {
                self.open_socket(file, number, cloexec)?;
            }
            kind => return Err(unsupported(self.inputs.image.c_str(file.path), kind)),
        }
        self.numbers.give_back(number);
        if direct {
            self.numbers.set_back(number);
            return Ok(());
        }
        self.duplicate(number, descriptor)?;
        self.early(Op::zero(Sysno::close, [u64::from(number)]))
    }

    /// `--rollback-files`: cuts files that were only written to back to their length at the save. No other than those: device and inode must be what they were.
    /// Not one that was standard error only: others write their messages there, too.
    fn roll_back(&mut self) -> Result<'a, ()> {
        if !self.inputs.roll_back {
            return Ok(());
        }
        for (index, file) in (0u32..).zip(self.inputs.image.open_files().iter()) {
            let found = self.found(index);
            let is_candidate = file.kind == file_kind::REGULAR
                && found::is_regular(&file)
                && file.flags & open_flag::ACCMODE == open_flag::WRONLY
                && matches!(found.way, Way::Same | Way::Own(_));
            let is_own = matches!(found.way, Way::Own(_));
            let of_it = |descriptor: &Descriptor| descriptor.file == index && descriptor.number != 2;
            if is_candidate
                && found.same
                && found.size > file.size
                && self.inputs.image.descriptors().iter().any(|descriptor| of_it(&descriptor))
                && let Some(number) = self.numbers.twin(index)
            {
                self.must_be(number, found.identity)?;
                self.early(Op::zero(Sysno::ftruncate, [u64::from(number), file.size]))?;
                if is_own {
                    // Whoever has opened it writes on where the process does.
                    const SEEK_SET: u64 = 0;
                    let args = [u64::from(number), file.size, SEEK_SET];
                    self.early(Op::exact(Sysno::lseek, args, file.size))?;
                }
            }
        }
        Ok(())
    }
}

/// Says what is missing.
fn unsupported(path: &[u8], kind: u32) -> Failure<'_> {
    let (cause, advice) = match kind {
        file_kind::TERMINAL => (
            "the process had a terminal open, and the restarter has nothing to take its place",
            "restart it in a terminal, or redirect 0, 1 and 2, or use --fd N=PATH",
        ),
        file_kind::STANDARD => (
            "the process had a standard stream, and the restarter has none to take its place",
            "redirect 0, 1 and 2, or use --fd N=PATH",
        ),
        _ => (
            "the process had a file open of a kind that this version cannot restore",
            "restart it with the ckpt that wrote the image",
        ),
    };
    Failure::new(Code::Unsupported, path, cause, advice)
}
