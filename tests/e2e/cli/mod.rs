//! The `ckpt` command.

mod bindings;
mod codes;
mod examples;
mod images;
mod interface;
mod job_control;
mod mutations;
mod package;
mod pages;
mod run;
mod save;
mod security;

use harness::{Artifact, Image, Place, Process, Program, User};
use std::ffi::OsStr;
use std::process::{Command, Stdio};

/// A place with all of ckpt in it.
pub struct Ckpt {
    pub place: Place,
}

/// What a command came to.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ckpt {
    pub fn new(user: User) -> Self {
        let place = Place::new(user);
        place.artifact(Artifact::Library);
        place.artifact(Artifact::Restarter);
        place.artifact(Artifact::Command);
        Self { place }
    }

    /// The command, to be run by a user.
    pub fn command_as<S: AsRef<OsStr>>(&self, user: User, args: impl IntoIterator<Item = S>) -> Command {
        let mut place = self.place.clone();
        place.user = user;
        let mut command = place.command(&place.artifact(Artifact::Command));
        command.args(args);
        command
    }

    /// Runs it to its end.
    #[track_caller]
    pub fn say_as<S: AsRef<OsStr>>(&self, user: User, args: impl IntoIterator<Item = S>) -> Said {
        let output = self.command_as(user, args).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let code = output.status.code().unwrap_or_else(|| panic!("{}", output.status));
        Said { code, out: text(output.stdout), err: text(output.stderr) }
    }

    /// [`Ckpt::say_as`] by the place's own user.
    #[track_caller]
    pub fn say<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Said {
        self.say_as(self.place.user, args)
    }

    /// Its standard output; fails if it fails.
    #[track_caller]
    pub fn shows<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> String {
        let said = self.say(args);
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{said:?}");
        said.out
    }

    /// [`Ckpt::shows`] as JSON.
    #[track_caller]
    pub fn json<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> serde_json::Value {
        serde_json::from_str(&self.shows(args)).unwrap()
    }

    /// A program that waits for ever and can be saved.
    #[track_caller]
    pub fn sleeper(&self) -> Process {
        let mut process = self.place.start(&Program::tool("sleep").arg("1000"));
        process.until("the library's handler", |process| {
            u64::from_str_radix(&process.status_line("SigCgt"), 16).unwrap_or(0) >> 11 & 1 != 0
                && process.proc("wchan").contains("nanosleep")
        });
        process
    }

    /// An image of such a program, which has ended.
    #[track_caller]
    fn image(&self) -> Image {
        let mut sleeper = self.sleeper();
        let image = sleeper.save();
        sleeper.kill();
        image
    }

    /// Starts `ckpt run` with its output in the file `out`.
    #[track_caller]
    pub fn start<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Process {
        let mut command = self.command_as(self.place.user, ["run"]);
        command.args(args).stdin(Stdio::null());
        command.stdout(self.place.output("out")).stderr(self.place.output("err"));
        Process::spawn(&self.place, command)
    }
}
