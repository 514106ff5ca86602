//! The state of the process as a whole.

use crate::arrival::ckpt_resume;
use crate::helper::{Job, Stop};
use crate::message::{Failure, Kind};
use crate::report::Report;
use crate::scratch::Scratch;
use crate::thread::known;
use crate::{config, private};
use image::fields;
use image::format::{Blob, Limit, MemoryMap, Process, Time, Timer, process_flag};
use image::number::decimal;
use image::plain::read;
use sys::Errno;
use sys::fd::{self, open_flag};
use sys::process::{self as ask, pr};
use sys::time::{clock, now};

const REMOVED: Kind = Kind {
    what: "a working directory that was removed",
    advice: "let it change to another one before the save (chdir)",
};
const UNREACHABLE: Kind = Kind {
    what: "a working directory outside of its root directory",
    advice: "let it change to another one before the save (chdir)",
};

/// Whether `/proc` knows this process by its number `own`: that of another PID namespace has other numbers.
pub fn proc_has_number(own: u32) -> bool {
    let mut buf = [0; 16];
    let link = fd::read_link(fd::AT_FDCWD, b"/proc/self\0", &mut buf);
    link.ok().and_then(decimal) == Some(u64::from(own))
}

/// State that the kernel tells to the process only.
#[derive(Clone, Copy, Default)]
pub struct OwnProcess {
    /// The interval timers: interval, then value, in seconds and microseconds.
    itimers: [[i64; 4]; 3],
    /// `PR_GET_CHILD_SUBREAPER`.
    subreaper: u32,
    /// There are children, ended or not, or processes that it traces; `None` where the kernel does not say.
    pub has_children: Option<bool>,
}

impl OwnProcess {
    /// Asks for it. Needs no descriptor.
    pub fn ask() -> Result<Self, Failure> {
        let subreaper =
            known("prctl(PR_GET_CHILD_SUBREAPER)", ask::prctl_stored(ask::Stored::ChildSubreaper))? as u32;
        let has_children = ask::has_any_child().ok();
        let mut itimers = [[0; 4]; 3];
        for (which, timer) in itimers.iter_mut().enumerate() {
            *timer = known("getitimer", ask::interval_timer(which as u32))?;
        }
        Ok(Self { itimers, subreaper, has_children })
    }
}

/// Refuses what a process of this CPU can have that nobody sets again at a restart.
pub fn check(scratch: &mut Scratch, report: &mut Report) -> Result<(), Stop> {
    /// Most entries that a table can have (`LDT_ENTRIES`), and bytes of one.
    const TABLE: usize = 8192 * 8;
    let table = scratch.room().get_mut(..TABLE).ok_or(crate::scratch::Full)?;
    let len = known("modify_ldt", sys::thread::local_descriptors(table))?;
    // The kernel makes a 32-bit number of an error, which is none to us.
    let entries = table.get(..len).ok_or(Failure::Ask("modify_ldt", sys::Errno::EFAULT))?;
    // A table whose entries were taken back is still there.
    if entries.iter().any(|byte| *byte != 0) {
        report.refuse(Failure::Process(Kind {
            what: "segments of its own (modify_ldt)",
            advice: "take them back before the save",
        }))?;
    }
    if known("arch_prctl", sys::thread::untag_mask().map(|mask| !mask))? != 0 {
        report.refuse(Failure::Process(Kind {
            what: "tags in its pointers (LAM, ARCH_ENABLE_TAGGED_ADDR)",
            advice: "start it without them",
        }))?;
    }
    Ok(())
}

/// What must be asked while the target stands still; [`complete`] adds the rest.
pub fn ask(job: &Job, scratch: &mut Scratch) -> Result<Process, Stop> {
    let len = ask::current_dir(scratch.room()).map_err(|errno| match errno {
        Errno::ENOENT => Failure::Process(REMOVED),
        errno => Failure::Ask("getcwd", errno),
    })?;
    if scratch.room().first() != Some(&b'/') {
        return Err(Failure::Process(UNREACHABLE).into());
    }
    let cwd = scratch.keep(len.saturating_sub(1))?;
    let boottime = now(clock::BOOTTIME);
    crate::blocking::note_boottime(boottime);
    Ok(Process {
        pid: job.pid,
        ppid: job.ppid,
        pgid: ask::group(),
        sid: ask::session(),
        uid: ask::uid(),
        gid: ask::gid(),
        generation: job.generation,
        threads: 1 + job.gathering.as_ref().map_or(0, |gathering| gathering.parked().count() as u32),
        resume_ip: ckpt_resume as *const () as u64,
        flags: match () {
            () if job.from_call => process_flag::FROM_CALL,
            () if job.arrival.entered() => process_flag::ENTERED,
            () => 0,
        },
        cwd,
        realtime: time(now(clock::REALTIME)),
        monotonic: time(now(clock::MONOTONIC)),
        boottime: time(boottime),
        itimers: job.process.itimers.map(|[isec, ifrac, sec, frac]| Timer {
            interval: time([isec, ifrac]),
            value: time([sec, frac]),
        }),
        umask: ask::umask(),
        dumpable: job.dumpable,
        thp_disable: known("prctl(PR_GET_THP_DISABLE)", ask::prctl_value(pr::GET_THP_DISABLE))?,
        membarrier: known("membarrier", ask::membarrier(1 << 9))?,
        subreaper: job.process.subreaper,
        mdwe: known("prctl(PR_GET_MDWE)", ask::prctl_value(pr::GET_MDWE))?,
        tsc: known("prctl(PR_GET_TSC)", ask::prctl_stored(ask::Stored::Tsc))? as u32,
        mce_kill: mce_kill()?,
        memory_merge: known("prctl(PR_GET_MEMORY_MERGE)", ask::prctl_value(pr::GET_MEMORY_MERGE))?,
        signal: config::get().signal,
        ..Process::default()
    })
}

/// Adds what a child of the target sees as the target does: memory layout, limits, names.
pub fn complete(process: &mut Process, job: &Job, scratch: &mut Scratch) -> Result<(), Stop> {
    process.mm = memory_map(scratch)?;
    let len = ask::auxv(scratch.room()).unwrap_or(0);
    process.auxv = scratch.keep(len)?;
    if len == 0 {
        process.auxv = file(b"/proc/self/auxv\0", "/proc/self/auxv", scratch)?;
    }
    let len = fd::read_link(fd::AT_FDCWD, b"/proc/self/exe\0", scratch.room())
        .map_err(|errno| Failure::Proc("/proc/self/exe", errno))?
        .len();
    process.exe = scratch.keep(len)?;
    process.command = scratch.bytes(config::get().command())?;
    process.cmdline = file(b"/proc/self/cmdline\0", "/proc/self/cmdline", scratch)?;
    process.kernel = kernel(scratch)?;
    for (resource, limit) in process.limits.iter_mut().enumerate() {
        let [soft, hard] = ask::limit(resource as u32).map_err(|errno| Failure::Ask("prlimit64", errno))?;
        *limit = Limit { soft, hard };
    }
    if let (Some([soft, hard]), Some(limit)) = (job.nofile, process.limits.get_mut(ask::NOFILE as usize)) {
        *limit = Limit { soft, hard };
    }
    process.personality = ask::personality();
    let status = file(b"/proc/self/status\0", "/proc/self/status", scratch)?;
    let number = |name| fields::find(scratch.blob(status), name).and_then(decimal).unwrap_or(0) as u32;
    let set = |name| fields::find(scratch.blob(status), name).map_or(0, |value| hex(value.trim_ascii()));
    process.capabilities =
        [set(b"CapInh:"), set(b"CapPrm:"), set(b"CapEff:"), set(b"CapBnd:"), set(b"CapAmb:")];
    process.no_new_privs = number(b"NoNewPrivs:");
    process.seccomp = number(b"Seccomp:");
    process.seccomp_filters = number(b"Seccomp_filters:");
    process.groups = groups(status, scratch)?;
    // Without a security module there is nothing to be read.
    process.label =
        file(b"/proc/self/attr/current\0", "/proc/self/attr/current", scratch).unwrap_or_default();
    process.keepcaps = known("prctl(PR_GET_KEEPCAPS)", ask::prctl_value(pr::GET_KEEPCAPS))?;
    process.securebits = known("prctl(PR_GET_SECUREBITS)", ask::prctl_value(pr::GET_SECUREBITS))?;
    let text = file(b"/proc/self/oom_score_adj\0", "/proc/self/oom_score_adj", scratch)?;
    process.oom_score_adj = signed(scratch.blob(text)) as i32;
    let text = file(b"/proc/self/coredump_filter\0", "/proc/self/coredump_filter", scratch)?;
    process.coredump_filter = hex(scratch.blob(text)) as u32;
    let frame = xstate(job.arrival.user.fpstate);
    process.xcr0 = frame.0;
    process.xstate_size = frame.1;
    process.cpu = cpu_features(scratch.blob(process.auxv), frame.1 != 0);
    Ok(())
}

/// The supplementary groups in `/proc/self/status`.
fn groups(status: Blob, scratch: &mut Scratch) -> Result<Blob, Stop> {
    let mut at = 0;
    let mut len = 0;
    loop {
        let list = fields::find(scratch.blob(status), b"Groups:").unwrap_or_default();
        let rest = list.get(at..).unwrap_or_default();
        let blanks = rest.iter().take_while(|byte| !byte.is_ascii_digit()).count();
        let Some((group, behind)) = rest.get(blanks..).and_then(image::number::take_decimal) else { break };
        at = list.len() - behind.len();
        let room = scratch.room().get_mut(len..len + 4).ok_or(crate::scratch::Full)?;
        room.iter_mut().zip((group as u32).to_ne_bytes()).for_each(|(to, from)| *to = from);
        len += 4;
    }
    Ok(scratch.keep(len)?)
}

/// [`Process::mce_kill`].
fn mce_kill() -> Result<u32, Failure> {
    const DEFAULT: u32 = 2;
    Ok(match ask::prctl_value(pr::MCE_KILL_GET) {
        Ok(DEFAULT) => 0,
        Ok(kind) => kind + 1,
        Err(errno) => known("prctl(PR_MCE_KILL_GET)", Err(errno))?,
    })
}

fn time([sec, frac]: [i64; 2]) -> Time {
    Time { sec, frac }
}

/// Where memory runs out because of the image (a tmpfs counts as memory, and against the limit of a cgroup), the kernel ends one of those who use
/// much: let that be this process, the writer, rather than the program, which uses as much. Not possible without `/proc`, and no harm then.
pub fn volunteer() {
    let Ok(score) = private::open(b"/proc/self/oom_score_adj\0", open_flag::WRONLY) else { return };
    let _ = fd::write(score, b"1000");
    let _ = fd::close(score);
}

/// A whole small file of `/proc`.
fn file(path: &[u8], name: &'static str, scratch: &mut Scratch) -> Result<Blob, Stop> {
    let fail = |errno| Stop::from(Failure::Proc(name, errno));
    let from = private::open(path, open_flag::RDONLY).map_err(fail)?;
    let mut len = 0;
    let result = loop {
        match fd::read(from, scratch.room().get_mut(len..).unwrap_or_default()) {
            Ok(0) => break Ok(()),
            Ok(n) => len += n,
            Err(errno) => break Err(fail(errno)),
        }
    };
    let _ = fd::close(from);
    result?;
    Ok(scratch.keep(len)?)
}

fn kernel(scratch: &mut Scratch) -> Result<Blob, Stop> {
    let names = ask::uname().map_err(|errno| Failure::Ask("uname", errno))?;
    let mut len = 0;
    let room = scratch.room();
    let [_, _, release, version, ..] = &names;
    for part in [&release[..], b"\n\0", &version[..]] {
        for &byte in part.iter().take_while(|byte| **byte != 0) {
            *room.get_mut(len).ok_or(crate::scratch::Full)? = byte;
            len += 1;
        }
    }
    Ok(scratch.keep(len)?)
}

/// The address-space layout that `PR_SET_MM_MAP` wants back, from `/proc/self/stat` (proc_pid_stat(5)) and brk(2).
fn memory_map(scratch: &mut Scratch) -> Result<MemoryMap, Stop> {
    const NAME: &str = "/proc/self/stat";
    let text = file(b"/proc/self/stat\0", NAME, scratch)?;
    let stat = image::stat::Stat::parse(scratch.blob(text)).ok_or(Failure::ProcText(NAME))?;
    Ok(MemoryMap { brk: sys::process::program_break(), ..stat.mm })
}

const AT_HWCAP2: u64 = 26;

pub fn auxv_value(auxv: &[u8], wanted: u64) -> u64 {
    let mut words = auxv.chunks_exact(16).map(|pair| (read::<u64>(pair, 0), read::<u64>(pair, 8)));
    words.find(|(kind, _)| *kind == Some(wanted)).and_then(|(_, value)| value).unwrap_or(0)
}

/// The register sets in the area of a signal frame and the size of the area, from the bytes that the kernel leaves for software in the
/// FXSAVE area (`struct _fpx_sw_bytes`, arch/x86/include/uapi/asm/sigcontext.h). Zeros when the area is an old one.
pub fn xstate(fpstate: u64) -> (u64, u64) {
    const MAGIC1: u32 = 0x4650_5853;
    if fpstate == 0 {
        return (0, 0);
    }
    // SAFETY: a frame with an FPU area has at least the 512 bytes of FXSAVE there; these are its last 48.
    let software = unsafe { &*((fpstate + 464) as *const [u32; 12]) };
    let [magic, _, low, high, size, ..] = *software;
    if magic == MAGIC1 { (u64::from(low) | u64::from(high) << 32, u64::from(size)) } else { (0, 0) }
}

fn cpu_features(auxv: &[u8], xsave: bool) -> u64 {
    use image::format::cpu_feature;
    let mut features = if xsave { cpu_feature::XSAVE } else { 0 };
    if auxv_value(auxv, AT_HWCAP2) & 2 != 0 {
        features |= cpu_feature::FSGSBASE;
    }
    const XTILE_DATA: u64 = 1 << 18;
    if sys::thread::xstate_permission().unwrap_or(0) & XTILE_DATA != 0 {
        features |= cpu_feature::AMX;
    }
    features
}

fn signed(text: &[u8]) -> i64 {
    let (negative, digits) = match text.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let value = image::number::take_decimal(digits).map_or(0, |(value, _)| value as i64);
    if negative { value.wrapping_neg() } else { value }
}

fn hex(text: &[u8]) -> u64 {
    image::number::take_hex(text).map_or(0, |(value, _)| value)
}
