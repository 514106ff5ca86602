//! The whole run, step by step.

use crate::arena::Arena;
use crate::crew::Crew;
use crate::execute;
use crate::exit::{self, Code, Failure, Result};
use crate::files::found::{Found, Way};
use crate::files::{self, Identity, Own, Paths};
use crate::load::{self, Loader, Stack};
use crate::objects;
use crate::op::{self, Op};
use crate::options::{Check, HELP, Mode, Options};
use crate::pid::{self, Kept, Need, Rung};
use crate::plan::clocks::Ahead;
use crate::plan::layout::{self, Layout, Vdso};
use crate::plan::{self, Inputs, Plan};
use crate::present::Present;
use crate::print;
use crate::probe::{self, Opened, Rights};
use core::mem::MaybeUninit;
use image::format::{PAGE, Span};
use image::read::{Image, Sums};
use sys::Sysno;
use sys::fd::IoVec;
use sys::line::Line;
use sys::memory::{map, prot};
use sys::process::capability;
use sys::thread::CPU_MASK;

/// What `--version` prints.
const VERSION: &str = concat!("myrestart ", env!("CARGO_PKG_VERSION"), "\n");

/// Does what the options say, and ends the process, or turns it into another one.
pub fn run(options: Options<'_>) -> ! {
    let result = match options.mode {
        Mode::Help => print_text(HELP),
        Mode::Version => print_text(VERSION),
        Mode::Restart | Mode::Plan | Mode::Verify => {
            probe::make_room_for_stack().and_then(|()| with_image(&options))
        }
    };
    match result {
        Ok(()) => sys::process::exit_group(0),
        Err(failure) => failure.exit(),
    }
}

fn print_text(text: &str) -> Result<'static, ()> {
    write_all(text.as_bytes())
}

fn write_all(mut bytes: &[u8]) -> Result<'static, ()> {
    while !bytes.is_empty() {
        let done = sys::fd::write(1, bytes)
            .map_err(|errno| Failure::os(Code::Io, b"stdout", "cannot write to it", errno, ""))?;
        bytes = bytes.get(done..).unwrap_or_default();
    }
    Ok(())
}

/// Everything from the image on. Not inlined: its frame is large, and there may be no room for it before.
#[inline(never)]
fn with_image<'a>(options: &Options<'a>) -> Result<'a, ()> {
    let name = options.image;
    if options.mode == Mode::Restart {
        // A signal that is meant for the process waits until the process is there.
        let _ = sys::signal::set_mask(u64::MAX);
        forget_timers();
    }
    let Opened { fd, image, sums } = probe::open_image(options)?;
    probe::check_machine(&image, options)?;
    if options.lazy && options.mode != Mode::Verify {
        probe::check_lazy(fd, name, options.forces(Check::Lazy))?;
    }
    probe::make_room_for_descriptors(&image, fd)?;
    // In a user namespace nobody can tell any more to whom a directory belongs.
    let looked = if options.mode == Mode::Verify { None } else { Some(World::look(&image, options)?) };
    let need = Need::new(&image, sums.evidence(), probe::clocks(&image));
    let (kept, crew) = match options.mode {
        // From here on this may be another process.
        Mode::Restart => pid::take(&need, options)?,
        Mode::Plan => match pid::rehearse(&need, options)? {
            Some(kept) => {
                write_all(b"# ids: ")?;
                write_all(kept.rung.text().as_bytes())?;
                write_all(b"\n")?;
                (kept, Crew::default())
            }
            // It has said why.
            None => sys::process::exit_group(Code::Pid as i32),
        },
        _ => (Kept::default(), Crew::default()),
    };
    // Nothing that the restarter inherited may end up in the process.
    let fd = close_others(fd, name)?;
    let standard = probe::standard();
    let stderr = probe::keep_stderr(&image);
    exit::speak_to(stderr);
    probe::check_filters(&image, name, options.forces(Check::Filters))?;

    let present = Present::read()?;
    let same_code = present.vdso().is_some_and(|now| probe::same_vdso(&image, fd, now));
    let vdso = layout::vdso_fate(&image, &present, same_code);
    let mut cpus = [0u8; CPU_MASK];
    let affinity = sys::thread::affinity(0, &mut cpus).unwrap_or(0);
    let affinity = cpus.get(..affinity).unwrap_or_default();
    let count = sys::worker::cpus(affinity);
    let workers = load::workers(options.jobs, count, image.head().data_len);

    let layout = layout::find(&image, &present, vdso, room(&image, workers, options) as u64)?;
    let mut arena = map_hole(layout.hole)?;
    let loader = loader(options, &image, sums, workers, &mut arena)?;
    let Some(world) = looked else { return verify(&image, fd, &loader, &mut arena, name) };
    let inputs = inputs(
        options, &image, fd, standard, stderr, &present, vdso, layout, &loader, affinity, kept, crew, world,
        &mut arena,
    )?;
    let mut plan = plan::make(inputs, &mut arena)?;
    if options.mode == Mode::Plan {
        return print_plan(&plan);
    }
    execute::prepare(&mut plan, &mut arena)?;
    // SAFETY: the plan was made from the present map, which has not changed since: its addresses are free.
    unsafe { execute::early(&plan, &loader, &mut arena) }?;
    // SAFETY: the early ops were carried out, and put the executor at the start of the hole.
    Err(unsafe { execute::late(&plan, layout.hole.start, crew) })
}

/// What there is now of the files of an image.
struct World {
    /// One for each entry of OPEN_FILES.
    open: &'static mut [Found],
    /// One for each entry of FILES.
    mapped: &'static [Identity],
    /// What the process must not be able to do.
    rights: Rights<'static>,
}

impl World {
    fn look<'a>(image: &Image<'static>, options: &Options<'a>) -> Result<'a, Self> {
        let room =
            files::found::room(image) + image.files().len() * 64 + moved_paths(image, options) + 128 * 1024;
        let mut arena = map_arena(room)?;
        let paths = Paths::new(options, &mut arena)?;
        probe::look_at_cwd(image, &paths, &mut arena)?;
        let open = files::found::find(image, options, &paths, &mut arena)?;
        let mapped = probe::look_at_mapped(image, options, &paths, &mut arena)?;
        let rights = probe::rights(image, options, &mut arena)?;
        Ok(Self { open, mapped, rights })
    }
}

/// Groups, where they stay.
fn copy_groups(groups: &[u32], arena: &mut Arena<'static>) -> Result<'static, &'static [u32]> {
    let mut copy = arena.list(groups.len())?;
    for group in groups {
        copy.push(*group)?;
    }
    Ok(copy.into_slice())
}

/// Interval timers live on through execve(2): one that whoever started this program had set must not ring in the process.
fn forget_timers() {
    const SIGALRM_VTALRM_PROF: u64 = 1 << 13 | 1 << 25 | 1 << 26;
    sys::process::stop_interval_timers();
    while let Ok((signal, info)) = sys::signal::take(SIGALRM_VTALRM_PROF) {
        if sys::signal::code(&info) <= 0 {
            // Somebody sent it, and means the process.
            let _ = sys::signal::queue_process(sys::process::pid(), signal, &info);
            return;
        }
    }
}

/// Closes every descriptor above 2 but the image's, which becomes 3.
fn close_others(fd: i32, name: &[u8]) -> Result<'_, i32> {
    const IMAGE: i32 = 3;
    let fail = |errno| Failure::os(Code::Kernel, name, "cannot tidy up the descriptors", errno, "");
    if fd != IMAGE {
        let _ = sys::fd::close(IMAGE);
        sys::fd::control(fd, sys::fd::fcntl::DUPFD_CLOEXEC, IMAGE as usize).map_err(fail)?;
    }
    sys::fd::close_range(IMAGE as u32 + 1, u32::MAX).map_err(fail)?;
    Ok(IMAGE)
}

/// Bytes of the hole: the executor's page, and all that is handed out of the arena.
fn room(image: &Image, workers: usize, options: &Options<'_>) -> usize {
    let head = image.head();
    let chunks = (head.data_len / PAGE) as usize / ((head.chunk as usize) / PAGE as usize).max(1) + 1;
    PAGE as usize
        + plan::room(image)
        + workers * (size_of::<Stack>() + head.chunk as usize)
        + image.files().len() * 64
        + image.objects().len() * 64
        + files::found::room(image)
        + moved_paths(image, options)
        + chunks * (size_of::<Op>() + size_of::<IoVec>())
        + probe::vdso_region(image).map_or(0, |region| (region.end - region.start) as usize * 2)
        + 64 * 1024
}

/// Bytes for paths that are others now: each may be as long as a path can be.
fn moved_paths(image: &Image, options: &Options<'_>) -> usize {
    const LONGEST: usize = 4096 + 64;
    const OWN: usize = 16 * LONGEST;
    if options.maps.iter().all(Option::is_none) {
        return OWN;
    }
    // A watch of an inotify takes 16 bytes of the notes.
    let watches = image.head().notes_len as usize / 16;
    OWN + (image.files().len() * 2 + image.objects().len() + image.open_files().len() * 3 + watches) * LONGEST
}

/// Maps the hole; all but its first page is the arena. Pages that nobody touches cost nothing.
fn map_hole(hole: Span) -> Result<'static, Arena<'static>> {
    let flags = map::PRIVATE | map::ANONYMOUS | map::NORESERVE | map::FIXED_NOREPLACE;
    let len = hole.end - hole.start;
    // SAFETY: the addresses are free, and FIXED_NOREPLACE would say if they were not.
    let start = unsafe { sys::memory::mmap(hole.start, len, prot::READ | prot::WRITE, flags, -1, 0) };
    start.map_err(probe::no_memory)?;
    let block = (hole.start + PAGE) as *mut MaybeUninit<u8>;
    // SAFETY: just mapped, and used by nobody else; it stays until libckpt unmaps it, after the last Rust code here has run.
    Ok(Arena::new(unsafe { core::slice::from_raw_parts_mut(block, (len - PAGE) as usize) }))
}

/// Memory for what is found out before there is a hole; it goes with the restarter.
fn map_arena(len: usize) -> Result<'static, Arena<'static>> {
    let flags = map::PRIVATE | map::ANONYMOUS | map::NORESERVE;
    // SAFETY: a new mapping, at an address of the kernel's choice.
    let start = unsafe { sys::memory::mmap(0, len as u64, prot::READ | prot::WRITE, flags, -1, 0) };
    let block = start.map_err(probe::no_memory)? as *mut MaybeUninit<u8>;
    // SAFETY: just mapped, and used by nobody else; the executor unmaps it, after the last Rust code here has run.
    Ok(Arena::new(unsafe { core::slice::from_raw_parts_mut(block, len) }))
}

/// What reads the pages.
fn loader<'a>(
    options: &Options<'a>,
    image: &Image,
    sums: Sums<'static>,
    workers: usize,
    arena: &mut Arena<'static>,
) -> Result<'a, Loader<'a>> {
    let (head, name) = (image.head(), options.image);
    let checks = !(options.lazy && options.mode != Mode::Verify);
    let stacks = arena.slots::<Stack>(workers)?.as_ptr() as u64;
    let scratch = arena.slots::<u8>(workers * head.chunk as usize)?.as_ptr() as u64;
    let (data_off, chunk) = (head.data_off, u64::from(head.chunk));
    Ok(Loader { sums, checks, data_off, chunk, jobs: options.jobs, workers, scratch, stacks, name })
}

/// `--verify`: reads every chunk and throws it away.
fn verify<'a>(
    image: &Image,
    fd: i32,
    loader: &Loader<'a>,
    arena: &mut Arena<'static>,
    name: &'a [u8],
) -> Result<'a, ()> {
    let head = image.head();
    let chunk = u64::from(head.chunk).max(PAGE);
    let mut ops = arena.list::<Op>((head.data_len / chunk) as usize + 1)?;
    let mut offset = 0;
    while offset < head.data_len {
        let len = chunk.min(head.data_len - offset);
        let piece = arena.keep(IoVec { base: loader.scratch as usize, len: len as usize })?;
        let piece = core::ptr::from_mut(piece) as u64;
        ops.push(Op::exact(Sysno::preadv, [fd as u64, piece, 1, head.data_off + offset, 0], len))?;
        offset += len;
    }
    // SAFETY: all goes to the scratch memory of each worker.
    unsafe { loader.run(ops.as_slice()) }?;
    let mut line: Line<4200> = Line::new();
    line.quoted(name.strip_suffix(b"\0").unwrap_or(name)).text(": all checksums are right (");
    line.dec(head.data_len >> 10).text(" KiB of pages in ").dec(ops.len() as u64).text(" chunks)\n");
    write_all(line.as_bytes())
}

/// Collects the facts for the planner.
#[allow(clippy::too_many_arguments)]
fn inputs<'a>(
    options: &Options<'a>,
    image: &Image<'static>,
    fd: i32,
    standard: [Own; 3],
    stderr: i32,
    present: &Present,
    vdso: Vdso,
    layout: Layout,
    loader: &Loader<'a>,
    affinity: &[u8],
    kept: Kept,
    crew: Crew,
    world: World,
    arena: &mut Arena<'static>,
) -> Result<'a, Inputs<'static>> {
    let paths = Paths::new(options, arena)?;
    let is_missing = |object: u32| {
        let open = image.open_files().iter().zip(world.open.iter());
        let mapped = image.files().iter().zip(world.mapped);
        open.filter(|(_, found)| found.way == Way::Image).any(|(file, _)| file.object == object)
            || mapped.filter(|(_, is)| **is == Identity::MISSING).any(|(file, _)| file.spare == object + 1)
    };
    let objects = objects::make(image, &paths, options, is_missing, arena)?;
    let backings = probe::open_backings(image, options, &paths, world.mapped, objects, arena)?;
    files::found::hold(image, options, &paths, world.open, arena)?;
    let saved_vdso = if vdso == Vdso::Goes {
        probe::saved_vdso(image, fd, loader, arena)?
    } else {
        plan::SavedVdso::default()
    };
    let capabilities = sys::process::capabilities().unwrap_or(0);
    let may = |capability: u32| capabilities >> capability & 1 != 0;
    let set_exe = may(capability::CHECKPOINT_RESTORE) || may(capability::SYS_ADMIN);
    Ok(Inputs {
        image: arena.keep(*image)?,
        present: arena.keep(*present)?,
        layout,
        vdso,
        saved_vdso,
        image_fd: fd,
        backings,
        objects,
        limits: probe::limits(),
        privileged: may(capability::SYS_RESOURCE) && !kept.namespace,
        standard,
        stderr,
        has_terminal: probe::has_terminal(),
        found: world.open,
        rights: Rights {
            // The executor is the last that needs them, and this memory is gone then.
            groups: world.rights.groups.map(|groups| copy_groups(groups, arena)).transpose()?,
            ..world.rights
        },
        cwd: paths.cwd(image, arena)?,
        paths,
        user: [sys::process::effective_uid(), sys::process::effective_gid()],
        may_chown: may(capability::CHOWN) && !kept.namespace,
        roll_back: options.roll_back,
        group: sys::process::group(),
        // What a file gives is not for that.
        exe: if set_exe && !options.secure {
            probe::executable(image, &paths, backings, arena)?
        } else {
            None
        },
        umask: sys::process::umask(),
        personality: sys::process::personality(),
        securebits: sys::process::prctl_value(sys::process::pr::GET_SECUREBITS).unwrap_or(0),
        oom_score_adj: probe::oom_score_adj(),
        coredump_filter: probe::coredump_filter(),
        takes_timer_ids: sys::timer::takes_ids(),
        affinity: arena.copy(affinity)?,
        nice: sys::thread::scheduling(0).map_or(0, |attr| attr.nice),
        timerslack: sys::process::prctl_value(sys::process::pr::GET_TIMERSLACK).map_or(0, u64::from),
        lazy: options.lazy,
        scratch: loader.scratch,
        executor: execute::executor_code(),
        pid: if options.mode == Mode::Plan && kept.rung != Rung::New {
            image.process().pid
        } else {
            sys::process::pid()
        },
        tids: crew.ids(),
        kept,
        ahead: if kept.clocks { Ahead::default() } else { probe::clocks(image) },
    })
}

/// `--plan`: prints what a restart would do.
fn print_plan(plan: &Plan) -> Result<'static, ()> {
    let mut line = print::Text::new();
    let ops = plan.early.as_slice().iter().chain(plan.late.as_slice());
    let end = plan.late.as_slice().last();
    // What only one of the threads does is told once.
    let is_told = |op: &&Op| op.check != op::Check::Last || end.is_some_and(|end| core::ptr::eq(*op, end));
    for op in ops.filter(|op| op.sysno().is_some()).filter(is_told) {
        line.truncate(0);
        print::traced(op, &mut line);
        write_all(line.text("\n").as_bytes())?;
    }
    Ok(())
}
