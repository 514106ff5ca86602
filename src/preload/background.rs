//! The writer: a copy of the target that writes the image while the target runs on.
//!
//! It is a child of the helper, which ends as soon as the writer is ready: then the writer is an orphan, and the target has nothing to wait
//! for. Only where orphans would come back to the target itself, because it is the init of its PID namespace or a
//! subreaper, the helper writes the image itself, while the target waits.

use crate::config;
use crate::crash;
use crate::descriptors;
use crate::helper::{DUMPABLE, Job, Snapshot, Stop};
use crate::message::Failure;
use crate::pending;
use crate::private;
use crate::report::{Report, Request, STANDARD_ERROR};
use crate::scratch::Scratch;
use crate::sink::Sink;
use crate::special::Special;
use crate::threads::Gathering;
use crate::writer;
use core::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use image::format::{PAGE, Thread};
use image::stat::Stat;
use sys::Errno;
use sys::fd::{self, open_flag};
use sys::line::Line;
use sys::memory::{self, advice};
use sys::signal::{bit, sig};
use sys::{process, time};

/// From so many bytes of memory on, the helper forks on the CPU that the target has used. What fork(2) works on, the page tables and the kernel's records of
/// pages, is likely to be in the caches of that one. On another one, series of stops took up to 1.45 times as long as the target's own fork(2).
const WORTH_MOVING: u64 = 64 << 20;

/// The last writer of this process, and the second of `CLOCK_BOOTTIME` at which it was started.
static LAST_PID: AtomicU32 = AtomicU32::new(0);
static LAST_START: AtomicI64 = AtomicI64::new(0);

/// Forgets the last writer: after a restart it is another process's.
pub fn forget() {
    LAST_PID.store(0, Ordering::Relaxed);
}

/// Writes the image: in the background if that can be, else here.
pub fn write(
    job: &Job,
    snapshot: &mut Snapshot,
    scratch: &mut Scratch,
    report: &mut Report,
) -> Result<(), Stop> {
    let mut sink = Sink::open(job, &snapshot.whose)?;
    crash::watch(&mut sink, report);
    let result = write_to(&mut sink, job, snapshot, scratch, report);
    crash::unwatch();
    result
}

/// [`write`] with its file, which is closed then.
fn write_to(
    sink: &mut Sink,
    job: &Job,
    snapshot: &mut Snapshot,
    scratch: &mut Scratch,
    report: &mut Report,
) -> Result<(), Stop> {
    let in_background = !wants_foreground(job, snapshot);
    let [file, dir] = sink.descriptors();
    let needed = [STANDARD_ERROR, file, dir, report.fd, report.target];
    if in_background {
        descriptors::keep_only(&needed);
        if let Ok(result) = start(job, snapshot, scratch, report, sink) {
            return result.map_err(no_second_try);
        }
    }
    if job.dumpable != DUMPABLE {
        private::close();
    }
    let result = writer::write(job, snapshot, scratch, sink, report);
    let result = result.and_then(|()| Ok(is_alive(job)?));
    if job.is_helper && result.is_ok() {
        // Who sees the image may kill the target and restart it at once: no address and no lock may be in use then on account of this process.
        descriptors::keep_only(&needed);
    }
    let result = finish(result, sink, report);
    sink.close();
    if in_background { result.map_err(no_second_try) } else { result }
}

/// Once the helper's descriptors are closed, another try would find none of the target's, and save a process without any.
fn no_second_try(stop: Stop) -> Stop {
    match stop {
        Stop::Full => Failure::Scratch(sys::Errno::ENOMEM).into(),
        Stop::Failed(_) => stop,
    }
}

/// Whether the program is to wait.
fn wants_foreground(job: &Job, snapshot: &Snapshot) -> bool {
    const INIT: u32 = 1;
    let must_wait = job.from_call || job.request == Request::SaveAndEnd || config::get().foreground;
    must_wait || job.pid == INIT || snapshot.process.subreaper != 0 || !job.is_helper
}

/// How long the writer sleeps for the target to get a CPU first, in nanoseconds.
const AFTER_THE_TARGET: u64 = 50_000;

/// What the helper says to the writer: to fetch what it did not get, and to say so ...
const FETCH: u8 = b'f';
/// ... and to write, as soon as the helper has ended.
const WRITE: u8 = b'w';
/// What the writer answers: it has fetched everything ...
const FETCHED: u8 = b'!';
/// ... or it cannot.
const OUT_OF_REACH: u8 = b'?';

/// A pipe: the end that is read from, and the other one.
struct Pipe([i32; 2]);

impl Pipe {
    fn new() -> sys::Result<Self> {
        Ok(Self(fd::pipe(open_flag::CLOEXEC)?))
    }

    fn close_reader(&self) {
        let _ = fd::close(self.0[0]);
    }

    fn close_writer(&self) {
        let _ = fd::close(self.0[1]);
    }

    /// False when nobody can hear it any more.
    fn say(&self, word: u8) -> bool {
        writer::write_all(self.0[1], &[word]).is_ok()
    }

    /// `None` when the other process is gone.
    fn hear(&self) -> Option<u8> {
        let mut word = [0];
        loop {
            match fd::read(self.0[0], &mut word) {
                Err(Errno::EINTR) => {}
                Ok(1) => return word.first().copied(),
                _ => return None,
            }
        }
    }

    fn close(&self) {
        self.close_reader();
        self.close_writer();
    }
}

/// Starts the writer, and sees to it that it has what it needs of the target. An error of clone(2) or pipe2(2) is returned as such: there is no
/// writer, and nothing has happened.
fn start(
    job: &Job,
    snapshot: &mut Snapshot,
    scratch: &mut Scratch,
    report: &mut Report,
    sink: &mut Sink,
) -> sys::Result<Result<(), Stop>> {
    let Ok(special) = Special::open(scratch) else { return Err(Errno::EAGAIN) };
    let (orders, answers) = (Pipe::new()?, Pipe::new()?);
    let previous = (LAST_PID.load(Ordering::Relaxed), LAST_START.load(Ordering::Relaxed));
    if special.own_memory() >= WORTH_MOVING {
        // Where it cannot be, it only takes longer.
        let _ = job.cpu.and_then(sys::thread::move_to);
    }
    // SIGKILL for the program's group is not meant for the image. Not a session of the writer's own yet: that has a share of the CPUs of its own (sched(7),
    // "The autogroup feature"), and the kernel (6.18) may let such a share starve for half a minute beside a session that uses all CPUs. The
    // group is the helper's, because whoever leads one cannot leave the session.
    let _ = process::set_group(0, 0);
    // SAFETY: the child uses raw system calls, the snapshot and its own stack only.
    let child = match unsafe { process::fork_silently() } {
        Ok(child) => child,
        Err(errno) => {
            orders.close();
            answers.close();
            special.close();
            return Err(errno);
        }
    };
    if child == 0 {
        orders.close_writer();
        answers.close_reader();
        if has_standard_error(snapshot) {
            let _ = fd::close(STANDARD_ERROR);
        }
        let mut order = orders.hear();
        if order == Some(FETCH) {
            let fetched = special.fetch(snapshot, scratch).is_ok();
            // Unheard, it must end, or both would wait for ever.
            order =
                if answers.say(if fetched { FETCHED } else { OUT_OF_REACH }) { orders.hear() } else { None };
        }
        if order != Some(WRITE) {
            // The helper does it itself, or has failed and told why.
            process::exit_group(1);
        }
        // An exiting process wakes the one that waits for it in vfork(2) before it closes its files (do_exit() in kernel/exit.c). So the target has been
        // woken now, and gets a CPU first, rather than when this process's time slice is over. A sleep, because with
        // sched_yield(2) images took some 40% longer on a busy machine.
        orders.hear();
        let _ = sys::thread::futex_wait(&AtomicU32::new(0), 0, AFTER_THE_TARGET);
        orders.close_reader();
        answers.close_writer();
        special.close();
        process::set_name(b"ckpt-writer\0");
        crash::bound();
        // What the program was when it was saved, it need not be any more: nobody looks into this copy, and it leaves no core file.
        private::close();
        report.is_orphan = true;
        job.gathering.iter().for_each(Gathering::wait_until_left);
        let result = writer::write(job, snapshot, scratch, sink, report);
        wait_for_previous(previous);
        let code = i32::from(finish(result, sink, report).map_err(|stop| report.failed(stop)).is_err());
        // The id of a session is in use until its last process has been waited for, and a restart may want that of the program back.
        if snapshot.process.sid == job.pid {
            let _ = process::new_session();
        }
        process::exit_group(code);
    }
    LAST_PID.store(child, Ordering::Relaxed);
    LAST_START.store(time::now(time::clock::BOOTTIME)[0], Ordering::Relaxed);
    orders.close_reader();
    answers.close_writer();
    if !special.is_nothing(child, snapshot, scratch) {
        match orders.say(FETCH).then(|| answers.hear()).flatten() {
            Some(FETCHED) => {}
            // Something of the target's memory is out of a child's reach.
            Some(_) => {
                orders.close_writer();
                answers.close_reader();
                return Err(Errno::EAGAIN);
            }
            None => return Ok(writer_died(sink)),
        }
    }
    if let Err(failure) = is_alive(job) {
        sink.discard();
        return Ok(Err(failure.into()));
    }
    part_with(&snapshot.threads);
    report.target_runs();
    Ok(if orders.say(WRITE) { Ok(()) } else { writer_died(sink) })
}

/// Whether number 2 is the target's: in the table of a target that has closed it, it may be one of the descriptors that the writer needs.
fn has_standard_error(snapshot: &Snapshot) -> bool {
    snapshot.descriptors.iter().any(|descriptor| descriptor.number == STANDARD_ERROR as u32)
}

/// Gives the target pages of its own where the kernel writes as soon as a thread runs (`__rseq_handle_notify_resume`): else each thread would
/// begin with a fault, and with an interrupt of all other CPUs that its process runs on, which is a good part of the stop of a thousand.
fn part_with(threads: &[Thread]) {
    if threads.len() < 2 {
        return;
    }
    for page in threads.iter().map(|thread| thread.rseq & !(PAGE - 1)).filter(|page| *page != 0) {
        // SAFETY: changes nothing that a program can see.
        let _ = unsafe { memory::madvise(page, PAGE, advice::POPULATE_WRITE) };
    }
}

/// Asked when the target's memory has been read: a process that is killed changes it as it ends (its tid address, its robust list), and what was
/// read before and after does not belong together. Nothing but SIGKILL can end it here, which stays pending for the process from the moment on at which it is sent.
fn is_alive(job: &Job) -> Result<(), Failure> {
    if !job.is_helper {
        return Ok(());
    }
    let pending = pending::look(job.pid, job.pid)?;
    if (pending.own | pending.shared) & bit(sig::KILL) != 0 { Err(Failure::Killed) } else { Ok(()) }
}

fn writer_died(sink: &mut Sink) -> Result<(), Stop> {
    sink.discard();
    Err(Failure::WriterDied.into())
}

/// Gives a written image its name, or takes back what there is of it.
fn finish(result: Result<(), Stop>, sink: &mut Sink, report: &Report) -> Result<(), Stop> {
    match result.and_then(|()| Ok(sink.finish()?)) {
        Ok(()) => {
            crash::unwatch();
            report.saved(sink);
            Ok(())
        }
        Err(stop) => {
            sink.discard();
            Err(stop)
        }
    }
}

/// Waits until an earlier writer of the same process has ended, so that a name never goes back to an older image.
fn wait_for_previous((pid, start): (u32, i64)) {
    if pid == 0 {
        return;
    }
    let Ok(pidfd) = process::open_pid(pid) else { return };
    // The number may have been given to another process since: that one was started later.
    if started(pid).is_some_and(|second| second <= start + 1) {
        let _ = fd::wait_readable(pidfd);
    }
    let _ = fd::close(pidfd);
}

/// The second of `CLOCK_BOOTTIME` at which a process was started, from `/proc/PID/stat` (field 22, in ticks of 1/100 s).
fn started(pid: u32) -> Option<i64> {
    const TICKS: u64 = 100;
    let mut path = Line::<32>::new();
    path.text("/proc/").dec(u64::from(pid)).text("/stat\0");
    let from = fd::open_at(fd::AT_FDCWD, path.as_bytes(), open_flag::RDONLY | open_flag::CLOEXEC, 0).ok()?;
    let mut text = [0u8; 1024];
    let len = fd::read(from, &mut text);
    let _ = fd::close(from);
    let stat = Stat::parse(text.get(..len.ok()?)?)?;
    Some((stat.starttime / TICKS) as i64)
}
