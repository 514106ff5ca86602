//! Programs with more than one thread.

use harness::{Place, Program, User, survives};

#[test]
fn threads_keep_what_is_their_own_and_go_on() {
    survives("threads");
}

#[test]
fn locks_that_are_held_know_their_owner() {
    survives("lock_owners");
}

#[test]
fn a_thousand_threads() {
    survives("thousand");
}

#[test]
fn a_thread_that_does_not_stop_is_named() {
    for user in User::each() {
        let mut process = Place::new(user).start(&Program::victim("unstoppable"));
        process.ready();
        let line = match process.try_save() {
            Ok(_) => process.fail("saved, with a thread that blocks signal 33"),
            Err(line) => line,
        };
        assert!(line.contains("(deaf)") && line.contains("does not stop"), "{line}");
        process.go();
        let outcome = process.finish();
        assert!(outcome.status.success(), "{outcome:?}");
    }
}
