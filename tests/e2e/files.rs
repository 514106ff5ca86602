//! Files that changed between save and restart, and descriptors that are sent elsewhere.

use harness::{Image, Place, Process, Program, User};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Stdio;

const MISSING: i32 = 72;
const CHANGED: i32 = 73;
const PERMISSION: i32 = 77;
const USAGE: i32 = 64;
const BUSY: i32 = 93;

/// The victim, saved and killed after it has written "before" to `log` and has read "abc" of `in`.
fn gone(user: User) -> (Place, Image) {
    let place = Place::new(user);
    let mut process = place.start(&Program::victim("fd_changed"));
    process.ready();
    let image = process.save();
    process.kill();
    assert_eq!(place.text("log"), "before\n");
    (place, image)
}

/// What the victim leaves when it is restarted with these options: `log` and `got`.
fn outcome(place: &Place, image: &Image, options: &[&str]) -> (String, String) {
    image.restart_with(options).passes();
    (place.text("log"), place.text("got"))
}

fn each(test: impl Fn(Place, Image)) {
    for user in User::each() {
        let (place, image) = gone(user);
        test(place, image);
    }
}

fn texts(log: &str, got: &str) -> (String, String) {
    (log.into(), got.into())
}

#[test]
fn files_that_grew_are_not_cut() {
    each(|place, image| {
        place.write("log", b"before\nlines of somebody else\n");
        place.write("in", b"abcdefghi");
        assert_eq!(outcome(&place, &image, &[]), texts("before\nafter\nof somebody else\n", "defghi"));
    });
}

#[test]
fn roll_back_cuts_only_what_was_written_to_and_grew() {
    each(|place, image| {
        place.write("log", b"before\nlines that were written after the save\n");
        place.write("in", b"abcdefghi");
        assert_eq!(outcome(&place, &image, &["--rollback-files"]), texts("before\nafter\n", "defghi"));

        place.write("log", b"bef");
        assert_eq!(outcome(&place, &image, &["--rollback-files"]), texts("bef\0\0\0\0after\n", "defghi"));
    });
}

#[test]
fn shorter_files_are_written_at_the_old_place() {
    each(|place, image| {
        place.write("log", b"bef");
        place.write("in", b"ab");
        assert_eq!(outcome(&place, &image, &[]), texts("bef\0\0\0\0after\n", ""));
    });
}

#[test]
fn files_of_the_same_name_take_the_place_of_others() {
    each(|place, image| {
        for (name, contents) in [("log", "another"), ("in", "123456")] {
            fs::remove_file(place.file(name)).unwrap();
            place.write(name, contents.as_bytes());
        }
        assert_eq!(outcome(&place, &image, &[]), texts("anotherafter\n", "456"));
    });
}

#[test]
fn a_missing_file_is_named_and_nothing_is_done() {
    each(|place, image| {
        fs::remove_file(place.file("log")).unwrap();
        let (code, said) = image.refused(&["--rollback-files"]);
        assert_eq!(code, MISSING, "{said}");
        let line = format!(
            "myrestart: descriptor 20, {}: a file of the process is not there; ",
            place.file("log").display()
        );
        assert!(said.starts_with(&line) && said.lines().count() == 1, "{said}");
        assert!(!place.names().contains(&"log".into()));

        assert_eq!(outcome(&place, &image, &["--missing-files=null"]).1, "def");
        assert!(!place.names().contains(&"log".into()), "null makes no file");
        assert_eq!(outcome(&place, &image, &["--missing-files=create"]).0, "\0\0\0\0\0\0\0after\n");
        let made = fs::metadata(place.file("log")).unwrap();
        assert_eq!((made.mode() & 0o777, made.uid()), (0o640, place.user.ids().0));
    });
}

/// As the script of a batch job, which the batch system removes from its spool: bash reads its next command there.
#[test]
fn a_small_file_that_was_read_comes_out_of_the_image() {
    each(|place, image| {
        let mode = fs::metadata(place.file("in")).unwrap().mode();
        fs::remove_file(place.file("in")).unwrap();
        assert_eq!(outcome(&place, &image, &[]), texts("before\nafter\n", "def"));
        assert!(!place.names().contains(&"in".into()), "a file is made");
        assert_eq!(outcome(&place, &image, &["--missing-files=create"]).1, "def");
        assert_eq!(place.text("in"), "abcdef");
        assert_eq!(fs::metadata(place.file("in")).unwrap().mode(), mode);
    });
    // A larger one does not, and an empty one in its place is not what is advised.
    let place = Place::new(User::ordinary());
    place.write("in", &vec![b'x'; (1 << 20) + 1]);
    let mut process = place.start(&Program::victim("fd_changed"));
    process.ready();
    let image = process.save();
    process.kill();
    fs::remove_file(place.file("in")).unwrap();
    let (code, said) = image.refused(&[]);
    assert_eq!(code, MISSING, "{said}");
    assert!(said.contains("descriptor 21, ") && !said.contains("null") && !said.contains("create"), "{said}");
}

/// A folder with one of every kind of file, of a process that is gone.
fn with_all_kinds() -> (Place, Image) {
    let place = Place::new(User::ordinary());
    fs::create_dir(place.file("a")).unwrap();
    place.own(&place.file("a"));
    let victim = Program::victim("all_paths").env("CKPT_IMAGE", place.file("myckpt"));
    let mut process = place.start(&victim);
    process.ready();
    let image = process.save();
    process.kill();
    (place, image)
}

#[test]
fn a_file_that_is_read_and_written_must_be_what_it_was() {
    let append = |place: &Place, name: &str| {
        fs::OpenOptions::new()
            .append(true)
            .open(place.file("a").join(name))
            .unwrap()
            .write_all(b"new")
            .unwrap();
    };
    let (place, image) = with_all_kinds();
    for (name, word) in [("both", "reads and writes"), ("mapped", "had mapped, and writes to")] {
        let path = place.file("a").join(name);
        let is_exempt = name == "mapped" && path.starts_with("/dev/shm");
        let before = fs::read(&path).unwrap();
        append(&place, name);
        for options in [&[][..], &["--rollback-files"]] {
            if !is_exempt {
                let (code, said) = image.refused(options);
                assert_eq!(code, CHANGED, "{said}");
                assert!(said.contains(word) && said.contains("--changed-files=accept"), "{said}");
                place.write("restart.err", b"");
            }
        }
        assert_eq!(fs::read(&path).unwrap(), [&before[..], b"new"].concat(), "{name} was cut");
    }
    // What is only written to or appended to may grow.
    append(&place, "written");
    append(&place, "appended");
    image.restart_with(&["--changed-files=accept", "--rollback-files"]).passes();
    let text = |name: &str| fs::read_to_string(place.file("a").join(name)).unwrap();
    assert_eq!(text("written"), "0123456789\nroot::0:0:::/bin/sh\n");
    assert_eq!(text("appended"), "root::0:0:::/bin/sh\n");
    // The offset was zero; nothing was cut.
    assert_eq!(text("both"), "root::0:0:::/bin/sh\n");

    // Another inode with the same contents is another file.
    let (place, image) = with_all_kinds();
    let path = place.file("a").join("both");
    fs::copy(&path, place.file("copy")).unwrap();
    fs::rename(place.file("copy"), &path).unwrap();
    place.own(&path);
    assert_eq!(image.refused(&[]).0, CHANGED);
}

#[test]
fn a_folder_can_be_elsewhere() {
    let (place, image) = with_all_kinds();
    let (old, new) = (place.file("a"), place.file("elsewhere"));
    fs::rename(&old, &new).unwrap();
    let (code, said) = image.refused(&[]);
    assert_eq!(code, MISSING, "{said}");
    assert!(said.contains("--map OLD=NEW"), "{said}");
    place.write("restart.err", b"");
    assert_eq!(image.refused(&["--map", "/nowhere=/", "--cwd", "no such"]).0, 66);
    place.write("restart.err", b"");
    fs::create_dir(place.file("inner")).unwrap();
    place.own(&place.file("inner"));
    let map = format!("--map={}={}", old.display(), new.display());
    let process = image.restart_with(&[&map, "--cwd=inner"]);
    let cwd = fs::read_link(format!("/proc/{}/cwd", process.pid())).unwrap();
    assert_eq!(cwd, place.file("inner"));
    for (number, target) in process.descriptors().into_iter().filter(|(number, _)| *number > 19) {
        let target = target.trim_end_matches(" (deleted)");
        let of_folder = number == 25 || number == 27 || Path::new(target).starts_with(&new);
        assert!(of_folder, "{number}: {target}");
    }
    process.passes();
    let text = fs::read_to_string(new.join("written")).unwrap();
    assert_eq!(text, "0123456789\nroot::0:0:::/bin/sh\n");
    assert!(new.join("socket").exists() && !old.exists());
}

/// What a shell script with `> log` around it does: the lines of the saved program, of others, and of the restarted one stand in order.
#[test]
fn output_that_is_shared_with_the_restarter_goes_on_where_that_is() {
    for (options, expected) in [
        (&[][..], "ready\nbetween\nPASS\n"),
        (&["--stdio=own"], "ready\nbetween\nPASS\n"),
        (&["--stdio=saved"], "ready\nPASS\nen\n"),
        (&["--rollback-files"], "ready\nPASS\n"),
    ] {
        let place = Place::new(User::ordinary());
        let mut log = fs::File::create(place.file("out")).unwrap();
        place.own(&place.file("out"));
        let mut command = place.command_for(&Program::victim("quiet"));
        command.stdout(log.try_clone().unwrap()).stderr(place.output("err"));
        let mut process = Process::spawn(&place, command);
        process.ready();
        let image = process.save();
        process.kill();
        log.write_all(b"between\n").unwrap();
        place.release_all();
        let mut command = image.command(options);
        command.stdout(log.try_clone().unwrap());
        assert!(command.status().unwrap().success(), "{}", place.text("restart.err"));
        assert_eq!(place.text("out"), expected, "{options:?}");
    }
    // Another file is another matter.
    let place = Place::new(User::ordinary());
    let mut process = place.start(&Program::victim("quiet"));
    process.ready();
    let image = process.save();
    process.kill();
    image.restart().passes();
    assert_eq!((place.text("out").as_str(), place.text("restart.out").as_str()), ("ready\nPASS\n", ""));
}

#[test]
fn a_file_of_another_type_is_refused() {
    each(|place, image| {
        fs::remove_file(place.file("in")).unwrap();
        fs::create_dir(place.file("in")).unwrap();
        let (code, said) = image.refused(&["--missing-files=create"]);
        assert_eq!(code, CHANGED, "{said}");
        assert!(said.contains("descriptor 21, ") && said.contains("of another type"), "{said}");
    });
}

#[test]
fn a_file_that_may_not_be_opened_is_refused_unless_it_is_ones_own() {
    let (place, image) = gone(User::ordinary());
    fs::set_permissions(place.file("log"), PermissionsExt::from_mode(0o400)).unwrap();
    assert_eq!(outcome(&place, &image, &[]), texts("before\nafter\n", "def"));
    assert_eq!(fs::metadata(place.file("log")).unwrap().mode() & 0o777, 0o400);
    if User::ordinary() == User::Myself {
        return; // nobody else's file to be had
    }
    std::os::unix::fs::chown(place.file("log"), Some(0), Some(0)).unwrap();
    let (code, said) = image.refused(&[]);
    assert_eq!(code, PERMISSION, "{said}");
    assert!(said.contains("descriptor 20, ") && said.contains("may not be opened"), "{said}");
}

#[test]
fn descriptors_can_be_sent_elsewhere() {
    each(|place, image| {
        place.write("other log", b"mine\n");
        place.write("other in", b"elsewhere");
        let options = ["--fd", "20=other log", "--fd=21=other in"];
        assert_eq!(outcome(&place, &image, &options), texts("before\n", "elsewhere"));
        assert_eq!(place.text("other log"), "mine\nafter\n", "nothing is destroyed");

        fs::remove_file(place.file("log")).unwrap();
        let (_, got) = outcome(&place, &image, &["--fd", "20=new log"]);
        assert_eq!((place.text("new log").as_str(), got.as_str()), ("after\n", "def"));
        // restart.out is what the restarter has as 1; the process has another file there.
        outcome(&place, &image, &["--fd", "20=&1"]);
        assert_eq!(place.text("restart.out"), "after\n");

        let (code, said) = image.refused(&["--fd", "22=x"]);
        assert_eq!(code, USAGE, "{said}");
        assert!(said.contains("no descriptor of the number"), "{said}");
        let (code, said) = image.refused(&["--fd", "20=no/such/folder"]);
        assert_eq!(code, 66, "{said}");
    });
}

#[test]
fn a_lock_that_another_holds_is_refused() {
    for user in User::each() {
        let place = Place::new(user);
        let mut process = place.start(&Program::victim("fd_locks"));
        process.ready();
        let image = process.save();
        let (code, said) = image.refused(&[]);
        assert_eq!(code, BUSY, "{said}");
        assert!(said.contains("flock(") && said.contains("held by another"), "{said}");
        place.write("restart.err", b"");
        process.passes();
    }
}

#[test]
fn an_address_that_is_in_use_is_refused() {
    for user in User::each() {
        let place = Place::new(user);
        let mut process = place.start(&Program::victim("fd_unix"));
        process.ready();
        let image = process.save();
        let (code, said) = image.refused(&[]);
        assert_eq!(code, BUSY, "{said}");
        assert!(said.contains("relative: the path of a socket of the process is in use"), "{said}");
        place.write("restart.err", b"");
        process.passes();
    }
}

/// A victim that talks through pipes, and the harness's ends of them.
struct Talker {
    process: Process,
    input: std::process::ChildStdin,
    output: BufReader<std::process::ChildStdout>,
}

impl Talker {
    fn new(process: impl FnOnce() -> Process) -> Self {
        let mut process = process();
        let (input, output) = process.pipes();
        Self { process, input, output: BufReader::new(output) }
    }

    fn say(&mut self, text: &str) {
        self.input.write_all(text.as_bytes()).unwrap();
    }

    #[track_caller]
    fn hears(&mut self, text: &str) {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        assert_eq!(line, text);
    }
}

#[test]
fn pipes_to_others_on_0_and_1_are_those_of_the_restarter() {
    for user in User::each() {
        let place = Place::new(user);
        let start = || {
            let mut command = place.command_for(&Program::victim("fd_standard"));
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(place.output("err"));
            Process::spawn(&place, command)
        };
        let mut talker = Talker::new(start);
        talker.hears("ready\n");
        for generation in 0..3 {
            talker.say("one\n");
            talker.hears("out one\n");
            let image = talker.process.save();
            talker.say("two\n");
            talker.hears("out two\n");
            talker.process.kill();
            talker = Talker::new(|| {
                let mut command = image.command::<&str>([]);
                command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(place.output("err"));
                image.restart_by(command)
            });
            assert_eq!(talker.process.generation(), generation + 1);
        }
        talker.say("quit\n");
        assert_eq!(talker.process.finish().code(), 0);
    }
}

/// `sudo -u somebody job > /root/out`: standard output is a file in a folder that only root may enter.
#[test]
fn output_in_a_private_folder_is_the_restarters() {
    if User::ordinary() == User::Myself {
        return; // nobody else's folder to be had
    }
    let place = Place::new(User::ordinary());
    fs::create_dir(place.file("private")).unwrap();
    fs::set_permissions(place.file("private"), PermissionsExt::from_mode(0o700)).unwrap();
    std::os::unix::fs::chown(place.file("private"), Some(0), Some(0)).unwrap();
    let open = || fs::File::options().create(true).append(true).open(place.file("private/out")).unwrap();
    let mut command = place.command_for(&Program::victim("signal_state"));
    command.stdout(place.output("out")).stderr(open());
    let mut process = Process::spawn(&place, command);
    process.ready();
    let image = process.save();
    process.kill();
    let mut command = image.command::<&str>([]);
    command.stderr(open());
    image.restart_by(command).passes();
}

/// As a service manager starts a program: standard error is a file that only root may open.
#[test]
fn output_that_somebody_else_opened_is_the_restarters() {
    if User::ordinary() == User::Myself {
        return; // nobody else's file to be had
    }
    let place = Place::new(User::ordinary());
    let open = || {
        let file = fs::File::options().create(true).append(true).open(place.file("theirs")).unwrap();
        file.set_permissions(PermissionsExt::from_mode(0o600)).unwrap();
        file
    };
    let mut command = place.command_for(&Program::victim("fd_standard"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(open());
    let mut talker = Talker::new(|| Process::spawn(&place, command));
    talker.hears("ready\n");
    for generation in 0..3 {
        talker.say("one\n");
        talker.hears("out one\n");
        let image = talker.process.save();
        talker.process.kill();
        talker = Talker::new(|| {
            let mut command = image.command::<&str>([]);
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(open());
            image.restart_by(command)
        });
        assert_eq!(talker.process.generation(), generation + 1);
    }
    talker.say("quit\n");
    assert_eq!(talker.process.finish().code(), 0);
    assert_eq!(place.text("theirs"), "err one\n".repeat(3));

    // What it reads is another matter: the restarter's own need not be the same.
    place.write("input", b"");
    fs::set_permissions(place.file("input"), PermissionsExt::from_mode(0o600)).unwrap();
    std::os::unix::fs::chown(place.file("input"), Some(0), Some(0)).unwrap();
    let mut command = place.command_for(&Program::victim("heap_break"));
    command.stdin(fs::File::open(place.file("input")).unwrap());
    command.stdout(place.output("out")).stderr(place.output("err"));
    let mut process = Process::spawn(&place, command);
    process.ready();
    let said = process.try_save().err().expect("a save");
    assert!(said.contains("descriptor 0 is a file that may not be opened again"), "{said}");
    process.passes_in_spite_of_a_line();
}

#[test]
fn standard_streams_can_be_redirected_at_the_restart() {
    let place = Place::new(User::ordinary());
    let mut command = place.command_for(&Program::victim("fd_standard"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut talker = Talker::new(|| Process::spawn(&place, command));
    talker.hears("ready\n");
    let image = talker.process.save();
    talker.process.kill();
    // It waits, so that the restart can be seen to be over.
    place.write("lines", b"wait\nsecond\n");
    let mut command = image.command::<&str>([]);
    command.stdin(fs::File::open(place.file("lines")).unwrap());
    let mut process = image.restart_by(command);
    process.go();
    process.until("its end", |process| process.ended().is_some());
    assert_eq!(place.text("restart.out"), "out wait\nout second\nPASS\n");
    assert_eq!(place.text("restart.err"), "err wait\nerr second\n");

    // Without a standard input there is nothing to take the place of the pipe.
    let mut command = image.command::<&str>([]);
    // SAFETY: close(2) between fork and exec.
    unsafe {
        std::os::unix::process::CommandExt::pre_exec(&mut command, || {
            libc::close(0);
            Ok(())
        });
    }
    let outcome = Process::spawn(&place, command).finish();
    assert_eq!(outcome.code(), 82);
    assert!(place.text("restart.err").contains("standard stream"), "{}", place.text("restart.err"));
}
