//! What the writer puts into an image, the reader gets out of it.

mod synthetic;

use image::chunks::{Cutter, Piece};
use image::crc::crc32c_append;
use image::elf;
use image::format::*;
use image::notes::NoteIter;
use image::read::{Image, Sums, prefix_len};
use image::write::{Full, Layout, Notes, seal};
use proptest::prelude::*;
use std::collections::BTreeMap;
use synthetic::{Parts, parse, reseal, use_all_of};

/// What fills the pages at each address.
type Pages = BTreeMap<u64, u8>;
/// What fills the pages of each object at each offset.
type ObjectPages = BTreeMap<(u64, u64), u8>;

/// Puts memory and objects back as a restarter does: chunk by chunk, each of them summed.
fn load(image: &Image, file: &[u8]) -> Result<(Pages, ObjectPages), &'static str> {
    let head = image.head();
    let sums = Sums::parse(&file[head.sums_off as usize..][..head.sums_len as usize]).map_err(|_| "sums")?;
    let data = &file[head.data_off as usize..][..head.data_len as usize];

    // In the order of the file: runs of memory first, then those of objects.
    let memory: Vec<_> = image.loads().iter().filter(|l| l.p_filesz > 0 && l.p_paddr != RUN_OBJECT).collect();
    let pieces = memory.iter().map(|load| Piece { addr: load.p_vaddr, len: load.p_filesz });
    let runs = image.object_runs().iter().map(|run| Piece { addr: run.offset, len: run.len });

    let mut pages = Pages::new();
    let mut object_pages = ObjectPages::new();
    let (mut at, mut chunk_start, mut crc) = (0, 0, 0);
    for cut in Cutter::new(pieces.chain(runs), u64::from(head.chunk)) {
        let bytes = &data[at..at + cut.len as usize];
        crc = crc32c_append(crc, bytes);
        at += bytes.len();
        for (i, page) in bytes.chunks(PAGE as usize).enumerate() {
            let addr = cut.addr + i as u64 * PAGE;
            assert!(page.iter().all(|byte| *byte == page[0]));
            if let Some(run) = cut.piece.checked_sub(memory.len() as u64) {
                let runs = |object: Object| object.first_run..object.first_run + object.runs;
                let object = image.objects().iter().position(|object| runs(object).contains(&(run as u32)));
                object_pages.insert((object.unwrap() as u64, addr), page[0]);
            } else {
                pages.insert(addr, page[0]);
            }
        }
        if cut.ends_chunk {
            if sums.get(cut.chunk as usize) != Some(crc) {
                return Err("data");
            }
            assert_eq!(cut.chunk as usize, chunk_start / head.chunk as usize);
            (chunk_start, crc) = (at, 0);
        }
    }
    assert_eq!(at, data.len());
    Ok((pages, object_pages))
}

/// The runs of an object: pages of zeros before each, pages in it, what fills them.
type ObjectModel = Vec<(u64, u64, u8)>;

/// A region of the synthetic process: untouched pages before it, then what each page is.
#[derive(Clone, Debug)]
struct ModelRegion {
    gap: u64,
    kind: u32,
    shared: bool,
    prot: u32,
    pages: Vec<ModelPage>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum ModelPage {
    Untouched,
    Private(u8),
    Clean(u8),
}

fn model_region() -> impl Strategy<Value = ModelRegion> {
    let page = prop_oneof![
        2 => Just(ModelPage::Untouched),
        2 => any::<u8>().prop_map(ModelPage::Private),
        1 => any::<u8>().prop_map(ModelPage::Clean),
    ];
    // Long enough for a region to fill chunks.
    let pages = prop_oneof![9 => prop::collection::vec(page.clone(), 1..12), 1 => prop::collection::vec(page, 60..140)];
    (1u64..1 << 20, 1u32..=4, any::<bool>(), 0u32..8, pages)
        .prop_map(|(gap, kind, shared, prot, pages)| ModelRegion { gap, kind, shared, prot, pages })
}

/// Makes tables of a model, and says what must come back.
fn parts_of(model: &[ModelRegion], objects: &[ObjectModel]) -> (Parts, Pages, ObjectPages) {
    let mut p = Parts { sigactions: vec![SigAction::default(); 64], ..Parts::default() };
    let (mut pages, mut object_pages) = (Pages::new(), ObjectPages::new());
    let path = p.path("/lib/libc.so.6");
    p.files.push(MappedFile { path, ..MappedFile::default() });

    // Code to resume in and a stack, in front of everything.
    p.region(0x1_0000, 1, 5, region_kind::ANON);
    p.region(0x1_1000, 1, 3, region_kind::ANON);
    p.process.resume_ip = 0x1_0000;
    p.process.threads = 1;
    let mut thread = Thread { flags: thread_flag::LEADER, ..Thread::default() };
    thread.context.rsp = 0x1_1800;
    p.threads.push(thread);

    let mut address = 0x10_0000;
    for region in model {
        let kind = if region.kind == region_kind::OBJECT && objects.is_empty() {
            region_kind::ANON
        } else {
            region.kind
        };
        let shared = kind == region_kind::SHARED_FILE || kind == region_kind::OBJECT && region.shared;
        address += region.gap * PAGE;
        let entry = p.region(address, region.pages.len() as u64, region.prot, kind);
        if kind != region_kind::ANON {
            entry.file = 0;
        }
        entry.flags = if shared { region_flag::SHARED } else { 0 };
        for (i, page) in region.pages.iter().enumerate().filter(|_| !shared) {
            let (paddr, fill) = match *page {
                ModelPage::Untouched => continue,
                ModelPage::Clean(fill) if kind == region_kind::FILE => (RUN_CLEAN, fill),
                ModelPage::Private(fill) | ModelPage::Clean(fill) => (RUN_PRIVATE, fill),
            };
            p.run(i as u64, 1, paddr, Some(fill));
            pages.insert(address + i as u64 * PAGE, fill);
        }
        address += region.pages.len() as u64 * PAGE;
    }
    for (number, runs) in objects.iter().enumerate() {
        let mut object = Object { kind: object_kind::SHARED_ANON, ..Object::default() };
        object.first_run = p.object_runs.len() as u32;
        object.runs = runs.len() as u32;
        for (hole, len, fill) in runs {
            let run =
                ObjectRun { offset: object.size + hole * PAGE, data: p.data.len() as u64, len: len * PAGE };
            p.data.resize(p.data.len() + run.len as usize, *fill);
            object.size = run.offset + run.len;
            p.object_runs.push(run);
            object_pages.extend((0..*len).map(|i| ((number as u64, run.offset + i * PAGE), *fill)));
        }
        p.objects.push(object);
    }
    (p, pages, object_pages)
}

fn model() -> impl Strategy<Value = (Vec<ModelRegion>, Vec<ObjectModel>)> {
    let run = (0u64..4, 1u64..5, any::<u8>());
    (
        prop::collection::vec(model_region(), 0..12),
        prop::collection::vec(prop::collection::vec(run, 0..4), 0..3),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 3 } else { 100 }))]

    #[test]
    fn memory_and_objects_come_back((model, objects) in model(), flip: prop::sample::Index) {
        let (parts, pages, object_pages) = parts_of(&model, &objects);
        let (layout, mut file) = parts.image();
        {
            let image = parse(&file).unwrap();
            prop_assert!(image.regions().iter().eq(parts.regions.iter().copied()));
            prop_assert!(image.threads().iter().eq(parts.threads.iter().copied()));
            prop_assert!(image.objects().iter().eq(parts.objects.iter().copied()));
            prop_assert_eq!(image.process(), &parts.process);
            use_all_of(&image);
            let (read, read_objects) = load(&image, &file).unwrap();
            prop_assert_eq!(read, pages);
            prop_assert_eq!(read_objects, object_pages);
        }
        // One flipped bit of page data is always found.
        if layout.data_len > 0 {
            let bit = flip.index(layout.data_len as usize * 8);
            file[layout.data_off as usize + bit / 8] ^= 1 << (bit % 8);
            let image = parse(&file).unwrap();
            let head = image.head();
            let sums = Sums::parse(&file[head.sums_off as usize..]).unwrap();
            let data = &file[head.data_off as usize..][..head.data_len as usize];
            let wrong: Vec<usize> = data
                .chunks(CHUNK as usize)
                .enumerate()
                .filter(|(i, chunk)| sums.get(*i) != Some(image::crc::crc32c(chunk)))
                .map(|(i, _)| i)
                .collect();
            prop_assert_eq!(wrong, [bit / 8 / CHUNK as usize]);
        }
    }

    #[test]
    fn notes_come_back(list in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..9), any::<u32>(), prop::collection::vec(any::<u8>(), 0..40)), 0..8), room in 0usize..400) {
        let mut buf = vec![0xaa; room];
        let mut notes = Notes::new(&mut buf);
        let mut written = Vec::new();
        for (owner, kind, desc) in &list {
            let before = notes.len();
            let need = 12 + owner.len().next_multiple_of(4) + desc.len().next_multiple_of(4);
            // In pieces.
            let (a, b) = desc.split_at(desc.len() / 3);
            let result = notes
                .begin(owner, *kind)
                .and_then(|()| notes.push(a))
                .and_then(|()| notes.push(b))
                .and_then(|()| notes.end());
            prop_assert_eq!(result, if before + need <= room { Ok(()) } else { Err(Full) });
            if result.is_err() {
                break;
            }
            prop_assert_eq!(notes.len(), before + need);
            written.push((owner.clone(), *kind, desc.clone()));
            let mut walk = NoteIter::new(notes.bytes());
            let read: Vec<_> = (&mut walk).map(|note| (note.owner.to_vec(), note.kind, note.desc.to_vec())).collect();
            prop_assert_eq!(walk.rest(), &[] as &[u8]);
            prop_assert_eq!(&read, &written);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 10 } else { 2000 }))]

    /// Whatever is changed, with the sums right again: the reader refuses it or gives out what can be used, and never panics.
    #[test]
    fn mutations_with_right_sums_do_no_harm(
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0u8..3, interesting()), 1..6),
    ) {
        let (layout, mut file) = Parts::one_of_everything().image();
        for (at, width, value) in changes {
            // Aligned, as the fields are; HEAD's contents begin at a multiple of 4.
            let width = 2usize << width; // 2, 4, 8
            let at = at.index(layout.data_off as usize - 8) & !(width.min(4) - 1);
            file[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
        }
        reseal(&mut file, &layout);
        if let Ok(image) = parse(&file) {
            use_all_of(&image);
        }
    }
}

/// Values that find the edges of checks.
fn interesting() -> impl Strategy<Value = u64> {
    prop_oneof![
        Just(0),
        Just(1),
        Just(u64::MAX),
        Just(u64::MAX - 4095),
        Just(1 << 63),
        Just(image::USER_END),
        Just(image::USER_END - PAGE),
        (0u64..64).prop_map(|i| i * PAGE),
        (0u64..64).prop_map(|i| 0x40_0000 + i * PAGE),
        (0u32..64).prop_map(|bit| 1 << bit),
        0u64..300,
        any::<u64>(),
    ]
}

#[test]
fn more_than_65534_program_headers() {
    let counts: &[u64] = if cfg!(miri) { &[0xffff] } else { &[0xfffd, 0xfffe, 0xffff, 80_000] };
    for &loads in counts {
        let (mut parts, mut pages, _) = parts_of(&[], &[]);
        for i in 0..loads {
            parts.region(0x10_0000 + 2 * i * PAGE, 1, 3, region_kind::ANON);
            // Few of them have bytes: this is about headers.
            let fill = i.is_multiple_of(10_000).then_some(i as u8);
            parts.run(0, 1, RUN_PRIVATE, fill);
            pages.extend(fill.map(|fill| (0x10_0000 + 2 * i * PAGE, fill)));
        }
        let (layout, file) = parts.image();
        let extended = loads + 1 >= 0xffff;
        assert_eq!(layout.shdr_off, if extended { 64 } else { 0 });
        assert_eq!(layout.ehdr().e_phnum, if extended { 0xffff } else { loads as u16 + 1 });
        assert_eq!(prefix_len(&file, layout.file_len), Ok(layout.data_off));
        let image = parse(&file).unwrap();
        assert_eq!(image.loads().len() as u64, loads);
        assert_eq!(load(&image, &file).unwrap().0, pages);
        // A wrong count in section header 0 is seen.
        let mut file = file.clone();
        if extended {
            file[64 + 44] ^= 1;
            reseal(&mut file, &layout);
            assert_eq!(parse(&file).unwrap_err(), image::error::ImageError::TablesCorrupt);
        }
    }
}

#[test]
fn a_layout_has_limits() {
    assert!(Layout::new(0, 0, 0).is_some());
    assert_eq!(Layout::new(1, 2, 0), None, "notes are a multiple of 4");
    assert_eq!(Layout::new(1, 4, 100), None, "page data is made of pages");
    assert_eq!(Layout::new(u64::MAX, 4, 0), None);
    assert_eq!(Layout::new(u64::from(u32::MAX), 4, 0), None, "sh_info has 32 bits");
    assert!(Layout::new(u64::from(u32::MAX) - 1, 4, 0).is_some());
    assert_eq!(Layout::new(1, u64::MAX - 3, 0), None);
    assert_eq!(Layout::new(1, 4, u64::MAX - 4095), None);
    assert_eq!(Layout::new(1, 4, i64::MAX as u64 - 4095), None, "longer than off_t can say");
    let layout = Layout::new(3, 200, 5 * CHUNK + PAGE).unwrap();
    assert_eq!((layout.phdr_off, layout.notes_off, layout.data_off), (64, 64 + 4 * 56, PAGE));
    assert_eq!(layout.sums_len, 24 + 6 * 4 + 8 * 16);
    assert_eq!(layout.file_len, PAGE + 5 * CHUNK + PAGE + layout.sums_len);
}

#[test]
fn only_notes_that_begin_with_head_are_sealed() {
    let mut buf = [0; 400];
    let mut notes = Notes::new(&mut buf);
    notes.add(elf::OWNER_CORE, note::HEAD, &[0; 104]).unwrap();
    let notes = notes.finish();
    let layout = Layout::new(0, notes.len() as u64, 0).unwrap();
    assert_eq!(seal(notes, &layout, 0), None);

    let mut notes = Notes::new(&mut buf);
    notes.add(OWNER, note::HEAD, &[0; 104]).unwrap();
    let notes = notes.finish();
    assert_eq!(seal(notes, &Layout::new(0, 4, 0).unwrap(), 0), None, "another length");
    let layout = Layout::new(0, notes.len() as u64, 0).unwrap();
    assert_eq!(seal(notes, &layout, 0), Some(()));
    assert_eq!(seal(&mut [], &layout, 0), None);
}

#[test]
fn an_empty_chunk_list_has_no_sums() {
    let (parts, _, _) = parts_of(&[], &[]);
    let (layout, file) = parts.image();
    assert_eq!((layout.data_len, layout.sums_len), (0, 24 + 8 * 16));
    assert!(Sums::parse(&file[layout.sums_off as usize..]).unwrap().is_empty());
    parse(&file).unwrap();
}
