//! Whether a socket has joined a multicast group. The kernel does not list the groups of a socket, but those of each interface, and says of each one
//! whether a socket is in it.

use crate::scratch::Scratch;
use image::number;
use sys::fd::{self, open_flag};
use sys::socket as ask;

/// `IPPROTO_IP` and `IPPROTO_IPV6`.
const LEVELS: [u32; 2] = [0, 41];
/// `MCAST_MSFILTER` (include/uapi/linux/in.h): the sources from which a socket takes datagrams of a group; an error when it has not joined that.
const MSFILTER: u32 = 48;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// `struct group_filter` without sources (include/uapi/linux/in.h): interface, padding, `struct sockaddr_storage`, mode, number of sources.
const FILTER: usize = 144;
/// Offset of the group in it.
const GROUP: usize = 8;

/// Whether the socket has joined any group.
pub fn has_joined(socket: i32, scratch: &mut Scratch) -> bool {
    let v4 = read(b"/proc/net/igmp\0", scratch);
    let text = scratch.room().get(..v4).unwrap_or_default();
    let mut interface = 0;
    for line in text.split(|byte| *byte == b'\n') {
        // "4 eth0 : ...", and behind it a line with blanks at its start for each group.
        if let Some((index, _)) = number::take_decimal(line) {
            interface = index as u32;
        } else if let Some((group, _)) = number::take_hex(line.trim_ascii_start())
            && line.starts_with(b"\t")
            && is_in(socket, interface, AF_INET, &(group as u32).to_ne_bytes())
        {
            return true;
        }
    }
    let v6 = read(b"/proc/net/igmp6\0", scratch);
    let text = scratch.room().get(..v6).unwrap_or_default();
    text.split(|byte| *byte == b'\n').any(|line| {
        // "4 eth0 ff0200...01 1 0000000C 0".
        let mut words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
        let (Some(index), Some(_), Some(group)) = (words.next(), words.next(), words.next()) else {
            return false;
        };
        let mut address = [0; 16];
        for (byte, digits) in address.iter_mut().zip(group.chunks_exact(2)) {
            *byte = number::hex(digits).unwrap_or(0) as u8;
        }
        let index = number::decimal(index).unwrap_or(0);
        is_in(socket, index as u32, AF_INET6, &address)
    })
}

/// Whether the socket has joined one group on one interface.
fn is_in(socket: i32, interface: u32, family: u16, group: &[u8]) -> bool {
    let mut filter = [0u8; FILTER];
    // `struct sockaddr_in`: family, port, address; `struct sockaddr_in6`: family, port, flow, address.
    let address = if family == AF_INET { GROUP + 4 } else { GROUP + 8 };
    let parts = [(0, &interface.to_ne_bytes()[..]), (GROUP, &family.to_ne_bytes()), (address, group)];
    for (at, bytes) in parts {
        for (to, from) in filter.iter_mut().skip(at).zip(bytes) {
            *to = *from;
        }
    }
    let [v4, v6] = LEVELS;
    ask::option(socket, if family == AF_INET { v4 } else { v6 }, MSFILTER, &mut filter).is_ok()
}

/// Reads a text to the free part of `scratch`; its length. A kernel without multicast has none.
fn read(path: &[u8], scratch: &mut Scratch) -> usize {
    let Ok(file) = fd::open_at(fd::AT_FDCWD, path, open_flag::RDONLY | open_flag::CLOEXEC, 0) else {
        return 0;
    };
    let mut len = 0;
    while let Ok(more @ 1..) = fd::read(file, scratch.room().get_mut(len..).unwrap_or_default()) {
        len += more;
    }
    let _ = fd::close(file);
    len
}
