//! inotify(7): a path for each watch.

use super::{Table, info, search};
use crate::helper::Stop;
use crate::message::{Failure, Kind};
use crate::scratch::Scratch;
use image::details::{Inotify, InotifyWatch};
use image::fdinfo::{Line, WatchLine};
use image::format::{Blob, Descriptor, OpenFile, file_kind};
use image::maps::device;
use image::number::take_hex;
use image::plain::{Plain, bytes_of, read, write};
use search::Wanted;
use sys::descriptor::readable_bytes;

const UNREAD: Kind = Kind {
    what: "an inotify with events that were not read, which would be lost",
    advice: "save again when the program has read them",
};
const NOT_FOUND: Kind = Kind {
    what: "an inotify, and no path was found that leads to what it watches",
    advice: "remove the watch before the save, or save as root",
};

/// Lists the watches, then looks for their files.
pub fn describe(table: &mut Table<'_>, index: usize) -> Result<(), Stop> {
    let number = table.number(index);
    if readable_bytes(number).map_err(|errno| Failure::Ask("ioctl", errno))? > 0 {
        return Err(Failure::Descriptor(number, UNREAD).into());
    }
    let mut watches = Blob::default();
    info::each(table, number as u32, &mut |table, line| {
        if let Line::Watch(watch) = line {
            let watch = InotifyWatch { wd: watch.wd, mask: watch.mask, path: Blob::default() };
            table.scratch.append(&mut watches, bytes_of(&watch))?;
        }
        Ok(())
    })?;
    let mut place = 0;
    info::each(table, number as u32, &mut |table, line| {
        let Line::Watch(line) = line else { return Ok(()) };
        let path = remember(table, &line)?;
        if let Some(watch) = read::<InotifyWatch>(table.scratch.blob(watches), place) {
            let _ = write(table.scratch.blob_mut(watches), place, &InotifyWatch { path, ..watch });
        }
        place += size_of::<InotifyWatch>();
        Ok(())
    })?;
    sort(table, watches);
    let detail = table.scratch.bytes(bytes_of(&Inotify { watches }))?;
    if let Some(file) = table.files.get_mut(index) {
        file.detail = detail;
    }
    Ok(())
}

/// Keeps what the kernel says of a watched file until somebody has the time to look for it: in the place of its path, and with a NUL first, which no path has.
fn remember(table: &mut Table<'_>, line: &WatchLine<'_>) -> Result<Blob, Stop> {
    let (major, minor) = (u64::from(line.dev >> 20), u64::from(line.dev & 0xf_ffff));
    let seen = Seen {
        mark: 0,
        handle_type: line.handle_type,
        dev: device(major, minor).unwrap_or(0),
        ino: line.ino,
    };
    let mut blob = table.scratch.bytes(bytes_of(&seen))?;
    for digits in line.handle.chunks_exact(2).take(HANDLE) {
        let byte = take_hex(digits).map_or(0, |(byte, _)| byte as u8);
        table.scratch.append(&mut blob, &[byte])?;
    }
    Ok(blob)
}

/// How many entries of folders are looked at for a watch.
pub const MOST: u32 = search::MOST_ENTRIES;
/// The same for a check.
pub const MOST_OF_CHECK: u32 = 2_000;

/// The longest file handle (`MAX_HANDLE_SZ`, open_by_handle_at(2)).
const HANDLE: usize = 128;

/// What the kernel says of a watched file; its handle stands behind it.
#[repr(C)]
#[derive(Clone, Copy)]
struct Seen {
    /// Zero.
    mark: u32,
    handle_type: u32,
    dev: u64,
    ino: u64,
}
// SAFETY: `repr(C)`, integers only, and no padding: 4 + 4 + 8 + 8 bytes.
unsafe impl Plain for Seen {}
const _: () = assert!(size_of::<Seen>() == 24);

/// Looks for the files of all watches, and notes their paths. That may take long: the writer does it, while the program runs. A check, for which the program waits,
/// looks at `most` entries of folders, and takes what it does not find for found.
pub fn find_watched(
    files: &[OpenFile],
    descriptors: &[Descriptor],
    scratch: &mut Scratch,
    most: u32,
) -> Result<(), Stop> {
    const SIZE: usize = size_of::<InotifyWatch>();
    for (index, file) in (0u32..).zip(files).filter(|(_, file)| file.kind == file_kind::INOTIFY) {
        let Some(detail) = read::<Inotify>(scratch.blob(file.detail), 0) else { continue };
        for place in (0..detail.watches.len as usize).step_by(SIZE) {
            let Some(watch) = read::<InotifyWatch>(scratch.blob(detail.watches), place) else { break };
            let Some(seen) = read::<Seen>(scratch.blob(watch.path), 0).filter(|seen| seen.mark == 0) else {
                continue;
            };
            let mut handle = [0u8; HANDLE];
            let kept = scratch.blob(watch.path).get(size_of::<Seen>()..).unwrap_or_default();
            let len = kept.len().min(HANDLE);
            handle.iter_mut().zip(kept).for_each(|(to, from)| *to = *from);
            let wanted = Wanted {
                dev: seen.dev,
                ino: seen.ino,
                handle_type: seen.handle_type,
                handle: handle.get(..len).unwrap_or_default(),
            };
            let mut left = most;
            match search::path(files, scratch, &wanted, &mut left)? {
                Some(path) => {
                    let found = InotifyWatch { path, ..watch };
                    let _ = write(scratch.blob_mut(detail.watches), place, &found);
                }
                None if left == 0 && most < search::MOST_ENTRIES => {}
                None => {
                    let number = descriptors.iter().find(|descriptor| descriptor.file == index);
                    let number = number.map_or(-1, |descriptor| descriptor.number as i32);
                    return Err(Failure::Descriptor(number, NOT_FOUND).into());
                }
            }
        }
    }
    Ok(())
}

/// By ascending watch descriptor; the kernel lists them the other way round, so that little moves.
fn sort(table: &mut Table<'_>, watches: Blob) {
    const SIZE: usize = size_of::<InotifyWatch>();
    let count = watches.len as usize / SIZE;
    let bytes = table.scratch.blob_mut(watches);
    let get = |bytes: &[u8], at: usize| read::<InotifyWatch>(bytes, at * SIZE).unwrap_or_default();
    for at in 0..count / 2 {
        let (low, high) = (get(bytes, at), get(bytes, count - 1 - at));
        let _ = (write(bytes, at * SIZE, &high), write(bytes, (count - 1 - at) * SIZE, &low));
    }
    for at in 1..count {
        let moved = get(bytes, at);
        let mut to = at;
        while to > 0 && get(bytes, to - 1).wd > moved.wd {
            let _ = write(bytes, to * SIZE, &get(bytes, to - 1));
            to -= 1;
        }
        let _ = write(bytes, to * SIZE, &moved);
    }
}
