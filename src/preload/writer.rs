//! The image, written in one forward pass: everything is sized before the first byte goes out.

use crate::helper::{Job, Snapshot, Stop};
use crate::message::Failure;
use crate::notes;
use crate::pages::Pages;
use crate::process;
use crate::regions::{self, Regions};
use crate::report::Report;
use crate::scratch::{Growing, Scratch};
use crate::sink::Sink;
use image::chunks::{Cut, Cutter, Piece};
use image::crc::crc32c_append;
use image::elf::{PF_W, Phdr};
use image::format::{CHUNK, OWNERS, Owner, RUN_OBJECT, RUN_PRIVATE};
use image::owners::{Ids, find};
use image::plain::{bytes_of, bytes_of_slice};
use image::write::{Layout, seal, sums_header};
use sys::Errno;
use sys::fd::{self, IoVec};
use sys::memory;

/// Writes the image of `snapshot` to `file`.
pub fn write(
    job: &Job,
    snapshot: &mut Snapshot,
    scratch: &mut Scratch,
    sink: &mut Sink,
    report: &mut Report,
) -> Result<(), Stop> {
    let mut pages = Pages::new()?;
    let regions = regions::find(snapshot, scratch, &mut pages)?;
    process::complete(&mut snapshot.process, job, scratch)?;
    let (layout, mut notes) = lay_out(job, snapshot, scratch, &pages, &regions)?;
    for load in pages.loads.iter_mut() {
        load.p_offset = match (load.p_filesz, load.p_paddr) {
            (0, _) => 0,
            (_, RUN_OBJECT) => load.p_offset + layout.data_off + pages.data_len,
            _ => load.p_offset + layout.data_off,
        };
    }
    let note_phdr = layout.note_phdr();
    let front = crc32c_append(layout.front_crc(), bytes_of(&note_phdr));
    seal(&mut notes, &layout, crc32c_append(front, bytes_of_slice(&pages.loads)))
        .ok_or(Failure::ProcText("the image's own layout"))?;
    sink.start(report.target)?;
    let out = sink.fd();
    report.size = [layout.file_len, layout.data_len];
    write_all(out, bytes_of(&layout.ehdr()))?;
    if let Some(section) = layout.section_zero() {
        write_all(out, &section)?;
    }
    write_all(out, bytes_of(&note_phdr))?;
    write_all(out, bytes_of_slice(&pages.loads))?;
    write_all(out, &notes)?;
    write_zeros(out, layout.data_off - layout.notes_off - layout.notes_len)?;
    let mut ids = Growing::<u32>::new().map_err(Failure::Scratch)?;
    for thread in snapshot.threads.iter() {
        ids.push(thread.tid).map_err(Failure::Scratch)?;
    }
    let mut owners = Owners::new()?;
    let sums = write_pages(out, &pages, &snapshot.contents.bytes, &ids, &mut owners, report)?;
    write_all(out, bytes_of(&sums_header(&sums, &owners.table, owners.used as u64)))?;
    write_all(out, bytes_of_slice(&sums))?;
    write_all(out, bytes_of_slice(&owners.table))?;
    ids.unmap();
    owners.table.unmap();
    regions::hide_again(snapshot);
    regions.unmap();
    pages.unmap();
    notes.unmap();
    sums.unmap();
    Ok(())
}

/// Builds the notes, in a buffer that is doubled until they fit, and lays out the file around them.
fn lay_out(
    job: &Job,
    snapshot: &mut Snapshot,
    scratch: &Scratch,
    pages: &Pages,
    regions: &Regions,
) -> Result<(Layout, Growing<u8>), Stop> {
    let mut size = 256 * 1024;
    loop {
        let mut buf = Growing::<u8>::new().map_err(Failure::Scratch)?;
        buf.extend_zeros(size).map_err(Failure::Scratch)?;
        match notes::build(&mut buf, job, snapshot, scratch, pages, regions) {
            Ok(len) => {
                buf.truncate(len);
                let loads = pages.loads.len() as u64;
                let objects_len = snapshot.contents.bytes.len() as u64;
                let layout = Layout::new(loads, len as u64, pages.data_len + objects_len)
                    .ok_or(Failure::Write(Errno::EFBIG))?;
                if snapshot.contents.place(layout.data_off + pages.data_len) {
                    // Where the data of objects is depends on the length of the notes; their length depends on nothing more.
                    notes::build(&mut buf, job, snapshot, scratch, pages, regions)
                        .map_err(|image::write::Full| Failure::Scratch(Errno::ENOMEM))?;
                }
                return Ok((layout, buf));
            }
            Err(image::write::Full) => {
                buf.unmap();
                size = size.checked_mul(2).ok_or(Failure::Scratch(Errno::ENOMEM))?;
            }
        }
    }
}

/// Writes the page data, and sums each chunk while it is in the cache.
fn write_pages(
    out: i32,
    pages: &Pages,
    objects: &[u8],
    ids: &[u32],
    owners: &mut Owners,
    report: &mut Report,
) -> Result<Growing<u32>, Failure> {
    /// Parts of one writev(2) call: a chunk has at most 64 pages.
    const PARTS: usize = (CHUNK / image::format::PAGE) as usize;
    let mut sums = Growing::new().map_err(Failure::Scratch)?;
    let mut parts = [IoVec { base: 0, len: 0 }; PARTS];
    let mut used = 0;
    let mut sum = 0;
    let mut copies = Copies::new()?;
    let ids = Ids::new(ids);
    let by_address = pages.loads.iter().filter(|load| load.p_paddr != RUN_OBJECT);
    let pieces =
        by_address.clone().map(|load| Piece { addr: pages.readable(load.p_vaddr), len: load.p_filesz });
    let objects = Piece { addr: objects.as_ptr() as u64, len: objects.len() as u64 };
    let mut loads = (0u64..).zip(by_address);
    let mut load = loads.next();
    for cut in Cutter::new(pieces.chain([objects]), CHUNK) {
        while load.is_some_and(|(number, _)| number < cut.piece) {
            load = loads.next();
        }
        let addr = copies.of_live(&cut);
        // SAFETY: the run was found readable, in memory that nobody changes now; or it is a copy.
        let bytes = unsafe { core::slice::from_raw_parts(addr as *const u8, cut.len as usize) };
        sum = crc32c_append(sum, bytes);
        // A thread can hold a lock only where it can write; what objects hold is not at this address, and others may see it.
        let can_lock = |load: &Phdr| load.p_flags & PF_W != 0 && load.p_paddr == RUN_PRIVATE;
        if let Some(ids) = ids.filter(|_| load.is_some_and(|(_, load)| can_lock(load))) {
            owners.find_in(bytes, pages.belongs(cut.addr), ids)?;
        }
        if let Some(part) = parts.get_mut(used) {
            *part = IoVec { base: addr as usize, len: cut.len as usize };
            used += 1;
        }
        if cut.ends_chunk {
            write_parts(out, parts.get_mut(..used).unwrap_or_default())?;
            sums.push(sum).map_err(Failure::Scratch)?;
            (used, sum) = (0, 0);
            copies.clear();
            report.progress(sums.len() as u64 * CHUNK);
        }
    }
    copies.buf.unmap();
    Ok(sums)
}

/// The owners of locks that have gone by.
struct Owners {
    table: Growing<Owner>,
    used: usize,
}

impl Owners {
    fn new() -> Result<Self, Failure> {
        let mut table = Growing::new().map_err(Failure::Scratch)?;
        table.extend_zeros(OWNERS as usize).map_err(Failure::Scratch)?;
        Ok(Self { table, used: 0 })
    }

    /// Looks at a piece of page data that belongs at `addr`.
    fn find_in(&mut self, bytes: &[u8], addr: u64, ids: Ids<'_>) -> Result<(), Failure> {
        let mut count = self.used;
        // A lock may lie across the edge of a piece.
        let beyond = |at: isize| {
            let place = addr.wrapping_add_signed(at as i64);
            // SAFETY: the kernel says that the word can be read.
            memory::is_readable(place).then(|| unsafe { (place as *const u64).read_unaligned() })
        };
        find(bytes, ids, beyond, |at, thread| {
            if let Some(owner) = self.table.get_mut(count) {
                *owner = Owner { addr: addr.wrapping_add(at as u64), thread, reserved: 0 };
            }
            count += 1;
        });
        self.used = count;
        if count > self.table.len() { Err(Failure::Locks) } else { Ok(()) }
    }
}

/// Copies of pages that change while they are written: the stack that the writer itself runs on is part of the image. What is summed
/// must be what goes out.
struct Copies {
    /// As large as a chunk.
    buf: Growing<u8>,
    /// Bytes of it that hold copies of the present chunk.
    used: usize,
    /// An address on the stack.
    here: u64,
}

impl Copies {
    /// No stack of ours is larger.
    const STACK: u64 = crate::arrival::STACK as u64;

    fn new() -> Result<Self, Failure> {
        let here = 0u8;
        let mut buf = Growing::new().map_err(Failure::Scratch)?;
        buf.extend_zeros(CHUNK as usize).map_err(Failure::Scratch)?;
        Ok(Self { buf, used: 0, here: (&raw const here) as u64 })
    }

    /// Forgets the copies of a chunk.
    fn clear(&mut self) {
        self.used = 0;
    }

    /// Where to read a cut: in place, or from a copy if it is near the stack pointer.
    fn of_live(&mut self, cut: &Cut) -> u64 {
        let live = self.here.saturating_sub(Self::STACK)..self.here.saturating_add(Self::STACK);
        if cut.addr >= live.end || cut.addr.saturating_add(cut.len) <= live.start {
            return cut.addr;
        }
        let end = self.used + cut.len as usize;
        let Some(copy) = self.buf.get_mut(self.used..end) else { return cut.addr };
        self.used = end;
        // SAFETY: the run was found readable, and overlaps with no mapping of ours.
        unsafe { core::ptr::copy_nonoverlapping(cut.addr as *const u8, copy.as_mut_ptr(), copy.len()) };
        copy.as_ptr() as u64
    }
}

/// writev(2) until everything is written.
fn write_parts(out: i32, parts: &mut [IoVec]) -> Result<(), Failure> {
    let mut done = 0;
    while let Some(rest) = parts.get_mut(done..).filter(|rest| !rest.is_empty()) {
        let mut written = match fd::write_vector(out, rest) {
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(Failure::Write(errno)),
            Ok(0) => return Err(Failure::Write(Errno::EIO)),
            Ok(written) => written,
        };
        for part in rest {
            let taken = written.min(part.len);
            part.base += taken;
            part.len -= taken;
            written -= taken;
            if part.len > 0 {
                break;
            }
            done += 1;
        }
    }
    Ok(())
}

/// write(2) until everything is written.
pub fn write_all(out: i32, mut bytes: &[u8]) -> Result<(), Failure> {
    while !bytes.is_empty() {
        match fd::write(out, bytes) {
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(Failure::Write(errno)),
            Ok(0) => return Err(Failure::Write(Errno::EIO)),
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
        }
    }
    Ok(())
}

fn write_zeros(out: i32, len: u64) -> Result<(), Failure> {
    static ZEROS: [u8; image::format::PAGE as usize] = [0; image::format::PAGE as usize];
    write_all(out, ZEROS.get(..len as usize).unwrap_or_default())
}
