//! Every kind of system call of a save and of a restart fails, in each way in which it can, at its first occurrence; some are the last one. `make faults`
//! does it at every occurrence.

use harness::User;
use harness::audit::Phase;
use harness::faults::{Extent, Subject, faults, kills, sweep_restart};

/// The faults of one phase of a save.
#[track_caller]
fn phase_fails(phase: Phase, args: &[&str], env: &[(&str, &str)]) {
    let mut subject = Subject::start(args, env, User::ordinary());
    let calls: Vec<_> = subject.calls().into_iter().filter(|call| call.phase == phase).collect();
    subject.sweep_over(&faults(&calls, Extent::First)).check();
}

#[test]
fn calls_of_the_target_fail() {
    phase_fails(Phase::Target, &["threads"], &[]);
}

#[test]
fn calls_of_the_helper_fail() {
    phase_fails(Phase::Helper, &[], &[]);
}

#[test]
fn calls_of_the_writer_fail() {
    phase_fails(Phase::Writer, &[], &[]);
}

#[test]
fn somebody_is_killed() {
    let mut subject = Subject::start(&[], &[], User::ordinary());
    let calls = subject.calls();
    subject.sweep_over(&kills(&calls, Extent::First)).check();
}

#[test]
fn calls_of_a_restart_fail() {
    sweep_restart(&[], &[], User::ordinary(), Extent::First).check();
}
