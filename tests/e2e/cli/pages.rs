//! Manual pages, completions, help, and the doctor.

use super::Ckpt;
use harness::{User, tool};
use std::fs;
use std::process::Command;

#[test]
fn help_and_version_succeed_and_mistakes_do_not() {
    let ckpt = Ckpt::new(User::Myself);
    assert!(ckpt.shows(["--help"]).contains("Usage: ckpt"));
    assert_eq!(ckpt.shows(["--version"]).split_whitespace().next(), Some("ckpt"));
    for wrong in [&["--wrong"][..], &["wrong"], &[], &["show"], &["save", "1", "--wait", "--timeout", "1s"]] {
        let said = ckpt.say(wrong);
        assert_eq!((said.code, said.out.as_str()), (64, ""), "{wrong:?}: {said:?}");
    }
}

#[test]
fn manual_pages_are_clean() {
    let ckpt = Ckpt::new(User::Myself);
    fs::create_dir(ckpt.place.file("man")).unwrap();
    ckpt.shows(["manual", "man"]);
    let mut pages: Vec<_> =
        fs::read_dir(ckpt.place.file("man")).unwrap().map(|entry| entry.unwrap().path()).collect();
    pages.sort();
    assert!(pages.len() > 10, "{pages:?}");
    for page in &pages {
        let output =
            Command::new(tool("groff")).args(["-man", "-ww", "-z", "-Tutf8"]).arg(page).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{}", page.display());
        let text = fs::read_to_string(page).unwrap();
        assert!(text.contains(".SH NAME\n") && text.contains(".SH \"SEE ALSO\"\n"), "{text}");
    }
    let top = fs::read_to_string(ckpt.place.file("man/ckpt.1")).unwrap();
    assert!(top.contains("EXIT STATUS") && top.contains("\\fB89\\fR"), "{top}");
}

#[test]
fn completions_are_scripts_of_their_shells() {
    let ckpt = Ckpt::new(User::Myself);
    let script = ckpt.shows(["completions", "bash"]);
    let program = format!(
        "{script}\nCOMP_WORDS=(ckpt sho); COMP_CWORD=1; _ckpt ckpt sho ckpt; echo \"${{COMPREPLY[@]}}\""
    );
    let output = Command::new("/bin/bash").args(["-c", &program]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "show");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(ckpt.shows(["completions", "zsh"]).starts_with("#compdef ckpt"));
    assert!(ckpt.shows(["completions", "fish"]).contains("complete -c ckpt"));
}

#[test]
fn the_doctor_saves_and_restarts_a_program() {
    for user in User::each() {
        let ckpt = Ckpt::new(user);
        let findings = ckpt.json(["doctor", "--json"]);
        let trial = findings.as_array().unwrap().iter().find(|finding| finding["what"] == "trial").unwrap();
        assert_eq!(trial["state"], "ok", "{findings}");
        assert!(ckpt.shows(["doctor"]).lines().all(|line| !line.contains('\x1b')));
    }
    let ckpt = Ckpt::new(User::Myself);
    let library = ckpt.place.artifact(harness::Artifact::Library);
    fs::remove_file(&library).unwrap();
    let said = ckpt.say(["doctor"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.starts_with("MISSING  installation   libckpt.so: not found"), "{said:?}");
}
