//! The command line. What stands here is what `--help`, the manual page and the completions say.

use clap::{Args, Parser, Subcommand, ValueHint};
use std::ffi::OsString;
use std::path::PathBuf;

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
    arg_required_else_help = true
)]
pub struct Cli {
    /// Say nothing but errors
    #[arg(short, long, global = true)]
    pub quiet: bool,
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    Restart(Restart),
    Show(Show),
    Verify(Verify),
    Diff(Diff),
    Ls(Ls),
    Extract(Extract),
    Gdb(Gdb),
    Completions(Completions),
    #[command(hide = true)]
    Manual(Manual),
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
    /// The image
    #[arg(value_hint = ValueHint::FilePath)]
    pub image: PathBuf,
    /// The memory map: OWN is what the program wrote, COPY what is still as in the file
    #[arg(long)]
    pub maps: bool,
    /// Descriptors
    #[arg(long)]
    pub fds: bool,
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
    /// The images
    #[arg(required = true, value_name = "IMAGE", value_hint = ValueHint::FilePath)]
    pub images: Vec<PathBuf>,
}

/// Say how two images differ: process, regions and their pages, descriptors
///
/// The exit code is 0 when they do not differ and 1 when they do.
#[derive(Debug, Args)]
pub struct Diff {
    /// The earlier image
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
    /// The image
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
