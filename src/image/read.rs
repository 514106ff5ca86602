//! Reads an image, and believes nothing of it.
//!
//! [`Image::parse`] looks at every field that anybody will act on before it gives one out. What comes out of it can be used
//! without another check: tables are in order, ranges are in range, indexes point somewhere, sums of addresses do not wrap.

use crate::check;
use crate::crc::{crc32c, crc32c_append};
use crate::elf::{self, Ehdr, Phdr};
use crate::error::ImageError;
use crate::format::{
    Blob, CHUNK_MAX, Descriptor, EVIDENCE, Evidence, Head, MappedFile, OWNER, Object, ObjectRun, OpenFile,
    PAGE, Pending, PosixTimer, Process, Region, SUMS_MAGIC, SigAction, Span, SumsHeader, Thread, VERSION,
    note,
};
use crate::notes::{Note, NoteIter};
use crate::plain::{self, Plain, Table, bytes_of};
use crate::write::{HEAD_OFF, Layout};
use crate::zero::is_zero;
use core::mem::offset_of;

/// An image whose tables were found sound. The page data was not looked at.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a> {
    head: Head,
    process: Process,
    pub(crate) loads: Table<'a, Phdr>,
    pub(crate) bytes: &'a [u8],
    pub(crate) regions: Table<'a, Region>,
    pub(crate) threads: Table<'a, Thread>,
    pub(crate) sigactions: Table<'a, SigAction>,
    pub(crate) pending: Table<'a, Pending>,
    pub(crate) open_files: Table<'a, OpenFile>,
    pub(crate) descriptors: Table<'a, Descriptor>,
    pub(crate) objects: Table<'a, Object>,
    pub(crate) object_runs: Table<'a, ObjectRun>,
    pub(crate) timers: Table<'a, PosixTimer>,
    pub(crate) files: Table<'a, MappedFile>,
    pub(crate) guards: Table<'a, Span>,
}

/// Length of what [`prefix`] wants of the file from [`head_off`] on.
pub const HEAD_LEN: usize = HEAD_OFF + size_of::<Head>();

/// Everything before the page data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// Its length, from the start of the file: what [`Image::parse`] needs. At most the length of the file.
    pub len: u64,
    notes_off: u64,
}

impl Prefix {
    /// Whether the page at `offset` may consist of zeros: among the program headers, none does.
    ///
    /// A file can have holes of any length. Whoever reads the prefix page by page into memory that begins with zeros, leaves out the pages of zeros, and stops at
    /// one that may not be, takes no more memory than the file takes on the disk, and notes have a limit (4 GiB).
    ///
    /// # Errors
    ///
    /// [`ImageError::TablesCorrupt`] when it may not.
    pub fn take_zeros(&self, offset: u64) -> Result<(), ImageError> {
        let is_among_headers = offset >= PAGE && offset + PAGE <= self.notes_off;
        if is_among_headers { Err(ImageError::TablesCorrupt) } else { Ok(()) }
    }
}

/// Where the header of the image is in its file. `first_page` is the start of the file: 4096 bytes, or all there is.
///
/// # Errors
///
/// When the file cannot be an image. The place may still be beyond the end of the file, if that is cut short.
pub fn head_off(first_page: &[u8]) -> Result<u64, ImageError> {
    Ok(notes_phdr(first_page, first_page.len() as u64)?.p_offset)
}

/// What everything before the page data takes, by the header alone: nothing else of the file is needed to know that its length fits.
/// `head` is what is at [`head_off`]: [`HEAD_LEN`] bytes, or all there is.
///
/// # Errors
///
/// When the file cannot be an image, or is shorter than its header says.
pub fn prefix(first_page: &[u8], head: &[u8], file_len: u64) -> Result<Prefix, ImageError> {
    let notes_off = head_off(first_page)?;
    let head = head_in(head, notes_off, file_len)?;
    let layout = layout_of(&head).filter(|layout| layout.notes_off == notes_off);
    layout.map(|layout| Prefix { len: layout.data_off, notes_off }).ok_or(ImageError::TablesCorrupt)
}

/// [`Prefix::len`] of a file of which the start is in memory, as far as anybody wants.
///
/// # Errors
///
/// Those of [`prefix`].
pub fn prefix_len(file: &[u8], file_len: u64) -> Result<u64, ImageError> {
    let first = file.get(..PAGE as usize).unwrap_or(file);
    let rest = usize::try_from(head_off(first)?).ok().and_then(|off| file.get(off..)).unwrap_or_default();
    Ok(prefix(first, rest.get(..HEAD_LEN).unwrap_or(rest), file_len)?.len)
}

/// The header of the image, which is the first note. Unsealed: only its version, and the length of the file, were looked at.
fn head_in(notes: &[u8], notes_off: u64, file_len: u64) -> Result<Head, ImageError> {
    let short = |expected: u64| ImageError::Truncated { expected, actual: file_len };
    let first_note = notes.get(..HEAD_LEN).and_then(|notes| NoteIter::new(notes).next());
    let Some(first_note) = first_note else {
        let expected = notes_off.saturating_add(HEAD_LEN as u64);
        return Err(if file_len < expected { short(expected) } else { ImageError::NotCkpt });
    };
    if first_note.owner != OWNER
        || first_note.kind != note::HEAD
        || first_note.desc.len() != size_of::<Head>()
    {
        return Err(ImageError::NotCkpt);
    }
    let head: Head = plain::read(first_note.desc, 0).ok_or(ImageError::NotCkpt)?;
    if head.version != VERSION {
        return Err(ImageError::Version(head.version));
    }
    if head.required != 0 {
        return Err(ImageError::UnknownRequired(head.required));
    }
    if file_len < head.file_len {
        return Err(short(head.file_len));
    }
    Ok(head)
}

/// The first program header, which is that of the notes, after a look at what kind of file this is.
fn notes_phdr(bytes: &[u8], file_len: u64) -> Result<Phdr, ImageError> {
    if bytes.is_empty() {
        return Err(ImageError::Empty);
    }
    if !bytes.starts_with(&elf::MAGIC) {
        return Err(ImageError::NotElf);
    }
    let short = |expected: usize| ImageError::Truncated { expected: expected as u64, actual: file_len };
    let ehdr: Ehdr = plain::read(bytes, 0).ok_or(short(size_of::<Ehdr>()))?;
    let [.., class, data, _, _, _, _, _, _, _, _, _, _] = ehdr.e_ident;
    if class != elf::ELFCLASS64 || data != elf::ELFDATA2LSB {
        return Err(ImageError::WrongMachine);
    }
    if ehdr.e_type != elf::ET_CORE {
        return Err(ImageError::NotCore);
    }
    if ehdr.e_machine != elf::EM_X86_64 {
        return Err(ImageError::WrongMachine);
    }
    // Ours stand right behind the ELF header, or behind that and section header 0.
    let phdr_off = match ehdr.e_phoff {
        64 => 64,
        128 => 128,
        _ => return Err(ImageError::NotCkpt),
    };
    let phdr: Phdr = plain::read(bytes, phdr_off).ok_or(short(phdr_off + size_of::<Phdr>()))?;
    if phdr.p_type != elf::PT_NOTE {
        return Err(ImageError::NotCkpt);
    }
    Ok(phdr)
}

impl<'a> Image<'a> {
    /// Reads the tables of an image out of the start of its file: at least [`Prefix::len`] bytes, unless the file, which is
    /// `file_len` bytes long, has fewer.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong.
    pub fn parse(bytes: &'a [u8], file_len: u64) -> Result<Self, ImageError> {
        let (head, front, notes) = sealed_parts(bytes, file_len)?;
        let phdrs = usize::try_from(head.phdr_off)
            .ok()
            .and_then(|off| off.checked_add(size_of::<Phdr>()))
            .and_then(|off| front.get(off..))
            .and_then(Table::new)
            .ok_or(ImageError::TablesCorrupt)?;
        let image = Self::from_notes(head, phdrs, notes)?;
        check::all(&image)?;
        Ok(image)
    }

    /// Sorts the notes out.
    fn from_notes(head: Head, loads: Table<'a, Phdr>, bytes: &'a [u8]) -> Result<Self, ImageError> {
        let mut image = Self {
            head,
            process: Process::default(),
            loads,
            bytes: &[],
            regions: Table::empty(),
            threads: Table::empty(),
            sigactions: Table::empty(),
            pending: Table::empty(),
            open_files: Table::empty(),
            descriptors: Table::empty(),
            objects: Table::empty(),
            object_runs: Table::empty(),
            timers: Table::empty(),
            files: Table::empty(),
            guards: Table::empty(),
        };
        let mut seen = 0u32;
        let mut notes = NoteIter::new(bytes);
        for Note { owner, kind, desc } in &mut notes {
            if owner != OWNER {
                continue;
            }
            if kind < 32 {
                if seen & 1 << kind != 0 {
                    return Err(ImageError::BadTable("the image is damaged (a note is there twice)"));
                }
                seen |= 1 << kind;
            }
            match kind {
                note::HEAD => {}
                note::PROCESS if desc.len() == size_of::<Process>() => {
                    image.process = plain::read(desc, 0).unwrap_or_default();
                }
                note::PROCESS => {
                    return Err(ImageError::BadTable("the image is damaged (length of the PROCESS note)"));
                }
                note::BYTES => image.bytes = desc,
                note::REGIONS => image.regions = table(desc)?,
                note::THREADS => image.threads = table(desc)?,
                note::SIGACTIONS => image.sigactions = table(desc)?,
                note::PENDING => image.pending = table(desc)?,
                note::OPEN_FILES => image.open_files = table(desc)?,
                note::DESCRIPTORS => image.descriptors = table(desc)?,
                note::OBJECTS => image.objects = table(desc)?,
                note::OBJECT_RUNS => image.object_runs = table(desc)?,
                note::TIMERS => image.timers = table(desc)?,
                note::FILES => image.files = table(desc)?,
                note::GUARDS => image.guards = table(desc)?,
                _ if kind & note::OPTIONAL != 0 => {}
                _ => return Err(ImageError::UnknownRequired(kind)),
            }
        }
        if !notes.rest().is_empty() {
            return Err(ImageError::BadTable("the image is damaged (a note does not fit)"));
        }
        for kind in [note::PROCESS, note::REGIONS, note::THREADS, note::SIGACTIONS] {
            if seen & 1 << kind == 0 {
                return Err(ImageError::BadTable(
                    "the image is damaged (a note that every image has is missing)",
                ));
            }
        }
        Ok(image)
    }

    /// Where everything is.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The process as a whole.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// The memory map by ascending address, without overlaps; at least one.
    pub fn regions(&self) -> Table<'a, Region> {
        self.regions
    }

    /// The `PT_LOAD`s: entry `i` is program header `i + 1`.
    pub fn loads(&self) -> Table<'a, Phdr> {
        self.loads
    }

    /// The `PT_LOAD`s of a region of this image.
    pub fn loads_of(&self, region: &Region) -> Table<'a, Phdr> {
        self.loads.range(region.first_load as usize, region.loads as usize).unwrap_or(Table::empty())
    }

    /// The region that holds an address.
    pub fn region_at(&self, address: u64) -> Option<Region> {
        let behind = self.regions.partition_point(|region| region.start <= address);
        self.regions.get(behind.checked_sub(1)?).filter(|region| address < region.end)
    }

    /// Threads; the first one is the leader of the group, at least one.
    pub fn threads(&self) -> Table<'a, Thread> {
        self.threads
    }

    /// 64 actions, for signals 1 to 64.
    pub fn sigactions(&self) -> Table<'a, SigAction> {
        self.sigactions
    }

    /// Pending signals in the order in which they are to be queued again.
    pub fn pending(&self) -> Table<'a, Pending> {
        self.pending
    }

    /// Open file descriptions.
    pub fn open_files(&self) -> Table<'a, OpenFile> {
        self.open_files
    }

    /// Descriptors by ascending number.
    pub fn descriptors(&self) -> Table<'a, Descriptor> {
        self.descriptors
    }

    /// Contents that live only in the image.
    pub fn objects(&self) -> Table<'a, Object> {
        self.objects
    }

    /// Their runs.
    pub fn object_runs(&self) -> Table<'a, ObjectRun> {
        self.object_runs
    }

    /// The runs of an object of this image, by ascending offset.
    pub fn runs_of(&self, object: &Object) -> Table<'a, ObjectRun> {
        self.object_runs.range(object.first_run as usize, object.runs as usize).unwrap_or(Table::empty())
    }

    /// POSIX timers by ascending id.
    pub fn timers(&self) -> Table<'a, PosixTimer> {
        self.timers
    }

    /// Mapped files.
    pub fn files(&self) -> Table<'a, MappedFile> {
        self.files
    }

    /// Guard pages by ascending address.
    pub fn guards(&self) -> Table<'a, Span> {
        self.guards
    }

    /// The sums of this image: the `sums_len` bytes at `sums_off` of its file.
    ///
    /// # Errors
    ///
    /// [`ImageError::SumsCorrupt`], or that an entry of the evidence makes no sense.
    pub fn sums<'s>(&self, bytes: &'s [u8]) -> Result<Sums<'s>, ImageError> {
        let sums = Sums::parse(bytes)?;
        check::evidence(self, sums.evidence())?;
        Ok(sums)
    }

    /// The bytes of a blob of this image.
    pub fn bytes(&self, blob: Blob) -> &'a [u8] {
        let off = blob.off as usize;
        off.checked_add(blob.len as usize).and_then(|end| self.bytes.get(off..end)).unwrap_or_default()
    }

    /// A path or name of this image with its NUL, ready for a system call; a lone NUL for an empty one.
    pub fn c_str(&self, blob: Blob) -> &'a [u8] {
        match blob.len.checked_add(1) {
            Some(len) if blob.len > 0 => self.bytes(Blob { off: blob.off, len }),
            _ => b"\0",
        }
    }
}

fn table<T: Plain>(desc: &[u8]) -> Result<Table<'_, T>, ImageError> {
    Table::new(desc).ok_or(ImageError::BadTable("the image is damaged (length of a table)"))
}

/// The header of the image, everything before the notes, and the notes, all of them with the right sums and lengths.
fn sealed_parts(bytes: &[u8], file_len: u64) -> Result<(Head, &[u8], &[u8]), ImageError> {
    let note_phdr = notes_phdr(bytes, file_len)?;
    let notes_off = usize::try_from(note_phdr.p_offset).map_err(|_| ImageError::TablesCorrupt)?;

    // Who wrote this, and is all of it here? Unsealed yet, but a file that is cut short has no seal left to look at.
    let short = |expected: u64| ImageError::Truncated { expected, actual: file_len };
    let head = head_in(bytes.get(notes_off..).unwrap_or_default(), note_phdr.p_offset, file_len)?;
    let layout = layout_of(&head).ok_or(ImageError::TablesCorrupt)?;
    let (front, rest) = split(bytes, layout.notes_off).ok_or(short(layout.data_off))?;
    let (notes, rest) = split(rest, layout.notes_len).ok_or(short(layout.data_off))?;
    let (padding, _) =
        split(rest, layout.data_off - layout.notes_off - layout.notes_len).ok_or(short(layout.data_off))?;
    if crc32c(front) != head.tables_crc || !front_agrees(front, &layout) {
        return Err(ImageError::TablesCorrupt);
    }
    if notes_crc(notes) != Some(head.notes_crc) || !is_zero(padding) {
        return Err(ImageError::NotesCorrupt);
    }
    if file_len > head.file_len {
        return Err(ImageError::Overlong { expected: head.file_len, actual: file_len });
    }
    Ok((head, front, notes))
}

fn split(bytes: &[u8], at: u64) -> Option<(&[u8], &[u8])> {
    bytes.split_at_checked(usize::try_from(at).ok()?)
}

/// The layout that a header describes, if its fields agree with one another.
fn layout_of(head: &Head) -> Option<Layout> {
    let chunk = u64::from(head.chunk);
    if !(PAGE..=CHUNK_MAX).contains(&chunk) || !chunk.is_power_of_two() {
        return None;
    }
    let layout = Layout::with_chunk(head.phnum.checked_sub(1)?, head.notes_len, head.data_len, chunk)?;
    let expected = Head { tables_crc: head.tables_crc, notes_crc: head.notes_crc, ..layout.head() };
    (expected == *head).then_some(layout)
}

/// Whether the ELF header, section header 0 and the first program header are those of this layout.
fn front_agrees(front: &[u8], layout: &Layout) -> bool {
    let at = |off: u64| usize::try_from(off).ok().and_then(|off| front.get(off..)).unwrap_or_default();
    at(0).starts_with(bytes_of(&layout.ehdr()))
        && layout.section_zero().is_none_or(|section| at(layout.shdr_off).starts_with(&section))
        && at(layout.phdr_off).starts_with(bytes_of(&layout.note_phdr()))
}

/// The sum of the notes with the field for it taken as zero, as [`crate::write::seal`] made it.
fn notes_crc(notes: &[u8]) -> Option<u32> {
    let (before, rest) = notes.split_at_checked(HEAD_OFF + offset_of!(Head, notes_crc))?;
    let (_, behind) = rest.split_first_chunk::<4>()?;
    Some(crc32c_append(crc32c_append(crc32c(before), &[0; 4]), behind))
}

/// The sums of the page data: one for each chunk.
#[derive(Clone, Copy, Debug)]
pub struct Sums<'a> {
    sums: Table<'a, u32>,
    evidence: Table<'a, Evidence>,
}

impl<'a> Sums<'a> {
    /// Reads the `sums_len` bytes at `sums_off` of an image: see [`Head`].
    ///
    /// # Errors
    ///
    /// [`ImageError::SumsCorrupt`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ImageError> {
        let parse = || {
            let header: SumsHeader = plain::read(bytes, 0)?;
            let tables = bytes.get(size_of::<SumsHeader>()..)?;
            let split = tables.len().checked_sub(EVIDENCE as usize * size_of::<Evidence>())?;
            let (sums, evidence) = tables.split_at_checked(split)?;
            let sums = Table::<u32>::new(sums)?;
            let crc = crc32c(bytes.get(8..)?);
            let count = sums.len() as u64;
            let expected = SumsHeader { magic: SUMS_MAGIC, crc, count, evidence: header.evidence };
            if header != expected || header.evidence > EVIDENCE {
                return None;
            }
            let used = header.evidence as usize * size_of::<Evidence>();
            Some(Self { sums, evidence: Table::new(evidence.get(..used)?)? })
        };
        parse().ok_or(ImageError::SumsCorrupt)
    }

    /// Signs that the process knows ids of its threads.
    pub fn evidence(&self) -> Table<'a, Evidence> {
        self.evidence
    }

    /// CRC-32C of chunk `i`.
    pub fn get(&self, i: usize) -> Option<u32> {
        self.sums.get(i)
    }

    /// Number of chunks.
    pub fn len(&self) -> usize {
        self.sums.len()
    }

    /// Whether there is no page data.
    pub fn is_empty(&self) -> bool {
        self.sums.is_empty()
    }
}
