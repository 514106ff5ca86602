//! What comes in the way of a save: one line on standard error, no temporary file, the previous image as it was, the program unharmed.

use harness::{Place, Process, Program, User};
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

/// A save, the obstacle, and a save that is refused; then the victim must pass.
#[track_caller]
pub fn refused(mut process: Process, folder: &str, expected: &str) {
    process.ready();
    let cwd = format!("/proc/{}/cwd/{folder}", process.pid());
    let names = || {
        let mut names: Vec<_> =
            fs::read_dir(&cwd).into_iter().flatten().map(|entry| entry.unwrap().file_name()).collect();
        names.retain(|name| !name.to_string_lossy().starts_with("go."));
        names.sort();
        names
    };
    // Its own view of the directory: it may be in another mount namespace.
    process.image = format!("{cwd}/myckpt").into();
    process.save();
    let before = fs::read(&process.image).unwrap();
    let files = names();
    process.go();
    process.ready();
    match process.try_save() {
        Ok(_) => process.fail("saved in spite of the obstacle"),
        Err(line) => assert!(line.contains(expected), "{line}"),
    }
    let messages = process.place.text("err");
    assert_eq!(messages.lines().count(), 1, "{messages}");
    if !files.is_empty() && cwd_exists(&cwd) {
        assert_eq!(names(), files, "a file is left or gone");
        assert!(fs::read(&process.image).unwrap() == before, "the previous image has changed");
    }
    process.go();
    let place = process.place.clone();
    let outcome = process.finish();
    assert!(outcome.status.success() && place.text("out").ends_with("PASS\n"), "{outcome:?}");
}

/// Whether a directory still has a name.
fn cwd_exists(path: &str) -> bool {
    fs::read_link(path.trim_end_matches('/')).is_ok_and(|target| target.exists())
}

#[test]
fn file_size_limit() {
    for user in User::each() {
        refused(Place::new(user).start(&Program::victim("save_fails").arg("file-size")), "", "EFBIG");
    }
}

/// What a writer has to tell is told also where standard error cannot be opened anew: a socket, or a file that nobody may open any more.
#[test]
fn a_message_for_a_standard_error_that_cannot_be_opened() {
    for user in User::each() {
        let place = Place::new(user);
        let mut command = place.command_for(&Program::victim("save_fails").arg("file-size"));
        let (ours, theirs) = UnixStream::pair().unwrap();
        command.stdout(place.output("out")).stderr(OwnedFd::from(theirs));
        let mut process = Process::spawn(&place, command);
        process.ready();
        process.save();
        process.go();
        process.ready();
        process.send(process.signal);
        let mut line = String::new();
        BufReader::new(ours).read_line(&mut line).unwrap();
        assert!(line.starts_with("ckpt: not saved: ") && line.contains("EFBIG"), "{line}");
        process.passes();
    }
    // Nobody may open it for writing any more.
    let place = Place::new(User::ordinary());
    let err = fs::File::options().create(true).append(true).open(place.file("err")).unwrap();
    err.set_permissions(PermissionsExt::from_mode(0o444)).unwrap();
    let mut command = place.command_for(&Program::victim("save_fails").arg("file-size"));
    command.stdout(place.output("out")).stderr(err);
    refused(Process::spawn(&place, command), "", "EFBIG");
}

#[test]
fn directory_that_is_gone() {
    for user in User::each() {
        refused(
            Place::new(user).start(&Program::victim("save_fails").arg("directory-gone")),
            "",
            "was removed",
        );
    }
}

#[test]
fn directory_that_is_not_writable() {
    refused(
        Place::new(User::ordinary()).start(&Program::victim("save_fails").arg("directory-read-only")),
        "",
        "EACCES",
    );
}

/// The victim on a file system of 32 MiB, in a mount namespace of its own: the first image fits, the second does not.
fn on_a_small_file_system(place: &Place, foreground: u8, redirection: &str) -> Process {
    let victim = Program::victim("save_fails");
    let library = place.artifact(harness::Artifact::Library);
    let script = format!(
        "mkdir small && mount -t tmpfs -o size=32m,mode=777 none small && cd small && \
         export CKPT_FOREGROUND={foreground} LD_PRELOAD={}; exec {} memory {redirection}",
        library.display(),
        place.cwd().join(place.executable(&victim)).display()
    );
    let mut unshare = Program::tool("unshare").without_preload().arg("--mount");
    if place.user == User::ordinary() {
        unshare = unshare.args(["--user", "--map-root-user"]);
    }
    place.start(&unshare.args(["sh", "-c", &script]))
}

#[test]
fn full_file_system() {
    for user in User::each() {
        refused(on_a_small_file_system(&Place::new(user), 0, ""), "", "ENOSPC");
    }
}

/// The image that is given up has filled the file system that the message goes to.
#[test]
fn a_message_to_a_file_on_the_full_file_system_arrives() {
    for user in User::each() {
        for foreground in [0, 1] {
            let mut process = on_a_small_file_system(&Place::new(user), foreground, "2> messages");
            process.ready();
            let cwd = format!("/proc/{}/cwd", process.pid());
            process.image = format!("{cwd}/myckpt").into();
            process.save();
            process.go();
            process.ready();
            process.send(process.signal);
            process.until("the message", |_| {
                fs::read_to_string(format!("{cwd}/messages")).is_ok_and(|text| {
                    text.starts_with("ckpt: not saved: writing the image: ENOSPC")
                        && text.lines().count() == 1
                })
            });
            assert!(
                !fs::read_dir(&cwd)
                    .unwrap()
                    .any(|entry| { entry.unwrap().file_name().to_string_lossy().ends_with(".tmp") })
            );
        }
    }
}
