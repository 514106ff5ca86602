//! The system calls of this folder in the notation of strace(1); [`crate::print`] has the others.

use crate::op::Op;
use crate::print::Text;
use image::plain::read;
use sys::Sysno;
use sys::fd::{fcntl, open_flag};
use sys::socket::{family, kind};

/// Writes the arguments of `op`, if it is one of these calls; tells whether it is.
pub fn arguments(op: &Op, line: &mut Text) -> bool {
    let [a, b, c, d, e, f] = op.args;
    let Some(nr) = op.sysno() else { return false };
    match nr {
        Sysno::pipe2 => {
            ends(a, line);
            flags(line.text(", "), b, &[(u64::from(open_flag::CLOEXEC), "O_CLOEXEC")]);
        }
        Sysno::socketpair => {
            socket_kind(a, b, line);
            line.text(", ").dec(c).text(", ");
            ends(d, line);
        }
        Sysno::socket => {
            socket_kind(a, b, line);
            protocol(a, c, line.text(", "));
        }
        Sysno::fcntl => control(a, b, c, line),
        Sysno::eventfd2 => {
            const FLAGS: [(u64, &str); 3] =
                [(0o2_000_000, "EFD_CLOEXEC"), (0o4000, "EFD_NONBLOCK"), (1, "EFD_SEMAPHORE")];
            flags(line.dec(a).text(", "), b, &FLAGS);
        }
        Sysno::timerfd_create => {
            clock(a, line);
            flags(line.text(", "), b, &[(0o2_000_000, "TFD_CLOEXEC"), (0o4000, "TFD_NONBLOCK")]);
        }
        Sysno::timerfd_settime => {
            int(a, line).text(", ");
            flags(line, b, &[(1, "TFD_TIMER_ABSTIME"), (2, "TFD_TIMER_CANCEL_ON_SET")]);
            line.text(", {...}, NULL");
        }
        Sysno::signalfd4 => {
            int(a, line).text(", [...], ").dec(c).text(", ");
            flags(line, d, &[(0o2_000_000, "SFD_CLOEXEC"), (0o4000, "SFD_NONBLOCK")]);
        }
        Sysno::epoll_create1 => flags(line, a, &[(0o2_000_000, "EPOLL_CLOEXEC")]),
        Sysno::epoll_ctl => {
            int(a, line).text(", EPOLL_CTL_ADD, ");
            int(c, line).text(", {...}");
        }
        Sysno::epoll_wait => {
            int(a, line).text(", [...], ").dec(c).text(", 0");
        }
        Sysno::inotify_init1 => flags(line, a, &[(0o4000, "IN_NONBLOCK"), (0o2_000_000, "IN_CLOEXEC")]),
        Sysno::inotify_add_watch => {
            int(a, line).text(", ");
            path(b, line);
            flags(line.text(", "), c, &WATCH);
        }
        Sysno::pidfd_open => {
            flags(line.dec(a).text(", "), b, &[(0o4000, "PIDFD_NONBLOCK"), (0o200, "PIDFD_THREAD")]);
        }
        Sysno::flock => {
            flags(int(a, line).text(", "), b, &[(1, "LOCK_SH"), (2, "LOCK_EX"), (4, "LOCK_NB")]);
        }
        Sysno::sendfile => {
            int(b, int(a, line).text(", ")).text(", NULL, ").dec(d);
        }
        Sysno::ftruncate | Sysno::listen => {
            int(a, line).text(", ").dec(b);
        }
        Sysno::kill => {
            crate::print::signal(b, int(a, line).text(", "));
        }
        Sysno::shutdown => {
            int(a, line).text(if b == 0 { ", SHUT_RD" } else { ", SHUT_WR" });
        }
        Sysno::write => {
            buffer(b, c, int(a, line).text(", "));
            line.text(", ").dec(c);
        }
        Sysno::sendto => {
            buffer(b, c, int(a, line).text(", "));
            line.text(", ").dec(c).text(", MSG_DONTWAIT, ");
            address(e, f, line);
            line.text(", ").dec(f);
        }
        Sysno::bind | Sysno::connect => {
            address(b, c, int(a, line).text(", "));
            line.text(", ").dec(c);
        }
        Sysno::setsockopt => {
            int(a, line).text(", ");
            option(b, c, line);
            line.text(", [...], ").dec(e);
        }
        Sysno::ioctl => {
            line.text("");
            request(a, b, c, line);
        }
        Sysno::unlinkat => {
            path(b, int(a, line).text(", "));
            line.text(", 0");
        }
        Sysno::renameat2 => {
            path(b, int(a, line).text(", "));
            path(d, int(c, line.text(", ")).text(", "));
            flags(line.text(", "), e, &[(1, "RENAME_NOREPLACE")]);
        }
        Sysno::fchown => {
            int(a, line).text(", ").dec(b).text(", ").dec(c);
        }
        Sysno::fchownat => {
            path(b, int(a, line).text(", "));
            line.text(", ").dec(c).text(", ").dec(d);
            flags(line.text(", "), e, &[(0x100, "AT_SYMLINK_NOFOLLOW")]);
        }
        Sysno::fchmodat => {
            path(b, line.text("AT_FDCWD, "));
            octal(c, line.text(", "));
        }
        _ => return false,
    }
    true
}

const WATCH: [(u64, &str); 14] = [
    (1, "IN_ACCESS"),
    (2, "IN_MODIFY"),
    (4, "IN_ATTRIB"),
    (8, "IN_CLOSE_WRITE"),
    (0x10, "IN_CLOSE_NOWRITE"),
    (0x20, "IN_OPEN"),
    (0x40, "IN_MOVED_FROM"),
    (0x80, "IN_MOVED_TO"),
    (0x100, "IN_CREATE"),
    (0x200, "IN_DELETE"),
    (0x400, "IN_DELETE_SELF"),
    (0x800, "IN_MOVE_SELF"),
    (0x0200_0000, "IN_DONT_FOLLOW"),
    (0x8000_0000, "IN_ONESHOT"),
];

fn int(value: u64, line: &mut Text) -> &mut Text {
    line.int(i64::from(value as i32))
}

fn octal(value: u64, line: &mut Text) {
    line.text("0");
    for shift in [9, 6, 3, 0] {
        if value >> shift != 0 {
            line.dec(value >> shift & 7);
        }
    }
}

/// Names of bits, joined by `|`; 0 without any.
fn flags(line: &mut Text, mut value: u64, names: &[(u64, &str)]) {
    let mut first = true;
    for (bit, name) in names {
        if value & bit != 0 {
            line.text(if core::mem::take(&mut first) { "" } else { "|" }).text(name);
            value &= !bit;
        }
    }
    if value != 0 {
        line.text(if core::mem::take(&mut first) { "" } else { "|" }).hex(value);
    }
    if first {
        line.text("0");
    }
}

/// Two descriptors, as the plan knows them beforehand.
fn ends(pointer: u64, line: &mut Text) {
    // SAFETY: the plan keeps the two numbers there.
    let [one, other] = unsafe { (pointer as *const [u32; 2]).read() };
    line.text("[").dec(u64::from(one)).text(", ").dec(u64::from(other)).text("]");
}

fn path(pointer: u64, line: &mut Text) {
    // SAFETY: the plan passes NUL-terminated strings to calls that take strings.
    crate::print::quoted(unsafe { core::ffi::CStr::from_ptr(pointer as *const _) }.to_bytes(), line);
}

/// The first bytes of a buffer.
fn buffer(pointer: u64, len: u64, line: &mut Text) {
    /// strace's abbreviation (`-s`).
    const SHOWN: usize = 32;
    // SAFETY: the plan writes bytes of the image, or values that it keeps.
    let bytes = unsafe { core::slice::from_raw_parts(pointer as *const u8, len as usize) };
    crate::print::quoted(bytes.get(..SHOWN).unwrap_or(bytes), line);
    if bytes.len() > SHOWN {
        line.text("...");
    }
}

fn socket_kind(domain: u64, value: u64, line: &mut Text) {
    match domain as u32 {
        family::UNIX => line.text("AF_UNIX, "),
        family::INET => line.text("AF_INET, "),
        family::INET6 => line.text("AF_INET6, "),
        _ => line.hex(domain).text(" /* AF_??? */, "),
    };
    match value as u32 & 15 {
        kind::STREAM => line.text("SOCK_STREAM"),
        kind::DGRAM => line.text("SOCK_DGRAM"),
        kind::SEQPACKET => line.text("SOCK_SEQPACKET"),
        other => line.hex(u64::from(other)),
    };
    for (bit, name) in [(0o2_000_000, "|SOCK_CLOEXEC"), (0o4000, "|SOCK_NONBLOCK")] {
        line.text(if value & bit != 0 { name } else { "" });
    }
}

fn protocol(domain: u64, value: u64, line: &mut Text) {
    match (domain as u32, value) {
        (family::UNIX, _) => line.dec(value),
        (_, 0) => line.text("IPPROTO_IP"),
        (_, 6) => line.text("IPPROTO_TCP"),
        (_, 17) => line.text("IPPROTO_UDP"),
        (_, 262) => line.text("IPPROTO_MPTCP"),
        _ => line.hex(value).text(" /* IPPROTO_??? */"),
    };
}

fn clock(value: u64, line: &mut Text) {
    const CLOCKS: [(u64, &str); 5] = [
        (0, "CLOCK_REALTIME"),
        (1, "CLOCK_MONOTONIC"),
        (7, "CLOCK_BOOTTIME"),
        (8, "CLOCK_REALTIME_ALARM"),
        (9, "CLOCK_BOOTTIME_ALARM"),
    ];
    match CLOCKS.iter().find(|(number, _)| *number == value) {
        Some((_, name)) => line.text(name),
        None => line.hex(value).text(" /* CLOCK_??? */"),
    };
}

fn control(fd: u64, command: u64, arg: u64, line: &mut Text) {
    int(fd, line).text(", ");
    match command as u32 {
        fcntl::SETFL => {
            const MODES: [&str; 4] = ["O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE"];
            const FLAGS: [(u64, &str); 5] = [
                (0o2000, "O_APPEND"),
                (0o4000, "O_NONBLOCK"),
                (0o20000, "O_ASYNC"),
                (0o40000, "O_DIRECT"),
                (0o1_000_000, "O_NOATIME"),
            ];
            line.text("F_SETFL, ").text(MODES.get(arg as usize & 3).unwrap_or(&""));
            let mut rest = arg & !3;
            for (bit, name) in FLAGS {
                if rest & bit != 0 {
                    line.text("|").text(name);
                    rest &= !bit;
                }
            }
            if rest != 0 {
                line.text("|").hex(rest);
            }
        }
        fcntl::SETFD => {
            line.text("F_SETFD, ").text(if arg == 0 { "0" } else { "FD_CLOEXEC" });
        }
        fcntl::SETPIPE_SZ => {
            line.text("F_SETPIPE_SZ, ").dec(arg);
        }
        fcntl::SETOWN_EX => {
            line.text("F_SETOWN_EX, {...}");
        }
        fcntl::SETSIG => {
            line.text("F_SETSIG, ");
            crate::print::signal(arg, line);
        }
        fcntl::SETLK => {
            line.text("F_SETLK, {...}");
        }
        fcntl::OFD_SETLK => {
            line.text("F_OFD_SETLK, {...}");
        }
        fcntl::ADD_SEALS => {
            const SEALS: [(u64, &str); 6] = [
                (1, "F_SEAL_SEAL"),
                (2, "F_SEAL_SHRINK"),
                (4, "F_SEAL_GROW"),
                (8, "F_SEAL_WRITE"),
                (0x10, "F_SEAL_FUTURE_WRITE"),
                (0x20, "F_SEAL_EXEC"),
            ];
            flags(line.text("F_ADD_SEALS, "), arg, &SEALS);
        }
        _ => {
            line.hex(command).text(" /* F_??? */, ").hex(arg);
        }
    }
}

fn request(fd: u64, request: u64, arg: u64, line: &mut Text) {
    int(fd, line).text(", ");
    match request {
        0x402c_542b => line.text("TCSETS2, {...}"),
        0x4008_5400 => line.text("TFD_IOC_SET_TICKS, [...]"),
        0x4004_4900 => line.text("INOTIFY_IOC_SETNEXTWD, ").dec(arg),
        0x4004_5431 => line.text("TIOCSPTLCK, [0]"),
        0x5441 => line.text("TIOCGPTPEER, ").hex(arg),
        _ => line.hex(request).text(", ").hex(arg),
    };
}

/// Level and name of the options that are named most; others are numbers.
fn option(level: u64, name: u64, line: &mut Text) {
    const SOCKET: [(u64, &str); 14] = [
        (2, "SO_REUSEADDR"),
        (6, "SO_BROADCAST"),
        (7, "SO_SNDBUF"),
        (8, "SO_RCVBUF"),
        (9, "SO_KEEPALIVE"),
        (13, "SO_LINGER"),
        (15, "SO_REUSEPORT"),
        (16, "SO_PASSCRED"),
        (18, "SO_RCVLOWAT"),
        (20, "SO_RCVTIMEO_OLD"),
        (21, "SO_SNDTIMEO_OLD"),
        (32, "SO_SNDBUFFORCE"),
        (33, "SO_RCVBUFFORCE"),
        (42, "SO_PEEK_OFF"),
    ];
    const TCP: [(u64, &str); 6] = [
        (1, "TCP_NODELAY"),
        (4, "TCP_KEEPIDLE"),
        (5, "TCP_KEEPINTVL"),
        (6, "TCP_KEEPCNT"),
        (9, "TCP_DEFER_ACCEPT"),
        (23, "TCP_FASTOPEN"),
    ];
    let (level_name, names): (&str, &[(u64, &str)]) = match level {
        0 => ("SOL_IP", &[(1, "IP_TOS"), (2, "IP_TTL"), (15, "IP_FREEBIND")]),
        1 => ("SOL_SOCKET", &SOCKET),
        6 => ("SOL_TCP", &TCP),
        17 => ("SOL_UDP", &[]),
        41 => ("SOL_IPV6", &[(26, "IPV6_V6ONLY")]),
        _ => ("SOL_???", &[]),
    };
    line.text(level_name).text(", ");
    match names.iter().find(|(number, _)| *number == name) {
        Some((_, text)) => line.text(text),
        None => line.hex(name),
    };
}

/// A socket's address.
fn address(pointer: u64, len: u64, line: &mut Text) {
    if pointer == 0 {
        line.text("NULL");
        return;
    }
    // SAFETY: the plan passes addresses with their lengths.
    let bytes = unsafe { core::slice::from_raw_parts(pointer as *const u8, len as usize) };
    let [low, high, rest @ ..] = bytes else { return };
    let port = |rest: &[u8]| rest.first_chunk().map_or(0, |port| u64::from(u16::from_be_bytes(*port)));
    match u32::from(u16::from_ne_bytes([*low, *high])) {
        family::UNIX if rest.first() == Some(&0) => {
            line.text("{sa_family=AF_UNIX, sun_path=@");
            crate::print::quoted(rest.get(1..).unwrap_or_default(), line);
        }
        family::UNIX => {
            line.text("{sa_family=AF_UNIX, sun_path=");
            let end = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
            crate::print::quoted(rest.get(..end).unwrap_or_default(), line);
        }
        family::INET => {
            line.text("{sa_family=AF_INET, sin_port=htons(").dec(port(rest)).text("), sin_addr=inet_addr(\"");
            for (index, byte) in rest.iter().skip(2).take(4).enumerate() {
                line.text(if index == 0 { "" } else { "." }).dec(u64::from(*byte));
            }
            line.text("\")");
        }
        family::INET6 => {
            line.text("{sa_family=AF_INET6, sin6_port=htons(").dec(port(rest)).text("), [");
            for (index, pair) in rest.get(6..22).unwrap_or_default().chunks_exact(2).enumerate() {
                let word = read::<u16>(pair, 0).unwrap_or(0);
                line.text(if index == 0 { "" } else { ":" }).bare_hex(u64::from(u16::from_be(word)));
            }
            line.text("]");
        }
        other => {
            line.text("{sa_family=").hex(u64::from(other));
        }
    }
    line.text("}");
}
