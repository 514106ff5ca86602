//! The contents of memory as an image has them.

use crate::exit::Result;
use crate::opened::Opened;
use image::elf::Phdr;
use image::format::{PAGE, Region, region_kind};
use image::read::Image;

/// Length of the pieces in which memory is read, in bytes.
pub const PIECE: u64 = 1 << 20;

/// The bytes of a region from `start` on, at most [`PIECE`] of them, as the process saw them. What the image does not have is zero: pages that were never
/// touched, and pages of shared files, which are elsewhere.
pub fn read(
    opened: &Opened,
    image: &Image<'_>,
    region: &Region,
    start: u64,
    buf: &mut Vec<u8>,
) -> Result<()> {
    let end = region.end.min(start + PIECE);
    buf.clear();
    buf.resize((end - start) as usize, 0);
    for (address, offset, len) in parts(image, region, start, end) {
        let at = (address - start) as usize;
        opened.read_into(offset, &mut buf[at..at + len as usize])?;
    }
    Ok(())
}

/// Bytes at an address, of one region or of several that are neighbours; `None` when there is a hole.
pub fn at(opened: &Opened, image: &Image<'_>, address: u64, len: u64) -> Option<Vec<u8>> {
    let end = address.checked_add(len)?;
    let mut bytes = Vec::with_capacity(usize::try_from(len).ok()?);
    let mut buf = vec![];
    let mut at = address;
    while at < end {
        let region = image.region_at(at)?;
        read(opened, image, &Region { end: region.end.min(end), ..region }, at, &mut buf).ok()?;
        bytes.extend_from_slice(&buf);
        at += buf.len() as u64;
    }
    Some(bytes)
}

/// The parts of a region's addresses `start..end` that are in the image, by ascending address: address, offset in the file, length.
pub fn parts(image: &Image<'_>, region: &Region, start: u64, end: u64) -> Vec<(u64, u64, u64)> {
    if region.kind == region_kind::OBJECT {
        return object_parts(image, region, start, end);
    }
    let loads = image.loads_of(region);
    let first = loads.partition_point(|load| load.p_vaddr + load.p_memsz <= start);
    let hits = (first..loads.len()).map_while(|at| loads.get(at)).take_while(|load| load.p_vaddr < end);
    hits.filter_map(|load: Phdr| clip(load.p_vaddr, load.p_offset, load.p_filesz, start, end)).collect()
}

/// Objects have their own runs, by offset in the object.
fn object_parts(image: &Image<'_>, region: &Region, start: u64, end: u64) -> Vec<(u64, u64, u64)> {
    let Some(object) = image.objects().get(region.file as usize) else { return vec![] };
    let runs = image.runs_of(&object);
    // What of the object is wanted.
    let (from, to) = (region.offset + (start - region.start), region.offset + (end - region.start));
    let first = runs.partition_point(|run| run.offset + run.len <= from);
    let hits = (first..runs.len()).map_while(|at| runs.get(at)).take_while(|run| run.offset < to);
    let shown = hits.filter_map(|run| {
        let (offset, data, len) = clip(run.offset, run.data, run.len, from, to)?;
        Some((region.start + (offset - region.offset), data, len))
    });
    shown.collect()
}

/// The part of `len` bytes at `address` that lies in `start..end`.
fn clip(address: u64, offset: u64, len: u64, start: u64, end: u64) -> Option<(u64, u64, u64)> {
    let from = address.max(start);
    let to = address.checked_add(len)?.min(end);
    (from < to).then(|| (from, offset + (from - address), to - from))
}

/// Number of pages that are not the same in both.
pub fn different(a: &[u8], b: &[u8]) -> u64 {
    let page = PAGE as usize;
    a.chunks(page).zip(b.chunks(page)).filter(|(a, b)| a != b).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_clipped_to_what_is_wanted() {
        assert_eq!(clip(10, 100, 10, 0, 5), None);
        assert_eq!(clip(10, 100, 10, 0, 15), Some((10, 100, 5)));
        assert_eq!(clip(10, 100, 10, 15, 40), Some((15, 105, 5)));
        assert_eq!(clip(10, 100, 10, 20, 40), None);
    }

    #[test]
    fn pages_are_counted_not_bytes() {
        let a = vec![0; 3 * 4096];
        let mut b = a.clone();
        (b[0], b[1], b[3 * 4096 - 1]) = (1, 1, 1);
        assert_eq!(different(&a, &b), 2);
        assert_eq!(different(&a, &a), 0);
    }
}
