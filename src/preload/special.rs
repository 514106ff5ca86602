//! What a child of the target does not get: memory with `MADV_DONTFORK`, and that memory is locked. The writer fetches it while the target still stands still. The contents of
//! memory with `MADV_WIPEONFORK`, which a child does not get either, do not belong into an image; its guard pages do.
//!
//! Most programs have none of it, and finding that out costs the size of the address space on either side, and a look at the first page of
//! each region. `/proc/PID/smaps` would tell directly, but takes 8 ms for each GiB. The helper looks, because it is running already: the writer
//! would have to be waited for.

use crate::attributes;
use crate::helper::{Snapshot, Stop};
use crate::maps::Vma;
use crate::memory_file::MemoryFile;
use crate::message::Failure;
use crate::pagemap::PageMap;
use crate::private;
use crate::process::proc_has_number;
use crate::scratch::Scratch;
use image::fields;
use image::format::{PAGE, region_flag};
use image::number::take_decimal;
use sys::fd::{self, open_flag};
use sys::line::Line;
use sys::memory::{self, PageRegion, advice, map, page, prot};
use sys::process;

/// The helper's view of the target, which the writer inherits: it must not depend on the right to look into another process.
pub struct Special {
    memory: MemoryFile,
    pagemap: i32,
    smaps: i32,
    size: Size,
}

/// What `/proc/self/status` says of the address space, in KiB.
#[derive(Clone, Copy, Default)]
struct Size {
    mapped: u64,
    locked: u64,
    anonymous: u64,
}

impl Special {
    /// Called by the helper when it will map nothing more before it starts the writer.
    pub fn open(scratch: &mut Scratch) -> Result<Self, Stop> {
        let memory = MemoryFile::open()?;
        let pagemap = private::open(b"/proc/self/pagemap\0", open_flag::RDONLY).unwrap_or(-1);
        Ok(Self { memory, pagemap, smaps: attributes::open()?, size: Size::read(scratch)? })
    }

    /// Bytes of the target's own memory that are there.
    pub fn own_memory(&self) -> u64 {
        self.size.anonymous * 1024
    }

    /// Closes what [`Special::open`] opened.
    pub fn close(&self) {
        self.memory.close();
        if self.pagemap >= 0 {
            let _ = fd::close(self.pagemap);
        }
        let _ = fd::close(self.smaps);
    }

    /// Called by the helper: whether the writer `child` has for certain got everything. `false` where the helper cannot tell.
    pub fn is_nothing(&self, child: u32, snapshot: &Snapshot, scratch: &Scratch) -> bool {
        if self.size.locked > 0 || !proc_has_number(process::pid()) || mapped(child) != Some(self.size.mapped)
        {
            return false;
        }
        let open = |pid| {
            let mut path = Line::<32>::new();
            path.text("/proc/").dec(u64::from(pid)).text("/pagemap\0");
            fd::open_at(fd::AT_FDCWD, path.as_bytes(), open_flag::RDONLY | open_flag::CLOEXEC, 0)
        };
        let mut its_pages = PageMap::of(self.pagemap);
        let mut writers = PageMap::of(open(child).unwrap_or(-1));
        let end = snapshot.vmas.last().map_or(0, |vma| vma.end);
        let mut sweep = writers.sweep(end);
        let has_all = private_memory(snapshot, scratch).all(|vma| {
            sweep
                .has_any(vma.start, vma.end)
                .is_some_and(|has| has || its_pages.has_any(vma.start, vma.end) == Some(false))
        });
        writers.close();
        has_all
    }

    /// Called by the writer while the target stands still: makes its own memory what the target's is, and notes the attributes that only the
    /// target's map shows.
    pub fn fetch(&self, snapshot: &mut Snapshot, scratch: &mut Scratch) -> Result<(), Stop> {
        let own = Size::read(scratch)?;
        let mut its_pages = PageMap::of(self.pagemap);
        let mut own_pages = PageMap::open();
        let is_blind = own_pages.has_any(scratch.range().0, scratch.range().1).is_none();
        let has_absent = own.mapped != self.size.mapped;
        if has_absent || self.size.locked > 0 || is_blind {
            let flags = attributes::read(self.smaps, &mut snapshot.vmas, scratch.range().0)?;
            snapshot.process.flags |= flags;
            snapshot.has_attributes = true;
        }
        let absent = |vma: &&Vma| vma.shared == 0 && vma.flags & region_flag::DONTFORK != 0;
        let mut result = snapshot.vmas.iter().filter(absent).try_for_each(|vma| {
            map_again(vma)?;
            self.copy(vma, &mut its_pages)
        });
        for vma in private_memory(snapshot, scratch).filter(|vma| !absent(vma)) {
            if result.is_ok() && is_wiped(vma, &mut own_pages, &mut its_pages) {
                result = guards(vma, &mut its_pages);
            }
        }
        own_pages.close();
        result
    }

    /// Copies the target's pages of a region, and its guard pages.
    fn copy(&self, vma: &Vma, pages: &mut PageMap) -> Result<(), Stop> {
        let (mut at, mut ranges) = (vma.start, [PageRegion::default(); 128]);
        let fail = |errno| Failure::Ask("mprotect", errno);
        let writable = prot::READ | prot::WRITE;
        // SAFETY: the region is this process's copy, in which nothing is yet.
        unsafe { memory::mprotect(vma.start, vma.end - vma.start, writable) }.map_err(fail)?;
        let is_file = vma.ino != 0;
        if is_file {
            // What the program has not touched yet shows the file, whatever becomes of that.
            // SAFETY: as above; the target's memory is another one.
            unsafe { self.memory.copy(vma.start, vma.end, vma.start, true) }?;
        }
        while at < vma.end {
            let (count, next) = pages.next(at, vma.end, &mut ranges);
            for range in ranges.iter().take(count) {
                if range.categories & page::GUARD == 0 {
                    if !is_file {
                        // All pages at once take less time than a fault each.
                        // SAFETY: as above.
                        let _ = unsafe {
                            memory::madvise(range.start, range.end - range.start, advice::POPULATE_WRITE)
                        };
                        // SAFETY: as above.
                        unsafe { self.memory.copy(range.start, range.end, range.start, false) }?;
                    }
                } else {
                    let advice = advice::GUARD_INSTALL;
                    // SAFETY: as above.
                    let guarded = unsafe { memory::madvise(range.start, range.end - range.start, advice) };
                    guarded.map_err(|errno| Failure::Ask("madvise", errno))?;
                }
            }
            at = next;
        }
        // SAFETY: the protection that the target has.
        unsafe { memory::mprotect(vma.start, vma.end - vma.start, vma.prot) }.map_err(fail)?;
        Ok(())
    }
}

/// The regions of private memory without a file.
fn private_memory<'a>(snapshot: &'a Snapshot, scratch: &'a Scratch) -> impl Iterator<Item = &'a Vma> {
    let of_kernel = |vma: &Vma| scratch.blob(vma.name).starts_with(b"[v");
    snapshot.vmas.iter().filter(move |vma| vma.shared == 0 && vma.ino == 0 && !of_kernel(vma))
}

/// Size of a process's address space in KiB, as `VmSize` (proc_pid_statm(5)).
fn mapped(pid: u32) -> Option<u64> {
    let mut path = Line::<32>::new();
    path.text("/proc/").dec(u64::from(pid)).text("/statm\0");
    let statm = fd::open_at(fd::AT_FDCWD, path.as_bytes(), open_flag::RDONLY | open_flag::CLOEXEC, 0).ok()?;
    let mut text = [0; 128];
    let len = fd::read(statm, &mut text);
    let _ = fd::close(statm);
    let (pages, _) = take_decimal(text.get(..len.ok()?)?)?;
    Some(pages * (PAGE / 1024))
}

/// Whether a region of private memory has pages in the target, and none here.
fn is_wiped(vma: &Vma, own: &mut PageMap, its: &mut PageMap) -> bool {
    match own.has_any(vma.start, vma.end) {
        Some(true) => false,
        Some(false) => its.has_any(vma.start, vma.end) != Some(false),
        None => vma.flags & region_flag::WIPEONFORK != 0,
    }
}

/// Makes the guard pages of a region in which nothing else is.
fn guards(vma: &Vma, pages: &mut PageMap) -> Result<(), Stop> {
    let (mut at, mut ranges) = (vma.start, [PageRegion::default(); 128]);
    while at < vma.end {
        let (count, next) = pages.next(at, vma.end, &mut ranges);
        for range in ranges.iter().take(count).filter(|range| range.categories & page::GUARD != 0) {
            // SAFETY: the region is this process's copy, in which nothing is.
            let guarded =
                unsafe { memory::madvise(range.start, range.end - range.start, advice::GUARD_INSTALL) };
            guarded.map_err(|errno| Failure::Ask("madvise", errno))?;
        }
        at = next;
    }
    Ok(())
}

/// Maps a region that the child did not get.
fn map_again(vma: &Vma) -> Result<(), Stop> {
    let flags = map::PRIVATE | map::ANONYMOUS | map::NORESERVE | map::FIXED_NOREPLACE;
    // SAFETY: nothing is replaced.
    match unsafe { memory::mmap(vma.start, vma.end - vma.start, prot::NONE, flags, -1, 0) } {
        Ok(_) => Ok(()),
        Err(errno) => Err(Failure::Scratch(errno).into()),
    }
}

impl Size {
    fn read(scratch: &mut Scratch) -> Result<Self, Stop> {
        const STATUS: &str = "/proc/self/status";
        let flags = open_flag::RDONLY | open_flag::CLOEXEC;
        let status = fd::open_at(fd::AT_FDCWD, b"/proc/self/status\0", flags, 0)
            .map_err(|errno| Failure::Proc(STATUS, errno))?;
        let mut len = 0;
        let result = loop {
            match fd::read(status, scratch.room().get_mut(len..).unwrap_or_default()) {
                Ok(0) => break Ok(()),
                Ok(more) => len += more,
                Err(errno) => break Err(Failure::Proc(STATUS, errno)),
            }
        };
        let _ = fd::close(status);
        result?;
        let text = scratch.room().get(..len).unwrap_or_default();
        let size = |name: &[u8]| fields::find(text, name).and_then(fields::kilobytes);
        match (size(b"VmSize:"), size(b"VmLck:"), size(b"RssAnon:")) {
            (Some(mapped), Some(locked), Some(anonymous)) => Ok(Self { mapped, locked, anonymous }),
            _ => Err(Failure::ProcText(STATUS).into()),
        }
    }
}
