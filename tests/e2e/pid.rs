//! `myrestart --pid=keep`: the process gets its id back, and `myrestart` stands in for it.

use harness::{Image, Place, Process, Program, User, tool, wait};
use nix::sys::signal::Signal;
use std::os::unix::process::ExitStatusExt;

/// How each user gets an old id: an ordinary one in a namespace only.
fn ways() -> impl Iterator<Item = (User, &'static str)> {
    let is_root = |user: User| user.ids().0 == 0;
    User::each().flat_map(move |user| {
        ["--pid=keep", "--pid=namespace"]
            .into_iter()
            .skip(usize::from(!is_root(user)))
            .map(move |way| (user, way))
    })
}

/// The next save of `process` is to be over before it is killed: what a save has started belongs to its group, and keeps its id in use until the init of
/// the machine takes it away.
fn hold(process: &mut Process) {
    process.held = true;
}

/// Saves and kills a program that is ready.
#[track_caller]
fn saved(user: User, program: &Program) -> Image {
    let mut process = Place::new(user).start(program);
    process.ready();
    hold(&mut process);
    let image = process.save();
    process.kill();
    image
}

/// A shell that says its number, and what it hears.
fn listener() -> Program {
    let script =
        "trap 'echo one' USR1; trap 'echo term $$; exit 7' TERM; echo ready; while :; do sleep 0.01; done";
    Program::tool("bash").args(["-c", script]).env("CKPT_SIGNAL", "40").env("CKPT_CHILDREN", "ignore")
}

#[track_caller]
fn says(process: &mut Process, text: &str) {
    process.until(text, |this| this.place.text("out").contains(text));
}

#[test]
fn ids_of_process_and_threads_are_kept() {
    for (user, way) in ways() {
        let mut process = Place::new(user).start(&Program::victim("kept_ids"));
        process.ready();
        for _ in 0..3 {
            hold(&mut process);
            let image = process.save();
            process.kill();
            process = image.restart_kept(&[way]);
        }
        process.passes();
    }
}

#[test]
fn signals_and_exit_status_pass_through_the_stand_in() {
    for (user, way) in ways() {
        let place = Place::new(user);
        let mut process = place.start(&listener());
        process.signal = 40;
        process.ready();
        hold(&mut process);
        let pid = process.pid();
        let image = process.save();
        process.kill();
        let mut process = image.restart_kept(&[way]);
        let stand_in = process.stand_in();
        process.follow(stand_in);
        process.send(Signal::SIGUSR1);
        says(&mut process, "one\n");
        process.send(Signal::SIGTERM);
        assert_eq!(process.finish().code(), 7);
        assert!(place.text("out").contains(&format!("term {pid}\n")), "{}", place.text("out"));

        // A signal that ends the program ends the stand-in.
        let mut process = image.restart_kept(&[way]);
        process.send(Signal::SIGSEGV);
        assert_eq!(process.finish().status.signal(), Some(libc::SIGSEGV));
        assert!(place.text("restart.err").is_empty(), "{}", place.text("restart.err"));
    }
}

#[test]
fn a_save_can_be_asked_of_the_stand_in() {
    for (user, way) in ways() {
        let image = saved(user, &Program::victim("kept_ids"));
        let mut process = image.restart_kept(&[way]);
        let program = process.pid();
        let stand_in = process.stand_in();
        process.follow(stand_in);
        let image = process.save();
        process.follow(program);
        process.until("the end of the save", |this| !this.blocks_all());
        process.kill();
        image.restart_kept(&[way]).passes();
    }
}

#[test]
fn what_the_program_left_in_the_background_lives_on() {
    for (user, way) in ways() {
        let place = Place::new(user);
        let script =
            "echo ready; read line < fifo; (trap '' HUP; read line < second; echo late > late) & exit 4";
        // One FIFO for each: the second reader would find the first writer, and its end, in the first one.
        place.write("script", format!("mkfifo fifo second; {script}").as_bytes());
        let mut process = place.start(&Program::tool("bash").args(["script"]).env("CKPT_SIGNAL", "40"));
        process.signal = 40;
        process.ready();
        hold(&mut process);
        let image = process.save();
        process.kill();
        let mut process = image.restart_kept(&[way]);
        std::fs::write(place.file("fifo"), "\n").unwrap();
        let status = wait(|| process.ended());
        assert_eq!(status.and_then(|status| status.code()), Some(4), "{}", process.report());
        std::fs::write(place.file("second"), "\n").unwrap();
        assert!(wait(|| (place.text("late") == "late\n").then_some(())).is_some());
    }
}

#[test]
fn an_id_that_cannot_be_had_is_explained() {
    let image = saved(User::ordinary(), &Program::victim("kept_ids"));
    // Nobody may make a user namespace in here.
    let script = "echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv --bounding-set=-all --inh-caps=-all \"$@\"";
    let mut command = image.place().command(&tool("unshare"));
    command.args(["--user", "--map-root-user", "sh", "-c", script, "sh"]);
    let restart = image.command(["--force=proc,owner,user,privileges", "--pid=namespace"]);
    command.arg(restart.get_program()).args(restart.get_args());
    command.stdout(image.place().output("restart.out")).stderr(image.place().output("restart.err"));
    let outcome = Process::spawn(image.place(), command).finish();
    let said = image.place().text("restart.err");
    assert_eq!(outcome.code(), 83, "{said}");
    assert!(
        said.contains("user.max_user_namespaces") && said.contains("ENOSPC") && said.lines().count() == 1,
        "{said}"
    );

    // Who may have any id in the present namespace cannot have one that is in use.
    if User::each().any(|user| user == User::Myself && user.ids().0 == 0) {
        let mut process = Place::new(User::Myself).start(&Program::victim("kept_ids"));
        process.ready();
        let image = process.save();
        let (code, said) = image.refused(&["--pid=keep"]);
        assert_eq!(code, 83, "{said}");
        assert!(said.contains(" is in use") && said.lines().count() == 1, "{said}");
        image.restart_kept(&["--pid=namespace"]).passes();
        process.passes();
    }
}
