//! The command lines of the examples, as they stand there, with other places and shorter times.

use super::Ckpt;
use harness::{Artifact, Process, User, root, tool};
use nix::sys::signal::Signal;
use std::fs;
use std::process::Command;

fn example(name: &str) -> String {
    fs::read_to_string(root().join("examples").join(name)).unwrap()
}

/// The words of a command line of an example, with the places that it names replaced by those of a test; `every` is the period.
#[track_caller]
fn adapted(ckpt: &Ckpt, words: &[&str], folder: &str, every: &str) -> Vec<String> {
    let work = ckpt.place.file("work.py");
    fs::copy(root().join("examples/work.py"), &work).unwrap();
    ckpt.place.own(&work);
    let mut changes = 0;
    let adapted = words.iter().map(|word| {
        changes += 1;
        match *word {
            "600" => "3".to_owned(),
            "10m" | "1h" => every.to_owned(),
            "--every=10m" => format!("--every={every}"),
            word if word.ends_with("/work.py") => work.display().to_string(),
            word => {
                changes -= 1;
                word.replacen(folder, ckpt.place.cwd().to_str().unwrap(), 1)
            }
        }
    });
    let adapted = adapted.collect();
    assert_eq!(changes, 3, "{words:?}");
    adapted
}

/// Starts the command line of an example; standard output goes to the file of that name.
fn start(ckpt: &Ckpt, words: &[String], out: &str) -> Process {
    let mut command = ckpt.command_as(ckpt.place.user, &words[1..]);
    command.stdout(ckpt.place.output(out)).stderr(ckpt.place.output("err"));
    Process::spawn(&ckpt.place, command)
}

/// What 30 steps of the work write when nobody disturbs them.
fn check_work(ckpt: &Ckpt) {
    let messages = ckpt.place.text("err");
    let unexpected: Vec<_> = messages.lines().filter(|line| !line.contains(": goes on with ")).collect();
    assert!(unexpected.is_empty(), "{messages}");
    let progress = ckpt.place.text("progress");
    let undisturbed = harness::Place::new(ckpt.place.user);
    let mut command = undisturbed.command(&tool("python3"));
    command.arg("-c").arg("import sys, time; time.sleep = lambda s: None; sys.argv = ['work.py', '3']; exec(open(sys.stdin.fileno()).read())");
    command.stdin(fs::File::open(root().join("examples/work.py")).unwrap());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(progress, undisturbed.text("progress"));
    assert_eq!(ckpt.place.text("first"), String::from_utf8(output.stdout).unwrap());
}

/// Ends a run by SIGTERM when so many steps are done.
#[track_caller]
fn interrupt(ckpt: &Ckpt, words: &[String], out: &str, steps: usize) -> i32 {
    let mut process = start(ckpt, words, out);
    process.until("some steps", |this| this.place.text("progress").lines().count() >= steps);
    process.send(Signal::SIGTERM);
    process.finish().code()
}

#[test]
fn the_service_goes_on_after_it_was_stopped() {
    let ckpt = Ckpt::new(User::ordinary());
    let unit = example("systemd/work.service");
    let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    let words = adapted(&ckpt, &line.split(' ').collect::<Vec<_>>(), "/var/lib/work", "1h");
    assert_eq!(interrupt(&ckpt, &words, "first", 5), 0);
    assert_eq!(interrupt(&ckpt, &words, "second", 15), 0);
    assert!(ckpt.place.file("image").exists());
    assert_eq!(start(&ckpt, &words, "third").finish().code(), 0);
    check_work(&ckpt);
    assert!(!ckpt.place.file("image").exists());
}

#[test]
fn the_unit_of_the_service_is_clean() {
    let ckpt = Ckpt::new(User::Myself);
    let command = ckpt.place.artifact(Artifact::Command).display().to_string();
    let unit = example("systemd/work.service").replace("/usr/bin/ckpt", &command);
    ckpt.place.write("work.service", unit.as_bytes());
    let output = Command::new(tool("systemd-analyze"))
        .arg("verify")
        .arg(ckpt.place.file("work.service"))
        .output()
        .unwrap();
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn the_pod_goes_on_from_the_volume() {
    let ckpt = Ckpt::new(User::ordinary());
    let manifest = example("kubernetes/job.yaml");
    let list = manifest.lines().skip_while(|line| line.trim() != "command:").skip(1);
    let items = list.map_while(|line| line.trim().strip_prefix("- ")).map(|item| item.trim_matches('"'));
    let words = adapted(&ckpt, &items.collect::<Vec<_>>(), "/data", "1h");
    assert_eq!(interrupt(&ckpt, &words, "first", 10), 85);
    assert_eq!(start(&ckpt, &words, "second").finish().code(), 0);
    check_work(&ckpt);
}

#[test]
fn the_job_checkpoints_itself() {
    let ckpt = Ckpt::new(User::ordinary());
    let submit = example("htcondor/work.sub");
    let line = submit.lines().find_map(|line| line.strip_prefix("arguments = ")).unwrap();
    let words: Vec<_> = ["ckpt"].into_iter().chain(line.split(' ')).collect();
    let words = adapted(&ckpt, &words, "/work", "1s");
    let mut runs = 1;
    let mut code = start(&ckpt, &words, "first").finish().code();
    while code == 85 {
        code = start(&ckpt, &words, "again").finish().code();
        runs += 1;
    }
    assert_eq!(code, 0);
    assert!(runs >= 3, "{runs}");
    check_work(&ckpt);
}
