//! Sockets: pairs with everything that is queued in them, and sockets that are an address and options.

use super::found::Way;
use super::paths::{Identity, mode, split};
use super::settle::Temporary;
use crate::exit::Result;
use crate::op::Op;
use crate::plan::Builder;
use image::details::{Socket, SocketOption, socket_flag};
use image::format::{Blob, NONE, OpenFile, file_kind};
use image::read::Image;
use sys::Sysno;
use sys::fd::open_flag;
use sys::socket::{family, kind, message};

const SOL_SOCKET: u32 = 1;
const SO_REUSEADDR: u32 = 2;
const SO_PEEK_OFF: u32 = 42;
const SHUT_RD: u64 = 0;
const SHUT_WR: u64 = 1;

/// The path in the address of a unix socket, with its NUL; `None` for other addresses.
pub fn path<'a>(image: &Image<'a>, name: Blob) -> Option<&'a [u8]> {
    // The address may fill its 108 bytes; a NUL stands behind every blob.
    let address = image.c_str(name);
    let [low, high, path @ ..] = address else { return None };
    if u32::from(u16::from_ne_bytes([*low, *high])) != family::UNIX || path.first() == Some(&0) {
        return None;
    }
    let end = path.iter().position(|byte| *byte == 0)?;
    path.get(..=end)
}

impl<'a> Builder<'a, '_> {
    /// Makes a pair, or an end whose peer is closed, and puts it in its places.
    pub(super) fn open_pair(&mut self, index: u32, file: &OpenFile) -> Result<'a, ()> {
        let image = self.inputs.image;
        let detail: Socket = image.detail(file);
        let ends = [self.numbers.take(), self.numbers.take()];
        let numbers = self.keep(ends)?;
        let kind = u64::from(detail.kind | kind::CLOEXEC);
        let args = [u64::from(family::UNIX), kind, u64::from(detail.protocol), numbers];
        self.early(Op::zero(Sysno::socketpair, args))?;
        let [own, other] = ends;
        let peer = if file.peer == NONE { None } else { image.open_files().get(file.peer as usize) };
        // Sizes of buffers first, so that there is room for what is queued; what is in the way of sending last.
        self.options(own, &detail, false)?;
        if let Some(peer) = peer {
            self.options(other, &image.detail(&peer), false)?;
        }
        self.queue(other, file, &detail)?;
        if let Some(peer) = peer {
            self.queue(own, &peer, &image.detail(&peer))?;
        } else if detail.flags & socket_flag::RESET != 0 {
            // Closing an end that has something unread resets the other.
            self.send(own, b"\0")?;
        }
        self.options(own, &detail, true)?;
        self.end_flags(own, file, &detail, peer.is_some())?;
        if let Some(peer) = peer {
            self.options(other, &image.detail(&peer), true)?;
            self.end_flags(other, &peer, &image.detail(&peer), true)?;
        }
        let mut all = ends.map(Temporary::new);
        self.settle(&mut all, 0, index)?;
        if peer.is_some() {
            self.settle(&mut all, 1, file.peer)?;
        }
        self.dispose(&all)
    }

    /// Flags of the open file, and shutdowns.
    fn end_flags(&mut self, number: u32, file: &OpenFile, detail: &Socket, has_peer: bool) -> Result<'a, ()> {
        self.nonblocking(number, file)?;
        for (flag, how) in [(socket_flag::SHUT_READ, SHUT_RD), (socket_flag::SHUT_WRITE, SHUT_WR)] {
            if has_peer && detail.flags & flag != 0 {
                self.early(Op::zero(Sysno::shutdown, [u64::from(number), how]))?;
            }
        }
        Ok(())
    }

    fn nonblocking(&mut self, number: u32, file: &OpenFile) -> Result<'static, ()> {
        if file.flags & open_flag::NONBLOCK == 0 {
            return Ok(());
        }
        let flags = u64::from(file.flags & (open_flag::ACCMODE | open_flag::NONBLOCK));
        let args = [u64::from(number), u64::from(sys::fd::fcntl::SETFL), flags];
        self.early(Op::zero(Sysno::fcntl, args))
    }

    /// Sets options. `last`: only those that must wait until the queues are filled; else only the others.
    fn options(&mut self, number: u32, detail: &Socket, last: bool) -> Result<'a, ()> {
        for option in self.inputs.image.entries::<SocketOption>(detail.options).iter() {
            if (option.level == SOL_SOCKET && option.name == SO_PEEK_OFF) == last {
                let value = self.keep(option.value)?;
                let len = u64::from(option.len.min(16));
                let args = [u64::from(number), u64::from(option.level), u64::from(option.name), value, len];
                self.early(Op::zero(Sysno::setsockopt, args))?;
            }
        }
        Ok(())
    }

    /// Sends what was queued in `file` by way of `from`.
    fn queue(&mut self, from: u32, file: &OpenFile, detail: &Socket) -> Result<'a, ()> {
        let image = self.inputs.image;
        let mut rest = image.bytes(file.queued);
        if detail.kind == kind::STREAM {
            return if rest.is_empty() { Ok(()) } else { self.send(from, rest) };
        }
        for len in image.entries::<u32>(detail.messages).iter() {
            let Some((message, more)) = rest.split_at_checked(len as usize) else { break };
            self.send(from, message)?;
            rest = more;
        }
        Ok(())
    }

    fn send(&mut self, from: u32, bytes: &[u8]) -> Result<'static, ()> {
        let len = bytes.len() as u64;
        let args = [u64::from(from), bytes.as_ptr() as u64, len, u64::from(message::DONTWAIT), 0, 0];
        self.early(Op::exact(Sysno::sendto, args, len))
    }

    /// Makes a socket that is not connected, as descriptor `number`.
    pub(super) fn open_socket(
        &mut self,
        index: u32,
        file: &OpenFile,
        number: u32,
        cloexec: bool,
    ) -> Result<'a, ()> {
        let image = self.inputs.image;
        let detail: Socket = image.detail(file);
        let expect = u64::from(number);
        let mut flags = file.flags & open_flag::NONBLOCK;
        if cloexec {
            flags |= kind::CLOEXEC;
        }
        let args = [u64::from(detail.domain), u64::from(detail.kind | flags), u64::from(detail.protocol)];
        self.early(Op::exact(Sysno::socket, args, expect))?;
        self.options(number, &detail, false)?;
        if detail.name.len > 0 {
            self.bind(index, file, &detail, number)?;
        }
        if detail.peer_name.len > 0 {
            let (address, len) = self.address(detail.peer_name);
            // Nobody may be there now; the program finds out when it sends.
            self.early(Op::any(Sysno::connect, [expect, address, len]))?;
        }
        if detail.flags & socket_flag::LISTENING != 0 {
            self.early(Op::zero(Sysno::listen, [expect, u64::from(detail.backlog)]))?;
        }
        if detail.messages.len > 0 {
            self.queue_from_nobody(file, &detail)?;
        }
        self.options(number, &detail, true)
    }

    fn address(&self, name: Blob) -> (u64, u64) {
        let address = self.inputs.image.bytes(name);
        (address.as_ptr() as u64, address.len() as u64)
    }

    /// Gives a socket its name again.
    fn bind(&mut self, index: u32, file: &OpenFile, detail: &Socket, number: u32) -> Result<'a, ()> {
        let image = self.inputs.image;
        let (address, len) = self.address(detail.name);
        let bind = Op::zero(Sysno::bind, [u64::from(number), address, len]);
        if let Some(saved) = path(image, detail.name) {
            let found = self.found(index);
            if found.path.is_empty() || found.path == saved {
                return self.bind_to_path(index, detail, saved, bind);
            }
            // Its folder is elsewhere now.
            let mut address = sys::line::Line::<112>::new();
            address.bytes(&(family::UNIX as u16).to_ne_bytes()).bytes(found.path);
            let len = address.as_bytes().len() as u64;
            let address = self.keep_bytes(address.as_bytes())?;
            let bind = Op::zero(Sysno::bind, [u64::from(number), address, len]);
            return self.bind_to_path(index, detail, found.path, bind);
        }
        if file.kind != file_kind::TCP {
            return self.early(bind);
        }
        // Connections of the killed process may linger on (TIME_WAIT); two that listen are refused all the same.
        self.reuse(number, 1)?;
        self.early(bind)?;
        let is_reuse = |option: &SocketOption| {
            (option.level, option.name) == (SOL_SOCKET, SO_REUSEADDR) && option.value.first() != Some(&0)
        };
        if image.entries::<SocketOption>(detail.options).iter().any(|option| is_reuse(&option)) {
            return Ok(());
        }
        self.reuse(number, 0)
    }

    /// Gives a unix socket its path again. Nothing but what the saved process left there is taken away; the mode comes with the socket; and in the end its
    /// file must be where its path leads without links.
    fn bind_to_path(&mut self, index: u32, detail: &Socket, path: &'a [u8], bind: Op) -> Result<'a, ()> {
        const ANY: Identity = Identity { dev: 0, ino: 0, kind: mode::SOCKET, rdev: 0 };
        let found = self.found(index);
        let (parent, name) = split(path, self.arena)?;
        let parent = self.hold(parent, Identity::default(), open_flag::DIRECTORY)?;
        let remove = Op::zero(Sysno::unlinkat, [u64::from(parent), name.as_ptr() as u64, 0]);
        if found.way == Way::Stale {
            self.entry_must_be(parent, name, found.identity)?;
            self.early(remove)?;
        }
        let now = u64::from(self.inputs.umask);
        let masked = u64::from(!detail.mode & 0o777);
        self.early(Op::success(Sysno::umask, [masked], now))?;
        self.early(bind)?;
        self.early(Op::success(Sysno::umask, [now], masked))?;
        self.entry_must_be(parent, name, ANY)?;
        if detail.ino == 0 {
            // The path was gone, or another's, when the process was saved.
            self.early(remove)?;
        }
        self.let_go(parent)
    }

    fn reuse(&mut self, number: u32, value: u32) -> Result<'static, ()> {
        let value = self.keep(value)?;
        let args = [u64::from(number), u64::from(SOL_SOCKET), u64::from(SO_REUSEADDR), value, 4];
        self.early(Op::zero(Sysno::setsockopt, args))
    }

    /// Queues messages whose senders had no name, in a socket that has one.
    fn queue_from_nobody(&mut self, file: &OpenFile, detail: &Socket) -> Result<'a, ()> {
        let image = self.inputs.image;
        let (address, address_len) = self.address(detail.name);
        let sender = self.numbers.take();
        let args =
            [u64::from(detail.domain), u64::from(detail.kind | kind::CLOEXEC), u64::from(detail.protocol)];
        self.early(Op::exact(Sysno::socket, args, u64::from(sender)))?;
        let mut rest = image.bytes(file.queued);
        for len in image.entries::<u32>(detail.messages).iter() {
            let Some((message, more)) = rest.split_at_checked(len as usize) else { break };
            let flags = u64::from(message::DONTWAIT);
            let args =
                [u64::from(sender), message.as_ptr() as u64, u64::from(len), flags, address, address_len];
            self.early(Op::exact(Sysno::sendto, args, u64::from(len)))?;
            rest = more;
        }
        self.dispose(&[Temporary::new(sender)])
    }
}
