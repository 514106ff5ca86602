//! Every kind of system call of a save and of a restart fails, in each way in which it can, at its first occurrence; some are the last one. `make faults`
//! does it at every occurrence.

use harness::audit::Phase;
use harness::faults::{Extent, Subject, faults, kills, sweep_restart, sweep_restart_over};
use harness::tracer::{Call, Fault, Tracer, What, Whom};
use harness::{Place, Program, User};
use nix::fcntl::{Flock, FlockArg};
use sys::Sysno;

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

/// Somebody is killed: there is an image, the new one or the one before.
#[track_caller]
fn killed(env: &[(&str, &str)]) {
    let mut subject = Subject::start(&[], env, User::ordinary());
    let calls = subject.calls();
    subject.sweep_over(&kills(&calls, Extent::First)).check();
}

#[test]
fn somebody_is_killed() {
    killed(&[]);
}

#[test]
fn somebody_is_killed_in_the_foreground() {
    killed(&[("CKPT_FOREGROUND", "1")]);
}

#[test]
fn calls_of_a_restart_fail() {
    sweep_restart(&[], &[], User::ordinary(), Extent::First).check();
}

/// In the last steps of a thread, others may be done: whoever fails has a line to say so.
#[test]
fn calls_of_the_last_thread_of_a_restart_fail() {
    let last = |calls: &[Call]| {
        // Its name.
        let last = calls.iter().rfind(|call| call.phase == Phase::Restart && call.nr == Sysno::prctl);
        faults(&[last.unwrap().clone()], Extent::All)
    };
    let tally = sweep_restart_over(&["threads"], &[], User::ordinary(), last);
    tally.check();
    assert_eq!(tally.failed, 1, "{tally}");
}

#[test]
fn what_a_killed_writer_left_goes_with_the_next_save() {
    for user in User::each() {
        let place = Place::new(user);
        let mut process = place.start(&Program::victim("quiet"));
        process.ready();
        let temporaries = || {
            let names = place.names().into_iter();
            names.filter(|name| name.ends_with(".tmp")).collect::<Vec<_>>()
        };
        let what = What::Kill(Whom::Caller);
        let fault = Fault { phase: Phase::Writer, nr: Sysno::fsync, before: 0, what };
        assert!(Tracer::seize(process.pid()).save(process.signal, Some(fault)).hit);
        assert_eq!(temporaries().len(), 1, "what the writer left");

        // One that is in use, and one that only looks like it.
        place.write("myckpt.1.a.tmp", b"");
        place.write("myckpt.notes.tmp", b"");
        let used = std::fs::File::open(place.file("myckpt.1.a.tmp")).unwrap();
        let used = Flock::lock(used, FlockArg::LockExclusiveNonblock).unwrap();
        process.save();
        assert_eq!(temporaries(), ["myckpt.1.a.tmp", "myckpt.notes.tmp"]);
        drop(used);
        process.save();
        assert_eq!(temporaries(), ["myckpt.notes.tmp"]);
        process.passes();
    }
}

/// What a power cut leaves: of the file what was synced, of the directory the old name or the new one, until that was synced as well. Cut behind
/// every call of a save, there must be a whole image.
#[test]
fn a_power_cut_at_any_call_leaves_a_whole_image() {
    let place = Place::new(User::ordinary());
    let mut process = place.start(&Program::victim("quiet"));
    process.ready();
    process.save();
    let mut tracer = Tracer::seize(process.pid());
    tracer.keeps_bytes = true;
    let calls = tracer.save(process.signal, None).calls;
    let image = std::fs::read(place.file("myckpt")).unwrap();

    let made = calls.iter().find(|call| call.nr == Sysno::openat && call.args[2] & libc::O_CREAT as u64 != 0);
    let file = made.expect("a temporary file").result.unwrap() as u64;
    let is_writer = |call: &&Call| call.phase == Phase::Writer;
    let (mut written, mut synced, mut renamed, mut name_synced) = (Vec::<u8>::new(), 0, false, false);
    for call in calls.iter().filter(is_writer) {
        match call.nr {
            Sysno::write | Sysno::writev if call.args[0] == file => {
                assert_eq!(call.result, Some(call.bytes.len() as i64));
                assert!(!renamed, "something is written to an image that has its name");
                written.extend(&call.bytes);
            }
            Sysno::fsync if call.args[0] == file => synced = written.len(),
            Sysno::fsync => name_synced = renamed,
            Sysno::renameat => renamed = true,
            _ => {}
        }
        // The new name may be on the disk as soon as it was asked for: then all that it stands for must be.
        assert!(!renamed || written[..synced] == image, "cut behind {}", call.nr);
    }
    assert!(renamed && name_synced && synced == image.len());
    process.passes();
}
