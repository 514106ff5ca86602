//! Threads and their registers.

use super::{Members, hex, maps, summary::comm};
use crate::names;
use crate::signal;
use crate::table::{HEADING, Table};
use image::elf::{NT_FPREGSET, NT_PRSTATUS, OWNER_CORE, Prstatus};
use image::format::{self, NONE};
use image::notes::NoteIter;
use image::plain::read;
use image::read::Image;
use serde::Serialize;
use std::io::{self, Write};

/// One thread.
#[derive(Serialize)]
pub struct Thread {
    pub tid: u32,
    pub name: String,
    pub flags: Vec<&'static str>,
    /// Where it was: object and offset.
    pub at: String,
    /// Blocked signals.
    pub blocked: Vec<String>,
    pub nice: i32,
    pub policy: String,
    pub tid_address: String,
    pub robust_list: String,
    pub rseq: String,
    /// Alternate stack: address and size, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alternate_stack: Option<(String, u64)>,
    /// Registers of the interrupted code.
    pub registers: Members<String>,
    /// x87 control word and MXCSR.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fpu: Option<Fpu>,
}

/// Control registers of the floating-point units.
#[derive(Clone, Copy, Serialize)]
pub struct Fpu {
    pub fcw: u16,
    pub mxcsr: u32,
}

/// The threads of an image; `prefix` holds its standard notes.
pub fn threads(image: &Image<'_>, prefix: &[u8]) -> Vec<Thread> {
    let describe = |thread: format::Thread| {
        let registers = names::REGISTERS.iter().zip(&thread.frame_registers);
        let rip = names::REGISTERS
            .iter()
            .position(|name| *name == "rip")
            .and_then(|at| thread.frame_registers.get(at));
        Thread {
            tid: thread.tid,
            name: comm(&thread.comm),
            flags: names::thread_flags(thread.flags),
            at: place(image, rip.copied().unwrap_or(0)),
            blocked: signal::names(thread.sigmask),
            nice: thread.nice,
            policy: policy(thread.policy, thread.priority),
            tid_address: hex(thread.tid_address),
            robust_list: hex(thread.robust_list),
            rseq: hex(thread.rseq),
            alternate_stack: (thread.altstack_len > 0).then(|| (hex(thread.altstack), thread.altstack_len)),
            registers: Members(registers.map(|(name, value)| (*name, hex(*value))).collect()),
            fpu: fpu(image, prefix, thread.tid),
        }
    };
    image.threads().iter().map(describe).collect()
}

/// A scheduling policy as chrt(1) names it.
fn policy(policy: u32, priority: u32) -> String {
    const RESET_ON_FORK: u32 = 0x4000_0000;
    let name = match policy & !RESET_ON_FORK {
        0 => "other",
        1 => return format!("fifo {priority}"),
        2 => return format!("rr {priority}"),
        3 => "batch",
        5 => "idle",
        6 => "deadline",
        7 => "ext",
        _ => "unknown",
    };
    name.to_owned()
}

/// `libc.so.6+0xe1b63`: the file of an address, and the offset in it.
fn place(image: &Image<'_>, address: u64) -> String {
    let Some(region) = image.region_at(address) else { return hex(address) };
    let name = maps::name(image, &region);
    let short = name.rsplit('/').next().unwrap_or_default();
    let offset = address - region.start + if region.file == NONE { 0 } else { region.offset };
    if short.is_empty() { hex(address) } else { format!("{short}+{offset:#x}") }
}

/// The `NT_FPREGSET` that follows a thread's `NT_PRSTATUS`: FXSAVE has the control word at 0 and MXCSR at 24.
fn fpu(image: &Image<'_>, prefix: &[u8], tid: u32) -> Option<Fpu> {
    let head = image.head();
    let notes =
        prefix.get(usize::try_from(head.notes_off).ok()?..)?.get(..usize::try_from(head.notes_len).ok()?)?;
    let mut current = None;
    for note in NoteIter::new(notes).filter(|note| note.owner == OWNER_CORE) {
        if note.kind == NT_PRSTATUS {
            current = read::<Prstatus>(note.desc, 0).map(|status| status.pr_pid);
        } else if note.kind == NT_FPREGSET && current == Some(tid) {
            let word =
                |at: usize| note.desc.get(at..)?.first_chunk::<4>().map(|bytes| u32::from_le_bytes(*bytes));
            return Some(Fpu { fcw: word(0)? as u16, mxcsr: word(24)? });
        }
    }
    None
}

/// Writes them as text.
pub fn print(threads: &[Thread], registers: bool, out: &mut dyn Write) -> io::Result<()> {
    let mut table = Table::new(&[">TID", "NAME", "AT", ">NICE", "POLICY", "BLOCKED"]);
    for thread in threads {
        table.row([
            thread.tid.to_string(),
            thread.name.clone(),
            thread.at.clone(),
            thread.nice.to_string(),
            thread.policy.clone(),
            if thread.blocked.is_empty() { "-".to_owned() } else { thread.blocked.join(" ") },
        ]);
    }
    table.print(out)?;
    for thread in threads.iter().filter(|_| registers) {
        writeln!(out, "\n{HEADING}thread {} ({}){HEADING:#}", thread.tid, thread.name)?;
        let value = |wanted: &str| {
            let found = thread.registers.0.iter().find(|(name, _)| *name == wanted);
            found
                .and_then(|(_, value)| u64::from_str_radix(value.trim_start_matches("0x"), 16).ok())
                .unwrap_or(0)
        };
        const ROWS: &[&[&str]] = &[
            &["rax", "rbx", "rcx", "rdx"],
            &["rsi", "rdi", "rbp", "rsp"],
            &["r8", "r9", "r10", "r11"],
            &["r12", "r13", "r14", "r15"],
            &["fs_base", "gs_base", "cs", "ss"],
        ];
        for row in ROWS {
            let cells = row.iter().map(|name| format!("{name:<7} {:016x}", value(name)));
            writeln!(out, "  {}", cells.collect::<Vec<_>>().join("  "))?;
        }
        let eflags = value("eflags");
        writeln!(out, "  rip     {:016x}  {}", value("rip"), thread.at)?;
        writeln!(out, "  eflags  {eflags:016x}  {}", names::eflags(eflags).join(" "))?;
        if let Some(fpu) = thread.fpu {
            writeln!(out, "  fcw     {:04x}              mxcsr   {:08x}", fpu.fcw, fpu.mxcsr)?;
        }
    }
    Ok(())
}
