//! Whose image it is: no save takes the image of another process that still runs, and no child takes the name that its parent was given.

use crate::cli::Ckpt;
use harness::{Place, Process, Program, User};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::os::unix::fs::MetadataExt;
use std::process::Stdio;

fn inode(place: &Place, name: &str) -> Option<u64> {
    Some(std::fs::metadata(place.file(name)).ok()?.ino())
}

/// The process that the image of a name is of.
fn pid_in(ckpt: &Ckpt, name: &str) -> i64 {
    ckpt.json(["show", "--json", name])["summary"]["pid"].as_i64().unwrap()
}

#[test]
fn the_image_of_another_process_that_runs_is_not_replaced() {
    let ckpt = Ckpt::new(User::ordinary());
    let mut first = ckpt.sleeper();
    first.save();
    let before = inode(&ckpt.place, "myckpt");
    let mut second = ckpt.sleeper();
    let (first_pid, second_pid) = (first.pid(), second.pid().to_string());
    let refusal = format!(
        "the image is that of process {first_pid}, which still runs; set CKPT_IMAGE to a name of its own, with %p in it for instance (it is myckpt)"
    );
    assert_eq!(second.refused(), format!("ckpt: not saved: {refusal}"));
    let said = ckpt.say(["save", &second_pid]);
    assert_eq!(
        (said.code, said.err),
        (89, format!("ckpt: process {second_pid} (sleep): not saved: {refusal}\n"))
    );
    let said = ckpt.say(["check", &second_pid]);
    assert_eq!((said.code, said.out.lines().last()), (1, Some(format!("  {refusal}").as_str())));
    assert_eq!(inode(&ckpt.place, "myckpt"), before);
    assert_eq!(ckpt.place.names().iter().filter(|name| name.starts_with("myckpt")).count(), 1);
    // Its own one it may replace, and one whose process has ended anybody may.
    first.save();
    assert_ne!(inode(&ckpt.place, "myckpt"), before);
    first.kill();
    second.save();
    assert_eq!(pid_in(&ckpt, "myckpt").to_string(), second_pid);
}

#[test]
fn of_many_that_save_at_once_under_one_name_one_gets_it() {
    let ckpt = Ckpt::new(User::ordinary());
    // Once without an image, then over that of one that has ended.
    for _ in 0..2 {
        let sleepers: Vec<_> = (0..6).map(|_| ckpt.sleeper()).collect();
        let savers: Vec<_> = sleepers
            .iter()
            .map(|sleeper| {
                let mut save = ckpt.command_as(ckpt.place.user, ["save", &sleeper.pid().to_string()]);
                save.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
            })
            .collect();
        let outcomes: Vec<_> = savers.into_iter().map(|saver| saver.wait_with_output().unwrap()).collect();
        let saved: Vec<_> = sleepers
            .iter()
            .zip(&outcomes)
            .filter(|(_, outcome)| outcome.status.success())
            .map(|(sleeper, _)| i64::from(sleeper.pid()))
            .collect();
        assert_eq!(saved, [pid_in(&ckpt, "myckpt")], "{outcomes:?}");
        for outcome in outcomes.iter().filter(|outcome| !outcome.status.success()) {
            assert_eq!(outcome.status.code(), Some(89));
            assert!(String::from_utf8_lossy(&outcome.stderr).contains("which still runs"), "{outcome:?}");
        }
        assert_eq!(ckpt.place.names().iter().filter(|name| name.starts_with("myckpt")).count(), 1);
        sleepers.into_iter().for_each(Process::kill);
    }
}

#[test]
fn a_file_that_may_be_somebody_elses_image_is_not_replaced() {
    let ckpt = Ckpt::new(User::ordinary());
    if ckpt.place.user == User::Myself && nix::unistd::geteuid().is_root() {
        return;
    }
    let mut sleeper = ckpt.sleeper();
    ckpt.place.write("myckpt", b"secret");
    let path = ckpt.place.file("myckpt");
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o000)).unwrap();
    let line = sleeper.refused();
    assert!(line.contains("may be another process's image: EACCES") && line.contains("remove it"), "{line}");
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    sleeper.save();
}

/// Names in the working directory that begin like this.
fn images(place: &Place, stem: &str) -> Vec<String> {
    place.names().into_iter().filter(|name| name.starts_with(stem)).collect()
}

#[test]
fn a_child_does_not_take_the_name_of_its_parent() {
    for user in User::each() {
        let place = Place::new(user);
        let script = "import os, time
child = os.fork()
if child: print('child', child, flush=True)
time.sleep(1000)";
        for (name, expected) in [("", "myckpt"), ("x%n", "x1"), ("image.%p", "image.")] {
            let mut process =
                place.start(&Program::tool("python3").args(["-c", script]).env("CKPT_IMAGE", name));
            let mut child = 0;
            process.until("the child", |this| {
                let text = this.place.text("out");
                child = text.trim().strip_prefix("child ").and_then(|n| n.parse().ok()).unwrap_or(0);
                child != 0
                    && std::fs::read_to_string(format!("/proc/{child}/wchan"))
                        .is_ok_and(|at| at.contains("nanosleep"))
            });
            let parent = process.pid();
            process.follow(child);
            let of_child =
                if expected == "image." { format!("image.{child}") } else { format!("{expected}.{child}") };
            process.image = of_child.clone().into();
            process.save();
            assert_eq!(images(&place, expected), std::slice::from_ref(&of_child));
            // When its parent has ended, the name is free.
            process.follow(parent);
            process.send(Signal::SIGKILL);
            process.until("the end", |this| this.ended().is_some());
            std::fs::remove_file(place.file(&of_child)).unwrap();
            let free = match expected {
                "image." => of_child,
                "x1" => "x2".to_owned(),
                name => name.to_owned(),
            };
            kill(Pid::from_raw(child), Signal::SIGUSR2).unwrap();
            harness::wait(|| place.file(&free).exists().then_some(())).expect("an image");
            std::fs::remove_file(place.file(&free)).unwrap();
            kill(Pid::from_raw(child), Signal::SIGKILL).unwrap();
            place.write("out", b"");
        }
    }
}

#[test]
fn a_program_that_the_program_of_ckpt_run_starts_does_not_take_its_name() {
    let ckpt = Ckpt::new(User::ordinary());
    let script = "import os, subprocess, time
sleep = ['sleep', '1000']
print(subprocess.Popen(sleep).pid, subprocess.Popen(sleep, env={**os.environ, 'CKPT_IMAGE': 'own'}).pid, flush=True)
time.sleep(1000)";
    for way in [&[][..], &["--every", "1h"]] {
        let line = [way, &["--image", "image", "python3", "-c", script]].concat();
        let mut process = ckpt.start(&line);
        let mut children = vec![];
        process.until("the children", |this| {
            let text = this.place.text("out");
            children = text.split_whitespace().filter_map(|pid| pid.parse::<i32>().ok()).collect();
            let sleeps = |pid: &i32| {
                std::fs::read_to_string(format!("/proc/{pid}/wchan")).is_ok_and(|at| at.contains("nanosleep"))
            };
            children.len() == 2 && children.iter().all(sleeps)
        });
        for child in &children {
            ckpt.shows(["save", &child.to_string()]);
        }
        let [first, second] = children[..] else { unreachable!() };
        assert_eq!(images(&ckpt.place, "image"), [format!("image.{first}")]);
        assert_eq!(pid_in(&ckpt, "own"), i64::from(second));
        for child in [first, second] {
            kill(Pid::from_raw(child), Signal::SIGKILL).unwrap();
        }
        std::fs::remove_file(ckpt.place.file(format!("image.{first}"))).unwrap();
        std::fs::remove_file(ckpt.place.file("own")).unwrap();
        process.send(Signal::SIGTERM);
        process.until("the end", |this| this.ended().is_some());
        ckpt.place.write("out", b"");
    }
}

#[test]
fn a_command_for_the_image_is_not_inherited() {
    let ckpt = Ckpt::new(User::ordinary());
    let script = "import os, time
child = os.fork()
if child: print('child', child, flush=True)
time.sleep(1000)";
    let program = Program::tool("python3").args(["-c", script]).env("CKPT_IMAGE", "|cat > image");
    let mut process = ckpt.place.start(&program);
    let mut child = String::new();
    process.until("the child", |this| {
        child = this.place.text("out").trim().replace("child ", "");
        std::fs::read_to_string(format!("/proc/{child}/wchan")).is_ok_and(|at| at.contains("nanosleep"))
    });
    let said = ckpt.say(["save", &child]);
    let expected = format!(
        "the command of CKPT_IMAGE is that of process {}, which still runs; put %p into it (it is |cat > image)",
        process.pid()
    );
    assert!(said.code == 89 && said.err.contains(&expected), "{said:?}");
    assert!(!ckpt.place.file("image").exists());
    kill(Pid::from_raw(child.parse().unwrap()), Signal::SIGKILL).unwrap();
}
