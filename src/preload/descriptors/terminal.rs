//! Character devices: those without state, and terminals.

use super::{Table, refused};
use crate::helper::Stop;
use crate::message::Kind;
use image::details::{Terminal, terminal_flag};
use image::format::{OpenFile, file_kind};
use image::plain::bytes_of;
use sys::{process, terminal};

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
    let mut detail = Terminal {
        termios: terminal::modes(fd).unwrap_or([0; 44]),
        window: terminal::window(fd).unwrap_or_default(),
        ..Terminal::default()
    };
    if let Ok(group) = terminal::foreground_group(fd) {
        detail.flags |= terminal_flag::CONTROLLING;
        if process::group_of(table.target.pid) == Ok(group) {
            detail.flags |= terminal_flag::FOREGROUND;
        }
    }
    let detail = table.scratch.bytes(bytes_of(&detail))?;
    if let Some(file) = table.files.get_mut(index) {
        file.detail = detail;
    }
    Ok(())
}
