//! What happens when a system call of a save or a restart fails, or is the last one: the sweep over all of them.
//!
//! One program lives through all of it. After each fault it looks at everything it has. A save that succeeded in spite of the fault must have made an
//! image that restarts, and the program goes on from that image.

use crate::audit::Phase;
use crate::tracer::{Call, Fault, Trace, Tracer, What, Whom, stop_at_exec};
use crate::{Artifact, Image, Place, Process, Program, User};
use nix::errno::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::os::unix::fs::FileExt;
use sys::Sysno;

/// How much of a sweep is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Every kind of call in every phase, at its first occurrence, with every errno.
    First,
    /// Every occurrence of every call with every errno.
    All,
}

/// What a sweep came to.
#[derive(Debug, Default)]
pub struct Tally {
    /// Faults that took place.
    pub faults: usize,
    /// Kinds of call, by phase, that were struck.
    pub kinds: BTreeSet<(Phase, Sysno)>,
    /// The save, or the restart, succeeded in spite of the fault.
    pub succeeded: usize,
    /// It failed as it should.
    pub failed: usize,
    /// It did not as it should: the fault, and what was wrong.
    pub wrong: Vec<String>,
}

impl Tally {
    /// Fails if anything was wrong.
    #[track_caller]
    pub fn check(&self) {
        println!("{self}");
        let mut text = String::new();
        for line in &self.wrong {
            _ = writeln!(text, "{line}");
        }
        assert!(self.wrong.is_empty(), "{} of {} faults went wrong:\n{text}", self.wrong.len(), self.faults);
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { faults, succeeded, failed, .. } = self;
        let kinds = self.kinds.len();
        write!(
            out,
            "{faults} faults in {kinds} kinds of call: {succeeded} did not matter, {failed} were told of"
        )
    }
}

/// The errors that a call can return here: those of its man page, without those that only a wrong argument brings, with those of a seccomp filter or an old
/// kernel. None for a call that cannot fail.
pub fn errors(nr: Sysno) -> &'static [Errno] {
    use Errno::*;
    match nr {
        Sysno::openat => &[EINTR, EMFILE, ENFILE, ENOMEM, EACCES, ENOSPC, EDQUOT, EIO],
        Sysno::read | Sysno::pread64 | Sysno::preadv => &[EINTR, EIO, ENOMEM],
        Sysno::write | Sysno::writev => &[EINTR, ENOSPC, EIO, EDQUOT, EFBIG],
        Sysno::fsync => &[EINTR, EIO, ENOSPC, EDQUOT],
        Sysno::close => &[EINTR, EIO],
        Sysno::renameat | Sysno::renameat2 => &[EACCES, ENOSPC, EIO, EDQUOT],
        Sysno::unlinkat => &[EACCES, EIO],
        Sysno::fchmod | Sysno::fchmodat => &[EIO, EPERM],
        Sysno::fstat | Sysno::newfstatat | Sysno::fstatfs => &[ENOMEM, EIO],
        Sysno::getdents64 | Sysno::readlinkat | Sysno::getcwd => &[ENOMEM, EIO],
        Sysno::mmap | Sysno::mremap | Sysno::brk | Sysno::munmap | Sysno::mprotect => &[ENOMEM],
        Sysno::madvise => &[ENOMEM, EAGAIN, EINVAL],
        Sysno::mlock2 | Sysno::mlock | Sysno::mlockall => &[ENOMEM, EAGAIN, EPERM],
        Sysno::clone | Sysno::clone3 => &[EAGAIN, ENOMEM],
        Sysno::pipe2 | Sysno::memfd_create | Sysno::eventfd2 | Sysno::socketpair | Sysno::dup3 => {
            &[EMFILE, ENFILE, ENOMEM]
        }
        Sysno::fcntl => &[EINTR, EMFILE, EAGAIN],
        Sysno::ioctl => &[EINTR, ENOMEM, ENOTTY],
        Sysno::wait4 | Sysno::poll => &[EINTR],
        Sysno::futex => &[EINTR, EAGAIN],
        Sysno::kcmp => &[ENOSYS, EPERM],
        Sysno::recvmsg | Sysno::recvfrom | Sysno::tee => &[EINTR, ENOMEM],
        // They cannot fail with the arguments that they get here, or nobody looks at what they return.
        Sysno::getpid | Sysno::gettid | Sysno::getppid | Sysno::getuid | Sysno::getgid | Sysno::umask => &[],
        Sysno::getpgid | Sysno::getsid | Sysno::setsid | Sysno::setpgid => &[],
        Sysno::rt_sigreturn | Sysno::exit | Sysno::exit_group | Sysno::rt_sigaction | Sysno::execve => &[],
        Sysno::rt_sigpending | Sysno::clock_gettime | Sysno::restart_syscall | Sysno::sigaltstack => &[],
        Sysno::kill | Sysno::arch_prctl | Sysno::set_tid_address | Sysno::rseq | Sysno::set_robust_list => {
            &[]
        }
        Sysno::timer_gettime | Sysno::timer_getoverrun | Sysno::lseek | Sysno::rt_sigprocmask => &[],
        // With a seccomp filter. (ENOSYS would say that the kernel has no such state.)
        _ => &[EPERM],
    }
}

/// Whether a call may do less than it was asked for.
fn can_be_short(nr: Sysno) -> bool {
    matches!(
        nr,
        Sysno::read | Sysno::pread64 | Sysno::preadv | Sysno::write | Sysno::writev | Sysno::getdents64
    )
}

/// The faults that a trace gives occasion for.
pub fn faults(calls: &[Call], extent: Extent) -> Vec<Fault> {
    let mut all = Vec::new();
    for call in calls {
        if extent == Extent::First && call.before > 0 {
            continue;
        }
        let short = can_be_short(call.nr).then_some(What::Short);
        let what = errors(call.nr).iter().map(|errno| What::Fail(*errno)).chain(short);
        all.extend(what.map(|what| Fault { phase: call.phase, nr: call.nr, before: call.before, what }));
    }
    all
}

/// The moments of a trace at which somebody can be killed.
pub fn kills(calls: &[Call], extent: Extent) -> Vec<Fault> {
    let in_background = calls.iter().any(|call| call.phase == Phase::Writer);
    let mut all = Vec::new();
    for (index, call) in calls.iter().enumerate() {
        // In the foreground, the calls that write are the interesting ones.
        let writes = !in_background && matches!(call.nr, Sysno::writev | Sysno::fsync | Sysno::renameat);
        if extent == Extent::First && index % 60 != 0 && !writes {
            continue;
        }
        for whom in [Whom::Target, Whom::Caller, Whom::All] {
            // Nobody kills a helper by itself; in the foreground it could not take back that it made memory readable.
            let is_lone_helper = call.phase == Phase::Helper && !in_background;
            if whom != Whom::Caller || !(call.phase == Phase::Target || is_lone_helper) {
                let what = What::Kill(whom);
                all.push(Fault { phase: call.phase, nr: call.nr, before: call.before, what });
            }
        }
    }
    all
}

/// A program that is saved again and again.
pub struct Subject {
    program: Program,
    user: User,
    process: Option<Process>,
}

impl Subject {
    /// Starts the victim `faults` with these arguments and this environment.
    pub fn start(args: &[&str], env: &[(&str, &str)], user: User) -> Self {
        let mut program = Program::victim("faults").args(args);
        for (name, value) in env {
            program = program.env(name, value);
        }
        let mut subject = Self { program, user, process: None };
        subject.begin();
        subject
    }

    fn begin(&mut self) -> &mut Process {
        let mut process = Place::new(self.user).start(&self.program);
        process.ready();
        // There is a previous image from the start.
        process.save();
        self.process.insert(process)
    }

    fn process(&mut self) -> &mut Process {
        if self.process.is_none() {
            return self.begin();
        }
        self.process.as_mut().expect("a process")
    }

    /// The calls of a save to which nothing happens.
    pub fn calls(&mut self) -> Vec<Call> {
        let process = self.process();
        let mut tracer = Tracer::seize(process.pid());
        tracer.keeps_bytes = true;
        let trace = tracer.save(process.signal, None);
        let messages = process.place.text("err");
        assert!(!trace.hung && messages.is_empty(), "{messages}");
        trace.calls
    }

    /// Every fault that there is occasion for.
    pub fn sweep(&mut self, extent: Extent) -> Tally {
        let calls = self.calls();
        self.sweep_over(&faults(&calls, extent))
    }

    /// These faults.
    pub fn sweep_over(&mut self, faults: &[Fault]) -> Tally {
        let mut tally = Tally::default();
        for fault in faults {
            let done = self.save_with(*fault);
            tally.count(*fault, done);
        }
        self.end();
        tally
    }

    /// Lets the program end, which must find nothing wrong.
    pub fn end(&mut self) {
        if let Some(process) = self.process.take() {
            // Not anew: the program has it mapped.
            let control = std::fs::File::options().write(true).open(process.place.file("control")).unwrap();
            control.write_all_at(&u64::MAX.to_ne_bytes(), 0).unwrap();
            let outcome = process.finish();
            assert!(outcome.status.success() && outcome.output.ends_with(b"PASS\n"), "{outcome:?}");
        }
    }

    /// A save with a fault: whether there is an image in the end, and whether the fault took place.
    fn save_with(&mut self, fault: Fault) -> Result<Option<bool>, String> {
        let process = self.process();
        let before = State::of(process);
        let said = process.place.text("err").len();
        let trace = Tracer::seize(process.pid()).save(process.signal, Some(fault));
        let place = process.place.clone();
        let outcome = self.judge(fault, &trace, &before, said);
        if let Err(wrong) = outcome {
            let messages = place.text("err").get(said..).unwrap_or_default().to_owned();
            // Begin anew: what went wrong would go wrong again and again.
            self.process = None;
            return Err(format!("{wrong}; said {messages:?}"));
        }
        outcome
    }

    fn judge(
        &mut self,
        fault: Fault,
        trace: &Trace,
        before: &State,
        said: usize,
    ) -> Result<Option<bool>, String> {
        let mut process = self.process.take().expect("a process");
        if trace.hung {
            return Err("the save hangs".to_owned());
        }
        let kill = matches!(fault.what, What::Kill(_));
        if !kill && trace.ended {
            return Err(format!("the program ended: {}", process.report()));
        }
        let after = State::of(&process);
        let messages = process.place.text("err").get(said..).unwrap_or_default().to_owned();
        let image = process.place.file(&process.image);
        let saved = after.image != before.image;
        if after.names != before.names && !kill {
            return Err(format!("files are left or gone: {:?}, before {:?}", after.names, before.names));
        }
        match (saved, messages.lines().count()) {
            (true, 0) => {}
            // The image is there, but may not outlast a power cut.
            (true, 1) if fault.nr == Sysno::fsync => {}
            (false, 1) if messages.starts_with("ckpt: not saved: ") => {}
            (false, 0) if kill => {}
            (true, _) => return Err("saved, and yet a message".to_owned()),
            (false, _) => return Err("no image, and not one line that says so".to_owned()),
        }
        let had = std::fs::read(&image).unwrap_or_default();
        if !saved && had != before.bytes {
            return Err("the previous image has changed".to_owned());
        }
        if saved || trace.ended {
            let image = process.image_of_save();
            process.kill();
            process = image.try_restart()?;
        }
        process.go();
        process.try_ready()?;
        self.process = Some(process);
        Ok(trace.hit.then_some(saved))
    }
}

impl Tally {
    fn count(&mut self, fault: Fault, done: Result<Option<bool>, String>) {
        match done {
            Ok(None) => return,
            Ok(Some(true)) => self.succeeded += 1,
            Ok(Some(false)) => self.failed += 1,
            Err(wrong) => self.wrong.push(format!("{fault:?}: {wrong}")),
        }
        self.faults += 1;
        self.kinds.insert((fault.phase, fault.nr));
    }
}

/// What a save must not change when it fails.
struct State {
    image: Option<(u64, u64)>,
    bytes: Vec<u8>,
    names: Vec<String>,
}

impl State {
    fn of(process: &Process) -> Self {
        let file = process.place.file(&process.image);
        let mut names = process.place.names();
        names.retain(|name| !name.starts_with("go."));
        Self {
            image: crate::process::identity(&file),
            bytes: std::fs::read(&file).unwrap_or_default(),
            names,
        }
    }
}

/// Every fault of a restart of one image.
pub fn sweep_restart(args: &[&str], options: &[&str], user: User, extent: Extent) -> Tally {
    sweep_restart_over(args, options, user, |calls| faults(calls, extent))
}

/// Those faults of a restart of one image that are chosen from its calls.
pub fn sweep_restart_over(
    args: &[&str],
    options: &[&str],
    user: User,
    choose: impl Fn(&[Call]) -> Vec<Fault>,
) -> Tally {
    let place = Place::new(user);
    let mut process = place.start(&Program::victim("faults").args(args));
    process.ready();
    let image = process.save();
    process.kill();
    let threads = 1 + 2 * usize::from(!args.is_empty());
    let bytes = std::fs::read(&image.path).unwrap();
    let (trace, restarted) = restart_with(&image, options, threads, None);
    let mut restarted = restarted;
    assert!(!trace.hung && !trace.ended, "{}", restarted.report());
    restarted.kill();
    let mut tally = Tally::default();
    for fault in choose(&trace.calls) {
        let output = place.read("out");
        let (trace, process) = restart_with(&image, options, threads, Some(fault));
        let done = judge_restart(fault, &trace, process, &place, &output);
        if std::fs::read(&image.path).unwrap() != bytes {
            tally.wrong.push(format!("{fault:?}: the image has changed"));
        }
        place.write("out", &output);
        tally.count(fault, done);
    }
    tally
}

fn restart_with(image: &Image, options: &[&str], threads: usize, fault: Option<Fault>) -> (Trace, Process) {
    // In this very process, whatever ids there are.
    let mut command = image.command([&["--pid=new"], options].concat());
    stop_at_exec(&mut command);
    let mut process = Process::spawn(image.place(), command);
    image.hand_on(&mut process);
    let trace = Tracer::begin(process.pid()).restart(threads, fault);
    (trace, process)
}

/// Whether the restart succeeded in spite of a fault.
fn judge_restart(
    fault: Fault,
    trace: &Trace,
    mut process: Process,
    place: &Place,
    output: &[u8],
) -> Result<Option<bool>, String> {
    let said = || {
        let all = place.text("restart.err");
        all.lines()
            .filter(|line| !line.starts_with("myrestart: ids are new; "))
            .map(|line| format!("{line}\n"))
            .collect::<String>()
    };
    if trace.hung {
        return Err(format!("the restart hangs; said {:?}", said()));
    }
    if !trace.ended {
        process.go();
        process
            .try_ready()
            .map_err(|wrong| format!("the program is not whole: {wrong}; said {:?}", said()))?;
        let messages = said();
        process.kill();
        if !messages.is_empty() {
            return Err(format!("restarted, and yet a message: {messages:?}"));
        }
        return Ok(trace.hit.then_some(true));
    }
    let status = process.ended().expect("its end");
    let messages = said();
    if place.read("out") != output {
        return Err("a program ran that was not whole".to_owned());
    }
    let code = status.code().ok_or_else(|| format!("ended by {status}; said {messages:?}"))?;
    if !CODES.contains(&code) {
        return Err(format!("exit code {code}; said {messages:?}"));
    }
    // The line itself cannot be written.
    let mute = fault.nr == Sysno::write;
    let is_line =
        messages.starts_with("myrestart: ") && messages.lines().count() == 1 && messages.ends_with('\n');
    if !mute && !is_line {
        return Err(format!("exit code {code} without one line; said {messages:?}"));
    }
    Ok(trace.hit.then_some(false))
}

/// The exit codes that `myrestart.1` documents.
const CODES: std::ops::RangeInclusive<i32> = 64..=93;

/// The artifacts must be there before anything is traced.
pub fn prepare() {
    Artifact::Library.path();
    Artifact::Restarter.path();
}

/// A count of calls by phase, to tell what a sweep is about.
pub fn by_phase(calls: &[Call]) -> BTreeMap<Phase, usize> {
    let mut counts = BTreeMap::new();
    for call in calls {
        *counts.entry(call.phase).or_default() += 1;
    }
    counts
}
