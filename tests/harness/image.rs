//! An image that a save left behind.

use crate::{Artifact, Outcome, Place, Process, tool};
use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// An image, and what the harness has to know of the process in it.
#[derive(Clone)]
pub struct Image {
    /// Where it is.
    pub path: PathBuf,
    place: Place,
    signal: i32,
    name: PathBuf,
    counts: [usize; 3],
}

impl Image {
    pub(crate) fn new(place: &Place, path: PathBuf, signal: i32, name: PathBuf, counts: [usize; 3]) -> Self {
        Self { path, place: place.clone(), signal, name, counts }
    }

    /// Where it was made.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Its length in bytes.
    pub fn len(&self) -> u64 {
        fs::metadata(&self.path).unwrap().len()
    }

    /// Whether it is empty, which no image is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Another name for a copy of it, which later saves do not replace.
    pub fn copy(&self, name: &str) -> Image {
        let path = self.place.file(name);
        fs::copy(&self.path, &path).unwrap();
        self.place.own(&path);
        Image { path, ..self.clone() }
    }

    /// The command that restarts it: output and messages to `restart.out` and `restart.err`.
    pub fn command<S: AsRef<OsStr>>(&self, options: impl IntoIterator<Item = S>) -> Command {
        let mut command = self.place.command(&self.restarter());
        command.args(options).arg(self.path.strip_prefix(self.place.cwd()).unwrap_or(&self.path));
        command.stdout(self.place.output("restart.out")).stderr(self.place.output("restart.err"));
        command
    }

    /// Restarts it, and waits until the process runs again.
    #[track_caller]
    pub fn restart(&self) -> Process {
        self.restart_with(&[])
    }

    /// [`Image::restart`] with options of `myrestart`.
    #[track_caller]
    pub fn restart_with(&self, options: &[&str]) -> Process {
        self.restart_by(self.command(options))
    }

    /// [`Image::restart`] by a command that ends in an exec of `myrestart`.
    #[track_caller]
    pub fn restart_by(&self, command: Command) -> Process {
        let mut process = Process::spawn(&self.place, command);
        process.inherit(self.name.clone(), self.signal, self.counts);
        process.resumed(&self.restarter());
        process
    }

    /// [`Image::restart_with`] and an option that lets the process keep its id. Saves and signals go to the process itself, which is a child of the one
    /// that was started.
    #[track_caller]
    pub fn restart_kept(&self, options: &[&str]) -> Process {
        let mut process = Process::spawn(&self.place, self.command(options));
        process.inherit(self.name.clone(), self.signal, self.counts);
        process.follow_kept();
        process.resumed(&self.restarter());
        process
    }

    /// The kinds of evidence in it that the program knows ids of its threads, in order.
    pub fn evidence(&self) -> Vec<u32> {
        let file = fs::read(&self.path).unwrap();
        let image = ::image::read::Image::parse(&file, file.len() as u64).unwrap();
        let mut kinds: Vec<u32> = image
            .sums(&file[image.head().sums_off as usize..])
            .unwrap()
            .evidence()
            .iter()
            .map(|entry| entry.kind)
            .collect();
        kinds.sort_unstable();
        kinds.dedup();
        kinds
    }

    /// [`Image::restart`], with what went wrong as an error.
    pub fn try_restart(&self) -> Result<Process, String> {
        let mut process = Process::spawn(&self.place, self.command::<&str>([]));
        self.hand_on(&mut process);
        process.try_resumed(&self.restarter())?;
        Ok(process)
    }

    /// Tells a process that was started by hand what it comes from.
    pub fn hand_on(&self, process: &mut Process) {
        process.inherit(self.name.clone(), self.signal, self.counts);
    }

    /// The command that restarts it under strace: the system calls `filter` (`man strace`, `-e`) go to the file `trace`.
    /// strace is the grandchild (`-D`), so that the process is still the one that was started.
    pub fn traced(&self, trace: &str, filter: &str) -> Command {
        let mut command = self.place.command(&tool("strace"));
        command.args(["-D", "-f", "-o", trace, "-e", &format!("trace={filter}")]).arg(self.restarter());
        command.arg(self.path.strip_prefix(self.place.cwd()).unwrap_or(&self.path));
        command.stdout(self.place.output("restart.out")).stderr(self.place.output("restart.err"));
        command
    }

    /// Tries a restart that must fail: the exit code and what was said.
    #[track_caller]
    pub fn refused(&self, options: &[&str]) -> (i32, String) {
        let outcome = Process::spawn(&self.place, self.command(options)).finish();
        let said = self.place.text("restart.err");
        (Outcome { messages: said.clone(), ..outcome }.code(), said)
    }

    fn restarter(&self) -> PathBuf {
        self.place.artifact(Artifact::Restarter)
    }
}
