//! What the kernel tells of a unix socket over netlink (sock_diag(7)): the inode of its peer, shutdowns, and what waits in its queue.

use image::plain::Plain;
use sys::socket::{self, family, kind};
use sys::{Errno, Result, fd};

/// A netlink socket for questions.
pub struct Diag {
    fd: i32,
}

/// A unix socket.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct UnixState {
    /// Its inode; zero when nothing is known of it.
    pub ino: u32,
    has: u32,
    peer: u32,
    /// Bytes that are queued; of a listening socket, connections that nobody has accepted.
    pub queued: u32,
    /// Of a listening socket: the second argument of listen(2).
    pub backlog: u32,
    /// Bit 0: receiving was shut down; bit 1: sending.
    pub shutdown: u32,
    node: u32,
}
// SAFETY: `repr(C)`, integers of four bytes only, so that there is no padding.
unsafe impl Plain for UnixState {}

/// Bits of [`UnixState::has`].
const PEER: u32 = 1;
const NODE: u32 = 2;

impl UnixState {
    /// Inode of the peer; zero when the peer is closed, `None` when there never was one.
    pub fn peer(&self) -> Option<u32> {
        (self.has & PEER != 0).then_some(self.peer)
    }

    /// Inode of the file that it is bound to.
    pub fn node(&self) -> Option<u32> {
        (self.has & NODE != 0).then_some(self.node)
    }
}

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_DUMP: u16 = 0x300;
const NLMSG_DONE: u16 = 3;
const NETLINK_SOCK_DIAG: u32 = 4;
/// `UDIAG_SHOW_VFS | UDIAG_SHOW_PEER | UDIAG_SHOW_RQLEN` (include/uapi/linux/unix_diag.h).
const SHOW: u32 = 2 | 4 | 0x10;
/// Lengths of `struct nlmsghdr` and `struct unix_diag_msg`.
const HEADER: usize = 16;
const ANSWER: usize = 16;

mod attribute {
    pub const VFS: u16 = 1;
    pub const PEER: u16 = 2;
    pub const RQLEN: u16 = 4;
    pub const SHUTDOWN: u16 = 6;
}

impl Drop for Diag {
    fn drop(&mut self) {
        let _ = fd::close(self.fd);
    }
}

impl Diag {
    /// Opens one.
    pub fn open() -> Result<Self> {
        let fd = socket::open(family::NETLINK, kind::RAW | kind::CLOEXEC, NETLINK_SOCK_DIAG)?;
        Ok(Self { fd })
    }

    /// Asks for the unix socket of an inode. The kernel looks through all that there are.
    pub fn unix(&self, ino: u32) -> Result<UnixState> {
        self.ask(ino, NLM_F_REQUEST)?;
        let mut buf = [0u8; 1024];
        let len = socket::receive(self.fd, &mut buf)?;
        parse(buf.get(..len).unwrap_or_default())
    }

    /// Asks for all unix sockets, and shows them to `visit`. `buf`: 32 KiB or more, of which the kernel fills as much as it likes. Some may be left out, or come
    /// twice, while others are made and closed.
    pub fn all(&self, buf: &mut [u8], visit: &mut dyn FnMut(UnixState)) -> Result<()> {
        self.ask(0, NLM_F_REQUEST | NLM_F_DUMP)?;
        loop {
            let len = socket::receive(self.fd, buf)?;
            let mut rest = buf.get(..len).unwrap_or_default();
            if rest.is_empty() {
                return Err(Errno::EPROTO);
            }
            while let (Some(len), Some(kind)) = (word(rest, 0), half(rest, 4)) {
                if kind == NLMSG_DONE {
                    return Ok(());
                }
                visit(parse(rest.get(..len as usize).ok_or(Errno::EPROTO)?)?);
                rest = rest.get((len as usize).next_multiple_of(4).max(HEADER)..).unwrap_or_default();
            }
        }
    }

    fn ask(&self, ino: u32, flags: u16) -> Result<()> {
        // `struct nlmsghdr`, then `struct unix_diag_req`: family, protocol, states, inode, what to show, and a cookie that is none.
        let mut request = [0u8; 40];
        let words = [
            40,
            u32::from(SOCK_DIAG_BY_FAMILY) | u32::from(flags) << 16,
            0,
            0,
            family::UNIX,
            u32::MAX,
            ino,
            SHOW,
            u32::MAX,
            u32::MAX,
        ];
        for (place, word) in request.chunks_exact_mut(4).zip(words) {
            place.iter_mut().zip(word.to_ne_bytes()).for_each(|(to, from)| *to = from);
        }
        socket::send(self.fd, &request).map(drop)
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    image::plain::read(bytes, at)
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Takes one answer apart.
fn parse(answer: &[u8]) -> Result<UnixState> {
    if half(answer, 4) != Some(SOCK_DIAG_BY_FAMILY) {
        // NLMSG_ERROR: a negative errno behind the header.
        let errno = word(answer, HEADER).map_or(0, |errno| (errno as i32).wrapping_neg());
        return Err(if errno > 0 { Errno::new(errno) } else { Errno::EPROTO });
    }
    // `struct unix_diag_msg`: family, type, state, padding, inode.
    let mut state = UnixState { ino: word(answer, HEADER + 4).unwrap_or(0), ..UnixState::default() };
    let mut rest = answer.get(HEADER + ANSWER..).unwrap_or_default();
    // `struct nlattr`: length with these four bytes, type; each begins at a multiple of four.
    while let (Some(len), Some(kind)) = (half(rest, 0), half(rest, 2)) {
        let Some(value) = rest.get(4..usize::from(len)) else { break };
        match kind {
            attribute::PEER => (state.peer, state.has) = (word(value, 0).unwrap_or(0), state.has | PEER),
            attribute::VFS => (state.node, state.has) = (word(value, 0).unwrap_or(0), state.has | NODE),
            attribute::SHUTDOWN => state.shutdown = value.first().copied().map_or(0, u32::from),
            attribute::RQLEN => {
                state.queued = word(value, 0).unwrap_or(0);
                state.backlog = word(value, 4).unwrap_or(0);
            }
            _ => {}
        }
        rest = rest.get(usize::from(len).next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(state)
}
