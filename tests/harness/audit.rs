//! The trace of a save and of a restart, call by call, each with the phase it belongs to and, from the table in the documentation, its reason.

use crate::{Artifact, Place, Process, Program, User, root, wait};
use std::collections::BTreeMap;
use std::fmt;
use std::io::Write as _;
use std::process::{Command, Stdio};

/// Who makes a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// The target, from the signal to `rt_sigreturn`.
    Target,
    /// The helper: shares the target's memory, while the target sleeps.
    Helper,
    /// The writer: a copy of the target.
    Writer,
    /// `myrestart`, its workers, and its executor.
    Restart,
    /// The restored libckpt, up to `rt_sigreturn`.
    Resume,
}

impl fmt::Display for Phase {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            Self::Target => "target",
            Self::Helper => "helper",
            Self::Writer => "writer",
            Self::Restart => "restart",
            Self::Resume => "resume",
        })
    }
}

/// One system call.
#[derive(Clone, Debug)]
pub struct Call {
    /// Who made it.
    pub phase: Phase,
    /// Its name.
    pub name: String,
    /// What strace says of it, without the pid.
    pub text: String,
}

/// The table of docs/system-calls.md: the reason of each call in each phase.
pub fn table() -> BTreeMap<(String, String), String> {
    let path = root().join("docs/system-calls.md");
    let text = std::fs::read_to_string(&path).expect("docs/system-calls.md");
    let rows = text.lines().filter_map(|line| {
        let cells: Vec<&str> = line.strip_prefix("| ")?.split('|').map(str::trim).collect();
        let [phases, call, why, ..] = cells[..] else { return None };
        let call = call.strip_prefix('`')?.strip_suffix('`')?;
        Some(
            phases
                .split(", ")
                .map(move |phase| ((phase.to_owned(), call.to_owned()), why.to_owned()))
                .collect::<Vec<_>>(),
        )
    });
    rows.flatten().collect()
}

/// A program that was traced through a save, and then through a restart from it.
pub struct Traced {
    /// The calls of the save.
    pub save: Vec<Call>,
    /// The calls of the restart.
    pub restart: Vec<Call>,
}

/// Runs the victim `name` under strace, saves it, ends it, and restarts it under strace.
pub fn traced(name: &str) -> Traced {
    let place = Place::new(User::ordinary());
    let command = strace(&place, &Program::victim(name));
    let mut process = start(&place, command);
    process.ready();
    let (traced, restarted) = save_and_restart(process, |command| command);
    restarted.passes();
    traced
}

/// The same for an ordinary program that waits for its standard input, from which it gets a line in the end.
pub fn traced_reader(program: &Program) -> Traced {
    let place = Place::new(User::ordinary());
    let piped = |mut command: Command| {
        command.stdin(Stdio::piped());
        command
    };
    let mut process = start(&place, piped(strace(&place, program)));
    process.until("a read of standard input", |this| this.proc("syscall").starts_with("0 0x0 "));
    let (traced, mut restarted) = save_and_restart(process, piped);
    let mut input = restarted.input();
    input.write_all(b"a line\n").unwrap();
    drop(input);
    assert_eq!(restarted.finish().code(), 0);
    traced
}

/// A command that runs a program under strace. `-D`: the program is the child, and strace the grandchild.
fn strace(place: &Place, program: &Program) -> Command {
    let library = place.artifact(Artifact::Library);
    let strace =
        Program::tool("strace").without_preload().args(["-D", "-f", "-s", "64", "-o", "trace", "-E"]);
    let strace = strace.arg(format!("LD_PRELOAD={}", library.display())).arg(place.executable(program));
    place.command_for(&strace.args(&program.args))
}

fn start(place: &Place, mut command: Command) -> Process {
    command.stdout(place.output("out")).stderr(place.output("err"));
    Process::spawn(place, command)
}

/// Saves a program that runs under strace, ends it, and restarts it under strace with the command that `finish` makes.
fn save_and_restart(mut process: Process, finish: impl Fn(Command) -> Command) -> (Traced, Process) {
    let place = process.place.clone();
    let pid = process.pid();
    let image = process.save();
    let ends = |text: &str| save_has_ended(text, pid);
    let text = wait(|| Some(place.text("trace")).filter(|text| ends(text)))
        .expect("the save does not end in the trace");
    let save = of_save(&text, pid);
    process.kill();

    let mut restarted = image.restart_by(finish(image.traced("restart-trace", "all")));
    let came_back = |text: &str| text.contains("rt_sigreturn(");
    restarted.until("rt_sigreturn", |_| came_back(&place.text("restart-trace")));
    let restart = of_restart(&place.text("restart-trace"));
    (Traced { save, restart }, restarted)
}

fn split(line: &str) -> Option<(i32, &str)> {
    let (pid, rest) = line.split_once(char::is_whitespace)?;
    Some((pid.parse().ok()?, rest.trim_start()))
}

/// The name of the call that a line begins, if it begins one.
fn name(rest: &str) -> Option<&str> {
    let (name, _) = rest.split_once('(')?;
    (!name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'))
        .then_some(name)
}

/// Whether the handler has returned and every process that it started has ended.
fn save_has_ended(text: &str, pid: i32) -> bool {
    let returned =
        text.lines().filter_map(split).any(|(who, rest)| who == pid && rest.starts_with("rt_sigreturn("));
    let others: Vec<i32> =
        text.lines().filter_map(split).map(|(who, _)| who).filter(|who| *who != pid).collect();
    let ended =
        |who: i32| text.lines().filter_map(split).any(|(pid, rest)| pid == who && rest.starts_with("+++"));
    returned && !others.is_empty() && others.iter().all(|who| ended(*who))
}

/// The calls of a save in a trace of `strace -f`: those of the target from the signal to `rt_sigreturn`, and all of the processes that it starts meanwhile.
pub fn of_save(text: &str, target: i32) -> Vec<Call> {
    let mut inside = false;
    let mut helper = None;
    let mut calls = Vec::new();
    for (pid, rest) in text.lines().filter_map(split) {
        if pid == target && rest.starts_with("--- SIGUSR2") {
            inside = true;
        }
        let Some(name) = name(rest) else { continue };
        let phase = if pid != target {
            if *helper.get_or_insert(pid) == pid { Phase::Helper } else { Phase::Writer }
        } else if inside {
            Phase::Target
        } else {
            continue;
        };
        if phase == Phase::Target && name == "rt_sigreturn" {
            inside = false;
        }
        calls.push(Call { phase, name: name.to_owned(), text: rest.to_owned() });
    }
    calls
}

/// The calls of a restart in a trace of `strace -f`, from behind execve to `rt_sigreturn`.
pub fn of_restart(text: &str) -> Vec<Call> {
    let lines: Vec<&str> = text.lines().map(|line| split(line).map_or(line, |(_, rest)| rest)).collect();
    let execs = lines.iter().rposition(|line| line.starts_with("execve("));
    let mut resumed = false;
    let mut calls = Vec::new();
    for rest in &lines[execs.map_or(0, |at| at + 1)..] {
        let Some(name) = name(rest) else { continue };
        // The first thing that the restored libckpt does.
        resumed |= name == "gettid";
        let phase = if resumed { Phase::Resume } else { Phase::Restart };
        calls.push(Call { phase, name: name.to_owned(), text: (*rest).to_owned() });
        if resumed && name == "rt_sigreturn" {
            break;
        }
    }
    calls
}

/// Calls that the table does not list, each once.
pub fn unlisted(calls: &[Call]) -> Vec<String> {
    let table = table();
    let mut missing: Vec<String> = calls
        .iter()
        .filter(|call| !table.contains_key(&(call.phase.to_string(), call.name.clone())))
        .map(|call| format!("{} {}: {}", call.phase, call.name, call.text))
        .collect();
    missing.sort();
    missing.dedup_by(|a, b| a.split(':').next() == b.split(':').next());
    missing
}
