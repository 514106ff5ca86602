//! What [`OpenFile::detail`] holds, for each kind of file that has more to tell than its path, flags and offset.
//!
//! A detail is one struct. Where it goes on in a table, the struct has a [`Blob`] of it.

use crate::format::{Blob, OpenFile, Timer, file_kind};
use crate::plain::{Plain, Table, plain};
use crate::read::Image;

plain! {
    /// [`file_kind::PIPE`] and [`file_kind::FIFO`]. [`OpenFile::peer`] is the first open file of the same pipe, which may be this very
    /// one; only that one has [`OpenFile::queued`].
    pub struct Pipe[16] {
        /// Capacity in bytes (`F_GETPIPE_SZ`).
        pub size: u32,
        /// [`pipe_flag`].
        pub flags: u32,
        /// With [`pipe_flag::PACKETS`]: the lengths of the packets that are queued, as `u32`.
        pub packets: Blob,
    }
}

/// Bits of [`Pipe::flags`].
pub mod pipe_flag {
    /// What is queued is packets (`O_DIRECT`, pipe(2)).
    pub const PACKETS: u32 = 1;
    /// Of a FIFO: a writer has been there, and is gone (`POLLHUP`).
    pub const HUNG_UP: u32 = 2;
}

plain! {
    /// [`file_kind::EVENTFD`] (eventfd(2)).
    pub struct Eventfd[16] {
        /// The counter.
        pub count: u64,
        /// `EFD_SEMAPHORE`: 1, or 0.
        pub semaphore: u32,
        /// Zero.
        pub reserved: u32,
    }
}

plain! {
    /// [`file_kind::TIMERFD`] (timerfd_create(2)).
    pub struct Timerfd[48] {
        /// Its clock.
        pub clock: i32,
        /// Flags of the last timerfd_settime(2): `TFD_TIMER_ABSTIME` 1, `TFD_TIMER_CANCEL_ON_SET` 2.
        pub flags: u32,
        /// Expirations that were not read yet.
        pub ticks: u64,
        /// Time until the next one, and period; fractions are nanoseconds.
        pub timer: Timer,
    }
}

plain! {
    /// [`file_kind::SIGNALFD`] (signalfd(2)).
    pub struct Signalfd[8] {
        /// The signals that it takes.
        pub mask: u64,
    }
}

plain! {
    /// [`file_kind::EPOLL`] (epoll(7)).
    pub struct Epoll[16] {
        /// 1 when an event was waiting to be fetched, else 0.
        pub ready: u32,
        /// Zero.
        pub reserved: u32,
        /// What it watches: [`EpollItem`]s.
        pub items: Blob,
    }
}

plain! {
    /// A file that an epoll watches (epoll_ctl(2)).
    pub struct EpollItem[24] {
        /// The number under which it was added; another file may have that number by now.
        pub number: u32,
        /// Index in OPEN_FILES.
        pub file: u32,
        /// Events and `EPOLLET`, `EPOLLONESHOT`, `EPOLLEXCLUSIVE`, `EPOLLWAKEUP`. A one-shot entry that has fired has no events.
        pub events: u32,
        /// Zero.
        pub reserved: u32,
        /// Data word.
        pub data: u64,
    }
}

plain! {
    /// [`file_kind::INOTIFY`] (inotify(7)).
    pub struct Inotify[8] {
        /// [`InotifyWatch`]es by ascending descriptor.
        pub watches: Blob,
    }
}

plain! {
    /// A watch of an inotify (inotify_add_watch(2)).
    pub struct InotifyWatch[16] {
        /// Watch descriptor.
        pub wd: u32,
        /// Events and flags.
        pub mask: u32,
        /// A path of the watched file.
        pub path: Blob,
    }
}

plain! {
    /// [`file_kind::TERMINAL`].
    pub struct Terminal[64] {
        /// `struct termios2` (`TCGETS2`, include/uapi/asm-generic/termbits.h).
        pub termios: [u8; 44],
        /// `struct winsize` (`TIOCGWINSZ`): rows, columns, width and height in pixels.
        pub window: [u16; 4],
        /// [`terminal_flag`].
        pub flags: u32,
        /// Zero.
        pub reserved: u64,
    }
}

/// Bits of [`Terminal::flags`].
pub mod terminal_flag {
    /// It is the controlling terminal of the process.
    pub const CONTROLLING: u32 = 1;
    /// The process was in its foreground process group.
    pub const FOREGROUND: u32 = 2;
    /// It has hung up, or its controlling side was closed: nothing but the end can be read.
    pub const HUNG_UP: u32 = 4;
}

plain! {
    /// [`file_kind::UNIX_PAIR`], [`file_kind::UNIX_SOCKET`], [`file_kind::TCP`] and [`file_kind::UDP`].
    pub struct Socket[96] {
        /// `AF_UNIX` 1, `AF_INET` 2, `AF_INET6` 10.
        pub domain: u32,
        /// `SOCK_STREAM` 1, `SOCK_DGRAM` 2, `SOCK_SEQPACKET` 5.
        pub kind: u32,
        /// Protocol, as `SO_PROTOCOL` gives it.
        pub protocol: u32,
        /// [`socket_flag`].
        pub flags: u32,
        /// Second argument of listen(2).
        pub backlog: u32,
        /// Zero.
        pub reserved: u32,
        /// `sockaddr` that it is bound to; empty when it is not.
        pub name: Blob,
        /// `sockaddr` that it is connected to, where that is no more than an address (UDP, unix datagrams); else empty.
        pub peer_name: Blob,
        /// [`SocketOption`]s that differ from those of a new socket.
        pub options: Blob,
        /// Lengths of the messages that are queued, as `u32`; empty for a stream, which has none.
        pub messages: Blob,
        /// Of a unix socket with a path: device of its file at the save.
        pub dev: u64,
        /// Inode of that file; zero when the path is not (or no longer) its.
        pub ino: u64,
        /// `st_mode` of that file.
        pub mode: u32,
        /// Zero.
        pub pad: u32,
        /// Owner of that file: user.
        pub uid: u32,
        /// Owner of that file: group.
        pub gid: u32,
        /// Room to grow; zero.
        pub room: u64,
    }
}

/// Bits of [`Socket::flags`].
pub mod socket_flag {
    /// listen(2) was called.
    pub const LISTENING: u32 = 1;
    /// Receiving was shut down (shutdown(2)).
    pub const SHUT_READ: u32 = 2;
    /// Sending was shut down.
    pub const SHUT_WRITE: u32 = 4;
    /// The other end of a pair was closed with unread bytes in it: reading gives ECONNRESET at the end.
    pub const RESET: u32 = 8;
    /// The address that it is bound to was none of the machine: bound with `IP_FREEBIND`, which may have been taken back since.
    pub const FREEBIND: u32 = 16;
}

plain! {
    /// An option of a socket (setsockopt(2)).
    pub struct SocketOption[32] {
        /// Level: `SOL_SOCKET` 1, or a protocol.
        pub level: u32,
        /// Its number.
        pub name: u32,
        /// Length of its value in bytes, at most 16.
        pub len: u32,
        /// Zero.
        pub reserved: u32,
        /// Its value, and zeros.
        pub value: [u8; 16],
    }
}

impl<'a> Image<'a> {
    /// The detail of an open file; zeros when it has none of this type.
    pub fn detail<T: Plain + Default>(&self, file: &OpenFile) -> T {
        crate::plain::read(self.bytes(file.detail), 0).unwrap_or_default()
    }

    /// A table that a detail refers to.
    pub fn entries<T: Plain>(&self, table: Blob) -> Table<'a, T> {
        Table::new(self.bytes(table)).unwrap_or(Table::empty())
    }
}

/// Length in bytes of the detail of a kind of file.
pub fn length(kind: u32) -> usize {
    match kind {
        file_kind::PIPE | file_kind::FIFO => size_of::<Pipe>(),
        file_kind::EVENTFD => size_of::<Eventfd>(),
        file_kind::TIMERFD => size_of::<Timerfd>(),
        file_kind::SIGNALFD => size_of::<Signalfd>(),
        file_kind::EPOLL => size_of::<Epoll>(),
        file_kind::INOTIFY => size_of::<Inotify>(),
        file_kind::TERMINAL => size_of::<Terminal>(),
        file_kind::UNIX_PAIR | file_kind::UNIX_SOCKET | file_kind::TCP | file_kind::UDP => {
            size_of::<Socket>()
        }
        _ => 0,
    }
}
