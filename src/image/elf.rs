//! The parts of ELF64 that a core file of x86-64 Linux is made of (`man 5 elf`, include/uapi/linux/elf.h).

use crate::plain::plain;

/// First four bytes of an ELF file.
pub const MAGIC: [u8; 4] = *b"\x7fELF";
/// `e_ident` of a 64-bit little-endian file: class, byte order, version, System V ABI.
pub const IDENT: [u8; 16] = *b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0";
/// Index of the class in `e_ident`.
pub const EI_CLASS: usize = 4;
/// Class of 64-bit files.
pub const ELFCLASS64: u8 = 2;
/// Index of the byte order in `e_ident`.
pub const EI_DATA: usize = 5;
/// Least significant byte first.
pub const ELFDATA2LSB: u8 = 1;
/// `e_type` of a core file.
pub const ET_CORE: u16 = 4;
/// `e_machine` of x86-64.
pub const EM_X86_64: u16 = 62;
/// `e_version`.
pub const EV_CURRENT: u32 = 1;
/// `e_phnum` when the number of program headers is in `sh_info` of section header 0.
pub const PN_XNUM: u16 = 0xffff;
/// `p_type`: loaded into memory.
pub const PT_LOAD: u32 = 1;
/// `p_type`: notes.
pub const PT_NOTE: u32 = 4;
/// `p_flags`: executable.
pub const PF_X: u32 = 1;
/// `p_flags`: writable.
pub const PF_W: u32 = 2;
/// `p_flags`: readable.
pub const PF_R: u32 = 4;

/// Note of owner `CORE`: a [`Prstatus`], one for each thread; what follows it up to the next one belongs to the same thread.
pub const NT_PRSTATUS: u32 = 1;
/// Note of owner `CORE`: `struct user_fpregs_struct`, 512 bytes, the layout of FXSAVE.
pub const NT_FPREGSET: u32 = 2;
/// Note of owner `CORE`: a [`Prpsinfo`].
pub const NT_PRPSINFO: u32 = 3;
/// Note of owner `CORE`: the auxiliary vector.
pub const NT_AUXV: u32 = 6;
/// Note of owner `LINUX`: the XSAVE area, with XCR0 at offset 464.
pub const NT_X86_XSTATE: u32 = 0x202;
/// Note of owner `CORE`: `siginfo_t`, 128 bytes.
pub const NT_SIGINFO: u32 = 0x5349_4749;
/// Note of owner `CORE`: mapped files. Count and page size (8 bytes each), then start, end and page offset for each, then the names.
pub const NT_FILE: u32 = 0x4649_4c45;

/// Owner of the notes that all Unix debuggers know, with its NUL.
pub const OWNER_CORE: &[u8; 5] = b"CORE\0";
/// Owner of the notes that Linux added, with its NUL.
pub const OWNER_LINUX: &[u8; 6] = b"LINUX\0";

plain! {
    /// `Elf64_Ehdr`: the file's first bytes.
    pub struct Ehdr[64] {
        /// [`IDENT`].
        pub e_ident: [u8; 16],
        /// [`ET_CORE`].
        pub e_type: u16,
        /// [`EM_X86_64`].
        pub e_machine: u16,
        /// [`EV_CURRENT`].
        pub e_version: u32,
        /// Zero in a core file.
        pub e_entry: u64,
        /// Offset of the program headers.
        pub e_phoff: u64,
        /// Offset of the section headers, or zero.
        pub e_shoff: u64,
        /// Zero on x86-64.
        pub e_flags: u32,
        /// Size of this struct.
        pub e_ehsize: u16,
        /// Size of a [`Phdr`].
        pub e_phentsize: u16,
        /// Number of program headers, or [`PN_XNUM`].
        pub e_phnum: u16,
        /// Size of a [`Shdr`].
        pub e_shentsize: u16,
        /// Number of section headers.
        pub e_shnum: u16,
        /// Zero: no section has a name.
        pub e_shstrndx: u16,
    }
}

plain! {
    /// `Elf64_Phdr`: a program header.
    pub struct Phdr[56] {
        /// [`PT_LOAD`] or [`PT_NOTE`].
        pub p_type: u32,
        /// [`PF_R`], [`PF_W`], [`PF_X`].
        pub p_flags: u32,
        /// Offset in the file.
        pub p_offset: u64,
        /// Address in memory.
        pub p_vaddr: u64,
        /// Unused by ELF core files; here [`crate::format::RUN_PRIVATE`] and its like.
        pub p_paddr: u64,
        /// Bytes in the file.
        pub p_filesz: u64,
        /// Bytes in memory; those beyond `p_filesz` are zero.
        pub p_memsz: u64,
        /// Alignment.
        pub p_align: u64,
    }
}

plain! {
    /// `Elf64_Shdr`: a section header. Core files have one only for the sake of [`PN_XNUM`].
    pub struct Shdr[64] {
        /// Zero: no name.
        pub sh_name: u32,
        /// Zero: `SHT_NULL`.
        pub sh_type: u32,
        /// Zero.
        pub sh_flags: u64,
        /// Zero.
        pub sh_addr: u64,
        /// Zero.
        pub sh_offset: u64,
        /// Number of section headers.
        pub sh_size: u64,
        /// Zero.
        pub sh_link: u32,
        /// Number of program headers.
        pub sh_info: u32,
        /// Zero.
        pub sh_addralign: u64,
        /// Zero.
        pub sh_entsize: u64,
    }
}

plain! {
    /// `Elf64_Nhdr`, before each note's name and contents, both padded to 4 bytes.
    pub struct Nhdr[12] {
        /// Length of the name in bytes, its NUL included.
        pub n_namesz: u32,
        /// Length of the contents in bytes.
        pub n_descsz: u32,
        /// Type, in the name space of the owner.
        pub n_type: u32,
    }
}

plain! {
    /// `struct user_regs_struct` of x86-64 (arch/x86/include/asm/user_64.h), the order of [`Prstatus::regs`].
    pub struct UserRegs[216] {
        /// r15.
        pub r15: u64,
        /// r14.
        pub r14: u64,
        /// r13.
        pub r13: u64,
        /// r12.
        pub r12: u64,
        /// rbp.
        pub rbp: u64,
        /// rbx.
        pub rbx: u64,
        /// r11.
        pub r11: u64,
        /// r10.
        pub r10: u64,
        /// r9.
        pub r9: u64,
        /// r8.
        pub r8: u64,
        /// rax.
        pub rax: u64,
        /// rcx.
        pub rcx: u64,
        /// rdx.
        pub rdx: u64,
        /// rsi.
        pub rsi: u64,
        /// rdi.
        pub rdi: u64,
        /// Number of the system call, or all ones outside of one.
        pub orig_rax: u64,
        /// rip.
        pub rip: u64,
        /// cs.
        pub cs: u64,
        /// rflags.
        pub eflags: u64,
        /// rsp.
        pub rsp: u64,
        /// ss.
        pub ss: u64,
        /// Base of fs.
        pub fs_base: u64,
        /// Base of gs.
        pub gs_base: u64,
        /// ds.
        pub ds: u64,
        /// es.
        pub es: u64,
        /// fs.
        pub fs: u64,
        /// gs.
        pub gs: u64,
    }
}

plain! {
    /// `struct elf_prstatus` (include/linux/elfcore.h): a thread's identity and registers.
    pub struct Prstatus[336] {
        /// `si_signo`, `si_code` and `si_errno` of the signal that ended the process.
        pub si_signo: i32,
        /// See above.
        pub si_code: i32,
        /// See above.
        pub si_errno: i32,
        /// Current signal: what debuggers show as the cause.
        pub pr_cursig: u16,
        /// Padding.
        pub pad_cursig: u16,
        /// Pending signals.
        pub pr_sigpend: u64,
        /// Blocked signals.
        pub pr_sighold: u64,
        /// Thread id.
        pub pr_pid: u32,
        /// Parent process.
        pub pr_ppid: u32,
        /// Process group.
        pub pr_pgrp: u32,
        /// Session.
        pub pr_sid: u32,
        /// User time: seconds and microseconds.
        pub pr_utime: [i64; 2],
        /// System time.
        pub pr_stime: [i64; 2],
        /// User time of children.
        pub pr_cutime: [i64; 2],
        /// System time of children.
        pub pr_cstime: [i64; 2],
        /// General registers.
        pub regs: UserRegs,
        /// Whether an [`NT_FPREGSET`] follows.
        pub pr_fpvalid: u32,
        /// Padding.
        pub pad_fpvalid: u32,
    }
}
const _: () = assert!(core::mem::offset_of!(Prstatus, regs) == 112);

plain! {
    /// `struct elf_prpsinfo` (include/linux/elfcore.h): the process as `ps` would show it.
    pub struct Prpsinfo[136] {
        /// Number of the state.
        pub pr_state: u8,
        /// Its letter (R, S, D ...).
        pub pr_sname: u8,
        /// Whether it is a zombie.
        pub pr_zomb: u8,
        /// Nice value.
        pub pr_nice: u8,
        /// Padding.
        pub pad_nice: u32,
        /// Flags of the task (`PF_` of include/linux/sched.h).
        pub pr_flag: u64,
        /// User id.
        pub pr_uid: u32,
        /// Group id.
        pub pr_gid: u32,
        /// Process id.
        pub pr_pid: u32,
        /// Parent process.
        pub pr_ppid: u32,
        /// Process group.
        pub pr_pgrp: u32,
        /// Session.
        pub pr_sid: u32,
        /// File name of the executable, NUL-terminated unless it fills the field.
        pub pr_fname: [u8; 16],
        /// First bytes of the arguments, separated by spaces.
        pub pr_psargs: [u8; 80],
    }
}
