//! Page data: read chunk by chunk, or mapped from the image.

use super::Builder;
use super::layout::Place;
use crate::exit::Result;
use crate::op::Op;
use image::format::{PAGE, RUN_CLEAN, RUN_PRIVATE, region_flag, region_kind};
use sys::Sysno;
use sys::fd::IoVec;
use sys::memory::{map, prot};

/// A `--lazy` restart maps runs of at least this many bytes, and reads the others.
const LAZY_MIN: u64 = 8 * PAGE;
/// Mappings that a `--lazy` restart may add: each run can split the region around it in three. Half of the
/// kernel's default `vm.max_map_count`, so that the process can still map as much as it did.
const LAZY_ROOM: u64 = 32768;
/// `IOV_MAX` of preadv(2).
const IOV_MAX: usize = 1024;

/// Page data that follows one another, and goes to one place.
struct Run {
    /// Where it is in the image.
    offset: u64,
    /// Number of bytes.
    len: u64,
    /// The address that it goes to; `None`: nobody needs it.
    to: Option<u64>,
    /// Whether a `--lazy` restart may map it.
    may_map: bool,
}

/// Pieces of memory that the next preadv(2) fills.
struct Batch {
    /// Address of the first iovec.
    list: u64,
    /// How many there are.
    count: usize,
    /// Offset in the image of the first byte.
    from: u64,
    /// Behind the last byte.
    to: u64,
    /// Where the last piece ends in memory.
    end: u64,
}

impl<'a> Builder<'a, '_> {
    /// Puts the contents of the image into the mapped regions.
    pub(super) fn load_pages(&mut self) -> Result<'a, ()> {
        if self.inputs.lazy { self.load_lazily() } else { self.load_all() }
    }

    /// Page data of the image, in the order of the file.
    fn runs(&self) -> impl Iterator<Item = Run> + use<'a> {
        let of_objects = self.object_runs().map(|(offset, len, to)| Run { offset, len, to, may_map: false });
        self.region_runs().chain(of_objects)
    }

    /// The program headers with page data of their own. Those of object regions show what comes behind all of these.
    fn region_runs(&self) -> impl Iterator<Item = Run> + use<'a> {
        let image = self.inputs.image;
        let inputs = self.inputs;
        // Regions that are not made still have bytes in the file.
        let mut places = self.places().peekable();
        image.regions().iter().flat_map(move |region| {
            let place = places.next_if(|(placed, _)| placed.start == region.start).map(|(_, place)| place);
            let mapped = inputs.backing(&region).is_some();
            let address = place.and_then(|place: Place| place.early_address(&region));
            // A stack keeps growing only where it is memory without a file.
            let may_map = region.flags & (region_flag::GROWSDOWN | region_flag::LOCKED) == 0;
            image.loads_of(&region).iter().filter(|load| load.p_filesz > 0).filter_map(move |load| {
                let wanted = match (region.kind, load.p_paddr) {
                    (region_kind::VDSO, _) => false,
                    (_, RUN_PRIVATE) => true,
                    (_, RUN_CLEAN) => !mapped,
                    _ => return None,
                };
                let to = address.filter(|_| wanted).map(|address| load.p_vaddr - region.start + address);
                Some(Run { offset: load.p_offset, len: load.p_filesz, to, may_map })
            })
        })
    }

    /// Reads whole chunks, so that their sums can be checked while the bytes are in the cache. Runs that nobody needs are read as well, to
    /// nowhere: a process that comes out of a damaged image is not to be trusted, wherever the damage is.
    fn load_all(&mut self) -> Result<'a, ()> {
        let head = self.inputs.image.head();
        let (data_off, chunk) = (head.data_off, u64::from(head.chunk).max(PAGE));
        let scratch = self.inputs.scratch;
        let mut batch = self.batch(data_off);
        for run in self.runs() {
            let mut offset = run.offset;
            let end = run.offset + run.len;
            while offset < end {
                let chunk_start = offset - (offset - data_off) % chunk;
                let len = end.min(chunk_start + chunk) - offset;
                let address = run.to.map(|to| to + (offset - run.offset));
                self.add(&mut batch, address.unwrap_or(scratch + (offset - chunk_start)), len)?;
                offset += len;
                if offset == chunk_start + chunk {
                    self.read(&mut batch)?;
                }
            }
        }
        self.read(&mut batch)
    }

    /// Maps the long runs and reads the short ones.
    fn load_lazily(&mut self) -> Result<'a, ()> {
        let least = self.lazy_least();
        let mut batch = self.batch(self.inputs.image.head().data_off);
        for run in self.runs() {
            let Some(to) = run.to else { continue };
            if run.may_map && run.len >= least {
                let flags = u64::from(map::PRIVATE | map::FIXED);
                let prot = u64::from(prot::READ | prot::WRITE);
                let args = [to, run.len, prot, flags, self.inputs.image_fd as u64, run.offset];
                self.early(Op::exact(Sysno::mmap, args, to))?;
                continue;
            }
            if run.offset != batch.to || batch.count >= IOV_MAX {
                self.read(&mut batch)?;
                batch.from = run.offset;
                batch.to = run.offset;
            }
            self.add(&mut batch, to, run.len)?;
        }
        self.read(&mut batch)?;
        self.look_at_the_end()
    }

    /// Reads the last byte of the page data, to nowhere: a mapping beyond the end of the file can be made as well, but not touched.
    fn look_at_the_end(&mut self) -> Result<'a, ()> {
        let head = self.inputs.image.head();
        let Some(last) = head.data_len.checked_sub(1) else { return Ok(()) };
        let mut batch = self.batch(head.data_off + last);
        self.add(&mut batch, self.inputs.scratch, 1)?;
        self.read(&mut batch)
    }

    /// The length from which on a run is mapped: such that the number of mappings stays in bounds.
    fn lazy_least(&self) -> u64 {
        let mut least = LAZY_MIN;
        let regions = self.inputs.image.regions().len() as u64;
        let room = LAZY_ROOM.saturating_sub(regions).max(1024);
        while least < 1 << 40 {
            let count = self.runs().filter(|run| run.may_map && run.to.is_some() && run.len >= least).count();
            if count as u64 * 2 <= room {
                break;
            }
            least *= 4;
        }
        least
    }

    fn batch(&self, from: u64) -> Batch {
        Batch { list: self.iovecs.next_address(), count: 0, from, to: from, end: 0 }
    }

    /// Adds `len` bytes of the file, which go to `address`.
    fn add(&mut self, batch: &mut Batch, address: u64, len: u64) -> Result<'static, ()> {
        batch.to += len;
        if batch.count > 0 && batch.end == address {
            if let Some(last) = self.iovecs.as_mut_slice().last_mut() {
                last.len += len as usize;
            }
        } else {
            self.iovecs.push(IoVec { base: address as usize, len: len as usize })?;
            batch.count += 1;
        }
        batch.end = address + len;
        Ok(())
    }

    /// Plans the call for the batch, and begins the next one.
    fn read(&mut self, batch: &mut Batch) -> Result<'static, ()> {
        if batch.count > 0 {
            let args = [self.inputs.image_fd as u64, batch.list, batch.count as u64, batch.from, 0];
            self.early(Op::exact(Sysno::preadv, args, batch.to - batch.from))?;
        }
        *batch = self.batch(batch.to);
        Ok(())
    }
}
