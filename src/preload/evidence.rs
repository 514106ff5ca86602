//! Signs that the program knows the ids of its threads, for a restart that can choose whether it keeps them.
//!
//! | where | what |
//! | --- | --- |
//! | pages, as they go by | a lock that names its owner, or any word that has the value of an id ([`image::evidence`]) |
//! | a thread that is not asleep in the kernel | an id in a register or close to the top of its stack: it may have been read, and not used yet |
//! | timers | one that signals a thread; the thread by which glibc carries out timers of `SIGEV_THREAD`, and whose id it keeps |
//! | musl's list of threads | its lock, which names the thread that holds it |
//!
//! Left out is what a restart writes itself: the word at the tid address of each thread, and the signal frames, where libckpt keeps the threads' ids.

use crate::arrival::ckpt_own_memory;
use crate::helper::Snapshot;
use crate::maps::Vma;
use crate::regions::Regions;
use crate::thread::of_musl;
use image::evidence::{Ids, Search, TID_MASK};
use image::format::{EVIDENCE, Evidence, NONE, Thread, evidence_kind, region_kind};
use image::interrupted::SYSCALL;
use sys::Sysno;
use sys::memory::{self, prot};
use sys::signal::UContext;

/// Bytes below the stack pointer that belong to the interrupted code (psABI 3.2.2, "red zone").
const RED_ZONE: u64 = 128;
/// Bytes behind the stack pointer that are looked at: the frames of the functions that the thread was in, and the `siginfo_t` of a handler that has begun.
const FRAMES: u64 = 1024;
/// What a signal frame has beside the `ucontext` and the register area, at most, in bytes: the `siginfo_t`, and the alignment of the register area.
const FRAME: u64 = 128 + 2 * 64;
/// Where musl keeps the id in its thread structure, in bytes.
pub const MUSL_TID: u64 = 48;

/// Collects it.
pub struct Collector<'a> {
    table: [Evidence; EVIDENCE as usize],
    used: usize,
    search: Search<'a>,
    ids: Ids<'a>,
    snapshot: &'a Snapshot,
    regions: &'a Regions,
    is_musl: bool,
}

impl<'a> Collector<'a> {
    /// `ids` are those of the threads of `snapshot`, in order.
    pub fn new(ids: Ids<'a>, snapshot: &'a Snapshot, regions: &'a Regions) -> Self {
        let is_musl = of_musl().is_some();
        let search = Search::new(ids, is_musl);
        Self { table: Default::default(), used: 0, search, ids, snapshot, regions, is_musl }
    }

    /// What was found, and how much of the table it is.
    pub fn table(&self) -> (&[Evidence], u64) {
        (&self.table, self.used as u64)
    }

    /// Adds an entry, unless there are enough of its kind; tells whether there is room for another one.
    fn add(&mut self, addr: u64, thread: u32, kind: u32) -> bool {
        if self.has_room(kind)
            && let Some(place) = self.table.get_mut(self.used)
        {
            *place = Evidence { addr, thread, kind };
            self.used += 1;
        }
        self.has_room(kind)
    }

    fn has_room(&self, kind: u32) -> bool {
        let most = if matches!(kind, evidence_kind::LOCK | evidence_kind::SHARED_LOCK) { 2 } else { 1 };
        self.table.iter().take(self.used).filter(|entry| entry.kind == kind).count() < most
    }

    /// Has the search look for what there is room for; tells whether there is anything.
    fn prepare(&mut self, lock: u32) -> bool {
        self.search.locks = self.has_room(lock);
        self.search.words = self.has_room(evidence_kind::WORD);
        !self.search.is_over()
    }

    /// Looks at a piece of private memory that the program can write, and that belongs at `home`.
    pub fn look_at_memory(&mut self, bytes: &[u8], home: u64) {
        if !self.prepare(evidence_kind::LOCK) {
            return;
        }
        let skipped = home.wrapping_neg() % 4;
        let (bytes, home) = (bytes.get(skipped as usize..).unwrap_or_default(), home + skipped);
        let beyond = |at: isize| {
            let place = home.wrapping_add_signed(at as i64);
            // SAFETY: the kernel says that the aligned eight bytes around the word can be read.
            memory::is_readable(place & !7).then(|| unsafe { (place as *const u32).read_volatile() })
        };
        let mut search = self.search.clone();
        search.look(bytes, beyond, |offset, thread, kind| {
            let addr = home + offset as u64;
            if self.is_told(addr)
                || kind == evidence_kind::WORD && self.is_half_of_address(bytes, offset, addr)
            {
                return true;
            }
            self.add(addr, thread, kind)
        });
        self.search = search;
    }

    /// Looks at a piece of the contents of objects, `first` bytes behind their beginning.
    pub fn look_at_objects(&mut self, bytes: &[u8], first: usize) {
        if !self.prepare(evidence_kind::SHARED_LOCK) {
            return;
        }
        let all: &[u8] = &self.snapshot.contents.bytes;
        let beyond = |at: isize| {
            let place = first.checked_add_signed(at)?;
            Some(u32::from_le_bytes(*all.get(place..)?.first_chunk()?))
        };
        let mut search = self.search.clone();
        search.look(bytes, beyond, |offset, thread, kind| {
            let kind = if kind == evidence_kind::LOCK { evidence_kind::SHARED_LOCK } else { kind };
            self.add(self.shown_at((first + offset) as u64), thread, kind)
        });
        self.search = search;
    }

    /// The address at which the program sees a byte of the contents of objects, or zero.
    fn shown_at(&self, at: u64) -> u64 {
        let contents = &self.snapshot.contents;
        let data = contents.runs.first().map_or(0, |run| run.data) + at;
        let Some(run) = contents.runs.iter().find(|run| (run.data..run.data + run.len).contains(&data))
        else {
            return 0;
        };
        let offset = run.offset + (data - run.data);
        let shows = |region: &&image::format::Region| {
            let is_of = |object: u32| contents.runs_of(object).iter().any(|of| of.data == run.data);
            region.kind == region_kind::OBJECT
                && (region.offset..region.offset + (region.end - region.start)).contains(&offset)
                && is_of(region.file)
        };
        self.regions.regions.iter().find(shows).map_or(0, |region| region.start + (offset - region.offset))
    }

    /// Whether a restart itself corrects what is at an address, or the program never uses it again.
    fn is_told(&self, addr: u64) -> bool {
        let is_of = |thread: &Thread| {
            addr == thread.tid_address
                || self.is_musl && addr == thread.fs_base + MUSL_TID
                || self.frame(thread).contains(&addr)
        };
        own_memory().contains(&addr)
            || self.dead_stack().contains(&addr)
            || self.snapshot.threads.iter().any(is_of)
    }

    /// The signal frame of a thread. On the stack of the interrupted code it ends at the red zone.
    fn frame(&self, thread: &Thread) -> core::ops::Range<u64> {
        let size = size_of::<UContext>() as u64 + FRAME + self.snapshot.process.xstate_size;
        let end = thread.ucontext.saturating_add(size);
        let rsp = Place::of(thread).rsp.saturating_sub(RED_ZONE);
        thread.ucontext..if (thread.ucontext..end).contains(&rsp) { rsp } else { end }
    }

    /// What is below the stack pointer of the first thread, where that is on the stack that it began on.
    fn dead_stack(&self) -> core::ops::Range<u64> {
        let Some(thread) = self.snapshot.threads.first() else { return 0..0 };
        let rsp = Place::of(thread).rsp;
        let start = self.snapshot.process.mm.start_stack;
        let vma = self.snapshot.vmas.iter().find(|vma| (vma.start..vma.end).contains(&start));
        vma.filter(|vma| vma.start <= rsp && rsp < vma.end)
            .map_or(0..0, |vma| vma.start..rsp.saturating_sub(RED_ZONE))
    }

    /// Whether a word is half of an address of the process: ids go up to 32,767 as a rule, and the upper halves of addresses are about 0x55d0 (21,968) or 0x7f00
    /// (32,512).
    fn is_half_of_address(&self, bytes: &[u8], offset: usize, addr: u64) -> bool {
        let whole =
            offset.checked_sub((addr % 8) as usize).and_then(|first| bytes.get(first..)?.first_chunk());
        whole.is_some_and(|word| self.is_address(u64::from_le_bytes(*word)))
    }

    fn is_address(&self, word: u64) -> bool {
        region(&self.snapshot.vmas, word).is_some()
    }

    /// Adds what is not in pages: ids in registers and on stacks, timers, musl's list of threads.
    pub fn look_at_threads(&mut self) {
        let snapshot = self.snapshot;
        for (index, thread) in snapshot.threads.iter().enumerate() {
            if of_glibc_timers(thread) {
                self.add(0, index as u32, evidence_kind::TIMER);
            }
            if !self.has_room(evidence_kind::REGISTER) || Place::of(thread).is_asleep(&snapshot.vmas) {
                continue;
            }
            if let Some((addr, whose)) = self.in_registers(thread).or_else(|| self.on_stack(thread)) {
                self.add(addr, whose, evidence_kind::REGISTER);
            }
        }
        for timer in snapshot.timers.iter().filter(|timer| timer.thread != NONE) {
            self.add(0, timer.thread, evidence_kind::TIMER);
        }
        if self.is_musl
            && let Some(thread) = snapshot.threads.first()
            && let Some(owner) =
                half(&snapshot.vmas, thread.tid_address).and_then(|id| self.ids.thread(id & TID_MASK))
        {
            self.add(thread.tid_address, owner, evidence_kind::LOCK);
        }
    }

    /// Whose id is in a register. Where a lock is taken, the id may have a flag that others wait.
    fn in_registers(&self, thread: &Thread) -> Option<(u64, u32)> {
        let id = |register: &u64| self.ids.thread(u32::try_from(*register).ok()? & TID_MASK);
        Some((0, Place::of(thread).general.iter().find_map(id)?))
    }

    /// Where on the stack an id is, and whose.
    fn on_stack(&self, thread: &Thread) -> Option<(u64, u32)> {
        let rsp = Place::of(thread).rsp & !7;
        (rsp.saturating_sub(RED_ZONE)..rsp.saturating_add(FRAMES)).step_by(8).find_map(|at| {
            let word = word(&self.snapshot.vmas, at).filter(|word| !self.is_address(*word))?;
            let [low, high] = [word as u32, (word >> 32) as u32].map(|half| self.ids.thread(half & TID_MASK));
            low.map(|thread| (at, thread)).or(high.map(|thread| (at + 4, thread)))
        })
    }
}

/// Where a thread was stopped, as the program knows it: while libckpt makes a call for it, the frame is another one.
struct Place {
    rip: u64,
    rsp: u64,
    rax: u64,
    rdi: u64,
    rsi: u64,
    /// All but rip and rsp.
    general: [u64; 15],
}

impl Place {
    fn of(thread: &Thread) -> Self {
        let [r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi, _, rip, _, _, rsp, ..] =
            thread.frame_registers;
        let general = [r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi];
        Self { rip, rsp, rax, rdi, rsi, general }
    }

    /// Whether the thread waits in the kernel, in a call that neither asks for an id nor takes one. It has ended with EINTR, or is to be made again.
    ///
    /// A lock that such a thread waits for has an owner, which the search finds in memory; unless that is in another process.
    fn is_asleep(&self, vmas: &[Vma]) -> bool {
        const EINTR: u64 = -4_i64 as u64;
        /// Calls that ask for ids or take those of threads. None of them sleeps.
        const OF_IDS: [Sysno; 11] = [
            Sysno::getpid,
            Sysno::gettid,
            Sysno::sched_setparam,
            Sysno::sched_getparam,
            Sysno::sched_setscheduler,
            Sysno::sched_getscheduler,
            Sysno::sched_setaffinity,
            Sysno::sched_getaffinity,
            Sysno::tkill,
            Sysno::tgkill,
            Sysno::rt_tgsigqueueinfo,
        ];
        /// FUTEX_LOCK_PI and FUTEX_LOCK_PI2, after which the thread is the owner.
        const LOCK_PI: [u64; 2] = [6, 13];
        const OPERATION: u64 = 0x7f;
        let code = |at: u64| {
            let end = at.checked_add(2)?;
            let vma = region(vmas, at).filter(|vma| vma.prot & prot::READ != 0 && end <= vma.end)?;
            // SAFETY: the map says that the code can be read, and it is the process's own.
            (vma.shared == 0).then(|| unsafe { (at as *const [u8; 2]).read_volatile() })
        };
        let waits_for_others = region(vmas, self.rdi).is_some_and(|vma| vma.shared != 0);
        if code(self.rip.wrapping_sub(2)) == Some(SYSCALL) && self.rax == EINTR {
            return !waits_for_others;
        }
        let is_futex = self.rax == Sysno::futex as u64;
        let becomes_owner = is_futex && (LOCK_PI.contains(&(self.rsi & OPERATION)) || waits_for_others);
        let takes_ids = OF_IDS.iter().any(|call| *call as u64 == self.rax);
        code(self.rip) == Some(SYSCALL) && !takes_ids && !becomes_owner
    }
}

/// Whether the thread blocks signal 32, which glibc lets nobody else do, and not 33: it carries out timers.
fn of_glibc_timers(thread: &Thread) -> bool {
    thread.sigmask >> 31 & 3 == 1
}

/// The memory of libckpt itself.
fn own_memory() -> core::ops::Range<u64> {
    // SAFETY: it takes no arguments, and only gives two addresses.
    let own = unsafe { ckpt_own_memory() };
    own.start..own.end
}

fn region(vmas: &[Vma], at: u64) -> Option<&Vma> {
    vmas.get(vmas.partition_point(|vma| vma.end <= at)).filter(|vma| vma.start <= at)
}

/// An aligned word of eight bytes of the process's own that it can write.
fn word(vmas: &[Vma], at: u64) -> Option<u64> {
    const DATA: u32 = prot::READ | prot::WRITE;
    region(vmas, at).filter(|vma| vma.prot & DATA == DATA && vma.shared == 0 && at.is_multiple_of(8))?;
    // SAFETY: a page of the process's own memory that can be read, and an aligned word does not reach beyond it.
    Some(unsafe { (at as *const u64).read_volatile() })
}

/// An aligned word of four bytes of the process's own that it can write.
fn half(vmas: &[Vma], at: u64) -> Option<u32> {
    Some((word(vmas, at & !7)? >> (8 * (at & 4))) as u32)
}
