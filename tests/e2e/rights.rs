//! A restart gives a process no capability, no group and no privilege that it did not have.

use harness::{Artifact, Image, Place, Program, User, tool};
use std::process::Command;

const PERMISSION: i32 = 77;

fn saved(user: User, args: &[&str]) -> (Place, Image) {
    let place = Place::new(user);
    let mut process = place.start(&Program::victim("rights").args(args));
    process.ready();
    let image = process.save();
    process.kill();
    (place, image)
}

fn is_root() -> bool {
    User::each().count() == 2
}

/// Restarts it by a command that ends in `myrestart`, and gives what the victim has printed of each of its threads.
#[track_caller]
fn shown(place: &Place, image: &Image, wrapper: &[&str], options: &[&str]) -> (i32, String) {
    place.write("restart.out", b"");
    place.write("restart.err", b"");
    let restart = image.command(options.iter().copied().chain(["--stdio=own"]));
    let mut command = place.command(&tool(wrapper[0]));
    command.args(&wrapper[1..]).arg(restart.get_program()).args(restart.get_args());
    command.stdout(place.output("restart.out")).stderr(place.output("restart.err"));
    place.release_all();
    let code = command.status().unwrap().code().unwrap_or(-1);
    (code, place.text("restart.out") + &place.text("restart.err"))
}

#[track_caller]
fn has(text: &str, field: &str, value: &str) {
    for who in ["main", "thread"] {
        let line = text.lines().find(|line| line.starts_with(&format!("{who} {field}:")));
        assert_eq!(line.map(|line| line.rsplit('\t').next().unwrap().trim()), Some(value), "{who}: {text}");
    }
}

#[test]
fn capabilities_that_were_given_up_stay_so() {
    if !is_root() {
        return; // nobody else has any
    }
    let (place, image) = saved(User::Myself, &["drop"]);
    let (code, text) = shown(&place, &image, &["env"], &[]);
    assert_eq!(code, 0, "{text}");
    for set in ["CapEff", "CapPrm", "CapInh", "CapAmb"] {
        has(&text, set, "0000000000000000");
    }
    let bounding = text.lines().find(|line| line.starts_with("main CapBnd:")).unwrap();
    let bounding = u64::from_str_radix(bounding.rsplit('\t').next().unwrap(), 16).unwrap();
    assert_eq!(bounding >> 22 & 1, 0, "CAP_SYS_BOOT is back: {text}");
    assert_ne!(bounding, 0, "{text}");
}

#[test]
fn groups_that_it_was_not_in_are_left_or_refused() {
    if !is_root() {
        return; // who has no privilege can choose no groups
    }
    let (place, image) = saved(User::Myself, &["groups"]);
    let (code, text) = shown(&place, &image, &["setpriv", "--groups=7,9"], &[]);
    assert_eq!(code, 0, "{text}");
    has(&text, "Groups", "7");
    let (code, text) = shown(&place, &image, &["setpriv", "--groups=7,9"], &["--force=privileges"]);
    assert_eq!(code, 0, "{text}");
    has(&text, "Groups", "7 9");

    let (place, _image) = saved(User::Nobody, &[]);
    let mut command = Command::new(tool("setpriv"));
    command.args(["--reuid=65534", "--regid=65534", "--groups=9"]).arg(place.artifact(Artifact::Restarter));
    command.current_dir(place.cwd()).arg("myckpt");
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(PERMISSION), "{said}");
    assert!(said.contains("in a group that the process was not in"), "{said}");
}

/// A restarter whose file has a capability keeps nothing of it, in no way of a restart, in no thread, and shows no other executable than its own.
#[test]
fn a_capability_of_the_restarters_file_ends_with_it() {
    if !is_root() {
        return; // only root can give a file a capability that counts
    }
    let (place, image) = saved(User::Nobody, &[]);
    let restarter = place.artifact(Artifact::Restarter);
    for options in ["", "--pid=new", "--pid=keep", "--pid=namespace"] {
        place.write("restart.out", b"");
        place.release_all();
        let script = format!(
            "set -e; mkdir -p mine; mount -t tmpfs -o mode=755 none mine; cp {} mine; \
             setcap cap_checkpoint_restore,cap_net_raw+ep mine/myrestart; \
             exec setpriv --reuid=65534 --regid=65534 --clear-groups mine/myrestart {options} --stdio=own myckpt",
            restarter.display()
        );
        let mut command = Command::new(tool("unshare"));
        command.args(["--mount", "sh", "-c", &script]).current_dir(place.cwd());
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.stdout(place.output("restart.out")).stderr(place.output("restart.err"));
        let status = command.status().unwrap();
        let text = place.text("restart.out") + &place.text("restart.err");
        assert!(status.success(), "{options}: {text}");
        for set in ["CapEff", "CapPrm", "CapInh", "CapAmb"] {
            has(&text, set, "0000000000000000");
        }
    }
    drop(image);
}

#[test]
fn a_signal_tells_of_a_restart() {
    harness::passes_by_itself(&Program::victim("rights").arg("hook"), User::ordinary());
    for user in User::each() {
        let place = Place::new(user);
        let mut process = place.start(&Program::victim("rights").arg("hook"));
        process.ready();
        process.generations(2).passes();
    }
}
