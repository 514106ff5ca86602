//! `/proc/self/maps` (`man 5 proc_pid_maps`; fs/proc/task_mmu.c, `show_map_vma`).

use crate::number::{skip_blanks, take_byte, take_decimal, take_hex};

/// A buffer for [`crate::lines::Lines`] of this size holds every line whose path open(2) could have taken in one piece: 4095
/// bytes, each of them a newline that the kernel prints as four, after at most 100 bytes of numbers.
pub const LONGEST_LINE: usize = 4 * 4096 + 128;

/// One line: a region of the address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapsLine<'a> {
    /// First byte.
    pub start: u64,
    /// Behind the last byte.
    pub end: u64,
    /// PROT_READ 1, PROT_WRITE 2, PROT_EXEC 4.
    pub prot: u32,
    /// `MAP_SHARED`.
    pub shared: bool,
    /// Offset in the file in bytes; zero without a file.
    pub offset: u64,
    /// Device of the file system, encoded as in `st_dev` of stat(2). On file systems with subvolumes (btrfs) and on
    /// overlays, stat(2) may tell another one.
    pub dev: u64,
    /// Inode; zero without a file.
    pub ino: u64,
    /// Path, `[name]`, or nothing. A newline in a path is `\012`; a deleted file has ` (deleted)` behind its path.
    pub name: &'a [u8],
}

/// Parses one line, without its newline. `None` when it is not a line of `maps`.
pub fn parse_line(line: &[u8]) -> Option<MapsLine<'_>> {
    let (start, rest) = take_hex(line)?;
    let (end, rest) = take_hex(take_byte(rest, b'-')?)?;
    let [r, w, x, s, rest @ ..] = take_byte(rest, b' ')? else { return None };
    let prot = letter(*r, b'r', 1)? | letter(*w, b'w', 2)? | letter(*x, b'x', 4)?;
    let shared = match s {
        b's' => true,
        b'p' => false,
        _ => return None,
    };
    let (offset, rest) = take_hex(take_byte(rest, b' ')?)?;
    let (major, rest) = take_hex(take_byte(rest, b' ')?)?;
    let (minor, rest) = take_hex(take_byte(rest, b':')?)?;
    let (ino, rest) = take_decimal(take_byte(rest, b' ')?)?;
    if !(rest.is_empty() || rest.starts_with(b" ")) || start >= end {
        return None;
    }
    Some(MapsLine {
        start,
        end,
        prot,
        shared,
        offset,
        dev: device(major, minor)?,
        ino,
        name: skip_blanks(rest),
    })
}

/// The bit of a permission's letter, nothing for `-`.
#[inline]
fn letter(found: u8, expected: u8, bit: u32) -> Option<u32> {
    match found {
        b'-' => Some(0),
        _ if found == expected => Some(bit),
        _ => None,
    }
}

/// A device number as stat(2) encodes it (include/linux/kdev_t.h, `new_encode_dev`): 12 bits of major, 20 of minor number.
pub fn device(major: u64, minor: u64) -> Option<u64> {
    (major < 1 << 12 && minor < 1 << 20).then_some(minor & 0xff | major << 8 | (minor & !0xff) << 12)
}

impl<'a> MapsLine<'a> {
    /// Length in bytes.
    pub fn len(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Never: the kernel has no empty regions, and [`parse_line`] takes none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The name without ` (deleted)` at its end, if it has that. A file may be called so: only its inode tells.
    pub fn deleted(&self) -> Option<&'a [u8]> {
        self.name.strip_suffix(b" (deleted)").filter(|name| name.starts_with(b"/"))
    }
}

/// Copies a name to `buf` with each `\012` made a newline again, and tells its length; `None` when it does not fit.
///
/// The kernel escapes nothing else in `maps`, not even the backslash: a file may be called `\012` in earnest, and then the name as
/// it stands is right. Whoever opens a file by the result must compare its identity.
pub fn unescape(name: &[u8], buf: &mut [u8]) -> Option<usize> {
    let mut rest = name;
    let mut len = 0;
    let mut places = buf.iter_mut();
    loop {
        let byte;
        (byte, rest) = match rest {
            [b'\\', b'0', b'1', b'2', rest @ ..] => (b'\n', rest),
            [first, rest @ ..] => (*first, rest),
            [] => return Some(len),
        };
        *places.next()? = byte;
        len += 1;
    }
}
