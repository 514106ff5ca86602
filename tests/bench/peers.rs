//! The same program saved and restarted by each tool that is installed, one after the other in each round.
//!
//! The program is a [`crate::ticker`]. A *pause* is its longest gap between two ticks during a save, a *restart* the time from the restart command's
//! start to the next tick. The program runs on after the save; it is killed before the restart.

use crate::clock::now;
use crate::options::Options;
use crate::place::{Place, built};
use crate::sample::Sample;
use crate::target::{self, own_path};
use crate::ticker::Board;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{Pid, setsid};
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What one tool needed for one program.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    /// Name of the tool and its mode.
    pub tool: &'static str,
    /// Longest gap during the save.
    pub pause: Sample,
    /// From the request to the end of the save.
    pub save: Sample,
    /// Bytes of the image.
    pub image: u64,
    /// From the restart command's start to the next tick.
    pub restart: Sample,
}

/// A tool under test.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tool {
    Ckpt,
    CkptLazy,
    Criu,
    Dmtcp,
}

impl Tool {
    const ALL: [Self; 4] = [Self::Ckpt, Self::CkptLazy, Self::Criu, Self::Dmtcp];

    fn name(self) -> &'static str {
        match self {
            Self::Ckpt => "ckpt",
            Self::CkptLazy => "ckpt --lazy",
            Self::Criu => "CRIU",
            Self::Dmtcp => "DMTCP --no-gzip",
        }
    }

    /// Whether it is there and says that it works on this machine.
    fn works(self) -> bool {
        match self {
            Self::Ckpt | Self::CkptLazy => true,
            Self::Criu => succeeds(Command::new("criu").arg("check")),
            Self::Dmtcp => succeeds(Command::new("dmtcp_launch").arg("--version")),
        }
    }

    /// Starts the program so that the tool can save it; returns its process id.
    fn start(self, memory: &str, place: &Place) -> Pid {
        let mut command = match self {
            Self::Dmtcp => {
                let mut command = Command::new("dmtcp_launch");
                command.args([
                    "--quiet",
                    "--new-coordinator",
                    "--coord-port",
                    "0",
                    "--no-gzip",
                    "--port-file",
                ]);
                command.arg(place.path().join("port")).arg("--ckptdir").arg(images(place)).arg(own_path());
                command
            }
            _ => Command::new(own_path()),
        };
        command.args(["ticker", memory]).arg(place.path().join("board"));
        if matches!(self, Self::Ckpt | Self::CkptLazy) {
            command.env("LD_PRELOAD", built("libckpt.so")).env("CKPT_IMAGE", images(place).join("image"));
        }
        alone(&mut command);
        Pid::from_raw(command.spawn().expect("the program").id() as i32)
    }

    /// Saves the program, and returns when the image is complete; whether that went well.
    fn save(self, pid: Pid, place: &Place) -> bool {
        match self {
            Self::Ckpt | Self::CkptLazy => {
                kill(pid, Signal::SIGUSR2).expect("kill");
                let image = images(place).join("image");
                let start = Instant::now();
                while !image.exists() {
                    assert!(start.elapsed() < Duration::from_secs(120), "no image");
                    std::thread::sleep(Duration::from_micros(200));
                }
                // The writer, an orphan.
                waitpid(None, Some(WaitPidFlag::__WALL)).is_ok()
            }
            Self::Criu => {
                let mut command = criu(place);
                succeeds(command.args(["--leave-running", "-t"]).arg(pid.to_string()))
            }
            Self::Dmtcp => succeeds(dmtcp_command(place).arg("--bcheckpoint")),
        }
    }

    /// Starts the command that restarts the program.
    fn restart(self, place: &Place) -> Child {
        let mut command = match self {
            Self::Ckpt | Self::CkptLazy => {
                let mut command = Command::new(built("myrestart"));
                command.args((self == Self::CkptLazy).then_some("--lazy")).arg(images(place).join("image"));
                command
            }
            Self::Criu => {
                let mut command = Command::new("criu");
                command.args(["restore", "-v0", "--restore-detached", "-D"]).arg(images(place));
                command.arg("--pidfile").arg(place.path().join("pid"));
                command
            }
            Self::Dmtcp => {
                let mut command = Command::new("dmtcp_restart");
                command.args(["--quiet", "--new-coordinator", "--coord-port", "0", "--port-file"]);
                command.arg(place.path().join("port")).args(files(&images(place), ".dmtcp"));
                command
            }
        };
        alone(&mut command);
        command.spawn().expect("the restart command")
    }

    /// The process id of the restarted program, when it runs. `None` when there is none.
    fn restarted(self, mut command: Child, place: &Place) -> Option<Pid> {
        let pid = if self == Self::Criu {
            let status = command.wait().expect("the restart command");
            let file = status.success().then(|| fs::read_to_string(place.path().join("pid")))?;
            file.expect("a file with a process id").trim().parse().expect("a process id")
        } else {
            command.id() as i32
        };
        Some(Pid::from_raw(pid))
    }

    /// Ends the program.
    fn end(self, pid: Pid, place: &Place) {
        if self == Self::Dmtcp {
            assert!(succeeds(dmtcp_command(place).arg("--quit")), "dmtcp_command --quit");
            // The program and the coordinator.
            while waitpid(None, Some(WaitPidFlag::__WALL)).is_ok() {}
        } else {
            target::end(pid);
        }
    }
}

/// Has every tool save and restart a program with the memory `memory`, in turns.
pub fn measure(options: &Options, memory: &str, rounds: usize) -> Vec<Peer> {
    // Short waits are to be short; the program inherits this.
    nix::sys::prctl::set_timerslack(1).expect("prctl");
    let works = Tool::ALL.into_iter().filter(|tool| tool.works());
    let mut peers: Vec<(Tool, Peer)> =
        works.map(|tool| (tool, Peer { tool: tool.name(), ..Peer::default() })).collect();
    // The first round warms up, where there are several.
    let warms_up = rounds > 1 && !options.tiny;
    for round in 0..rounds + usize::from(warms_up) {
        peers.retain_mut(|(tool, peer)| {
            let Some([pause, save, restart]) = once(*tool, memory, peer) else {
                assert!(!matches!(tool, Tool::Ckpt | Tool::CkptLazy), "{} failed with {memory}", tool.name());
                eprintln!("bench: {} failed with {memory}, and is left out", tool.name());
                return false;
            };
            if round > 0 || !warms_up {
                peer.pause.0.push(pause);
                peer.save.0.push(save);
                peer.restart.0.push(restart);
            }
            true
        });
    }
    peers.into_iter().map(|(_, peer)| peer).collect()
}

/// One save and one restart by one tool: pause, save and restart in nanoseconds. `None` when the tool fails.
fn once(tool: Tool, memory: &str, peer: &mut Peer) -> Option<[u64; 3]> {
    let place = Place::memory();
    fs::create_dir(images(&place)).expect("a directory for the image");
    let board = Board::open(&place.path().join("board"));
    let pid = tool.start(memory, &place);
    // The first one comes when the memory is there.
    board.ticks(20);
    board.begin();
    let before = now();
    let saved = tool.save(pid, &place);
    let save = now() - before;
    if !saved {
        tool.end(pid, &place);
        return None;
    }
    // The one that ended the pause may be the last.
    board.ticks(2);
    let pause = board.longest();
    peer.image =
        fs::read_dir(images(&place)).expect("a directory").map(|entry| size(&entry.expect("a file"))).sum();
    tool.end(pid, &place);
    let last = board.last();
    let before = now();
    let mut command = tool.restart(&place);
    let mut failed = || command.try_wait().is_ok_and(|ended| ended.is_some_and(|status| !status.success()));
    let restart = board.next(last, &mut failed)? - before;
    let pid = tool.restarted(command, &place)?;
    tool.end(pid, &place);
    Some([pause, save, restart])
}

fn size(entry: &fs::DirEntry) -> u64 {
    entry.metadata().expect("fstat").len()
}

/// Where a tool puts its image.
fn images(place: &Place) -> PathBuf {
    place.path().join("images")
}

/// The files of a directory whose names end in `end`.
fn files(directory: &Path, end: &str) -> Vec<PathBuf> {
    let paths = fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("a file").path());
    paths.filter(|path| path.to_string_lossy().ends_with(end)).collect()
}

fn criu(place: &Place) -> Command {
    let mut command = Command::new("criu");
    command.args(["dump", "-v0", "-D"]).arg(images(place));
    command
}

fn dmtcp_command(place: &Place) -> Command {
    let port = fs::read_to_string(place.path().join("port")).expect("the coordinator's port");
    let mut command = Command::new("dmtcp_command");
    command.args(["--quiet", "--coord-port", port.trim()]);
    command
}

/// A session of its own, and nothing open that belongs to somebody else: what every tool can save.
fn alone(command: &mut Command) {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // SAFETY: what runs between fork and exec makes two system calls.
    unsafe {
        command.pre_exec(|| {
            nix::libc::syscall(nix::libc::SYS_close_range, 3, u32::MAX, nix::libc::CLOSE_RANGE_CLOEXEC);
            setsid()?;
            Ok(())
        });
    }
}

fn succeeds(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
