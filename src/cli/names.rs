//! Words for the numbers of the image format, the same in text and in JSON.

use image::elf;
use image::format::{
    OWNER, cpu_feature, file_kind, note, object_kind, region_flag, region_kind, thread_flag,
};

/// A kind of region.
pub fn region_kind(kind: u32) -> &'static str {
    match kind {
        region_kind::ANON => "anonymous",
        region_kind::FILE => "file",
        region_kind::SHARED_FILE => "shared-file",
        region_kind::OBJECT => "object",
        region_kind::VVAR => "vvar",
        region_kind::VDSO => "vdso",
        _ => "unknown",
    }
}

/// Flags of a region.
const REGION_FLAGS: &[(u32, &str)] = &[
    (region_flag::SHARED, "shared"),
    (region_flag::GROWSDOWN, "growsdown"),
    (region_flag::LOCKED, "locked"),
    (region_flag::LOCKED_ONFAULT, "locked-onfault"),
    (region_flag::DONTFORK, "dontfork"),
    (region_flag::WIPEONFORK, "wipeonfork"),
    (region_flag::DONTDUMP, "dontdump"),
    (region_flag::HUGEPAGE, "hugepage"),
    (region_flag::NOHUGEPAGE, "nohugepage"),
    (region_flag::MERGEABLE, "mergeable"),
    (region_flag::SEALED, "sealed"),
    (region_flag::DROPPABLE, "droppable"),
    (region_flag::NORESERVE, "noreserve"),
    (region_flag::SEQUENTIAL, "sequential"),
    (region_flag::RANDOM, "random"),
    (region_flag::HEAP, "heap"),
    (region_flag::STACK, "stack"),
    (region_flag::NO_MAYWRITE, "read-only-file"),
    (region_flag::HAD_HUGE, "huge-pages"),
    (region_flag::GUARDS, "guards"),
    (region_flag::ZEROS_KEPT, "zeros-kept"),
];

/// Flags of a region by name.
pub fn region_flags(flags: u32) -> Vec<&'static str> {
    pick(REGION_FLAGS, flags)
}

/// Flags of a thread by name.
pub fn thread_flags(flags: u32) -> Vec<&'static str> {
    pick(&[(thread_flag::LEADER, "leads")], flags)
}

/// CPU features by name.
pub fn cpu_features(bits: u64) -> Vec<&'static str> {
    const NAMES: &[(u64, &str)] =
        &[(cpu_feature::XSAVE, "xsave"), (cpu_feature::FSGSBASE, "fsgsbase"), (cpu_feature::AMX, "amx")];
    NAMES.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| *name).collect()
}

/// Register sets of XCR0 by name (Intel SDM volume 1, "XSAVE-supported features").
pub fn register_sets(xcr0: u64) -> Vec<&'static str> {
    const NAMES: &[(u64, &str)] = &[
        (1, "x87"),
        (1 << 1, "sse"),
        (1 << 2, "avx"),
        (0b11 << 3, "mpx"),
        (0b111 << 5, "avx512"),
        (1 << 9, "pkru"),
        (0b11 << 17, "amx"),
        (1 << 19, "apx"),
    ];
    NAMES.iter().filter(|(bits, _)| xcr0 & bits == *bits).map(|(_, name)| *name).collect()
}

fn pick(names: &[(u32, &'static str)], flags: u32) -> Vec<&'static str> {
    names.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| *name).collect()
}

/// A kind of open file.
pub fn file_kind(kind: u32) -> &'static str {
    match kind {
        file_kind::REGULAR => "file",
        file_kind::DIRECTORY => "directory",
        file_kind::DEVICE => "device",
        file_kind::TERMINAL => "terminal",
        file_kind::STANDARD => "standard",
        file_kind::PIPE => "pipe",
        file_kind::FIFO => "fifo",
        file_kind::EVENTFD => "eventfd",
        file_kind::TIMERFD => "timerfd",
        file_kind::SIGNALFD => "signalfd",
        file_kind::EPOLL => "epoll",
        file_kind::INOTIFY => "inotify",
        file_kind::MEMFD => "memfd",
        file_kind::DELETED => "deleted-file",
        file_kind::UNIX_PAIR => "unix-pair",
        file_kind::UNIX_SOCKET => "unix-socket",
        file_kind::TCP => "tcp",
        file_kind::UDP => "udp",
        file_kind::PATH => "o-path",
        file_kind::PIDFD_SELF => "pidfd-self",
        _ => "unknown",
    }
}

/// A kind of object.
pub fn object_kind(kind: u32) -> &'static str {
    match kind {
        object_kind::SHARED_ANON => "shared-anonymous",
        object_kind::MEMFD => "memfd",
        object_kind::DELETED => "deleted-file",
        object_kind::SPARE => "copy-of-file",
        object_kind::WRITTEN => "contents-of-file",
        object_kind::ABSENT => "no-file",
        _ => "unknown",
    }
}

/// Access mode and status flags of open(2) by name.
pub fn open_flags(flags: u32) -> Vec<&'static str> {
    const NAMES: &[(i32, &str)] = &[
        (libc::O_APPEND, "append"),
        (libc::O_NONBLOCK, "nonblock"),
        (libc::O_ASYNC, "async"),
        (libc::O_DIRECT, "direct"),
        (libc::O_NOATIME, "noatime"),
        (libc::O_DSYNC, "dsync"),
        (libc::O_PATH, "path"),
    ];
    let mode = match flags as i32 & libc::O_ACCMODE {
        libc::O_RDONLY => "read",
        libc::O_WRONLY => "write",
        libc::O_RDWR => "read-write",
        _ => "no-access",
    };
    let status = NAMES.iter().filter(|(bit, _)| flags as i32 & bit != 0).map(|(_, name)| *name);
    [mode].into_iter().chain(status).collect()
}

/// The type of a note, and who defines it.
pub fn note(owner: &[u8], kind: u32) -> String {
    let name = if owner == OWNER {
        match kind & !note::OPTIONAL {
            note::HEAD => "HEAD",
            note::PROCESS => "PROCESS",
            note::REGIONS => "REGIONS",
            note::BYTES => "BYTES",
            note::THREADS => "THREADS",
            note::SIGACTIONS => "SIGACTIONS",
            note::PENDING => "PENDING",
            note::OPEN_FILES => "OPEN_FILES",
            note::DESCRIPTORS => "DESCRIPTORS",
            note::OBJECTS => "OBJECTS",
            note::OBJECT_RUNS => "OBJECT_RUNS",
            note::TIMERS => "TIMERS",
            note::FILES => "FILES",
            note::GUARDS => "GUARDS",
            kind if kind == note::WHOSE & !note::OPTIONAL => "WHOSE",
            _ => "",
        }
    } else {
        match kind {
            elf::NT_PRSTATUS => "NT_PRSTATUS",
            elf::NT_FPREGSET => "NT_FPREGSET",
            elf::NT_PRPSINFO => "NT_PRPSINFO",
            elf::NT_AUXV => "NT_AUXV",
            elf::NT_X86_XSTATE => "NT_X86_XSTATE",
            elf::NT_SIGINFO => "NT_SIGINFO",
            elf::NT_FILE => "NT_FILE",
            _ => "",
        }
    };
    if name.is_empty() { format!("{kind:#x}") } else { name.to_owned() }
}

/// The resource limits by number (getrlimit(2)).
pub const LIMITS: [&str; 16] = [
    "cpu",
    "fsize",
    "data",
    "stack",
    "core",
    "rss",
    "nproc",
    "nofile",
    "memlock",
    "as",
    "locks",
    "sigpending",
    "msgqueue",
    "nice",
    "rtprio",
    "rttime",
];

/// The interrupted code's registers in the order of the image.
pub const REGISTERS: [&str; 23] = [
    "r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi", "rdi",
    "orig_rax", "rip", "cs", "eflags", "rsp", "ss", "fs_base", "gs_base",
];

/// Flags of `eflags` by name (Intel SDM volume 1, "EFLAGS register").
pub fn eflags(value: u64) -> Vec<&'static str> {
    const NAMES: &[(u32, &str)] = &[
        (1, "CF"),
        (1 << 2, "PF"),
        (1 << 4, "AF"),
        (1 << 6, "ZF"),
        (1 << 7, "SF"),
        (1 << 8, "TF"),
        (1 << 9, "IF"),
        (1 << 10, "DF"),
        (1 << 11, "OF"),
    ];
    pick(NAMES, value as u32)
}
