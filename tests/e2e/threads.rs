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
fn locks_barriers_and_cancellation_between_threads() {
    survives("thread_locks");
    survives("thread_locks_musl");
}

#[test]
fn threads_of_musl() {
    survives("threads_musl");
}

#[test]
fn timers_that_start_threads_or_signal_one() {
    survives("thread_timers");
    survives("thread_timers_musl");
}

#[test]
fn threads_that_wait_for_signals() {
    survives("thread_signalfd");
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
