//! Pipes and FIFOs.
//!
//! What is queued is looked at by tee(2), through a pipe of our own. Which ends there are elsewhere is told by poll(2): an end that
//! reports neither a hang-up (no writer) nor an error (no reader) has somebody at the other end, and if that is not in the
//! table, it is outside.

use super::{Table, named, refused};
use crate::helper::Stop;
use crate::message::{Failure, Kind};
use image::details::{Pipe, pipe_flag};
use image::format::{Blob, OpenFile, file_kind};
use image::plain::{bytes_of, write};
use sys::Errno;
use sys::descriptor::{poll_event, poll_now, readable_bytes, tee};
use sys::fd::{self, fcntl, open_flag};

const OUTSIDE: Kind = refused("a pipe whose other end belongs to another process");
/// Capacity of a new pipe in bytes (pipe(7)).
const DEFAULT_SIZE: u32 = 65536;
const LARGE: Kind = Kind {
    what: "a pipe that is larger than the process may make one",
    advice: "raise /proc/sys/fs/pipe-max-size, or save and restart it as root",
};
const NAMELESS: Kind =
    refused("a named pipe that has lost its name, and whose other end belongs to another process");
const TOO_LARGE: Kind = Kind {
    what: "a pipe with more in it than may be copied",
    advice: "raise /proc/sys/fs/pipe-user-pages-soft, or save when the pipe has been read",
};

/// A pipe, or a FIFO, which has a path.
pub fn kind(link: &[u8]) -> u32 {
    if link.starts_with(b"pipe:[") { file_kind::PIPE } else { file_kind::FIFO }
}

fn reads(file: &OpenFile) -> bool {
    file.flags & open_flag::ACCMODE != open_flag::WRONLY
}

fn writes(file: &OpenFile) -> bool {
    file.flags & open_flag::ACCMODE != open_flag::RDONLY
}

/// Decides whether a pipe can be restored, and reads what is queued.
pub fn describe(table: &mut Table<'_>, index: usize) -> Result<(), Stop> {
    let file = table.file(index);
    let leader = table.same_inode(&file).min().unwrap_or(index);
    let reader = table.same_inode(&file).find(|other| reads(&table.file(*other)));
    let writer = table.same_inode(&file).find(|other| writes(&table.file(*other)));
    let hung_up = match reader {
        Some(reader) => has(table.number(reader), poll_event::IN, poll_event::HUP)?,
        None => false,
    };
    let broken = match writer {
        Some(writer) => has(table.number(writer), poll_event::OUT, poll_event::ERR)?,
        None => false,
    };
    let is_lonely = reader.is_none() && !broken || writer.is_none() && !hung_up;
    // A FIFO is a meeting place: it is opened again, whoever else comes. On 0 to 2 it is as good as a pipe.
    let standard = table.same_inode(&file).any(|other| table.standard(other).is_some());
    if is_lonely && (file.kind == file_kind::PIPE || standard) {
        return table.outside(index, OUTSIDE);
    }
    if file.kind == file_kind::FIFO && has_lost_its_name(table, &file) {
        if is_lonely {
            return table.outside(index, NAMELESS);
        }
        // Nobody else can come to it any more: it is a pipe.
        if let Some(file) = table.files.get_mut(index) {
            file.kind = file_kind::PIPE;
        }
    } else if file.kind == file_kind::FIFO {
        let stat = fd::stat_fd(table.number(index)).map_err(|errno| Failure::Ask("fstat", errno))?;
        if let Err(kind) = named::may_open(table, &file, &stat) {
            return Err(Failure::Descriptor(table.number(index), kind).into());
        }
    }
    let size = fd::control(table.number(index), fcntl::GETPIPE_SZ, 0)
        .map_err(|errno| Failure::Ask("fcntl", errno))? as u32;
    if index == leader && size > DEFAULT_SIZE && !may_be(size) {
        return Err(Failure::Descriptor(table.number(index), LARGE).into());
    }
    let mut detail =
        Pipe { size, flags: if hung_up { pipe_flag::HUNG_UP } else { 0 }, packets: Blob::default() };
    let mut queued = Blob::default();
    if index == leader
        && let Some(reader) = reader
    {
        let packets = table.same_inode(&file).any(|other| table.file(other).flags & open_flag::DIRECT != 0);
        queued = contents(table, table.number(reader), &mut detail, packets)?;
    }
    let detail = table.scratch.bytes(bytes_of(&detail))?;
    if let Some(file) = table.files.get_mut(index) {
        (file.detail, file.queued, file.peer) = (detail, queued, leader as u32);
    }
    Ok(())
}

fn has_lost_its_name(table: &Table<'_>, file: &OpenFile) -> bool {
    fd::stat_at(fd::AT_FDCWD, table.scratch.c_str(file.path), true)
        .map_or(true, |stat| (stat.dev, stat.ino) != (file.dev, file.ino))
}

/// Whether a pipe can be made so large: a privileged process may have done that.
fn may_be(size: u32) -> bool {
    let Ok([from, to]) = fd::pipe(open_flag::CLOEXEC) else { return false };
    let result = enlarge(to, size);
    let _ = (fd::close(from), fd::close(to));
    result.is_ok()
}

/// Whether poll(2) reports `event` beside what is asked for.
fn has(fd: i32, ask: i16, event: i16) -> Result<bool, Failure> {
    poll_now(fd, ask).map(|events| events & event != 0).map_err(|errno| Failure::Ask("poll", errno))
}

/// What is queued in the pipe that `reader` reads. `packets`: an end of it is in packet mode.
fn contents(table: &mut Table<'_>, reader: i32, detail: &mut Pipe, packets: bool) -> Result<Blob, Stop> {
    let len = readable_bytes(reader).map_err(ask("ioctl"))? as usize;
    if len == 0 {
        return Ok(Blob::default());
    }
    let [from, to] = fd::pipe(open_flag::CLOEXEC | open_flag::NONBLOCK).map_err(ask("pipe2"))?;
    let result = enlarge(to, detail.size)
        .and_then(|()| duplicate(reader, to, len))
        .map_err(|_| Failure::Descriptor(reader, TOO_LARGE).into())
        .and_then(|()| copy(table, [reader, from, to], len, detail, packets));
    let _ = (fd::close(from), fd::close(to));
    result
}

/// Makes a pipe as large as that of the target.
fn enlarge(pipe: i32, size: u32) -> sys::Result<()> {
    if fd::control(pipe, fcntl::GETPIPE_SZ, 0)? < size as usize {
        fd::control(pipe, fcntl::SETPIPE_SZ, size as usize)?;
    }
    Ok(())
}

/// Duplicates all that is queued.
fn duplicate(reader: i32, to: i32, len: usize) -> sys::Result<()> {
    if tee(reader, to, len)? == len { Ok(()) } else { Err(Errno::EAGAIN) }
}

/// Reads the duplicate. A read ends behind a packet; bytes that are no packets come all at once.
fn copy(
    table: &mut Table<'_>,
    [reader, from, to]: [i32; 3],
    len: usize,
    detail: &mut Pipe,
    mut packets: bool,
) -> Result<Blob, Stop> {
    // A packet takes at least one page of the pipe.
    let most = detail.size as usize / image::format::PAGE as usize + 1;
    let lengths = table.scratch.zeros(most * size_of::<u32>())?;
    let (mut done, mut pieces) = (0, 0);
    while done < len {
        let room = table.scratch.room().get_mut(done..len).ok_or(Stop::Full)?;
        let piece = fd::read(from, room).map_err(ask("read"))?;
        if piece == 0 {
            return Err(Failure::Ask("read", Errno::EIO).into());
        }
        let _ = write(table.scratch.blob_mut(lengths), pieces * size_of::<u32>(), &(piece as u32));
        done += piece;
        pieces += 1;
    }
    let queued = table.scratch.keep(len)?;
    if pieces == 1 && !packets && len > 1 {
        // A single packet? Then reading a byte takes all of it.
        duplicate(reader, to, len).map_err(ask("tee"))?;
        fd::read(from, &mut [0]).map_err(ask("read"))?;
        packets = readable_bytes(from).map_err(ask("ioctl"))? as usize + 1 < len;
    }
    if packets || pieces > 1 {
        detail.flags |= pipe_flag::PACKETS;
        detail.packets = Blob { len: (pieces * size_of::<u32>()) as u32, ..lengths };
    }
    Ok(queued)
}

fn ask(what: &'static str) -> impl Fn(Errno) -> Stop {
    move |errno| Failure::Ask(what, errno).into()
}
