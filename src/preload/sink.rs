//! Where an image goes: into a file, or down a pipe to a command (`CKPT_IMAGE='|zstd > image.zst'`).

use crate::command::Command;
use crate::config::{self, PATH_MAX};
use crate::file::ImageFile;
use crate::helper::{Job, Stop};
use crate::message::Failure;
use crate::report::Report;
use image::format::Whose;
use sys::line::Line;

/// Where an image goes.
#[expect(clippy::large_enum_variant, reason = "there is one, on the stack: nothing here allocates")]
pub enum Sink {
    /// A file of its own.
    File(ImageFile),
    /// The standard input of a shell command.
    Command(Command),
}

impl Sink {
    /// Opens what `CKPT_IMAGE` names. A command is started only when there is something to write, by [`Sink::start`].
    #[inline(never)] // its buffers are off the stack again when it returns
    pub fn open(job: &Job, whose: &Whose) -> Result<Self, Failure> {
        let name = expand(job.pid, job.generation)?;
        match name.as_bytes().split_first() {
            Some((b'|', command)) if is_command() => {
                Ok(Self::Command(Command::new(command, job.pid, job.generation)))
            }
            _ => Ok(Self::File(ImageFile::create(name.as_bytes(), whose)?)),
        }
    }

    /// Tells what [`Sink::open`] would refuse.
    #[inline(never)] // its buffers are off the stack again when it returns
    pub fn check(job: &Job, whose: &Whose, report: &mut Report) -> Result<(), Stop> {
        let result = expand(job.pid, job.generation).and_then(|name| match name.as_bytes() {
            _ if is_command() => Ok(()),
            name => ImageFile::check(name, whose),
        });
        match result {
            Err(failure) if failure.is_refusal() => report.refuse(failure),
            _ => Ok(()),
        }
    }

    /// The descriptors that the writer needs for it; negative ones do not count.
    pub fn descriptors(&self) -> [i32; 2] {
        match self {
            Self::File(file) => [file.fd, file.dir],
            Self::Command(_) => [-1, -1],
        }
    }

    /// Called by the process that writes, just before it does. `target` is `/proc/PID` of the target: a command's messages go to the target's
    /// standard error.
    pub fn start(&mut self, target: i32) -> Result<(), Failure> {
        match self {
            Self::File(file) => {
                // Now, because they may take the room that the image needs.
                file.clean();
                Ok(())
            }
            Self::Command(command) => command.start(target),
        }
    }

    /// What to write to.
    pub fn fd(&self) -> i32 {
        match self {
            Self::File(file) => file.fd,
            Self::Command(command) => command.fd,
        }
    }

    /// Everything is written: makes it last.
    pub fn finish(&mut self) -> Result<(), Failure> {
        match self {
            Self::File(file) => file.finish(),
            Self::Command(command) => command.finish(),
        }
    }

    /// It is not to be.
    pub fn discard(&mut self) {
        match self {
            Self::File(file) => file.discard(),
            Self::Command(command) => command.discard(),
        }
    }

    /// Closes what it has open.
    pub fn close(&self) {
        if let Self::File(file) = self {
            file.close();
        }
    }

    /// Appends what a report calls it.
    pub fn describe<const N: usize>(&self, line: &mut Line<N>) {
        match self {
            Self::File(file) => file.path(line),
            Self::Command(command) => command.describe(line),
        }
    }
}

/// Whether `CKPT_IMAGE` is a command: what it says itself, not what a program's name makes of it.
fn is_command() -> bool {
    config::get().image().starts_with(b"|")
}

/// `CKPT_IMAGE` with its `%` expanded: `%p` pid, `%n` number of the save, `%e` name of the program, `%%` a percent sign. While the process that it is meant for
/// runs, another one that has inherited it puts its own id behind the name.
///
/// The name of a program may come from anybody. It is no text of a command, and in a path it is neither a directory nor a way up.
fn expand(pid: u32, generation: u32) -> Result<Line<PATH_MAX>, Failure> {
    let is_command = is_command();
    if is_command && !config::get().is_preloaded {
        return Err(Failure::CommandOfOthers);
    }
    let mut has_pid = false;
    let mut path = Line::<PATH_MAX>::new();
    let mut rest = config::get().image();
    while let Some((&byte, more)) = rest.split_first() {
        rest = more;
        match (byte, more.split_first()) {
            (b'%', Some((b'p', more))) => {
                path.dec(u64::from(pid));
                has_pid = true;
                rest = more;
            }
            (b'%', Some((b'n', more))) => {
                path.dec(u64::from(generation));
                rest = more;
            }
            (b'%', Some((b'e', _))) if is_command => return Err(Failure::CommandName),
            (b'%', Some((b'e', more))) => {
                let comm = sys::process::name().unwrap_or_default();
                for (at, &byte) in comm.iter().take_while(|byte| **byte != 0).enumerate() {
                    path.bytes(&[if byte == b'/' || at == 0 && byte == b'.' { b'_' } else { byte }]);
                }
                rest = more;
            }
            (b'%', Some((b'%', more))) => {
                path.bytes(b"%");
                rest = more;
            }
            _ => {
                path.bytes(&[byte]);
            }
        }
    }
    let first = config::first_user();
    if first != pid && !has_pid && sys::process::exists(first) {
        if is_command {
            return Err(Failure::InheritedCommand(first));
        }
        path.text(".").dec(u64::from(pid));
    }
    if path.as_bytes().len() >= PATH_MAX {
        return Err(Failure::NameTooLong);
    }
    Ok(path)
}
