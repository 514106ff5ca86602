//! The parent of a program that is saved periodically or before it ends.
//!
//! It does as little as it can. It shares the program's process group, so that the terminal's signals reach the program without help; it passes on those that were
//! sent to it alone; it stops when the program stops, and ends as the program ends. All signals are blocked and taken one by one. Saves are made by a child,
//! `ckpt save`, so that nothing of them can hold up the rest.

use crate::args::Run;
use crate::exit::{Code, Failure, Result};
use crate::run::Exec;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigaction, sigprocmask};
use nix::sys::stat::Mode;
use nix::unistd::{ForkResult, Pid, fork};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

/// The supervisor's state.
struct Supervisor<'a> {
    args: &'a Run,
    /// Signal that asks for a save.
    signal: i32,
    program: Pid,
    /// The program is stopped.
    stopped: bool,
    /// A save is running: the process that makes it, and what for.
    saver: Option<(Pid, Purpose)>,
    /// A save that is to follow.
    wanted: Option<Purpose>,
    /// When the next periodic save is due.
    due: Option<Instant>,
    /// The program was ended by a save: the exit code.
    ended: Option<u8>,
}

/// Why a save is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// It was time.
    Period,
    /// Somebody asked.
    Signal,
    /// SIGTERM came; it is passed on afterwards.
    Term,
}

/// Starts the program and looks after it; ends as it ends. `image` is to be removed when it ends well.
pub fn run(args: &Run, exec: &Exec, image: Option<&Path>) -> Result<Code> {
    let failed = |what: &'static str| move |errno| Failure::call(what, errno);
    let mut old_mask = SigSet::empty();
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&SigSet::all()), Some(&mut old_mask))
        .map_err(failed("sigprocmask"))?;
    let default = SigAction::new(SigHandler::SigDfl, nix::sys::signal::SaFlags::empty(), SigSet::empty());
    // If SIGCHLD was ignored, children would not be there to wait for.
    // SAFETY: no handler.
    let old_child = unsafe { sigaction(Signal::SIGCHLD, &default) }.map_err(failed("sigaction"))?;
    // SAFETY: this process has one thread.
    let program = match unsafe { fork() }.map_err(failed("fork"))? {
        ForkResult::Child => {
            // SAFETY: no handler, because this process never had one.
            let _ = unsafe { sigaction(Signal::SIGCHLD, &old_child) };
            let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&old_mask), None);
            match exec.now()? {}
        }
        ForkResult::Parent { child } => child,
    };
    let_go();
    let mut supervisor = Supervisor {
        args,
        signal: exec.signal as i32,
        program,
        stopped: false,
        saver: None,
        wanted: None,
        due: args.every.map(|period| Instant::now() + period),
        ended: None,
    };
    loop {
        if let Some(end) = supervisor.step()? {
            // The next run of the same line must find that image, or none after its removal; and a container ends with its first process.
            supervisor.finish_save();
            if let (End::Exited(0), None, Some(image)) = (&end, supervisor.ended, image) {
                remove(image);
            }
            return Ok(end.mirror());
        }
    }
}

/// Lets go of everything that was inherited but standard error: a pipe's reader waits for the end of every writer, a directory cannot be
/// unmounted.
fn let_go() {
    let _ = nix::unistd::chdir("/");
    if let Ok(null) = open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty()) {
        let _ = nix::unistd::dup2_stdin(&null);
        let _ = nix::unistd::dup2_stdout(&null);
    }
    // SAFETY: nothing in this process uses a descriptor above 2 any more; `null` is closed by its owner before.
    let _ = unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) };
}

/// How the program ended.
enum End {
    Exited(i32),
    Killed(i32),
}

impl End {
    /// Ends the same way.
    fn mirror(self) -> Code {
        match self {
            // No destructors and no buffers: there is nothing of ours left to write.
            // SAFETY: _exit(2) takes a number.
            Self::Exited(code) => unsafe { libc::_exit(code) },
            Self::Killed(signal) => {
                // One core file is enough.
                let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
                default_action(signal);
                // Signals that do not end a process cannot have ended the program.
                Code::Internal
            }
        }
    }
}

/// Takes the default action of a signal.
fn default_action(signal: i32) {
    // SAFETY: no handler; the mask is ours alone.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, signal);
        libc::raise(signal);
        libc::sigprocmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut());
        libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
    }
}

/// Removes the image of a program that has done its work. That there is none is fine.
fn remove(image: &Path) {
    match std::fs::remove_file(image) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            let failure = Failure::file(Code::Io, image, "cannot be removed", e);
            let _ = writeln!(std::io::stderr(), "ckpt: {failure}");
        }
        _ => {}
    }
}

impl Supervisor<'_> {
    /// Waits for one event and deals with it; tells when the program has ended.
    fn step(&mut self) -> Result<Option<End>> {
        let info = next_signal(self.due.filter(|_| self.saver.is_none()))?;
        match info {
            None => {}
            Some(info) if info.si_signo == libc::SIGCHLD => {
                if let Some(end) = self.reap() {
                    return Ok(Some(end));
                }
            }
            Some(info) => self.take(&info),
        }
        self.save_if_due()?;
        Ok(None)
    }

    /// A signal that was sent to us.
    fn take(&mut self, info: &libc::siginfo_t) {
        let signal = info.si_signo;
        if signal == self.signal {
            if self.wanted != Some(Purpose::Term) {
                self.wanted = Some(Purpose::Signal);
            }
        } else if signal == libc::SIGTERM && self.args.on_term && self.wanted != Some(Purpose::Term) {
            // A second one, while the first is being dealt with, means it.
            let again = matches!(self.saver, Some((_, Purpose::Term)));
            if again { self.send(signal) } else { self.wanted = Some(Purpose::Term) }
        } else if self.is_for_us_alone(info) {
            self.send(signal);
        }
    }

    /// Whether the program has not got the signal anyway: the terminal's go to the whole process group, and so do those that
    /// the program sends to its group.
    fn is_for_us_alone(&self, info: &libc::siginfo_t) -> bool {
        const SI_KERNEL: i32 = 0x80;
        if info.si_code == SI_KERNEL {
            // When the terminal hangs up, the leader of the session hears of it first and alone.
            return info.si_signo == libc::SIGHUP && nix::unistd::getsid(None) == Ok(Pid::this());
        }
        // SAFETY: every signal that a process sends has the sender's id.
        let sender = unsafe { info.si_pid() };
        !descends_from(sender, self.program.as_raw())
    }

    /// Passes a signal on.
    fn send(&self, signal: i32) {
        // SAFETY: kill(2) takes numbers; the program is our child, so that its id is its own until we have waited for it.
        let _ = unsafe { libc::kill(self.program.as_raw(), signal) };
    }

    /// Takes note of children that stopped, went on or ended.
    fn reap(&mut self) -> Option<End> {
        loop {
            match wait_any() {
                None => return None,
                Some((pid, status)) if pid == self.program.as_raw() => {
                    if libc::WIFSTOPPED(status) {
                        self.stopped = true;
                        default_action(libc::WSTOPSIG(status));
                    } else if libc::WIFCONTINUED(status) {
                        self.stopped = false;
                    } else if let Some(code) = self.ended.or_else(|| self.ending_save()) {
                        return Some(End::Exited(i32::from(code)));
                    } else if libc::WIFSIGNALED(status) {
                        return Some(End::Killed(libc::WTERMSIG(status)));
                    } else {
                        return Some(End::Exited(libc::WEXITSTATUS(status)));
                    }
                }
                Some((pid, status)) => {
                    if let Some((saver, purpose)) = self.saver
                        && saver.as_raw() == pid
                        && !libc::WIFSTOPPED(status)
                        && !libc::WIFCONTINUED(status)
                    {
                        self.saver = None;
                        let saved = libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0;
                        self.after_save(purpose, saved);
                    }
                }
            }
        }
    }

    /// The program has ended while a save that was to end it was running: its exit code, if that did it.
    fn ending_save(&mut self) -> Option<u8> {
        let (_, purpose) = self.saver?;
        let code = self.exit_code(purpose)?;
        self.ended = self.finish_save().then_some(code);
        self.ended
    }

    /// Waits for a save that is under way; tells whether there was one, and an image came of it.
    fn finish_save(&mut self) -> bool {
        let Some((saver, _)) = self.saver.take() else { return false };
        let mut status = 0;
        // SAFETY: our child, which has not been waited for.
        let waited = unsafe { libc::waitpid(saver.as_raw(), &raw mut status, 0) };
        waited == saver.as_raw() && libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
    }

    /// The exit code after a save that ends the program.
    fn exit_code(&self, purpose: Purpose) -> Option<u8> {
        let on_signal = self.args.exit_on_signal.filter(|_| purpose != Purpose::Period);
        self.args.exit_after_save.or(on_signal)
    }

    fn after_save(&mut self, purpose: Purpose, saved: bool) {
        if saved && self.exit_code(purpose).is_some() {
            self.ended = self.exit_code(purpose);
        } else if purpose == Purpose::Term {
            self.send(libc::SIGTERM);
        }
    }

    /// Starts a save if there is reason to.
    fn save_if_due(&mut self) -> Result<()> {
        if self.saver.is_some() || self.ended.is_some() {
            return Ok(());
        }
        let now = Instant::now();
        if self.due.is_some_and(|due| due <= now) {
            self.due = self.args.every.map(|period| now + period);
            if !self.stopped {
                self.wanted.get_or_insert(Purpose::Period);
            }
        }
        if let Some(purpose) = self.wanted.take() {
            self.saver = Some((self.save(self.exit_code(purpose).is_some())?, purpose));
        }
        Ok(())
    }

    /// Starts `ckpt save`, which may end the program. Its messages go to standard error; the signals that are blocked here stay blocked there.
    fn save(&self, ends: bool) -> Result<Pid> {
        let pid = self.program.as_raw().to_string();
        let signal = self.signal.to_string();
        let mut args = vec!["ckpt", "save", "--quiet", "--may-end", "--signal", &signal];
        if ends {
            args.push("--stop");
        }
        args.push(&pid);
        let args: Vec<_> =
            args.into_iter().map(|arg| crate::restart::c_string(arg.as_ref())).collect::<Result<_>>()?;
        // SAFETY: this process has one thread.
        match unsafe { fork() }.map_err(|errno| Failure::call("fork", errno))? {
            ForkResult::Parent { child } => Ok(child),
            ForkResult::Child => {
                let errno = nix::unistd::execv(c"/proc/self/exe", &args).unwrap_err();
                let _ = writeln!(std::io::stderr(), "ckpt: /proc/self/exe: cannot be executed: {errno}");
                // SAFETY: _exit(2) takes a number.
                unsafe { libc::_exit(Code::CannotRun as i32) }
            }
        }
    }
}

/// Waits for a signal, at most until `until`.
fn next_signal(until: Option<Instant>) -> Result<Option<libc::siginfo_t>> {
    let all = SigSet::all();
    let rest = until.map(|until| until.saturating_duration_since(Instant::now()));
    let timeout = rest.map(|rest: Duration| libc::timespec {
        tv_sec: libc::time_t::try_from(rest.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: rest.subsec_nanos().into(),
    });
    // SAFETY: siginfo_t is plain data.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let timeout = timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: a set, a struct to fill, and a time or null.
    match Errno::result(unsafe { libc::sigtimedwait(all.as_ref(), &raw mut info, timeout) }) {
        Ok(_) => Ok(Some(info)),
        Err(Errno::EAGAIN | Errno::EINTR) => Ok(None),
        Err(errno) => Err(Failure::call("sigtimedwait", errno)),
    }
}

/// The next child that changed, with its status as wait(2) has it. As process 1 of a container we also get orphans.
fn wait_any() -> Option<(i32, i32)> {
    let mut status = 0;
    let flags = libc::WNOHANG | libc::WUNTRACED | libc::WCONTINUED;
    // SAFETY: a number to fill.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, flags) };
    (pid > 0).then_some((pid, status))
}

/// Whether a process is `ancestor` or one of its descendants.
fn descends_from(pid: i32, ancestor: i32) -> bool {
    let mut pid = pid;
    while pid > 1 {
        if pid == ancestor {
            return true;
        }
        let parent = std::fs::read(format!("/proc/{pid}/stat"))
            .ok()
            .and_then(|text| image::stat::Stat::parse(&text).map(|stat| stat.ppid as i32));
        let Some(parent) = parent else { return false };
        pid = parent;
    }
    false
}
