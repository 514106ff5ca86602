//! What is mapped now: the restarter itself, and what the kernel gave it.

use crate::exit::{Code, Failure, Result};
use image::USER_END;
use image::format::Span;
use image::lines::Lines;
use image::maps::{LONGEST_LINE, parse_line};

/// Whose a mapping is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Owner {
    /// The restarter's: program, stack, tables of the image.
    #[default]
    Restarter,
    /// `[vdso]`.
    Vdso,
    /// `[vvar]` and its like.
    Vvar,
}

/// A mapping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mapping {
    /// Where.
    pub span: Span,
    /// Whose.
    pub owner: Owner,
}

/// The most mappings that a restarter has: four of its program, stack, vdso and vvars, tables.
const ROOM: usize = 32;

/// The present map, by ascending address.
#[derive(Clone, Copy, Debug, Default)]
pub struct Present {
    mappings: [Mapping; ROOM],
    len: usize,
}

impl Present {
    /// Adds a mapping above all that are there.
    ///
    /// # Errors
    ///
    /// [`Code::Internal`] when there are too many.
    pub fn push(&mut self, start: u64, end: u64, owner: Owner) -> Result<'static, ()> {
        const TOO_MANY: Failure<'static> =
            Failure::new(Code::Internal, b"/proc/self/maps", "more mappings than myrestart can have", "");
        *self.mappings.get_mut(self.len).ok_or(TOO_MANY)? = Mapping { span: Span { start, end }, owner };
        self.len += 1;
        Ok(())
    }

    /// Adds a line of `/proc/self/maps`.
    ///
    /// # Errors
    ///
    /// [`Code::Internal`] for a line that is none, or when there are too many.
    pub fn push_line(&mut self, line: &[u8]) -> Result<'static, ()> {
        const BAD: Failure<'static> =
            Failure::new(Code::Internal, b"/proc/self/maps", "a line is not of the known form", "");
        let line = parse_line(line).ok_or(BAD)?;
        if line.start >= USER_END {
            return Ok(()); // [vsyscall]: the same in every process, and not mapped by anybody
        }
        let owner = match line.name {
            b"[vdso]" => Owner::Vdso,
            name if name.starts_with(b"[vvar") => Owner::Vvar,
            _ => Owner::Restarter,
        };
        self.push(line.start, line.end, owner)
    }

    /// Reads `/proc/self/maps`.
    ///
    /// # Errors
    ///
    /// [`Code::Kernel`] when it cannot be read.
    pub fn read() -> Result<'static, Self> {
        const MAPS: &[u8] = b"/proc/self/maps\0";
        let fail = |errno| Failure::os(Code::Kernel, MAPS, "cannot read it", errno, "is /proc mounted?");
        let fd = sys::fd::open_at(sys::fd::AT_FDCWD, MAPS, sys::fd::open_flag::CLOEXEC, 0).map_err(fail)?;
        let mut present = Self::default();
        let mut lines: Lines<LONGEST_LINE> = Lines::new();
        loop {
            match lines.next_line(&mut |buf| sys::fd::read(fd, buf)) {
                Ok(Some(line)) => present.push_line(line)?,
                Ok(None) => break,
                Err(image::lines::LinesError::Read(errno)) => return Err(fail(errno)),
                Err(image::lines::LinesError::TooLong) => return Err(fail(sys::Errno::E2BIG)),
            }
        }
        let _ = sys::fd::close(fd);
        Ok(present)
    }

    /// All mappings.
    pub fn mappings(&self) -> &[Mapping] {
        self.mappings.get(..self.len).unwrap_or_default()
    }

    /// The first mapping that has an address of `start..end`.
    pub fn overlap(&self, start: u64, end: u64) -> Option<Span> {
        self.mappings().iter().map(|mapping| mapping.span).find(|span| span.start < end && start < span.end)
    }

    /// The mappings of the vdso group, `[vvar]` and `[vdso]`.
    pub fn vdso_group(&self) -> impl Iterator<Item = &Mapping> + Clone {
        self.mappings().iter().filter(|mapping| mapping.owner != Owner::Restarter)
    }

    /// `[vdso]` itself.
    pub fn vdso(&self) -> Option<Span> {
        self.mappings().iter().find(|mapping| mapping.owner == Owner::Vdso).map(|mapping| mapping.span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
05000000-05001000 r--p 00000000 fe:00 42 /usr/bin/myrestart
05001000-05008000 r-xp 00000000 fe:00 42 /usr/bin/myrestart
7f0000000000-7f0000004000 r--p 00000000 00:00 0 [vvar]
7f0000004000-7f0000006000 r--p 00000000 00:00 0 [vvar_vclock]
7f0000006000-7f0000008000 r-xp 00000000 00:00 0 [vdso]
7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0 [stack]
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]";

    #[test]
    fn owners_are_told_from_names() {
        let mut present = Present::default();
        for line in TEXT.lines() {
            present.push_line(line.as_bytes()).expect("a line");
        }
        assert_eq!(present.mappings().len(), 6, "vsyscall is left out");
        assert_eq!(present.vdso_group().count(), 3);
        assert_eq!(present.vdso(), Some(Span { start: 0x7f00_0000_6000, end: 0x7f00_0000_8000 }));
        assert_eq!(present.overlap(0x4ff_f000, 0x500_0000), None);
        assert_eq!(
            present.overlap(0x4ff_f000, 0x500_0001),
            Some(Span { start: 0x500_0000, end: 0x500_1000 })
        );
        assert!(present.push_line(b"nonsense").is_err());
    }
}
