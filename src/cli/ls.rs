//! `ckpt ls`: the images in a directory.

use crate::args::Ls;
use crate::exit::{Code, Failure, Result};
use crate::opened::Opened;
use crate::output::{self, Output};
use crate::show;
use crate::table::Table;
use crate::text::{command_line, shown, size};
use crate::time;
use serde::Serialize;
use std::path::Path;

/// One image, or what is wrong with it.
#[derive(Serialize)]
struct Entry {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<show::Summary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Lists them, the latest save last.
pub fn run(args: &Ls, out: &mut Output) -> Result<()> {
    let failed = |e| Failure::file(Code::NoImage, &args.dir, "cannot be listed", e);
    let mut entries = vec![];
    for file in std::fs::read_dir(&args.dir).map_err(failed)? {
        let file = file.map_err(failed)?;
        let is_file = file.file_type().is_ok_and(|kind| kind.is_file());
        if is_file && let Some(mut entry) = look(&file.path()) {
            entry.name = shown(file.file_name());
            entries.push(entry);
        }
    }
    let key = |entry: &Entry| (entry.image.as_ref().map(|image| image.saved.clone()), entry.name.clone());
    entries.sort_by_key(key);
    if args.json {
        return output::json(out, &entries);
    }
    let mut table = Table::new(&["SAVED", ">SIZE", ">SAVE", ">PID", "NAME", "COMMAND"]);
    for entry in &entries {
        match (&entry.image, &entry.error) {
            (Some(image), _) => table.row([
                time::local(&image.saved),
                size(image.bytes),
                image.generation.to_string(),
                image.pid.to_string(),
                entry.name.clone(),
                command_line(image.command.iter().map(String::as_str)),
            ]),
            (None, error) => table.row([
                "-".to_owned(),
                "-".to_owned(),
                "-".to_owned(),
                "-".to_owned(),
                entry.name.clone(),
                format!("({})", error.clone().unwrap_or_default()),
            ]),
        }
    }
    if table.is_empty() { Ok(()) } else { output::written(table.print(out)) }
}

/// What a file is, if it is an image or was meant to be one.
fn look(path: &Path) -> Option<Entry> {
    let read = || -> Result<show::Summary> {
        let opened = Opened::new(path)?;
        let image = opened.image()?;
        Ok(show::summary(&opened, &image))
    };
    let entry = |image, error| Some(Entry { name: String::new(), image, error });
    match read() {
        Ok(summary) => entry(Some(summary), None),
        Err(failure) => match failure.code {
            Code::Corrupt | Code::Truncated | Code::Version | Code::Unsupported => {
                // Its name stands beside it.
                let (_, cause) = failure.text.split_once(": ").unwrap_or(("", &failure.text));
                entry(None, Some(cause.to_owned()))
            }
            _ => None,
        },
    }
}
