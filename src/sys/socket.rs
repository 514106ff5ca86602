//! Sockets.

use crate::call::sc;
use crate::fd::IoVec;
use crate::{Errno, Result};

/// Address families.
pub mod family {
    #![allow(missing_docs)]
    pub const UNIX: u32 = 1;
    pub const INET: u32 = 2;
    pub const INET6: u32 = 10;
    pub const NETLINK: u32 = 16;
}

/// Types of sockets, and the flags of socket(2).
pub mod kind {
    #![allow(missing_docs)]
    pub const STREAM: u32 = 1;
    pub const DGRAM: u32 = 2;
    pub const RAW: u32 = 3;
    pub const SEQPACKET: u32 = 5;
    pub const CLOEXEC: u32 = 0o2_000_000;
}

/// Options of `SOL_SOCKET` (include/uapi/asm-generic/socket.h).
pub mod option {
    #![allow(missing_docs)]
    pub const SOL_SOCKET: u32 = 1;
    pub const TYPE: u32 = 3;
    pub const SNDBUF: u32 = 7;
    pub const RCVBUF: u32 = 8;
    pub const SNDBUFFORCE: u32 = 32;
    pub const RCVBUFFORCE: u32 = 33;
    pub const PASSCRED: u32 = 16;
    pub const GET_FILTER: u32 = 26;
    pub const ACCEPTCONN: u32 = 30;
    pub const PROTOCOL: u32 = 38;
    pub const PASSSEC: u32 = 34;
    pub const DOMAIN: u32 = 39;
    pub const PEEK_OFF: u32 = 42;
    pub const PASSPIDFD: u32 = 76;
    pub const BUF_LOCK: u32 = 72;
}

/// socket(2).
pub fn open(domain: u32, kind: u32, protocol: u32) -> Result<i32> {
    // SAFETY: no memory is involved.
    unsafe { sc!(socket, domain, kind, protocol) }.map(|fd| fd as i32)
}

/// getsockopt(2): the length of the value in `value`.
pub fn option(fd: i32, level: u32, name: u32, value: &mut [u8]) -> Result<usize> {
    let mut len = value.len() as u32;
    // SAFETY: the kernel writes at most `len` bytes to `value`, and the length.
    unsafe { sc!(getsockopt, fd, level, name, value.as_mut_ptr(), &raw mut len) }?;
    Ok(len as usize)
}

/// getsockopt(2) of an option that is an `int`.
pub fn number(fd: i32, level: u32, name: u32) -> Result<u32> {
    let mut value = [0; 4];
    option(fd, level, name, &mut value)?;
    Ok(u32::from_ne_bytes(value))
}

/// setsockopt(2).
pub fn set_option(fd: i32, level: u32, name: u32, value: &[u8]) -> Result<()> {
    // SAFETY: the kernel reads `value` only.
    unsafe { sc!(setsockopt, fd, level, name, value.as_ptr(), value.len()) }.map(drop)
}

/// `struct sockaddr_storage` as bytes: room for every address.
pub type Address = [u8; 128];

/// An address and its length, which may be more than was stored.
fn address(ask: impl FnOnce(*mut u8, *mut u32) -> Result<usize>, address: &mut Address) -> Result<&[u8]> {
    let mut len = address.len() as u32;
    ask(address.as_mut_ptr(), &raw mut len)?;
    address.get(..len as usize).ok_or(Errno::ENAMETOOLONG)
}

/// getsockname(2).
pub fn name(fd: i32, buf: &mut Address) -> Result<&[u8]> {
    // SAFETY: the kernel writes at most as many bytes as the length says, which is that of the buffer, and the length.
    address(|buf, len| unsafe { sc!(getsockname, fd, buf, len) }, buf)
}

/// getpeername(2).
///
/// # Errors
///
/// `ENOTCONN` when there is no peer.
pub fn peer_name(fd: i32, buf: &mut Address) -> Result<&[u8]> {
    // SAFETY: as in `name`.
    address(|buf, len| unsafe { sc!(getpeername, fd, buf, len) }, buf)
}

/// connect(2).
pub fn connect(fd: i32, address: &[u8]) -> Result<()> {
    // SAFETY: the kernel reads the address only.
    unsafe { sc!(connect, fd, address.as_ptr(), address.len()) }.map(drop)
}

/// bind(2).
pub fn bind(fd: i32, address: &[u8]) -> Result<()> {
    // SAFETY: the kernel reads the address only.
    unsafe { sc!(bind, fd, address.as_ptr(), address.len()) }.map(drop)
}

/// send(2) of one byte at an address, which need not be mapped, without waiting and without SIGPIPE.
pub fn send_from(fd: i32, byte: u64) -> Result<usize> {
    // SAFETY: the kernel reads at most a byte, or finds that it cannot.
    unsafe { sc!(sendto, fd, byte, 1, message::DONTWAIT | message::NOSIGNAL, 0, 0) }
}

/// Flags of recvmsg(2).
pub mod message {
    #![allow(missing_docs)]
    pub const PEEK: u32 = 2;
    pub const CTRUNC: u32 = 8;
    pub const TRUNC: u32 = 0x20;
    pub const DONTWAIT: u32 = 0x40;
    pub const NOSIGNAL: u32 = 0x4000;
}

/// `struct msghdr`.
#[repr(C)]
struct MessageHeader {
    name: *mut u8,
    name_len: u32,
    pad: u32,
    pieces: *const IoVec,
    piece_count: usize,
    control: *mut u8,
    control_len: usize,
    flags: u32,
    pad2: u32,
}
const _: () = assert!(size_of::<MessageHeader>() == 56);

/// What recvmsg(2) found.
#[derive(Clone, Copy, Debug)]
pub struct Peeked {
    /// Length in bytes; of a datagram the whole length.
    pub len: usize,
    /// Length of the sender's address.
    pub name_len: usize,
    /// Flags: `MSG_CTRUNC` when there was more to it than bytes.
    pub flags: u32,
}

/// recvmsg(2) with `MSG_PEEK`, without waiting, and without taking descriptors: looks at what is queued.
pub fn peek(fd: i32, buf: &mut [u8], name: &mut Address) -> Result<Peeked> {
    let piece = IoVec { base: buf.as_mut_ptr() as usize, len: buf.len() };
    let mut header = MessageHeader {
        name: name.as_mut_ptr(),
        name_len: name.len() as u32,
        pad: 0,
        pieces: &raw const piece,
        piece_count: 1,
        control: core::ptr::null_mut(),
        control_len: 0,
        flags: 0,
        pad2: 0,
    };
    let flags = message::PEEK | message::DONTWAIT | message::TRUNC;
    // SAFETY: the header names `buf` and `name`, both with their lengths, and no control buffer.
    let len = unsafe { sc!(recvmsg, fd, &raw mut header, flags) }?;
    Ok(Peeked { len, name_len: header.name_len as usize, flags: header.flags })
}

/// sendto(2) without an address: a request to the kernel over a netlink socket.
pub fn send(fd: i32, bytes: &[u8]) -> Result<usize> {
    // SAFETY: the kernel reads `bytes` only.
    unsafe { sc!(sendto, fd, bytes.as_ptr(), bytes.len(), 0, 0, 0) }
}

/// recvfrom(2) without an address.
pub fn receive(fd: i32, buf: &mut [u8]) -> Result<usize> {
    // SAFETY: the kernel writes at most `buf.len()` bytes to `buf`.
    unsafe { sc!(recvfrom, fd, buf.as_mut_ptr(), buf.len(), 0, 0, 0) }
}
