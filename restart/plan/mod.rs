//! The plan: every system call that turns this process into the one of the image, in order.
//!
//! Making it is a pure function of the image, the present map and a few facts about this process ([`Inputs`]): it makes no system call,
//! so that `--plan` can print what a restart would do, and tests can look at it.
//!
//! ```text
//! early   carried out in ordinary Rust; touches nothing that the restarter stands on:
//!         map regions, read pages, protect; close the image; descriptors; attributes of the process
//! late    carried out by the executor (asm/executor.s), for each thread:
//!         unmap the restarter, move the vdso and the regions that were in its way, FS and GS, rseq ...
//! ```

pub mod clocks;
pub mod layout;
mod memory;
mod objects;
mod pages;
mod process;
mod thread;
mod timers;

use crate::arena::{Arena, List};
use crate::execute::Record;
use crate::exit::Result;
use crate::files::found::Found;
use crate::files::{self, Identity, Numbers, Own, Paths};
use crate::objects::Made;
use crate::op::Op;
use crate::pid::Kept;
use crate::present::Present;
use crate::probe::Rights;
use clocks::Ahead;
use image::format::{Limit, region_flag, region_kind};
use image::read::Image;
use layout::{Layout, Vdso};
use sys::fd::IoVec;

/// A file that regions map: its state now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backing {
    /// Open descriptor, or -1.
    pub fd: i32,
    /// One that is open for reading only, where some shared mapping may never become writable and another one may; else -1.
    pub read_only: i32,
    /// Whether it is the very file of the image, unchanged: else its private regions come from the image alone.
    pub same: bool,
}

/// The executable, which is what it was.
#[derive(Clone, Copy, Debug)]
pub struct Executable<'a> {
    /// Its path, with a NUL.
    pub path: &'a [u8],
    /// Device and inode.
    pub identity: Identity,
}

/// The vdso of another kernel.
#[derive(Clone, Copy, Debug, Default)]
pub struct SavedVdso<'a> {
    /// As it was.
    pub original: &'a [u8],
    /// With its functions turned into system calls.
    pub patched: &'a [u8],
}

/// Facts about this process and the image, found out before.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// The image.
    pub image: &'a Image<'a>,
    /// What is mapped now, the hole not among it.
    pub present: &'a Present,
    /// Addresses for the restart's own use.
    pub layout: Layout,
    /// What becomes of the present vdso.
    pub vdso: Vdso,
    /// The saved vdso; empty when it is not needed.
    pub saved_vdso: SavedVdso<'a>,
    /// Descriptor of the image.
    pub image_fd: i32,
    /// One for each entry of FILES.
    pub backings: &'a [Backing],
    /// One for each entry of OBJECTS.
    pub objects: &'a [Made],
    /// Present resource limits by number.
    pub limits: [Limit; 16],
    /// Whether hard limits may be raised (CAP_SYS_RESOURCE).
    pub privileged: bool,
    /// What the descriptors 0, 1, 2 are. Each number is in use, also where nothing was open.
    pub standard: [Own; 3],
    /// A descriptor of the restarter's standard error that the process's descriptors leave alone, or 2.
    pub stderr: i32,
    /// Whether there is a controlling terminal.
    pub has_terminal: bool,
    /// One for each entry of OPEN_FILES.
    pub found: &'a [Found],
    /// User and group of files that this process makes.
    pub user: [u32; 2],
    /// Whether it may give them to others (CAP_CHOWN).
    pub may_chown: bool,
    /// Cut files back to their length at the save.
    pub roll_back: bool,
    /// Process group of this process.
    pub group: u32,
    /// The executable, if `/proc/self/exe` can be set: it is there, and so is the privilege (CAP_CHECKPOINT_RESTORE).
    pub exe: Option<Executable<'a>>,
    /// The working directory, with a NUL; empty when there is none.
    pub cwd: &'a [u8],
    /// Where paths lead.
    pub paths: Paths<'a>,
    /// Present file mode creation mask.
    pub umask: u32,
    /// Present personality(2).
    pub personality: u32,
    /// Present `PR_GET_SECUREBITS`.
    pub securebits: u32,
    /// Present `/proc/self/oom_score_adj`.
    pub oom_score_adj: i32,
    /// Present `/proc/self/coredump_filter`.
    pub coredump_filter: u32,
    /// Whether the kernel makes timers with the ids that it is given (Linux 6.15).
    pub takes_timer_ids: bool,
    /// Present affinity mask.
    pub affinity: &'a [u8],
    /// Present nice value.
    pub nice: i32,
    /// Present `PR_GET_TIMERSLACK`.
    pub timerslack: u64,
    /// Map pages instead of reading them.
    pub lazy: bool,
    /// Where skipped bytes of a chunk go, which only its sum needs.
    pub scratch: u64,
    /// Code of the executor, for the first page of the hole.
    pub executor: &'a [u8],
    /// Process id of this process.
    pub pid: u32,
    /// Ids of the other threads, by index in THREADS, from the second one on.
    pub tids: &'a [u32],
    /// What `--pid` came to.
    pub kept: Kept,
    /// What each thread gives up.
    pub rights: Rights<'a>,
    /// What the clocks of the process show more than those here.
    pub ahead: Ahead,
}

impl<'a> Inputs<'a> {
    /// A process without files, in a restarter that is nothing special: the image is descriptor 3, page data is read.
    pub fn new(image: &'a Image<'a>, present: &'a Present, layout: Layout, vdso: Vdso) -> Self {
        Self {
            image,
            present,
            layout,
            vdso,
            saved_vdso: SavedVdso { original: &[], patched: &[] },
            image_fd: 3,
            backings: &[],
            objects: &[],
            limits: image.process().limits,
            privileged: false,
            standard: [Own::default(); 3],
            stderr: 2,
            has_terminal: false,
            found: &[],
            user: [0; 2],
            may_chown: false,
            roll_back: false,
            group: 0,
            exe: None,
            cwd: image.c_str(image.process().cwd),
            paths: Paths::default(),
            takes_timer_ids: false,
            umask: 0,
            personality: 0,
            securebits: 0,
            oom_score_adj: 0,
            coredump_filter: 0,
            affinity: &[],
            nice: 0,
            timerslack: 0,
            lazy: false,
            scratch: 0,
            executor: &[],
            pid: 0,
            tids: &[],
            kept: Kept::default(),
            rights: Rights::default(),
            ahead: Ahead::default(),
        }
    }
}

/// The plan.
pub struct Plan<'a> {
    /// Carried out in ordinary Rust, in order.
    pub early: List<'a, Op>,
    /// Carried out by the executor: the ops of the main thread, then those of the others.
    pub late: List<'a, Op>,
    /// One for each thread.
    pub records: List<'a, Record>,
}

/// The plan under construction.
pub(crate) struct Builder<'a, 'm> {
    pub inputs: Inputs<'a>,
    pub arena: &'m mut Arena<'a>,
    pub early: List<'a, Op>,
    pub late: List<'a, Op>,
    pub iovecs: List<'a, IoVec>,
    pub records: List<'a, Record>,
    /// Address of the first thread's stack in the hole.
    pub stacks: u64,
    pub numbers: Numbers<'a>,
    /// Descriptor of the executable, for the executor.
    pub exe: Option<u32>,
}

/// A thread's stack for its first steps in libckpt.
#[repr(align(64))]
struct Stack {
    _bytes: [u8; thread::STACK],
}

/// How many of everything a plan of this image may take.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    early: usize,
    late: usize,
    iovecs: usize,
    records: usize,
    timers: usize,
}

impl Bounds {
    fn of(image: &Image) -> Self {
        let head = image.head();
        let chunks = (head.data_len / u64::from(head.chunk.max(4096))) as usize + 1;
        let regions = image.regions().len();
        let guards = image.guards().len();
        let loads = image.loads().len();
        let threads = image.threads().len();
        let highest = image.timers().iter().map(|timer| timer.id).max().unwrap_or(0);
        // Each thread gives up what the process did not have.
        let [_, _, _, bounding, ambient] = image.process().capabilities;
        let rights = ((!bounding & ((1 << 48) - 1)).count_ones() + ambient.count_ones()) as usize + 3;
        let timers = image.timers().len() * 4 + highest.min(timers::HIGHEST_COUNTED) as usize * 2 + 4;
        Self {
            // Each region: map, huge, mprotect, and up to ten attributes. Each load may be mapped by itself.
            early: regions * 14
                + guards
                + loads
                + chunks
                + image.files().len() * 2
                + image.objects().len() * 16
                + files::bounds(image)
                + image.pending().len()
                + timers
                + 256,
            late: regions * 14 + guards + threads * (32 + rights) + 64 + timers,
            // A run may be cut at the end of each chunk, and be followed by a piece that is skipped.
            iovecs: (loads + image.object_runs().len() + chunks) * 2,
            records: threads,
            timers,
        }
    }
}

/// Number of bytes of an [`Arena`] in which [`make`] finds room.
pub fn room(image: &Image) -> usize {
    let bounds = Bounds::of(image);
    bounds.early * size_of::<Op>()
        + bounds.late * (size_of::<Op>() + size_of::<crate::execute::FailureLine>())
        + bounds.iovecs * size_of::<IoVec>()
        + bounds.records * (size_of::<Record>() + thread::STACK + thread::DETAILS)
        + files::room(image)
        + image.objects().len() * 64
        + image.pending().len() * 128
        + bounds.timers * 256
        + 64 * 1024
}

/// Makes the plan.
///
/// # Errors
///
/// [`crate::exit::Code::Unsupported`] for state that cannot be restored; [`crate::exit::Code::Internal`] when the arena is smaller than [`room`].
pub fn make<'a>(inputs: Inputs<'a>, arena: &mut Arena<'a>) -> Result<'a, Plan<'a>> {
    let bounds = Bounds::of(inputs.image);
    let mut builder = Builder {
        inputs,
        early: arena.list(bounds.early)?,
        late: arena.list(bounds.late)?,
        iovecs: arena.list(bounds.iovecs)?,
        records: arena.list(bounds.records)?,
        stacks: arena.slots::<Stack>(inputs.image.threads().len())?.as_ptr() as u64,
        numbers: Numbers::new(inputs.image, inputs.objects.len() * 2 + inputs.found.len() + 1, arena)?,
        exe: None,
        arena,
    };
    builder.map_objects()?;
    builder.map_regions()?;
    builder.load_pages()?;
    builder.finish_regions()?;
    builder.unmap_objects()?;
    builder.close_sources()?;
    builder.working_directory()?;
    builder.open_files()?;
    builder.process()?;
    builder.place_executor()?;
    builder.move_home()?;
    builder.threads()?;
    Ok(Plan { early: builder.early, late: builder.late, records: builder.records })
}

impl<'a> Builder<'a, '_> {
    pub(crate) fn early(&mut self, op: Op) -> Result<'static, ()> {
        self.early.push(op)
    }

    pub(crate) fn late(&mut self, op: Op) -> Result<'static, ()> {
        self.late.push(op)
    }

    pub(crate) fn put(&mut self, late: bool, op: Op) -> Result<'static, ()> {
        if late { self.late(op) } else { self.early(op) }
    }

    /// Keeps bytes for a system call that gets their address, where the executor finds them too.
    pub(crate) fn keep_bytes(&mut self, bytes: &[u8]) -> Result<'static, u64> {
        Ok(self.arena.copy(bytes)?.as_ptr() as u64)
    }

    /// Keeps a value for a system call that gets its address.
    pub(crate) fn keep<T: 'a>(&mut self, value: T) -> Result<'static, u64> {
        Ok(core::ptr::from_mut(self.arena.keep(value)?) as u64)
    }

    /// All regions that are to be made, in order, with their places.
    pub(crate) fn places(&self) -> impl Iterator<Item = (image::format::Region, layout::Place)> + use<'a> {
        layout::places(self.inputs.image, self.inputs.present, self.inputs.vdso, self.inputs.layout)
    }
}

impl Inputs<'_> {
    /// The id that thread `index` of the image has now.
    pub(crate) fn tid(&self, index: u32) -> u32 {
        match index.checked_sub(1) {
            None => self.pid,
            Some(place) => self.tids.get(place as usize).copied().unwrap_or(0),
        }
    }

    /// The descriptor of the file that a region is mapped from, or `None` when the image's copy is used.
    pub(crate) fn backing(&self, region: &image::format::Region) -> Option<i32> {
        let backing = self.backings.get(region.file as usize)?;
        let is_shared = region.kind == region_kind::SHARED_FILE;
        let keeps_out = is_shared && region.flags & region_flag::NO_MAYWRITE != 0 && backing.read_only >= 0;
        let fd = if keeps_out { backing.read_only } else { backing.fd };
        (backing.fd >= 0 && (backing.same || is_shared)).then_some(fd)
    }
}
