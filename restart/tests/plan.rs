//! Plans, carried out on a model of the kernel: whatever the layout of the process and of the restarter, the memory that comes out is that
//! of the image, and on the way nothing is destroyed.

mod kernel;
#[path = "../../src/image/tests/synthetic/mod.rs"]
mod synthetic;

use image::format::{
    MappedFile, PAGE, RUN_CLEAN, RUN_PRIVATE, SigAction, Span, Thread, region_flag, region_kind, thread_flag,
};
use image::read::Image;
use kernel::{Contents, Kernel, Page};
use proptest::prelude::*;
use restart::arena::Arena;
use restart::op::Op;
use restart::plan::layout::{self, Vdso};
use restart::plan::{self, Backing, Inputs, SavedVdso};
use restart::present::{Owner, Present};
use std::mem::MaybeUninit;
use synthetic::Parts;
use sys::Sysno;

/// A region of the test: pages are counted from [`BASE`].
#[derive(Clone, Debug)]
struct Piece {
    start: u64,
    pages: u64,
    prot: u32,
    kind: u32,
    flags: u32,
    /// Of every page: no run, a run of zeros that the file says nothing of, private, clean.
    runs: Vec<Option<(u64, u8)>>,
}

/// Where regions and mappings lie close together, so that they collide.
const BASE: u64 = 0x500_0000;
/// The vdso group of the tests: two pages of vvar and one of vdso.
const GROUP: [(u64, Owner); 2] = [(2, Owner::Vvar), (1, Owner::Vdso)];
const FILE_FD: i32 = 7;
/// Pages of a run that `--lazy` maps.
const LONG: u64 = 8;

fn address(page: u64) -> u64 {
    BASE + page * PAGE
}

/// Puts an image together out of `pieces`, with its vdso group at page `vdso`, if it has one. The last region holds the stack
/// and the code that every image needs.
fn parts(pieces: &[Piece], vdso: Option<u64>) -> Parts {
    let mut p = Parts::default();
    let path = p.path("/lib/x.so");
    p.files.push(MappedFile { path, size: 1 << 20, ..MappedFile::default() });
    let mut vdso = vdso;
    for piece in pieces {
        if let Some(at) = vdso.filter(|at| *at < piece.start) {
            add_vdso(&mut p, at);
            vdso = None;
        }
        let region = p.region(address(piece.start), piece.pages, piece.prot, piece.kind);
        region.flags = piece.flags;
        if piece.kind == region_kind::FILE {
            (region.file, region.offset) = (0, piece.start * PAGE);
        }
        // Runs of equal pages become one.
        let mut page = 0;
        while page < piece.pages {
            let run = piece.runs[page as usize];
            let same = piece.runs[page as usize..].iter().take_while(|other| **other == run).count() as u64;
            if let Some((kind, fill)) = run {
                p.run(page, same, kind, Some(fill));
            }
            page += same;
        }
    }
    if let Some(at) = vdso {
        add_vdso(&mut p, at);
    }
    let last = 0x7000_0000_0000;
    p.region(last, 2, 7, region_kind::ANON).flags = region_flag::STACK | region_flag::GROWSDOWN;
    p.run(1, 1, RUN_PRIVATE, Some(9));
    p.process.resume_ip = last;
    p.process.threads = 1;
    let mut thread = Thread { flags: thread_flag::LEADER, ..Thread::default() };
    thread.context.rsp = last + PAGE;
    p.threads.push(thread);
    p.sigactions = vec![SigAction::default(); 64];
    p
}

fn add_vdso(p: &mut Parts, page: u64) {
    p.region(address(page), 2, 1, region_kind::VVAR);
    p.process.vdso = address(page + 2);
    p.region(p.process.vdso, 1, 5, region_kind::VDSO);
    p.run(0, 1, RUN_PRIVATE, Some(0xdd));
}

/// The restarter: its mappings (start and length in pages, by ascending address) and its vdso group.
fn present(own: &[(u64, u64)], group: Option<u64>) -> Present {
    let mut all: Vec<(u64, u64, Owner)> =
        own.iter().map(|(start, pages)| (*start, *pages, Owner::Restarter)).collect();
    if let Some(mut at) = group {
        for (pages, owner) in GROUP {
            all.push((at, pages, owner));
            at += pages;
        }
    }
    all.sort_by_key(|(start, ..)| *start);
    let mut present = Present::default();
    for (start, pages, owner) in all {
        present.push(address(start), address(start + pages), owner).expect("room");
    }
    present
}

/// What a plan made of the process.
struct Outcome {
    pages: std::collections::BTreeMap<u64, Page>,
    early: Vec<Op>,
    late: Vec<Op>,
}

/// Plans, and carries out.
fn carry_out(parts: &Parts, present: &Present, same_code: bool, file_is_there: bool, lazy: bool) -> Outcome {
    let (_, file) = parts.image();
    let image = synthetic::parse(&file).expect("a good image");
    let vdso = layout::vdso_fate(&image, present, same_code);
    let mut block = vec![MaybeUninit::<u8>::uninit(); plan::room(&image) + (1 << 20)];
    let layout = layout::find(&image, present, vdso, 1 << 20).expect("room");
    let hole = layout.hole;
    assert!(present.overlap(hole.start, hole.end).is_none());
    assert!(image.regions().iter().all(|region| region.end <= hole.start || hole.end <= region.start));

    let mut arena = Arena::new(&mut block);
    let scratch = arena.zeros(image.head().chunk as usize).expect("room").as_ptr() as u64;
    let patched = vec![0xccu8; if vdso == Vdso::Goes && parts.process.vdso != 0 { PAGE as usize } else { 0 }];
    let backings =
        [Backing { fd: if file_is_there { FILE_FD } else { -1 }, read_only: -1, same: file_is_there }];
    let inputs = Inputs {
        saved_vdso: SavedVdso { original: &patched, patched: &patched },
        backings: &backings,
        lazy,
        scratch,
        executor: &[0xcc; 64],
        ..Inputs::new(&image, present, layout, vdso)
    };
    let plan = plan::make(inputs, &mut arena).expect("a plan");

    let mut pages = std::collections::BTreeMap::new();
    for mapping in present.mappings() {
        for page in (mapping.span.start..mapping.span.end).step_by(PAGE as usize) {
            pages.insert(page, Page { contents: Contents::Present(page), prot: 5 });
        }
    }
    for page in (hole.start..hole.end).step_by(PAGE as usize) {
        pages.insert(page, Page { contents: Contents::Fill(0), prot: 3 });
    }
    let own = pages.clone();
    let mut kernel = Kernel { pages, image: &file, arena: scratch..scratch + (1 << 30) };
    for op in plan.early.as_slice() {
        kernel.call(op);
    }
    for page in own.keys().filter(|page| !(hole.start..hole.end).contains(page)) {
        assert_eq!(kernel.pages.get(page), own.get(page), "an early op changed the restarter's memory");
    }
    for op in plan.late.as_slice() {
        kernel.call(op);
    }
    for page in (hole.start..hole.end).step_by(PAGE as usize) {
        kernel.pages.remove(&page).expect("the hole stays");
    }
    let outcome = Outcome {
        pages: kernel.pages,
        early: plan.early.as_slice().to_vec(),
        late: plan.late.as_slice().to_vec(),
    };
    compare(&outcome, &image, present, vdso, file_is_there, lazy);
    outcome
}

/// Every page of the image is there as it should be, and no other.
fn compare(outcome: &Outcome, image: &Image, present: &Present, vdso: Vdso, file_is_there: bool, lazy: bool) {
    let mut expected = std::collections::BTreeMap::new();
    let now = present.vdso().map_or(0, |span| span.start);
    for region in image.regions().iter() {
        for page in (region.start..region.end).step_by(PAGE as usize) {
            let mut load =
                image.loads_of(&region).iter().filter(|l| l.p_vaddr <= page && page < l.p_vaddr + l.p_filesz);
            let load = load.next();
            let is_file = region.kind == region_kind::FILE && file_is_there;
            let offset = region.offset + (page - region.start);
            let contents = match (region.kind, load) {
                (region_kind::VVAR | region_kind::VDSO, _) if vdso != Vdso::Goes => {
                    Contents::Present(page.wrapping_sub(image.process().vdso).wrapping_add(now))
                }
                (region_kind::VDSO, _) => Contents::Copied,
                (_, Some(load)) if load.p_paddr == RUN_PRIVATE || !is_file => {
                    let fill = load_fill(image, &load);
                    let file_offset = load.p_offset + (page - load.p_vaddr);
                    let long = load.p_filesz >= LONG * PAGE && region.flags & region_flag::GROWSDOWN == 0;
                    if lazy && long { Contents::File(3, file_offset) } else { Contents::Fill(fill) }
                }
                _ if is_file => Contents::File(FILE_FD, offset),
                _ => Contents::Fill(0),
            };
            let kept = matches!(contents, Contents::Present(_));
            expected.insert(page, Page { contents, prot: if kept { 5 } else { region.prot } });
        }
    }
    for (page, want) in &expected {
        assert_eq!(outcome.pages.get(page), Some(want), "page {page:#x}, vdso {vdso:?}");
    }
    for page in outcome.pages.keys() {
        assert!(expected.contains_key(page), "left over: {page:#x}, vdso {vdso:?}");
    }
}

/// The byte that a run of [`Parts::run`] is full of: it is found by the order of the runs.
fn load_fill(image: &Image, load: &image::elf::Phdr) -> u8 {
    FILLS.with(|fills| {
        let fills = fills.borrow();
        fills[((load.p_offset - image.head().data_off) / PAGE) as usize]
    })
}

thread_local! {
    /// First byte of each page of the page data of the image under test.
    static FILLS: std::cell::RefCell<Vec<u8>> = const { std::cell::RefCell::new(Vec::new()) };
}

fn check(parts: &Parts, present: &Present, same_code: bool, file_is_there: bool, lazy: bool) -> Outcome {
    FILLS.set(parts.data.chunks(PAGE as usize).map(|page| page[0]).collect());
    carry_out(parts, present, same_code, file_is_there, lazy)
}

fn anon(start: u64, pages: u64, fill: Option<u8>) -> Piece {
    let run = fill.map(|fill| (RUN_PRIVATE, fill));
    Piece { start, pages, prot: 3, kind: region_kind::ANON, flags: 0, runs: vec![run; pages as usize] }
}

fn names(ops: &[Op]) -> Vec<Sysno> {
    let memory = [Sysno::mmap, Sysno::munmap, Sysno::mremap, Sysno::mprotect, Sysno::preadv];
    ops.iter().filter_map(Op::sysno).filter(|nr| memory.contains(nr)).collect()
}

#[test]
fn a_region_out_of_the_way_is_built_at_home() {
    let outcome = check(&parts(&[anon(0, 4, Some(1))], None), &present(&[(100, 8)], None), true, true, false);
    assert_eq!(outcome.early[0].args[0], address(0));
    assert_eq!(names(&outcome.late), [Sysno::munmap], "the restarter");
}

#[test]
fn a_region_where_the_restarter_is_comes_home_late() {
    let outcome = check(&parts(&[anon(0, 40, Some(1))], None), &present(&[(10, 8)], None), true, true, false);
    assert_ne!(outcome.early[0].args[0], address(0));
    assert_eq!(names(&outcome.late), [Sysno::munmap, Sysno::mremap]);
}

#[test]
fn a_reservation_where_the_restarter_is_is_made_late_and_never_moved() {
    let outcome = check(&parts(&[anon(0, 40, None)], None), &present(&[(10, 8)], None), true, true, false);
    assert_eq!(names(&outcome.late), [Sysno::munmap, Sysno::mmap]);
}

#[test]
fn neighbours_of_the_restarter_are_unmapped_with_one_call_and_gaps_are_not() {
    let own = [(10, 2), (12, 3), (20, 1)];
    let outcome = check(&parts(&[anon(16, 2, Some(1))], None), &present(&own, None), true, true, false);
    let unmapped: Vec<_> =
        outcome.late.iter().filter(|op| op.sysno() == Some(Sysno::munmap)).map(|op| &op.args[..2]).collect();
    assert_eq!(unmapped, [[address(10), 5 * PAGE], [address(20), PAGE]]);
}

#[test]
fn the_vdso_takes_the_shortest_way() {
    let moves = |home: u64, now: u64, pieces: &[Piece]| {
        let outcome = check(&parts(pieces, Some(home)), &present(&[], Some(now)), true, true, false);
        names(&outcome.late).iter().filter(|nr| **nr == Sysno::mremap).count()
    };
    assert_eq!(moves(10, 10, &[]), 0, "it is there");
    assert_eq!(moves(10, 100, &[]), 2, "both mappings of the group move once");
    assert_eq!(moves(10, 11, &[]), 4, "to a place that overlaps its own it goes by another one");
}

#[test]
fn another_kernels_vdso_becomes_memory() {
    let outcome = check(&parts(&[], Some(10)), &present(&[(50, 1)], Some(100)), false, true, false);
    assert_eq!(outcome.pages[&address(12)], Page { contents: Contents::Copied, prot: 5 });
    assert_eq!(outcome.pages[&address(10)], Page { contents: Contents::Fill(0), prot: 1 }, "no clock here");
}

#[test]
fn clean_pages_are_read_only_when_the_file_has_changed() {
    let runs = vec![Some((RUN_CLEAN, 1)), Some((RUN_PRIVATE, 2)), Some((RUN_CLEAN, 3))];
    let piece = Piece { start: 0, pages: 3, prot: 5, kind: region_kind::FILE, flags: 0, runs };
    for there in [true, false] {
        let outcome =
            check(&parts(std::slice::from_ref(&piece), None), &present(&[(50, 1)], None), true, there, false);
        let mapped = &outcome.early[0];
        assert_eq!(mapped.args[4] as i32, if there { FILE_FD } else { -1 });
    }
}

#[test]
fn every_chunk_is_read_whoever_needs_it() {
    let runs = vec![Some((RUN_CLEAN, 1)); 200];
    let piece = Piece { start: 0, pages: 200, prot: 5, kind: region_kind::FILE, flags: 0, runs };
    let image = parts(&[piece], None);
    let reads = |outcome: &Outcome| names(&outcome.early).iter().filter(|nr| **nr == Sysno::preadv).count();
    for file_is_there in [true, false] {
        let outcome = check(&image, &present(&[], None), true, file_is_there, false);
        assert_eq!(reads(&outcome), 4, "201 pages in chunks of 64");
    }
}

#[test]
fn lazy_maps_long_runs_and_reads_short_ones() {
    let pieces = [anon(0, LONG, Some(1)), anon(20, LONG - 1, Some(2))];
    let outcome = check(&parts(&pieces, None), &present(&[], None), true, true, true);
    let from_image = |op: &&Op| op.sysno() == Some(Sysno::mmap) && op.args[4] == 3;
    assert_eq!(outcome.early.iter().filter(from_image).count(), 1);
}

#[test]
fn guards_and_seals_come_last() {
    let mut piece = anon(0, 4, Some(1));
    piece.flags = region_flag::GUARDS | region_flag::SEALED | region_flag::DONTFORK;
    let mut image = parts(&[piece], None);
    image.guards.push(Span { start: address(1), end: address(2) });
    // At home, and where the restarter was.
    for own in [50, 2] {
        let outcome = check(&image, &present(&[(own, 1)], None), true, true, false);
        let all = [outcome.early, outcome.late].concat();
        let of_region: Vec<_> = all
            .iter()
            .filter(|op| matches!(op.sysno(), Some(Sysno::madvise | Sysno::mseal | Sysno::mremap)))
            .filter(|op| op.sysno() != Some(Sysno::mremap) || op.expect == address(0))
            .filter_map(Op::sysno)
            .collect();
        assert!(of_region.ends_with(&[Sysno::madvise, Sysno::madvise, Sysno::mseal]), "{of_region:?}");
    }
}

#[test]
fn an_address_space_without_room_is_refused() {
    let mut p = parts(&[], None);
    let region = p.regions.last_mut().expect("the stack");
    // All but a few pages.
    (region.start, region.first_load) = (0x10000, 0);
    region.end = image::USER_END - 8 * PAGE;
    p.loads.clear();
    region.loads = 0;
    p.data.clear();
    let (_, file) = p.image();
    let image = synthetic::parse(&file).expect("a good image");
    let failure = layout::find(&image, &present(&[], None), Vdso::Goes, 1 << 20).expect_err("no room");
    assert_eq!(failure.code, restart::exit::Code::Layout);
}

/// Disjoint ranges of pages, ascending.
fn ranges(most: usize, longest: u64) -> impl Strategy<Value = Vec<(u64, u64)>> {
    prop::collection::vec((0..6u64, 1..=longest), 0..most).prop_map(|steps| {
        let mut at = 0;
        steps
            .into_iter()
            .map(|(gap, pages)| {
                let start = at + gap;
                at = start + pages;
                (start, pages)
            })
            .collect()
    })
}

fn a_piece(start: u64, pages: u64) -> impl Strategy<Value = Piece> {
    let run = prop_oneof![
        2 => Just(None),
        3 => (1..=255u8).prop_map(|fill| Some((RUN_PRIVATE, fill))),
        2 => (1..=255u8).prop_map(|fill| Some((RUN_CLEAN, fill))),
    ];
    let kind = prop_oneof![3 => Just(region_kind::ANON), 2 => Just(region_kind::FILE)];
    (0..8u32, kind, prop::collection::vec(run, pages as usize), any::<bool>()).prop_map(
        move |(prot, kind, mut runs, is_uniform)| {
            if is_uniform {
                runs = vec![runs[0]; runs.len()];
            }
            if kind == region_kind::ANON {
                runs.iter_mut().flatten().for_each(|run| run.0 = RUN_PRIVATE);
            }
            Piece { start, pages, prot, kind, flags: 0, runs }
        },
    )
}

fn pieces() -> impl Strategy<Value = Vec<Piece>> {
    ranges(8, 24).prop_flat_map(|ranges| {
        ranges.into_iter().map(|(start, pages)| a_piece(start, pages)).collect::<Vec<_>>()
    })
}

/// Whether a group of three pages at `at` keeps clear of the ranges.
fn is_clear(at: u64, ranges: impl IntoIterator<Item = (u64, u64)>) -> bool {
    ranges.into_iter().all(|(start, pages)| at + 3 <= start || start + pages <= at)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 5 } else { 200 }))]

    #[test]
    fn no_layout_is_unlucky(
        pieces in pieces(),
        own in ranges(6, 12),
        saved_group in prop::option::of(0..80u64),
        present_group in prop::option::of(0..80u64),
        same_code: bool,
        file_is_there: bool,
        lazy: bool,
    ) {
        let saved_group = saved_group.filter(|at| is_clear(*at, pieces.iter().map(|p| (p.start, p.pages))));
        let present_group = present_group.filter(|at| is_clear(*at, own.iter().copied()));
        let image = parts(&pieces, saved_group);
        check(&image, &present(&own, present_group), same_code, file_is_there, lazy);
    }
}
