//! Exit codes of `ckpt` that no other test meets.

use super::Ckpt;
use harness::{Artifact, Program, User};
use std::fs::File;

/// Offset of `required` in an image: behind `version`, the first field of HEAD.
fn required(bytes: &[u8]) -> usize {
    let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
    // p_offset of the notes, in the first program header; their first one has 12 bytes of header and 8 of owner.
    word(64 + 8) + 20 + 4
}

#[test]
fn state_that_this_version_does_not_know_is_82() {
    let ckpt = Ckpt::new(User::ordinary());
    ckpt.image();
    let mut bytes = ckpt.place.read("myckpt");
    let at = required(&bytes);
    bytes[at] = 1;
    ckpt.place.write("newer", &bytes);
    let said = ckpt.say(["show", "newer"]);
    assert_eq!(said.code, 82, "{said:?}");
    assert_eq!(
        said.err,
        "ckpt: newer: needs something that this version does not know; use the ckpt that wrote it (number 1)\n"
    );
}

#[test]
fn an_answer_that_does_not_fit_is_70() {
    let ckpt = Ckpt::new(User::ordinary());
    let mut process = ckpt.place.start(&Program::victim("answers_oddly"));
    process.ready();
    let said = ckpt.say(["save", &process.pid().to_string()]);
    assert_eq!((said.code, said.out.as_str()), (70, ""), "{said:?}");
    let start = format!("ckpt: process {} (answers_oddly): an answer that does not fit: ", process.pid());
    assert!(said.err.starts_with(&start) && said.err.lines().count() == 1, "{said:?}");
    process.passes();
}

#[test]
fn output_that_cannot_be_written_is_74() {
    let ckpt = Ckpt::new(User::ordinary());
    ckpt.image();
    let mut command = ckpt.command_as(ckpt.place.user, ["show", "myckpt"]);
    let output = command.stdout(File::options().write(true).open("/dev/full").unwrap()).output().unwrap();
    assert_eq!(output.status.code(), Some(74));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with("ckpt: standard output: cannot be written: "), "{said}");
}

#[test]
fn a_part_that_is_missing_is_86() {
    let ckpt = Ckpt::new(User::ordinary());
    ckpt.image();
    let mut command = ckpt.command_as(ckpt.place.user, ["gdb", "myckpt"]);
    let output = command.env("PATH", "/nonexistent").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "ckpt: gdb: not found; install it\n");
    assert_eq!(output.status.code(), Some(86));

    std::fs::remove_file(ckpt.place.artifact(Artifact::Library)).unwrap();
    let said = ckpt.say(["run", "true"]);
    assert_eq!(said.code, 86, "{said:?}");
    assert!(said.err.starts_with("ckpt: libckpt.so: not found beside "), "{said:?}");
}

#[test]
fn an_image_may_come_from_a_pipe() {
    let ckpt = Ckpt::new(User::ordinary());
    ckpt.image();
    let from_pipe = |args: &[&str]| {
        let mut command = ckpt.command_as(ckpt.place.user, args);
        let output = command.stdin(File::open(ckpt.place.file("myckpt")).unwrap()).output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (code, shown, _) = from_pipe(&["show", "--maps", "-"]);
    assert_eq!((code, shown), (Some(0), ckpt.shows(["show", "--maps", "myckpt"])));
    assert_eq!(from_pipe(&["diff", "myckpt", "-"]).0, Some(0));
    assert_eq!(from_pipe(&["gdb", "-"]).0, Some(64));
}
