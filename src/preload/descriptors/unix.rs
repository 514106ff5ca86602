//! Unix sockets.
//!
//! A pair whose two ends are in the table is restored with all that is queued in it; so is an end whose peer is closed. Listening and unconnected sockets
//! are an address. A datagram socket that is connected to a name (syslog) connects to that name again.

use super::diag::{Diag, UnixState};
use super::{Table, info, mode, refused, socket};
use crate::helper::Stop;
use crate::message::{Failure, Kind};
use image::details::{Socket, socket_flag};
use image::format::{Blob, NONE, file_kind};
use sys::descriptor::{poll_event, poll_now, readable_bytes};
use sys::fd;
use sys::socket::{self as ask, kind, message, option};
use sys::{Errno, Result as SysResult};

const OUTSIDE: Kind = refused("a unix socket that is connected to another process");
const NAMED: Kind = refused("a unix socket that is connected to one of this very process by a name");
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
const SHUT: u8 = 3;

/// Decides what becomes of a unix socket.
pub fn describe(table: &mut Table<'_>, index: usize, mut socket: Socket) -> Result<(), Stop> {
    let fd = table.number(index);
    let own = table.file(index).ino as u32;
    let state = state(table, own).map_err(|_| Failure::Descriptor(fd, UNKNOWN))?;
    socket.name = name(table, fd, ask::name)?;
    find_node(table, &mut socket, &state);
    if socket.flags & socket_flag::LISTENING != 0 {
        if state.queued > 0 {
            return Err(Failure::Descriptor(fd, WAITING).into());
        }
        socket.backlog = state.backlog;
        return finish(table, index, file_kind::UNIX_SOCKET, socket, Sender::Anybody);
    }
    let Some(peer) = state.peer else {
        return finish(table, index, file_kind::UNIX_SOCKET, socket, Sender::Anybody);
    };
    let is_datagram = socket.kind == kind::DGRAM;
    let inside = (0..table.files.len()).find(|other| {
        peer != 0
            && table.file(*other).mode & mode::TYPE == mode::SOCKET
            && table.file(*other).ino as u32 == peer
    });
    let peer_name = name(table, fd, ask::peer_name)?;
    if is_datagram && peer_name.len > 0 {
        socket.peer_name = peer_name;
        return finish(table, index, file_kind::UNIX_SOCKET, socket, Sender::Anybody);
    }
    if state.shutdown & 1 != 0 {
        socket.flags |= socket_flag::SHUT_READ;
    }
    if state.shutdown & 2 != 0 {
        socket.flags |= socket_flag::SHUT_WRITE;
    }
    match inside {
        None if peer != 0 => table.outside(index, OUTSIDE),
        None if !is_datagram && state.shutdown != SHUT => Err(Failure::Descriptor(fd, WAITING).into()),
        Some(_) if socket.name.len > 0 || peer_name.len > 0 => Err(Failure::Descriptor(fd, NAMED).into()),
        other => {
            let events = poll_now(fd, poll_event::IN).map_err(|errno| Failure::Ask("poll", errno))?;
            if events & poll_event::ERR != 0 {
                if socket.kind != kind::STREAM {
                    // Any look at the queue would take the error away from the program.
                    return Err(Failure::Descriptor(fd, UNTOLD).into());
                }
                socket.flags |= socket_flag::RESET;
            }
            if let Some(file) = table.files.get_mut(index) {
                file.peer = other.map_or(NONE, |other| other as u32);
            }
            finish(table, index, file_kind::UNIX_PAIR, socket, Sender::Peer)
        }
    }
}

/// What netlink says.
fn state(table: &mut Table<'_>, ino: u32) -> SysResult<UnixState> {
    if table.diag.is_none() {
        table.diag = Some(Diag::open()?);
    }
    table.diag.as_ref().ok_or(Errno::ENOSYS)?.unix(ino)
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
    let (Some(node), Some(path)) = (state.node, table.scratch.c_str(socket.name).get(2..)) else { return };
    let Some(end) = path.iter().position(|byte| *byte == 0) else { return };
    let path = path.get(..end + 1).unwrap_or_default();
    if let Ok(stat) = fd::stat_at(fd::AT_FDCWD, path, false)
        && stat.ino as u32 == node
        && stat.mode & mode::TYPE == mode::SOCKET
    {
        (socket.dev, socket.ino, socket.mode) = (stat.dev, stat.ino, stat.mode);
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
    // A message takes the kernel more than half a kilobyte; should there be more of them, the next scratch is larger.
    let most = table.scratch.size() / 1024;
    let mut lengths = table.scratch.zeros(most * size_of::<u32>())?;
    // Looking behind the end of a stream that was reset would take the error away from the program.
    let len = readable_bytes(fd).map_err(|errno| Failure::Ask("ioctl", errno))? as usize;
    let ends_at = if socket.flags & socket_flag::RESET != 0 { len } else { usize::MAX };
    let (mut done, mut count) = (0, 0);
    while done < ends_at {
        let mut name = [0; 128];
        let room = table.scratch.room().get_mut(done..).unwrap_or_default();
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
        let place = count * size_of::<u32>();
        if !is_stream {
            image::plain::write(table.scratch.blob_mut(lengths), place, &(found.len as u32))
                .ok_or(Stop::Full)?;
        }
        done += found.len;
        count += 1;
    }
    let queued = table.scratch.keep(done)?;
    if !is_stream {
        lengths.len = (count * size_of::<u32>()) as u32;
        socket.messages = lengths;
    }
    Ok((queued, count))
}
