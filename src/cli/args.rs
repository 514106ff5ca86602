//! The command line. What stands here is what `--help`, the manual page and the completions say.

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// Save a running program to a file, and let it go on from there: later, again, elsewhere
///
/// A program that runs under ckpt can be saved at any moment. Its image is one file, from which it continues after it ended, after the machine was
/// restarted, or on another machine: with its memory, registers, open files and everything else it had. No privilege is needed,
/// no daemon, and no change to the program.
#[derive(Debug, Parser)]
#[command(
    name = "ckpt",
    version,
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true,
    after_long_help = EXAMPLES
)]
pub struct Cli {
    /// Say nothing but errors
    #[arg(short, long, global = true)]
    pub quiet: bool,
    #[command(subcommand)]
    pub command: Command,
}

/// Stands behind `--help`, and in ckpt(1).
const EXAMPLES: &str = "\
Examples:
  ckpt run -- ./job                       run a program so that it can be saved
  ckpt check job                          would a save succeed?
  ckpt save job                           save it; it goes on
  ckpt restart myckpt                     continue from the image
  ckpt show --maps myckpt                 what is in it?
  ckpt run --resume --every 10m -- ./job  one line for the first run and every later one

ckpt(1) lists the exit codes.";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    Run(Run),
    Save(Save),
    Check(Check),
    Restart(Restart),
    Show(Show),
    Verify(Verify),
    Diff(Diff),
    Ls(Ls),
    Extract(Extract),
    Gdb(Gdb),
    Doctor(Doctor),
    Completions(Completions),
    #[command(hide = true)]
    Manual(Manual),
    #[command(hide = true)]
    Ask(Ask),
}

/// Run a program so that it can be saved
///
/// Starts PROGRAM with libckpt.so preloaded, and becomes it. Where there is more to do, because of --every, --on-term, --exit-after-save,
/// --exit-on-signal or --remove-when-done, a small supervisor stays its parent, and ends as PROGRAM ends, with the same exit status or by the same signal;
/// before, it lets a save that it has asked for come to its end.
#[derive(Debug, Args)]
pub struct Run {
    /// Where images go; %p is the process id, %e the program's name, %n the number of the save
    ///
    /// Relative to the working directory of the program at the save. A name that begins with '|' is a command that gets the image on its
    /// standard input.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub image: Option<PathBuf>,
    /// Signal that asks for a save [default: USR2]
    #[arg(long, value_name = "SIGNAL", value_parser = crate::signal::parse)]
    pub signal: Option<u32>,
    /// Save this often: 90 (seconds), 10m, 1h30m
    #[arg(long, value_name = "PERIOD", value_parser = crate::time::period)]
    pub every: Option<Duration>,
    /// On SIGTERM, save first, then pass it on
    ///
    /// A SIGTERM that is sent to ckpt. Where the batch system sends it to every process, use its option to send another signal, or to the
    /// main process only.
    #[arg(long)]
    pub on_term: bool,
    /// Save, end the program there, and exit with CODE
    ///
    /// When the save signal is sent to ckpt, when it is time by --every, and on SIGTERM with --on-term. This is what HTCondor calls
    /// self-checkpointing, with CODE 85. If the save is refused or fails, the program goes on.
    #[arg(long, value_name = "CODE")]
    pub exit_after_save: Option<u8>,
    /// The same, but let the program run on after saves by --every
    #[arg(long, value_name = "CODE", conflicts_with = "exit_after_save")]
    pub exit_on_signal: Option<u8>,
    /// Restart the image if there is one, else start PROGRAM
    ///
    /// Makes one line of a batch script do for the first run and for every later one. One line on standard error says what is resumed. An
    /// image that is damaged or cannot be restarted here is an error: PROGRAM is not started afresh then. So is one of another
    /// command line; --resume=any restarts it all the same.
    #[arg(long, value_name = "WHAT", value_enum, num_args = 0..=1, require_equals = true, default_missing_value = "same")]
    pub resume: Option<Resume>,
    #[command(flatten)]
    pub restart: RestartOptions,
    /// Take the contents of files that PROGRAM reads and rewrites into its images
    ///
    /// Of the regular files that are open for reading and writing at the save, a data base for instance, and of its journals beside
    /// them. --rollback-files brings them back at the restart. At most 1 GiB: the program stands still while they are copied.
    #[arg(long)]
    pub files: bool,
    /// Close all descriptors but 0, 1 and 2 first
    ///
    /// Shells, build tools and batch systems may leave pipes open that are none of PROGRAM's business, and that no save can restore.
    #[arg(long)]
    pub close_fds: bool,
    /// Remove the image when PROGRAM has ended by itself with status 0
    ///
    /// With --resume, the next run of the same line starts afresh then, instead of repeating the end of this one.
    #[arg(long)]
    pub remove_when_done: bool,
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "PROGRAM", value_hint = ValueHint::CommandWithArguments)]
    pub program: Vec<OsString>,
}

/// Which image `ckpt run --resume` restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Resume {
    /// One of the same command line
    Same,
    /// Whatever it is
    Any,
}

/// What `ckpt run --resume` hands on to `myrestart`.
#[derive(Debug, Args)]
#[command(next_help_heading = "With --resume, for the restart (see myrestart(1))")]
pub struct RestartOptions {
    /// Cut files that PROGRAM had open for writing back to their length at the save
    ///
    /// After a crash, what PROGRAM has written since its last save is written a second time by the restarted one: with this
    /// option the output is as if there had been no crash.
    #[arg(long, requires = "resume")]
    rollback_files: bool,
    /// Map pages from the image when they are touched; the image must not be altered then
    #[arg(long, requires = "resume")]
    lazy: bool,
    /// Do not look at these before the restart
    #[arg(long, requires = "resume", value_name = "WHAT", require_equals = true)]
    force: Vec<OsString>,
    /// The process id: new, keep, namespace
    #[arg(long, requires = "resume", value_name = "ID")]
    pid: Option<OsString>,
    /// Let a descriptor be another file
    #[arg(long, requires = "resume", value_name = "N=PATH")]
    fd: Vec<OsString>,
    /// When a file is not there: refuse, create, null
    #[arg(long, requires = "resume", value_name = "HOW")]
    missing_files: Option<OsString>,
    /// Any other option of myrestart, repeatable: --restart-option=--jobs=1
    #[arg(long, requires = "resume", value_name = "OPTION", allow_hyphen_values = true)]
    restart_option: Vec<OsString>,
}

impl RestartOptions {
    /// As myrestart takes them.
    pub fn arguments(&self) -> Vec<OsString> {
        let flags = [("--rollback-files", self.rollback_files), ("--lazy", self.lazy)];
        let flags = flags.into_iter().filter(|(_, is_set)| *is_set).map(|(name, _)| OsString::from(name));
        let with = |name: &str, value: &OsString| {
            let mut option = OsString::from(name);
            option.push("=");
            option.push(value);
            option
        };
        flags
            .chain(self.force.iter().map(|value| with("--force", value)))
            .chain(self.pid.iter().map(|value| with("--pid", value)))
            .chain(self.missing_files.iter().map(|value| with("--missing-files", value)))
            .chain(self.fd.iter().map(|value| with("--fd", value)))
            .chain(self.restart_option.iter().cloned())
            .collect()
    }
}

/// Save a running program, and say how it went
///
/// Any program that you may trace: it need not have been started with libckpt.so. Also one that runs in a container, if ckpt may enter it: as root. The image is then
/// where the program sees its path.
#[derive(Debug, Args)]
pub struct Save {
    /// Process id, or name as in ps(1) if only one program of that name can be saved
    #[arg(value_name = "PID|NAME")]
    pub target: String,
    /// End the program where it was saved: it does not run on from there
    #[arg(long)]
    pub stop: bool,
    /// Wait for the program to take the signal as long as it takes
    ///
    /// A program that is stopped or blocks the signal takes it later, and is saved then whether somebody waits or not.
    #[arg(long, conflicts_with = "timeout")]
    pub wait: bool,
    /// Wait this long for the program to take the signal
    #[arg(long, value_name = "PERIOD", value_parser = crate::time::period, default_value = "10s")]
    pub timeout: Duration,
    /// The signal to ask with, for a program that has overwritten its environment [default: from its CKPT_SIGNAL, or USR2]
    #[arg(long, value_name = "SIGNAL", value_parser = crate::signal::parse)]
    pub signal: Option<u32>,
    /// For the supervisor: give the program time to start, and say nothing when it ends before it is saved
    #[arg(long, hide = true)]
    pub may_end: bool,
    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
}

/// Say what a save would refuse, without saving
#[derive(Debug, Args)]
pub struct Check {
    /// Process id, or name as in ps(1) if only one program of that name can be saved
    #[arg(value_name = "PID|NAME")]
    pub target: String,
    /// Wait this long for the program to take the signal
    #[arg(long, value_name = "PERIOD", value_parser = crate::time::period, default_value = "10s")]
    pub timeout: Duration,
    /// The signal to ask with, for a program that has overwritten its environment [default: from its CKPT_SIGNAL, or USR2]
    #[arg(long, value_name = "SIGNAL", value_parser = crate::signal::parse)]
    pub signal: Option<u32>,
    /// Print the answer as JSON
    #[arg(long)]
    pub json: bool,
}

/// Restart a program from its image
///
/// Becomes myrestart, which becomes the program. See myrestart(1) for its options and exit codes.
#[derive(Debug, Args)]
pub struct Restart {
    /// The image, before or after options of myrestart
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "IMAGE", value_hint = ValueHint::FilePath)]
    pub args: Vec<OsString>,
}

/// Show what is in an image
#[derive(Debug, Args)]
pub struct Show {
    /// The image ('-': standard input)
    #[arg(value_hint = ValueHint::FilePath)]
    pub image: PathBuf,
    /// The memory map: OWN is what the program wrote, COPY what is still as in the file
    #[arg(long)]
    pub maps: bool,
    /// Descriptors
    #[arg(long)]
    pub fds: bool,
    /// The paths that a restart follows, and what for
    #[arg(long)]
    pub paths: bool,
    /// Threads, and where they were
    #[arg(long)]
    pub threads: bool,
    /// Threads with their registers
    #[arg(long)]
    pub regs: bool,
    /// The notes of the file
    #[arg(long)]
    pub notes: bool,
    /// Print JSON: the sections that were asked for, or all
    #[arg(long)]
    pub json: bool,
}

/// Check every checksum of an image
#[derive(Debug, Args)]
pub struct Verify {
    /// The images ('-': standard input)
    #[arg(required = true, value_name = "IMAGE", value_hint = ValueHint::FilePath)]
    pub images: Vec<PathBuf>,
    /// Print what was found as JSON: a list with an entry for each image
    #[arg(long)]
    pub json: bool,
}

/// Say how two images differ: process, regions and their pages, descriptors
///
/// The exit code is 0 when they do not differ and 1 when they do.
#[derive(Debug, Args)]
pub struct Diff {
    /// The earlier image ('-': standard input)
    #[arg(value_name = "A", value_hint = ValueHint::FilePath)]
    pub a: PathBuf,
    /// The later image
    #[arg(value_name = "B", value_hint = ValueHint::FilePath)]
    pub b: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// List the images in a directory
#[derive(Debug, Args)]
pub struct Ls {
    /// The directory
    #[arg(default_value = ".", value_hint = ValueHint::DirPath)]
    pub dir: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Take a piece out of an image: the executable, a file, a region
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true))]
pub struct Extract {
    /// The image ('-': standard input)
    #[arg(value_hint = ValueHint::FilePath)]
    pub image: PathBuf,
    /// The executable, as far as it was mapped: what gdb needs of it
    #[arg(long, group = "what")]
    pub exe: bool,
    /// A mapped file by its path, as far as it was mapped
    #[arg(long, value_name = "PATH", group = "what")]
    pub file: Option<PathBuf>,
    /// The bytes of a region, by an address in it or by its name ([heap], [stack])
    #[arg(long, value_name = "ADDRESS|NAME", group = "what")]
    pub region: Option<String>,
    /// Shared memory, a memfd or a deleted file, by its number in `ckpt show --maps`
    #[arg(long, value_name = "NUMBER", group = "what")]
    pub object: Option<usize>,
    /// Where to write it ('-': standard output)
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: PathBuf,
}

/// Start gdb on an image with the right executable and libraries
///
/// Where the executable or a library is not the one that was saved any more, gdb gets what the image has of it.
#[derive(Debug, Args)]
pub struct Gdb {
    /// The image
    #[arg(value_hint = ValueHint::FilePath)]
    pub image: PathBuf,
    /// Options for gdb
    #[arg(last = true, value_name = "OPTION")]
    pub options: Vec<OsString>,
}

/// Say what of ckpt will work on this machine
///
/// The exit code is 1 when something is missing that every save or restart needs.
#[derive(Debug, Args)]
pub struct Doctor {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Print a completion script for a shell
#[derive(Debug, Args)]
pub struct Completions {
    pub shell: clap_complete::Shell,
}

/// Write the manual pages of ckpt to a directory
#[derive(Debug, Args)]
pub struct Manual {
    pub dir: PathBuf,
}

/// What `ckpt save` starts to ask a program of somebody else, or in a container
#[derive(Debug, Args)]
pub struct Ask {
    pub places: Vec<String>,
}
