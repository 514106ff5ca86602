//! The program that `ckpt run` starts: where it is, and whether a preload reaches it.

use crate::exit::{Code, Failure, Result};
use crate::text::shown;
use image::elf::{ELFCLASS64, ELFDATA2LSB, EM_X86_64, Ehdr, MAGIC, Phdr};
use image::plain::read;
use nix::errno::Errno;
use nix::unistd::{AccessFlags, access};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The file that execvp(3) would execute.
pub fn find(name: &OsStr) -> Result<PathBuf> {
    if name.as_bytes().contains(&b'/') {
        return Ok(name.into());
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/bin:/usr/bin"));
    let candidates =
        std::env::split_paths(&path).map(|folder| folder.join(name)).filter(|file| file.is_file());
    let mut unusable = None;
    for file in candidates {
        if access(&file, AccessFlags::X_OK).is_ok() {
            return Ok(file);
        }
        unusable.get_or_insert(file);
    }
    Err(match unusable {
        Some(file) => crate::restart::cannot_run(&file, Errno::EACCES),
        None => Failure::new(Code::NotFound, format!("{}: not found", shown(name))),
    })
}

/// Whether an executable has no dynamic linker, which would load libckpt.so.
pub fn is_static(file: &Path) -> bool {
    linkage(file) == Linkage::Static
}

/// Fails if this program could not be saved.
pub fn check_preload(file: &Path) -> Result<()> {
    let refuse = |why: &str| {
        let text = format!("{}: {why}, so that it cannot be saved; run it without ckpt", shown(file));
        Err(Failure::new(Code::NotTarget, text))
    };
    match interpreter_of(file).as_deref().unwrap_or(file) {
        program if is_privileged(program) => refuse("gains privileges when it is executed"),
        program => match linkage(program) {
            Linkage::OtherMachine => refuse("is not a 64-bit x86 program"),
            // One that loads no library is entered when it is to be saved.
            Linkage::Static | Linkage::Dynamic | Linkage::Unknown => Ok(()),
        },
    }
}

fn is_privileged(file: &Path) -> bool {
    // An ordinary owner's bits do nothing for the owner; then the loader is right to preload, and this is only too careful.
    let mode = file.metadata().map_or(0, |metadata| metadata.permissions().mode());
    mode & 0o4000 != 0 || mode & 0o2010 == 0o2010
}

/// The interpreter of a script: the program that is really executed.
fn interpreter_of(file: &Path) -> Option<PathBuf> {
    let mut start = [0; 256];
    let len = File::open(file).ok()?.read_at(&mut start, 0).ok()?;
    let line = start[..len].strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    Some(PathBuf::from(OsStr::from_bytes(words.next()?)))
}

/// How a program gets its libraries.
#[derive(Debug, PartialEq, Eq)]
enum Linkage {
    /// By the dynamic linker.
    Dynamic,
    /// Not at all.
    Static,
    /// For a machine or an ABI that ckpt does not know.
    OtherMachine,
    /// No ELF file, or one that cannot be read: exec will tell.
    Unknown,
}

fn linkage(file: &Path) -> Linkage {
    let header = || -> Option<(File, Ehdr)> {
        let file = File::open(file).ok()?;
        let mut bytes = [0; size_of::<Ehdr>()];
        file.read_exact_at(&mut bytes, 0).ok()?;
        read::<Ehdr>(&bytes, 0).filter(|_| bytes.starts_with(&MAGIC)).map(|header| (file, header))
    };
    let Some((file, header)) = header() else { return Linkage::Unknown };
    let [_, _, _, _, class, data, ..] = header.e_ident;
    if (class, data, header.e_machine) != (ELFCLASS64, ELFDATA2LSB, EM_X86_64) {
        return Linkage::OtherMachine;
    }
    const PT_INTERP: u32 = 3;
    let mut bytes = vec![0; usize::from(header.e_phnum) * size_of::<Phdr>()];
    if file.read_exact_at(&mut bytes, header.e_phoff).is_err() {
        return Linkage::Unknown;
    }
    let headers =
        (0..usize::from(header.e_phnum)).filter_map(|i| read::<Phdr>(&bytes, i * size_of::<Phdr>()));
    if headers.into_iter().any(|header| header.p_type == PT_INTERP) {
        Linkage::Dynamic
    } else {
        Linkage::Static
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_linkage_of_programs() {
        assert_eq!(linkage(Path::new("/bin/sh")), Linkage::Dynamic);
        assert_eq!(linkage(Path::new("/etc/passwd")), Linkage::Unknown);
        assert_eq!(linkage(Path::new("/nowhere")), Linkage::Unknown);
    }

    #[test]
    fn programs_are_found_as_a_shell_finds_them() {
        assert!(find(OsStr::new("sh")).unwrap().ends_with("sh"));
        assert_eq!(find(OsStr::new("./x")).unwrap(), Path::new("./x"));
        assert_eq!(find(OsStr::new("no-such-program")).unwrap_err().code, Code::NotFound);
    }

    #[test]
    fn scripts_are_their_interpreter() {
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("script");
        std::fs::write(&script, "#! /usr/bin/env -S python3 -u\nprint()\n").unwrap();
        assert_eq!(interpreter_of(&script), Some("/usr/bin/env".into()));
        assert_eq!(check_preload(&script), Ok(()));
    }
}
