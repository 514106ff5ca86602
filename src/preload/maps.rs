//! The target's map, from `/proc/self/maps`.

use crate::helper::{Job, Stop};
use crate::message::{Failure, Kind};
use crate::report::Report;
use crate::scratch::{List, Scratch};
use crate::threads::Gathering;
use image::format::Blob;
use image::lines::{Lines, LinesError};
use image::maps::{LONGEST_LINE, MapsLine, parse_line, unescape};
use image::plain::Plain;
use sys::fd::{self, open_flag};

/// One line of the map.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Vma {
    /// First byte.
    pub start: u64,
    /// Behind the last byte.
    pub end: u64,
    /// PROT_ bits.
    pub prot: u32,
    /// Whether it is shared.
    pub shared: u32,
    /// Offset in its file.
    pub offset: u64,
    /// Device of its file.
    pub dev: u64,
    /// Inode of its file, or zero.
    pub ino: u64,
    /// Path or `[name]`.
    pub name: Blob,
    /// [`image::format::region_flag`] bits, when the attributes have been read.
    pub flags: u32,
    /// [`image::smaps::trait_flag`] bits.
    pub traits: u32,
    /// Memory protection key.
    pub pkey: u32,
    /// Zero.
    pub reserved: u32,
}
// SAFETY: `repr(C)`, integers only, and 72 bytes of them without padding.
unsafe impl Plain for Vma {}
const _: () = assert!(size_of::<Vma>() == 72);

/// Reads the map, without what the save itself has mapped.
#[inline(never)] // its buffers are off the stack again when it returns
pub fn read(job: &Job, scratch: &mut Scratch, report: &mut Report) -> Result<List<Vma>, Stop> {
    const NAME: &str = "/proc/self/maps";
    let maps = fd::open_at(fd::AT_FDCWD, b"/proc/self/maps\0", open_flag::RDONLY | open_flag::CLOEXEC, 0)
        .map_err(|errno| Failure::Proc(NAME, errno))?;
    let mut lines = Lines::<LONGEST_LINE>::new();
    let mut vmas = scratch.list();
    let mut names = LastName::default();
    let slots = job.gathering.as_ref().map_or((0, 0), Gathering::range);
    let ours = [scratch.range(), slots];
    let result = loop {
        match lines.next_line(&mut |buf| fd::read(maps, buf)) {
            Ok(Some(line)) => match parse_line(line) {
                Some(line) => {
                    if let Err(stop) = add(&line, ours, scratch, &mut vmas, &mut names, report) {
                        break Err(stop);
                    }
                }
                None => break Err(Failure::ProcText(NAME).into()),
            },
            Ok(None) => break Ok(()),
            Err(LinesError::Read(errno)) => break Err(Failure::Proc(NAME, errno).into()),
            Err(LinesError::TooLong) => break Err(Failure::ProcText(NAME).into()),
        }
    };
    let _ = fd::close(maps);
    result.map(|()| vmas)
}

/// The name of the last line that had one: a library has four or five lines in a row.
#[derive(Default)]
struct LastName(Blob);

fn add(
    line: &MapsLine<'_>,
    ours: [(u64, u64); 2],
    scratch: &mut Scratch,
    vmas: &mut List<Vma>,
    last: &mut LastName,
    report: &mut Report,
) -> Result<(), Stop> {
    // The same page in every process, at the same place.
    if line.name == b"[vsyscall]" {
        return Ok(());
    }
    if ours.contains(&(line.start, line.end)) {
        return Ok(());
    }
    if let Some(kind) = unrestorable(line) {
        report.refuse(Failure::Region(line.start, kind))?;
    }
    let [first, second] = ours;
    let parts = cut((line.start, line.end), first).into_iter().flat_map(|part| cut(part, second));
    for (start, end) in parts.filter(|(start, end)| start < end) {
        let name = name(line.name, scratch, last)?;
        let offset = if line.ino == 0 { 0 } else { line.offset + (start - line.start) };
        let vma = Vma {
            start,
            end,
            prot: line.prot,
            shared: u32::from(line.shared),
            offset,
            dev: line.dev,
            ino: line.ino,
            name,
            ..Vma::default()
        };
        scratch.push(vmas, vma)?;
    }
    Ok(())
}

/// What is left of a region without our scratch: the part before and the part behind. The kernel may show both as one region.
fn cut(region: (u64, u64), hole: (u64, u64)) -> [(u64, u64); 2] {
    if hole.1 <= region.0 || region.1 <= hole.0 {
        return [region, (0, 0)];
    }
    [(region.0, hole.0), (hole.1, region.1)]
}

fn name(raw: &[u8], scratch: &mut Scratch, last: &mut LastName) -> Result<Blob, Stop> {
    if raw.is_empty() {
        return Ok(Blob::default());
    }
    if scratch.blob(last.0) != raw || raw.contains(&b'\\') {
        let len = unescape(raw, scratch.room()).ok_or(crate::scratch::Full)?;
        last.0 = scratch.keep(len)?;
    }
    Ok(last.0)
}

/// Why a region cannot be restored, as far as its line tells.
fn unrestorable(line: &MapsLine<'_>) -> Option<Kind> {
    let refuse = |what, advice| Some(Kind { what, advice });
    if line.name.starts_with(b"/SYSV") && line.deleted().is_some() {
        return refuse(
            "System V shared memory",
            "detach it before the save (shmdt), or use mmap or memfd_create",
        );
    }
    if line.name.starts_with(b"/anon_hugepage") {
        return refuse(
            "made of huge pages of hugetlbfs",
            "use transparent huge pages (madvise MADV_HUGEPAGE)",
        );
    }
    if line.name.starts_with(b"/secretmem") && line.deleted().is_some() {
        return refuse("secret memory (memfd_secret)", "unmap it before the save, or use memfd_create");
    }
    if line.name.starts_with(b"/[aio]") {
        return refuse("an AIO context", "end it before the save (io_destroy)");
    }
    if line.name.starts_with(b"anon_inode:") {
        return refuse(
            "a mapping of a kernel object (io_uring, perf or the like)",
            "close it before the save",
        );
    }
    if line.name.starts_with(b"/dev/")
        && !line.name.starts_with(b"/dev/zero")
        && !line.name.starts_with(b"/dev/shm/")
    {
        return refuse("a mapping of a device", "unmap it before the save");
    }
    None
}
