//! Structs that are nothing but their bytes.

/// A type of which every bit pattern is a value and which has no padding.
///
/// # Safety
///
/// Implementors are `repr(C)`, hold only integers, arrays of them or other [`Plain`] types, and have no padding.
pub unsafe trait Plain: Copy {}

/// Declares a [`Plain`] struct, and proves at compile time that it has the size in brackets and no padding.
macro_rules! plain {
    ($(#[$meta:meta])* pub struct $name:ident[$size:literal] { $($(#[$fmeta:meta])* pub $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name { $($(#[$fmeta])* pub $field: $type,)* }
        const _: () = assert!(size_of::<$name>() == $size, "the size of the struct is not the one it is declared with");
        const _: () = assert!(0 $(+ size_of::<$type>())* == $size, "the struct has padding");
        impl Default for $name {
            fn default() -> Self {
                // SAFETY: the struct holds only integers and arrays of them, for which zero is a value.
                unsafe { core::mem::zeroed() }
            }
        }
        // SAFETY: `repr(C)`, and the assertion above shows that the fields fill it.
        unsafe impl $crate::plain::Plain for $name {}
    };
}
pub(crate) use plain;

// SAFETY: integers are their bytes.
unsafe impl Plain for u8 {}
// SAFETY: as above.
unsafe impl Plain for u16 {}
// SAFETY: as above.
unsafe impl Plain for u32 {}
// SAFETY: as above.
unsafe impl Plain for u64 {}
// SAFETY: an array of bytes is its bytes.
unsafe impl Plain for [u8; 64] {}

/// The bytes of a value.
pub fn bytes_of<T: Plain>(value: &T) -> &[u8] {
    // SAFETY: `value` is valid for its size, and a `Plain` type has no padding, so all of its bytes are initialised.
    unsafe { core::slice::from_raw_parts(core::ptr::from_ref(value).cast(), size_of::<T>()) }
}

/// The bytes of a slice of values.
pub fn bytes_of_slice<T: Plain>(values: &[T]) -> &[u8] {
    // SAFETY: as in `bytes_of`, for each of the values, which are contiguous.
    unsafe { core::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

/// The value at byte `off` of `bytes`, whatever its alignment, or `None` when it does not fit.
pub fn read<T: Plain>(bytes: &[u8], off: usize) -> Option<T> {
    let piece = bytes.get(off..off.checked_add(size_of::<T>())?)?;
    // SAFETY: `piece` has the size of `T`, whose every bit pattern is a value; the read takes any alignment.
    Some(unsafe { piece.as_ptr().cast::<T>().read_unaligned() })
}

/// Writes `value` at byte `off` of `bytes`, whatever its alignment, or `None` when it does not fit.
pub fn write<T: Plain>(bytes: &mut [u8], off: usize, value: &T) -> Option<()> {
    let place = bytes.get_mut(off..off.checked_add(size_of::<T>())?)?;
    // SAFETY: `place` has the size of `T`, whose bytes are all initialised; the write takes any alignment.
    unsafe { place.as_mut_ptr().cast::<T>().write_unaligned(*value) };
    Some(())
}

/// Copies as many bytes of `from` to the start of `to` as both have, and tells how many. Unlike `copy_from_slice` it has no
/// lengths to disagree about, so no panic.
#[inline]
pub fn copy(to: &mut [u8], from: &[u8]) -> usize {
    let len = to.len().min(from.len());
    // SAFETY: both slices have at least `len` bytes, and an exclusive borrow overlaps with nothing.
    unsafe { core::ptr::copy_nonoverlapping(from.as_ptr(), to.as_mut_ptr(), len) };
    len
}

/// A table of `T` inside bytes of any alignment.
#[derive(Clone, Copy, Debug)]
pub struct Table<'a, T> {
    bytes: &'a [u8],
    kind: core::marker::PhantomData<T>,
}

impl<'a, T: Plain> Table<'a, T> {
    /// Views `bytes` as a table; `None` when they are not a whole number of entries.
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        (bytes.len().is_multiple_of(size_of::<T>()))
            .then_some(Self { bytes, kind: core::marker::PhantomData })
    }

    /// An empty table.
    pub const fn empty() -> Self {
        Self { bytes: &[], kind: core::marker::PhantomData }
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.bytes.len() / size_of::<T>()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Entry `i`.
    pub fn get(&self, i: usize) -> Option<T> {
        read(self.bytes, i.checked_mul(size_of::<T>())?)
    }

    /// The `count` entries from `first` on.
    pub fn range(&self, first: usize, count: usize) -> Option<Self> {
        let bytes = |entries: usize| entries.checked_mul(size_of::<T>());
        let (start, end) = (bytes(first)?, bytes(first.checked_add(count)?)?);
        Some(Self { bytes: self.bytes.get(start..end)?, kind: core::marker::PhantomData })
    }

    /// Number of entries at the front that satisfy a condition; those that do must come before those that do not.
    pub fn partition_point(&self, mut condition: impl FnMut(&T) -> bool) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            if self.get(middle).is_some_and(|entry| condition(&entry)) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// All entries in order.
    pub fn iter(&self) -> impl Iterator<Item = T> + use<'a, T> {
        let table = *self;
        (0..self.len()).map_while(move |i| table.get(i))
    }
}
