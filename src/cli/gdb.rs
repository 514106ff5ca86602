//! `ckpt gdb`: gdb on an image, with the files that belong to it.

mod beneath;
mod libraries;

use crate::args::Gdb;
use crate::exit::{Code, Failure, Result};
use crate::opened::Opened;
use crate::restart::{c_string, cannot_run};
use crate::{extract, tools};
use image::format::{MappedFile, Thread};
use image::read::Image;
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::unistd::{execv, symlinkat};
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs it.
pub fn run(args: &Gdb) -> Result<Code> {
    if args.image.as_os_str() == "-" {
        return Err(Failure::new(Code::Usage, "gdb: needs an image in a file; standard input is yours"));
    }
    let opened = Opened::new(&args.image)?;
    opened.trusted()?;
    let image = opened.image()?;
    let gdb = tools::on_path("gdb")?;
    let exe = PathBuf::from(OsStr::from_bytes(image.bytes(image.process().exe)));
    let changed: Vec<_> = image.files().iter().filter(|file| !is_there(&image, file)).collect();
    if changed.is_empty() {
        // SAFETY: this process has one thread. No word of an image is an address of a server.
        unsafe { std::env::remove_var(SERVERS) };
        let words = words(&exe, None, &image, args);
        let words: Vec<_> = words.iter().map(|word| c_string(word)).collect::<Result<_>>()?;
        let errno = execv(&c_string(gdb.as_os_str())?, &words).unwrap_err();
        return Err(cannot_run(&gdb, errno));
    }
    let failed = |path: &Path, e| Failure::file(Code::Io, path, "cannot be created", e);
    let root = tempfile::Builder::new()
        .prefix("ckpt-gdb-")
        .tempdir()
        .map_err(|e| failed(&std::env::temp_dir(), e))?;
    let place = |name: &Path, path: &Path| -> Result<()> {
        let copy = changed.iter().any(|file| image.bytes(file.path) == path.as_os_str().as_bytes());
        let made = beneath::folder(root.path(), name).and_then(|(folder, last)| {
            if copy {
                beneath::file(&folder, &last).map(Some)
            } else {
                symlinkat(path, &folder, last.as_os_str()).map(|()| None)
            }
        });
        match made.map_err(|errno| failed(name, errno.into()))? {
            Some(file) => extract::mapped_file(&opened, &image, path, &file),
            None => Ok(()),
        }
    };
    if exe.is_absolute() {
        place(&exe, &exe)?;
    }
    let mut placed = HashSet::from([exe.clone()]);
    for (name, file) in libraries::loaded(&opened, &image) {
        if name.is_absolute() && placed.insert(name.clone()) {
            place(&name, &file)?;
        }
    }
    let copy = root.path().join(exe.strip_prefix("/").unwrap_or(&exe));
    // The terminal's interrupt is for gdb; SAFETY: no handler, just another disposition.
    let _ = unsafe { signal(Signal::SIGINT, SigHandler::SigIgn) };
    let words = words(&copy, Some(root.path()), &image, args);
    let mut command = Command::new(&gdb);
    command.args(words.iter().skip(1)).env_remove(SERVERS);
    // SAFETY: one system call between fork and exec.
    unsafe {
        std::os::unix::process::CommandExt::pre_exec(&mut command, || {
            signal(Signal::SIGINT, SigHandler::SigDfl).map(drop).map_err(Into::into)
        });
    }
    let status =
        command.status().map_err(|e| Failure::file(Code::CannotRun, &gdb, "cannot be executed", e))?;
    Ok(if status.success() { Code::Done } else { Code::No })
}

/// Where gdb asks for debugging information by the network (debuginfod-find(1)).
const SERVERS: &str = "DEBUGINFOD_URLS";

/// Files that an image names are not ours: nothing in them, or beside them, is run. Variables of threads need the library of the system, which is.
const SAFE: [&str; 3] =
    ["set auto-load off", "set auto-load libthread-db on", "set libthread-db-search-path $sdir"];

/// gdb's arguments, its name included.
fn words(exe: &Path, root: Option<&Path>, image: &Image<'_>, args: &Gdb) -> Vec<OsString> {
    let mut words = vec![OsString::from("gdb")];
    words.extend(SAFE.iter().flat_map(|command| ["-iex", command]).map(OsString::from));
    if let Some(root) = root {
        let mut sysroot = OsString::from("set sysroot ");
        sysroot.push(root);
        words.extend(["-iex".into(), sysroot]);
    }
    // Before the user's own commands, which see the names.
    for command in thread_names(image) {
        words.extend(["-ex".into(), command.into()]);
    }
    words.extend(args.options.iter().cloned());
    // Neither is an option, whatever it is called.
    words.extend(["-core".into(), Path::new(".").join(&args.image).into()]);
    // gdb would wait for the other end of a FIFO.
    if exe.is_absolute() && exe.is_file() {
        words.push(exe.into());
    }
    words
}

/// Commands that give gdb's threads the names that they had: a core file of Linux has no place for them. gdb numbers threads in the order of the image.
fn thread_names(image: &Image<'_>) -> Vec<String> {
    if image.threads().len() < 2 {
        return vec![];
    }
    let name = |(number, thread): (usize, Thread)| {
        let name = thread.comm.iter().take_while(|byte| **byte != 0);
        let name: String =
            name.map(|byte| if byte.is_ascii_graphic() { char::from(*byte) } else { ' ' }).collect();
        (!name.trim().is_empty()).then(|| format!("thread apply {number} -q -- thread name {}", name.trim()))
    };
    (1..).zip(image.threads().iter()).filter_map(name).collect()
}

/// Whether a mapped file is still the one that was saved.
fn is_there(image: &Image<'_>, file: &MappedFile) -> bool {
    let path = Path::new(OsStr::from_bytes(image.bytes(file.path)));
    path.metadata().is_ok_and(|m| {
        m.is_file()
            && (m.dev(), m.ino(), m.size(), m.mtime(), m.mtime_nsec())
                == (file.dev, file.ino, file.size, file.mtime.sec, file.mtime.frac)
    })
}
