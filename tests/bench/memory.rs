//! The memory of a victim.

use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous, mprotect};
use nix::sys::signal::{SigSet, SigmaskHow};
use std::num::NonZeroUsize;
use std::ptr::NonNull;

/// Size of a page in bytes.
pub const PAGE: usize = 4096;
const WORDS: usize = PAGE / size_of::<u64>();
const MIB: usize = 1 << 20;
const HUGE: usize = 2 * MIB;
/// No id is as large.
const FAR: u32 = 1 << 28;

/// Pages at regular distances in one mapping.
pub struct Memory {
    start: NonNull<u64>,
    /// Number of touched pages.
    pub pages: usize,
    /// Distance from one to the next in pages.
    step: usize,
    /// How many pages further the next one is that may be written to.
    stride: usize,
}

impl Memory {
    /// Makes what `KIND:N` says.
    ///
    /// | kind | what |
    /// | --- | --- |
    /// | `random` | N MiB of random bytes in pages of 4 KiB |
    /// | `huge` | the same in huge pages |
    /// | `zeros` | N MiB of pages that were written to, with zeros |
    /// | `sparse` | N MiB of which each hundredth page holds random bytes |
    /// | `alternate` | N MiB of which each second page does |
    /// | `regions` | N regions of one page |
    /// | `near` | N MiB of small numbers, half of them about as large as the program's id, and eight threads that wait |
    /// | `far` | the same with numbers that are no id |
    pub fn make(text: &str) -> Self {
        let (kind, number) = text.split_once(':').expect("KIND:N");
        let number: usize = number.parse().expect("a number");
        let pages = number * MIB / PAGE;
        let memory = match kind {
            "random" | "zeros" | "near" | "far" => Self::map(pages, 1, 1),
            "huge" => Self::huge(pages),
            "sparse" => Self::map(pages / 100, 100, 1),
            "alternate" => Self::map(pages / 2, 2, 1),
            "regions" => Self::map(number, 1, 2),
            _ => panic!("{kind}: no such memory"),
        };
        match kind {
            "near" => memory.fill_with_numbers(std::process::id()),
            "far" => memory.fill_with_numbers(FAR),
            _ => memory.fill(u64::from(kind != "zeros")),
        }
        if kind == "regions" {
            memory.split();
        }
        memory
    }

    fn map(pages: usize, step: usize, stride: usize) -> Self {
        let len = NonZeroUsize::new((pages * step).max(1) * PAGE).unwrap();
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE;
        // SAFETY: a new mapping, at an address of the kernel's choice.
        let start = unsafe { mmap_anonymous(None, len, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, flags) };
        Self { start: start.expect("mmap").cast(), pages, step, stride }
    }

    fn huge(pages: usize) -> Self {
        let whole = Self::map(pages + HUGE / PAGE, 1, 1);
        let skip = whole.start.as_ptr().align_offset(HUGE);
        // SAFETY: the mapping is longer by the boundary that is looked for.
        let start = unsafe { whole.start.add(skip) };
        // SAFETY: the advice changes no contents.
        unsafe { madvise(start.cast(), pages * PAGE, MmapAdvise::MADV_HUGEPAGE) }.expect("madvise");
        Self { start, pages, step: 1, stride: 1 }
    }

    /// Address of a page.
    fn page(&self, index: usize) -> NonNull<u64> {
        // SAFETY: the page is inside the mapping.
        unsafe { self.start.add(index * self.step * WORDS) }
    }

    fn fill(&self, seed: u64) {
        let mut random = Random(seed);
        for index in 0..self.pages {
            for word in 0..WORDS {
                // SAFETY: inside the page, to which nobody else refers.
                unsafe { self.page(index).add(word).write(random.next()) };
            }
        }
    }

    /// Fills all of it with small numbers, half of them about as large as `base`, and starts threads.
    fn fill_with_numbers(&self, base: u32) {
        // Signals go to the first thread.
        let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK).expect("a mask");
        for _ in 0..8 {
            std::thread::spawn(|| {
                loop {
                    std::thread::park();
                }
            });
        }
        before.thread_set_mask().expect("a mask");
        let mut random = Random(1);
        let mut number = || {
            let number = (random.next() >> 20) as u32 % 100;
            if number.is_multiple_of(2) { number } else { base + number / 2 - 7 }
        };
        for index in 0..self.pages {
            for word in 0..WORDS {
                let numbers = u64::from(number()) | u64::from(number()) << 32;
                // SAFETY: inside the page, to which nobody else refers.
                unsafe { self.page(index).add(word).write(numbers) };
            }
        }
    }

    /// Makes a region of each page: every second one cannot be written to.
    fn split(&self) {
        for index in (1..self.pages).step_by(2) {
            // SAFETY: from here on these pages are only read.
            unsafe { mprotect(self.page(index).cast(), PAGE, ProtFlags::PROT_READ) }.expect("mprotect");
        }
    }

    /// Writes to each page what is there, so that it is this process's alone, as in a program that has been running for a while.
    pub fn touch(&self) {
        (0..self.pages).step_by(self.stride).for_each(|index| self.write(index));
    }

    fn write(&self, index: usize) {
        let word = self.page(index).as_ptr();
        // SAFETY: the page can be written to, and the value does not change.
        unsafe { word.write_volatile(word.read_volatile()) };
    }

    /// Writes to `count` pages at random.
    pub fn write_randomly(&self, count: usize) {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        for _ in 0..count {
            let index = ((u128::from(random.next()) * self.pages as u128) >> 64) as usize;
            self.write(index / self.stride * self.stride);
        }
    }

    /// Sum of all words.
    pub fn sum(&self) -> u64 {
        let mut sum = 0u64;
        for index in 0..self.pages {
            for word in 0..WORDS {
                // SAFETY: inside the page, which nobody writes to meanwhile.
                sum = sum.rotate_left(1) ^ unsafe { self.page(index).add(word).read() };
            }
        }
        sum
    }

    /// All bytes from the first page to the last.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: one mapping, readable from its start to its end.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().cast(), self.pages * self.step * PAGE) }
    }
}

/// xorshift64: fast, and good enough to have no pattern that anything here could use. Zero stays zero.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
