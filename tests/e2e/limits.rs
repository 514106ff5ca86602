//! Saves where something is short, long, missing or odd. What is full or may not be written is in `obstacles`.

use harness::{Artifact, Place, Process, Program, User, tool};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

/// A save under this name, and a restart from it.
#[track_caller]
fn saved_under(place: &Place, name: &str) {
    let mut process = place.start(&Program::victim("quiet").env("CKPT_IMAGE", name));
    process.ready();
    // From where the harness is, the path would be even longer.
    process.image = name.trim_start_matches("./").into();
    let image = process.save();
    process.kill();
    image.restart().passes();
}

#[test]
fn names_with_blanks_newlines_and_other_bytes() {
    for user in User::each() {
        for name in ["with blanks ", "two\nlines", "\u{1}\\\"'$(true)", "ü"] {
            saved_under(&Place::new(user), name);
        }
    }
}

#[test]
fn path_of_4095_bytes() {
    let place = Place::new(User::ordinary());
    let longest = format!("{}longest", "./".repeat((4095 - 7) / 2));
    assert_eq!(longest.len(), 4095);
    saved_under(&place, &longest);
}

#[test]
fn a_link_under_the_name_of_the_image_is_replaced() {
    for user in User::each() {
        let place = Place::new(user);
        place.write("precious", b"precious");
        symlink("precious", place.file("myckpt")).unwrap();
        saved_under(&place, "myckpt");
        assert_eq!(place.text("precious"), "precious");
        assert!(fs::symlink_metadata(place.file("myckpt")).unwrap().is_file());
    }
}

/// Runs a victim by a script in a mount namespace of its own, as root of a user namespace where the user is none. The script ends with `exec "$@"`.
#[track_caller]
fn in_namespace(user: User, script: &str) -> harness::Process {
    let place = Place::new(user);
    let victim = Program::victim("quiet");
    let library = place.artifact(Artifact::Library);
    let file = place.cwd().join(place.executable(&victim));
    let script = format!("{script}; export LD_PRELOAD={}; exec {}", library.display(), file.display());
    let mut unshare = Program::tool("unshare").without_preload().arg("--mount");
    if user == User::ordinary() {
        unshare = unshare.args(["--user", "--map-root-user"]);
    }
    let mut process = place.start(&unshare.args(["sh", "-c", &script]));
    process.ready();
    process
}

#[test]
fn without_proc_a_save_is_refused_by_name() {
    for user in User::each() {
        let mut process = in_namespace(user, "mount -t tmpfs none /proc");
        let line = process.try_save().err().expect("a refusal");
        assert!(line.contains("/proc") && line.contains("mounted"), "{line}");
        assert!(!Path::new(&process.place.file("myckpt")).exists());
        process.passes_in_spite_of_a_line();
    }
}

#[test]
fn proc_that_hides_other_processes() {
    // Only root can mount it without a PID namespace.
    for user in User::each().filter(|user| user.ids().0 == 0) {
        let mut process = in_namespace(user, "mount -t proc -o hidepid=2 none /proc");
        process.save();
        process.passes();
    }
}

#[test]
fn little_address_space() {
    for user in User::each() {
        let place = Place::new(user);
        let victim = Program::victim("quiet");
        let library = place.artifact(Artifact::Library);
        // Enough for the program and the tables of a save, and for nothing else.
        let script = format!(
            "ulimit -v 24000; LD_PRELOAD={} exec {}",
            library.display(),
            place.cwd().join(place.executable(&victim)).display()
        );
        let mut process = place.start(&Program::tool("sh").without_preload().args(["-c", &script]));
        process.ready();
        process.save();
        process.passes();
    }
}

#[test]
fn little_stack() {
    const LIMIT: i32 = 79;
    for user in User::each() {
        let place = Place::new(user);
        let mut process = place.start(&Program::victim("quiet"));
        process.ready();
        let image = process.save();
        process.kill();
        let limited = |which: &str| {
            let restarter = place.artifact(Artifact::Restarter);
            let mut command = place.command(&tool("sh"));
            command.arg("-c").arg(format!("ulimit {which} -s 64; exec {} myckpt", restarter.display()));
            command.stdout(place.output("restart.out")).stderr(place.output("restart.err"));
            command
        };
        let process = image.restart_by(limited("-S"));
        let limits = process.proc("limits");
        let stack = limits.lines().find(|line| line.starts_with("Max stack size")).unwrap();
        assert!(!stack.contains(" 65536 ") && !stack.contains(" 131072 "), "{stack}");
        process.passes();

        let outcome = Process::spawn(&place, limited("")).finish();
        let said = place.text("restart.err");
        assert_eq!(outcome.status.code(), Some(LIMIT), "{said}");
        assert!(said.contains("RLIMIT_STACK") && said.contains("ulimit -Hs"), "{said}");
    }
}
