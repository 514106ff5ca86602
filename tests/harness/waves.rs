//! What the victim `waves` tells of itself in the control page: how often each of its threads has gone through all of its memory and found it right.

use crate::{Place, Process};
use std::fs::File;
use std::os::unix::fs::FileExt;

/// The word that lets it fork.
pub const FORK: u64 = 4;
/// The word that lets it become another program.
pub const EXEC: u64 = 5;

/// Threads, at most.
const THREADS: usize = 3;

/// The passes of a thread so far.
pub fn passes(place: &Place, thread: usize) -> u64 {
    let mut word = [0; 8];
    let control = File::open(place.file("control")).unwrap();
    control.read_exact_at(&mut word, 8 * (1 + thread as u64)).unwrap();
    u64::from_ne_bytes(word)
}

/// Forgets what an earlier process told.
pub fn forget(place: &Place) {
    (1..=THREADS as u64).for_each(|word| set(place, word, 0));
}

/// Sets a word of the control page.
pub fn set(place: &Place, word: u64, value: u64) {
    let control = File::options().write(true).open(place.file("control")).unwrap();
    control.write_all_at(&value.to_ne_bytes(), 8 * word).unwrap();
}

/// Waits until each of so many threads has looked at all of its memory.
#[track_caller]
pub fn go_on(process: &mut Process, threads: usize) {
    threads_go_on(process, 0..threads);
}

/// [`go_on`] of some of the threads.
#[track_caller]
pub fn threads_go_on(process: &mut Process, threads: impl IntoIterator<Item = usize>) {
    let place = process.place.clone();
    for thread in threads {
        let mut since = None;
        process.until("two more passes", |_| {
            let now = passes(&place, thread);
            since = since.or(Some(now).filter(|now| *now > 0));
            since.is_some_and(|since| now >= since + 2)
        });
    }
}
