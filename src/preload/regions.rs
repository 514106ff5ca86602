//! From the lines of the map to the regions of the image: attributes, files and runs.

use crate::attributes;
use crate::helper::{Snapshot, Stop};
use crate::maps::Vma;
use crate::message::{Failure, Kind};
use crate::objects::{self, Source};
use crate::pages::{Contents, Pages, WORTH_LOOKING_FOR_HOLES};
use crate::report::Report;
use crate::scratch::{Growing, Scratch};
use image::format::{MappedFile, NONE, Region, Time, region_flag, region_kind};
use image::smaps::trait_flag;
use sys::fd::{self, open_flag};
use sys::memory::{self, prot};

/// The tables that describe the address space.
pub struct Regions {
    /// By ascending address.
    pub regions: Growing<Region>,
    /// The files that they map.
    pub files: Growing<MappedFile>,
}

/// Makes the regions of the snapshot's map, and finds their runs.
pub fn find(snapshot: &mut Snapshot, scratch: &mut Scratch, pages: &mut Pages) -> Result<Regions, Stop> {
    complete(snapshot, scratch)?;
    let memory = Failure::Scratch;
    let mut found = Regions { regions: Growing::new(), files: Growing::new() };
    for vma in snapshot.vmas.iter() {
        crate::crash::step();
        if let Some(kind) = unrestorable(vma, scratch) {
            return Err(Failure::Region(vma.start, kind).into());
        }
        let region = describe(vma, snapshot, scratch, &mut found)?;
        let contents = contents(&region, snapshot);
        let first_load = pages.loads.len();
        pages.file = large_file(vma, &region, scratch);
        let runs = pages.add(vma, contents);
        if pages.file >= 0 {
            let _ = fd::close(pages.file);
            pages.file = -1;
        }
        let runs = runs?;
        let region = Region {
            flags: region.flags | runs.flags,
            first_load: first_load as u32,
            loads: (pages.loads.len() - first_load) as u32,
            ..region
        };
        found.regions.push(region).map_err(memory)?;
    }
    // Not by the auxiliary vector: after a restart under another kernel, ordinary memory is where it says.
    let vdso = found.regions.iter().find(|region| region.kind == region_kind::VDSO);
    snapshot.process.vdso = vdso.map_or(0, |region| region.start);
    Ok(found)
}

/// Tells everything in the attributes of the map that a save would refuse.
pub fn check(snapshot: &mut Snapshot, scratch: &Scratch, report: &mut Report) -> Result<(), Stop> {
    complete(snapshot, scratch)?;
    for vma in snapshot.vmas.iter() {
        if let Some(kind) = unrestorable(vma, scratch) {
            report.refuse(Failure::Region(vma.start, kind))?;
        }
    }
    Ok(())
}

/// Fills in the attributes of the map, if that was not done before.
fn complete(snapshot: &mut Snapshot, scratch: &Scratch) -> Result<(), Stop> {
    if snapshot.has_attributes {
        return Ok(());
    }
    let smaps = attributes::open()?;
    let result = attributes::read(smaps, &mut snapshot.vmas, scratch.range().0);
    let _ = fd::close(smaps);
    snapshot.process.flags |= result?;
    snapshot.has_attributes = true;
    Ok(())
}

/// Opens the file of a large private mapping, to be asked for its holes; -1 where it is not there, or not worth it.
fn large_file(vma: &Vma, region: &Region, scratch: &Scratch) -> i32 {
    if region.kind != region_kind::FILE || vma.end - vma.start < WORTH_LOOKING_FOR_HOLES {
        return -1;
    }
    let flags = open_flag::RDONLY | open_flag::NONBLOCK | open_flag::NOCTTY | open_flag::CLOEXEC;
    let Ok(file) = fd::open_at(fd::AT_FDCWD, scratch.c_str(vma.name), flags, 0) else { return -1 };
    if fd::stat_fd(file).is_ok_and(|stat| (stat.dev, stat.ino) == (vma.dev, vma.ino)) {
        return file;
    }
    let _ = fd::close(file);
    -1
}

/// Why a region cannot be restored.
fn unrestorable(vma: &Vma, scratch: &Scratch) -> Option<Kind> {
    let refuse = |what, advice| Some(Kind { what, advice });
    let of_kernel = scratch.blob(vma.name).starts_with(b"[v");
    if vma.traits & trait_flag::HUGETLB != 0 {
        return refuse(
            "made of huge pages of hugetlbfs",
            "use transparent huge pages (madvise MADV_HUGEPAGE)",
        );
    }
    if vma.traits & trait_flag::USERFAULT != 0 {
        return refuse("watched by userfaultfd", "unregister it before the save");
    }
    // Memory that may only be executed has a key that the kernel gives it by itself, and will again.
    if vma.pkey != 0 && vma.prot != prot::EXEC {
        return refuse("protected by a key (pkey_mprotect)", "free the key before the save (pkey_free)");
    }
    if vma.traits & trait_flag::SHADOW_STACK != 0 {
        return refuse("a shadow stack", "run without it (GLIBC_TUNABLES=glibc.cpu.x86_shstk=off)");
    }
    if vma.traits & (trait_flag::DEVICE | trait_flag::MIXED) != 0 && !of_kernel {
        return refuse("memory of a device", "unmap it before the save");
    }
    None
}

/// What of a region is saved by address.
fn contents<'a>(region: &Region, snapshot: &'a Snapshot) -> Contents<'a> {
    match region.kind {
        _ if region.flags & region_flag::DROPPABLE != 0 => Contents::None,
        // What must not exist twice, by the word of whoever asked for it: no child gets it, and no restart.
        region_kind::ANON if region.flags & region_flag::WIPEONFORK != 0 => Contents::Wiped,
        region_kind::FILE => Contents::File,
        region_kind::ANON => Contents::Anonymous,
        region_kind::VDSO => Contents::File,
        region_kind::OBJECT => Contents::Object(snapshot.contents.runs_of(region.file)),
        _ => Contents::None,
    }
}

/// Protects again what [`Pages::add`] made readable. Only needed when the writer is not a copy of the target.
pub fn hide_again(snapshot: &Snapshot) {
    for vma in snapshot.vmas.iter().filter(|vma| vma.prot & prot::READ == 0 && vma.shared == 0) {
        // SAFETY: this is the protection that the region had.
        let _ = unsafe { memory::mprotect(vma.start, vma.end - vma.start, vma.prot) };
    }
}

fn describe(
    vma: &Vma,
    snapshot: &Snapshot,
    scratch: &mut Scratch,
    found: &mut Regions,
) -> Result<Region, Stop> {
    let mut region = Region {
        start: vma.start,
        end: vma.end,
        prot: vma.prot,
        kind: region_kind::ANON,
        flags: vma.flags | if vma.shared != 0 { region_flag::SHARED } else { 0 },
        pkey: vma.pkey,
        file: NONE,
        offset: vma.offset,
        ..Region::default()
    };
    let name = scratch.blob(vma.name);
    match name {
        b"[heap]" => region.flags |= region_flag::HEAP,
        b"[stack]" => region.flags |= region_flag::STACK,
        b"[vdso]" => region.kind = region_kind::VDSO,
        _ if name.starts_with(b"[vvar") => region.kind = region_kind::VVAR,
        _ => {}
    }
    let labels = [&b"[anon:"[..], objects::LABELLED];
    let label = labels.into_iter().find_map(|start| {
        let label = name.strip_prefix(start)?.strip_suffix(b"]")?;
        Some((start.len(), label.len()))
    });
    let dev_zero = name.starts_with(b"/dev/zero");
    if let Some((start, len)) = label {
        // The label is inside the name's blob, but a NUL must stand behind it.
        region.name = scratch.copy_bytes(vma.name.off as usize + start, len)?;
    }
    if vma.ino != 0 {
        if let Some(object) = objects::of_region(vma, &snapshot.sources, scratch) {
            region.kind = region_kind::OBJECT;
            region.file = object;
        } else if !(dev_zero && vma.shared == 0) {
            region.kind = if vma.shared != 0 { region_kind::SHARED_FILE } else { region_kind::FILE };
            region.file = file(vma, &snapshot.sources, scratch, found)?;
        } else {
            region.offset = 0;
        }
    }
    Ok(region)
}

/// The index of the file that a region maps; a library's regions stand together.
fn file(vma: &Vma, sources: &[Source], scratch: &mut Scratch, found: &mut Regions) -> Result<u32, Stop> {
    let full = scratch.blob(vma.name);
    let deleted = objects::is_nameless(vma, scratch);
    let len = full.len() - if deleted { b" (deleted)".len() } else { 0 };
    let recent = found.files.len().saturating_sub(8);
    let is_it = |file: &MappedFile| file.ino == vma.ino && full.get(..len) == Some(scratch.blob(file.path));
    let known = found.files.iter().enumerate().skip(recent).find(|(_, file)| is_it(file));
    if let Some((index, _)) = known {
        return Ok(index as u32);
    }
    let path = if deleted { scratch.copy_bytes(vma.name.off as usize, len)? } else { vma.name };
    let mut entry = MappedFile { path, dev: vma.dev, ino: vma.ino, deleted: 1, ..MappedFile::default() };
    let spare = sources.iter().position(|source| objects::spare_of(&source.object, vma, scratch));
    entry.spare = spare.map_or(0, |index| index as u32 + 1);
    if let Ok(stat) = fd::stat_at(fd::AT_FDCWD, scratch.c_str(path), true)
        && stat.ino == vma.ino
        && !deleted
    {
        entry.dev = stat.dev;
        entry.size = stat.size as u64;
        entry.mtime = Time { sec: stat.mtime, frac: stat.mtime_nsec as i64 };
        entry.ctime = Time { sec: stat.ctime, frac: stat.ctime_nsec as i64 };
        entry.deleted = 0;
    }
    found.files.push(entry).map_err(Failure::Scratch)?;
    Ok((found.files.len() - 1) as u32)
}
