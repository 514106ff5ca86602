//! The manual pages and completions, made from the command line's definition.

use crate::args::{Cli, Completions, Manual};
use crate::exit::{Code, Failure, Result};
use crate::output::{self, Output};
use clap::CommandFactory;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use image::exit::TABLE;
use std::fs;
use std::io::{self, Write};

/// `ckpt completions SHELL`.
pub fn completions(args: &Completions, out: &mut Output) -> Result<()> {
    clap_complete::generate(args.shell, &mut Cli::command(), "ckpt", out);
    Ok(())
}

/// `ckpt manual DIR`: ckpt.1 and a page for each subcommand.
pub fn pages(args: &Manual) -> Result<()> {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let write = |name: &str, command: &clap::Command, top: bool| {
        let path = args.dir.join(format!("{name}.1"));
        let mut page = vec![];
        let made = page_of(name, command, top, &mut page).and_then(|()| fs::write(&path, page));
        made.map_err(|e| Failure::file(Code::Io, &path, "cannot be written", e))
    };
    write("ckpt", &command, true)?;
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        write(&format!("ckpt-{}", sub.get_name()), sub, false)?;
    }
    output::written(Ok(()))
}

/// One page.
fn page_of(name: &str, command: &clap::Command, top: bool, out: &mut dyn Write) -> io::Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    // A title of one word; the usage keeps the blank between ckpt and its subcommand.
    let man = Man::new(command.clone())
        .title(name.to_uppercase())
        .section("1")
        .source(format!("ckpt {version}"))
        .manual("Checkpoint and restart");
    man.render_title(out)?;
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let mut roff = Roff::new();
    roff.control("SH", ["NAME"]);
    roff.text([roman(format!("{name} \\- {}", lower_first(&about)))]);
    // The dash is a request of man(7), which `roman` would escape.
    out.write_all(roff.render().replace("\\\\\\-", "\\-").as_bytes())?;
    man.render_synopsis_section(out)?;
    man.render_description_section(out)?;
    man.render_options_section(out)?;
    if top {
        man.render_subcommands_section(out)?;
        examples(command, out)?;
        exit_status(out)?;
    }
    see_also(top, out)
}

/// `Run a program` as it stands in the NAME section.
fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |first| first.to_lowercase().chain(chars).collect())
}

/// The lines behind `--help` up to the first empty one.
fn examples(command: &clap::Command, out: &mut dyn Write) -> io::Result<()> {
    let text = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
    let lines = text.lines().skip(1).take_while(|line| !line.is_empty());
    let mut roff = Roff::new();
    roff.control("SH", ["EXAMPLES"]);
    roff.control("EX", []);
    roff.text([roman(lines.collect::<Vec<_>>().join("\n"))]);
    roff.control("EE", []);
    out.write_all(roff.render().as_bytes())
}

fn exit_status(out: &mut dyn Write) -> io::Result<()> {
    let mut roff = Roff::new();
    roff.control("SH", ["EXIT STATUS"]);
    roff.text([roman(
        "ckpt run and ckpt restart end as the program ends. Otherwise, and when the program could not be started:",
    )]);
    for (code, text) in TABLE {
        roff.control("TP", []);
        roff.text([bold(code.to_string())]);
        roff.text([roman(*text)]);
    }
    out.write_all(roff.render().as_bytes())
}

fn see_also(top: bool, out: &mut dyn Write) -> io::Result<()> {
    let mut roff = Roff::new();
    if !top {
        roff.control("SH", ["EXIT STATUS"]);
        roff.text([roman("See "), bold("ckpt"), roman("(1).")]);
    }
    roff.control("SH", ["SEE ALSO"]);
    let mut text = vec![];
    let pages =
        [("ckpt", "1"), ("myrestart", "1"), ("ckpt_checkpoint", "3"), ("ckpt-image", "5"), ("libckpt", "7")];
    for (name, section) in pages.into_iter().filter(|(name, _)| !(top && *name == "ckpt")) {
        if !text.is_empty() {
            text.push(roman(", "));
        }
        text.push(bold(name));
        text.push(roman(format!("({section})")));
    }
    roff.text(text);
    out.write_all(roff.render().as_bytes())
}
