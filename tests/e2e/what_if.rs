//! What two things at once come to: the table "What if" of ARCHITECTURE.md, where no other test looks at a row of it.
//!
//! The order of events is made, not hoped for: a save that stands still does so at a command that waits for a file, and a writer that is at work is
//! stopped by SIGSTOP.

use harness::tracer::{Act, Tracer, stop_at_exec};
use harness::{Artifact, Image, Place, Process, Program, User, wait, waves};
use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use sys::Sysno;

/// Notes each save in `begun`, and writes the images `image.1`, `image.2` ... as soon as there is a file `gate`.
const GATED: &str =
    "|echo >> begun; n=$(wc -l < begun); while ! test -e gate; do sleep 0.01; done; cat > image.$n";

/// The victim `waves` as an ordinary user.
fn waves(args: &[&str], env: &[(&str, &str)]) -> Process {
    let mut program = Program::victim("waves").args(args);
    for (name, value) in env {
        program = program.env(name, value);
    }
    let mut process = Place::new(User::ordinary()).start(&program);
    process.ready();
    process
}

/// One that stands still while it is saved, until there is a file `gate`.
fn gated(args: &[&str]) -> Process {
    waves(args, &[("CKPT_FOREGROUND", "1"), ("CKPT_IMAGE", GATED)])
}

/// How many saves have begun.
fn begun(place: &Place) -> usize {
    place.text("begun").lines().count()
}

/// The image of this name.
fn image(process: &mut Process, name: &str) -> Image {
    process.image = name.into();
    process.image_of_save()
}

/// Restarts an image, and looks at all that is in it: the passes before it was saved.
#[track_caller]
fn restarts(image: &Image, threads: impl IntoIterator<Item = usize> + Clone) -> u64 {
    waves::forget(image.place());
    let mut process = image.restart();
    waves::threads_go_on(&mut process, threads.clone());
    let first = threads.into_iter().next().unwrap_or(0);
    let passes = waves::passes(image.place(), first);
    process.kill();
    passes
}

#[test]
fn a_signal_during_the_stop_is_honoured_after_it() {
    let mut process = gated(&[]);
    let place = process.place.clone();
    process.send(process.signal);
    process.until("the stop", |this| begun(&place) == 1 && this.blocks_all());
    let at_the_stop = waves::passes(&place, 0);
    for _ in 0..3 {
        process.send(process.signal);
    }
    assert!(process.is_asked());
    assert_eq!(waves::passes(&place, 0), at_the_stop, "it does not stand still");
    place.write("gate", b"");
    process.until("the second save", |_| begun(&place) == 2);
    process.until_alone();
    waves::go_on(&mut process, 1);
    assert!(begun(&place) == 2 && place.text("err").is_empty(), "{}", place.text("err"));
    let images = [image(&mut process, "image.1"), image(&mut process, "image.2")];
    process.kill();
    for image in images {
        assert!(restarts(&image, 0..1) > at_the_stop);
    }
}

#[test]
fn threads_that_are_asked_at_once_save_one_after_the_other() {
    let mut process = gated(&["threads"]);
    let place = process.place.clone();
    place.write("gate", b"");
    waves::go_on(&mut process, 3);
    // So that all of them enter the handler when it goes on.
    process.send(Signal::SIGSTOP);
    process.until("its stop", |this| this.status_line("State").starts_with('T'));
    for entry in fs::read_dir(format!("/proc/{}/task", process.pid())).unwrap() {
        let tid: libc::pid_t = entry.unwrap().file_name().to_str().unwrap().parse().unwrap();
        // SAFETY: no memory is involved.
        let sent = unsafe { libc::syscall(libc::SYS_tgkill, process.pid(), tid, process.signal) };
        Errno::result(sent).unwrap();
    }
    process.send(Signal::SIGCONT);
    process.until("three saves", |_| begun(&place) == 3);
    process
        .until("the end of the third", |this| this.companions().is_empty() && place.file("image.3").exists());
    waves::go_on(&mut process, 3);
    assert!(begun(&place) == 3 && place.text("err").is_empty(), "{}", place.text("err"));
    let images = ["image.1", "image.2", "image.3"].map(|name| image(&mut process, name));
    process.kill();
    for image in images {
        restarts(&image, 0..3);
    }
}

/// Threads of the program that did not ask for the save.
fn other_threads(process: &Process) -> Vec<i32> {
    let entries = fs::read_dir(format!("/proc/{}/task", process.pid())).unwrap().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter(|tid| *tid != process.pid()).collect()
}

/// The state letter of a thread.
fn state(tid: i32) -> Option<char> {
    fs::read_to_string(format!("/proc/{tid}/stat")).ok()?.rsplit_once(") ")?.1.chars().next()
}

/// Lets a thread run on one CPU only.
fn pin(tid: i32, cpu: usize) {
    // SAFETY: a mask of zeros is an empty one, and all of it is the call's to read.
    let done = unsafe {
        let mut mask: libc::cpu_set_t = core::mem::zeroed();
        libc::CPU_SET(cpu, &mut mask);
        libc::sched_setaffinity(tid, size_of::<libc::cpu_set_t>(), &raw const mask)
    };
    Errno::result(done).unwrap();
}

/// The first two CPUs that this process may use.
fn two_cpus() -> Option<(usize, usize)> {
    // SAFETY: as above, to be written.
    let mask = unsafe {
        let mut mask: libc::cpu_set_t = core::mem::zeroed();
        Errno::result(libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut mask)).unwrap();
        mask
    };
    // SAFETY: the mask has a bit for each of these numbers.
    let mut cpus = (0..libc::CPU_SETSIZE as usize).filter(|cpu| unsafe { libc::CPU_ISSET(*cpu, &mask) });
    Some((cpus.next()?, cpus.next()?))
}

/// The kernel notes the new CPU in the thread's memory (rseq(2)), of which the sum is made by then, and which is not written yet.
#[test]
fn a_thread_that_comes_to_another_cpu_while_it_is_saved_spoils_nothing() {
    // On a machine with one CPU nothing can move.
    let Some((here, there)) = two_cpus() else { return };
    let mut process = gated(&["threads"]);
    let place = process.place.clone();
    waves::go_on(&mut process, 3);
    let threads = other_threads(&process);
    assert_eq!(threads.len(), 2);
    for tid in &threads {
        pin(*tid, here);
    }
    waves::go_on(&mut process, 3);
    process.send(process.signal);
    let writev = (Sysno::writev as i32).to_string();
    process.until("a full pipe and finished sums", |this| {
        this.companions().into_iter().any(|pid| {
            let call = fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
            let threads = fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
            call.split(' ').next() == Some(&writev) && threads == 1
        })
    });
    for tid in &threads {
        pin(*tid, there);
    }
    let all_are = |letter| threads.iter().all(|tid| state(*tid) == Some(letter));
    // To the process, it would wait for the thread that asked, which the kernel does not let run.
    // SAFETY: no memory is involved.
    let sent = unsafe { libc::syscall(libc::SYS_tgkill, process.pid(), threads[0], libc::SIGSTOP) };
    Errno::result(sent).unwrap();
    process.until("the stop of its threads", |_| all_are('T'));
    process.send(Signal::SIGCONT);
    process.until("their return to sleep", |_| all_are('S'));
    place.write("gate", b"");
    process.until_alone();
    waves::go_on(&mut process, 3);
    let image = image(&mut process, "image.1");
    process.kill();
    restarts(&image, 0..3);
}

fn signal(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).unwrap();
}

#[test]
fn a_later_writer_waits_for_an_earlier_one() {
    let mut process = waves(&["large"], &[]);
    let place = process.place.clone();
    process.save();
    let first = process.catch_writer(Process::ask);
    let before = process.image_inode();
    // The program runs on.
    waves::go_on(&mut process, 1);
    let passes = waves::passes(&place, 0);
    process.send(process.signal);
    process.until("a second writer that waits", |this| {
        let second = this.writers().into_iter().find(|pid| *pid != first);
        let call = |pid| fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
        second.is_some_and(|pid| call(pid).split(' ').next() == Some(&(Sysno::poll as i32).to_string()))
    });
    assert_eq!(process.image_inode(), before, "the second image has its name already");
    signal(first, Signal::SIGCONT);
    process.until_alone();
    assert_ne!(process.image_inode(), before);
    let image = process.image_of_save();
    process.kill();
    assert!(restarts(&image, 0..1) > passes, "the name holds the older image");
}

#[test]
fn the_writer_is_the_first_to_go_when_memory_runs_out() {
    let score = |pid: i32| fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap();
    let mut process = waves(&["large"], &[]);
    let own = score(process.pid());
    assert_ne!(own, "1000\n");
    let found = (0..50).any(|_| {
        let writer = process.catch_writer(Process::ask);
        signal(writer, Signal::SIGCONT);
        // It may have been caught before it has got so far.
        let scores = std::iter::from_fn(|| fs::read_to_string(format!("/proc/{writer}/oom_score_adj")).ok());
        let is_last = scores.into_iter().any(|score| score == "1000\n");
        process.until_alone();
        is_last
    });
    assert!(found && score(process.pid()) == own);
    // It is the writer's, and not in the image.
    let image = process.image_of_save();
    process.kill();
    let process = image.restart();
    assert_eq!(score(process.pid()), own);
}

/// The program ends while its writer is at work.
#[track_caller]
fn ends_meanwhile(how: u64, output: &str) {
    let mut process = waves(&["large"], &[]);
    let place = process.place.clone();
    let writer = process.catch_writer(Process::ask);
    assert_eq!(process.image_inode(), None);
    let image = process.image_of_save();
    waves::set(&place, how, 1);
    let outcome = process.finish();
    assert!(outcome.status.success() && place.text("out").ends_with(output), "{outcome:?}");
    assert!(!image.path.exists());
    signal(writer, Signal::SIGCONT);
    wait(|| image.path.exists().then_some(())).expect("an image");
    waves::set(&place, how, 0);
    restarts(&image, 0..1);
    assert_eq!(place.text("err"), "");
}

#[test]
fn the_writer_goes_on_when_the_program_exits() {
    ends_meanwhile(0, "PASS\n");
}

#[test]
fn the_writer_goes_on_when_the_program_becomes_another() {
    ends_meanwhile(waves::EXEC, "ready\n");
}

#[test]
fn a_fork_while_the_writer_works_shares_nothing() {
    let mut process = waves(&["large"], &[("CKPT_IMAGE", "image.%p"), ("CKPT_CHILDREN", "ignore")]);
    let place = process.place.clone();
    let parent = process.pid();
    process.image = format!("image.{parent}").into();
    let writer = process.catch_writer(Process::ask);
    waves::set(&place, waves::FORK, 1);
    // The child counts as a thread.
    waves::go_on(&mut process, 2);
    let children = process.proc(&format!("task/{parent}/children"));
    let child: i32 = children.trim().parse().unwrap();
    signal(writer, Signal::SIGCONT);
    process.until("the image of the parent", |this| this.image_inode().is_some());
    let of_parent = process.image_of_save();
    process.follow(child);
    process.image = format!("image.{child}").into();
    let of_child = process.save();
    signal(child, Signal::SIGKILL);
    process.follow(parent);
    process.kill();
    restarts(&of_parent, 0..1);
    restarts(&of_child, 1..2);
    assert_eq!(place.text("err"), "");
}

#[test]
fn a_fault_in_the_writer_is_told_and_leaves_nothing() {
    let mut process = waves(&["large"], &[]);
    let place = process.place.clone();
    process.save();
    let writer = process.catch_writer(Process::ask);
    let before = process.image_inode();
    signal(writer, Signal::SIGBUS);
    signal(writer, Signal::SIGCONT);
    process.until_alone();
    waves::go_on(&mut process, 1);
    is_told_of(&place);
    assert_eq!(process.image_inode(), before);
    let image = process.image_of_save();
    process.kill();
    restarts(&image, 0..1);
}

#[test]
fn a_fault_in_the_helper_is_told_and_leaves_nothing() {
    let mut process = gated(&[]);
    let place = process.place.clone();
    process.send(process.signal);
    process.until("the stop", |_| begun(&place) == 1);
    // The helper is a child of the program, and the command is one of the helper.
    let pid = process.pid();
    let children = process.proc(&format!("task/{pid}/children"));
    signal(children.trim().parse().unwrap(), Signal::SIGSEGV);
    waves::go_on(&mut process, 1);
    is_told_of(&place);
    place.write("gate", b"");
    process.until_alone();
    process.passes_in_spite_of_a_line();
}

/// There is one line that says that there is no image, and nothing that is half of one.
#[track_caller]
fn is_told_of(place: &Place) {
    let said = place.text("err");
    assert!(said.starts_with("ckpt: not saved: ") && said.lines().count() == 1, "{said}");
    assert!(!place.names().iter().any(|name| name.ends_with(".tmp")), "{:?}", place.names());
}

/// Replaced before each kind of call of a restart: from the one that opens it on, the old image restarts, else the new one; and each time all of it.
#[test]
fn an_image_that_is_replaced_while_it_restarts_is_one_of_both() {
    let mut process = waves(&["old"], &[]);
    let old = process.save().copy("old");
    let place = process.place.clone();
    process.kill();
    let mut process = place.start(&Program::victim("waves").arg("new"));
    process.ready();
    let new = process.save().copy("new");
    let image = process.image_of_save();
    process.kill();

    let restart = |first: Option<Sysno>| {
        let copy = |image: &Image, name: &str| {
            let copy = image.copy(&format!("{name}.copy"));
            (copy.path, place.file(name))
        };
        let (from, to) = copy(&old, "myckpt");
        fs::rename(from, to).unwrap();
        let (from, to) = copy(&new, "myckpt");
        let mut command = image.command::<&str>([]);
        stop_at_exec(&mut command);
        let mut process = Process::spawn(&place, command);
        image.hand_on(&mut process);
        let mut tracer = Tracer::begin(process.pid());
        tracer.act = first.map(|first| {
            let what = Box::new(move || fs::rename(from, to).unwrap());
            Act { call: (first, 0), what }
        });
        waves::forget(&place);
        let trace = tracer.restart(1, None);
        if trace.hung || trace.ended {
            process.fail("it was not restarted");
        }
        waves::go_on(&mut process, 1);
        let arguments = process.proc("cmdline");
        process.kill();
        (trace.calls, arguments.contains("new"))
    };
    let (calls, _) = restart(None);
    let mut kinds = Vec::new();
    for call in calls {
        if !kinds.contains(&call.nr) {
            kinds.push(call.nr);
        }
    }
    let are_new: Vec<bool> = kinds.iter().map(|nr| restart(Some(*nr)).1).collect();
    let opened = are_new.iter().filter(|is_new| **is_new).count();
    assert!(opened > 0 && kinds.len() > opened + 15, "{kinds:?} {are_new:?}");
    assert!(are_new.iter().take(opened).all(|is_new| *is_new), "{kinds:?} {are_new:?}");
    assert_eq!(place.text("restart.err"), "");
}

/// What is done to an image in place.
#[derive(Clone, Copy, Debug)]
enum Harm {
    Emptied,
    CutInHalf,
    Overwritten,
}

impl Harm {
    fn act(self, path: &Path) {
        let file = fs::File::options().write(true).open(path).unwrap();
        let len = file.metadata().unwrap().len();
        match self {
            Self::Emptied => file.set_len(0).unwrap(),
            Self::CutInHalf => file.set_len(len / 2).unwrap(),
            Self::Overwritten => file.write_all_at(&vec![0xa5; len as usize], 0).unwrap(),
        }
    }
}

/// Altered before each kind of call of a restart, and before many others: there is one line and a code, or the whole process.
#[test]
fn an_image_that_is_altered_while_it_restarts_is_refused_or_whole() {
    use Harm::{CutInHalf, Emptied, Overwritten};
    let mut process = waves(&[], &[]);
    let image = process.save();
    process.kill();
    let restart = |mode: &str, harm: Option<((Sysno, usize), Harm)>| {
        let place = image.place();
        let copy = image.copy("copy");
        let mut command = if mode == "-" {
            let mut command = place.command(&place.artifact(Artifact::Restarter));
            command.arg("-").stdin(fs::File::open(&copy.path).unwrap());
            command.stdout(place.output("restart.out")).stderr(place.output("restart.err"));
            command
        } else {
            copy.command(mode.split_whitespace())
        };
        stop_at_exec(&mut command);
        let mut process = Process::spawn(place, command);
        image.hand_on(&mut process);
        let mut tracer = Tracer::begin(process.pid());
        tracer.act = harm.map(|(call, harm)| Act { call, what: Box::new(move || harm.act(&copy.path)) });
        waves::forget(place);
        let trace = tracer.restart(1, None);
        let said = place.text("restart.err");
        let what = format!("{mode:?}, {harm:?}");
        assert!(!trace.hung, "{what}: hangs; said {said:?}");
        if !trace.ended {
            waves::go_on(&mut process, 1);
            process.kill();
            assert_eq!(said, "", "{what}");
            return (trace.calls, None);
        }
        let status = process.ended().expect("its end");
        let is_line = said.starts_with("myrestart: ") && said.lines().count() == 1 && said.ends_with('\n');
        assert!(is_line, "{what}: ended by {status}; said {said:?}");
        (trace.calls, status.code())
    };
    for (mode, harms) in [
        ("", &[Emptied, CutInHalf, Overwritten][..]),
        ("--lazy", &[Emptied, CutInHalf]),
        ("-", &[CutInHalf, Overwritten]),
    ] {
        let (calls, _) = restart(mode, None);
        // From the last look at the pages on, a lazy restart depends on the file, as its process does.
        let last = calls.iter().rposition(|call| call.nr == Sysno::preadv).unwrap();
        let stride = last / 4;
        let points = calls.iter().enumerate().take(last + 1);
        let points = points.filter(|(i, call)| call.before == 0 || i % stride == 0 || *i == last);
        let mut codes = BTreeSet::new();
        for ((_, call), harm) in points.zip(harms.iter().cycle()) {
            codes.insert(restart(mode, Some(((call.nr, call.before), *harm))).1);
        }
        println!("{mode:?}: {codes:?}");
        // Not an image, cut short, damaged; or read already.
        assert!(codes.iter().flatten().all(|code| [65, 69, 71].contains(code)), "{mode:?}: {codes:?}");
        assert!(codes.contains(&Some(69)), "{mode:?}: {codes:?}");
        assert!(mode == "--lazy" || codes.contains(&Some(71)), "{mode:?}: {codes:?}");
    }
}

/// What its timer does after minutes of CPU time, a test does at once: two looks between which the writer has done nothing.
#[test]
fn a_writer_that_makes_no_progress_ends_itself() {
    for user in User::each() {
        // It waits for somebody who reads nothing.
        let command = "|exec sleep 1000";
        let place = Place::new(user);
        let mut process = place.start(&Program::victim("zeros").env("CKPT_IMAGE", command));
        process.ready();
        process.ask();
        let mut writer = 0;
        process.until("a writer that waits", |process| {
            writer = process.writers().first().copied().unwrap_or(0);
            let call = fs::read_to_string(format!("/proc/{writer}/syscall")).unwrap_or_default();
            [libc::SYS_write, libc::SYS_writev].iter().any(|number| call.starts_with(&format!("{number} ")))
        });
        let pid = Pid::from_raw(writer);
        kill(pid, Signal::SIGPROF).unwrap();
        process.until("the first look", |_| {
            let status = fs::read_to_string(format!("/proc/{writer}/status")).unwrap_or_default();
            status.lines().any(|line| line.starts_with("ShdPnd:") && line.ends_with("\t0000000000000000"))
        });
        kill(pid, Signal::SIGPROF).unwrap();
        process
            .until("the message", |process| process.place.text("err").contains("makes no progress (at 0x"));
        process.passes_in_spite_of_a_line();
    }
}
