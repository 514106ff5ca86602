//! A short soak; `make soak` runs longer ones.

use harness::killed::{VICTIMS, Victim};
use harness::soak::{Random, SUBJECTS, Subject};

/// Forty random moments of each program.
#[test]
fn random_moments() {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    // One after the other: all of them are busy, and would take the CPUs away from each other's saves.
    for name in SUBJECTS {
        moments_of(name, 40, &mut random);
    }
}

/// So many random moments of one program.
#[track_caller]
fn moments_of(name: &'static str, pairs: usize, random: &mut Random) {
    let mut subject = Subject::start(name);
    for _ in 0..pairs {
        subject.pair(random);
    }
    subject.end();
}

/// Threads go on for a while after the save has begun: what they change until they stop is in the image.
#[test]
fn threads_that_change_what_the_process_shares() {
    moments_of("shares", 40, &mut Random(0x6a09_e667_f3bc_c908));
}

/// libcs unwind the stack of a thread that is cancelled, also from where libckpt makes its call go on.
#[test]
fn threads_that_are_cancelled() {
    moments_of("cancels", 150, &mut Random(0x6a09_e667_f3bc_c908));
}

/// Some kills of each program while it is saved.
#[test]
fn sigkill_at_random_times_leaves_a_whole_image() {
    let mut random = Random(0x1234_5678_9abc_def1);
    for victim in VICTIMS {
        let mut victim = Victim::start(victim);
        for _ in 0..8 {
            victim.strike(&mut random);
        }
        let name = victim.name;
        println!("{name}: {}", victim.end());
    }
}
