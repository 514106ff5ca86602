//! TCP and UDP.
//!
//! A connection has a peer elsewhere, and is refused. A socket that listens, or that is not connected, is an address and options. A
//! datagram that waits cannot be queued again as from its sender, and is refused: it will be read soon.

use super::{Table, multicast, refused, socket};
use crate::helper::Stop;
use crate::message::{Failure, Kind};
use image::details::{Socket, socket_flag};
use image::format::file_kind;
use sys::Errno;
use sys::descriptor::{poll_event, poll_now, unsent_bytes};
use sys::fd::close;
use sys::memory;
use sys::socket::{self as ask, kind};

const SOL_TCP: u32 = 6;
const TCP_INFO: u32 = 11;
const SOL_UDP: u32 = 17;
const UDP_CORK: u32 = 1;
/// `TCP_CLOSE`, state of a socket that is not connected (include/net/tcp_states.h).
const CLOSED: u8 = 7;

const CONNECTED: Kind = Kind {
    what: "a connected TCP socket",
    advice: "close it before the save; the program has to connect again after a restart",
};
const WAITING: Kind = Kind {
    what: "a listening socket with a connection that was not accepted yet",
    advice: "save again when the program has accepted it",
};

const DATAGRAM: Kind = Kind {
    what: "a UDP socket with a datagram that was not received yet",
    advice: "save again when the program has received it",
};
const UNSENT: Kind = Kind {
    what: "a UDP socket with a datagram that was not sent yet (UDP_CORK)",
    advice: "save again when the program has sent it",
};
const UNREACHABLE: Kind = Kind {
    what: "a UDP socket whose peer cannot be reached",
    advice: "save again when the network is there",
};
const PRIVILEGED: Kind = Kind {
    what: "bound to a port that the process may not bind again",
    advice: "save and restart it as root, or allow the port (net.ipv4.ip_unprivileged_port_start)",
};
const MULTICAST: Kind = refused("a UDP socket that has joined a multicast group");

/// A TCP socket, MPTCP included.
pub fn tcp(table: &mut Table<'_>, index: usize, mut socket: Socket) -> Result<(), Stop> {
    let fd = table.number(index);
    // `struct tcp_info`: state in the first byte; of a listening socket, the fifth word behind the first eight bytes is the number of
    // connections that wait, and the sixth one their limit.
    let mut info = [0u8; 32];
    ask::option(fd, SOL_TCP, TCP_INFO, &mut info).map_err(|errno| Failure::Ask("getsockopt", errno))?;
    let word = |at: usize| image::plain::read::<u32>(&info, at).unwrap_or(0);
    if socket.flags & socket_flag::LISTENING != 0 {
        if word(24) > 0 {
            return Err(Failure::Descriptor(fd, WAITING).into());
        }
        socket.backlog = word(28);
    } else if info.first() != Some(&CLOSED) {
        return table.outside(index, CONNECTED);
    } else if has_ended(fd)? {
        return table.outside(index, refused("a TCP socket whose connection has ended"));
    }
    finish(table, index, file_kind::TCP, socket)
}

/// Whether a closed socket was connected once: it gives the end of the stream then, or an error that is still to be told.
fn has_ended(fd: i32) -> Result<bool, Failure> {
    let events = poll_now(fd, poll_event::IN).map_err(|errno| Failure::Ask("poll", errno))?;
    if events & poll_event::ERR != 0 {
        return Ok(true);
    }
    Ok(!matches!(ask::peek(fd, &mut [0], &mut [0; 128]), Err(Errno::ENOTCONN)))
}

/// A UDP socket.
pub fn udp(table: &mut Table<'_>, index: usize, mut socket: Socket) -> Result<(), Stop> {
    let fd = table.number(index);
    // Looking at the queue of a socket that has an error would take that away.
    let events =
        poll_now(fd, poll_event::IN | poll_event::RDHUP).map_err(|errno| Failure::Ask("poll", errno))?;
    let readable = events & poll_event::IN != 0 && events & poll_event::ERR == 0;
    if readable && ask::peek(fd, &mut [0], &mut [0; 128]).is_ok_and(|found| found.name_len != 0) {
        return Err(Failure::Descriptor(fd, DATAGRAM).into());
    }
    if multicast::has_joined(fd, table.scratch) {
        return table.outside(index, MULTICAST);
    }
    if events & poll_event::RDHUP != 0 {
        socket.flags |= socket_flag::SHUT_READ;
    }
    if events & poll_event::HUP != 0 {
        socket.flags |= socket_flag::SHUT_WRITE;
    }
    let mut address = [0; 128];
    match ask::peer_name(fd, &mut address) {
        Ok(name) => {
            socket.peer_name = table.scratch.bytes(name)?;
            if socket.flags & socket_flag::SHUT_WRITE == 0 && events & poll_event::ERR == 0 {
                sends(table, fd, &mut socket)?;
            }
        }
        Err(Errno::ENOTCONN) => {}
        Err(errno) => return Err(Failure::Ask("getpeername", errno).into()),
    }
    finish(table, index, file_kind::UDP, socket)
}

/// Looks whether sending alone was shut down, which poll(2) does not tell: the kernel looks at that before it copies the first byte of a message, and there is
/// none at the address of this one. Where something waits to be sent, such a message would take it along.
fn sends(table: &Table<'_>, fd: i32, socket: &mut Socket) -> Result<(), Failure> {
    const NOWHERE: u64 = 8;
    let waiting = unsent_bytes(fd).map_err(|errno| Failure::Ask("ioctl", errno))?;
    if waiting > 0 {
        let is_held_back = ask::number(fd, SOL_UDP, UDP_CORK).unwrap_or(0) != 0;
        return if is_held_back { Err(Failure::Descriptor(fd, UNSENT)) } else { Ok(()) };
    }
    if memory::copy_from(table.target.own, NOWHERE, &mut [0]).is_ok() {
        return Ok(());
    }
    match ask::send_from(fd, NOWHERE) {
        Err(Errno::EFAULT) => Ok(()),
        Err(Errno::EPIPE) => {
            socket.flags |= socket_flag::SHUT_WRITE;
            Ok(())
        }
        // There is no way to the peer now, and will be none at the restart.
        _ => Err(Failure::Descriptor(fd, UNREACHABLE)),
    }
}

/// Address and options.
fn finish(table: &mut Table<'_>, index: usize, kind: u32, mut socket: Socket) -> Result<(), Stop> {
    let fd = table.number(index);
    let mut address = [0; 128];
    let name = ask::name(fd, &mut address).map_err(|errno| Failure::Ask("getsockname", errno))?;
    // Behind the family: port and address, and all of that is zero for a socket that is not bound.
    let is_bound = name.iter().skip(2).any(|byte| *byte != 0);
    if is_bound {
        try_to_bind(fd, name, &mut socket)?;
        socket.name = table.scratch.bytes(name)?;
    }
    socket.options = socket::options(table, index, &socket)?;
    socket::store(table, index, kind, &socket)
}

/// Whether an address can be had again: it may be none of this machine (any more), or its port be one that needs a privilege which the process has given up.
fn try_to_bind(fd: i32, name: &[u8], socket: &mut Socket) -> Result<(), Failure> {
    let trial = ask::open(socket.domain, socket.kind | kind::CLOEXEC, socket.protocol)
        .map_err(|errno| Failure::Ask("socket", errno))?;
    let bound = ask::bind(trial, name);
    let _ = close(trial);
    match bound {
        Err(Errno::EADDRNOTAVAIL) => {
            socket.flags |= socket_flag::FREEBIND;
            Ok(())
        }
        Err(Errno::EACCES) => Err(Failure::Descriptor(fd, PRIVILEGED)),
        // In use, as a rule: by the socket itself.
        _ => Ok(()),
    }
}
