//! Programs that were not prepared for a save: `ckpt save` enters them (docs/entry.md).

use harness::tracer::stop_at_exec;
use harness::{Artifact, Place, Process, Program, User, survives_as, tool, unharmed, wait, waves};
use nix::libc;
use nix::sys::signal::Signal;
use std::process::{Command, Output, Stdio};

/// Starts a program that nobody has prepared.
#[track_caller]
fn start(user: User, program: Program) -> Process {
    Place::new(user).start(&program.entered())
}

/// The command, for a process, by the user whose process it is.
fn ckpt(process: &Process, command: &str) -> Command {
    let mut asked = process.place.command(&process.place.artifact(Artifact::Command));
    asked.args([command, "--timeout", "60s", &process.pid().to_string()]);
    asked
}

/// Its exit code, and the line on standard error.
fn said(mut command: Command) -> (i32, String) {
    let Output { status, stderr, .. } = command.output().unwrap();
    (status.code().unwrap(), String::from_utf8(stderr).unwrap())
}

/// Nothing traces it, and its memory is not that of a save.
#[track_caller]
fn is_let_go(process: &mut Process) {
    process.until("its freedom", |process| process.status_line("TracerPid") == "0" && !process.blocks_all());
}

macro_rules! survive {
    ($($name:ident: $victim:literal,)*) => {
        $(#[test]
        fn $name() {
            survives_as(Program::victim($victim).entered());
        })*
    };
}

survive! {
    one_thread: "quiet",
    registers_and_floating_point: "registers",
    below_the_stack_pointer: "redzone",
    signal_state: "signal_state",
    threads_of_glibc: "threads",
    threads_of_musl: "threads_musl",
    a_program_of_musl: "musl",
    the_cpu_that_rseq_tells: "rseq_cpu",
    in_a_handler: "in_handler",
}

#[test]
fn static_programs() {
    unharmed(Program::compiled("sieve.c", "gcc -O2 -static -lm").entered(), 3, &[]);
}

#[test]
fn static_programs_of_musl() {
    unharmed(Program::compiled("sieve.c", "musl-gcc -O2 -static -lm").entered(), 3, &[]);
}

#[test]
fn a_program_that_blocks_every_signal_or_handles_it() {
    let blocks = "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())";
    let handles = "[signal.signal(n, lambda *_: os._exit(3)) for n in signal.valid_signals() - {9, 19}]";
    for setting in [blocks, handles] {
        let script = format!(
            "import os, signal\n{setting}\nprint('ready', flush=True)\nsignal.sigwait([1])\nprint('PASS')"
        );
        let mut process = start(User::ordinary(), Program::tool("python3").args(["-c", &script]));
        process.ready();
        assert_eq!(said(ckpt(&process, "check")), (0, String::new()));
        let process = process.generations(3);
        let mut process = process;
        process.send(Signal::SIGHUP);
        process.has_passed();
    }
}

/// libckpt.so is found again and used again, in the program and in the restarted one.
#[test]
fn ten_generations_do_not_grow() {
    let size = |process: &Process| process.status_line("VmSize");
    let mut process = start(User::ordinary(), Program::victim("waves").arg("threads"));
    process.ready();
    let first = process.save();
    let (mapped, bytes) = (size(&process), first.len());
    for _ in 0..3 {
        process.save();
        assert_eq!(size(&process), mapped);
    }
    let process = process.generations(10);
    let mut process = process;
    let last = process.save();
    assert_eq!(size(&process), mapped);
    assert!(last.len() < bytes + bytes / 4, "{} after {bytes}", last.len());
    process.passes();
}

#[test]
fn many_saves_in_a_row() {
    let mut process = start(User::ordinary(), Program::victim("waves").arg("threads"));
    process.ready();
    for _ in 0..40 {
        process.save();
        is_let_go(&mut process);
    }
    waves::go_on(&mut process, 3);
    process.passes();
}

#[test]
fn a_program_that_is_traced_already_says_by_whom() {
    let mut process = start(User::Myself, Program::victim("waves"));
    process.ready();
    let mut strace = Command::new(tool("strace"));
    strace.args(["-qq", "-o", "/dev/null", "-p", &process.pid().to_string()]).stderr(Stdio::null());
    let mut strace = strace.spawn().unwrap();
    process.until("strace", |process| process.status_line("TracerPid") != "0");
    for command in ["save", "check"] {
        let (code, line) = said(ckpt(&process, command));
        let who = format!("is traced already, by process {} (strace)", strace.id());
        assert!(code == 77 && line.contains(&who) && line.lines().count() == 1, "{code} {line}");
    }
    strace.kill().unwrap();
    strace.wait().unwrap();
    is_let_go(&mut process);
    process.save();
    process.passes();
}

#[test]
fn a_program_with_a_seccomp_filter_is_not_entered() {
    let mut process = start(User::Myself, Program::victim("seccomp_filter"));
    process.ready();
    let (code, line) = said(ckpt(&process, "save"));
    assert!(code == 89 && line.contains("has a seccomp filter"), "{code} {line}");
    process.passes();
}

/// It is saved when it goes on, as it is when a signal asks.
#[test]
fn a_stopped_program_is_saved_when_it_goes_on() {
    let mut process = start(User::ordinary(), Program::victim("waves").arg("threads"));
    process.ready();
    process.send(Signal::SIGSTOP);
    process.until("a stop", |process| process.status_line("State").starts_with('T'));
    let mut command = process.place.command(&process.place.artifact(Artifact::Command));
    command.args(["save", "--timeout", "100ms", &process.pid().to_string()]);
    let (code, line) = said(command);
    assert!(code == 92 && line.contains("is stopped, and will be saved when it can"), "{code} {line}");
    assert_eq!(process.status_line("TracerPid"), "0");
    assert!(process.status_line("State").starts_with('T'));
    process.send(Signal::SIGCONT);
    process.until("the image", |process| process.place.file("myckpt").exists());
    is_let_go(&mut process);
    process.save();
    process.passes();
}

/// A thread in vfork(2) stops for nobody.
#[test]
fn a_program_whose_thread_does_not_stop_goes_on() {
    let mut process = start(User::Myself, Program::victim("in_vfork"));
    process.ready();
    let (code, line) = said(ckpt(&process, "save"));
    assert!(code == 92 && line.contains("is in an uninterruptible system call"), "{code} {line}");
    process.passes();
}

#[test]
fn a_program_that_forks_and_becomes_another_meanwhile() {
    for word in [waves::FORK, waves::EXEC] {
        let mut process =
            start(User::ordinary(), Program::victim("waves").arg("threads").env("CKPT_CHILDREN", "ignore"));
        process.ready();
        waves::set(&process.place, word, 1);
        // Whatever it is by now, it is saved or has ended, and nobody else is harmed.
        let (code, line) = said(ckpt(&process, "save"));
        assert!(matches!(code, 0 | 87 | 91), "{code} {line}");
        if word == waves::FORK {
            process.passes();
        } else {
            assert!(wait(|| process.ended()).unwrap().success());
        }
    }
}

/// Runs a command, and kills it at a stop (at the entry or the end of a system call) after the one at which it takes hold of its target. Whether it came so far.
fn kill_at(command: &mut Command, stop: usize) -> bool {
    stop_at_exec(command);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let reached = runs_to(child.id() as i32, stop);
    // It has ended, and has been waited for, if it did not come so far.
    let _ = (child.kill(), child.wait());
    reached
}

/// Lets a process run to a stop; false when it ends before.
fn runs_to(pid: i32, stop: usize) -> bool {
    const SEIZE: u64 = 0x4206;
    const OPTIONS: i32 = libc::PTRACE_O_TRACESYSGOOD | libc::PTRACE_O_EXITKILL;
    let ptrace = |request: u32, data: usize| {
        // SAFETY: the requests take numbers, or an address of a live value in `data`.
        unsafe { libc::ptrace(request, pid, 0, data) }
    };
    let mut count = None;
    let mut first = true;
    loop {
        let mut status = 0;
        // SAFETY: the kernel writes the status.
        assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
        if !libc::WIFSTOPPED(status) {
            return false;
        }
        let mut deliver = 0;
        match libc::WSTOPSIG(status) {
            libc::SIGTRAP if first => {
                first = false;
                ptrace(libc::PTRACE_SETOPTIONS, OPTIONS as usize);
            }
            0x85 => {
                // SAFETY: plain numbers.
                let mut regs: libc::user_regs_struct = unsafe { std::mem::zeroed() };
                ptrace(libc::PTRACE_GETREGS, (&raw mut regs) as usize);
                if count.is_none() && regs.orig_rax == libc::SYS_ptrace as u64 && regs.rdi == SEIZE {
                    count = Some(0);
                }
                if count == Some(stop) {
                    return true;
                }
                count = count.map(|count| count + 1);
            }
            signal => deliver = signal as usize,
        }
        ptrace(libc::PTRACE_SYSCALL, deliver);
    }
}

/// `ckpt save` is killed at its system calls, at every `step`th stop from `from` on; the program never notices.
fn killed(program: Program, threads: usize, from: usize, step: usize) -> usize {
    let mut process = start(User::ordinary(), program);
    process.ready();
    let blocked = process.status_line("SigBlk");
    let mut count = 0;
    for stop in (from..).step_by(step) {
        if !kill_at(&mut ckpt(&process, "save"), stop) {
            break;
        }
        count += 1;
        process.until("its freedom", |process| process.status_line("TracerPid") == "0");
        process.until("its own signal mask", |process| process.status_line("SigBlk") == blocked);
        assert_eq!(process.ended(), None, "stop {stop}");
    }
    waves::go_on(&mut process, threads);
    let size =
        |process: &Process| process.status_line("VmSize").split(' ').next().unwrap().parse::<u64>().unwrap();
    process.save();
    let mapped = size(&process);
    process.save();
    assert_eq!(size(&process), mapped);
    process.generations(1).passes();
    count
}

#[test]
fn whoever_is_killed_at_any_call_leaves_the_program_as_it_was() {
    let count = killed(Program::victim("waves"), 1, 0, 7);
    assert!(count > 10, "{count}");
}

#[test]
fn whoever_is_killed_at_any_call_leaves_threads_as_they_were() {
    let count = killed(Program::victim("waves").arg("threads"), 3, 3, 13);
    assert!(count > 10, "{count}");
}

#[test]
#[ignore = "minutes: make check-programs"]
fn whoever_is_killed_at_every_call_leaves_the_program_as_it_was() {
    let alone = killed(Program::victim("waves"), 1, 0, 1);
    let threads = killed(Program::victim("waves").arg("threads"), 3, 0, 1);
    println!("{} kills", alone + threads);
}
