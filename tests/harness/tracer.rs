//! ptrace(2): looks at the system calls of a save or a restart one by one, and makes one of them fail, or the last thing that a process does.
//!
//! What strace's `-e inject` does, but each call is known by who makes it and how often it was made there, in all processes of a save together.

use crate::audit::Phase;
use nix::errno::Errno;
use nix::libc::{self, c_long, c_void, pid_t, user_regs_struct};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;
use sys::Sysno;

/// Longer than any save or restart under the tracer takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(20);
/// The signal that stops the other threads for a save.
const OF_THREADS: i32 = 33;
/// Every way to become two, and what is needed to tell system calls from signals.
const OPTIONS: c_long = (libc::PTRACE_O_TRACESYSGOOD
    | libc::PTRACE_O_TRACECLONE
    | libc::PTRACE_O_TRACEFORK
    | libc::PTRACE_O_TRACEVFORK
    | libc::PTRACE_O_TRACEEXEC) as c_long;

/// One system call.
#[derive(Clone, Debug)]
pub struct Call {
    /// Who makes it.
    pub phase: Phase,
    /// Which.
    pub nr: Sysno,
    /// How many of the same phase came before it.
    pub before: usize,
    /// Its arguments.
    pub args: [u64; 6],
    /// The bytes that it wants to write, if they were asked for.
    pub bytes: Vec<u8>,
    /// What it returned; none if it did not return.
    pub result: Option<i64>,
}

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// It is not made, and returns this error.
    Fail(Errno),
    /// It reads or writes half of what it was asked to.
    Short,
    /// It is the last thing that happens to these.
    Kill(Whom),
}

/// Who is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom {
    /// The program.
    Target,
    /// The process that makes the call.
    Caller,
    /// Every process that takes part.
    All,
}

/// The call at which something happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Who makes it.
    pub phase: Phase,
    /// Which.
    pub nr: Sysno,
    /// How many of the same phase come before it.
    pub before: usize,
    /// What happens.
    pub what: What,
}

/// What was seen.
#[derive(Debug, Default)]
pub struct Trace {
    /// Every call in order.
    pub calls: Vec<Call>,
    /// Whether the fault took place.
    pub hit: bool,
    /// Whether it took longer than any save or restart does, and everybody was killed.
    pub hung: bool,
    /// Whether the traced program has ended; the status is there to be waited for.
    pub ended: bool,
}

/// A thread or process that is traced.
#[derive(Default)]
struct Tracee {
    phase: Option<Phase>,
    /// Between a signal's arrival and `rt_sigreturn`: what it does is ours.
    inside: bool,
    /// The call that it is in: its place in the list, and how its end is changed.
    current: Option<(Option<usize>, Ending)>,
}

/// What becomes of a call when it returns.
#[derive(Clone, Copy)]
enum Ending {
    AsItIs,
    /// This is returned.
    Returns(i64),
    /// Its second and third argument had been changed.
    Restore([u64; 2]),
}

/// Watches processes.
pub struct Tracer {
    target: pid_t,
    /// The one that asks for a save.
    signal: i32,
    tracees: BTreeMap<pid_t, Tracee>,
    /// New ones of which nobody has told yet.
    strangers: BTreeSet<pid_t>,
    counts: BTreeMap<(Phase, Sysno), usize>,
    trace: Trace,
    /// What is to happen.
    fault: Option<Fault>,
    /// Whether the bytes of writes are kept.
    pub keeps_bytes: bool,
    /// Done before a call.
    pub act: Option<Act>,
}

/// Something to do while the tracees stand still.
pub struct Act {
    /// Before which call: its kind, and how many of the same phase come before it.
    pub call: (Sysno, usize),
    /// What.
    pub what: Box<dyn FnOnce()>,
}

/// ptrace(2) with plain numbers.
fn ptrace(request: libc::c_uint, pid: pid_t, addr: usize, data: usize) -> nix::Result<c_long> {
    // SAFETY: the requests used here store nothing in this process but to `addr` or `data` where they point to a live value.
    Errno::result(unsafe { libc::ptrace(request, pid, addr as *mut c_void, data as *mut c_void) })
}

/// Lets a command stop before its first instruction, to be traced by the thread that starts it.
pub fn stop_at_exec(command: &mut Command) {
    // SAFETY: one system call between fork and exec.
    unsafe {
        command.pre_exec(|| {
            ptrace(libc::PTRACE_TRACEME, 0, 0, 0)?;
            Ok(())
        });
    }
}

impl Tracer {
    /// Takes hold of all threads of a running process.
    pub fn seize(target: pid_t) -> Self {
        let mut tracer = Self::new(target);
        for entry in std::fs::read_dir(format!("/proc/{target}/task")).unwrap() {
            let tid: pid_t = entry.unwrap().file_name().to_str().unwrap().parse().unwrap();
            ptrace(libc::PTRACE_SEIZE, tid, 0, OPTIONS as usize).unwrap();
            tracer.tracees.insert(tid, Tracee { phase: Some(Phase::Target), ..Tracee::default() });
        }
        tracer
    }

    /// Takes over a process that [`stop_at_exec`] has stopped.
    pub fn begin(target: pid_t) -> Self {
        let mut tracer = Self::new(target);
        let (pid, status) = wait(target, 0).unwrap();
        assert!(pid == target && libc::WIFSTOPPED(status), "{status:#x}");
        ptrace(libc::PTRACE_SETOPTIONS, target, 0, OPTIONS as usize | libc::PTRACE_O_EXITKILL as usize)
            .unwrap();
        let restarter = Tracee { phase: Some(Phase::Restart), inside: true, current: None };
        tracer.tracees.insert(target, restarter);
        tracer
    }

    fn new(target: pid_t) -> Self {
        Self {
            target,
            signal: 0,
            tracees: BTreeMap::new(),
            strangers: BTreeSet::new(),
            counts: BTreeMap::new(),
            trace: Trace::default(),
            fault: None,
            keeps_bytes: false,
            act: None,
        }
    }

    /// Asks for a save with `signal`, and watches until the program goes on and every process of the save has ended.
    pub fn save(mut self, signal: i32, fault: Option<Fault>) -> Trace {
        self.signal = signal;
        // SAFETY: no memory is involved.
        Errno::result(unsafe { libc::kill(self.target, signal) }).unwrap();
        self.fault = fault;
        self.watch(|this| {
            let returned = this.tracees.values().all(|tracee| !tracee.inside);
            let alone = this.tracees.values().all(|tracee| tracee.phase == Some(Phase::Target));
            returned && alone && !this.counts.is_empty() && this.strangers.is_empty()
        })
    }

    /// Watches a restart until the program goes on, in all of its `threads`.
    pub fn restart(mut self, threads: usize, fault: Option<Fault>) -> Trace {
        ptrace(libc::PTRACE_SYSCALL, self.target, 0, 0).unwrap();
        self.fault = fault;
        self.watch(|this| this.tracees.len() == threads && this.tracees.values().all(|tracee| !tracee.inside))
    }

    fn watch(&mut self, is_over: impl Fn(&Self) -> bool) -> Trace {
        let watchdog = Watchdog::new();
        for pid in self.tracees.keys() {
            watchdog.tell(*pid);
        }
        while !self.trace.ended && !is_over(self) {
            self.step(&watchdog);
        }
        // The end of the program is for the test to wait for; that of the others is seen here.
        while self.trace.ended && self.tracees.len() > 1 {
            self.step(&watchdog);
        }
        let pids: Vec<pid_t> = std::mem::take(&mut self.tracees).into_keys().collect();
        for pid in &pids {
            self.release(*pid);
        }
        // Its threads must be taken before the end of the program can be told.
        for pid in pids.into_iter().filter(|pid| self.trace.ended && *pid != self.target) {
            while wait(pid, 0).is_ok_and(|(_, status)| libc::WIFSTOPPED(status)) {}
        }
        self.trace.hung = watchdog.end();
        std::mem::take(&mut self.trace)
    }

    /// Lets go of a thread that runs.
    fn release(&mut self, pid: pid_t) {
        if self.trace.ended {
            return;
        }
        // It must stop first. Only one that was seized can be made to without a signal.
        let by_signal = ptrace(libc::PTRACE_INTERRUPT, pid, 0, 0).is_err();
        if by_signal {
            // SAFETY: no memory is involved.
            unsafe { libc::syscall(libc::SYS_tgkill, self.target, pid, libc::SIGSTOP) };
        }
        loop {
            if has_ended(self.target) {
                self.trace.ended = true;
                return;
            }
            if peek(pid, libc::WNOHANG).is_none() {
                std::thread::sleep(Duration::from_micros(20));
                continue;
            }
            let Some(status) = stop(pid) else {
                // A thread of a program that is about to end.
                if pid != self.target && wait(pid, libc::WNOHANG).is_err() {
                    return;
                }
                continue;
            };
            let is_signal = status >> 16 == 0 && libc::WSTOPSIG(status) & 0x80 == 0;
            let signal = if is_signal { libc::WSTOPSIG(status) } else { 0 };
            let (request, signal) = match (by_signal, signal) {
                (true, libc::SIGSTOP) => (libc::PTRACE_DETACH, 0),
                (true, other) => (libc::PTRACE_CONT, other),
                (false, other) => (libc::PTRACE_DETACH, other),
            };
            let _ = ptrace(request, pid, 0, signal as usize);
            if request == libc::PTRACE_DETACH {
                return;
            }
        }
    }

    /// Waits for whatever happens next, and lets it happen.
    fn step(&mut self, watchdog: &Watchdog) {
        let pid = if self.trace.ended {
            // The end of the target would be told again and again.
            let others = self.tracees.keys().chain(&self.strangers).filter(|pid| **pid != self.target);
            // Among them threads that were killed before anybody heard of them: the end of the process is told behind theirs.
            let mut threads = others.flat_map(|pid| std::iter::once(*pid).chain(threads_of(*pid)));
            let Some(pid) = threads.find(|pid| peek(*pid, libc::WNOHANG).is_some()) else {
                std::thread::sleep(Duration::from_micros(100));
                return;
            };
            pid
        } else {
            peek(0, 0).expect("a tracee")
        };
        if pid == self.target && has_ended(pid) {
            self.trace.ended = true;
            return;
        }
        let Some(status) = stop(pid) else {
            // Its end; that of the target is for others to take.
            if pid != self.target {
                let _ = wait(pid, 0);
                self.tracees.remove(&pid);
                self.strangers.remove(&pid);
            }
            return;
        };
        watchdog.tell(pid);
        let (event, signal) = (status >> 16, libc::WSTOPSIG(status));
        if !self.tracees.contains_key(&pid) {
            // Its parent has not told of it yet.
            self.strangers.insert(pid);
            return;
        }
        let mut deliver = 0;
        match (event, signal) {
            (libc::PTRACE_EVENT_CLONE | libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK, _) => {
                self.is_born(pid);
            }
            (0, 0x85) => self.call(pid),
            (0, signal) if self.is_new(pid) && signal == libc::SIGSTOP => {}
            (0, signal) => {
                deliver = signal as usize;
                let asks = signal == self.signal || signal == OF_THREADS;
                if let Some(tracee) = self.tracees.get_mut(&pid).filter(|_| asks) {
                    tracee.inside = true;
                }
            }
            _ => {}
        }
        self.resume(pid, deliver);
    }

    /// Lets a tracee go on, up to its next call; or, if that does not matter, up to its end.
    fn resume(&self, pid: pid_t, signal: usize) {
        let matters = self.tracees.get(&pid).is_none_or(|tracee| match (tracee.phase, self.fault) {
            (Some(phase @ (Phase::Helper | Phase::Writer)), Some(fault)) => {
                tracee.current.is_some() || !self.trace.hit && phase == fault.phase
            }
            _ => true,
        });
        let request = if matters { libc::PTRACE_SYSCALL } else { libc::PTRACE_CONT };
        // It may have been killed meanwhile.
        let _ = ptrace(request, pid, 0, signal);
    }

    /// Whether a tracee has done nothing yet.
    fn is_new(&self, pid: pid_t) -> bool {
        pid != self.target && self.tracees.get(&pid).is_some_and(|tracee| tracee.current.is_none())
    }

    /// A tracee has become two.
    fn is_born(&mut self, parent: pid_t) {
        let mut message: libc::c_ulong = 0;
        if ptrace(libc::PTRACE_GETEVENTMSG, parent, 0, &raw mut message as usize).is_err() {
            return;
        }
        let child = message as pid_t;
        let is_thread = std::path::Path::new(&format!("/proc/{parent}/task/{child}")).exists();
        let phase = self.tracees.get(&parent).and_then(|tracee| tracee.phase);
        let phase = match phase {
            Some(same) if is_thread => same,
            Some(Phase::Target) => Phase::Helper,
            Some(Phase::Helper) => Phase::Writer,
            Some(other) => other,
            None => return,
        };
        self.tracees.insert(child, Tracee { phase: Some(phase), inside: true, current: None });
        if self.strangers.remove(&child) {
            self.resume(child, 0);
        }
    }

    /// A tracee enters or leaves a system call.
    fn call(&mut self, pid: pid_t) {
        let Ok(mut regs) = registers(pid) else { return };
        let Some(tracee) = self.tracees.get_mut(&pid) else { return };
        if let Some((index, ending)) = tracee.current.take() {
            match ending {
                Ending::AsItIs => {}
                Ending::Returns(value) => regs.rax = value as u64,
                Ending::Restore([second, third]) => (regs.rsi, regs.rdx) = (second, third),
            }
            if !matches!(ending, Ending::AsItIs) {
                let _ = set_registers(pid, &regs);
            }
            if let Some(call) = index.and_then(|index| self.trace.calls.get_mut(index)) {
                call.result = Some(regs.rax as i64);
            }
            return;
        }
        tracee.current = Some((None, Ending::AsItIs));
        if !tracee.inside {
            return;
        }
        let (Some(phase), Some(nr)) = (tracee.phase, Sysno::new(regs.orig_rax as usize)) else { return };
        let phase = match phase {
            // The first thing that the restored libckpt does.
            Phase::Restart if nr == Sysno::gettid => Phase::Resume,
            phase => phase,
        };
        tracee.phase = Some(phase);
        if nr == Sysno::rt_sigreturn {
            tracee.inside = false;
        }
        let count = self.counts.entry((phase, nr)).or_default();
        let before = *count;
        *count += 1;
        let args = [regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9];
        let bytes = if self.keeps_bytes { written(pid, nr, args) } else { Vec::new() };
        self.trace.calls.push(Call { phase, nr, before, args, bytes, result: None });
        let index = Some(self.trace.calls.len() - 1);
        if let Some(act) = self.act.take_if(|act| act.call == (nr, before)) {
            (act.what)();
        }
        let mut ending = Ending::AsItIs;
        if let Some(fault) = self.fault
            && (fault.phase, fault.nr, fault.before) == (phase, nr, before)
        {
            self.trace.hit = true;
            ending = self.strike(pid, fault.what, nr, regs);
        }
        if let Some(tracee) = self.tracees.get_mut(&pid) {
            tracee.current = Some((index, ending));
        }
    }

    /// The fault.
    fn strike(&mut self, pid: pid_t, what: What, nr: Sysno, entry: user_regs_struct) -> Ending {
        match what {
            // FUTEX_WAKE cannot fail.
            What::Fail(_) if nr == Sysno::futex && entry.rsi & 0x7f == 1 => {
                self.trace.hit = false;
                Ending::AsItIs
            }
            // Nothing but a signal can end it.
            What::Fail(errno) if nr == Sysno::read && errno != Errno::EINTR && is_pipe(pid, entry.rdi) => {
                self.trace.hit = false;
                Ending::AsItIs
            }
            // A descriptor is gone, whatever close(2) says.
            What::Fail(errno) if nr == Sysno::close => Ending::Returns(-i64::from(errno as i32)),
            What::Fail(errno) => {
                let nothing = user_regs_struct { orig_rax: u64::MAX, ..entry };
                let _ = set_registers(pid, &nothing);
                Ending::Returns(-i64::from(errno as i32))
            }
            What::Short => {
                let Some(changed) = shortened(pid, nr, entry) else {
                    self.trace.hit = false;
                    return Ending::AsItIs;
                };
                let _ = set_registers(pid, &changed);
                Ending::Restore([entry.rsi, entry.rdx])
            }
            What::Kill(whom) => {
                let victims: Vec<pid_t> = match whom {
                    Whom::Target => vec![self.target],
                    Whom::Caller => vec![pid],
                    Whom::All => self.tracees.keys().copied().collect(),
                };
                for victim in victims {
                    // SAFETY: no memory is involved.
                    unsafe { libc::kill(victim, libc::SIGKILL) };
                }
                Ending::AsItIs
            }
        }
    }
}

/// The registers with which a call does half of its work; nothing when there is no half.
fn shortened(pid: pid_t, nr: Sysno, regs: user_regs_struct) -> Option<user_regs_struct> {
    // A pipe gives all that is in it, up to the end of a packet.
    if nr == Sysno::read && is_pipe(pid, regs.rdi) {
        return None;
    }
    match nr {
        Sysno::read | Sysno::write | Sysno::pread64 | Sysno::getdents64 if regs.rdx > 1 => {
            let half = if nr == Sysno::getdents64 { 512.min(regs.rdx) } else { regs.rdx / 2 };
            Some(user_regs_struct { rdx: half, ..regs })
        }
        // The first piece, and of that only half.
        Sysno::writev | Sysno::preadv if regs.rdx > 0 => {
            let list = memory(pid, regs.rsi, 16)?;
            let (base, len) = list.split_at(8);
            let base = u64::from_ne_bytes(base.try_into().ok()?);
            let len = u64::from_ne_bytes(len.try_into().ok()?);
            let plain = if nr == Sysno::writev { Sysno::write } else { Sysno::pread64 };
            Some(user_regs_struct { orig_rax: plain as u64, rsi: base, rdx: (len / 2).max(1), ..regs })
        }
        _ => None,
    }
}

fn is_pipe(pid: pid_t, fd: u64) -> bool {
    let file = std::fs::read_link(format!("/proc/{pid}/fd/{fd}")).unwrap_or_default();
    file.to_string_lossy().starts_with("pipe:")
}

/// What a call is going to write.
fn written(pid: pid_t, nr: Sysno, args: [u64; 6]) -> Vec<u8> {
    let [_, address, len, ..] = args;
    match nr {
        Sysno::write => memory(pid, address, len as usize).unwrap_or_default(),
        Sysno::writev => {
            let list = memory(pid, address, len as usize * 16).unwrap_or_default();
            let words: Vec<u64> =
                list.chunks_exact(8).map(|word| u64::from_ne_bytes(word.try_into().unwrap())).collect();
            let pieces = words.chunks_exact(2);
            pieces.flat_map(|piece| memory(pid, piece[0], piece[1] as usize).unwrap_or_default()).collect()
        }
        _ => Vec::new(),
    }
}

/// Memory of a tracee.
pub fn memory(pid: pid_t, address: u64, len: usize) -> Option<Vec<u8>> {
    use std::os::unix::fs::FileExt;
    let mut bytes = vec![0; len];
    let file = std::fs::File::open(format!("/proc/{pid}/mem")).ok()?;
    file.read_exact_at(&mut bytes, address).ok()?;
    Some(bytes)
}

fn registers(pid: pid_t) -> nix::Result<user_regs_struct> {
    // SAFETY: all numbers.
    let mut regs: user_regs_struct = unsafe { std::mem::zeroed() };
    ptrace(libc::PTRACE_GETREGS, pid, 0, &raw mut regs as usize)?;
    Ok(regs)
}

fn set_registers(pid: pid_t, regs: &user_regs_struct) -> nix::Result<c_long> {
    ptrace(libc::PTRACE_SETREGS, pid, 0, std::ptr::from_ref(regs) as usize)
}

/// waitpid(2) for what this thread traces.
fn wait(pid: pid_t, flags: i32) -> nix::Result<(pid_t, i32)> {
    let mut status = 0;
    // SAFETY: the kernel stores to `status`.
    let pid = unsafe { libc::waitpid(pid, &raw mut status, flags | libc::__WALL | libc::__WNOTHREAD) };
    Errno::result(pid).map(|pid| (pid, status))
}

/// The one that has something to tell, which is not taken; 0 is any.
fn peek(pid: pid_t, flags: i32) -> Option<pid_t> {
    let (kind, id) = if pid == 0 { (libc::P_ALL, 0) } else { (libc::P_PID, pid as libc::id_t) };
    let what = libc::WEXITED | libc::WSTOPPED | libc::WNOWAIT | libc::__WALL | libc::__WNOTHREAD;
    loop {
        // SAFETY: all numbers; the kernel stores to it.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        // SAFETY: as above.
        match Errno::result(unsafe { libc::waitid(kind, id, &raw mut info, what | flags) }) {
            // SAFETY: waitid(2) fills this part, or leaves it zero.
            Ok(_) => return Some(unsafe { info.si_pid() }).filter(|pid| *pid != 0),
            Err(Errno::EINTR) => {}
            // Gone, which is something to tell.
            Err(_) => return (pid != 0).then_some(pid),
        }
    }
}

/// The threads of a process but the first; none when it is gone.
fn threads_of(pid: pid_t) -> impl Iterator<Item = pid_t> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    tasks.filter_map(|task| task.file_name().to_str()?.parse().ok()).filter(move |tid| *tid != pid)
}

/// Takes the stop of a tracee, as waitpid(2) tells it; none when it has ended meanwhile.
fn stop(pid: pid_t) -> Option<i32> {
    let what = libc::WSTOPPED | libc::WNOHANG | libc::__WALL | libc::__WNOTHREAD;
    // SAFETY: all numbers; the kernel stores to it.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: as above.
    Errno::result(unsafe { libc::waitid(libc::P_PID, pid as libc::id_t, &raw mut info, what) }).ok()?;
    // SAFETY: waitid(2) fills these, or leaves them zero.
    let (who, status) = unsafe { (info.si_pid(), info.si_status()) };
    (who == pid).then_some(status << 8 | 0x7f)
}

/// Whether a child has ended, and nobody has waited for it.
fn has_ended(pid: pid_t) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_none_or(|rest| rest.starts_with(['Z', 'X']) || rest.is_empty())
}

/// Kills what hangs.
struct Watchdog {
    send: Sender<pid_t>,
    thread: std::thread::JoinHandle<bool>,
}

impl Watchdog {
    fn new() -> Self {
        let (send, receive) = channel();
        let thread = std::thread::spawn(move || {
            let start = std::time::Instant::now();
            let mut known = BTreeSet::new();
            loop {
                match receive.recv_timeout(DEADLINE.saturating_sub(start.elapsed())) {
                    Ok(pid) => _ = known.insert(pid),
                    Err(RecvTimeoutError::Disconnected) => return false,
                    Err(RecvTimeoutError::Timeout) => break,
                }
            }
            for pid in known {
                // SAFETY: no memory is involved.
                unsafe { libc::kill(pid, libc::SIGKILL) };
            }
            true
        });
        Self { send, thread }
    }

    fn tell(&self, pid: pid_t) {
        let _ = self.send.send(pid);
    }

    fn end(self) -> bool {
        drop(self.send);
        self.thread.join().unwrap()
    }
}
