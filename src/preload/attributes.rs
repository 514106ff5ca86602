//! What `/proc/PID/smaps` says of regions beyond the map: advice, locks, keys.

use crate::helper::Stop;
use crate::maps::Vma;
use crate::message::Failure;
use image::format::{process_flag, region_flag};
use image::lines::{Lines, LinesError};
use image::maps::{LONGEST_LINE, parse_line};
use image::smaps::{VmFlags, protection_key, vm_flags};
use sys::fd::{self, open_flag};

const SMAPS: &str = "/proc/self/smaps";

/// Opens the text for this process.
pub fn open() -> Result<i32, Stop> {
    let flags = open_flag::RDONLY | open_flag::CLOEXEC;
    let opened = fd::open_at(fd::AT_FDCWD, b"/proc/self/smaps\0", flags, 0);
    Ok(opened.map_err(|errno| Failure::Proc(SMAPS, errno))?)
}

/// Fills in the attributes of `vmas`. The text may have fewer regions (those that a child does not get) and wider ones: what covers a region's
/// start counts. `ours` is the start of the scratch, which was mapped like every mapping that the program will make: gives what of it is of
/// the whole process, as [`process_flag`] bits.
#[inline(never)] // its buffers are off the stack again when it returns
pub fn read(smaps: i32, vmas: &mut [Vma], ours: u64) -> Result<u64, Stop> {
    let mut text = Text { smaps, lines: Lines::new() };
    let mut process = 0;
    let mut vmas = vmas.iter_mut().peekable();
    while let Some(region) = text.next_region()? {
        while let Some(vma) = vmas.next_if(|vma| vma.start < region.end) {
            if vma.start >= region.start {
                vma.flags = region.flags.region;
                vma.traits = region.flags.traits;
                vma.pkey = region.pkey;
            }
        }
        if region.start == ours {
            let flag = |region_flag, flag| if region.flags.region & region_flag != 0 { flag } else { 0 };
            process = flag(region_flag::LOCKED, process_flag::LOCK_FUTURE)
                | flag(region_flag::LOCKED_ONFAULT, process_flag::LOCK_FUTURE_ONFAULT);
        }
    }
    Ok(process)
}

/// What the text says of one region.
struct Region {
    start: u64,
    end: u64,
    flags: VmFlags,
    pkey: u32,
}

/// The text, as far as it has been read.
struct Text {
    smaps: i32,
    lines: Lines<LONGEST_LINE>,
}

impl Text {
    /// Reads to the end of the next region's text; `None` at the end of all.
    fn next_region(&mut self) -> Result<Option<Region>, Stop> {
        let smaps = self.smaps;
        let (mut span, mut pkey) = (None, 0);
        loop {
            match self.lines.next_line(&mut |buf| fd::read(smaps, buf)) {
                Ok(Some(line)) => {
                    if let Some(flags) = vm_flags(line) {
                        let (start, end) = span.ok_or(Failure::ProcText(SMAPS))?;
                        return Ok(Some(Region { start, end, flags, pkey }));
                    }
                    if let Some(key) = protection_key(line) {
                        pkey = key;
                    } else if let Some(line) = parse_line(line) {
                        span = Some((line.start, line.end));
                    }
                }
                Ok(None) => return Ok(None),
                Err(LinesError::Read(errno)) => return Err(Failure::Proc(SMAPS, errno).into()),
                Err(LinesError::TooLong) => return Err(Failure::ProcText(SMAPS).into()),
            }
        }
    }
}
