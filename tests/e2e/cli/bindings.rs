//! The Python package and the Rust crate, by their examples: many runs from one image.

use super::Ckpt;
use harness::{Artifact, Process, User, root, tool};
use std::process::Command;

/// Runs an example with `ckpt` on the search path; it compares its runs itself.
#[track_caller]
fn compares(ckpt: &Ckpt, mut command: Command) {
    let folder = ckpt.place.artifact(Artifact::Command).parent().unwrap().to_owned();
    command.env("PATH", format!("{}:/usr/bin:/bin", folder.display())).env("TMPDIR", ckpt.place.cwd());
    command.stdout(ckpt.place.output("out")).stderr(ckpt.place.output("err"));
    let outcome = Process::spawn(&ckpt.place, command).finish();
    assert_eq!((outcome.code(), outcome.messages.as_str()), (0, ""));
    let text = ckpt.place.text("out");
    let lines: Vec<_> = text.lines().map(|line| line.split(':').next().unwrap()).collect();
    assert_eq!(lines, ["3 runs, each from the start", "3 runs from one image", "saved"], "{text}");
    assert!(ckpt.place.names().iter().all(|name| !name.ends_with(".ckpt")), "{:?}", ckpt.place.names());
}

#[test]
fn python_branches_many_runs_from_one_image() {
    let ckpt = Ckpt::new(User::Myself);
    let mut command = ckpt.place.command(&tool("python3"));
    command.env("PYTHONPATH", root().join("bindings/python"));
    command.arg(root().join("bindings/python/examples/branches.py")).arg("3");
    compares(&ckpt, command);
}

#[test]
fn rust_branches_many_runs_from_one_image() {
    let ckpt = Ckpt::new(User::Myself);
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--release", "--locked", "-p", "ckpt-api", "--example", "branches"])
        .current_dir(root())
        .env("CARGO_TARGET_DIR", root().join("target/bindings"))
        .status()
        .unwrap();
    assert!(built.success());
    let mut command = ckpt.place.command(&root().join("target/bindings/release/examples/branches"));
    command.arg("3");
    compares(&ckpt, command);
}

#[test]
fn python_knows_whether_it_was_restarted() {
    let ckpt = Ckpt::new(User::Myself);
    let python = |script: &str| {
        let mut command = ckpt.command_as(User::Myself, ["run", "python3", "-c", script]);
        command.env("PYTHONPATH", root().join("bindings/python"));
        command
    };
    let script = "import ckpt; print(ckpt.restarted, ckpt.restarts(), ckpt.checkpoint(), ckpt.restarted, ckpt.restarts())";
    let first = python(script).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&first.stdout), "False 0 False False 0\n", "{first:?}");
    let second = ckpt.command_as(User::Myself, ["restart", "myckpt"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&second.stdout), "False 0 True True 1\n", "{second:?}");

    let mut failing = python("import ckpt\ntry: ckpt.checkpoint()\nexcept ckpt.NotSaved as e: print(e)");
    let output = failing.env("CKPT_IMAGE", "/nowhere/image").output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "the process was not saved; see its standard error\n"
    );
    let mut alone = ckpt.place.command(&tool("python3"));
    alone.env("PYTHONPATH", root().join("bindings/python"));
    let output = alone.args(["-c", "import ckpt; print(ckpt.available(), ckpt.restarted)"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "False False\n");
}

/// What was drawn before the save is the same in every process from one image, and what the kernel draws is not; the hook is the place to seed the rest.
#[test]
fn python_seeds_again_after_a_restart() {
    let ckpt = Ckpt::new(User::Myself);
    let run = |hook: &str| {
        let script = format!(
            "import ckpt, random\n{hook}\nckpt.checkpoint()\nprint(random.getrandbits(64), flush=True)"
        );
        let mut command = ckpt.command_as(User::Myself, ["run", "python3", "-c", &script]);
        let first = command.env("PYTHONPATH", root().join("bindings/python")).output().unwrap();
        assert!(first.status.success(), "{first:?}");
        let mut numbers = vec![first.stdout];
        for _ in 0..2 {
            numbers.push(ckpt.command_as(User::Myself, ["restart", "myckpt"]).output().unwrap().stdout);
        }
        let all = numbers.len();
        assert!(numbers.iter().all(|number| number.len() > 3), "{numbers:?}");
        numbers.sort();
        numbers.dedup();
        (all, numbers.len())
    };
    assert_eq!(run(""), (3, 1), "Python's own generator goes on with the same numbers");
    assert_eq!(run("assert ckpt.after_restart(random.seed)"), (3, 3));
}
