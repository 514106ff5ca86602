//! Attacks by those for whom nothing is meant: what docs/threat-model.md promises.

use super::Ckpt;
use harness::{Artifact, Process, Program, User, tool};
use nix::libc;
use nix::unistd::Uid;
use std::fs::{self, File, Permissions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

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
        script += &format!("env LD_PRELOAD={} {}", library.display(), file.display());
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
        assert_eq!(container.ckpt.ask_for(&container.process, asks, "check"), Some(92), "{owner:?} {asks:?}");
        assert_eq!(container.ckpt.leaks(), <[String; 0]>::default(), "{owner:?} {asks:?}");
        // It could look: there was somebody, and whoever asks was not only too fast.
        assert!(container.ckpt.place.text("leaks").contains("looked"), "{owner:?} {asks:?}");
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
    assert_eq!(ckpt.ask_for(&process, User::Myself, "check"), Some(92));
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
