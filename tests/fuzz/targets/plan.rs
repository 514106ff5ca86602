//! The planner, on images that the reader takes and that mean harm: a plan may be refused, but one that is made must keep its hands off what is not its
//! own. It is not carried out, but every call that touches memory is looked at, on a model of the address space made of spans.

#![allow(dead_code, reason = "each binary uses its own part of these modules")]

#[path = "image.rs"]
mod image_target;

use image::format::Limit;
use image::read::{Image, prefix_len};
use restart::arena::Arena;
use restart::files::Own;
use restart::op::{COPY, Op};
use restart::plan::layout::{self, Vdso};
use restart::plan::{self, Backing, Inputs, SavedVdso};
use restart::present::{Owner, Present};
use restart::{execute, objects, print};
use std::collections::BTreeMap;
use std::mem::MaybeUninit;
use std::ops::Range;
use sys::Sysno;
use sys::fd::IoVec;
use sys::memory::map;

#[cfg(test)]
pub use image_target::{Parts, disassemble};

const PAGE: u64 = 4096;
/// Bytes at the start of an input that say what the restarter is like.
const FACTS: usize = 4;
/// Those of the seed: every file is there, unchanged.
pub const SEED: [u8; FACTS] = [1, 0, 0, 0x55];

/// What is at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// The restarter, or the kernel's vdso in it.
    Present,
    /// The one mapping of the restarter that stays.
    Hole,
    /// What the plan has mapped.
    Planned,
}

/// The input: [`FACTS`], then an input of the image target.
pub fn run(input: &[u8]) {
    outcome(input);
}

/// Whether there was a plan; nothing when the input makes no image.
pub fn outcome(input: &[u8]) -> Option<bool> {
    let (facts, input) = input.split_first_chunk::<FACTS>()?;
    let (file, file_len) = image_target::assemble(input)?;
    let prefix = usize::try_from(prefix_len(&file, file_len).ok()?).ok()?;
    let image = Image::parse(&file[..file.len().min(prefix)], file_len).ok()?;
    Some(make(&image, *facts).is_some())
}

/// Makes a plan and looks at it; nothing when it is refused.
fn make(image: &Image, [flags, own, group, files]: [u8; FACTS]) -> Option<()> {
    const LONGEST_SCRATCH: usize = 1 << 20;
    let present = present(image, own, group);
    let vdso = layout::vdso_fate(image, &present, flags & 1 != 0);
    let scratch_len = (image.head().chunk as usize).min(LONGEST_SCRATCH);
    let room = plan::room(image) + scratch_len + image.objects().len() * 64 + (64 << 10);
    let layout = layout::find(image, &present, vdso, room as u64).ok()?;
    let hole = layout.hole.start..layout.hole.end;
    assert!(present.overlap(hole.start, hole.end).is_none(), "the hole is free now");
    assert!(image.regions().iter().all(|region| region.end <= hole.start || hole.end <= region.start));

    let mut block = vec![MaybeUninit::<u8>::uninit(); room];
    let block_at = block.as_ptr() as u64;
    let mut arena = Arena::new(&mut block);
    let scratch = arena.zeros(scratch_len).ok()?.as_ptr() as u64;
    let mut made = objects::lay_out(image, &mut arena).ok()?;
    for (object, made) in image.objects().iter().zip(made.as_mut_slice()) {
        if object.kind != image::format::object_kind::SHARED_ANON {
            made.fd = 20;
            made.read_only = if made.read_only == -1 { -1 } else { 21 };
        }
    }
    let backings: Vec<Backing> = (0..image.files().len())
        .map(|index| match files >> (index % 4 * 2) & 3 {
            0 => Backing { fd: -1, read_only: -1, same: false },
            bits => Backing { fd: 7, read_only: if bits == 3 { 8 } else { -1 }, same: bits & 1 != 0 },
        })
        .collect();
    let patched = vec![0xcc; 2 * PAGE as usize];
    let own_terminal =
        Own { open: flags & 64 == 0, flags: 2, foreground: true, window: Some([24, 80, 0, 0]) };
    let inputs = Inputs {
        saved_vdso: SavedVdso { original: &patched, patched: &patched },
        backings: &backings,
        objects: made.into_slice(),
        limits: [Limit { soft: 4096, hard: 1 << 20 }; 16],
        lazy: flags & 2 != 0,
        privileged: flags & 4 != 0,
        standard: [own_terminal; 3],
        has_terminal: flags & 8 != 0,
        takes_timer_ids: flags & 16 != 0,
        roll_back: flags & 32 != 0,
        scratch,
        executor: &[0xcc; 64],
        ..Inputs::new(image, &present, layout, vdso)
    };
    let mut plan = plan::make(inputs, &mut arena).ok()?;
    execute::prepare(&mut plan, &mut arena).expect("the room that was asked for");

    let mut space = Space { spans: BTreeMap::new(), arena: block_at..block_at + room as u64 };
    for mapping in present.mappings() {
        space.add(mapping.span.start..mapping.span.end, What::Present);
    }
    space.add(hole.clone(), What::Hole);
    let mut text = print::Text::new();
    for op in plan.early.as_slice() {
        space.carry_out(op, false);
        text.truncate(0);
        print::traced(op, &mut text);
    }
    assert!(present.mappings().iter().all(|m| space.all_is(m.span.start..m.span.end, What::Present)));
    for op in plan.late.as_slice() {
        space.carry_out(op, true);
        text.truncate(0);
        print::traced(op, &mut text);
    }
    assert!(space.all_is(hole, What::Hole), "the hole stays");
    let is_left = |what: &What| *what == What::Present;
    let left = space.spans.values().filter(|(_, what)| is_left(what)).count();
    assert!(left == 0 || vdso != Vdso::Goes, "something of the restarter is left");
    for region in image.regions().iter().filter(|region| !layout::is_group(region, vdso)) {
        assert!(space.all_is(region.start..region.end, What::Planned), "{region:?} is not there");
    }
    Some(())
}

/// What is mapped: three pieces of a restarter, and its vdso group, each where the fuzzer wants it: at its usual place, or at a region of the image.
fn present(image: &Image, own: u8, group: u8) -> Present {
    let home = |byte: u8, usual: u64| match image.regions().get(usize::from(byte & 31)) {
        Some(region) if byte >= 64 => {
            (region.start + u64::from(byte >> 5 & 3) * PAGE).saturating_sub(PAGE) & !(PAGE - 1)
        }
        _ => usual,
    };
    let mut all = Vec::new();
    let mut add = |mut at: u64, parts: &[(u64, Owner)]| {
        let first = all.len();
        for (pages, owner) in parts {
            all.push((at..at + pages * PAGE, *owner));
            at += pages * PAGE;
        }
        let overlaps = |a: &Range<u64>, b: &Range<u64>| a.start < b.end && b.start < a.end;
        let fits = all[first..].iter().all(|(new, _)| {
            new.start >= 1 << 16
                && new.end <= image::USER_END
                && all[..first].iter().all(|(old, _): &(Range<u64>, Owner)| !overlaps(old, new))
        });
        all.truncate(if fits { all.len() } else { first });
    };
    add(home(own, 0x500_0000), &[(1, Owner::Restarter), (30, Owner::Restarter), (7, Owner::Restarter)]);
    add(home(group, 0x7fff_f000_0000), &[(2, Owner::Vvar), (1, Owner::Vdso)]);
    add(0x7fff_f100_0000, &[(33, Owner::Restarter)]);
    all.sort_by_key(|(span, _)| span.start);
    let mut present = Present::default();
    for (span, owner) in all {
        present.push(span.start, span.end, owner).expect("room");
    }
    present
}

/// An address space.
struct Space {
    /// By start: end, and what it is. Without overlaps.
    spans: BTreeMap<u64, (u64, What)>,
    /// The memory of the plan itself, which stands for the hole: addresses that calls may read and write.
    arena: Range<u64>,
}

impl Space {
    fn add(&mut self, span: Range<u64>, what: What) {
        assert!(span.start < span.end, "{span:x?}");
        assert!(self.is_free(&span), "{span:x?} is not free");
        self.spans.insert(span.start, (span.end, what));
    }

    /// Whatever overlaps with the span.
    fn over(&self, span: &Range<u64>) -> impl Iterator<Item = (Range<u64>, What)> {
        let start = span.start;
        let spans = self.spans.range(..span.end).rev();
        let near = spans.map(|(from, (to, what))| (*from..*to, *what));
        near.take_while(move |(other, _)| other.end > start)
    }

    fn is_free(&self, span: &Range<u64>) -> bool {
        self.over(span).next().is_none()
    }

    /// Whether all of the span is of one kind.
    fn all_is(&self, span: Range<u64>, wanted: What) -> bool {
        let mut down_to = span.end;
        for (other, what) in self.over(&span) {
            if what != wanted || other.end < down_to {
                return false;
            }
            down_to = other.start;
        }
        down_to <= span.start
    }

    /// Takes the span out, which may cut others.
    fn cut(&mut self, span: &Range<u64>) {
        let hit: Vec<_> = self.over(span).collect();
        for (other, what) in hit {
            self.spans.remove(&other.start);
            for rest in [other.start..span.start.max(other.start), span.end.min(other.end)..other.end] {
                if rest.start < rest.end {
                    self.spans.insert(rest.start, (rest.end, what));
                }
            }
        }
    }

    fn is_own(&self, span: &Range<u64>) -> bool {
        self.arena.start <= span.start && span.end <= self.arena.end
    }

    /// Looks at what `op` does to memory, and does it.
    fn carry_out(&mut self, op: &Op, late: bool) {
        let [address, len, third, flags, fifth, _] = op.args;
        let span = address..address.saturating_add(len);
        if op.nr == COPY {
            let to = address..address + third;
            assert!(
                third == 0
                    || self.is_own(&to)
                    || self.all_is(to.clone(), What::Planned)
                    || self.all_is(to, What::Hole)
            );
            return;
        }
        match op.sysno().expect("a system call") {
            Sysno::mmap if flags as u32 & map::FIXED_NOREPLACE == map::FIXED_NOREPLACE => {
                self.add(span, What::Planned);
            }
            Sysno::mmap => assert!(self.all_is(span, What::Planned), "{op:x?} would replace what is there"),
            Sysno::munmap if late => {
                assert!(self.all_is(span.clone(), What::Present), "{op:x?}: only the restarter goes");
                self.cut(&span);
            }
            Sysno::munmap => {
                assert!(self.all_is(span.clone(), What::Planned), "{op:x?}");
                self.cut(&span);
            }
            Sysno::mremap => {
                let to = fifth..fifth + third;
                assert_eq!(op.expect, fifth);
                if len == 0 {
                    assert!(self.all_is(address..address + PAGE, What::Planned), "{op:x?}");
                } else {
                    let what =
                        if self.all_is(span.clone(), What::Planned) { What::Planned } else { What::Present };
                    assert!(late && self.all_is(span.clone(), what) && len == third, "{op:x?}");
                    self.cut(&span);
                }
                self.add(to, What::Planned);
            }
            Sysno::mprotect if self.all_is(span.clone(), What::Hole) => {}
            Sysno::mprotect | Sysno::madvise | Sysno::mlock2 | Sysno::mseal => {
                assert!(self.all_is(span, What::Planned), "{op:x?}");
            }
            Sysno::preadv => {
                assert!(!late && self.is_own(&(len..len + third * size_of::<IoVec>() as u64)));
                // SAFETY: the list is in the arena, as was just seen; the plan wrote it.
                let pieces = unsafe { core::slice::from_raw_parts(len as *const IoVec, third as usize) };
                for piece in pieces {
                    let to = piece.base as u64..piece.base as u64 + piece.len as u64;
                    assert!(self.is_own(&to) || self.all_is(to, What::Planned), "{piece:x?}");
                }
                assert_eq!(pieces.iter().map(|piece| piece.len as u64).sum::<u64>(), op.expect);
            }
            _ => {}
        }
    }
}
