//! The memory map.

use super::hex;
use crate::names;
use crate::table::Table;
use crate::text::{shown_bytes, size};
use image::format::{NONE, RUN_CLEAN, Region, region_flag, region_kind};
use image::read::Image;
use serde::Serialize;
use std::io::{self, Write};

/// One region; sizes in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Map {
    /// First byte.
    pub start: String,
    /// Behind the last byte.
    pub end: String,
    /// Length.
    pub size: u64,
    /// As in `/proc/PID/maps`.
    pub protection: String,
    pub kind: &'static str,
    /// Page data of the process's own.
    pub private: u64,
    /// Page data that is an unmodified copy of the file.
    pub clean: u64,
    /// Offset in the file or object; nothing without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// Path, or a name as in `/proc/PID/maps`.
    pub name: String,
    pub flags: Vec<&'static str>,
    #[serde(skip_serializing_if = "is_zero")]
    pub protection_key: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// The map of an image.
pub fn maps(image: &Image<'_>) -> Vec<Map> {
    image.regions().iter().map(|region| map(image, &region)).collect()
}

/// One region of an image.
pub fn map(image: &Image<'_>, region: &Region) -> Map {
    let (mut private, mut clean) = (0, 0);
    for load in image.loads_of(region).iter() {
        *if load.p_paddr == RUN_CLEAN { &mut clean } else { &mut private } += load.p_filesz;
    }
    Map {
        start: hex(region.start),
        end: hex(region.end),
        size: region.end - region.start,
        protection: protection(region),
        kind: names::region_kind(region.kind),
        private,
        clean,
        offset: (region.file != NONE).then_some(region.offset),
        name: name(image, region),
        flags: names::region_flags(
            region.flags & !(region_flag::SHARED | region_flag::HEAP | region_flag::STACK),
        ),
        protection_key: region.pkey,
    }
}

/// `rw-p`.
pub fn protection(region: &Region) -> String {
    let letter = |bit, letter| if region.prot & bit != 0 { letter } else { '-' };
    let shared = if region.flags & region_flag::SHARED != 0 { 's' } else { 'p' };
    [letter(1, 'r'), letter(2, 'w'), letter(4, 'x'), shared].iter().collect()
}

/// The name of a region as `/proc/PID/maps` has it.
pub fn name(image: &Image<'_>, region: &Region) -> String {
    let index = region.file as usize;
    match region.kind {
        region_kind::VVAR => "[vvar]".to_owned(),
        region_kind::VDSO => "[vdso]".to_owned(),
        region_kind::FILE | region_kind::SHARED_FILE => {
            image.files().get(index).map_or(String::new(), |file| {
                let gone = if file.deleted != 0 { " (deleted)" } else { "" };
                shown_bytes(image.bytes(file.path)) + gone
            })
        }
        region_kind::OBJECT => image.objects().get(index).map_or(String::new(), |object| {
            let name = shown_bytes(image.bytes(object.name));
            format!("[{} {index}] {name}", names::object_kind(object.kind)).trim_end().to_owned()
        }),
        _ if region.flags & region_flag::HEAP != 0 => "[heap]".to_owned(),
        _ if region.flags & region_flag::STACK != 0 => "[stack]".to_owned(),
        _ if region.name.len > 0 => format!("[anon:{}]", shown_bytes(image.bytes(region.name))),
        _ => String::new(),
    }
}

/// Writes it as text.
pub fn print(maps: &[Map], out: &mut dyn Write) -> io::Result<()> {
    let mut table = Table::new(&["ADDRESSES", "MODE", ">SIZE", ">OWN", ">COPY", "NAME"]);
    let some = |bytes: u64| if bytes == 0 { "-".to_owned() } else { size(bytes) };
    for map in maps {
        let plain = |address: &str| address.trim_start_matches("0x").to_owned();
        let mut name = vec![map.name.clone()];
        name.extend(map.offset.filter(|offset| *offset != 0).map(|offset| format!("+{offset:#x}")));
        if !map.flags.is_empty() {
            name.push(format!("({})", map.flags.join(" ")));
        }
        name.retain(|part| !part.is_empty());
        table.row([
            format!("{}-{}", plain(&map.start), plain(&map.end)),
            map.protection.clone(),
            size(map.size),
            some(map.private),
            some(map.clean),
            name.join(" "),
        ]);
    }
    table.print(out)
}
