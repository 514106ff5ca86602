//! Programs on a terminal: saved in one pane of tmux and restarted in another, of another size, they go on.

use harness::{Artifact, Image, Place, Process, Program, User, tool, wait};
use nix::sys::signal::Signal;
use std::process::Command;

/// Asks for a save: interactive programs catch SIGUSR2.
const SIGNAL: i32 = 40;

/// A tmux server of its own, that ends with it.
struct Tmux {
    place: Place,
    server: Process,
    sessions: usize,
}

impl Tmux {
    fn new(user: User) -> Self {
        let place = Place::new(user);
        let mut command = client(&place);
        command.arg("-D").stdout(place.output("out")).stderr(place.output("err"));
        let mut server = Process::spawn(&place, command);
        server.until("the server", |_| {
            client(&place).arg("list-sessions").status().is_ok_and(|status| status.success())
        });
        (server.signal, server.image) = (SIGNAL, place.file("image"));
        Self { place, server, sessions: 0 }
    }

    /// Runs a tmux command; its output.
    #[track_caller]
    fn tmux(&self, args: &[&str]) -> String {
        let output = client(&self.place).args(args).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Starts a command in a new pane, the only one of its window.
    #[track_caller]
    fn pane(&mut self, [width, height]: [u16; 2], command: &[&str]) -> Pane {
        self.sessions += 1;
        let name = format!("s{}", self.sessions);
        let (width, height) = (width.to_string(), height.to_string());
        // A pane stays when its program has ended, so that one can read what it said.
        let start = ["new-session", "-d", "-s", &name, "-x", &width, "-y", &height];
        self.tmux(&[&start, command].concat());
        self.tmux(&["set-option", "-t", &name, "remain-on-exit", "on"]);
        let pid = self.tmux(&["display-message", "-p", "-t", &name, "#{pane_pid}"]).trim().parse().unwrap();
        Pane { name, pid, program: pid }
    }

    /// Starts a program in a new pane, with libckpt.
    #[track_caller]
    fn start(&mut self, program: &str, args: &[&str]) -> Pane {
        let library = self.place.artifact(Artifact::Library);
        let command = [
            tool("env").display().to_string(),
            format!("LD_PRELOAD={}", library.display()),
            format!("CKPT_SIGNAL={SIGNAL}"),
            format!("CKPT_IMAGE={}", self.place.file("image").display()),
            Program::tool(program).file.display().to_string(),
        ];
        let command: Vec<_> = command.iter().map(String::as_str).chain(args.iter().copied()).collect();
        self.pane([80, 24], &command)
    }

    /// Types keys, by tmux's names for them.
    #[track_caller]
    fn types(&self, pane: &Pane, keys: &[&str]) {
        self.tmux(&[&["send-keys", "-t", &pane.name], keys].concat());
    }

    /// What a pane shows.
    fn screen(&self, pane: &Pane) -> String {
        self.tmux(&["capture-pane", "-p", "-t", &pane.name])
    }

    /// Waits until a pane shows a line that begins so.
    #[track_caller]
    fn shows(&self, pane: &Pane, text: &str) {
        let found = wait(|| self.screen(pane).lines().any(|line| line.starts_with(text)).then_some(()));
        assert!(found.is_some(), "no {text:?} on\n{}", self.screen(pane));
    }

    /// Waits until the last line is a prompt: what is typed earlier may go to the program that is about to end.
    #[track_caller]
    fn waits_at(&self, pane: &Pane, prompt: &str) {
        let found = wait(|| (self.screen(pane).trim_end().lines().last() == Some(prompt)).then_some(()));
        assert!(found.is_some(), "no {prompt:?} at the end of\n{}", self.screen(pane));
    }

    /// Waits until a program has a pane's terminal. Keys that are typed before that reach the shell that starts it.
    #[track_caller]
    fn runs(&self, pane: &Pane, name: &str) {
        let args = ["display-message", "-p", "-t", &pane.name, "#{pane_current_command}"];
        let found = wait(|| (self.tmux(&args).trim() == name).then_some(()));
        assert!(found.is_some(), "{name} is not in front\n{}", self.screen(pane));
    }

    /// Waits until a pane's program has ended. tmux may take its time to notice.
    #[track_caller]
    fn ends(&self, pane: &Pane) {
        let ended = wait(|| stat(pane.pid).is_none_or(|stat| stat.starts_with('Z')).then_some(()));
        assert!(ended.is_some(), "{}", self.screen(pane));
    }

    /// Saves the program of a pane and kills it.
    #[track_caller]
    fn save(&mut self, pane: &Pane) -> Image {
        self.server.follow(pane.program);
        let image = self.server.save();
        self.server.send(Signal::SIGKILL);
        image
    }

    /// Restarts an image in a new pane.
    #[track_caller]
    fn restart(&mut self, image: &Image, size: [u16; 2]) -> Pane {
        let restarter = self.place.artifact(Artifact::Restarter);
        let pane = self.pane(size, &[restarter.to_str().unwrap(), image.path.to_str().unwrap()]);
        // The process that was started, or its only child that is not myrestart: some moments are such that a program may need its old id.
        let is_program = |pid: &i32| {
            let maps = maps(*pid);
            !maps.is_empty() && !maps.contains("/myrestart")
        };
        let children = format!("/proc/{0}/task/{0}/children", pane.pid);
        let program = wait(|| {
            let children = std::fs::read_to_string(&children).unwrap_or_default();
            let children = children.split_whitespace().map(|pid| pid.parse().unwrap());
            std::iter::once(pane.pid).chain(children).find(is_program)
        });
        let program = program.unwrap_or_else(|| panic!("{}", self.screen(&pane)));
        Pane { program, ..pane }
    }

    /// How the user gets an old id.
    fn way(&self) -> &'static str {
        if self.place.user.ids().0 == 0 { "--pid=keep" } else { "--pid=namespace" }
    }

    /// Restarts an image of bash with its old id in a new pane.
    #[track_caller]
    fn restart_kept(&mut self, image: &Image, size: [u16; 2]) -> Pane {
        let restarter = self.place.artifact(Artifact::Restarter);
        let pane = self.pane(size, &[restarter.to_str().unwrap(), self.way(), image.path.to_str().unwrap()]);
        let program = child(pane.pid, "bash").unwrap_or_else(|| panic!("no bash\n{}", self.screen(&pane)));
        Pane { program, ..pane }
    }
}

/// `/proc/PID/stat` from the state on; nothing when there is no such process.
fn stat(pid: i32) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(text.rsplit_once(") ")?.1.to_owned())
}

/// Exit status of a process that has ended, and that its parent has not waited for: the last number of proc_pid_stat(5).
fn unnoticed_status(pid: i32) -> Option<i32> {
    let code: i32 =
        stat(pid).filter(|stat| stat.starts_with('Z'))?.split_whitespace().last()?.parse().ok()?;
    (code & 0x7f == 0).then_some(code >> 8)
}

/// The child of a stand-in that has the name of a program.
fn child(stand_in: i32, name: &str) -> Option<i32> {
    let text = |file: String| std::fs::read_to_string(file).unwrap_or_default();
    wait(|| {
        text(format!("/proc/{stand_in}/task/{stand_in}/children"))
            .split_whitespace()
            .find(|pid| text(format!("/proc/{pid}/comm")).trim() == name)
            .map(|pid| pid.parse().unwrap())
    })
}

/// A command of tmux, for the server in this place.
fn client(place: &Place) -> Command {
    let mut command = place.command(&tool("tmux"));
    command
        .env("TMUX_TMPDIR", place.cwd())
        .env("TERM", "xterm")
        .env("SHELL", "/bin/sh")
        .args(["-f", "/dev/null"]);
    command
}

/// A pane and its program.
struct Pane {
    name: String,
    /// What tmux started.
    pid: i32,
    /// The program: a child of that, when it has kept its id.
    program: i32,
}

fn maps(pid: i32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default()
}

#[test]
fn interactive_bash_goes_on_in_another_pane() {
    for user in User::each() {
        let mut tmux = Tmux::new(user);
        let pane = tmux.start("bash", &["--norc", "--noprofile"]);
        tmux.types(&pane, &["PS1='> '", "Enter"]);
        tmux.types(&pane, &["mine=42; cd /usr; f() { echo \"f $1 $mine $PWD\"; }; f one", "Enter"]);
        tmux.shows(&pane, "f one 42 /usr");

        let image = tmux.save(&pane);
        let mut pane = tmux.restart(&image, [100, 30]);
        for generation in ["two", "three"] {
            tmux.types(&pane, &[&format!("f {generation}"), "Enter"]);
            tmux.shows(&pane, &format!("f {generation} 42 /usr"));
            let image = tmux.save(&pane);
            pane = tmux.restart(&image, [90, 20]);
        }
        // Modes: bash echoes and edits lines itself.
        tmux.types(&pane, &["echo wrong", "C-u", "echo rigt", "Left", "h", "Enter"]);
        tmux.shows(&pane, "right");
        // The size of the present terminal.
        tmux.types(&pane, &["echo size $LINES $COLUMNS", "Enter"]);
        tmux.shows(&pane, "size 20 90");
        tmux.types(&pane, &["exit 3", "Enter"]);
        tmux.ends(&pane);
    }
}

/// Nobody can answer it there: it would be stopped.
#[test]
fn a_command_that_takes_an_image_has_no_terminal() {
    for user in User::each() {
        let mut tmux = Tmux::new(user);
        let [image, answer] = ["image", "answer"].map(|name| tmux.place.file(name));
        let command = format!(
            "CKPT_IMAGE=|(true < /dev/tty) 2> /dev/null; echo $? > {}; cat > {}",
            answer.display(),
            image.display()
        );
        let preload = format!("LD_PRELOAD={}", tmux.place.artifact(Artifact::Library).display());
        let (env, sleep) = (tool("env").display().to_string(), tool("sleep").display().to_string());
        let pane = tmux.pane([80, 24], &[&env, &preload, &command, &sleep, "1000"]);
        tmux.runs(&pane, "sleep");
        tmux.server.follow(pane.program);
        tmux.server.until("the handler", |process| process.status_line("SigCgt").ends_with("800"));
        tmux.server.send(Signal::SIGUSR2);
        let found = wait(|| std::fs::read_to_string(&answer).ok().filter(|text| !text.is_empty()));
        assert_eq!(found.as_deref(), Some("2\n"), "{}", tmux.screen(&pane));
        tmux.server.send(Signal::SIGKILL);
    }
}

#[test]
fn interactive_bash_with_its_old_id_runs_commands_and_jobs() {
    for user in User::each() {
        let mut tmux = Tmux::new(user);
        // What a save has started must be gone before the next restart: it belongs to the group, whose id it keeps in use.
        tmux.server.held = true;
        let mut pane = tmux.start("bash", &["--norc", "--noprofile"]);
        let pid = pane.pid;
        tmux.types(&pane, &["PS1='> '; unset LD_PRELOAD", "Enter"]);
        tmux.types(&pane, &["f() { /bin/echo \"f $1 $$\"; }; f one | cat", "Enter"]);
        tmux.shows(&pane, &format!("f one {pid}"));
        for generation in ["two", "three", "four"] {
            let image = tmux.save(&pane);
            tmux.ends(&pane);
            pane = tmux.restart_kept(&image, [90, 20]);
            tmux.types(&pane, &[&format!("f {generation} | cat"), "Enter"]);
            tmux.shows(&pane, &format!("f {generation} {pid}"));
            // Jobs: the shell takes the terminal away from them and back.
            tmux.types(&pane, &["/bin/cat -E", "Enter"]);
            tmux.runs(&pane, "cat");
            tmux.types(&pane, &["abc", "Enter"]);
            tmux.shows(&pane, "abc$");
            tmux.types(&pane, &["C-z"]);
            tmux.shows(&pane, "[1]+  Stopped");
            tmux.runs(&pane, "bash");
            tmux.types(&pane, &["fg", "Enter"]);
            tmux.runs(&pane, "cat");
            tmux.types(&pane, &["C-d"]);
            tmux.runs(&pane, "bash");
            tmux.types(&pane, &["jobs; (exit 6); /bin/echo done $?", "Enter"]);
            tmux.shows(&pane, "done 6");
        }
        tmux.types(&pane, &["exit 3", "Enter"]);
        tmux.ends(&pane);
        let status = wait(|| {
            let status = tmux.tmux(&["display-message", "-p", "-t", &pane.name, "#{pane_dead_status}"]);
            status.trim().parse().ok().or_else(|| unnoticed_status(pane.pid))
        });
        assert_eq!(status, Some(3));
    }
}

#[test]
fn stand_in_is_a_job_like_any_other() {
    for user in User::each() {
        let mut tmux = Tmux::new(user);
        tmux.server.held = true;
        let pane = tmux.start("bash", &["-c", "echo ready; while read -r x; do echo \"got $x\"; done"]);
        tmux.shows(&pane, "ready");
        let image = tmux.save(&pane);
        tmux.ends(&pane);

        let shell = tool("bash").display().to_string();
        let pane = tmux.pane([100, 30], &[&shell, "--norc", "--noprofile"]);
        let restarter = tmux.place.artifact(Artifact::Restarter);
        let restart = format!("{} {} {}", restarter.display(), tmux.way(), image.path.display());
        tmux.types(&pane, &["PS1='> '", "Enter", &restart, "Enter"]);
        let stand_in = child(pane.pid, "myrestart").expect("a stand-in");
        let process = child(stand_in, "bash").expect("bash");
        tmux.types(&pane, &["one", "Enter"]);
        tmux.shows(&pane, "got one");
        tmux.types(&pane, &["C-z"]);
        tmux.shows(&pane, "[1]+  Stopped");
        tmux.waits_at(&pane, ">");
        tmux.types(&pane, &["fg", "Enter"]);
        // Not before the shell has left its line editor, in whose mode Enter ends no line: the line that `fg` shows is on the screen already.
        assert!(
            wait(|| (!stat(process)?.starts_with('T')).then_some(())).is_some(),
            "{}",
            tmux.screen(&pane)
        );
        tmux.types(&pane, &["two", "Enter"]);
        tmux.shows(&pane, "got two");
        tmux.types(&pane, &["C-c"]);
        tmux.shows(&pane, "^C");
        tmux.waits_at(&pane, ">");
        tmux.types(&pane, &["/bin/echo status $?", "Enter"]);
        tmux.shows(&pane, "status 130");
        tmux.types(&pane, &["exit", "Enter"]);
        tmux.ends(&pane);
    }
}

#[test]
fn vim_goes_on_in_another_pane() {
    for user in User::each() {
        let mut tmux = Tmux::new(user);
        let pane = tmux.start("vim.basic", &["-u", "NONE", "-i", "NONE", "text"]);
        tmux.shows(&pane, "~");
        tmux.types(&pane, &["i", "the first line", "Enter", "and the sec"]);
        tmux.shows(&pane, "and the sec");

        let image = tmux.save(&pane);
        let pane = tmux.restart(&image, [60, 12]);
        // It draws its screen anew because the size is another one; still in insert mode.
        tmux.shows(&pane, "the first line");
        tmux.types(&pane, &["ond", "Escape", "yyp"]);
        tmux.shows(&pane, "and the second");
        let image = tmux.save(&pane);
        let pane = tmux.restart(&image, [80, 30]);
        tmux.shows(&pane, "the first line");
        tmux.types(&pane, &["u", "A", " line", "Escape", ":wq", "Enter"]);
        tmux.ends(&pane);
        assert_eq!(tmux.place.text("text"), "the first line\nand the second line\n");
    }
}
