//! Finding the words by which a libc's lock names the thread that holds it.
//!
//! A restarted thread has a new id, but a lock that it holds says the old one: its owner could neither lock it again nor unlock it. No list in the
//! process names all such locks, so the writer looks for them in the memory that goes by: a word that is the id of one of the threads, inside
//! what can only be a lock that is held. The layouts are ABI, because programs allocate locks themselves:
//!
//! | lock | bytes around the word |
//! | --- | --- |
//! | glibc `pthread_mutex_t` | lock 4, count 4, **owner 4**, nusers 4, kind 4, spins 2, elision 2, list 16; `lock` too, if robust or priority-inheriting |
//! | glibc `pthread_rwlock_t` | readers 4, writers 4, two futexes 8, zero 8, **writer 4**, shared 4, zero 16, flags 4 |
//! | musl `pthread_mutex_t` | type 4, **lock 4**, waiters 4, pad 4, pad 4, count 4, list 16 |
//! | musl `FILE` | next 8, descriptor 4, child 4, lock count 8, mode 4, **lock 4**, end of line 4, zero 4, cookie 8 |
//!
//! glibc keeps one more id, of the thread that carries out timers of `SIGEV_THREAD`: [`timer_thread`].
//!
//! Only recursive, error-checking, robust and priority-inheriting mutexes look at their owner; the others are left alone.

use crate::cpu;

/// The low bits of a futex word that hold a thread id (`FUTEX_TID_MASK`, include/uapi/linux/futex.h).
pub const TID_MASK: u32 = 0x3fff_ffff;

/// What a lock needs before and behind the aligned eight bytes that hold the word.
const BEFORE: usize = 24;
const BEHIND: usize = 40;

/// The ids that are looked for.
#[derive(Clone, Copy, Debug)]
pub struct Ids<'a> {
    by_index: &'a [u32],
    first: u32,
    span: u32,
    streams: bool,
}

impl<'a> Ids<'a> {
    /// The ids of all threads by index. `None` when there is none.
    pub fn new(ids: &'a [u32]) -> Option<Self> {
        let (first, last) = (*ids.iter().min()?, *ids.iter().max()?);
        Some(Self { by_index: ids, first, span: last - first, streams: false })
    }

    /// Whether streams of musl are looked for as well: not in a process of another libc, where what looks like one is something else.
    #[must_use]
    pub fn with_streams(self, streams: bool) -> Self {
        Self { streams, ..self }
    }

    /// How many threads there are.
    fn count(&self) -> u32 {
        self.by_index.len() as u32
    }

    /// The index of the thread with an id.
    fn thread(&self, tid: u32) -> Option<u32> {
        if (tid & TID_MASK).wrapping_sub(self.first) > self.span {
            return None;
        }
        self.by_index.iter().position(|known| *known == tid & TID_MASK).map(|index| index as u32)
    }
}

/// Tells `found` the offset in `bytes` of each word that names an owner, and the index of the thread. `bytes` begins at a multiple of 8. A lock
/// that is not wholly inside is asked for with `word`: the eight bytes at an offset, which may be negative or behind the end.
pub fn find(
    bytes: &[u8],
    ids: Ids<'_>,
    mut word: impl FnMut(isize) -> Option<u64>,
    mut found: impl FnMut(usize, u32),
) {
    let (blocks, _) = bytes.as_chunks::<64>();
    let mut blocks = blocks.iter().enumerate();
    // Nearly all blocks are passed over here.
    while let Some((number, block)) = candidate(&mut blocks, ids) {
        for (at, part) in block.as_chunks::<8>().0.iter().enumerate() {
            let offset = number * 64 + at * 8;
            let value = u64::from_le_bytes(*part);
            let inside = offset >= BEFORE && offset + BEHIND <= bytes.len();
            let mut around = |delta: isize| {
                let place = offset.checked_add_signed(delta);
                match place.and_then(|place| bytes.get(place..)).and_then(<[u8]>::first_chunk) {
                    Some(bytes) => Some(u64::from_le_bytes(*bytes)),
                    None if inside => None,
                    None => word(offset as isize + delta),
                }
            };
            look(value, offset, ids, &mut around, &mut found);
        }
    }
}

/// Blocks and their numbers.
type Blocks<'a> = core::iter::Enumerate<core::slice::Iter<'a, [u8; 64]>>;

/// The next block that has a 32-bit word in the range of the ids.
fn candidate<'a>(blocks: &mut Blocks<'a>, ids: Ids<'_>) -> Option<(usize, &'a [u8; 64])> {
    if cpu::has(cpu::AVX2) {
        // SAFETY: the CPU has AVX2 and the kernel saves its registers.
        unsafe { candidate_avx2(blocks, ids) }
    } else {
        blocks.find(|(_, block)| may_have(block, ids))
    }
}

/// The same with SSE2, for one block.
#[inline]
fn may_have(block: &[u8; 64], ids: Ids<'_>) -> bool {
    use core::arch::x86_64::{
        __m128i, _mm_and_si128, _mm_cmpgt_epi32, _mm_loadu_si128, _mm_movemask_epi8, _mm_or_si128,
        _mm_set1_epi32, _mm_setzero_si128, _mm_sub_epi32, _mm_xor_si128,
    };
    // SAFETY: SSE2 is part of x86-64.
    unsafe {
        let mask = _mm_set1_epi32(TID_MASK as i32);
        let first = _mm_set1_epi32(ids.first as i32);
        // Unsigned "not above" by signed comparison: both sides are moved by half the range.
        let half = _mm_set1_epi32(i32::MIN);
        let above = _mm_set1_epi32((ids.span.wrapping_add(1) ^ 1 << 31) as i32);
        let mut any = _mm_setzero_si128();
        for part in block.as_chunks::<16>().0 {
            // SAFETY: the part has the 16 bytes that are loaded, and the load takes any alignment.
            let words = _mm_loadu_si128(part.as_ptr().cast::<__m128i>());
            let relative = _mm_sub_epi32(_mm_and_si128(words, mask), first);
            any = _mm_or_si128(any, _mm_cmpgt_epi32(above, _mm_xor_si128(relative, half)));
        }
        _mm_movemask_epi8(any) != 0
    }
}

/// The same with AVX2, for all of them.
#[target_feature(enable = "avx2")]
fn candidate_avx2<'a>(blocks: &mut Blocks<'a>, ids: Ids<'_>) -> Option<(usize, &'a [u8; 64])> {
    use core::arch::x86_64::{
        __m256i, _mm256_and_si256, _mm256_cmpeq_epi32, _mm256_loadu_si256, _mm256_min_epu32, _mm256_or_si256,
        _mm256_set1_epi32, _mm256_sub_epi32, _mm256_testz_si256,
    };
    let mask = _mm256_set1_epi32(TID_MASK as i32);
    let first = _mm256_set1_epi32(ids.first as i32);
    let span = _mm256_set1_epi32(ids.span as i32);
    blocks.find(|(_, block)| {
        let (halves, _) = block.as_chunks::<32>();
        let [low, high] = [0, 1].map(|i| {
            // SAFETY: each half has the 32 bytes that are loaded, and the load takes any alignment.
            let words = unsafe { _mm256_loadu_si256(halves[i].as_ptr().cast::<__m256i>()) };
            let relative = _mm256_sub_epi32(_mm256_and_si256(words, mask), first);
            // The lesser one of both is the word's, unless that is above the range.
            _mm256_cmpeq_epi32(_mm256_min_epu32(relative, span), relative)
        });
        let any = _mm256_or_si256(low, high);
        _mm256_testz_si256(any, any) == 0
    })
}

fn halves(word: u64) -> (u32, u32) {
    (word as u32, (word >> 32) as u32)
}

/// Looks at one aligned word of eight bytes and what is around it.
fn look(
    value: u64,
    offset: usize,
    ids: Ids<'_>,
    around: &mut impl FnMut(isize) -> Option<u64>,
    found: &mut impl FnMut(usize, u32),
) {
    let (low, high) = halves(value);
    if let Some(thread) = ids.thread(low) {
        let is_owner = low & !TID_MASK == 0
            && (glibc_owner(low, high, ids.count(), around) || glibc_rwlock(high, around).is_some());
        if is_owner || glibc_lock(value, ids.count(), around).is_some() {
            found(offset, thread);
        }
    } else if let Some(thread) = ids.thread(high)
        && (musl_mutex(low, around).is_some() || ids.streams && is_stream(low, around))
    {
        found(offset + 4, thread);
    }
}

/// How often a mutex is locked, at most: less than the upper half of any address of a program.
const COUNT: u32 = 1 << 14;

/// Kinds of glibc's mutexes.
mod kind {
    pub const RECURSIVE: u32 = 1;
    pub const ERRORCHECK: u32 = 2;
    pub const ROBUST: u32 = 16;
    pub const PRIO_INHERIT: u32 = 32;
    pub const KNOWN: u32 = 0x3ff;
}

/// The kind of a glibc mutex by its word. One that looks at its owner neither spins nor is elided.
fn glibc_kind(word: u64) -> Option<u32> {
    let (kind, spins) = halves(word);
    (kind & !kind::KNOWN == 0 && spins == 0).then_some(kind)
}

/// Whether the word is the owner of a glibc mutex that looks at it, in a process with so many threads. A thread writes it before it counts itself among the
/// users, who are that thread and those that wait for a condition with the mutex.
fn glibc_owner(owner: u32, users: u32, threads: u32, around: &mut impl FnMut(isize) -> Option<u64>) -> bool {
    let Some((before, kind)) = around(-8).zip(around(8).and_then(glibc_kind)) else { return false };
    let (lock, count) = halves(before);
    if users > threads || count > COUNT {
        return false;
    }
    if kind & (kind::ROBUST | kind::PRIO_INHERIT) != 0 {
        return lock & TID_MASK == owner;
    }
    let looks = match kind & 3 {
        kind::RECURSIVE => count >= 1,
        kind::ERRORCHECK => count == 0,
        _ => false,
    };
    looks && matches!(lock, 1 | 2) && around(16) == Some(0) && around(24) == Some(0)
}

/// Whether the word is the lock and the count of a glibc mutex that is robust or priority-inheriting.
fn glibc_lock(word: u64, threads: u32, around: &mut impl FnMut(isize) -> Option<u64>) -> Option<()> {
    let (owner, kind) = (around(8)?, around(16)?);
    let list = [around(24)?, around(32)?];
    let is_robust = glibc_kind(kind)? & kind::ROBUST != 0;
    // A priority-inheriting one marks the addresses in its list with bit 0.
    let may_be_linked =
        |word: u64| word == 0 || is_robust && word & 6 == 0 && (1 << 12..1 << 47).contains(&word);
    (follows_ids(word, owner, kind, threads) && list.into_iter().all(may_be_linked)).then_some(())
}

/// Whether three words are the beginning of a glibc mutex that is robust or priority-inheriting: its lock is the id of a thread, and whoever takes it will write
/// its own. The owner is written after the lock, or says that the one before has died. The process has so many `threads`.
pub fn follows_ids(lock: u64, owner: u64, kind: u64, threads: u32) -> bool {
    const INCONSISTENT: u32 = 0x7fff_ffff;
    let ((lock, count), (owner, users)) = (halves(lock), halves(owner));
    glibc_kind(kind).is_some_and(|kind| kind & (kind::ROBUST | kind::PRIO_INHERIT) != 0)
        && count <= COUNT
        && users <= threads
        && (owner == 0 || owner == INCONSISTENT || owner == lock & TID_MASK)
}

/// Whether the word is the writer of a glibc read-write lock.
fn glibc_rwlock(shared: u32, around: &mut impl FnMut(isize) -> Option<u64>) -> Option<()> {
    /// Both phases: held for writing.
    const WRITING: u32 = 3;
    let (readers, writers) = halves(around(-24)?);
    let (phase, futex) = halves(around(-16)?);
    let held = shared <= 1 && readers & WRITING == WRITING && writers < 1 << 16 && phase <= 3 && futex <= 3;
    (held && around(-8)? == 0 && around(8)? == 0 && around(16)? == 0 && around(24)? as u32 <= 3).then_some(())
}

/// Whether the upper half of the word is the lock of a musl mutex that names its owner.
fn musl_mutex(kind: u32, around: &mut impl FnMut(isize) -> Option<u64>) -> Option<()> {
    const KNOWN: u32 = 0x8f;
    let waiters = around(8)? as u32;
    let (_, count) = halves(around(16)?);
    let is_address = |word: u64| word != 0 && word.is_multiple_of(8) && word < 1 << 47;
    let plausible = matches!(kind & 3, 1 | 2) && kind & !KNOWN == 0 && waiters < 1 << 16 && count < 1 << 20;
    (plausible && is_address(around(24)?) && is_address(around(32)?)).then_some(())
}

/// Whether a word is the mode (lower half) and the lock (upper half) of a stream of musl's, `struct _IO_FILE` in src/internal/stdio_impl.h. `around` tells the
/// words at an offset from it.
pub fn is_stream(mode: u32, mut around: impl FnMut(isize) -> Option<u64>) -> bool {
    const UNBUFFERED: u64 = 0xffff_ffff;
    let [Some(next), Some(file), Some(locks), Some(ends)] = [-24, -16, -8, 8].map(&mut around) else {
        return false;
    };
    let (fd, child) = halves(file);
    matches!(mode as i32, -1..=1)
        && next.is_multiple_of(8)
        && next < 1 << 47
        && (-1..1 << 20).contains(&(fd as i32))
        && child <= 1 << 22
        && locks <= u64::from(COUNT)
        && matches!(ends, UNBUFFERED | 10)
}

/// Where in an aligned word of eight bytes of glibc's data the id of its thread for timers stands: `__timer_helper_tid` beside `__timer_helper_once`
/// (sysdeps/unix/sysv/linux/timer_routines.c), in the order that the compiler chose.
pub fn timer_thread(word: u64, tid: u32) -> Option<u64> {
    /// A `pthread_once_t` of something that was done.
    const DONE: u32 = 2;
    match halves(word) {
        (first, DONE) if first == tid => Some(0),
        (DONE, second) if second == tid => Some(4),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{ProptestConfig, Strategy};
    use std::vec::Vec;

    const TID: u32 = 28_252;

    fn found_in(words: &[u32]) -> Vec<(usize, u32)> {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let mut all = Vec::new();
        let ids = [TID, TID + 5];
        find(
            &bytes,
            Ids::new(&ids).unwrap().with_streams(true),
            |_| None,
            |at, thread| all.push((at, thread)),
        );
        all
    }

    /// A block of zeros with words at a place.
    fn at(place: usize, words: &[u32]) -> Vec<u32> {
        let mut all = std::vec![0; 64];
        all[place..place + words.len()].copy_from_slice(words);
        all
    }

    /// glibc's arenas begin at multiples of 64 MiB, so that the lower halves of pointers into them may be any small number.
    #[test]
    fn pointers_whose_lower_halves_are_ids_are_no_lock() {
        const HIGH: u32 = 0x7f6e;
        assert_eq!(found_in(&at(8, &[TID, 0, 0, 0, 0x30])), [(32, 0)]);
        assert_eq!(found_in(&at(8, &[TID, HIGH, 0, 0, 0x30])), []);
        assert_eq!(found_in(&at(8, &[TID, 0, 0, 0, 0x30, HIGH])), []);
        assert_eq!(found_in(&at(8, &[TID, HIGH, 0, 0, 0x30, HIGH])), []);
    }

    proptest::proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 256 }))]

        /// Words near the ids, in blocks of others: both ways see the same blocks.
        #[test]
        fn both_ways_see_the_same_blocks(
            words in proptest::collection::vec(
                proptest::prop_oneof![0u32..9, TID - 3..TID + 9, (TID - 3..TID + 9).prop_map(|id| id | 3 << 30), proptest::num::u32::ANY],
                0..if cfg!(miri) { 60 } else { 200 },
            ),
            span in 0u32..6,
        ) {
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            let known = [TID, TID + span];
            let ids = Ids::new(&known).unwrap();
            let (blocks, _) = bytes.as_chunks::<64>();
            let expected: Vec<usize> = (0..blocks.len()).filter(|at| may_have(&blocks[*at], ids)).collect();
            let mut rest = blocks.iter().enumerate();
            let seen: Vec<usize> = core::iter::from_fn(|| candidate(&mut rest, ids)).map(|(at, _)| at).collect();
            proptest::prop_assert_eq!(&seen, &expected);
            let near = |word: &u32| (word & TID_MASK).wrapping_sub(TID) <= span;
            let naive: Vec<usize> = words.chunks_exact(16).enumerate().filter(|(_, b)| b.iter().any(near)).map(|(at, _)| at).collect();
            proptest::prop_assert_eq!(seen, naive);
        }
    }

    #[test]
    fn held_glibc_mutexes_that_look_at_their_owner_are_found() {
        assert_eq!(found_in(&at(8, &[1, 2, TID, 1, 1])), [(40, 0)], "recursive, locked twice");
        assert_eq!(found_in(&at(18, &[2, 0, TID + 5, 1, 2])), [(80, 1)], "error-checking, with waiters");
        assert_eq!(
            found_in(&at(8, &[TID | 1 << 31, 0, TID, 1, 16])),
            [(32, 0), (40, 0)],
            "robust, with waiters"
        );
        assert_eq!(found_in(&at(8, &[TID, 0, TID, 1, 32])), [(32, 0), (40, 0)], "priority-inheriting");
        assert_eq!(found_in(&at(8, &[2, 0, TID, 2, 2])), [(40, 0)], "one waits for a condition with it");
        assert_eq!(found_in(&at(8, &[1, 0, TID, 0, 2])), [(40, 0)], "not among the users yet");
        assert_eq!(found_in(&at(8, &[TID, 0, 0, 0, 16])), [(32, 0)], "robust, not the owner yet");
        assert_eq!(
            found_in(&at(8, &[TID, 1, 0x7fff_ffff, 0, 16, 0, 0x1000, 1, 0x2000, 1])),
            [(32, 0)],
            "robust, inconsistent"
        );
    }

    #[test]
    fn what_is_no_held_lock_is_not() {
        assert_eq!(found_in(&at(8, &[1, 0, TID, 1, 0])), [], "normal: does not look");
        assert_eq!(found_in(&at(8, &[0, 0, TID, 1, 1])), [], "not locked");
        assert_eq!(found_in(&at(8, &[1, 1, TID, 3, 1])), [], "more users than threads");
        assert_eq!(found_in(&at(8, &[TID, 0, 7, 1, 16])), [], "robust, of another");
        assert_eq!(found_in(&at(8, &[TID, 0, 0, 0, 0])), [], "no mutex that follows ids");
        assert_eq!(found_in(&at(8, &[1, 1, TID + 1, 1, 1])), [], "another's id in the range");
        assert_eq!(found_in(&at(8, &[1, 1, TID, 1, 1, 0, 9])), [], "something where the list would be");
        assert_eq!(found_in(&std::vec![TID; 64]), [], "ids without end");
    }

    #[test]
    fn a_read_write_lock_held_for_writing_is_found() {
        assert_eq!(found_in(&at(8, &[3, 0, 1, 1, 0, 0, TID, 0])), [(56, 0)]);
        assert_eq!(found_in(&at(8, &[8, 0, 1, 1, 0, 0, TID, 0])), [], "held for reading");
    }

    #[test]
    fn a_held_musl_mutex_is_found() {
        assert_eq!(found_in(&at(8, &[1, TID, 0, 0, 0, 1, 0x1000, 1, 0x2000, 1])), [(36, 0)], "recursive");
        assert_eq!(
            found_in(&at(8, &[1, TID | 1 << 31, 3, 0, 0, 1, 0x1000, 1, 0x2000, 1])),
            [(36, 0)],
            "with waiters"
        );
        assert_eq!(found_in(&at(8, &[0, TID, 0, 0, 0, 1, 0x1000, 1, 0x2000, 1])), [], "normal");
    }

    #[test]
    fn a_stream_of_musl_that_is_locked_is_found() {
        assert_eq!(found_in(&at(8, &[0x1000, 1, 3, 0, 1, 0, 0, TID, u32::MAX, 0])), [(60, 0)], "buffered");
        assert_eq!(
            found_in(&at(8, &[0x1000, 1, 1, 0, 1, 0, u32::MAX, TID | 1 << 30, 10, 0])),
            [(60, 0)],
            "by lines, with waiters"
        );
        assert_eq!(found_in(&at(8, &[0x1000, 1, 3, 0, 1, 0, 0, TID, 0, 0])), [], "no end of lines");
        let bytes: Vec<u8> = at(8, &[0x1000, 1, 3, 0, 1, 0, 0, TID, u32::MAX, 0])
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect();
        find(&bytes, Ids::new(&[TID]).unwrap(), |_| None, |_, _| panic!("glibc has no such streams"));
    }

    #[test]
    fn a_lock_across_an_edge_is_asked_for() {
        let mut words = std::vec![0u32; 16];
        words[0] = TID;
        words[1] = 1;
        words[2] = 1;
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let mut all = Vec::new();
        let ids = [TID];
        let before = |at: isize| (at == -8).then_some(1 | 1 << 32);
        find(&bytes, Ids::new(&ids).unwrap(), before, |at, thread| all.push((at, thread)));
        assert_eq!(all, [(0, 0)]);
    }

    #[test]
    fn the_id_of_the_thread_for_timers_stands_beside_what_says_that_it_was_started() {
        let word = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
        assert_eq!(timer_thread(word(TID, 2), TID), Some(0));
        assert_eq!(timer_thread(word(2, TID), TID), Some(4));
        for other in [word(TID, 0), word(TID + 1, 2), word(1, TID), word(TID, 1)] {
            assert_eq!(timer_thread(other, TID), None);
        }
    }
}
