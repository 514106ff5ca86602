//! Sockets: which family, and which options.

use super::{Table, inet, refused, unix};
use crate::helper::Stop;
use crate::message::{Failure, Kind};
use image::details::{Socket, SocketOption};
use image::format::Blob;
use image::plain::bytes_of;
use sys::Errno;
use sys::fd;
use sys::socket::{self, family, kind, option};

/// [`image::format::OpenFile::kind`] of a socket between the two passes.
pub const UNDECIDED: u32 = u32::MAX;

mod level {
    pub const SOCKET: u32 = 1;
    pub const IP: u32 = 0;
    pub const TCP: u32 = 6;
    pub const UDP: u32 = 17;
    pub const IPV6: u32 = 41;
}
/// `IPPROTO_MPTCP`.
const MPTCP: u32 = 262;

/// Options that a program can set and read, by level (include/uapi: asm-generic/socket.h, linux/in.h, linux/in6.h, linux/tcp.h, linux/udp.h). The sizes of
/// the buffers are special: see [`buffers`].
const OPTIONS: [(u32, &[u32]); 5] = [
    (
        level::IP,
        // TOS TTL RECVOPTS RETOPTS PKTINFO MTU_DISCOVER RECVERR RECVTTL RECVTOS FREEBIND TRANSPARENT RECVORIGDSTADDR MINTTL BIND_ADDRESS_NO_PORT MULTICAST_TTL
        // MULTICAST_LOOP MULTICAST_ALL UNICAST_IF LOCAL_PORT_RANGE
        &[1, 2, 6, 7, 8, 10, 11, 12, 13, 15, 19, 20, 21, 24, 33, 34, 49, 50, 51],
    ),
    (
        level::IPV6,
        // UNICAST_HOPS MULTICAST_IF MULTICAST_HOPS MULTICAST_LOOP MTU_DISCOVER RECVERR V6ONLY MULTICAST_ALL RECVPKTINFO RECVHOPLIMIT RECVHOPOPTS RECVRTHDR RECVDSTOPTS
        // DONTFRAG RECVTCLASS TCLASS MINHOPCOUNT RECVORIGDSTADDR TRANSPARENT UNICAST_IF FREEBIND
        &[16, 17, 18, 19, 23, 25, 26, 29, 49, 51, 53, 56, 58, 62, 66, 67, 73, 74, 75, 76, 78],
    ),
    (
        level::TCP,
        // NODELAY MAXSEG CORK KEEPIDLE KEEPINTVL KEEPCNT SYNCNT LINGER2 DEFER_ACCEPT CONGESTION USER_TIMEOUT FASTOPEN NOTSENT_LOWAT SAVE_SYN
        &[1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 18, 23, 25, 27],
    ),
    // CORK NO_CHECK6_TX NO_CHECK6_RX SEGMENT GRO
    (level::UDP, &[1, 101, 102, 103, 104]),
    (
        level::SOCKET,
        // Last, because IP_TOS sets the priority, too.
        // REUSEADDR DONTROUTE BROADCAST KEEPALIVE OOBINLINE NO_CHECK PRIORITY LINGER REUSEPORT PASSCRED RCVLOWAT RCVTIMEO SNDTIMEO BINDTODEVICE TIMESTAMP
        // PASSSEC TIMESTAMPNS MARK TIMESTAMPING RXQ_OVFL PEEK_OFF SELECT_ERR_QUEUE BUSY_POLL PASSPIDFD
        &[2, 5, 6, 9, 10, 11, 12, 13, 15, 16, 18, 20, 21, 25, 29, 34, 35, 36, 37, 40, 42, 45, 46, 76],
    ),
];

/// Decides what becomes of a socket.
pub fn describe(table: &mut Table<'_>, index: usize) -> Result<(), Stop> {
    let fd = table.number(index);
    let ask = |name| {
        socket::number(fd, option::SOL_SOCKET, name).map_err(|errno| Failure::Ask("getsockopt", errno))
    };
    let mut socket = Socket {
        domain: ask(option::DOMAIN)?,
        kind: ask(option::TYPE)?,
        protocol: ask(option::PROTOCOL)?,
        ..Socket::default()
    };
    if ask(option::ACCEPTCONN)? != 0 {
        socket.flags |= image::details::socket_flag::LISTENING;
    }
    // The length is the number of instructions of a filter; eBPF gives none.
    if socket::option(fd, option::SOL_SOCKET, option::GET_FILTER, &mut []) != Ok(0) {
        return table.outside(index, refused("a socket with a packet filter"));
    }
    match (socket.domain, socket.kind, socket.protocol) {
        (family::UNIX, ..) => unix::describe(table, index, socket),
        (family::INET | family::INET6, kind::STREAM, level::TCP | MPTCP) => inet::tcp(table, index, socket),
        (family::INET | family::INET6, kind::DGRAM, level::UDP) => inet::udp(table, index, socket),
        _ => table.outside(index, unknown(socket.domain)),
    }
}

/// What a socket of another family is called.
fn unknown(domain: u32) -> Kind {
    match domain {
        family::INET | family::INET6 => refused("a raw socket, or one of a rare protocol"),
        family::NETLINK => refused("a netlink socket"),
        17 => refused("a packet socket"),
        38 => refused("a socket of the kernel's crypto API (AF_ALG)"),
        40 => refused("a socket to a virtual machine's host (AF_VSOCK)"),
        44 => refused("an XDP socket"),
        _ => refused("a socket of a family that cannot be restored"),
    }
}

/// Stores a socket's kind and detail.
pub fn store(table: &mut Table<'_>, index: usize, kind: u32, socket: &Socket) -> Result<(), Stop> {
    let detail = table.scratch.bytes(bytes_of(socket))?;
    if let Some(file) = table.files.get_mut(index) {
        (file.kind, file.detail) = (kind, detail);
    }
    Ok(())
}

/// The options in which a socket differs from a new one of its kind.
pub fn options(table: &mut Table<'_>, index: usize, socket: &Socket) -> Result<Blob, Stop> {
    let fd = table.number(index);
    let fresh = socket::open(socket.domain, socket.kind | kind::CLOEXEC, socket.protocol)
        .map_err(|errno| Failure::Ask("socket", errno))?;
    let mut found = Blob::default();
    let result = OPTIONS
        .iter()
        .filter(|(level, _)| has_level(socket, *level))
        .flat_map(|(level, names)| names.iter().map(move |name| (*level, *name)))
        .try_for_each(|(level, name)| match (value(fd, level, name)?, value(fresh, level, name)?) {
            (Some(own), default) if default != Some(own) => {
                Ok(table.scratch.append(&mut found, bytes_of(&own))?)
            }
            _ => Ok(()),
        })
        .and_then(|()| buffers(table, fd, fresh, &mut found));
    let _ = fd::close(fresh);
    result?;
    Ok(found)
}

/// Whether a socket has options of a level.
fn has_level(socket: &Socket, of: u32) -> bool {
    match of {
        level::SOCKET => true,
        level::IP => matches!(socket.domain, family::INET | family::INET6),
        level::IPV6 => socket.domain == family::INET6,
        level::TCP => socket.kind == kind::STREAM && socket.domain != family::UNIX,
        _ => socket.kind == kind::DGRAM && socket.domain != family::UNIX,
    }
}

/// The value of an option; none of one that this kernel or kind of socket does not have.
fn value(fd: i32, level: u32, name: u32) -> Result<Option<SocketOption>, Failure> {
    let mut option = SocketOption { level, name, ..SocketOption::default() };
    match socket::option(fd, level, name, &mut option.value) {
        Ok(len) => option.len = len as u32,
        Err(Errno::ENOPROTOOPT | Errno::EOPNOTSUPP | Errno::EINVAL) => return Ok(None),
        Err(errno) => return Err(Failure::Ask("getsockopt", errno)),
    }
    Ok(Some(option))
}

/// The sizes of the buffers, which the kernel chooses by itself until the program does. It counts twice what it is asked for.
fn buffers(table: &mut Table<'_>, fd: i32, fresh: i32, found: &mut Blob) -> Result<(), Stop> {
    // Bit 0: the size of the send buffer was chosen by the program; bit 1: that of the receive buffer. Linux 5.14.
    let chosen = socket::number(fd, level::SOCKET, option::BUF_LOCK);
    for (bit, name) in [(1, option::SNDBUF), (2, option::RCVBUF)] {
        let (Some(mut own), Some(default)) =
            (value(fd, level::SOCKET, name)?, value(fresh, level::SOCKET, name)?)
        else {
            continue;
        };
        let is_chosen = chosen.map_or(own != default, |chosen| chosen & bit != 0);
        if is_chosen && let Some(size) = own.value.first_chunk_mut::<4>() {
            *size = (u32::from_ne_bytes(*size) / 2).to_ne_bytes();
            table.scratch.append(found, bytes_of(&own))?;
        }
    }
    Ok(())
}
