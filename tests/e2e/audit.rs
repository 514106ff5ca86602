//! The documentation lists every system call of a save and of a restart, with its reason.

use harness::Program;
use harness::audit::{Phase, traced, traced_reader, unlisted};

#[test]
fn every_system_call_is_listed_with_its_reason() {
    let traced = traced("quiet");
    for phase in [Phase::Target, Phase::Helper, Phase::Writer] {
        assert!(
            traced.save.iter().any(|call| call.phase == phase),
            "no call of the {phase}: {:#?}",
            traced.save
        );
    }
    for phase in [Phase::Restart, Phase::Resume] {
        assert!(
            traced.restart.iter().any(|call| call.phase == phase),
            "no call of {phase}: {:#?}",
            traced.restart
        );
    }
    let missing = unlisted(&[traced.save, traced.restart].concat());
    assert!(missing.is_empty(), "docs/system-calls.md does not list:\n{}", missing.join("\n"));
}

/// Ceilings: rounded up from what was counted, as versions of Python and of the C library differ in the files that they map and in the memory that they use.
#[test]
fn python_takes_no_more_system_calls_than_documented() {
    let traced = traced_reader(&Program::tool("python3").args(["-c", "input()"]));
    let missing = unlisted(&[&traced.save[..], &traced.restart].concat());
    assert!(missing.is_empty(), "docs/system-calls.md does not list:\n{}", missing.join("\n"));
    let text = std::fs::read_to_string(harness::root().join("docs/system-calls.md")).unwrap();
    for phase in [Phase::Target, Phase::Helper, Phase::Writer, Phase::Restart, Phase::Resume] {
        let calls = traced.save.iter().chain(&traced.restart).filter(|call| call.phase == phase);
        let count = calls.count();
        let row = text.lines().find_map(|line| line.strip_prefix(&format!("| calls of {phase} | ")));
        let ceiling: usize = row.unwrap().split(' ').next().unwrap().parse().unwrap();
        assert!(
            count <= ceiling,
            "{phase}: {count} system calls, more than the {ceiling} that are documented"
        );
        assert!(
            count * 2 >= ceiling,
            "{phase}: {count} system calls; the documented {ceiling} say little about it"
        );
    }
}
