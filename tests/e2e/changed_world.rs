//! A restart where somebody else has been meanwhile: what is at the paths of an image is theirs now, or changes all the time. No file of anybody else is
//! opened for writing, cut, made, taken away, or gets another mode; each of these fails on a restarter that opens by path.

use harness::{Artifact, Image, Place, Program, User, tool};
use nix::unistd::{Gid, Uid, chown};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const CHANGED: i32 = 73;
const PERMISSION: i32 = 77;
/// Who may write to the directory; the program is root's. Where the tests are not root's, everything is the tests' user's, and only links are told from files.
const ENEMY: u32 = 65534;

/// The program of root in the directory of another, saved and killed.
fn saved(args: &[&str]) -> (Place, Image) {
    let place = Place::new(User::Myself);
    let folder = place.file("a");
    fs::create_dir(&folder).unwrap();
    theirs(&folder);
    let mut process =
        place.start(&Program::victim("all_paths").args(args).env("CKPT_IMAGE", place.file("myckpt")));
    process.ready();
    let image = process.save();
    process.kill();
    (place, image)
}

fn is_root() -> bool {
    Uid::effective().is_root()
}

fn theirs(path: &Path) {
    if is_root() {
        nix::unistd::fchownat(
            nix::fcntl::AT_FDCWD,
            path,
            Some(Uid::from_raw(ENEMY)),
            Some(Gid::from_raw(ENEMY)),
            nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW,
        )
        .unwrap();
    }
}

/// Files of the victim: whatever happens, they stay what they are.
struct Precious {
    folder: PathBuf,
}

impl Precious {
    const CONTENTS: &str = "root:x:0:0:root:/root:/bin/bash, and more\n";

    fn new(place: &Place) -> Self {
        let folder = place.file("precious");
        fs::create_dir_all(folder.join("folder")).unwrap();
        for name in ["file", "hard"] {
            fs::write(folder.join(name), Self::CONTENTS).unwrap();
            fs::set_permissions(folder.join(name), PermissionsExt::from_mode(0o600)).unwrap();
        }
        Self { folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    #[track_caller]
    fn is_whole(&self, what: &str) {
        let mut names: Vec<_> =
            fs::read_dir(&self.folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["file", "folder", "hard"], "{what}");
        assert_eq!(fs::read_dir(self.file("folder")).unwrap().count(), 0, "{what}");
        for name in ["file", "hard"] {
            let stat = fs::metadata(self.file(name)).unwrap();
            assert_eq!(fs::read_to_string(self.file(name)).unwrap(), Self::CONTENTS, "{what}");
            assert_eq!(stat.mode() & 0o7777, 0o600, "{what}");
        }
    }
}

const OPTIONS: [&[&str]; 3] = [&[], &["--rollback-files"], &["--missing-files=create", "--rollback-files"]];
const NAMES: [&str; 9] =
    ["written", "both", "appended", "mapped", "fifo", "socket", "locked", "read", "gone"];

/// Removes what is at a path, whatever it is.
fn remove(path: &Path) {
    let _ = fs::remove_file(path);
    let _ = fs::remove_dir_all(path);
}

#[test]
fn what_somebody_plants_before_a_restart_leads_nowhere() {
    let (place, image) = saved(&[]);
    let precious = Precious::new(&place);
    type Plant<'a> = (&'a str, &'a dyn Fn(&Path));
    let plants: [Plant<'_>; 6] = [
        ("a link", &|path| symlink(precious.file("file"), path).unwrap()),
        ("a dangling link", &|path| symlink(precious.file("new"), path).unwrap()),
        ("a hard link", &|path| fs::hard_link(precious.file("hard"), path).unwrap()),
        ("a FIFO", &|path| {
            assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
        }),
        ("another file", &|path| fs::write(path, "another\n").unwrap()),
        ("a link to a folder", &|path| symlink(precious.file("folder"), path).unwrap()),
    ];
    for name in NAMES {
        let path = place.file("a").join(name);
        let kept = place.file("kept");
        let _ = fs::rename(&path, &kept);
        for (what, plant) in &plants {
            plant(&path);
            theirs_unless_shared(&path);
            let before = fs::symlink_metadata(&path).unwrap();
            // What is only read may be another file; the deleted one has no path to be followed.
            let is_refused = !(name == "gone"
                || name == "read" && matches!(*what, "a hard link" | "another file")
                || name == "fifo" && *what == "a FIFO" && !is_root()
                || !is_root() && matches!(*what, "another file"));
            if is_refused {
                for options in OPTIONS {
                    let (code, said) = image.refused(options);
                    let what = format!("{what} at {name}, {options:?}: {said}");
                    assert!([CHANGED, PERMISSION, 93].contains(&code), "{what}");
                    precious.is_whole(&what);
                    let after = fs::symlink_metadata(&path).expect(&what);
                    let facts =
                        |stat: &fs::Metadata| (stat.ino(), stat.len(), stat.mode(), stat.mtime_nsec());
                    assert_eq!(facts(&after), facts(&before), "{what}");
                    place.write("restart.err", b"");
                }
            }
            remove(&path);
        }
        let _ = fs::rename(&kept, &path);
    }
    // The directory on the way, and the working directory.
    fs::rename(place.file("a"), place.file("b")).unwrap();
    symlink(place.file("b"), place.file("a")).unwrap();
    for options in OPTIONS {
        let (code, said) = image.refused(options);
        assert_eq!(code, CHANGED, "{said}");
        place.write("restart.err", b"");
    }
    precious.is_whole("a link in the place of the folder");
    fs::remove_file(place.file("a")).unwrap();
    fs::rename(place.file("b"), place.file("a")).unwrap();
    // Nothing is planted: it comes back.
    image.restart_with(&["--force=paths", "--changed-files=accept"]).passes();
    precious.is_whole("at the end");
}

/// A hard link is the victim's file; its owner must not change.
fn theirs_unless_shared(path: &Path) {
    if fs::symlink_metadata(path).is_ok_and(|stat| stat.nlink() == 1) {
        theirs(path);
    }
}

#[test]
fn nothing_is_made_behind_a_link() {
    let (place, image) = saved(&["plain"]);
    let precious = Precious::new(&place);
    let path = place.file("a").join("written");
    fs::remove_file(&path).unwrap();
    symlink(precious.file("new"), &path).unwrap();
    let (code, said) = image.refused(&["--missing-files=create"]);
    assert_eq!(code, CHANGED, "{said}");
    assert!(said.contains("descriptor 20, ") && said.contains("a symbolic link"), "{said}");
    precious.is_whole("a dangling link");
}

/// The places of a file and a link are exchanged all the time, by renameat2(2), while it is restarted: a hundred restarts, or `CKPT_RACES`.
#[test]
fn a_race_for_a_path_is_not_won() {
    let (place, image) = saved(&["plain"]);
    let precious = Precious::new(&place);
    let folder = place.file("a");
    let (path, other) = (folder.join("written"), folder.join("other"));
    symlink(precious.file("file"), &other).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let swaps = std::sync::atomic::AtomicU64::new(0);
    use std::sync::atomic::Ordering::Relaxed;
    let mut outcomes = std::collections::BTreeMap::<i32, usize>::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let flags = nix::fcntl::RenameFlags::RENAME_EXCHANGE;
            while !stop.load(Relaxed) {
                nix::fcntl::renameat2(nix::fcntl::AT_FDCWD, &path, nix::fcntl::AT_FDCWD, &other, flags)
                    .unwrap();
                swaps.fetch_add(1, Relaxed);
            }
        });
        place.release_all();
        let before = swaps.load(Relaxed);
        let tries = std::env::var("CKPT_RACES").map_or(100, |tries| tries.parse().unwrap());
        for _ in 0..tries {
            let mut command = image.command(["--rollback-files"]);
            command.stdout(Stdio::null()).stderr(Stdio::null());
            let code = command.status().unwrap().code().unwrap_or(-1);
            *outcomes.entry(code).or_default() += 1;
            precious.is_whole("a race");
        }
        assert!(swaps.load(Relaxed) > before, "nobody raced");
        stop.store(true, Relaxed);
    });
    // It came back, or was refused: by the look before, or by the one in the plan.
    assert!(outcomes.keys().all(|code| [0, CHANGED, 72].contains(code)), "{outcomes:?}");
}

#[test]
fn an_image_that_others_can_write_to() {
    for user in User::each() {
        let place = Place::new(user);
        let mut process = place.start(&Program::victim("quiet"));
        process.ready();
        let image = process.save();
        process.kill();
        let restart = |mode: u32, from_stdin: bool, options: &[&str]| {
            fs::set_permissions(&image.path, PermissionsExt::from_mode(mode)).unwrap();
            let mut command = place.command(&place.artifact(Artifact::Restarter));
            command.args(options).arg("--plan").arg(if from_stdin { "-" } else { "myckpt" });
            if from_stdin {
                command.stdin(fs::File::open(&image.path).unwrap());
            }
            command.stdout(place.output("restart.out")).stderr(place.output("restart.err"));
            (command.status().unwrap().code().unwrap(), place.text("restart.err"))
        };
        for from_stdin in [false, true] {
            assert_eq!(restart(0o600, from_stdin, &[]).0, 0);
            assert_eq!(restart(0o644, from_stdin, &[]).0, 0);
            for mode in [0o620, 0o602, 0o666] {
                let (code, said) = restart(mode, from_stdin, &[]);
                assert_eq!(code, PERMISSION, "{mode:o}: {said}");
                assert!(said.contains("others can write to the image"), "{said}");
                assert_eq!(restart(mode, from_stdin, &["--force=owner"]).0, 0);
                assert_eq!(restart(mode, from_stdin, &["--force=user,paths"]).0, PERMISSION);
            }
        }
        if is_root() {
            // Somebody else's, whose file or pipe is standard input.
            chown(&image.path, Some(Uid::from_raw(1234)), None).unwrap();
            for from_stdin in [false, true] {
                if from_stdin || user == User::Myself {
                    let (code, said) = restart(0o644, from_stdin, &[]);
                    assert_eq!(code, PERMISSION, "{said}");
                    assert!(said.contains("belongs to another user"), "{said}");
                }
            }
        }
    }
}

#[test]
fn a_plan_opens_nothing_and_makes_nothing() {
    let (place, _image) = saved(&[]);
    let names = || {
        let mut names = place.names();
        names.retain(|name| name != "trace" && !name.starts_with("restart."));
        names
    };
    let before = names();
    let socket = place.file("a").join("socket");
    fs::remove_file(&socket).unwrap();
    let listener = UnixListener::bind(&socket).unwrap();
    listener.set_nonblocking(true).unwrap();
    let mut command = place.command(&tool("strace"));
    command.args(["-f", "-o", "trace"]).arg(place.artifact(Artifact::Restarter));
    command.args(["--plan", "--force=paths", "--fd", "20=new file", "--missing-files=create", "myckpt"]);
    command.stdout(place.output("restart.out")).stderr(place.output("restart.err"));
    let status = command.status().unwrap();
    assert!(status.success(), "{}", place.text("restart.err"));
    assert!(place.text("restart.out").contains("fchdir("), "{}", place.text("restart.out"));
    let trace = place.text("trace");
    for line in trace.lines().filter_map(|line| line.split_once(' ')).map(|(_, call)| call.trim_start()) {
        let name = line.split('(').next().unwrap();
        let opens = matches!(name, "open" | "openat" | "openat2");
        let is_own = line.contains("\"/proc/self/") || line.contains("\"myckpt\"");
        assert!(!opens || is_own || line.contains("O_PATH"), "{line}");
        let makes =
            ["memfd_create", "connect", "bind", "socket", "mknod", "unlink", "chdir", "fchdir", "creat"];
        assert!(!makes.iter().any(|make| name.starts_with(make)), "{line}");
    }
    assert!(trace.contains("openat2("), "{trace}");
    assert!(listener.accept().is_err(), "somebody has called");
    assert_eq!(names(), before);
}
