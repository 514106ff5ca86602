//! System calls in the notation of strace(1) 6.1, as it prints them by default.
//!
//! Two things are told in another way, since they are not known beforehand or would fill the page: structs are `{...}`, and of a
//! buffer that is read into its address is shown, where strace shows what was read.

use crate::op::{COPY, Check, Op};
use core::ffi::CStr;
use sys::Sysno;
use sys::fd::IoVec;
use sys::line::Line;

/// Room for a call: a path may take four characters for each of its 4095 bytes. One type for all printing, so that its code is there once.
pub type Text = Line<{ 4 * 4096 + 512 }>;

/// How an argument is shown.
#[derive(Clone, Copy)]
enum Arg {
    /// A number in decimal, signed 32 bits.
    Int,
    /// A number in decimal, 64 bits.
    Dec,
    /// A number in octal, with a leading zero.
    Oct,
    /// A number in hexadecimal.
    Hex,
    /// An address: `NULL` or hexadecimal.
    Addr,
    /// A path or name, quoted whole.
    Text,
    /// A directory descriptor.
    DirFd,
    /// The address of a struct.
    Struct,
    /// The iovecs of preadv(2); the next argument is their number.
    IoVecs,
    /// One of some names.
    One(&'static [(u64, &'static str)], &'static str),
    /// Names of bits, joined by `|`; what it is called when there are none.
    Bits(&'static [(u64, &'static str)], &'static str, &'static str),
    /// Flags of open(2): an access mode and bits.
    OpenFlags,
    /// Flags of mmap(2): a type and bits.
    MapFlags,
    /// A number of a signal.
    Signal,
    /// Resource of prlimit64(2).
    Limit,
    /// personality(2).
    Persona,
    /// The option of prctl(2); the others follow it.
    Prctl,
    /// The address of an array.
    Array,
    /// Priority of ioprio_set(2).
    IoPriority,
    /// What FUTEX_WAKE_OP does: sets a word.
    WakeOp,
}
use Arg::*;

const PROT: Arg = Bits(&[(1, "PROT_READ"), (2, "PROT_WRITE"), (4, "PROT_EXEC")], "PROT_NONE", "PROT_???");
const MAP: &[(u64, &str)] = &[
    (0x10, "MAP_FIXED"),
    (0x20, "MAP_ANONYMOUS"),
    (0x4000, "MAP_NORESERVE"),
    (0x100, "MAP_GROWSDOWN"),
    (0x20000, "MAP_STACK"),
    (0x10_0000, "MAP_FIXED_NOREPLACE"),
];
const ADVICE: Arg = One(
    &[
        (1, "MADV_RANDOM"),
        (2, "MADV_SEQUENTIAL"),
        (10, "MADV_DONTFORK"),
        (12, "MADV_MERGEABLE"),
        (14, "MADV_HUGEPAGE"),
        (15, "MADV_NOHUGEPAGE"),
        (16, "MADV_DONTDUMP"),
        (18, "MADV_WIPEONFORK"),
    ],
    "MADV_???",
);
const OPEN: &[(u64, &str)] = &[
    (CREAT, "O_CREAT"),
    (0o200, "O_EXCL"),
    (0o400, "O_NOCTTY"),
    (0o2000, "O_APPEND"),
    (0o4000, "O_NONBLOCK"),
    (0o4_010_000, "O_SYNC"),
    (0o10000, "O_DSYNC"),
    (0o40000, "O_DIRECT"),
    (0o400_000, "O_NOFOLLOW"),
    (0o1_000_000, "O_NOATIME"),
    (0o2_000_000, "O_CLOEXEC"),
    (0o10_000_000, "O_PATH"),
    (0o200_000, "O_DIRECTORY"),
];
/// `O_CREAT`: open(2) has a fourth argument.
const CREAT: u64 = 0o100;
const DUP_FLAGS: Arg = Bits(&[(0o2_000_000, "O_CLOEXEC")], "0", "O_???");
const FUTEX: Arg = One(&[(128, "FUTEX_WAIT_PRIVATE"), (133, "FUTEX_WAKE_OP_PRIVATE")], "FUTEX_???");
const WHENCE: Arg = One(&[(0, "SEEK_SET"), (1, "SEEK_CUR"), (2, "SEEK_END")], "SEEK_???");
const MREMAP: Arg = Bits(&[(1, "MREMAP_MAYMOVE"), (2, "MREMAP_FIXED")], "0", "MREMAP_???");
const MLOCK: Arg = Bits(&[(1, "MLOCK_ONFAULT")], "0", "MLOCK_???");
const SEALS: Arg = Bits(
    &[
        (1, "F_SEAL_SEAL"),
        (2, "F_SEAL_SHRINK"),
        (4, "F_SEAL_GROW"),
        (8, "F_SEAL_WRITE"),
        (16, "F_SEAL_FUTURE_WRITE"),
        (32, "F_SEAL_EXEC"),
    ],
    "0",
    "F_SEAL_???",
);
const MLOCKALL: Arg = Bits(&[(1, "MCL_CURRENT"), (2, "MCL_FUTURE"), (4, "MCL_ONFAULT")], "0", "MCL_???");
const ITIMER: Arg = One(&[(0, "ITIMER_REAL"), (1, "ITIMER_VIRTUAL"), (2, "ITIMER_PROF")], "ITIMER_???");
const CLOCK: Arg = One(
    &[
        (0, "CLOCK_REALTIME"),
        (1, "CLOCK_MONOTONIC"),
        (2, "CLOCK_PROCESS_CPUTIME_ID"),
        (3, "CLOCK_THREAD_CPUTIME_ID"),
        (7, "CLOCK_BOOTTIME"),
        (8, "CLOCK_REALTIME_ALARM"),
        (9, "CLOCK_BOOTTIME_ALARM"),
        (11, "CLOCK_TAI"),
    ],
    "CLOCK_???",
);
const ARCH: Arg =
    One(&[(0x1001, "ARCH_SET_GS"), (0x1002, "ARCH_SET_FS"), (0x1023, "ARCH_REQ_XCOMP_PERM")], "ARCH_???");
const MEMBARRIER: Arg = Bits(
    &[
        (4, "MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED"),
        (16, "MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED"),
        (64, "MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE"),
        (256, "MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ"),
    ],
    "MEMBARRIER_CMD_QUERY",
    "MEMBARRIER_CMD_???",
);
const LIMITS: [&str; 16] = [
    "CPU",
    "FSIZE",
    "DATA",
    "STACK",
    "CORE",
    "RSS",
    "NPROC",
    "NOFILE",
    "MEMLOCK",
    "AS",
    "LOCKS",
    "SIGPENDING",
    "MSGQUEUE",
    "NICE",
    "RTPRIO",
    "RTTIME",
];
const SECUREBITS: &[(u64, &str)] = &[
    (0x1, "SECBIT_NOROOT"),
    (0x2, "SECBIT_NOROOT_LOCKED"),
    (0x4, "SECBIT_NO_SETUID_FIXUP"),
    (0x8, "SECBIT_NO_SETUID_FIXUP_LOCKED"),
    (0x10, "SECBIT_KEEP_CAPS"),
    (0x20, "SECBIT_KEEP_CAPS_LOCKED"),
    (0x40, "SECBIT_NO_CAP_AMBIENT_RAISE"),
    (0x80, "SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED"),
];
/// Options of prctl(2) with the number of arguments that strace shows, and whether the first one is a name.
const PRCTL: &[(u64, &str, usize, Arg)] = &[
    (1, "PR_SET_PDEATHSIG", 1, Signal),
    (4, "PR_SET_DUMPABLE", 1, One(&[(0, "SUID_DUMP_DISABLE"), (1, "SUID_DUMP_USER")], "SUID_DUMP_???")),
    (8, "PR_SET_KEEPCAPS", 1, Dec),
    (15, "PR_SET_NAME", 1, Text),
    (26, "PR_SET_TSC", 1, One(&[(1, "PR_TSC_ENABLE"), (2, "PR_TSC_SIGSEGV")], "PR_TSC_???")),
    (28, "PR_SET_SECUREBITS", 1, Bits(SECUREBITS, "0", "SECBIT_???")),
    (29, "PR_SET_TIMERSLACK", 1, Dec),
    (36, "PR_SET_CHILD_SUBREAPER", 1, Dec),
    (38, "PR_SET_NO_NEW_PRIVS", 4, Dec),
    (41, "PR_SET_THP_DISABLE", 4, Dec),
];

/// The arguments of a call, as far as the plan uses it.
fn arguments(nr: Sysno, op: &Op) -> Option<&'static [Arg]> {
    Some(match nr {
        Sysno::mmap => &[Addr, Dec, PROT, MapFlags, Int, Hex],
        Sysno::munmap => &[Addr, Dec],
        Sysno::mprotect => &[Addr, Dec, PROT],
        Sysno::mremap => &[Addr, Dec, Dec, MREMAP, Addr],
        Sysno::madvise => &[Addr, Dec, ADVICE],
        Sysno::mlock2 => &[Addr, Dec, MLOCK],
        Sysno::mlockall => &[MLOCKALL],
        Sysno::preadv => &[Int, IoVecs, Dec, Dec],
        Sysno::openat => &[DirFd, Text, OpenFlags],
        Sysno::openat2 => &[DirFd, Text, Struct, Dec],
        Sysno::fstat => &[Int, Struct],
        Sysno::newfstatat => &[DirFd, Text, Struct, One(&[(0x100, "AT_SYMLINK_NOFOLLOW")], "AT_???")],
        Sysno::fchdir => &[Int],
        Sysno::close => &[Int],
        Sysno::lseek => &[Int, Dec, WHENCE],
        Sysno::dup3 => &[Int, Int, DUP_FLAGS],
        Sysno::fchmod => &[Int, Oct],
        Sysno::fcntl => &[Int, One(&[(1033, "F_ADD_SEALS")], "F_???"), SEALS],
        Sysno::utimensat => &[Int, Text, Array, Dec],
        Sysno::write => &[Int, Text, Dec],
        Sysno::chdir => &[Text],
        Sysno::setsid => &[],
        Sysno::setpgid => &[Int, Int],
        Sysno::umask => &[Oct],
        Sysno::personality => &[Persona],
        Sysno::prctl => &[Prctl],
        Sysno::prlimit64 => &[Int, Limit, Struct, Struct],
        Sysno::arch_prctl => &[ARCH, Hex],
        Sysno::rt_sigaction => &[Signal, Struct, Struct, Dec],
        Sysno::rt_sigqueueinfo => &[Int, Signal, Struct],
        Sysno::rt_tgsigqueueinfo => &[Int, Int, Signal, Struct],
        Sysno::setitimer => &[ITIMER, Struct, Struct],
        Sysno::timer_create => &[CLOCK, Struct, Array],
        Sysno::timer_settime => &[Int, Int, Struct, Struct],
        Sysno::timer_getoverrun | Sysno::timer_delete => &[Int],
        Sysno::setpriority => &[One(&[(0, "PRIO_PROCESS")], "PRIO_???"), Int, Int],
        Sysno::sched_setaffinity => &[Int, Dec, Array],
        Sysno::sched_setattr => &[Int, Struct, Int],
        Sysno::ioprio_set => &[One(&[(1, "IOPRIO_WHO_PROCESS")], "IOPRIO_WHO_???"), Int, IoPriority],
        Sysno::membarrier => &[MEMBARRIER, Int],
        Sysno::setgroups => &[Int, Array],
        Sysno::capset => &[Struct, Struct],
        Sysno::set_tid_address => &[Addr],
        Sysno::set_robust_list => &[Addr, Dec],
        Sysno::rseq => &[Addr, Hex, Int, Hex],
        Sysno::futex if op.check == Check::Until => &[Addr, FUTEX, Int, Addr],
        Sysno::futex => &[Addr, FUTEX, Dec, Dec, Addr, WakeOp],
        _ => return None,
    })
}

/// Writes a call with its arguments.
pub fn call(op: &Op, line: &mut Text) {
    let Some(nr) = op.sysno().filter(|_| op.nr != COPY) else {
        let [to, from, len, ..] = op.args;
        line.text("memcpy(").hex(to).text(", ").hex(from).text(", ").dec(len).text(")");
        return;
    };
    line.text(nr.name()).text("(");
    if crate::files::notation::arguments(op, line) {
        line.text(")");
        return;
    }
    line.truncate(line.as_bytes().len() - nr.name().len() - 1);
    let Some(kinds) = arguments(nr, op) else {
        // strace 6.1 knows no later calls than those of Linux 6.1; it shows all six arguments of others.
        line.text("syscall_").hex(op.nr.into()).text("(");
        separated(line, op.args, |line, arg| {
            line.number(arg);
        });
        line.text(")");
        return;
    };
    line.text(nr.name()).text("(");
    let mut first = true;
    for (index, (kind, arg)) in kinds.iter().zip(op.args).enumerate() {
        if !core::mem::take(&mut first) {
            line.text(", ");
        }
        let next = op.args.get(index + 1).copied().unwrap_or(0);
        argument(*kind, arg, next, op, line);
    }
    line.text(")");
}

/// Writes a call as it will show in a trace: with its result.
pub fn traced(op: &Op, line: &mut Text) {
    /// Column of the result (`strace -a`, default 40).
    const COLUMN: usize = 39;
    call(op, line);
    while line.as_bytes().len() < COLUMN {
        line.text(" ");
    }
    line.text(" = ");
    match op.sysno() {
        Some(_) if op.check == Check::Same => line.dec(0),
        Some(Sysno::mmap | Sysno::mremap) => line.hex(op.expect),
        Some(Sysno::umask) => line.octal(op.expect),
        Some(Sysno::personality) => {
            line.number(op.expect).text(" (");
            persona(op.expect, line);
            line.text(")")
        }
        _ => line.int(op.expect as i64),
    };
}

fn argument(kind: Arg, arg: u64, next: u64, op: &Op, line: &mut Text) {
    match kind {
        Int => {
            line.int(i64::from(arg as i32));
        }
        Dec => {
            line.dec(arg);
        }
        Oct => {
            line.octal(arg);
        }
        Hex => {
            line.number(arg);
        }
        Addr | Struct | Array | Text if arg == 0 => {
            line.text("NULL");
        }
        Addr => {
            line.hex(arg);
        }
        Struct => {
            line.text("{...}");
        }
        Array => {
            line.text("[...]");
        }
        // SAFETY: the plan passes NUL-terminated strings to calls that take strings.
        Text => quoted(unsafe { CStr::from_ptr(arg as *const _) }.to_bytes(), line),
        DirFd => {
            line.text("AT_FDCWD");
        }
        IoVecs => iovecs(arg, next, line),
        One(names, unknown) => one(arg, names, unknown, line),
        Bits(names, none, unknown) => {
            if bits(arg, names, unknown, false, line) == 0 {
                line.text(none);
            }
        }
        OpenFlags => {
            one(arg & 3, &[(0, "O_RDONLY"), (1, "O_WRONLY"), (2, "O_RDWR")], "O_ACCMODE", line);
            bits(arg & !3, OPEN, "O_???", true, line);
            if arg & CREAT != 0 {
                let [_, _, _, mode, ..] = op.args;
                line.text(", ").octal(mode);
            }
        }
        MapFlags => {
            one(arg & 15, &[(1, "MAP_SHARED"), (2, "MAP_PRIVATE")], "MAP_???", line);
            bits(arg & !15, MAP, "MAP_???", true, line);
        }
        Signal => signal(arg, line),
        Limit => match LIMITS.get(arg as usize) {
            Some(name) => {
                line.text("RLIMIT_").text(name);
            }
            None => {
                line.hex(arg).text(" /* RLIMIT_??? */");
            }
        },
        Persona => persona(arg, line),
        WakeOp => {
            line.text("FUTEX_OP_SET<<28|").hex(arg >> 12 & 0xfff).text("<<12|FUTEX_OP_CMP_EQ<<24|");
            line.hex(arg & 0xfff);
        }
        IoPriority => {
            const CLASSES: &[(u64, &str)] = &[
                (0, "IOPRIO_CLASS_NONE"),
                (1, "IOPRIO_CLASS_RT"),
                (2, "IOPRIO_CLASS_BE"),
                (3, "IOPRIO_CLASS_IDLE"),
            ];
            line.text("IOPRIO_PRIO_VALUE(");
            one(arg >> 13, CLASSES, "IOPRIO_CLASS_???", line);
            line.text(", ").dec(arg & 0x1fff).text(")");
        }
        Prctl => prctl(op, line),
    }
}

fn prctl(op: &Op, line: &mut Text) {
    let [option, args @ ..] = op.args;
    const SET_MM: u64 = 35;
    const SET_VMA: u64 = 0x5356_4d41;
    if let Some((_, name, shown, kind)) = PRCTL.iter().find(|(number, ..)| *number == option) {
        line.text(name);
        for (index, arg) in args.into_iter().take(*shown).enumerate() {
            line.text(", ");
            argument(if index == 0 { *kind } else { Dec }, arg, 0, op, line);
        }
        return;
    }
    let [a, b, c, d, _] = args;
    match (option, a) {
        (SET_MM, 14) => {
            line.text("PR_SET_MM, PR_SET_MM_MAP, ").hex(b).text(", ").number(c).text(", ").number(d);
        }
        (SET_VMA, 0) => {
            line.text("PR_SET_VMA, PR_SET_VMA_ANON_NAME, ").hex(b).text(", ").dec(c).text(", ");
            argument(Text, d, 0, op, line);
        }
        _ => {
            line.hex(option).text(" /* PR_??? */");
            for arg in [a, b, c, d] {
                line.text(", ").number(arg);
            }
        }
    }
}

fn iovecs(list: u64, count: u64, line: &mut Text) {
    /// strace's abbreviation.
    const SHOWN: usize = 32;
    // SAFETY: the plan made the list; it is in the arena.
    let list = unsafe { core::slice::from_raw_parts(list as *const IoVec, count as usize) };
    line.text("[");
    separated(line, list.iter().take(SHOWN), |line, piece| {
        line.text("{iov_base=").hex(piece.base as u64).text(", iov_len=").dec(piece.len as u64).text("}");
    });
    line.text(if list.len() > SHOWN { ", ...]" } else { "]" });
}

fn separated<T>(line: &mut Text, items: impl IntoIterator<Item = T>, mut write: impl FnMut(&mut Text, T)) {
    let mut first = true;
    for item in items {
        if !core::mem::take(&mut first) {
            line.text(", ");
        }
        write(line, item);
    }
}

fn one(value: u64, names: &[(u64, &str)], unknown: &str, line: &mut Text) {
    match names.iter().find(|(number, _)| *number == value) {
        Some((_, name)) => line.text(name),
        None => line.number(value).text(" /* ").text(unknown).text(" */"),
    };
}

/// Writes the names of bits; returns how many. With `more`, something stands before them.
fn bits(mut value: u64, names: &[(u64, &str)], unknown: &str, more: bool, line: &mut Text) -> usize {
    let mut written = 0;
    for (bit, name) in names {
        if value & bit == *bit {
            line.text(if more || written > 0 { "|" } else { "" }).text(name);
            value &= !bit;
            written += 1;
        }
    }
    if value != 0 {
        line.text(if more || written > 0 { "|" } else { "" });
        line.hex(value);
        if written == 0 && !more {
            line.text(" /* ").text(unknown).text(" */");
        }
        written += 1;
    }
    written
}

pub(crate) fn signal(number: u64, line: &mut Text) {
    const SIGRTMIN: u64 = 32;
    match number.checked_sub(1).and_then(|index| sys::signal::NAMES.get(index as usize)) {
        Some(name) => line.text("SIG").text(name),
        None if number == SIGRTMIN => line.text("SIGRTMIN"),
        None if (SIGRTMIN..=64).contains(&number) => line.text("SIGRT_").dec(number - SIGRTMIN),
        None => line.dec(number),
    };
}

fn persona(value: u64, line: &mut Text) {
    const FLAGS: &[(u64, &str)] = &[
        (0x20000, "UNAME26"),
        (0x40000, "ADDR_NO_RANDOMIZE"),
        (0x80000, "FDPIC_FUNCPTRS"),
        (0x10_0000, "MMAP_PAGE_ZERO"),
        (0x20_0000, "ADDR_COMPAT_LAYOUT"),
        (0x40_0000, "READ_IMPLIES_EXEC"),
        (0x80_0000, "ADDR_LIMIT_32BIT"),
        (0x100_0000, "SHORT_INODE"),
        (0x200_0000, "WHOLE_SECONDS"),
        (0x400_0000, "STICKY_TIMEOUTS"),
        (0x800_0000, "ADDR_LIMIT_3GB"),
    ];
    one(value & 0xff, &[(0, "PER_LINUX"), (8, "PER_LINUX32")], "PER_???", line);
    bits(value & !0xff, FLAGS, "PER_???", true, line);
}

/// Writes a string as strace does: C escapes, octal for what is not ASCII.
pub(crate) fn quoted(bytes: &[u8], line: &mut Text) {
    line.text("\"");
    let mut rest = bytes;
    while let [byte, tail @ ..] = rest {
        match byte {
            b'"' | b'\\' => line.bytes(&[b'\\', *byte]),
            b'\n' => line.text("\\n"),
            b'\t' => line.text("\\t"),
            b'\r' => line.text("\\r"),
            0x0b => line.text("\\v"),
            0x0c => line.text("\\f"),
            b' '..=b'~' => line.bytes(&[*byte]),
            _ => {
                // Short when no digit follows that would be taken for a part of it.
                let (a, b, c) = (byte >> 6, byte >> 3 & 7, byte & 7);
                line.text("\\");
                let long = tail.first().is_some_and(u8::is_ascii_digit);
                if long || a != 0 {
                    line.bytes(&[b'0' + a]);
                }
                if long || a != 0 || b != 0 {
                    line.bytes(&[b'0' + b]);
                }
                line.bytes(&[b'0' + c])
            }
        };
        rest = tail;
    }
    line.text("\"");
}

/// More numbers for a line.
trait Numbers {
    /// Hexadecimal, but zero without a prefix, as `%#x`.
    fn number(&mut self, n: u64) -> &mut Self;
    /// Octal, as `%#o`.
    fn octal(&mut self, n: u64) -> &mut Self;
}

impl Numbers for Text {
    fn number(&mut self, n: u64) -> &mut Self {
        if n == 0 { self.text("0") } else { self.hex(n) }
    }

    fn octal(&mut self, n: u64) -> &mut Self {
        self.text("0");
        let digits = (64 - n.leading_zeros()).div_ceil(3);
        for digit in (0..digits).rev() {
            self.bytes(&[b'0' + (n >> (3 * digit) & 7) as u8]);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::{String, ToString};

    fn text(op: &Op) -> String {
        let mut line: Text = Text::new();
        traced(op, &mut line);
        core::str::from_utf8(line.as_bytes()).expect("text").to_string()
    }

    /// Each line is what `strace` 6.1 printed of the call.
    #[test]
    fn calls_look_as_in_strace() {
        let path = c"/nonexistent/x\n\"y".as_ptr() as u64;
        let pieces = [IoVec { base: 0x1000, len: 1 }, IoVec { base: 0x2000, len: 2 }];
        let minus = u64::MAX;
        for (op, expected) in [
            (
                Op::exact(Sysno::mmap, [0x10000, 4096, 0, 0x10_4122, minus, 0], 0x10000),
                "mmap(0x10000, 4096, PROT_NONE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_NORESERVE|MAP_GROWSDOWN|\
                 MAP_FIXED_NOREPLACE, -1, 0) = 0x10000",
            ),
            (
                Op::exact(Sysno::mmap, [0x10000, 4096, 7, 0x12, 4, 0x3000], 0x10000),
                "mmap(0x10000, 4096, PROT_READ|PROT_WRITE|PROT_EXEC, MAP_PRIVATE|MAP_FIXED, 4, 0x3000) = 0x10000",
            ),
            (
                Op::exact(Sysno::mmap, [0x10000, 4096, 7, 0x10_0028, minus, 0], 0x10000),
                "mmap(0x10000, 4096, PROT_READ|PROT_WRITE|PROT_EXEC, 0x8 /* MAP_??? */|MAP_ANONYMOUS|\
                 MAP_FIXED_NOREPLACE, -1, 0) = 0x10000",
            ),
            (Op::zero(Sysno::munmap, [0x10000, 4096]), "munmap(0x10000, 4096)                   = 0"),
            (
                Op::zero(Sysno::mprotect, [0x10000, 4096, 5]),
                "mprotect(0x10000, 4096, PROT_READ|PROT_EXEC) = 0",
            ),
            (
                Op::exact(Sysno::mremap, [0x10000, 4096, 4096, 3, 0x20000], 0x20000),
                "mremap(0x10000, 4096, 4096, MREMAP_MAYMOVE|MREMAP_FIXED, 0x20000) = 0x20000",
            ),
            (Op::zero(Sysno::madvise, [0x10000, 4096, 14]), "madvise(0x10000, 4096, MADV_HUGEPAGE)   = 0"),
            (
                Op::zero(Sysno::madvise, [0x10000, 4096, 102]),
                "madvise(0x10000, 4096, 0x66 /* MADV_??? */) = 0",
            ),
            (Op::zero(Sysno::mlock2, [0x10000, 4096, 1]), "mlock2(0x10000, 4096, MLOCK_ONFAULT)    = 0"),
            (
                Op::exact(Sysno::preadv, [77, pieces.as_ptr() as u64, 2, 4096, 0], 3),
                "preadv(77, [{iov_base=0x1000, iov_len=1}, {iov_base=0x2000, iov_len=2}], 2, 4096) = 3",
            ),
            (Op::exact(Sysno::lseek, [77, 4096, 0], 4096), "lseek(77, 4096, SEEK_SET)               = 4096"),
            (
                Op::exact(Sysno::dup3, [77, 80, 0o2_000_000], 80),
                "dup3(77, 80, O_CLOEXEC)                 = 80",
            ),
            (
                Op::exact(Sysno::openat, [minus, path, 0o2_002_401], 3),
                "openat(AT_FDCWD, \"/nonexistent/x\\n\\\"y\", O_WRONLY|O_NOCTTY|O_APPEND|O_CLOEXEC) = 3",
            ),
            (
                Op::exact(Sysno::openat, [minus, path, 0o5_214_000], 3),
                "openat(AT_FDCWD, \"/nonexistent/x\\n\\\"y\", O_RDONLY|O_NONBLOCK|O_SYNC|O_NOATIME|O_DIRECTORY) = 3",
            ),
            (Op::exact(Sysno::umask, [0o22], 0o77), "umask(022)                              = 077"),
            (
                Op::exact(Sysno::personality, [0x40000], 0),
                "personality(PER_LINUX|ADDR_NO_RANDOMIZE) = 0 (PER_LINUX)",
            ),
            (
                Op::zero(Sysno::prctl, [35, 14, 0x7ffc_7a3c_3c20, 0x68, 0]),
                "prctl(PR_SET_MM, PR_SET_MM_MAP, 0x7ffc7a3c3c20, 0x68, 0) = 0",
            ),
            (Op::zero(Sysno::prctl, [4, 1]), "prctl(PR_SET_DUMPABLE, SUID_DUMP_USER)  = 0"),
            (Op::zero(Sysno::prctl, [41, 0]), "prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0)   = 0"),
            (
                Op::zero(Sysno::prctl, [0x5356_4d41, 0, 0x10000, 4096, c"hello".as_ptr() as u64]),
                "prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, 0x10000, 4096, \"hello\") = 0",
            ),
            (
                Op::zero(Sysno::rt_sigaction, [10, 0x1000, 0, 8]),
                "rt_sigaction(SIGUSR1, {...}, NULL, 8)   = 0",
            ),
            (Op::zero(Sysno::prlimit64, [0, 7, 0x1000, 0]), "prlimit64(0, RLIMIT_NOFILE, {...}, NULL) = 0"),
            (
                Op::zero(Sysno::rseq, [0x1000, 32, 0, 0x5305_3053]),
                "rseq(0x1000, 0x20, 0, 0x53053053)       = 0",
            ),
            (Op::zero(Sysno::arch_prctl, [0x1002, 0x1000]), "arch_prctl(ARCH_SET_FS, 0x1000)         = 0"),
            (
                Op::exact(Sysno::set_tid_address, [0x1000], 16536),
                "set_tid_address(0x1000)                 = 16536",
            ),
            (Op::zero(Sysno::mseal, [0x10000, 4096, 0]), "syscall_0x1ce(0x10000, 0x1000, 0, 0, 0, 0) = 0"),
        ] {
            assert_eq!(text(&op), expected);
        }
    }

    #[test]
    fn strings_are_escaped_as_in_strace() {
        let mut line: Text = Text::new();
        quoted(b"\x01\x0019\xff", &mut line);
        assert_eq!(core::str::from_utf8(line.as_bytes()), Ok("\"\\1\\00019\\377\""));
    }
}
