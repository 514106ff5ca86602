//! `ckpt diff`: what changed between two images.

use crate::args::Diff;
use crate::exit::{Code, Result};
use crate::opened::Opened;
use crate::output::{self, Output};
use crate::pages::{self, PIECE};
use crate::show::{self, Fd, Map};
use crate::table::HEADING;
use crate::text::{count, size};
use image::format::{PAGE, Region, region_kind};
use image::read::Image;
use serde::Serialize;
use std::io::{self, Write};

/// All differences.
#[derive(Default, Serialize)]
struct Differences {
    process: Vec<Change>,
    regions: Vec<RegionChange>,
    /// Pages that differ, in regions that both have.
    pages: u64,
    descriptors: Vec<FdChange>,
}

/// A value that is another one.
#[derive(Serialize)]
struct Change {
    what: &'static str,
    a: String,
    b: String,
}

/// A range of addresses that differs.
#[derive(Serialize)]
struct RegionChange {
    /// `removed`, `added`, `changed` (its attributes) or `written` (its pages).
    change: &'static str,
    start: String,
    end: String,
    name: String,
    /// Attributes that differ.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attributes: Vec<Change>,
    /// Pages that differ.
    pages: u64,
    /// Pages of the range.
    of: u64,
}

/// A descriptor that differs.
#[derive(Serialize)]
struct FdChange {
    fd: u32,
    a: Option<Fd>,
    b: Option<Fd>,
}

/// One image of the two.
struct Side {
    opened: Opened,
}

impl Side {
    fn image(&self) -> Result<Image<'_>> {
        self.opened.image()
    }
}

/// Runs it: yes when nothing differs.
pub fn run(args: &Diff, quiet: bool, out: &mut Output) -> Result<Code> {
    let (a, b) = (Side { opened: Opened::new(&args.a)? }, Side { opened: Opened::new(&args.b)? });
    let differences = compare(&a, &b)?;
    if args.json {
        output::json(out, &differences)?;
    } else if !quiet {
        output::written(print(&differences, out))?;
    }
    let same = differences.process.is_empty()
        && differences.regions.is_empty()
        && differences.descriptors.is_empty();
    Ok(if same { Code::Done } else { Code::No })
}

fn compare(a: &Side, b: &Side) -> Result<Differences> {
    let (image_a, image_b) = (a.image()?, b.image()?);
    let mut found = Differences { process: process(a, &image_a, b, &image_b), ..Differences::default() };
    for (start, end) in ranges(&image_a, &image_b) {
        let (in_a, in_b) = (image_a.region_at(start), image_b.region_at(start));
        let (change, shown) = match (&in_a, &in_b) {
            (Some(region), None) => ("removed", show::map(&image_a, region)),
            (None, Some(region)) => ("added", show::map(&image_b, region)),
            (Some(_), Some(region)) => ("written", show::map(&image_b, region)),
            (None, None) => continue,
        };
        let mut range = RegionChange {
            change,
            start: show::hex(start),
            end: show::hex(end),
            name: shown.name.clone(),
            attributes: vec![],
            pages: 0,
            of: (end - start) / PAGE,
        };
        if let (Some(in_a), Some(in_b)) = (&in_a, &in_b) {
            range.attributes = attributes(&show::map(&image_a, in_a), &shown);
            range.pages = count_pages((a, &image_a, in_a), (b, &image_b, in_b), start, end)?;
            found.pages += range.pages;
            if !range.attributes.is_empty() {
                range.change = "changed";
            } else if range.pages == 0 {
                continue;
            }
        }
        found.regions.push(range);
    }
    found.regions = joined(found.regions);
    found.descriptors = descriptors(show::fds(&image_a), show::fds(&image_b));
    Ok(found)
}

/// The ranges of addresses between any two boundaries of either map, where at least one has a region.
fn ranges(a: &Image<'_>, b: &Image<'_>) -> Vec<(u64, u64)> {
    let bounds =
        |image: &Image<'_>| image.regions().iter().flat_map(|r| [r.start, r.end]).collect::<Vec<_>>();
    let mut all = [bounds(a), bounds(b)].concat();
    all.sort_unstable();
    all.dedup();
    all.windows(2).map(|pair| (pair[0], pair[1])).collect()
}

/// Neighbours that differ in the same way as one: a region that grew is cut at its old end, a file's segments are not.
fn joined(changes: Vec<RegionChange>) -> Vec<RegionChange> {
    let mut all: Vec<RegionChange> = Vec::with_capacity(changes.len());
    for change in changes {
        match all.last_mut() {
            Some(last)
                if change.change == last.change
                    && change.change != "changed"
                    && change.name == last.name
                    && change.start == last.end =>
            {
                last.end = change.end;
                last.pages += change.pages;
                last.of += change.of;
            }
            _ => all.push(change),
        }
    }
    all
}

/// Number of pages that differ in a range that both have.
fn count_pages(
    (a, image_a, region_a): (&Side, &Image<'_>, &Region),
    (b, image_b, region_b): (&Side, &Image<'_>, &Region),
    start: u64,
    end: u64,
) -> Result<u64> {
    // The kernel's own pages are never saved; shared files are not part of the images.
    let skipped = |region: &Region| matches!(region.kind, region_kind::VVAR | region_kind::SHARED_FILE);
    if skipped(region_a) || skipped(region_b) {
        return Ok(0);
    }
    let clip = |region: &Region| Region { end: end.min(region.end), ..*region };
    let (region_a, region_b) = (clip(region_a), clip(region_b));
    let (mut bytes_a, mut bytes_b) = (vec![], vec![]);
    let mut pages = 0;
    // What neither has is zero in both.
    let mut parts = pages::parts(image_a, &region_a, start, end);
    parts.extend(pages::parts(image_b, &region_b, start, end));
    parts.sort_unstable();
    let mut at = start;
    for (address, _, len) in parts {
        at = at.max(address);
        while at < address + len {
            let last = (address + len).min(at + PIECE);
            let clip = |region: &Region| Region { end: last, ..*region };
            pages::read(&a.opened, image_a, &clip(&region_a), at, &mut bytes_a)?;
            pages::read(&b.opened, image_b, &clip(&region_b), at, &mut bytes_b)?;
            pages += pages::different(&bytes_a, &bytes_b);
            at = last;
        }
    }
    Ok(pages)
}

fn change(what: &'static str, a: impl ToString, b: impl ToString) -> Option<Change> {
    let (a, b) = (a.to_string(), b.to_string());
    (a != b).then_some(Change { what, a, b })
}

fn attributes(a: &Map, b: &Map) -> Vec<Change> {
    let offset = |map: &Map| map.offset.map(show::hex).unwrap_or_default();
    [
        change("protection", &a.protection, &b.protection),
        change("kind", a.kind, b.kind),
        change("name", &a.name, &b.name),
        change("flags", a.flags.join(" "), b.flags.join(" ")),
        // Where the regions begin does not matter, where they are mapped from does.
        (a.start == b.start).then(|| change("offset", offset(a), offset(b))).flatten(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn process(a: &Side, image_a: &Image<'_>, b: &Side, image_b: &Image<'_>) -> Vec<Change> {
    let (a, b) = (show::summary(&a.opened, image_a), show::summary(&b.opened, image_b));
    let words =
        |summary: &show::Summary| crate::text::command_line(summary.command.iter().map(String::as_str));
    [
        change("pid", a.pid, b.pid),
        change("save", a.generation, b.generation),
        change("saved", &a.saved, &b.saved),
        change("name", &a.name, &b.name),
        change("command", words(&a), words(&b)),
        change("executable", &a.exe, &b.exe),
        change("directory", &a.cwd, &b.cwd),
        change("umask", &a.umask, &b.umask),
        change("uid", a.uid, b.uid),
        change("threads", a.threads, b.threads),
        change("timers", a.timers, b.timers),
        change("pending signals", a.pending_signals, b.pending_signals),
        change("kernel", a.kernel.join(" "), b.kernel.join(" ")),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn descriptors(a: Vec<Fd>, b: Vec<Fd>) -> Vec<FdChange> {
    let mut numbers: Vec<_> = a.iter().chain(&b).map(|fd| fd.fd).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let find = |fds: &[Fd], number| fds.iter().find(|fd| fd.fd == number).cloned();
    let changes = numbers.into_iter().map(|fd| FdChange { fd, a: find(&a, fd), b: find(&b, fd) });
    changes.filter(|change| change.a != change.b).collect()
}

fn print(found: &Differences, out: &mut dyn Write) -> io::Result<()> {
    for change in &found.process {
        writeln!(out, "{HEADING}{:<10}{HEADING:#} {} -> {}", change.what, change.a, change.b)?;
    }
    for region in &found.regions {
        let sign = match region.change {
            "added" => '+',
            "removed" => '-',
            _ => ' ',
        };
        let mut notes = vec![];
        if region.pages > 0 {
            notes.push(format!("{} of {} differ", region.pages, count(region.of, "page")));
        }
        notes.extend(region.attributes.iter().map(|c| format!("{} {} -> {}", c.what, c.a, c.b)));
        if notes.is_empty() {
            notes.push(size(region.of * PAGE));
        }
        let plain = |address: &str| address.trim_start_matches("0x").to_owned();
        let range = format!("{}-{}", plain(&region.start), plain(&region.end));
        let name = if region.name.is_empty() { String::new() } else { format!(" {}", region.name) };
        writeln!(out, "{sign} {range}{name}: {}", notes.join(", "))?;
    }
    for change in &found.descriptors {
        writeln!(out, "{}", descriptor_line(change))?;
    }
    if found.pages > 0 {
        writeln!(out, "{} ({}) differ", count(found.pages, "page"), size(found.pages * PAGE))?;
    }
    Ok(())
}

fn descriptor_line(change: &FdChange) -> String {
    let FdChange { fd, a, b } = change;
    match (a, b) {
        (None, Some(new)) => format!("+ fd {fd}: {} {}", new.kind, new.name),
        (Some(old), None) => format!("- fd {fd}: {} {}", old.kind, old.name),
        (Some(old), Some(new)) if old.name == new.name && old.kind == new.kind => {
            let number = |n: Option<u64>| n.map_or("-".to_owned(), |n| n.to_string());
            let mut notes = vec![];
            if old.offset != new.offset {
                notes.push(format!("offset {} -> {}", number(old.offset), number(new.offset)));
            }
            if old.size != new.size {
                notes.push(format!("length {} -> {}", number(old.size), number(new.size)));
            }
            if (&old.flags, old.close_on_exec) != (&new.flags, new.close_on_exec) {
                notes.push(format!("flags {} -> {}", old.flags.join(" "), new.flags.join(" ")));
            }
            if old.queued != new.queued {
                notes.push(format!("{} -> {} bytes unread", old.queued, new.queued));
            }
            if notes.is_empty() {
                notes.push("another open file".to_owned());
            }
            format!("  fd {fd}: {}: {}", new.name, notes.join(", "))
        }
        (Some(old), Some(new)) => {
            format!("  fd {fd}: {} {} -> {} {}", old.kind, old.name, new.kind, new.name)
        }
        (None, None) => String::new(),
    }
}
