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
const FORBIDDEN: Kind = Kind {
    what: "a socket with an option that the process may not set again",
    advice: "save and restart it as root, or close the socket before the save",
};
const TOO_LARGE: Kind = Kind {
    what: "a socket with larger buffers than the process may ask for",
    advice: "raise net.core.wmem_max and net.core.rmem_max, or save and restart it as root",
};
/// `IPPROTO_MPTCP`.
const MPTCP: u32 = 262;

/// Options that a program can set and read, by level (include/uapi: asm-generic/socket.h, linux/in.h, linux/in6.h, linux/tcp.h, linux/udp.h). The sizes of
/// the buffers are special: see [`options`].
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

/// What a new socket of a kind has: many sockets are of the same one.
pub struct Fresh {
    /// Family, type and protocol.
    of: [u32; 3],
    /// The values of its options, in the order of [`options_of`].
    values: [Option<SocketOption>; MOST],
}

/// At least as many as any kind of socket has options.
const MOST: usize = 96;
const _: () = {
    let [ip, v6, tcp, _, own] = OPTIONS;
    assert!(ip.1.len() + v6.1.len() + tcp.1.len() + own.1.len() + 2 <= MOST);
};

/// The options of a socket; the sizes of its buffers come last.
fn options_of(socket: &Socket) -> impl Iterator<Item = (u32, u32)> {
    let levels = OPTIONS.iter().filter(|(level, _)| has_level(socket, *level));
    levels
        .flat_map(|(level, names)| names.iter().map(move |name| (*level, *name)))
        .chain([(level::SOCKET, option::SNDBUF), (level::SOCKET, option::RCVBUF)])
}

fn open_fresh(socket: &Socket) -> Result<i32, Failure> {
    socket::open(socket.domain, socket.kind | kind::CLOEXEC, socket.protocol)
        .map_err(|errno| Failure::Ask("socket", errno))
}

/// Asks a new socket of the same kind for its options, unless the last one that was asked was of that kind.
fn know_fresh(table: &mut Table<'_>, socket: &Socket) -> Result<(), Failure> {
    let of = [socket.domain, socket.kind, socket.protocol];
    if table.fresh.as_ref().is_some_and(|known| known.of == of) {
        return Ok(());
    }
    let fresh = open_fresh(socket)?;
    let mut known = Fresh { of, values: [None; MOST] };
    let result = options_of(socket).zip(&mut known.values).try_for_each(|((level, name), slot)| {
        *slot = value(fresh, level, name)?;
        Ok(())
    });
    let _ = fd::close(fresh);
    table.fresh = Some(known);
    result
}

/// The options in which a socket differs from a new one of its kind.
pub fn options(table: &mut Table<'_>, index: usize, socket: &Socket) -> Result<Blob, Stop> {
    let fd = table.number(index);
    know_fresh(table, socket)?;
    let mut found = Blob::default();
    let Table { fresh: Some(fresh), scratch, .. } = table else { return Ok(found) };
    // Bit 0: the size of the send buffer was chosen by the program; bit 1: that of the receive buffer. Linux 5.14.
    let chosen = socket::number(fd, level::SOCKET, option::BUF_LOCK);
    for ((level, name), default) in options_of(socket).zip(&fresh.values) {
        let Some(mut own) = value(fd, level, name)? else { continue };
        let differs = *default != Some(own);
        let differs = match (level, name) {
            // The kernel chooses them by itself until the program does. It counts twice what it is asked for.
            (level::SOCKET, option::SNDBUF | option::RCVBUF) => {
                if let Some(size) = own.value.first_chunk_mut::<4>() {
                    *size = (u32::from_ne_bytes(*size) / 2).to_ne_bytes();
                }
                let bit = if name == option::SNDBUF { 1 } else { 2 };
                chosen.map_or(differs, |chosen| chosen & bit != 0)
            }
            _ => differs,
        };
        if differs {
            scratch.append(&mut found, bytes_of(&own))?;
        }
    }
    if found.len > 0 {
        let trial = open_fresh(socket)?;
        let result = try_options(table, fd, trial, found);
        let _ = fd::close(trial);
        result?;
    }
    Ok(found)
}

/// Whether every option can be set again: some need a privilege that the process may have given up, or never have had.
fn try_options(table: &mut Table<'_>, fd: i32, fresh: i32, found: Blob) -> Result<(), Stop> {
    const FORCED: [(u32, u32); 2] =
        [(option::SNDBUF, option::SNDBUFFORCE), (option::RCVBUF, option::RCVBUFFORCE)];
    for place in (0..found.len as usize).step_by(size_of::<SocketOption>()) {
        let Some(option) = image::plain::read::<SocketOption>(table.scratch.blob(found), place) else {
            break;
        };
        let value_of =
            |option: &SocketOption| option.value.first_chunk::<4>().map(|v| u32::from_ne_bytes(*v));
        let set = |name: u32| {
            let value = option.value.get(..option.len as usize).unwrap_or_default();
            socket::set_option(fresh, option.level, name, value)
        };
        let is_set = set(option.name).is_ok();
        let forced = FORCED.iter().find(|(name, _)| (option.level, option.name) == (level::SOCKET, *name));
        let Some((_, force)) = forced.filter(|_| is_set) else {
            if is_set {
                continue;
            }
            return Err(Failure::Descriptor(fd, FORBIDDEN).into());
        };
        // Twice what was asked for, or what the system allows.
        let wanted = value_of(&option).unwrap_or(0).saturating_mul(2);
        if socket::number(fresh, level::SOCKET, option.name).is_ok_and(|size| size >= wanted) {
            continue;
        }
        if set(*force).is_err() {
            return Err(Failure::Descriptor(fd, TOO_LARGE).into());
        }
        let _ = image::plain::write(
            table.scratch.blob_mut(found),
            place,
            &SocketOption { name: *force, ..option },
        );
    }
    Ok(())
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
