//! `make check-systems`: what a machine can run out of, on real file systems and with a real memory limit. Needs root, loop devices, FUSE, btrfs and
//! memory cgroups, and fails by name where one of them is missing.

use crate::obstacles::refused;
use harness::{Artifact, Place, Process, Program, User, tool, wait, waves};
use nix::unistd::Uid;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Who the program is: mounting is root's, everything else is not.
const NOBODY: &str = "setpriv --reuid=65534 --regid=65534 --clear-groups";

/// Fails unless the machine has this.
#[track_caller]
fn needs(file: &str, what: &str) {
    assert!(Uid::effective().is_root(), "make check-systems mounts file systems: run it as root");
    assert!(Path::new(file).exists(), "make check-systems needs {what}: there is no {file} on this machine");
}

/// Starts a victim in a new file system in a file, in a mount namespace of its own, and so unmounted when it ends. `setup` can refer to the mount point
/// as `small`.
fn in_a_file_system(place: &Place, kind: &str, megabytes: u64, setup: &str, victim: &Program) -> Process {
    needs("/dev/loop-control", "loop devices");
    let file = fs::File::create(place.file("disk")).unwrap();
    file.set_len(megabytes << 20).unwrap();
    let made =
        Command::new(tool(&format!("mkfs.{kind}"))).arg("-q").arg(place.file("disk")).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let library = place.artifact(Artifact::Library);
    let script = format!(
        "set -e; mkdir small; mount -t {kind} -o loop disk small; {setup}; chown 65534 small; cd small; \
         exec {NOBODY} env LD_PRELOAD={} {} {}",
        library.display(),
        place.cwd().join(place.executable(victim)).display(),
        victim.args.iter().map(|arg| arg.to_str().unwrap()).collect::<Vec<_>>().join(" ")
    );
    let unshare = Program::tool("unshare").without_preload().arg("--mount").args(["sh", "-c", &script]);
    let path = "/usr/sbin:/usr/bin:/sbin:/bin";
    // The victim maps it for writing.
    fs::set_permissions(place.file("control"), std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    place.start(&unshare.env("PATH", path))
}

#[test]
#[ignore = "mounts: make check-systems"]
fn a_quota_that_is_reached_is_told() {
    tool("btrfs");
    let place = Place::new(User::Myself);
    let quota = "btrfs quota enable small >/dev/null; btrfs qgroup limit 40M small";
    let victim = Program::victim("save_fails").arg("memory");
    refused(in_a_file_system(&place, "btrfs", 160, quota, &victim), "", "EDQUOT");
}

#[test]
#[ignore = "mounts: make check-systems"]
fn a_disk_that_is_full_is_told() {
    let place = Place::new(User::Myself);
    let victim = Program::victim("save_fails").arg("memory");
    refused(in_a_file_system(&place, "ext4", 40, "true", &victim), "", "ENOSPC");
}

/// A memory cgroup.
struct Group {
    folder: PathBuf,
    /// Of the first version.
    is_old: bool,
}

impl Group {
    #[track_caller]
    fn new(name: &str) -> Self {
        let top = Path::new("/sys/fs/cgroup");
        let is_old = top.join("memory").is_dir();
        let base = if is_old { top.join("memory") } else { top.to_owned() };
        needs(base.join("cgroup.procs").to_str().unwrap(), "memory cgroups");
        let folder = base.join(format!("ckpt-test-{name}-{}", std::process::id()));
        fs::create_dir(&folder).unwrap_or_else(|e| panic!("make check-systems makes memory cgroups: {e}"));
        let group = Self { folder, is_old };
        assert!(group.usage().is_some(), "make check-systems needs the memory controller of cgroups");
        group
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.join(name)).unwrap_or_default()
    }

    /// Bytes in use.
    fn usage(&self) -> Option<u64> {
        self.read(if self.is_old { "memory.usage_in_bytes" } else { "memory.current" }).trim().parse().ok()
    }

    /// Lets what is in use now be nine tenths of all that there is.
    fn limit(&self) {
        let limit = self.usage().unwrap() * 10 / 9;
        let name = if self.is_old { "memory.limit_in_bytes" } else { "memory.max" };
        fs::write(self.folder.join(name), limit.to_string()).unwrap();
        if !self.is_old {
            // Else memory would go there.
            let _ = fs::write(self.folder.join("memory.swap.max"), "0");
        }
    }

    /// How many processes the kernel has ended for want of memory.
    fn ended(&self) -> u64 {
        let text = self.read(if self.is_old { "memory.oom_control" } else { "memory.events" });
        text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok()).expect("oom_kill")
    }

    /// What a shell says to become part of it.
    fn enter(&self) -> String {
        format!("echo $$ > {}/cgroup.procs", self.folder.display())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // As soon as nobody is in it.
        wait(|| fs::remove_dir(&self.folder).ok());
    }
}

#[test]
#[ignore = "cgroups: make check-systems"]
fn a_memory_limit_that_is_almost_reached_is_no_obstacle() {
    let group = Group::new("disk");
    let place = Place::new(User::Myself);
    let victim = Program::victim("waves").arg("large");
    let mut process = in_a_file_system(&place, "ext4", 200, &group.enter(), &victim);
    process.ready();
    process.image = format!("/proc/{}/cwd/myckpt", process.pid()).into();
    group.limit();
    for _ in 0..3 {
        process.save();
        waves::go_on(&mut process, 1);
    }
    assert_eq!((group.ended(), place.text("err").as_str()), (0, ""));
    // The file system goes with the program.
    fs::copy(&process.image, place.file("myckpt")).unwrap();
    process.image = "myckpt".into();
    let image = process.image_of_save();
    process.kill();
    waves::forget(&place);
    // It is nobody's; the restart is root's.
    waves::go_on(&mut image.restart_with(&["--force=owner,user,paths"]), 1);
}

#[test]
#[ignore = "cgroups: make check-systems"]
fn a_memory_limit_that_an_image_exceeds_ends_the_writer_and_not_the_program() {
    let group = Group::new("tmpfs");
    let place = Place::new(User::Nobody);
    let library = place.artifact(Artifact::Library);
    let victim = Program::victim("waves");
    let script = format!(
        "{}; exec {NOBODY} env LD_PRELOAD={} {} large",
        group.enter(),
        library.display(),
        place.cwd().join(place.executable(&victim)).display()
    );
    let mut command = Place::new(User::Myself).command(&tool("sh"));
    command.current_dir(place.cwd()).env("VICTIM_DIR", place.cwd()).args(["-c", &script]);
    command.stdout(place.output("out")).stderr(place.output("err"));
    let mut process = Process::spawn(&place, command);
    process.ready();
    // It is on a tmpfs, and counts.
    let image = process.save();
    let bytes = fs::read(&image.path).unwrap();
    group.limit();
    for count in 1..=3 {
        process.send(process.signal);
        process.until("the end of a writer", |this| {
            group.ended() >= count && !this.is_asked() && this.companions().is_empty()
        });
        waves::go_on(&mut process, 1);
        assert!(fs::read(&image.path).unwrap() == bytes, "the previous image has changed");
    }
    process.kill();
    waves::forget(&place);
    waves::go_on(&mut image.restart(), 1);
}

/// A directory that is shown by a file system in user space; unmounted when it is dropped.
struct Shown(PathBuf);

impl Shown {
    fn new(place: &Place) -> Self {
        needs("/dev/fuse", "FUSE");
        for name in ["shown", "behind"] {
            fs::create_dir(place.file(name)).unwrap();
            place.own(&place.file(name));
        }
        let output =
            Command::new(tool("bindfs")).args([place.file("behind"), place.file("shown")]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        Self(place.file("shown"))
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        // As soon as nobody has a file of it.
        wait(|| Command::new(tool("umount")).arg(&self.0).status().ok().filter(|status| status.success()));
    }
}

#[test]
#[ignore = "FUSE: make check-systems"]
fn images_on_a_file_system_in_user_space() {
    for user in User::each() {
        let place = Place::new(user);
        let shown = Shown::new(&place);
        let mut process = place.start(&Program::victim("quiet").env("CKPT_IMAGE", "shown/myckpt"));
        process.ready();
        process.save();
        let image = process.save();
        wait(|| process.companions().is_empty().then_some(())).expect("the end of the writer");
        let names = fs::read_dir(place.file("behind")).unwrap().count();
        assert_eq!(names, 1, "more than the image is left");
        process.kill();
        // Its pages could go away.
        assert!(image.refused(&["--lazy"]).1.contains("--lazy"));
        place.write("restart.err", b"");
        image.restart().passes();
        drop(shown);
    }
}
