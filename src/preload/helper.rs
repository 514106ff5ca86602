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

use crate::arrival::Arrival;
use crate::file::ImageFile;
use crate::message::Failure;
use crate::scratch::{self, Full, List, Scratch};
use crate::thread::OwnState;
use crate::{descriptors, maps, process, writer};
use core::arch::global_asm;
use image::format::{Descriptor, OpenFile, Process, Thread};
use sys::line::Line;
use sys::process as sysprocess;

global_asm!(
    include_str!("../../asm/clone.s"),
    stack_size = const 64 * 1024,
    flags = const 0x100 | 0x4000,
    sys_clone = const sys::Sysno::clone as i32,
);

unsafe extern "C" {
    fn ckpt_vfork(run: extern "C" fn(&mut Job) -> !, job: &mut Job) -> isize;
}

/// One save.
#[repr(C)]
pub struct Job<'a> {
    /// The thread that leads.
    pub arrival: &'a Arrival,
    /// What only the thread itself can ask the kernel.
    pub own: OwnState,
    /// The target's process id.
    pub pid: u32,
    /// Number of this save.
    pub generation: u32,
}

/// Everything that is collected while the target stands still.
pub struct Snapshot {
    /// The process.
    pub process: Process,
    /// Its map.
    pub vmas: List<maps::Vma>,
    /// Its open file descriptions.
    pub files: List<OpenFile>,
    /// Its descriptors.
    pub descriptors: List<Descriptor>,
    /// Its threads.
    pub threads: List<Thread>,
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
    sys::cpu::open_protection_keys();
    let generation = crate::resume::next_generation();
    let own = OwnState::ask();
    crate::resume::remember(own.tid, own.tid_address);
    let mut job = Job { arrival, own, pid: sysprocess::pid(), generation };
    // SAFETY: `run` uses the helper's own stack and what `job` points to, while this thread sleeps.
    let helper = unsafe { ckpt_vfork(run, &mut job) };
    if helper > 0 {
        let _ = sysprocess::wait_for(helper as u32);
    } else {
        // No process to be had (RLIMIT_NPROC): do it here. Descriptors that this opens are closed again.
        save(&mut job);
    }
}

extern "C" fn run(job: &mut Job) -> ! {
    save(job);
    sysprocess::exit_group(0)
}

/// Saves, or says why not.
fn save(job: &mut Job) {
    let mut size = scratch::SMALLEST;
    loop {
        let mut scratch = match Scratch::new(size) {
            Ok(scratch) => scratch,
            Err(errno) => return tell(job, Failure::Scratch(errno)),
        };
        let result = attempt(job, &mut scratch);
        // SAFETY: the lists went with the snapshot, at the end of `attempt`.
        unsafe { scratch.unmap() };
        match result {
            Ok(()) => return,
            Err(Stop::Failed(failure)) => return tell(job, failure),
            Err(Stop::Full) if size < scratch::LARGEST => size *= 4,
            Err(Stop::Full) => return tell(job, Failure::Scratch(sys::Errno::ENOMEM)),
        }
    }
}

/// One try, with a scratch of a given size.
fn attempt(job: &mut Job, scratch: &mut Scratch) -> Result<(), Stop> {
    let vmas = maps::read(scratch)?;
    let (files, descriptors) = descriptors::read(scratch)?;
    let process = process::ask(job, scratch)?;
    let thread = job.own.describe(job.arrival, scratch)?;
    let mut threads = scratch.list();
    scratch.push(&mut threads, thread)?;
    let mut snapshot = Snapshot { process, vmas, files, descriptors, threads };
    let mut file = ImageFile::create(job.pid, job.generation)?;
    let written = writer::write(job, &mut snapshot, scratch, &mut file);
    match written.and_then(|()| Ok(file.finish()?)) {
        Ok(()) => Ok(()),
        Err(stop) => {
            file.discard();
            Err(stop)
        }
    }
}

/// Says why there is no image, in one line on the program's standard error.
fn tell(job: &Job, failure: Failure) {
    let _ = job;
    let mut line = Line::<1024>::new();
    line.text("ckpt: ");
    failure.describe(&mut line);
    line.send(2);
}
