//! How a tracer enters a process: what `src/inject` and `libckpt.so` know of each other.
//!
//! The library exports one table, `ckpt_boot`, a [`Boot`]. A tracer makes a [`Frame`] of the registers of each thread, in memory of its own, and puts the thread
//! at [`Boot::enter`] with the frame's address in rsp and the address of [`Boot::entry`] or [`Boot::join`] in rbx.

use crate::plain::plain;

/// First bytes of a [`Boot`].
pub const MAGIC: u64 = u64::from_le_bytes(*b"ckptboot");
/// Version of the table and of the frame.
pub const VERSION: u64 = 1;

plain! {
    /// The table. All but the first two are addresses in the library.
    pub struct Boot[128] {
        /// [`MAGIC`].
        pub magic: u64,
        /// [`VERSION`].
        pub version: u64,
        /// Where a thread is put.
        pub enter: u64,
        /// Where the one goes on that leads.
        pub entry: u64,
        /// Where the others go on.
        pub join: u64,
        /// Where a handler returns to.
        pub restorer: u64,
        /// A system call that a thread makes here for the program,
        pub wait: u64,
        /// and where it is then.
        pub waited: u64,
        /// The word that is not zero while a save runs.
        pub leader: u64,
        /// The word that says whether the leader comes: [`COMING`].
        pub joining: u64,
        /// What a tracer keeps there: a [`Kept`].
        pub kept: u64,
        /// The image's name, 4096 bytes.
        pub image: u64,
        /// Its length, 8 bytes.
        pub image_len: u64,
        /// The signal that asks for a save, 4 bytes; zero for none.
        pub signal: u64,
        /// Whether the program waits for the image, 1 byte.
        pub foreground: u64,
        /// Whether a program with children is saved without them, 1 byte.
        pub ignores_children: u64,
    }
}

/// Value of the word at [`Boot::joining`]: the leader is on its way.
pub const COMING: u32 = 1;

plain! {
    /// What a tracer has done, for the next one. Part of the image, so that it is known after a restart as well.
    pub struct Kept[64] {
        /// [`READY`] when the library is whole; anything else when a tracer was killed in between.
        pub ready: u64,
        /// The slots that frames are in: address, and number.
        pub slots: u64,
        /// Their number.
        pub count: u64,
        /// `environ` of a program whose libc does not tell it: the address of an array of strings.
        pub environ: u64,
        /// Where the kernel writes an answer: a `struct sigaction`.
        pub answer: [u64; 4],
    }
}

/// Value of [`Kept::ready`].
pub const READY: u64 = 1;

plain! {
    /// A signal frame (`struct rt_sigframe`, arch/x86/include/asm/sigframe.h) with what libckpt keeps with a thread in the words that the kernel does not use.
    pub struct Frame[440] {
        /// Where the handler returns to.
        pub restorer: u64,
        /// `UC_` flags.
        pub uc_flags: u64,
        /// Zero.
        pub uc_link: u64,
        /// The alternate stack: the thread fills it in.
        pub altstack: [u64; 3],
        /// r8 to r15, then rdi rsi rbp rbx rdx rax rcx rsp rip eflags.
        pub gregs: [u64; 18],
        /// cs, gs, fs, ss, sixteen bits each from the low end.
        pub segments: u64,
        /// err, trapno, oldmask, cr2.
        pub trap: [u64; 4],
        /// Address of the XSAVE area.
        pub fpstate: u64,
        /// libckpt's.
        pub capture: [u64; 8],
        /// The thread's signal mask.
        pub sigmask: u64,
        /// The start of a `siginfo_t`: the request.
        pub info: [u64; 6],
        /// libckpt's.
        pub tid: [u64; 2],
        /// libckpt's.
        pub index: u32,
        /// Not zero while the frame is in use: [`Frame::WAITING`].
        pub leave: u32,
        /// [`Frame::CONTINUES`] when the thread was in restart_syscall(2).
        pub onward: u32,
        /// libckpt's.
        pub called: u32,
        /// libckpt's.
        pub xfeatures: u64,
        /// One more than the number of the system call that the thread was in; zero for none.
        pub call: u64,
        /// The rseq(2) area.
        pub rseq: u64,
        /// Its length in bytes.
        pub rseq_len: u32,
        /// Its signature.
        pub rseq_sig: u32,
        /// 1.
        pub entered: u32,
        /// Zero.
        pub unused: [u32; 3],
    }
}

impl Frame {
    /// Value of [`Self::onward`].
    pub const CONTINUES: u32 = 1;
    /// Value of [`Self::leave`] when the thread has not yet loaded its registers from the frame.
    pub const WAITING: u32 = 1;
}
