//! Processes that a program has started are not in its image: refused by name, or left out on request.

use crate::cli::Ckpt;
use harness::{Process, Program, User, wait};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A Python program that runs `body` with what it needs, and can be told to go on by lines of its standard input.
fn python(body: &str) -> Program {
    let head = "import os, signal, subprocess, sys, threading, time
def wait(n):
    while not os.path.exists(f'go.{n}'): time.sleep(0.005)
";
    Program::tool("python3").args(["-uc", &format!("{head}{body}")])
}

/// The number behind `word` on standard output.
fn told(process: &mut Process, word: &str) -> i32 {
    let mut found = None;
    process.until(word, |this| {
        let text = this.place.text("out");
        let mut lines = text.split_inclusive('\n');
        found = lines.find_map(|line| line.strip_prefix(word)?.strip_suffix('\n')?.trim().parse().ok());
        found.is_some()
    });
    found.unwrap()
}

/// Whether a process is there, and has not ended.
fn lives(pid: i32) -> bool {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    text.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

#[test]
fn a_child_refuses_the_save_until_the_program_has_waited_for_it() {
    let ckpt = Ckpt::new(User::ordinary());
    let mut process = ckpt.place.start(&python(
        "child = subprocess.Popen(['sleep', '1000'])
print('child', child.pid)
print('ready')
wait(1)
child.kill()
os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
print('ready')
wait(2)
print('status', child.wait())
print('ready')
wait(3)
print('end')",
    ));
    process.ready();
    let (pid, child) = (process.pid().to_string(), told(&mut process, "child"));
    let advice = "save when the program has waited for it, or start the program with CKPT_CHILDREN=ignore";
    let refusal = format!("its child {child} (sleep) would not be in the image; {advice}");
    assert_eq!(process.refused(), format!("ckpt: not saved: {refusal}"));
    let said = ckpt.say(["save", &pid]);
    assert_eq!((said.code, said.err), (89, format!("ckpt: process {pid} (python3): not saved: {refusal}\n")));
    let said = ckpt.say(["check", &pid]);
    assert_eq!((said.code, said.out.lines().last()), (1, Some(format!("  {refusal}").as_str())));
    assert!(!ckpt.place.file("myckpt").exists());
    process.go();
    process.ready();
    // Its exit status would be lost as well.
    let line = process.refused();
    let refusal = format!(
        "its child {child} (sleep) has ended, and its exit status, for which the program has not waited, would not be in the image; {advice}"
    );
    assert_eq!(line, format!("ckpt: not saved: {refusal}"));
    process.go();
    process.ready();
    let image = process.save();
    process.kill();
    let mut process = image.restart();
    process.go();
    assert_eq!(process.finish().code(), 0);
    assert!(ckpt.place.text("out").ends_with("status -9\nready\nend\n"), "{}", ckpt.place.text("out"));
}

#[test]
fn the_child_of_any_thread_counts() {
    for user in User::each() {
        let place = harness::Place::new(user);
        let mut process = place.start(&python(
            "def run():
    child = subprocess.Popen(['sleep', '1000'])
    print('child', child.pid)
    threading.Event().wait()
threading.Thread(target=run, daemon=True).start()
wait(1)",
        ));
        let child = told(&mut process, "child");
        let line = process.refused();
        assert!(line.contains(&format!("its child {child} (sleep) would not be")), "{line}");
        process.go();
        assert_eq!(process.finish().code(), 0);
        kill(Pid::from_raw(child), Signal::SIGKILL).unwrap();
    }
}

#[test]
fn a_process_that_is_traced_counts() {
    let ckpt = Ckpt::new(User::Myself);
    // The traced one is a grandchild, so that it is in no list of children.
    let mut process = ckpt.place.start(&python(
        "import ctypes
libc = ctypes.CDLL(None, use_errno=True)
a, b = os.pipe()
if os.fork() == 0:
    if (n := os.fork()) == 0:
        libc.prctl(0x59616d61, -1, 0, 0, 0)  # PR_SET_PTRACER, for where Yama is
        os.write(b, str(os.getpid()).encode())
        time.sleep(1000)
    os._exit(0)
os.wait()
n = int(os.read(a, 100))
print('traced', n)
assert libc.ptrace(0x4206, n, 0, 0) == 0, os.strerror(ctypes.get_errno())  # PTRACE_SEIZE
print('ready')
wait(1)
os.kill(n, 9)",
    ));
    process.ready();
    let line = process.refused();
    assert!(line.contains("a process that it traces, would not be in the image"), "{line}");
    process.go();
    assert_eq!(process.finish().code(), 0);
}

#[test]
fn children_are_left_out_on_request() {
    let ckpt = Ckpt::new(User::ordinary());
    let body = "child = subprocess.Popen(['sleep', '1000'])
print('child', child.pid)
print('ready')
wait(1)
try: os.waitpid(child.pid, 0)
except ChildProcessError: print('none')";
    let mut process = ckpt.place.start(&python(body).env("CKPT_CHILDREN", "ignore"));
    process.ready();
    let child = told(&mut process, "child");
    let image = process.save();
    process.kill();
    kill(Pid::from_raw(child), Signal::SIGKILL).unwrap();
    let mut process = image.restart();
    process.go();
    assert_eq!(process.finish().code(), 0);
    assert!(ckpt.place.text("out").ends_with("none\n"));
    // A value that is none is told, and changes nothing.
    let mut process = ckpt.place.start(&Program::tool("sleep").arg("0").env("CKPT_CHILDREN", "no"));
    process.until("the end", |this| this.ended().is_some());
    assert_eq!(
        process.finish().messages,
        "ckpt: CKPT_CHILDREN=no is not refuse or ignore; using the default\n"
    );
}

/// A shell script whose first part runs a command that waits for `go.1`, and whose second part goes on for as long as it is not told otherwise.
const SCRIPT: &str = "echo $$ > first
sh -c 'echo $$ > child; while ! test -e go.1; do sleep 0.01; done'
echo one
exec python3 -c 'import time; time.sleep(1000)'";

#[test]
fn every_tries_again_when_the_children_have_ended() {
    let ckpt = Ckpt::new(User::ordinary());
    let mut process = ckpt.start(["--every", "50ms", "--image", "image", "sh", "-c", SCRIPT]);
    let refused = " (sh) would not be in the image; ";
    process.until("two refusals", |this| this.place.text("err").matches(refused).count() >= 2);
    assert!(!ckpt.place.file("image").exists());
    process.go();
    // The first one may still be of the shell.
    process.until("an image of the last part", |this| {
        let is_there = this.place.file("image").exists();
        is_there && ckpt.json(["show", "--json", "image"])["summary"]["command"][0] == "python3"
    });
    process.send(Signal::SIGTERM);
    assert_eq!(process.finish().status, std::os::unix::process::ExitStatusExt::from_raw(libc::SIGTERM));
}

#[test]
fn a_save_that_is_refused_for_a_child_ends_nothing() {
    let ckpt = Ckpt::new(User::ordinary());
    let options = ["--exit-on-signal", "85", "--image", "image", "sh", "-c", SCRIPT];
    let mut process = ckpt.start(options);
    process.until("the child", |this| this.place.text("child").ends_with('\n'));
    process.send(Signal::SIGUSR2);
    process.until("the refusal", |this| this.place.text("err").contains("would not be in the image"));
    let child = ckpt.place.text("child").trim().parse().unwrap();
    assert!(lives(child) && process.ended().is_none());
    process.go();
    process.until("the second part", |this| this.place.text("out") == "one\n");
    process.until("the python", |this| {
        let first = this.place.text("first");
        std::fs::read_to_string(format!("/proc/{}/wchan", first.trim()))
            .is_ok_and(|at| at.contains("nanosleep"))
    });
    process.send(Signal::SIGUSR2);
    assert_eq!(process.finish().code(), 85);
}

#[test]
fn what_ends_a_program_after_a_save_ends_what_it_has_started() {
    let ckpt = Ckpt::new(User::ordinary());
    let script = "sh -c 'sh -c \"echo \\$\\$ > grandchild; while :; do sleep 1000; done\" & echo $$ > child; wait' & wait";
    for option in ["--exit-on-signal", "--exit-after-save"] {
        let mut command = ckpt.command_as(ckpt.place.user, ["run", option, "85", "--image", "image"]);
        command.args(["bash", "-c", script]).env("CKPT_CHILDREN", "ignore");
        command.stdout(ckpt.place.output("out")).stderr(ckpt.place.output("err"));
        let mut process = Process::spawn(&ckpt.place, command);
        let mut ids = vec![];
        process.until("the family", |this| {
            let texts = ["child", "grandchild"].map(|name| this.place.text(name));
            ids = texts.iter().filter_map(|text| text.strip_suffix('\n')?.parse::<i32>().ok()).collect();
            ids.len() == 2
        });
        assert!(ids.iter().all(|pid| lives(*pid)));
        process.send(Signal::SIGUSR2);
        let outcome = process.finish();
        assert_eq!((outcome.code(), outcome.messages.as_str()), (85, ""));
        let gone = wait(|| (!ids.iter().any(|pid| lives(*pid))).then_some(()));
        assert!(gone.is_some(), "{ids:?} live");
        for name in ["child", "grandchild"] {
            std::fs::remove_file(ckpt.place.file(name)).unwrap();
        }
    }
}
