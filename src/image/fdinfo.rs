//! `/proc/PID/fdinfo/N` (`man 5 proc_pid_fdinfo`): what the kernel tells of an open file description.
//!
//! Each kind of file has lines of its own behind the first four; [`parse_line`] knows those that a save needs, and
//! takes the others for [`Line::Other`].

use crate::format::Time;
use crate::number::{decimal, hex, octal, skip_blanks, take_byte, take_decimal, take_hex, take_signed};

/// A buffer for [`crate::lines::Lines`] of this size holds every line; the longest ones are those of inotify, with a file handle in
/// hexadecimal (at most 128 bytes).
pub const LONGEST_LINE: usize = 1024;

/// A line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// `pos`: file offset in bytes.
    Pos(u64),
    /// `flags`: access mode and status flags of open(2), and `O_CLOEXEC` of this very descriptor.
    Flags(u32),
    /// `lock`: a lock or lease that was taken through this open file description.
    Lock(LockLine),
    /// `eventfd-count`.
    EventfdCount(u64),
    /// `eventfd-semaphore` (Linux 6.5).
    EventfdSemaphore(bool),
    /// `sigmask` of a signalfd.
    SignalMask(u64),
    /// `clockid` of a timerfd.
    Clock(i32),
    /// `ticks` of a timerfd: expirations that were not read.
    Ticks(u64),
    /// `settime flags` of a timerfd.
    SettimeFlags(u32),
    /// `it_value` of a timerfd: time until the next expiration.
    Value(Time),
    /// `it_interval` of a timerfd.
    Interval(Time),
    /// `tfd` of an epoll: a file that it watches.
    EpollItem(EpollLine),
    /// `inotify`: a watch.
    Watch(WatchLine<'a>),
    /// `Pid` of a pidfd: in the PID namespace of the reader's `/proc`; -1 when the process has ended.
    Pid(i64),
    /// `scm_fds` of a unix socket: descriptors in messages that nobody has received.
    DescriptorsInFlight(u64),
    /// Anything else.
    Other,
}

/// The type of a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockType {
    /// Of flock(2).
    Flock,
    /// A record lock of a process (`F_SETLK`).
    Posix,
    /// A record lock of an open file description (`F_OFD_SETLK`).
    Ofd,
    /// A lease (`F_SETLEASE`), or a delegation.
    Lease,
}

/// A `lock` line (`man 5 proc_locks`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockLine {
    /// Its type.
    pub kind: LockType,
    /// Exclusive.
    pub write: bool,
    /// First byte.
    pub start: u64,
    /// Last byte; `None`: to the end of the file.
    pub last: Option<u64>,
}

/// A `tfd` line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpollLine {
    /// The number under which the file was added.
    pub number: u32,
    /// Events.
    pub events: u32,
    /// Data word.
    pub data: u64,
    /// Inode of the file.
    pub ino: u64,
}

/// An `inotify` line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchLine<'a> {
    /// Watch descriptor.
    pub wd: u32,
    /// Inode of the watched file.
    pub ino: u64,
    /// Device of its file system as the kernel keeps it: 12 bits of major, 20 of minor number.
    pub dev: u32,
    /// Events and flags.
    pub mask: u32,
    /// Type of the file handle (open_by_handle_at(2)).
    pub handle_type: u32,
    /// Its bytes in hexadecimal; empty when the file system has none.
    pub handle: &'a [u8],
}

/// Parses one line, without its newline. `None` when its name is known, but not its form.
pub fn parse_line(line: &[u8]) -> Option<Line<'_>> {
    if let Some(rest) = line.strip_prefix(b"inotify wd:") {
        return watch(rest).map(Line::Watch);
    }
    let Some(colon) = line.iter().position(|byte| *byte == b':') else { return Some(Line::Other) };
    let (name, rest) = line.split_at_checked(colon)?;
    let value = skip_blanks(take_byte(rest, b':')?);
    Some(match name {
        b"pos" => Line::Pos(decimal(value)?),
        b"flags" => Line::Flags(u32::try_from(octal(value)?).ok()?),
        b"lock" => Line::Lock(lock(value)?),
        b"eventfd-count" => Line::EventfdCount(hex(value)?),
        b"eventfd-semaphore" => Line::EventfdSemaphore(decimal(value)? != 0),
        b"sigmask" => Line::SignalMask(hex(value)?),
        b"clockid" => Line::Clock(i32::try_from(take_signed(value)?.0).ok()?),
        b"ticks" => Line::Ticks(decimal(value)?),
        b"settime flags" => Line::SettimeFlags(u32::try_from(octal(value)?).ok()?),
        b"it_value" => Line::Value(time(value)?),
        b"it_interval" => Line::Interval(time(value)?),
        b"tfd" => Line::EpollItem(epoll_item(value)?),
        b"Pid" => Line::Pid(take_signed(value)?.0),
        b"scm_fds" => Line::DescriptorsInFlight(decimal(value)?),
        _ => Line::Other,
    })
}

/// `(seconds, nanoseconds)`.
fn time(text: &[u8]) -> Option<Time> {
    let (sec, rest) = take_decimal(take_byte(text, b'(')?)?;
    let (frac, rest) = take_decimal(skip_blanks(take_byte(rest, b',')?))?;
    take_byte(rest, b')')?;
    Some(Time { sec: i64::try_from(sec).ok()?, frac: i64::try_from(frac).ok()? })
}

/// What follows `name:` in `text`, blanks skipped.
fn behind<'a>(text: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    Some(skip_blanks(skip_blanks(text).strip_prefix(name)?))
}

/// `3 events: 80000019 data: 3  pos:0 ino:14 sdev:10`, fs/eventpoll.c, `ep_show_fdinfo`.
fn epoll_item(text: &[u8]) -> Option<EpollLine> {
    let (number, rest) = take_decimal(text)?;
    let (events, rest) = take_hex(behind(rest, b"events:")?)?;
    let (data, rest) = take_hex(behind(rest, b"data:")?)?;
    let (_, rest) = take_signed(behind(rest, b"pos:")?)?;
    let (ino, _) = take_hex(behind(rest, b"ino:")?)?;
    Some(EpollLine { number: u32::try_from(number).ok()?, events: u32::try_from(events).ok()?, data, ino })
}

/// `1 ino:3c4a7 sdev:fe00000 mask:100 ignored_mask:0 fhandle-bytes:8 fhandle-type:1 f_handle:a7c4030000000000`, fs/notify/fdinfo.c.
fn watch(text: &[u8]) -> Option<WatchLine<'_>> {
    let (wd, rest) = take_hex(text)?;
    let (ino, rest) = take_hex(behind(rest, b"ino:")?)?;
    let (dev, rest) = take_hex(behind(rest, b"sdev:")?)?;
    let (mask, rest) = take_hex(behind(rest, b"mask:")?)?;
    let (_, rest) = take_hex(behind(rest, b"ignored_mask:")?)?;
    let handle = || {
        let (_, rest) = take_hex(behind(rest, b"fhandle-bytes:")?)?;
        let (kind, rest) = take_hex(behind(rest, b"fhandle-type:")?)?;
        Some((u32::try_from(kind).ok()?, behind(rest, b"f_handle:")?.trim_ascii()))
    };
    let (handle_type, handle) = handle().unwrap_or((0, &[]));
    let word = |value| u32::try_from(value).ok();
    Some(WatchLine { wd: word(wd)?, ino, dev: word(dev)?, mask: word(mask)?, handle_type, handle })
}

/// `1: POSIX  ADVISORY  WRITE 1234 fe:00:10013139 5 14`, fs/locks.c, `lock_get_status`.
fn lock(text: &[u8]) -> Option<LockLine> {
    let mut words = text.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    words.next().filter(|number| number.ends_with(b":"))?;
    let kind = match words.next()? {
        b"FLOCK" => LockType::Flock,
        b"POSIX" => LockType::Posix,
        b"OFDLCK" => LockType::Ofd,
        b"LEASE" | b"DELEG" => LockType::Lease,
        _ => return None,
    };
    let _how = words.next()?;
    let write = match words.next()? {
        b"WRITE" => true,
        b"READ" | b"UNLCK" => false,
        _ => return None,
    };
    let _pid = words.next()?;
    let _file = words.next()?;
    let start = decimal(words.next()?)?;
    let last = match words.next()? {
        b"EOF" => None,
        last => Some(decimal(last)?),
    };
    Some(LockLine { kind, write, start, last })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The texts are those of Linux 6.18.
    #[test]
    fn every_file_has_offset_and_flags() {
        assert_eq!(parse_line(b"pos:\t1234"), Some(Line::Pos(1234)));
        assert_eq!(parse_line(b"flags:\t022700002"), Some(Line::Flags(0o22_700_002)));
        assert_eq!(parse_line(b"mnt_id:\t27"), Some(Line::Other));
        assert_eq!(parse_line(b"ino:\t10013154"), Some(Line::Other));
    }

    #[test]
    fn locks_of_all_types() {
        let lock = |kind, write, start, last| Line::Lock(LockLine { kind, write, start, last });
        for (text, expected) in [
            (
                "lock:\t1: FLOCK  ADVISORY  WRITE 29771 fe:00:10013139 0 EOF",
                lock(LockType::Flock, true, 0, None),
            ),
            (
                "lock:\t2: POSIX  ADVISORY  READ 29771 fe:00:10013139 5 14",
                lock(LockType::Posix, false, 5, Some(14)),
            ),
            (
                "lock:\t3: OFDLCK ADVISORY  WRITE -1 fe:00:10013139 100 106",
                lock(LockType::Ofd, true, 100, Some(106)),
            ),
            ("lock:\t4: LEASE  ACTIVE    READ 1 fe:00:7 0 EOF", lock(LockType::Lease, false, 0, None)),
            ("lock:\t4: LEASE  BREAKING  UNLCK 1 fe:00:7 0 EOF", lock(LockType::Lease, false, 0, None)),
        ] {
            assert_eq!(parse_line(text.as_bytes()), Some(expected), "{text}");
        }
    }

    #[test]
    fn files_of_events() {
        let time = |sec, frac| Time { sec, frac };
        for (text, expected) in [
            ("eventfd-count:                3", Line::EventfdCount(3)),
            ("eventfd-count: fffffffffffffffe", Line::EventfdCount(u64::MAX - 1)),
            ("eventfd-id: 1", Line::Other),
            ("eventfd-semaphore: 1", Line::EventfdSemaphore(true)),
            ("sigmask:\t0000000000000200", Line::SignalMask(0x200)),
            ("clockid: 1", Line::Clock(1)),
            ("ticks: 17", Line::Ticks(17)),
            ("settime flags: 01", Line::SettimeFlags(1)),
            ("it_value: (0, 999953752)", Line::Value(time(0, 999_953_752))),
            ("it_interval: (2, 0)", Line::Interval(time(2, 0))),
            ("Pid:\t29771", Line::Pid(29771)),
            ("Pid:\t-1", Line::Pid(-1)),
            ("NSpid:\t29771", Line::Other),
            ("scm_fds: 2", Line::DescriptorsInFlight(2)),
            (
                "tfd:        3 events: 80000019 data: ffffffffffffff03  pos:0 ino:14 sdev:10",
                Line::EpollItem(EpollLine {
                    number: 3,
                    events: 0x8000_0019,
                    data: 0xffff_ffff_ffff_ff03,
                    ino: 0x14,
                }),
            ),
            (
                "inotify wd:1 ino:3c4a7 sdev:fe00000 mask:80000100 ignored_mask:0 fhandle-bytes:8 fhandle-type:1 \
                 f_handle:a7c4030000000000",
                Line::Watch(WatchLine {
                    wd: 1,
                    ino: 0x3c4a7,
                    dev: 0xfe0_0000,
                    mask: 0x8000_0100,
                    handle_type: 1,
                    handle: b"a7c4030000000000",
                }),
            ),
            (
                "inotify wd:2 ino:5 sdev:16 mask:2 ignored_mask:0 ",
                Line::Watch(WatchLine { wd: 2, ino: 5, dev: 0x16, mask: 2, handle_type: 0, handle: b"" }),
            ),
        ] {
            assert_eq!(parse_line(text.as_bytes()), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_of_another_form_is_nothing() {
        assert_eq!(parse_line(b""), Some(Line::Other));
        for text in [
            "pos:",
            "pos:\tx",
            "flags:\t09",
            "tfd: 3",
            "inotify wd:",
            "lock:\t1:",
            "it_value: 1, 2",
            "lock:\t1: POSIX ADVISORY WRITE 1 f:0:1 5 x",
        ] {
            assert_eq!(parse_line(text.as_bytes()), None, "{text}");
        }
    }
}
