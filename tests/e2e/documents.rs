//! The documentation names what exists.

use harness::root;
use std::collections::BTreeSet;
use std::fs;

#[test]
fn every_test_that_the_table_of_state_names_exists() {
    let mut tests = BTreeSet::new();
    for entry in fs::read_dir(root().join("tests/e2e")).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap_or_default();
        tests.extend(
            text.lines()
                .filter_map(|line| Some(line.trim().strip_prefix("fn ")?.split('(').next()?.to_owned())),
        );
    }
    let text = fs::read_to_string(root().join("docs/state.md")).unwrap();
    let named: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| ---") && !line.starts_with("| state "))
        .filter_map(|line| line.trim_end_matches(" |").rsplit(" | ").next())
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect();
    assert!(named.len() > 30, "{named:?}");
    for name in named {
        assert!(tests.contains(name), "docs/state.md names {name}, which is no test");
    }
}

#[test]
fn every_link_between_documents_leads_somewhere() {
    for name in ["README.md", "ARCHITECTURE.md", "docs/state.md", "docs/system-calls.md", "docs/protocol.md"]
    {
        let file = root().join(name);
        let text = fs::read_to_string(&file).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if !link.starts_with("http") && !link.starts_with('#') {
                assert!(file.parent().unwrap().join(link).exists(), "{name}: {link}");
            }
        }
    }
}
