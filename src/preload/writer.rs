//! The image, written in one forward pass: everything is sized before the first byte goes out.

use crate::descriptors::inotify;
use crate::evidence::Collector;
use crate::helper::{Job, Snapshot, Stop};
use crate::message::Failure;
use crate::notes;
use crate::pages::Pages;
use crate::process;
use crate::regions::{self, Regions};
use crate::report::Report;
use crate::scratch::{Growing, Scratch};
use crate::second::Second;
use crate::sink::Sink;
use image::chunks::{Cut, Cutter, Piece};
use image::crc::crc32c_append;
use image::elf::{PF_W, Phdr};
use image::evidence::Ids;
use image::format::{CHUNK, RUN_OBJECT, RUN_PRIVATE, Thread};
use image::plain::{Plain, bytes_of, bytes_of_slice};
use image::write::{Layout, seal, sums_header};
use sys::Errno;
use sys::fd::{self, IoVec};

/// Writes the image of `snapshot` to `file`.
pub fn write(
    job: &Job,
    snapshot: &mut Snapshot,
    scratch: &mut Scratch,
    sink: &mut Sink,
    report: &mut Report,
) -> Result<(), Stop> {
    let result = write_readable(job, snapshot, scratch, sink, report);
    regions::hide_again(snapshot);
    result
}

/// [`write`], which leaves memory readable that was not.
fn write_readable(
    job: &Job,
    snapshot: &mut Snapshot,
    scratch: &mut Scratch,
    sink: &mut Sink,
    report: &mut Report,
) -> Result<(), Stop> {
    let Snapshot { files, descriptors, .. } = snapshot;
    inotify::find_watched(files, descriptors, scratch, inotify::MOST)?;
    let affinity = snapshot.threads.first().map_or(&[][..], |thread| scratch.blob(thread.affinity));
    let mut pages = Pages::new(if job.is_helper { Second::new(affinity) } else { None })?;
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
    if report.is_orphan {
        // Not before the program's own value was asked for, which this process has inherited.
        process::volunteer();
    }
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
    let mut ids = Growing::<u32>::new();
    for thread in snapshot.threads.iter() {
        ids.push(thread.tid).map_err(Failure::Scratch)?;
    }
    let mut second = pages.second.take();
    // Where this is a copy of the target, none of its threads runs.
    let threads = if report.is_orphan { &[][..] } else { &snapshot.threads };
    let data = Data::new(&pages, &snapshot.contents.bytes, threads)?;
    let ids = Ids::new(&ids).ok_or(Failure::ProcText("the image's own layout"))?;
    let mut check = Check::new(&data, Collector::new(ids, snapshot, &regions))?;
    write_data(out, &data, &mut check, second.as_mut(), report)?;
    let Check { sums, mut evidence, .. } = check;
    evidence.look_at_threads();
    let (table, used) = evidence.table();
    write_all(out, bytes_of(&sums_header(&sums, table, used)))?;
    write_all(out, bytes_of_slice(&sums))?;
    write_all(out, bytes_of_slice(table))?;
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
        let mut buf = Growing::<u8>::new();
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
                size = size.checked_mul(2).ok_or(Failure::Scratch(Errno::ENOMEM))?;
            }
        }
    }
}

/// From this much page data on, a thread of its own checks it.
const WORTH_A_THREAD: u64 = 2 << 20;

/// Writes the page data and checks it: with a second thread at the same time, else each chunk before it goes out, while it is in the cache.
fn write_data(
    out: i32,
    data: &Data<'_>,
    check: &mut Check<'_>,
    second: Option<&mut Second>,
    report: &mut Report,
) -> Result<(), Failure> {
    /// Bytes of one call when the cache does not matter: few calls, and progress now and then.
    const AT_ONCE: u64 = 4 << 20;
    match second.filter(|_| data.pages.data_len >= WORTH_A_THREAD) {
        Some(second) => {
            let mut checked = Ok(());
            let all = || checked = data.cuts(CHUNK).try_for_each(|part| check.look(&part));
            let written = second.both(all, || write_parts(out, data, AT_ONCE, |_| Ok(()), report));
            written.and(checked)
        }
        None => write_parts(out, data, CHUNK, |part| check.look(part), report),
    }
}

/// Writes the page data in pieces of at most `len` bytes; each part of one goes by `see` first.
fn write_parts(
    out: i32,
    data: &Data<'_>,
    len: u64,
    mut see: impl FnMut(&Part) -> Result<(), Failure>,
    report: &mut Report,
) -> Result<(), Failure> {
    /// Parts of one writev(2) call (`IOV_MAX` is 1024); a chunk has at most 64 pages.
    const PARTS: usize = 256;
    let mut parts = [IoVec { base: 0, len: 0 }; PARTS];
    let (mut used, mut written) = (0, 0);
    for part in data.cuts(len) {
        see(&part)?;
        if let Some(place) = parts.get_mut(used) {
            *place = IoVec { base: part.cut.addr as usize, len: part.cut.len as usize };
            used += 1;
        }
        written += part.cut.len;
        if part.cut.ends_chunk || used == PARTS {
            write_vector(out, parts.get_mut(..used).unwrap_or_default())?;
            used = 0;
            report.progress(written);
        }
    }
    Ok(())
}

/// All page data, in the order of the file.
struct Data<'a> {
    pages: &'a Pages,
    /// The contents of objects, behind all others.
    objects: &'a [u8],
    /// What changes while it is written, in order of its addresses.
    live: Growing<Live>,
    /// What was there before: what is summed must be what goes out.
    copy: Growing<u8>,
}

/// Addresses whose contents change while they are written, because the writer is in the target's own memory.
#[repr(C)]
#[derive(Clone, Copy)]
struct Live {
    /// First byte.
    start: u64,
    /// Behind its last byte.
    end: u64,
    /// First byte of the copy. Copies are in the order of their originals.
    copy: u64,
}
// SAFETY: `repr(C)`, three integers of one size.
unsafe impl Plain for Live {}

impl Live {
    /// Whether the copy ends at or before an address.
    fn copy_is_before(&self, place: u64) -> bool {
        self.copy + (self.end - self.start) <= place
    }
}

/// A part of a chunk.
struct Part {
    cut: Cut,
    /// What it is part of; `None` for the contents of objects.
    load: Option<Phdr>,
}

impl Part {
    fn bytes(&self) -> &[u8] {
        // SAFETY: the run was found readable, in memory that nobody changes now; or it is a copy.
        unsafe { core::slice::from_raw_parts(self.cut.addr as *const u8, self.cut.len as usize) }
    }
}

impl<'a> Data<'a> {
    /// No stack of ours is larger.
    const STACK: u64 = crate::arrival::STACK as u64;

    /// `threads` are those in whose memory this process writes.
    fn new(pages: &'a Pages, objects: &'a [u8], threads: &[Thread]) -> Result<Self, Failure> {
        let live = changing(threads).map_err(Failure::Scratch)?;
        let len = live.iter().map(|live| (live.end - live.start) as usize).sum();
        let mut data = Self { pages, objects, live, copy: Growing::new() };
        data.copy.extend_zeros(len).map_err(Failure::Scratch)?;
        let mut place = data.copy.as_ptr() as u64;
        for live in data.live.iter_mut() {
            live.copy = place;
            place += live.end - live.start;
        }
        for part in data.own_loads().flat_map(|load| data.split(load)) {
            if let Some(from) = data.original(part.addr) {
                // SAFETY: the run was found readable, and its part is inside the addresses that the copy has room for.
                unsafe {
                    core::ptr::copy_nonoverlapping(
                        from as *const u8,
                        part.addr as *mut u8,
                        part.len as usize,
                    );
                };
            }
        }
        Ok(data)
    }

    /// The runs but those of objects.
    fn own_loads(&self) -> impl Iterator<Item = &Phdr> + Clone + use<'_> {
        self.pages.loads.iter().filter(|load| load.p_paddr != RUN_OBJECT)
    }

    /// The places of a run's bytes: the copy of what changes, and the memory itself before and behind it.
    fn split(&self, load: &Phdr) -> impl Iterator<Item = Piece> + use<'_, 'a> {
        let mut at = self.pages.readable(load.p_vaddr);
        let end = at + load.p_filesz;
        let first = self.live.partition_point(|live| live.end <= at);
        let mut live = self.live.iter().skip(first).take_while(move |live| live.start < end).peekable();
        core::iter::from_fn(move || {
            let (addr, until) = match live.next_if(|live| live.start <= at) {
                Some(live) => (at - live.start + live.copy, live.end.min(end)),
                None => (at, live.peek().map_or(end, |live| live.start)),
            };
            let len = until - at;
            at = until;
            (len > 0).then_some(Piece { addr, len })
        })
    }

    /// What the copy at `place` is of, if there is one.
    fn original(&self, place: u64) -> Option<u64> {
        let live = self.live.get(self.live.partition_point(|live| live.copy_is_before(place)))?;
        (live.copy <= place).then(|| place - live.copy + live.start)
    }

    /// Where in the target's memory the bytes that are at `place` belong.
    fn home(&self, place: u64) -> u64 {
        self.original(place).unwrap_or_else(|| self.pages.belongs(place))
    }

    /// All of it, cut into pieces of `len` bytes.
    fn cuts(&self, len: u64) -> impl Iterator<Item = Part> + '_ {
        let objects = Piece { addr: self.objects.as_ptr() as u64, len: self.objects.len() as u64 };
        let pieces = self.own_loads().flat_map(|load| self.split(load)).chain([objects]);
        let mut loads = self.own_loads();
        let (mut load, mut left) = (None, 0);
        Cutter::new(pieces, len).map(move |cut| {
            while left == 0 {
                load = loads.next().copied();
                match load {
                    Some(load) => left = load.p_filesz,
                    None => break,
                }
            }
            left = left.saturating_sub(cut.len);
            Part { cut, load }
        })
    }
}

/// Addresses whose contents change while they are written: the stack that the writer itself runs on is part of the image, and so are the rseq(2) areas, into
/// which the kernel puts the number of the CPU whenever it lets a thread run again, be it on its last steps into its sleep or after SIGCONT.
fn changing(threads: &[Thread]) -> sys::Result<Growing<Live>> {
    let here = 0u8;
    let here = (&raw const here) as u64;
    let stack = [here.saturating_sub(Data::STACK), here.saturating_add(Data::STACK)];
    let mut all = Growing::<Live>::new();
    all.push(Live { start: stack[0], end: stack[1], copy: 0 })?;
    // The last ones first: later stacks are at lower addresses as a rule, so that little moves.
    for thread in threads.iter().rev().filter(|thread| thread.rseq != 0) {
        let (mut start, mut end) = (thread.rseq, thread.rseq + u64::from(thread.rseq_len));
        if start < stack[1] && end > stack[0] {
            // Much of the surroundings of the stack are taken for it.
            (start, end) = if start < stack[0] { (start, stack[0]) } else { (stack[1], end) };
        }
        if start >= end {
            continue;
        }
        all.push(Live { start, end, copy: 0 })?;
        let mut at = all.len() - 1;
        while let Some([before, this]) = all.get_mut(at.wrapping_sub(1)..=at)
            && before.start > this.start
        {
            core::mem::swap(before, this);
            at -= 1;
        }
    }
    Ok(all)
}

/// What has to be known of all page data: its sums, and what in it says that the program knows ids.
struct Check<'a> {
    data: &'a Data<'a>,
    /// Sum of the present chunk, as far as it has gone by.
    sum: u32,
    sums: Growing<u32>,
    evidence: Collector<'a>,
}

impl<'a> Check<'a> {
    fn new(data: &'a Data<'a>, evidence: Collector<'a>) -> Result<Self, Failure> {
        // All of its room at once: a table that moves is noted in memory that is being written.
        let mut sums = Growing::<u32>::new();
        let bytes = data.pages.data_len + data.objects.len() as u64;
        sums.spare(bytes.div_ceil(CHUNK) as usize).map_err(Failure::Scratch)?;
        Ok(Self { data, sum: 0, sums, evidence })
    }

    /// Looks at the next part.
    fn look(&mut self, part: &Part) -> Result<(), Failure> {
        let bytes = part.bytes();
        self.sum = crc32c_append(self.sum, bytes);
        match part.load {
            // What the program cannot write has no ids that it has learnt.
            Some(load) if load.p_flags & PF_W != 0 && load.p_paddr == RUN_PRIVATE => {
                self.evidence.look_at_memory(bytes, self.data.home(part.cut.addr));
            }
            Some(_) => {}
            None => {
                let first = part.cut.addr.wrapping_sub(self.data.objects.as_ptr() as u64);
                self.evidence.look_at_objects(bytes, first as usize);
            }
        }
        if part.cut.ends_chunk {
            self.sums.push(core::mem::take(&mut self.sum)).map_err(Failure::Scratch)?;
        }
        Ok(())
    }
}

/// writev(2) until everything is written.
fn write_vector(out: i32, parts: &mut [IoVec]) -> Result<(), Failure> {
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
