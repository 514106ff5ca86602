//! What a target says of a save: docs/protocol.md.

use crate::text::{shown_once, unescaped};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::Duration;

/// One line of the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// The request arrived.
    Accepted {
        /// The target's process id as it knows it.
        pid: u32,
        /// Number of the save.
        generation: u32,
    },
    /// The program runs again.
    Running {
        /// How long it stood still.
        stop: Duration,
    },
    /// Some of the page data was written.
    Progress {
        /// Bytes so far.
        bytes: u64,
        /// All of them.
        of: u64,
    },
    /// The image is there.
    Saved(Saved),
    /// Something that a save would refuse.
    Refusal(String),
    /// All of those were told.
    Checked {
        /// How many.
        refusals: u64,
    },
    /// Nothing was tried.
    Refused(String),
    /// It did not work.
    Failed(String),
}

/// An image that was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Saved {
    /// Length of the file in bytes.
    pub bytes: u64,
    /// Pages with data.
    pub pages: u64,
    /// How long the program stood still.
    pub stop: Option<Duration>,
    /// From the signal to the image's final name.
    pub total: Duration,
    /// Where it is.
    pub path: Option<PathBuf>,
}

impl Line {
    /// Reads a line without its newline; `None` for words of later versions.
    pub fn parse(line: &[u8]) -> Option<Self> {
        let (word, rest) = split_word(line);
        match word {
            b"ckpt" => {
                let (version, rest) = split_word(rest);
                let (word, rest) = split_word(rest);
                let accepted = || {
                    Some(Self::Accepted { pid: value(rest, "pid")?, generation: value(rest, "generation")? })
                };
                if (version, word) == (b"1", b"accepted") { accepted() } else { None }
            }
            b"running" => Some(Self::Running { stop: micros(rest, "stop_us")? }),
            b"progress" => Some(Self::Progress { bytes: value(rest, "bytes")?, of: value(rest, "of")? }),
            b"saved" => Some(Self::Saved(Saved {
                bytes: value(rest, "bytes")?,
                pages: value(rest, "pages")?,
                stop: micros(rest, "stop_us"),
                total: micros(rest, "total_us")?,
                path: path(rest),
            })),
            b"refusal" => Some(Self::Refusal(message(rest))),
            b"checked" => Some(Self::Checked { refusals: value(rest, "refusals")? }),
            b"refused" => Some(Self::Refused(message(rest))),
            b"failed" => Some(Self::Failed(message(rest))),
            _ => None,
        }
    }

    /// Whether no other line follows.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Saved(_) | Self::Checked { .. } | Self::Refused(_) | Self::Failed(_))
    }
}

fn split_word(text: &[u8]) -> (&[u8], &[u8]) {
    match text.iter().position(|byte| *byte == b' ') {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, &[]),
    }
}

/// The number behind `key=`, before the path, which may look like anything.
fn value<T: std::str::FromStr>(text: &[u8], key: &str) -> Option<T> {
    let mut rest = text;
    loop {
        let (word, more) = split_word(rest);
        if word.is_empty() || word.starts_with(b"path=") {
            return None;
        }
        if let Some(number) = word.strip_prefix(key.as_bytes()).and_then(|word| word.strip_prefix(b"=")) {
            return std::str::from_utf8(number).ok()?.parse().ok();
        }
        rest = more;
    }
}

fn micros(text: &[u8], key: &str) -> Option<Duration> {
    value(text, key).map(Duration::from_micros)
}

/// Everything behind `path=`.
fn path(text: &[u8]) -> Option<PathBuf> {
    let mut rest = text;
    while !rest.is_empty() {
        if let Some(path) = rest.strip_prefix(b"path=") {
            return Some(PathBuf::from(OsString::from_vec(unescaped(path))));
        }
        rest = split_word(rest).1;
    }
    None
}

/// A message stays escaped: it is for a terminal. A target may be anybody's, and need not have escaped it.
fn message(text: &[u8]) -> String {
    shown_once(text)
}

/// Lines out of pieces of them.
#[derive(Default)]
pub struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    /// Takes the next piece; gives the lines that are whole now and that we know.
    pub fn push(&mut self, piece: &[u8]) -> Vec<Line> {
        /// Each line is at most `PIPE_BUF`: whatever is longer is none, and not kept.
        const LONGEST: usize = 1 << 16;
        if self.rest.len() > LONGEST {
            self.rest.clear();
        }
        self.rest.extend_from_slice(piece);
        let mut lines = vec![];
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            lines.extend(Line::parse(&line[..end]));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Option<Line> {
        Line::parse(line.as_bytes())
    }

    #[test]
    fn lines_of_the_protocol() {
        assert_eq!(
            parse("ckpt 1 accepted pid=7 generation=3"),
            Some(Line::Accepted { pid: 7, generation: 3 })
        );
        assert_eq!(parse("running stop_us=812"), Some(Line::Running { stop: Duration::from_micros(812) }));
        assert_eq!(parse("progress bytes=1 of=2"), Some(Line::Progress { bytes: 1, of: 2 }));
        assert_eq!(
            parse(r"saved bytes=9 pages=2 total_us=5 path=/a b\012/pages=3"),
            Some(Line::Saved(Saved {
                bytes: 9,
                pages: 2,
                stop: None,
                total: Duration::from_micros(5),
                path: Some("/a b\n/pages=3".into()),
            }))
        );
        assert_eq!(
            parse("refused descriptor 3 is a socket; close it"),
            Some(Line::Refused("descriptor 3 is a socket; close it".into()))
        );
        assert_eq!(parse("checked refusals=0"), Some(Line::Checked { refusals: 0 }));
    }

    #[test]
    fn a_target_that_means_harm_writes_nothing_to_a_terminal_and_fills_no_memory() {
        assert_eq!(
            parse("refused \u{1b}]0;x\u{7}\u{202e}"),
            Some(Line::Refused(r"\033]0;x\007\342\200\256".into()))
        );
        let mut lines = Lines::default();
        for _ in 0..1000 {
            assert_eq!(lines.push(&[b'a'; 4096]), []);
        }
        assert!(lines.rest.len() < 1 << 18);
        assert_eq!(lines.push(b"\nchecked refusals=0\n"), [Line::Checked { refusals: 0 }]);
    }

    #[test]
    fn a_key_inside_a_path_is_no_key() {
        assert_eq!(parse("saved bytes=9 total_us=5 path=/x pages=3"), None);
    }

    #[test]
    fn unknown_words_and_versions_are_passed_over() {
        for line in ["", "ckpt 2 accepted pid=1 generation=1", "wonder a=b", "progress bytes=x of=2"] {
            assert_eq!(parse(line), None, "{line}");
        }
        let with_more = parse("progress speed=9 bytes=1 of=2 later=1");
        assert_eq!(with_more, Some(Line::Progress { bytes: 1, of: 2 }));
    }

    #[test]
    fn lines_come_in_pieces() {
        let mut lines = Lines::default();
        assert_eq!(lines.push(b"prog"), []);
        assert_eq!(lines.push(b"ress bytes=1 of=2\nchecked ref"), [Line::Progress { bytes: 1, of: 2 }]);
        assert_eq!(lines.push(b"usals=4\n"), [Line::Checked { refusals: 4 }]);
    }
}
