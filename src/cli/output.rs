//! Where data goes: standard output, with colours where they are wanted.

use crate::exit::{Code, Failure, Result};
use serde::Serialize;
use std::io::{self, BufWriter, Write};

/// Standard output. `anstream` takes the colours out where `NO_COLOR` is set or it is not a terminal.
pub type Output = BufWriter<anstream::AutoStream<io::StdoutLock<'static>>>;

/// Standard output.
pub fn stdout() -> Output {
    BufWriter::new(anstream::AutoStream::auto(io::stdout().lock()))
}

/// A failure to write it as ours.
pub fn written(result: io::Result<()>) -> Result<()> {
    result.map_err(|e| Failure::new(Code::Io, format!("standard output: cannot be written: {e}")))
}

/// One line.
pub fn line(out: &mut Output, text: impl std::fmt::Display) -> Result<()> {
    written(writeln!(out, "{text}"))
}

/// One JSON value, indented, and a newline.
pub fn json(out: &mut Output, value: &impl Serialize) -> Result<()> {
    written(serde_json::to_writer_pretty(&mut *out, value).map_err(io::Error::from))?;
    line(out, "")
}
