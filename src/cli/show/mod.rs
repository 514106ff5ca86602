//! `ckpt show`: what is in an image.

mod fds;
mod maps;
mod notes;
mod paths;
mod summary;
mod threads;

pub use fds::{Fd, fds};
pub use maps::{Map, map, maps};
pub use summary::{Summary, saved, summary};

use crate::args::Show;
use crate::exit::Result;
use crate::opened::Opened;
use crate::output::{self, Output};
use serde::Serialize;

/// The sections that were asked for, as JSON.
#[derive(Serialize)]
struct Sections {
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<Summary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    maps: Option<Vec<Map>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fds: Option<Vec<Fd>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    paths: Option<Vec<paths::Path>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    threads: Option<Vec<threads::Thread>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    notes: Option<Vec<notes::Note>>,
}

/// Runs it.
pub fn run(args: &Show, out: &mut Output) -> Result<()> {
    let opened = Opened::new(&args.image)?;
    let image = opened.image()?;
    // Text without a section is the summary; JSON without a section is everything.
    let none = !(args.maps || args.fds || args.paths || args.threads || args.regs || args.notes);
    let all = none && args.json;
    let sections = Sections {
        summary: none.then(|| summary(&opened, &image)),
        maps: (args.maps || all).then(|| maps(&image)),
        fds: (args.fds || all).then(|| fds(&image)),
        paths: (args.paths || all).then(|| paths::paths(&image)),
        threads: (args.threads || args.regs || all).then(|| threads::threads(&image, opened.prefix())),
        notes: (args.notes || all).then(|| notes::notes(&image, opened.prefix())),
    };
    if args.json {
        return output::json(out, &sections);
    }
    let mut printed = false;
    let mut section = |out: &mut Output| -> Result<()> {
        if std::mem::replace(&mut printed, true) {
            output::line(out, "")?;
        }
        Ok(())
    };
    if let Some(summary) = &sections.summary {
        section(out)?;
        output::written(summary::print(summary, out))?;
    }
    if let Some(maps) = &sections.maps {
        section(out)?;
        output::written(maps::print(maps, out))?;
    }
    if let Some(fds) = &sections.fds {
        section(out)?;
        output::written(fds::print(fds, out))?;
    }
    if let Some(paths) = &sections.paths {
        section(out)?;
        output::written(paths::print(paths, out))?;
    }
    if let Some(threads) = &sections.threads {
        section(out)?;
        output::written(threads::print(threads, args.regs, out))?;
    }
    if let Some(notes) = &sections.notes {
        section(out)?;
        output::written(notes::print(notes, out))?;
    }
    Ok(())
}

/// A JSON object whose members stay in order.
#[derive(Clone, Debug)]
pub struct Members<T>(pub Vec<(&'static str, T)>);

impl<T: Serialize> Serialize for Members<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// A number in hexadecimal, as it stands in JSON: addresses and masks do not fit the numbers of every reader.
pub fn hex(n: u64) -> String {
    format!("{n:#x}")
}
