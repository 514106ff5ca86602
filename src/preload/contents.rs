//! What is in the files that exist only in the image.
//!
//! [`Contents::capture`] copies while the target still stands still, because shared memory keeps changing when a writer works behind the
//! target's back. Nothing is read through a pointer: a file that somebody else truncates meanwhile would end the reader with SIGBUS.

use crate::maps::Vma;
use crate::memory_file::MemoryFile;
use crate::message::Failure;
use crate::objects::{Source, UNREADABLE, file_end, of_region, open_again, region_beyond};
use crate::scratch::{self, Growing, Scratch};
use core::cell::Cell;
use image::format::{CHUNK, Object, ObjectRun, PAGE, object_kind};
use image::zero::is_zero;
use sys::fd;
use sys::{Errno, memory};

/// The contents of all objects.
pub struct Contents {
    /// The objects themselves, complete.
    pub objects: Growing<Object>,
    /// Their runs; `data` counts from the start of [`Contents::bytes`].
    pub runs: Growing<ObjectRun>,
    /// The bytes of the runs, one behind the other.
    pub bytes: Growing<u8>,
    /// The first run of the object that is being copied.
    first_run: usize,
}

/// What [`Contents::capture`] reads mapped files with.
struct Reader<'a> {
    /// The target's map.
    vmas: &'a [Vma],
    sources: &'a [Source],
    scratch: &'a Scratch,
    memory: MemoryFile,
    pid: u32,
    /// Nothing is swapped out on this machine: a page that is not in memory does not exist.
    no_swap: bool,
    /// The first error of reading memory.
    trouble: Cell<Option<Errno>>,
}

impl Reader<'_> {
    /// [`region_beyond`] in the target's map.
    fn region_beyond(&self, index: u32, offset: u64) -> Option<&Vma> {
        region_beyond(self.vmas, self.sources, self.scratch, index, offset)
    }

    /// Reads memory; zero bytes where the file has ended.
    fn read(&self, address: u64, buf: &mut [u8]) -> usize {
        // The second way is slower, but reads what is protected, too.
        let direct = memory::copy_from(self.pid, address, buf).unwrap_or(0);
        if direct > 0 {
            return direct;
        }
        self.memory.read(address, buf).unwrap_or_else(|errno| {
            self.trouble.set(Some(errno));
            0
        })
    }

    /// Whether a page of a mapping exists.
    fn exists(&self, address: u64) -> bool {
        self.read(address, &mut [0]) == 1
    }

    /// The first range of pages of `start..end` that may have contents. `in_memory`: the file is one of a file system in memory.
    fn resident(&self, start: u64, end: u64, in_memory: bool) -> (u64, u64) {
        let mut present = [0u8; 4096];
        let mut first = None;
        let mut at = start;
        while at < end {
            let pages = ((end - at) / PAGE).min(present.len() as u64);
            let known = present.get_mut(..pages as usize).unwrap_or_default();
            if !in_memory || !self.no_swap || memory::in_core(at, pages * PAGE, known).is_err() {
                return (first.unwrap_or(at), end);
            }
            for byte in known.iter() {
                match first {
                    None if byte & 1 != 0 => first = Some(at),
                    Some(first) if byte & 1 == 0 => return (first, at),
                    _ => {}
                }
                at += PAGE;
            }
        }
        (first.unwrap_or(end), end)
    }
}

/// Where a file ends inside a region, looked for from offset `start` of the file on: a multiple of the page size.
fn end_inside(reader: &Reader<'_>, vma: &Vma, start: u64) -> u64 {
    let (mut low, mut high) = (start, file_end(vma));
    while low < high {
        let middle = low + (high - low) / 2 / PAGE * PAGE;
        if reader.exists(vma.start + (middle - vma.offset)) {
            low = middle + PAGE;
        } else {
            high = middle;
        }
    }
    low
}

/// Fills `room` from `offset` on; what the file does not have is zero.
fn fill(
    room: &mut [u8],
    offset: u64,
    read: &mut dyn FnMut(u64, &mut [u8]) -> sys::Result<usize>,
) -> sys::Result<()> {
    let mut len = 0;
    while let Some(rest) = room.get_mut(len..).filter(|rest| !rest.is_empty()) {
        match read(offset + len as u64, rest)? {
            0 => {
                rest.fill(0);
                break;
            }
            got => len += got,
        }
    }
    Ok(())
}

/// Moves a page down.
fn move_page(room: &mut [u8], from: usize, to: usize) {
    let page = PAGE as usize;
    if to < from
        && let Some((low, high)) = room.split_at_mut_checked(from)
    {
        low.iter_mut().skip(to).take(page).zip(high).for_each(|(to, from)| *to = *from);
    }
}

/// How many bytes the contents of all objects can have, but for what lies behind a mapping.
fn most_bytes(vmas: &[Vma], sources: &[Source], scratch: &Scratch) -> u64 {
    let open = sources.iter().map(|source| source.object.size.next_multiple_of(PAGE));
    let only_mapped = |index| sources.get(index as usize).is_some_and(|source| source.fd < 0);
    let regions = vmas.iter().filter(|vma| vma.shared != 0);
    let of_such = regions.filter(|vma| of_region(vma, sources, scratch).is_some_and(only_mapped));
    open.chain(of_such.map(|vma| vma.end - vma.start)).fold(2 * CHUNK, u64::saturating_add)
}

impl Contents {
    /// Copies the contents of `sources`, which must not change: in the target's memory, with its descriptors.
    pub fn capture(vmas: &[Vma], sources: &[Source], scratch: &Scratch) -> Result<Self, Failure> {
        let bytes = Growing::with_room(most_bytes(vmas, sources, scratch)).map_err(Failure::Scratch)?;
        let mut contents = Self { objects: Growing::new(), runs: Growing::new(), bytes, first_run: 0 };
        if sources.is_empty() {
            return Ok(contents);
        }
        let result = MemoryFile::open().and_then(|memory| {
            let no_swap = sys::process::swap_in_use() == Ok(0);
            let reader = Reader {
                vmas,
                sources,
                scratch,
                memory,
                pid: sys::process::pid(),
                no_swap,
                trouble: Cell::new(None),
            };
            let result = contents.copy_all(&reader);
            let result = match reader.trouble.get() {
                Some(errno) => Err(Failure::Proc("/proc/self/mem", errno)),
                None => result,
            };
            reader.memory.close();
            result
        });
        result.map(|()| contents)
    }

    /// Makes each run's `data` count from the start of the image, in which the bytes begin at `start`; tells whether there are runs.
    pub fn place(&mut self, start: u64) -> bool {
        let first = self.runs.first().map_or(0, |run| run.data);
        self.runs.iter_mut().for_each(|run| run.data = run.data - first + start);
        !self.runs.is_empty()
    }

    /// The runs of an object.
    pub fn runs_of(&self, object: u32) -> &[ObjectRun] {
        let object = self.objects.get(object as usize).copied().unwrap_or_default();
        let runs = self.runs.get(object.first_run as usize..).unwrap_or_default();
        runs.get(..object.runs as usize).unwrap_or_default()
    }

    fn copy_all(&mut self, reader: &Reader<'_>) -> Result<(), Failure> {
        for (index, source) in reader.sources.iter().enumerate() {
            self.first_run = self.runs.len();
            let first_byte = self.bytes.len();
            if source.object.kind == object_kind::SPARE {
                self.spare(reader, source)?;
                continue;
            }
            if source.object.kind == object_kind::ABSENT {
                let object = Object { first_run: self.first_run as u32, ..source.object };
                self.objects.push(object).map_err(Failure::Scratch)?;
                continue;
            }
            let opened = if source.fd < 0 { Err(Errno::EBADF) } else { self.open_file(source) };
            let size = match opened {
                Ok(()) => source.object.size,
                Err(Errno::ENOMEM) => return Err(Failure::Scratch(Errno::ENOMEM)),
                Err(_) if reader.region_beyond(index as u32, 0).is_some() => {
                    // What there is of it so far will come again.
                    self.runs.truncate(self.first_run);
                    self.bytes.truncate(first_byte);
                    self.mapped_file(reader, index as u32).map_err(Failure::Scratch)?.max(source.object.size)
                }
                Err(_) => return Err(Failure::Descriptor(source.fd, UNREADABLE)),
            };
            let runs = (self.runs.len() - self.first_run) as u32;
            let object = Object { size, first_run: self.first_run as u32, runs, ..source.object };
            self.objects.push(object).map_err(Failure::Scratch)?;
        }
        Ok(())
    }

    /// A copy of a file that has a name; an empty one, which says so, where it cannot be read.
    fn spare(&mut self, reader: &Reader<'_>, source: &Source) -> Result<(), Failure> {
        const NOTHING: u32 = 1;
        let (object, first_byte) = (&source.object, self.bytes.len());
        let result = if source.fd >= 0 {
            self.open_file(source)
        } else {
            let flags = fd::open_flag::CLOEXEC | fd::open_flag::NONBLOCK | fd::open_flag::NOCTTY;
            fd::open_at(fd::AT_FDCWD, reader.scratch.c_str(object.name), flags, 0).and_then(|own| {
                let is_it =
                    fd::stat_fd(own).is_ok_and(|stat| (stat.dev, stat.ino) == (object.dev, object.ino));
                let read = |offset, buf: &mut [u8]| fd::read_at(own, buf, offset);
                let result =
                    if is_it { self.take(0, object.size, &mut { read }) } else { Err(Errno::ESTALE) };
                let _ = fd::close(own);
                result
            })
        };
        let flags = match result {
            Ok(()) => 0,
            Err(Errno::ENOMEM) => return Err(Failure::Scratch(Errno::ENOMEM)),
            Err(_) => {
                self.runs.truncate(self.first_run);
                self.bytes.truncate(first_byte);
                NOTHING
            }
        };
        let runs = (self.runs.len() - self.first_run) as u32;
        let copy = Object { flags, first_run: self.first_run as u32, runs, ..source.object };
        self.objects.push(copy).map_err(Failure::Scratch)
    }

    /// Copies an open file.
    fn open_file(&mut self, source: &Source) -> sys::Result<()> {
        let size = source.object.size;
        // An open file description of our own: looking for data moves the offset, which the target would see.
        let Ok(own) = open_again(source.fd) else {
            return self.take(0, size, &mut |offset, buf| fd::read_at(source.fd, buf, offset));
        };
        let mut at = 0;
        let result = loop {
            match fd::data_range(own, at, size) {
                Ok((start, end)) if start < end => {
                    at = end;
                    if let Err(errno) =
                        self.take(start, end, &mut |offset, buf| fd::read_at(own, buf, offset))
                    {
                        break Err(errno);
                    }
                }
                Ok(_) => break Ok(()),
                Err(errno) => break Err(errno),
            }
        };
        let _ = fd::close(own);
        result
    }

    /// Copies a file that is only mapped, and gives its size: as far as the target can reach it.
    fn mapped_file(&mut self, reader: &Reader<'_>, index: u32) -> sys::Result<u64> {
        let kind = reader.sources.get(index as usize).map_or(0, |source| source.object.kind);
        let in_memory = kind != object_kind::DELETED;
        let mut size = 0;
        let mut last = None;
        while let Some(vma) = reader.region_beyond(index, size) {
            let start = vma.offset.max(size);
            size = if reader.exists(vma.end - PAGE) { file_end(vma) } else { end_inside(reader, vma, start) };
            self.mapping(reader, vma.start, vma.offset, (start, size), in_memory)?;
            last = Some(vma);
            if size < file_end(vma) {
                return Ok(size);
            }
        }
        if let Some(vma) = last {
            self.behind(reader, vma, &mut size, in_memory)?;
        }
        Ok(size)
    }

    /// Copies the part `range` of a file through a mapping at `address` that begins at `offset` of the file.
    fn mapping(
        &mut self,
        reader: &Reader<'_>,
        address: u64,
        offset: u64,
        range: (u64, u64),
        in_memory: bool,
    ) -> sys::Result<()> {
        let to_address = |at: u64| at - offset + address;
        let (mut at, end) = range;
        while at < end {
            let (from, to) = reader.resident(to_address(at), to_address(end), in_memory);
            let start = at + (from - to_address(at));
            let next = at + (to - to_address(at));
            self.take(start, next, &mut |at, buf| Ok(reader.read(to_address(at), buf)))?;
            at = next;
        }
        Ok(())
    }

    /// A shared mapping can be grown by mremap(2), up to the end of its file: copies what is there behind the last region, and moves `size` to
    /// the end. It is looked at through a second mapping of the same pages (mremap(2) with an old size of zero).
    fn behind(&mut self, reader: &Reader<'_>, vma: &Vma, size: &mut u64, in_memory: bool) -> sys::Result<()> {
        /// More than any file in memory has; the mapping itself costs nothing.
        const REACH: u64 = 1 << 40;
        // SAFETY: a new mapping beside the old one, at an address of the kernel's choice.
        let Ok(copy) = (unsafe { memory::mremap(vma.start, 0, REACH) }) else { return Ok(()) };
        scratch::note(0, copy, REACH);
        let first = copy + (*size - vma.offset);
        let whole = Vma { start: copy, end: copy + REACH, ..*vma };
        let start = *size;
        let result = if reader.exists(first) {
            *size = end_inside(reader, &whole, start);
            self.mapping(reader, copy, vma.offset, (start, *size), in_memory)
        } else {
            Ok(())
        };
        // SAFETY: the mapping made above, of which nobody else knows.
        let _ = unsafe { memory::munmap(copy, REACH) };
        scratch::note(copy, 0, 0);
        result
    }

    /// Copies what is not zero of the pages that `start..end` touches. `read` gets an offset, and gives zero bytes at the end of the file.
    fn take(
        &mut self,
        start: u64,
        end: u64,
        read: &mut dyn FnMut(u64, &mut [u8]) -> sys::Result<usize>,
    ) -> sys::Result<()> {
        const SIZE: usize = PAGE as usize;
        let mut at = start / PAGE * PAGE;
        let end = end.next_multiple_of(PAGE);
        while at < end {
            let piece = (end - at).min(CHUNK);
            let filled = self.bytes.len() as u64;
            let room = self.bytes.spare(piece as usize)?;
            fill(room, at, read)?;
            // The pages that are not zero move together.
            let mut kept = 0;
            for page in 0..room.len() / SIZE {
                let from = page * SIZE;
                if room.get(from..from + SIZE).is_none_or(is_zero) {
                    continue;
                }
                move_page(room, from, kept);
                let run = ObjectRun { offset: at + from as u64, data: filled + kept as u64, len: PAGE };
                let of_object = self.runs.get_mut(self.first_run..).unwrap_or_default();
                match of_object.last_mut().filter(|last| last.offset + last.len == run.offset) {
                    Some(last) => last.len += PAGE,
                    None => self.runs.push(run)?,
                }
                kept += SIZE;
            }
            self.bytes.fill_spare(kept);
            at += piece;
        }
        Ok(())
    }
}
