//! Descriptors: one function for each kind of open file.
//!
//! The kernel gives a new descriptor the lowest free number. [`Numbers`] follows what is in use as the plan grows, so that the plan knows
//! every number beforehand. Descriptors come back in ascending order: mostly the lowest free number is the wanted one.

mod object;
mod path;
mod standard;

use crate::arena::{Arena, List};
use crate::exit::{Code, Failure, Result};
use crate::objects::Made;
use crate::op::Op;
use crate::plan::Builder;
use image::format::{Descriptor, NONE, OpenFile, file_kind};
use image::plain::Table;
use sys::Sysno;
use sys::fd::open_flag;

/// `FD_CLOEXEC` in [`Descriptor::flags`].
const CLOEXEC: u32 = 1;

/// Which descriptor numbers are in use at the present point of the plan.
pub struct Numbers<'a> {
    wanted: Table<'a, Descriptor>,
    /// For each of these: whether it is back.
    back: &'a mut [u8],
    /// For each open file: a descriptor of it that is back, or [`NONE`].
    twins: List<'a, u32>,
    /// The restarter's own 0, 1, 2.
    standard: [bool; 3],
    /// The files of the image's objects, until they are in their places.
    objects: &'a [Made],
    /// All numbers below are in use for good.
    floor: u32,
}

impl<'a> Numbers<'a> {
    /// The image's descriptors are all to come; of this process's own only 0, 1, 2 are left.
    ///
    /// # Errors
    ///
    /// As [`Arena::slots`].
    pub fn new(
        image: &image::read::Image<'a>,
        standard: [bool; 3],
        objects: &'a [Made],
        arena: &mut Arena<'a>,
    ) -> Result<'static, Self> {
        let wanted = image.descriptors();
        let files = image.open_files().len();
        let mut twins = arena.list(files)?;
        for _ in 0..files {
            twins.push(NONE)?;
        }
        Ok(Self { wanted, back: arena.zeros(wanted.len())?, twins, standard, objects, floor: 0 })
    }

    fn index(&self, number: u32) -> Option<usize> {
        let index = self.wanted.partition_point(|descriptor| descriptor.number < number);
        self.wanted.get(index).filter(|descriptor| descriptor.number == number).map(|_| index)
    }

    /// Whether the number is one of the image's and was restored.
    fn is_back(&self, number: u32) -> bool {
        self.index(number).and_then(|index| self.back.get(index)).is_some_and(|back| *back != 0)
    }

    /// Notes that a number of the image is restored.
    fn set_back(&mut self, number: u32) {
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
    fn twin(&self, file: u32) -> Option<u32> {
        self.twins.as_slice().get(file as usize).copied().filter(|twin| *twin != NONE)
    }

    /// Whether the number is in use.
    fn is_used(&self, number: u32) -> bool {
        let is_object = |made: &Made| [made.fd, made.read_only].contains(&(number as i32));
        self.standard.get(number as usize).is_some_and(|open| *open)
            || self.is_back(number)
            || self.objects.iter().any(is_object)
    }

    /// The number that the kernel gives out next.
    pub(crate) fn lowest(&mut self) -> u32 {
        while self.is_used(self.floor) {
            self.floor += 1;
        }
        self.floor
    }
}

impl<'a> Builder<'a, '_> {
    /// Restores every descriptor.
    pub(crate) fn open_files(&mut self) -> Result<'a, ()> {
        let image = self.inputs.image;
        // First those that live on the restarter's own 0, 1, 2, before others take these numbers.
        self.keep_standard()?;
        for descriptor in image.descriptors().iter() {
            if self.numbers.is_back(descriptor.number) {
                continue;
            }
            let Some(file) = image.open_files().get(descriptor.file as usize) else { continue };
            match self.numbers.twin(descriptor.file) {
                Some(twin) => self.duplicate(twin, &descriptor)?,
                None => self.open(&file, &descriptor)?,
            }
        }
        self.finish_objects()?;
        self.numbers.objects = &[];
        self.numbers.floor = 0;
        // Own ones that the process did not have.
        for number in 0..3 {
            let own = self.inputs.standard.get(number as usize).is_some_and(|open| *open);
            if own && !self.numbers.is_back(number) {
                self.early(Op::zero(Sysno::close, [u64::from(number)]))?;
                if let Some(open) = self.numbers.standard.get_mut(number as usize) {
                    *open = false;
                }
                self.numbers.floor = 0;
            }
        }
        Ok(())
    }

    /// Makes `descriptor` a duplicate of number `from`.
    fn duplicate(&mut self, from: u32, descriptor: &Descriptor) -> Result<'static, ()> {
        let flags = if descriptor.flags & CLOEXEC != 0 { open_flag::CLOEXEC } else { 0 };
        let number = u64::from(descriptor.number);
        self.early(Op::exact(Sysno::dup3, [u64::from(from), number, u64::from(flags)], number))?;
        self.numbers.set_back(descriptor.number);
        Ok(())
    }

    /// Opens `file` anew as `descriptor`.
    fn open(&mut self, file: &OpenFile, descriptor: &Descriptor) -> Result<'a, ()> {
        // If the kernel gives out the wanted number, the call that opens can set close-on-exec at once.
        let number = self.numbers.lowest();
        let direct = number == descriptor.number;
        let cloexec = !direct || descriptor.flags & CLOEXEC != 0;
        match file.kind {
            file_kind::REGULAR | file_kind::DIRECTORY | file_kind::DEVICE => {
                self.open_path(file, number, cloexec)?;
            }
            file_kind::MEMFD | file_kind::DELETED => self.open_object(file, number, cloexec)?,
            kind => return Err(unsupported(self.inputs.image.c_str(file.path), kind)),
        }
        if direct {
            self.numbers.set_back(number);
            return Ok(());
        }
        self.duplicate(number, descriptor)?;
        self.early(Op::zero(Sysno::close, [u64::from(number)]))
    }
}

/// Says what kind of file this version does not restore.
fn unsupported(path: &[u8], kind: u32) -> Failure<'_> {
    let cause = match kind {
        file_kind::TERMINAL => "the process had a terminal open, and there is none here to take its place",
        file_kind::STANDARD => "the process had a standard stream, and there is none here to take its place",
        file_kind::PIPE => "the process had a pipe open, which this version cannot restore",
        file_kind::FIFO => "the process had a named pipe open, which this version cannot restore",
        file_kind::EVENTFD => "the process had an eventfd open, which this version cannot restore",
        file_kind::TIMERFD => "the process had a timerfd open, which this version cannot restore",
        file_kind::SIGNALFD => "the process had a signalfd open, which this version cannot restore",
        file_kind::EPOLL => "the process had an epoll open, which this version cannot restore",
        file_kind::INOTIFY => "the process had an inotify open, which this version cannot restore",
        _ => "the process had a file open of a kind that this version cannot restore",
    };
    Failure::new(Code::Unsupported, path, cause, "restart it with the ckpt that wrote the image")
}
