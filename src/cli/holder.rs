//! Who has the other end of a pipe that refuses a save.

use crate::text::shown;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

/// A refusal, with who holds the other end where it is about a pipe and `/proc` tells: processes of other users are not looked into.
pub fn named(pid: u32, refusal: String) -> String {
    match number(&refusal).and_then(|number| other_end(pid, number)) {
        Some(holder) => format!("{refusal} (the other end: {holder})"),
        None => refusal,
    }
}

/// `descriptor 251 is a pipe whose ...`
fn number(refusal: &str) -> Option<u32> {
    let (number, what) = refusal.strip_prefix("descriptor ")?.split_once(" is ")?;
    number.parse().ok().filter(|_| what.starts_with("a pipe whose other end "))
}

/// The first process that has the other end of a pipe open, and as which descriptor.
fn other_end(pid: u32, number: u32) -> Option<String> {
    let own = PathBuf::from(format!("/proc/{pid}/fd/{number}"));
    let pipe = fs::read_link(&own).ok()?;
    let writes = writes(&own)?;
    let processes = fs::read_dir("/proc").ok()?.flatten();
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|other| *other != pid && *other != std::process::id())
        .find_map(|other| {
            let open = fs::read_dir(format!("/proc/{other}/fd")).ok()?.flatten();
            let is_end = |path: &Path| {
                fs::read_link(path).is_ok_and(|link| link == pipe)
                    && self::writes(path).is_some_and(|end| end != writes)
            };
            let end = open.map(|entry| entry.path()).find(|path| is_end(path))?;
            let name = fs::read_to_string(format!("/proc/{other}/comm")).unwrap_or_default();
            let name = shown(OsStr::new(name.trim_end()));
            Some(format!("{name} ({other}), descriptor {}", end.file_name()?.to_str()?))
        })
}

/// Whether an end of a pipe is one that is written to: a link of `/proc/PID/fd` has the permissions of the descriptor.
fn writes(end: &Path) -> Option<bool> {
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::symlink_metadata(end).ok()?.permissions().mode();
    Some(mode & 0o200 != 0)
}
