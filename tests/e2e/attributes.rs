//! What the kernel keeps about a process that is neither memory nor descriptors nor signals.

use harness::{Place, Process, Program, User, survives, survives_as};
use std::os::unix::process::CommandExt;
use std::process::Command;

#[test]
fn limits_priorities_names_and_flags_are_kept() {
    survives("attributes");
}

#[test]
fn process_that_is_not_dumpable() {
    survives_as(Program::victim("undumpable").env("CKPT_UNDUMPABLE", "1"));
}

/// Takes the controlling terminal from a command: then nobody but the process itself can have made it a leader.
fn without_terminal(command: &mut Command) {
    // SAFETY: three system calls between fork and exec; none allocates or takes a lock.
    unsafe {
        command.pre_exec(|| {
            let terminal = nix::libc::open(c"/dev/tty".as_ptr(), nix::libc::O_RDONLY | nix::libc::O_CLOEXEC);
            if terminal >= 0 {
                nix::libc::ioctl(terminal, nix::libc::TIOCNOTTY);
                nix::libc::close(terminal);
            }
            Ok(())
        });
    }
}

#[test]
fn leaders_of_sessions_and_groups_lead_again() {
    for user in User::each() {
        for kind in ["session", "group"] {
            let place = Place::new(user);
            let mut process = place.start(&Program::victim("leaders").arg(kind));
            process.ready();
            for _ in 0..3 {
                let image = process.save();
                process.kill();
                let mut command = image.command(std::iter::empty::<&str>());
                without_terminal(&mut command);
                process = image.restart_by(command);
            }
            process.passes();
        }
    }
}

#[test]
fn process_group_of_a_job_is_its_shells_business() {
    for user in User::each() {
        let place = Place::new(user);
        let mut process = place.start(&Program::victim("quiet"));
        process.ready();
        let group =
            |stat: String| stat.rsplit(')').next().unwrap().split_whitespace().nth(2).unwrap().to_owned();
        let before = group(process.proc("stat"));
        let image = process.save();
        process.kill();
        // The saved process led nothing: it belongs to the group of whoever restarts it.
        assert_eq!(group(image.restart().proc("stat")), before);
    }
}

#[test]
fn seccomp_filters_are_not_lost_silently() {
    const PERMISSION: i32 = 77;
    for user in User::each() {
        let place = Place::new(user);
        let mut process = place.start(&Program::victim("seccomp_filter"));
        process.ready();
        let image = process.save();
        process.kill();
        let (code, said) = image.refused(&[]);
        assert_eq!(code, PERMISSION, "{said}");
        assert!(said.contains("seccomp filters"), "{said}");
        place.write("restart.err", b"");
        image.restart_with(&["--force=filters"]).passes();
    }
}

/// Puts a command under a seccomp filter that allows everything, as a container's runtime does with a stricter one.
fn filtered(command: &mut Command) {
    use nix::libc::{
        BPF_K, BPF_RET, PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, SECCOMP_RET_ALLOW, prctl,
        sock_filter, sock_fprog,
    };
    // SAFETY: two system calls between fork and exec; the filter is on the stack, and the kernel copies it.
    unsafe {
        command.pre_exec(|| {
            let mut allow =
                sock_filter { code: (BPF_RET | BPF_K) as u16, jt: 0, jf: 0, k: SECCOMP_RET_ALLOW };
            let program = sock_fprog { len: 1, filter: &raw mut allow };
            let done = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
                && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &raw const program) == 0;
            if done { Ok(()) } else { Err(std::io::Error::last_os_error()) }
        });
    }
}

#[test]
fn inherited_seccomp_filters_are_inherited_again() {
    for user in User::each() {
        let place = Place::new(user);
        let mut command = place.command_for(&Program::victim("signal_state"));
        command.stdout(place.output("out")).stderr(place.output("err"));
        filtered(&mut command);
        let mut process = Process::spawn(&place, command);
        process.ready();
        for _ in 0..3 {
            let image = process.save();
            process.kill();
            let mut command = image.command(std::iter::empty::<&str>());
            filtered(&mut command);
            process = image.restart_by(command);
        }
        process.passes();
    }
}
