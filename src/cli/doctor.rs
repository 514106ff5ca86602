//! `ckpt doctor`: what of ckpt will work here, found by trying it.

mod kernel;
mod trial;

use crate::args::Doctor;
use crate::exit::{Code, Result};
use crate::output::{self, Output};
use crate::table::HEADING;
use crate::tools;
use serde::Serialize;
use std::io::Write;

/// How well something works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should.
    Ok,
    /// Some programs, or some options, do not work.
    Limited,
    /// Nothing works without it.
    Missing,
}

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    what: &'static str,
    state: State,
    note: String,
}

impl Finding {
    /// A finding.
    pub fn new(what: &'static str, state: State, note: impl Into<String>) -> Self {
        Self { what, state, note: note.into() }
    }
}

/// Runs it: no when something is missing.
pub fn run(args: &Doctor, quiet: bool, out: &mut Output) -> Result<Code> {
    if std::env::var_os(trial::PAIR).is_some() {
        trial::pair();
        return Ok(Code::Done);
    }
    let mut findings = vec![parts()];
    findings.extend(kernel::findings());
    findings.push(trial::finding());
    findings.extend(trial::ids());
    if args.json {
        output::json(out, &findings)?;
    } else if !quiet {
        for Finding { what, state, note } in &findings {
            let word = match state {
                State::Ok => "ok",
                State::Limited => "limited",
                State::Missing => "MISSING",
            };
            output::written(writeln!(out, "{word:<8} {HEADING}{what:<14}{HEADING:#} {note}"))?;
        }
    }
    let missing = findings.iter().any(|finding| finding.state == State::Missing);
    Ok(if missing { Code::No } else { Code::Done })
}

/// The other parts of ckpt.
fn parts() -> Finding {
    match (tools::library(), tools::restarter()) {
        (Ok(library), Ok(restarter)) => {
            Finding::new("installation", State::Ok, format!("{}, {}", library.display(), restarter.display()))
        }
        (Err(failure), _) | (_, Err(failure)) => Finding::new("installation", State::Missing, failure.text),
    }
}
