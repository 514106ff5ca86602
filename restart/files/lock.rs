//! Locks and the receivers of signals: set when every descriptor is in its place, because closing a file releases the record locks on it.

use crate::exit::Result;
use crate::op::Op;
use crate::plan::Builder;
use image::format::{Lock, OpenFile, file_kind};
use sys::Sysno;
use sys::descriptor::{OWNER_GROUP, Owner, RecordLock};
use sys::fd::{fcntl, open_flag};

const LOCK_SH: u64 = 1;
const LOCK_EX: u64 = 2;
const LOCK_NB: u64 = 4;

impl<'a> Builder<'a, '_> {
    /// flock(2), record locks, owners and signals of every open file.
    pub(super) fn locks_and_owners(&mut self) -> Result<'a, ()> {
        let image = self.inputs.image;
        for (index, file) in (0u32..).zip(image.open_files().iter()) {
            let Some(number) = self.numbers.twin(index).map(u64::from) else { continue };
            self.owner(number, &file)?;
            self.inode(index, number, &file)?;
            if matches!(file.kind, file_kind::STANDARD | file_kind::TERMINAL) {
                continue;
            }
            if file.flock != 0 {
                let how = if file.flock == 2 { LOCK_EX } else { LOCK_SH };
                self.early(Op::zero(Sysno::flock, [number, how | LOCK_NB]))?;
            }
            for lock in image.entries::<Lock>(file.locks).iter() {
                let command = if lock.ofd != 0 { fcntl::OFD_SETLK } else { fcntl::SETLK };
                let lock = RecordLock::new(i16::from(lock.kind != 0), lock.start as i64, lock.len as i64);
                let lock = self.keep(lock)?;
                self.early(Op::zero(Sysno::fcntl, [number, u64::from(command), lock]))?;
            }
        }
        Ok(())
    }

    /// Owner and mode of a pipe or a socket, which are made anew.
    fn inode(&mut self, index: u32, number: u64, file: &OpenFile) -> Result<'a, ()> {
        let fresh = match file.kind {
            file_kind::PIPE if file.peer == index => 0o600,
            file_kind::UNIX_PAIR | file_kind::UNIX_SOCKET | file_kind::TCP | file_kind::UDP => 0o777,
            _ => return Ok(()),
        };
        if [file.uid, file.gid] != self.inputs.user {
            self.give_owner(number, file)?;
        }
        let mode = file.mode & 0o7777;
        if mode == fresh {
            return Ok(());
        }
        self.early(Op::zero(Sysno::fchmod, [number, u64::from(mode)]))
    }

    /// Gives a file that was made anew the owner that it had, as far as this user may. Without the privilege the user can only be what it is, and the
    /// group only one that the user is in; docs/state.md says so.
    pub(crate) fn give_owner(&mut self, number: u64, file: &OpenFile) -> Result<'a, ()> {
        let [user, _] = self.inputs.user;
        let args = [number, u64::from(file.uid), u64::from(file.gid)];
        if self.inputs.may_chown {
            return self.early(Op::zero(Sysno::fchown, args));
        }
        if file.uid == user { self.early(Op::any(Sysno::fchown, args)) } else { Ok(()) }
    }

    /// Who gets the signals of a file, which, and whether there are any. At the save it was the process itself or its group.
    fn owner(&mut self, number: u64, file: &OpenFile) -> Result<'a, ()> {
        if file.owner_type >= 0 {
            let id = if file.owner_type == OWNER_GROUP { self.inputs.group } else { self.inputs.pid };
            let owner = self.keep(Owner { kind: file.owner_type, id: id as i32 })?;
            self.early(Op::zero(Sysno::fcntl, [number, u64::from(fcntl::SETOWN_EX), owner]))?;
        }
        if file.signal != 0 {
            self.early(Op::zero(Sysno::fcntl, [number, u64::from(fcntl::SETSIG), u64::from(file.signal)]))?;
        }
        if file.flags & open_flag::ASYNC != 0 && file.flags & open_flag::PATH == 0 {
            let flags = u64::from(file.flags & super::path::KEPT | open_flag::ASYNC);
            self.early(Op::zero(Sysno::fcntl, [number, u64::from(fcntl::SETFL), flags]))?;
        }
        Ok(())
    }
}
