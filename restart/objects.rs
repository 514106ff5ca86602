//! Files that live only in the image, made anew before anything is planned: memfds, and files without a name for deleted ones. Their contents
//! are loaded by the plan. Shared anonymous memory is made by the plan, too: it has no descriptor.

use crate::arena::{Arena, List};
use crate::exit::{Code, Failure, Result};
use crate::files::found::{open_held, stand_in};
use crate::files::{Paths, out_of_the_way, split};
use crate::options::{Missing, Mode, Options};
use image::format::{Object, PAGE, Region, object_kind, region_flag, region_kind};
use image::read::Image;
use sys::Errno;
use sys::fd::{self, AT_FDCWD, memfd, open_flag};
use sys::line::Line;

/// An object that is there again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Made {
    /// Descriptor, open for reading and writing; -1 for shared anonymous memory.
    pub fd: i32,
    /// One that is open for reading only, where a region may never become writable; else -1.
    pub read_only: i32,
    /// Where it is mapped while it is filled, in bytes from the start of [`crate::plan::layout::Layout::objects`].
    pub at: u64,
    /// How many bytes of address space it takes there.
    pub len: u64,
    /// Of contents that come back to a file: where that is now, with a NUL. Else empty.
    pub path: &'static [u8],
}

/// [`Made::read_only`] before it is opened.
const WANTED: i32 = -2;
/// A shared mapping that may never become writable.
const READ_ONLY: u32 = region_flag::SHARED | region_flag::NO_MAYWRITE;
/// `F_SEAL_EXEC`: nobody may make the file executable.
const SEAL_EXEC: u32 = 0x20;

/// Where every object goes while it is filled, and which must be opened for reading as well. No file is there yet.
///
/// # Errors
///
/// When the arena is too small.
pub fn lay_out<'a>(image: &Image<'_>, arena: &mut Arena<'a>) -> Result<'static, List<'a, Made>> {
    let mut made = arena.list::<Made>(image.objects().len())?;
    for object in image.objects().iter() {
        made.push(Made { fd: -1, read_only: -1, at: 0, len: object.size.next_multiple_of(PAGE), path: b"" })?;
    }
    for region in image.regions().iter().filter(|region| region.kind == region_kind::OBJECT) {
        let Some(files) = made.as_mut_slice().get_mut(region.file as usize) else { continue };
        let is_anonymous =
            image.objects().get(region.file as usize).is_some_and(|o| o.kind == object_kind::SHARED_ANON);
        if region.flags & READ_ONLY == READ_ONLY && !is_anonymous {
            files.read_only = WANTED;
        }
        if is_anonymous && begins_beyond(image, &region) {
            // Such a region is made out of a mapping that is there, and must begin inside of it.
            files.len = files.len.max(region.offset + PAGE);
        }
    }
    let mut next = 0;
    for files in made.as_mut_slice() {
        files.at = next;
        next += files.len;
    }
    Ok(made)
}

/// Makes the files of all objects, under numbers that the process does not use.
///
/// # Errors
///
/// When the kernel refuses.
pub fn make(
    image: &Image<'static>,
    paths: &Paths<'static>,
    options: &Options<'_>,
    is_missing: impl Fn(u32) -> bool,
    arena: &mut Arena<'static>,
) -> Result<'static, &'static [Made]> {
    let is_plan = options.mode == Mode::Plan;
    let mut made = lay_out(image, arena)?;
    for ((index, object), files) in (0u32..).zip(image.objects().iter()).zip(made.as_mut_slice()) {
        if object.kind == object_kind::SHARED_ANON {
            continue;
        }
        let is_spare = object.kind == object_kind::SPARE;
        let is_contents = matches!(object.kind, object_kind::WRITTEN | object_kind::ABSENT);
        if is_spare && !is_missing(index) || is_contents && !options.roll_back {
            // The file itself is there, or is to be as it is.
            files.len = 0;
            continue;
        }
        let name = image.c_str(object.name);
        if is_contents {
            files.path = paths.now(name, arena)?;
        }
        if object.kind == object_kind::ABSENT {
            continue;
        }
        let fail = |cause| move |errno| Failure::os(Code::Call, name, cause, errno, "").by_errno();
        let first = match object.kind {
            object_kind::MEMFD if is_plan => stand_in(),
            object_kind::MEMFD => memory_file(name, &object),
            object_kind::SPARE if options.missing == Missing::Create && !is_plan => {
                put_back(paths.now(name, arena)?, paths, arena)?
            }
            _ => nameless_file(paths.now(name, arena)?, object.dev, paths, is_plan),
        };
        let first = first.map_err(fail("cannot make a file for what the process had open or mapped"))?;
        let sized = if is_plan { Ok(()) } else { fd::set_length(first, object.size) };
        sized.map_err(fail("no room for a file that the process had open or mapped"))?;
        let moved = out_of_the_way(image, first);
        files.fd = moved.map_err(fail("no free descriptor for a file that the process had mapped"))?;
        if files.read_only == WANTED {
            let opened = if is_plan { stand_in() } else { open_held(files.fd, open_flag::RDONLY) };
            let opened = opened.and_then(|fd| out_of_the_way(image, fd));
            files.read_only = opened.map_err(fail("cannot open a file that the process had mapped"))?;
        }
    }
    Ok(made.into_slice())
}

/// A memfd. Whether it may be executable is said when it is made; kernels before 6.3 do not know the question, and on others the answer may be
/// prescribed (`vm.memfd_noexec`).
fn memory_file(name: &[u8], object: &Object) -> sys::Result<i32> {
    const FLAGS: u32 = memfd::CLOEXEC | memfd::ALLOW_SEALING;
    let is_plain = object.seals & SEAL_EXEC != 0 && object.mode & 0o111 == 0;
    let first = if is_plain { memfd::NOEXEC_SEAL } else { memfd::EXEC };
    fd::create_memfd(name, FLAGS | first).or_else(|_| fd::create_memfd(name, FLAGS))
}

/// Makes a file that is not there, under its name.
fn put_back(path: &[u8], paths: &Paths<'_>, arena: &mut Arena<'_>) -> Result<'static, sys::Result<i32>> {
    let (parent, name) = split(path, arena)?;
    let flags = open_flag::CREAT | open_flag::EXCL | open_flag::RDWR | open_flag::CLOEXEC;
    Ok(paths.hold(AT_FDCWD, parent, open_flag::DIRECTORY).and_then(|parent| {
        let made = fd::open_at(parent, name, flags, 0o600);
        let _ = fd::close(parent);
        made
    }))
}

/// A file without a name, on the file system of the deleted one if that can be. On another one in its place somebody else might read it.
fn nameless_file(path: &[u8], dev: u64, paths: &Paths<'_>, is_plan: bool) -> sys::Result<i32> {
    let make = |at, dir: &[u8]| {
        let flags = open_flag::TMPFILE | open_flag::RDWR | open_flag::CLOEXEC;
        if is_plan { stand_in() } else { fd::open_at(at, dir, flags, 0o600) }
    };
    let mut parent = Line::<4097>::new();
    let end = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0).max(1);
    parent.bytes(path.get(..end).unwrap_or_default()).text("\0");
    if let Ok(held) = paths.hold(AT_FDCWD, parent.as_bytes(), open_flag::DIRECTORY) {
        let is_it = fd::stat_fd(held).is_ok_and(|stat| stat.dev == dev);
        let made = if is_it { make(held, b".\0") } else { Err(Errno::EXDEV) };
        let _ = fd::close(held);
        if made.is_ok() {
            return made;
        }
    }
    for dir in [&b".\0"[..], b"/tmp\0", b"/var/tmp\0"] {
        if let Ok(made) = make(AT_FDCWD, dir) {
            return Ok(made);
        }
    }
    fd::create_memfd(b"deleted\0", memfd::CLOEXEC)
}

/// The path by which the file of a descriptor of this process can be opened, with its NUL.
pub fn descriptor_path(fd: i32) -> Line<64> {
    let mut path = Line::new();
    path.text("/proc/self/fd/").int(i64::from(fd)).text("\0");
    path
}

/// Bytes of address space for all objects; at least as many as [`make`] gives out.
pub fn address_space(image: &Image) -> u64 {
    let sizes = image.objects().iter().map(|object| object.size.next_multiple_of(PAGE));
    let regions = image.regions().iter().filter(|region| region.kind == region_kind::OBJECT);
    let beyond = regions.filter(|region| begins_beyond(image, region)).map(|region| region.offset + PAGE);
    sizes.chain(beyond).fold(0, u64::saturating_add)
}

/// Whether a region begins behind the end of its object.
fn begins_beyond(image: &Image, region: &Region) -> bool {
    image.objects().get(region.file as usize).is_some_and(|object| region.offset >= object.size)
}
