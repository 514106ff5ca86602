//! The documentation lists every system call of a save and of a restart, with its reason.

use harness::audit::{Phase, traced, unlisted};

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
