//! Memory for what the restart makes: one block, handed out piece by piece and never taken back.

use crate::exit::{Code, Failure, Result};
use core::mem::MaybeUninit;

const TOO_SMALL: Failure<'static> = Failure::new(
    Code::Internal,
    b"",
    "the plan does not fit in the memory laid out for it",
    "this is a bug in myrestart; please report it",
);

/// What is left of the block.
pub struct Arena<'a> {
    free: &'a mut [MaybeUninit<u8>],
}

impl<'a> Arena<'a> {
    /// Hands out `block`.
    pub fn new(block: &'a mut [MaybeUninit<u8>]) -> Self {
        Self { free: block }
    }

    /// Memory for `count` values, aligned for them.
    ///
    /// # Errors
    ///
    /// [`Code::Internal`] when the block is used up.
    pub fn slots<T>(&mut self, count: usize) -> Result<'static, &'a mut [MaybeUninit<T>]> {
        let skip = self.free.as_ptr().align_offset(align_of::<T>());
        let len = count.checked_mul(size_of::<T>()).ok_or(TOO_SMALL)?;
        let free = core::mem::take(&mut self.free);
        let Some((piece, rest)) = free.get_mut(skip..).and_then(|aligned| aligned.split_at_mut_checked(len))
        else {
            return Err(TOO_SMALL);
        };
        self.free = rest;
        // SAFETY: `piece` is `count * size_of::<T>()` bytes long, aligned by `skip`, and borrowed from the block for
        // `'a` exclusively; `MaybeUninit<T>` may hold anything.
        Ok(unsafe { core::slice::from_raw_parts_mut(piece.as_mut_ptr().cast(), count) })
    }

    /// A value that stays where it is.
    ///
    /// # Errors
    ///
    /// As [`Arena::slots`].
    pub fn keep<T>(&mut self, value: T) -> Result<'static, &'a mut T> {
        let [slot] = self.slots(1)? else { return Err(TOO_SMALL) };
        Ok(slot.write(value))
    }

    /// An empty list with room for `room` values.
    ///
    /// # Errors
    ///
    /// As [`Arena::slots`].
    pub fn list<T: Copy>(&mut self, room: usize) -> Result<'static, List<'a, T>> {
        Ok(List { slots: self.slots(room)?, len: 0 })
    }

    /// `count` bytes, zero.
    ///
    /// # Errors
    ///
    /// As [`Arena::slots`].
    pub fn zeros(&mut self, count: usize) -> Result<'static, &'a mut [u8]> {
        let slots = self.slots::<u8>(count)?;
        for slot in slots.iter_mut() {
            slot.write(0);
        }
        // SAFETY: every byte was written above.
        Ok(unsafe { &mut *(core::ptr::from_mut(slots) as *mut [u8]) })
    }

    /// A copy of `bytes`.
    ///
    /// # Errors
    ///
    /// As [`Arena::slots`].
    pub fn copy(&mut self, bytes: &[u8]) -> Result<'static, &'a mut [u8]> {
        let copy = self.zeros(bytes.len())?;
        image::plain::copy(copy, bytes);
        Ok(copy)
    }
}

/// Values in a row, up to a number that was fixed when the list was made.
pub struct List<'a, T> {
    slots: &'a mut [MaybeUninit<T>],
    len: usize,
}

impl<'a, T: Copy> List<'a, T> {
    /// The values, for as long as the block lives.
    pub fn into_slice(self) -> &'a [T] {
        let len = self.len;
        let filled = self.slots.get(..len).unwrap_or_default();
        // SAFETY: the first `len` slots were written by `push`.
        unsafe { &*(core::ptr::from_ref(filled) as *const [T]) }
    }

    /// The values, for good, to be changed.
    pub fn into_mut_slice(self) -> &'a mut [T] {
        let len = self.len;
        let filled = self.slots.get_mut(..len).unwrap_or_default();
        // SAFETY: the first `len` slots were written by `push`.
        unsafe { &mut *(core::ptr::from_mut(filled) as *mut [T]) }
    }

    /// Appends a value.
    ///
    /// # Errors
    ///
    /// [`Code::Internal`] when there is no room.
    pub fn push(&mut self, value: T) -> Result<'static, ()> {
        self.slots.get_mut(self.len).ok_or(TOO_SMALL)?.write(value);
        self.len += 1;
        Ok(())
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The values.
    pub fn as_slice(&self) -> &[T] {
        let filled = self.slots.get(..self.len).unwrap_or_default();
        // SAFETY: the first `len` slots were written by `push`.
        unsafe { &*(core::ptr::from_ref(filled) as *const [T]) }
    }

    /// The values, to be changed.
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        let filled = self.slots.get_mut(..self.len).unwrap_or_default();
        // SAFETY: as above; the list is borrowed exclusively.
        unsafe { &mut *(core::ptr::from_mut(filled) as *mut [T]) }
    }

    /// Address of the next value to be pushed.
    pub fn next_address(&self) -> u64 {
        self.slots.as_ptr().wrapping_add(self.len) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_aligned_and_do_not_overlap() {
        let mut block = [MaybeUninit::<u8>::uninit(); 256];
        let mut arena = Arena::new(&mut block);
        let byte = arena.keep(7u8).expect("room");
        let word = arena.keep(9u64).expect("room");
        assert!(core::ptr::from_ref(word).is_aligned());
        let mut list = arena.list::<u32>(3).expect("room");
        for i in 0..3 {
            list.push(i).expect("room");
        }
        assert_eq!(list.push(3).map_err(|f| f.code), Err(Code::Internal));
        assert_eq!((*byte, *word, list.as_slice()), (7, 9, &[0, 1, 2][..]));
        assert!(arena.zeros(1000).is_err());
    }
}
