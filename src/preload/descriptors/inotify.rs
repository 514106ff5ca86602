//! inotify(7): a path for each watch.

use super::{Table, info, search};
use crate::helper::Stop;
use crate::message::{Failure, Kind};
use image::details::{Inotify, InotifyWatch};
use image::fdinfo::{Line, WatchLine};
use image::format::Blob;
use image::maps::device;
use image::number::take_hex;
use image::plain::{bytes_of, read, write};
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
        let path = find(table, &line)?.ok_or(Failure::Descriptor(number, NOT_FOUND))?;
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

fn find(table: &mut Table<'_>, line: &WatchLine<'_>) -> Result<Option<Blob>, Stop> {
    let mut handle = [0u8; 128];
    let mut len = 0;
    for (to, digits) in handle.iter_mut().zip(line.handle.chunks_exact(2)) {
        *to = take_hex(digits).map_or(0, |(byte, _)| byte as u8);
        len += 1;
    }
    let (major, minor) = (u64::from(line.dev >> 20), u64::from(line.dev & 0xf_ffff));
    let wanted = Wanted {
        dev: device(major, minor).unwrap_or(0),
        ino: line.ino,
        handle_type: line.handle_type,
        handle: handle.get(..len).unwrap_or_default(),
    };
    search::path(table, &wanted)
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
