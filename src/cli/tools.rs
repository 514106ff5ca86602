//! Where the other parts of ckpt are, and tools of the system.

use crate::exit::{Code, Failure, Result};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Places of `libckpt.so`, from the folder of `ckpt`: beside it in a build, else where `make install` and packages put it.
const LIBRARY: &[&str] = &[
    "libckpt.so",
    "../lib/libckpt.so",
    "../lib/x86_64-linux-gnu/libckpt.so",
    "../lib64/libckpt.so",
    "../lib/ckpt/libckpt.so",
];
/// Places of `myrestart`.
const RESTARTER: &[&str] = &["myrestart", "../lib/ckpt/myrestart", "../libexec/ckpt/myrestart"];

/// The library that is preloaded.
pub fn library() -> Result<PathBuf> {
    find(LIBRARY, "libckpt.so")
}

/// The restarter.
pub fn restarter() -> Result<PathBuf> {
    find(RESTARTER, "myrestart")
}

fn find(places: &[&str], name: &str) -> Result<PathBuf> {
    let exe = std::env::current_exe()
        .map_err(|e| Failure::file(Code::NoTool, Path::new("/proc/self/exe"), "cannot be read", e))?;
    let folder = exe.parent().unwrap_or(Path::new("/"));
    let found = places.iter().map(|place| folder.join(place)).find(|path| path.is_file());
    let path = found.ok_or_else(|| {
        let text = format!("{name}: not found beside {} or in ../lib; install all of ckpt", exe.display());
        Failure::new(Code::NoTool, text)
    })?;
    // Without the `..`: it becomes part of environments.
    path.canonicalize().map_err(|e| Failure::file(Code::NoTool, &path, "cannot be resolved", e))
}

/// A program on the search path.
pub fn on_path(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| file.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0));
    found.ok_or_else(|| Failure::new(Code::NoTool, format!("{name}: not found; install it")))
}
