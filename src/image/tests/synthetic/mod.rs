//! Images of processes that never were.

#![allow(dead_code, reason = "each test binary uses its own part of this module")]

use image::crc::{crc32c, crc32c_append};
use image::details::{self, EpollItem, InotifyWatch, SocketOption};
use image::elf::{self, PF_R, PF_W, PF_X, Phdr};
use image::format::*;
use image::plain::{self, Plain, bytes_of, bytes_of_slice};
use image::read::{Image, prefix_len};
use image::write::{Layout, Notes, seal, sums_header};
use std::mem::offset_of;

/// The tables of an image, to be changed at will before [`Parts::image`] puts them together. Offsets in the file are counted from the
/// start of the page data here.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    pub process: Process,
    pub regions: Vec<Region>,
    pub loads: Vec<Phdr>,
    pub threads: Vec<Thread>,
    pub sigactions: Vec<SigAction>,
    pub pending: Vec<Pending>,
    pub open_files: Vec<OpenFile>,
    pub descriptors: Vec<Descriptor>,
    pub objects: Vec<Object>,
    pub object_runs: Vec<ObjectRun>,
    pub timers: Vec<PosixTimer>,
    pub files: Vec<MappedFile>,
    pub guards: Vec<Span>,
    pub evidence: Vec<Evidence>,
    pub bytes: Vec<u8>,
    /// Notes behind ours: owner, type, contents.
    pub more: Vec<(&'static [u8], u32, Vec<u8>)>,
    /// Types of our notes that are left out.
    pub without: Vec<u32>,
    pub data: Vec<u8>,
}

impl Parts {
    /// Appends bytes to the BYTES note.
    pub fn blob(&mut self, bytes: &[u8]) -> Blob {
        let off = self.bytes.len() as u32;
        self.bytes.extend(bytes);
        Blob { off, len: bytes.len() as u32 }
    }

    /// Appends a path and its NUL.
    pub fn path(&mut self, path: &str) -> Blob {
        let blob = self.blob(path.as_bytes());
        self.bytes.push(0);
        blob
    }

    /// Appends a region without page data.
    pub fn region(&mut self, start: u64, pages: u64, prot: u32, kind: u32) -> &mut Region {
        self.regions.push(Region {
            start,
            end: start + pages * PAGE,
            prot,
            kind,
            file: NONE,
            first_load: self.loads.len() as u32,
            ..Region::default()
        });
        self.regions.last_mut().unwrap()
    }

    /// Appends a run to the last region, each of its pages full of `fill`; or without bytes, when there is no `fill`.
    pub fn run(&mut self, page: u64, pages: u64, kind: u64, fill: Option<u8>) -> &mut Phdr {
        let region = self.regions.last_mut().unwrap();
        region.loads += 1;
        let p_flags = [(1, PF_R), (2, PF_W), (4, PF_X)]
            .iter()
            .filter(|(prot, _)| region.prot & prot != 0)
            .fold(0, |all, (_, flag)| all | flag);
        self.loads.push(Phdr {
            p_type: elf::PT_LOAD,
            p_flags,
            p_offset: self.data.len() as u64,
            p_vaddr: region.start + page * PAGE,
            p_paddr: kind,
            p_filesz: fill.map_or(0, |_| pages * PAGE),
            p_memsz: pages * PAGE,
            p_align: PAGE,
        });
        if let Some(fill) = fill {
            self.data.resize(self.data.len() + (pages * PAGE) as usize, fill);
        }
        self.loads.last_mut().unwrap()
    }

    /// Changes the detail of an open file.
    pub fn change<T: Plain>(&mut self, file: usize, change: fn(&mut T)) {
        let at = self.open_files[file].detail.off as usize;
        let mut detail = plain::read(&self.bytes, at).unwrap();
        change(&mut detail);
        plain::write(&mut self.bytes, at, &detail).unwrap();
    }

    /// A process with one of everything.
    pub fn one_of_everything() -> Self {
        let mut p = Self::default();
        p.process.pid = 4242;
        p.process.exe = p.path("/usr/bin/python3.11");
        p.process.cwd = p.path("/home/somebody");
        p.process.cmdline = p.blob(b"python3\0-c\0input()\0");
        p.process.kernel = p.blob(b"6.18.0\n#1 SMP");
        p.process.auxv = p.blob(&[0; 32]);
        p.process.threads = 1;

        let path = p.path("/usr/bin/python3.11");
        p.files.push(MappedFile { path, dev: 0xfe00, ino: 247_030, size: 6 * PAGE, ..MappedFile::default() });
        let path = p.path("/var/lib/data (deleted)");
        p.files.push(MappedFile { path, deleted: 1, ..MappedFile::default() });

        // Program text with a breakpoint in its second page; data; a heap with a hole; shared memory; what the kernel gives; a stack.
        p.region(0x40_0000, 4, 5, region_kind::FILE).file = 0;
        p.run(0, 1, RUN_CLEAN, Some(1));
        p.run(1, 1, RUN_PRIVATE, Some(2));
        p.run(2, 2, RUN_CLEAN, Some(3));
        let heap = p.region(0x60_0000, 10, 3, region_kind::ANON);
        heap.flags = region_flag::HEAP | region_flag::GUARDS;
        p.run(0, 2, RUN_PRIVATE, None);
        p.run(2, 1, RUN_PRIVATE, Some(4)).p_memsz = 4 * PAGE;
        p.run(7, 1, RUN_PRIVATE, Some(5));
        p.guards.push(Span { start: 0x60_4000, end: 0x60_6000 });
        let shared = p.region(0x7f00_0000_0000, 2, 3, region_kind::SHARED_FILE);
        (shared.file, shared.flags, shared.offset) = (1, region_flag::SHARED, PAGE);
        let object = p.region(0x7f00_0000_2000, 4, 3, region_kind::OBJECT);
        (object.file, object.flags) = (0, region_flag::SHARED);
        p.run(1, 2, RUN_OBJECT, None);
        let name = p.path("arena");
        p.region(0x7f00_0001_0000, 1, 3, region_kind::ANON).name = name;
        p.region(0x7fff_0000_0000, 2, 1, region_kind::VVAR);
        p.process.vdso = 0x7fff_0000_2000;
        p.region(p.process.vdso, 1, 5, region_kind::VDSO);
        p.run(0, 1, RUN_PRIVATE, Some(6));
        p.region(0x7fff_ffff_0000, 3, 3, region_kind::ANON).flags =
            region_flag::STACK | region_flag::GROWSDOWN;
        p.run(1, 2, RUN_PRIVATE, Some(7));

        // The contents of the object lie behind the runs of memory.
        let data = p.data.len() as u64;
        p.data.resize(p.data.len() + 3 * PAGE as usize, 8);
        let load = p.loads.iter_mut().find(|load| load.p_paddr == RUN_OBJECT).unwrap();
        (load.p_offset, load.p_filesz) = (data, 2 * PAGE);
        let name = p.path("shm");
        p.objects.push(Object {
            kind: object_kind::MEMFD,
            size: 4 * PAGE - 5,
            name,
            runs: 2,
            ..Object::default()
        });
        p.objects.push(Object {
            kind: object_kind::SHARED_ANON,
            size: PAGE,
            first_run: 2,
            ..Object::default()
        });
        p.object_runs.push(ObjectRun { offset: PAGE, data, len: 2 * PAGE });
        p.object_runs.push(ObjectRun { offset: 3 * PAGE, data: data + 2 * PAGE, len: PAGE });

        p.process.resume_ip = 0x40_1234;
        let affinity = p.blob(&[3, 0, 0, 0, 0, 0, 0, 0]);
        let mut thread = Thread { tid: 4242, flags: thread_flag::LEADER, affinity, ..Thread::default() };
        thread.context.rsp = 0x7fff_ffff_3000;
        p.threads.push(thread);
        p.sigactions = vec![SigAction::default(); 64];
        p.sigactions[1].handler = 0x40_1000;
        let mut info = [0; 128];
        info[0] = 12;
        p.pending.push(Pending { thread: NONE, reserved: 0, info });
        p.pending.push(Pending { thread: 0, reserved: 0, info });

        let path = p.path("/dev/pts/3");
        let file = OpenFile { object: NONE, peer: NONE, ..OpenFile::default() };
        let detail = p.blob(bytes_of(&details::Terminal { window: [24, 80, 0, 0], ..Default::default() }));
        p.open_files.push(OpenFile { kind: file_kind::TERMINAL, path, flags: 2, detail, ..file });
        let queued = p.blob(b"unread");
        let packets = p.blob(bytes_of_slice(&[2u32, 4]));
        let detail = p.blob(bytes_of(&details::Pipe { size: 65536, flags: 1, packets }));
        p.open_files.push(OpenFile { kind: file_kind::PIPE, queued, detail, peer: 1, ..file });
        p.open_files.push(OpenFile { kind: file_kind::PIPE, detail, peer: 1, flags: 1, ..file });
        let locks = p.blob(bytes_of(&Lock { start: 5, ..Lock::default() }));
        let path = p.path("/shm");
        p.open_files.push(OpenFile { kind: file_kind::MEMFD, path, object: 0, locks, ..file });
        let items = p.blob(bytes_of(&EpollItem {
            number: 3,
            file: 1,
            events: 1,
            data: u64::MAX,
            ..Default::default()
        }));
        let detail = p.blob(bytes_of(&details::Epoll { ready: 1, reserved: 0, items }));
        p.open_files.push(OpenFile { kind: file_kind::EPOLL, detail, ..file });
        let path = p.path("/etc");
        let watches = p.blob(bytes_of_slice(&[1, 4].map(|wd| InotifyWatch { wd, mask: 2, path })));
        let detail = p.blob(bytes_of(&details::Inotify { watches }));
        p.open_files.push(OpenFile { kind: file_kind::INOTIFY, detail, ..file });
        let options = p.blob(bytes_of(&SocketOption { level: 1, name: 2, len: 4, ..Default::default() }));
        let name = p.blob(b"\x01\x00/run/x.sock\0");
        let detail =
            p.blob(bytes_of(&details::Socket { domain: 1, kind: 2, options, name, ..Default::default() }));
        for peer in [7, 6] {
            p.open_files.push(OpenFile { kind: file_kind::UNIX_PAIR, detail, peer, ..file });
        }
        for (number, file) in [(0, 0), (1, 0), (2, 0), (3, 1), (4, 2), (1000, 3)] {
            p.descriptors.push(Descriptor { number, file, flags: number & 1 });
        }
        p.timers.push(PosixTimer { id: 0, thread: NONE, signal: 14, ..PosixTimer::default() });
        p.timers.push(PosixTimer { id: 7, thread: 0, signal: 10, ..PosixTimer::default() });

        p.more.push((elf::OWNER_CORE, elf::NT_AUXV, vec![0; 32]));
        p.more.push((elf::OWNER_LINUX, elf::NT_X86_XSTATE, vec![0; 577]));
        p.more.push((OWNER, 0x4d | note::OPTIONAL, b"from the future".to_vec()));
        p
    }

    /// All the notes, with offsets in the file for page data that begins at `data_off`, unsealed.
    fn notes(&self, data_off: u64, buf: &mut [u8]) -> usize {
        let object_runs: Vec<_> = self
            .object_runs
            .iter()
            .map(|run| ObjectRun { data: run.data.wrapping_add(data_off), ..*run })
            .collect();
        let tables: [(u32, &[u8]); 14] = [
            (note::HEAD, &[0; size_of::<Head>()]),
            (note::PROCESS, bytes_of(&self.process)),
            (note::REGIONS, bytes_of_slice(&self.regions)),
            (note::BYTES, &self.bytes),
            (note::THREADS, bytes_of_slice(&self.threads)),
            (note::SIGACTIONS, bytes_of_slice(&self.sigactions)),
            (note::PENDING, bytes_of_slice(&self.pending)),
            (note::OPEN_FILES, bytes_of_slice(&self.open_files)),
            (note::DESCRIPTORS, bytes_of_slice(&self.descriptors)),
            (note::OBJECTS, bytes_of_slice(&self.objects)),
            (note::OBJECT_RUNS, bytes_of_slice(&object_runs)),
            (note::TIMERS, bytes_of_slice(&self.timers)),
            (note::FILES, bytes_of_slice(&self.files)),
            (note::GUARDS, bytes_of_slice(&self.guards)),
        ];
        let mut notes = Notes::new(buf);
        for (kind, table) in tables.iter().filter(|(kind, _)| !self.without.contains(kind)) {
            notes.add(OWNER, *kind, table).unwrap();
        }
        for (owner, kind, desc) in &self.more {
            notes.add(owner, *kind, desc).unwrap();
        }
        notes.len()
    }

    /// The whole file, and where everything is in it.
    pub fn image(&self) -> (Layout, Vec<u8>) {
        let mut buf =
            vec![0; 20_000 + self.regions.len() * 64 + self.bytes.len() + self.open_files.len() * 144];
        let notes_len = self.notes(0, &mut buf);
        let layout =
            Layout::new(self.loads.len() as u64, notes_len as u64, self.data.len() as u64).expect("a layout");
        self.notes(layout.data_off, &mut buf);

        let mut phdrs = vec![layout.note_phdr()];
        phdrs.extend(
            self.loads
                .iter()
                .map(|load| Phdr { p_offset: load.p_offset.wrapping_add(layout.data_off), ..*load }),
        );
        let phdrs = bytes_of_slice(&phdrs);
        let notes = &mut buf[..notes_len];
        seal(notes, &layout, crc32c_append(layout.front_crc(), phdrs)).expect("notes that begin with HEAD");

        let mut file = bytes_of(&layout.ehdr()).to_vec();
        if let Some(section) = layout.section_zero() {
            assert_eq!(layout.shdr_off, file.len() as u64);
            file.extend(section);
        }
        assert_eq!(layout.phdr_off, file.len() as u64);
        file.extend(phdrs);
        assert_eq!(layout.notes_off, file.len() as u64);
        file.extend(&*notes);
        file.resize(layout.data_off as usize, 0);
        file.extend(&self.data);
        assert_eq!(layout.sums_off, file.len() as u64);
        let sums: Vec<u32> = self.data.chunks(CHUNK as usize).map(crc32c).collect();
        let mut evidence = self.evidence.clone();
        evidence.resize(EVIDENCE as usize, Evidence::default());
        file.extend(bytes_of(&sums_header(&sums, &evidence, self.evidence.len() as u64)));
        file.extend(bytes_of_slice(&sums));
        file.extend(bytes_of_slice(&evidence));
        assert_eq!(layout.file_len, file.len() as u64);
        (layout, file)
    }
}

/// What a reader does with a whole file.
pub fn parse(file: &[u8]) -> Result<Image<'_>, image::error::ImageError> {
    let prefix = usize::try_from(prefix_len(file, file.len() as u64)?).expect("64 bits");
    Image::parse(&file[..prefix.min(file.len())], file.len() as u64)
}

/// Makes the sums of the tables right again after changes, as long as the first note is where `layout` says.
pub fn reseal(file: &mut [u8], layout: &Layout) {
    let (front, rest) = file.split_at_mut(layout.notes_off as usize);
    let notes = &mut rest[..layout.notes_len as usize];
    let head = 20; // note header and padded owner
    let tables_crc = head + offset_of!(Head, tables_crc);
    let notes_crc = head + offset_of!(Head, notes_crc);
    notes[tables_crc..][..4].copy_from_slice(&crc32c(front).to_le_bytes());
    notes[notes_crc..][..4].fill(0);
    let crc = crc32c(notes);
    notes[notes_crc..][..4].copy_from_slice(&crc.to_le_bytes());
}

/// Does everything with an image that its users do, and adds the results up so that nothing of it is left out.
pub fn use_all_of(image: &Image) -> u64 {
    let mut sum = 0u64;
    let mut add = |value: u64| sum = sum.wrapping_mul(31).wrapping_add(value);
    let mut last_end = 0;
    for region in image.regions().iter() {
        assert!(last_end <= region.start && region.start < region.end && region.end <= image::USER_END);
        last_end = region.end;
        assert_eq!(image.region_at(region.start), Some(region));
        assert_eq!(image.region_at(region.end - 1), Some(region));
        let loads = image.loads_of(&region);
        assert_eq!(loads.len(), region.loads as usize);
        for load in loads.iter() {
            assert!(region.start <= load.p_vaddr && load.p_vaddr + load.p_memsz <= region.end);
            assert!(load.p_filesz <= load.p_memsz);
            let data = image.head().data_off..=image.head().data_off + image.head().data_len;
            assert!(load.p_filesz == 0 || data.contains(&load.p_offset));
            assert!(load.p_filesz == 0 || data.contains(&(load.p_offset + load.p_filesz)));
            add(load.p_vaddr);
        }
        if region.kind == region_kind::OBJECT {
            assert!(image.objects().get(region.file as usize).is_some());
        } else if region.file != NONE {
            assert!(image.files().get(region.file as usize).is_some());
        }
    }
    let use_path = |path: Blob| {
        let path_bytes = image.c_str(path);
        assert_eq!(path_bytes.len(), path.len as usize + 1);
        assert_eq!(path_bytes.iter().position(|byte| *byte == 0), Some(path.len as usize));
    };
    image.regions().iter().for_each(|region| use_path(region.name));
    image.files().iter().for_each(|file| use_path(file.path));
    image.objects().iter().for_each(|object| use_path(object.name));
    use_path(image.process().exe);
    use_path(image.process().cwd);
    for file in image.open_files().iter() {
        use_path(file.path);
        assert_eq!(image.bytes(file.queued).len(), file.queued.len as usize);
        assert_eq!(image.bytes(file.detail).len(), file.detail.len as usize);
    }
    for object in image.objects().iter() {
        assert_eq!(image.runs_of(&object).len(), object.runs as usize);
        for run in image.runs_of(&object).iter() {
            assert!(run.offset + run.len <= object.size.next_multiple_of(PAGE));
            add(run.data);
        }
    }
    for descriptor in image.descriptors().iter() {
        assert!(image.open_files().get(descriptor.file as usize).is_some());
    }
    for timer in image.timers().iter() {
        add(u64::from(timer.id));
    }
    for thread in image.threads().iter() {
        add(image.bytes(thread.affinity).len() as u64);
    }
    for guard in image.guards().iter() {
        assert!(image.region_at(guard.start).is_some_and(|region| guard.end <= region.end));
    }
    add(image.sigactions().len() as u64 + image.pending().len() as u64);
    sum
}
