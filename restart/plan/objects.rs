//! Objects: mapped, filled, mapped where the process had them, opened, sealed.
//!
//! Each is mapped as a whole while the plan is carried out, so that its contents are read and checked like all other pages. Regions of shared
//! anonymous memory are made out of that mapping (mremap(2) with an old size of zero), regions of files with their descriptor.

use super::Builder;
use super::memory::MREMAP_MAYMOVE_FIXED;
use crate::exit::Result;
use crate::objects::Made;
use crate::op::Op;
use image::format::{Object, OpenFile, Region, object_kind, region_flag, region_kind};
use sys::Sysno;
use sys::fd::fcntl;
use sys::memory::{map, prot};

impl<'a> Builder<'a, '_> {
    /// All objects with their indices, and what there is of them.
    fn objects(&self) -> impl Iterator<Item = (u32, Object, Made)> + use<'a> {
        let made = self.inputs.objects.iter().copied();
        (0u32..)
            .zip(self.inputs.image.objects().iter())
            .zip(made)
            .map(|((index, object), made)| (index, object, made))
    }

    /// What there is of the object of a region.
    fn made(&self, region: &Region) -> Option<&'a Made> {
        self.inputs.objects.get(region.file as usize).filter(|_| region.kind == region_kind::OBJECT)
    }

    /// Maps every object as a whole.
    pub(super) fn map_objects(&mut self) -> Result<'a, ()> {
        let image = self.inputs.image;
        for (index, object, made) in self.objects().filter(|(.., made)| made.len > 0) {
            let mut flags = map::SHARED | map::FIXED_NOREPLACE;
            if object.kind == object_kind::SHARED_ANON {
                let of_it = |region: &Region| region.kind == region_kind::OBJECT && region.file == index;
                let unreserved =
                    image.regions().iter().filter(of_it).any(|r| r.flags & region_flag::NORESERVE != 0);
                flags |= map::ANONYMOUS | if unreserved { map::NORESERVE } else { 0 };
            }
            let prot = u64::from(prot::READ | prot::WRITE);
            let address = self.inputs.layout.objects.start + made.at;
            let args = [address, made.len, prot, u64::from(flags), i64::from(made.fd) as u64, 0];
            self.early(Op::exact(Sysno::mmap, args, address))?;
        }
        Ok(())
    }

    /// Takes the mappings away that [`Builder::map_objects`] made.
    pub(super) fn unmap_objects(&mut self) -> Result<'a, ()> {
        for (.., made) in self.objects().filter(|(.., made)| made.len > 0) {
            self.early(Op::zero(Sysno::munmap, [self.inputs.layout.objects.start + made.at, made.len]))?;
        }
        Ok(())
    }

    /// The last touch, when nothing is mapped, written or opened any more: owner, mode, times, seals.
    pub(crate) fn finish_objects(&mut self) -> Result<'a, ()> {
        const OMIT: i64 = (1 << 30) - 2; // UTIME_OMIT
        let image = self.inputs.image;
        for (index, object, made) in self.objects().filter(|(.., made)| made.fd >= 0) {
            let fd = made.fd as u64;
            let is_it = |file: &OpenFile| file.object == index;
            if let Some(file) = image.open_files().iter().find(is_it) {
                let times = self.keep([[0, OMIT], [file.mtime.sec, file.mtime.frac]])?;
                // The change of an owner takes bits of the mode away, and either changes no time but that of the change.
                self.give_owner(fd, &file)?;
                self.early(Op::zero(Sysno::fchmod, [fd, u64::from(object.mode & 0o7777)]))?;
                self.early(Op::zero(Sysno::utimensat, [fd, 0, times, 0]))?;
            } else if object.kind == object_kind::SPARE {
                self.early(Op::zero(Sysno::fchmod, [fd, u64::from(object.mode & 0o7777)]))?;
            }
            // Files of a tmpfs show a seal that they are born with.
            if object.seals != 0 && object.kind == object_kind::MEMFD {
                let args = [fd, u64::from(fcntl::ADD_SEALS), u64::from(object.seals)];
                self.early(Op::zero(Sysno::fcntl, args))?;
            }
            for fd in [made.fd, made.read_only] {
                if fd >= 0 {
                    self.early(Op::zero(Sysno::close, [fd as u64]))?;
                }
            }
        }
        Ok(())
    }

    /// The call that maps a region of an object at `address`.
    pub(super) fn object_mapping(&self, region: &Region, address: u64) -> Op {
        let len = region.end - region.start;
        let is_shared = region.flags & region_flag::SHARED != 0;
        let made = self.made(region);
        let Some(made) = made.filter(|made| made.fd >= 0) else {
            let from = self.inputs.layout.objects.start + made.map_or(0, |made| made.at) + region.offset;
            return Op::exact(Sysno::mremap, [from, 0, len, MREMAP_MAYMOVE_FIXED, address], address);
        };
        let read_only = is_shared && region.flags & region_flag::NO_MAYWRITE != 0 && made.read_only >= 0;
        let fd = if read_only { made.read_only } else { made.fd };
        let mut flags = map::FIXED_NOREPLACE | if is_shared { map::SHARED } else { map::PRIVATE };
        if region.flags & region_flag::NORESERVE != 0 {
            flags |= map::NORESERVE;
        }
        let prot = u64::from(self.early_prot(region));
        Op::exact(Sysno::mmap, [address, len, prot, u64::from(flags), fd as u64, region.offset], address)
    }

    /// The runs of all objects in the order of the file: offset in the image, length, address.
    pub(super) fn object_runs(&self) -> impl Iterator<Item = (u64, u64, Option<u64>)> + use<'a> {
        let image = self.inputs.image;
        let start = self.inputs.layout.objects.start;
        self.objects().flat_map(move |(_, object, made)| {
            let address = start + made.at;
            // A copy that nobody needs is read to nowhere.
            let to = move |offset: u64| (made.len > 0).then_some(address + offset);
            image.runs_of(&object).iter().map(move |run| (run.data, run.len, to(run.offset)))
        })
    }

    /// Whether a region is made out of the mapping of its object, with the protection of that.
    pub(super) fn is_copied_mapping(&self, region: &Region) -> bool {
        self.made(region).is_some_and(|made| made.fd < 0)
    }
}
