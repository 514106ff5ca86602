//! Paths from an image, below a directory of ours: none leads out of it.

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::{Mode, mkdirat};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Component, Path};

/// Makes and opens the directory in which a path ends, below `root`, and gives it with the last name. No symbolic link is followed, and `..` does not lead out of `root`.
pub fn folder(root: &Path, path: &Path) -> nix::Result<(OwnedFd, OsString)> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_PATH | OFlag::O_CLOEXEC;
    let mut folders = vec![open(root, flags, Mode::empty())?];
    let last = path.file_name().ok_or(Errno::EINVAL)?;
    for part in path.parent().unwrap_or(Path::new("/")).components() {
        match part {
            Component::Normal(name) => {
                let above = folders.last().ok_or(Errno::EINVAL)?;
                match mkdirat(above, name, Mode::S_IRWXU) {
                    Ok(()) | Err(Errno::EEXIST) => {}
                    Err(errno) => return Err(errno),
                }
                folders.push(openat(above, name, flags, Mode::empty())?);
            }
            // What dynamic linkers make of $ORIGIN/../lib.
            Component::ParentDir if folders.len() > 1 => drop(folders.pop()),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => return Err(Errno::EINVAL),
        }
    }
    Ok((folders.pop().ok_or(Errno::EINVAL)?, last.to_owned()))
}

/// Makes a file that was not there.
pub fn file(folder: &OwnedFd, name: &OsStr) -> nix::Result<File> {
    let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(folder, name, flags, Mode::S_IRUSR | Mode::S_IWUSR).map(File::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::unistd::symlinkat;
    use std::fs;

    #[test]
    fn paths_stay_in_the_folder() {
        let top = tempfile::tempdir().unwrap();
        let root = top.path().join("root");
        fs::create_dir(&root).unwrap();
        let make = |path: &str| {
            folder(&root, Path::new(path)).and_then(|(folder, last)| file(&folder, &last).map(drop))
        };
        assert_eq!(make("/usr/lib/a.so"), Ok(()));
        assert_eq!(make("/opt/bin/../lib/b.so"), Ok(()));
        assert!(root.join("usr/lib/a.so").is_file() && root.join("opt/bin/../lib/b.so").is_file());
        for path in ["/../out", "/usr/../../out", "/usr/..", "/", "..", "", "/../root/out"] {
            assert!(make(path).is_err(), "{path}");
        }
        // A second time, and through a link that the image has put there.
        assert_eq!(make("/usr/lib/a.so"), Err(Errno::EEXIST));
        let (usr, name) = folder(&root, Path::new("/usr/link")).unwrap();
        symlinkat(top.path(), &usr, name.as_os_str()).unwrap();
        assert!(make("/usr/link/out").is_err() && make("/usr/link").is_err());
        assert_eq!(fs::read_dir(top.path()).unwrap().count(), 1);
    }
}
