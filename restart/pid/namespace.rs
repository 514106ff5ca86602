//! PID, mount and time namespaces of the process, in a user namespace where it needs one.
//!
//! They are made by a launcher, a child of the stand-in that hands the init and the process to it as children (CLONE_PARENT), and ends. So the stand-in stays
//! in the namespaces that it is in, with all that it may do there, whether this succeeds or not.

use super::init::{self, Init};
use super::stand_in::{News, read, tell};
use super::why::{Step, Why};
use super::{close, guard::Guard};
use crate::plan::clocks::Ahead;
use crate::probe;
use core::ffi::CStr;
use image::format::{Process, Time};
use image::number;
use sys::Errno;
use sys::fd::open_flag;
use sys::line::Line;
use sys::process::{self, capability, namespace};
use sys::time::clock;

/// What is there before the launcher is.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How far it has come: from launcher and process to the stand-in.
    verdict: [i32; 2],
    /// From the stand-in to the init.
    word: [i32; 2],
    /// And back.
    answer: [i32; 2],
    /// For a process that is its own init.
    guard: Option<Guard>,
    process: Process,
}

/// What came of it, in the process.
#[derive(Clone, Copy, Debug)]
pub struct Entered {
    /// It is in a user namespace of its own.
    pub user: bool,
    /// Its clocks go on.
    pub clocks: bool,
}

impl Plan {
    /// Makes the pipes.
    pub fn new(process: &Process) -> Result<Self, Why> {
        let pipe = || sys::fd::pipe(open_flag::CLOEXEC).map_err(|errno| Why::refused(Step::Pipe, errno));
        let guard = if process.pid == 1 { Some(Guard::start()?) } else { None };
        Ok(Self { verdict: pipe()?, word: pipe()?, answer: pipe()?, guard, process: *process })
    }

    /// Where the news come from.
    pub fn verdict(&self) -> [i32; 2] {
        self.verdict
    }

    /// The guard of a process that is its own init.
    pub fn guard(&self) -> Option<Guard> {
        self.guard
    }

    /// The stand-in's side of the init `id`.
    pub fn init(&self, id: u32) -> Init {
        Init { id, word: self.word[1], answer: self.answer[0] }
    }

    /// In the stand-in: lets go of what is for others.
    pub fn keep_own(&self) {
        for end in [self.verdict[1], self.word[0], self.answer[1]] {
            let _ = sys::fd::close(end);
        }
    }

    /// Undoes [`Plan::new`].
    pub fn undo(self) {
        for pipe in [self.verdict, self.word, self.answer] {
            close(pipe);
        }
        if let Some(guard) = self.guard {
            guard.dismiss();
        }
    }

    /// What the launcher does. Comes back in the process that it has made, which has the id of the image and is the stand-in's child.
    pub fn launch(&self) -> Entered {
        match self.enter() {
            Ok(entered) => {
                close(self.word);
                close(self.answer);
                if let Some(guard) = self.guard {
                    guard.leave();
                }
                entered
            }
            Err(why) => {
                tell(self.verdict[1], News::Failed(why));
                process::exit_group(0)
            }
        }
    }

    fn enter(&self) -> Result<Entered, Why> {
        let (user, has_time) = unshare()?;
        let clocks = has_time && self.set_clocks().is_ok();
        let id = self.process.pid;
        if id != 1 {
            // SAFETY: there is one thread; the child does nothing but what `init::run` says.
            match unsafe { process::fork_sibling() }.map_err(|errno| Why::refused(Step::Clone, errno))? {
                0 => init::run(self.word[0], self.answer[1], id),
                init => tell(self.verdict[1], News::Init(init)),
            }
        }
        match self.fork_process(id)? {
            0 => Ok(Entered { user, clocks }),
            child => {
                tell(self.verdict[1], News::Program(child));
                process::exit_group(0)
            }
        }
    }

    /// The process, as a child of the stand-in.
    fn fork_process(&self, id: u32) -> Result<u32, Why> {
        let lost = |errno| Why::lost(crate::crew::Lost::Refused(id, errno), true);
        if id == 1 {
            // SAFETY: there is one thread; the child goes on from here as its parent would have.
            return unsafe { process::fork_sibling() }.map_err(|errno| Why::refused(Step::Clone, errno));
        }
        // SAFETY: as above.
        match unsafe { process::fork_sibling_as(id) } {
            Err(errno @ (Errno::ENOSYS | Errno::E2BIG)) => {
                let mut done = [0];
                let _ = sys::fd::write(self.word[1], &[init::REACH]);
                // Not to wait for an answer that cannot come.
                let _ = sys::fd::close(self.answer[1]);
                if read(self.answer[0], &mut done) != 1 || done != [1] {
                    return Err(lost(errno));
                }
                // SAFETY: as above.
                let child =
                    unsafe { process::fork_sibling() }.map_err(|errno| Why::refused(Step::Clone, errno))?;
                if child == 0 && process::pid() != id {
                    return Err(Why::lost(crate::crew::Lost::Passed(id), false));
                }
                Ok(child)
            }
            other => other.map_err(lost),
        }
    }

    /// CLOCK_MONOTONIC and CLOCK_BOOTTIME of the namespace go on from what they were: what they differ by now is added to what they differ by in the present one.
    fn set_clocks(&self) -> Result<(), Errno> {
        let ahead =
            Ahead::new(&self.process, sys::time::now(clock::MONOTONIC), sys::time::now(clock::BOOTTIME));
        let mut text = [0u8; 256];
        let offsets = probe::proc_text(b"/proc/self/timens_offsets\0", &mut text).ok_or(Errno::ENOENT)?;
        let mut line = Line::<128>::new();
        for (name, ahead) in [("monotonic", ahead.monotonic), ("boottime", ahead.boottime)] {
            let Time { sec, frac } = sum(offset(offsets, name.as_bytes()), ahead);
            line.text(name).text(" ").int(sec).text(" ").int(frac).text("\n");
        }
        probe::write_proc(c"/proc/self/timens_offsets", line.as_bytes())
    }
}

/// What `/proc/PID/timens_offsets` (time_namespaces(7)) says of a clock.
fn offset(text: &[u8], name: &[u8]) -> Time {
    let line = text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(name));
    let numbers = line.and_then(|line| {
        let (sec, rest) = number::take_signed(line.trim_ascii_start())?;
        let (frac, _) = number::take_signed(rest.trim_ascii_start())?;
        Some(Time { sec, frac })
    });
    numbers.unwrap_or_default()
}

/// A time and some nanoseconds, with a fraction from zero on.
fn sum(time: Time, nanoseconds: i64) -> Time {
    const SECOND: i64 = 1_000_000_000;
    let frac = time.frac.saturating_add(nanoseconds.rem_euclid(SECOND));
    let sec = time.sec.saturating_add(nanoseconds.div_euclid(SECOND));
    Time { sec: sec.saturating_add(frac.div_euclid(SECOND)), frac: frac.rem_euclid(SECOND) }
}

/// Namespaces for children: whether there is a user namespace among them, and whether there is a time namespace.
fn unshare() -> Result<(bool, bool), Why> {
    let capabilities = process::capabilities().unwrap_or(0);
    let privileged =
        [capability::SYS_ADMIN, capability::SYS_TIME].iter().all(|number| capabilities >> number & 1 != 0);
    // Without the clocks on kernels that have no such namespace.
    let most = namespace::PID | namespace::TIME;
    if privileged {
        for flags in [most, namespace::PID] {
            if process::unshare(flags).is_ok() {
                return Ok((false, flags == most));
            }
        }
    }
    // Asked now: in the new namespace they have no names yet.
    let (user, group) = (process::effective_uid(), process::effective_gid());
    // The files of /proc/self belong to root for a program that its user may not read.
    process::set_dumpable(1);
    let has_time = match process::unshare(namespace::USER | most) {
        Ok(()) => true,
        Err(_) => {
            process::unshare(namespace::USER | namespace::PID)
                .map_err(|errno| Why::refused(Step::User, errno))?;
            false
        }
    };
    map_ids(user, group).map_err(|errno| Why::refused(Step::Map, errno))?;
    Ok((true, has_time))
}

/// The user and the group stay what they are.
fn map_ids(user: u32, group: u32) -> Result<(), Errno> {
    let map = |file: &CStr, id: u32| {
        let mut line = Line::<32>::new();
        line.dec(u64::from(id)).text(" ").dec(u64::from(id)).text(" 1\n");
        probe::write_proc(file, line.as_bytes())
    };
    map(c"/proc/self/uid_map", user)?;
    // Who could leave a group by setgroups(2) could get at what is forbidden to that group.
    probe::write_proc(c"/proc/self/setgroups", b"deny")?;
    map(c"/proc/self/gid_map", group)
}

/// In the process: a `/proc` in which it finds itself under its number, in a mount namespace of its own. Those who enter that of the stand-in
/// (`podman exec`) find the `/proc` that they have always had.
pub fn own_proc() -> Result<(), Why> {
    process::unshare(namespace::MOUNT)
        .and_then(|()| process::mount_proc())
        .map_err(|errno| Why::refused(Step::Proc, errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_read_and_added_to() {
        let text = b"monotonic    -5         7\nboottime      1728000         999999999\n";
        assert_eq!(offset(text, b"monotonic"), Time { sec: -5, frac: 7 });
        let boottime = offset(text, b"boottime");
        assert_eq!(sum(boottime, 1), Time { sec: 1_728_001, frac: 0 });
        assert_eq!(sum(boottime, -1_000_000_000), Time { sec: 1_727_999, frac: 999_999_999 });
        assert_eq!(sum(Time::default(), -1), Time { sec: -1, frac: 999_999_999 });
        assert_eq!(offset(b"", b"boottime"), Time::default());
    }
}
