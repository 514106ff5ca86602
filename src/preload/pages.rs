//! Which pages of a region are in the image: the runs.

use crate::maps::Vma;
use crate::message::Failure;
use crate::scratch::Growing;
use image::elf::{PF_R, PF_W, PF_X, PT_LOAD, Phdr};
use image::format::{ObjectRun, PAGE, RUN_CLEAN, RUN_OBJECT, RUN_PRIVATE, Span, region_flag};
use image::zero::is_zero;
use sys::Errno;
use sys::fd::{self, open_flag};
use sys::memory::{self, PageRegion, Scan, advice, page, prot};

/// Finds runs. One for the whole save.
pub struct Pages {
    pagemap: i32,
    how: How,
    /// `PT_LOAD`s; `p_offset` counts from the start of the page data.
    pub loads: Growing<Phdr>,
    /// Guard pages.
    pub guards: Growing<Span>,
    /// Bytes of page data so far.
    pub data_len: u64,
}

/// How the kernel tells which pages exist.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    /// `PAGEMAP_SCAN` with guard pages (Linux 6.15).
    ScanGuards,
    /// `PAGEMAP_SCAN` (Linux 6.7).
    Scan,
    /// `/proc/self/pagemap` entries.
    Entries,
    /// It does not: every page is taken.
    Nothing,
}

/// What is found of one region besides its runs.
#[derive(Clone, Copy, Default)]
pub struct Found {
    /// `region_flag` bits.
    pub flags: u32,
}

/// How pages of a region are to be treated.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Contents<'a> {
    /// Anonymous: what was touched and is not zero.
    Anonymous,
    /// Private mapping of a file: everything.
    File,
    /// Mapping of an object with these runs: they are shown; where it is private, what the process wrote is saved.
    Object(&'a [ObjectRun]),
    /// Nothing of it is saved.
    None,
}

impl Pages {
    /// Opens the page map of this process.
    pub fn new() -> Result<Self, Failure> {
        let flags = open_flag::RDONLY | open_flag::CLOEXEC;
        let pagemap = fd::open_at(fd::AT_FDCWD, b"/proc/self/pagemap\0", flags, 0).unwrap_or(-1);
        let memory = Failure::Scratch;
        Ok(Self {
            pagemap,
            how: if pagemap < 0 { How::Nothing } else { How::ScanGuards },
            loads: Growing::new().map_err(memory)?,
            guards: Growing::new().map_err(memory)?,
            data_len: 0,
        })
    }

    /// Gives everything back.
    pub fn unmap(self) {
        if self.pagemap >= 0 {
            let _ = fd::close(self.pagemap);
        }
        self.loads.unmap();
        self.guards.unmap();
    }

    /// Appends the `PT_LOAD`s of a region.
    pub fn add(&mut self, vma: &Vma, contents: Contents<'_>) -> Result<Found, Failure> {
        let mut region = RegionRuns { vma: *vma, run: None, end: vma.start };
        let mut found = Found::default();
        if contents != Contents::None {
            if vma.prot & prot::READ == 0 && vma.shared == 0 {
                // SAFETY: this is the writer's copy of the region, or the target stands still until `hide_again`.
                unsafe { memory::mprotect(vma.start, vma.end - vma.start, prot::READ) }
                    .map_err(|errno| Failure::Ask("mprotect", errno))?;
            }
            match contents {
                Contents::File => self.file(&mut region, None, &mut found)?,
                Contents::Object(runs) if vma.shared != 0 => {
                    self.object(&mut region, runs, vma.start, vma.end)?
                }
                Contents::Object(runs) => self.file(&mut region, Some(runs), &mut found)?,
                _ => self.anonymous(&mut region, &mut found)?,
            }
        }
        region.finish(self)?;
        Ok(found)
    }

    fn anonymous(&mut self, region: &mut RegionRuns, found: &mut Found) -> Result<(), Failure> {
        let (mut at, end) = (region.vma.start, region.vma.end);
        let mut buf = [PageRegion::default(); 128];
        while at < end {
            let (count, next) = self.next(at, end, &mut buf);
            for part in buf.iter().take(count) {
                if part.categories & page::GUARD != 0 {
                    found.flags |= region_flag::GUARDS;
                    self.guards.push(Span { start: part.start, end: part.end }).map_err(Failure::Scratch)?;
                    continue;
                }
                if part.categories & page::HUGE != 0 {
                    found.flags |= region_flag::HAD_HUGE;
                }
                self.nonzero(region, part.start, part.end, RUN_PRIVATE)?;
            }
            at = next;
        }
        Ok(())
    }

    /// A private mapping of a file, or of an object.
    fn file(
        &mut self,
        region: &mut RegionRuns,
        object: Option<&[ObjectRun]>,
        found: &mut Found,
    ) -> Result<(), Failure> {
        let (mut at, end) = (region.vma.start, region.vma.end);
        let mut buf = [PageRegion::default(); 128];
        while at < end {
            let (count, next) = self.next(at, end, &mut buf);
            for part in buf.iter().take(count) {
                if part.categories & page::FILE != 0 {
                    continue;
                }
                self.below(region, object, at, part.start)?;
                if part.categories & page::GUARD != 0 {
                    found.flags |= region_flag::GUARDS;
                    self.guards.push(Span { start: part.start, end: part.end }).map_err(Failure::Scratch)?;
                } else {
                    region.run(self, part.start, part.end, RUN_PRIVATE)?;
                }
                at = part.end;
            }
            if at < next {
                self.below(region, object, at, next)?;
                at = next;
            }
        }
        Ok(())
    }

    /// Pages of a private mapping that show what is below it.
    fn below(
        &mut self,
        region: &mut RegionRuns,
        object: Option<&[ObjectRun]>,
        start: u64,
        end: u64,
    ) -> Result<(), Failure> {
        match object {
            Some(runs) => self.object(region, runs, start, end),
            None => self.clean(region, start, end),
        }
    }

    /// Shows the runs of an object at the addresses `start..end`.
    fn object(
        &mut self,
        region: &mut RegionRuns,
        runs: &[ObjectRun],
        start: u64,
        end: u64,
    ) -> Result<(), Failure> {
        let vma = region.vma;
        let (first, behind) = (vma.offset + (start - vma.start), vma.offset + (end - vma.start));
        let before = runs.partition_point(|run| run.offset + run.len <= first);
        for run in runs.iter().skip(before).take_while(|run| run.offset < behind) {
            let (from, to) = (run.offset.max(first), (run.offset + run.len).min(behind));
            let address = from - vma.offset + vma.start;
            region.object(self, address, address + (to - from), run.data + (from - run.offset))?;
        }
        Ok(())
    }

    /// Pages of a private file mapping that the program did not write: zero ones need no place. The file may be shorter than the mapping.
    fn clean(&mut self, region: &mut RegionRuns, start: u64, end: u64) -> Result<(), Failure> {
        if start >= end {
            return Ok(());
        }
        // SAFETY: the advice only makes pages present.
        if unsafe { memory::madvise(start, end - start, advice::POPULATE_READ) }.is_ok() {
            return self.nonzero(region, start, end, RUN_CLEAN);
        }
        let mut at = start;
        while at < end {
            if memory::is_readable(at) {
                self.nonzero(region, at, at + PAGE, RUN_CLEAN)?;
            }
            at += PAGE;
        }
        Ok(())
    }

    /// Adds the pages of a range that are not zero.
    fn nonzero(&mut self, region: &mut RegionRuns, start: u64, end: u64, kind: u64) -> Result<(), Failure> {
        let mut at = start;
        while at < end {
            // SAFETY: the kernel says that these pages exist, and they can be read.
            let bytes = unsafe { core::slice::from_raw_parts(at as *const u8, PAGE as usize) };
            if !is_zero(bytes) {
                region.run(self, at, at + PAGE, kind)?;
            }
            at += PAGE;
        }
        Ok(())
    }

    /// Ranges of existing pages in `start..end`, in order: how many, and where the next call goes on.
    fn next(&mut self, start: u64, end: u64, out: &mut [PageRegion; 128]) -> (usize, u64) {
        let present = page::PRESENT | page::SWAPPED;
        loop {
            let guard = if self.how == How::ScanGuards { page::GUARD } else { 0 };
            match self.how {
                How::ScanGuards | How::Scan => {
                    let scan = Scan {
                        any_of: present | guard,
                        none_of: page::PFNZERO,
                        report: present | guard | page::FILE | page::HUGE,
                        max_pages: 0,
                    };
                    match memory::scan_pages(self.pagemap, start, end, scan, out) {
                        Ok((count, walked)) => return (count, if walked > start { walked } else { end }),
                        Err(Errno::EINVAL) if guard != 0 => self.how = How::Scan,
                        Err(_) => self.how = How::Entries,
                    }
                }
                How::Entries => match self.entries(start, end, out) {
                    Some(result) => return result,
                    None => self.how = How::Nothing,
                },
                How::Nothing => {
                    if let Some(first) = out.first_mut() {
                        *first = PageRegion { start, end, categories: present };
                    }
                    return (1, end);
                }
            }
        }
    }

    /// The same from the entries of the page map (admin-guide/mm/pagemap): bit 63 present, 62 swapped, 61 of a file, 58 guard.
    fn entries(&mut self, start: u64, end: u64, out: &mut [PageRegion; 128]) -> Option<(usize, u64)> {
        let mut entries = [0u64; 128];
        let want = ((end - start) / PAGE).min(entries.len() as u64) as usize;
        // SAFETY: the bytes of an array of integers.
        let bytes = unsafe { core::slice::from_raw_parts_mut(entries.as_mut_ptr().cast::<u8>(), want * 8) };
        let read = fd::read_at(self.pagemap, bytes, start / PAGE * 8).ok()? / 8;
        if read == 0 {
            return None;
        }
        let mut count = 0;
        for (i, entry) in entries.iter().take(read.min(want)).enumerate() {
            let bit = |n: u32, category: u64| if entry >> n & 1 != 0 { category } else { 0 };
            let categories =
                bit(63, page::PRESENT) | bit(62, page::SWAPPED) | bit(61, page::FILE) | bit(58, page::GUARD);
            if categories & (page::PRESENT | page::SWAPPED | page::GUARD) != 0 {
                let at = start + i as u64 * PAGE;
                *out.get_mut(count)? = PageRegion { start: at, end: at + PAGE, categories };
                count += 1;
            }
        }
        Some((count, start + read as u64 * PAGE))
    }
}

/// Pages with bytes in the image.
struct Run {
    start: u64,
    end: u64,
    /// `p_paddr`.
    kind: u64,
    /// For [`RUN_OBJECT`]: offset in the bytes of all objects.
    data: u64,
}

/// The runs of one region, in ascending order.
struct RegionRuns {
    vma: Vma,
    /// The run that may still grow.
    run: Option<Run>,
    /// Everything below has its `PT_LOAD`, but for `run`.
    end: u64,
}

impl RegionRuns {
    /// Adds pages behind all others.
    fn run(&mut self, pages: &mut Pages, start: u64, end: u64, kind: u64) -> Result<(), Failure> {
        match &mut self.run {
            Some(run) if run.end == start && run.kind == kind => run.end = end,
            _ => {
                self.flush(pages, start)?;
                self.run = Some(Run { start, end, kind, data: 0 });
            }
        }
        Ok(())
    }

    /// Adds pages of an object behind all others.
    fn object(&mut self, pages: &mut Pages, start: u64, end: u64, data: u64) -> Result<(), Failure> {
        self.flush(pages, start)?;
        self.run = Some(Run { start, end, kind: RUN_OBJECT, data });
        Ok(())
    }

    /// Writes the last run's `PT_LOAD`, or the one of a gap at the start of the region; memory reaches up to `next`.
    fn flush(&mut self, pages: &mut Pages, next: u64) -> Result<(), Failure> {
        let run = match self.run.take() {
            Some(run) => run,
            None if self.end < next => Run { start: self.end, end: self.end, kind: RUN_PRIVATE, data: 0 },
            None => return Ok(()),
        };
        let filesz = run.end - run.start;
        let own = run.kind != RUN_OBJECT;
        let flag = |prot, flag| if self.vma.prot & prot != 0 { flag } else { 0 };
        let load = Phdr {
            p_type: PT_LOAD,
            p_flags: flag(prot::READ, PF_R) | flag(prot::WRITE, PF_W) | flag(prot::EXEC, PF_X),
            p_offset: if own { pages.data_len } else { run.data },
            p_vaddr: run.start,
            p_paddr: run.kind,
            p_filesz: filesz,
            p_memsz: next - run.start,
            p_align: PAGE,
        };
        pages.loads.push(load).map_err(Failure::Scratch)?;
        pages.data_len += if own { filesz } else { 0 };
        self.end = next;
        Ok(())
    }

    fn finish(&mut self, pages: &mut Pages) -> Result<(), Failure> {
        self.flush(pages, self.vma.end)
    }
}
