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
use sys::line::Line;
use sys::socket::{family, kind, message};

const SOL_SOCKET: u32 = 1;
const SO_REUSEADDR: u32 = 2;
const SO_SNDBUF: u32 = 7;
const SO_PEEK_OFF: u32 = 42;
const SOL_IP: u32 = 0;
const SOL_IPV6: u32 = 41;
const IP_FREEBIND: u32 = 15;
const IPV6_FREEBIND: u32 = 78;
/// What fits in the buffer of any new unix socket with all that the kernel adds.
const SMALL: usize = 64 * 1024;
const SHUT_RD: u64 = 0;
const SHUT_WR: u64 = 1;
/// `sizeof(struct sockaddr_un)`.
const LONGEST: usize = 110;
/// `RENAME_NOREPLACE`.
const NOREPLACE: u64 = 1;

/// What was shut down, as shutdown(2) takes it.
fn shutdowns(detail: &Socket) -> impl Iterator<Item = u64> + use<> {
    let flags = detail.flags;
    let all = [(socket_flag::SHUT_READ, SHUT_RD), (socket_flag::SHUT_WRITE, SHUT_WR)];
    all.into_iter().filter(move |(flag, _)| flags & flag != 0).map(|(_, how)| how)
}

/// What the file of a socket is called for a moment, beside its path, where that is another one's or nobody's; with its NUL.
fn aside(index: u32) -> Line<32> {
    let mut name = Line::new();
    name.text(".ckpt").dec(u64::from(index)).text("\0");
    name
}

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
        if peer.is_none() {
            self.room_for(other, file.queued.len as usize)?;
        }
        self.queue(other, file, &detail)?;
        if let Some(peer) = peer {
            self.queue(own, &peer, &image.detail(&peer))?;
        } else if detail.flags & socket_flag::RESET != 0 {
            // Closing an end that has something unread resets the other.
            self.send(own, b"\0")?;
        }
        self.options(own, &detail, true)?;
        self.end_flags(own, file, &detail)?;
        if let Some(peer) = peer {
            self.options(other, &image.detail(&peer), true)?;
            self.end_flags(other, &peer, &image.detail(&peer))?;
        }
        let mut all = ends.map(Temporary::new);
        self.settle(&mut all, 0, index)?;
        if peer.is_some() {
            self.settle(&mut all, 1, file.peer)?;
        }
        self.dispose(&all)
    }

    /// Flags of the open file, and shutdowns.
    fn end_flags(&mut self, number: u32, file: &OpenFile, detail: &Socket) -> Result<'a, ()> {
        self.nonblocking(number, file)?;
        self.shut_down(number, detail)
    }

    /// What was shut down, of a socket that the kernel takes for connected, or of any unix socket.
    fn shut_down(&mut self, number: u32, detail: &Socket) -> Result<'a, ()> {
        for how in shutdowns(detail) {
            self.early(Op::zero(Sysno::shutdown, [u64::from(number), how]))?;
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

    /// Makes a socket that is not connected, as descriptor `number`. One of the unix family gets its name later: see [`Builder::name_sockets`].
    pub(super) fn open_socket(&mut self, file: &OpenFile, number: u32, cloexec: bool) -> Result<'a, ()> {
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
        if file.kind == file_kind::UNIX_SOCKET {
            return Ok(());
        }
        if detail.name.len > 0 {
            self.bind_inet(file, &detail, number)?;
        }
        if detail.peer_name.len > 0 {
            let (address, len) = self.address(detail.peer_name);
            self.early(Op::zero(Sysno::connect, [expect, address, len]))?;
        }
        if detail.flags & socket_flag::LISTENING != 0 {
            self.early(Op::zero(Sysno::listen, [expect, u64::from(detail.backlog)]))?;
        }
        for how in shutdowns(&detail) {
            // Without a peer the call returns ENOTCONN, and shuts down all the same (net/ipv4/af_inet.c, inet_shutdown).
            let call = if detail.peer_name.len > 0 { Op::zero } else { Op::any };
            self.early(call(Sysno::shutdown, [expect, how]))?;
        }
        self.options(number, &detail, true)
    }

    /// Gives the unix sockets their names, and what depends on names: all are bound before one is connected, and connected before a path goes.
    ///
    /// A path belongs to the socket whose file it leads to, which is bound last. The file of any other one, which had lost its path at the save, is
    /// moved aside, where those that were connected to the socket still reach it, and goes in the end.
    pub(super) fn name_sockets(&mut self) -> Result<'a, ()> {
        let image = self.inputs.image;
        for owners in [false, true] {
            for (index, file) in self.unix_sockets() {
                let detail: Socket = image.detail(&file);
                let Some(number) = self.numbers.twin(index).filter(|_| detail.name.len > 0) else { continue };
                if (detail.ino != 0) == owners {
                    self.bind_unix(index, &detail, number)?;
                }
            }
        }
        for (index, file) in self.unix_sockets().filter(|(_, file)| file.kind == file_kind::UNIX_SOCKET) {
            let detail: Socket = image.detail(&file);
            let Some(number) = self.numbers.twin(index) else { continue };
            if detail.messages.len > 0 {
                self.queue_from_nobody(index, &file, &detail)?;
            }
            if detail.flags & socket_flag::LISTENING != 0 {
                self.early(Op::zero(Sysno::listen, [u64::from(number), u64::from(detail.backlog)]))?;
            }
        }
        self.connect_datagrams()?;
        for (index, file) in self.unix_sockets() {
            let detail: Socket = image.detail(&file);
            let Some(number) = self.numbers.twin(index) else { continue };
            if let Some(path) = self.path_now(index, &detail).filter(|_| detail.ino == 0) {
                self.remove_aside(index, path)?;
            }
            if file.kind == file_kind::UNIX_SOCKET {
                self.shut_down(number, &detail)?;
                self.options(number, &detail, true)?;
            }
        }
        Ok(())
    }

    fn unix_sockets(&self) -> impl Iterator<Item = (u32, OpenFile)> + use<'a> {
        let files = (0u32..).zip(self.inputs.image.open_files().iter());
        files.filter(|(_, file)| matches!(file.kind, file_kind::UNIX_SOCKET | file_kind::UNIX_PAIR))
    }

    /// The path of a unix socket, where its folder is now.
    fn path_now(&self, index: u32, detail: &Socket) -> Option<&'a [u8]> {
        let found = self.found(index);
        path(self.inputs.image, detail.name)
            .map(|saved| if found.path.is_empty() { saved } else { found.path })
    }

    /// Binds a unix socket.
    fn bind_unix(&mut self, index: u32, detail: &Socket, number: u32) -> Result<'a, ()> {
        let Some(path) = self.path_now(index, detail) else {
            let (address, len) = self.address(detail.name);
            return self.early(Op::zero(Sysno::bind, [u64::from(number), address, len]));
        };
        let (address, len) = self.address_of(path)?;
        let bind = Op::zero(Sysno::bind, [u64::from(number), address, len]);
        self.bind_to_path(index, detail, path, bind)
    }

    /// The address of a path, and its length.
    fn address_of(&mut self, path: &[u8]) -> Result<'a, (u64, u64)> {
        let mut address = Line::<128>::new();
        address.bytes(&(family::UNIX as u16).to_ne_bytes()).bytes(path);
        // A path may fill all of the 108 bytes, without a NUL.
        let len = address.as_bytes().len().min(LONGEST) as u64;
        Ok((self.keep_bytes(address.as_bytes())?, len))
    }

    /// The address under which a socket can be reached until all are connected, and its length.
    fn present_address(&mut self, index: u32, detail: &Socket) -> Result<'a, (u64, u64)> {
        let Some(path) = self.path_now(index, detail) else { return Ok(self.address(detail.name)) };
        if detail.ino != 0 {
            return self.address_of(path);
        }
        // In the same folder: elsewhere may be another file system.
        let end = path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
        let mut moved = Line::<128>::new();
        moved.bytes(path.get(..end).unwrap_or_default()).bytes(aside(index).as_bytes());
        self.address_of(moved.as_bytes())
    }

    /// Connects the unix datagram sockets that are connected to an address.
    ///
    /// A socket that is connected itself takes nothing but what its peer sends, and refuses to be connected to by others: those that were connected to it come
    /// before it.
    fn connect_datagrams(&mut self) -> Result<'a, ()> {
        let image = self.inputs.image;
        let count = image.open_files().len();
        let mut waiting = self.arena.list::<u32>(count)?;
        for _ in 0..count {
            waiting.push(0)?;
        }
        let waiting = waiting.into_mut_slice();
        // For each socket: how many others are still to be connected to it.
        let is_connected = |file: &OpenFile| {
            file.kind == file_kind::UNIX_SOCKET && image.detail::<Socket>(file).peer_name.len > 0
        };
        for (index, file) in self.unix_sockets().filter(|(_, file)| is_connected(file)) {
            if let Some(count) = waiting.get_mut(file.peer as usize).filter(|_| file.peer != index) {
                *count += 1;
            }
        }
        // Each chain from its beginning: sockets to which nobody is connected, then those to which all are. The save refuses what has no beginning.
        for (index, file) in self.unix_sockets().filter(|(_, file)| is_connected(file)) {
            let (mut index, mut file) = (index, file);
            while waiting.get(index as usize) == Some(&0) {
                self.connect_datagram(index, &file)?;
                if let Some(done) = waiting.get_mut(index as usize) {
                    *done = NONE;
                }
                let next = image.open_files().get(file.peer as usize).filter(is_connected);
                let Some(peer) = next.filter(|_| file.peer != index) else { break };
                if let Some(count) = waiting.get_mut(file.peer as usize) {
                    *count = count.wrapping_sub(1);
                }
                (index, file) = (file.peer, peer);
            }
        }
        Ok(())
    }

    fn connect_datagram(&mut self, index: u32, file: &OpenFile) -> Result<'a, ()> {
        let image = self.inputs.image;
        let detail: Socket = image.detail(file);
        let Some(number) = self.numbers.twin(index).map(u64::from) else { return Ok(()) };
        if let Some(peer) = image.open_files().get(file.peer as usize) {
            let (address, len) = self.present_address(file.peer, &image.detail(&peer))?;
            return self.early(Op::zero(Sysno::connect, [number, address, len]));
        }
        let (address, len) = self.address(detail.peer_name);
        if detail.messages.len > 0 {
            // Connecting twice, as below, would take away what is queued.
            return self.early(Op::zero(Sysno::connect, [number, address, len]));
        }
        // First to a socket that ends at once. Nobody may have the address now: then the program finds what it would have found if its peer had ended.
        let mut gone = Line::<64>::new();
        gone.bytes(&(family::UNIX as u16).to_ne_bytes()).text("\0ckpt-");
        gone.dec(u64::from(self.inputs.pid)).text("-").dec(u64::from(index));
        let gone = gone.as_bytes();
        let (gone_len, gone) = (gone.len() as u64, self.keep_bytes(gone)?);
        let socket = self.numbers.take();
        let kind = u64::from(kind::DGRAM | kind::CLOEXEC);
        self.early(Op::exact(Sysno::socket, [u64::from(family::UNIX), kind, 0], u64::from(socket)))?;
        self.early(Op::zero(Sysno::bind, [u64::from(socket), gone, gone_len]))?;
        self.early(Op::zero(Sysno::connect, [number, gone, gone_len]))?;
        self.dispose(&[Temporary::new(socket)])?;
        self.early(Op::any(Sysno::connect, [number, address, len]))
    }

    fn address(&self, name: Blob) -> (u64, u64) {
        let address = self.inputs.image.bytes(name);
        (address.as_ptr() as u64, address.len() as u64)
    }

    /// Gives an internet socket its address again.
    fn bind_inet(&mut self, file: &OpenFile, detail: &Socket, number: u32) -> Result<'a, ()> {
        let image = self.inputs.image;
        let (address, len) = self.address(detail.name);
        let bind = Op::zero(Sysno::bind, [u64::from(number), address, len]);
        let is_set = |name: u32| {
            image.entries::<SocketOption>(detail.options).iter().any(|option| {
                matches!(option.level, SOL_IP | SOL_IPV6) && option.name == name && option.value != [0; 16]
            })
        };
        let frees =
            detail.flags & socket_flag::FREEBIND != 0 && !is_set(IP_FREEBIND) && !is_set(IPV6_FREEBIND);
        if frees {
            self.set_number(number, SOL_IP, IP_FREEBIND, 1)?;
        }
        self.bind_here(file, detail, number, bind)?;
        if frees { self.set_number(number, SOL_IP, IP_FREEBIND, 0) } else { Ok(()) }
    }

    /// The bind(2) of an internet socket.
    fn bind_here(&mut self, file: &OpenFile, detail: &Socket, number: u32, bind: Op) -> Result<'a, ()> {
        let image = self.inputs.image;
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
        // The file of one that has lost its path is for nobody but the process itself.
        let mode = if detail.ino == 0 { 0o700 } else { detail.mode };
        let masked = u64::from(!mode & 0o777);
        self.early(Op::success(Sysno::umask, [masked], now))?;
        self.early(bind)?;
        self.early(Op::success(Sysno::umask, [now], masked))?;
        self.entry_must_be(parent, name, ANY)?;
        if detail.ino != 0 && [detail.uid, detail.gid] != self.inputs.user {
            const AT_SYMLINK_NOFOLLOW: u64 = 0x100;
            let (uid, gid) = (u64::from(detail.uid), u64::from(detail.gid));
            let args = [u64::from(parent), name.as_ptr() as u64, uid, gid, AT_SYMLINK_NOFOLLOW];
            // As in `give_owner`.
            let call = if self.inputs.may_chown { Op::zero } else { Op::any };
            self.early(call(Sysno::fchownat, args))?;
        }
        if detail.ino == 0 {
            // The path was gone, or that of another socket, when the process was saved.
            let aside = self.keep_bytes(aside(index).as_bytes())?;
            let parent = u64::from(parent);
            let args = [parent, name.as_ptr() as u64, parent, aside, NOREPLACE];
            self.early(Op::zero(Sysno::renameat2, args))?;
        }
        self.let_go(parent)
    }

    /// Takes away what [`Builder::bind_to_path`] has moved aside.
    fn remove_aside(&mut self, index: u32, path: &'a [u8]) -> Result<'a, ()> {
        let (parent, _) = split(path, self.arena)?;
        let parent = self.hold(parent, Identity::default(), open_flag::DIRECTORY)?;
        let aside = self.keep_bytes(aside(index).as_bytes())?;
        self.early(Op::zero(Sysno::unlinkat, [u64::from(parent), aside, 0]))?;
        self.let_go(parent)
    }

    fn reuse(&mut self, number: u32, value: u32) -> Result<'static, ()> {
        self.set_number(number, SOL_SOCKET, SO_REUSEADDR, value)
    }

    /// Sets an option that is an `int`.
    fn set_number(&mut self, number: u32, level: u32, name: u32, value: u32) -> Result<'static, ()> {
        let value = self.keep(value)?;
        let args = [u64::from(number), u64::from(level), u64::from(name), value, 4];
        self.early(Op::zero(Sysno::setsockopt, args))
    }

    /// Queues messages whose senders had no name, in a socket that has one.
    fn queue_from_nobody(&mut self, index: u32, file: &OpenFile, detail: &Socket) -> Result<'a, ()> {
        let image = self.inputs.image;
        let (address, address_len) = self.present_address(index, detail)?;
        let kind = u64::from(detail.kind | kind::CLOEXEC);
        let mut rest = image.bytes(file.queued);
        for len in image.entries::<u32>(detail.messages).iter() {
            let Some((message, more)) = rest.split_at_checked(len as usize) else { break };
            // Each has a buffer of its own: they may have come from many, and together be larger than one has.
            let sender = self.numbers.take();
            let args = [u64::from(detail.domain), kind, u64::from(detail.protocol)];
            self.early(Op::exact(Sysno::socket, args, u64::from(sender)))?;
            self.room_for(sender, message.len())?;
            let flags = u64::from(message::DONTWAIT);
            let args =
                [u64::from(sender), message.as_ptr() as u64, u64::from(len), flags, address, address_len];
            self.early(Op::exact(Sysno::sendto, args, u64::from(len)))?;
            self.dispose(&[Temporary::new(sender)])?;
            rest = more;
        }
        Ok(())
    }

    /// Makes room for what a sender is to send, as far as the system allows: its original may have had more.
    fn room_for(&mut self, sender: u32, len: usize) -> Result<'static, ()> {
        if len <= SMALL { Ok(()) } else { self.set_number(sender, SOL_SOCKET, SO_SNDBUF, len as u32) }
    }
}
