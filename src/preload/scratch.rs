//! Memory for the tables of a save.
//!
//! One mapping that exists only while the target is stopped, and in the writer. It is shared, so that the kernel can never merge it with a
//! neighbouring region of the program: it has an inode of its own. Its size is fixed: when it does not do, the save starts over with a larger
//! one, because a mapping that grew would change the map that is being read.

use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicU64, Ordering};
use image::format::Blob;
use image::plain::Plain;
use sys::memory::{self, advice, map, prot};

/// The scratch is too small.
#[derive(Clone, Copy, Debug)]
pub struct Full;

/// Bump allocation from two halves: tables in the lower, bytes in the upper one.
pub struct Scratch {
    base: u64,
    len: u64,
    /// End of the tables.
    low: u64,
    /// End of the bytes.
    high: u64,
}

/// The first size, in bytes: enough for as many regions as a process has at most by default. What is not used costs nothing.
pub const FIRST: u64 = 16 << 20;
/// The first size where the address space is limited; enough for some 20,000 regions.
pub const SMALLEST: u64 = 4 << 20;
/// The last size, in bytes.
pub const LARGEST: u64 = 1 << 30;

impl Scratch {
    /// Maps a scratch of `len` bytes.
    pub fn new(len: u64) -> sys::Result<Self> {
        // SAFETY: a new mapping, at an address of the kernel's choice.
        let base = unsafe {
            memory::mmap(
                0,
                len,
                prot::READ | prot::WRITE,
                map::SHARED | map::ANONYMOUS | map::NORESERVE,
                -1,
                0,
            )
        }?;
        Ok(Self { base, len, low: base, high: base + len / 2 })
    }

    /// Its length in bytes.
    pub fn size(&self) -> usize {
        self.len as usize
    }

    /// The addresses it occupies.
    pub fn range(&self) -> (u64, u64) {
        (self.base, self.base + self.len)
    }

    /// Unmaps it.
    ///
    /// # Safety
    ///
    /// No list is used any more.
    pub unsafe fn unmap(self) {
        // SAFETY: the caller answers for the lists; nothing else points here.
        let _ = unsafe { memory::munmap(self.base, self.len) };
    }

    /// Starts a table, behind the last one, which can no longer grow.
    pub fn list<T: Plain>(&mut self) -> List<T> {
        self.low = self.low.next_multiple_of(8);
        List { start: self.low, len: 0, kind: PhantomData }
    }

    /// Appends to the table that was started last.
    pub fn push<T: Plain>(&mut self, list: &mut List<T>, value: T) -> Result<(), Full> {
        let size = size_of::<T>() as u64;
        if list.start + list.len as u64 * size != self.low || self.low + size > self.base + self.len / 2 {
            return Err(Full);
        }
        // SAFETY: the place is inside the lower half, behind every value of every table, and aligned for integers.
        unsafe { (self.low as *mut T).write_unaligned(value) };
        self.low += size;
        list.len += 1;
        Ok(())
    }

    /// Copies bytes, and puts a NUL behind them.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<Blob, Full> {
        let room = self.room();
        if bytes.len() >= room.len() {
            return Err(Full);
        }
        room.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        self.keep(bytes.len())
    }

    /// Free space for bytes, to be read into; [`Scratch::keep`] makes a blob of its first part.
    pub fn room(&mut self) -> &mut [u8] {
        let free = (self.base + self.len).saturating_sub(self.high);
        // SAFETY: the free part of the upper half, which no blob covers.
        unsafe { core::slice::from_raw_parts_mut(self.high as *mut u8, free as usize) }
    }

    /// Makes a blob of the first `len` bytes of [`Scratch::room`], and puts a NUL behind them.
    pub fn keep(&mut self, len: usize) -> Result<Blob, Full> {
        let off = self.high - (self.base + self.len / 2);
        *self.room().get_mut(len).ok_or(Full)? = 0;
        self.high += len as u64 + 1;
        let (Ok(off), Ok(len)) = (u32::try_from(off), u32::try_from(len)) else { return Err(Full) };
        Ok(Blob { off, len })
    }

    /// A blob of zeros, to be filled in later.
    pub fn zeros(&mut self, len: usize) -> Result<Blob, Full> {
        self.room().get_mut(..len).ok_or(Full)?.fill(0);
        self.keep(len)
    }

    /// Appends to a blob, which must be an empty one or the last one made. No NUL counts as its own.
    pub fn append(&mut self, blob: &mut Blob, bytes: &[u8]) -> Result<(), Full> {
        if blob.len > 0 && self.blob_end(*blob) + 1 == self.high {
            // The NUL behind it goes.
            self.high -= 1;
        } else if blob.len > 0 {
            return Err(Full);
        }
        let more = self.bytes(bytes)?;
        *blob = if blob.len > 0 { Blob { len: blob.len + more.len, ..*blob } } else { more };
        Ok(())
    }

    /// Address behind the last byte of a blob.
    fn blob_end(&self, blob: Blob) -> u64 {
        self.base + self.len / 2 + u64::from(blob.off) + u64::from(blob.len)
    }

    /// The bytes of a blob, to be changed.
    pub fn blob_mut(&mut self, blob: Blob) -> &mut [u8] {
        let start = self.base + self.len / 2;
        // SAFETY: the used part of the upper half; the scratch is borrowed for writing.
        let used = unsafe { core::slice::from_raw_parts_mut(start as *mut u8, (self.high - start) as usize) };
        let off = blob.off as usize;
        used.get_mut(off..off.saturating_add(blob.len as usize)).unwrap_or_default()
    }

    /// Copies a part of the bytes, from `off`, into a blob of its own.
    pub fn copy_bytes(&mut self, off: usize, len: usize) -> Result<Blob, Full> {
        let start = self.base + self.len / 2;
        // SAFETY: the used part of the upper half, apart from the room that is written to.
        let used = unsafe { core::slice::from_raw_parts(start as *const u8, (self.high - start) as usize) };
        let part = used.get(off..).and_then(|rest| rest.get(..len)).ok_or(Full)?;
        self.bytes(part)
    }

    /// The bytes of a blob and the NUL behind them.
    pub fn c_str(&self, blob: Blob) -> &[u8] {
        self.blob(Blob { len: blob.len.saturating_add(1), ..blob })
    }

    /// All bytes so far.
    pub fn all_bytes(&self) -> &[u8] {
        let start = self.base + self.len / 2;
        // SAFETY: the used part of the upper half.
        unsafe { core::slice::from_raw_parts(start as *const u8, (self.high - start) as usize) }
    }

    /// The bytes of a blob.
    pub fn blob(&self, blob: Blob) -> &[u8] {
        let start = blob.off as usize;
        self.all_bytes().get(start..start.saturating_add(blob.len as usize)).unwrap_or_default()
    }
}

/// A table in the scratch. It stays valid until the scratch is unmapped or cleared.
pub struct List<T> {
    start: u64,
    len: usize,
    kind: PhantomData<T>,
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self { start: core::mem::align_of::<T>() as u64, len: 0, kind: PhantomData }
    }
}

impl<T: Plain> Deref for List<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: `len` values were written there by `Scratch::push`, which keeps their place for them; it is 8-aligned.
        unsafe { core::slice::from_raw_parts(self.start as *const T, self.len) }
    }
}

impl<T: Plain> DerefMut for List<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above; the list is borrowed for writing.
        unsafe { core::slice::from_raw_parts_mut(self.start as *mut T, self.len) }
    }
}

/// A table that grows, in a mapping of its own, which comes with the first value and goes with the table: for the writer, when the map has been read.
pub struct Growing<T> {
    /// Address of the first value; aligned also where nothing is mapped.
    base: u64,
    /// Length of the mapping in bytes; zero while there is none.
    mapped: u64,
    len: usize,
    kind: PhantomData<T>,
}

/// Every [`Growing`] that there is, and what else is mapped for a while, as address and length: a helper that is killed leaves them in the program's memory.
static LEFT: [[AtomicU64; 2]; 16] = [const { [const { AtomicU64::new(0) }; 2] }; 16];

/// Notes that the mapping at `old` is at `new` now, or gone; zero is none.
pub fn note(old: u64, new: u64, len: u64) {
    if let Some([base, length]) = LEFT.iter().find(|[base, _]| base.load(Ordering::Relaxed) == old) {
        length.store(len, Ordering::Relaxed);
        base.store(new, Ordering::Relaxed);
    }
}

/// Before a save: the tables of an earlier one are not there, least of all in a process that was restarted.
pub fn forget() {
    for [base, _] in &LEFT {
        base.store(0, Ordering::Relaxed);
    }
}

/// Unmaps what a helper has left that has ended before its time.
pub fn take_back() {
    for [base, len] in &LEFT {
        let base = base.swap(0, Ordering::Relaxed);
        if base != 0 {
            // SAFETY: the helper mapped it for itself, and has ended.
            let _ = unsafe { memory::munmap(base, len.load(Ordering::Relaxed)) };
        }
    }
}

impl<T: Plain> Growing<T> {
    /// An empty table.
    pub fn new() -> Self {
        Self { base: core::mem::align_of::<T>() as u64, mapped: 0, len: 0, kind: PhantomData }
    }

    /// An empty table with room for `bytes` bytes of values, which cost nothing until they are there: it need not move when it grows. Where the
    /// address space is limited, a small one.
    pub fn with_room(bytes: u64) -> sys::Result<Self> {
        /// From here on, huge pages are worth asking for.
        const LARGE: u64 = 4 << 20;
        if bytes < LARGE {
            return Ok(Self::new());
        }
        let flags = map::PRIVATE | map::ANONYMOUS | map::NORESERVE;
        // Not accessible at first: where the program locks new memory (mlockall(2)), all of it would come at once.
        // SAFETY: a new mapping, at an address of the kernel's choice.
        let Ok(base) = (unsafe { memory::mmap(0, bytes, prot::NONE, flags, -1, 0) }) else {
            return Ok(Self::new());
        };
        let _ = memory::unlock(base, bytes);
        note(0, base, bytes);
        let this = Self { base, mapped: bytes, len: 0, kind: PhantomData };
        // SAFETY: the mapping just made; the advice changes how pages come, not what is in them.
        unsafe {
            let _ = memory::madvise(base, bytes, advice::HUGEPAGE);
            memory::mprotect(base, bytes, prot::READ | prot::WRITE)?;
        }
        Ok(this)
    }

    /// Makes room for `more` values.
    fn reserve(&mut self, more: usize) -> sys::Result<()> {
        let bytes = (self.len as u64 + more as u64) * size_of::<T>() as u64;
        if bytes > self.mapped {
            let mapped = bytes.next_multiple_of(64 * 1024).max(self.mapped * 2);
            let (old, base) = if self.mapped == 0 {
                let flags = map::PRIVATE | map::ANONYMOUS;
                // SAFETY: a new mapping, at an address of the kernel's choice.
                (0, unsafe { memory::mmap(0, mapped, prot::READ | prot::WRITE, flags, -1, 0) }?)
            } else {
                // SAFETY: the table is borrowed for writing, so nobody holds a reference into it.
                (self.base, unsafe { memory::mremap(self.base, self.mapped, mapped) }?)
            };
            note(old, base, mapped);
            (self.base, self.mapped) = (base, mapped);
        }
        Ok(())
    }

    /// Appends a value.
    pub fn push(&mut self, value: T) -> sys::Result<()> {
        self.reserve(1)?;
        // SAFETY: there is room behind the last value; mappings are page-aligned.
        unsafe { (self.base as *mut T).add(self.len).write(value) };
        self.len += 1;
        Ok(())
    }

    /// Appends `count` zero values.
    pub fn extend_zeros(&mut self, count: usize) -> sys::Result<()> {
        self.reserve(count)?;
        // Mappings start as zeros, and nobody extends a table that was truncated.
        self.len += count;
        Ok(())
    }

    /// Room for `count` values behind the last one, to be written to; what is in it is left over from before.
    pub fn spare(&mut self, count: usize) -> sys::Result<&mut [T]> {
        self.reserve(count)?;
        // SAFETY: there is room for that many values, which are integers: any bytes will do.
        Ok(unsafe { core::slice::from_raw_parts_mut((self.base as *mut T).add(self.len), count) })
    }

    /// Takes the first `count` values of [`Growing::spare`] in.
    pub fn fill_spare(&mut self, count: usize) {
        let room = self.mapped as usize / size_of::<T>().max(1);
        self.len = room.min(self.len.saturating_add(count));
    }

    /// Forgets the values from `len` on.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }
}

/// On every way out: the memory of a helper is the program's.
impl<T> Drop for Growing<T> {
    fn drop(&mut self) {
        if self.mapped == 0 {
            return;
        }
        note(self.base, 0, 0);
        // SAFETY: the table goes, and nothing else points there.
        let _ = unsafe { memory::munmap(self.base, self.mapped) };
    }
}

impl<T: Plain> Deref for Growing<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: `len` values are there, written or zero from the start.
        unsafe { core::slice::from_raw_parts(self.base as *const T, self.len) }
    }
}

impl<T: Plain> DerefMut for Growing<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above; the table is borrowed for writing.
        unsafe { core::slice::from_raw_parts_mut(self.base as *mut T, self.len) }
    }
}
