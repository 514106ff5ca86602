//! Processes that are saved and restarted, seen from the driver.

use crate::clock::{now, wall};
use crate::place::{Place, built};
use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader, Write};
use std::num::NonZeroUsize;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// A victim, or a process restarted from its image. Killed when it is dropped.
pub struct Target {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// When it called execve(2), by [`wall`].
    pub executed: u64,
}

/// What one save took, in nanoseconds.
pub struct Saved {
    /// From the signal to the program's next instruction.
    pub stop: u64,
    /// From the signal to the image under its name.
    pub image: u64,
}

impl Target {
    /// This program as a victim.
    pub fn victim(memory: &str, place: &Place) -> Self {
        Self::victim_with(memory, place, &[])
    }

    /// The same, with more in its environment.
    pub fn victim_with(memory: &str, place: &Place, environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new(own_path());
        command.args(["victim", memory]).envs(environment.iter().copied());
        Self::preloaded(command, place)
    }

    /// A program that speaks the victim's language.
    pub fn preloaded(mut command: Command, place: &Place) -> Self {
        command.env("LD_PRELOAD", built("libckpt.so")).env("CKPT_IMAGE", place.image());
        Self::spawn(command)
    }

    /// A process made from the image of `place`, with options of `myrestart`; it is waited for by [`Target::resumed`].
    pub fn restart(place: &Place, options: &[&str]) -> Self {
        let mut command = Command::new(built("myrestart"));
        command.args(options).arg(place.image());
        Self::spawn(command)
    }

    fn spawn(mut command: Command) -> Self {
        let executed = executed();
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        // SAFETY: what runs between fork and exec makes a system call, reads a clock and stores a word.
        unsafe {
            command.pre_exec(|| {
                // A descriptor that this process got from its own parent is none of the target's.
                nix::libc::syscall(nix::libc::SYS_close_range, 3, u32::MAX, nix::libc::CLOSE_RANGE_CLOEXEC);
                executed.store(wall(), Ordering::Relaxed);
                Ok(())
            });
        }
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, input, output, executed: executed.load(Ordering::Relaxed) }
    }

    /// Its process id; after a restart that is not `--pid=new`, it may be that of the stand-in of `myrestart`, the process's parent.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a command, and waits for the answer.
    pub fn ask(&mut self, command: &str) -> Vec<u64> {
        writeln!(self.input, "{command}").expect("a victim that reads");
        self.hear()
    }

    /// Waits for a line of numbers.
    pub fn hear(&mut self) -> Vec<u64> {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("a victim that writes");
        assert!(!line.is_empty(), "the victim ended: {:?}", self.child.wait());
        line.split_whitespace().map(|word| word.parse().expect("a number")).collect()
    }

    /// Waits until a restarted process runs: nanoseconds from execve(2) to its next instruction.
    pub fn resumed(&mut self) -> u64 {
        match self.hear()[..] {
            [1, back] => back - self.executed,
            ref other => panic!("not the answer of a restarted process: {other:?}"),
        }
    }

    /// Has it saved, and waits until the image is there and its writer is gone.
    pub fn save(&mut self, place: &Place) -> Saved {
        place.clear();
        let appeared = watch(place);
        let [0, sent, back] = self.ask("stop")[..] else { panic!("not the answer of the victim") };
        let there = appeared.recv_timeout(Duration::from_secs(120)).expect("an image");
        self.reap_writer();
        Saved { stop: back - sent, image: there - sent }
    }

    /// Has it save in the foreground: nanoseconds from the signal to its next instruction, when the image is there.
    pub fn save_here(&mut self, place: &Place) -> u64 {
        place.clear();
        let [0, sent, back] = self.ask("stop")[..] else { panic!("not the answer of the victim") };
        assert!(place.image().exists(), "the program went on before the image was there");
        back - sent
    }

    /// Waits for the process that wrote the image: an orphan, and so a child of this process.
    pub fn reap_writer(&self) {
        match waitpid(None, Some(WaitPidFlag::__WALL)) {
            Ok(WaitStatus::Exited(pid, 0)) if pid.as_raw() as u32 != self.pid() => {}
            Err(Errno::ECHILD) => panic!("the victim is gone"),
            other => panic!("the writer, or the victim, ended with {other:?}"),
        }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        end(Pid::from_raw(self.pid() as i32));
    }
}

/// Kills a child and waits for it. After a restart it may be the stand-in of `myrestart`: the program and its guard end with it and become children
/// of this process, where nobody must take them for a writer.
pub fn end(pid: Pid) {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children: Vec<i32> =
        children.split_whitespace().map(|id| id.parse().expect("a process id")).collect();
    for id in std::iter::once(pid).chain(children.into_iter().map(Pid::from_raw)) {
        // Each by itself: what becomes of a program whose stand-in is killed is not what is measured here.
        let _ = kill(id, Signal::SIGKILL);
        let _ = waitpid(id, Some(WaitPidFlag::__WALL));
    }
}

/// Says when a file gets the name of the image of `place`.
fn watch(place: &Place) -> Receiver<u64> {
    let (tell, told) = channel();
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC).expect("inotify");
    inotify.add_watch(place.path(), AddWatchFlags::IN_MOVED_TO).expect("inotify");
    let name = place.image().file_name().map(ToOwned::to_owned);
    std::thread::spawn(move || {
        while let Ok(events) = inotify.read_events() {
            let time = now();
            if events.iter().any(|event| event.name == name) {
                let _ = tell.send(time);
                return;
            }
        }
    });
    told
}

/// A word that this process shares with its children.
fn executed() -> &'static AtomicU64 {
    static PAGE: OnceLock<usize> = OnceLock::new();
    let page = PAGE.get_or_init(|| {
        let len = NonZeroUsize::new(crate::memory::PAGE).unwrap();
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping, at an address of the kernel's choice.
        unsafe { mmap_anonymous(None, len, protection, MapFlags::MAP_SHARED) }.expect("mmap").as_ptr()
            as usize
    });
    // SAFETY: a page of zeros, which is never unmapped.
    unsafe { &*(*page as *const AtomicU64) }
}

/// This program.
pub fn own_path() -> PathBuf {
    std::env::current_exe().expect("the path of this program")
}

/// Makes orphans of victims children of this process.
pub fn adopt_orphans() {
    nix::sys::prctl::set_child_subreaper(true).expect("prctl");
}
