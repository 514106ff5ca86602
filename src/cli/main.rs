//! The `ckpt` command.
//!
//! It never stands in the way of a save or a restart: those are done by `libckpt.so` and `myrestart`, with or without it.

// The runtime of std ignores SIGPIPE and opens descriptors 0 to 2 before `main`, and a program that we become would inherit that: so `main` is ours.
#![cfg_attr(not(test), no_main)]
// The tests have a `main` of their own, and call the parts one by one.
#![cfg_attr(test, allow(dead_code))]

mod args;
mod asker;
mod diff;
mod doctor;
mod exit;
mod extract;
mod gdb;
mod holder;
mod ls;
mod manual;
mod names;
mod opened;
mod output;
mod pages;
mod program;
mod report;
mod request;
mod restart;
mod run;
mod save;
mod show;
mod signal;
mod supervisor;
mod table;
mod target;
mod text;
mod time;
mod tools;
mod verify;

use args::{Cli, Command};
use clap::Parser;
use clap::error::ErrorKind;
use exit::{Code, Failure};
#[cfg(not(test))]
use std::ffi::{c_char, c_int};
use std::io::Write;

/// Called by the startup code of libc. The arguments reach `std::env::args` without us (glibc passes them to constructors).
#[cfg(not(test))]
// SAFETY: nothing else defines `main`: that is what `no_main` says.
#[unsafe(no_mangle)]
extern "C" fn main(_argc: c_int, _argv: *const *const c_char) -> c_int {
    run() as c_int
}

/// Does what the command line says.
fn run() -> Code {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            // Nobody to tell when that fails.
            let _ = error.print();
            return if asked { Code::Done } else { Code::Usage };
        }
    };
    let mut out = output::stdout();
    let result = dispatch(&cli, &mut out).and_then(|code| output::written(out.flush()).map(|()| code));
    match result {
        Ok(code) => code,
        Err(Failure { code, text }) => {
            if !text.is_empty() {
                let _ = writeln!(anstream::stderr(), "ckpt: {text}");
            }
            code
        }
    }
}

fn dispatch(cli: &Cli, out: &mut output::Output) -> exit::Result<Code> {
    let done = |()| Code::Done;
    match &cli.command {
        Command::Run(args) => run::run(args, cli.quiet),
        Command::Save(args) => save::save(args, cli.quiet, out).map(done),
        Command::Check(args) => save::check(args, cli.quiet, out),
        Command::Doctor(args) => doctor::run(args, cli.quiet, out),
        Command::Restart(args) => match restart::run(args)? {},
        Command::Show(args) => show::run(args, out).map(done),
        Command::Verify(args) => verify::run(args, cli.quiet, out).map(done),
        Command::Diff(args) => diff::run(args, cli.quiet, out),
        Command::Ls(args) => ls::run(args, out).map(done),
        Command::Extract(args) => extract::run(args).map(done),
        Command::Gdb(args) => gdb::run(args),
        Command::Completions(args) => manual::completions(args, out).map(done),
        Command::Manual(args) => manual::pages(args).map(done),
        Command::Ask(args) => asker::run(args),
    }
}
