//! Character devices: those without state, and terminals.

use super::{Table, mode, refused};
use crate::helper::Stop;
use crate::message::{Failure, Kind};
use image::details::{Terminal, terminal_flag};
use image::format::{OpenFile, file_kind};
use image::plain::bytes_of;
use sys::{Errno, fd as file, process, terminal};

/// The kind of a character device.
pub fn device(number: u32, file: &mut OpenFile) -> Result<(), Kind> {
    let (major, minor) = (file.rdev >> 8 & 0xfff, file.rdev & 0xff | file.rdev >> 12 & !0xff);
    file.kind = match (major, minor) {
        // null, zero, full, random, urandom (Documentation/admin-guide/devices.txt).
        (1, 3 | 5 | 7 | 8 | 9) => file_kind::DEVICE,
        (5, 2) | (128..=135, _) if number > 2 => {
            return Err(refused("the controlling side of a pseudo-terminal"));
        }
        (5, 2) | (128..=135, _) => file_kind::STANDARD,
        // The console, the controlling terminal, serial lines, and the terminals' side of pseudo-terminals.
        (4 | 5 | 136..=143, _) => file_kind::TERMINAL,
        _ if is_terminal(number as i32) => file_kind::TERMINAL,
        _ if number <= 2 => file_kind::STANDARD,
        _ => return Err(refused("a device")),
    };
    Ok(())
}

fn is_terminal(fd: i32) -> bool {
    terminal::modes(fd).is_ok()
}

/// Its modes and size, and whether the process is in the foreground. A terminal that has hung up has neither.
pub fn describe(table: &mut Table<'_>, index: usize) -> Result<(), Stop> {
    let fd = table.number(index);
    let modes = terminal::modes(fd);
    let mut detail = Terminal {
        flags: if modes == Err(Errno::EIO) { terminal_flag::HUNG_UP } else { 0 },
        termios: modes.unwrap_or([0; 44]),
        window: terminal::window(fd).unwrap_or_default(),
        ..Terminal::default()
    };
    if let Ok(group) = terminal::foreground_group(fd) {
        detail.flags |= terminal_flag::CONTROLLING;
        if process::group_of(table.target.pid) == Ok(group) {
            detail.flags |= terminal_flag::FOREGROUND;
        }
    }
    if let Some(kind) = lost(table, index, &detail) {
        return Err(Failure::Descriptor(fd, kind).into());
    }
    let detail = table.scratch.bytes(bytes_of(&detail))?;
    if let Some(file) = table.files.get_mut(index) {
        file.detail = detail;
    }
    Ok(())
}

/// Why a terminal cannot be opened again, which is none that the restarter's own takes the place of.
fn lost(table: &Table<'_>, index: usize, detail: &Terminal) -> Option<Kind> {
    /// `/dev/tty`: the controlling terminal of whoever opens it.
    const DEV_TTY: u64 = 5 << 8;
    let own = table.file(index);
    let is_standard = |other: usize| {
        let file = table.file(other);
        table.standard(other).is_some() && (file.kind, file.rdev) == (file_kind::TERMINAL, own.rdev)
    };
    if own.rdev == DEV_TTY
        || detail.flags & terminal_flag::CONTROLLING != 0
        || (0..table.files.len()).any(is_standard)
    {
        return None;
    }
    let is_there = |path: &[u8], rdev: Option<u64>| {
        file::stat_at(file::AT_FDCWD, path, true).is_ok_and(|stat| {
            stat.mode & mode::TYPE == mode::CHARACTER && rdev.is_none_or(|rdev| rdev == stat.rdev)
        })
    };
    if detail.flags & terminal_flag::HUNG_UP != 0 {
        // A new pseudo-terminal takes its place, and hangs up.
        return (!is_there(b"/dev/ptmx\0", None)).then_some(refused("a terminal that has hung up"));
    }
    let path = table.scratch.c_str(own.path);
    (!is_there(path, Some(own.rdev))).then_some(refused("a terminal whose file is gone"))
}
