//! Who runs the target: the checkpointer needs no privilege, and must not be confused by having it.

use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// A user that targets run as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum User {
    /// The one who runs the tests.
    Myself,
    /// An ordinary user (65534, no groups) where root runs the tests.
    Nobody,
}

impl User {
    /// Everybody a test has to run as: root and an ordinary user for root, and only itself for an ordinary user.
    pub fn each() -> impl Iterator<Item = User> {
        let root = Uid::effective().is_root();
        [User::Nobody, User::Myself].into_iter().skip(usize::from(!root))
    }

    /// The ordinary one.
    pub fn ordinary() -> User {
        if Uid::effective().is_root() { User::Nobody } else { User::Myself }
    }

    /// User and group id.
    pub fn ids(self) -> (u32, u32) {
        match self {
            User::Myself => (Uid::effective().as_raw(), Gid::effective().as_raw()),
            User::Nobody => (65534, 65534),
        }
    }

    /// Lets `command` run as this user, with no capability and no supplementary group of the one who runs the tests.
    pub fn run(self, command: &mut Command) {
        if self == User::Myself {
            return;
        }
        let (uid, gid) = self.ids();
        // SAFETY: three system calls between fork and exec; none allocates or takes a lock.
        unsafe {
            command.pre_exec(move || {
                setgroups(&[])?;
                let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
                setresgid(gid, gid, gid)?;
                setresuid(uid, uid, uid)?;
                Ok(())
            });
        }
    }
}
