//! The first look at an image.

use super::{Members, hex};
use crate::names;
use crate::opened::Opened;
use crate::table::HEADING;
use crate::text::{command_line, count, shown_bytes, size};
use crate::{signal, time};
use image::format::{NONE, RUN_CLEAN, RUN_OBJECT, RUN_PRIVATE, Time, process_flag, region_kind};
use image::read::Image;
use serde::Serialize;
use std::io::{self, Write};

/// The process and its image in short.
#[derive(Serialize)]
pub struct Summary {
    /// Path of the image.
    pub image: String,
    /// Length of the file in bytes.
    pub bytes: u64,
    /// Version of the format.
    pub format: u32,
    /// When it was saved, RFC 3339.
    pub saved: String,
    /// Number of the save, from 1.
    pub generation: u32,
    /// `signal` or `call`.
    pub trigger: &'static str,
    /// Name of the first thread.
    pub name: String,
    /// Arguments.
    pub command: Vec<String>,
    /// Executable.
    pub exe: String,
    /// Working directory.
    pub cwd: String,
    /// Process ids at the save.
    pub pid: u32,
    pub ppid: u32,
    pub pgid: u32,
    pub sid: u32,
    pub uid: u32,
    pub gid: u32,
    pub umask: String,
    /// Number of threads.
    pub threads: usize,
    /// Number of descriptors.
    pub descriptors: usize,
    /// Number of pending signals.
    pub pending_signals: usize,
    /// Number of POSIX timers.
    pub timers: usize,
    /// Signal that asks for a save.
    pub signal: String,
    /// The address space.
    pub memory: Memory,
    /// Kernel of the machine: release and version.
    pub kernel: [String; 2],
    /// Register sets that the kernel had enabled.
    pub register_sets: Vec<&'static str>,
    /// CPU features in use.
    pub cpu: Vec<&'static str>,
    /// Resource limits by name.
    pub limits: Members<Limit>,
    /// Nonzero attributes of the process.
    pub nice: i32,
    pub personality: String,
    pub no_new_privs: bool,
    pub oom_score_adj: i32,
}

/// A resource limit; null is infinity.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Limit {
    soft: Option<u64>,
    hard: Option<u64>,
}

/// The address space in numbers; sizes in bytes.
#[derive(Default, Serialize)]
pub struct Memory {
    /// Regions.
    pub regions: usize,
    /// Their length.
    pub mapped: u64,
    /// Page data of the process's own.
    pub private: u64,
    /// Page data that is an unmodified copy of mapped files.
    pub clean: u64,
    /// Page data of shared memory, memfds and deleted files.
    pub objects: u64,
    /// Program headers.
    pub segments: usize,
    /// Length of mappings that are restored by reference to their file.
    pub by_reference: u64,
}

/// Takes it from an image.
pub fn summary(opened: &Opened, image: &Image<'_>) -> Summary {
    let process = image.process();
    let first = image.threads().get(0);
    let mut kernel = image.bytes(process.kernel).splitn(2, |byte| *byte == b'\n').map(shown_bytes);
    let finite = |value: u64| (value != u64::MAX).then_some(value);
    let limits =
        process.limits.iter().map(|limit| Limit { soft: finite(limit.soft), hard: finite(limit.hard) });
    Summary {
        image: shown_bytes(std::os::unix::ffi::OsStrExt::as_bytes(opened.path().as_os_str())),
        bytes: image.head().file_len,
        format: image.head().version,
        saved: saved(process.realtime),
        generation: process.generation,
        trigger: match process.flags {
            flags if flags & process_flag::FROM_CALL != 0 => "call",
            flags if flags & process_flag::ENTERED != 0 => "entry",
            _ => "signal",
        },
        name: first.map(|thread| comm(&thread.comm)).unwrap_or_default(),
        command: arguments(image),
        exe: shown_bytes(image.bytes(process.exe)),
        cwd: shown_bytes(image.bytes(process.cwd)),
        pid: process.pid,
        ppid: process.ppid,
        pgid: process.pgid,
        sid: process.sid,
        uid: process.uid,
        gid: process.gid,
        umask: format!("{:03o}", process.umask),
        threads: image.threads().len(),
        descriptors: image.descriptors().len(),
        pending_signals: image.pending().len(),
        timers: image.timers().len(),
        signal: signal::name(process.signal),
        memory: memory(image),
        kernel: [kernel.next().unwrap_or_default(), kernel.next().unwrap_or_default()],
        register_sets: names::register_sets(process.xcr0),
        cpu: names::cpu_features(process.cpu),
        limits: Members(names::LIMITS.into_iter().zip(limits).collect()),
        nice: first.map_or(0, |thread| thread.nice),
        personality: hex(u64::from(process.personality)),
        no_new_privs: process.no_new_privs != 0,
        oom_score_adj: process.oom_score_adj,
    }
}

/// The time of a save in UTC.
pub fn saved(at: Time) -> String {
    let time = jiff::Timestamp::new(at.sec, i32::try_from(at.frac).unwrap_or(0));
    time.map(|time| format!("{time:.3}")).unwrap_or_default()
}

/// The arguments of the process.
pub fn arguments(image: &Image<'_>) -> Vec<String> {
    let bytes = image.bytes(image.process().cmdline);
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    bytes.split(|byte| *byte == 0).map(shown_bytes).collect()
}

/// A name of a thread.
pub fn comm(name: &[u8; 16]) -> String {
    shown_bytes(name.split(|byte| *byte == 0).next().unwrap_or_default())
}

fn memory(image: &Image<'_>) -> Memory {
    let of = |kind| -> u64 {
        image.loads().iter().filter(|load| load.p_paddr == kind).map(|load| load.p_filesz).sum()
    };
    let mut memory = Memory {
        regions: image.regions().len(),
        private: of(RUN_PRIVATE),
        clean: of(RUN_CLEAN),
        objects: image.object_runs().iter().map(|run| run.len).sum(),
        segments: image.loads().len(),
        ..Memory::default()
    };
    debug_assert!(image.object_runs().is_empty() || of(RUN_OBJECT) <= memory.objects);
    for region in image.regions().iter() {
        memory.mapped += region.end - region.start;
        if region.kind == region_kind::SHARED_FILE && region.file != NONE {
            memory.by_reference += region.end - region.start;
        }
    }
    memory
}

/// Writes it as text.
pub fn print(s: &Summary, out: &mut dyn Write) -> io::Result<()> {
    let mut entry = |key: &str, value: String| writeln!(out, "{HEADING}{key:<12}{HEADING:#}{value}");
    let m = &s.memory;
    entry("image", format!("{}, {}, format {}", s.image, size(s.bytes), s.format))?;
    entry("saved", format!("{}, by {}, save number {}", time::local(&s.saved), s.trigger, s.generation))?;
    entry("command", command_line(s.command.iter().map(String::as_str)))?;
    entry("executable", s.exe.clone())?;
    entry("directory", format!("{}, umask {}", s.cwd, s.umask))?;
    entry(
        "process",
        format!("{} ({}), parent {}, group {}, session {}", s.pid, s.name, s.ppid, s.pgid, s.sid),
    )?;
    entry("user", format!("uid {}, gid {}", s.uid, s.gid))?;
    let mut holds = vec![count(s.threads as u64, "thread"), count(s.descriptors as u64, "descriptor")];
    if s.timers > 0 {
        holds.push(count(s.timers as u64, "timer"));
    }
    if s.pending_signals > 0 {
        holds.push(count(s.pending_signals as u64, "pending signal"));
    }
    entry("state", holds.join(", "))?;
    let mut saved = vec![format!("{} of its own", size(m.private))];
    for (bytes, what) in
        [(m.clean, "of files as they are"), (m.objects, "of shared memory and deleted files")]
    {
        if bytes > 0 {
            saved.push(format!("{} {what}", size(bytes)));
        }
    }
    entry(
        "memory",
        format!("{} in {}: {}", size(m.mapped), count(m.regions as u64, "region"), saved.join(", ")),
    )?;
    if m.by_reference > 0 {
        entry("", format!("{} of shared files, by name only", size(m.by_reference)))?;
    }
    entry("signal", format!("{} asks for a save", s.signal))?;
    entry("kernel", s.kernel.join(" "))?;
    entry("cpu", s.register_sets.iter().chain(&s.cpu).copied().collect::<Vec<_>>().join(" "))
}
