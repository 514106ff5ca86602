//! Which descriptor numbers are in use while the plan grows.
//!
//! The kernel gives a new descriptor the lowest free number, so the plan can know every number beforehand.

use crate::arena::{Arena, List};
use crate::exit::Result;
use image::format::{Descriptor, NONE};
use image::plain::Table;
use image::read::Image;

/// The most numbers that a step of the plan uses for a moment: the ends of two pipes.
const TEMPORARIES: usize = 4;

/// Which descriptor numbers are in use at the present point of the plan.
pub struct Numbers<'a> {
    wanted: Table<'a, Descriptor>,
    /// For each of these: whether it is back.
    back: &'a mut [u8],
    /// For each open file: a descriptor of it that is back, or [`NONE`].
    twins: List<'a, u32>,
    /// The restarter's own 0, 1, 2.
    standard: [bool; 3],
    /// What was opened before the plan: files of objects and the like. None of these is a number of the image.
    held: List<'a, u32>,
    /// In use for a moment.
    temporaries: [u32; TEMPORARIES],
    /// All numbers below are in use.
    floor: u32,
}

impl<'a> Numbers<'a> {
    /// The image's descriptors are all to come; of this process's own there are 0, 1, 2, and at most `held` others.
    ///
    /// # Errors
    ///
    /// As [`Arena::slots`].
    pub fn new(image: &Image<'a>, held: usize, arena: &mut Arena<'a>) -> Result<'static, Self> {
        let wanted = image.descriptors();
        let files = image.open_files().len();
        let mut twins = arena.list(files)?;
        for _ in 0..files {
            twins.push(NONE)?;
        }
        Ok(Self {
            wanted,
            back: arena.zeros(wanted.len())?,
            twins,
            standard: [true; 3],
            held: arena.list(held)?,
            temporaries: [NONE; TEMPORARIES],
            floor: 0,
        })
    }

    /// Notes a number that was in use before; negative ones do not count.
    ///
    /// # Errors
    ///
    /// When there are more than was said.
    pub fn hold(&mut self, fd: i32) -> Result<'static, ()> {
        if fd >= 0 { self.held.push(fd as u32) } else { Ok(()) }
    }

    /// Such a number is closed.
    pub fn let_go(&mut self, fd: i32) {
        for held in self.held.as_mut_slice().iter_mut().filter(|held| **held as i32 == fd && fd >= 0) {
            *held = NONE;
        }
        self.has_become_free(fd as u32);
    }

    fn index(&self, number: u32) -> Option<usize> {
        let index = self.wanted.partition_point(|descriptor| descriptor.number < number);
        self.wanted.get(index).filter(|descriptor| descriptor.number == number).map(|_| index)
    }

    /// Whether the number is one of the image's and was restored.
    pub fn is_back(&self, number: u32) -> bool {
        self.index(number).and_then(|index| self.back.get(index)).is_some_and(|back| *back != 0)
    }

    /// Notes that a number of the image is restored.
    pub fn set_back(&mut self, number: u32) {
        let Some(index) = self.index(number) else { return };
        if let Some(back) = self.back.get_mut(index) {
            *back = 1;
        }
        let file = self.wanted.get(index).map_or(NONE, |descriptor| descriptor.file);
        if let Some(twin) = self.twins.as_mut_slice().get_mut(file as usize) {
            *twin = number;
        }
    }

    /// A descriptor of open file `file` that is back already.
    pub fn twin(&self, file: u32) -> Option<u32> {
        self.twins.as_slice().get(file as usize).copied().filter(|twin| *twin != NONE)
    }

    /// The first number that the image has for open file `file`.
    pub fn first(&self, file: u32) -> Option<Descriptor> {
        self.wanted.iter().find(|descriptor| descriptor.file == file)
    }

    /// Whether the number is in use.
    fn is_used(&self, number: u32) -> bool {
        self.standard.get(number as usize).is_some_and(|open| *open)
            || self.is_back(number)
            || self.temporaries.contains(&number)
            || self.held.as_slice().contains(&number)
    }

    /// The number that the kernel gives out next.
    pub fn lowest(&mut self) -> u32 {
        while self.is_used(self.floor) {
            self.floor += 1;
        }
        self.floor
    }

    /// The number that the kernel gives out next, for a descriptor that is in use for a moment.
    pub fn take(&mut self) -> u32 {
        let number = self.lowest();
        if let Some(free) = self.temporaries.iter_mut().find(|slot| **slot == NONE) {
            *free = number;
        }
        number
    }

    /// Whether the number is in use for a moment.
    pub fn is_temporary(&self, number: u32) -> bool {
        self.temporaries.contains(&number)
    }

    /// A number that was in use for a moment is not any more.
    pub fn give_back(&mut self, number: u32) {
        for slot in self.temporaries.iter_mut().filter(|slot| **slot == number) {
            *slot = NONE;
        }
        self.has_become_free(number);
    }

    /// One of the restarter's own 0, 1, 2 is closed.
    pub fn close_standard(&mut self, number: u32) {
        if let Some(open) = self.standard.get_mut(number as usize) {
            *open = false;
        }
        self.has_become_free(number);
    }

    fn has_become_free(&mut self, number: u32) {
        self.floor = self.floor.min(number);
    }
}
