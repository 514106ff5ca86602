//! Which pages of a region are in the image: the runs.

use crate::maps::Vma;
use crate::message::Failure;
use crate::scratch::Growing;
use image::elf::{PF_R, PF_W, PF_X, PT_LOAD, Phdr};
use image::format::{PAGE, RUN_CLEAN, RUN_PRIVATE, Span, region_flag};
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
pub enum Contents {
    /// Anonymous: what was touched and is not zero.
    Anonymous,
    /// Private mapping of a file: everything.
    File,
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
    pub fn add(&mut self, vma: &Vma, contents: Contents) -> Result<Found, Failure> {
        let mut region = RegionRuns { vma: *vma, run: None, end: vma.start };
        let mut found = Found::default();
        if contents != Contents::None {
            if vma.prot & prot::READ == 0 {
                // SAFETY: this is the writer's copy of the region, or the target stands still until `hide_again`.
                unsafe { memory::mprotect(vma.start, vma.end - vma.start, prot::READ) }
                    .map_err(|errno| Failure::Ask("mprotect", errno))?;
            }
            match contents {
                Contents::File => self.file(&mut region, &mut found)?,
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

    fn file(&mut self, region: &mut RegionRuns, found: &mut Found) -> Result<(), Failure> {
        let (mut at, end) = (region.vma.start, region.vma.end);
        let mut buf = [PageRegion::default(); 128];
        while at < end {
            let (count, next) = self.next(at, end, &mut buf);
            for part in buf.iter().take(count) {
                if part.categories & page::FILE != 0 {
                    continue;
                }
                self.clean(region, at, part.start)?;
                if part.categories & page::GUARD != 0 {
                    found.flags |= region_flag::GUARDS;
                    self.guards.push(Span { start: part.start, end: part.end }).map_err(Failure::Scratch)?;
                } else {
                    region.run(self, part.start, part.end, RUN_PRIVATE)?;
                }
                at = part.end;
            }
            if at < next {
                self.clean(region, at, next)?;
                at = next;
            }
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

/// The runs of one region, in ascending order.
struct RegionRuns {
    vma: Vma,
    /// The run that may still grow: start, end, kind.
    run: Option<(u64, u64, u64)>,
    /// Everything below has its `PT_LOAD`, but for `run`.
    end: u64,
}

impl RegionRuns {
    /// Adds pages behind all others.
    fn run(&mut self, pages: &mut Pages, start: u64, end: u64, kind: u64) -> Result<(), Failure> {
        match &mut self.run {
            Some((_, run_end, run_kind)) if *run_end == start && *run_kind == kind => *run_end = end,
            _ => {
                self.flush(pages, start)?;
                self.run = Some((start, end, kind));
            }
        }
        Ok(())
    }

    /// Writes the last run's `PT_LOAD`, or the one of a gap at the start of the region; memory reaches up to `next`.
    fn flush(&mut self, pages: &mut Pages, next: u64) -> Result<(), Failure> {
        let (start, filesz, kind) = match self.run.take() {
            Some((start, end, kind)) => (start, end - start, kind),
            None if self.end < next => (self.end, 0, RUN_PRIVATE),
            None => return Ok(()),
        };
        let flag = |prot, flag| if self.vma.prot & prot != 0 { flag } else { 0 };
        let load = Phdr {
            p_type: PT_LOAD,
            p_flags: flag(prot::READ, PF_R) | flag(prot::WRITE, PF_W) | flag(prot::EXEC, PF_X),
            p_offset: pages.data_len,
            p_vaddr: start,
            p_paddr: kind,
            p_filesz: filesz,
            p_memsz: next - start,
            p_align: PAGE,
        };
        pages.loads.push(load).map_err(Failure::Scratch)?;
        pages.data_len += filesz;
        self.end = next;
        Ok(())
    }

    fn finish(&mut self, pages: &mut Pages) -> Result<(), Failure> {
        self.flush(pages, self.vma.end)
    }
}
