//! Enters a running process by ptrace(2): without a signal, a libc, a preload or a privilege. docs/entry.md tells how.
//!
//! # Rules of this crate
//!
//! - The target needs its tracer at no moment: whatever the last step was, a thread whose tracer is gone goes on where it was. So nothing is ever
//!   changed in a thread but by one `PTRACE_SETREGSET` that leads to code which comes back by itself ([`place::Gate`], `ckpt_enter`).
//! - The target may be an enemy: what is read from it says where to write *in it*, and nothing else.
//! - Everything is opened through the descriptor of one `/proc/PID`, of a process that is being traced.

mod denied;
mod frame;
mod library;
mod place;
mod tracee;

use frame::State;
use image::boot::{self, Boot, Frame, Kept};
use image::elf::UserRegs;
use image::fields::find;
use image::number::{take_decimal, take_hex};
use image::plain::{bytes_of, read};
use image::stat::Stat;
use library::Library;
use place::{Gate, Places};
use std::collections::HashSet;
use std::fmt::{self, Display};
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tracee::{Quiet, Stop, Tracee};

/// Why a process was not entered. It goes on as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It may not be traced: which rule forbids it, and what to do.
    Denied(String),
    /// It has ended.
    Gone,
    /// It has a seccomp filter, which may end it for a system call that is not its own.
    Filtered,
    /// It cannot be entered: why, and what to do.
    Refused(String),
    /// One of its threads does not stop: its id and state.
    Stuck(i32, char),
    /// A save is running.
    Busy,
    /// A call failed.
    Failed(&'static str, i32),
}

impl Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied(why) | Self::Refused(why) => f.write_str(why),
            Self::Filtered => f.write_str(
                "has a seccomp filter, which may end it for the calls that bring libckpt.so in; start it with ckpt run",
            ),
            Self::Gone => f.write_str("has ended"),
            Self::Stuck(tid, 'D') => {
                write!(f, "thread {tid} is in an uninterruptible system call; try again later")
            }
            Self::Stuck(tid, state) => {
                write!(f, "thread {tid} does not stop (state {state}); see what it is doing")
            }
            Self::Busy => f.write_str("another save of it is running; try again later"),
            Self::Failed(call, errno) => write!(f, "{call}: {}", io::Error::from_raw_os_error(*errno)),
        }
    }
}

/// Result of what can fail with a [`Trouble`].
pub type Result<T> = std::result::Result<T, Trouble>;

fn failed(call: &'static str) -> impl Fn(io::Error) -> Trouble {
    move |error| match error.raw_os_error() {
        Some(libc::ESRCH) => Trouble::Gone,
        errno => Trouble::Failed(call, errno.unwrap_or(libc::EIO)),
    }
}

/// Bytes that each thread has for its frame, and for a handler that runs on top of it.
const SLOT: u64 = 64 * 1024;
/// Where the frame is: as the kernel would align it, with room for the registers of any CPU behind it.
const FRAME: u64 = SLOT - frame::LARGEST + 8;
/// More threads than a process can have (`PID_MAX_LIMIT`).
const MOST: u64 = 4 << 20;

/// A traced thread.
struct Thread {
    tracee: Tracee,
    /// Known when it stands still.
    state: Option<State>,
}

/// A process that is being entered. When this is dropped, it goes on as it was.
pub struct Entry {
    /// `/proc/PID`.
    dir: File,
    /// The one that leads is the first.
    threads: Vec<Thread>,
    mem: File,
    library: Library,
    places: Places,
    /// The first thread is at a system call of ours.
    is_at_gate: bool,
    /// When the first thread was interrupted.
    began: Instant,
    _quiet: Quiet,
}

/// What the library is to know that was not there when the program started.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// `CKPT_IMAGE`.
    pub image: Vec<u8>,
    /// `CKPT_FOREGROUND`.
    pub foreground: bool,
    /// `CKPT_CHILDREN`.
    pub ignores_children: bool,
}

impl Entry {
    /// Attaches to a process, which runs on.
    pub fn attach(pid: i32) -> Result<Self> {
        let library = Library::ours().ok_or_else(|| {
            Trouble::Refused("this ckpt was built without libckpt.so; build it with make".to_owned())
        })?;
        let dir = fs::OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_DIRECTORY)
            .open(format!("/proc/{pid}"))
            .map_err(|_| Trouble::Gone)?;
        let status = || fs::read(within(&dir, "status")).map_err(|_| Trouble::Gone);
        check(&status()?)?;
        let quiet = Quiet::new();
        let tracee = seize_first(pid, &dir)?;
        // From here the number is that of one process.
        check(&status()?)?;
        let mem = open_memory(&dir, tracee.tid)?;
        let maps = fs::read(within(&dir, "maps")).map_err(failed("reading maps"))?;
        let places = place::find(&maps, &mem, &library);
        let first = Thread { tracee, state: None };
        Ok(Self {
            dir,
            threads: vec![first],
            mem,
            library,
            places,
            is_at_gate: false,
            began: Instant::now(),
            _quiet: quiet,
        })
    }

    /// Whether libckpt.so, in the build of this `ckpt`, is in the process.
    pub fn has_library(&self) -> bool {
        self.places.library.is_some()
    }

    /// Stops one thread, the one that will lead.
    pub fn stop_first(&mut self, deadline: Instant) -> Result<()> {
        self.began = Instant::now();
        self.threads[0].tracee.interrupt().map_err(failed("PTRACE_INTERRUPT"))?;
        self.wait(0, deadline).and_then(|lives| if lives { Ok(()) } else { Err(Trouble::Gone) })?;
        self.look_again()
    }

    /// What was found may be another program's, if the process has become one since.
    fn look_again(&mut self) -> Result<()> {
        self.mem = open_memory(&self.dir, self.threads[0].tracee.tid)?;
        let library = self.places.library.is_none_or(|base| place::is_at(base, &self.mem, &self.library));
        let gate = self.places.gate.is_none_or(|gate| place::is_free(gate, &self.mem));
        if library && gate { Ok(()) } else { Err(Trouble::Busy) }
    }

    /// The handler of a signal in the process, if libckpt.so is in it: whether that is the library's, and does not block the signal. One thread stands still.
    pub fn would_take(&mut self, signal: u32) -> Result<bool> {
        let Some(base) = self.places.library else { return Ok(false) };
        let boot = self.library.boot(base);
        let blocked = self.state(0)?.mask >> (signal - 1) & 1 != 0;
        let answer = boot.kept + std::mem::offset_of!(Kept, answer) as u64;
        let taken = self.call(libc::SYS_rt_sigaction, [u64::from(signal), 0, answer, 8, 0, 0]);
        self.come_back()?;
        taken?;
        let handler: u64 = self.read(answer)?;
        Ok(handler == boot.entry && !blocked)
    }

    /// Stops all threads, the first one as well if it does not stand still yet.
    pub fn stop(&mut self, deadline: Instant) -> Result<()> {
        if self.threads[0].state.is_none() {
            self.stop_first(deadline)?;
        }
        let mut known: HashSet<i32> = self.threads.iter().map(|thread| thread.tracee.tid).collect();
        loop {
            let before = self.threads.len();
            for tid in tasks(&self.dir)? {
                if !known.insert(tid) {
                    continue;
                }
                match Tracee::seize(tid) {
                    Ok(tracee) => {
                        tracee.interrupt().map_err(failed("PTRACE_INTERRUPT"))?;
                        self.threads.push(Thread { tracee, state: None });
                    }
                    Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
                        if !has_ended(&self.dir, tid) {
                            return Err(Trouble::Denied(denied::why(tid)));
                        }
                    }
                    // It has ended since.
                    Err(_) => {}
                }
            }
            if self.threads.len() == before {
                break;
            }
            let mut number = before;
            while number < self.threads.len() {
                if self.wait(number, deadline)? {
                    number += 1;
                } else {
                    drop(self.threads.remove(number));
                }
            }
        }
        self.check_idle()
    }

    /// Whether nobody is on the way through the library.
    fn check_idle(&self) -> Result<()> {
        let states = || self.threads.iter().filter_map(|thread| thread.state.as_ref());
        if states().any(|state| self.places.gate.is_some_and(|gate| place::is_in(gate, state.regs.rip))) {
            return Err(Trouble::Busy);
        }
        let Some(base) = self.places.library else { return Ok(()) };
        let boot = self.library.boot(base);
        let is_within =
            |rip: u64| rip.wrapping_sub(base) < self.library.span && rip != boot.wait && rip != boot.waited;
        // A leader that was said to come, and did not, has no thread on the way either.
        let is_busy = self.read::<u32>(boot.leader)? != 0;
        if is_busy || states().any(|state| is_within(state.regs.rip)) { Err(Trouble::Busy) } else { Ok(()) }
    }

    /// Waits until a thread stands still where no handler is about to run; false when it has ended.
    fn wait(&mut self, number: usize, deadline: Instant) -> Result<bool> {
        /// Signals may come faster than they can be taken.
        const ROUNDS: u32 = 100;
        let tracee = &self.threads[number].tracee;
        let tid = tracee.tid;
        let mut rounds = 0;
        loop {
            match tracee.wait(deadline).map_err(failed("waitpid"))? {
                None => return Err(Trouble::Stuck(tid, state_of(&self.dir, tid).unwrap_or('?'))),
                Some(Stop::Ended) => return Ok(false),
                Some(Stop::Signal(signal)) => tracee.go_on(signal).map_err(failed("PTRACE_CONT"))?,
                Some(Stop::Call) => tracee.go_on(0).map_err(failed("PTRACE_CONT"))?,
                Some(Stop::Event) if rounds < ROUNDS && self.is_about_to_handle(tracee)? => {
                    rounds += 1;
                    tracee.interrupt().and_then(|()| tracee.go_on(0)).map_err(failed("PTRACE_CONT"))?;
                }
                Some(Stop::Event) => break,
            }
        }
        let state = tracee.state().map_err(|error| match error.raw_os_error() {
            Some(libc::ENOEXEC) => Trouble::Refused("is a 32-bit program, which ckpt cannot save".to_owned()),
            Some(libc::EIO | libc::EINVAL) => Trouble::Refused(
                "cannot be entered on this kernel: that needs Linux 5.13 or newer".to_owned(),
            ),
            _ => failed("PTRACE_GETREGSET")(error),
        })?;
        if state.regs.cs & 0xffff != USER_CODE {
            return Err(Trouble::Refused("is a 32-bit program, which ckpt cannot save".to_owned()));
        }
        if let Some(regs) = frame::undisturbed(&state.regs) {
            // Whatever becomes of us, its call has not ended.
            tracee.set_regs(&regs).map_err(failed("PTRACE_SETREGSET"))?;
        }
        self.threads[number].state = Some(state);
        Ok(true)
    }

    /// Whether a handler of the program is about to run: then the call that the thread is in ends, as it would have.
    fn is_about_to_handle(&self, tracee: &Tracee) -> Result<bool> {
        if !tracee.has_pending().map_err(failed("PTRACE_PEEKSIGINFO"))? {
            return Ok(false);
        }
        let Ok(text) = fs::read(within(&self.dir, &format!("task/{}/status", tracee.tid))) else {
            return Ok(false);
        };
        let mask = |name| {
            find(&text, name).map(|value| value.trim_ascii()).and_then(take_hex).map_or(0, |found| found.0)
        };
        Ok((mask(b"SigPnd:") | mask(b"ShdPnd:")) & !mask(b"SigBlk:") & mask(b"SigCgt:") != 0)
    }

    /// What is known of a thread that stands still.
    fn state(&self, number: usize) -> Result<State> {
        self.threads.get(number).and_then(|thread| thread.state.clone()).ok_or(Trouble::Gone)
    }

    /// Makes a system call in the first thread.
    fn call(&mut self, number: libc::c_long, [a, b, c, d, e, f]: [u64; 6]) -> Result<u64> {
        let Some(gate) = self.places.gate else {
            return Err(Trouble::Refused(
                "has no room for a system call: no mapping of code ends with zeros".to_owned(),
            ));
        };
        let state = self.state(0)?;
        if !self.is_at_gate {
            let regs = frame::standalone(&state.regs);
            let registers = [
                regs.rdi, regs.rsi, regs.rdx, regs.rcx, regs.rax, regs.r8, regs.r9, regs.r10, regs.r11,
                regs.rip,
            ];
            self.write(gate, &Gate { mask: state.mask, registers }.bytes())?;
        }
        let regs = UserRegs {
            rip: Gate::entry(gate),
            orig_rax: u64::MAX,
            rax: number as u64,
            rdi: a,
            rsi: b,
            rdx: c,
            r10: d,
            r8: e,
            r9: f,
            ..state.regs
        };
        let tracee = &self.threads[0].tracee;
        tracee.set_regs(&regs).map_err(failed("PTRACE_SETREGSET"))?;
        if !self.is_at_gate {
            self.is_at_gate = true;
            // After the registers: code that sets the mask right comes before the thread's own.
            tracee.set_mask(u64::MAX).map_err(failed("PTRACE_SETSIGMASK"))?;
        }
        // Its entry, and its end.
        for _ in 0..2 {
            let mut signal = 0;
            loop {
                tracee.go_to_call(signal).map_err(failed("PTRACE_SYSCALL"))?;
                match tracee.wait(Instant::now() + PATIENCE).map_err(failed("waitpid"))? {
                    Some(Stop::Call) => break,
                    // Only SIGSTOP, which stops it when we are gone.
                    Some(Stop::Signal(number)) => signal = number,
                    Some(Stop::Event) => signal = 0,
                    Some(Stop::Ended) => return Err(Trouble::Gone),
                    None => return Err(Trouble::Stuck(tracee.tid, 'D')),
                }
            }
        }
        let regs = tracee.regs().map_err(failed("PTRACE_GETREGSET"))?;
        if regs.rip != Gate::after(gate) {
            return Err(Trouble::Gone);
        }
        Ok(regs.rax)
    }

    /// Brings the first thread back from the gate to where it was, as if nothing had happened.
    fn come_back(&mut self) -> Result<()> {
        if !self.is_at_gate {
            return Ok(());
        }
        self.is_at_gate = false;
        let state = self.state(0)?;
        let tracee = &self.threads[0].tracee;
        // The kernel looks at an interrupted call on its way to signals only.
        tracee.interrupt().and_then(|()| tracee.go_on(0)).map_err(failed("PTRACE_CONT"))?;
        loop {
            match tracee.wait(Instant::now() + PATIENCE).map_err(failed("waitpid"))? {
                Some(Stop::Event) => break,
                Some(Stop::Signal(signal)) => tracee.go_on(signal).map_err(failed("PTRACE_CONT"))?,
                Some(Stop::Call) => tracee.go_on(0).map_err(failed("PTRACE_CONT"))?,
                Some(Stop::Ended) => return Err(Trouble::Gone),
                None => return Err(Trouble::Stuck(tracee.tid, 'D')),
            }
        }
        let regs = frame::undisturbed(&state.regs).unwrap_or(state.regs);
        tracee.set_regs(&regs).map_err(failed("PTRACE_SETREGSET"))?;
        tracee.set_mask(state.mask).map_err(failed("PTRACE_SETSIGMASK"))?;
        self.close_gate();
        Ok(())
    }

    fn close_gate(&self) {
        if let Some(gate) = self.places.gate {
            let _ = self.write(gate, &place::NOTHING);
        }
    }

    /// Puts the library into the process, unless it is there, and sees to it that there is a slot for each thread. All threads stand still.
    pub fn load(&mut self, settings: &Settings) -> Result<Slots> {
        let count = self.threads.len() as u64;
        let base = match self.places.library {
            Some(base) => base,
            None => {
                // One mapping does for both.
                let slots = slots_for(count);
                let base = self.map(self.library.span + slots * SLOT)?;
                // First of all what it is known by: if we end here, the next one finds it.
                self.write(base, self.library.identity)?;
                self.places.library = Some(base);
                self.fill(base, Kept { slots: base + self.library.span, count: slots, ..Kept::default() })?;
                base
            }
        };
        let boot = self.library.boot(base);
        let mut kept: Kept = self.read_plain(boot.kept)?;
        if kept.ready != boot::READY {
            self.fill(base, Kept { ready: 0, ..kept })?;
            kept = self.read_plain(boot.kept)?;
        }
        if self.read::<u32>(boot.signal)? == 0 {
            // No constructor has read them.
            self.write(boot.image, &settings.image)?;
            self.write(boot.image_len, &(settings.image.len() as u64).to_le_bytes())?;
            self.write(boot.foreground, &[settings.foreground.into()])?;
            self.write(boot.ignores_children, &[settings.ignores_children.into()])?;
        }
        if let Some(free) = self.free_slots(&kept)? {
            return Ok(Slots { boot, free });
        }
        kept.count = slots_for(count.max(kept.count.min(MOST)) * 2);
        kept.slots = self.map(kept.count * SLOT)?;
        self.write(boot.kept, bytes_of(&kept))?;
        let free = self.free_slots(&kept)?.ok_or(Trouble::Busy)?;
        Ok(Slots { boot, free })
    }

    /// A new mapping.
    fn map(&mut self, len: u64) -> Result<u64> {
        let prot = (libc::PROT_READ | libc::PROT_WRITE) as u64;
        let flags = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE) as u64;
        match self.call(libc::SYS_mmap, [0, len, prot, flags, u64::MAX, 0])? {
            errno if errno > ERRORS => Err(Trouble::Refused(format!(
                "has no room for libckpt.so: {}",
                io::Error::from_raw_os_error(-(errno as i64) as i32)
            ))),
            base => Ok(base),
        }
    }

    /// Writes the library to where it is to be.
    fn fill(&mut self, base: u64, kept: Kept) -> Result<()> {
        let boot = self.library.boot(base);
        let mut memory = self.library.at(base);
        let mut put = |at: u64, bytes: &[u8]| {
            let place = memory.get_mut((at - base) as usize..).and_then(|rest| rest.get_mut(..bytes.len()));
            place
                .map(|place| place.copy_from_slice(bytes))
                .ok_or(Trouble::Failed("libckpt.so", libc::ENOEXEC))
        };
        // Nobody asks by a signal. What is zero in the file need not be in it.
        put(boot.signal, &0_u32.to_le_bytes())?;
        let kept = Kept { environ: self.environment(), ..kept };
        put(boot.kept, bytes_of(&kept))?;
        self.write(base, &memory)?;
        let write = libc::PROT_WRITE as u64;
        let parts: Vec<_> =
            self.library.parts.iter().map(|part| (part.offset, part.len, part.prot)).collect();
        for (offset, len, prot) in parts.into_iter().filter(|part| part.2 & write == 0) {
            let result = self.call(libc::SYS_mprotect, [base + offset, len, prot, 0, 0, 0])?;
            if result > ERRORS {
                let error = io::Error::from_raw_os_error(-(result as i64) as i32);
                let _ =
                    self.call(libc::SYS_munmap, [base, self.library.span + kept.count * SLOT, 0, 0, 0, 0]);
                self.places.library = None;
                return Err(Trouble::Refused(format!(
                    "may not have new code in its memory (mprotect: {error}): a security module, or PR_SET_MDWE; start it with ckpt run"
                )));
            }
        }
        self.write(boot.kept, bytes_of(&Kept { ready: boot::READY, ..kept }))
    }

    /// Slots in which no frame is needed any more, one for each thread; `None` when there are too few.
    fn free_slots(&self, kept: &Kept) -> Result<Option<Vec<u64>>> {
        let leave = FRAME + std::mem::offset_of!(Frame, leave) as u64;
        let states = || self.threads.iter().filter_map(|thread| thread.state.as_ref());
        let used: HashSet<u64> =
            states().map(|state| state.regs.rsp.wrapping_sub(kept.slots) / SLOT).collect();
        let mut free = vec![];
        for number in 0..kept.count.min(MOST) {
            let slot = kept.slots.wrapping_add(number * SLOT);
            if !used.contains(&number) && self.read::<u32>(slot.wrapping_add(leave))? != Frame::WAITING {
                free.push(slot);
            }
            if free.len() == self.threads.len() {
                return Ok(Some(free));
            }
        }
        Ok(None)
    }

    /// Lets the threads go into the library: the first one leads a save for the request in `info`, the start of a `siginfo_t`. Returns how long they stood still.
    pub fn enter(mut self, slots: &Slots, info: [u64; 6]) -> Result<Duration> {
        let Slots { boot, free } = slots;
        for (number, (slot, thread)) in free.iter().zip(&self.threads).enumerate() {
            let info = if number == 0 { info } else { [0; 6] };
            let Some(state) = &thread.state else { continue };
            self.write(slot + FRAME, &frame::make(state, slot + FRAME, boot.restorer, info))?;
        }
        self.write(boot.joining, &boot::COMING.to_le_bytes())?;
        // The leader first: whoever follows waits for it.
        let stood = self.began.elapsed();
        let threads = std::mem::take(&mut self.threads);
        for (number, (slot, thread)) in free.iter().zip(threads).enumerate() {
            let Some(state) = thread.state else { continue };
            let regs = UserRegs {
                rip: boot.enter,
                rsp: slot + FRAME,
                rbx: if number == 0 { boot.entry } else { boot.join },
                rax: 0,
                orig_rax: u64::MAX,
                eflags: PLAIN_FLAGS,
                ..state.regs
            };
            let put = thread.tracee.set_regs(&regs);
            if number == 0 {
                if put.is_err() {
                    // It has been killed: nobody comes.
                    return Err(Trouble::Gone);
                }
                self.is_at_gate = false;
                // It needs the gate no more, and still stands: nothing may change when its memory is being written to an image.
                self.close_gate();
            }
            let _ = thread.tracee.set_mask(u64::MAX);
            thread.tracee.detach();
        }
        Ok(stood)
    }

    /// `environ`, as the kernel has put it on the first stack; zero where that is not what it says.
    fn environment(&self) -> u64 {
        let text = fs::read(within(&self.dir, "stat")).unwrap_or_default();
        let Some(mm) = Stat::parse(&text).map(|stat| stat.mm) else { return 0 };
        let count: u64 = self.read(mm.start_stack).unwrap_or(0);
        let Some(environ) =
            count.checked_add(2).and_then(|words| words.checked_mul(8)?.checked_add(mm.start_stack))
        else {
            return 0;
        };
        if self.read::<u64>(environ).is_ok_and(|first| first == mm.env_start) { environ } else { 0 }
    }

    fn read<T: image::plain::Plain>(&self, address: u64) -> Result<T> {
        self.read_plain(address)
    }

    fn read_plain<T: image::plain::Plain>(&self, address: u64) -> Result<T> {
        let mut bytes = vec![0; size_of::<T>()];
        self.mem.read_exact_at(&mut bytes, address).map_err(failed("reading memory"))?;
        read(&bytes, 0).ok_or(Trouble::Failed("reading memory", libc::EIO))
    }

    fn write(&self, address: u64, bytes: &[u8]) -> Result<()> {
        self.mem.write_all_at(bytes, address).map_err(failed("writing memory"))
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if !self.threads.is_empty() {
            let _ = self.come_back();
        }
    }
}

/// A library that is ready, and memory for frames.
pub struct Slots {
    boot: Boot,
    free: Vec<u64>,
}

/// How long a system call of ours may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// cs of 64-bit code (`__USER_CS`).
const USER_CODE: u64 = 0x33;
/// eflags that any code can begin with: interrupts are on.
const PLAIN_FLAGS: u64 = 0x202;
/// Results above this are errors.
const ERRORS: u64 = -4096_i64 as u64;

/// Slots for so many threads: some may be needed for longer.
fn slots_for(threads: u64) -> u64 {
    threads + threads / 4 + 4
}

/// A file of the process.
fn within(dir: &File, name: &str) -> PathBuf {
    format!("/proc/self/fd/{}/{name}", dir.as_raw_fd()).into()
}

fn open_memory(dir: &File, tid: i32) -> Result<File> {
    let opened = fs::OpenOptions::new().read(true).write(true).open(within(dir, "mem"));
    // Whoever ends has none any more.
    opened.map_err(
        |error| if has_ended(dir, tid) { Trouble::Gone } else { failed("opening the memory")(error) },
    )
}

fn tasks(dir: &File) -> Result<Vec<i32>> {
    let entries = fs::read_dir(within(dir, "task")).map_err(|_| Trouble::Gone)?;
    Ok(entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
}

/// Attaches to the first thread that has not ended.
fn seize_first(pid: i32, dir: &File) -> Result<Tracee> {
    let mut refusal = None;
    for tid in std::iter::once(pid).chain(tasks(dir)?) {
        match Tracee::seize(tid) {
            Ok(tracee) => return Ok(tracee),
            Err(error) if error.raw_os_error() == Some(libc::EPERM) && !has_ended(dir, tid) => {
                refusal = Some(Trouble::Denied(denied::why(pid)));
                break;
            }
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => {}
            Err(error) => refusal = Some(failed("PTRACE_SEIZE")(error)),
        }
    }
    Err(refusal.unwrap_or(Trouble::Gone))
}

/// The letter of a thread's state.
fn state_of(dir: &File, tid: i32) -> Option<char> {
    let text = fs::read(within(dir, &format!("task/{tid}/stat"))).ok()?;
    Stat::parse(&text).map(|stat| stat.state.into())
}

fn has_ended(dir: &File, tid: i32) -> bool {
    /// `PF_EXITING` (include/linux/sched.h).
    const EXITING: u32 = 4;
    let text = fs::read(within(dir, &format!("task/{tid}/stat"))).unwrap_or_default();
    Stat::parse(&text).is_none_or(|stat| matches!(stat.state, b'Z' | b'X') || stat.flags & EXITING != 0)
}

/// Refuses what would be harmed.
fn check(status: &[u8]) -> Result<()> {
    let word = |name| find(status, name).map_or(&b""[..], |value| value.trim_ascii());
    let number = |name| take_decimal(word(name)).map_or(0, |found| found.0);
    if number(b"Seccomp:") != 0 {
        return Err(Trouble::Filtered);
    }
    if word(b"x86_Thread_features:").windows(5).any(|word| word == b"shstk") {
        return Err(Trouble::Refused("has a shadow stack, on which no frame can be made".to_owned()));
    }
    Ok(())
}
