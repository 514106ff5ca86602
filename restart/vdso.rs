//! The vdso of another kernel: its functions turned into system calls.
//!
//! The program has addresses of functions of the saved vdso, which reads time from pages that only the kernel it came with fills in the
//! way it expects. On another kernel the saved code stays at its address as ordinary memory, and each of its functions begins with the
//! system call that it was there to avoid.

use image::elf::{Ehdr, PT_LOAD, Phdr};
use image::plain::read;
use sys::Sysno;

const PT_DYNAMIC: u32 = 2;
const DT_STRTAB: u64 = 5;
const DT_SYMTAB: u64 = 6;
/// Size of `Elf64_Dyn`: tag and value.
const DYN: usize = 16;
/// Size of `Elf64_Sym`: name (4 bytes), info, other, section (2), value (8), size (8).
const SYM: usize = 24;
/// Length of a stub in bytes.
const STUB: usize = 8;

/// The functions of the x86-64 vdso (arch/x86/entry/vdso/vdso.lds.S), less their `__vdso_`, and their system calls.
const FUNCTIONS: [(&[u8], Sysno); 6] = [
    (b"clock_gettime", Sysno::clock_gettime),
    (b"gettimeofday", Sysno::gettimeofday),
    (b"time", Sysno::time),
    (b"getcpu", Sysno::getcpu),
    (b"clock_getres", Sysno::clock_getres),
    (b"getrandom", Sysno::getrandom),
];

/// The code that a function begins with: `mov eax, nr; syscall; ret`. The functions have the arguments of the calls, and the
/// convention of both is the same up to the third argument; what is more (of getrandom) the call does not look at.
fn stub(nr: Sysno) -> [u8; STUB] {
    let [a, b, c, d] = (nr as u32).to_le_bytes();
    [0xb8, a, b, c, d, 0x0f, 0x05, 0xc3]
}

/// Patches the bytes of a saved `[vdso]`. Gives the number of symbols whose code was patched; `None` when the bytes are not of the
/// known form.
pub fn patch(vdso: &mut [u8]) -> Option<u32> {
    let (base, dynamic) = segments(vdso)?;
    let offset = |address: u64| usize::try_from(address.checked_sub(base)?).ok();
    let entry =
        |tag| entries(vdso, offset(dynamic)?).find(|(found, _)| *found == tag).map(|(_, value)| value);
    let symbols = offset(entry(DT_SYMTAB)?)?;
    let strings = offset(entry(DT_STRTAB)?)?;
    // The linker puts the strings right behind the symbols, and there is no other word on how many symbols there are that every
    // vdso has (DT_HASH went, section headers may be cut off).
    let count = strings.checked_sub(symbols)? / SYM;
    let mut patched = 0;
    for index in 0..count {
        let at = symbols + index * SYM;
        let name = strings.checked_add(read::<u32>(vdso, at)? as usize)?;
        // Type, visibility and section are one word here; a section of zero means that the symbol is not defined.
        let section = read::<u32>(vdso, at + 4)? >> 16;
        let code = offset(read::<u64>(vdso, at + 8)?);
        let name = vdso.get(name..)?.split(|byte| *byte == 0).next()?;
        let name = name.strip_prefix(b"__vdso_").unwrap_or(name);
        let Some((_, nr)) = FUNCTIONS.iter().find(|(function, _)| section != 0 && *function == name) else {
            continue;
        };
        let code = code?;
        for (to, from) in vdso.get_mut(code..code.checked_add(STUB)?)?.iter_mut().zip(stub(*nr)) {
            *to = from;
        }
        patched += 1;
    }
    Some(patched)
}

/// Where the stub begins in whose middle `offset` of a patched vdso is: what was there, and was about to run, is gone.
pub fn stub_around(patched: &[u8], offset: usize) -> Option<usize> {
    (1..STUB).filter_map(|ahead| offset.checked_sub(ahead)).find(|start| {
        let found = start.checked_add(STUB).and_then(|end| patched.get(*start..end));
        FUNCTIONS.iter().any(|(_, nr)| found == Some(&stub(*nr)))
    })
}

/// What the first instructions of a function have done to the stack, so that it can be undone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prologue {
    /// How many registers were pushed.
    pub pushes: u64,
    /// Whether rbp points to its own saved value, right below the return address.
    pub framed: bool,
}

/// What was done between the start of a function and `offset`. `None` when there is anything but the pushing of registers, and what may as
/// well be done twice: comparing, jumping ahead, writing registers that no caller relies on.
pub fn prologue(original: &[u8], start: usize, offset: usize) -> Option<Prologue> {
    let mut done = Prologue::default();
    let mut at = start;
    let mut last_push = 0;
    while at < offset {
        at += match original.get(at..)? {
            // endbr64
            [0xf3, 0x0f, 0x1e, 0xfa, ..] => 4,
            // push; push of r8 to r15
            [register @ 0x50..=0x57, ..] => {
                done.pushes += 1;
                last_push = *register;
                1
            }
            [0x41, 0x50..=0x57, ..] => {
                done.pushes += 1;
                2
            }
            // mov rbp, rsp behind push rbp
            [0x48, 0x89, 0xe5, ..] if done.pushes == 1 && last_push == 0x55 => {
                done.framed = true;
                3
            }
            // and rsp, imm8; sub rsp, imm8
            [0x48, 0x83, 0xe4 | 0xec, _, ..] if done.framed => 4,
            // mov r9 to r11, register; mov eax, imm32
            [0x49, 0x89, to, ..] if to >> 6 == 3 && matches!(to & 7, 1..=3) => 3,
            [0xb8, _, _, _, _, ..] => 5,
            // cmp register, imm8; test register, register
            [0x83, 0xf8..=0xff, _, ..] => 3,
            [0x85, 0xc0..=0xff, ..] => 2,
            [0x48, 0x85, 0xc0..=0xff, ..] => 3,
            // A jump that was not taken, or `offset` would be elsewhere.
            [0x70..=0x7f, _, ..] => 2,
            [0x0f, 0x80..=0x8f, ..] => 6,
            _ => return None,
        };
    }
    (at == offset).then_some(done)
}

/// The address that the vdso was linked at, and that of its dynamic section.
fn segments(vdso: &[u8]) -> Option<(u64, u64)> {
    let ehdr: Ehdr = read(vdso, 0)?;
    let (mut base, mut dynamic) = (None, None);
    for index in 0..usize::from(ehdr.e_phnum) {
        let at = usize::try_from(ehdr.e_phoff).ok()?.checked_add(index * size_of::<Phdr>())?;
        let phdr: Phdr = read(vdso, at)?;
        match phdr.p_type {
            PT_LOAD if base.is_none() => base = phdr.p_vaddr.checked_sub(phdr.p_offset),
            PT_DYNAMIC => dynamic = Some(phdr.p_vaddr),
            _ => {}
        }
    }
    Some((base?, dynamic?))
}

/// The entries of the dynamic section, up to the null entry (which has tag 0, and nobody asks for).
fn entries(vdso: &[u8], start: usize) -> impl Iterator<Item = (u64, u64)> {
    (0..)
        .map_while(move |index: usize| {
            let at = start.checked_add(index * DYN)?;
            Some((read::<u64>(vdso, at)?, read::<u64>(vdso, at + 8)?))
        })
        .take_while(|(tag, _)| *tag != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, vec::Vec};

    /// This process's vdso.
    fn vdso() -> &'static [u8] {
        let maps = fs::read_to_string("/proc/self/maps").expect("maps");
        let line = maps.lines().find(|line| line.ends_with("[vdso]")).expect("a vdso");
        let line = image::maps::parse_line(line.as_bytes()).expect("a line");
        // SAFETY: the kernel maps it readable for the whole life of the process.
        unsafe { core::slice::from_raw_parts(line.start as *const u8, line.len() as usize) }
    }

    #[test]
    #[cfg_attr(miri, ignore = "the vdso is no memory of the interpreter's")]
    fn every_function_becomes_a_system_call() {
        let original = vdso();
        let mut patched = original.to_vec();
        assert!(patch(&mut patched).expect("known form") >= 8, "each function has two names");
        // Each stub is there once, whatever the number of its names.
        for (_, nr) in &FUNCTIONS[..5] {
            let count = patched.windows(STUB).filter(|window| *window == stub(*nr)).count();
            assert_eq!(count, 1, "{nr:?}");
        }
        let changed: Vec<_> = original.iter().zip(&patched).filter(|(a, b)| a != b).collect();
        assert!(changed.len() <= FUNCTIONS.len() * STUB, "nothing else is touched");
    }

    #[test]
    #[cfg_attr(miri, ignore = "the vdso is no memory of the interpreter's")]
    fn a_patched_function_tells_the_time() {
        let mut patched = vdso().to_vec();
        patch(&mut patched).expect("known form");
        let len = patched.len() as u64;
        // SAFETY: new memory.
        let at = unsafe { sys::memory::mmap(0, len, 3, 0x22, -1, 0) }.expect("memory");
        let code = stub(Sysno::clock_gettime);
        let offset = patched.windows(STUB).position(|window| window == code).expect("the stub");
        // SAFETY: the memory is new and long enough; then it is made executable.
        unsafe {
            core::ptr::copy_nonoverlapping(patched.as_ptr(), at as *mut u8, patched.len());
            sys::memory::mprotect(at, len, 5).expect("executable");
        }
        let mut time = [0i64; 2];
        // SAFETY: the stub has the signature of clock_gettime(2).
        let result = unsafe {
            let function: extern "C" fn(u64, *mut [i64; 2]) -> i64 =
                core::mem::transmute(at as usize + offset);
            function(1, &raw mut time)
        };
        assert_eq!(result, 0);
        assert!(time[0] > 0);
    }

    #[test]
    #[cfg_attr(miri, ignore = "the vdso is no memory of the interpreter's")]
    fn what_a_stub_has_replaced_is_told() {
        let mut patched = vdso().to_vec();
        patch(&mut patched).expect("known form");
        let code = stub(Sysno::clock_gettime);
        let start = patched.windows(STUB).position(|window| window == code).expect("the stub");
        assert_eq!(stub_around(&patched, start), None, "the function as a whole can be called");
        assert!((start + 1..start + STUB).all(|offset| stub_around(&patched, offset) == Some(start)));
        assert_eq!(stub_around(&patched, start + STUB), None);
        assert_eq!(stub_around(&patched, 0), None);
    }

    #[test]
    fn prologues_are_followed() {
        // push rbp; mov rbp, rsp; push r14; push rbx; and rsp, -16
        let framed = [0x55, 0x48, 0x89, 0xe5, 0x41, 0x56, 0x53, 0x48, 0x83, 0xe4, 0xf0];
        let at = |offset| prologue(&framed, 0, offset);
        assert_eq!(at(0), Some(Prologue::default()));
        assert_eq!(at(1), Some(Prologue { pushes: 1, framed: false }));
        assert_eq!(at(2), None, "the middle of an instruction");
        assert_eq!(at(4), Some(Prologue { pushes: 1, framed: true }));
        assert_eq!(at(7), Some(Prologue { pushes: 3, framed: true }));
        assert_eq!(at(11), Some(Prologue { pushes: 3, framed: true }));
        // push rbp; mov r9, rsi; mov rbp, rsp
        let late = [0x55, 0x49, 0x89, 0xf1, 0x48, 0x89, 0xe5];
        assert_eq!(prologue(&late, 0, 7), Some(Prologue { pushes: 1, framed: true }));
        // cmp edi, 23; ja
        assert_eq!(prologue(&[0x83, 0xff, 0x17, 0x77, 0x67], 0, 5), Some(Prologue::default()));
        // mov r8, rsi: an argument is overwritten
        assert_eq!(prologue(&[0x49, 0x89, 0xf0], 0, 3), None);
        // mov rdi, rax
        assert_eq!(prologue(&[0x48, 0x89, 0xc7], 0, 3), None);
    }

    #[test]
    #[cfg_attr(miri, ignore = "the vdso is no memory of the interpreter's")]
    fn nonsense_is_refused() {
        assert_eq!(patch(&mut []), None);
        assert_eq!(patch(&mut [0; 4096]), None);
        let mut cut = vdso().to_vec();
        cut.truncate(0x300);
        assert_eq!(patch(&mut cut), None);
    }
}
