//! Signals: what is pending, what runs, what is set; and saves at awkward moments.

use harness::{Place, Program, User, survives, survives_as, wait};

#[test]
fn pending_signals_stay_pending() {
    survives("pending");
}

#[test]
fn pending_signals_of_each_thread_stay_pending() {
    survives("pending_threads");
}

#[test]
fn save_inside_a_handler_on_a_minimal_alternate_stack() {
    survives("in_handler");
}

#[test]
fn save_on_an_alternate_stack_with_no_byte_to_spare() {
    survives("tight_stack");
}

#[test]
fn save_inside_malloc() {
    survives("in_malloc");
    for user in User::each() {
        let place = Place::new(user);
        let mut process = place.start(&Program::victim("in_malloc"));
        process.ready();
        for _ in 0..20 {
            process.save();
        }
        process.passes();
    }
}

#[test]
fn save_of_a_vfork_child() {
    for user in User::each() {
        let place = Place::new(user);
        let mut process = place.start(&Program::victim("in_vfork"));
        process.ready();
        let children = format!("task/{}/children", process.pid());
        let child = wait(|| process.proc(&children).trim().parse().ok());
        let Some(child) = child else { process.fail("no child") };
        let parent = process.pid();
        process.follow(child);
        process.image = format!("myckpt.{child}").into();
        let image = process.save();
        process.save();
        process.follow(parent);
        process.passes();
        // The child by itself: it has what it saw of its parent's memory, and ends as it would have.
        let restarted = image.restart();
        let outcome = restarted.finish();
        assert_eq!(outcome.code(), 7, "{}", outcome.messages);
    }
}

#[test]
fn handler_of_the_program_calls_ours() {
    std::thread::scope(|scope| {
        for how in ["one", "three", "jump", "stack", "made_up", "threads"] {
            scope.spawn(move || survives_as(Program::victim("chained").arg(how)));
        }
        for user in User::each() {
            scope.spawn(move || {
                let mut process = Place::new(user).start(&Program::victim("chained").arg("twice"));
                process.ready();
                // One of two saves. The process is not killed in the middle of the other one.
                let image = process.save().copy("either");
                process.passes();
                image.place().write("out", b"");
                let restarted = image.restart();
                restarted.passes();
            });
        }
    });
}

#[test]
fn handler_of_signal_hook_calls_ours() {
    let program = Program::at(env!("CARGO_BIN_EXE_hooked").into());
    for user in User::each() {
        let place = Place::new(user);
        let mut process = place.start(&program);
        process.until("the handler", |process| process.place.file("begun").exists());
        let image = process.save();
        process.kill();
        let mut process = image.restart();
        process.save();
        place.write("stop", b"");
        let outcome = process.finish();
        // Its own part of the handler was done before it called ours, both times.
        let output = String::from_utf8(outcome.output).unwrap();
        assert_eq!((output.as_str(), outcome.messages.as_str()), ("2 signals\n", ""));
    }
}

#[test]
fn handler_of_pythons_faulthandler_calls_ours() {
    let script = "import faulthandler, os, signal, sys, time
faulthandler.register(signal.SIGUSR2, file=open('traces', 'w'), chain=True)
open('begun', 'w')
while not os.path.exists('stop'): time.sleep(0.005)
print('ended')";
    for user in User::each() {
        let place = Place::new(user);
        let mut process = place.start(&Program::tool("python3").args(["-c", script]));
        process.until("the handler", |process| process.place.file("begun").exists());
        let image = process.save();
        process.kill();
        let mut process = image.restart();
        process.save();
        place.write("stop", b"");
        let outcome = process.finish();
        let output = String::from_utf8(outcome.output).unwrap();
        assert_eq!((output.as_str(), outcome.messages.as_str()), ("ended\n", ""));
        // The second signal may have come before it had put its handler in front again.
        assert!(place.text("traces").contains("Current thread"));
    }
}
