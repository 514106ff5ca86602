//! The cost of being preloaded, counted in system calls by strace.

use harness::{Artifact, Place, Process, Program, User, wait};

/// System calls of a program, one a line.
fn trace(program: Program) -> Vec<String> {
    let place = Place::new(User::ordinary());
    let library = place.artifact(Artifact::Library);
    let mut strace = Program::tool("strace").without_preload().args(["-f", "-o", "trace"]);
    if program.preload {
        strace = strace.args(["-E".into(), format!("LD_PRELOAD={}", library.display())]);
    }
    let outcome = place.start(&strace.arg(place.executable(&program)).args(&program.args)).finish();
    assert!(outcome.status.success(), "{}", outcome.messages);
    place.text("trace").lines().filter(|line| line.contains('(')).map(str::to_owned).collect()
}

#[test]
fn a_program_that_is_never_saved_makes_at_most_16_more_system_calls() {
    let with = trace(Program::tool("true"));
    let without = trace(Program::tool("true").without_preload());
    let more = with.len() - without.len();
    assert!((1..=16).contains(&more), "{more} more:\n{}", with.join("\n"));
    assert!(
        with.iter().any(|line| line.contains("SIGUSR2") || line.contains("rt_sigaction")),
        "not loaded? {with:?}"
    );
}

#[test]
fn nothing_happens_between_checkpoints() {
    let place = Place::new(User::ordinary());
    let library = place.artifact(Artifact::Library);
    let victim = Program::victim("quiet");
    // -D: the victim is the child, and strace the grandchild.
    let strace = Program::tool("strace").without_preload().args(["-D", "-f", "-o", "trace", "-E"]);
    let strace = strace.arg(format!("LD_PRELOAD={}", library.display())).arg(place.executable(&victim));
    let mut process = place.start(&strace);
    process.ready();
    let pid = process.pid();
    process.save();
    let returns = |text: &str| own_calls(text, pid).iter().filter(|call| is_return(call)).count();
    process.until("the return from the handler", |_| returns(&place.text("trace")) == 1);
    process.save();
    process.until("the second return from the handler", |_| returns(&place.text("trace")) == 2);
    process.passes();
    let ended = |calls: &Vec<String>| calls.iter().any(|call| call.starts_with("+++ exited with 0"));
    let calls =
        wait(|| Some(own_calls(&place.text("trace"), pid)).filter(ended)).expect("strace does not end");
    let at = |part: &str, from: usize| {
        from + calls[from..]
            .iter()
            .position(|l| l.contains(part))
            .unwrap_or_else(|| panic!("no {part}: {calls:#?}"))
    };
    // "ready", the signal; its return, the signal; its return, "PASS": each pair with nothing in between.
    let ready = at("\"ready\\n\"", 0);
    assert!(calls[ready + 1].contains("--- SIGUSR2"), "{:#?}", &calls[ready..]);
    let first = at("rt_sigreturn", ready);
    assert!(calls[first + 1].contains("--- SIGUSR2"), "{:#?}", &calls[first..]);
    let second = at("rt_sigreturn", first + 1);
    assert!(calls[second + 1].contains("\"PASS\\n\""), "{:#?}", &calls[second..]);
}

/// Events of a trace that are of the process itself, not of a writer that it started. strace breaks a call in two lines when another
/// process does something in between; here it is one.
fn own_calls(text: &str, pid: i32) -> Vec<String> {
    let pid = format!("{pid} ");
    let mut calls: Vec<String> = vec![];
    for line in text.lines().filter_map(|line| line.strip_prefix(&pid)) {
        let unfinished = calls.last_mut().filter(|call| call.ends_with(" <unfinished ...>"));
        match (unfinished, line.trim_start().split_once(" resumed>")) {
            (Some(call), Some((_, rest))) => *call = call.replace(" <unfinished ...>", rest),
            _ => calls.push(line.trim_start().to_owned()),
        }
    }
    calls
}

/// Whether a call is a return from a signal handler that has happened.
fn is_return(call: &str) -> bool {
    call.starts_with("rt_sigreturn") && !call.ends_with(" <unfinished ...>")
}

#[test]
fn a_bad_variable_does_not_end_a_program_whose_messages_nobody_reads() {
    let place = Place::new(User::ordinary());
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command =
        place.command_for(&Program::tool("sh").args(["-c", "exit 3"]).env("CKPT_SIGNAL", "nonsense"));
    command.stderr(writer);
    assert_eq!(Process::spawn(&place, command).finish().code(), 3);
}
