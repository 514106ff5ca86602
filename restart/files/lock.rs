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
