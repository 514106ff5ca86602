//! A save, from the signal to the next instruction of the program.
//!
//! ```text
//! target      own state | clone(CLONE_VM|CLONE_VFORK) ............................ wait4 | rt_sigreturn
//! helper                  tables | refuse? | temporary file | fork | "ready"? | exit
//! writer                                                     everything else | pages | fsync | rename
//! ```
//!
//! The helper shares the target's memory but has a copy of its descriptor table, so that the table of the target, its record locks and
//! its limit of open files never matter. The writer is the helper's child: when the helper ends, it is an orphan, and the target never has a
//! child to wait for. Neither has an exit signal.
//!
//! A helper's copies of the table, of the working directory and of the signal actions are as old as the helper. So where there are other threads, one helper
//! stops them, and a second one, which is born when all of them stand still, saves.

use crate::arrival::Arrival;
use crate::contents::Contents;
use crate::message::{Failure, Kind};
use crate::objects::{self, Source};
use crate::pending::{self, Wanted};
use crate::process::OwnProcess;
use crate::report::{self, Report, Request};
use crate::scratch::{self, Full, List, Scratch};
use crate::sink::Sink;
use crate::thread::OwnState;
use crate::threads::{self, Gathering};
use crate::{
    alike, background, children, config, crash, descriptors, maps, private, process, questions, regions,
    timers, whose, written,
};
use core::arch::global_asm;
use core::ffi::c_void;
use image::format::{Descriptor, OpenFile, Pending, PosixTimer, Process, Thread, Whose};
use sys::process::{self as sysprocess, pr};
use sys::signal::{self, Action, SIGNALS};

global_asm!(
    include_str!("../../asm/clone.s"),
    stack_size = const crate::arrival::STACK,
    flags = const 0x100 | 0x4000,
    sys_clone = const sys::Sysno::clone as i32,
);

unsafe extern "C" {
    fn ckpt_vfork(run: extern "C" fn(*mut c_void) -> !, job: *mut c_void) -> isize;
}

/// One save.
pub struct Job<'a> {
    /// The thread that leads.
    pub arrival: &'a Arrival,
    /// What only the thread itself can ask the kernel.
    pub own: OwnState,
    /// The same of the process.
    pub process: OwnProcess,
    /// The target's process id.
    pub pid: u32,
    /// Its parent.
    pub ppid: u32,
    /// `PR_GET_DUMPABLE`.
    pub dumpable: u32,
    /// Number of this save.
    pub generation: u32,
    /// The CPU that the target has used.
    pub cpu: sys::Result<u32>,
    /// When the signal arrived, in nanoseconds of `CLOCK_MONOTONIC`.
    pub started: u64,
    /// `ckpt_checkpoint()` asked, and waits for the image.
    pub from_call: bool,
    /// What the signal asked for.
    pub request: Request,
    /// The save runs in the helper, not in the target itself.
    pub is_helper: bool,
    /// The other threads, in a process that has any.
    pub gathering: Option<Gathering>,
    /// Why they cannot even be called, or the leader's questions failed.
    trouble: Option<Failure>,
    /// They have all stopped.
    all_stopped: bool,
    /// There is an image, or a writer works on it.
    pub saved: bool,
    /// The target's limit of descriptors, where the helper has raised its own.
    pub nofile: Option<[u64; 2]>,
    /// The actions of all signals.
    pub actions: [Action; SIGNALS as usize],
    /// The scratch, while there is one.
    scratch: (u64, u64),
    /// What the next helper begins with.
    stage: Stage,
    /// Whoever asked has been told what came of it.
    is_told: bool,
    /// Pending signals that the leader is to take.
    pub wanted: Wanted,
    /// The helper may not look at the target's timers.
    pub looks_itself: bool,
}

/// How far a save is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Other threads may run, and nobody has looked whether any thread must be asked: see [`questions`].
    Begun,
    /// All threads stand still, and some must be asked.
    Asking,
    /// All threads stand still, and have said what they know.
    Still,
}

impl Job<'_> {
    /// Much of `/proc` belongs to root in a process that nobody may look into, and some calls are forbidden. Where it is saved all the same, it may be looked into until all
    /// is known of it but its memory, or the program goes on.
    fn open_up(&self) {
        if self.dumpable == 0 && self.may_be_undumpable() {
            sysprocess::set_dumpable(1);
        }
    }

    /// Whether a process that nobody may look into is saved: whoever may only signal it must not get its memory.
    fn may_be_undumpable(&self) -> bool {
        self.from_call || config::get().undumpable
    }

    /// Asks for the times of all timers when the threads stand still, and takes the signals of those that have rung since the threads were asked.
    fn ask_times(&mut self) {
        /// Where timers ring faster than they can be asked, several signals are one anyway.
        const ROUNDS: u32 = 8;
        for _ in 0..ROUNDS {
            match OwnProcess::ask() {
                Ok(process) => self.process = process,
                Err(failure) => self.trouble = self.trouble.or(Some(failure)),
            }
            timers::ask();
            if !pending::take_late(self.own.tid) {
                break;
            }
        }
        self.trouble = self.trouble.or(pending::check().err());
    }

    /// Takes back what a helper that crashed has left in the memory that it shared.
    fn clean_up(&mut self) {
        let (start, end) = core::mem::take(&mut self.scratch);
        if start < end {
            // SAFETY: the helper mapped it for itself, and has ended.
            let _ = unsafe { sys::memory::munmap(start, end - start) };
        }
        scratch::take_back();
        crash::unwatch();
    }
}

/// Everything that is collected while the target stands still.
pub struct Snapshot {
    /// The process.
    pub process: Process,
    /// The same, for a save that finds the image.
    pub whose: Whose,
    /// Its map.
    pub vmas: List<maps::Vma>,
    /// Its open file descriptions.
    pub files: List<OpenFile>,
    /// Its descriptors.
    pub descriptors: List<Descriptor>,
    /// Its threads.
    pub threads: List<Thread>,
    /// Its pending signals.
    pub pending: List<Pending>,
    /// Its timers of timer_create(2).
    pub timers: List<PosixTimer>,
    /// Files that exist only in the image.
    pub sources: List<Source>,
    /// What is in them.
    pub contents: Contents,
    /// Whether the attributes in the map are filled in.
    pub has_attributes: bool,
}

/// Why collecting stopped.
#[derive(Clone, Copy, Debug)]
pub enum Stop {
    /// The scratch is too small: again, with a larger one.
    Full,
    /// For good.
    Failed(Failure),
}

impl From<Full> for Stop {
    fn from(_: Full) -> Self {
        Self::Full
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Called by `ckpt_entry` on the leader's stack, with every signal blocked.
pub extern "C" fn ckpt_lead(arrival: &mut Arrival) {
    let started = report::now();
    scratch::forget();
    open_protection_keys(arrival);
    crate::blocking::begin(started);
    crate::blocking::arrived(arrival);
    // Before the pending signals: a timer that rings in between is among them, and looked at again.
    let process = OwnProcess::ask();
    let own = OwnState::ask(arrival);
    arrival.tid = own.tid;
    arrival.tid_address = own.tid_address;
    crate::resume::prepare();
    let gathering = threads::count().and_then(|threads| {
        let entered = arrival.entered();
        if threads > 1 { Gathering::begin(own.tid, threads, entered).map(Some) } else { Ok(None) }
    });
    let (gathering, trouble) = match gathering {
        Ok(gathering) => (gathering, process.err()),
        Err(failure) => (None, Some(failure)),
    };
    crate::config::take_free_image_name();
    let mut job = Job {
        arrival,
        own,
        process: process.unwrap_or_default(),
        pid: sysprocess::pid(),
        ppid: sysprocess::parent_pid(),
        cpu: sys::thread::cpu(),
        dumpable: sysprocess::prctl_value(pr::GET_DUMPABLE).unwrap_or(1),
        generation: crate::resume::next_generation(),
        started,
        from_call: crate::api::is_calling(),
        request: report::request(&arrival.info()),
        is_helper: true,
        gathering,
        trouble,
        all_stopped: false,
        saved: false,
        nofile: None,
        actions: [Action::default(); SIGNALS as usize],
        scratch: (0, 0),
        stage: Stage::Begun,
        is_told: false,
        wanted: Wanted::default(),
        looks_itself: false,
    };
    questions::begin();
    private::allow(false);
    job.open_up();
    help(&mut job);
    if job.stage == Stage::Asking {
        job.trouble = questions::answer(&job).err();
        job.stage = Stage::Still;
    }
    if job.stage == Stage::Still && !job.is_told {
        job.ask_times();
        help(&mut job);
    }
    if job.dumpable == 0 {
        sysprocess::set_dumpable(0);
    }
    pending::put_back(job.own.tid);
    crate::api::set_result(if job.saved { 0 } else { -1 });
    if job.saved && job.request == Request::SaveAndEnd {
        sysprocess::kill_self();
    }
    crate::blocking::learn(&job.actions);
    let all_stopped = job.all_stopped;
    if let Some(gathering) = job.gathering.take() {
        gathering.end(all_stopped);
    }
    if arrival.entered() {
        crate::entered::over();
    }
    crate::blocking::settle(arrival, false);
}

/// The kernel lets signal handlers see memory with protection key 0 only; rt_sigreturn(2) brings the program's rights back.
fn open_protection_keys(arrival: &Arrival) {
    const PKRU: u64 = 1 << 9;
    let (features, _) = process::xstate(arrival.user.fpstate);
    // Under a hypervisor, asking the CPU takes microseconds: only where the frame has the register.
    if features & PKRU != 0 {
        sys::cpu::open_protection_keys();
    }
}

/// Runs [`save`] in a helper.
fn help(job: &mut Job) {
    job.is_helper = true;
    // SAFETY: `run` uses the helper's own stack and what `job` points to, while this thread sleeps.
    let helper = unsafe { ckpt_vfork(run, (&raw mut *job).cast()) };
    if helper > 0 {
        let _ = sysprocess::wait_for(helper as u32);
    } else {
        // No process to be had (RLIMIT_NPROC): do it here. Every descriptor that this opens, it closes.
        job.is_helper = false;
        signal::read_actions(&mut job.actions);
        let before = signal::pending().unwrap_or(u64::MAX);
        save(job);
        pending::drop_ours(before);
    }
    job.clean_up();
}

extern "C" fn run(job: *mut c_void) -> ! {
    // SAFETY: `ckpt_lead` passes its job and does not touch it until the helper has ended.
    let job = unsafe { &mut *job.cast::<Job>() };
    crash::guard(&mut job.actions);
    job.nofile = descriptors::make_room();
    save(job);
    sysprocess::exit_group(0)
}

/// Stops the other threads, and leaves the rest to another helper; or saves, or says why not.
fn save(job: &mut Job) {
    let mut report = Report::new(job);
    let stopped = match (job.stage, job.trouble) {
        (_, Some(trouble)) => Err(trouble),
        (Stage::Begun, None) => stop_and_look(job, &report),
        (Stage::Asking | Stage::Still, None) => Ok(Next::Save),
    };
    if let Ok(Next::Helper) = stopped {
        return report.close();
    }
    job.is_told = true;
    report.accept(job);
    let result = stopped.map_err(Stop::from).and_then(|_| save_stopped(job, &mut report));
    job.saved = result.is_ok();
    match result {
        Err(stop) => report.failed(stop),
        Ok(()) if job.request == Request::SaveAndEnd => children::end(job),
        Ok(()) => {}
    }
    report.close();
}

/// What a helper does when all threads stand still.
enum Next {
    /// It saves.
    Save,
    /// It ends: threads must be asked, or its own copies are from a time when other threads ran.
    Helper,
}

/// Stops the other threads, and looks what must be asked of all.
#[inline(never)] // its buffers are off the stack again when it returns
fn stop_and_look(job: &mut Job, report: &Report) -> Result<Next, Failure> {
    stop_threads(job, report)?;
    job.stage = if questions::arise(job)? { Stage::Asking } else { Stage::Still };
    let is_fresh = job.gathering.is_none();
    Ok(if is_fresh && job.stage == Stage::Still { Next::Save } else { Next::Helper })
}

/// Stops the other threads, if there are any.
fn stop_threads(job: &mut Job, report: &Report) -> Result<(), Failure> {
    if let Some(gathering) = &job.gathering {
        if job.is_helper {
            // A thread may wait for the end of a pipe before it stops, with every signal blocked: posix_spawn(3) of musl does.
            descriptors::keep_only(&[report.fd, report.target, report::STANDARD_ERROR]);
        }
        gathering.stop(job.pid, job.own.tid)?;
    }
    job.all_stopped = true;
    Ok(())
}

/// Saves a process that stands still.
fn save_stopped(job: &mut Job, report: &mut Report) -> Result<(), Stop> {
    let first = Scratch::new(scratch::FIRST).or_else(|_| Scratch::new(scratch::SMALLEST));
    let mut scratch = first.map_err(Failure::Scratch)?;
    loop {
        job.scratch = scratch.range();
        let result = attempt(job, &mut scratch, report);
        let size = scratch.size() as u64;
        // SAFETY: the lists went with the snapshot, at the end of `attempt`.
        unsafe { scratch.unmap() };
        job.scratch = (0, 0);
        match result {
            Err(Stop::Full) if size < scratch::LARGEST => {
                scratch = Scratch::new(size * 4).map_err(Failure::Scratch)?;
            }
            result => return result,
        }
    }
}

/// `PR_GET_DUMPABLE` of a process into which its user may look.
pub const DUMPABLE: u32 = 1;
const UNDUMPABLE: Kind = Kind {
    what: "memory that its own user may not look into (PR_SET_DUMPABLE, or a change of user)",
    advice: "start it with CKPT_UNDUMPABLE=1 if an image may have it, or let it call ckpt_checkpoint()",
};

/// One try, with a scratch of a given size.
fn attempt(job: &mut Job, scratch: &mut Scratch, report: &mut Report) -> Result<(), Stop> {
    if job.dumpable != DUMPABLE && !job.may_be_undumpable() {
        report.refuse(Failure::Process(UNDUMPABLE))?;
    }
    job.open_up();
    alike::check(job, report)?;
    children::check(job, report)?;
    process::check(scratch, report)?;
    let mut vmas = maps::read(job, scratch, report)?;
    objects::find_names(scratch, &mut vmas, report)?;
    let (mut files, descriptors) = descriptors::read(job, scratch, report)?;
    let mut sources = objects::find(scratch, &vmas, &mut files, &descriptors, report)?;
    let found = written::find(job, scratch, &mut files, &descriptors, &mut sources, report);
    let wanted: &[Source] = if report.is_check { &[] } else { &sources };
    let contents = found.and_then(|()| Ok(Contents::capture(&vmas, wanted, scratch)?));
    objects::close_own(&sources);
    let contents = contents?;
    let process = process::ask(job, scratch)?;
    let threads = threads(job, scratch)?;
    let pending = pending::table(scratch, &threads)?;
    let timers = timers::table(scratch, &threads)?;
    if report.is_check {
        objects::check(&vmas, &sources, scratch, report)?;
    }
    let mut snapshot = Snapshot {
        process,
        whose: whose::of(job.pid),
        vmas,
        files,
        descriptors,
        threads,
        pending,
        timers,
        sources,
        contents,
        has_attributes: false,
    };
    if report.is_check {
        Sink::check(job, &snapshot.whose, report)?;
        let Snapshot { files, descriptors, .. } = &snapshot;
        match descriptors::inotify::find_watched(
            files,
            descriptors,
            scratch,
            descriptors::inotify::MOST_OF_CHECK,
        ) {
            Err(Stop::Failed(failure)) if failure.is_refusal() => report.refuse(failure)?,
            result => result?,
        }
        regions::check(&mut snapshot, scratch, report).map(|()| report.checked())
    } else {
        background::write(job, &mut snapshot, scratch, report)
    }
}

/// The table of threads: first the one whose id is the process's.
fn threads(job: &Job, scratch: &mut Scratch) -> Result<List<Thread>, Stop> {
    let mut list = scratch.list();
    let parked = || job.gathering.iter().flat_map(Gathering::parked);
    for first in [true, false] {
        if (job.own.tid == job.pid) == first {
            let leader = job.own.describe(job.arrival, scratch)?;
            scratch.push(&mut list, leader)?;
        }
        for slot in parked().filter(|slot| (slot.own.tid == job.pid) == first) {
            // SAFETY: a parked thread's arrival is on the stack of its signal, and the thread stands still.
            let thread = slot.own.describe(unsafe { &*slot.arrival }, scratch)?;
            scratch.push(&mut list, thread)?;
        }
    }
    Ok(list)
}
