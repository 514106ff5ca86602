//! Unix sockets.
//!
//! A pair whose two ends are in the table is restored with all that is queued in it, and so is a connection of the process with itself by a name; so is an end
//! whose peer is closed. Listening and unconnected sockets are an address. A datagram socket that is connected to a name (syslog) connects to that name
//! again.

use super::diag::{Diag, UnixState};
use super::{Table, info, mode, refused, socket, socket_of_inode};
use crate::helper::Stop;
use crate::message::{Failure, Kind};
use image::details::{Socket, socket_flag};
use image::format::{Blob, OpenFile, file_kind};
use sys::descriptor::{poll_event, poll_now, readable_bytes};
use sys::fd;
use sys::socket::{self as ask, kind, message, option};
use sys::{Errno, Result as SysResult};

const OUTSIDE: Kind = refused("a unix socket that is connected to another process");
const NAMED: Kind = refused(
    "a unix socket that is connected to one of this very process by an abstract name, under which another one still listens",
);
const ABANDONED: Kind = refused("a unix socket whose peer has been connected to another one since");
const TAKEN: Kind = Kind {
    what: "a unix socket whose path leads to another file now",
    advice: "remove that file, or close the socket, before the save",
};
const WAITING: Kind = Kind {
    what: "a unix socket with a connection that was not accepted yet",
    advice: "save again when the program has accepted it",
};
const IN_FLIGHT: Kind = Kind {
    what: "a unix socket with a message in it that carries descriptors",
    advice: "save again when the program has received it",
};
const FROM_OUTSIDE: Kind = Kind {
    what: "a unix socket with messages from another process",
    advice: "save again when the program has received them",
};
const EMPTY_TWICE: Kind = Kind {
    what: "a unix socket with an empty message, which cannot be looked at a second time",
    advice: "save again when the program has received it",
};
const UNTOLD: Kind = Kind {
    what: "a unix socket with an error that the program was not told yet",
    advice: "save again when the program has used it",
};
const UNKNOWN: Kind = Kind {
    what: "a unix socket, and the kernel does not tell who its peer is",
    advice: "close it before the save, or use a kernel with CONFIG_UNIX_DIAG",
};

/// `RCV_SHUTDOWN | SEND_SHUTDOWN` (include/net/sock.h).
const SHUT: u32 = 3;

/// Decides what becomes of a unix socket.
pub fn describe(table: &mut Table<'_>, index: usize, mut socket: Socket) -> Result<(), Stop> {
    let fd = table.number(index);
    let own = table.file(index).ino as u32;
    let state = state(table, index).map_err(|_| Failure::Descriptor(fd, UNKNOWN))?;
    socket.name = name(table, fd, ask::name)?;
    find_node(table, &mut socket, &state);
    for (bit, flag) in [(1, socket_flag::SHUT_READ), (2, socket_flag::SHUT_WRITE)] {
        if state.shutdown & bit != 0 {
            socket.flags |= flag;
        }
    }
    if socket.flags & socket_flag::LISTENING != 0 {
        if state.queued > 0 {
            return Err(Failure::Descriptor(fd, WAITING).into());
        }
        socket.backlog = state.backlog;
        return finish(table, index, file_kind::UNIX_SOCKET, socket, Sender::Anybody);
    }
    let Some(peer) = state.peer() else {
        return finish(table, index, file_kind::UNIX_SOCKET, socket, Sender::Anybody);
    };
    let is_datagram = socket.kind == kind::DGRAM;
    let inside = table.socket_of_inode(index, peer);
    let peer_name = name(table, fd, ask::peer_name)?;
    match inside {
        Some(inside) if is_datagram && (inside == index || peer_of(table, inside)? != Some(own)) => {
            // Only what has an address can be connected to, and only before it is connected itself.
            if peer_name.len == 0 || inside != index && is_taken(table, inside)? {
                return Err(Failure::Descriptor(fd, ABANDONED).into());
            }
            socket.peer_name = peer_name;
            set_peer(table, index, inside);
            return finish(table, index, file_kind::UNIX_SOCKET, socket, Sender::Anybody);
        }
        None if is_datagram && peer != 0 && peer_name.len > 0 => {
            socket.peer_name = peer_name;
            return finish(table, index, file_kind::UNIX_SOCKET, socket, Sender::Anybody);
        }
        None if peer != 0 => return table.outside(index, OUTSIDE),
        None if !is_datagram && state.shutdown != SHUT => {
            return Err(Failure::Descriptor(fd, WAITING).into());
        }
        Some(inside) => set_peer(table, index, inside),
        None => {}
    }
    let events = poll_now(fd, poll_event::IN).map_err(|errno| Failure::Ask("poll", errno))?;
    if events & poll_event::ERR != 0 {
        if socket.kind != kind::STREAM {
            // Any look at the queue would take the error away from the program.
            return Err(Failure::Descriptor(fd, UNTOLD).into());
        }
        socket.flags |= socket_flag::RESET;
    }
    finish(table, index, file_kind::UNIX_PAIR, socket, Sender::Peer)
}

/// The inode of a socket's peer.
fn peer_of(table: &mut Table<'_>, index: usize) -> Result<Option<u32>, Stop> {
    let fd = table.number(index);
    Ok(state(table, index).map_err(|_| Failure::Descriptor(fd, UNKNOWN))?.peer())
}

/// Whether a datagram socket is one of a pair, or was: it is made with its peer then.
fn is_taken(table: &mut Table<'_>, index: usize) -> Result<bool, Stop> {
    let Some(peer) = peer_of(table, index)? else { return Ok(false) };
    let own = table.file(index).ino as u32;
    match table.socket_of_inode(index, peer) {
        Some(other) => Ok(other != index && peer_of(table, other)? == Some(own)),
        None => Ok(peer == 0),
    }
}

fn set_peer(table: &mut Table<'_>, index: usize, peer: usize) {
    if let Some(file) = table.files.get_mut(index) {
        file.peer = peer as u32;
    }
}

/// Third pass, when every socket is known: whether each can have its name again.
///
/// An accepted connection has name and file of the socket that listens: one of all that have a file keeps it. A path may lead to the file of another
/// socket of the process, which takes it at the restart when the others have been bound; what else is there is in the way.
pub fn check_names(table: &mut Table<'_>, index: usize) -> Result<(), Stop> {
    let file = table.file(index);
    let Some(mut own) = named_socket(table, &file) else { return Ok(()) };
    let fd = table.number(index);
    let is_path = path_of(table, own.name).is_some();
    let alike = |other: usize| {
        let other_file = table.file(other);
        let socket = named_socket(table, &other_file).filter(|_| other != index)?;
        Some((other, other_file.kind, socket))
    };
    if !is_path {
        // The kernel lets a name without a file be bound once. An accepted connection has that of the socket which listens.
        let name = table.scratch.blob(own.name);
        let is_shared = file.kind == file_kind::UNIX_PAIR
            && (0..table.files.len())
                .filter_map(alike)
                .any(|(_, _, other)| table.scratch.blob(other.name) == name);
        return if is_shared { Err(Failure::Descriptor(fd, NAMED).into()) } else { Ok(()) };
    }
    if own.ino != 0 {
        // The one that was bound keeps it: that is none of a pair, or else the first one.
        let is_accepted = file.kind == file_kind::UNIX_PAIR
            && (0..table.files.len()).filter_map(alike).any(|(other, kind, socket)| {
                (socket.dev, socket.ino) == (own.dev, own.ino)
                    && (kind == file_kind::UNIX_SOCKET || other < index)
            });
        if is_accepted {
            (own.dev, own.ino, own.mode, own.uid, own.gid) = (0, 0, 0, 0, 0);
            return socket::store(table, index, file.kind, &own);
        }
        return Ok(());
    }
    let path = path_of(table, own.name).unwrap_or_default();
    let Ok(stat) = fd::stat_at(fd::AT_FDCWD, path, false) else { return Ok(()) };
    let is_of_another = (0..table.files.len())
        .filter_map(alike)
        .any(|(_, _, socket)| (socket.dev, socket.ino) == (stat.dev, stat.ino));
    if is_of_another { Ok(()) } else { Err(Failure::Descriptor(fd, TAKEN).into()) }
}

/// The detail of a unix socket that has a name.
fn named_socket(table: &Table<'_>, file: &OpenFile) -> Option<Socket> {
    if !matches!(file.kind, file_kind::UNIX_PAIR | file_kind::UNIX_SOCKET) {
        return None;
    }
    image::plain::read::<Socket>(table.scratch.blob(file.detail), 0).filter(|socket| socket.name.len > 0)
}

/// The path in an address, with its NUL.
fn path_of<'t>(table: &'t Table<'_>, name: Blob) -> Option<&'t [u8]> {
    let path = table.scratch.c_str(name).get(2..).filter(|path| path.first() != Some(&0))?;
    let end = path.iter().position(|byte| *byte == 0)?;
    path.get(..end + 1)
}

/// Before the second pass: asks for all unix sockets of the system at once, where the process has many. One question for each would take as long for each as
/// the kernel needs to look through all of them.
pub fn ask_for_all(table: &mut Table<'_>) -> Result<(), Stop> {
    const MANY: usize = 32;
    let is_socket = |index: &usize| table.file(*index).kind == socket::UNDECIDED;
    let count = table.files.len();
    let Some(first) = (0..count).filter(is_socket).nth(MANY) else { return Ok(()) };
    let mut states = table.scratch.list::<UnixState>();
    for _ in 0..count {
        table.scratch.push(&mut states, UnixState::default())?;
    }
    let Ok(diag) = Diag::open() else { return Ok(()) };
    // The answers come to the free part of the scratch, of which nothing else is used meanwhile.
    let Table { scratch, files, order, .. } = table;
    let of_inode = |ino: u32| socket_of_inode(files, order, first, ino);
    // What is not found here is asked for by itself.
    let _ = diag.all(scratch.room(), &mut |state| {
        if let Some(known) = of_inode(state.ino).and_then(|index| states.get_mut(index)) {
            *known = state;
        }
    });
    table.states = states;
    table.diag = Some(diag);
    Ok(())
}

/// What netlink says of a file of the table.
fn state(table: &mut Table<'_>, index: usize) -> SysResult<UnixState> {
    if let Some(state) = table.states.get(index).filter(|state| state.ino != 0) {
        return Ok(*state);
    }
    if table.diag.is_none() {
        table.diag = Some(Diag::open()?);
    }
    table.diag.as_ref().ok_or(Errno::ENOSYS)?.unix(table.file(index).ino as u32)
}

/// An address, or nothing for a socket without a name: only the family.
fn name(
    table: &mut Table<'_>,
    fd: i32,
    question: fn(i32, &mut ask::Address) -> SysResult<&[u8]>,
) -> Result<Blob, Stop> {
    let mut address = [0; 128];
    match question(fd, &mut address) {
        Ok(name) if name.len() > 2 => Ok(table.scratch.bytes(name)?),
        Ok(_) | Err(Errno::ENOTCONN) => Ok(Blob::default()),
        Err(errno) => Err(Failure::Ask("getsockname", errno).into()),
    }
}

/// Notes the file of a socket's path, if the path still leads to it.
fn find_node(table: &Table<'_>, socket: &mut Socket, state: &UnixState) {
    let (Some(node), Some(path)) = (state.node(), path_of(table, socket.name)) else { return };
    if let Ok(stat) = fd::stat_at(fd::AT_FDCWD, path, false)
        && stat.ino as u32 == node
        && stat.mode & mode::TYPE == mode::SOCKET
    {
        (socket.dev, socket.ino, socket.mode) = (stat.dev, stat.ino, stat.mode);
        (socket.uid, socket.gid) = (stat.uid, stat.gid);
    }
}

/// Who can have sent what is queued.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sender {
    /// Only the other end of the pair.
    Peer,
    /// Whoever knows the name.
    Anybody,
}

/// Options and what is queued.
fn finish(
    table: &mut Table<'_>,
    index: usize,
    file_kind: u32,
    mut socket: Socket,
    sender: Sender,
) -> Result<(), Stop> {
    socket.options = socket::options(table, index, &socket)?;
    if socket.flags & socket_flag::LISTENING == 0 {
        let queued = queue(table, index, &mut socket, sender)?;
        if let Some(file) = table.files.get_mut(index) {
            file.queued = queued;
        }
    }
    socket::store(table, index, file_kind, &socket)
}

/// Looks at everything that is queued, and leaves it there.
fn queue(table: &mut Table<'_>, index: usize, socket: &mut Socket, sender: Sender) -> Result<Blob, Stop> {
    let fd = table.number(index);
    let ask_for = |what| move |errno| Stop::from(Failure::Ask(what, errno));
    let events = poll_now(fd, poll_event::IN).map_err(ask_for("poll"))?;
    if events & poll_event::IN == 0 {
        return Ok(Blob::default());
    }
    if info::read(table, fd as u32)?.in_flight > 0 {
        return Err(Failure::Descriptor(fd, IN_FLIGHT).into());
    }
    // Each look begins where the last one ended, from the start.
    let old = ask::number(fd, option::SOL_SOCKET, option::PEEK_OFF).map_err(ask_for("getsockopt"))?;
    let set = |value: u32| ask::set_option(fd, option::SOL_SOCKET, option::PEEK_OFF, &value.to_ne_bytes());
    set(0).map_err(ask_for("setsockopt"))?;
    let result = messages(table, fd, socket, sender);
    // It is the program's socket. What was accepted once will be again.
    (0..9).map(|_| set(old)).find(|set| set.is_ok());
    let (queued, count) = result?;
    let is_ended = socket.flags & socket_flag::SHUT_READ != 0;
    if count == 0 && !is_ended && socket.kind != kind::STREAM {
        return Err(Failure::Descriptor(fd, EMPTY_TWICE).into());
    }
    Ok(queued)
}

/// All messages, one behind the other, and their number.
fn messages(
    table: &mut Table<'_>,
    fd: i32,
    socket: &mut Socket,
    sender: Sender,
) -> Result<(Blob, usize), Stop> {
    let is_stream = socket.kind == kind::STREAM;
    // Credentials come with every message when they are asked for.
    let credentials = |name| ask::number(fd, option::SOL_SOCKET, name).unwrap_or(0) != 0;
    let with_credentials =
        credentials(option::PASSCRED) || credentials(option::PASSPIDFD) || credentials(option::PASSSEC);
    // Looking behind the end of a stream that was reset would take the error away from the program.
    let len = readable_bytes(fd).map_err(|errno| Failure::Ask("ioctl", errno))? as usize;
    let ends_at = if socket.flags & socket_flag::RESET != 0 { len } else { usize::MAX };
    let (mut done, mut count) = (0, 0);
    while done < ends_at {
        let mut name = [0; 128];
        // Nobody knows how many messages there are: their lengths grow down from the end of the room.
        let end = table.scratch.room().len().saturating_sub((count + 1) * LENGTH);
        let room = table.scratch.room().get_mut(done..end).ok_or(Stop::Full)?;
        let free = room.len();
        let found = match ask::peek(fd, room, &mut name) {
            Ok(found) => found,
            Err(Errno::EAGAIN | Errno::ENOTCONN) => break,
            Err(errno) => return Err(Failure::Ask("recvmsg", errno).into()),
        };
        if found.flags & message::CTRUNC != 0 && !with_credentials {
            return Err(Failure::Descriptor(fd, IN_FLIGHT).into());
        }
        if sender == Sender::Anybody && found.name_len > 2 {
            return Err(Failure::Descriptor(fd, FROM_OUTSIDE).into());
        }
        if found.len >= free {
            return Err(Stop::Full);
        }
        // The end. A packet without bytes looks the same, also to the program.
        if found.len == 0 && (is_stream || socket.flags & socket_flag::SHUT_READ != 0) {
            break;
        }
        if !is_stream {
            image::plain::write(table.scratch.room(), end, &(found.len as u32)).ok_or(Stop::Full)?;
        }
        done += found.len;
        count += 1;
    }
    let queued = table.scratch.keep(done)?;
    if !is_stream {
        socket.messages = lengths(table, count)?;
    }
    Ok((queued, count))
}

/// Bytes of a message's length.
const LENGTH: usize = size_of::<u32>();

/// The lengths of `count` messages, which stand at the end of the room, the last one first.
fn lengths(table: &mut Table<'_>, count: usize) -> Result<Blob, Stop> {
    let at_end = table.scratch.room().len().checked_sub(count * LENGTH).ok_or(Stop::Full)?;
    if count * LENGTH >= at_end {
        return Err(Stop::Full);
    }
    let list = table.scratch.zeros(count * LENGTH)?;
    for index in 0..count {
        let room = table.scratch.room();
        let from = room.len().saturating_sub((index + 1) * LENGTH);
        let len = image::plain::read::<u32>(room, from).unwrap_or(0);
        let _ = image::plain::write(table.scratch.blob_mut(list), index * LENGTH, &len);
    }
    Ok(list)
}
