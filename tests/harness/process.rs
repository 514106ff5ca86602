//! A process under test, from its start to its end.

use crate::{Artifact, Image, Place, wait};
use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::Signal;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus};
use std::time::Instant;

/// A child of the test. Dropped, it is killed and waited for.
pub struct Process {
    /// Where it runs.
    pub place: Place,
    /// The signal that asks for a save.
    pub signal: i32,
    /// Name of the image in the working directory.
    pub image: PathBuf,
    /// Whether a save is the last that it does: stopped as soon as the handler has returned, it cannot come to its end before it is
    /// killed, however busy the machine is.
    pub held: bool,
    has_stand_in: bool,
    child: Child,
    pid: i32,
    command: String,
    readies: usize,
    releases: usize,
    generation: usize,
}

/// [`Process::signal`] of a process that takes none: `ckpt save` enters it.
pub const ENTRY: i32 = 0;

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Exit status.
    pub status: ExitStatus,
    /// Everything on standard output.
    pub output: Vec<u8>,
    /// Everything on standard error.
    pub messages: String,
}

impl Process {
    /// Starts `command` in `place`.
    #[track_caller]
    pub fn spawn(place: &Place, mut command: Command) -> Self {
        let text = format!("{command:?}");
        // Another thread may be between fork and exec while it holds the executable, just copied, open for writing.
        let child = wait(|| match command.spawn() {
            Err(e) if e.kind() == ErrorKind::ExecutableFileBusy => None,
            other => Some(other),
        });
        let child = child.expect("executable busy").unwrap_or_else(|e| panic!("{text}: {e}"));
        let pid = child.id() as i32;
        Self {
            place: place.clone(),
            signal: libc::SIGUSR2,
            image: "myckpt".into(),
            held: false,
            has_stand_in: false,
            child,
            pid,
            command: text,
            readies: 0,
            releases: 0,
            generation: 0,
        }
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Directs saves and signals to a descendant of the child that was started.
    pub fn follow(&mut self, pid: i32) {
        self.pid = pid;
    }

    /// The process that was started: the stand-in, when the program is a child of it.
    pub fn stand_in(&self) -> i32 {
        self.child.id() as i32
    }

    /// Finds the program among the children of its stand-in, where that is what was started.
    fn follow_program(&mut self) {
        let stand_in = self.stand_in();
        // None of one that has ended.
        let is_ours =
            |pid: i32| Some(fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.starts_with("myrestart"));
        if self.has_stand_in || is_ours(stand_in) != Some(true) {
            return;
        }
        let children = format!("/proc/{stand_in}/task/{stand_in}/children");
        let children = fs::read_to_string(children).unwrap_or_default();
        let mut children = children.split_whitespace().map(|pid| pid.parse::<i32>().unwrap());
        if let Some(program) = children.find(|pid| is_ours(*pid) == Some(false)) {
            self.pid = program;
            self.has_stand_in = true;
        }
    }

    /// Waits until the program is a child of its stand-in.
    #[track_caller]
    pub(crate) fn follow_kept(&mut self) {
        self.until("the child with the old id", |this| {
            this.follow_program();
            this.has_stand_in
        });
    }

    /// The harness's ends of its standard input and output, if the command asked for pipes.
    pub fn pipes(&mut self) -> (ChildStdin, ChildStdout) {
        (self.child.stdin.take().unwrap(), self.child.stdout.take().unwrap())
    }

    /// The harness's end of its standard input, if the command asked for a pipe.
    pub fn input(&mut self) -> ChildStdin {
        self.child.stdin.take().unwrap()
    }

    /// Number of restarts between the first start and this process.
    pub fn generation(&self) -> usize {
        self.generation
    }

    /// Ends the test with a message and all that is known of the process.
    #[track_caller]
    pub fn fail(&mut self, message: &str) -> ! {
        panic!("{message}\n{}", self.report())
    }

    /// What is known of the process: command, state, registers' place, memory map, output.
    pub fn report(&mut self) -> String {
        let state = match self.child.try_wait() {
            Ok(Some(status)) => format!("ended: {status}"),
            _ => format!(
                "runs\n--- threads\n{}--- maps\n{}",
                self.threads().concat(),
                tail(&self.proc("maps"), 60)
            ),
        };
        let files = ["out", "err", "restart.out", "restart.err"].map(|name| {
            let text = self.place.text(name);
            format!("--- {name} ({} bytes)\n{}", text.len(), tail(&text, 20))
        });
        let (user, cwd) = (self.place.user, self.place.cwd());
        format!(
            "{} as {user:?} in {}, pid {}, generation {}: {state}\n{}",
            self.command,
            cwd.display(),
            self.pid,
            self.generation,
            files.concat()
        )
    }

    /// What each thread does, of the process and of who else works in its place: its name, state and signals, the system call with its arguments that
    /// it is in, and how many nanoseconds it has had a CPU and waited for one.
    fn threads(&self) -> Vec<String> {
        let text = |path: PathBuf| fs::read_to_string(path).unwrap_or_default().replace('\t', " ");
        let wanted = ["Name", "State", "Tgid", "SigPnd", "ShdPnd", "SigBlk"];
        let mut all = vec![];
        for pid in [vec![self.pid], self.companions()].concat() {
            for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
                let status = text(task.path().join("status"));
                let lines = status.lines().filter(|line| wanted.iter().any(|name| line.starts_with(name)));
                let [call, times] = ["syscall", "schedstat"].map(|name| text(task.path().join(name)));
                let what = lines.fold(String::new(), |all, line| all + line + ", ");
                let (call, times) = (call.trim(), times.trim());
                all.push(format!("{}: {what}syscall {call}, times {times}\n", task.file_name().display()));
            }
        }
        all
    }

    /// A file of `/proc/PID`; empty when it cannot be read.
    pub fn proc(&self, name: &str) -> String {
        let bytes = fs::read(format!("/proc/{}/{name}", self.pid)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The line of `/proc/PID/status` that begins with `name`, without it.
    pub fn status_line(&self, name: &str) -> String {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_default().trim().to_owned()
    }

    /// One of the signal masks in `/proc/PID/status`.
    fn mask(&self, name: &str) -> Option<u64> {
        u64::from_str_radix(&self.status_line(name), 16).ok()
    }

    /// Whether it blocks every signal, as it does during a save and a restart; also when it is not known.
    pub fn blocks_all(&self) -> bool {
        self.mask("SigBlk").is_none_or(|blocked| blocked | LIBC_SIGNALS == ALL_SIGNALS)
    }

    /// What each descriptor refers to, as `/proc/PID/fd` says, by number.
    pub fn descriptors(&self) -> Vec<(u32, String)> {
        let folder = PathBuf::from(format!("/proc/{}/fd", self.pid));
        let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
        let mut all: Vec<_> = entries
            .filter_map(|entry| {
                let number = entry.file_name().to_str()?.parse().ok()?;
                Some((number, fs::read_link(entry.path()).ok()?.to_string_lossy().into_owned()))
            })
            .collect();
        all.sort();
        all
    }

    /// Who else works in its place: the helpers and writers of its saves, and its children.
    pub fn companions(&self) -> Vec<i32> {
        let cwd = self.place.cwd();
        let pids = fs::read_dir("/proc").unwrap().flatten();
        let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(|pid| *pid != self.pid)
            .filter(|pid| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|dir| dir == cwd))
            .collect()
    }

    /// Whether a signal that asks for a save has arrived and waits for its turn.
    pub fn is_asked(&self) -> bool {
        self.mask("ShdPnd").is_some_and(|pending| pending & 1 << (self.signal - 1) != 0)
    }

    /// Whether it has ended by now.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits until `condition` is true; fails if the process ends before.
    #[track_caller]
    pub fn until(&mut self, what: &str, mut condition: impl FnMut(&mut Self) -> bool) {
        let mut early = None;
        let met = wait(|| {
            // In this order: what ended may have met the condition first.
            early = self.ended();
            if condition(self) { Some(true) } else { early.map(|_| false) }
        });
        match met {
            Some(true) => {}
            Some(false) => self.fail(&format!("ended before {what}")),
            None => self.fail(&format!("not in time: {what}")),
        }
    }

    /// Waits for the victim's next "ready".
    #[track_caller]
    pub fn ready(&mut self) {
        self.readies += 1;
        let wanted = self.readies;
        self.until("\"ready\"", |this| {
            this.place.text("out").lines().filter(|line| *line == "ready").count() >= wanted
        });
    }

    /// [`Process::ready`], with the reason as an error when it does not come.
    pub fn try_ready(&mut self) -> Result<(), String> {
        self.readies += 1;
        let wanted = self.readies;
        let came = wait(|| {
            let ended = self.ended().is_some();
            let text = self.place.text("out");
            let came = text.lines().filter(|line| *line == "ready").count() >= wanted;
            (came || ended).then_some(came)
        });
        match came {
            Some(true) => Ok(()),
            Some(false) => Err(tail(&self.place.text("out"), 1).trim_end().to_owned()),
            None => Err(self.report()),
        }
    }

    /// Lets a victim go on that waits after "ready".
    pub fn go(&mut self) {
        self.releases += 1;
        self.place.write(&format!("go.{}", self.releases), b"");
        let control = fs::File::options().write(true).open(self.place.file("control")).unwrap();
        control.write_all_at(&(self.releases as u64).to_ne_bytes(), 0).unwrap();
    }

    /// Position of standard output, a regular file, in bytes: how far a program has come.
    pub fn position(&self) -> u64 {
        let info = self.proc("fdinfo/1");
        info.lines().find_map(|line| line.strip_prefix("pos:")?.trim().parse().ok()).unwrap_or(0)
    }

    /// Waits until standard output, a regular file, has got this far.
    #[track_caller]
    pub fn reaches(&mut self, position: u64) {
        self.until(&format!("byte {position} of the output"), |this| this.position() >= position);
    }

    /// Sends a signal to it.
    #[track_caller]
    pub fn send(&mut self, signal: impl SignalNumber) {
        let signal = signal.number();
        if let Err(errno) = send(self.pid, signal) {
            self.fail(&format!("kill({signal}): {errno}"));
        }
    }

    /// Asks for a save and waits for the image.
    #[track_caller]
    pub fn save(&mut self) -> Image {
        match self.try_save() {
            Ok(image) => image,
            Err(line) => self.fail(&format!("the save was refused: {line}")),
        }
    }

    /// Asks for a save and waits for the image, or for the line on standard error that says why there is none.
    #[track_caller]
    pub fn try_save(&mut self) -> Result<Image, String> {
        let name = self.place.file(&self.image);
        let before = identity(&name);
        if self.signal == ENTRY {
            return self.enter();
        }
        let said = self.place.read("err").len();
        self.send(self.signal);
        let answer = |this: &Self| {
            let now = identity(&name);
            if now.is_some() && now != before {
                return Some(Ok(()));
            }
            let messages = this.place.read("err");
            let news = String::from_utf8_lossy(messages.get(said..).unwrap_or_default()).into_owned();
            let line = news.lines().find(|line| line.starts_with("ckpt: ") && news.ends_with('\n'))?;
            Some(Err(line.to_owned()))
        };
        if self.held {
            self.hold(|this| answer(this).is_some());
        }
        let mut result = None;
        self.until("an image or a refusal", |this| {
            result = answer(this);
            result.is_some()
        });
        result.unwrap().map(|()| self.image_of_save())
    }

    /// Stops it when no thread is in a save. The kernel takes a signal from the pending ones before it blocks those of the action's mask, so that a thread
    /// may be about to enter the handler and not show it. A thread that has stopped shows it, and what stops in a save continues at once: a thread that
    /// waits for the helper of a save does not stop, and the helper waits for those that do. A parent like tmux continues a child that stops, which then may
    /// never be seen at rest: the answer to the save will do.
    #[track_caller]
    fn hold(&mut self, is_answered: impl Fn(&Self) -> bool) {
        loop {
            self.until("the handler's return", |this| !this.is_asked() && !this.is_in_save());
            self.send(libc::SIGSTOP);
            self.until("the stop", |this| {
                let states = this.of_threads("State");
                let at_rest = states.iter().all(|state| state.starts_with(['T', 'Z', 'X']));
                !states.is_empty() && at_rest || this.is_in_save() || is_answered(this)
            });
            if !self.is_in_save() {
                return;
            }
            self.send(libc::SIGCONT);
        }
    }

    /// Whether one of its threads handles the signal that asks for a save, or stands still for it: any thread may take that signal. A libc never blocks
    /// signal 33 for longer than it starts a thread.
    fn is_in_save(&self) -> bool {
        let masks = self.of_threads("SigBlk");
        masks.iter().any(|mask| u64::from_str_radix(mask, 16) == Ok(ALL_SIGNALS))
    }

    /// The line of `/proc/PID/task/TID/status` that begins with `name`, without it, of each thread.
    fn of_threads(&self, name: &str) -> Vec<String> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid)).into_iter().flatten().flatten();
        let texts = tasks.filter_map(|task| fs::read_to_string(task.path().join("status")).ok());
        texts
            .filter_map(|text| {
                let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
                Some(line.trim().to_owned())
            })
            .collect()
    }

    /// Asks for a save that must be refused; returns the line that says so.
    #[track_caller]
    pub fn refused(&mut self) -> String {
        match self.try_save() {
            Ok(_) => self.fail("saved"),
            Err(line) => line,
        }
    }

    /// [`Process::try_save`] by `ckpt save`, run by the user whose process it is.
    #[track_caller]
    fn enter(&mut self) -> Result<Image, String> {
        let mut command = self.place.command(&self.place.artifact(Artifact::Command));
        let output = command.args(["save", "--timeout", "60s", &self.pid.to_string()]).output().unwrap();
        if output.status.success() {
            return Ok(self.image_of_save());
        }
        Err(String::from_utf8_lossy(&output.stderr).trim_end().to_owned())
    }

    /// The image that is there now.
    pub fn image_of_save(&self) -> Image {
        let counts = [self.readies, self.releases, self.generation];
        Image::new(&self.place, self.place.file(&self.image), self.signal, self.image.clone(), counts)
    }

    /// Kills it as a power cut would, and waits for its end.
    #[track_caller]
    pub fn kill(mut self) {
        match send(self.pid, libc::SIGKILL) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(errno) => self.fail(&format!("kill: {errno}")),
        }
        // A stand-in ends by itself, when it has taken the program away: until then the id is in use.
        if !self.has_stand_in {
            self.child.kill().unwrap();
        }
        self.child.wait().unwrap();
    }

    /// Save, kill, restart: as often as asked, each time the process restarted last. The file `downtime` says how many nanoseconds it did
    /// not run.
    #[track_caller]
    pub fn generations(self, count: usize) -> Process {
        let mut process = self;
        for _ in 0..count {
            let image = process.save();
            let stopped = Instant::now();
            process.kill();
            process = image.restart();
            let before: u128 = process.place.text("downtime").parse().unwrap_or(0);
            let downtime = before + stopped.elapsed().as_nanos();
            process.place.write("downtime", downtime.to_string().as_bytes());
        }
        process
    }

    /// Waits for the end.
    #[track_caller]
    pub fn finish(mut self) -> Outcome {
        let Some(status) = wait(|| self.ended()) else { self.fail("does not end") };
        Outcome { status, output: self.place.read("out"), messages: self.place.text("err") }
    }

    /// Lets a victim verify, and checks that it ends with PASS, status 0 and nothing on standard error.
    #[track_caller]
    pub fn passes(mut self) {
        self.go();
        self.has_passed();
    }

    /// Waits for the end of a victim that was released before, and checks the same.
    #[track_caller]
    pub fn has_passed(mut self) {
        let Some(status) = wait(|| self.ended()) else { self.fail("does not end") };
        if !self.place.text("out").ends_with("PASS\n") || !status.success() {
            self.fail("the victim did not pass");
        }
        if !self.place.text("err").is_empty() || !self.place.text("restart.err").is_empty() {
            self.fail("something was written to standard error");
        }
    }

    /// [`Process::passes`] of a program that was told why it was not saved.
    #[track_caller]
    pub fn passes_in_spite_of_a_line(mut self) {
        self.go();
        let place = self.place.clone();
        let outcome = self.finish();
        let passed = outcome.status.success() && place.text("out").ends_with("PASS\n");
        assert!(passed && outcome.messages.lines().count() == 1, "{outcome:?}");
    }

    pub(crate) fn inherit(
        &mut self,
        image: PathBuf,
        signal: i32,
        [readies, releases, generation]: [usize; 3],
    ) {
        (self.image, self.signal) = (image, signal);
        (self.readies, self.releases, self.generation) = (readies, releases, generation + 1);
    }

    /// Waits until the restarter is gone and the target runs: it catches the signal that asks for a save, not every signal is blocked any
    /// more, and no mapping of the restarter is left. Returns at once if the process has ended, which a short program may.
    #[track_caller]
    pub(crate) fn resumed(&mut self, restarter: &Path) {
        if let Err(message) = self.try_resumed(restarter) {
            self.fail(&message);
        }
    }

    /// [`Process::resumed`], with what went wrong as an error.
    pub(crate) fn try_resumed(&mut self, restarter: &Path) -> Result<(), String> {
        let restarter = restarter.to_str().unwrap().to_owned();
        let back = wait(|| {
            self.follow_program();
            let caught = |mask: u64| self.signal == ENTRY || mask & 1 << (self.signal - 1) != 0;
            let catches = self.mask("SigCgt").is_some_and(caught);
            let running = catches && !self.blocks_all() && !self.proc("maps").contains(&restarter);
            (running || self.ended().is_some()).then_some(())
        });
        if back.is_none() {
            return Err("the restart does not end".to_owned());
        }
        let messages = self.place.text("restart.err");
        match self.ended() {
            Some(status) if status.signal().is_some() || !messages.is_empty() => {
                Err(format!("the restart failed: {status}: {}", messages.trim_end()))
            }
            _ => Ok(()),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Errors mean that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Outcome {
    /// The exit code; fails if a signal ended it.
    #[track_caller]
    pub fn code(&self) -> i32 {
        self.status
            .code()
            .unwrap_or_else(|| panic!("ended by signal {:?}: {}", self.status.signal(), self.messages))
    }
}

/// A signal: by its name, or by a number, as real-time signals have no names.
pub trait SignalNumber {
    /// Its number.
    fn number(self) -> i32;
}

impl SignalNumber for i32 {
    fn number(self) -> i32 {
        self
    }
}

impl SignalNumber for Signal {
    fn number(self) -> i32 {
        self as i32
    }
}

/// kill(2).
fn send(pid: i32, signal: i32) -> nix::Result<()> {
    // SAFETY: no memory is involved.
    Errno::result(unsafe { libc::kill(pid, signal) }).map(drop)
}

/// What tells one image from the next under the same name: the new one is written while the old one is still there.
pub(crate) fn identity(path: &Path) -> Option<(u64, u64)> {
    let m = fs::metadata(path).ok()?;
    Some((m.dev(), m.ino()))
}

/// All signals but SIGKILL and SIGSTOP, which cannot be blocked.
const ALL_SIGNALS: u64 = !(1 << 8 | 1 << 18);
/// Those that libc keeps for itself, which it does not let a program block.
const LIBC_SIGNALS: u64 = 1 << 31 | 1 << 32;

/// The last lines of a text.
fn tail(text: &str, count: usize) -> String {
    let lines: Vec<_> = text.lines().collect();
    let skipped = lines.len().saturating_sub(count);
    let note = if skipped > 0 { format!("... {skipped} lines\n") } else { String::new() };
    lines.iter().skip(skipped).fold(note, |text, line| text + line + "\n")
}
