//! epoll(7): which open file each entry is of.
//!
//! The kernel knows an entry by its open file description and the number under which it was added; that number may have been closed or given to
//! another file since, while a duplicate keeps the entry alive. kcmp(2) tells.

use super::Table;
use crate::helper::Stop;
use crate::message::{Failure, Kind};
use image::details::{Epoll, EpollItem};
use image::format::file_kind;
use image::plain::{bytes_of, read, write};
use sys::Errno;
use sys::descriptor::{is_epoll_target, poll_event, poll_now};

const STRANGER: Kind = Kind {
    what: "an epoll that watches a file which only another process has open",
    advice: "remove that file from it before the save",
};
const DROPPED: Kind = Kind {
    what: "an epoll that watches a file which CKPT_DROP_FDS lets go of",
    advice: "close that before the start (ckpt run --close-fds)",
};
const UNKNOWN: Kind = Kind {
    what: "an epoll, and the kernel does not tell what it watches",
    advice: "allow kcmp(2), which a seccomp filter may forbid",
};

/// Completes the detail, which is the bare items so far.
pub fn describe(table: &mut Table<'_>, index: usize) -> Result<(), Stop> {
    let epoll = table.number(index);
    let items = table.file(index).detail;
    let count = items.len as usize / size_of::<EpollItem>();
    for at in 0..count {
        let place = at * size_of::<EpollItem>();
        let Some(mut item) = read::<EpollItem>(table.scratch.blob(items), place) else { break };
        // Entries of one number stand together in the tree of the kernel, in the order in which they are shown.
        let position = (0..at)
            .filter_map(|before| {
                read::<EpollItem>(table.scratch.blob(items), before * size_of::<EpollItem>())
            })
            .filter(|before| before.number == item.number)
            .count();
        item.file = target(table, epoll, &item, position as u32)?;
        item.reserved = 0;
        let _ = write(table.scratch.blob_mut(items), place, &item);
    }
    let ready = poll_now(epoll, poll_event::IN).map_err(|errno| Failure::Ask("poll", errno))?;
    let ready = u32::from(ready & poll_event::IN != 0);
    let detail = table.scratch.bytes(bytes_of(&Epoll { ready, reserved: 0, items }))?;
    if let Some(file) = table.files.get_mut(index) {
        file.detail = detail;
    }
    Ok(())
}

/// Third pass: nothing that was let go of is watched. `/dev/null` cannot be.
pub fn check(table: &Table<'_>, index: usize) -> Result<(), Stop> {
    let file = table.file(index);
    if file.kind != file_kind::EPOLL {
        return Ok(());
    }
    let items = read::<Epoll>(table.scratch.blob(file.detail), 0).unwrap_or_default().items;
    for place in (0..items.len as usize).step_by(size_of::<EpollItem>()) {
        let item = read::<EpollItem>(table.scratch.blob(items), place).unwrap_or_default();
        let watched = table.file(item.file as usize);
        if watched.kind == file_kind::DEVICE && watched.rdev == super::NULL {
            return Err(Failure::Descriptor(table.number(index), DROPPED).into());
        }
    }
    Ok(())
}

/// The file of an entry: mostly the one that has its number. `item.reserved` has the low half of its inode.
fn target(table: &Table<'_>, epoll: i32, item: &EpollItem, position: u32) -> Result<u32, Stop> {
    let by_number = table.descriptors.partition_point(|descriptor| descriptor.number < item.number);
    let by_number = table.descriptors.get(by_number).filter(|descriptor| descriptor.number == item.number);
    let matches = |fd: i32| match is_epoll_target(table.target.own, fd, epoll, item.number, position) {
        Err(Errno::EBADF) => Ok(false),
        result => result,
    };
    let in_its_place = by_number.map(|descriptor| (descriptor.file, matches(item.number as i32)));
    match in_its_place {
        Some((file, Ok(true))) => return Ok(file),
        // kcmp(2) is forbidden (containers do that) or missing: number and inode have to do.
        Some((file, Err(_))) if table.file(file as usize).ino as u32 == item.reserved => return Ok(file),
        _ => {}
    }
    for index in 0..table.files.len() {
        match matches(table.number(index)) {
            Ok(true) => return Ok(index as u32),
            Ok(false) => {}
            Err(_) => return Err(Failure::Descriptor(epoll, UNKNOWN).into()),
        }
    }
    Err(Failure::Descriptor(epoll, STRANGER).into())
}
