//! The writers of a process: the copies of it that write its images.

use crate::{Process, wait};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;

impl Process {
    /// Those that are at work.
    pub fn writers(&self) -> BTreeSet<i32> {
        let is_writer = |pid: &i32| {
            fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "ckpt-writer\n")
        };
        self.companions().into_iter().filter(is_writer).collect()
    }

    /// Sends it the signal that asks for a save.
    pub fn ask(&mut self) {
        self.send(self.signal);
    }

    /// Asks for a save, and stops its writer before it has given the image its name.
    #[track_caller]
    pub fn catch_writer(&mut self, mut ask: impl FnMut(&mut Self)) -> i32 {
        for _ in 0..50 {
            let before = self.image_inode();
            // Of an earlier save: it may not have ended yet, though its image is there.
            let others = self.writers();
            ask(self);
            let caught = wait(|| {
                let found = self.writers().difference(&others).next().copied();
                (found.is_some() || self.image_inode() != before).then_some(found)
            });
            if let Some(Some(pid)) = caught
                && kill(Pid::from_raw(pid), Signal::SIGSTOP).is_ok()
            {
                let stopped = wait(|| match fs::read_to_string(format!("/proc/{pid}/stat")) {
                    Ok(stat) if stat.contains(") T ") => Some(true),
                    Ok(stat) if !stat.contains(") Z ") => None,
                    _ => Some(false),
                });
                if stopped == Some(true) && self.image_inode() == before {
                    return pid;
                }
                let _ = kill(Pid::from_raw(pid), Signal::SIGCONT);
            }
            self.until_alone();
        }
        self.fail("no writer was caught at work")
    }

    /// What tells an image from the one before it.
    pub fn image_inode(&self) -> Option<u64> {
        fs::metadata(self.place.file(&self.image)).ok().map(|file| file.ino())
    }

    /// Waits until nothing of a save is left to be done, and nobody but the program is there.
    #[track_caller]
    pub fn until_alone(&mut self) {
        self.until("the end of all saves", |this| {
            !this.is_asked() && !this.blocks_all() && this.companions().is_empty()
        });
    }
}
