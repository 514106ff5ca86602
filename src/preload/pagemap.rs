//! Which pages of a range exist, as the page map of a process tells (`/proc/PID/pagemap`; admin-guide/mm/pagemap).

use crate::private;
use image::format::PAGE;
use sys::Errno;
use sys::fd::{self, open_flag};
use sys::memory::{self, PageRegion, Scan, page};

/// A page map.
pub struct PageMap {
    fd: i32,
    how: How,
}

/// How the kernel tells which pages exist.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    /// `PAGEMAP_SCAN` with guard pages (Linux 6.15).
    ScanGuards,
    /// `PAGEMAP_SCAN` (Linux 6.7).
    Scan,
    /// Entries.
    Entries,
    /// It does not: every page counts as existing.
    Nothing,
}

/// What one call can give.
pub type Ranges = [PageRegion; 128];

impl PageMap {
    /// The page map of this process.
    pub fn open() -> Self {
        Self::of(private::open(b"/proc/self/pagemap\0", open_flag::RDONLY).unwrap_or(-1))
    }

    /// The page map behind a descriptor; it may be another process's. A negative one knows nothing.
    pub fn of(fd: i32) -> Self {
        Self { fd, how: if fd < 0 { How::Nothing } else { How::ScanGuards } }
    }

    /// Closes it.
    pub fn close(&self) {
        if self.fd >= 0 {
            let _ = fd::close(self.fd);
        }
    }

    /// Whether [`PageMap::next`] would find any page in `start..end`; `None` when nobody knows.
    pub fn has_any(&mut self, start: u64, end: u64) -> Option<bool> {
        let mut at = start;
        let mut ranges = [PageRegion::default(); 128];
        while at < end {
            let (count, next) = self.scan(at, end, 1, 0, &mut ranges);
            if self.how == How::Nothing {
                return None;
            }
            if count > 0 {
                return Some(true);
            }
            at = next;
        }
        Some(false)
    }

    /// Asks [`PageMap::has_any`] of many ranges below `end` with few calls.
    pub fn sweep(&mut self, end: u64) -> Sweep<'_> {
        Sweep { map: self, end, seen: 0, ranges: [PageRegion::default(); 128], first: 0, count: 0 }
    }

    /// Ranges of existing pages in `start..end`, in order: how many, and where the next call goes on. Pages that show the kernel's zero
    /// page do not count.
    pub fn next(&mut self, start: u64, end: u64, out: &mut Ranges) -> (usize, u64) {
        self.scan(start, end, 0, page::FILE | page::HUGE, out)
    }

    /// The same for memory without a file: without [`page::FILE`], for which the kernel has to look at each page instead of its
    /// entry in the page table. That takes four times as long.
    pub fn next_anonymous(&mut self, start: u64, end: u64, out: &mut Ranges) -> (usize, u64) {
        self.scan(start, end, 0, page::HUGE, out)
    }

    /// The same with the categories `tell`, stopping after `most` pages if that is not zero and the kernel can.
    fn scan(&mut self, start: u64, end: u64, most: u64, tell: u64, out: &mut Ranges) -> (usize, u64) {
        let present = page::PRESENT | page::SWAPPED;
        loop {
            let guard = if self.how == How::ScanGuards { page::GUARD } else { 0 };
            match self.how {
                How::ScanGuards | How::Scan => {
                    let scan = Scan {
                        any_of: present | guard,
                        none_of: page::PFNZERO,
                        report: present | guard | tell,
                        max_pages: most,
                    };
                    match memory::scan_pages(self.fd, start, end, scan, out) {
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

    /// The same from the entries of the page map: bit 63 present, 62 swapped, 61 of a file, 58 guard.
    fn entries(&mut self, start: u64, end: u64, out: &mut Ranges) -> Option<(usize, u64)> {
        let mut entries = [0u64; 128];
        let want = ((end - start) / PAGE).min(entries.len() as u64) as usize;
        // SAFETY: the bytes of an array of integers.
        let bytes = unsafe { core::slice::from_raw_parts_mut(entries.as_mut_ptr().cast::<u8>(), want * 8) };
        let read = fd::read_at(self.fd, bytes, start / PAGE * 8).ok()? / 8;
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

/// Asks about ranges in ascending order; the answers for small ones that are near each other come from one call.
pub struct Sweep<'a> {
    map: &'a mut PageMap,
    /// Nothing behind it is asked about.
    end: u64,
    /// Up to here, `ranges` tells.
    seen: u64,
    ranges: Ranges,
    /// Those before are behind us.
    first: usize,
    count: usize,
}

impl Sweep<'_> {
    /// [`PageMap::has_any`]; `start` is not below what was asked about before.
    pub fn has_any(&mut self, start: u64, end: u64) -> Option<bool> {
        /// So far one call looks: further costs more than it saves where a range is large.
        const WINDOW: u64 = 1 << 20;
        if start >= self.seen {
            let window = start.saturating_add(WINDOW).min(self.end).max(start + PAGE);
            (self.count, self.seen) = self.map.scan(start, window, 0, 0, &mut self.ranges);
            self.first = 0;
        }
        if self.map.how == How::Nothing {
            return None;
        }
        let ranges = self.ranges.get(self.first..self.count).unwrap_or_default();
        self.first += ranges.iter().take_while(|range| range.end <= start).count();
        let is_here = self.ranges.get(self.first..self.count).unwrap_or_default().first();
        if is_here.is_some_and(|range| range.start < end) {
            return Some(true);
        }
        if end <= self.seen { Some(false) } else { self.map.has_any(self.seen.max(start), end) }
    }
}
