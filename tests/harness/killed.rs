//! SIGKILL at random times while a program is saved: of the program, of the writer, of all of them.
//!
//! [`crate::faults`] kills at each system call; this does in between as well, with two saves in flight, and looks at what the image is of.

use crate::process::identity;
use crate::soak::{Random, spin};
use crate::{Artifact, Place, Process, Program, User, wait, waves};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::time::{Duration, Instant};

/// Who is killed.
#[derive(Clone, Copy, Debug)]
enum Whom {
    /// The program; what else takes part goes on.
    Program,
    /// The writer, if there is one at that moment; the program goes on.
    Writer,
    /// Every process that takes part.
    All,
}

/// The programs that are killed: by the name, their arguments, and whether images are written in the foreground.
pub const VICTIMS: [(&str, &[&str], bool); 4] = [
    ("killed in the background", &[], false),
    ("killed in the foreground", &[], true),
    ("killed with threads", &["threads"], false),
    ("killed with threads in the foreground", &["threads"], true),
];

/// What kills came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kills {
    /// The program was killed.
    pub programs: usize,
    /// A writer was killed.
    pub writers: usize,
    /// All were killed.
    pub all: usize,
    /// The name held the image of before.
    pub old: usize,
    /// It held a new one.
    pub new: usize,
    /// The image and its temporary were both there when it was over: somebody was killed in the middle.
    pub halves: usize,
}

impl Kills {
    /// How many there were.
    pub fn count(&self) -> usize {
        self.programs + self.writers + self.all
    }
}

impl std::fmt::Display for Kills {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { programs, writers, all, old, new, halves } = self;
        write!(
            out,
            "{} kills ({programs} of the program, {writers} of a writer, {all} of all): {old} old images and {new} new ones, \
             {halves} halves beside them; nothing wrong",
            self.count()
        )
    }
}

/// A program that is saved and killed again and again.
pub struct Victim {
    /// What it is called.
    pub name: &'static str,
    process: Option<Process>,
    threads: usize,
    in_background: bool,
    /// How long a save takes to which nothing happens.
    usual: Duration,
    /// The image is of a moment behind so many passes.
    floor: u64,
    /// So far.
    pub kills: Kills,
}

impl Victim {
    /// Starts it as an ordinary user, and saves it for the first time.
    pub fn start((name, args, in_foreground): (&'static str, &[&str], bool)) -> Self {
        let mut program = Program::victim("waves").args(args);
        if in_foreground {
            program = program.env("CKPT_FOREGROUND", "1");
        }
        let mut process = Place::new(User::ordinary()).start(&program);
        process.ready();
        let start = Instant::now();
        process.save();
        let usual = start.elapsed();
        let threads = if args.is_empty() { 1 } else { 3 };
        // Until it is its turn: else all victims would share the CPUs all the time.
        process.send(Signal::SIGSTOP);
        let (in_background, kills) = (!in_foreground, Kills::default());
        let process = Some(process);
        Self { name, process, threads, in_background, usual, floor: 0, kills }
    }

    /// One or two saves, and SIGKILL at a random moment of them; then there is an image, the old one or a new one, and the program goes on from it.
    pub fn strike(&mut self, random: &mut Random) {
        let mut process = self.process.take().expect("a running process");
        let place = process.place.clone();
        let image = place.file(&process.image);
        let (before, bytes) = (identity(&image), fs::read(&image).unwrap());
        let said = place.text("err").len();
        let whom = match random.below(3) {
            0 => Whom::Program,
            1 if self.in_background => Whom::Writer,
            _ => Whom::All,
        };
        process.send(Signal::SIGCONT);
        let passes = waves::passes(&place, 0);
        process.send(process.signal);
        let limit = self.usual.as_micros() as u64 * 3 / 2;
        if random.below(2) == 0 {
            spin(random.below(limit));
            process.send(process.signal);
        }
        spin(random.below(limit));
        // There is a writer during a part of the time only.
        let until = Instant::now() + self.usual;
        let mut struck = kill_them(&process, whom);
        while !struck && Instant::now() < until {
            struck = kill_them(&process, whom);
        }
        let lives = matches!(whom, Whom::Writer);
        if !lives {
            process.until("its end", |this| this.ended().is_some());
        }
        // A writer that is left comes to its end by itself; so does the save that was asked for second.
        let ended = wait(|| {
            let alone = process.companions().is_empty();
            let idle = !lives || !process.is_asked() && !process.blocks_all();
            (alone && idle && process.companions().is_empty()).then_some(())
        });
        if ended.is_none() {
            process.fail("somebody is still at work");
        }
        if lives {
            waves::go_on(&mut process, self.threads);
        }
        let messages = place.text("err");
        let news = messages.get(said..).unwrap_or_default();
        assert!(news.lines().all(|line| line.starts_with("ckpt: not saved: ")), "{}: {news}", self.name);

        let half = place.names().iter().any(|name| name.ends_with(".tmp"));
        let is_new = identity(&image) != before;
        if is_new {
            self.floor = passes;
        } else {
            assert!(fs::read(&image).unwrap() == bytes, "{}: the previous image has changed", self.name);
        }
        let mut verify = place.command(&place.artifact(Artifact::Restarter));
        let verdict = verify.arg("--verify").arg(&image).output().unwrap();
        assert!(verdict.status.success(), "{} after {whom:?}: {verdict:?}", self.name);

        let image = process.image_of_save();
        process.kill();
        waves::forget(&place);
        process = image.restart();
        waves::go_on(&mut process, self.threads);
        // It is not of an earlier moment than the save that was seen to be done.
        let now = waves::passes(&place, 0);
        assert!(now > self.floor, "{}: an image of pass {now}, not of {} or later", self.name, self.floor);
        self.count(whom, struck, is_new, half);
        process.send(Signal::SIGSTOP);
        self.process = Some(process);
    }

    fn count(&mut self, whom: Whom, struck: bool, is_new: bool, half: bool) {
        let kills = &mut self.kills;
        match whom {
            Whom::Program => kills.programs += 1,
            Whom::All => kills.all += 1,
            // It was done already, or had not begun.
            Whom::Writer if !struck => return,
            Whom::Writer => kills.writers += 1,
        }
        *(if is_new { &mut kills.new } else { &mut kills.old }) += 1;
        kills.halves += usize::from(half);
    }

    /// Lets it end; it must have found nothing wrong. A save to which nothing happened leaves nothing of those that were killed.
    pub fn end(mut self) -> Kills {
        let mut process = self.process.take().expect("a running process");
        process.send(Signal::SIGCONT);
        process.save();
        wait(|| process.companions().is_empty().then_some(())).expect("the end of the writer");
        let place = process.place.clone();
        assert!(!place.names().iter().any(|name| name.ends_with(".tmp")), "{:?}", place.names());
        process.go();
        let outcome = process.finish();
        assert!(
            outcome.status.success() && outcome.output.ends_with(b"PASS\n"),
            "{}: {outcome:?}",
            self.name
        );
        self.kills
    }
}

/// Kills; whether there was anybody.
fn kill_them(process: &Process, whom: Whom) -> bool {
    let end = |pid: i32| kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok();
    match whom {
        Whom::Program => end(process.pid()),
        Whom::Writer => {
            let is_writer = |pid: &i32| {
                fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "ckpt-writer\n")
            };
            // Every one that there is: there may be two saves.
            process.companions().into_iter().filter(is_writer).map(end).fold(false, |any, one| any | one)
        }
        Whom::All => {
            let killed = end(process.pid());
            // One of them may be about to make another.
            while process.companions().into_iter().map(end).fold(false, |any, one| any | one) {}
            killed
        }
    }
}
