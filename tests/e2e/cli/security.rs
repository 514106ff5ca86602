//! Attacks by those for whom nothing is meant: what docs/threat-model.md promises.

use super::Ckpt;
use crate::bad_images::{note_at, reseal};
use harness::{Artifact, Place, Process, Program, User, tool};
use image::format::{self, Head, note};
use image::plain::{read, write};
use image::write::Layout;
use nix::libc;
use nix::sys::stat::Mode;
use nix::unistd::Uid;
use nix::unistd::mkfifo;
use std::fs::{self, File, Permissions};
use std::mem::offset_of;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, chown, symlink};
use std::process::{Command, Stdio};

/// What Docker gives the root of a container.
const DOCKERS: &str = "-all,+chown,+dac_override,+fowner,+fsetid,+kill,+setgid,+setuid,+setpcap,+net_bind_service,+net_raw,+sys_chroot,\
    +mknod,+audit_write,+setfcap";

/// A container: its mount namespace hides the directory `secret`, and a program in it looks all the time for a way out (tests/programs/snoop.c).
struct Container {
    ckpt: Ckpt,
    process: Process,
}

impl Container {
    /// As root of a container with what Docker gives, or as root of a user namespace of an ordinary user.
    #[track_caller]
    fn new(user: User, mode: &str) -> Self {
        let ckpt = Ckpt::new(user);
        let secret = ckpt.place.file("secret");
        fs::create_dir(&secret).unwrap();
        ckpt.place.own(&secret);
        ckpt.place.write("secret/token", b"");
        let program = ckpt.snoop(mode);
        let library = ckpt.place.artifact(Artifact::Library);
        let file = ckpt.place.executable(&program);
        let mut script = "mount -t tmpfs none secret && exec ".to_owned();
        if user.ids().0 == 0 {
            script += &format!("setpriv --bounding-set={DOCKERS} --inh-caps=-all ");
        }
        script += &format!("env CKPT_CHILDREN=ignore LD_PRELOAD={} {}", library.display(), file.display());
        program.args.iter().for_each(|word| script += &format!(" {}", word.display()));
        let mut words =
            vec!["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--net", "--ipc", "--uts"];
        if user.ids().0 != 0 {
            words.extend(["--user", "--map-root-user"]);
        }
        words.extend(["sh", "-c", &script]);
        let mut process = ckpt.place.start(&Program::tool("unshare").without_preload().args(&words));
        process.until("the one who looks", |process| process.place.text("leaks").contains("ready"));
        let children = format!("/proc/{0}/task/{0}/children", process.pid());
        let inside = fs::read_to_string(children).unwrap().trim().parse().unwrap();
        process.follow(inside);
        Self { ckpt, process }
    }
}

impl Ckpt {
    /// The program that looks.
    fn snoop(&self, mode: &str) -> Program {
        let command = self.place.artifact(Artifact::Command);
        Program::compiled("snoop.c", "gcc -O2")
            .arg(mode)
            .arg(self.place.file("secret"))
            .args([&self.marker()])
            .arg(command)
            .env("CKPT_CHILDREN", "ignore")
    }

    /// A text that nobody else has in their environment.
    fn marker(&self) -> String {
        self.place.cwd().display().to_string().replace('/', "-")
    }

    /// Somebody outside asks, from a directory, into a file and with an environment that are not the container's. Gives the exit code.
    #[track_caller]
    fn ask_for(&self, process: &Process, user: User, command: &str) -> Option<i32> {
        let secret = self.place.file("secret");
        let mut asked = self.command_as(user, [command, "--timeout", "1"]);
        asked.arg(process.pid().to_string()).env("SECRET", self.marker()).current_dir(&secret);
        let out = secret.join("said");
        asked.stdout(File::create(&out).unwrap()).stderr(File::create(secret.join("err")).unwrap());
        asked.status().unwrap().code()
    }

    /// What was found of the world outside.
    fn leaks(&self) -> Vec<String> {
        let text = self.place.text("leaks");
        let mut lines: Vec<_> =
            text.lines().filter(|line| line.starts_with("LEAK")).map(str::to_owned).collect();
        lines.sort();
        lines.dedup();
        lines
    }
}

/// Who may have a container, and who asks for a program of it.
fn containers() -> Vec<(User, User)> {
    let may = Command::new(tool("unshare"))
        .args(["--mount", "--pid", "--fork", "true"])
        .status()
        .unwrap()
        .success();
    let mut all = vec![(User::ordinary(), User::ordinary())];
    if Uid::effective().is_root() {
        all.push((User::ordinary(), User::Myself));
        if may {
            all.push((User::Myself, User::Myself));
        }
    }
    all
}

#[test]
fn a_container_that_never_answers_sees_nothing_of_whoever_asks() {
    for (owner, asks) in containers() {
        let container = Container::new(owner, "hostile");
        // Whose handler it has does not matter: it is entered. It is asked until it could look: there was somebody, and whoever asks was not only too fast.
        let looked = |container: &Container| container.ckpt.place.text("leaks").contains("looked");
        for _ in 0..200 {
            let code = container.ckpt.ask_for(&container.process, asks, "check");
            assert_eq!(code, Some(0), "{owner:?} {asks:?}");
            if looked(&container) {
                break;
            }
        }
        assert!(looked(&container), "{owner:?} {asks:?}");
        assert_eq!(container.ckpt.leaks(), <[String; 0]>::default(), "{owner:?} {asks:?}");
    }
}

#[test]
fn a_container_whose_program_is_saved_sees_nothing_of_whoever_asks() {
    for (owner, asks) in containers() {
        let container = Container::new(owner, "honest");
        for command in ["check", "save", "check", "save"] {
            let code = container.ckpt.ask_for(&container.process, asks, command);
            let said = container.ckpt.place.text("secret/err") + &container.ckpt.place.text("secret/said");
            assert_eq!(code, Some(0), "{owner:?} {asks:?} {command}: {said}");
        }
        assert_eq!(container.ckpt.leaks(), <[String; 0]>::default(), "{owner:?} {asks:?}");
    }
}

#[test]
fn another_user_whose_program_root_saves_sees_nothing_of_root() {
    if !Uid::effective().is_root() {
        return;
    }
    let ckpt = Ckpt::new(User::ordinary());
    let secret = ckpt.place.file("secret");
    fs::create_dir(&secret).unwrap();
    fs::write(secret.join("token"), b"").unwrap();
    fs::set_permissions(&secret, Permissions::from_mode(0o700)).unwrap();
    let mut process = ckpt.place.start(&ckpt.snoop("plain"));
    process.until("the one who looks", |process| process.place.text("leaks").contains("ready"));
    assert_eq!(ckpt.ask_for(&process, User::Myself, "check"), Some(0));
    assert_eq!(ckpt.leaks(), <[String; 0]>::default());
}

/// The fields of a `siginfo_t` that rt_sigqueueinfo(2) takes.
#[repr(C)]
struct Info {
    signo: i32,
    errno: i32,
    code: i32,
    pad: i32,
    pid: i32,
    uid: u32,
    value: u64,
    rest: [u64; 12],
}

#[test]
fn a_forged_request_makes_nobody_write_into_a_pipe_of_somebody_else() {
    let ckpt = Ckpt::new(User::Myself);
    let mut process = ckpt.sleeper();
    // The victim is this process. Whoever forges knows its id and the number of its pipe; a file beside it has something else in it.
    let (mut from, to) = std::io::pipe().unwrap();
    for (errno, beside) in [(0, None), (0x1234_5678, None), (0, Some(&b"CKPT\x01\0\0\0"[..]))] {
        if let Some(text) = beside {
            ckpt.place.write("beside", text);
        }
        let file = File::open(if beside.is_some() { ckpt.place.file("beside") } else { "/dev/null".into() })
            .unwrap();
        // SAFETY: the number behind the pipe's is nobody's, or the file of the round before.
        assert!(unsafe { libc::dup2(file.as_raw_fd(), to.as_raw_fd() + 1) } >= 0);
        let value = 0x5450_4b43 << 32 | to.as_raw_fd() as u64;
        let pid = std::process::id() as i32;
        let info = Info {
            signo: libc::SIGUSR2,
            errno,
            code: libc::SI_QUEUE,
            pad: 0,
            pid,
            uid: 0,
            value,
            rest: [0; 12],
        };
        // SAFETY: a whole siginfo_t.
        let sent = unsafe {
            libc::syscall(libc::SYS_rt_sigqueueinfo, process.pid(), libc::SIGUSR2, &raw const info)
        };
        assert_eq!(sent, 0);
        process.until("the image", |process| process.place.file("myckpt").exists());
        fs::remove_file(ckpt.place.file("myckpt")).unwrap();
    }
    drop(to);
    let mut text = String::new();
    std::io::Read::read_to_string(&mut from, &mut text).unwrap();
    assert_eq!(text, "");
    process.kill();
}

/// Where PROCESS has the path of the executable, and where FILES begins.
fn exe_at(bytes: &[u8]) -> usize {
    note_at(bytes, note::PROCESS) + offset_of!(format::Process, exe)
}

/// An image of a program that had `word` as an argument, and the place of that word as an image has it: its offset in BYTES, and its length.
#[track_caller]
fn image_with(ckpt: &Ckpt, word: &str) -> (Vec<u8>, [u8; 8]) {
    let mut process = ckpt.place.start(&Program::victim("quiet").arg(word));
    process.ready();
    let image = process.save();
    process.kill();
    let bytes = fs::read(&image.path).unwrap();
    let start = note_at(&bytes, note::BYTES);
    let found = bytes[start..].windows(word.len()).position(|piece| piece == word.as_bytes()).unwrap();
    let mut blob = [0; 8];
    blob[..4].copy_from_slice(&(found as u32).to_le_bytes());
    blob[4..].copy_from_slice(&(word.len() as u32).to_le_bytes());
    (bytes, blob)
}

#[test]
fn an_executable_that_is_an_option_of_gdb_is_none() {
    let ckpt = Ckpt::new(User::Myself);
    let (mut bytes, word) = image_with(&ckpt, "--eval-command=shell touch PWNED");
    let at = exe_at(&bytes);
    bytes[at..at + 8].copy_from_slice(&word);
    reseal(&mut bytes);
    ckpt.place.write("evil", &bytes);
    let said = ckpt.say(["gdb", "evil", "--", "-batch"]);
    assert_eq!(ckpt.place.names().iter().find(|name| *name == "PWNED"), None, "{said:?}");
    assert_eq!(said.code, 71, "{said:?}");
    assert!(said.err.contains("path of the executable is not absolute"), "{said:?}");
}

#[test]
fn gdb_gets_no_path_that_leaves_its_folder() {
    let ckpt = Ckpt::new(User::Myself);
    let path = format!("/../../../../../../../..{}/new/authorized_keys", ckpt.place.cwd().display());
    let (mut bytes, word) = image_with(&ckpt, &path);
    // The executable and the file that it is mapped from.
    let at = exe_at(&bytes);
    let exe: [u8; 8] = bytes[at..at + 8].try_into().unwrap();
    let text = |blob: &[u8]| {
        let [off, len] = [0, 4].map(|at| u32::from_le_bytes(blob[at..at + 4].try_into().unwrap()) as usize);
        &bytes[note_at(&bytes, note::BYTES) + off..][..len]
    };
    let files = note_at(&bytes, note::FILES);
    let path_at = offset_of!(format::MappedFile, path);
    let entries = (0..).map(|number| files + number * size_of::<format::MappedFile>() + path_at);
    let file = entries.take(100).find(|at| text(&bytes[*at..*at + 8]) == text(&exe)).unwrap();
    for at in [at, file] {
        bytes[at..at + 8].copy_from_slice(&word);
    }
    reseal(&mut bytes);
    ckpt.place.write("evil", &bytes);
    let said = ckpt.say(["gdb", "evil", "--", "-batch"]);
    assert!(!ckpt.place.file("new").exists(), "{said:?}");
    assert_eq!(said.code, 74, "{said:?}");
}

#[test]
fn gdb_is_told_to_run_nothing_and_to_ask_nobody() {
    let ckpt = Ckpt::new(User::Myself);
    let image = ckpt.image();
    let folder = ckpt.place.file("tools");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("gdb"), "#!/bin/sh\necho \"$DEBUGINFOD_URLS:$*\"\n").unwrap();
    fs::set_permissions(folder.join("gdb"), Permissions::from_mode(0o755)).unwrap();
    let run = || {
        let mut command = ckpt.command_as(User::Myself, ["gdb"]);
        command.arg(&image.path).env("PATH", &folder).env("DEBUGINFOD_URLS", "http://localhost:1");
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.starts_with(":-iex set auto-load off "), "{text} {:?}", output.stderr);
    };
    // As the executable is, and with a copy of one that has changed.
    run();
    let mut bytes = fs::read(&image.path).unwrap();
    let at = note_at(&bytes, note::FILES) + offset_of!(format::MappedFile, mtime);
    bytes[at] ^= 1;
    reseal(&mut bytes);
    fs::write(&image.path, &bytes).unwrap();
    run();
}

#[test]
fn an_image_that_others_made_or_can_write_to_is_not_handed_on() {
    let ckpt = Ckpt::new(User::Myself);
    let image = ckpt.image();
    let path = image.path.to_str().unwrap();
    let refuses = |words: &str| {
        for command in [&["gdb", path, "--", "-batch"][..], &["extract", "--exe", "-o", "out.exe", path]] {
            let said = ckpt.say(command);
            assert!(said.code == 77 && said.err.contains(words) && said.err.lines().count() == 1, "{said:?}");
            assert!(!ckpt.place.file("out.exe").exists());
        }
    };
    for mode in [0o620, 0o602] {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        refuses("others can write to it");
    }
    fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
    if Uid::effective().is_root() {
        chown(path, Some(65534), Some(65534)).unwrap();
        refuses("belongs to uid 65534");
        let mut command = ckpt.command_as(User::Myself, ["extract", "--exe", "-o", "out.exe", "-"]);
        assert_eq!(command.stdin(File::open(path).unwrap()).status().unwrap().code(), Some(77));
    }
    // Looking hands nothing on.
    ckpt.shows(["show", path]);
}

/// Runs a command; its exit code, and the most memory that it has had, in KiB.
pub fn peak(mut command: Command) -> (i32, i64) {
    #[expect(clippy::zombie_processes, reason = "wait4 waits")]
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut status = 0;
    // SAFETY: plain data.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: a child of ours, and room for what the kernel writes.
    let waited = unsafe { libc::wait4(child.id() as i32, &raw mut status, 0, &raw mut usage) };
    assert_eq!(waited, child.id() as i32);
    assert!(libc::WIFEXITED(status), "{status:#x}");
    (libc::WEXITSTATUS(status), usage.ru_maxrss)
}

#[test]
fn a_file_takes_no_more_memory_than_it_takes_on_the_disk() {
    const SIZE: u64 = 1 << 30;
    const MOST: i64 = 200 << 10;
    let ckpt = Ckpt::new(User::Myself);
    let image = ckpt.image();
    let bytes = fs::read(&image.path).unwrap();
    let head_at = note_at(&bytes, note::HEAD);
    let head: Head = read(&bytes, head_at).unwrap();
    let sparse = |name: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let mut start = bytes[..head.data_off as usize].to_vec();
        change(&mut start);
        ckpt.place.write(name, &start);
        File::options().write(true).open(ckpt.place.file(name)).unwrap().set_len(SIZE * 2).unwrap();
    };
    // A program header that says so; and a head that says so too, with everything else where it belongs then.
    let notes_phdr = head.phdr_off as usize;
    sparse("headers", &|start| start[notes_phdr + 32..][..8].copy_from_slice(&SIZE.to_le_bytes()));
    sparse("notes", &|start| {
        let layout = Layout::new(head.phnum - 1, SIZE, 0).unwrap();
        write(start, head_at, &Head { file_len: SIZE * 2, ..layout.head() }).unwrap();
        write(start, notes_phdr, &layout.note_phdr()).unwrap();
        let file_len = layout.file_len;
        write(start, head_at, &Head { file_len, ..layout.head() }).unwrap();
    });
    let file = File::options().write(true).open(ckpt.place.file("notes")).unwrap();
    file.set_len(Layout::new(head.phnum - 1, SIZE, 0).unwrap().file_len).unwrap();
    for name in ["headers", "notes"] {
        for words in [&["ls"][..], &["show", name], &["verify", name]] {
            let (code, memory) = peak(ckpt.command_as(User::Myself, words));
            assert!(memory < MOST, "{words:?}: {code}, {memory} KiB");
            assert!(code == if words == ["ls"] { 0 } else { 71 }, "{words:?}: {code}");
        }
        let mut command = ckpt.place.command(&ckpt.place.artifact(Artifact::Restarter));
        command.args(["--verify", name]);
        let (code, memory) = peak(command);
        assert!(memory < MOST && code == 71, "myrestart: {code}, {memory} KiB");
    }
}

#[test]
fn commands_walk_what_is_there() {
    let ckpt = Ckpt::new(User::Myself);
    // As the sanitizers, Go and Java do it; and a file in memory of which nobody will ever write the end.
    let script = "import ctypes, os, signal\n\
        libc = ctypes.CDLL(None); libc.mmap.restype = ctypes.c_void_p\n\
        start = libc.mmap(ctypes.c_void_p(0x100000000000), ctypes.c_size_t(1 << 44), 3, 0x104022, -1, ctypes.c_long(0))\n\
        assert start == 0x100000000000\n\
        ctypes.memset(start + (1 << 43), 7, 3)\n\
        fd = os.memfd_create('huge'); os.truncate(fd, 1 << 62); os.pwrite(fd, b'end', 1 << 40)\n\
        print('ready', flush=True)\n\
        while True: signal.pause()";
    let mut process = ckpt.place.start(&Program::tool("python3").args(["-c", script]));
    process.ready();
    let image = process.save();
    process.kill();
    fs::copy(&image.path, ckpt.place.file("other")).unwrap();
    assert_eq!(ckpt.shows(["diff", "myckpt", "other"]), "");
    let extract = |what: &[&str], len: u64, at: u64, text: &[u8]| {
        ckpt.shows([&["extract", "myckpt", "-o", "piece"], what].concat());
        let file = File::open(ckpt.place.file("piece")).unwrap();
        let metadata = file.metadata().unwrap();
        assert_eq!(metadata.len(), len, "{what:?}");
        assert!(metadata.blocks() < 1 << 12, "{what:?}: {} blocks", metadata.blocks());
        let mut bytes = vec![0; text.len()];
        file.read_exact_at(&mut bytes, at).unwrap();
        assert_eq!(bytes, text, "{what:?}");
        // In a stream, the zeros would have no end.
        let said = ckpt.say([&["extract", "myckpt", "-o", "-"], what].concat());
        assert!(
            said.code == 64 && said.out.is_empty() && said.err.contains("give the name of a file"),
            "{said:?}"
        );
    };
    extract(&["--region", "0x100000000000"], 1 << 44, 1 << 43, b"\x07\x07\x07\0");
    extract(&["--object", "0"], 1 << 62, 1 << 40, b"end\0");
}

#[test]
fn what_is_extracted_is_a_new_file_for_its_owner_alone() {
    let ckpt = Ckpt::new(User::Myself);
    ckpt.image();
    ckpt.place.write("old", b"old");
    fs::set_permissions(ckpt.place.file("old"), Permissions::from_mode(0o644)).unwrap();
    let reader = File::open(ckpt.place.file("old")).unwrap();
    ckpt.shows(["extract", "--region", "[stack]", "-o", "old", "myckpt"]);
    assert_eq!(fs::metadata(ckpt.place.file("old")).unwrap().mode() & 0o7777, 0o600);
    // Whoever had it open has the old one.
    assert_eq!(reader.metadata().unwrap().len(), 3);
    ckpt.place.write("victim", b"victim");
    symlink("victim", ckpt.place.file("link")).unwrap();
    let said = ckpt.say(["extract", "--region", "[stack]", "-o", "link", "myckpt"]);
    assert!(said.code == 64 && said.err.contains("a symbolic link"), "{said:?}");
    assert_eq!(ckpt.place.read("victim"), b"victim");
    assert!(!ckpt.place.names().iter().any(|name| name.starts_with(".ckpt-extract")));
    // What is no file is written to, not replaced.
    ckpt.shows(["extract", "--region", "[stack]", "-o", "/dev/null", "myckpt"]);
    assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    let whole = ckpt.place.read("old");
    let output =
        ckpt.command_as(User::Myself, ["extract", "--region", "[stack]", "-o", "-", "myckpt"]).output();
    assert!(output.unwrap().stdout == whole);
}

#[test]
fn names_from_an_image_do_nothing_to_a_terminal() {
    let ckpt = Ckpt::new(User::Myself);
    let word = "photo\u{202e}gpj.\u{9b}31m\u{1b}[2J\u{feff}";
    let (bytes, _) = image_with(&ckpt, word);
    ckpt.place.write("other", &bytes);
    for words in [
        &["show", "other"][..],
        &["show", "--json", "other"],
        &["ls"],
        &["ls", "--json"],
        &["diff", "myckpt", "other"],
    ] {
        let said = ckpt.say(words);
        let disturbs = |c: &char| *c != '\n' && sys::line::disturbs(*c);
        assert_eq!(said.out.chars().find(disturbs), None, "{words:?}: {:?}", said.out);
    }
    // myrestart: an image of that name that is none.
    ckpt.place.write(word, b"none");
    let mut command = ckpt.place.command(&ckpt.place.artifact(Artifact::Restarter));
    let said = String::from_utf8(command.arg(word).output().unwrap().stderr).unwrap();
    assert!(said.contains("photo???gpj.") && !said.trim_end().contains(sys::line::disturbs), "{said:?}");
}

/// Reads a file of `/proc` as a user; whether that could be done.
fn may_read(place: &Place, pid: i32, file: &str) -> bool {
    let mut command = place.command(&tool("cat"));
    command.arg(format!("/proc/{pid}/{file}")).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().unwrap().success()
}

/// A program that has a secret, and nobody to look into it.
const SECRET: &str = "import ctypes, signal\n\
    ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)\n\
    print('ready', flush=True)\n\
    while True: signal.pause()";

#[test]
fn a_program_that_may_not_be_looked_into_is_saved_only_if_it_was_asked_for() {
    let place = Place::new(User::ordinary());
    let mut process = place.start(&Program::tool("python3").args(["-c", SECRET]));
    process.ready();
    let Err(line) = process.try_save() else { process.fail("saved") };
    assert!(line.contains("may not look into") && line.contains("CKPT_UNDUMPABLE=1"), "{line}");
    assert_eq!(place.names().iter().find(|name| name.starts_with("myckpt")), None);
    assert!(!may_read(&place, process.pid(), "environ"));
    drop(process);

    // While the image is written, nobody looks into it either. The command says when it is under way, and waits.
    let place = Place::new(User::ordinary());
    mkfifo(&place.file("go"), Mode::S_IRWXU).unwrap();
    place.own(&place.file("go"));
    let program = Program::tool("python3").args(["-c", SECRET]).env("CKPT_UNDUMPABLE", "1");
    let mut process = place.start(&program.env("CKPT_IMAGE", "|echo $PPID > writer; cat go; cat > image"));
    process.ready();
    process.send(libc::SIGUSR2);
    process.until("the writer", |process| process.place.text("writer").ends_with('\n'));
    let writer = place.text("writer").trim().parse().unwrap();
    assert!(!may_read(&place, process.pid(), "environ") && !may_read(&place, writer, "environ"));
    place.write("go", b"");
    process.until("the image", |process| process.place.file("image").exists() && !process.blocks_all());
    assert!(!may_read(&place, process.pid(), "environ"));
}

#[test]
fn nobody_looks_into_a_writer() {
    let place = Place::new(User::ordinary());
    mkfifo(&place.file("go"), Mode::S_IRWXU).unwrap();
    place.own(&place.file("go"));
    let program = Program::victim("quiet").env("CKPT_IMAGE", "|echo $PPID > writer; cat go; cat > image");
    let mut process = place.start(&program);
    process.ready();
    process.send(libc::SIGUSR2);
    process.until("the writer", |process| process.place.text("writer").ends_with('\n'));
    let writer = place.text("writer").trim().parse().unwrap();
    assert_ne!(writer, process.pid());
    assert!(may_read(&place, process.pid(), "environ") && !may_read(&place, writer, "environ"));
    place.write("go", b"");
    process.until("the image", |process| process.place.file("image").exists());
}

#[test]
fn the_name_of_a_program_is_no_text_of_a_command_and_no_way_up() {
    let named = |name: &str, image: &str| {
        let place = Place::new(User::ordinary());
        let script = format!(
            "import ctypes, signal\nctypes.CDLL(None).prctl(15, {name:?}.encode())\nprint('ready', flush=True)\n\
             while True: signal.pause()"
        );
        let mut process =
            place.start(&Program::tool("python3").args(["-c", &script]).env("CKPT_IMAGE", image));
        process.ready();
        process.send(libc::SIGUSR2);
        process
    };
    let mut process = named("x;touch PWNED;#", "|cat > image.%e");
    process.until("a refusal", |process| process.place.text("err").contains("$CKPT_NAME"));
    assert!(!process.place.file("PWNED").exists());
    let mut process = named("x;touch PWNED;#", "|cat > \"image.$CKPT_NAME.$CKPT_PID.$CKPT_SAVE\"");
    let name = format!("image.x;touch PWNED;#.{}.1", process.pid());
    process.until("the image", |process| process.place.file(&name).exists());
    assert!(!process.place.file("PWNED").exists());
    let mut process = named("|touch PWNED", "%e");
    process.until("the image", |process| process.place.file("|touch PWNED").exists());
    assert!(!process.place.file("PWNED").exists());
    for (name, image) in [("..", "%e/image"), (".", "%e./image")] {
        let mut process = named(name, image);
        process.until("a failure", |process| process.place.text("err").contains("directory of the image"));
        assert!(!process.place.file("../image").exists());
    }
}

#[test]
fn a_command_that_another_user_may_have_set_is_not_run() {
    let place = Place::new(User::Myself);
    let library = place.artifact(Artifact::Library);
    // As /etc/ld.so.preload does it.
    let loader = Program::at("/lib64/ld-linux-x86-64.so.2".into()).without_preload();
    let loader = loader.arg("--preload").args([library, tool("sleep")]).arg("1000");
    let mut process = place.start(&loader.env("CKPT_IMAGE", "|touch PWNED"));
    process.until("the handler", |process| process.proc("wchan").contains("nanosleep"));
    let Err(line) = process.try_save() else { process.fail("saved") };
    assert!(line.contains("not loaded by LD_PRELOAD"), "{line}");
    assert!(!place.file("PWNED").exists());
}
