//! Descriptors.

use crate::names;
use crate::table::Table;
use crate::text::{shown_bytes, size};
use image::format::{NONE, file_kind};
use image::read::Image;
use serde::Serialize;
use std::io::{self, Write};

/// One descriptor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fd {
    /// Its number.
    pub fd: u32,
    pub kind: &'static str,
    /// Access mode and status flags.
    pub flags: Vec<&'static str>,
    pub close_on_exec: bool,
    /// Number of the open file description: equal for descriptors that dup(2) made.
    pub file: u32,
    /// Offset in bytes, of files that have one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// Length of the file in bytes at the save.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Path, or what `/proc/PID/fd` said.
    pub name: String,
    /// Number of the open file description at the other end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<u32>,
    /// Bytes in the queue of a pipe or socket.
    pub queued: u32,
}

/// The descriptors of an image.
pub fn fds(image: &Image<'_>) -> Vec<Fd> {
    let fd = |descriptor: image::format::Descriptor| {
        let file = image.open_files().get(descriptor.file as usize)?;
        let has_offset = matches!(
            file.kind,
            file_kind::REGULAR | file_kind::DIRECTORY | file_kind::MEMFD | file_kind::DELETED
        );
        let has_size = has_offset && file.kind != file_kind::DIRECTORY;
        Some(Fd {
            fd: descriptor.number,
            kind: names::file_kind(file.kind),
            flags: names::open_flags(file.flags),
            close_on_exec: descriptor.flags & 1 != 0,
            file: descriptor.file,
            offset: has_offset.then_some(file.pos),
            size: has_size.then_some(file.size),
            name: shown_bytes(image.bytes(file.path)),
            peer: (file.peer != NONE).then_some(file.peer),
            queued: file.queued.len,
        })
    };
    image.descriptors().iter().filter_map(fd).collect()
}

/// Writes them as text.
pub fn print(fds: &[Fd], out: &mut dyn Write) -> io::Result<()> {
    let mut table = Table::new(&[">FD", "KIND", "FLAGS", ">OFFSET", ">LENGTH", "NAME"]);
    for (at, fd) in fds.iter().enumerate() {
        let number = |n: Option<u64>| n.map_or("-".to_owned(), |n| n.to_string());
        let mut flags = fd.flags.clone();
        if fd.close_on_exec {
            flags.push("cloexec");
        }
        let mut notes = vec![fd.name.clone()];
        let same = fds.iter().take(at).find(|earlier| earlier.file == fd.file);
        notes.extend(same.map(|earlier| format!("(dup of {})", earlier.fd)));
        let other = fd.peer.and_then(|peer| fds.iter().find(|other| other.file == peer));
        notes.extend(other.map(|other| format!("(other end: {})", other.fd)));
        if fd.queued > 0 {
            notes.push(format!("({} unread)", size(u64::from(fd.queued))));
        }
        table.row([
            fd.fd.to_string(),
            fd.kind.to_owned(),
            flags.join(" "),
            number(fd.offset),
            number(fd.size),
            notes.join(" "),
        ]);
    }
    if table.is_empty() { writeln!(out, "no descriptors") } else { table.print(out) }
}
