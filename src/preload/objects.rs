//! Files that exist only in the image: shared anonymous memory, memfds and deleted files.
//!
//! A file is known by device and inode, whether it is open, mapped, or both. What is in them: [`crate::contents`].

use crate::helper::Stop;
use crate::maps::Vma;
use crate::message::{Failure, Kind};
use crate::report::Report;
use crate::scratch::{List, Scratch};
use image::format::{Blob, Descriptor, NONE, Object, OpenFile, file_kind, object_kind};
use image::plain::Plain;
use sys::Errno;
use sys::descriptor::{access, permission};
use sys::fd::{self, fcntl, open_flag};
use sys::line::Line;
use sys::memory::prot;

/// An object, and where its contents can be read.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Source {
    /// What is known of it.
    pub object: Object,
    /// A descriptor of it in the helper's table, or -1.
    pub fd: i32,
    /// Whether `fd` was opened for reading; [`OWN`] when it was opened for the save.
    readable: u32,
}

/// [`Source::readable`]: nobody else has the descriptor.
const OWN: u32 = 2;

impl Source {
    /// The contents of a file that the target has open for reading under this number.
    pub fn open(object: Object, fd: i32) -> Self {
        Self { object, fd, readable: 1 }
    }

    /// Those of a file that was opened for it, and is closed by [`close_own`].
    pub fn opened(object: Object, fd: i32) -> Self {
        Self { object, fd, readable: OWN }
    }
}

/// Closes what was opened for the save.
pub fn close_own(sources: &[Source]) {
    for source in sources.iter().filter(|source| source.readable == OWN && source.fd >= 0) {
        let _ = fd::close(source.fd);
    }
}
// SAFETY: `repr(C)`, integers only, and no padding: 56 + 4 + 4 bytes.
unsafe impl Plain for Source {}
const _: () = assert!(size_of::<Source>() == 64);

/// Behind the name of a file that has none any more (fs/d_path.c).
const DELETED: &[u8] = b" (deleted)";
/// Before the name that a program has given to shared anonymous memory (`PR_SET_VMA_ANON_NAME`).
pub const LABELLED: &[u8] = b"[anon_shmem:";
/// Before the name of a memfd (mm/memfd.c).
const MEMFD: &[u8] = b"/memfd:";

/// Others may have it open by that name.
const ELSEWHERE: Kind = Kind {
    what: "a shared mapping of a file that has lost the name by which it was opened, but has another one elsewhere",
    advice: "unmap it before the save, or give it back its name",
};

/// No descriptor and no mapping shows what is in it.
pub const UNREADABLE: Kind = Kind {
    what: "a file without a name that cannot be read",
    advice: "open it for reading, too, or close it before the save",
};

/// Whether a region maps a file without a name. A file may be called "x (deleted)" in earnest: then it is found by that name.
pub fn is_nameless(vma: &Vma, scratch: &Scratch) -> bool {
    let name = scratch.blob(vma.name);
    let is_there =
        || fd::stat_at(fd::AT_FDCWD, scratch.c_str(vma.name), true).is_ok_and(|stat| stat.ino == vma.ino);
    vma.ino != 0 && (name.starts_with(LABELLED) || name.ends_with(DELETED) && !is_there())
}

/// Gives shared mappings of files that have lost the name by which they were mapped, but have another one in the same folder, that name: a semaphore of
/// sem_open(3) is one. Where the kernel lets it, looks whether there is a name elsewhere, which nobody would find.
pub fn find_names(scratch: &mut Scratch, vmas: &mut [Vma], report: &mut Report) -> Result<(), Stop> {
    for vma in vmas.iter_mut().filter(|vma| vma.shared != 0) {
        let name = scratch.blob(vma.name);
        let bare = name.strip_suffix(DELETED).map(<[u8]>::len);
        let of_kernel =
            name.starts_with(MEMFD) || name.starts_with(LABELLED) || name.starts_with(b"/dev/zero");
        let Some(bare) = bare.filter(|_| !of_kernel && is_nameless(vma, scratch)) else { continue };
        let lost = Blob { len: bare as u32, ..vma.name };
        if let Some(found) = crate::descriptors::search::beside(scratch, lost, vma.dev, vma.ino)? {
            vma.name = found;
            continue;
        }
        let mut link = Line::<64>::new();
        link.text("/proc/self/map_files/").bare_hex(vma.start).text("-").bare_hex(vma.end).text("\0");
        if fd::stat_at(fd::AT_FDCWD, link.as_bytes(), true)
            .is_ok_and(|stat| stat.ino == vma.ino && stat.nlink > 0)
        {
            report.refuse(Failure::Region(vma.start, ELSEWHERE))?;
        }
    }
    Ok(())
}

/// Why the file of a shared mapping cannot be opened by its name again. What is only read can come from the image all the same: a cache of the
/// system that a server has handed over, for instance.
fn out_of_reach(vma: &Vma, scratch: &Scratch) -> Option<Kind> {
    let path = scratch.c_str(vma.name);
    let stat = fd::stat_at(fd::AT_FDCWD, path, true).unwrap_or_default();
    // On an overlay, a file may have another inode number in the map.
    if stat.ino != vma.ino && fd::file_system_at(path) != Ok(fd::OVERLAY) {
        return Some(Kind {
            what: "a shared mapping of a file that its path does not lead to",
            advice: "unmap it before the save, or give the file back its name",
        });
    }
    let write = if vma.prot & prot::WRITE != 0 { permission::WRITE } else { 0 };
    match access(path, permission::READ | write) {
        Err(Errno::EACCES) if stat.uid != sys::process::effective_uid() => Some(Kind {
            what: "a shared mapping of a file that may not be opened again",
            advice: "unmap it before the save, or give its user the permission",
        }),
        _ => None,
    }
}

/// The index in `sources` of the object that a region maps. Some file systems (btrfs, overlays) have one device number for stat(2) and another
/// for the map: there the name decides.
pub fn of_region(vma: &Vma, sources: &[Source], scratch: &Scratch) -> Option<u32> {
    let name = || scratch.blob(vma.name).strip_suffix(DELETED).unwrap_or_default();
    let same = |source: &Source| {
        let object = &source.object;
        object.kind < object_kind::SPARE
            && object.ino == vma.ino
            && (object.dev == vma.dev
                || object.kind == object_kind::DELETED && scratch.blob(object.name) == name())
    };
    if vma.ino == 0 { None } else { sources.iter().position(same).map(|index| index as u32) }
}

/// Finds the objects: open files of the kinds MEMFD and DELETED, whose [`OpenFile::object`] and [`OpenFile::seals`] are filled in, and shared
/// mappings of files without a name.
pub fn find(
    scratch: &mut Scratch,
    vmas: &[Vma],
    files: &mut [OpenFile],
    descriptors: &[Descriptor],
    report: &mut Report,
) -> Result<List<Source>, Stop> {
    let mut sources = scratch.list::<Source>();
    for descriptor in descriptors {
        let Some(file) = files.get_mut(descriptor.file as usize) else { continue };
        if file.object != NONE || !matches!(file.kind, file_kind::MEMFD | file_kind::DELETED) {
            continue;
        }
        let number = descriptor.number as i32;
        let readable = u32::from(file.flags & open_flag::ACCMODE != open_flag::WRONLY);
        file.seals = fd::control(number, fcntl::GET_SEALS, 0).unwrap_or(0) as u32;
        let same = |source: &Source| source.object.dev == file.dev && source.object.ino == file.ino;
        if let Some(index) = sources.iter().position(same) {
            file.object = index as u32;
            if let Some(source) = sources.get_mut(index).filter(|source| source.readable < readable) {
                (source.fd, source.readable) = (number, readable);
            }
            continue;
        }
        let memfd = file.kind == file_kind::MEMFD;
        let object = Object {
            kind: if memfd { object_kind::MEMFD } else { object_kind::DELETED },
            seals: file.seals,
            size: file.size,
            name: name(file.path, memfd, scratch)?,
            mode: file.mode,
            dev: file.dev,
            ino: file.ino,
            ..Object::default()
        };
        file.object = sources.len() as u32;
        scratch.push(&mut sources, Source { object, fd: number, readable })?;
    }
    spare_files(scratch, files, descriptors, &mut sources)?;
    for vma in vmas.iter().filter(|vma| vma.shared != 0 && vma.ino != 0) {
        if of_region(vma, &sources, scratch).is_some() {
            continue;
        }
        if !is_nameless(vma, scratch) {
            let Some(kind) = out_of_reach(vma, scratch) else {
                spare_memory(scratch, vma, files, &mut sources)?;
                continue;
            };
            if vma.prot & prot::WRITE != 0 {
                report.refuse(Failure::Region(vma.start, kind))?;
            }
        }
        let full = scratch.blob(vma.name);
        let kind = match full {
            b"/dev/zero (deleted)" => object_kind::SHARED_ANON,
            _ if full.starts_with(LABELLED) => object_kind::SHARED_ANON,
            _ if full.starts_with(MEMFD) => object_kind::MEMFD,
            _ => object_kind::DELETED,
        };
        let name = match kind {
            object_kind::SHARED_ANON => Blob::default(),
            _ => name(vma.name, kind == object_kind::MEMFD, scratch)?,
        };
        let object = Object { kind, name, mode: 0o100_600, dev: vma.dev, ino: vma.ino, ..Object::default() };
        scratch.push(&mut sources, Source { object, fd: -1, readable: 0 })?;
    }
    Ok(sources)
}

/// Files of which an image has a copy are no longer than this ...
const SMALL: u64 = 1 << 20;
/// ... or, where a file system is in memory, than this ...
const SMALL_IN_MEMORY: u64 = 64 << 20;
/// ... and those that are open for reading are together no longer than this: the program stands still while they are copied.
const SMALL_TOGETHER: u64 = 16 << 20;

/// Copies of files that are open for reading: a restart can do without the files then.
fn spare_files(
    scratch: &mut Scratch,
    files: &mut [OpenFile],
    descriptors: &[Descriptor],
    sources: &mut List<Source>,
) -> Result<(), Stop> {
    let mut left = SMALL_TOGETHER;
    for descriptor in descriptors {
        let Some(file) = files.get_mut(descriptor.file as usize) else { continue };
        let path = scratch.blob(file.path);
        let of_kernel = path.starts_with(b"/proc/") || path.starts_with(b"/sys/");
        let is_read = file.flags & (open_flag::ACCMODE | open_flag::PATH) == open_flag::RDONLY;
        if file.kind != file_kind::REGULAR || file.object != NONE || !is_read || of_kernel {
            continue;
        }
        let same = |source: &Source| {
            source.object.kind == object_kind::SPARE
                && (source.object.dev, source.object.ino) == (file.dev, file.ino)
        };
        if let Some(index) = sources.iter().position(same) {
            file.object = index as u32;
            continue;
        }
        if file.size > SMALL.min(left) {
            continue;
        }
        left -= file.size;
        let object = Object {
            kind: object_kind::SPARE,
            size: file.size,
            name: name(file.path, false, scratch)?,
            mode: file.mode,
            dev: file.dev,
            ino: file.ino,
            ..Object::default()
        };
        file.object = sources.len() as u32;
        scratch.push(sources, Source { object, fd: descriptor.number as i32, readable: 1 })?;
    }
    Ok(())
}

/// A copy of a small file that is mapped shared and not open, and lies where files are memory more than files: on a file system in memory, or in a folder that is emptied. Its
/// owner, or a reboot, takes it away.
fn spare_memory(
    scratch: &mut Scratch,
    vma: &Vma,
    files: &[OpenFile],
    sources: &mut List<Source>,
) -> Result<(), Stop> {
    const TMPFS: u64 = 0x0102_1994;
    const RAMFS: u64 = 0x8584_58f6;
    const EMPTIED: [&[u8]; 3] = [b"/tmp/", b"/run/", b"/dev/shm/"];
    let path = scratch.c_str(vma.name);
    let Ok(stat) = fd::stat_at(fd::AT_FDCWD, path, true) else { return Ok(()) };
    let in_memory = matches!(fd::file_system_at(path), Ok(TMPFS | RAMFS));
    let most = match EMPTIED.iter().any(|folder| path.starts_with(folder)) {
        _ if in_memory => SMALL_IN_MEMORY,
        true => SMALL,
        false => return Ok(()),
    };
    let is_known = |source: &Source| spare_of(&source.object, vma, scratch);
    let is_open = files.iter().any(|file| file.kind == file_kind::REGULAR && file.ino == vma.ino);
    if stat.ino != vma.ino || stat.size as u64 > most || is_open || sources.iter().any(is_known) {
        return Ok(());
    }
    let object = Object {
        kind: object_kind::SPARE,
        size: stat.size as u64,
        name: name(vma.name, false, scratch)?,
        mode: stat.mode,
        dev: stat.dev,
        ino: stat.ino,
        ..Object::default()
    };
    scratch.push(sources, Source { object, fd: -1, readable: 0 })?;
    Ok(())
}

/// Whether an object is a copy of the file that a region maps.
pub fn spare_of(object: &Object, vma: &Vma, scratch: &Scratch) -> bool {
    object.kind == object_kind::SPARE
        && object.ino == vma.ino
        && scratch.blob(object.name) == scratch.blob(vma.name)
}

/// Tells which files a save would refuse because nothing lets it read them.
pub fn check(vmas: &[Vma], sources: &[Source], scratch: &Scratch, report: &mut Report) -> Result<(), Stop> {
    for (index, source) in sources
        .iter()
        .enumerate()
        .filter(|(_, source)| source.fd >= 0 && source.readable == 0 && source.object.size > 0)
    {
        if let Ok(own) = open_again(source.fd) {
            let _ = fd::close(own);
        } else if region_beyond(vmas, sources, scratch, index as u32, 0).is_none() {
            report.refuse(Failure::Descriptor(source.fd, UNREADABLE))?;
        }
    }
    Ok(())
}

/// Opens the file behind a descriptor for reading.
pub fn open_again(fd: i32) -> sys::Result<i32> {
    let mut link = Line::<64>::new();
    link.text("/proc/self/fd/").dec(fd as u64).text("\0");
    let flags = open_flag::RDONLY | open_flag::CLOEXEC | open_flag::NOCTTY | open_flag::NONBLOCK;
    fd::open_at(fd::AT_FDCWD, link.as_bytes(), flags, 0)
}

/// The shared region of an object with the lowest offset that reaches beyond `offset`.
pub fn region_beyond<'a>(
    vmas: &'a [Vma],
    sources: &[Source],
    scratch: &Scratch,
    index: u32,
    offset: u64,
) -> Option<&'a Vma> {
    let maps = |vma: &&Vma| vma.shared != 0 && file_end(vma) > offset;
    let of_object = |vma: &&Vma| of_region(vma, sources, scratch) == Some(index);
    vmas.iter().filter(maps).filter(of_object).min_by_key(|vma| vma.offset)
}

/// The name in a path: without the kernel's decorations, and with a NUL behind it.
fn name(path: Blob, memfd: bool, scratch: &mut Scratch) -> Result<Blob, Stop> {
    let full = scratch.blob(path);
    let start = if memfd && full.starts_with(MEMFD) { MEMFD.len() } else { 0 };
    let bare = full.strip_suffix(DELETED).unwrap_or(full).len();
    Ok(scratch.copy_bytes(path.off as usize + start, bare.saturating_sub(start))?)
}

/// Behind the last byte that a region shows of its file.
pub fn file_end(vma: &Vma) -> u64 {
    vma.offset.saturating_add(vma.end - vma.start)
}
