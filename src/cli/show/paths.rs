//! Paths: what a restart looks for, and `myrestart --map` can send elsewhere.

use crate::table::Table;
use crate::text::shown_bytes;
use image::details::{Inotify, InotifyWatch, Socket};
use image::format::{file_kind, region_kind};
use image::read::Image;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

/// A path, and what the process had of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Path {
    pub path: String,
    /// `cwd`, `executable`, `mapped`, `mapped-shared`, `watched`, or the number of a descriptor.
    pub uses: Vec<String>,
}

/// The absolute paths of an image, sorted.
pub fn paths(image: &Image<'_>) -> Vec<Path> {
    let mut all = BTreeMap::<&[u8], BTreeSet<String>>::new();
    let mut note = |path, what: String| {
        if <[u8]>::starts_with(path, b"/") {
            all.entry(path).or_default().insert(what);
        }
    };
    note(image.bytes(image.process().cwd), "cwd".into());
    note(image.bytes(image.process().exe), "executable".into());
    for region in image.regions().iter() {
        let what = match region.kind {
            region_kind::FILE => "mapped",
            region_kind::SHARED_FILE => "mapped-shared",
            _ => continue,
        };
        if let Some(file) = image.files().get(region.file as usize) {
            note(image.bytes(file.path), what.into());
        }
    }
    for descriptor in image.descriptors().iter() {
        let Some(file) = image.open_files().get(descriptor.file as usize) else { continue };
        let number = descriptor.number.to_string();
        match file.kind {
            file_kind::REGULAR
            | file_kind::DIRECTORY
            | file_kind::DEVICE
            | file_kind::FIFO
            | file_kind::PATH => note(image.bytes(file.path), number),
            file_kind::UNIX_SOCKET => {
                // The family, then the path, which may have a NUL behind it.
                let address = image.bytes(image.detail::<Socket>(&file).name);
                note(
                    address.get(2..).unwrap_or_default().split(|byte| *byte == 0).next().unwrap_or_default(),
                    number,
                );
            }
            file_kind::INOTIFY => {
                for watch in image.entries::<InotifyWatch>(image.detail::<Inotify>(&file).watches).iter() {
                    note(image.bytes(watch.path), "watched".into());
                }
            }
            _ => {}
        }
    }
    let path = |(path, uses): (&[u8], BTreeSet<String>)| Path {
        path: shown_bytes(path),
        uses: uses.into_iter().collect(),
    };
    all.into_iter().map(path).collect()
}

/// Writes them as text.
pub fn print(paths: &[Path], out: &mut dyn Write) -> io::Result<()> {
    let mut table = Table::new(&["USE", "PATH"]);
    for path in paths {
        table.row([path.uses.join(" "), path.path.clone()]);
    }
    table.print(out)
}
