//! Asking for a save, and hearing of it.

use super::Ckpt;
use harness::{Artifact, Process, Program, User, wait};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;

#[test]
fn a_save_reports_the_image_that_it_made() {
    for user in User::each() {
        let ckpt = Ckpt::new(user);
        let sleeper = ckpt.sleeper();
        let pid = sleeper.pid().to_string();
        let report = ckpt.json(["save", "--json", &pid]);
        let path = report["image"].as_str().unwrap();
        let image = fs::metadata(path).unwrap();
        assert_eq!(path, ckpt.place.file("myckpt").to_str().unwrap());
        assert_eq!(report["bytes"], image.len());
        assert_eq!(
            (&report["generation"], &report["pid"], &report["name"]),
            (&1.into(), &sleeper.pid().into(), &"sleep".into())
        );
        let [stop, total] = ["stop_us", "total_us"].map(|key| report[key].as_u64().unwrap());
        assert!(0 < stop && stop <= total, "{report}");
        let pages = report["pages"].as_u64().unwrap() * 4096;
        assert!(pages < image.len() && image.len() < pages + 100_000, "{report}");

        let again = ckpt.shows(["save", &pid]);
        let start = format!("sleep ({pid}) saved to {path}: ");
        assert!(again.starts_with(&start) && again.contains("stopped for "), "{again}");
        assert_ne!(fs::metadata(path).unwrap().ino(), image.ino());
        assert_eq!(ckpt.shows(["save", "--quiet", &pid]), "");
    }
}

#[test]
fn root_saves_the_program_of_another_user() {
    let ckpt = Ckpt::new(User::ordinary());
    let sleeper = ckpt.sleeper();
    let said = ckpt.say_as(User::Myself, ["save", &sleeper.pid().to_string()]);
    assert_eq!(said.code, 0, "{said:?}");
    let owner = fs::metadata(ckpt.place.file("myckpt")).unwrap();
    assert_eq!((owner.uid(), owner.permissions().mode() & 0o7777), (ckpt.place.user.ids().0, 0o600));
}

#[test]
fn a_program_is_found_by_a_name_that_only_it_has() {
    let ckpt = Ckpt::new(User::Myself);
    // No other test's program can have this name.
    let name = format!("z{}", std::process::id());
    fs::copy(harness::tool("sleep"), ckpt.place.file(&name)).unwrap();
    let program = Program::at(ckpt.place.file(&name)).arg("1000");
    let caught = |process: &mut harness::Process| process.proc("wchan").contains("nanosleep");
    let mut first = ckpt.place.start(&program);
    first.until("sleep", caught);
    assert!(ckpt.shows(["save", &name]).contains("saved"));
    let mut second = ckpt.place.start(&program);
    second.until("sleep", caught);
    let said = ckpt.say(["save", &name]);
    let both = [first.pid(), second.pid()];
    assert_eq!(said.code, 87);
    assert!(both.iter().all(|pid| said.err.contains(&pid.to_string())), "{said:?}");
    let said = ckpt.say(["save", "no-such-name"]);
    assert_eq!(
        (said.code, said.err.as_str()),
        (87, "ckpt: no-such-name: there is no process of that name\n")
    );
}

#[test]
fn stop_ends_the_program_where_it_was_saved() {
    let ckpt = Ckpt::new(User::Myself);
    let mut process = ckpt.place.start(&Program::tool("python3").args(["-uc", COUNTER]));
    process.until("some output", |this| this.place.text("out").lines().count() > 10);
    ckpt.shows(["save", "--stop", &process.pid().to_string()]);
    let outcome = process.finish();
    assert_eq!(outcome.status.signal(), Some(9));
    let before = outcome.output;
    // Output goes on where it stopped: nothing was written twice, nothing is missing.
    let mut command = ckpt.command_as(User::Myself, ["restart", "myckpt"]);
    command.stdout(ckpt.place.output("more")).stderr(ckpt.place.output("more.err"));
    let mut restarted = harness::Process::spawn(&ckpt.place, command);
    restarted.until("more output", |this| this.place.read("out").len() > before.len() + 40);
    restarted.kill();
    let text = ckpt.place.text("out");
    let numbers: Vec<u32> = text.lines().map(|line| line.parse().unwrap()).collect();
    assert!(numbers.iter().copied().eq(0..numbers.len() as u32), "{text}");
}

const COUNTER: &str = "
import time
for i in range(10000000):
    print(i)
    time.sleep(0.001)
";

#[test]
fn a_program_without_the_library_is_entered() {
    for user in User::each() {
        let ckpt = Ckpt::new(user);
        let mut process = ckpt.place.start(&Program::tool("sleep").arg("1000").entered());
        process.until("sleep", |process| process.proc("wchan").contains("nanosleep"));
        let pid = process.pid();
        assert_eq!(ckpt.shows(["check", &pid.to_string()]), format!("sleep ({pid}): can be saved\n"));
        process.save().restart().kill();
        assert_eq!(process.ended(), None);
        assert_eq!(ckpt.json(["show", "--json", "myckpt"])["summary"]["trigger"], "entry");
    }
}

/// Asked right behind the `&` of a script, it has not become what it will be.
#[test]
fn a_program_that_was_started_just_now_is_waited_for() {
    for user in User::each() {
        let ckpt = Ckpt::new(user);
        let library = ckpt.place.artifact(Artifact::Library);
        // The shell in brackets is a copy of the other one until it becomes another program.
        let script =
            format!("(sleep 0.3; LD_PRELOAD={} exec sleep 1000) & echo $! ready; wait", library.display());
        let mut process = ckpt.place.start(&Program::tool("sh").args(["-c", &script]).without_preload());
        process.until("the other one", |process| process.place.text("out").contains("ready"));
        let text = ckpt.place.text("out");
        let said = ckpt.say(["save", text.split(' ').next().unwrap()]);
        assert!(said.code == 0 && said.err.is_empty() && said.out.starts_with("sleep ("), "{said:?}");
        process.kill();
    }
}

/// It would die of the signal, or take it for something else.
#[test]
fn a_program_that_took_the_handler_away_is_entered() {
    for action in ["signal.SIG_DFL", "lambda *_: os._exit(3)"] {
        let ckpt = Ckpt::new(User::Myself);
        let script = format!(
            "import os, signal; signal.signal(signal.SIGUSR2, {action}); print('ready', flush=True); signal.pause()"
        );
        let mut process = ckpt.place.start(&Program::tool("python3").args(["-c", &script]));
        process.ready();
        for command in ["save", "check"] {
            let said = ckpt.say([command, &process.pid().to_string()]);
            assert!(said.code == 0 && said.err.is_empty(), "{said:?}");
        }
        assert_eq!(process.ended(), None);
    }
}

#[test]
fn a_program_that_kept_its_id_reports_from_its_namespace() {
    for user in User::each() {
        let ckpt = Ckpt::new(user);
        let mut process = ckpt.place.start(&Program::victim("quiet"));
        process.ready();
        let inside = process.pid();
        let image = process.save();
        process.kill();
        let process = image.restart_kept(&["--pid=namespace"]);
        // By its own number here, and by that of its stand-in.
        for pid in [process.pid(), process.stand_in()] {
            let report = ckpt.json(["save", "--json", &pid.to_string()]);
            assert_eq!(
                (&report["pid"], &report["name"]),
                (&process.pid().into(), &"quiet".into()),
                "{report}"
            );
        }
        assert!(ckpt.shows(["check", &process.pid().to_string()]).contains("can be saved"));
        process.kill();
        let process = image.restart_kept(&["--pid=namespace"]);
        assert!(process.proc("status").contains(&format!("\t{inside}\n")));
        process.passes();
    }
}

#[test]
fn a_program_in_the_strict_mode_of_seccomp_is_not_signalled() {
    let ckpt = Ckpt::new(User::Myself);
    let mut process = ckpt.place.start(&Program::victim("seccomp_strict").arg("strict"));
    process.ready();
    for command in ["save", "check"] {
        let said = ckpt.say([command, &process.pid().to_string()]);
        assert_eq!(said.code, 89, "{said:?}");
        assert!(said.err.contains("strict mode of seccomp") && said.err.lines().count() == 1, "{said:?}");
    }
    assert_eq!(process.ended(), None);
}

#[test]
fn another_signal_is_found_in_the_environment() {
    let ckpt = Ckpt::new(User::Myself);
    let program = Program::tool("sleep").arg("1000").env("CKPT_SIGNAL", "RTMIN+3").env("CKPT_IMAGE", "other");
    let mut process = ckpt.place.start(&program);
    process.until("sleep", |process| process.proc("wchan").contains("nanosleep"));
    let said = ckpt.shows(["save", &process.pid().to_string()]);
    assert!(said.contains("/cwd/other: "), "{said}");
    // It is not sent a signal that would end it.
    assert!(ckpt.shows(["save", "--signal", "USR2", &process.pid().to_string()]).contains("saved"));
    assert_eq!(process.ended(), None);
}

#[test]
fn nobody_is_there() {
    let ckpt = Ckpt::new(User::Myself);
    let pid = fs::read_to_string("/proc/sys/kernel/pid_max").unwrap();
    let said = ckpt.say(["save", pid.trim()]);
    assert_eq!((said.code, said.err), (87, format!("ckpt: process {}: there is none\n", pid.trim())));
}

#[test]
fn a_program_of_another_user_is_none_of_our_business() {
    if User::each().count() < 2 {
        return;
    }
    let ckpt = Ckpt::new(User::Myself);
    let sleeper = ckpt.sleeper();
    let said = ckpt.say_as(User::Nobody, ["save", &sleeper.pid().to_string()]);
    assert_eq!(said.code, 77, "{said:?}");
    assert!(!ckpt.place.file("myckpt").exists());
}

#[test]
fn a_program_in_a_container_is_saved_from_outside_by_root_and_by_who_made_it() {
    for user in User::each() {
        let ckpt = Ckpt::new(user);
        let library = ckpt.place.artifact(Artifact::Library);
        let mut unshare = ckpt.place.command(&harness::tool("unshare"));
        if user != User::Myself || User::ordinary() == User::Myself {
            unshare.args(["--user", "--map-root-user"]);
        }
        unshare.args(["--pid", "--fork", "--kill-child", "--mount-proc", "env"]);
        unshare.arg(format!("LD_PRELOAD={}", library.display())).args(["sleep", "1000"]);
        unshare.stdout(ckpt.place.output("out")).stderr(ckpt.place.output("err"));
        let mut container = Process::spawn(&ckpt.place, unshare);
        let children = format!("task/{}/children", container.pid());
        let mut inside = 0;
        container.until("the program in it", |container| {
            inside = container.proc(&children).trim().parse().unwrap_or(0);
            fs::read_to_string(format!("/proc/{inside}/comm")).is_ok_and(|name| name == "sleep\n")
        });
        let said =
            wait(|| Some(ckpt.say(["save", &inside.to_string()])).filter(|said| said.code != 88)).unwrap();
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{said:?}");
        assert!(said.out.starts_with(&format!("sleep ({inside}) saved to ")), "{said:?}");
        let image = ckpt.json(["show", "--json", "myckpt"]);
        assert_eq!((&image["summary"]["pid"], &image["summary"]["generation"]), (&1.into(), &1.into()));
        assert_eq!(ckpt.shows(["check", &inside.to_string()]), format!("sleep ({inside}): can be saved\n"));
        kill(Pid::from_raw(inside), Signal::SIGKILL).unwrap();
        container.finish();
    }
}

#[test]
fn a_program_whose_threads_must_be_asked_reports_as_well() {
    // A pending signal: one helper finds it and ends, another one saves. Between the two nobody may think that the save is over.
    let ckpt = Ckpt::new(User::ordinary());
    let script = "
import os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
os.kill(os.getpid(), signal.SIGTERM)
print('ready', flush=True)
while True: signal.pause()";
    let mut process = ckpt.place.start(&Program::tool("python3").args(["-c", script]));
    process.ready();
    for generation in 1..=20 {
        let report = ckpt.json(["save", "--json", &process.pid().to_string()]);
        assert_eq!(report["generation"], generation, "{report}");
    }
}

#[test]
fn a_program_that_handles_the_signal_itself_is_found_out() {
    let ckpt = Ckpt::new(User::ordinary());
    let mut process = ckpt.place.start(&Program::victim("answers_oddly").arg("silent"));
    process.ready();
    let said = ckpt.say(["save", "--timeout", "1s", &process.pid().to_string()]);
    assert_eq!(said.code, 92, "{said:?}");
    assert!(
        said.err.contains("took SIGUSR2 and did not save") && said.err.contains("CKPT_SIGNAL"),
        "{said:?}"
    );
    assert_eq!(process.ended(), None);
}

/// A program that holds two things that no save can restore.
fn unsavable(ckpt: &Ckpt) -> harness::Process {
    let script = "
import socket, time
listener = socket.create_server(('127.0.0.1', 0))
one = socket.create_connection(listener.getsockname())
two, _ = listener.accept()
print('ready', flush=True)
time.sleep(1000)";
    let mut process = ckpt.place.start(&Program::tool("python3").args(["-c", script]));
    process.ready();
    process
}

#[test]
fn a_check_tells_everything_that_a_save_would_refuse() {
    let ckpt = Ckpt::new(User::ordinary());
    let process = unsavable(&ckpt);
    let pid = process.pid().to_string();
    let said = ckpt.say(["check", &pid]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.contains("  descriptor 4 is ") && said.out.contains("  descriptor 5 is "), "{said:?}");
    let answer: serde_json::Value = serde_json::from_str(&ckpt.say(["check", "--json", &pid]).out).unwrap();
    assert!(answer["refusals"].as_array().unwrap().len() >= 2, "{answer}");

    let said = ckpt.say(["save", &pid]);
    assert_eq!((said.code, said.out.as_str()), (89, ""), "{said:?}");
    let start = format!("ckpt: process {pid} (python3): not saved: descriptor ");
    assert!(said.err.starts_with(&start) && said.err.lines().count() == 1, "{said:?}");
    // Whoever asked was told: the program's own standard error stays clean.
    assert_eq!(ckpt.place.text("err"), "");
    assert!(!ckpt.place.file("myckpt").exists());
}

#[test]
fn a_check_of_a_program_that_can_be_saved_writes_nothing() {
    let ckpt = Ckpt::new(User::ordinary());
    let sleeper = ckpt.sleeper();
    let names = ckpt.place.names();
    let said = ckpt.shows(["check", &sleeper.pid().to_string()]);
    assert_eq!(said, format!("sleep ({}): can be saved\n", sleeper.pid()));
    assert_eq!(ckpt.place.names(), names);
}

#[test]
fn a_save_that_fails_says_which_call_failed() {
    let ckpt = Ckpt::new(User::ordinary());
    let program = Program::tool("sleep").arg("1000").env("CKPT_IMAGE", "/nowhere/image");
    let mut process = ckpt.place.start(&program);
    process.until("sleep", |process| process.proc("wchan").contains("nanosleep"));
    let said = ckpt.say(["save", &process.pid().to_string()]);
    assert_eq!(said.code, 90, "{said:?}");
    assert!(said.err.contains("directory of the image: ENOENT"), "{said:?}");
    assert!(said.err.ends_with("set CKPT_IMAGE to a writable place (it is /nowhere/image)\n"), "{said:?}");
    assert_eq!(process.ended(), None);
}

#[test]
fn a_stopped_program_is_saved_when_it_goes_on() {
    let ckpt = Ckpt::new(User::Myself);
    let mut sleeper = ckpt.sleeper();
    sleeper.send(Signal::SIGSTOP);
    sleeper.until("a stop", |process| process.status_line("State").starts_with('T'));
    let said = ckpt.say(["save", "--timeout", "300ms", &sleeper.pid().to_string()]);
    assert_eq!(said.code, 92, "{said:?}");
    assert!(said.err.contains("is stopped, and will be saved when it can; continue it"), "{said:?}");

    let waiting = ckpt.command_as(User::Myself, ["save", "--wait", &sleeper.pid().to_string()]);
    let mut waiting = harness::Process::spawn(&ckpt.place, waiting);
    waiting.until("a second request", |this| this.proc("wchan").contains("poll"));
    kill(Pid::from_raw(sleeper.pid()), Signal::SIGCONT).unwrap();
    let ended = wait(|| waiting.ended()).unwrap();
    assert_eq!(ended.code(), Some(0));
}

#[test]
fn a_program_that_blocks_the_signal_is_named() {
    let ckpt = Ckpt::new(User::Myself);
    // Of one with a seccomp filter nobody can ask whether it takes the signal; others are entered.
    let mut process = ckpt.place.start(&Program::victim("answers_oddly").arg("blocks"));
    process.ready();
    let said = ckpt.say(["save", "--timeout", "300ms", &process.pid().to_string()]);
    assert_eq!(said.code, 92, "{said:?}");
    assert!(said.err.contains("blocks SIGUSR2"), "{said:?}");
}

#[test]
fn a_request_that_was_swallowed_by_another_one_is_sent_again() {
    let ckpt = Ckpt::new(User::Myself);
    let mut sleeper = ckpt.sleeper();
    sleeper.send(Signal::SIGSTOP);
    sleeper.until("a stop", |process| process.status_line("State").starts_with('T'));
    // SIGUSR2 does not queue: the request that follows vanishes.
    sleeper.send(Signal::SIGUSR2);
    let waiting = ckpt.command_as(User::Myself, ["save", "--quiet", &sleeper.pid().to_string()]);
    let mut waiting = harness::Process::spawn(&ckpt.place, waiting);
    waiting.until("its request", |this| this.proc("wchan").contains("poll"));
    sleeper.send(Signal::SIGCONT);
    assert_eq!(wait(|| waiting.ended()).unwrap().code(), Some(0));
}

#[test]
fn a_program_that_ends_before_it_is_saved_is_told() {
    let ckpt = Ckpt::new(User::Myself);
    let mut sleeper = ckpt.sleeper();
    sleeper.send(Signal::SIGSTOP);
    let waiting = ckpt.command_as(User::Myself, ["save", &sleeper.pid().to_string()]);
    let mut waiting = harness::Process::spawn(&ckpt.place, waiting);
    waiting.until("its request", |this| this.proc("wchan").contains("poll"));
    sleeper.kill();
    assert_eq!(wait(|| waiting.ended()).unwrap().code(), Some(91));
}

#[test]
fn children_that_an_image_lacks_are_named() {
    let ckpt = Ckpt::new(User::ordinary());
    let script = "import subprocess, time
child = subprocess.Popen(['sleep', '1000'])
print('ready', flush=True)
child.wait()";
    let program = Program::tool("python3").args(["-c", script]).env("CKPT_CHILDREN", "ignore");
    let mut process = ckpt.place.start(&program);
    process.ready();
    let pid = process.pid().to_string();
    let answer = ckpt.json(["check", "--json", &pid]);
    let child = answer["children"][0].as_u64().unwrap();
    assert_eq!(answer["children"].as_array().unwrap().len(), 1, "{answer}");
    let line = format!(
        "  without its children, which are processes of their own: sleep ({child}); save it when they have ended\n"
    );
    assert_eq!(ckpt.shows(["check", &pid]), format!("python3 ({pid}): can be saved\n{line}"));
    assert!(ckpt.shows(["save", &pid]).ends_with(&line));
    assert_eq!(ckpt.json(["save", "--json", &pid])["children"], answer["children"]);
    kill(Pid::from_raw(child as i32), Signal::SIGKILL).unwrap();
    assert_eq!(process.finish().code(), 0);
}
