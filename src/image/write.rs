//! What a writer needs: sizes and offsets before the first byte, and the notes.

use crate::crc::{crc32c, crc32c_append};
use crate::elf::{self, Ehdr, Nhdr, Phdr, Shdr};
use crate::format::{CHUNK, EVIDENCE, Evidence, Head, OWNER, PAGE, SUMS_MAGIC, SumsHeader, VERSION, note};
use crate::plain::{self, Plain, bytes_of};

/// No notes are longer: offsets in BYTES have 32 bits, and so has the length of each table.
pub const LONGEST_NOTES: u64 = 1 << 32;

/// Where every part of an image lies, all in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Number of `PT_LOAD`s; there is one program header more.
    pub loads: u64,
    /// Length of the notes.
    pub notes_len: u64,
    /// Length of the page data, a multiple of [`PAGE`].
    pub data_len: u64,
    /// Length of the pieces of page data that have a sum each: [`CHUNK`].
    pub chunk: u64,
    /// Offset of the program headers.
    pub phdr_off: u64,
    /// Offset of section header 0, or zero when there is none.
    pub shdr_off: u64,
    /// Offset of the notes.
    pub notes_off: u64,
    /// Offset of the page data.
    pub data_off: u64,
    /// Offset of the sums.
    pub sums_off: u64,
    /// Length of the sums with their header.
    pub sums_len: u64,
    /// Length of the file.
    pub file_len: u64,
}

impl Layout {
    /// Lays out an image of that many `PT_LOAD`s, bytes of notes (a multiple of 4) and bytes of page data (a multiple of
    /// [`PAGE`]). `None` when a size is none of these, is more than ELF can say, or more than a file can hold.
    pub fn new(loads: u64, notes_len: u64, data_len: u64) -> Option<Self> {
        Self::with_chunk(loads, notes_len, data_len, CHUNK)
    }

    /// The same with chunks of another length, which must be a power of two of at least [`PAGE`].
    pub(crate) fn with_chunk(loads: u64, notes_len: u64, data_len: u64, chunk: u64) -> Option<Self> {
        let phnum = u32::try_from(loads.checked_add(1)?).ok()?;
        if !notes_len.is_multiple_of(4) || notes_len > LONGEST_NOTES || !data_len.is_multiple_of(PAGE) {
            return None;
        }
        let shdr_off = if phnum < u32::from(elf::PN_XNUM) { 0 } else { size_of::<Ehdr>() as u64 };
        let phdr_off = (size_of::<Ehdr>() + if shdr_off == 0 { 0 } else { size_of::<Shdr>() }) as u64;
        let notes_off = phdr_off + u64::from(phnum) * size_of::<Phdr>() as u64;
        let data_off = notes_off.checked_add(notes_len)?.checked_next_multiple_of(PAGE)?;
        let sums_off = data_off.checked_add(data_len)?;
        let evidence_len = EVIDENCE * size_of::<Evidence>() as u64;
        let sums_len = size_of::<SumsHeader>() as u64 + data_len.div_ceil(chunk) * 4 + evidence_len;
        let file_len = sums_off.checked_add(sums_len)?;
        i64::try_from(file_len).ok()?; // off_t
        Some(Self {
            loads,
            notes_len,
            data_len,
            chunk,
            phdr_off,
            shdr_off,
            notes_off,
            data_off,
            sums_off,
            sums_len,
            file_len,
        })
    }

    /// Number of program headers.
    pub fn phnum(&self) -> u64 {
        self.loads + 1
    }

    /// The ELF header, at offset 0.
    pub fn ehdr(&self) -> Ehdr {
        let extended = self.shdr_off != 0;
        Ehdr {
            e_ident: elf::IDENT,
            e_type: elf::ET_CORE,
            e_machine: elf::EM_X86_64,
            e_version: elf::EV_CURRENT,
            e_entry: 0,
            e_phoff: self.phdr_off,
            e_shoff: self.shdr_off,
            e_flags: 0,
            e_ehsize: size_of::<Ehdr>() as u16,
            e_phentsize: size_of::<Phdr>() as u16,
            e_phnum: if extended { elf::PN_XNUM } else { self.phnum() as u16 },
            e_shentsize: if extended { size_of::<Shdr>() as u16 } else { 0 },
            e_shnum: u16::from(extended),
            e_shstrndx: 0,
        }
    }

    /// Section header 0, at [`Layout::shdr_off`], when the number of program headers needs it (`man 5 elf`, `PN_XNUM`).
    pub fn section_zero(&self) -> Option<[u8; 64]> {
        if self.shdr_off == 0 {
            return None;
        }
        let header = Shdr { sh_size: 1, sh_info: self.phnum() as u32, ..Shdr::default() };
        plain::read(bytes_of(&header), 0)
    }

    /// The program header of the notes, the first one.
    pub fn note_phdr(&self) -> Phdr {
        Phdr {
            p_type: elf::PT_NOTE,
            p_flags: 0,
            p_offset: self.notes_off,
            p_vaddr: 0,
            p_paddr: 0,
            p_filesz: self.notes_len,
            p_memsz: 0,
            p_align: 4,
        }
    }

    /// The HEAD note, its sums zero: [`seal`] fills them in.
    pub fn head(&self) -> Head {
        Head {
            version: VERSION,
            required: 0,
            file_len: self.file_len,
            phdr_off: self.phdr_off,
            phnum: self.phnum(),
            notes_off: self.notes_off,
            notes_len: self.notes_len,
            data_off: self.data_off,
            data_len: self.data_len,
            sums_off: self.sums_off,
            sums_len: self.sums_len,
            chunk: self.chunk as u32,
            page: PAGE as u32,
            tables_crc: 0,
            notes_crc: 0,
            reserved: 0,
        }
    }

    /// Sum of the ELF header and of section header 0 if there is one; append the bytes of all program headers with
    /// [`crc32c_append`], and it is what [`seal`] wants.
    pub fn front_crc(&self) -> u32 {
        let crc = crc32c(bytes_of(&self.ehdr()));
        self.section_zero().map_or(crc, |section| crc32c_append(crc, &section))
    }
}

/// The header of the sums and of the evidence, which stand behind it in the file. `used` entries of the evidence mean something; the rest is zero.
pub fn sums_header(sums: &[u32], evidence: &[Evidence], used: u64) -> SumsHeader {
    let mut header = SumsHeader { magic: SUMS_MAGIC, crc: 0, count: sums.len() as u64, evidence: used };
    let counts = bytes_of(&header).get(8..).unwrap_or_default();
    let crc = crc32c_append(crc32c(counts), plain::bytes_of_slice(sums));
    header.crc = crc32c_append(crc, plain::bytes_of_slice(evidence));
    header
}

/// The buffer for the notes is too small, or a note is larger than ELF can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// Notes, one behind the other, each part padded to 4 bytes as in Linux core files.
///
/// The first one must be a [`note::HEAD`] of [`OWNER`], with [`Head::default`] for its contents: [`seal`] fills it in.
#[derive(Debug)]
pub struct Notes<'a> {
    buf: &'a mut [u8],
    /// Bytes used.
    len: usize,
    /// Offset of the header of the note that was begun last.
    open: usize,
}

impl<'a> Notes<'a> {
    /// No notes yet; they are put into `buf`.
    pub fn new(buf: &'a mut [u8]) -> Self {
        Self { buf, len: 0, open: 0 }
    }

    /// Bytes used so far, a multiple of 4 when no note is open.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no note.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The notes so far.
    pub fn bytes(&self) -> &[u8] {
        self.buf.get(..self.len).unwrap_or_default()
    }

    /// Ends the building: the part of the buffer that the notes fill.
    pub fn finish(self) -> &'a mut [u8] {
        self.buf.get_mut(..self.len).unwrap_or_default()
    }

    /// Appends a whole note. `owner` includes its NUL.
    pub fn add(&mut self, owner: &[u8], kind: u32, desc: &[u8]) -> Result<(), Full> {
        self.begin(owner, kind)?;
        self.push(desc)?;
        self.end()
    }

    /// Appends a note that holds a table.
    pub fn add_table<T: Plain>(&mut self, owner: &[u8], kind: u32, table: &[T]) -> Result<(), Full> {
        self.add(owner, kind, plain::bytes_of_slice(table))
    }

    /// Begins a note whose contents come in pieces: [`Notes::push`] them, then [`Notes::end`] it.
    pub fn begin(&mut self, owner: &[u8], kind: u32) -> Result<(), Full> {
        self.open = self.len;
        let n_namesz = u32::try_from(owner.len()).map_err(|_| Full)?;
        self.push(bytes_of(&Nhdr { n_namesz, n_descsz: 0, n_type: kind }))?;
        self.push(owner)?;
        self.pad()
    }

    /// Appends to the contents of the note that was begun.
    #[inline]
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), Full> {
        let end = self.len.checked_add(bytes.len()).ok_or(Full)?;
        let place = self.buf.get_mut(self.len..end).ok_or(Full)?;
        plain::copy(place, bytes);
        self.len = end;
        Ok(())
    }

    /// Ends the note that was begun.
    pub fn end(&mut self) -> Result<(), Full> {
        let note: Nhdr = plain::read(self.buf, self.open).ok_or(Full)?;
        let desc = size_of::<Nhdr>() + (note.n_namesz as usize).next_multiple_of(4);
        let len = self.len.checked_sub(self.open).and_then(|len| len.checked_sub(desc)).ok_or(Full)?;
        let n_descsz = u32::try_from(len).map_err(|_| Full)?;
        plain::write(self.buf, self.open, &Nhdr { n_descsz, ..note }).ok_or(Full)?;
        self.pad()
    }

    fn pad(&mut self) -> Result<(), Full> {
        self.push([0; 4].get(..self.len.wrapping_neg() % 4).unwrap_or_default())
    }
}

/// Offset of the contents of the HEAD note in the notes.
pub(crate) const HEAD_OFF: usize = size_of::<Nhdr>() + OWNER.len().next_multiple_of(4);

/// Fills in the HEAD note, which must be the first one of the finished `notes`, and the sums in it. `tables_crc` is the sum of
/// the ELF header, section header 0 if there is one, and all program headers: see [`Layout::front_crc`].
///
/// `None` when the notes do not begin with a HEAD or are not as long as `layout` says.
pub fn seal(notes: &mut [u8], layout: &Layout, tables_crc: u32) -> Option<()> {
    let first: Nhdr = plain::read(notes, 0)?;
    let expected =
        Nhdr { n_namesz: OWNER.len() as u32, n_descsz: size_of::<Head>() as u32, n_type: note::HEAD };
    if first != expected
        || notes.get(size_of::<Nhdr>()..)?.get(..OWNER.len())? != OWNER
        || notes.len() as u64 != layout.notes_len
    {
        return None;
    }
    let mut head = Head { tables_crc, ..layout.head() };
    plain::write(notes, HEAD_OFF, &head)?;
    head.notes_crc = crc32c(notes);
    plain::write(notes, HEAD_OFF, &head)
}
