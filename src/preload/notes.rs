//! The notes of an image: ours for the restarter, and the standard ones of a core file for debuggers.

use crate::helper::{Job, Snapshot};
use crate::pages::Pages;
use crate::regions::Regions;
use crate::scratch::Scratch;
use crate::threads::STOP_SIGNAL;
use crate::xstate::{self, Sets};
use image::elf::{
    NT_AUXV, NT_FILE, NT_FPREGSET, NT_PRPSINFO, NT_PRSTATUS, NT_SIGINFO, NT_X86_XSTATE, OWNER_CORE,
    OWNER_LINUX, Prpsinfo, Prstatus, UserRegs,
};
use image::format::{Blob, Head, NONE, OWNER, PAGE, SigAction, Thread, note};
use image::plain::{bytes_of, bytes_of_slice, read};
use image::write::{Full, Notes};
use sys::signal;

/// Builds all notes in `buf`; returns their length. HEAD comes first and is filled in by `seal`.
pub fn build(
    buf: &mut [u8],
    job: &Job,
    snapshot: &Snapshot,
    scratch: &Scratch,
    pages: &Pages,
    regions: &Regions,
) -> Result<usize, Full> {
    let mut notes = Notes::new(buf);
    notes.add(OWNER, note::HEAD, bytes_of(&Head::default()))?;
    notes.add(OWNER, note::WHOSE, bytes_of(&snapshot.whose))?;
    let sets = Sets::new(snapshot.process.xcr0);
    for thread in snapshot.threads.iter() {
        standard_thread(&mut notes, snapshot, thread, &sets)?;
        if thread.tid == snapshot.process.pid {
            standard_process(&mut notes, job, snapshot, scratch, regions)?;
        }
    }
    notes.add(OWNER, note::PROCESS, bytes_of(&snapshot.process))?;
    notes.add_table(OWNER, note::REGIONS, &regions.regions)?;
    notes.add_table(OWNER, note::FILES, &regions.files)?;
    notes.add_table(OWNER, note::GUARDS, &pages.guards)?;
    notes.add_table(OWNER, note::OBJECTS, &snapshot.contents.objects)?;
    notes.add_table(OWNER, note::OBJECT_RUNS, &snapshot.contents.runs)?;
    notes.add_table(OWNER, note::THREADS, &snapshot.threads)?;
    signal_actions(&mut notes, job)?;
    notes.add_table(OWNER, note::PENDING, &snapshot.pending)?;
    notes.add_table(OWNER, note::TIMERS, &snapshot.timers)?;
    notes.add_table(OWNER, note::OPEN_FILES, &snapshot.files)?;
    notes.add_table(OWNER, note::DESCRIPTORS, &snapshot.descriptors)?;
    notes.add(OWNER, note::BYTES, scratch.all_bytes())?;
    Ok(notes.len())
}

/// The actions of all signals.
fn signal_actions(notes: &mut Notes<'_>, job: &Job) -> Result<(), Full> {
    notes.begin(OWNER, note::SIGACTIONS)?;
    for (number, action) in (1..).zip(&job.actions) {
        let action = match &job.gathering {
            Some(gathering) if number == STOP_SIGNAL => gathering.action,
            _ => *action,
        };
        let entry = SigAction {
            handler: action.handler as u64,
            flags: action.flags,
            restorer: action.restorer as u64,
            mask: action.mask,
        };
        notes.push(bytes_of(&entry))?;
    }
    notes.end()
}

/// `NT_PRSTATUS` and the register areas of a thread.
fn standard_thread(
    notes: &mut Notes<'_>,
    snapshot: &Snapshot,
    thread: &Thread,
    sets: &Sets,
) -> Result<(), Full> {
    let process = &snapshot.process;
    let status = Prstatus {
        pr_sighold: thread.sigmask,
        pr_pid: thread.tid,
        pr_ppid: process.ppid,
        pr_pgrp: process.pgid,
        pr_sid: process.sid,
        regs: read::<UserRegs>(bytes_of_slice(&thread_registers(thread)), 0).unwrap_or_default(),
        pr_fpvalid: 1,
        ..Prstatus::default()
    };
    notes.add(OWNER_CORE, NT_PRSTATUS, bytes_of(&status))?;
    // SAFETY: the ucontext is in the signal frame of a thread that stands still.
    let user = unsafe { &*(thread.ucontext as *const signal::UContext) };
    if user.fpstate == 0 {
        return Ok(());
    }
    // SAFETY: the frame's register area begins with the 512 bytes of FXSAVE.
    let fxsave = unsafe { &*(user.fpstate as *const [u8; 512]) };
    notes.add(OWNER_CORE, NT_FPREGSET, fxsave)?;
    // Its own: an area with AMX tiles is longer, and only threads that use them have one.
    let (_, size) = crate::process::xstate(user.fpstate);
    if size > 512 {
        // SAFETY: the size is the one that the kernel wrote into the frame for this very area.
        let area = unsafe { core::slice::from_raw_parts(user.fpstate as *const u8, size as usize) };
        notes.begin(OWNER_LINUX, NT_X86_XSTATE)?;
        xstate::push(notes, area, sets)?;
        notes.end()?;
    }
    Ok(())
}

fn thread_registers(thread: &Thread) -> [u64; 27] {
    let mut all = [0; 27];
    all.iter_mut().zip(&thread.frame_registers).for_each(|(to, from)| *to = *from);
    all
}

/// `NT_PRPSINFO`, `NT_SIGINFO`, `NT_AUXV` and `NT_FILE`.
fn standard_process(
    notes: &mut Notes<'_>,
    job: &Job,
    snapshot: &Snapshot,
    scratch: &Scratch,
    regions: &Regions,
) -> Result<(), Full> {
    let process = &snapshot.process;
    let mut info = Prpsinfo {
        pr_sname: b'R',
        pr_nice: snapshot.threads.first().map_or(0, |thread| thread.nice as u8),
        pr_uid: process.uid,
        pr_gid: process.gid,
        pr_pid: process.pid,
        pr_ppid: process.ppid,
        pr_pgrp: process.pgid,
        pr_sid: process.sid,
        ..Prpsinfo::default()
    };
    let exe = scratch.blob(process.exe);
    let base = exe.rsplit(|byte| *byte == b'/').next().unwrap_or(exe);
    // The last byte of each stays NUL.
    info.pr_fname.iter_mut().take(15).zip(base).for_each(|(to, from)| *to = *from);
    let arguments = scratch.blob(process.cmdline);
    let arguments = arguments.strip_suffix(b"\0").unwrap_or(arguments);
    for (to, from) in info.pr_psargs.iter_mut().take(79).zip(arguments) {
        *to = if *from == 0 { b' ' } else { *from };
    }
    notes.add(OWNER_CORE, NT_PRPSINFO, bytes_of(&info))?;
    notes.add(OWNER_CORE, NT_SIGINFO, &job.arrival.info())?;
    notes.add(OWNER_CORE, NT_AUXV, scratch.blob(process.auxv))?;
    mapped_files(notes, scratch, regions)
}

/// `NT_FILE`: count, page size, then start, end and page offset of each mapping of a file, then the names. Files without a name are left
/// out: debuggers would look for them in vain, and warn.
fn mapped_files(notes: &mut Notes<'_>, scratch: &Scratch, regions: &Regions) -> Result<(), Full> {
    let named = || {
        regions.regions.iter().filter_map(|region| {
            let file = if region.file == NONE { None } else { regions.files.get(region.file as usize) };
            file.filter(|file| file.deleted == 0).map(|file| (region, file.path))
        })
    };
    notes.begin(OWNER_CORE, NT_FILE)?;
    notes.push(bytes_of_slice(&[named().count() as u64, PAGE]))?;
    for (region, _) in named() {
        notes.push(bytes_of_slice(&[region.start, region.end, region.offset / PAGE]))?;
    }
    for (_, path) in named() {
        notes.push(scratch.blob(Blob { len: path.len + 1, ..path }))?;
    }
    notes.end()
}
