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

/// Whether an instruction at `offset` of a patched vdso is in the middle of a stub: what was there, and was about to run, is lost.
pub fn is_inside_stub(patched: &[u8], offset: usize) -> bool {
    (1..STUB).any(|ahead| {
        let found = offset.checked_sub(ahead).and_then(|start| patched.get(start..start.checked_add(STUB)?));
        FUNCTIONS.iter().any(|(_, nr)| found == Some(&stub(*nr)))
    })
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
            function(1, &mut time)
        };
        assert_eq!(result, 0);
        assert!(time[0] > 0);
    }

    #[test]
    fn what_a_stub_has_replaced_is_told() {
        let mut patched = vdso().to_vec();
        patch(&mut patched).expect("known form");
        let code = stub(Sysno::clock_gettime);
        let start = patched.windows(STUB).position(|window| window == code).expect("the stub");
        assert!(!is_inside_stub(&patched, start), "the function as a whole can be called");
        assert!((start + 1..start + STUB).all(|offset| is_inside_stub(&patched, offset)));
        assert!(!is_inside_stub(&patched, start + STUB) && !is_inside_stub(&patched, 0));
    }

    #[test]
    fn nonsense_is_refused() {
        assert_eq!(patch(&mut []), None);
        assert_eq!(patch(&mut [0; 4096]), None);
        let mut cut = vdso().to_vec();
        cut.truncate(0x300);
        assert_eq!(patch(&mut cut), None);
    }
}
