//! Regions: mapped, protected, advised, moved home.

use super::Builder;
use super::layout::{Place, Vdso};
use crate::exit::{Code, Failure, Result};
use crate::op::Op;
use crate::present::Owner;
use crate::vdso;
use core::mem::offset_of;
use image::format::{NONE, PAGE, RUN_PRIVATE, Region, Thread, process_flag, region_flag, region_kind};
use sys::Sysno;
use sys::memory::{advice, map, prot};
use sys::signal::{UContext, greg};

/// `MREMAP_MAYMOVE | MREMAP_FIXED` of mremap(2): to this address.
pub(super) const MREMAP_MAYMOVE_FIXED: u64 = 1 | 2;
/// Flag of mlock2(2).
const MLOCK_ONFAULT: u64 = 1;
/// Second argument of `prctl(PR_SET_VMA, ...)`.
const ANON_NAME: u64 = 0;

/// Moves a mapping.
fn moved(from: u64, to: u64, len: u64) -> Op {
    Op::exact(Sysno::mremap, [from, len, len, MREMAP_MAYMOVE_FIXED, to], to)
}

/// Whether bytes of the image have to be put into `region` (rather than all of them coming from its file).
fn has_private_bytes(image: &image::read::Image, region: &Region) -> bool {
    image.loads_of(region).iter().any(|load| load.p_filesz > 0 && load.p_paddr == RUN_PRIVATE)
}

impl<'a> Builder<'a, '_> {
    /// Maps every region that is built early.
    pub(super) fn map_regions(&mut self) -> Result<'a, ()> {
        for (region, place) in self.places() {
            if let Some(address) = place.early_address(&region) {
                self.map(&region, address, false)?;
            }
        }
        Ok(())
    }

    /// Maps `region` at `address`, with what has to be known before it is filled: that it may have huge pages, and its
    /// name, which only memory without a file can have.
    fn map(&mut self, region: &Region, address: u64, late: bool) -> Result<'a, ()> {
        let op = self.mapping(region, address)?;
        self.put(late, op)?;
        let len = region.end - region.start;
        if region.name.len > 0 && (region.kind == region_kind::ANON || self.is_copied_mapping(region)) {
            let name = self.keep_bytes(self.inputs.image.c_str(region.name))?;
            let option = u64::from(sys::process::pr::SET_VMA);
            self.put(late, Op::any(Sysno::prctl, [option, ANON_NAME, address, len, name]))?;
        }
        if region.flags & region_flag::HUGEPAGE != 0 {
            self.put(late, Op::zero(Sysno::madvise, [address, len, u64::from(advice::HUGEPAGE)]))?;
        }
        Ok(())
    }

    /// Whether the bytes of `region` are to be written while it is built.
    pub(super) fn is_filled(&self, region: &Region) -> bool {
        let image = self.inputs.image;
        match region.kind {
            region_kind::FILE if self.inputs.backing(region).is_some() => has_private_bytes(image, region),
            region_kind::OBJECT => has_private_bytes(image, region),
            region_kind::ANON | region_kind::FILE | region_kind::VDSO => {
                image.loads_of(region).iter().any(|load| load.p_filesz > 0)
            }
            _ => false,
        }
    }

    /// Protection while the region is filled.
    pub(super) fn early_prot(&self, region: &Region) -> u32 {
        let is_open = self.is_filled(region) || self.is_copied_mapping(region);
        if is_open { prot::READ | prot::WRITE } else { region.prot }
    }

    /// The call that maps `region` at `address`.
    fn mapping(&self, region: &Region, address: u64) -> Result<'a, Op> {
        let len = region.end - region.start;
        let mut flags = map::FIXED_NOREPLACE;
        for (has, flag) in
            [(region_flag::GROWSDOWN, map::GROWSDOWN), (region_flag::NORESERVE, map::NORESERVE)]
        {
            if region.flags & has != 0 {
                flags |= flag;
            }
        }
        let (fd, offset) = match region.kind {
            // Zeros in the place of another kernel's time pages say "no clock here": code of its vdso that was interrupted in the
            // middle then asks the kernel.
            region_kind::ANON | region_kind::VDSO | region_kind::VVAR => {
                let droppable = region.flags & region_flag::DROPPABLE != 0;
                flags |= map::ANONYMOUS | if droppable { map::DROPPABLE } else { map::PRIVATE };
                (-1, 0)
            }
            region_kind::FILE => {
                flags |= map::PRIVATE;
                match self.inputs.backing(region) {
                    Some(fd) => (fd, region.offset),
                    None => {
                        flags |= map::ANONYMOUS;
                        (-1, 0)
                    }
                }
            }
            region_kind::SHARED_FILE => {
                flags |= map::SHARED;
                match self.inputs.backing(region) {
                    Some(fd) => (fd, region.offset),
                    None => return Err(self.missing(region)),
                }
            }
            _ => return Ok(self.object_mapping(region, address)),
        };
        let prot = self.early_prot(region);
        let fd = i64::from(fd) as u64;
        Ok(Op::exact(Sysno::mmap, [address, len, u64::from(prot), u64::from(flags), fd, offset], address))
    }

    fn missing(&self, region: &Region) -> Failure<'a> {
        let path = self
            .inputs
            .image
            .files()
            .get(region.file as usize)
            .map_or(&[][..], |file| self.inputs.image.c_str(file.path));
        let cause = "the process had this file mapped, and it is not there";
        Failure::new(Code::FileMissing, path, cause, "put it back")
    }

    /// Gives the regions that are built early their final protection, and those that are at home their attributes.
    pub(super) fn finish_regions(&mut self) -> Result<'a, ()> {
        self.patch_vdso()?;
        for (region, place) in self.places() {
            let Some(address) = place.early_address(&region) else { continue };
            let len = region.end - region.start;
            if self.early_prot(&region) != region.prot {
                self.early(Op::zero(Sysno::mprotect, [address, len, u64::from(region.prot)]))?;
            }
            if place == Place::Home {
                self.attributes(&region, false)?;
            }
        }
        Ok(())
    }

    /// Puts the patched vdso into its region.
    fn patch_vdso(&mut self) -> Result<'a, ()> {
        let saved = self.inputs.saved_vdso;
        let found = self.places().find(|(region, _)| region.kind == region_kind::VDSO);
        let Some((region, place)) = found else { return Ok(()) };
        let Some(address) = place.early_address(&region) else { return Ok(()) };
        let len = (saved.patched.len() as u64).min(region.end - region.start);
        self.early(Op::copy(address, saved.patched.as_ptr() as u64, len))?;
        for thread in self.inputs.image.threads().iter() {
            self.enter_again(&thread, region.start)?;
        }
        Ok(())
    }

    /// A thread that has just entered a function of the vdso, which is at `vdso`, enters it again: the instructions that it was about to
    /// execute are overwritten by a system call.
    fn enter_again(&mut self, thread: &Thread, vdso: u64) -> Result<'a, ()> {
        /// Places in [`Thread::frame_registers`] (`struct user_regs_struct`).
        const RBP: usize = 4;
        const RIP: usize = 16;
        const RSP: usize = 19;
        const LOST: Failure<'static> = Failure::new(
            Code::Unsupported,
            b"",
            "the image is from another kernel, and a thread has just entered a function of its vdso",
            "restart it under the kernel that it was saved under, or from another image",
        );
        let saved = self.inputs.saved_vdso;
        let registers = &thread.frame_registers;
        let offset = registers[RIP].checked_sub(vdso).and_then(|offset| usize::try_from(offset).ok());
        let Some(offset) = offset else { return Ok(()) };
        let Some(start) = vdso::stub_around(saved.patched, offset) else { return Ok(()) };
        let done = vdso::prologue(saved.original, start, offset).ok_or(LOST)?;
        let gregs = thread.ucontext + offset_of!(UContext, gregs) as u64;
        let in_frame = |register: usize| gregs + register as u64 * 8;
        let rsp = if done.framed {
            let own = self.loaded_at(registers[RBP]).ok_or(LOST)?;
            let place = self.loaded_at(in_frame(greg::RBP)).ok_or(LOST)?;
            self.early(Op::copy(place, own, 8))?;
            registers[RBP] + 8
        } else {
            registers[RSP] + done.pushes * 8
        };
        for (register, value) in [(greg::RIP, vdso + start as u64), (greg::RSP, rsp)] {
            let place = self.loaded_at(in_frame(register)).ok_or(LOST)?;
            let value = self.keep(value)?;
            self.early(Op::copy(place, value, 8))?;
        }
        Ok(())
    }

    /// Where the eight bytes at an address of the process are while the early ops are carried out.
    fn loaded_at(&self, address: u64) -> Option<u64> {
        let is_in = |region: &Region| region.start <= address && address.saturating_add(8) <= region.end;
        let (region, place) = self.places().find(|(region, _)| is_in(region))?;
        Some(place.early_address(&region)? + (address - region.start))
    }

    /// The attributes that are set when the region is where it belongs.
    fn attributes(&mut self, region: &Region, late: bool) -> Result<'a, ()> {
        const ADVICE: [(u32, u32); 7] = [
            (region_flag::DONTFORK, advice::DONTFORK),
            (region_flag::WIPEONFORK, advice::WIPEONFORK),
            (region_flag::DONTDUMP, advice::DONTDUMP),
            (region_flag::NOHUGEPAGE, advice::NOHUGEPAGE),
            (region_flag::MERGEABLE, advice::MERGEABLE),
            (region_flag::SEQUENTIAL, advice::SEQUENTIAL),
            (region_flag::RANDOM, advice::RANDOM),
        ];
        let (start, len) = (region.start, region.end - region.start);
        let image = self.inputs.image;
        for (flag, advice) in ADVICE {
            if region.flags & flag != 0 {
                self.put(late, Op::zero(Sysno::madvise, [start, len, u64::from(advice)]))?;
            }
        }
        let locked = region.flags & (region_flag::LOCKED | region_flag::LOCKED_ONFAULT);
        if locked != 0 {
            let flags = if locked & region_flag::LOCKED_ONFAULT != 0 { MLOCK_ONFAULT } else { 0 };
            let args = [start, len, flags];
            // mlock2(2) locks memory that cannot be read and mappings longer than their file, and says ENOMEM: their pages cannot come.
            let may_lack_pages = region.prot == prot::NONE || region.file != NONE;
            let op =
                if may_lack_pages { Op::any(Sysno::mlock2, args) } else { Op::zero(Sysno::mlock2, args) };
            self.put(late, op)?;
        }
        if region.flags & region_flag::GUARDS != 0 {
            let first = image.guards().partition_point(|guard| guard.end <= region.start);
            for i in first..image.guards().len() {
                let Some(guard) = image.guards().get(i).filter(|guard| guard.start < region.end) else {
                    break;
                };
                let args = [guard.start, guard.end - guard.start, u64::from(advice::GUARD_INSTALL)];
                self.put(late, Op::zero(Sysno::madvise, args))?;
            }
        }
        if region.flags & region_flag::SEALED != 0 {
            self.put(late, Op::zero(Sysno::mseal, [start, len, 0]))?;
        }
        Ok(())
    }

    /// Copies the executor to its page. The last early ops.
    pub(super) fn place_executor(&mut self) -> Result<'a, ()> {
        let (page, code) = (self.inputs.layout.hole.start, self.inputs.executor);
        self.early(Op::copy(page, code.as_ptr() as u64, code.len() as u64))?;
        self.early(Op::zero(Sysno::mprotect, [page, PAGE, u64::from(prot::READ | prot::EXEC)]))
    }

    /// What is mapped from now on is locked.
    fn lock_future(&mut self) -> Result<'a, ()> {
        const MCL_FUTURE: u64 = 2;
        const MCL_ONFAULT: u64 = 4;
        let flags = self.inputs.image.process().flags;
        if flags & process_flag::LOCK_FUTURE == 0 {
            return Ok(());
        }
        let on_fault = if flags & process_flag::LOCK_FUTURE_ONFAULT != 0 { MCL_ONFAULT } else { 0 };
        self.late(Op::zero(Sysno::mlockall, [MCL_FUTURE | on_fault]))
    }

    /// The executor's first steps: unmap the restarter, bring the vdso and the regions that were in its way home.
    pub(super) fn move_home(&mut self) -> Result<'a, ()> {
        let present = self.inputs.present;
        let vdso = self.inputs.vdso;
        let gone = present
            .mappings()
            .iter()
            .filter(|mapping| mapping.owner == Owner::Restarter || vdso == Vdso::Goes)
            .map(|mapping| mapping.span);
        // Neighbours go in one call; there may be anything in a gap.
        let mut gone = gone.peekable();
        while let Some(mut span) = gone.next() {
            while let Some(next) = gone.next_if(|next| next.start == span.end) {
                span.end = next.end;
            }
            self.late(Op::zero(Sysno::munmap, [span.start, span.end - span.start]))?;
        }

        let now = present.vdso().map_or(0, |span| span.start);
        let home = self.inputs.image.process().vdso;
        let group_start = present.vdso_group().next().map_or(0, |mapping| mapping.span.start);
        let stop = self.inputs.layout.vdso_stop;
        let at_stop = |address: u64| address - group_start + stop;
        let at_home = |address: u64| address.wrapping_sub(now).wrapping_add(home);
        for mapping in present.vdso_group() {
            let (start, len) = (mapping.span.start, mapping.span.end - mapping.span.start);
            match vdso {
                Vdso::Moves => self.late(moved(start, at_home(start), len))?,
                Vdso::MovesTwice => self.late(moved(start, at_stop(start), len))?,
                Vdso::Stays | Vdso::Goes => {}
            }
        }
        for (region, place) in self.places() {
            match place {
                Place::Home => {}
                Place::Away(address) => self.late(moved(address, region.start, region.end - region.start))?,
                Place::Late => self.map(&region, region.start, true)?,
            }
        }
        if vdso == Vdso::MovesTwice {
            for mapping in present.vdso_group() {
                let (start, len) = (mapping.span.start, mapping.span.end - mapping.span.start);
                self.late(moved(at_stop(start), at_home(start), len))?;
            }
        }
        for (region, place) in self.places() {
            if place != Place::Home {
                self.attributes(&region, true)?;
            }
        }
        self.lock_future()
    }

    /// The image and the mapped files are not needed any more.
    pub(super) fn close_sources(&mut self) -> Result<'a, ()> {
        for i in 0..self.inputs.backings.len() {
            let Some(backing) = self.inputs.backings.get(i) else { continue };
            for fd in [backing.fd, backing.read_only] {
                if fd >= 0 {
                    self.early(Op::zero(Sysno::close, [fd as u64]))?;
                }
            }
        }
        self.early(Op::zero(Sysno::close, [self.inputs.image_fd as u64]))
    }
}
