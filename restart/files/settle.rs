//! From the number that the kernel gave a descriptor to the one that the process had.

use super::CLOEXEC;
use crate::exit::Result;
use crate::op::Op;
use crate::plan::Builder;
use image::format::NONE;
use sys::Sysno;
use sys::fd::{fcntl, open_flag};

/// A descriptor that was made close-on-exec under a number of the kernel's choice.
#[derive(Clone, Copy, Debug)]
pub struct Temporary {
    /// Its number; [`NONE`] when it is not open any more.
    number: u32,
    /// The number that it was duplicated to, or [`NONE`].
    home: u32,
}

impl Temporary {
    /// One that was not made yet.
    pub const UNUSED: Self = Self { number: NONE, home: NONE };

    /// One under `number`, which [`super::Numbers::take`] gave.
    pub fn new(number: u32) -> Self {
        Self { number, home: NONE }
    }

    /// Whether it is where the process had it.
    pub fn is_home(self) -> bool {
        self.home != NONE
    }

    /// A number under which it is open.
    pub fn open_number(self) -> u32 {
        if self.home == NONE { self.number } else { self.home }
    }
}

impl<'a> Builder<'a, '_> {
    /// Gives descriptor `which` of `all` the first number that open file `file` had. Others that stand there move away.
    pub(super) fn settle(&mut self, all: &mut [Temporary], which: usize, file: u32) -> Result<'a, ()> {
        let Some(wanted) = self.numbers.first(file) else { return Ok(()) };
        for (index, other) in all.iter_mut().enumerate() {
            if index == which || other.number != wanted.number {
                continue;
            }
            if other.is_home() {
                // It is about to be closed: by dup3(2), then.
                self.numbers.give_back(other.number);
                other.number = NONE;
            } else {
                let moved = self.numbers.take();
                let args = [u64::from(other.number), u64::from(moved), u64::from(open_flag::CLOEXEC)];
                self.early(Op::exact(Sysno::dup3, args, u64::from(moved)))?;
                self.numbers.give_back(other.number);
                other.number = moved;
            }
        }
        let Some(own) = all.get_mut(which) else { return Ok(()) };
        own.home = wanted.number;
        if own.number != wanted.number {
            return self.duplicate(own.number, &wanted);
        }
        self.numbers.set_back(wanted.number);
        self.numbers.give_back(own.number);
        own.number = NONE;
        if wanted.flags & CLOEXEC == 0 {
            let args = [u64::from(wanted.number), u64::from(fcntl::SETFD), 0];
            self.early(Op::zero(Sysno::fcntl, args))?;
        }
        Ok(())
    }

    /// Closes what is left of descriptors that are in their places, or that nobody wants.
    pub(super) fn dispose(&mut self, all: &[Temporary]) -> Result<'a, ()> {
        for temporary in all.iter().filter(|temporary| temporary.number != NONE) {
            self.early(Op::zero(Sysno::close, [u64::from(temporary.number)]))?;
            self.numbers.give_back(temporary.number);
        }
        Ok(())
    }
}
