//! `CKPT_FILES=written`: the contents of files that the program reads back and rewrites belong to the image, so that `--rollback-files` can bring them back.
//!
//! Those are the regular files that are open for reading and writing. A data base keeps a part of its state in a file beside its own, open or not, and whether
//! that is there is a part of the state: the four names that SQLite and DuckDB use are looked at as well.

use crate::config;
use crate::helper::{Job, Stop};
use crate::message::{Failure, Kind};
use crate::objects::Source;
use crate::report::Report;
use crate::scratch::{List, Scratch};
use image::format::{Blob, Descriptor, NONE, Object, OpenFile, file_kind, object_kind};
use sys::Errno;
use sys::fd::{self, Stat, open_flag};
use sys::line::Line;

/// What is copied at most, in bytes: the program stands still meanwhile, and the copy takes memory.
pub const MOST: u64 = 1 << 30;
/// Names of files that belong to the one of the name before: SQLite's journals and index, DuckDB's journal.
const BESIDE: [&str; 4] = ["-journal", "-wal", "-shm", ".wal"];
const S_IFMT: u32 = 0o170_000;
const S_IFREG: u32 = 0o100_000;

/// Whether the contents of an open file are asked for.
fn is_wanted(file: &OpenFile) -> bool {
    file.kind == file_kind::REGULAR
        && file.mode & S_IFMT == S_IFREG
        && file.flags & open_flag::ACCMODE == open_flag::RDWR
        && file.flags & open_flag::PATH == 0
}

/// Adds the files to the objects; those that were opened for it, [`crate::objects::close_own`] closes.
pub fn find(
    job: &Job,
    scratch: &mut Scratch,
    files: &mut [OpenFile],
    descriptors: &[Descriptor],
    sources: &mut List<Source>,
    report: &mut Report,
) -> Result<(), Stop> {
    if !config::get().saves_files {
        return Ok(());
    }
    if !job.is_helper {
        // Closing a file in the target's own table would take its locks away.
        report.refuse(Failure::Process(Kind {
            what: "files whose contents CKPT_FILES asks for, and no process can be had to read them",
            advice: "raise the process limit (ulimit -u)",
        }))?;
        return Ok(());
    }
    let first = sources.len();
    let mut size = 0u64;
    for descriptor in descriptors {
        let Some(file) = files.get_mut(descriptor.file as usize).filter(|file| is_wanted(file)) else {
            continue;
        };
        if file.object != NONE {
            continue;
        }
        let number = descriptor.number as i32;
        size = size.saturating_add(file.size);
        if size > MOST {
            let kind = Kind {
                what: "a file whose contents CKPT_FILES asks for, and all of them are larger than 1 GiB",
                advice: "close it before the save, or save without CKPT_FILES and end the program with the save",
            };
            report.refuse(Failure::Descriptor(number, kind))?;
            continue;
        }
        let same = |source: &Source| (source.object.dev, source.object.ino) == (file.dev, file.ino);
        file.object = match sources.iter().position(same) {
            Some(index) => index as u32,
            None => {
                let object = Object {
                    kind: object_kind::WRITTEN,
                    size: file.size,
                    name: file.path,
                    mode: file.mode,
                    dev: file.dev,
                    ino: file.ino,
                    ..Object::default()
                };
                scratch.push(sources, Source::open(object, number))?;
                sources.len() as u32 - 1
            }
        };
    }
    let last = sources.len();
    for index in first..last {
        let Some(name) = sources.get(index).map(|source| source.object.name) else { break };
        for end in BESIDE {
            beside(scratch, sources, name, end, &mut size, report)?;
        }
    }
    Ok(())
}

/// Adds the file that is called like another one and `end`, or that there is none.
fn beside(
    scratch: &mut Scratch,
    sources: &mut List<Source>,
    name: Blob,
    end: &str,
    size: &mut u64,
    report: &mut Report,
) -> Result<(), Stop> {
    let mut path = Line::<{ crate::config::PATH_MAX }>::new();
    path.bytes(scratch.blob(name)).text(end).text("\0");
    if path.is_full() {
        return Ok(());
    }
    let bare = path.as_bytes().strip_suffix(b"\0").unwrap_or_default();
    let flags = open_flag::RDONLY | open_flag::NOFOLLOW | open_flag::NONBLOCK | open_flag::CLOEXEC;
    let (object, fd) = match fd::open_at(fd::AT_FDCWD, path.as_bytes(), flags, 0) {
        Ok(opened) => {
            let stat = fd::stat_fd(opened).unwrap_or_default();
            let known = |source: &Source| (source.object.dev, source.object.ino) == (stat.dev, stat.ino);
            if stat.mode & S_IFMT != S_IFREG || sources.iter().any(known) {
                let _ = fd::close(opened);
                return Ok(());
            }
            *size = size.saturating_add(length(&stat));
            if *size > MOST {
                let _ = fd::close(opened);
                return report.refuse(Failure::Process(Kind {
                    what: "files whose contents CKPT_FILES asks for that are larger than 1 GiB",
                    advice: "save without CKPT_FILES and end the program with the save",
                }));
            }
            let object = Object {
                kind: object_kind::WRITTEN,
                size: length(&stat),
                mode: stat.mode,
                dev: stat.dev,
                ino: stat.ino,
                ..Object::default()
            };
            (object, opened)
        }
        Err(Errno::ENOENT) => (Object { kind: object_kind::ABSENT, ..Object::default() }, -1),
        // A link, or one that may not be read: not of the program's making.
        Err(_) => return Ok(()),
    };
    let name = scratch.bytes(bare)?;
    Ok(scratch.push(sources, Source::opened(Object { name, ..object }, fd))?)
}

fn length(stat: &Stat) -> u64 {
    u64::try_from(stat.size).unwrap_or(0)
}
