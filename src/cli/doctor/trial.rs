//! A program saved, killed and restarted.

use super::{Finding, State};
use crate::report::Line;
use crate::request::{Kind, Request};
use crate::target::Target;
use crate::text::elapsed;
use crate::tools;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigHandler, Signal, signal};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Tries it.
pub fn finding() -> Finding {
    match attempt() {
        Ok(note) => Finding::new("trial", State::Ok, note),
        Err(why) if why.starts_with("not tried") => Finding::new("trial", State::Limited, why),
        Err(why) => Finding::new("trial", State::Missing, why),
    }
}

/// The ways to the old ids, each tried with a program of two threads. Nothing is said of them where no such program can be saved.
pub fn ids() -> Vec<Finding> {
    let Ok((dir, image)) = saved_pair() else { return vec![] };
    let ways = [("ids here", "--pid=keep"), ("ids elsewhere", "--pid=namespace")];
    let found = ways.map(|(what, way)| match restarted(way, &image) {
        Ok(()) => Finding::new(
            what,
            State::Ok,
            format!("myrestart {way}: a program of two threads has its old ids"),
        ),
        Err(why) => {
            let why = why.strip_prefix("myrestart: ").unwrap_or(&why);
            Finding::new(what, State::Limited, format!("myrestart {way}: {why}"))
        }
    });
    drop(dir);
    found.into()
}

/// Saves and kills this program, run as [`pair`].
fn saved_pair() -> Result<(tempfile::TempDir, PathBuf), String> {
    prepare();
    let dir = tempfile::Builder::new().prefix("ckpt-doctor-").tempdir().map_err(|e| e.to_string())?;
    let image = dir.path().join("image");
    let library = tools::library().map_err(|failure| failure.text)?;
    let ours = std::env::current_exe().map_err(|e| e.to_string())?;
    let mut command = Command::new(ours);
    command.arg("doctor").env(PAIR, "1").env("LD_PRELOAD", library).env("CKPT_IMAGE", &image);
    let mut program = Trial::start(command.env_remove("CKPT_SIGNAL"))?;
    program.echo("one")?;
    save(program.child.id())?;
    Ok((dir, image))
}

fn restarted(way: &str, image: &Path) -> Result<(), String> {
    let restarter = tools::restarter().map_err(|failure| failure.text)?;
    let mut program = Trial::start(Command::new(restarter).arg(way).arg(image))?;
    program.echo("two")?;
    program.end()
}

/// In the environment of this program, it is [`pair`].
pub const PAIR: &str = "CKPT_DOCTOR_PAIR";

/// A program of two threads that copies its input to its output, line by line.
pub fn pair() {
    std::thread::spawn(|| {
        loop {
            std::thread::park();
        }
    });
    for line in std::io::stdin().lines().map_while(Result::ok) {
        println!("{line}");
    }
}

/// How long each step may take.
const STEP: Duration = Duration::from_secs(10);

/// What the programs would inherit and must not, and SIGPIPE, which would end us with them.
fn prepare() {
    // SAFETY: our own descriptors are marked anyway; those that were inherited are for nobody.
    let _ = unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    // SAFETY: no handler. std sets the default again in children.
    let _ = unsafe { signal(Signal::SIGPIPE, SigHandler::SigIgn) };
}

/// Saves cat(1) between two lines, kills it, and lets its restarted self copy the second one.
fn attempt() -> Result<String, String> {
    prepare();
    let dir = tempfile::Builder::new()
        .prefix("ckpt-doctor-")
        .tempdir()
        .map_err(|e| format!("not tried: no folder for an image; TMPDIR names one: {e}"))?;
    let image = dir.path().join("image");
    let library = tools::library().map_err(|failure| failure.text)?;
    let restarter = tools::restarter().map_err(|failure| failure.text)?;

    let mut first = Trial::start(
        Command::new("cat").env("LD_PRELOAD", library).env("CKPT_IMAGE", &image).env_remove("CKPT_SIGNAL"),
    )?;
    first.echo("one").map_err(|why| format!("a program with libckpt.so does not run: {why}"))?;
    let start = Instant::now();
    save(first.child.id())?;
    let saved = start.elapsed();
    drop(first);

    let start = Instant::now();
    let mut second = Trial::start(Command::new(restarter).arg(&image))?;
    second.echo("two").map_err(|why| format!("a restarted program does not go on: {why}"))?;
    let restarted = start.elapsed();
    second.end()?;
    Ok(format!("cat(1) was saved in {}, killed, and restarted in {}", elapsed(saved), elapsed(restarted)))
}

/// Saves a process. It has our identity, so that the request changes nothing of ours.
fn save(pid: u32) -> Result<(), String> {
    let target = Target::open(pid, None).map_err(|failure| failure.text)?;
    let mut request = Request::send(&target, Kind::Save, Some(STEP)).map_err(|failure| failure.text)?;
    loop {
        match request.next().map_err(|failure| failure.text)? {
            Line::Saved(_) => return Ok(()),
            Line::Refused(why) | Line::Failed(why) => return Err(format!("not saved: {why}")),
            _ => {}
        }
    }
}

/// A program that copies its input to its output. Killed when dropped.
struct Trial {
    child: Child,
}

impl Trial {
    fn start(command: &mut Command) -> Result<Self, String> {
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        child.map(|child| Self { child }).map_err(|e| format!("{}: {e}", command.get_program().display()))
    }

    /// Sends it a line and waits until it comes back.
    fn echo(&mut self, line: &str) -> Result<(), String> {
        let (Some(input), Some(output)) = (&mut self.child.stdin, &mut self.child.stdout) else {
            return Err("it has no pipes".to_owned());
        };
        let written = writeln!(input, "{line}");
        let mut fds = [PollFd::new(output.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, PollTimeout::from(STEP.as_millis() as u16)).unwrap_or(0) == 0 {
            return Err("it does not answer".to_owned());
        }
        let mut answer = String::new();
        let read = BufReader::new(output).read_line(&mut answer);
        if written.is_ok() && read.is_ok() && answer.trim_end() == line {
            return Ok(());
        }
        // It has ended, or its pipes would be open: what it said last tells more than how.
        let mut messages = String::new();
        let said = self.child.stderr.as_mut().and_then(|stderr| stderr.read_to_string(&mut messages).ok());
        if let Some(line) = said.and_then(|_| messages.lines().next_back()) {
            return Err(line.to_owned());
        }
        Err(match self.child.wait() {
            Ok(status) => match (status.code(), status.signal()) {
                (Some(code), _) => format!("it exits with {code}"),
                (None, signal) => format!("it dies of {}", crate::signal::name(signal.unwrap_or(0) as u32)),
            },
            Err(e) => e.to_string(),
        })
    }

    /// Closes its input: it must end as if nothing had happened.
    fn end(&mut self) -> Result<(), String> {
        drop(self.child.stdin.take());
        match self.child.wait() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("the restarted program ends wrongly: {status}")),
            Err(e) => Err(e.to_string()),
        }
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        // Errors mean that it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
