//! `make soak`: saves and restarts programs at random moments for as many seconds as asked, in turn, and counts the pairs.

use harness::soak::{Random, SUBJECTS, Subject};
use std::time::{Duration, Instant};

fn main() {
    let mut args = std::env::args().skip(1);
    let seconds: u64 = args.next().map_or(60, |text| text.parse().expect("usage: soak [SECONDS] [SEED]"));
    let seed: u64 =
        args.next().map_or(0x9e37_79b9_7f4a_7c15, |text| text.parse().expect("usage: soak [SECONDS] [SEED]"));
    let mut random = Random(seed.max(1));
    let start = Instant::now();
    let mut subjects: Vec<Subject> = SUBJECTS.map(Subject::start).into();
    let mut told = 0;
    while start.elapsed() < Duration::from_secs(seconds) {
        let which = random.below(subjects.len() as u64) as usize;
        subjects[which].pair(&mut random);
        let pairs: usize = subjects.iter().map(|subject| subject.pairs).sum();
        if pairs >= told + 500 {
            told = pairs;
            println!("{pairs} pairs in {} s", start.elapsed().as_secs());
        }
    }
    let mut total = 0;
    for subject in subjects {
        let (name, pairs) = subject.end();
        println!("{name:<10} {pairs:>6} pairs of a save and a restart, nothing wrong");
        total += pairs;
    }
    println!("{total} pairs in {} s", start.elapsed().as_secs());
}
