//! Saved implies restorable: what cannot be restored is refused by name, and the program goes on.

use harness::{Place, Program, User};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::Stdio;

/// A victim that has `what`: the refusal must contain each of `words`.
#[track_caller]
fn refused(what: &str, users: impl IntoIterator<Item = User>, words: &[&str]) {
    for user in users {
        let place = Place::new(user);
        let mut process = place.start(&Program::victim("foreign").arg(what));
        process.ready();
        let Err(line) = process.try_save() else { process.fail("saved") };
        for word in words.iter().chain(&["ckpt: not saved: "]) {
            assert!(line.contains(word), "no {word:?} in {line:?}");
        }
        assert_eq!(place.text("err"), format!("{line}\n"), "one line");
        assert!(!place.names().iter().any(|name| name.starts_with("myckpt")), "{:?}", place.names());
        process.go();
        let outcome = process.finish();
        assert!(outcome.status.success() && outcome.output.ends_with(b"PASS\n"), "{outcome:?}");
    }
}

#[test]
fn connected_tcp() {
    refused("tcp", User::each(), &["descriptor 4", "TCP", "connect"]);
}

#[test]
fn io_uring() {
    refused("io_uring", User::each(), &["descriptor 3", "io_uring"]);
}

#[test]
fn userfaultfd() {
    refused("userfaultfd", User::each(), &["descriptor 3", "userfaultfd"]);
}

#[test]
fn perf_event() {
    refused("perf", User::each(), &["descriptor 3", "perf"]);
}

#[test]
fn bpf() {
    // An ordinary user cannot have it.
    refused("bpf", User::each().filter(|user| user.ids().0 == 0), &["descriptor 3", "BPF"]);
}

#[test]
fn fanotify() {
    refused("fanotify", User::each(), &["descriptor 3", "fanotify"]);
}

#[test]
fn aio_context() {
    refused("aio", User::each(), &["AIO context"]);
}

#[test]
fn removed_working_directory() {
    refused("directory", User::each(), &["the process has a working directory that was removed"]);
}

#[test]
fn command_that_does_not_read_the_image() {
    let place = Place::new(User::ordinary());
    let mut process = place.start(&Program::victim("signal_state").env("CKPT_IMAGE", "|true"));
    process.ready();
    let Err(line) = process.try_save() else { process.fail("saved") };
    assert!(line.contains("the command of CKPT_IMAGE has ended before it had read the image"), "{line}");
    place.write("err", b"");
    process.passes();
}

/// A terminal leaks a pipe; the program knows nothing of it.
#[test]
fn pipe_that_was_there_at_the_start_is_let_go_of_when_asked() {
    for user in User::each() {
        for drops in [false, true] {
            let place = Place::new(user);
            let program = Program::victim("signal_state");
            let program = if drops { program.env("CKPT_DROP_FDS", "outside") } else { program };
            let mut command = place.command_for(&program);
            command.stdout(place.output("out")).stderr(place.output("err"));
            let (reader, _writer) = std::io::pipe().unwrap();
            // SAFETY: one system call between fork and exec.
            unsafe {
                command.pre_exec(move || {
                    if libc::dup2(reader.as_raw_fd(), 251) < 0 {
                        Err(std::io::Error::last_os_error())
                    } else {
                        Ok(())
                    }
                })
            };
            let mut process = harness::Process::spawn(&place, command);
            process.ready();
            if drops {
                process.generations(2).passes();
                continue;
            }
            let Err(line) = process.try_save() else { process.fail("saved") };
            assert!(
                line.contains("descriptor 251 is a pipe whose other end belongs to another process"),
                "{line}"
            );
            place.write("err", b"");
            process.passes();
        }
    }
}

#[test]
fn unknown_device() {
    refused("device", User::each().filter(|user| user.ids().0 == 0), &["descriptor 3", "a device"]);
}

#[test]
fn huge_pages_of_hugetlbfs() {
    refused("hugetlb", User::each(), &["huge"]);
}

#[test]
fn shared_memory_of_system_v() {
    refused("sysv", User::each(), &["System V"]);
}

#[test]
fn pipe_whose_other_end_is_outside() {
    for user in User::each() {
        let place = Place::new(user);
        let mut command = place.command_for(&Program::victim("foreign").arg("pipe"));
        command.stdin(Stdio::piped()).stdout(place.output("out")).stderr(place.output("err"));
        let mut process = harness::Process::spawn(&place, command);
        process.ready();
        let Err(line) = process.try_save() else { process.fail("saved") };
        assert!(line.contains("descriptor 10") && line.contains("pipe"), "{line}");
        process.go();
        assert!(process.finish().status.success());
    }
}
