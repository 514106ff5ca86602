//! Which pages of a region are in the image: the runs.

use crate::maps::Vma;
use crate::memory_file::MemoryFile as Memory;
use crate::message::Failure;
use crate::pagemap::PageMap;
use crate::scratch::Growing;
use crate::second::Second;
use image::elf::{PF_R, PF_W, PF_X, PT_LOAD, Phdr};
use image::format::{ObjectRun, PAGE, RUN_CLEAN, RUN_OBJECT, RUN_PRIVATE, Span, region_flag};
use image::plain::Plain;
use image::zero::is_zero;
use sys::Errno;
use sys::fd::data_range;
use sys::memory::{self, PageRegion, advice, map, page, prot};

/// Finds runs. One for the whole save.
pub struct Pages {
    map: PageMap,
    /// Copies of regions that cannot be read in place.
    shadows: Growing<Shadow>,
    /// `PT_LOAD`s; `p_offset` counts from the start of the page data.
    pub loads: Growing<Phdr>,
    /// Guard pages.
    pub guards: Growing<Span>,
    /// Bytes of page data so far.
    pub data_len: u64,
    /// Helps to look for zeros.
    pub second: Option<Second>,
    /// The file that the present region maps, to be asked for its holes, or -1.
    pub file: i32,
}

/// From this length on, the holes of a file are worth a few system calls.
pub const WORTH_LOOKING_FOR_HOLES: u64 = 4 << 20;

/// What is found of one region besides its runs.
#[derive(Clone, Copy, Default)]
pub struct Found {
    /// `region_flag` bits.
    pub flags: u32,
}

/// A region whose pages are read elsewhere.
#[repr(C)]
#[derive(Clone, Copy)]
struct Shadow {
    /// First byte of the region.
    start: u64,
    /// Behind its last byte.
    end: u64,
    /// First byte of the copy.
    copy: u64,
}
// SAFETY: `repr(C)`, three integers of one size.
unsafe impl Plain for Shadow {}

/// How pages of a region are to be treated.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Contents<'a> {
    /// Anonymous: what was touched and is not zero.
    Anonymous,
    /// Private mapping of a file: everything.
    File,
    /// Mapping of an object with these runs: they are shown; where it is private, what the process wrote is saved.
    Object(&'a [ObjectRun]),
    /// Guard pages only.
    Wiped,
    /// Nothing of it is saved.
    None,
}

impl Drop for Pages {
    fn drop(&mut self) {
        self.map.close();
        for shadow in self.shadows.iter() {
            // SAFETY: the shadow is ours, and the table goes with it.
            let _ = unsafe { memory::munmap(shadow.copy, shadow.end - shadow.start) };
        }
    }
}

impl Pages {
    /// Opens the page map of this process.
    pub fn new(second: Option<Second>) -> Result<Self, Failure> {
        Ok(Self {
            map: PageMap::open(),
            shadows: Growing::new(),
            loads: Growing::new(),
            guards: Growing::new(),
            data_len: 0,
            second,
            file: -1,
        })
    }

    /// Where a run at `address` can be read.
    pub fn readable(&self, address: u64) -> u64 {
        let shadow = self.shadows.iter().find(|shadow| (shadow.start..shadow.end).contains(&address));
        shadow.map_or(address, |shadow| address - shadow.start + shadow.copy)
    }

    /// Where in the target's memory the page that can be read at `address` belongs.
    pub fn belongs(&self, address: u64) -> u64 {
        let of =
            |shadow: &&Shadow| (shadow.copy..shadow.copy + (shadow.end - shadow.start)).contains(&address);
        self.shadows.iter().find(of).map_or(address, |shadow| address - shadow.copy + shadow.start)
    }

    /// Makes a private region readable; gives the address at which its pages can be read then.
    fn uncover(&mut self, vma: &Vma, contents: Contents<'_>) -> Result<u64, Failure> {
        // SAFETY: this is the writer's copy of the region, or the target stands still until `hide_again`.
        match unsafe { memory::mprotect(vma.start, vma.end - vma.start, prot::READ) } {
            Ok(()) => Ok(vma.start),
            // Sealed (mseal(2)).
            Err(Errno::EPERM) => self.shadow(vma, contents),
            Err(errno) => Err(Failure::Ask("mprotect", errno)),
        }
    }

    /// Copies a region that can neither be read nor be made readable.
    fn shadow(&mut self, vma: &Vma, contents: Contents<'_>) -> Result<u64, Failure> {
        let memory = Memory::open()?;
        let flags = map::PRIVATE | map::ANONYMOUS | map::NORESERVE;
        // SAFETY: a new mapping, at an address of the kernel's choice.
        let copy = unsafe { memory::mmap(0, vma.end - vma.start, prot::READ | prot::WRITE, flags, -1, 0) };
        let copy = copy.map_err(Failure::Scratch)?;
        if let Err(errno) = self.shadows.push(Shadow { start: vma.start, end: vma.end, copy }) {
            // SAFETY: the mapping just made, of which nobody knows yet.
            let _ = unsafe { memory::munmap(copy, vma.end - vma.start) };
            return Err(Failure::Scratch(errno));
        }
        let may_be_gaps = !matches!(contents, Contents::Anonymous);
        let (mut at, mut ranges) = (vma.start, [PageRegion::default(); 128]);
        let whole = PageRegion { start: vma.start, end: vma.end, categories: page::PRESENT };
        while at < vma.end {
            let (count, next) = match contents {
                Contents::Anonymous => self.map.next_anonymous(at, vma.end, &mut ranges),
                _ => {
                    ranges.fill(whole);
                    (1, vma.end)
                }
            };
            for range in ranges.iter().take(count).filter(|range| range.categories & page::GUARD == 0) {
                let to = range.start - vma.start + copy;
                // SAFETY: the copy is as long as the region, and nobody else knows it.
                unsafe { memory.copy(range.start, range.end, to, may_be_gaps) }?;
            }
            at = next;
        }
        memory.close();
        Ok(copy)
    }

    /// Appends the `PT_LOAD`s of a region.
    pub fn add(&mut self, vma: &Vma, contents: Contents<'_>) -> Result<Found, Failure> {
        let mut region = RegionRuns { vma: *vma, run: None, end: vma.start, copy: vma.start };
        let mut found = Found::default();
        if contents != Contents::None {
            if vma.prot & prot::READ == 0 && vma.shared == 0 && contents != Contents::Wiped {
                region.copy = self.uncover(vma, contents)?;
            }
            match contents {
                Contents::File => self.file(&mut region, None, &mut found)?,
                Contents::Object(runs) if vma.shared != 0 => {
                    self.object(&mut region, runs, vma.start, vma.end)?;
                }
                Contents::Object(runs) => self.file(&mut region, Some(runs), &mut found)?,
                _ => self.anonymous(&mut region, contents == Contents::Wiped, &mut found)?,
            }
        }
        region.finish(self)?;
        Ok(found)
    }

    fn anonymous(
        &mut self,
        region: &mut RegionRuns,
        is_wiped: bool,
        found: &mut Found,
    ) -> Result<(), Failure> {
        let (mut at, end) = (region.vma.start, region.vma.end);
        let mut buf = [PageRegion::default(); 128];
        while at < end {
            let (count, next) = self.map.next_anonymous(at, end, &mut buf);
            for part in buf.iter().take(count) {
                if part.categories & page::GUARD != 0 {
                    found.flags |= region_flag::GUARDS;
                    self.guards.push(Span { start: part.start, end: part.end }).map_err(Failure::Scratch)?;
                    continue;
                }
                if is_wiped {
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
            let (count, next) = self.map.next(at, end, &mut buf);
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

    /// Pages of a private file mapping that the program did not write: zero ones need no place, and where the file has holes there are no others.
    fn clean(&mut self, region: &mut RegionRuns, start: u64, end: u64) -> Result<(), Failure> {
        if self.file < 0 || region.is_copied() || end.saturating_sub(start) < WORTH_LOOKING_FOR_HOLES {
            return self.clean_data(region, start, end);
        }
        let (first, offset) = (region.vma.start, region.vma.offset);
        let mut at = start;
        while at < end {
            let below = |address: u64| address - first + offset;
            let Ok((from, to)) = data_range(self.file, below(at), below(end)) else {
                return self.clean_data(region, at, end);
            };
            let above = |place: u64| (place - offset + first).clamp(at, end);
            let (from, to) = (above(from / PAGE * PAGE), above(to.next_multiple_of(PAGE)));
            self.clean_data(region, from, to)?;
            at = to;
        }
        Ok(())
    }

    /// The same where the file has no holes. It may be shorter than the mapping.
    fn clean_data(&mut self, region: &mut RegionRuns, start: u64, end: u64) -> Result<(), Failure> {
        if start >= end {
            return Ok(());
        }
        // SAFETY: the advice only makes pages present.
        if region.is_copied() || unsafe { memory::madvise(start, end - start, advice::POPULATE_READ) }.is_ok()
        {
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
        /// From this length on, starting a thread costs next to nothing of what it saves.
        const WORTH_A_THREAD: u64 = 8 << 20;
        let Some(mut second) = self.second.take_if(|_| end - start >= WORTH_A_THREAD) else {
            return self.nonzero_here(region, start, end, kind);
        };
        let middle = start + (end - start) / 2 / PAGE * PAGE;
        let result = Bits::new((end - middle) / PAGE).and_then(|mut bits| {
            let place = region.place(middle);
            let search = || bits.set_nonzero(place);
            second.both(search, || self.nonzero_here(region, start, middle, kind))?;
            bits.iter().try_for_each(|index| {
                let at = middle + index * PAGE;
                region.run(self, at, at + PAGE, kind)
            })
        });
        self.second = Some(second);
        result
    }

    /// The same, without the second thread.
    fn nonzero_here(
        &mut self,
        region: &mut RegionRuns,
        start: u64,
        end: u64,
        kind: u64,
    ) -> Result<(), Failure> {
        let mut at = start;
        while at < end {
            // SAFETY: the kernel says that these pages exist, and they can be read; or it is a copy.
            if !unsafe { page_is_zero(region.place(at)) } {
                region.run(self, at, at + PAGE, kind)?;
            }
            at += PAGE;
        }
        Ok(())
    }
}

/// Whether the page at `address` is zero, in a series of pages.
///
/// # Safety
///
/// The page can be read.
unsafe fn page_is_zero(address: u64) -> bool {
    /// So far ahead the first line of a page is fetched, which mostly is all that is looked at. It would be waited for otherwise: no
    /// CPU guesses what lies in the next page.
    const AHEAD: u64 = 16 * PAGE;
    image::zero::prefetch((address + AHEAD) as *const u8);
    // SAFETY: the caller's promise.
    is_zero(unsafe { core::slice::from_raw_parts(address as *const u8, PAGE as usize) })
}

/// Which pages of a range are not zero: one bit for each.
struct Bits {
    words: Growing<u64>,
    pages: u64,
}

impl Bits {
    /// None of `pages`.
    fn new(pages: u64) -> Result<Self, Failure> {
        let mut words = Growing::new();
        words.extend_zeros(pages.div_ceil(64) as usize).map_err(Failure::Scratch)?;
        Ok(Self { words, pages })
    }

    /// Looks at the pages from `address` on, which can be read.
    fn set_nonzero(&mut self, address: u64) {
        for (word, index) in self.words.iter_mut().zip((0..self.pages).step_by(64)) {
            for bit in 0..64.min(self.pages - index) {
                // SAFETY: as for `Pages::nonzero`, which this is a part of.
                let is_zero = unsafe { page_is_zero(address + (index + bit) * PAGE) };
                *word |= u64::from(!is_zero) << bit;
            }
        }
    }

    /// Their numbers.
    fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        (0..self.pages)
            .zip(self.words.iter().flat_map(|word| (0..64).map(move |bit| word >> bit & 1)))
            .filter(|(_, bit)| *bit != 0)
            .map(|(index, _)| index)
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
    /// Where the region's pages can be read: in place, or in a shadow.
    copy: u64,
}

impl RegionRuns {
    /// Where the page at `address` can be read.
    fn place(&self, address: u64) -> u64 {
        address - self.vma.start + self.copy
    }

    /// Whether the pages are read in a shadow.
    fn is_copied(&self) -> bool {
        self.copy != self.vma.start
    }

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
