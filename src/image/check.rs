//! What must hold in the tables of an image, beyond their sums. A sum tells of accidents; these tell of writers that went wrong and
//! of images that mean harm.

use crate::details::{self, EpollItem, InotifyWatch, SocketOption};
use crate::elf::{PF_R, PF_W, PF_X, PT_LOAD, Phdr};
use crate::error::ImageError::{self, BadTable};
use crate::format::{
    Blob, Evidence, Lock, NONE, Object, OpenFile, PAGE, RUN_CLEAN, RUN_OBJECT, RUN_PRIVATE, Region,
    evidence_kind, file_kind, object_kind, process_flag, region_flag, region_kind, thread_flag,
};
use crate::plain::Table;
use crate::read::Image;

/// Behind the last address that a process may map with four-level page tables (Documentation/arch/x86/x86_64/mm.rst).
pub const USER_END: u64 = 0x7fff_ffff_f000;

type Checked = Result<(), ImageError>;

/// Refuses with `what` unless `condition` holds.
fn need(condition: bool, what: &'static str) -> Checked {
    if condition { Ok(()) } else { Err(BadTable(what)) }
}

/// Checks every table.
pub(crate) fn all(image: &Image) -> Checked {
    regions(image)?;
    let objects_data = loads(image)?;
    objects(image, objects_data)?;
    process(image)?;
    threads(image)?;
    guards(image)?;
    signals(image)?;
    timers(image)?;
    mapped_files(image)?;
    open_files(image)?;
    descriptors(image)
}

fn regions(image: &Image) -> Checked {
    let files = image.files().len();
    let mut last_end = 0;
    let mut next_load = 0u32;
    need(!image.regions().is_empty(), "bad image: no regions")?;
    for region in image.regions().iter() {
        need(is_page(region.start) && is_page(region.end), "bad image: a region does not consist of pages")?;
        need(
            last_end <= region.start && region.start < region.end,
            "bad image: regions overlap or are out of order",
        )?;
        need(region.end <= USER_END, "bad image: a region lies outside of user space")?;
        need(region.prot <= 7, "bad image: unknown protection of a region")?;
        need(region.flags & !ALL_REGION_FLAGS == 0, "bad image: unknown flags of a region")?;
        need(region.pkey < 16 && region.reserved == 0, "bad image: unknown protection key of a region")?;
        let shared = region.flags & region_flag::SHARED != 0;
        let file = region.file as usize;
        need(
            match region.kind {
                region_kind::ANON | region_kind::VVAR | region_kind::VDSO => region.file == NONE && !shared,
                region_kind::FILE => file < files && !shared,
                region_kind::SHARED_FILE => file < files && shared,
                region_kind::OBJECT => {
                    // An unknown kind is for the check of the objects to name.
                    let is_file = object_kind::SPARE..=object_kind::ABSENT;
                    image.objects().get(file).is_some_and(|object| !is_file.contains(&object.kind))
                }
                _ => false,
            },
            "bad image: kind and file of a region do not fit together",
        )?;
        if region.file != NONE {
            let end = region.offset.checked_add(region.end - region.start);
            need(
                is_page(region.offset) && end.is_some_and(|end| i64::try_from(end).is_ok()),
                "bad image: offset of a region in its file",
            )?;
        }
        if region.loads > 0 {
            need(region.first_load == next_load, "bad image: a region's program headers are elsewhere")?;
            next_load = next_load
                .checked_add(region.loads)
                .ok_or(BadTable("bad image: number of program headers"))?;
        }
        path(image, region.name, "bad image: name of a region")?;
        last_end = region.end;
    }
    need(next_load as usize == image.loads().len(), "bad image: program headers that belong to no region")
}

/// Checks the program headers; gives the offset in the file where the data of objects begins.
fn loads(image: &Image) -> Result<u64, ImageError> {
    let head = image.head();
    let data_end = head.data_off + head.data_len;
    // Two walks: only the first one knows where the data of objects begins.
    let mut next = head.data_off;
    for region in image.regions().iter() {
        let mut last_end = region.start;
        for load in image.loads_of(&region).iter() {
            last_end = load_in_region(&load, &region, last_end)?;
            if load.p_filesz > 0 && load.p_paddr != RUN_OBJECT {
                need(
                    load.p_offset == next,
                    "bad image: page data is not in the order of the program headers",
                )?;
                next = next
                    .checked_add(load.p_filesz)
                    .filter(|end| *end <= data_end)
                    .ok_or(BadTable("bad image: a program header's bytes are outside of the page data"))?;
            }
        }
    }
    for load in image.loads().iter().filter(|load| load.p_paddr == RUN_OBJECT && load.p_filesz > 0) {
        need(
            load.p_offset >= next
                && is_page(load.p_offset)
                && load.p_offset.checked_add(load.p_filesz).is_some_and(|end| end <= data_end),
            "bad image: a program header's bytes are outside of the objects' data",
        )?;
    }
    Ok(next)
}

/// Checks one program header against its region and the end of the one before it; gives its own end.
fn load_in_region(load: &Phdr, region: &Region, last_end: u64) -> Result<u64, ImageError> {
    need(load.p_type == PT_LOAD, "bad image: an unknown program header")?;
    need(
        load.p_flags & !(PF_R | PF_W | PF_X) == 0 && load.p_align == PAGE,
        "bad image: flags of a program header",
    )?;
    need(
        is_page(load.p_vaddr)
            && is_page(load.p_filesz)
            && is_page(load.p_memsz)
            && load.p_filesz <= load.p_memsz,
        "bad image: a program header does not consist of pages",
    )?;
    let end = load.p_vaddr.checked_add(load.p_memsz).filter(|end| *end <= region.end);
    let end = end.ok_or(BadTable("bad image: a program header reaches beyond its region"))?;
    need(load.p_vaddr >= last_end, "bad image: program headers overlap or are out of order")?;
    // What is read into memory by address must be memory of this process alone: never a file that others see, never the kernel's own pages.
    let shared = region.flags & region_flag::SHARED != 0;
    need(
        load.p_filesz == 0
            || match load.p_paddr {
                RUN_PRIVATE => !shared && region.kind != region_kind::VVAR,
                RUN_CLEAN => matches!(region.kind, region_kind::FILE | region_kind::VDSO),
                RUN_OBJECT => region.kind == region_kind::OBJECT,
                _ => false,
            },
        "bad image: bytes of a kind that its region cannot have",
    )?;
    Ok(end)
}

/// The data of objects follows that of the program headers, in the order of OBJECT_RUNS, and ends the page data.
fn objects(image: &Image, data_start: u64) -> Checked {
    let head = image.head();
    let mut next_run = 0u32;
    for object in image.objects().iter() {
        object_itself(image, &object)?;
        need(object.first_run == next_run, "bad image: an object's runs are elsewhere")?;
        next_run = next_run.checked_add(object.runs).ok_or(BadTable("bad image: number of runs"))?;
        let size = object.size.checked_next_multiple_of(PAGE).unwrap_or(0);
        let mut last_end = 0;
        for run in image.runs_of(&object).iter() {
            need(
                is_page(run.offset) && is_page(run.len) && run.len > 0,
                "bad image: a run of an object does not consist of pages",
            )?;
            need(run.offset >= last_end, "bad image: runs of an object overlap or are out of order")?;
            last_end = run
                .offset
                .checked_add(run.len)
                .filter(|end| *end <= size)
                .ok_or(BadTable("bad image: a run reaches beyond its object"))?;
        }
    }
    need(next_run as usize == image.object_runs().len(), "bad image: runs that belong to no object")?;

    let mut next = data_start;
    for run in image.object_runs().iter() {
        need(run.data == next, "bad image: the data of objects is not in the order of their runs")?;
        next = next.checked_add(run.len).ok_or(BadTable("bad image: length of a run"))?;
    }
    need(next == head.data_off + head.data_len, "bad image: page data that belongs to nothing")
}

fn object_itself(image: &Image, object: &Object) -> Checked {
    need(
        (object_kind::SHARED_ANON..=object_kind::ABSENT).contains(&object.kind),
        "bad image: unknown kind of an object",
    )?;
    need(i64::try_from(object.size).is_ok(), "bad image: size of an object")?;
    path(image, object.name, "bad image: name of an object")
}

fn process(image: &Image) -> Checked {
    let process = image.process();
    need(process.threads as usize == image.threads().len(), "bad image: number of threads")?;
    need(process.flags & !ALL_PROCESS_FLAGS == 0, "bad image: unknown flags of the process")?;
    let resume = image.region_at(process.resume_ip);
    need(
        resume.is_some_and(|region| region.prot & 4 != 0),
        "bad image: the place to resume at is not executable",
    )?;
    let is_vdso = |region: Region| region.start == process.vdso && region.kind == region_kind::VDSO;
    need(
        process.vdso == 0 || image.region_at(process.vdso).is_some_and(is_vdso),
        "bad image: the vdso is not where it is said to be",
    )?;
    blob(image, process.auxv, 16, "bad image: length of the auxiliary vector")?;
    path(image, process.exe, "bad image: path of the executable")?;
    // Others get it as an argument.
    let exe = image.bytes(process.exe);
    need(exe.is_empty() || exe.starts_with(b"/"), "bad image: the path of the executable is not absolute")?;
    path(image, process.cwd, "bad image: path of the working directory")?;
    blob(image, process.cmdline, 1, "bad image: command line")?;
    blob(image, process.kernel, 1, "bad image: name of the kernel")
}

fn threads(image: &Image) -> Checked {
    let mut leaders = 0u32;
    for thread in image.threads().iter() {
        need(thread.flags & !thread_flag::LEADER == 0, "bad image: unknown flags of a thread")?;
        leaders += thread.flags & thread_flag::LEADER;
        // A stack pointer may stand right at the end of its stack.
        let stack = image.region_at(thread.context.rsp.wrapping_sub(1));
        need(stack.is_some_and(|region| region.prot & 2 != 0), "bad image: a thread has no stack")?;
        blob(image, thread.affinity, 1, "bad image: affinity of a thread")?;
    }
    need(leaders == 1, "bad image: not one thread leads the resume")
}

fn guards(image: &Image) -> Checked {
    let mut last_end = 0;
    for span in image.guards().iter() {
        need(
            is_page(span.start) && is_page(span.end) && last_end <= span.start && span.start < span.end,
            "bad image: guard pages are not pages, or out of order",
        )?;
        let region = image.region_at(span.start);
        need(
            region.is_some_and(|region| region.flags & region_flag::GUARDS != 0 && span.end <= region.end),
            "bad image: guard pages in a region that has none",
        )?;
        last_end = span.end;
    }
    Ok(())
}

fn signals(image: &Image) -> Checked {
    need(image.sigactions().len() == 64, "bad image: number of signal actions")?;
    for pending in image.pending().iter() {
        let [a, b, c, d, ..] = pending.info;
        need((1..=64).contains(&i32::from_le_bytes([a, b, c, d])), "bad image: number of a pending signal")?;
        index(pending.thread, image.threads(), "bad image: thread of a pending signal")?;
    }
    Ok(())
}

fn timers(image: &Image) -> Checked {
    ascending(image.timers().iter().map(|timer| timer.id), "bad image: ids of timers")?;
    for timer in image.timers().iter() {
        index(timer.thread, image.threads(), "bad image: thread of a timer")?;
    }
    Ok(())
}

fn mapped_files(image: &Image) -> Checked {
    for file in image.files().iter() {
        path(image, file.path, "bad image: path of a mapped file")?;
        need(file.deleted <= 1 && i64::try_from(file.size).is_ok(), "bad image: state of a mapped file")?;
    }
    Ok(())
}

fn open_files(image: &Image) -> Checked {
    for (number, file) in (0u32..).zip(image.open_files().iter()) {
        open_file(image, &file)?;
        detail(image, number, &file)?;
    }
    Ok(())
}

fn open_file(image: &Image, file: &OpenFile) -> Checked {
    need(
        (file_kind::REGULAR..=file_kind::PIDFD_SELF).contains(&file.kind),
        "bad image: unknown kind of an open file",
    )?;
    index(file.object, image.objects(), "bad image: object of an open file")?;
    index(file.peer, image.open_files(), "bad image: peer of an open file")?;
    let in_image = matches!(file.kind, file_kind::MEMFD | file_kind::DELETED);
    need(!in_image || file.object != NONE, "bad image: an open file without its contents")?;
    let object = image.objects().get(file.object as usize);
    let is_spare =
        object.is_some_and(|object| matches!(object.kind, object_kind::SPARE | object_kind::WRITTEN));
    need(
        is_spare == (file.kind == file_kind::REGULAR && file.object != NONE),
        "bad image: object of an open file",
    )?;
    need(i64::try_from(file.pos).is_ok() && file.flock <= 2, "bad image: state of an open file")?;
    path(image, file.path, "bad image: path of an open file")?;
    blob(image, file.detail, 1, "bad image: details of an open file")?;
    blob(image, file.queued, 1, "bad image: queued bytes of an open file")?;
    blob(image, file.locks, size_of::<Lock>(), "bad image: locks of an open file")
}

/// What a kind has of its own.
fn detail(image: &Image, number: u32, file: &OpenFile) -> Checked {
    const TABLE: &str = "bad image: a table of an open file";
    let files = image.open_files();
    need(
        file.detail.len as usize == details::length(file.kind),
        "bad image: length of an open file's details",
    )?;
    let peer = files.get(file.peer as usize);
    match file.kind {
        file_kind::PIPE | file_kind::FIFO => {
            let first = peer.is_some_and(|first| first.peer == file.peer && first.kind == file.kind);
            need(first, "bad image: ends of a pipe do not belong together")?;
            blob(image, image.detail::<details::Pipe>(file).packets, size_of::<u32>(), TABLE)
        }
        file_kind::EPOLL => {
            let items = image.detail::<details::Epoll>(file).items;
            blob(image, items, size_of::<EpollItem>(), TABLE)?;
            image.entries::<EpollItem>(items).iter().try_for_each(|item| {
                let is_file = (item.file as usize) < files.len() && item.number < 1 << 31;
                need(is_file, "bad image: an epoll watches something that is not there")
            })
        }
        file_kind::INOTIFY => {
            let watches = image.detail::<details::Inotify>(file).watches;
            blob(image, watches, size_of::<InotifyWatch>(), TABLE)?;
            let watches = image.entries::<InotifyWatch>(watches);
            ascending(watches.iter().map(|watch| watch.wd), "bad image: numbers of watches")?;
            watches.iter().try_for_each(|watch| path(image, watch.path, "bad image: path of a watched file"))
        }
        file_kind::UNIX_PAIR | file_kind::UNIX_SOCKET | file_kind::TCP | file_kind::UDP => {
            let is_mutual = peer.is_none_or(|peer| peer.peer == number && peer.kind == file_kind::UNIX_PAIR);
            let is_connected = peer.is_none_or(|peer| peer.kind == file_kind::UNIX_SOCKET);
            let is_pair = file.kind == file_kind::UNIX_PAIR;
            need(!is_pair || is_mutual, "bad image: ends of a pair of sockets")?;
            need(is_pair || is_connected, "bad image: peer of a socket that has a name")?;
            let socket = image.detail::<details::Socket>(file);
            blob(image, socket.options, size_of::<SocketOption>(), TABLE)?;
            blob(image, socket.messages, size_of::<u32>(), TABLE)?;
            let is_address = socket.name.len <= LONGEST_ADDRESS && socket.peer_name.len <= LONGEST_ADDRESS;
            need(is_address, "bad image: address of a socket")?;
            blob(image, socket.name, 1, TABLE)?;
            blob(image, socket.peer_name, 1, TABLE)
        }
        _ => Ok(()),
    }
}

/// `struct sockaddr_storage`.
const LONGEST_ADDRESS: u32 = 128;

fn descriptors(image: &Image) -> Checked {
    ascending(image.descriptors().iter().map(|fd| fd.number), "bad image: numbers of descriptors")?;
    for descriptor in image.descriptors().iter() {
        need(
            (descriptor.file as usize) < image.open_files().len() && descriptor.flags <= 1,
            "bad image: a descriptor without its file",
        )?;
    }
    Ok(())
}

/// Evidence is only shown and counted, so where it lies does not matter.
pub(crate) fn evidence(image: &Image, evidence: Table<Evidence>) -> Checked {
    evidence.iter().try_for_each(|entry| {
        let is_known = (evidence_kind::LOCK..=evidence_kind::WORD).contains(&entry.kind);
        need(is_known && (entry.thread as usize) < image.threads().len(), "bad image: evidence of an id")
    })
}

const ALL_PROCESS_FLAGS: u64 = (process_flag::ENTERED << 1) - 1;
const ALL_REGION_FLAGS: u32 = (region_flag::ZEROS_KEPT << 1) - 1;

fn is_page(address: u64) -> bool {
    address.is_multiple_of(PAGE)
}

/// Numbers as the kernel's `int`s, each higher than the one before.
fn ascending(numbers: impl Iterator<Item = u32>, what: &'static str) -> Checked {
    let mut lowest = 0;
    for number in numbers {
        need(number >= lowest && number < 1 << 31, what)?;
        lowest = number + 1;
    }
    Ok(())
}

/// An index in a table, or [`NONE`].
fn index<T: crate::plain::Plain>(index: u32, table: Table<T>, what: &'static str) -> Checked {
    need(index == NONE || (index as usize) < table.len(), what)
}

/// Bytes that are there, a whole number of entries of `entry` bytes.
fn blob(image: &Image, blob: Blob, entry: usize, what: &'static str) -> Checked {
    need(image.bytes(blob).len() == blob.len as usize && (blob.len as usize).is_multiple_of(entry), what)
}

/// Empty, or bytes without a NUL among them but one behind them.
fn path(image: &Image, path: Blob, what: &'static str) -> Checked {
    match image.c_str(path) {
        [bytes @ .., 0] => need(bytes.len() == path.len as usize && !bytes.contains(&0), what),
        _ => Err(BadTable(what)),
    }
}
