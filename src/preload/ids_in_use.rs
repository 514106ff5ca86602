//! Ids that a libc has read and not used yet: in registers and on stacks of stopped threads.
//!
//! A restarted thread has a new id. Where a libc keeps ids is known ([`image::owners`]), but a signal may also stop it between asking and telling:
//!
//! | where a thread is | what has an id |
//! | --- | --- |
//! | right behind the system call of getpid(2) or gettid(2) | the result |
//! | in raise(3), pthread_kill(3), pthread_setaffinity_np(3) and the like, shortly before the system call | registers |
//! | behind the load of its own id from its thread structure, as in pthread_mutex_lock(3) | registers and the frame of the function |
//! | in a system call that waits for a robust or priority-inheriting mutex of glibc, or for a stream of musl | the same |
//! | where musl's list of threads is locked, and waits for the owner to let go, as in pthread_join(3) | registers: whose id is in the lock |
//! | in glibc's handler of its signals 32 and 33, which it takes from its own process only | the sender in the `siginfo_t`, registers |
//!
//! The code around tells where it is. An id is only looked for in these places, so that no number is taken for one that merely has its value.

use crate::helper::Snapshot;
use crate::maps::Vma;
use crate::thread::of_musl;
use image::format::Thread;
use image::in_use;
use image::interrupted::SYSCALL;
use image::owners::{TID_MASK, follows_ids, is_stream};
use sys::memory::prot;
use sys::signal::greg;

/// Where the registers stand in a `ucontext_t`, in bytes.
const GREGS: u64 = 40;
/// Behind the stack pointer, in bytes: the frame of a function that takes a lock.
const FRAME: u64 = 256;
/// Behind the stack pointer, in bytes: the `siginfo_t` that a handler has got, whose own frame is small.
const HANDLER: u64 = 1024;
/// The general registers but the stack pointer, as indices of `gregs`.
const REGISTERS: core::ops::Range<usize> = 0..greg::RSP;
const _: () = assert!(greg::RSP == 15);

/// Tells `found` the address of each word that is such an id, and the index of the thread whose id it is. The memory is read in place.
pub fn find(snapshot: &Snapshot, mut found: impl FnMut(u64, u32)) {
    let memory = Memory(&snapshot.vmas);
    let Some(leader) = snapshot.threads.first() else { return };
    let index = |id: u32| snapshot.threads.iter().position(|thread| thread.tid == id);
    let is_musl = of_musl().is_some();
    for (own, thread) in snapshot.threads.iter().enumerate() {
        let place = Place::of(thread);
        let sender = place.sender(&memory, leader.tid);
        if let Some(sender) = sender {
            found(sender, 0);
        }
        let registers = || {
            REGISTERS.filter_map(|greg| {
                let at = thread.ucontext + GREGS + 8 * greg as u64;
                // Where a lock is taken, the id may have a flag that others wait.
                let value = u32::try_from(memory.word(at)?).ok()?;
                Some((at, value, index(value & TID_MASK)?))
            })
        };
        let on_stack = || {
            let words = (place.rsp.next_multiple_of(4)..place.rsp.saturating_add(FRAME)).step_by(4);
            words.filter(|at| memory.number(*at).is_some_and(|half| half & TID_MASK == thread.tid))
        };
        if registers().next().is_none() && on_stack().next().is_none() {
            continue;
        }
        let code = Code::at(&memory, place.rip);
        let takes_lock = place.waits_for_owner(&memory, &code, snapshot.threads.len())
            || in_use::has_loaded(code.before(), thread.tid_address.wrapping_sub(thread.fs_base));
        let has_ids = sender.is_some() || place.has_ids(&memory, &code);
        let awaited = if is_musl { awaited_owner(&memory, thread) } else { None };
        for (at, value, whose) in registers() {
            if takes_lock && whose == own || has_ids && value & !TID_MASK == 0 || awaited == Some(value) {
                found(at, whose as u32);
            }
        }
        if takes_lock {
            on_stack().for_each(|at| found(at, own as u32));
        }
    }
}

/// Whose id is in the lock of musl's list of threads, for a thread that has its address in a register. musl makes that lock the tid address of every thread,
/// and takes another id in it for a sign that the owner has ended.
fn awaited_owner(memory: &Memory, thread: &Thread) -> Option<u32> {
    let mut registers = REGISTERS.map(|greg| memory.word(thread.ucontext + GREGS + 8 * greg as u64));
    let has_lock = registers.any(|value| value == Some(thread.tid_address));
    has_lock.then(|| memory.half(thread.tid_address)).flatten()
}

/// Where a thread was stopped.
struct Place {
    rip: u64,
    rsp: u64,
    rdi: u64,
    rax: u64,
}

impl Place {
    /// As the program knows it: while libckpt makes a call for it, the frame is another one.
    fn of(thread: &Thread) -> Self {
        let [.., rax, _, _, _, rdi, _, rip, _, _, rsp, _, _, _] = thread.frame_registers;
        Self { rip, rsp, rdi, rax }
    }

    /// Whether what registers have of ids is what a libc is about to use.
    fn has_ids(&self, memory: &Memory, code: &Code) -> bool {
        in_use::is_behind_question(code.before())
            || in_use::leads_to_call(code.behind(), self.rax)
            || in_use::is_in_question(code.before(), code.behind())
                && memory
                    .word(self.rsp)
                    .is_some_and(|caller| in_use::leads_to_call(Code::at(memory, caller).behind(), u64::MAX))
    }

    /// Whether the thread waits in the kernel for a lock that will name its owner. The signal has ended the call, or it is about to be made again.
    fn waits_for_owner(&self, memory: &Memory, code: &Code, threads: usize) -> bool {
        let [lock, owner, kind] =
            [0, 8, 16].map(|offset| memory.word(self.rdi.wrapping_add(offset)).unwrap_or(0));
        let is_at_call = code.before().ends_with(&SYSCALL) || code.behind().starts_with(&SYSCALL);
        let is_stream = || {
            let start = self.rdi.wrapping_sub(4);
            let mode = memory.half(start);
            mode.is_some_and(|mode| {
                is_stream(mode, |delta| memory.word(start.wrapping_add_signed(delta as i64)))
            })
        };
        is_at_call && (follows_ids(lock, owner, kind, threads as u32) || is_stream())
    }

    /// Address of the sender's id in the `siginfo_t` of a signal of glibc's own, from this process, whose handler has begun.
    fn sender(&self, memory: &Memory, leader: u32) -> Option<u64> {
        const SI_TKILL: u32 = -6_i32 as u32;
        let starts = (self.rsp.next_multiple_of(8)..self.rsp.saturating_add(HANDLER)).step_by(8);
        let mut infos = starts.filter(|at| {
            let half = |offset: u64| memory.half(at + offset);
            matches!(half(0), Some(32 | 33))
                && half(4) == Some(0)
                && half(8) == Some(SI_TKILL)
                && half(16) == Some(leader)
        });
        infos.next().map(|at| at + 16)
    }
}

/// The process's private memory, as its map tells of it.
struct Memory<'a>(&'a [Vma]);

impl Memory<'_> {
    fn region(&self, at: u64, prot: u32) -> Option<&Vma> {
        let next = self.0.partition_point(|vma| vma.end <= at);
        self.0.get(next).filter(|vma| vma.start <= at && vma.prot & prot == prot && vma.shared == 0)
    }

    /// An aligned word of eight bytes that the process can write.
    fn word(&self, at: u64) -> Option<u64> {
        self.region(at, prot::READ | prot::WRITE).filter(|_| at.is_multiple_of(8))?;
        // SAFETY: a page of the process's own memory that can be read, and an aligned word does not reach beyond it.
        Some(unsafe { (at as *const u64).read_volatile() })
    }

    /// An aligned word of four bytes that the process can write.
    fn half(&self, at: u64) -> Option<u32> {
        let word = self.word(at & !7)?;
        Some((word >> (8 * (at & 4))) as u32)
    }

    /// The same, unless it is half of an address of the process: ids go up to 32,767 as a rule, and the upper halves of addresses are about
    /// 0x55d0 (21,968) or 0x7f00 (32,512).
    fn number(&self, at: u64) -> Option<u32> {
        let word = self.word(at & !7)?;
        let next = self.0.partition_point(|vma| vma.end <= word);
        let is_address = self.0.get(next).is_some_and(|vma| vma.start <= word);
        if is_address { None } else { self.half(at) }
    }
}

/// The code around an address.
struct Code {
    bytes: [u8; Self::BEFORE + Self::BEHIND],
    /// The bytes of the array that are code.
    range: core::ops::Range<usize>,
}

impl Code {
    const BEFORE: usize = 3072;
    const BEHIND: usize = 80;

    fn at(memory: &Memory, rip: u64) -> Self {
        let mut code = Self { bytes: [0; Self::BEFORE + Self::BEHIND], range: Self::BEFORE..Self::BEFORE };
        let Some(vma) = memory.region(rip, prot::READ | prot::EXEC) else { return code };
        let start = vma.start.max(rip.saturating_sub(Self::BEFORE as u64));
        let end = vma.end.min(rip.saturating_add(Self::BEHIND as u64));
        let first = Self::BEFORE.saturating_sub((rip - start) as usize);
        let last = Self::BEFORE.saturating_add((end - rip) as usize).min(code.bytes.len());
        for (to, at) in code.bytes.iter_mut().skip(first).zip(start..end) {
            // SAFETY: the map says that the code can be read, and it is the process's own.
            *to = unsafe { (at as *const u8).read_volatile() };
        }
        code.range = first..last;
        code
    }

    fn before(&self) -> &[u8] {
        self.bytes.get(self.range.start..Self::BEFORE).unwrap_or_default()
    }

    fn behind(&self) -> &[u8] {
        self.bytes.get(Self::BEFORE..self.range.end).unwrap_or_default()
    }
}
