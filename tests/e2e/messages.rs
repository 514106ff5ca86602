//! docs/messages.md has a row for every message that the source can print, and for no other.

use harness::root;
use std::fs;
use std::path::{Path, PathBuf};

/// Where messages are. The others of `src/cli` print data, and the command line's help is its own documentation.
const SOURCES: &[&str] = &[
    "src/preload",
    "src/inject",
    "restart",
    "src/cli",
    "src/image/error.rs",
    "src/image/check.rs",
    "src/image/read.rs",
];
const NOT_SOURCES: &[&str] = &[
    "restart/tests",
    "restart/build.rs",
    "src/preload/build.rs",
    "src/inject/build.rs",
    "src/cli/args.rs",
    "src/cli/diff.rs",
    "src/cli/doctor.rs",
    "src/cli/doctor",
    "src/cli/manual.rs",
    "src/cli/names.rs",
    "src/cli/show",
    "src/cli/table.rs",
    "src/cli/text.rs",
];

/// Literals of two words and more that are no messages, or parts of the line around them.
const NOT_MESSAGES: &[&str] = &[
    // The protocol's words (docs/protocol.md).
    "ckpt 1 accepted pid=",
    "running stop_us=",
    "checked refusals=",
    "progress bytes=",
    "saved bytes=",
    // Names that the kernel gives.
    "/dev/zero (deleted)",
    "PR_SET_MM, PR_SET_MM_MAP",
    "PR_SET_VMA, PR_SET_VMA_ANON_NAME",
    "seccomp notify",
    // Reasons for lints, and help.
    "there is one, on the stack: nothing here allocates",
    "the target opens it",
    "usage: myrestart",
    // What is said when all is well.
    ": all checksums are right (",
    " KiB of pages in ",
    "{who}: can be saved",
    "{who}: a save would be refused, for {}:",
    "{} ({}) saved{place}: {} in {}{stop}",
    "{}: whole: {}, headers and notes, {checked} of page data",
    ", stopped for {}",
    "{bar:30} ",
    "set sysroot ",
    "set auto-load off",
    "set auto-load libthread-db on",
    "set libthread-db-search-path $sdir",
    "thread apply ",
    "%Y-%m-%d ",
    ", memory of {}",
    // What `Failure::ProcText` calls the image; a fault of ours that no test has ever seen.
    "the image's own layout",
    // A command for gdb.
    "thread apply {number}",
];

/// A string literal and where it is.
struct Literal {
    at: String,
    text: String,
}

fn files(path: &Path, found: &mut Vec<PathBuf>) {
    let name = path.strip_prefix(root()).unwrap();
    if NOT_SOURCES.iter().any(|not| Path::new(not) == name) {
        return;
    }
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            files(&entry.unwrap().path(), found);
        }
    } else if path.extension().is_some_and(|kind| kind == "rs") {
        found.push(path.to_owned());
    }
}

/// The string literals of a source, but for its unit tests and comments. Not a whole lexer: enough for rustfmt's output.
fn literals(path: &Path) -> Vec<Literal> {
    let text = fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap();
    let mut found = vec![];
    let (mut rest, mut line) = (text, 1);
    while let Some(first) = rest.chars().next() {
        let len = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if first == '\'' {
            // A character; else a lifetime.
            let quoted =
                if rest[1..].starts_with('\\') { rest[2..].find('\'').map(|end| end + 3) } else { None };
            let second = rest[1..].chars().next().map_or(1, char::len_utf8);
            quoted.unwrap_or(if rest[1 + second..].starts_with('\'') { second + 2 } else { 1 })
        } else if first == '"' {
            let mut escaped = false;
            let end = rest[1..].find(|c| {
                let ends = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                ends
            });
            let end = end.unwrap() + 1;
            found.push(Literal {
                at: format!("{}:{line}", path.strip_prefix(root()).unwrap().display()),
                text: unescaped(&rest[1..end]),
            });
            end + 1
        } else {
            first.len_utf8()
        };
        line += rest[..len].matches('\n').count();
        rest = &rest[len..];
    }
    found
}

fn unescaped(text: &str) -> String {
    let mut lines = text.split("\\\n");
    let first = lines.next().unwrap_or_default().to_owned();
    let joined = lines.fold(first, |text, line| text + line.trim_start());
    joined.replace("\\n", "\n").replace("\\\"", "\"").replace("\\\\", "\\")
}

/// What of a literal is always the same: the pieces between the holes of a format, of two words and more.
fn pieces(text: &str) -> Vec<String> {
    let mut found = vec![];
    for (at, part) in text.split('{').enumerate() {
        let piece = if at == 0 { part } else { part.split_once('}').map_or("", |(_, piece)| piece) };
        let piece = piece.strip_prefix("ckpt: ").unwrap_or(piece);
        let piece = piece.trim_matches(|c: char| " :;,()\n".contains(c));
        if piece.split_whitespace().filter(|word| word.chars().any(char::is_alphabetic)).count() > 1 {
            found.push(piece.to_owned());
        }
    }
    found
}

fn all_literals() -> Vec<Literal> {
    let mut sources = vec![];
    for source in SOURCES {
        files(&root().join(source), &mut sources);
    }
    assert!(sources.len() > 80, "{sources:?}");
    sources.iter().flat_map(|source| literals(source)).collect()
}

/// The page without its markup.
fn page() -> String {
    fs::read_to_string(root().join("docs/messages.md")).unwrap().replace("\\|", "|").replace(['`', '*'], "")
}

#[test]
fn every_message_of_the_source_is_explained() {
    let page = page();
    let mut missing = vec![];
    let mut messages = 0;
    for literal in all_literals() {
        if NOT_MESSAGES.iter().any(|not| literal.text.starts_with(not))
            || literal.text.starts_with("bad image: ")
        {
            continue;
        }
        for piece in pieces(&literal.text) {
            // One row for all features.
            let piece = piece.split("process was using: ").next().unwrap().trim_end();
            messages += 1;
            if !page.contains(piece) {
                missing.push(format!("{}: {piece:?}", literal.at));
            }
        }
    }
    assert!(messages > 250, "{messages}");
    assert!(
        missing.is_empty(),
        "docs/messages.md does not explain these; add a row (or, for what is no message, a line in {}):\n{}",
        file!(),
        missing.join("\n")
    );
}

#[test]
fn every_message_that_is_explained_exists() {
    let all: Vec<_> = all_literals().into_iter().map(|literal| literal.text).collect();
    let whole = all.join("\n");
    let text = fs::read_to_string(root().join("docs/messages.md")).unwrap().replace("\\|", "|");
    let rows = text.lines().filter(|line| line.starts_with("| `") || line.starts_with("| ..."));
    let (mut count, mut stale) = (0, vec![]);
    for row in rows {
        let message = row.split(" | ").next().unwrap();
        // Of two words and more, but for the loader's own.
        let spans = message.split('`').skip(1).step_by(2).flat_map(pieces);
        for span in
            spans.filter(|span| !span.starts_with("ERROR: ld.so") && !span.contains("libckpt.so' from"))
        {
            let exists = span.split("; ").flat_map(pieces).all(|part| whole.contains(&part));
            count += 1;
            if !exists {
                stale.push(span);
            }
        }
    }
    assert!(count > 120, "{count}");
    assert!(stale.is_empty(), "docs/messages.md explains what nothing prints: {stale:#?}");
}
