//! A program that looks at the clock all the time, so that any tool's pause and restart can be seen from outside: nothing but a page of a file
//! connects it with the driver.

use crate::clock::now;
use crate::memory::{Memory, PAGE};
use nix::sys::mman::{MapFlags, ProtFlags, mmap};
use std::fs::File;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Time between two ticks.
const REST: Duration = Duration::from_micros(50);

/// What the program and the driver share. Times are nanoseconds of `CLOCK_MONOTONIC`.
#[repr(C)]
pub struct Board {
    /// The last tick; 0: the memory is not there yet.
    tick: AtomicU64,
    /// The longest time between two ticks since the driver set it to zero.
    gap: AtomicU64,
}

impl Board {
    /// The board in a file, which is made if it is not there.
    pub fn open(path: &Path) -> &'static Self {
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path);
        let file = file.expect("a file to share");
        file.set_len(PAGE as u64).expect("ftruncate");
        let len = NonZeroUsize::new(PAGE).unwrap();
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping, at an address of the kernel's choice.
        let page = unsafe { mmap(None, len, protection, MapFlags::MAP_SHARED, &file, 0) }.expect("mmap");
        // SAFETY: a page of zeros or ticks, both of them words that are changed as a whole; it is never unmapped.
        unsafe { page.cast().as_ref() }
    }

    /// The last tick, by the clock of the program: some tools restart it with another one.
    pub fn last(&self) -> u64 {
        self.tick.load(Ordering::Acquire)
    }

    /// Waits until there has been a tick since `last`; returns when that was, by this process's clock. `None` when the wait is
    /// `hopeless`.
    pub fn next(&self, last: u64, mut hopeless: impl FnMut() -> bool) -> Option<u64> {
        while self.last() == last {
            if hopeless() {
                return None;
            }
            std::thread::sleep(REST / 5);
        }
        Some(now())
    }

    /// Waits for some ticks.
    pub fn ticks(&self, count: usize) {
        let start = Instant::now();
        for _ in 0..count {
            let next = self.next(self.last(), || start.elapsed() > Duration::from_secs(120));
            assert!(next.is_some(), "the program does not tick");
        }
    }

    /// Begins to look for the longest gap.
    pub fn begin(&self) {
        self.gap.store(0, Ordering::Release);
    }

    /// The longest gap since [`Board::begin`], in nanoseconds.
    pub fn longest(&self) -> u64 {
        self.gap.load(Ordering::Acquire)
    }
}

/// `bench ticker MEMORY FILE`: ticks until it is killed.
pub fn main(memory: &str, file: &str) -> ! {
    let _memory = Memory::make(memory);
    let board = Board::open(Path::new(file));
    let mut last = now();
    loop {
        std::thread::sleep(REST);
        let tick = now();
        board.gap.fetch_max(tick - last, Ordering::AcqRel);
        board.tick.store(tick, Ordering::Release);
        last = tick;
    }
}
