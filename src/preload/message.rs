//! What a save can say: one line, with the thing, the cause and what to do.

use crate::config;
use sys::Errno;
use sys::line::Line;

/// Why there is no image.
#[derive(Clone, Copy, Debug)]
pub enum Failure {
    /// No memory for tables.
    Scratch(Errno),
    /// A text of `/proc` could not be read.
    Proc(&'static str, Errno),
    /// A text of `/proc` was not of the form that proc(5) documents.
    ProcText(&'static str),
    /// A system call that asks for state failed.
    Ask(&'static str, Errno),
    /// The image's directory could not be opened.
    Directory(Errno),
    /// The temporary file could not be made.
    Create(Errno),
    /// It could not be written.
    Write(Errno),
    /// It could not be synced.
    Sync(Errno),
    /// The image has its name, but its directory could not be synced.
    SyncDirectory(Errno),
    /// It could not be renamed.
    Rename(Errno),
    /// `CKPT_IMAGE` is a command that has the name of the program in its text.
    CommandName,
    /// It is a command, and whoever started the program may not be whoever set it.
    CommandOfOthers,
    /// The command of `CKPT_IMAGE` could not be run.
    Command(Errno),
    /// It ended with this wait status.
    CommandFailed(i32),
    /// The helper or the writer got the signal of a fault, at this address of its code.
    Fault(u32, u64),
    /// The writer has used the CPU for minutes and done nothing, at this address of its code.
    Stuck(u64),
    /// The image's name is longer than a path can be.
    NameTooLong,
    /// The program was killed while it stood still.
    Killed,
    /// The writer ended before it had said anything.
    WriterDied,
    /// The other threads could not be stopped.
    Threads(ThreadTrouble),
    /// A descriptor that cannot be restored.
    Descriptor(i32, Kind),
    /// Something of a thread, by its id and name, that cannot be restored.
    Thread(u32, [u8; 16], Kind),
    /// A region that cannot be restored.
    Region(u64, Kind),
    /// Something of the process that cannot be restored.
    Process(Kind),
    /// The image that is there is that of another process, which runs.
    Others(u32),
    /// Nobody can tell whose the file is that has the image's name.
    Unreadable(Errno),
    /// `CKPT_IMAGE` is a command, and meant for another process, which runs.
    InheritedCommand(u32),
    /// A child, by its id and name.
    Child(u32, [u8; 16], Child),
}

/// What something is, and what to do about it.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// "a connected TCP socket"
    pub what: &'static str,
    /// "close it before the save"
    pub advice: &'static str,
}

/// What a child is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Child {
    /// It runs, or is stopped.
    Lives,
    /// It has ended, and the program has not waited for it.
    Ended,
    /// It is none, but a process that the program traces; or `/proc` does not show it. There is no id.
    Unseen,
}

/// Why threads could not be stopped.
#[derive(Clone, Copy, Debug)]
pub enum ThreadTrouble {
    /// More came than there was room for.
    TooMany,
    /// All are on their way out.
    Ending,
    /// `/proc` shows other processes under their numbers.
    Unseen,
    /// One did not come: its id, state (proc_pid_stat(5)) and name.
    Stuck {
        /// Id.
        tid: u32,
        /// State letter.
        state: u8,
        /// Name, padded with NULs.
        comm: [u8; 16],
    },
}

/// Appends what CKPT_IMAGE is: who reads the line need not be who started the program.
fn present_image<const N: usize>(line: &mut Line<N>) {
    line.text(" (it is ").escaped(config::get().image()).text(")");
}

impl Failure {
    /// Whether the program is one that cannot be saved as it is now, rather than something having gone wrong.
    pub fn is_refusal(self) -> bool {
        matches!(
            self,
            Self::Threads(_)
                | Self::Descriptor(..)
                | Self::Thread(..)
                | Self::Region(..)
                | Self::Process(_)
                | Self::Child(..)
                | Self::Others(_)
                | Self::Unreadable(_)
                | Self::InheritedCommand(_)
        )
    }

    /// Appends the thing, the cause and what to do.
    pub fn describe<const N: usize>(self, line: &mut Line<N>) {
        let errno = |line: &mut Line<N>, what: &str, errno: Errno, advice: &str| {
            line.text(what).text(": ").errno(errno).text("; ").text(advice);
        };
        match self {
            Self::Scratch(e) => {
                errno(line, "memory for tables", e, "raise the memory limits (ulimit -v, ulimit -l)");
            }
            Self::Proc(name, e) => {
                errno(line, name, e, "a save needs /proc of this process, mounted and readable");
            }
            Self::ProcText(name) => {
                line.text(name)
                    .text(": not in the form of proc(5); please report it with the kernel's version");
            }
            Self::Ask(what, e) => errno(line, what, e, "the kernel or a seccomp filter refuses it"),
            Self::Directory(e) => {
                errno(line, "directory of the image", e, "set CKPT_IMAGE to a writable place");
                present_image(line);
            }
            Self::Create(e) => {
                errno(line, "temporary file beside the image", e, "set CKPT_IMAGE to a writable place");
                present_image(line);
            }
            Self::Write(Errno::EPIPE) if config::get().image().starts_with(b"|") => {
                line.text(
                    "the command of CKPT_IMAGE has ended before it had read the image; see what it says",
                );
                present_image(line);
            }
            Self::Write(e) => {
                errno(line, "writing the image", e, "free some space or set CKPT_IMAGE to another place");
                present_image(line);
            }
            Self::Sync(e) => errno(line, "syncing the image", e, "look at the file system's health"),
            Self::SyncDirectory(e) => errno(
                line,
                "the new image is there, but may not outlast a power cut: syncing its directory",
                e,
                "look at the file system's health",
            ),
            Self::Rename(e) => {
                errno(line, "renaming the image into place", e, "set CKPT_IMAGE to a file's name");
                present_image(line);
            }
            Self::CommandName => {
                line.text("CKPT_IMAGE is a command with %e; write \"$CKPT_NAME\" in it instead");
            }
            Self::CommandOfOthers => {
                line.text("CKPT_IMAGE is a command, and libckpt.so was not loaded by LD_PRELOAD, so that another user may have set it; start the program with ckpt run");
            }
            Self::Command(e) => {
                errno(line, "running the command of CKPT_IMAGE", e, "raise the process limit (ulimit -u)");
            }
            Self::CommandFailed(status) if status & 0x7f == 0 => {
                line.text("the command of CKPT_IMAGE ended with code ").int(i64::from(status >> 8));
                line.text("; what it has written is no image");
            }
            Self::CommandFailed(status) => {
                line.text("the command of CKPT_IMAGE ended by signal ").int(i64::from(status & 0x7f));
                line.text("; what it has written is no image");
            }
            Self::Fault(signal, ip) => {
                line.text("a fault while saving (signal ").dec(u64::from(signal)).text(" at ").hex(ip);
                line.text("); was a mapped file cut short meanwhile? if not, please report it");
            }
            Self::Stuck(ip) => {
                line.text("the writer makes no progress (at ").hex(ip).text("); please report it");
            }
            Self::NameTooLong => {
                line.text("CKPT_IMAGE: the expanded name is longer than 4095 bytes; use a shorter one");
            }
            Self::Killed => {
                line.text("the program was killed meanwhile; restart it from its previous image");
            }
            Self::WriterDied => {
                line.text("the writer was killed; look for the out-of-memory killer in the kernel's log");
            }
            Self::Threads(ThreadTrouble::TooMany) => {
                line.text("the program starts threads faster than they can be stopped; save again");
            }
            Self::Threads(ThreadTrouble::Unseen) => {
                line.text("the program has threads, and /proc is that of another PID namespace; mount its own on /proc");
            }
            Self::Threads(ThreadTrouble::Ending) => {
                line.text("the program is about to end; save earlier");
            }
            Self::Threads(ThreadTrouble::Stuck { tid, state, comm }) => {
                thread(line, tid, &comm);
                line.text(" does not stop; it ");
                line.text(match state {
                    b'D' => "waits in a system call that signals do not interrupt (a vfork, or a file system); save again later",
                    b'Z' => "has ended but is the first one of the process, which cannot be restored",
                    b'T' | b't' => "is stopped by a debugger or a signal; continue it first",
                    _ => "blocks every signal; save again when it does not",
                });
            }
            Self::Descriptor(fd, kind) => {
                line.text("descriptor ")
                    .int(i64::from(fd))
                    .text(" is ")
                    .text(kind.what)
                    .text("; ")
                    .text(kind.advice);
            }
            Self::Thread(tid, comm, kind) => {
                thread(line, tid, &comm);
                line.text(" has ").text(kind.what).text("; ").text(kind.advice);
            }
            Self::Region(addr, kind) => {
                line.text("the memory at ")
                    .hex(addr)
                    .text(" is ")
                    .text(kind.what)
                    .text("; ")
                    .text(kind.advice);
            }
            Self::Others(pid) => {
                line.text("the image is that of process ").dec(u64::from(pid));
                line.text(
                    ", which still runs; set CKPT_IMAGE to a name of its own, with %p in it for instance",
                );
                present_image(line);
            }
            Self::Unreadable(e) => {
                errno(
                    line,
                    "the file that has the image's name, and may be another process's image",
                    e,
                    "remove it or set CKPT_IMAGE to another name",
                );
                present_image(line);
            }
            Self::InheritedCommand(pid) => {
                line.text("the command of CKPT_IMAGE is that of process ").dec(u64::from(pid));
                line.text(", which still runs; put %p into it");
                present_image(line);
            }
            Self::Child(_, _, Child::Unseen) => {
                line.text("a child that /proc does not show, or a process that it traces, would not be in the image; ");
                line.text(WITHOUT_CHILDREN);
            }
            Self::Child(pid, comm, child) => {
                line.text("its child ").dec(u64::from(pid)).text(" (").quoted(until_nul(&comm));
                line.text(match child {
                    Child::Ended => ") has ended, and its exit status, for which the program has not waited, would not be in the image; ",
                    _ => ") would not be in the image; ",
                });
                line.text(WITHOUT_CHILDREN);
            }
            Self::Process(kind) => {
                line.text("the process has ").text(kind.what).text("; ").text(kind.advice);
            }
        }
    }
}

/// What to do about a child.
const WITHOUT_CHILDREN: &str =
    "save when the program has waited for it, or start the program with CKPT_CHILDREN=ignore";

/// Appends a thread's id and name.
fn thread<const N: usize>(line: &mut Line<N>, tid: u32, comm: &[u8; 16]) {
    line.text("thread ").dec(u64::from(tid)).text(" (").quoted(until_nul(comm)).text(")");
}

/// The name of a thread.
fn until_nul(comm: &[u8; 16]) -> &[u8] {
    comm.iter().position(|byte| *byte == 0).and_then(|end| comm.get(..end)).unwrap_or(comm)
}
