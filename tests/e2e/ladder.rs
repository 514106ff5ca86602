//! `myrestart --pid=auto`: the old ids, in whatever way there is, and clocks that go on.

use harness::{Image, Place, Process, Program, User, tool, wait};
use nix::sys::signal::Signal;
use std::fs;
use std::process::Command;

/// Runs commands in a PID namespace of their own, like a container.
#[derive(Clone, Copy)]
struct Container {
    /// Under a seccomp filter such as Docker's, without capabilities.
    confined: bool,
    /// The first process is a shell that runs so many other commands before: the command is not the init.
    before: Option<usize>,
    /// Seconds that the machine seems to have been up longer.
    ahead: u64,
}

const CONTAINER: Container = Container { confined: true, before: None, ahead: 0 };

impl Container {
    /// The command that runs `inner` in it.
    fn command(self, place: &Place, inner: &Command) -> Command {
        let mut command = place.command(&tool("unshare"));
        if place.user.ids().0 != 0 {
            command.args(["--user", "--map-current-user"]);
        }
        if self.ahead != 0 {
            let ahead = self.ahead.to_string();
            command.args(["--time", "--monotonic", &ahead, "--boottime", &ahead]);
        }
        command.args(["--pid", "--mount-proc", "--fork", "--kill-child"]);
        if let Some(before) = self.before {
            let script =
                format!("n=0; while [ $n -lt {before} ]; do /bin/true; n=$((n+1)); done; \"$@\"; exit $?");
            command.args(["/bin/sh", "-c", &script, "sh"]);
        }
        if self.confined {
            command.arg(place.executable(&Program::compiled("confined.c", "gcc -O2").without_preload()));
        }
        // The library is for the program alone.
        command.arg("/usr/bin/env");
        for (name, value) in inner.get_envs() {
            if let Some(value) = value {
                command.arg(format!("{}={}", name.display(), value.display()));
            }
        }
        command.arg(inner.get_program()).args(inner.get_args());
        command
    }

    /// Starts a victim in it, saves and kills it.
    #[track_caller]
    fn saved(self, user: User, victim: &str) -> Image {
        let place = Place::new(user);
        let mut command = self.command(&place, &place.command_for(&Program::victim(victim)));
        command.stdout(place.output("out")).stderr(place.output("err"));
        let mut process = Process::spawn(&place, command);
        process.ready();
        let pid = descendant(process.pid(), victim).expect("the victim");
        process.follow(pid);
        let image = process.save();
        process.kill();
        // The shell may have said how its command ended.
        place.write("err", b"");
        image
    }

    /// Restarts an image in another one of the kind.
    fn restart(self, image: &Image, options: &[&str]) -> Process {
        let mut command = self.command(image.place(), &image.command(options));
        command.stdout(image.place().output("restart.out")).stderr(image.place().output("restart.err"));
        let mut process = Process::spawn(image.place(), command);
        image.hand_on(&mut process);
        process
    }
}

/// The process of this name among the descendants of another one.
fn descendant(pid: i32, name: &str) -> Option<i32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children.split_whitespace().find_map(|child| {
        let comm = fs::read_to_string(format!("/proc/{child}/comm")).ok()?;
        let child = child.parse().ok()?;
        if comm.trim_end() == name { Some(child) } else { descendant(child, name) }
    })
}

#[test]
fn ids_come_back_by_themselves_in_a_fresh_container() {
    for user in User::each() {
        // The program was the init, and is the init; it was another process, with the number that comes.
        for before in [None, Some(0), Some(7)] {
            let container = Container { before, ..CONTAINER };
            let image = container.saved(user, "kept_ids");
            for option in ["--pid=auto", "--pid=keep"] {
                let mut process = container.restart(&image, &[option]);
                process.go();
                process.has_passed();
                fs::remove_file(image.place().file("go.1")).unwrap();
                image.place().write("control", &[0; 4096]);
            }
        }
    }
}

#[test]
fn ids_are_counted_up_to_in_a_young_container() {
    for user in User::each() {
        let image = Container { before: Some(40), ..CONTAINER }.saved(user, "kept_ids");
        for before in [Some(0), Some(20)] {
            let mut process = Container { before, ..CONTAINER }.restart(&image, &[]);
            process.go();
            process.has_passed();
            fs::remove_file(image.place().file("go.1")).unwrap();
            image.place().write("control", &[0; 4096]);
        }
        // As the first process, too: the program becomes a child.
        let mut process = CONTAINER.restart(&image, &[]);
        process.go();
        process.has_passed();
    }
}

#[test]
fn ids_that_are_gone_and_matter_are_not_replaced_without_a_word() {
    for user in User::each() {
        let image = Container { before: Some(0), ..CONTAINER }.saved(user, "kept_ids");
        let container = Container { before: Some(40), ..CONTAINER };
        let outcome = container.restart(&image, &[]).finish();
        let said = image.place().text("restart.err");
        assert_eq!(outcome.code(), 83, "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        let parts = [
            "the old ids cannot be had: here: ",
            "in a namespace: a user namespace (",
            "EPERM",
            " has been given to somebody else",
            "the process may need them (a lock at 0x",
            "--pid=new",
        ];
        assert!(parts.iter().all(|part| said.contains(part)), "{said}");

        // Who wants new ones gets them, and is told.
        let mut process = container.restart(&image, &["--pid=new"]);
        process.until("the line", |this| this.place.text("restart.err").ends_with('\n'));
        let said = image.place().text("restart.err");
        assert!(said.starts_with("myrestart: ids are new; a program that keeps its ids may fail"), "{said}");
    }
}

#[test]
fn clocks_go_on_where_the_machine_has_been_up_for_less_time() {
    for user in User::each() {
        for ahead in [1_728_000, 100_000] {
            let container = Container { confined: false, ahead, ..CONTAINER };
            let image = container.saved(user, "clocks");
            image.restart().passes();
        }
    }
}

#[test]
fn a_script_that_sleeps_wakes_up_where_the_machine_has_been_up_for_less_time() {
    let script = "import time, os\nprint('ready', flush=True)\nwhile not os.path.exists('go.1'): time.sleep(0.05)\nprint('PASS')";
    for user in User::each() {
        let place = Place::new(user);
        let inner = place.command_for(&Program::tool("python3").args(["-c", script]));
        let container = Container { confined: false, ahead: 1_728_000, ..CONTAINER };
        let mut command = container.command(&place, &inner);
        command.stdout(place.output("out")).stderr(place.output("err"));
        let mut process = Process::spawn(&place, command);
        process.ready();
        let python = wait(|| descendant(process.pid(), "python3")).expect("python3");
        process.follow(python);
        let image = process.save();
        process.kill();
        image.restart().passes();
    }
}

#[test]
fn a_program_does_not_outlive_its_stand_in() {
    for user in User::each() {
        let is_root = user.ids().0 == 0;
        for way in ["--pid=namespace", "--pid=keep"].into_iter().take(1 + usize::from(is_root)) {
            let mut process = Place::new(user).start(&Program::victim("kept_ids"));
            process.ready();
            process.held = true;
            let image = process.save();
            process.kill();
            let mut process = image.restart_kept(&[way]);
            let (program, stand_in) = (process.pid(), process.stand_in());
            process.follow(stand_in);
            process.send(Signal::SIGKILL);
            let gone = wait(|| {
                let stat = fs::read_to_string(format!("/proc/{program}/stat")).unwrap_or_default();
                stat.rsplit(") ")
                    .next()
                    .is_none_or(|rest| rest.is_empty() || rest.starts_with('Z'))
                    .then_some(())
            });
            assert!(gone.is_some(), "{way}: {}", process.report());
        }
    }
    // Of a young container in which ids are counted the guard comes last.
    for user in User::each() {
        let image = Container { before: Some(20), ..CONTAINER }.saved(user, "kept_ids");
        let container = Container { before: Some(0), ..CONTAINER };
        let mut process = container.restart(&image, &[]);
        let mut pair = None;
        process.until("program and stand-in", |this| {
            let stand_in = descendant(this.stand_in(), "myrestart");
            pair = stand_in.and_then(|stand_in| Some((stand_in, descendant(stand_in, "kept_ids")?)));
            pair.is_some()
        });
        let (stand_in, program) = pair.unwrap();
        process.follow(stand_in);
        process.send(Signal::SIGKILL);
        assert!(
            wait(|| (!std::path::Path::new(&format!("/proc/{program}")).exists()).then_some(())).is_some()
        );
    }
}

#[test]
fn a_stand_in_that_is_the_first_process_waits_for_orphans() {
    let user = User::Myself;
    if user.ids().0 != 0 {
        return;
    }
    let image = Container { before: Some(3), confined: false, ahead: 0 }.saved(user, "kept_ids");
    let container = Container { confined: false, ..CONTAINER };
    let mut process = container.restart(&image, &["--pid=keep"]);
    let mut program = None;
    process.until("the program", |this| {
        program = descendant(this.stand_in(), "kept_ids");
        program.is_some_and(|pid| {
            let was = this.pid();
            this.follow(pid);
            let runs = !this.blocks_all();
            this.follow(was);
            runs
        })
    });
    // A save leaves its writer to the init.
    process.follow(program.unwrap());
    process.save();
    let stand_in = descendant(process.stand_in(), "myrestart").unwrap();
    let zombies = || {
        let children = fs::read_to_string(format!("/proc/{stand_in}/task/{stand_in}/children")).unwrap();
        children.split_whitespace().count() > 2
    };
    assert!(wait(|| (!zombies()).then_some(())).is_some(), "somebody waits to be taken away");
    process.go();
    process.has_passed();
}
