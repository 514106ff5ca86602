//! `ckpt run`: as if the program had been run directly.

use super::Ckpt;
use harness::{Process, User, wait};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

/// Both ways to run: as the program itself, and under a supervisor.
const WAYS: [&[&str]; 2] = [&[], &["--every", "1h"]];

#[test]
fn the_exit_status_is_that_of_the_program() {
    let ckpt = Ckpt::new(User::ordinary());
    for way in WAYS {
        for code in [0, 1, 85, 255] {
            let outcome = ckpt.start(way.iter().chain(&["sh", "-c", &format!("exit {code}")])).finish();
            assert_eq!(outcome.status.code(), Some(code));
        }
        for signal in [Signal::SIGTERM, Signal::SIGKILL, Signal::SIGINT, Signal::SIGSEGV] {
            let script = format!("kill -{} $$", signal as i32);
            let outcome = ckpt.start(way.iter().chain(&["sh", "-c", &script])).finish();
            assert_eq!(outcome.status.signal(), Some(signal as i32), "{way:?}");
        }
    }
    assert_eq!(ckpt.place.text("err"), "");
}

#[test]
fn what_cannot_be_run_is_told_as_by_a_shell() {
    let ckpt = Ckpt::new(User::ordinary());
    ckpt.place.write("text", b"hello\n");
    for way in WAYS {
        let run = |program: &str| ckpt.say(["run"].iter().chain(way).copied().chain([program]));
        assert_eq!(run("no-such-program").code, 127);
        assert_eq!(run("./no-such-program").code, 127);
        assert_eq!(run("./text").code, 126);
        assert_eq!(run("/").code, 126);
    }
    assert_eq!(ckpt.say(["run"]).code, 64);
    assert_eq!(ckpt.say(["run", "--every", "never", "true"]).code, 64);
}

#[test]
fn a_program_that_the_library_cannot_reach_is_refused() {
    let ckpt = Ckpt::new(User::ordinary());
    let said = ckpt.say(["run", harness::tool("su").to_str().unwrap()]);
    assert_eq!(said.code, 88);
    assert!(said.err.contains("gains privileges"), "{said:?}");
}

/// No library can be loaded into it: `ckpt save` enters it.
#[test]
fn a_static_program_is_saved_as_well() {
    for way in WAYS {
        let ckpt = Ckpt::new(User::ordinary());
        let program = ckpt.place.executable(&harness::Program::compiled("sieve.c", "gcc -O2 -static -lm"));
        let mut process =
            ckpt.start(way.iter().copied().chain(["--image", "other", program.to_str().unwrap()]));
        process.until("output", |process| !process.place.read("out").is_empty());
        assert!(ckpt.shows(["save", &process.pid().to_string()]).contains("/cwd/other: "));
    }
}

#[test]
fn the_environment_is_the_callers_with_the_preload_in_front() {
    let ckpt = Ckpt::new(User::Myself);
    for way in WAYS {
        let mut command = ckpt.command_as(User::Myself, ["run"]);
        command.args(way).args(["--image", "x", "--signal", "USR1", "env"]);
        command.env("LD_PRELOAD", "libm.so.6").env("CKPT_SIGNAL", "HUP").env("MINE", "1");
        let text = String::from_utf8(command.output().unwrap().stdout).unwrap();
        let library = ckpt.place.artifact(harness::Artifact::Library).canonicalize().unwrap();
        let value = |name: &str| {
            text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap_or("")
        };
        assert_eq!(value("LD_PRELOAD"), format!("{}:libm.so.6", library.display()));
        assert_eq!(
            value("CKPT_IMAGE"),
            ckpt.place.file("x").canonicalize().unwrap_or(ckpt.place.file("x")).to_str().unwrap()
        );
        assert_eq!((value("CKPT_SIGNAL"), value("MINE")), ("10", "1"));
    }
}

#[test]
fn signal_state_and_descriptors_are_inherited_untouched() {
    let ckpt = Ckpt::new(User::Myself);
    let script = r"grep -E '^Sig(Blk|Ign)' /proc/self/status; ls /proc/self/fd | tr '\n' ' '";
    // Ignored signals, SIGPIPE among them, and a standard input that is closed.
    let shell =
        format!("trap '' PIPE TERM CHLD; exec <&-; exec \"$@\" sh -c '{}'", script.replace('\'', r"'\''"));
    let direct = |words: &[String]| {
        let mut command = Command::new("/bin/bash");
        command.args(["-c", &shell, "sh"]).args(words).current_dir(ckpt.place.cwd());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let plain = direct(&["env".to_owned()]);
    assert!(plain.contains("SigIgn") && !plain.contains("SigIgn:\t0000000000000000"), "{plain}");
    let command = ckpt.place.artifact(harness::Artifact::Command).to_str().unwrap().to_owned();
    for way in WAYS {
        let words =
            [command.as_str(), "run"].iter().chain(way).map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert_eq!(direct(&words), plain, "{way:?}");
    }
}

#[test]
fn what_the_caller_left_open_can_be_closed() {
    let ckpt = Ckpt::new(User::Myself);
    let command = ckpt.place.artifact(harness::Artifact::Command);
    for way in WAYS {
        let fds = |options: &[&str]| {
            let mut shell = ckpt.place.command(&harness::tool("bash"));
            shell
                .args(["-c", "exec 7</dev/null; exec \"$@\"", "bash"])
                .arg(&command)
                .arg("run")
                .args(way)
                .args(options);
            shell.args(["sh", "-c", "[ -e /proc/$$/fd/7 ]"]);
            shell.status().unwrap().code().unwrap()
        };
        assert_eq!((fds(&[]), fds(&["--close-fds"])), (0, 1), "{way:?}");
    }
}

/// The process under a supervisor.
fn program_of(supervisor: &Process) -> i32 {
    let name = format!("task/{}/children", supervisor.pid());
    let child =
        wait(|| supervisor.proc(&name).split_whitespace().next().and_then(|word| word.parse::<i32>().ok()));
    child.expect("a child")
}

#[test]
fn the_supervisor_keeps_nothing_of_its_callers_but_standard_error() {
    let ckpt = Ckpt::new(User::Myself);
    let mut supervisor = ckpt.start(["--every", "1h", "sleep", "1000"]);
    let program = program_of(&supervisor);
    supervisor.until("its wait", |this| this.proc("wchan").contains("sigtimedwait"));
    let names: Vec<_> = supervisor.descriptors();
    let err = ckpt.place.file("err").to_str().unwrap().to_owned();
    assert_eq!(names, [(0, "/dev/null".into()), (1, "/dev/null".into()), (2, err)]);
    assert_eq!(fs::read_link(format!("/proc/{}/cwd", supervisor.pid())).unwrap().to_str(), Some("/"));
    kill(Pid::from_raw(program), Signal::SIGTERM).unwrap();
    assert_eq!(supervisor.finish().status.signal(), Some(Signal::SIGTERM as i32));
}

#[test]
fn signals_to_the_supervisor_reach_the_program() {
    let ckpt = Ckpt::new(User::Myself);
    let script = "trap 'echo got HUP' HUP; trap 'echo got USR1' USR1; trap 'echo got RT; exit 5' RTMIN+1; echo ready; while :; do sleep 0.01; done";
    let mut supervisor = ckpt.start(["--every", "1h", "bash", "-c", script]);
    supervisor.ready();
    let mut expected = "ready\n".to_owned();
    for (signal, name) in [(libc::SIGHUP, "HUP"), (libc::SIGUSR1, "USR1"), (libc::SIGRTMIN() + 1, "RT")] {
        // SAFETY: kill(2) takes numbers.
        assert_eq!(unsafe { libc::kill(supervisor.pid(), signal) }, 0);
        expected += &format!("got {name}\n");
        supervisor.until(name, |this| this.place.text("out") == expected);
    }
    assert_eq!(supervisor.finish().code(), 5);
}

#[test]
fn the_supervisor_stops_and_goes_on_with_the_program() {
    let ckpt = Ckpt::new(User::Myself);
    let mut supervisor = ckpt.start(["--every", "1h", "sleep", "1000"]);
    let program = program_of(&supervisor);
    for signal in [Signal::SIGSTOP, Signal::SIGTSTP] {
        kill(Pid::from_raw(program), signal).unwrap();
        supervisor.until("a stop", |this| this.status_line("State").starts_with('T'));
        supervisor.send(Signal::SIGCONT);
        supervisor.until("a continuation", |this| {
            let state = fs::read_to_string(format!("/proc/{program}/stat")).unwrap_or_default();
            this.status_line("State").starts_with('S') && state.contains(") S ")
        });
    }
    supervisor.send(Signal::SIGTERM);
    assert_eq!(supervisor.finish().status.signal(), Some(Signal::SIGTERM as i32));
}

/// Counts to 60, a number every 10 ms, and exits with 3.
const COUNTER: [&str; 3] = [
    "python3",
    "-uc",
    "
import time, sys
for i in range(60):
    print(i)
    time.sleep(0.01)
sys.exit(3)
",
];

fn all_numbers() -> String {
    (0..60).map(|n| format!("{n}\n")).collect()
}

/// The arguments of a supervised counter.
fn counter<'a>(options: &[&'a str]) -> Vec<&'a str> {
    [&["--image", "image"], options, &["--"], &COUNTER].concat()
}

#[test]
fn every_saves_again_and_again() {
    let ckpt = Ckpt::new(User::ordinary());
    let outcome = ckpt.start(counter(&["--every", "100ms"])).finish();
    assert_eq!((outcome.code(), outcome.messages.as_str()), (3, ""));
    assert_eq!(String::from_utf8(outcome.output).unwrap(), all_numbers());
    let summary = ckpt.json(["show", "--json", "image"]);
    assert!(summary["summary"]["generation"].as_u64().unwrap() >= 3, "{}", summary["summary"]);
}

#[test]
fn one_line_starts_goes_on_and_ends() {
    let ckpt = Ckpt::new(User::ordinary());
    // Periodic saves do not end it.
    let options = ["--exit-on-signal", "85", "--every", "50ms", "--resume"];
    let mut expected = String::new();
    for seen in [10, 20, 30] {
        let mut process = if seen == 10 { ckpt.start(counter(&options)) } else { resumed(&ckpt, &options) };
        process.until("numbers", |this| {
            this.proc("wchan").contains("sigtimedwait") && this.place.text("out").lines().count() >= seen
        });
        process.send(Signal::SIGUSR2);
        let outcome = process.finish();
        assert_eq!((outcome.code(), outcome.messages.as_str()), (85, expected.as_str()));
        expected += &goes_on(&ckpt);
    }
    let outcome = resumed(&ckpt, &options).finish();
    assert_eq!((outcome.code(), outcome.messages.as_str()), (3, expected.as_str()));
    assert_eq!(ckpt.place.text("out"), all_numbers());
}

#[test]
fn a_periodic_save_ends_the_program_if_asked_to() {
    let ckpt = Ckpt::new(User::ordinary());
    let options = ["--exit-after-save", "85", "--every", "200ms", "--resume"];
    let mut outcome = ckpt.start(counter(&options)).finish();
    let mut runs = 1;
    while outcome.code() == 85 {
        outcome = resumed(&ckpt, &[&options[..], &["--quiet"]].concat()).finish();
        runs += 1;
    }
    assert_eq!((outcome.code(), outcome.messages.as_str()), (3, ""));
    assert_eq!(ckpt.place.text("out"), all_numbers());
    assert!(runs > 2, "{runs}");
}

/// What `ckpt run --resume` says of the image that is there.
fn goes_on(ckpt: &Ckpt) -> String {
    let image = &ckpt.json(["show", "--json", "image"])["summary"];
    let shown = ckpt.shows(["show", "image"]);
    let saved =
        shown.lines().find_map(|line| line.strip_prefix("saved       ")?.split(", by").next()).unwrap();
    format!(
        "ckpt: {}: goes on with python3 -uc '{}', saved {saved}, save number {}\n",
        ckpt.place.file("image").display(),
        COUNTER[2].replace('\n', "\\012"),
        image["generation"]
    )
}

/// The same line again; the program's output goes on in the file that it had open.
fn resumed(ckpt: &Ckpt, options: &[&str]) -> Process {
    let mut command = ckpt.command_as(ckpt.place.user, ["run"]);
    command.args(counter(options)).stdout(std::process::Stdio::null()).stderr(ckpt.place.output("err"));
    Process::spawn(&ckpt.place, command)
}

#[test]
fn an_image_is_removed_with_the_work_done() {
    let ckpt = Ckpt::new(User::ordinary());
    let line = |code: &str| {
        [
            "--image",
            "image",
            "--resume=any",
            "--quiet",
            "--remove-when-done",
            "--every",
            "50ms",
            "python3",
            "-c",
        ]
        .map(str::to_owned)
        .into_iter()
        .chain([format!("import sys, time; time.sleep(0.3); sys.exit({code})")])
        .collect::<Vec<_>>()
    };
    assert_eq!(ckpt.start(line("4")).finish().code(), 4);
    assert!(ckpt.place.file("image").exists(), "the work was not done");
    // That image exits with 4 as well.
    assert_eq!(ckpt.start(line("0")).finish().code(), 4);
    fs::remove_file(ckpt.place.file("image")).unwrap();
    assert_eq!(ckpt.start(line("0")).finish().code(), 0);
    assert!(!ckpt.place.file("image").exists());
}

#[test]
fn it_does_not_end_before_a_save_that_is_under_way() {
    let ckpt = Ckpt::new(User::ordinary());
    let line = ["--image", "image", "--every", "1h", "python3", "-uc"];
    let program = "import os, time; data = os.urandom(1 << 26); print('ready'); time.sleep(1000)";
    let mut process = ckpt.start(line.iter().chain(&[program]));
    process.ready();
    process.image = "image".into();
    let supervisor = process.pid();
    let program = program_of(&process);
    process.follow(program);
    let writer = process.catch_writer(|_| kill(Pid::from_raw(supervisor), Signal::SIGUSR2).unwrap());
    let before = process.image_inode();
    process.send(Signal::SIGTERM);
    let wchan = || fs::read_to_string(format!("/proc/{supervisor}/wchan")).unwrap_or_default();
    process.until("the supervisor's wait for the save", |_| wchan().contains("do_wait"));
    assert_eq!(process.image_inode(), before);
    kill(Pid::from_raw(writer), Signal::SIGCONT).unwrap();
    let name = ckpt.place.file("image");
    let outcome = process.finish();
    let after = fs::metadata(&name).unwrap().ino();
    assert_eq!((outcome.status.signal(), outcome.messages.as_str()), (Some(Signal::SIGTERM as i32), ""));
    assert_ne!(Some(after), before);
}

#[test]
fn a_damaged_image_is_not_started_afresh() {
    let ckpt = Ckpt::new(User::Myself);
    ckpt.place.write("image", b"\x7fELF and then nothing");
    let outcome = ckpt.start(counter(&["--resume"])).finish();
    assert_eq!(outcome.code(), 69);
    assert_eq!(outcome.output, b"");
    let said = ckpt.say(["run", "--resume", "--image", "image.%p", "true"]);
    assert_eq!(said.code, 64, "{said:?}");
}

#[test]
fn another_command_line_is_not_resumed() {
    let ckpt = Ckpt::new(User::ordinary());
    ckpt.place
        .write("script", b"#!/usr/bin/python3 -u\nimport sys, time\nprint(sys.argv[1:])\ntime.sleep(1000)\n");
    let path = ckpt.place.file("script");
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let saved = |line: &[&str]| {
        let mut process = ckpt.start([&["--image", "image"], line].concat());
        process.until("its arguments", |this| this.place.text("out").ends_with("]\n"));
        ckpt.shows(["save", "--stop", &process.pid().to_string()]);
        process.until("its end", |this| this.ended().is_some());
    };
    let refusal = |line: &[&str], of: &str, not_of: &str| {
        let said = ckpt.say([&["run", "--resume", "--image", "image"], line].concat());
        let path = ckpt.place.file("image").display().to_string();
        let expected = format!(
            "ckpt: {path}: is an image of {of}, not of {not_of}; name another one with --image, or restart this one with --resume=any\n"
        );
        assert_eq!((said.code, said.err), (95, expected));
    };
    let runs = |option: &str, line: &[&str], of: &str| {
        let mut process = ckpt.start([&[option, "--image", "image"], line].concat());
        process.until("the restarted program", |this| {
            this.proc("wchan").contains("nanosleep") && this.proc("comm") != "ckpt\n"
        });
        let messages = ckpt.place.text("err");
        assert!(messages.contains(&format!(": goes on with {of}, saved ")), "{messages}");
        process.kill();
    };
    saved(&["./script", "1", "a b"]);
    refusal(&["./script", "2", "a b"], "./script 1 'a b'", "./script 2 'a b'");
    refusal(&["sleep", "7"], "./script 1 'a b'", "sleep 7");
    runs("--resume", &["./script", "1", "a b"], "./script 1 'a b'");
    runs("--resume=any", &["sleep", "7"], "./script 1 'a b'");
    // What the program becomes does not matter.
    saved(&["env", "X=1", "sh", "-c", "exec ./script other"]);
    runs(
        "--resume",
        &["env", "X=1", "sh", "-c", "exec ./script other"],
        "env X=1 sh -c 'exec ./script other'",
    );
    // Of a program that was started in another way, the kernel knows the arguments.
    fs::remove_file(ckpt.place.file("image")).unwrap();
    let mut process =
        ckpt.place.start(&harness::Program::at("./script".into()).arg("3").env("CKPT_IMAGE", "image"));
    process.until("its arguments", |this| this.place.text("out").ends_with("['3']\n"));
    process.save();
    process.kill();
    refusal(&["./script", "4"], "/usr/bin/python3 -u ./script 3", "./script 4");
    runs("--resume", &["./script", "3"], "/usr/bin/python3 -u ./script 3");
}

/// The line of the quick start, cut off again and again at any moment.
#[test]
fn output_after_a_crash_is_as_if_there_had_been_none() {
    let ckpt = Ckpt::new(User::ordinary());
    let text = fs::read_to_string(harness::root().join("docs/quick-start.md")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("$ build/ckpt run --resume ")).unwrap();
    let (options, _) = line.split_once(" -- ").unwrap();
    let options = options.replace("10m", "30ms").replace("job.ckpt", "image");
    let mut crashes = 0;
    loop {
        // As `>> job.out` of a shell opens it.
        let out = fs::File::options().create(true).append(true).open(ckpt.place.file("out")).unwrap();
        ckpt.place.own(&ckpt.place.file("out"));
        let mut command = ckpt.command_as(ckpt.place.user, ["run", "--resume"]);
        command.args(options.split(' ')).arg("--").args(COUNTER);
        command.stdout(out).stderr(ckpt.place.output("err"));
        let mut process = Process::spawn(&ckpt.place, command);
        let seen = ckpt.place.text("out").len();
        let mut end = None;
        let crash = wait(|| {
            end = process.ended();
            // Not before there is an image, or all begins anew.
            let goes_on = ckpt.place.text("out").len() > seen + 20 && ckpt.place.file("image").exists();
            (end.is_some() || goes_on).then_some(())
        });
        assert!(crash.is_some(), "{}", process.report());
        if let Some(status) = end {
            assert_eq!(status.code(), Some(3), "{}", ckpt.place.text("err"));
            break;
        }
        let children = process.proc(&format!("task/{}/children", process.pid()));
        let _ = kill(Pid::from_raw(process.pid()), Signal::SIGKILL);
        for child in children.split_whitespace().filter_map(|pid| pid.parse().ok()) {
            let _ = kill(Pid::from_raw(child), Signal::SIGKILL);
            wait(|| {
                let stat = fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
                stat.rsplit(") ")
                    .next()
                    .is_none_or(|rest| rest.is_empty() || rest.starts_with('Z'))
                    .then_some(())
            });
        }
        process.until("its end", |this| this.ended().is_some());
        crashes += 1;
    }
    assert!(crashes >= 3, "{crashes}");
    assert_eq!(ckpt.place.text("out"), all_numbers());
}

#[test]
fn options_of_the_restart_are_handed_on() {
    let ckpt = Ckpt::new(User::ordinary());
    // Larger than what comes out of an image.
    ckpt.place.write("numbers", &[b'1'; (1 << 20) + 1]);
    let script =
        "import time; f = open('numbers'); print('ready', flush=True); time.sleep(0.2); print(f.read())";
    let mut process = ckpt.start(["--image", "image", "python3", "-c", script]);
    process.ready();
    ckpt.shows(["save", "--stop", &process.pid().to_string()]);
    process.until("its end", |this| this.ended().is_some());
    fs::remove_file(ckpt.place.file("numbers")).unwrap();
    ckpt.place.write("others", b"4 5 6");
    let line = |options: &[&str]| {
        let options =
            [&["--quiet", "--resume", "--image", "image"], options, &["python3", "-c", script]].concat();
        ckpt.start(options).finish()
    };
    assert_eq!(line(&[]).code(), 72);
    let outcome =
        line(&["--fd", "3=others", "--lazy", "--pid=new", "--force=filters", "--restart-option=--jobs=1"]);
    // The line of the first one.
    assert_eq!((outcome.code(), outcome.messages.lines().count()), (0, 1), "{}", outcome.messages);
    assert!(ckpt.place.text("out").ends_with("4 5 6\n"), "{}", ckpt.place.text("out"));
    assert_eq!(line(&["--restart-option=--nonsense"]).code(), 64);
    let said = ckpt.say(["run", "--rollback-files", "true"]);
    assert!(said.code == 64 && said.err.contains("--resume"), "{said:?}");
}

#[test]
fn term_saves_first() {
    let ckpt = Ckpt::new(User::ordinary());
    let mut process = ckpt.start(counter(&["--on-term"]));
    process.until("numbers", |this| this.place.text("out").lines().count() >= 10);
    process.send(Signal::SIGTERM);
    assert_eq!(process.finish().status.signal(), Some(Signal::SIGTERM as i32));
    let image = ckpt.json(["show", "--json", "image"]);
    assert_eq!(image["summary"]["command"][0], "python3");

    ckpt.place.write("out", b"");
    let mut process = ckpt.start(counter(&["--on-term", "--exit-after-save", "99"]));
    process.until("numbers", |this| this.place.text("out").lines().count() >= 10);
    process.send(Signal::SIGTERM);
    assert_eq!(process.finish().code(), 99);
}

#[test]
fn term_ends_a_program_that_cannot_be_saved() {
    let ckpt = Ckpt::new(User::Myself);
    let mut process = ckpt.start(["--on-term", "--image", "/nowhere/image", "sleep", "1000"]);
    let program = program_of(&process);
    process.until("the handler", |_| {
        fs::read_to_string(format!("/proc/{program}/wchan")).unwrap_or_default().contains("nanosleep")
    });
    process.send(Signal::SIGTERM);
    let outcome = process.finish();
    assert_eq!(outcome.status.signal(), Some(Signal::SIGTERM as i32));
    assert!(outcome.messages.contains("not saved: directory of the image"), "{}", outcome.messages);
}

/// The first process of a container: orphans come back to it, and signals without a handler do nothing.
#[test]
fn the_supervisor_is_a_good_first_process() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let ckpt = Ckpt::new(User::Myself);
    let command = ckpt.place.artifact(harness::Artifact::Command);
    let contain = |words: &[&str]| {
        let mut unshare = ckpt.place.command(&harness::tool("unshare"));
        unshare.args(["--pid", "--fork", "--mount-proc"]).arg(&command).arg("run").args(words);
        unshare.stdout(ckpt.place.output("out")).stderr(ckpt.place.output("err"));
        Process::spawn(&ckpt.place, unshare)
    };
    let options = ["--on-term", "--exit-on-signal", "85", "--resume", "--every", "100ms"];
    let process = contain(&counter(&options));
    let first = program_of(&process);
    wait(|| (ckpt.place.text("out").lines().count() >= 20).then_some(())).unwrap();
    kill(Pid::from_raw(first), Signal::SIGTERM).unwrap();
    let outcome = process.finish();
    assert_eq!((outcome.code(), outcome.messages.as_str()), (85, ""));
    let before = ckpt.place.text("out");
    assert!(all_numbers().starts_with(&before) && before.len() < all_numbers().len());
    // Orphans are reaped, and do not end the supervisor.
    let outcome =
        contain(&["--every", "1h", "sh", "-c", "(sleep 0.1; exit 3) & (sleep 0.05 &); sleep 0.3; exit 6"])
            .finish();
    assert_eq!(outcome.code(), 6);
}

#[test]
fn a_save_of_the_supervisor_is_one_of_the_program() {
    let ckpt = Ckpt::new(User::Myself);
    let mut process = ckpt.start(["--every", "1h", "sleep", "1000"]);
    let program = program_of(&process);
    process.until("the handler", |_| {
        fs::read_to_string(format!("/proc/{program}/wchan")).unwrap_or_default().contains("nanosleep")
    });
    let said = ckpt.shows(["save", &process.pid().to_string()]);
    assert!(said.starts_with(&format!("sleep ({program}) saved to ")), "{said}");
    process.send(Signal::SIGTERM);
    assert_eq!(process.finish().status.signal(), Some(Signal::SIGTERM as i32));
}
