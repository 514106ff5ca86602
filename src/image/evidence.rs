//! A bounded search for signs that a process knows the ids of its threads: locks that name their owner, and words that have the value of an id.
//!
//! Whatever is found is evidence and no more: nobody writes there. So the search may end at the first few finds, and may take something else for a lock. The layouts of locks are
//! ABI, because programs allocate locks themselves:
//!
//! | lock | bytes around the word |
//! | --- | --- |
//! | glibc `pthread_mutex_t` | lock 4, count 4, **owner 4**, users 4, kind 4, spins 2, elision 2, list 16 |
//! | glibc `pthread_rwlock_t` | readers 4, writers 4, two futexes 8, zero 8, **writer 4**, shared 4, zero 16, flags 4 |
//! | musl `pthread_mutex_t` | type 4, **lock 4**, waiters 4, pad 8, count 4, list 16 |
//! | musl `FILE` | next 8, descriptor 4, child 4, lock count 8, mode 4, **lock 4**, end of line 4, zero 4, cookie 8 |
//!
//! Only recursive, error-checking, robust and priority-inheriting mutexes look at their owner; the others are no evidence.

use crate::cpu;
use crate::format::evidence_kind;

/// The low bits of a futex word that hold a thread id (`FUTEX_TID_MASK`, include/uapi/linux/futex.h).
pub const TID_MASK: u32 = 0x3fff_ffff;

/// The ids that are looked for.
#[derive(Clone, Copy, Debug)]
pub struct Ids<'a> {
    by_index: &'a [u32],
    first: u32,
    span: u32,
}

impl<'a> Ids<'a> {
    /// The ids of all threads by index. `None` when there is none.
    pub fn new(ids: &'a [u32]) -> Option<Self> {
        let (first, last) = (*ids.iter().min()?, *ids.iter().max()?);
        Some(Self { by_index: ids, first, span: last - first })
    }

    /// The index of the thread with an id.
    pub fn thread(&self, id: u32) -> Option<u32> {
        if !self.may_be(id) {
            return None;
        }
        self.by_index.iter().position(|known| *known == id).map(|index| index as u32)
    }

    /// Whether a number is between the lowest and the highest id.
    #[inline(always)]
    fn may_be(&self, id: u32) -> bool {
        id.wrapping_sub(self.first) <= self.span
    }
}

/// What is to be looked for, and how much of it may be looked at.
#[derive(Clone, Debug)]
pub struct Search<'a> {
    ids: Ids<'a>,
    is_musl: bool,
    /// Whether words that have the value of an id are wanted.
    pub words: bool,
    /// Whether locks are wanted.
    pub locks: bool,
    /// What the search may still cost, whatever the memory holds: examining a block word by word costs [`EXAMINED`], at the edge of a piece 1.
    budget: u32,
}

/// 32-bit words in memory.
type Word = [u8; 4];
/// Words of a block.
const BLOCK: usize = 64;
/// What it costs to examine a block that seems to hold something. It takes about 100 ns, as it does at the edge of a piece; but of edges there are few beside what
/// it takes to write the pieces.
const EXAMINED: u32 = 8;
/// What a search may cost: 16,384 blocks, so about 2 ms.
const BUDGET: u32 = EXAMINED * 16 * 1024;
/// Words before a block, and behind it, that its words are compared with.
const BEFORE: usize = 6;
const BEHIND: usize = 8;

fn value(word: Word) -> u32 {
    u32::from_le_bytes(word)
}

impl<'a> Search<'a> {
    /// A search for words and locks, with the layouts of one libc.
    pub fn new(ids: Ids<'a>, is_musl: bool) -> Self {
        Self { ids, is_musl, words: true, locks: true, budget: BUDGET }
    }

    /// Whether the search is over.
    pub fn is_over(&self) -> bool {
        self.budget == 0 || !(self.words || self.locks)
    }

    /// Tells `found` the offset in `bytes` of each word that is evidence, the index of the thread and the [`evidence_kind`], until it says that it wants no more of that kind.
    /// `bytes` begins at a multiple of 4. A lock that is not wholly inside is asked for with `beyond`: the word at an offset, which may be negative or behind the end.
    pub fn look(
        &mut self,
        bytes: &[u8],
        mut beyond: impl FnMut(isize) -> Option<u32>,
        mut found: impl FnMut(usize, u32, u32) -> bool,
    ) {
        let (words, _) = bytes.as_chunks::<4>();
        let mut from = 0;
        while let Some(start) = self.candidate(words, from).filter(|_| !self.is_over()) {
            let block = words.get(start..).unwrap_or_default();
            let is_edge = start < BEFORE || start + BLOCK + BEHIND > words.len();
            self.budget = self.budget.saturating_sub(if is_edge { 1 } else { EXAMINED });
            for (at, word) in block.iter().take(BLOCK).enumerate() {
                let offset = (start + at) * 4;
                let around = |delta: isize| {
                    let inside =
                        offset.checked_add_signed(delta).and_then(|place| bytes.get(place..)?.first_chunk());
                    inside.copied().map(value).or_else(|| beyond(offset as isize + delta))
                };
                let word = value(*word);
                if !self.ids.may_be(word & TID_MASK) {
                    continue;
                }
                if self.words
                    && let Some(thread) = self.ids.thread(word)
                {
                    self.words = found(offset, thread, evidence_kind::WORD);
                }
                if self.locks
                    && self.is_lock(word, around)
                    && let Some(thread) = self.ids.thread(word & TID_MASK)
                {
                    self.locks = found(offset, thread, evidence_kind::LOCK);
                }
            }
            if self.budget == 0 && (self.words || self.locks) {
                found(start * 4, 0, evidence_kind::UNSEEN);
            }
            from = start + BLOCK;
        }
    }

    fn is_lock(&self, word: u32, around: impl FnMut(isize) -> Option<u32>) -> bool {
        Lock { ids: self.ids, around }.is_held(word, self.is_musl)
    }

    /// The first word of the next block, from word `from` on, that is worth a look at each of its words. Nearly all blocks are passed over here.
    fn candidate(&self, words: &[Word], from: usize) -> Option<usize> {
        if cpu::has(cpu::AVX2) {
            // SAFETY: the CPU has AVX2 and the kernel saves its registers.
            unsafe { self.candidate_avx2(words, from) }
        } else {
            self.candidate_anywhere(words, from)
        }
    }

    #[target_feature(enable = "avx2")]
    fn candidate_avx2(&self, words: &[Word], from: usize) -> Option<usize> {
        self.candidate_anywhere(words, from)
    }

    /// Written so that the compiler makes vector instructions of it, whichever there are.
    #[inline(always)]
    fn candidate_anywhere(&self, words: &[Word], from: usize) -> Option<usize> {
        let mut start = from;
        while start < words.len() {
            let may_be = match words.get(start..).and_then(<[Word]>::first_chunk::<BLOCK>) {
                Some(block) => self.may_have_id(block) && (self.words || self.may_have_lock(words, start)),
                // The last words, fewer than a block.
                None => true,
            };
            if may_be {
                return Some(start);
            }
            start += BLOCK;
        }
        None
    }

    #[inline(always)]
    fn may_have_id(&self, block: &[Word; BLOCK]) -> bool {
        let any = block.iter().fold(0, |any, word| any | u32::from(self.ids.may_be(value(*word) & TID_MASK)));
        any != 0
    }

    /// Whether a word of the block may be in a lock: a part of what [`Lock`] asks. True at the edges, which have to be looked at word by word.
    #[inline(always)]
    fn may_have_lock(&self, words: &[Word], start: usize) -> bool {
        const WINDOW: usize = BEFORE + BLOCK + BEHIND;
        let window = start.checked_sub(BEFORE).and_then(|first| words.get(first..));
        let Some(window) = window.and_then(<[Word]>::first_chunk::<WINDOW>) else { return true };
        // The words at a distance from those of the block.
        let at = |distance: usize| {
            window.get(distance..).and_then(<[Word]>::first_chunk::<BLOCK>).unwrap_or(&[[0; 4]; BLOCK])
        };
        let mut any = 0;
        if self.is_musl {
            let parts = at(5).iter().zip(at(6)).zip(at(7)).zip(at(8)).zip(at(12));
            for ((((before, word), behind), second), sixth) in parts {
                let [before, word, behind, second, sixth] =
                    [before, word, behind, second, sixth].map(|word| value(*word));
                let is_mutex = before <= 0x8f && sixth < 1 << 15;
                let is_stream = (behind == 10 || behind == u32::MAX) && second == 0;
                any |= u32::from(self.ids.may_be(word & TID_MASK)) & u32::from(is_mutex || is_stream);
            }
        } else {
            let parts = at(0).iter().zip(at(4)).zip(at(6)).zip(at(8)).zip(at(9)).zip(at(10));
            for (((((first, lock), word), kind), spins), list) in parts {
                let [first, lock, word, kind, spins, list] =
                    [first, lock, word, kind, spins, list].map(|word| value(*word));
                let is_plain = lock.wrapping_sub(1) <= 1 && list == 0;
                let is_special = lock & TID_MASK == word && kind & (kind::ROBUST | kind::PRIO_INHERIT) != 0;
                let is_mutex = kind <= kind::KNOWN && spins == 0 && (is_plain || is_special);
                let is_rwlock = lock == 0 && first & 3 == 3;
                any |= u32::from(self.ids.may_be(word)) & u32::from(is_mutex || is_rwlock);
            }
        }
        any != 0
    }
}

/// Kinds of glibc's mutexes.
mod kind {
    pub const RECURSIVE: u32 = 1;
    pub const ERRORCHECK: u32 = 2;
    pub const ROBUST: u32 = 16;
    pub const PRIO_INHERIT: u32 = 32;
    pub const KNOWN: u32 = 0x3ff;
}

/// How often a mutex is locked, at most: less than the upper half of any address of a program.
const COUNT: u32 = 1 << 14;

/// What is around a word that has the value of an id.
struct Lock<'a, F> {
    ids: Ids<'a>,
    /// The word at a distance in bytes.
    around: F,
}

impl<F: FnMut(isize) -> Option<u32>> Lock<'_, F> {
    /// Whether the word names the owner of a lock that is held.
    fn is_held(&mut self, word: u32, is_musl: bool) -> bool {
        if is_musl {
            return self.is_musl_mutex() == Some(true) || self.is_stream() == Some(true);
        }
        word & !TID_MASK == 0
            && (self.is_glibc_mutex(word) == Some(true) || self.is_glibc_rwlock() == Some(true))
    }

    /// The words at some distances.
    fn words<const N: usize>(&mut self, at: [isize; N]) -> Option<[u32; N]> {
        let mut all = [0; N];
        for (word, at) in all.iter_mut().zip(at) {
            *word = (self.around)(at)?;
        }
        Some(all)
    }

    /// Whether the word is the owner of a glibc mutex that looks at it. A thread writes it before it counts itself among the users, who are that thread and those that
    /// wait for a condition with the mutex.
    fn is_glibc_mutex(&mut self, owner: u32) -> Option<bool> {
        let [lock, count, users, kind, spins] = self.words([-8, -4, 4, 8, 12])?;
        let threads = self.ids.by_index.len() as u32;
        if users > threads || count > COUNT || kind & !kind::KNOWN != 0 || spins != 0 {
            return Some(false);
        }
        if kind & (kind::ROBUST | kind::PRIO_INHERIT) != 0 {
            return Some(lock & TID_MASK == owner);
        }
        let looks = match kind & 3 {
            kind::RECURSIVE => count >= 1,
            kind::ERRORCHECK => count == 0,
            _ => false,
        };
        Some(looks && matches!(lock, 1 | 2) && self.words([16, 20, 24, 28])? == [0; 4])
    }

    /// Whether the word is the writer of a glibc read-write lock.
    fn is_glibc_rwlock(&mut self) -> Option<bool> {
        /// Both phases: held for writing.
        const WRITING: u32 = 3;
        let [readers, writers, phase, futex, shared, flags] = self.words([-24, -20, -16, -12, 4, 24])?;
        let is_held = readers & WRITING == WRITING && writers < 1 << 16 && phase <= 3 && futex <= 3;
        let is_lock = is_held && shared <= 1 && flags <= 3;
        Some(is_lock && self.words([-8, -4, 8, 12, 16, 20])? == [0; 6])
    }

    /// Whether the word is the lock of a musl mutex that names its owner.
    fn is_musl_mutex(&mut self) -> Option<bool> {
        const KNOWN: u32 = 0x8f;
        let [kind, waiters, count] = self.words([-4, 4, 16])?;
        let is_mutex =
            matches!(kind & 3, 1 | 2) && kind & !KNOWN == 0 && waiters < 1 << 16 && count < 1 << 20;
        Some(is_mutex && self.is_address(20)? && self.is_address(28)?)
    }

    /// Whether the word is the lock of a stream of musl's, `struct _IO_FILE` in src/internal/stdio_impl.h.
    fn is_stream(&mut self) -> Option<bool> {
        const UNBUFFERED: u32 = u32::MAX;
        let [mode, fd, child, locks, zero, ends, zero_too] = self.words([-4, -20, -16, -12, -8, 4, 8])?;
        let is_stream = matches!(mode as i32, -1..=1)
            && (-1..1 << 20).contains(&(fd as i32))
            && child <= 1 << 22
            && locks <= COUNT
            && [zero, zero_too] == [0; 2]
            && matches!(ends, UNBUFFERED | 10);
        Some(is_stream && (self.is_address(-28)? || self.words([-28, -24])? == [0; 2]))
    }

    /// Whether two words are what could be an address of the process, of something with pointers in it.
    fn is_address(&mut self, at: isize) -> Option<bool> {
        let [low, high] = self.words([at, at + 4])?;
        Some(low.is_multiple_of(8) && high < 1 << 15 && (high != 0 || low >= 1 << 16))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{ProptestConfig, Strategy};
    use std::vec::Vec;

    const ID: u32 = 28_252;
    const IDS: [u32; 2] = [ID, ID + 5];
    /// Index of the first word of a lock in the memory that is looked at: in the middle, at its edges, and at no multiple of 8.
    const PLACES: [usize; 6] = [0, 1, 61, 200, 383, 386];

    /// Offsets, in words, threads and kinds of what is found; a search for locks wants all of them.
    fn found_in(words: &[u32], ids: &[u32], is_musl: bool, locks: bool) -> Vec<(usize, u32, u32)> {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let mut search = Search::new(Ids::new(ids).unwrap(), is_musl);
        (search.locks, search.words) = (locks, !locks);
        let mut all = Vec::new();
        search.look(
            &bytes,
            |_| None,
            |at, thread, kind| {
                all.push((at / 4, thread, kind));
                kind == evidence_kind::LOCK
            },
        );
        all
    }

    /// Where the lock of `words`, whose word with the id is the one with number `owner`, is found among other memory: everywhere or nowhere.
    fn is_lock(words: &[u32], owner: usize, is_musl: bool) -> bool {
        let found = PLACES.map(|place| {
            let mut all = std::vec![0; 400];
            all[place..place + words.len()].copy_from_slice(words);
            found_in(&all, &IDS, is_musl, true) == [(place + owner, 0, evidence_kind::LOCK)]
        });
        assert!(found.iter().all(|one| *one == found[0]), "{words:?}: {found:?}");
        found[0]
    }

    #[test]
    fn locks_of_glibc_that_look_at_their_owner() {
        let mutex =
            |lock, count, users, kind| is_lock(&[lock, count, ID, users, kind, 0, 0, 0, 0, 0], 2, false);
        const WAITERS: u32 = 1 << 31;
        assert!(mutex(1, 1, 1, 1) && mutex(2, 3, 1, 1), "recursive");
        assert!(mutex(1, 0, 0, 2), "error-checking, before its owner is a user");
        assert!(
            mutex(ID, 0, 1, 16) && mutex(ID | WAITERS, 1, 1, 49) && mutex(ID, 0, 1, 128 | 32),
            "robust, inheriting"
        );
        assert!(!mutex(1, 0, 1, 0), "one that does not look");
        assert!(!mutex(0, 1, 1, 1) && !mutex(7, 1, 1, 1), "not locked");
        assert!(!mutex(1, 1, 3, 1), "more users than threads");
        assert!(!mutex(ID + 1, 0, 1, 16), "of somebody else");
        let rwlock = |readers, zero, shared| {
            is_lock(&[readers, 0, 1, 1, 0, zero, ID, shared, 0, 0, 0, 0, 0, 0], 6, false)
        };
        assert!(rwlock(3, 0, 0) && rwlock(11, 0, 1));
        assert!(!rwlock(2, 0, 0) && !rwlock(3, 1, 0) && !rwlock(3, 0, 2));
    }

    #[test]
    fn locks_of_musl_that_name_their_owner() {
        const LIST: [u32; 2] = [0x1000, 0x7f6e];
        let mutex = |kind, lock, list: [u32; 2]| {
            is_lock(&[kind, lock, 0, 0, 0, 0, list[0], list[1], list[0], list[1]], 1, true)
        };
        assert!(mutex(1, ID, LIST) && mutex(0x82, ID, LIST) && mutex(4 | 2, ID | 1 << 31, LIST));
        assert!(!mutex(0, ID, LIST) && !mutex(1, ID, [0, 0]) && !mutex(1, ID, [3, 0x7f6e]));
        let stream = |fd: i32, lock, end| {
            is_lock(&[0, 0, fd as u32, 0, 0, 0, -1_i32 as u32, lock, end, 0, 0, 0], 7, true)
        };
        assert!(stream(1, ID, u32::MAX) && stream(-1, ID | 1 << 30, 10));
        assert!(!stream(1, ID, 11) && !stream(-2, ID, 10));
    }

    /// glibc's arenas begin at multiples of 64 MiB, so that the lower halves of pointers into them may be any small number.
    #[test]
    fn pointers_whose_lower_halves_are_ids_are_no_lock() {
        const HIGH: u32 = 0x7f6e;
        for (users, spins) in [(HIGH, 0), (0, HIGH), (HIGH, HIGH)] {
            assert!(!is_lock(&[ID, 0, ID, users, 0x30, spins, 0, 0, 0, 0], 2, false));
        }
    }

    #[test]
    fn a_word_is_found_wherever_it_is() {
        for place in [0, 1, 63, 64, 130, 257] {
            let mut words = [7; 258];
            words[place] = ID + 5;
            assert_eq!(found_in(&words, &IDS, false, false), [(place, 1, evidence_kind::WORD)]);
            words[place] |= 1 << 31;
            assert_eq!(found_in(&words, &IDS, false, false), []);
        }
    }

    /// Memory that is full of what the search looks for at first sight, and of nothing else.
    #[test]
    fn a_search_ends_at_its_bound_and_says_so() {
        // A mutex with more users than there are threads, over and over.
        let words: Vec<u32> = [1, 1, ID, 9, 1, 0, 0, 0].into_iter().cycle().take(64 * 64).collect();
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let mut search = Search::new(Ids::new(&IDS).unwrap(), false);
        search.words = false;
        search.budget = 20 * EXAMINED;
        let mut ends = Vec::new();
        for _ in 0..3 {
            search.look(
                &bytes,
                |_| None,
                |_, _, kind| {
                    ends.push(kind);
                    true
                },
            );
        }
        assert_eq!(ends, [evidence_kind::UNSEEN]);
        assert!(search.is_over());
    }

    #[test]
    fn plain_numbers_are_no_locks_and_cost_little() {
        let number = |i: u32| (i.wrapping_mul(2_654_435_761) >> 7) % 100;
        let count = if cfg!(miri) { 2000 } else { 1 << 20 };
        let narrow: Vec<u32> = (0..count).map(number).collect();
        let wide: Vec<u32> = (0..count).map(|i| if i % 2 == 0 { number(i) } else { 0 }).collect();
        for words in [narrow, wide] {
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            let ids: Vec<u32> = (7..16).collect();
            let mut search = Search::new(Ids::new(&ids).unwrap(), false);
            let mut seen = Vec::new();
            search.look(
                &bytes,
                |_| None,
                |_, _, kind| {
                    seen.push(kind);
                    false
                },
            );
            assert_eq!(seen, [evidence_kind::WORD]);
            assert!(search.budget > BUDGET / 2, "{}", search.budget);
        }
    }

    proptest::proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 256 }))]

        /// Words near the ids and in locks, among others: what is passed over has nothing, whichever instructions do it.
        #[test]
        fn nothing_is_passed_over(
            words in proptest::collection::vec(
                proptest::prop_oneof![0u32..4, 0u32..9, ID..ID + 2, (ID..ID + 2).prop_map(|id| id | 3 << 30), 16u32..64, proptest::num::u32::ANY],
                0..if cfg!(miri) { 90 } else { 400 },
            ),
            is_musl in proptest::bool::ANY,
        ) {
            let search = Search::new(Ids::new(&IDS).unwrap(), is_musl);
            let memory: Vec<Word> = words.iter().map(|word| word.to_le_bytes()).collect();
            let around = |at: usize| {
                let words = &words;
                move |delta: isize| words.get(at.checked_add_signed(delta / 4)?).copied()
            };
            let expected: Vec<usize> = (0..words.len()).filter(|at| {
                search.ids.thread(words[*at] & TID_MASK).is_some() && search.is_lock(words[*at], around(*at))
            }).collect();
            let found: Vec<usize> = found_in(&words, &IDS, is_musl, true).iter().map(|(at, ..)| *at).collect();
            proptest::prop_assert_eq!(found, expected);
            let only_locks = Search { words: false, ..search };
            let start = words.len() / 3;
            proptest::prop_assert_eq!(
                only_locks.candidate(&memory, start),
                only_locks.candidate_anywhere(&memory, start)
            );
        }
    }
}
