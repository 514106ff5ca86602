//! Looks at the image and at this process before anything is planned: what can be refused is refused here.

use crate::arena::Arena;
use crate::exit::{Code, Failure, Result};
use crate::files::found::{is_harmless, open_held, stand_in};
use crate::files::{Identity, Own, Paths, mode, out_of_the_way, same_inode};
use crate::load::Loader;
use crate::objects::Made;
use crate::options::{Check, Mode, Options};
use crate::plan::clocks::Ahead;
use crate::plan::{Backing, Executable, SavedVdso};
use core::ffi::CStr;
use image::elf::Phdr;
use image::error::ImageError;
use image::format::{Head, Limit, MappedFile, PAGE, Region, Span, region_flag, region_kind};
use image::read::{HEAD_LEN, Image, Sums};
use image::trust::{Distrust, distrust};
use image::{fields, number};
use sys::Errno;
use sys::fd::{AT_FDCWD, Stat, fcntl, open_flag};
use sys::memory::{map, prot};
use sys::process::capability;
use sys::time::clock;

/// An image that is open, with its tables in memory.
pub struct Opened<'a> {
    /// Descriptor, above 2.
    pub fd: i32,
    /// Its tables.
    pub image: Image<'a>,
    /// The sums of its page data.
    pub sums: Sums<'a>,
}

/// Opens the image called `name` (with its NUL), reads its tables and believes none of them unseen.
///
/// What was checked is what is used from then on: tables that were mapped could change, or go away, with the file. Page data is another matter: it
/// is looked at when it is read.
///
/// # Errors
///
/// Each way in which a file is not an image has its code.
pub fn open_image<'a>(options: &Options<'a>) -> Result<'a, Opened<'static>> {
    let name = options.image;
    let from_stdin = name == b"-\0";
    let fd = if from_stdin { 0 } else { open_file(name)? };
    let fail = |errno| Failure::os(Code::NoImage, name, "cannot look at the image", errno, "");
    let stat = sys::fd::stat_fd(fd).map_err(fail)?;
    let refuse = |cause, advice| Err(Failure::new(Code::NotRegular, name, cause, advice));
    match stat.mode & mode::TYPE {
        mode::REGULAR => {}
        _ if from_stdin => {}
        mode::DIRECTORY => return refuse("a directory, not an image", "name the image in it"),
        mode::FIFO => {
            return refuse("a pipe, not a file", "to restart from a pipe, give - and redirect stdin");
        }
        _ => return refuse("not a regular file", "copy the image to a file"),
    }
    check_owner(&stat, options)?;
    let (fd, len) = if from_stdin {
        let fd = spool()?;
        (fd, sys::fd::stat_fd(fd).map_err(fail)?.size)
    } else {
        (fd, stat.size)
    };
    let len = u64::try_from(len).unwrap_or(0);
    let refused = |error| not_an_image(error, name);
    let image = Image::parse(read_tables(fd, len, name)?, len).map_err(refused)?;
    let Head { sums_off, sums_len, .. } = *image.head();
    let sums = image.sums(read_part(fd, sums_off, sums_len, name, |_| Ok(()))?).map_err(refused)?;
    Ok(Opened { fd, image, sums })
}

/// Refuses an image that another user could have made: nothing of it is read before. What comes through a pipe comes from whoever made the pipe.
fn check_owner<'a>(stat: &Stat, options: &Options<'a>) -> Result<'a, ()> {
    if options.forces(Check::Owner) {
        return Ok(());
    }
    // A pipe or a socket has no mode that tells of who writes to it.
    let mode = if stat.mode & mode::TYPE == mode::REGULAR { stat.mode } else { 0 };
    let (cause, advice) = match distrust(stat.uid, mode, sys::process::uid()) {
        None => return Ok(()),
        Some(Distrust::Owner) => (
            "the image belongs to another user, who decides what it would do",
            "copy it if you trust it, or use --force=owner",
        ),
        Some(Distrust::Mode) => (
            "others can write to the image, and decide what it would do",
            "take the permission away (chmod go-w) if nobody has, or use --force=owner",
        ),
    };
    Err(Failure::new(Code::Permission, options.image, cause, advice))
}

/// Opens a file under a number above 2, without waiting for the other end of a FIFO.
fn open_file(name: &[u8]) -> Result<'_, i32> {
    let flags = open_flag::CLOEXEC | open_flag::NONBLOCK | open_flag::NOCTTY;
    let fail = |errno| {
        let advice = match errno {
            Errno::ENOENT => "is this the right directory?",
            Errno::EACCES => "an image can be read only by its owner",
            _ => "",
        };
        Failure::os(Code::NoImage, name, "cannot open the image", errno, advice)
    };
    let fd = sys::fd::open_at(AT_FDCWD, name, flags, 0).map_err(fail)?;
    if fd > 2 {
        return Ok(fd);
    }
    // Started with one of 0, 1, 2 closed: that number is to stay closed.
    let high = sys::fd::control(fd, sys::fd::fcntl::DUPFD_CLOEXEC, 3).map_err(fail)?;
    let _ = sys::fd::close(fd);
    Ok(high as i32)
}

/// Copies stdin to a file without a name.
fn spool() -> Result<'static, i32> {
    const STDIN: &[u8] = b"stdin";
    let fail = |cause| move |errno| Failure::os(Code::Io, STDIN, cause, errno, "").by_errno();
    let fd = sys::fd::create_memfd(b"myckpt\0", sys::fd::memfd::CLOEXEC)
        .map_err(fail("cannot make room for the image"))?;
    let mut buf = [0u8; 32 * 1024];
    loop {
        let count = sys::fd::read(0, &mut buf).map_err(fail("cannot read the image"))?;
        let mut rest = buf.get(..count).unwrap_or_default();
        if rest.is_empty() {
            return Ok(fd);
        }
        while !rest.is_empty() {
            let done = sys::fd::write(fd, rest).map_err(fail("cannot keep the image"))?;
            rest = rest.get(done..).unwrap_or_default();
        }
    }
}

/// Reads the part of the image before the page data; all of the file when that is shorter.
fn read_tables(fd: i32, file_len: u64, name: &[u8]) -> Result<'_, &'static [u8]> {
    let mut first = [0u8; PAGE as usize];
    let count = sys::fd::read_at(fd, &mut first, 0).map_err(|errno| unreadable(errno, name))?;
    let first = first.get(..count).unwrap_or_default();
    let refused = |error| not_an_image(error, name);
    let head_off = image::read::head_off(first).map_err(refused)?;
    let mut head = [0u8; HEAD_LEN];
    let count = sys::fd::read_at(fd, &mut head, head_off).map_err(|errno| unreadable(errno, name))?;
    let prefix =
        image::read::prefix(first, head.get(..count).unwrap_or_default(), file_len).map_err(refused)?;
    read_part(fd, 0, prefix.len, name, |offset| prefix.take_zeros(offset).map_err(refused))
}

/// Reads `len` bytes of the image, at least one, into memory of their own. `zeros` is asked about pages of zeros, which take no memory there.
fn read_part<'n>(
    fd: i32,
    offset: u64,
    len: u64,
    name: &'n [u8],
    zeros: impl Fn(u64) -> Result<'n, ()>,
) -> Result<'n, &'static [u8]> {
    let flags = map::PRIVATE | map::ANONYMOUS | map::NORESERVE;
    // SAFETY: a new mapping, at an address of the kernel's choice.
    let start = unsafe { sys::memory::mmap(0, len, prot::READ | prot::WRITE, flags, -1, 0) };
    let start = start.map_err(no_memory)? as *mut u8;
    // SAFETY: just mapped, `len` bytes of zeros, and nobody unmaps them before the executor does.
    let part = unsafe { core::slice::from_raw_parts_mut(start, len as usize) };
    let mut buf = [0u8; 4 * PAGE as usize];
    let mut at = offset;
    for piece in part.chunks_mut(buf.len()) {
        let read = buf.get_mut(..piece.len()).unwrap_or_default();
        read_exactly(fd, read, at, name)?;
        for (page, bytes) in piece.chunks_mut(PAGE as usize).zip(read.chunks(PAGE as usize)) {
            if image::zero::is_zero(bytes) {
                zeros(at)?;
            } else {
                page.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
            }
            at += bytes.len() as u64;
        }
    }
    Ok(part)
}

/// Fills `buf` with what is at `offset` in the image.
///
/// # Errors
///
/// [`Code::Io`]; [`Code::Truncated`] when the file ends before, which it did not when it was opened.
fn read_exactly<'n>(fd: i32, mut buf: &mut [u8], mut offset: u64, name: &'n [u8]) -> Result<'n, ()> {
    while !buf.is_empty() {
        let count = match sys::fd::read_at(fd, buf, offset) {
            Ok(0) => return Err(shrunk(name)),
            Ok(count) => count,
            Err(errno) => return Err(unreadable(errno, name)),
        };
        buf = buf.get_mut(count..).unwrap_or_default();
        offset += count as u64;
    }
    Ok(())
}

/// The image is shorter than it was when it was opened.
pub fn shrunk(name: &[u8]) -> Failure<'_> {
    let cause = "the file became shorter while it was read";
    Failure::new(Code::Truncated, name, cause, "restart from another image")
}

fn unreadable(errno: Errno, name: &[u8]) -> Failure<'_> {
    Failure::os(Code::Io, name, "cannot read the image", errno, "").by_errno()
}

/// No memory for what the restart itself needs.
pub fn no_memory(errno: Errno) -> Failure<'static> {
    Failure::os(Code::Memory, b"", "no memory for the restart", errno, "raise the limit (ulimit -v)")
}

fn not_an_image(error: ImageError, name: &[u8]) -> Failure<'_> {
    let (code, advice) = match error {
        ImageError::Empty | ImageError::NotElf | ImageError::NotCore => {
            (Code::NotAnImage, "name an image that libckpt.so wrote")
        }
        ImageError::WrongMachine | ImageError::NotCkpt => {
            (Code::Foreign, "name an image that libckpt.so wrote")
        }
        ImageError::Version(_) => (Code::Version, ""),
        ImageError::UnknownRequired(_) => (Code::Unsupported, ""),
        ImageError::Truncated { .. } => (Code::Truncated, "copy it again, or restart from another image"),
        ImageError::Overlong { .. }
        | ImageError::TablesCorrupt
        | ImageError::NotesCorrupt
        | ImageError::SumsCorrupt
        | ImageError::BadTable(_) => (Code::Corrupt, "copy it again, or restart from another image"),
    };
    Failure::new(code, name, error.text(), advice)
}

/// Refuses to map an image from a file system on which its file can go away, or change, under the process: then a touch of a page
/// would be SIGBUS, or another byte. Elsewhere only somebody on this machine can do that, and a save never does.
///
/// # Errors
///
/// [`Code::Unsupported`] unless `force`.
pub fn check_lazy(fd: i32, name: &[u8], force: bool) -> Result<'_, ()> {
    let is_shared = sys::fd::file_system(fd).is_ok_and(|kind| SHARED_FILE_SYSTEMS.contains(&kind));
    if is_shared && !force {
        let cause = "--lazy is not safe with an image on a network file system or FUSE";
        let advice = "leave --lazy out, or copy the image to a local disk";
        return Err(Failure::new(Code::Unsupported, name, cause, advice));
    }
    Ok(())
}

/// File systems whose files another machine or a program can take away or change (include/uapi/linux/magic.h, and the headers of those that
/// are not in there).
const SHARED_FILE_SYSTEMS: [u64; 15] = [
    0x6969,      // NFS
    0x517b,      // SMB
    0xfe53_4d42, // SMB2
    0xff53_4d42, // CIFS
    0x6573_5546, // FUSE
    0x0102_1997, // 9P
    0x5346_414f, // AFS
    0x6b41_4653, // kAFS
    0x00c3_6400, // Ceph
    0x7375_7245, // Coda
    0x0bd0_0bd0, // Lustre
    0x4750_4653, // GPFS
    0x7461_636f, // OCFS2
    0x0116_1970, // GFS2
    0x786f_4256, // vboxsf
];

/// Refuses the image of another user's process, or of a CPU that could do more.
///
/// # Errors
///
/// [`Code::Permission`] unless forced; [`Code::Cpu`].
pub fn check_machine<'a>(image: &Image, options: &Options<'a>) -> Result<'a, ()> {
    let name = options.image;
    let process = image.process();
    if process.uid != sys::process::uid() && !options.forces(Check::User) {
        let cause = "the process belonged to another user";
        let advice = "restart it as that user, or use --force=user";
        return Err(Failure::new(Code::Permission, name, cause, advice));
    }
    if process.xcr0 == 0 {
        return Ok(());
    }
    let xstate = sys::cpu::xstate();
    let missing = process.xcr0 & !xstate.enabled;
    if let Some((_, feature)) = FEATURES.iter().find(|(bit, _)| missing >> bit & 1 != 0) {
        let advice = "restart it on a machine that has it";
        return Err(Failure::new(Code::Cpu, name, feature, advice));
    }
    if missing != 0 {
        let cause = "the process was using a register set that is not enabled here";
        return Err(Failure::new(Code::Cpu, name, cause, "restart it on a machine like the first"));
    }
    let other_layout = xstate.enabled == process.xcr0 && u64::from(xstate.size) != process.xstate_size;
    if process.xstate_size > u64::from(xstate.size) || other_layout {
        let cause = "the CPU lays out saved registers in another way than the one of the image";
        return Err(Failure::new(Code::Cpu, name, cause, "restart it on a machine like the first"));
    }
    Ok(())
}

/// Refuses to let a process out of the seccomp filters that it was under: the restarter cannot read them, but it can have inherited as many.
///
/// # Errors
///
/// [`Code::Permission`] unless `force`.
pub fn check_filters<'a>(image: &Image, name: &'a [u8], force: bool) -> Result<'a, ()> {
    let wanted = image.process().seccomp_filters;
    if wanted == 0 || force {
        return Ok(());
    }
    let mut text = [0u8; 4096];
    let present = proc_text(b"/proc/self/status\0", &mut text)
        .and_then(|text| number::decimal(fields::find(text, b"Seccomp_filters:")?))
        .unwrap_or(0);
    if present >= u64::from(wanted) {
        return Ok(());
    }
    let cause = "the process was under seccomp filters that this process is not under";
    let advice =
        "restart it under the same ones (in the same container), or use --force=filters to go on without";
    Err(Failure::new(Code::Permission, name, cause, advice))
}

/// What the process may do less than this one: each of its threads gives that up before it goes on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rights<'a> {
    /// Effective, permitted and inheritable capabilities that stay; `None`: all.
    pub capabilities: Option<[u64; 3]>,
    /// Capabilities that leave the bounding set.
    pub unbound: u64,
    /// Ambient capabilities that stay; `None`: all.
    pub ambient: Option<u64>,
    /// Supplementary groups that stay; `None`: all.
    pub groups: Option<&'a [u32]>,
}

/// Room for supplementary groups; who is in more is not in all of them for the restarted process.
const GROUPS: usize = 1024;

/// What this process may do that the one of the image might not: it is given up where the kernel lets it be, and else there is no restart. A file cannot give the process
/// anything.
///
/// # Errors
///
/// [`Code::Permission`] unless forced.
pub fn rights<'a>(
    image: &Image,
    options: &Options<'a>,
    arena: &mut Arena<'static>,
) -> Result<'a, Rights<'static>> {
    /// The list of groups is part of the text.
    const STATUS: usize = 32 * 1024;
    let name = options.image;
    let text = arena.zeros(STATUS)?;
    let Some(text) = proc_text(b"/proc/self/status\0", text) else {
        return Err(Failure::new(Code::Kernel, b"/proc/self/status", "cannot read it", "is /proc mounted?"));
    };
    let set = |name| fields::find(text, name).and_then(number::hex).unwrap_or(0);
    let now = [set(b"CapEff:"), set(b"CapPrm:"), set(b"CapInh:")];
    let [inheritable, permitted, effective, bounding, ambient] = image.process().capabilities;
    let by_file = options.secure && sys::process::uid() != 0;
    let had = if by_file { [0; 3] } else { [effective, permitted, inheritable] };
    let mut rights = Rights::default();
    let mut stay = now;
    stay.iter_mut().zip(had).for_each(|(now, had)| *now &= had);
    if stay != now {
        rights.capabilities = Some(stay);
    }
    let [effective, ..] = now;
    let may = |capability: u32| effective >> capability & 1 != 0;
    if may(capability::SETPCAP) {
        rights.unbound = set(b"CapBnd:") & !bounding;
    }
    let present = set(b"CapAmb:");
    if present & !ambient != 0 {
        rights.ambient = Some(present & ambient);
    }
    let forced = options.forces(Check::Privileges);
    rights.groups = groups(image, may(capability::SETGID), forced, name, arena)?;
    if !forced && !has_label(image) {
        let cause = "the process was under a security module's label that this process is not under";
        let advice =
            "restart it in the same place (the same container or service), or use --force=privileges";
        return Err(Failure::new(Code::Permission, name, cause, advice));
    }
    Ok(rights)
}

/// Which supplementary groups stay, where there are too many.
fn groups<'a>(
    image: &Image,
    may_set: bool,
    forced: bool,
    name: &'a [u8],
    arena: &mut Arena<'static>,
) -> Result<'a, Option<&'static [u32]>> {
    let process = image.process();
    let saved = image.entries::<u32>(process.groups);
    let had = |group: u32| group == process.gid || saved.iter().any(|other| other == group);
    let mut now = [0u32; GROUPS];
    let count = sys::process::supplementary_groups(&mut now).unwrap_or(0);
    let now = now.get(..count).unwrap_or_default();
    if forced || now.iter().all(|group| had(*group)) && had(sys::process::effective_gid()) {
        return Ok(None);
    }
    if !may_set || !had(sys::process::effective_gid()) {
        let cause = "this process is in a group that the process was not in";
        let advice = "restart it without that group (newgrp, setpriv), or use --force=privileges";
        return Err(Failure::new(Code::Permission, name, cause, advice));
    }
    let mut kept = arena.list::<u32>(now.len())?;
    for group in now.iter().filter(|group| had(**group)) {
        kept.push(*group)?;
    }
    Ok(Some(kept.into_slice()))
}

/// Whether this process has the label of the image's, or that one had none that confines.
fn has_label(image: &Image) -> bool {
    let end = |byte: &u8| matches!(byte, 0 | b'\n');
    let line = |text: &[u8]| text.split(end).next().map_or(0, <[u8]>::len);
    let saved = image.bytes(image.process().label);
    let saved = saved.get(..line(saved)).unwrap_or_default();
    if saved.is_empty() || saved == b"unconfined" {
        return true;
    }
    let mut text = [0u8; 4096];
    let now = proc_text(b"/proc/self/attr/current\0", &mut text).unwrap_or_default();
    now.get(..line(now)) == Some(saved)
}

/// Register sets by their number in XCR0 (Intel SDM, volume 1, 13.1).
const FEATURES: [(u32, &str); 9] = [
    (2, "the CPU or the kernel lacks a feature that the process was using: avx"),
    (5, "the CPU or the kernel lacks a feature that the process was using: avx512f"),
    (6, "the CPU or the kernel lacks a feature that the process was using: avx512f"),
    (7, "the CPU or the kernel lacks a feature that the process was using: avx512f"),
    (9, "the CPU or the kernel lacks a feature that the process was using: pku"),
    (17, "the CPU or the kernel lacks a feature that the process was using: amx_tile"),
    (18, "the CPU or the kernel lacks a feature that the process was using: amx_tile"),
    (3, "the CPU or the kernel lacks a feature that the process was using: mpx"),
    (4, "the CPU or the kernel lacks a feature that the process was using: mpx"),
];

/// Whether the saved vdso has the bytes of the one at `now`. One that cannot be read is another one.
pub fn same_vdso(image: &Image, fd: i32, now: Span) -> bool {
    let Some(region) = vdso_region(image) else { return false };
    if region.end - region.start != now.end - now.start {
        return false;
    }
    // Runs of the saved one; what is between them is zero.
    let mut at = region.start;
    let mut same = true;
    let here = |address: u64| (address - region.start + now.start) as *const u8;
    let zeros = |from: u64, to: u64| {
        // SAFETY: the kernel maps the vdso readable, and the range is inside of it.
        let bytes = unsafe { core::slice::from_raw_parts(here(from), (to - from) as usize) };
        image::zero::is_zero(bytes)
    };
    for load in image.loads_of(&region).iter() {
        same &= zeros(at, load.p_vaddr);
        let mut page = [0u8; PAGE as usize];
        for offset in (0..load.p_filesz).step_by(PAGE as usize) {
            same &= sys::fd::read_at(fd, &mut page, load.p_offset + offset) == Ok(page.len());
            // SAFETY: as above.
            let bytes = unsafe { core::slice::from_raw_parts(here(load.p_vaddr + offset), PAGE as usize) };
            same &= bytes == page;
        }
        at = load.p_vaddr + load.p_filesz;
    }
    same && zeros(at, region.end)
}

/// The region of the saved vdso.
pub fn vdso_region(image: &Image) -> Option<Region> {
    let home = image.process().vdso;
    image.region_at(home).filter(|region| region.kind == region_kind::VDSO)
}

/// The saved vdso, as it is and with its functions turned into system calls.
///
/// # Errors
///
/// When it cannot be read, or is damaged; [`Code::Unsupported`] when it is not of the known form.
pub fn saved_vdso<'a, 'n>(
    image: &Image,
    fd: i32,
    loader: &Loader<'n>,
    arena: &mut Arena<'a>,
) -> Result<'n, SavedVdso<'a>> {
    let Some(region) = vdso_region(image) else { return Ok(SavedVdso::default()) };
    let original = arena.zeros((region.end - region.start) as usize)?;
    for load in image.loads_of(&region).iter() {
        let Phdr { p_vaddr, p_filesz, p_offset, .. } = load;
        let at = (p_vaddr - region.start) as usize;
        let place = original.get_mut(at..at + p_filesz as usize).unwrap_or_default();
        loader.read(image, fd, p_offset, place)?;
    }
    let patched = arena.copy(original)?;
    match crate::vdso::patch(patched) {
        Some(_) => Ok(SavedVdso { original, patched }),
        None => Err(Failure::new(
            Code::Unsupported,
            loader.name,
            "the image is from another kernel, and its vdso is of an unknown form",
            "restart it under the kernel that it was saved under",
        )),
    }
}

/// How regions use a file.
#[derive(Clone, Copy, Default)]
struct Use {
    private: bool,
    shared: bool,
    written: bool,
    kept_out: bool,
}

/// Looks whether the working directory is there.
///
/// # Errors
///
/// [`Code::FileMissing`]; [`Code::FileChanged`] where a symbolic link is on the way.
pub fn look_at_cwd(
    image: &Image<'static>,
    paths: &Paths<'static>,
    arena: &mut Arena<'static>,
) -> Result<'static, ()> {
    let path = paths.cwd(image, arena)?;
    if path.len() <= 1 {
        return Ok(());
    }
    match paths.hold(AT_FDCWD, path, open_flag::DIRECTORY) {
        Ok(held) => {
            let _ = sys::fd::close(held);
            Ok(())
        }
        Err(errno) => {
            let code = if errno == Errno::ELOOP { Code::FileChanged } else { Code::FileMissing };
            let cause = "the working directory of the process is not there";
            Err(Failure::os(code, path, cause, errno, "put it back, or use --map OLD=NEW or --cwd DIR"))
        }
    }
}

/// What regions do with the mapped files.
fn uses<'a>(image: &Image, arena: &mut Arena<'a>) -> Result<'static, &'a [Use]> {
    let mut uses = arena.list::<Use>(image.files().len())?;
    for _ in 0..image.files().len() {
        uses.push(Use::default())?;
    }
    for region in image.regions().iter() {
        let Some(file) = uses.as_mut_slice().get_mut(region.file as usize) else { continue };
        match region.kind {
            region_kind::FILE => file.private = true,
            region_kind::SHARED_FILE => {
                file.shared = true;
                let may_write = region.flags & region_flag::NO_MAYWRITE == 0;
                file.written |= may_write;
                file.kept_out |= !may_write;
            }
            _ => {}
        }
    }
    Ok(uses.into_slice())
}

/// Looks at the files that the process had mapped shared; opens none. What is there, for each entry of FILES; nothing for the others.
///
/// # Errors
///
/// [`Code::FileChanged`] where somebody else may have put another file in the place of one that the process writes to.
pub fn look_at_mapped(
    image: &Image<'static>,
    options: &Options<'_>,
    paths: &Paths<'static>,
    arena: &mut Arena<'static>,
) -> Result<'static, &'static [Identity]> {
    let uses = uses(image, arena)?;
    let mut all = arena.list::<Identity>(uses.len())?;
    for (file, used) in image.files().iter().zip(uses) {
        all.push(if used.shared {
            look_at_one(image, &file, *used, options, paths, arena)?
        } else {
            Identity::default()
        })?;
    }
    Ok(all.into_slice())
}

fn look_at_one(
    image: &Image<'static>,
    file: &MappedFile,
    used: Use,
    options: &Options<'_>,
    paths: &Paths<'static>,
    arena: &mut Arena<'static>,
) -> Result<'static, Identity> {
    let path = image.c_str(file.path);
    let now = paths.now(path, arena)?;
    let copy = file.spare.wrapping_sub(1);
    let has_copy = crate::files::found::has_copy(image, copy);
    let held = match paths.hold(AT_FDCWD, now, 0) {
        Ok(held) => held,
        Err(Errno::ENOENT | Errno::ENOTDIR) if has_copy => return Ok(Identity::MISSING),
        Err(errno) => return Err(unmapped(path, errno)),
    };
    let stat = sys::fd::stat_fd(held);
    let _ = sys::fd::close(held);
    let stat = stat.map_err(|errno| unmapped(path, errno))?;
    if !is_harmless(&stat) {
        let cause = "the process had this file mapped, and it is of another type now";
        return Err(Failure::new(Code::FileChanged, path, cause, "put it back"));
    }
    let is_regular = stat.mode & mode::TYPE == mode::REGULAR;
    let same = same_inode([file.dev, file.ino], &stat);
    if used.written && is_regular && !same && !options.forces(Check::Paths) && !paths.are_mine(now, &stat) {
        let cause = "another file is in the place of one that the process had mapped, and somebody else may have put it there";
        let advice = "put the old one back, or use --force=paths if you trust it";
        return Err(Failure::new(Code::FileChanged, path, cause, advice));
    }
    let is_changed = file.deleted == 0 && !(same && is_unchanged(file, &stat));
    let comes_back = options.roll_back && crate::files::written::has_name(image, path);
    // Of what is memory rather than a file, the present contents are the right ones, as they are for all who have it mapped.
    if used.written
        && is_regular
        && is_changed
        && !(has_copy && same || comes_back || options.accepts_changes)
    {
        let cause = "a file that the process had mapped, and writes to, is not what it was at the save";
        let advice = "put it back as it was, or use --changed-files=accept if the process can go on with it";
        return Err(Failure::new(Code::FileChanged, path, cause, advice));
    }
    Ok(Identity::of(&stat))
}

/// Why a file cannot be mapped again.
fn unmapped(path: &[u8], errno: Errno) -> Failure<'_> {
    let code = match errno {
        Errno::ENOENT | Errno::ENOTDIR => Code::FileMissing,
        Errno::ELOOP => Code::FileChanged,
        _ => Code::Call,
    };
    let cause = "the process had this file mapped, and it cannot be opened";
    Failure::os(code, path, cause, errno, "put it back, or use --map OLD=NEW").by_errno()
}

/// Opens the files that regions map. `looked` is what [`look_at_mapped`] has seen.
///
/// # Errors
///
/// When a file that is mapped shared cannot be opened: without it there is nothing to map. Private mappings come from the image then.
pub fn open_backings(
    image: &Image<'static>,
    options: &Options<'_>,
    paths: &Paths<'static>,
    looked: &[Identity],
    objects: &[Made],
    arena: &mut Arena<'static>,
) -> Result<'static, &'static [Backing]> {
    let uses = uses(image, arena)?;
    let mut backings = arena.list::<Backing>(uses.len())?;
    let is_plan = options.mode == Mode::Plan;
    for ((file, used), looked) in image.files().iter().zip(uses).zip(looked) {
        if *looked == Identity::MISSING {
            let made = objects.get(file.spare.wrapping_sub(1) as usize);
            let path = image.c_str(file.path);
            backings.push(copied(*used, made.map_or(-1, |made| made.fd), is_plan, path)?)?;
            continue;
        }
        let path = paths.now(image.c_str(file.path), arena)?;
        backings.push(open_backing(image, &file, *used, path, paths, looked, is_plan)?)?;
    }
    Ok(backings.into_slice())
}

/// The copy of a file that is not there: open as a file would be.
fn copied(used: Use, copy: i32, is_plan: bool, path: &'static [u8]) -> Result<'static, Backing> {
    let fail = |errno| unmapped(path, errno);
    let open = |access| if is_plan { stand_in() } else { open_held(copy, access) };
    let fd = open(if used.written { open_flag::RDWR } else { open_flag::RDONLY }).map_err(fail)?;
    let both = used.written && used.kept_out;
    let read_only = if both { open(open_flag::RDONLY).map_err(fail)? } else { -1 };
    Ok(Backing { fd, read_only, same: false })
}

fn open_backing(
    image: &Image<'static>,
    file: &MappedFile,
    used: Use,
    path: &[u8],
    paths: &Paths<'static>,
    looked: &Identity,
    is_plan: bool,
) -> Result<'static, Backing> {
    const NONE: Backing = Backing { fd: -1, read_only: -1, same: false };
    if !(used.shared || used.private && file.deleted == 0) {
        return Ok(NONE);
    }
    let named = image.c_str(file.path);
    let fail = |errno| unmapped(named, errno);
    let held = match paths.hold(AT_FDCWD, path, 0) {
        Ok(held) => held,
        Err(_) if !used.shared => return Ok(NONE),
        Err(errno) => return Err(fail(errno)),
    };
    // The plan only shows the number.
    let open = |access| {
        let flags = access | open_flag::NONBLOCK | open_flag::NOCTTY;
        if is_plan { stand_in() } else { open_held(held, flags) }
    };
    let opened = sys::fd::stat_fd(held).map_err(fail).and_then(|stat| {
        let same = is_same(file, &stat);
        if !(used.shared || same && is_harmless(&stat)) {
            return Ok(NONE);
        }
        if !looked.is(&stat) {
            return Err(crate::files::found::replaced(named));
        }
        let fd = match open(if used.written { open_flag::RDWR } else { open_flag::RDONLY }) {
            Ok(fd) => fd,
            Err(_) if !used.shared => return Ok(NONE),
            Err(errno) => return Err(fail(errno)),
        };
        let both = used.written && used.kept_out;
        let read_only = if both { open(open_flag::RDONLY).map_err(fail)? } else { -1 };
        Ok(Backing { fd, read_only, same })
    });
    let _ = sys::fd::close(held);
    opened
}

/// Whether a file is what it was, as far as can be told without reading it.
fn is_same(file: &MappedFile, stat: &Stat) -> bool {
    file.deleted == 0 && (file.dev, file.ino) == (stat.dev, stat.ino) && is_unchanged(file, stat)
}

/// Whether length and times of a file are what they were.
fn is_unchanged(file: &MappedFile, stat: &Stat) -> bool {
    file.size == stat.size as u64
        && (file.mtime.sec, file.mtime.frac) == (stat.mtime, stat.mtime_nsec as i64)
        && (file.ctime.sec, file.ctime.frac) == (stat.ctime, stat.ctime_nsec as i64)
}

/// What 0, 1 and 2 are. Those that are closed are taken up, so that nothing else gets their numbers.
pub fn standard() -> [Own; 3] {
    let group = sys::process::group();
    [0, 1, 2].map(|fd| {
        let Ok(flags) = sys::fd::control(fd, fcntl::GETFL, 0) else {
            // The lowest free number is this one.
            let _ = sys::fd::open_at(AT_FDCWD, b"/\0", open_flag::PATH | open_flag::CLOEXEC, 0);
            return Own::default();
        };
        Own {
            open: true,
            flags: flags as u32,
            foreground: sys::terminal::foreground_group(fd) == Ok(group),
            window: sys::terminal::window(fd).ok(),
        }
    })
}

/// The restarter may have been started with a stack that is too small for it: raises its own limit, and the process gets the one that it had.
///
/// # Errors
///
/// [`Code::Limit`] where it cannot be raised.
pub fn make_room_for_stack() -> Result<'static, ()> {
    /// What the deepest path takes, several lines of `/proc` of 16 KiB among it, is two thirds of that.
    const NEEDED: u64 = 128 * 1024;
    let [soft, hard] = sys::process::limit(sys::process::STACK).unwrap_or([u64::MAX; 2]);
    if soft >= NEEDED
        || hard >= NEEDED && sys::process::set_limit(sys::process::STACK, [NEEDED, hard]).is_ok()
    {
        return Ok(());
    }
    let cause = "the stack is too small for a restart";
    Err(Failure::new(Code::Limit, b"RLIMIT_STACK", cause, "raise it to 128 KiB (ulimit -Hs 128)"))
}

/// The restarter may have a lower limit of descriptors than the process, or than what it needs for a moment besides: raises its own.
/// The process gets the limit that it had, as one of its limits.
///
/// # Errors
///
/// [`Code::Limit`] where the process had a number that cannot be had here.
pub fn make_room_for_descriptors(image: &Image, fd: i32) -> Result<'static, ()> {
    /// Standard error, and what the plan uses for a moment.
    const SPARE: usize = 8;
    let wanted = image.descriptors().iter().map(|descriptor| u64::from(descriptor.number) + 1).max();
    let wanted = wanted.unwrap_or(0).max(3);
    let held = image.files().len() + 2 * image.objects().len() + image.open_files().len() + SPARE;
    let [soft, hard] = sys::process::limit(sys::process::NOFILE).unwrap_or([u64::MAX; 2]);
    let room = wanted + held as u64;
    if room <= soft || room > hard && sys::process::set_limit(sys::process::NOFILE, [room, room]).is_ok() {
        grow_table(wanted, fd);
        return Ok(());
    }
    // What is held for a moment may fit below the process's numbers.
    let most = room.min(hard);
    if wanted <= hard && (most <= soft || sys::process::set_limit(sys::process::NOFILE, [most, hard]).is_ok())
    {
        grow_table(wanted, fd);
        return Ok(());
    }
    let cause = "the process had a descriptor with a number above the hard limit here";
    Err(Failure::new(Code::Limit, b"RLIMIT_NOFILE", cause, "raise it (ulimit -Hn)"))
}

/// Makes the table of descriptors as large as it will have to be: where threads share it, the kernel waits for a grace period each time that it grows.
fn grow_table(wanted: u64, fd: i32) {
    if let Ok(high) = sys::fd::control(fd, fcntl::DUPFD_CLOEXEC, wanted.saturating_sub(1) as usize) {
        let _ = sys::fd::close(high as i32);
    }
}

/// A descriptor of standard error that the process's do not replace, for the line of a failure; 2 where there is none to be had.
pub fn keep_stderr(image: &Image) -> i32 {
    let Ok(kept) = sys::fd::control(2, fcntl::DUPFD_CLOEXEC, 3) else { return 2 };
    out_of_the_way(image, kept as i32).unwrap_or_else(|_| {
        // Left open, it would have a number that the plan does not know of.
        let _ = sys::fd::close(kept as i32);
        2
    })
}

/// Whether there is a controlling terminal (`tty_nr` of proc_pid_stat(5)).
pub fn has_terminal() -> bool {
    let mut text = [0u8; 1024];
    let stat = proc_text(b"/proc/self/stat\0", &mut text).and_then(image::stat::Stat::parse);
    stat.is_some_and(|stat| stat.tty_nr != 0)
}

/// Present `/proc/self/oom_score_adj`.
pub fn oom_score_adj() -> i32 {
    proc_file(b"/proc/self/oom_score_adj\0", number::signed).unwrap_or(0) as i32
}

/// Present `/proc/self/coredump_filter`.
pub fn coredump_filter() -> u32 {
    proc_file(b"/proc/self/coredump_filter\0", number::hex).unwrap_or(0) as u32
}

/// The value of a file of one line.
fn proc_file<T>(path: &[u8], parse: impl FnOnce(&[u8]) -> Option<T>) -> Option<T> {
    let mut text = [0u8; 64];
    parse(proc_text(path, &mut text)?)
}

/// The contents of a small file of `/proc`.
pub fn proc_text<'t>(path: &[u8], text: &'t mut [u8]) -> Option<&'t [u8]> {
    let from = sys::fd::open_at(AT_FDCWD, path, open_flag::RDONLY | open_flag::CLOEXEC, 0).ok()?;
    let len = sys::fd::read(from, text);
    let _ = sys::fd::close(from);
    text.get(..len.ok()?)
}

/// Writes a file of `/proc`.
pub fn write_proc(path: &CStr, text: &[u8]) -> sys::Result<()> {
    let flags = open_flag::WRONLY | open_flag::CLOEXEC;
    let fd = sys::fd::open_at(AT_FDCWD, path.to_bytes_with_nul(), flags, 0)?;
    let written = sys::fd::write(fd, text);
    let _ = sys::fd::close(fd);
    written.map(drop)
}

/// What the clocks of the process show more than those here.
pub fn clocks(image: &Image) -> Ahead {
    let now = sys::time::now;
    Ahead::new(image.process(), now(clock::MONOTONIC), now(clock::BOOTTIME))
}

/// Present resource limits.
pub fn limits() -> [Limit; 16] {
    let mut number = 0;
    [(); 16].map(|()| {
        let [soft, hard] = sys::process::limit(number).unwrap_or([u64::MAX; 2]);
        number += 1;
        Limit { soft, hard }
    })
}

/// The executable of the image, if it can be made that of this process: the file is the one that it was, among the mapped ones.
pub fn executable(
    image: &Image<'static>,
    paths: &Paths<'static>,
    backings: &[Backing],
    arena: &mut Arena<'static>,
) -> Result<'static, Option<Executable<'static>>> {
    let exe = image.c_str(image.process().exe);
    let mut files = image.files().iter().zip(backings);
    let is_it = |(file, backing): &(MappedFile, &Backing)| backing.same && image.c_str(file.path) == exe;
    let Some((file, _)) = files.find(is_it).filter(|_| exe.len() > 1) else { return Ok(None) };
    let identity = Identity { dev: file.dev, ino: file.ino, kind: mode::REGULAR, rdev: 0 };
    Ok(Some(Executable { path: paths.now(exe, arena)?, identity }))
}
