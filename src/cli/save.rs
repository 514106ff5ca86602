//! `ckpt save` and `ckpt check`.

use crate::args::{Check, Save};
use crate::exit::{Code, Failure, Result};
use crate::holder;
use crate::output::{self, Output};
use crate::report::{Line, Saved};
use crate::request::{Kind, Request};
use crate::target::{self, Target};
use crate::text::{count, elapsed, shown, size};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use std::time::{Duration, Instant};

/// The report as JSON; times in microseconds.
#[derive(Serialize)]
struct Report {
    pid: u32,
    name: String,
    generation: Option<u32>,
    image: Option<String>,
    bytes: u64,
    pages: u64,
    stop_us: Option<u64>,
    total_us: u64,
    children: Vec<u32>,
}

/// `ckpt save`.
pub fn save(args: &Save, quiet: bool, out: &mut Output) -> Result<()> {
    save_it(args, quiet, out).map_err(|mut failure| {
        if args.may_end && matches!(failure.code, Code::NoProcess | Code::Died) {
            failure.text.clear();
        }
        failure
    })
}

fn save_it(args: &Save, quiet: bool, out: &mut Output) -> Result<()> {
    let target = started(&args.target, args.signal, args.may_end)?;
    let children = target::children(target.pid);
    let kind = if args.stop { Kind::SaveAndEnd } else { Kind::Save };
    let mut request = Request::send(&target, kind, (!args.wait).then_some(args.timeout))?;
    let entered = request.entered();
    let progress = Progress::new(quiet || args.json);
    let (mut number, mut stop) = (None, None);
    let saved = loop {
        match request.next()? {
            Line::Accepted { generation, .. } => number = Some(generation),
            Line::Running { stop: time } => stop = Some(time + entered),
            Line::Progress { bytes, of } => progress.show(bytes, of),
            Line::Saved(saved) => {
                let stop = saved.stop.map(|time| time + entered).or(stop);
                break Saved { stop, total: saved.total + entered, ..saved };
            }
            line => return Err(not_saved(&target, line)),
        }
    };
    progress.clear();
    let image = saved.path.as_ref().map(shown);
    if args.json {
        let us = |time: Duration| time.as_micros() as u64;
        return output::json(
            out,
            &Report {
                pid: target.pid,
                name: target.name.clone(),
                generation: number,
                image,
                bytes: saved.bytes,
                pages: saved.pages,
                stop_us: saved.stop.map(us),
                total_us: us(saved.total),
                children: children.iter().map(|(id, _)| *id).collect(),
            },
        );
    }
    if quiet {
        return Ok(());
    }
    let place = image.map_or(String::new(), |image| format!(" to {image}"));
    let stop = saved.stop.map_or(String::new(), |stop| format!(", stopped for {}", elapsed(stop)));
    output::line(
        out,
        format_args!(
            "{} ({}) saved{place}: {} in {}{stop}",
            target.name,
            target.pid,
            size(saved.bytes),
            elapsed(saved.total)
        ),
    )?;
    tell_of(&children, out)
}

/// A program that waits for a child finds after a restart that it has none, and a shell believes that a command has ended.
fn tell_of(children: &[(u32, String)], out: &mut Output) -> Result<()> {
    if children.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = children.iter().map(|(id, name)| format!("{name} ({id})")).collect();
    output::line(
        out,
        format_args!(
            "  without its children, which are processes of their own: {}; save it when they have ended",
            names.join(", ")
        ),
    )
}

/// The target, which may have been started, or be on its way back from an image, just now: a script that starts a program asks at once. `supervised` says that
/// whoever started it asks.
fn started(wanted: &str, signal: Option<u32>, supervised: bool) -> Result<Target> {
    const LIMIT: Duration = Duration::from_secs(2);
    let start = Instant::now();
    loop {
        let found = Target::find(wanted, signal);
        let waits = match &found {
            Ok(target) if target.is_beginning() && supervised => start.elapsed() < LIMIT,
            Ok(target) if target.is_beginning() => target::age(target.pid).is_some_and(|age| age < LIMIT),
            _ => false,
        };
        if !waits {
            return found;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The failure that a line of the report stands for.
pub fn not_saved(target: &Target, line: Line) -> Failure {
    let who = format!("process {} ({})", target.pid, target.name);
    match line {
        Line::Refused(message) => {
            let message = holder::named(target.pid, message);
            Failure::new(Code::Refused, format!("{who}: not saved: {message}"))
        }
        Line::Failed(message) => Failure::new(Code::Failed, format!("{who}: not saved: {message}")),
        line => Failure::new(Code::Internal, format!("{who}: an answer that does not fit: {line:?}")),
    }
}

/// What a check found, as JSON.
#[derive(Serialize)]
struct Answer {
    pid: u32,
    name: String,
    refusals: Vec<String>,
    children: Vec<u32>,
}

/// No program that means well has more.
const MOST_REFUSALS: usize = 100_000;

/// `ckpt check`.
pub fn check(args: &Check, quiet: bool, out: &mut Output) -> Result<Code> {
    let target = started(&args.target, args.signal, false)?;
    let children = target::children(target.pid);
    let mut request = Request::send(&target, Kind::Check, Some(args.timeout))?;
    let mut refusals = vec![];
    while !request.finished() {
        match request.next()? {
            Line::Refusal(message) if refusals.len() < MOST_REFUSALS => {
                refusals.push(holder::named(target.pid, message));
            }
            Line::Accepted { .. } | Line::Running { .. } | Line::Checked { .. } => {}
            line => return Err(not_saved(&target, line)),
        }
    }
    let code = if refusals.is_empty() { Code::Done } else { Code::No };
    let who = format!("{} ({})", target.name, target.pid);
    if args.json {
        let children = children.iter().map(|(id, _)| *id).collect();
        output::json(out, &Answer { pid: target.pid, name: target.name, refusals, children })?;
    } else if refusals.is_empty() && !quiet {
        output::line(out, format_args!("{who}: can be saved"))?;
        tell_of(&children, out)?;
    } else if !quiet {
        output::line(
            out,
            format_args!("{who}: a save would be refused, for {}:", count(refusals.len() as u64, "reason")),
        )?;
        for refusal in refusals {
            output::line(out, format_args!("  {refusal}"))?;
        }
    }
    Ok(code)
}

/// A bar on standard error while the image is written, if that is a terminal.
struct Progress(ProgressBar);

impl Progress {
    fn new(hidden: bool) -> Self {
        let to = if hidden { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(None, to);
        let style = ProgressStyle::with_template(
            "{bar:30} {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}, {eta} left",
        );
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self(bar)
    }

    fn show(&self, bytes: u64, of: u64) {
        self.0.set_length(of);
        self.0.set_position(bytes);
    }

    fn clear(&self) {
        self.0.finish_and_clear();
    }
}
