//! The bytes of an image, as both sides see them.
//!
//! An image is an ELF64 core file (`man 5 elf`, `man 5 core`):
//!
//! ```text
//! 0            Elf64_Ehdr
//! 64           Elf64_Shdr 0          only with 65,535 program headers or more (PN_XNUM)
//! phdr_off     Elf64_Phdr[phnum]     [0] PT_NOTE, then PT_LOADs by ascending address
//! notes_off    the notes             "CKPT"/HEAD first, then the others in any order
//! data_off     page data             page-aligned; runs of pages without gaps, in file order
//! sums_off     SumsHeader, u32[], Evidence[]   one CRC-32C per chunk of page data, and what the writer saw in it
//! file_len
//! ```
//!
//! All of it can be written in one forward pass, so that an image can go down a pipe: sizes are known before
//! the first byte, and the only thing that is known late (the sums of the data) comes last and is sealed by a sum of its
//! own. Structs are little-endian, as the machine is, and have no padding.

use crate::plain::plain;

/// `p_paddr` of a `PT_LOAD`, which ELF leaves unused in core files: these bytes are the process's own and must come back.
pub const RUN_PRIVATE: u64 = 0;
/// `p_paddr` of a `PT_LOAD`: an unmodified copy of the mapped file, or of the kernel's vdso. Not
/// needed when the same file or vdso is still there.
pub const RUN_CLEAN: u64 = 1;
/// `p_paddr` of a `PT_LOAD`: bytes of an [`Object`] shown at an address for debuggers; restored with the object.
pub const RUN_OBJECT: u64 = 2;

/// Size of a page in bytes. x86-64 has no other base page size.
pub const PAGE: u64 = 4096;
/// Page data is summed in pieces of this many bytes, counted from `data_off`; the last one may be shorter.
pub const CHUNK: u64 = 256 * 1024;
/// The longest pieces that a reader takes: 1024 pages, which one preadv(2) can put in as many places (`IOV_MAX`).
pub const CHUNK_MAX: u64 = 1024 * PAGE;
/// Version of everything below. An image of another version is refused.
pub const VERSION: u32 = 1;
/// Name of the owner of our notes, with its NUL.
pub const OWNER: &[u8; 5] = b"CKPT\0";
/// An index that refers to nothing.
pub const NONE: u32 = u32::MAX;

/// Types of the notes whose owner is `CKPT`.
pub mod note {
    /// One [`super::Head`]; the first note of the file.
    pub const HEAD: u32 = 1;
    /// One [`super::Process`].
    pub const PROCESS: u32 = 2;
    /// [`super::Region`]s by ascending address.
    pub const REGIONS: u32 = 3;
    /// Bytes that [`super::Blob`]s refer to: paths, contents of pipes, details of descriptors.
    pub const BYTES: u32 = 4;
    /// [`super::Thread`]s; the first one is the thread group leader.
    pub const THREADS: u32 = 5;
    /// 64 [`super::SigAction`]s, for signals 1 to 64.
    pub const SIGACTIONS: u32 = 6;
    /// [`super::Pending`] signals.
    pub const PENDING: u32 = 7;
    /// [`super::OpenFile`]s: open file descriptions.
    pub const OPEN_FILES: u32 = 8;
    /// [`super::Descriptor`]s by ascending number.
    pub const DESCRIPTORS: u32 = 9;
    /// [`super::Object`]s: contents of files that live only in this image.
    pub const OBJECTS: u32 = 10;
    /// [`super::ObjectRun`]s, grouped by object, by ascending offset.
    pub const OBJECT_RUNS: u32 = 11;
    /// [`super::PosixTimer`]s by ascending id.
    pub const TIMERS: u32 = 12;
    /// [`super::MappedFile`]s: the files that regions name.
    pub const FILES: u32 = 13;
    /// Guard pages as [`super::Span`]s by ascending address.
    pub const GUARDS: u32 = 14;
    /// One [`super::Whose`], the second note of the file.
    pub const WHOSE: u32 = 15 | OPTIONAL;
    /// Set in a type: a reader that does not know the note may skip it. Without it, it must refuse the image.
    pub const OPTIONAL: u32 = 1 << 31;
}

plain! {
    /// Refers to bytes of the [`note::BYTES`] note.
    pub struct Blob[8] {
        /// First byte.
        pub off: u32,
        /// Number of bytes; a path has no NUL here, but one behind it.
        pub len: u32,
    }
}

plain! {
    /// Where everything is, and its sums.
    pub struct Head[104] {
        /// [`VERSION`].
        pub version: u32,
        /// Bits that a reader must know; none yet.
        pub required: u32,
        /// Length of the whole file in bytes.
        pub file_len: u64,
        /// Offset of the program headers.
        pub phdr_off: u64,
        /// Number of program headers, also beyond 65,534.
        pub phnum: u64,
        /// Offset of the notes.
        pub notes_off: u64,
        /// Length of the notes in bytes.
        pub notes_len: u64,
        /// Offset of the page data, a multiple of [`PAGE`].
        pub data_off: u64,
        /// Length of the page data, a multiple of [`PAGE`].
        pub data_len: u64,
        /// Offset of the [`SumsHeader`].
        pub sums_off: u64,
        /// Length of the [`SumsHeader`] and its sums in bytes.
        pub sums_len: u64,
        /// [`CHUNK`] of the writer: a power of two, from [`PAGE`] to 4 MiB.
        pub chunk: u32,
        /// [`PAGE`] of the writer.
        pub page: u32,
        /// CRC-32C of the ELF header, section header 0 if there is one, and the program headers.
        pub tables_crc: u32,
        /// CRC-32C of the notes, with this field zero.
        pub notes_crc: u32,
        /// Zero.
        pub reserved: u64,
    }
}

plain! {
    /// The process that was saved, so that no other one takes its image away while it runs.
    pub struct Whose[32] {
        /// Its id, as it saw it itself.
        pub pid: u32,
        /// Zero.
        pub reserved: u32,
        /// When it was started, in ticks of 1/100 s after the boot (field 22 of `/proc/PID/stat`); zero when that could not be read.
        pub start: u64,
        /// The boot: `/proc/sys/kernel/random/boot_id`, as 16 bytes in two numbers.
        pub boot: [u64; 2],
    }
}

plain! {
    /// Stands before the sums of the page data, which the evidence follows: what is known only when all pages have gone by.
    pub struct SumsHeader[24] {
        /// `"CSUM"`.
        pub magic: u32,
        /// CRC-32C of everything that follows this field, up to the end of the file.
        pub crc: u32,
        /// Number of sums.
        pub count: u64,
        /// Number of [`Evidence`] entries that mean something, at most [`EVIDENCE`].
        pub evidence: u64,
    }
}
/// [`SumsHeader::magic`].
pub const SUMS_MAGIC: u32 = u32::from_le_bytes(*b"CSUM");

plain! {
    /// A place where the process seems to have the id of one of its threads. Nothing is ever written there: it tells a restart that the process may need its old ids.
    pub struct Evidence[16] {
        /// Address of the word; zero when none is known.
        pub addr: u64,
        /// Index in THREADS of the thread whose id it is.
        pub thread: u32,
        /// [`evidence_kind`].
        pub kind: u32,
    }
}
/// Room for [`Evidence`] in an image. The search ends when it has a few of each kind: it need not be complete.
pub const EVIDENCE: u64 = 8;

/// Values of [`Evidence::kind`].
pub mod evidence_kind {
    /// A lock that names the thread as its owner, in the process's private memory.
    pub const LOCK: u32 = 1;
    /// The same in memory that processes share: shared anonymous memory, a memfd, a file without a name.
    pub const SHARED_LOCK: u32 = 2;
    /// An id in a register, or close to the top of the stack, of a thread that was not asleep in the kernel: it may be on its way into a call.
    pub const REGISTER: u32 = 3;
    /// A timer that signals the thread (`SIGEV_THREAD_ID`), or the thread by which glibc carries out timers (`SIGEV_THREAD`).
    pub const TIMER: u32 = 4;
    /// The search has ended at its bound: what it has not seen may have locks. Only in a process with several threads.
    pub const UNSEEN: u32 = 5;
    /// A word that has the value of an id, and may be any other number: weaker than the others.
    pub const WORD: u32 = 6;
}

plain! {
    /// What `PR_SET_MM_MAP` takes (`struct prctl_mm_map`, include/uapi/linux/prctl.h), less its pointers.
    pub struct MemoryMap[96] {
        /// Start of the program text.
        pub start_code: u64,
        /// End of the program text.
        pub end_code: u64,
        /// Start of initialised data.
        pub start_data: u64,
        /// End of initialised data.
        pub end_data: u64,
        /// Start of the heap that `brk` grows.
        pub start_brk: u64,
        /// Its present end.
        pub brk: u64,
        /// Address of the initial stack pointer.
        pub start_stack: u64,
        /// First byte of the arguments.
        pub arg_start: u64,
        /// Behind their last byte.
        pub arg_end: u64,
        /// First byte of the environment.
        pub env_start: u64,
        /// Behind its last byte.
        pub env_end: u64,
        /// Zero.
        pub reserved: u64,
    }
}

plain! {
    /// A resource limit (`struct rlimit64`, getrlimit(2)).
    pub struct Limit[16] {
        /// Soft limit; all ones is infinity.
        pub soft: u64,
        /// Hard limit; all ones is infinity.
        pub hard: u64,
    }
}

plain! {
    /// Seconds and the rest, as in `struct timespec` (nanoseconds) or `struct timeval` (microseconds).
    pub struct Time[16] {
        /// Seconds.
        pub sec: i64,
        /// Nanoseconds or microseconds.
        pub frac: i64,
    }
}

plain! {
    /// An interval timer (getitimer(2)) or a POSIX timer (timer_gettime(2)): zero value means disarmed.
    pub struct Timer[32] {
        /// Period.
        pub interval: Time,
        /// Remaining time.
        pub value: Time,
    }
}

plain! {
    /// State of the process as a whole.
    pub struct Process[912] {
        /// Process id at the save, as the process saw it.
        pub pid: u32,
        /// Parent.
        pub ppid: u32,
        /// Process group.
        pub pgid: u32,
        /// Session.
        pub sid: u32,
        /// Real user id.
        pub uid: u32,
        /// Real group id.
        pub gid: u32,
        /// How often this line of processes has been saved; the first save has 1.
        pub generation: u32,
        /// Number of threads.
        pub threads: u32,
        /// Where the restarter hands over (inside the saved libckpt); see ARCHITECTURE.md, "the resume contract".
        pub resume_ip: u64,
        /// Flags of this struct, [`process_flag`].
        pub flags: u64,
        /// Address-space layout for `PR_SET_MM_MAP`.
        pub mm: MemoryMap,
        /// The auxiliary vector, as `PR_GET_AUXV` gives it.
        pub auxv: Blob,
        /// The executable's path.
        pub exe: Blob,
        /// Working directory.
        pub cwd: Blob,
        /// Arguments, each with its NUL (what `/proc/self/cmdline` shows).
        pub cmdline: Blob,
        /// `uname -r` and `uname -v` of the machine, separated by a newline.
        pub kernel: Blob,
        /// First address of `[vdso]`; zero when there is none.
        pub vdso: u64,
        /// XCR0: the register sets that the kernel had enabled.
        pub xcr0: u64,
        /// Size in bytes of the register area in signal frames, without its trailing magic.
        pub xstate_size: u64,
        /// CPU features in use, [`cpu_feature`].
        pub cpu: u64,
        /// `CLOCK_REALTIME` at the save.
        pub realtime: Time,
        /// `CLOCK_MONOTONIC` at the save.
        pub monotonic: Time,
        /// `CLOCK_BOOTTIME` at the save.
        pub boottime: Time,
        /// ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF; fractions are microseconds.
        pub itimers: [Timer; 3],
        /// The sixteen resource limits by number.
        pub limits: [Limit; 16],
        /// File mode creation mask.
        pub umask: u32,
        /// personality(2).
        pub personality: u32,
        /// `PR_GET_DUMPABLE`.
        pub dumpable: u32,
        /// `PR_GET_NO_NEW_PRIVS`.
        pub no_new_privs: u32,
        /// `PR_GET_CHILD_SUBREAPER`.
        pub subreaper: u32,
        /// `PR_GET_THP_DISABLE`.
        pub thp_disable: u32,
        /// `/proc/self/oom_score_adj`.
        pub oom_score_adj: i32,
        /// `/proc/self/coredump_filter`.
        pub coredump_filter: u32,
        /// `MEMBARRIER_CMD_GET_REGISTRATIONS`.
        pub membarrier: u32,
        /// `PR_GET_KEEPCAPS`.
        pub keepcaps: u32,
        /// `PR_GET_SECUREBITS`.
        pub securebits: u32,
        /// `PR_GET_MDWE`.
        pub mdwe: u32,
        /// Signal that asks for a save.
        pub signal: u32,
        /// seccomp(2): 0 none, 2 filters.
        pub seccomp: u32,
        /// Number of its filters (Linux 5.9 and newer).
        pub seccomp_filters: u32,
        /// `PR_GET_TSC`: 2 when reading the time stamp counter is forbidden.
        pub tsc: u32,
        /// When a memory error kills: 0 as the system does, else 1 more than `PR_MCE_KILL_GET`.
        pub mce_kill: u32,
        /// `PR_GET_MEMORY_MERGE`.
        pub memory_merge: u32,
        /// Capabilities, a bit for each: inheritable, permitted, effective, bounding, ambient.
        pub capabilities: [u64; 5],
        /// Supplementary groups: an array of `u32`.
        pub groups: Blob,
        /// `/proc/self/attr/current`: the label of a security module; empty when there is none.
        pub label: Blob,
        /// The command line that `ckpt run` was given, as a shell takes it; empty for a program that was started otherwise.
        pub command: Blob,
        /// Room to grow; zero.
        pub reserved: [u64; 20],
    }
}

/// Bits of [`Process::flags`].
pub mod process_flag {
    /// The image was made by `ckpt_checkpoint()`, not by the signal.
    pub const FROM_CALL: u64 = 1;
    /// New mappings are locked (mlockall(2), `MCL_FUTURE`).
    pub const LOCK_FUTURE: u64 = 1 << 1;
    /// They are locked when touched (`MCL_ONFAULT`).
    pub const LOCK_FUTURE_ONFAULT: u64 = 1 << 2;
    /// The image was made by a tracer's entry (`ckpt save`), not by the signal.
    pub const ENTERED: u64 = 1 << 3;
}

/// Bits of [`Process::cpu`].
pub mod cpu_feature {
    /// Restoring needs XSAVE.
    pub const XSAVE: u64 = 1;
    /// The FSGSBASE instructions were enabled (`AT_HWCAP2` bit 1).
    pub const FSGSBASE: u64 = 2;
    /// AMX tile data permission was held (`ARCH_GET_XCOMP_PERM`).
    pub const AMX: u64 = 4;
}

plain! {
    /// The callee-saved registers of the System V ABI and where to go on: what the switch loads.
    pub struct Context[64] {
        /// rbx.
        pub rbx: u64,
        /// rbp.
        pub rbp: u64,
        /// r12.
        pub r12: u64,
        /// r13.
        pub r13: u64,
        /// r14.
        pub r14: u64,
        /// r15.
        pub r15: u64,
        /// Stack pointer: on the stack that took the signal, below the frame.
        pub rsp: u64,
        /// Zero; the place to go on is [`Process::resume_ip`].
        pub reserved: u64,
    }
}

plain! {
    /// State of one thread.
    pub struct Thread[456] {
        /// Thread id at the save.
        pub tid: u32,
        /// [`thread_flag`].
        pub flags: u32,
        /// What the switch loads.
        pub context: Context,
        /// FS base.
        pub fs_base: u64,
        /// GS base.
        pub gs_base: u64,
        /// set_tid_address(2), from `PR_GET_TID_ADDRESS`; zero when there is none.
        pub tid_address: u64,
        /// set_robust_list(2).
        pub robust_list: u64,
        /// Its length.
        pub robust_len: u64,
        /// rseq(2) area; zero when there is none.
        pub rseq: u64,
        /// Its registered length.
        pub rseq_len: u32,
        /// Its signature.
        pub rseq_sig: u32,
        /// Signal mask of the interrupted code.
        pub sigmask: u64,
        /// Alternate stack: address.
        pub altstack: u64,
        /// Alternate stack: size.
        pub altstack_len: u64,
        /// Alternate stack: flags.
        pub altstack_flags: u32,
        /// `PR_GET_PDEATHSIG`.
        pub pdeathsig: u32,
        /// Address of the `ucontext` in the signal frame.
        pub ucontext: u64,
        /// Name, with its NUL.
        pub comm: [u8; 16],
        /// `PR_GET_TIMERSLACK` in nanoseconds.
        pub timerslack: u64,
        /// Affinity mask, as many bytes as sched_getaffinity(2) gave.
        pub affinity: Blob,
        /// Nice value, -20 to 19.
        pub nice: i32,
        /// sched_getscheduler(2), SCHED_RESET_ON_FORK included.
        pub policy: u32,
        /// Static priority.
        pub priority: u32,
        /// ioprio_get(2).
        pub ioprio: u32,
        /// SCHED_DEADLINE: runtime, deadline, period in nanoseconds.
        pub deadline: [u64; 3],
        /// Registers of the interrupted code for `NT_PRSTATUS` are read from the frame; orig_rax is not in it and is -1.
        pub frame_registers: [u64; 23],
        /// Utilisation clamps of sched_getattr(2), minimum then maximum.
        pub util_clamp: [u32; 2],
        /// Room to grow; zero.
        pub reserved: [u64; 3],
    }
}

/// Bits of [`Thread::flags`].
pub mod thread_flag {
    /// This thread ran the save; it is the one that leads the resume.
    pub const LEADER: u32 = 1;
}

plain! {
    /// A contiguous piece of the address space with one set of attributes: one line of `/proc/self/maps`.
    pub struct Region[64] {
        /// First byte.
        pub start: u64,
        /// Behind the last byte.
        pub end: u64,
        /// PROT_READ 1, PROT_WRITE 2, PROT_EXEC 4.
        pub prot: u32,
        /// [`region_kind`].
        pub kind: u32,
        /// [`region_flag`].
        pub flags: u32,
        /// Index in FILES or, for [`region_kind::OBJECT`], in OBJECTS; else [`NONE`].
        pub file: u32,
        /// Offset in the file or object in bytes.
        pub offset: u64,
        /// Index of its first one among the `PT_LOAD`s (program header 1 has 0); they follow one another.
        pub first_load: u32,
        /// How many.
        pub loads: u32,
        /// Name without brackets, for `[anon:NAME]` (`PR_SET_VMA_ANON_NAME`).
        pub name: Blob,
        /// Memory protection key.
        pub pkey: u32,
        /// Zero.
        pub reserved: u32,
    }
}

plain! {
    /// A range of addresses.
    pub struct Span[16] {
        /// First byte.
        pub start: u64,
        /// Behind the last byte.
        pub end: u64,
    }
}

/// Values of [`Region::kind`].
pub mod region_kind {
    /// Private anonymous memory, the heap and stacks included.
    pub const ANON: u32 = 1;
    /// Private mapping of a file.
    pub const FILE: u32 = 2;
    /// Shared mapping of a file that has a name: restored by reference.
    pub const SHARED_FILE: u32 = 3;
    /// Mapping of an [`super::Object`] (shared anonymous memory, memfd, deleted file), shared or private by its flags.
    pub const OBJECT: u32 = 4;
    /// The kernel's data pages for the vdso (`[vvar]`, `[vvar_vclock]`): moved, never saved.
    pub const VVAR: u32 = 5;
    /// `[vdso]`: saved, so that another kernel's can be told from it.
    pub const VDSO: u32 = 6;
}

/// Bits of [`Region::flags`]; the two letters are those of `VmFlags` in `man 5 proc_pid_smaps`.
pub mod region_flag {
    /// `MAP_SHARED` (sh).
    pub const SHARED: u32 = 1;
    /// Grows down (gd).
    pub const GROWSDOWN: u32 = 1 << 1;
    /// Locked (lo).
    pub const LOCKED: u32 = 1 << 2;
    /// Locked when touched: `MLOCK_ONFAULT` (lf).
    pub const LOCKED_ONFAULT: u32 = 1 << 3;
    /// `MADV_DONTFORK` (dc).
    pub const DONTFORK: u32 = 1 << 4;
    /// `MADV_WIPEONFORK` (wf).
    pub const WIPEONFORK: u32 = 1 << 5;
    /// `MADV_DONTDUMP` (dd).
    pub const DONTDUMP: u32 = 1 << 6;
    /// `MADV_HUGEPAGE` (hg).
    pub const HUGEPAGE: u32 = 1 << 7;
    /// `MADV_NOHUGEPAGE` (nh).
    pub const NOHUGEPAGE: u32 = 1 << 8;
    /// `MADV_MERGEABLE` (mg).
    pub const MERGEABLE: u32 = 1 << 9;
    /// Sealed by mseal(2) (sl).
    pub const SEALED: u32 = 1 << 10;
    /// `MAP_DROPPABLE` (dp).
    pub const DROPPABLE: u32 = 1 << 11;
    /// `MAP_NORESERVE` (nr).
    pub const NORESERVE: u32 = 1 << 12;
    /// `MADV_SEQUENTIAL` (sr).
    pub const SEQUENTIAL: u32 = 1 << 13;
    /// `MADV_RANDOM` (rr).
    pub const RANDOM: u32 = 1 << 14;
    /// The heap of `brk`.
    pub const HEAP: u32 = 1 << 15;
    /// The stack of the first thread.
    pub const STACK: u32 = 1 << 16;
    /// A shared mapping that may not be made writable: its descriptor was opened read-only (no `mw`).
    pub const NO_MAYWRITE: u32 = 1 << 17;
    /// At least one huge page was in use.
    pub const HAD_HUGE: u32 = 1 << 18;
    /// Has guard pages (`MADV_GUARD_INSTALL`): see [`super::note::GUARDS`].
    pub const GUARDS: u32 = 1 << 19;
    /// Zero pages of this region are in the image: the file below them is not zero.
    pub const ZEROS_KEPT: u32 = 1 << 20;
}

plain! {
    /// A file that regions map, and what it was at the save.
    pub struct MappedFile[72] {
        /// Its name.
        pub path: Blob,
        /// Device, as stat(2) gives it.
        pub dev: u64,
        /// Inode.
        pub ino: u64,
        /// Length in bytes.
        pub size: u64,
        /// Last change of the contents.
        pub mtime: Time,
        /// Last change of the inode.
        pub ctime: Time,
        /// Zero when the identity is known; 1 when the name was gone at the save.
        pub deleted: u32,
        /// 1 more than the index in OBJECTS of a copy of it ([`object_kind::SPARE`]); zero when there is none.
        pub spare: u32,
    }
}

plain! {
    /// A signal action (`struct sigaction` of the kernel, rt_sigaction(2)).
    pub struct SigAction[32] {
        /// SIG_DFL 0, SIG_IGN 1, or an address.
        pub handler: u64,
        /// SA_ flags.
        pub flags: u64,
        /// The restorer.
        pub restorer: u64,
        /// Signals masked during the handler.
        pub mask: u64,
    }
}

plain! {
    /// A pending signal.
    pub struct Pending[136] {
        /// Thread index it is pending for, or [`NONE`] for the process.
        pub thread: u32,
        /// Zero.
        pub reserved: u32,
        /// `siginfo_t`.
        pub info: [u8; 128],
    }
}

plain! {
    /// An open file description.
    pub struct OpenFile[152] {
        /// [`file_kind`].
        pub kind: u32,
        /// Access mode and status flags (`F_GETFL`), without O_CLOEXEC.
        pub flags: u32,
        /// File offset in bytes.
        pub pos: u64,
        /// Device, from fstat(2).
        pub dev: u64,
        /// Inode.
        pub ino: u64,
        /// Device number of a device file.
        pub rdev: u64,
        /// Length in bytes.
        pub size: u64,
        /// Last change of the contents.
        pub mtime: Time,
        /// `st_mode`.
        pub mode: u32,
        /// Index in OBJECTS, for contents that live in the image, or of a copy ([`object_kind::SPARE`]); else [`NONE`].
        pub object: u32,
        /// Path, without " (deleted)".
        pub path: Blob,
        /// What the kind needs beyond that: a struct of [`crate::details`].
        pub detail: Blob,
        /// Index in OPEN_FILES: of the first file of the same pipe; of the other end of a socket pair; else [`NONE`].
        pub peer: u32,
        /// `F_GETOWN_EX` type: `F_OWNER_TID` 0, `F_OWNER_PID` 1, `F_OWNER_PGRP` 2; -1 when there is none.
        pub owner_type: i32,
        /// `F_GETOWN_EX` id.
        pub owner: i32,
        /// `F_GETSIG`.
        pub signal: u32,
        /// Queued bytes (pipes, sockets) of this end.
        pub queued: Blob,
        /// flock(2): 0 none, 1 shared, 2 exclusive.
        pub flock: u32,
        /// File seals (`F_GET_SEALS`) or 0.
        pub seals: u32,
        /// Record locks: array of [`Lock`].
        pub locks: Blob,
        /// Last change of the inode.
        pub ctime: Time,
        /// Owner: user.
        pub uid: u32,
        /// Owner: group.
        pub gid: u32,
    }
}

plain! {
    /// A record lock (fcntl(2)).
    pub struct Lock[24] {
        /// First byte.
        pub start: u64,
        /// Number of bytes; zero: to the end.
        pub len: u64,
        /// F_RDLCK 0 or F_WRLCK 1.
        pub kind: u16,
        /// 0: of the process (F_SETLK); 1: of the open file description (F_OFD_SETLK).
        pub ofd: u16,
        /// Zero.
        pub reserved: u32,
    }
}

/// Values of [`OpenFile::kind`].
pub mod file_kind {
    /// A regular file with a name.
    pub const REGULAR: u32 = 1;
    /// A directory.
    pub const DIRECTORY: u32 = 2;
    /// A character device that keeps no state: null, zero, full, random, urandom.
    pub const DEVICE: u32 = 3;
    /// A terminal.
    pub const TERMINAL: u32 = 4;
    /// Anything on 0, 1 or 2 whose other end is outside: becomes the restarter's own.
    pub const STANDARD: u32 = 5;
    /// A pipe whose ends are both inside, or of which only one exists.
    pub const PIPE: u32 = 6;
    /// A named pipe.
    pub const FIFO: u32 = 7;
    /// eventfd(2).
    pub const EVENTFD: u32 = 8;
    /// timerfd_create(2).
    pub const TIMERFD: u32 = 9;
    /// signalfd(2).
    pub const SIGNALFD: u32 = 10;
    /// epoll(7).
    pub const EPOLL: u32 = 11;
    /// inotify(7).
    pub const INOTIFY: u32 = 12;
    /// memfd_create(2).
    pub const MEMFD: u32 = 13;
    /// A regular file without a name.
    pub const DELETED: u32 = 14;
    /// One end of a unix socket pair.
    pub const UNIX_PAIR: u32 = 15;
    /// A listening or unconnected unix socket.
    pub const UNIX_SOCKET: u32 = 16;
    /// A listening or unconnected TCP socket.
    pub const TCP: u32 = 17;
    /// A UDP socket.
    pub const UDP: u32 = 18;
    /// Opened with O_PATH.
    pub const PATH: u32 = 19;
    /// pidfd_open(2) of the process itself.
    pub const PIDFD_SELF: u32 = 20;
}

plain! {
    /// A descriptor.
    pub struct Descriptor[12] {
        /// Its number.
        pub number: u32,
        /// Index in OPEN_FILES; equal for descriptors that dup(2) made.
        pub file: u32,
        /// FD_CLOEXEC 1, or 0.
        pub flags: u32,
    }
}

plain! {
    /// Contents of a file that exists only in the image.
    pub struct Object[56] {
        /// [`object_kind`].
        pub kind: u32,
        /// Seals of a memfd.
        pub seals: u32,
        /// Length in bytes.
        pub size: u64,
        /// Name of a memfd, path of a deleted file.
        pub name: Blob,
        /// `st_mode`.
        pub mode: u32,
        /// Flags of memfd_create(2).
        pub flags: u32,
        /// Index of its first OBJECT_RUN.
        pub first_run: u32,
        /// Number of its OBJECT_RUNs.
        pub runs: u32,
        /// Device at the save, to recognise it in maps and descriptors.
        pub dev: u64,
        /// Inode at the save.
        pub ino: u64,
    }
}

/// Values of [`Object::kind`].
pub mod object_kind {
    /// Shared anonymous memory.
    pub const SHARED_ANON: u32 = 1;
    /// memfd_create(2).
    pub const MEMFD: u32 = 2;
    /// A deleted regular file.
    pub const DELETED: u32 = 3;
    /// A copy of a small regular file that has a name, for a restart that does not find it. [`super::Object::flags`] is 1 when nothing could be read of it.
    pub const SPARE: u32 = 4;
    /// A regular file that has a name, whose contents belong to the image (`CKPT_FILES`): `--rollback-files` brings them back.
    pub const WRITTEN: u32 = 5;
    /// The name of a file beside such a one that was not there: `--rollback-files` takes away what has it.
    pub const ABSENT: u32 = 6;
}

plain! {
    /// A piece of an object's contents; what is between pieces is zero.
    pub struct ObjectRun[24] {
        /// Offset in the object in bytes, a multiple of [`PAGE`].
        pub offset: u64,
        /// Offset in the image: behind the data of the run before it in OBJECT_RUNS, the first one behind that of the last `PT_LOAD` which
        /// is not a [`RUN_OBJECT`].
        pub data: u64,
        /// Length in bytes, a multiple of [`PAGE`]; may go beyond the object's end, with zeros.
        pub len: u64,
    }
}

plain! {
    /// A timer of timer_create(2).
    pub struct PosixTimer[96] {
        /// Its id.
        pub id: u32,
        /// Clock.
        pub clock: i32,
        /// SIGEV_ kind of notification.
        pub notify: u32,
        /// Signal.
        pub signal: u32,
        /// `sigev_value`.
        pub value: u64,
        /// Thread index for SIGEV_THREAD_ID, or [`NONE`].
        pub thread: u32,
        /// timer_getoverrun(2).
        pub overrun: u32,
        /// Time and period in nanoseconds parts.
        pub timer: Timer,
        /// Zero.
        pub reserved: [u64; 4],
    }
}
