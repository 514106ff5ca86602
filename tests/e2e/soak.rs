//! A short soak; `make soak` runs longer ones.

use harness::soak::{Random, SUBJECTS, Subject};

/// Forty random moments of each program.
#[test]
fn random_moments() {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let mut subjects: Vec<Subject> = SUBJECTS.map(Subject::start).into();
    for _ in 0..40 {
        for subject in &mut subjects {
            subject.pair(&mut random);
        }
    }
    for subject in subjects {
        subject.end();
    }
}
