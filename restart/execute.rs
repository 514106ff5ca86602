//! Carries out the plan: the early ops here, the late ones in `asm/executor.s`.

use crate::arena::Arena;
use crate::crew::Crew;
use crate::exit::{Code, Failure, Result};
use crate::load::Loader;
use crate::op::{Check, Op};
use crate::plan::Plan;
use crate::print;
use core::arch::global_asm;
use core::mem::offset_of;
use image::format::Context;
use sys::Sysno;

/// What the executor knows of a thread.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Record {
    /// Address of a count, of 32 bits, of the threads that have not come here yet; zero for the main thread.
    pub outside: u64,
    /// Address of the first [`Op`].
    pub ops: u64,
    /// Behind the last one.
    pub end: u64,
    /// Registers to load.
    pub context: Context,
    /// Where libckpt goes on.
    pub resume_ip: u64,
    /// Number of the thread.
    pub index: u64,
    /// First byte of the hole.
    pub hole_start: u64,
    /// Its length in bytes.
    pub hole_len: u64,
    /// Number of threads.
    pub threads: u64,
    /// Stack for the first steps in libckpt.
    pub stack_top: u64,
    /// Address of the first [`FailureLine`].
    pub lines: u64,
    /// Where to write it.
    pub stderr: u64,
    /// Address of a count, of 32 bits, of the threads that have not come to their op that only the last one makes ([`Check::Last`]).
    pub before_last: u64,
}

/// Room for the text of a [`FailureLine`].
const TEXT: usize = 188;
/// No system call has this number.
const NO_CALL: u16 = u16::MAX;

/// A line that is ready to be written when an op fails. Its last bytes are four digits, for the executor to fill in, and a newline.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct FailureLine {
    len: u16,
    /// For threads but the first: the number of the call; else [`NO_CALL`].
    of_threads: u16,
    text: [u8; TEXT],
}

global_asm!(
    include_str!("../asm/executor.s"),
    RECORD_OUTSIDE = const offset_of!(Record, outside),
    RECORD_OPS = const offset_of!(Record, ops),
    RECORD_END = const offset_of!(Record, end),
    RECORD_CONTEXT = const offset_of!(Record, context),
    RECORD_RESUME_IP = const offset_of!(Record, resume_ip),
    RECORD_INDEX = const offset_of!(Record, index),
    RECORD_HOLE_START = const offset_of!(Record, hole_start),
    RECORD_HOLE_LEN = const offset_of!(Record, hole_len),
    RECORD_THREADS = const offset_of!(Record, threads),
    RECORD_STACK_TOP = const offset_of!(Record, stack_top),
    RECORD_LINES = const offset_of!(Record, lines),
    RECORD_STDERR = const offset_of!(Record, stderr),
    RECORD_BEFORE_LAST = const offset_of!(Record, before_last),
    CONTEXT_RBX = const offset_of!(Context, rbx),
    CONTEXT_RBP = const offset_of!(Context, rbp),
    CONTEXT_R12 = const offset_of!(Context, r12),
    CONTEXT_R13 = const offset_of!(Context, r13),
    CONTEXT_R14 = const offset_of!(Context, r14),
    CONTEXT_R15 = const offset_of!(Context, r15),
    CONTEXT_RSP = const offset_of!(Context, rsp),
    OP_NR = const offset_of!(Op, nr),
    OP_CHECK = const offset_of!(Op, check),
    OP_LINE = const offset_of!(Op, line),
    OP_ARGS = const offset_of!(Op, args),
    OP_EXPECT = const offset_of!(Op, expect),
    OP_SIZE = const size_of::<Op>(),
    CHECK_EXACT = const Check::Exact as u8,
    CHECK_ANY = const Check::Any as u8,
    CHECK_UNTIL = const Check::Until as u8,
    CHECK_LAST = const Check::Last as u8,
    LINE_LEN = const offset_of!(FailureLine, len),
    LINE_TEXT = const offset_of!(FailureLine, text),
    LINE_SIZE = const size_of::<FailureLine>(),
    EXIT_CODE = const Code::Late as i32,
    NR_WRITE = const Sysno::write as u32,
    NR_EXIT_GROUP = const Sysno::exit_group as u32,
);

unsafe extern "C" {
    /// The executor's code, from here ...
    fn ckpt_executor(record: *const Record) -> !;
    /// ... to here.
    static ckpt_executor_end: u8;
}

/// The code of the executor, to be copied to the first page of the hole.
pub fn executor_code() -> &'static [u8] {
    let start = ckpt_executor as *const () as usize;
    let end = &raw const ckpt_executor_end as usize;
    // SAFETY: both symbols are in one section of `asm/executor.s`, the second one behind the code of the first.
    unsafe { core::slice::from_raw_parts(start as *const u8, end.wrapping_sub(start)) }
}

/// Makes the system call of `op`.
///
/// # Safety
///
/// The plan was made for this process: its addresses are what they are meant to be.
unsafe fn call(op: &Op) -> sys::Result<usize> {
    let Some(nr) = op.sysno() else {
        let [to, from, len, ..] = op.args;
        // SAFETY: the plan copies between memory that it mapped.
        unsafe { core::ptr::copy_nonoverlapping(from as *const u8, to as *mut u8, len as usize) };
        return Ok(0);
    };
    // SAFETY: the caller answers for the arguments.
    unsafe { sys::call(nr, op.args.map(|arg| arg as usize)) }
}

/// Carries out the early ops. Runs of preadv(2) go to the loader, which may make them on several CPUs.
///
/// # Errors
///
/// The first op that fails; nothing that cannot be left alone has happened then, and the caller exits.
///
/// # Safety
///
/// As [`call`]; and nothing but the plan's own memory is at the addresses that it maps.
pub unsafe fn early<'a: 'n, 'n>(
    plan: &Plan<'a>,
    loader: &Loader<'n>,
    arena: &mut Arena<'a>,
) -> Result<'n, ()> {
    let mut ops = plan.early.as_slice();
    // What the last path was that was followed: the calls after it name its descriptor only.
    let mut path = None;
    while let [op, rest @ ..] = ops {
        if op.nr == Sysno::preadv as u16 {
            let count = ops.iter().take_while(|op| op.nr == Sysno::preadv as u16).count();
            let (reads, rest) = ops.split_at_checked(count).unwrap_or((ops, &[]));
            // SAFETY: the plan mapped the memory that is filled.
            unsafe { loader.run(reads) }?;
            ops = rest;
            continue;
        }
        // SAFETY: the caller answers for the plan.
        let result = unsafe { call(op) };
        if op.nr == Sysno::openat2 as u16 {
            path = Some(op);
        }
        // SAFETY: the planner keeps both structs in its arena.
        if result.is_ok() && op.check == Check::Same && !unsafe { op.is_same() } {
            let thing = shown(path.unwrap_or(op), arena);
            return Err(crate::files::found::replaced(thing));
        }
        if !op.accepts(result) {
            if let Some(back) = rest.first().filter(|next| next.nr == Sysno::fchmodat as u16) {
                // The file was given another mode for this moment.
                // SAFETY: as above.
                let _ = unsafe { call(back) };
            }
            let named = path.filter(|_| op.nr == Sysno::openat as u16 && names_descriptor(op));
            return Err(explain(op, named.unwrap_or(op), result, arena));
        }
        ops = rest;
    }
    Ok(())
}

/// Whether an openat(2) opens what a descriptor stands for.
fn names_descriptor(op: &Op) -> bool {
    let [_, path, ..] = op.args;
    // SAFETY: the planner gives every openat(2) the address of a string with its NUL.
    let path = unsafe { core::ffi::CStr::from_ptr(path as *const core::ffi::c_char) };
    path.to_bytes().starts_with(b"/proc/self/fd/")
}

/// A call, for a message.
fn shown<'a>(op: &Op, arena: &mut Arena<'a>) -> &'a [u8] {
    let mut line = print::Text::new();
    print::call(op, &mut line);
    line.truncate(512);
    arena.copy(line.as_bytes()).map_or(b"a system call", |copy| copy)
}

/// What an op that failed means for the user. `named` is the one that names the file.
fn explain<'a>(op: &Op, named: &Op, result: sys::Result<usize>, arena: &mut Arena<'a>) -> Failure<'a> {
    let errno = result.err();
    let opens = matches!(op.sysno(), Some(Sysno::openat | Sysno::openat2 | Sysno::chdir));
    let thing = shown(named, arena);
    if let Some((code, cause, advice)) = errno.and_then(|errno| crate::files::explain(op, errno)) {
        return Failure { code, thing, cause, errno, advice };
    }
    let (code, cause, advice) = match (opens, errno) {
        (true, Some(sys::Errno::ENOENT | sys::Errno::ENOTDIR)) => {
            (Code::FileMissing, "a file of the process is not there", "put it back")
        }
        (true, Some(sys::Errno::ELOOP)) => (
            Code::FileChanged,
            "a symbolic link is in the path of a file of the process now",
            "put the file back, or use --fd N=PATH",
        ),
        (_, None) => (Code::Internal, "a system call gave another result than planned", "please report it"),
        _ => (Code::Call, "a system call that the restart needs failed", ""),
    };
    Failure { code, thing, cause, errno, advice }.by_errno()
}

/// Prepares a line for each late op.
///
/// # Errors
///
/// [`Code::Internal`] when the arena is too small.
pub fn prepare<'a>(plan: &mut Plan<'a>, arena: &mut Arena<'a>) -> Result<'static, ()> {
    let mains = plan.records.as_slice().first().map_or(0, |main| main.end.wrapping_sub(main.ops));
    let mains = mains as usize / size_of::<Op>();
    let mut lines = arena.list::<FailureLine>(plan.late.len())?;
    let address = lines.next_address();
    let mut text = print::Text::new();
    for (number, op) in plan.late.as_mut_slice().iter_mut().enumerate() {
        // There may be thousands of threads, which all do the same: one line for each kind of call is enough for them.
        let of_thread = number >= mains;
        let same = lines.as_slice().iter().position(|line| of_thread && line.of_threads == op.nr);
        op.line = same.unwrap_or(lines.len()) as u32;
        if same.is_none() {
            lines.push(failure_line(op, of_thread, &mut text))?;
        }
    }
    for record in plan.records.as_mut_slice() {
        record.lines = address;
    }
    Ok(())
}

fn failure_line(op: &Op, of_thread: bool, text: &mut print::Text) -> FailureLine {
    const TAIL: &[u8] = b" failed in the last steps; nothing was restarted; errno 0000\n";
    text.truncate(0);
    text.text("myrestart: ");
    if of_thread {
        text.text(op.sysno().map_or("?", |nr| nr.name())).text(" in a thread");
    } else {
        print::call(op, text);
    }
    text.truncate(TEXT - TAIL.len());
    let mut line =
        FailureLine { len: 0, of_threads: if of_thread { op.nr } else { NO_CALL }, text: [0; TEXT] };
    for (slot, byte) in line.text.iter_mut().zip(text.as_bytes().iter().chain(TAIL)) {
        *slot = *byte;
        line.len += 1;
    }
    line
}

/// Leaves the restarter for the executor. Returns only when there is no thread to become.
///
/// # Safety
///
/// The early ops were carried out, the last of which made the executor's copy at `executor`; and [`prepare`] was called.
pub unsafe fn late(plan: &Plan, executor: u64, crew: Crew) -> Failure<'static> {
    let Some(record) = plan.records.as_slice().first() else {
        return Failure::new(Code::Internal, b"", "the image has no thread", "");
    };
    // SAFETY: the executor's code is there, and so are the records, one for each thread, in the hole.
    unsafe { crew.release(executor, core::ptr::from_ref(record) as u64) };
    // SAFETY: the code is position-independent, and has the signature of the symbol that it was copied from.
    let executor: unsafe extern "C" fn(*const Record) -> ! =
        unsafe { core::mem::transmute(executor as *const ()) };
    // SAFETY: the record, its ops and lines are in the hole.
    unsafe { executor(record) }
}
