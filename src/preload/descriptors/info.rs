//! `/proc/PID/fdinfo/N`.

use super::Table;
use crate::helper::Stop;
use crate::message::{Failure, Kind};
use crate::process::proc_has_number;
use image::details::EpollItem;
use image::fdinfo::{Line, LockLine, LockType, parse_line};
use image::format::{Blob, Lock, NONE, Timer};
use image::lines::{Lines, LinesError};
use image::plain::bytes_of;
use sys::fd::{self, open_flag};
use sys::{descriptor, process};

const NAME: &str = "/proc/PID/fdinfo";
/// At least [`image::fdinfo::LONGEST_LINE`], and large enough for most files in one read.
const BUFFER: usize = 4096;
const _: () = assert!(BUFFER >= image::fdinfo::LONGEST_LINE);

/// Where the kernel tells of the target's table. The helper's own copy of it will do for everything but record locks: those belong to
/// the table itself.
pub struct Target {
    /// Its process id.
    pub pid: u32,
    /// That of the caller, who has a copy of its table.
    pub own: u32,
    /// `/proc/PID` of the target, or -1.
    dir: i32,
}

impl Target {
    /// `dir` is `/proc/PID`, or -1.
    pub fn new(pid: u32, dir: i32) -> Self {
        let own = process::pid();
        Self { pid, own, dir: if proc_has_number(own) { dir } else { -1 } }
    }
}

/// What the kernel tells of an open file description, and of the descriptor by which it was asked.
#[derive(Clone, Copy, Default)]
pub struct Info {
    /// File offset.
    pub pos: u64,
    /// Flags, `O_CLOEXEC` of the descriptor included.
    pub flags: u32,
    /// flock(2): 0 none, 1 shared, 2 exclusive.
    pub flock: u32,
    /// Record locks: [`Lock`]s.
    pub locks: Blob,
    /// There is a lease.
    pub lease: bool,
    /// Counter of an eventfd.
    pub count: u64,
    /// Whether an eventfd is a semaphore; `None` before Linux 6.5.
    pub semaphore: Option<bool>,
    /// Signals of a signalfd.
    pub mask: u64,
    /// Clock of a timerfd.
    pub clock: i32,
    /// Expirations of a timerfd.
    pub ticks: u64,
    /// Flags of a timerfd.
    pub settime: u32,
    /// Time of a timerfd.
    pub timer: Timer,
    /// Whether a timerfd ran a moment before.
    pub ran: bool,
    /// Items of an epoll: [`EpollItem`]s, whose files are not known yet.
    pub items: Blob,
    /// Process of a pidfd.
    pub pid: i64,
    /// Descriptors in unread messages of a unix socket.
    pub in_flight: u64,
}

/// Reads all there is.
pub fn read(table: &mut Table<'_>, number: u32) -> Result<Info, Stop> {
    let mut info = Info::default();
    let mut whole = 0u32;
    let from_target = each(table, number, &mut |table, line| {
        match line {
            Line::Pos(pos) => (info.pos, whole) = (pos, whole | 1),
            Line::Flags(flags) => (info.flags, whole) = (flags, whole | 2),
            Line::Lock(lock) => add_lock(table, &mut info, lock)?,
            Line::EventfdCount(count) => info.count = count,
            Line::EventfdSemaphore(semaphore) => info.semaphore = Some(semaphore),
            Line::SignalMask(mask) => info.mask = mask,
            Line::Clock(clock) => info.clock = clock,
            Line::Ticks(ticks) => info.ticks = ticks,
            Line::SettimeFlags(flags) => info.settime = flags,
            Line::Value(time) => info.timer.value = time,
            Line::Interval(time) => info.timer.interval = time,
            Line::EpollItem(item) => {
                let item = EpollItem {
                    number: item.number,
                    file: NONE,
                    events: item.events,
                    // For `epoll::describe`, which makes it zero.
                    reserved: item.ino as u32,
                    data: item.data,
                };
                table.scratch.append(&mut info.items, bytes_of(&item))?;
            }
            Line::Pid(pid) => info.pid = pid,
            Line::DescriptorsInFlight(count) => info.in_flight = count,
            Line::Watch(_) | Line::Other => {}
        }
        Ok(())
    })?;
    if whole != 3 {
        return Err(Failure::ProcText(NAME).into());
    }
    if !from_target {
        check_hidden_locks(table, number)?;
    }
    Ok(info)
}

/// Shows every line to `visit`. Tells whether they are the target's own, with its record locks.
pub fn each<'t>(
    table: &mut Table<'t>,
    number: u32,
    visit: &mut dyn FnMut(&mut Table<'t>, Line<'_>) -> Result<(), Stop>,
) -> Result<bool, Stop> {
    let flags = open_flag::RDONLY | open_flag::CLOEXEC;
    let mut path = sys::line::Line::<48>::new();
    path.text("fdinfo/").dec(u64::from(number)).text("\0");
    let own = |path: &mut sys::line::Line<48>| {
        path.text("/proc/self/fdinfo/").dec(u64::from(number)).text("\0");
    };
    let opened = if table.target.dir >= 0 {
        fd::open_at(table.target.dir, path.as_bytes(), flags, 0).ok()
    } else {
        None
    };
    let (from, from_target) = match opened {
        Some(from) => (from, true),
        None => {
            let mut path = sys::line::Line::<48>::new();
            own(&mut path);
            let from = fd::open_at(fd::AT_FDCWD, path.as_bytes(), flags, 0)
                .map_err(|errno| Failure::Proc(NAME, errno))?;
            (from, table.target.own == table.target.pid)
        }
    };
    let result = lines(table, from, visit);
    let _ = fd::close(from);
    result.map(|()| from_target)
}

fn lines<'t>(
    table: &mut Table<'t>,
    from: i32,
    visit: &mut dyn FnMut(&mut Table<'t>, Line<'_>) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let mut lines = Lines::<BUFFER>::new();
    // The kernel makes the text in one piece: a read that does not fill the buffer was the last one.
    let mut ended = false;
    let mut read = |buf: &mut [u8]| {
        let len = if ended { 0 } else { fd::read(from, buf)? };
        ended = len < buf.len();
        Ok(len)
    };
    loop {
        match lines.next_line(&mut read) {
            Ok(Some(line)) => visit(table, parse_line(line).ok_or(Failure::ProcText(NAME))?)?,
            Ok(None) => return Ok(()),
            Err(LinesError::Read(errno)) => return Err(Failure::Proc(NAME, errno).into()),
            Err(LinesError::TooLong) => return Err(Failure::ProcText(NAME).into()),
        }
    }
}

fn add_lock(table: &mut Table<'_>, info: &mut Info, lock: LockLine) -> Result<(), Stop> {
    match lock.kind {
        LockType::Flock => info.flock = if lock.write { 2 } else { 1 },
        LockType::Lease => info.lease = true,
        LockType::Posix | LockType::Ofd => {
            let entry = Lock {
                start: lock.start,
                len: lock.last.map_or(0, |last| last.wrapping_sub(lock.start).wrapping_add(1)),
                kind: u16::from(lock.write),
                ofd: u16::from(lock.kind == LockType::Ofd),
                reserved: 0,
            };
            table.scratch.append(&mut info.locks, bytes_of(&entry))?;
        }
    }
    Ok(())
}

/// Where only the copy of the table could be read (the target is not dumpable, or /proc is another namespace's), record locks cannot be listed,
/// only noticed.
fn check_hidden_locks(table: &Table<'_>, number: u32) -> Result<(), Stop> {
    let kind = Kind {
        what: "a file with record locks, which /proc does not show here",
        advice: "release them before the save",
    };
    match descriptor::conflicting_lock(number as i32) {
        Ok(Some(lock)) if lock.pid as u32 == table.target.pid => {
            Err(Failure::Descriptor(number as i32, kind).into())
        }
        // EBADF: opened with O_PATH. Others: files that have no locks.
        _ => Ok(()),
    }
}
