//! The commands that the documentation shows do what it shows.
//!
//! All blocks ```` ```console ```` of a document are one session of a shell, in order, in a folder with the `build` of `make`. Lines that begin with `$ ` are
//! commands, with `> ` their continuation; the others are their output, both streams of it. Numbers, sizes and times may differ, and a line `...` stands
//! for any number of lines. A block whose first word is not `console` is not run; a block with a file's name behind its language is that file.
//!
//! `CKPT_WRITE_DOCS=1` writes what came out into the documents instead.

use harness::{Artifact, Place, Process, User, root, tool};
use std::fmt::Write;
use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::Path;

/// Where the documents' sessions take place.
const FOLDER: &str = "/home/me/ckpt";

/// A command and what it writes.
struct Step {
    command: String,
    output: Vec<String>,
    /// Range of the output in the document's lines.
    lines: std::ops::Range<usize>,
}

/// What a document has us do.
struct Session {
    steps: Vec<Step>,
    files: Vec<(String, String)>,
}

impl Session {
    fn read(text: &str) -> Self {
        let mut session = Self { steps: vec![], files: vec![] };
        let mut fence: Option<String> = None;
        for (at, line) in text.lines().enumerate() {
            let info = line.strip_prefix("```");
            let Some(words) = &fence else {
                if let Some(words) = info {
                    fence = Some(words.to_owned());
                    if let Some((_, name)) = words.split_once(' ') {
                        session.files.push((name.to_owned(), String::new()));
                    }
                }
                continue;
            };
            if info.is_some() {
                fence = None;
            } else if words.contains(' ') {
                let (_, contents) = session.files.last_mut().unwrap();
                *contents += line;
                *contents += "\n";
            } else if words == "console" {
                if let Some(command) = line.strip_prefix("$ ") {
                    session.steps.push(Step {
                        command: command.to_owned(),
                        output: vec![],
                        lines: at + 1..at + 1,
                    });
                } else if let Some(step) = session.steps.last_mut() {
                    match line.strip_prefix("> ") {
                        Some(more) if step.output.is_empty() => {
                            let _ = write!(step.command, "\n{more}");
                            step.lines = at + 1..at + 1;
                        }
                        _ => {
                            step.output.push(line.to_owned());
                            step.lines.end = at + 1;
                        }
                    }
                }
            }
        }
        session
    }

    /// The session as a script: each command between two marks. Where a reader takes a moment, the script waits for what happens in it.
    fn script(&self) -> String {
        let mut script = String::from(
            "exec 2>&1\nsettle() { for _ in {1..2000}; do \"$@\" && return; sleep 0.01; done; }\n",
        );
        script += "catches() { [ ! -e /proc/$! ] || grep -q 'SigCgt.*[89a-f]..$' /proc/$!/status; }\n";
        for step in &self.steps {
            let command = &step.command;
            let first = command.split(" #").next().unwrap().trim_end();
            // A pause is for whoever pastes the commands.
            let is_pause = first.strip_prefix("sleep ").is_some_and(|seconds| seconds.parse::<u32>().is_ok());
            let command = if is_pause { "true" } else { command };
            let _ = write!(script, "status=$?; echo; echo '<<<'; (exit $status)\n{command}\n");
            if let Some(command) = first.strip_suffix('&') {
                // A program that writes runs, and so does its supervisor; of others the handler of the library tells.
                match command.rsplit_once('>') {
                    Some((_, file)) => writeln!(script, "settle test -s {}", file.trim()),
                    None => writeln!(script, "settle catches"),
                }
                .unwrap();
            } else if first.starts_with("kill -USR2") {
                script += "settle test -s myckpt\n";
            }
        }
        script + "echo; echo '<<<'\n"
    }
}

/// A line without what may differ: addresses, sizes, times, counts of such things, process ids. Other numbers must be right.
fn normal(line: &str) -> String {
    const UNITS: [&str; 10] = ["B", "KiB", "MiB", "GiB", "us", "ms", "s", "regions", "chunks", "process"];
    let bare = |word: &str| word.trim_matches(|c: char| "()[],;:".contains(c)).to_owned();
    let words: Vec<&str> = line.split_whitespace().collect();
    let differs = |at: usize| {
        let word = bare(words[at]);
        let is = |at: Option<usize>, list: &[&str]| {
            at.and_then(|at| words.get(at)).is_some_and(|word| list.contains(&bare(word).as_str()))
        };
        let is_number = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_digit() || c == '.');
        let is_id = words[at].starts_with('(')
            || is(at.checked_sub(1), &["process", "parent", "child", "group", "session", "uid", "gid"]);
        let is_hex = word.len() >= 8 && word.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
        let is_date = word.len() >= 8 && word.chars().all(|c| c.is_ascii_digit() || "-:+.TZ".contains(c));
        let is_unit = UNITS.contains(&word.as_str()) && at > 0 && is_number(words[at - 1]);
        is_number(&word) && (is_id || is(Some(at + 1), &UNITS))
            || is_unit
            || is_hex
            || is_date
            || word.starts_with("0x")
    };
    let shown = |at: usize| if differs(at) { "N" } else { words[at] };
    (0..words.len()).map(shown).collect::<Vec<_>>().join(" ")
}

/// Whether lines are as they were shown.
fn fits(shown: &[String], actual: &[&str]) -> bool {
    match shown.split_first() {
        None => actual.is_empty(),
        Some((first, rest)) if first == "..." => (0..=actual.len()).any(|skip| fits(rest, &actual[skip..])),
        Some((first, rest)) => actual
            .split_first()
            .is_some_and(|(line, actual)| normal(first) == normal(line) && fits(rest, actual)),
    }
}

/// What is to be shown instead: as many lines as before, where some were left out.
fn shown_again(shown: &[String], actual: &[&str]) -> Vec<String> {
    let Some(gap) = shown.iter().position(|line| line == "...") else {
        return actual.iter().map(|line| (*line).to_owned()).collect();
    };
    let after = shown.len() - gap - 1;
    let head = actual.iter().take(gap).map(|line| (*line).to_owned());
    let tail = actual[actual.len().saturating_sub(after).max(gap.min(actual.len()))..]
        .iter()
        .map(|line| (*line).to_owned());
    head.chain(["...".to_owned()]).chain(tail).collect()
}

#[track_caller]
fn check(document: &str) {
    let path = root().join(document);
    let text = fs::read_to_string(&path).unwrap();
    let session = Session::read(&text);
    assert!(!session.steps.is_empty(), "{document} shows no command");

    let place = Place::new(User::ordinary());
    let artifacts =
        [Artifact::Library, Artifact::Restarter, Artifact::Command].map(|part| place.artifact(part));
    let build = artifacts[0].parent().unwrap();
    symlink(build, place.file("build")).unwrap();
    // The README shows the program of the quick start, too.
    let quick_start = fs::read_to_string(root().join("docs/quick-start.md")).unwrap();
    for (name, contents) in Session::read(&quick_start).files.iter().chain(&session.files) {
        assert_eq!(
            fs::read_to_string(root().join(name)).unwrap(),
            *contents,
            "{document} shows another {name}"
        );
        fs::create_dir_all(place.file(name).parent().unwrap()).unwrap();
        // Whoever types the commands needs the time; a script does not.
        place.write(name, contents.replace("time.sleep(0.5)", "time.sleep(0.1)").as_bytes());
    }
    place.write("script", session.script().as_bytes());
    let mut command = place.command(&tool("bash"));
    command.arg("script").env("PATH", format!("{}:/usr/bin:/bin", build.display()));
    command.env("USER", "me").process_group(0).stdout(place.output("err"));
    let mut process = Process::spawn(&place, command);
    let group = nix::unistd::Pid::from_raw(process.pid());
    process.until("the end of the session", |process| {
        process.place.text("err").matches("\n<<<\n").count() > session.steps.len()
    });
    // Whatever still runs in the background.
    let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);

    let said = place.text("err").replace(place.cwd().to_str().unwrap(), FOLDER);
    let said = said.replace(build.to_str().unwrap(), &format!("{FOLDER}/build"));
    let parts: Vec<&str> = said.split("\n<<<\n").collect();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let mut wrong = String::new();
    for (step, part) in session.steps.iter().zip(&parts[1..]).rev() {
        // A shell with a terminal says this when it pleases.
        let job = |line: &&str| line.starts_with("script: line ") && line.contains(" Killed ");
        let actual: Vec<&str> = part.lines().filter(|line| !job(line)).collect();
        if !fits(&step.output, &actual) {
            let _ =
                writeln!(wrong, "$ {}\n{part}--- but shown is\n{}\n", step.command, step.output.join("\n"));
        }
        lines.splice(step.lines.clone(), shown_again(&step.output, &actual));
    }
    if std::env::var_os("CKPT_WRITE_DOCS").is_some() {
        fs::write(&path, lines.join("\n") + "\n").unwrap();
    } else {
        assert!(wrong.is_empty(), "{}:\n{wrong}", Path::new(document).display());
    }
}

#[test]
fn commands_of_the_readme() {
    check("README.md");
}

#[test]
fn commands_of_the_quick_start() {
    check("docs/quick-start.md");
}

#[test]
fn some_numbers_may_differ_and_words_may_not() {
    let same = [
        ("saved: 1.5 MiB in 12 ms, stopped for 9 us", "saved:  912 KiB in 3.1 s, stopped for 1.0 ms"),
        ("sleep (12) at 7ffe12345678-7ffe12346678", "sleep (345) at 00400000-00401000"),
        ("process 7 (x)", "process 12345 (x)"),
    ];
    for (a, b) in same {
        assert_eq!(normal(a), normal(b));
    }
    for (a, b) in
        [("saved to a", "saved to b"), ("85", "0"), ("3 is 9", "3 is 8"), ("by signal 9", "by signal 6")]
    {
        assert_ne!(normal(a), normal(b));
    }
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    assert!(fits(&lines("a 1 ms\n...\nz"), &["a 2 ms", "b", "c", "z"]));
    assert!(!fits(&lines("a 1 ms\n...\nz"), &["a 2 ms", "b", "c"]));
    assert!(!fits(&lines("a"), &["a", "b"]));
}
