//! Programs with more than one thread.

use harness::{
    Artifact, Place, Process, Program, User, survives, survives_kept, survives_with_new_ids, tool, wait,
};
use image::format::evidence_kind;
use std::fs::{self, File};
use std::process::Command;
use std::thread;

#[test]
fn threads_keep_what_is_their_own_and_go_on() {
    survives("threads");
}

#[test]
fn locks_that_are_held_know_their_owner() {
    survives_kept(&Program::victim("lock_owners"), evidence_kind::LOCK);
}

#[test]
fn locks_barriers_and_cancellation_between_threads() {
    survives_kept(&Program::victim("thread_locks"), evidence_kind::LOCK);
    survives_kept(&Program::victim("thread_locks_musl"), evidence_kind::LOCK);
}

#[test]
fn threads_on_their_way_to_a_lock_get_it() {
    survives_kept(&Program::victim("lock_waiters"), evidence_kind::LOCK);
}

#[test]
fn locks_in_shared_memory_know_their_owner() {
    survives_kept(&Program::victim("shared_locks"), evidence_kind::SHARED_LOCK);
}

#[test]
fn robust_mutexes_know_their_new_owner() {
    survives_with_new_ids(&Program::victim("robust_held"));
}

#[test]
fn lists_of_robust_mutexes_that_lead_nowhere() {
    for kind in ["", "circle", "nowhere", "odd", "pending", "read-only", "hidden", "others"] {
        survives_with_new_ids(&Program::victim("robust_broken").arg(kind));
    }
}

#[test]
fn numbers_that_look_like_ids_stay() {
    survives_with_new_ids(&Program::victim("numbers_like_ids"));
    survives_with_new_ids(&Program::victim("numbers_like_ids").arg("alone"));
}

#[test]
fn streams_that_are_locked_know_their_owner() {
    survives("locked_streams");
    survives_kept(&Program::victim("locked_streams_musl"), evidence_kind::LOCK);
}

#[test]
fn threads_of_musl() {
    survives("threads_musl");
}

#[test]
fn threads_of_musl_that_hold_the_lock_of_their_list() {
    for who in ["thread", "main", "joined"] {
        survives_kept(&Program::victim("thread_list_locked").arg(who), evidence_kind::LOCK);
    }
}

#[test]
fn timers_that_start_threads_or_signal_one() {
    survives_kept(&Program::victim("thread_timers"), evidence_kind::TIMER);
    survives_kept(&Program::victim("thread_timers_musl"), evidence_kind::TIMER);
}

#[test]
fn the_thread_of_the_timers_in_another_library() {
    survives_kept(&Program::victim("timer_in_malloc"), evidence_kind::TIMER);
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
        let Err(line) = process.try_save() else {
            process.fail("saved, with a thread that blocks signal 33")
        };
        assert!(line.contains("(deaf)") && line.contains("does not stop"), "{line}");
        process.go();
        let outcome = process.finish();
        assert!(outcome.status.success(), "{outcome:?}");
    }
}

#[test]
fn a_thread_in_a_vfork_is_named_until_its_child_ends() {
    for user in User::each() {
        let place = Place::new(user);
        let mut process = place.start(&Program::victim("thread_vfork"));
        process.ready();
        let Err(line) = process.try_save() else { process.fail("saved, with a thread in a vfork") };
        assert!(
            line.contains("(in-vfork) does not stop; it waits in a system call") && line.contains("vfork")
        );
        process.go();
        process.ready();
        place.write("err", b"");
        process.generations(1).passes();
    }
}

#[test]
fn a_thread_of_musl_that_starts_a_program_stops_when_the_program_has_begun() {
    for user in User::each() {
        let place = Place::new(user);
        let mut process = place.start(&Program::victim("spawn_musl").env("CKPT_CHILDREN", "ignore"));
        process.ready();
        let (leader, gate) = (format!("/proc/{0}/task/{0}/stat", process.pid()), place.file("gate"));
        let opener = thread::spawn(move || {
            // Asleep in its vfork(2): the helper that stops the others is there, with a table of descriptors of its own.
            wait(|| fs::read_to_string(&leader).ok()?.contains(") D ").then_some(())).expect("no helper");
            File::options().write(true).open(gate).unwrap()
        });
        let image = process.save();
        opener.join().unwrap();
        process.kill();
        image.restart().passes();
    }
}

#[test]
fn a_program_without_its_first_thread_is_refused() {
    for user in User::each() {
        let mut process = Place::new(user).start(&Program::victim("first_thread_ended"));
        process.ready();
        let Err(line) = process.try_save() else { process.fail("saved, without the first thread") };
        assert!(line.contains("has ended but is the first one of the process"), "{line}");
        process.go();
        assert!(process.finish().status.success());
    }
}

#[test]
fn threads_that_proc_does_not_show() {
    // An ordinary user needs a user namespace for it, which a system may not allow.
    let options = ["--user", "--map-root-user", "--pid", "--fork"];
    if !Command::new(tool("unshare")).args(options).arg("true").output().unwrap().status.success() {
        return;
    }
    let place = Place::new(User::ordinary());
    let library = place.artifact(Artifact::Library);
    let program = Program::tool("unshare").without_preload().args(options).arg("env");
    let program = program.arg(format!("LD_PRELOAD={}", library.display()));
    let mut process = place.start(&program.arg(place.executable(&Program::victim("thousand"))));
    process.ready();
    let inside = format!("/proc/{0}/task/{0}/children", process.pid());
    process.follow(fs::read_to_string(inside).unwrap().trim().parse().unwrap());
    let Err(line) = process.try_save() else { process.fail("saved") };
    assert!(line.contains("/proc is that of another PID namespace"), "{line}");
    process.go();
    assert!(process.finish().status.success());
}

/// The victim of that name. A thread that changes its user makes the whole process undumpable, which would refuse it before.
fn differing<const N: usize>(args: [&str; N]) -> Program {
    Program::victim("thread_differs").args(args).env("CKPT_UNDUMPABLE", "1")
}

/// A victim one of whose threads has something of its own: the save is refused by the thread's name and these words.
#[track_caller]
fn refused(what: &str, users: impl IntoIterator<Item = User>, words: &str) {
    for user in users {
        let place = Place::new(user);
        let mut process = place.start(&differing([what]));
        process.ready();
        let Err(line) = process.try_save() else { process.fail("saved") };
        let end = format!(" (different) has {words}; save when it has ended, or give all threads the same");
        assert!(line.starts_with("ckpt: not saved: thread ") && line.ends_with(&end), "{line}");
        assert!(!place.file("myckpt").exists());
        // The other thread has ended: nothing is in the way any more.
        process.go();
        process.ready();
        place.write("err", b"");
        process.generations(1).passes();
    }
}

/// Root, where that may leave namespaces: in many containers it may not.
fn mighty() -> impl Iterator<Item = User> {
    let may =
        Command::new(tool("unshare")).args(["--net", "--uts", "true"]).output().unwrap().status.success();
    User::each().filter(move |user| may && user.ids().0 == 0)
}

#[test]
fn a_thread_with_a_working_directory_of_its_own() {
    refused("cwd", User::each(), "a working directory, root and umask of its own");
}

#[test]
fn a_thread_with_descriptors_of_its_own() {
    refused("files", User::each(), "a table of descriptors of its own");
}

#[test]
fn a_thread_with_credentials_of_its_own() {
    let root = || User::each().filter(|user| user.ids().0 == 0);
    for what in ["uid", "gid", "fsuid", "groups", "capabilities", "bounding"] {
        refused(what, root(), "credentials of its own");
    }
}

#[test]
fn a_thread_with_security_settings_of_its_own() {
    const WORDS: &str = "seccomp filters, or other security settings, of its own";
    refused("no_new_privs", User::each(), WORDS);
    refused("filter", User::each(), WORDS);
    refused("securebits", User::each().filter(|user| user.ids().0 == 0), WORDS);
}

#[test]
fn a_thread_that_differs_under_a_seccomp_filter() {
    // Threads are not asked then: what others see of them must do.
    let kinds = [
        ("filter", "seccomp filters, or other security settings,"),
        ("cwd", "a working directory, root and umask"),
        ("files", "a table of descriptors"),
        ("uid", "credentials"),
    ];
    for (what, words) in kinds {
        for user in User::each().filter(|user| what != "uid" || user.ids().0 == 0) {
            let mut process = Place::new(user).start(&differing([what, "filtered"]));
            process.ready();
            let Err(line) = process.try_save() else { process.fail("saved") };
            assert!(line.contains(&format!(" (different) has {words} of its own; ")), "{line}");
            process.go();
            process.ready();
            process.save();
        }
    }
}

#[test]
fn a_thread_with_a_namespace_of_its_own() {
    refused("net", mighty(), "a namespace of its own");
    refused("uts", mighty(), "a namespace of its own");
}

#[test]
fn a_program_that_ends_while_it_is_saved_leaves_a_whole_image_or_none() {
    for user in User::each() {
        // The number is when it ends: before, while or after its threads stop.
        for delay in (0..600).step_by(40) {
            let place = Place::new(user);
            let outcome = place.start(&Program::victim("ending").arg(delay.to_string())).finish();
            assert_eq!(outcome.code(), 7, "{outcome:?}");
            // The helper or the writer may still be at work.
            assert_eq!(wait(|| (!somebody_is_in(&place)).then_some(())), Some(()), "{:?}", place.names());
            assert!(!place.names().iter().any(|name| name.contains(".tmp")), "{:?}", place.names());
            if place.file("myckpt").exists() {
                let mut command = place.command(&place.artifact(Artifact::Restarter));
                command.arg("myckpt").stdout(place.output("restart.out")).stderr(place.output("restart.err"));
                let mut restarted = Process::spawn(&place, command);
                restarted.until("its end", |this| this.ended().is_some());
                assert_eq!(restarted.ended().and_then(|status| status.code()), Some(7));
            }
        }
    }
}

#[test]
fn a_program_that_a_thread_executes_while_it_is_saved_does_not_notice() {
    for user in User::each() {
        // Who executes it and who saves: the first thread and another one, the other way round, two others.
        for roles in ["e", "l", "-"] {
            for delay in (0..400).step_by(50) {
                let place = Place::new(user);
                let program = Program::victim("executing").args([&delay.to_string(), roles]);
                let outcome = place.start(&program).finish();
                assert_eq!(outcome.code(), 7, "{roles}, {delay} microseconds: {outcome:?}");
                assert_eq!(wait(|| (!somebody_is_in(&place)).then_some(())), Some(()), "{:?}", place.names());
                assert!(!place.names().iter().any(|name| name.contains(".tmp")), "{:?}", place.names());
            }
        }
    }
}

/// Whether a process works in this place.
fn somebody_is_in(place: &Place) -> bool {
    let cwd = place.cwd();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .map(|entry| entry.path().join("cwd"))
        .any(|link| fs::read_link(link).is_ok_and(|dir| dir == cwd))
}
