//! A program that gains privileges at exec is left alone, also where the loader does load libckpt.so: the program is linked with it, by an absolute path.

use harness::{Artifact, Place, Program, User, root, tool};
use std::process::Command;

/// What a place needs: the victim, linked with the library, and another library whose constructor runs first and moves the environment.
fn prepare(place: &Place) {
    let library = place.artifact(Artifact::Library);
    let folder = library.parent().unwrap();
    place.write(
        "early.c",
        b"#include <stdlib.h>\n__attribute__((constructor)) static void early(void) { setenv(\"EARLY\", \"1\", 1); }\n",
    );
    let early = folder.join("libearly.so");
    let compile = |args: &[&str]| {
        let mut command = Command::new(tool("gcc"));
        let output = command.current_dir(place.cwd()).args(args).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    let early = early.to_str().unwrap();
    compile(&["-shared", "-fPIC", "-o", early, "early.c"]);
    let source = root().join("tests/victims/privileged.c");
    let rpath = format!("-Wl,-rpath,{}", folder.display());
    let libraries = ["-Wl,--no-as-needed", library.to_str().unwrap(), early, &rpath];
    compile(&[&["-o", "privileged", source.to_str().unwrap()], &libraries[..]].concat());
    place.own(&place.file("privileged"));
}

/// Runs a script with a copy of the victim, `mine/privileged`, on a file system on which privileges can be gained.
#[track_caller]
fn says(place: &Place, script: &str) -> (String, String) {
    let script = format!(
        "set -e; mkdir -p mine; mount -t tmpfs -o mode=755 none mine; cp privileged mine; cd mine; {script}"
    );
    let mut unshare = Program::tool("unshare").without_preload().arg("--mount");
    if place.user == User::ordinary() {
        unshare = unshare.args(["--user", "--map-root-user"]);
    }
    // The bad value shows whether the library has looked at the environment at all.
    let program = unshare
        .args(["sh", "-c", &script])
        .env("CKPT_SIGNAL", "nonsense")
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    let said = place.read("err").len();
    let outcome = place.start(&program).finish();
    let text = String::from_utf8_lossy(&outcome.output).into_owned();
    assert!(outcome.status.success(), "{script}: {outcome:?}");
    (text, outcome.messages.get(said..).unwrap_or_default().to_owned())
}

const LEFT_ALONE: &str = "secure 1, loaded 1, handles 0\nPASS\n";

/// The same program without privileges: the library is at work.
#[track_caller]
fn is_not_left_alone(place: &Place) {
    let (text, messages) = says(place, "exec ./privileged");
    assert_eq!(text, "secure 0, loaded 1, handles 1\nPASS\n", "{messages}");
    assert!(messages.starts_with("ckpt: CKPT_SIGNAL=") && messages.lines().count() == 1, "{messages}");
}

#[test]
fn a_program_that_gains_privileges_is_left_alone() {
    const SOMEBODY_ELSE: &str = "setpriv --reuid=65534 --regid=65534 --clear-groups";
    tool("setcap");
    for user in User::each() {
        let place = Place::new(user);
        prepare(&place);
        is_not_left_alone(&place);
        let changes = match user.ids().0 {
            0 => vec![
                "chown 65534 privileged; chmod 4755 privileged; exec ./privileged".to_owned(),
                "chgrp 65534 privileged; chmod 2755 privileged; exec ./privileged".to_owned(),
                format!("chmod 4755 privileged; exec {SOMEBODY_ELSE} ./privileged"),
                format!("setcap cap_net_raw+ep privileged; exec {SOMEBODY_ELSE} ./privileged"),
            ],
            // An ordinary user has no second id to give to a file. Root of a namespace can give it capabilities, and gains nothing by them: somebody else
            // runs the program.
            _ => vec![
                "setcap cap_net_raw+ep privileged; exec unshare --user --map-user=1000 ./privileged"
                    .to_owned(),
            ],
        };
        for change in changes {
            assert_eq!(says(&place, &change), (LEFT_ALONE.to_owned(), String::new()), "{change}");
        }
    }
}
