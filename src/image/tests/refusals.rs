//! Everything that is wrong with an image is found, and called by its name.

mod synthetic;

use image::details;
use image::elf::{self, Ehdr, PF_R, PT_NOTE};
use image::error::ImageError;
use image::format::*;
use image::plain;
use image::read::{Sums, prefix_len};
use image::write::{Layout, Notes};
use std::mem::offset_of;
use synthetic::{Parts, parse, reseal, use_all_of};

fn sound() -> (Layout, Vec<u8>) {
    Parts::one_of_everything().image()
}

#[test]
fn a_sound_image_is_taken() {
    let (_, file) = sound();
    assert_ne!(use_all_of(&parse(&file).unwrap()), 0);
}

/// One change each, with the sums right again: what the reader says then.
#[test]
fn each_wrong_entry_is_named() {
    type Change = fn(&mut Parts);
    const NUL_INSIDE: Change = |p| p.process.cwd = p.blob(b"/a\0b\0");
    let cases: &[(Change, &str)] = &[
        // Regions.
        (|p| p.regions.clear(), "no regions"),
        (|p| p.regions[0].start += 1, "a region does not consist of pages"),
        (|p| p.regions[0].end += 8, "a region does not consist of pages"),
        (|p| p.regions[0].end = p.regions[0].start, "regions overlap or are out of order"),
        (|p| p.regions.swap(4, 5), "regions overlap or are out of order"),
        (|p| p.regions[4].end = p.regions[5].start + PAGE, "regions overlap or are out of order"),
        (|p| p.regions.last_mut().unwrap().end = image::USER_END + PAGE, "outside of user space"),
        (|p| p.regions.last_mut().unwrap().end = 1 << 63, "outside of user space"),
        (|p| p.regions[0].prot = 8, "unknown protection of a region"),
        (|p| p.regions[0].flags = 1 << 31, "unknown flags of a region"),
        (|p| p.regions[0].pkey = 16, "unknown protection key"),
        (|p| p.regions[0].kind = 0, "kind and file of a region"),
        (|p| p.regions[0].kind = 7, "kind and file of a region"),
        (|p| p.regions[0].file = 2, "kind and file of a region"),
        (|p| p.regions[0].file = NONE, "kind and file of a region"),
        (|p| p.regions[0].flags |= region_flag::SHARED, "kind and file of a region"),
        (|p| p.regions[1].flags |= region_flag::SHARED, "kind and file of a region"),
        (|p| p.regions[1].file = 0, "kind and file of a region"),
        (|p| p.regions[2].flags = 0, "kind and file of a region"),
        (|p| p.regions[3].file = 2, "kind and file of a region"),
        (|p| p.regions[0].offset = 1, "offset of a region in its file"),
        (|p| p.regions[2].offset = !(PAGE - 1), "offset of a region in its file"),
        (|p| p.regions[2].offset = i64::MAX as u64 & !(PAGE - 1), "offset of a region in its file"),
        (|p| p.regions[0].first_load = 1, "program headers are elsewhere"),
        (|p| p.regions[1].first_load = 2, "program headers are elsewhere"),
        (|p| p.regions[1].first_load = u32::MAX, "program headers are elsewhere"),
        (|p| p.regions[1].loads = u32::MAX, "number of program headers"),
        (|p| p.regions.last_mut().unwrap().loads += 1, "program headers that belong to no region"),
        (|p| p.regions.last_mut().unwrap().loads -= 1, "program headers that belong to no region"),
        (|p| p.regions[4].name.len += 1, "name of a region"),
        // Program headers.
        (|p| p.loads[0].p_type = PT_NOTE, "an unknown program header"),
        (|p| p.loads[0].p_flags |= 8, "flags of a program header"),
        (|p| p.loads[0].p_align = 1, "flags of a program header"),
        (|p| p.loads[0].p_vaddr += 1, "a program header does not consist of pages"),
        (|p| p.loads[3].p_memsz += 1, "a program header does not consist of pages"),
        (|p| p.loads[0].p_filesz = 3, "a program header does not consist of pages"),
        (|p| p.loads[0].p_memsz = 0, "a program header does not consist of pages"),
        (|p| p.loads[2].p_memsz += PAGE, "a program header reaches beyond its region"),
        (|p| p.loads[2].p_memsz = !(PAGE - 1), "a program header reaches beyond its region"),
        (|p| p.loads[1].p_vaddr -= PAGE, "program headers overlap or are out of order"),
        (|p| p.loads[0].p_vaddr -= PAGE, "program headers overlap or are out of order"),
        (|p| p.loads[4].p_memsz += 2 * PAGE, "program headers overlap or are out of order"),
        (|p| p.loads[0].p_paddr = 3, "bytes of a kind that its region cannot have"),
        (|p| p.loads[0].p_paddr = RUN_OBJECT, "bytes of a kind that its region cannot have"),
        (|p| p.loads[4].p_paddr = RUN_CLEAN, "bytes of a kind that its region cannot have"),
        // Memory that other processes see is never written by address.
        (|p| p.loads[6].p_paddr = RUN_PRIVATE, "bytes of a kind that its region cannot have"),
        (|p| p.regions[6].kind = region_kind::VVAR, "bytes of a kind that its region cannot have"),
        (|p| p.loads[1].p_offset += PAGE, "not in the order of the program headers"),
        (|p| p.loads[0].p_offset = PAGE, "not in the order of the program headers"),
        (|p| p.data.truncate(3 * PAGE as usize), "bytes are outside of the page data"),
        (|p| p.loads[6].p_offset -= PAGE, "outside of the objects' data"),
        (|p| p.loads[6].p_offset += 1, "outside of the objects' data"),
        (|p| p.loads[6].p_offset += 2 * PAGE, "outside of the objects' data"),
        (|p| p.loads[6].p_offset = 1 << 63, "outside of the objects' data"),
        // Objects.
        (|p| p.objects[0].kind = 0, "unknown kind of an object"),
        (|p| p.objects[0].kind = object_kind::ABSENT + 1, "unknown kind of an object"),
        (|p| p.objects[1].kind = object_kind::ABSENT + 1, "unknown kind of an object"),
        // What belongs to a file that has a name is never mapped.
        (|p| p.objects[0].kind = object_kind::SPARE, "kind and file of a region"),
        (|p| p.objects[0].kind = object_kind::WRITTEN, "kind and file of a region"),
        (|p| p.objects[0].kind = object_kind::ABSENT, "kind and file of a region"),
        (|p| p.objects[0].size = u64::MAX, "size of an object"),
        (|p| p.objects[0].name.off = u32::MAX, "name of an object"),
        (|p| p.objects[1].first_run = 0, "an object's runs are elsewhere"),
        (|p| p.objects[0].runs = 3, "an object's runs are elsewhere"),
        (|p| p.objects[1].runs = u32::MAX, "number of runs"),
        (|p| p.objects[1].runs = 1, "runs that belong to no object"),
        (|p| p.object_runs[0].offset = 1, "a run of an object does not consist of pages"),
        (|p| p.object_runs[0].len = 1, "a run of an object does not consist of pages"),
        (|p| p.object_runs[0].len = 0, "a run of an object does not consist of pages"),
        (|p| p.object_runs[1].offset = 2 * PAGE, "runs of an object overlap or are out of order"),
        (|p| p.object_runs[1].len = 2 * PAGE, "a run reaches beyond its object"),
        (|p| p.object_runs[1].offset = !(PAGE - 1), "a run reaches beyond its object"),
        (|p| p.objects[0].size = 3 * PAGE, "a run reaches beyond its object"),
        (|p| p.object_runs[0].data += PAGE, "data of objects is not in the order of their runs"),
        (|p| p.object_runs[1].data -= PAGE, "data of objects is not in the order of their runs"),
        (|p| p.data.extend([0; PAGE as usize]), "page data that belongs to nothing"),
        // The process.
        (|p| p.process.threads = 2, "number of threads"),
        (|p| p.process.flags = 1 << 63, "unknown flags of the process"),
        (|p| p.process.resume_ip = 0x60_0000, "place to resume at is not executable"),
        (|p| p.process.resume_ip = 0x40_4000, "place to resume at is not executable"),
        (|p| p.process.resume_ip = 0, "place to resume at is not executable"),
        (|p| p.process.vdso = 0x40_0000, "the vdso is not where"),
        (|p| p.process.vdso += PAGE, "the vdso is not where"),
        (|p| p.process.auxv.len = 31, "auxiliary vector"),
        (|p| p.process.auxv.off = u32::MAX, "auxiliary vector"),
        (|p| p.process.exe.len -= 1, "path of the executable"),
        (|p| p.process.exe.len += 1, "path of the executable"),
        (NUL_INSIDE, "path of the working directory"),
        (|p| p.process.cmdline = Blob { off: u32::MAX, len: u32::MAX }, "command line"),
        (|p| p.process.kernel.len = u32::MAX, "name of the kernel"),
        // Threads.
        (|p| p.threads[0].flags |= 2, "unknown flags of a thread"),
        (|p| p.threads[0].flags = 0, "not one thread leads the resume"),
        (|p| p.threads[0].context.rsp = 0, "a thread has no stack"),
        (|p| p.threads[0].context.rsp += 1, "a thread has no stack"),
        (|p| p.threads[0].context.rsp = 0x40_1000, "a thread has no stack"),
        (|p| p.threads[0].affinity.len = 1 << 30, "affinity of a thread"),
        // Guards.
        (|p| p.guards[0].start += 1, "guard pages are not pages"),
        (|p| p.guards[0].end = p.guards[0].start, "guard pages are not pages, or out of order"),
        (|p| p.guards.push(p.guards[0]), "guard pages are not pages, or out of order"),
        (|p| p.guards[0].end += 10 * PAGE, "guard pages in a region that has none"),
        (|p| p.regions[1].flags = 0, "guard pages in a region that has none"),
        // Signals and timers.
        (|p| p.sigactions.truncate(63), "number of signal actions"),
        (|p| p.sigactions.push(SigAction::default()), "number of signal actions"),
        (|p| p.pending[0].info[0] = 0, "number of a pending signal"),
        (|p| p.pending[0].info[0] = 65, "number of a pending signal"),
        (|p| p.pending[0].info[3] = 0x80, "number of a pending signal"),
        (|p| p.pending[1].thread = 1, "thread of a pending signal"),
        (|p| p.timers[1].id = 0, "ids of timers"),
        (|p| p.timers[1].id = 1 << 31, "ids of timers"),
        (|p| p.timers[1].thread = 1, "thread of a timer"),
        // Files.
        (|p| p.files[0].path.len = 3, "path of a mapped file"),
        (|p| p.files[0].deleted = 2, "state of a mapped file"),
        (|p| p.files[0].size = 1 << 63, "state of a mapped file"),
        (|p| p.open_files[0].kind = 0, "unknown kind of an open file"),
        (|p| p.open_files[0].kind = 21, "unknown kind of an open file"),
        (|p| p.open_files[3].object = 2, "object of an open file"),
        (|p| p.open_files[1].peer = 8, "peer of an open file"),
        (|p| p.open_files[1].peer = 2, "ends of a pipe do not belong together"),
        (|p| p.open_files[2].peer = NONE, "ends of a pipe do not belong together"),
        (|p| p.open_files[6].peer = 6, "ends of a pair of sockets"),
        (|p| p.open_files[6].peer = 5, "ends of a pair of sockets"),
        (|p| p.open_files[6].kind = file_kind::UNIX_SOCKET, "peer of a socket that has a name"),
        (|p| p.open_files[6].kind = file_kind::TCP, "peer of a socket that has a name"),
        (|p| p.open_files[0].detail.len = 0, "length of an open file's details"),
        (|p| p.open_files[3].detail.len = 8, "length of an open file's details"),
        (|p| p.change::<details::Pipe>(1, |pipe| pipe.packets.len = 7), "a table of an open file"),
        (|p| p.change::<details::Epoll>(4, |epoll| epoll.items.len = 23), "a table of an open file"),
        (|p| p.change::<details::Epoll>(4, |epoll| epoll.items.off += 12), "an epoll watches something"),
        (|p| p.change::<details::Inotify>(5, |inotify| inotify.watches.off += 4), "watche"),
        (|p| p.change::<details::Socket>(6, |socket| socket.name.len = 129), "address of a socket"),
        (
            |p| p.change::<details::Socket>(6, |socket| socket.options.len = 1 << 31),
            "a table of an open file",
        ),
        (|p| p.open_files[3].object = NONE, "an open file without its contents"),
        (|p| p.open_files[0].pos = 1 << 63, "state of an open file"),
        (|p| p.open_files[0].flock = 3, "state of an open file"),
        (|p| p.open_files[0].path.off += 1, "path of an open file"),
        (|p| p.open_files[0].detail = Blob { off: 1 << 31, len: 1 }, "details of an open file"),
        (|p| p.open_files[1].queued.len = 1 << 31, "queued bytes of an open file"),
        (|p| p.open_files[3].locks.len -= 1, "locks of an open file"),
        (|p| p.descriptors[1].number = 0, "numbers of descriptors"),
        (|p| p.descriptors[5].number = u32::MAX, "numbers of descriptors"),
        (|p| p.descriptors[0].file = 8, "a descriptor without its file"),
        (|p| p.descriptors[0].flags = 2, "a descriptor without its file"),
        // Notes.
        (|p| p.more.push((OWNER, note::GUARDS, Vec::new())), "a note is there twice"),
        (|p| p.more.push((OWNER, note::HEAD, vec![0; 104])), "a note is there twice"),
        (|p| p.without.push(note::PROCESS), "is missing"),
        (|p| p.without.push(note::REGIONS), "is missing"),
        (|p| p.without.push(note::THREADS), "is missing"),
        (|p| p.without.push(note::SIGACTIONS), "is missing"),
        (
            |p| {
                p.without.push(note::TIMERS);
                p.more.push((OWNER, note::TIMERS, vec![0; 95]));
            },
            "length of a table",
        ),
        (
            |p| {
                p.without.push(note::PROCESS);
                p.more.push((OWNER, note::PROCESS, vec![0; 911]));
            },
            "length of the PROCESS note",
        ),
    ];
    let mut wrong = Vec::new();
    for (number, (change, what)) in cases.iter().enumerate() {
        let mut parts = Parts::one_of_everything();
        change(&mut parts);
        let (_, file) = parts.image();
        match parse(&file) {
            Err(ImageError::BadTable(text)) if text.contains(what) => {}
            other => wrong.push(format!("case {number}: {:?} instead of {what:?}", other.map(|_| ()))),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn tables_that_may_be_missing_are_empty() {
    let mut parts = Parts::one_of_everything();
    parts.without = vec![note::PENDING, note::DESCRIPTORS, note::TIMERS, note::GUARDS];
    let (_, file) = parts.image();
    let image = parse(&file).unwrap();
    assert!(image.pending().is_empty() && image.descriptors().is_empty());
    assert!(image.timers().is_empty() && image.guards().is_empty());
    assert_eq!(image.open_files().len(), 8);
}

#[test]
fn a_note_that_must_be_known_is_told_by_its_type() {
    let mut parts = Parts::one_of_everything();
    parts.more.push((OWNER, 99, Vec::new()));
    let (_, file) = parts.image();
    assert_eq!(parse(&file).unwrap_err(), ImageError::UnknownRequired(99));
}

#[test]
fn a_note_that_does_not_fit_is_refused() {
    // The last note says that it is longer than all the notes are.
    let (layout, mut file) = sound();
    let last = layout.notes_off as usize + layout.notes_len as usize - 16; // "from the future" and its padding
    file[last - 16..last - 12].copy_from_slice(&17u32.to_le_bytes());
    reseal(&mut file, &layout);
    assert_eq!(parse(&file).unwrap_err().text(), "the image is damaged (a note does not fit)");
    file[last - 16..last - 12].copy_from_slice(&u32::MAX.to_le_bytes());
    reseal(&mut file, &layout);
    assert_eq!(parse(&file).unwrap_err().text(), "the image is damaged (a note does not fit)");
}

/// Changes a field of HEAD and makes the sums right again.
fn with_head(change: impl Fn(&mut Head)) -> Result<(), ImageError> {
    let (layout, mut file) = sound();
    let at = layout.notes_off as usize + 20;
    let mut head: Head = plain::read(&file, at).unwrap();
    change(&mut head);
    plain::write(&mut file, at, &head).unwrap();
    reseal(&mut file, &layout);
    parse(&file).map(|_| ())
}

#[test]
fn head_must_agree_with_the_file() {
    assert_eq!(with_head(|_| ()), Ok(()));
    assert_eq!(with_head(|head| head.version = 2), Err(ImageError::Version(2)));
    assert_eq!(with_head(|head| head.required = 1 << 7), Err(ImageError::UnknownRequired(1 << 7)));
    let (layout, file) = sound();
    let (expected, actual) = (u64::MAX, file.len() as u64);
    assert_eq!(with_head(|head| head.file_len = u64::MAX), Err(ImageError::Truncated { expected, actual }));
    let changes: &[fn(&mut Head)] = &[
        |head| head.file_len -= 1,
        |head| head.phdr_off += 1,
        |head| head.phnum += 1,
        |head| head.phnum = 0,
        |head| head.phnum = u64::MAX,
        |head| head.notes_off -= 4,
        |head| head.notes_len += 4,
        |head| head.notes_len = u64::MAX - 3,
        |head| head.data_off += PAGE,
        |head| head.data_len -= PAGE,
        |head| head.data_len += 1,
        |head| head.sums_off = 0,
        |head| head.sums_len += 4,
        |head| head.chunk = 0,
        |head| head.chunk = 2048,
        |head| head.chunk = 1 << 23,
        |head| head.chunk = 3 * PAGE as u32,
        |head| head.page = 8192,
        |head| head.reserved = 1,
    ];
    for (number, change) in changes.iter().enumerate() {
        assert_eq!(with_head(change), Err(ImageError::TablesCorrupt), "change {number}");
    }
    // Another size of chunks is fine when everything else agrees: here there is one chunk either way.
    assert!(layout.data_len < CHUNK);
    assert_eq!(with_head(|head| head.chunk *= 2), Ok(()));
}

#[test]
fn other_files_are_told_apart() {
    let (_, file) = sound();
    let ehdr = |change: fn(&mut Ehdr)| {
        let mut file = file.clone();
        let mut ehdr: Ehdr = plain::read(&file, 0).unwrap();
        change(&mut ehdr);
        plain::write(&mut file, 0, &ehdr).unwrap();
        parse(&file).unwrap_err()
    };
    assert_eq!(parse(b"").unwrap_err(), ImageError::Empty);
    assert_eq!(parse(b"\x7fEL").unwrap_err(), ImageError::NotElf);
    assert_eq!(parse(b"#!/bin/sh\necho hello\n").unwrap_err(), ImageError::NotElf);
    assert_eq!(parse(&[0; 10_000]).unwrap_err(), ImageError::NotElf);
    assert_eq!(parse(b"\x7fELF").unwrap_err(), ImageError::Truncated { expected: 64, actual: 4 });
    assert_eq!(ehdr(|e| e.e_ident[elf::EI_CLASS] = 1), ImageError::WrongMachine, "32 bits");
    assert_eq!(ehdr(|e| e.e_ident[elf::EI_DATA] = 2), ImageError::WrongMachine, "big-endian");
    assert_eq!(ehdr(|e| e.e_machine = 183), ImageError::WrongMachine, "arm64");
    assert_eq!(ehdr(|e| e.e_type = 2), ImageError::NotCore, "an executable");
    assert_eq!(ehdr(|e| e.e_phoff = 4096), ImageError::NotCkpt);
    let this_test = std::fs::read("/proc/self/exe").unwrap();
    assert_eq!(parse(&this_test).unwrap_err(), ImageError::NotCore);

    // A core file as the kernel writes it: notes right behind the program headers, none of them ours.
    let mut buf = [0; 1000];
    let mut notes = Notes::new(&mut buf);
    notes.add(elf::OWNER_CORE, elf::NT_PRSTATUS, &[0; 336]).unwrap();
    let notes = notes.finish();
    let layout = Layout::new(0, notes.len() as u64, 0).unwrap();
    let mut core = plain::bytes_of(&layout.ehdr()).to_vec();
    core.extend(plain::bytes_of(&layout.note_phdr()));
    core.extend(&*notes);
    assert_eq!(parse(&core).unwrap_err(), ImageError::NotCkpt);
    core.resize(8192, 0);
    assert_eq!(parse(&core).unwrap_err(), ImageError::NotCkpt);
    // gdb's gcore writes the notes last and section headers; its first program header may be anything.
    let mut gcore = core.clone();
    gcore[64..68].copy_from_slice(&elf::PT_LOAD.to_le_bytes());
    gcore[68..72].copy_from_slice(&PF_R.to_le_bytes());
    assert_eq!(parse(&gcore).unwrap_err(), ImageError::NotCkpt);
}

#[test]
fn every_truncation_is_refused() {
    let (layout, file) = sound();
    for len in (0..file.len()).step_by(if cfg!(miri) { 997 } else { 1 }) {
        let error = parse(&file[..len]).expect_err("it is cut short");
        match len {
            0 => assert_eq!(error, ImageError::Empty),
            1..4 => assert_eq!(error, ImageError::NotElf),
            _ => {
                let ImageError::Truncated { expected, actual } = error else { panic!("{len}: {error:?}") };
                assert!(actual == len as u64 && expected > actual && expected <= layout.file_len);
                // Once HEAD is there, it tells the whole length.
                if len >= layout.notes_off as usize + 20 + size_of::<Head>() {
                    assert_eq!(expected, layout.file_len);
                }
            }
        }
    }
}

#[test]
fn what_stands_behind_the_end_is_refused() {
    let (layout, mut file) = sound();
    file.push(0);
    let expected = layout.file_len;
    assert_eq!(parse(&file).unwrap_err(), ImageError::Overlong { expected, actual: expected + 1 });
}

#[test]
fn a_reader_that_hands_in_too_little_is_told() {
    let (layout, file) = sound();
    let prefix = prefix_len(&file, file.len() as u64).unwrap();
    assert_eq!(prefix, layout.data_off);
    let error = image::read::Image::parse(&file[..prefix as usize - 1], file.len() as u64).unwrap_err();
    assert_eq!(error, ImageError::Truncated { expected: prefix, actual: file.len() as u64 });
}

#[test]
fn every_flipped_bit_of_the_tables_is_refused() {
    let (layout, mut file) = sound();
    for at in (0..layout.data_off as usize).step_by(if cfg!(miri) { 997 } else { 1 }) {
        for bit in 0..8 {
            file[at] ^= 1 << bit;
            assert!(parse(&file).is_err(), "byte {at}, bit {bit}");
            file[at] ^= 1 << bit;
        }
    }
    parse(&file).unwrap();
}

#[test]
fn every_flipped_bit_of_the_sums_is_refused() {
    let mut parts = Parts::one_of_everything();
    let more = 2 * CHUNK;
    parts.object_runs[1].len += more;
    parts.objects[0].size += more;
    parts.data.resize(parts.data.len() + more as usize, 9);
    let (layout, mut file) = parts.image();
    parse(&file).unwrap();
    let sums = layout.sums_off as usize..;
    assert_eq!(Sums::parse(&file[sums.clone()]).unwrap().len(), 3);
    let some = if cfg!(miri) { 97 } else { 1 };
    for at in (sums.start..file.len()).step_by(some) {
        for bit in 0..8 {
            file[at] ^= 1 << bit;
            assert_eq!(Sums::parse(&file[sums.clone()]).unwrap_err(), ImageError::SumsCorrupt, "{at} {bit}");
            file[at] ^= 1 << bit;
        }
    }
    for len in (0..layout.sums_len as usize).step_by(some) {
        assert_eq!(Sums::parse(&file[sums.start..][..len]).unwrap_err(), ImageError::SumsCorrupt);
    }
}

#[test]
fn evidence_is_of_a_known_kind_and_of_a_thread_that_is_there() {
    let lock = Evidence { addr: 0x60_2008, thread: 0, kind: evidence_kind::LOCK };
    let cases = [
        (lock, true),
        (Evidence { addr: u64::MAX, kind: evidence_kind::WORD, ..lock }, true),
        (Evidence { kind: 0, ..lock }, false),
        (Evidence { kind: evidence_kind::WORD + 1, ..lock }, false),
        (Evidence { thread: 1, ..lock }, false),
    ];
    for (entry, is_sound) in cases {
        let mut parts = Parts::one_of_everything();
        parts.evidence = vec![lock, entry];
        let (layout, file) = parts.image();
        let image = parse(&file).unwrap();
        match image.sums(&file[layout.sums_off as usize..]) {
            Ok(sums) => assert!(is_sound && sums.evidence().iter().eq([lock, entry]), "{entry:?}"),
            Err(error) => assert!(!is_sound && error.text().contains("evidence"), "{entry:?}: {error:?}"),
        }
    }
}

#[test]
fn every_refusal_has_a_text_of_its_own() {
    let all = [
        ImageError::Empty,
        ImageError::NotElf,
        ImageError::NotCore,
        ImageError::WrongMachine,
        ImageError::NotCkpt,
        ImageError::Version(2),
        ImageError::UnknownRequired(2),
        ImageError::Truncated { expected: 2, actual: 1 },
        ImageError::Overlong { expected: 1, actual: 2 },
        ImageError::TablesCorrupt,
        ImageError::NotesCorrupt,
        ImageError::SumsCorrupt,
        ImageError::BadTable("x"),
    ];
    let texts: std::collections::BTreeSet<_> = all.iter().map(ImageError::text).collect();
    assert_eq!(texts.len(), all.len());
    assert!(texts.iter().all(|text| !text.is_empty() && !text.contains('\n')));
}

#[test]
fn the_sum_of_the_notes_is_where_the_format_says() {
    assert_eq!(offset_of!(Head, notes_crc), 92);
    assert_eq!(offset_of!(Head, tables_crc), 88);
}
