//! Pipes and FIFOs.

use super::path::KEPT;
use super::settle::Temporary;
use crate::exit::Result;
use crate::objects::descriptor_path;
use crate::op::Op;
use crate::plan::Builder;
use image::details::{Pipe, pipe_flag};
use image::format::{OpenFile, file_kind};
use sys::Sysno;
use sys::fd::{AT_FDCWD, fcntl, open_flag};

/// Capacity of a new pipe in bytes (pipe(7)).
const DEFAULT_SIZE: u32 = 65536;
/// What fcntl(2) can set of a pipe's flags, but for `O_ASYNC`, which comes with the owner.
const SETTABLE: u32 = open_flag::NONBLOCK | open_flag::DIRECT | open_flag::APPEND | open_flag::NOATIME;

fn accesses(file: &OpenFile, mode: u32) -> bool {
    file.flags & open_flag::ACCMODE == mode
}

impl<'a> Builder<'a, '_> {
    /// The open files of one pipe, by the first of them.
    fn ends(&self, leader: u32) -> impl Iterator<Item = (u32, OpenFile)> + use<'a> {
        let files = (0u32..).zip(self.inputs.image.open_files().iter());
        files.filter(move |(_, file)| {
            matches!(file.kind, file_kind::PIPE | file_kind::FIFO) && file.peer == leader
        })
    }

    /// Makes a pipe with everything in it, and puts all its ends in their places.
    pub(super) fn open_pipe(&mut self, leader: u32) -> Result<'a, ()> {
        const READER: usize = 0;
        const WRITER: usize = 1;
        const MORE: usize = 2;
        let image = self.inputs.image;
        let Some(first) = image.open_files().get(leader as usize) else { return Ok(()) };
        let detail: Pipe = image.detail(&first);
        let ends = [self.numbers.take(), self.numbers.take()];
        let numbers = self.keep(ends)?;
        self.early(Op::zero(Sysno::pipe2, [numbers, u64::from(open_flag::CLOEXEC)]))?;
        let [reader, writer] = ends;
        let mut all = [Temporary::new(reader), Temporary::new(writer), Temporary::UNUSED];
        self.fill_pipe(&first, &detail, writer)?;
        let packets = if detail.flags & pipe_flag::PACKETS != 0 { open_flag::DIRECT } else { 0 };
        for (index, file) in self.ends(leader) {
            let own = match file.flags & open_flag::ACCMODE {
                open_flag::RDONLY => READER,
                open_flag::WRONLY => WRITER,
                _ => MORE,
            };
            let [reader, ..] = all;
            if own == MORE || all.get(own).is_some_and(|one| one.is_home()) {
                // A further end can only have been made by opening one in /proc/self/fd, and so it is made again.
                let path = self.keep_bytes(descriptor_path(reader.open_number() as i32).as_bytes())?;
                let more = self.numbers.take();
                let flags = file.flags & KEPT | open_flag::CLOEXEC;
                let args = [i64::from(AT_FDCWD) as u64, path, u64::from(flags)];
                self.early(Op::exact(Sysno::openat, args, u64::from(more)))?;
                all[MORE] = Temporary::new(more);
                self.settle(&mut all, MORE, index)?;
                self.dispose(&all[MORE..])?;
                all[MORE] = Temporary::UNUSED;
                continue;
            }
            let present = if own == WRITER { packets } else { 0 };
            if file.flags & SETTABLE != present {
                let number = all.get(own).map_or(0, |one| one.open_number());
                let args = [u64::from(number), u64::from(fcntl::SETFL), u64::from(file.flags & KEPT)];
                self.early(Op::zero(Sysno::fcntl, args))?;
            }
            self.settle(&mut all, own, index)?;
        }
        self.dispose(&all)
    }

    /// Capacity and contents. Leaves the writing end in packet mode where the contents are packets.
    fn fill_pipe(&mut self, file: &OpenFile, detail: &Pipe, writer: u32) -> Result<'a, ()> {
        let writer = u64::from(writer);
        if detail.size != DEFAULT_SIZE {
            let size = u64::from(detail.size);
            self.early(Op::exact(Sysno::fcntl, [writer, u64::from(fcntl::SETPIPE_SZ), size], size))?;
        }
        let image = self.inputs.image;
        let queued = image.bytes(file.queued);
        if detail.flags & pipe_flag::PACKETS != 0 {
            let flags = u64::from(open_flag::WRONLY | open_flag::DIRECT);
            self.early(Op::zero(Sysno::fcntl, [writer, u64::from(fcntl::SETFL), flags]))?;
            let mut rest = queued;
            for len in image.entries::<u32>(detail.packets).iter() {
                let Some((packet, more)) = rest.split_at_checked(len as usize) else { break };
                self.write(writer, packet)?;
                rest = more;
            }
        } else if !queued.is_empty() {
            self.write(writer, queued)?;
        }
        Ok(())
    }

    fn write(&mut self, fd: u64, bytes: &[u8]) -> Result<'static, ()> {
        let len = bytes.len() as u64;
        self.early(Op::exact(Sysno::write, [fd, bytes.as_ptr() as u64, len], len))
    }

    /// Opens a FIFO again, all its ends. A descriptor of it is held, which keeps its contents and makes opening an end not wait for the other.
    pub(super) fn open_fifo(&mut self, leader: u32) -> Result<'a, ()> {
        let image = self.inputs.image;
        let Some(first) = image.open_files().get(leader as usize) else { return Ok(()) };
        let found = self.found(leader);
        let detail: Pipe = image.detail(&first);
        let reads = |file: &OpenFile| !accesses(file, open_flag::WRONLY);
        let has_reader = self.ends(leader).any(|(_, file)| reads(&file));
        let has_writer = self.ends(leader).any(|(_, file)| !accesses(&file, open_flag::RDONLY));
        // A reader to whom no writer ever came must not see that one was there: then the FIFO is held by nobody while the reader opens it.
        let alone =
            has_reader && !has_writer && first.queued.len == 0 && detail.flags & pipe_flag::HUNG_UP == 0;
        if alone && found.queued == 0 {
            self.close_held(found.held)?;
        }
        let mut filled = found.queued > 0 || first.queued.len == 0;
        for (index, file) in self.ends(leader) {
            let own = self.found(index);
            let path = self.path_of(&file, &own);
            let wanted = file.flags & KEPT;
            let flags = wanted | open_flag::NONBLOCK | open_flag::NOCTTY | open_flag::CLOEXEC;
            let end = self.open_named(path, own.identity, flags, own.modes)?;
            if !filled {
                // What others have put there since is the newer contents.
                let held = found.held as u32;
                self.fill_pipe(&first, &detail, held)?;
                filled = true;
            }
            if wanted & open_flag::NONBLOCK == 0 {
                let args = [u64::from(end), u64::from(fcntl::SETFL), u64::from(wanted)];
                self.early(Op::zero(Sysno::fcntl, args))?;
            }
            let mut end = [Temporary::new(end)];
            self.settle(&mut end, 0, index)?;
            self.dispose(&end)?;
        }
        if !(alone && found.queued == 0) {
            self.close_held(found.held)?;
        }
        Ok(())
    }

    /// Closes what was opened before the plan.
    pub(super) fn close_held(&mut self, fd: i32) -> Result<'static, ()> {
        if fd < 0 {
            return Ok(());
        }
        self.numbers.let_go(fd);
        self.early(Op::zero(Sysno::close, [fd as u64]))
    }
}
