//! Threads of Rust: rayon's pool, scoped threads, channels, locks, parked threads, thread-local data, short-lived threads.

use rayon::prelude::*;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, RwLock, mpsc};
use std::thread;
use std::time::Duration;

thread_local!(static MINE: Cell<u64> = const { Cell::new(0) });

fn mix(start: u64, rounds: u32) -> u64 {
    (0..rounds)
        .fold(start, |x, _| x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407))
}

fn main() {
    const STEPS: u64 = 240;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(4).build().unwrap();
    let ledger = Arc::new(RwLock::new(BTreeMap::<u64, u64>::new()));
    let turns = Arc::new((Mutex::new(0u64), Condvar::new()));

    // A thread that answers, one that is parked, and one that counts on its own.
    let (questions, asked) = mpsc::channel::<u64>();
    let (answers, answered) = mpsc::sync_channel::<u64>(1);
    let teller = thread::spawn(move || {
        for question in asked {
            MINE.set(MINE.get() + question % 7);
            answers.send(mix(question, 3000) ^ MINE.get()).unwrap();
        }
    });
    let wakes = Arc::new(AtomicU64::new(0));
    let sleeper = thread::spawn({
        let wakes = wakes.clone();
        move || {
            while wakes.load(Ordering::Acquire) < STEPS {
                thread::park();
            }
        }
    });
    let counter = thread::spawn({
        let turns = turns.clone();
        move || {
            let (count, changed) = &*turns;
            let mut count = count.lock().unwrap();
            while *count < STEPS {
                count = changed.wait_timeout(count, Duration::from_millis(3)).unwrap().0;
            }
            *count
        }
    });

    let mut hash = 1u64;
    for step in 0..STEPS {
        // The harness holds the program here until it has saved it often enough.
        while step == STEPS * 3 / 4 && !Path::new("go").exists() {
            thread::sleep(Duration::from_millis(10));
        }
        let numbers: Vec<u64> =
            pool.install(|| (0..64).into_par_iter().map(|i| mix(hash ^ i, 600)).collect());
        let sum = pool.install(|| numbers.par_iter().copied().reduce(|| 0, u64::wrapping_add));
        let mut sorted = numbers.clone();
        pool.install(|| sorted.par_sort_unstable());
        thread::scope(|scope| {
            for part in sorted.chunks(16) {
                let ledger = &ledger;
                scope.spawn(move || {
                    for amount in part {
                        *ledger.write().unwrap().entry(amount % 97).or_default() ^= amount;
                    }
                });
            }
        });
        let passing =
            thread::spawn(move || if step % 3 == 0 { Err("a third") } else { Ok(step) }).join().unwrap();
        questions.send(sum).unwrap();
        hash = mix(hash ^ answered.recv().unwrap() ^ passing.unwrap_or(42), 1);
        hash = ledger.read().unwrap().iter().fold(hash, |hash, (key, amount)| mix(hash ^ key ^ amount, 1));
        *turns.0.lock().unwrap() += 1;
        turns.1.notify_all();
        wakes.fetch_add(1, Ordering::Release);
        sleeper.thread().unpark();
        println!("{step} {hash:016x} {sum:016x}");
    }
    drop(questions);
    teller.join().unwrap();
    sleeper.join().unwrap();
    println!("{}", counter.join().unwrap());
}
