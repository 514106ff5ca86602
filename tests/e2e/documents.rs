//! The documentation names what exists.

use harness::root;
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

/// Names of all tests.
fn tests() -> BTreeSet<String> {
    let mut tests = BTreeSet::new();
    let folders = ["tests/e2e", "tests/e2e/cli"].map(|folder| fs::read_dir(root().join(folder)).unwrap());
    for entry in folders.into_iter().flatten() {
        // A folder has no text.
        let text = fs::read_to_string(entry.unwrap().path()).unwrap_or_default();
        // "fn name() {", or in a list of a macro "name: ...;".
        tests.extend(text.lines().map(str::trim).filter_map(|line| {
            let name = match line.strip_prefix("fn ") {
                Some(rest) => rest.split('(').next()?,
                None => line.strip_suffix(';')?.split_once(": ")?.0,
            };
            Some(name.to_owned())
        }));
    }
    tests
}

/// Checks that the last columns of the tables in `text`, which is of `document`, name tests or files of them, at least so many.
#[track_caller]
fn names_tests(document: &str, text: &str, least: usize) {
    let tests = tests();
    let heads = ["| ---", "| state ", "| program ", "| case ", "| promise "];
    let is_head = |line: &str| heads.iter().any(|start| line.starts_with(start));
    let named: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("| ") && !is_head(line))
        .filter_map(|line| line.strip_suffix('|')?.rsplit(" | ").next())
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect();
    assert!(named.len() >= least, "{named:?}");
    for name in named {
        let exists = tests.contains(name) || name.contains('/') && root().join(name).exists();
        assert!(exists, "{document} names {name}, which is no test");
    }
}

#[test]
fn every_test_that_the_table_of_state_names_exists() {
    names_tests("docs/state.md", &fs::read_to_string(root().join("docs/state.md")).unwrap(), 20);
}

#[test]
fn every_test_that_the_table_of_programs_names_exists() {
    let text = fs::read_to_string(root().join("docs/programs.md")).unwrap();
    let (tried, _) = text.split_once("\n## A signal of its own").unwrap();
    names_tests("docs/programs.md", tried, 20);
}

/// The part of a document from one heading to the next.
fn part(document: &str, heading: &str) -> String {
    let text = fs::read_to_string(root().join(document)).unwrap();
    let (_, rest) = text.split_once(&format!("\n{heading}\n")).expect("the heading");
    let end = rest.find("\n## ").expect("the next heading");
    rest[..end].to_owned()
}

#[test]
fn every_row_of_what_if_has_a_test() {
    let part = part("ARCHITECTURE.md", "### What if");
    let rows = part.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| ---")).count() - 1;
    for row in part.lines().filter(|line| line.starts_with("| ")) {
        let last = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        assert!(last.starts_with('`') || ["tests", "---"].contains(&last), "no test: {row}");
    }
    names_tests("ARCHITECTURE.md", &part, rows);
}

#[test]
fn every_test_that_the_threat_model_names_exists() {
    names_tests("docs/threat-model.md", &part("docs/threat-model.md", "## What is promised"), 8);
}

/// Every document: what is at the top, and the pages of the book.
fn documents() -> Vec<PathBuf> {
    let pages = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let pages = pages.filter(|page| page.extension().is_some_and(|kind| kind == "md"));
    let others = ["README.md", "ARCHITECTURE.md", "examples/README.md"].map(|name| root().join(name));
    pages.chain(others).collect()
}

#[test]
fn every_link_between_documents_leads_somewhere() {
    for file in documents() {
        let text = fs::read_to_string(&file).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.starts_with("http") {
                continue;
            }
            let (path, part) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { file.clone() } else { file.parent().unwrap().join(path) };
            assert!(target.exists(), "{}: {link}", file.display());
            let is_heading = |line: &str| {
                let name: String =
                    line.trim_start_matches('#').trim().chars().filter(|c| !"`():,.?".contains(*c)).collect();
                line.starts_with('#') && name.to_lowercase().replace(' ', "-") == part
            };
            let found = part.is_empty() || fs::read_to_string(&target).unwrap().lines().any(is_heading);
            assert!(found, "{}: {link}", file.display());
        }
    }
}

#[test]
fn the_book_has_every_page() {
    let summary = fs::read_to_string(root().join("docs/SUMMARY.md")).unwrap();
    for page in fs::read_dir(root().join("docs")).unwrap() {
        let name = page.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".md") && name != "SUMMARY.md" {
            assert!(summary.contains(&format!("]({name})")), "docs/SUMMARY.md does not list {name}");
        }
    }
}
