//! Descriptors and the open file descriptions behind them.
//!
//! The helper reads its own copy of the target's table: `/proc/self/fd`, then a few questions for each number.

use crate::helper::Stop;
use crate::message::{Failure, Kind};
use crate::report::Report;
use crate::scratch::{List, Scratch};
use image::format::{Descriptor, NONE, OpenFile, Time, file_kind};
use image::number::take_decimal;
use sys::fd::{self, Stat, fcntl, open_flag};
use sys::line::Line;
use sys::{Errno, process};

const S_IFMT: u32 = 0o170000;
const S_IFREG: u32 = 0o100000;
const S_IFDIR: u32 = 0o040000;
const S_IFCHR: u32 = 0o020000;

/// Reads the table, without the descriptors of the report.
pub fn read(scratch: &mut Scratch, report: &mut Report) -> Result<(List<OpenFile>, List<Descriptor>), Stop> {
    const NAME: &str = "/proc/self/fd";
    let fail = |errno| Stop::from(Failure::Proc(NAME, errno));
    let flags = open_flag::RDONLY | open_flag::DIRECTORY | open_flag::CLOEXEC;
    let dir = fd::open_at(fd::AT_FDCWD, b"/proc/self/fd\0", flags, 0).map_err(fail)?;
    let numbers = numbers(dir, scratch);
    let _ = fd::close(dir);
    let numbers = numbers?;
    let mut descriptors = scratch.list::<Descriptor>();
    let ours = [report.fd, report.target];
    for &number in numbers.iter().filter(|number| !ours.contains(&(**number as i32))) {
        let closing =
            fd::control(number as i32, fcntl::GETFD, 0).map_err(|errno| Failure::Ask("fcntl", errno))?;
        scratch.push(&mut descriptors, Descriptor { number, file: NONE, flags: closing as u32 & 1 })?;
    }
    let mut files = scratch.list::<OpenFile>();
    let self_pid = process::pid();
    for at in 0..descriptors.len() {
        let Some(&descriptor) = descriptors.get(at) else { break };
        let number = descriptor.number as i32;
        let stat = fd::stat_fd(number).map_err(|errno| Failure::Ask("fstat", errno))?;
        let same = |file: &OpenFile| file.dev == stat.dev && file.ino == stat.ino;
        let known = descriptors.iter().take(at).find(|earlier| {
            files.get(earlier.file as usize).is_some_and(same)
                && process::same_open_file(self_pid, earlier.number as i32, number).unwrap_or(false)
        });
        let index = match known {
            Some(known) => known.file,
            None => {
                let file = match describe(number, &stat, scratch) {
                    Err(Stop::Failed(failure)) if failure.is_refusal() => {
                        report.refuse(failure)?;
                        OpenFile::default()
                    }
                    file => file?,
                };
                scratch.push(&mut files, file)?;
                (files.len() - 1) as u32
            }
        };
        if let Some(entry) = descriptors.get_mut(at) {
            entry.file = index;
        }
    }
    Ok((files, descriptors))
}

/// The open numbers without that of `dir`, ascending: the order in which the kernel lists them (fs/proc/fd.c, proc_readfd_common).
fn numbers(dir: i32, scratch: &mut Scratch) -> Result<List<u32>, Stop> {
    let mut numbers = scratch.list();
    let mut buf = [0u8; 4096];
    loop {
        let len = fd::read_dir(dir, &mut buf).map_err(|errno| Failure::Proc("/proc/self/fd", errno))?;
        if len == 0 {
            return Ok(numbers);
        }
        let mut rest = buf.get(..len).unwrap_or_default();
        // struct linux_dirent64: inode 8, offset 8, length 2, type 1, then the name.
        while let Some((&[low, high], name)) =
            rest.get(16..18).and_then(|l| l.first_chunk()).zip(rest.get(19..))
        {
            if let Some((number, _)) = take_decimal(name).filter(|(number, _)| *number != dir as u64) {
                scratch.push(&mut numbers, number as u32)?;
            }
            rest = rest.get(usize::from(u16::from_le_bytes([low, high]))..).unwrap_or_default();
        }
    }
}

/// The open file description behind a descriptor.
fn describe(number: i32, stat: &Stat, scratch: &mut Scratch) -> Result<OpenFile, Stop> {
    let flags = fd::control(number, fcntl::GETFL, 0).map_err(|errno| Failure::Ask("fcntl", errno))? as u32;
    let mut link = Line::<64>::new();
    link.text("/proc/self/fd/").dec(number as u64).text("\0");
    let len = fd::read_link(fd::AT_FDCWD, link.as_bytes(), scratch.room())
        .map_err(|errno| Failure::Proc("/proc/self/fd", errno))?
        .len();
    let deleted = b" (deleted)";
    let gone = stat.nlink == 0 && scratch.room().get(..len).is_some_and(|path| path.ends_with(deleted));
    let path = scratch.keep(len - if gone { deleted.len() } else { 0 })?;
    let mut file = OpenFile {
        kind: 0,
        flags,
        pos: 0,
        dev: stat.dev,
        ino: stat.ino,
        rdev: stat.rdev,
        size: stat.size as u64,
        mtime: Time { sec: stat.mtime, frac: stat.mtime_nsec as i64 },
        mode: stat.mode,
        object: NONE,
        peer: NONE,
        owner_type: -1,
        path,
        ..OpenFile::default()
    };
    let name = scratch.blob(path);
    file.kind = kind(number, stat, flags, name).map_err(|kind| Failure::Descriptor(number, kind))?;
    if matches!(
        file.kind,
        file_kind::REGULAR | file_kind::DIRECTORY | file_kind::DEVICE | file_kind::MEMFD | file_kind::DELETED
    ) {
        file.pos = match fd::seek(number, 0, 1) {
            Ok(pos) => pos,
            Err(Errno::ESPIPE | Errno::EINVAL) => 0,
            Err(errno) => return Err(Failure::Ask("lseek", errno).into()),
        };
    }
    Ok(file)
}

/// What kind of file it is, or why it cannot be restored.
fn kind(number: i32, stat: &Stat, flags: u32, name: &[u8]) -> Result<u32, Kind> {
    let standard = number <= 2;
    match stat.mode & S_IFMT {
        _ if flags & open_flag::PATH != 0 => {
            Err(Kind { what: "opened with O_PATH", advice: "close it before the save" })
        }
        S_IFREG if fd::file_system(number) == Ok(fd::HUGETLBFS) => {
            Err(Kind { what: "made of huge pages of hugetlbfs", advice: "close it before the save" })
        }
        S_IFREG if stat.nlink == 0 && name.starts_with(b"/memfd:") => Ok(file_kind::MEMFD),
        S_IFREG if stat.nlink == 0 => Ok(file_kind::DELETED),
        S_IFREG => Ok(file_kind::REGULAR),
        S_IFDIR => Ok(file_kind::DIRECTORY),
        S_IFCHR if is_terminal(stat.rdev) => Ok(file_kind::TERMINAL),
        S_IFCHR if is_stateless_device(stat.rdev) => Ok(file_kind::DEVICE),
        _ if standard => Ok(file_kind::STANDARD),
        S_IFCHR => Err(Kind { what: "a device", advice: "close it before the save" }),
        _ if name.starts_with(b"socket:") => {
            Err(Kind { what: "a socket", advice: "close it before the save" })
        }
        _ if name.starts_with(b"pipe:") => Err(Kind { what: "a pipe", advice: "close it before the save" }),
        _ => Err(Kind { what: "of a kind that cannot be restored", advice: "close it before the save" }),
    }
}

/// Terminals by device number (admin-guide/devices): 4 and 5 tty, 136 to 143 pts.
fn is_terminal(rdev: u64) -> bool {
    matches!(rdev >> 8 & 0xfff, 4 | 5 | 136..=143)
}

/// null, zero, full, random, urandom: major 1, minors 3, 5, 7, 8, 9.
fn is_stateless_device(rdev: u64) -> bool {
    rdev >> 8 & 0xfff == 1 && matches!(rdev & 0xff, 3 | 5 | 7 | 8 | 9)
}
