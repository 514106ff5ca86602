//! Which addresses the restart needs for itself, and where each region is built.
//!
//! A region is built where it belongs, unless something of the restarter is there. Then it is built at an address that nobody needs,
//! and the executor moves it home after it has unmapped the restarter. So no layout of a process is unlucky.

use crate::exit::{Code, Failure, Result};
use crate::present::Present;
use image::USER_END;
use image::format::{PAGE, Region, Span, region_flag, region_kind};
use image::read::Image;

/// Kept free below a stack that grows: the guard gap of the kernel (256 pages, mm/mmap.c, `stack_guard_gap`) twice.
const STACK_MARGIN: u64 = 2 << 20;
/// Where the search for free addresses begins: above what programs are linked at and `mmap_min_addr`.
const SEARCH_FROM: u64 = 1 << 32;
/// And where it begins anew when there is nothing above: the default of `vm.mmap_min_addr`.
const LOWEST: u64 = 1 << 16;
/// Page tables move as a whole when both addresses agree in what one table covers.
const TABLE_SPAN: u64 = 2 << 20;

/// Where a region is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Where it belongs, early.
    Home,
    /// At this address, early; moved home by the executor.
    Away(u64),
    /// Where it belongs, by the executor: it has no contents that would have to be loaded before.
    Late,
}

impl Place {
    /// The address at which the early part of the plan finds `region`, if it does.
    pub fn early_address(self, region: &Region) -> Option<u64> {
        match self {
            Self::Home => Some(region.start),
            Self::Away(address) => Some(address),
            Self::Late => None,
        }
    }
}

/// The addresses that the restart uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// The one mapping of the restarter that the executor leaves to libckpt.
    pub hole: Span,
    /// Where regions are built that cannot be built at home.
    pub away: Span,
    /// Where objects are mapped while they are filled.
    pub objects: Span,
    /// The present vdso group stays out of the way here, when it cannot go straight to its place. Zero: not needed.
    pub vdso_stop: u64,
}

/// What becomes of the present vdso.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vdso {
    /// It is where the image has it.
    Stays,
    /// It goes to the address that the image has for it, which is free.
    Moves,
    /// The same, but the address is in use: it makes a stop elsewhere.
    MovesTwice,
    /// The process has none, or another one, which comes back as ordinary memory: it is unmapped.
    Goes,
}

/// Finds places for a hole of `hole_len` bytes and for the regions that collide with the present map.
///
/// # Errors
///
/// [`Code::Layout`] when the address space is too full.
pub fn find(image: &Image, present: &Present, vdso: Vdso, hole_len: u64) -> Result<'static, Layout> {
    let mut cursor = 0;
    for region in image.regions().iter() {
        place(&region, present, vdso, &mut cursor);
    }
    let away_len = cursor;
    let group = present.vdso_group();
    let group_start = group.clone().next().map_or(0, |first| first.span.start);
    let group_end = group.last().map_or(0, |last| last.span.end);
    let stop_len = if vdso == Vdso::MovesTwice { group_end - group_start } else { 0 };

    // One search for all of it. The away part begins on a boundary of page tables.
    let hole_len = hole_len.next_multiple_of(PAGE);
    let objects_len = crate::objects::address_space(image);
    let parts = [stop_len, away_len, TABLE_SPAN, objects_len];
    let total = parts.into_iter().fold(hole_len, u64::saturating_add);
    let start = gap(image, present, SEARCH_FROM, total)
        .or_else(|| gap(image, present, LOWEST, total))
        .ok_or(NO_ROOM)?;
    let hole = Span { start, end: start + hole_len };
    let away = (hole.end + stop_len).next_multiple_of(TABLE_SPAN);
    Ok(Layout {
        hole,
        away: Span { start: away, end: away + away_len },
        objects: Span { start: away + away_len, end: away + away_len + objects_len },
        vdso_stop: if stop_len > 0 { hole.end } else { 0 },
    })
}

const NO_ROOM: Failure<'static> = Failure::new(
    Code::Layout,
    b"",
    "the address space of the process is too full for the restart",
    "it needs a few free megabytes in one piece",
);

/// Places `region`. `cursor` is the number of bytes that regions before it took of [`Layout::away`] (so that the
/// address in [`Place::Away`] is relative to its start), and is moved on; regions must come in order.
fn place(region: &Region, present: &Present, vdso: Vdso, cursor: &mut u64) -> Place {
    if is_group(region, vdso) || present.overlap(region.start, region.end).is_none() {
        return Place::Home;
    }
    if matches!(region.kind, region_kind::ANON | region_kind::VVAR) && region.loads == 0 {
        return Place::Late;
    }
    let len = region.end - region.start;
    if len >= TABLE_SPAN {
        let phase = region.start % TABLE_SPAN;
        *cursor += (phase + TABLE_SPAN - *cursor % TABLE_SPAN) % TABLE_SPAN;
    }
    let at = *cursor;
    *cursor += len;
    Place::Away(at)
}

/// Whether a region is the kernel's own, which is moved and not made.
pub fn is_group(region: &Region, vdso: Vdso) -> bool {
    matches!(region.kind, region_kind::VVAR | region_kind::VDSO) && vdso != Vdso::Goes
}

/// All regions that are to be made, in order, with their places.
pub fn places<'a>(
    image: &Image<'a>,
    present: &Present,
    vdso: Vdso,
    layout: Layout,
) -> impl Iterator<Item = (Region, Place)> + use<'a> {
    let present = *present;
    let mut cursor = 0;
    image.regions().iter().filter(move |region| !is_group(region, vdso)).map(move |region| {
        let place = match place(&region, &present, vdso, &mut cursor) {
            Place::Away(offset) => Place::Away(layout.away.start + offset),
            place => place,
        };
        (region, place)
    })
}

/// What becomes of the vdso, given where it is and that its code is, or is not, that of the image.
pub fn vdso_fate(image: &Image, present: &Present, same_code: bool) -> Vdso {
    let home = image.process().vdso;
    let Some(now) = present.vdso().filter(|_| home != 0 && same_code) else { return Vdso::Goes };
    if !same_group(image, present, home, now.start) {
        return Vdso::Goes;
    }
    if now.start == home {
        return Vdso::Stays;
    }
    let to = |address: u64| address.wrapping_sub(now.start).wrapping_add(home);
    let free = |span: Span| present.overlap(to(span.start), to(span.end)).is_none();
    if present.vdso_group().all(|mapping| free(mapping.span)) { Vdso::Moves } else { Vdso::MovesTwice }
}

/// Whether the image has the group of `[vvar]` and `[vdso]` mappings that is there now, at whatever address.
fn same_group(image: &Image, present: &Present, home: u64, now: u64) -> bool {
    let saved = image.regions().iter().filter(|r| matches!(r.kind, region_kind::VVAR | region_kind::VDSO));
    let saved = saved.map(|r| (r.start.wrapping_sub(home), r.end.wrapping_sub(home)));
    let there = present.vdso_group().map(|m| m.span);
    saved.eq(there.map(|span| (span.start.wrapping_sub(now), span.end.wrapping_sub(now))))
}

/// The lowest address at or above `from` with `len` bytes that neither side needs.
fn gap(image: &Image, present: &Present, from: u64, len: u64) -> Option<u64> {
    let regions = image.regions();
    let mut start = from;
    loop {
        let end = start.checked_add(len).filter(|end| *end <= USER_END)?;
        let next = regions.partition_point(|region| region.end <= start);
        let region = regions.get(next).filter(|region| {
            let margin = if region.flags & region_flag::GROWSDOWN != 0 { STACK_MARGIN } else { 0 };
            region.start.saturating_sub(margin) < end
        });
        // The kernel may have put the present stack's guard gap below it; the margin is the same.
        let mapped = present.overlap(start, end.saturating_add(STACK_MARGIN));
        start = match (region, mapped) {
            (None, None) => return Some(start),
            (region, mapped) => region.map_or(0, |r| r.end).max(mapped.map_or(0, |span| span.end)),
        };
    }
}
