//! Which system call was interrupted: the signal frame does not say, but the code before the `syscall` instruction does.
//!
//! The kernel puts the result over the number in rax. So the straight line of code that leads to the instruction is read backwards
//! for the last write to rax: a constant in most cases; a register that still holds its value; a slot of the stack. Where a
//! function of libc takes the number as an argument (`syscall`, and the one that glibc 2.41 and musl make cancellable calls in), the search goes on
//! in its caller. Instructions that are not known here end it: then the number is not known.

use crate::instruction::{Instruction, Source, decode, reg};

/// The `syscall` instruction.
pub const SYSCALL: [u8; 2] = [0x0f, 0x05];
/// Bytes of code before an instruction that are looked at.
pub const WINDOW: usize = 64;

/// The interrupted process: its registers by number, and its memory.
pub trait Target {
    /// The register's value at the interruption.
    fn register(&self, number: u8) -> u64;
    /// Reads memory; false where there is none.
    fn read(&self, address: u64, to: &mut [u8]) -> bool;
}

/// The number of the system call whose `syscall` instruction is at `ip`.
pub fn number(target: &impl Target, ip: u64) -> Option<u64> {
    // What is left of the registers behind the instruction: all but the three that it changes.
    let intact = |r: u8| !matches!(r, reg::RAX | reg::RCX | reg::R11);
    let code = Window::before(target, ip)?;
    let rsp = target.register(reg::RSP);
    let Some(argument) = leaf(code.bytes()) else {
        return trace(target, code.bytes(), reg::RAX, rsp, intact);
    };
    // In the caller: the return address is on top of the stack; only what functions preserve is as it was.
    let caller = call_before(target, word(target, rsp)?)?;
    let code = Window::before(target, caller)?;
    let preserved = |r: u8| matches!(r, reg::RBX | reg::RBP | reg::R12..=reg::R15);
    trace(target, code.bytes(), argument, rsp.wrapping_add(8), preserved)
}

/// The code before an address: as much of the window as there is memory.
struct Window {
    buf: [u8; WINDOW],
    len: usize,
}

impl Window {
    fn before(target: &impl Target, ip: u64) -> Option<Self> {
        let mut this = Self { buf: [0; WINDOW], len: WINDOW };
        while this.len >= 8 {
            let room = this.buf.get_mut(..this.len)?;
            if target.read(ip.wrapping_sub(this.len as u64), room) {
                return Some(this);
            }
            this.len /= 2;
        }
        None
    }

    fn bytes(&self) -> &[u8] {
        self.buf.get(..self.len).unwrap_or_default()
    }
}

fn word(target: &impl Target, address: u64) -> Option<u64> {
    let mut bytes = [0; 8];
    target.read(address, &mut bytes).then(|| u64::from_le_bytes(bytes))
}

/// `syscall` of glibc: moves each argument one register down.
const SYSCALL_FUNCTION: &[u8] = &[
    0x48, 0x89, 0xf8, 0x48, 0x89, 0xf7, 0x48, 0x89, 0xd6, 0x48, 0x89, 0xca, 0x4d, 0x89, 0xc2, 0x4d, 0x89,
    0xc8, 0x4c, 0x8b, 0x4c, 0x24, 0x08,
];
/// `__syscall_cp_asm` of musl, `__syscall_cancel_arch` of glibc.
const CANCELLABLE: &[u8] = &[
    0x49, 0x89, 0xfb, 0x48, 0x89, 0xf0, 0x48, 0x89, 0xd7, 0x48, 0x89, 0xce, 0x4c, 0x89, 0xc2, 0x4d, 0x89,
    0xca, 0x4c, 0x8b, 0x44, 0x24, 0x08, 0x4c, 0x8b, 0x4c, 0x24, 0x10, 0x4c, 0x89, 0x5c, 0x24, 0x08,
];

/// Functions of libc that take the number as an argument, by the code before their `syscall`; the register of the argument.
fn leaf(code: &[u8]) -> Option<u8> {
    if code.ends_with(SYSCALL_FUNCTION) {
        Some(reg::RDI)
    } else if code.ends_with(CANCELLABLE) {
        Some(reg::RSI)
    } else {
        None
    }
}

/// The address of the call instruction that returns to `ip`.
fn call_before(target: &impl Target, ip: u64) -> Option<u64> {
    let mut code = [0; 6];
    if !target.read(ip.wrapping_sub(6), &mut code) {
        return None;
    }
    let len = match code {
        [_, 0xe8, ..] => 5,                 // call rel32
        [0xff, 0x15, ..] => 6,              // call [rip + disp32]
        [.., 0x41, 0xff, 0xd0..=0xd7] => 3, // call r8 to r15
        [.., 0xff, 0xd0..=0xd7] => 2,       // call rax to rdi
        _ => return None,
    };
    Some(ip.wrapping_sub(len))
}

/// The value that register `wanted` has behind `code`, where the stack pointer is `rsp`. `intact` tells which registers still have the
/// values that they had there.
fn trace(
    target: &impl Target,
    mut code: &[u8],
    mut wanted: u8,
    mut rsp: u64,
    intact: impl Fn(u8) -> bool,
) -> Option<u64> {
    // Registers that are written behind the place that the search has come to.
    let mut written = 0u32;
    loop {
        let found = last_write(code, wanted)?;
        written |= found.written;
        rsp = rsp.wrapping_sub(found.moved as u64);
        match found.source {
            Source::Immediate(value) => return Some(value),
            Source::Stack(disp) => return word(target, rsp.wrapping_add_signed(disp)),
            Source::Frame(disp) if intact(reg::RBP) && written >> reg::RBP & 1 == 0 => {
                return word(target, target.register(reg::RBP).wrapping_add_signed(disp));
            }
            Source::Register(r) if intact(r) && written >> r & 1 == 0 => return Some(target.register(r)),
            Source::Register(r) => {
                written |= 1 << wanted;
                wanted = r;
                code = code.get(..found.start)?;
            }
            _ => return None,
        }
    }
}

/// The last write to a register.
struct Found {
    /// Offset of the instruction.
    start: usize,
    source: Source,
    /// What the stack pointer moves from there to the end.
    moved: i64,
    /// Registers that are written behind it.
    written: u32,
}

/// Finds the last instruction that writes `wanted`, if the code from there to the end is a straight line.
///
/// Instructions have no marks of where they begin, but code that is decoded from a wrong place falls into step soon. So every place
/// votes for those that it leads to.
fn last_write(code: &[u8], wanted: u8) -> Option<Found> {
    let votes = votes(code);
    let mut end = code.len();
    let mut found = Found { start: 0, source: Source::Other, moved: 0, written: 0 };
    // Slots that are written on the way, from the stack pointer at the end.
    let mut stores = [None; 16];
    let mut stored = 0;
    loop {
        let (start, next) = before(code, &votes, end)?;
        if next.is_barrier {
            return None;
        }
        found.moved += next.moves;
        if next.writes == Some(wanted) {
            let overlaps = |slot: &Option<i64>, disp: i64| {
                slot.is_some_and(|slot| (slot - (disp - found.moved)).unsigned_abs() < 8)
            };
            if let Source::Stack(disp) = next.source
                && stores.iter().any(|slot| overlaps(slot, disp))
            {
                return None;
            }
            return Some(Found { start, source: next.source, ..found });
        }
        if let Some(disp) = next.stores {
            *stores.get_mut(stored)? = Some(disp - found.moved);
            stored += 1;
        }
        found.written |= next.writes.map_or(0, |r| 1 << r);
        end = start;
    }
}

/// For each place, from how many places code leads there and on to the end; zero where it does not.
fn votes(code: &[u8]) -> [u8; WINDOW] {
    let mut reaches = [false; WINDOW];
    for start in (0..code.len()).rev() {
        let next = code.get(start..).and_then(decode).map(|instruction| start + instruction.len);
        let ok = next.is_some_and(|next| next == code.len() || reaches.get(next).is_some_and(|ok| *ok));
        if let Some(slot) = reaches.get_mut(start) {
            *slot = ok;
        }
    }
    let mut votes = [0u8; WINDOW];
    for start in 0..code.len() {
        if reaches.get(start) != Some(&true) {
            continue;
        }
        let Some(own) = votes.get_mut(start) else { break };
        *own = own.saturating_add(1);
        let own = *own;
        let next = code.get(start..).and_then(decode).map_or(0, |instruction| start + instruction.len);
        if let Some(next) = votes.get_mut(next) {
            *next = next.saturating_add(own);
        }
    }
    votes
}

/// The instruction that ends at `end`: the one with the most votes.
fn before(code: &[u8], votes: &[u8; WINDOW], end: usize) -> Option<(usize, Instruction)> {
    let mut best = None;
    let mut most = 0;
    for (start, votes) in votes.iter().enumerate().take(end).skip(end.saturating_sub(LONGEST)) {
        if *votes <= most {
            continue;
        }
        if let Some(instruction) = code.get(start..).and_then(decode)
            && start + instruction.len == end
        {
            (best, most) = (Some((start, instruction)), *votes);
        }
    }
    best
}

/// Length of the longest instruction in bytes.
const LONGEST: usize = 15;

// Under Miri they would take minutes, for code without `unsafe`.
#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;
    use std::collections::HashMap;
    use std::vec::Vec;

    /// A target with code that ends at [`IP`], some registers, and memory by address.
    #[derive(Default)]
    struct Fake {
        registers: HashMap<u8, u64>,
        memory: HashMap<u64, u8>,
    }

    const IP: u64 = 0x40_1000;
    const STACK: u64 = 0x7fff_0000;

    impl Fake {
        fn new(code: &[u8]) -> Self {
            let mut fake = Self::default();
            // Whole pages: what is before the code is filled with int3.
            (0..4096).for_each(|i| fake.put(IP - i, &[0xcc]));
            fake.put(IP - code.len() as u64, code);
            fake.register(reg::RSP, STACK)
        }

        fn put(&mut self, address: u64, bytes: &[u8]) {
            (address..).zip(bytes).for_each(|(at, byte)| _ = self.memory.insert(at, *byte));
        }

        fn word(mut self, address: u64, value: u64) -> Self {
            self.put(address, &value.to_le_bytes());
            self
        }

        fn code(mut self, end: u64, code: &[u8]) -> Self {
            (1..512).for_each(|i| self.put(end - i, &[0xcc]));
            self.put(end - code.len() as u64, code);
            self
        }

        fn register(mut self, number: u8, value: u64) -> Self {
            self.registers.insert(number, value);
            self
        }

        fn number(&self) -> Option<u64> {
            number(self, IP)
        }
    }

    impl Target for Fake {
        fn register(&self, number: u8) -> u64 {
            self.registers.get(&number).copied().unwrap_or(0xdead)
        }

        fn read(&self, address: u64, to: &mut [u8]) -> bool {
            (address..).zip(to).all(|(at, byte)| self.memory.get(&at).map(|found| *byte = *found).is_some())
        }
    }

    #[test]
    fn constants() {
        // mov $7,%eax
        assert_eq!(Fake::new(&[0xb8, 7, 0, 0, 0]).number(), Some(7));
        // mov $0x119,%rax
        assert_eq!(Fake::new(&[0x48, 0xc7, 0xc0, 0x19, 1, 0, 0]).number(), Some(0x119));
        // xor %eax,%eax
        assert_eq!(Fake::new(&[0x31, 0xc0]).number(), Some(0));
        // glibc 2.36, epoll_pwait: mov $0x119,%eax; mov 0x4(%rsp),%edi
        assert_eq!(Fake::new(&[0xb8, 0x19, 1, 0, 0, 0x8b, 0x7c, 0x24, 4]).number(), Some(0x119));
        // glibc 2.36, select: xor %r9d,%r9d; mov %r15,%rdx; mov %r12,%rsi; mov $0x10e,%eax
        let select = [0x45, 0x31, 0xc9, 0x4c, 0x89, 0xfa, 0x4c, 0x89, 0xe6, 0xb8, 0x0e, 1, 0, 0];
        assert_eq!(Fake::new(&select).number(), Some(0x10e));
        // mov $0xca,%eax; xor %r10d,%r10d; lea 8(%rbx),%rdi; movl $0,(%r8); xor $0x80,%sil; cmovbe %r8,%rsi
        let futex = [
            0xb8, 0xca, 0, 0, 0, 0x45, 0x31, 0xd2, 0x48, 0x8d, 0x7b, 8, 0x41, 0xc7, 0, 0, 0, 0, 0, 0x40,
            0x80, 0xf6, 0x80, 0x49, 0x0f, 0x46, 0xf0,
        ];
        assert_eq!(Fake::new(&futex).number(), Some(0xca));
    }

    #[test]
    fn go() {
        // runtime.futex: mov 8(%rsp),%rdi; mov 0x10(%rsp),%esi; mov 0x14(%rsp),%edx; mov 0x18(%rsp),%r10; mov 0x20(%rsp),%r8;
        // mov 0x28(%rsp),%r9d; mov $0xca,%eax
        let code = [
            0x48, 0x8b, 0x7c, 0x24, 8, 0x8b, 0x74, 0x24, 0x10, 0x8b, 0x54, 0x24, 0x14, 0x4c, 0x8b, 0x54,
            0x24, 0x18, 0x4c, 0x8b, 0x44, 0x24, 0x20, 0x44, 0x8b, 0x4c, 0x24, 0x28, 0xb8, 0xca, 0, 0, 0,
        ];
        assert_eq!(Fake::new(&code).number(), Some(0xca));
    }

    #[test]
    fn registers_that_still_hold_it() {
        // mov %r8d,%eax: not mov %eax,%eax, which the last two bytes alone would be
        assert_eq!(Fake::new(&[0x44, 0x89, 0xc0]).register(8, 202).number(), Some(202));
        // mov %ebx,%eax; mov %r13d,%edi
        assert_eq!(Fake::new(&[0x89, 0xd8, 0x44, 0x89, 0xef]).register(reg::RBX, 35).number(), Some(35));
        // mov $0x23,%ebx; mov %ebx,%eax; mov %ebp,%ebx: rbx is another now, but the constant is in the code
        assert_eq!(Fake::new(&[0xbb, 0x23, 0, 0, 0, 0x89, 0xd8, 0x89, 0xeb]).number(), Some(0x23));
        // mov %ecx,%eax: the syscall instruction has changed rcx
        assert_eq!(Fake::new(&[0x89, 0xc8]).register(reg::RCX, 35).number(), None);
        // mov $0x23,%ecx; mov %ecx,%eax
        assert_eq!(Fake::new(&[0xb9, 0x23, 0, 0, 0, 0x89, 0xc8]).number(), Some(0x23));
    }

    #[test]
    fn slots_of_the_stack() {
        // glibc 2.41, __internal_syscall_cancel with one thread: mov 0x10(%rsp),%rax
        let one = Fake::new(&[0x48, 0x8b, 0x44, 0x24, 0x10]).word(STACK + 0x10, 232);
        assert_eq!(one.number(), Some(232));
        // mov 8(%rsp),%rax; push %rbx; sub $0x20,%rsp
        let deeper =
            Fake::new(&[0x48, 0x8b, 0x44, 0x24, 8, 0x53, 0x48, 0x83, 0xec, 0x20]).word(STACK + 0x30, 7);
        assert_eq!(deeper.number(), Some(7));
        // mov -8(%rbp),%eax
        let frame = Fake::new(&[0x8b, 0x45, 0xf8]).register(reg::RBP, STACK + 64).word(STACK + 56, 7);
        assert_eq!(frame.number(), Some(7));
        // mov 8(%rsp),%rax; mov %rdi,8(%rsp): the slot is another now
        let lost = Fake::new(&[0x48, 0x8b, 0x44, 0x24, 8, 0x48, 0x89, 0x7c, 0x24, 8]).word(STACK + 8, 7);
        assert_eq!(lost.number(), None);
    }

    const CALLER: u64 = 0x50_2000;

    #[test]
    fn callers_of_the_function_syscall() {
        // mov %rsp,%rsi; xor %edx,%edx; mov $0x23,%edi; xor %eax,%eax; call
        let mut code: Vec<u8> = [0x48, 0x89, 0xe6, 0x31, 0xd2, 0xbf, 0x23, 0, 0, 0, 0x31, 0xc0].into();
        code.extend([0xe8, 1, 2, 3, 4]);
        let direct = Fake::new(SYSCALL_FUNCTION).word(STACK, CALLER).code(CALLER, &code);
        assert_eq!(direct.number(), Some(0x23));
        // mov %ebx,%edi; call *0x1234(%rip)
        let through = Fake::new(SYSCALL_FUNCTION).word(STACK, CALLER).register(reg::RBX, 202);
        let through = through.code(CALLER, &[0x89, 0xdf, 0xff, 0x15, 0x34, 0x12, 0, 0]);
        assert_eq!(through.number(), Some(202));
        // mov 0x18(%rsp),%rdi; call *%r11
        let slot = Fake::new(SYSCALL_FUNCTION).word(STACK, CALLER).word(STACK + 8 + 0x18, 7);
        let slot = slot.code(CALLER, &[0x48, 0x8b, 0x7c, 0x24, 0x18, 0x41, 0xff, 0xd3]);
        assert_eq!(slot.number(), Some(7));
        // mov %r8d,%edi; call: nobody keeps r8
        let lost = Fake::new(SYSCALL_FUNCTION).word(STACK, CALLER).register(8, 7);
        assert_eq!(lost.code(CALLER, &[0x44, 0x89, 0xc7, 0xe8, 1, 2, 3, 4]).number(), None);
    }

    #[test]
    fn callers_of_cancellable_calls() {
        // musl 1.2.3, __syscall_cp_c: push 0x30(%rsp); mov %r14,%rcx; lea 0x3c(%rbx),%rdi; mov %r12,%rsi; push %r9; mov %r8,%r9;
        // mov %rdx,%r8; mov %r13,%rdx; call
        let musl = [
            0xff, 0x74, 0x24, 0x30, 0x4c, 0x89, 0xf1, 0x48, 0x8d, 0x7b, 0x3c, 0x4c, 0x89, 0xe6, 0x41, 0x51,
            0x4d, 0x89, 0xc1, 0x49, 0x89, 0xd0, 0x4c, 0x89, 0xea, 0xe8, 0x2e, 0xec, 0, 0,
        ];
        let fake = Fake::new(CANCELLABLE).word(STACK, CALLER).register(12, 35).code(CALLER, &musl);
        assert_eq!(fake.number(), Some(35));
        // glibc 2.41, __internal_syscall_cancel: mov %rsi,%rcx; push %r8; mov 0x20(%rsp),%rsi; mov %rdx,%r8; mov %rdi,%rdx; mov %r11,%rdi; call
        let glibc = [
            0x48, 0x89, 0xf1, 0x41, 0x50, 0x48, 0x8b, 0x74, 0x24, 0x20, 0x49, 0x89, 0xd0, 0x48, 0x89, 0xfa,
            0x4c, 0x89, 0xdf, 0xe8, 0x78, 0xb3, 0, 0,
        ];
        let fake =
            Fake::new(CANCELLABLE).word(STACK, CALLER).word(STACK + 8 + 0x20, 230).code(CALLER, &glibc);
        assert_eq!(fake.number(), Some(230));
    }

    #[test]
    fn what_is_not_known_is_not_guessed() {
        // Nothing but int3.
        assert_eq!(Fake::new(&[]).number(), None);
        // mov $7,%eax; jne +2; xor %edi,%edi: a branch between
        assert_eq!(Fake::new(&[0xb8, 7, 0, 0, 0, 0x75, 2, 0x31, 0xff]).number(), None);
        // mov $7,%eax; add $1,%eax
        assert_eq!(Fake::new(&[0xb8, 7, 0, 0, 0, 0x83, 0xc0, 1]).number(), None);
        // mov $7,%eax; mov %fs:0x18,%eax
        assert_eq!(Fake::new(&[0xb8, 7, 0, 0, 0, 0x64, 0x8b, 0x04, 0x25, 0x18, 0, 0, 0]).number(), None);
        // mov $7,%eax; mov $8,%al
        assert_eq!(Fake::new(&[0xb8, 7, 0, 0, 0, 0xb0, 8]).number(), None);
        // mov $7,%eax; mov $8,%ah
        assert_eq!(Fake::new(&[0xb8, 7, 0, 0, 0, 0xb4, 8]).number(), None);
        // mov $7,%eax; call
        assert_eq!(Fake::new(&[0xb8, 7, 0, 0, 0, 0xe8, 0, 0, 0, 0]).number(), None);
        // mov %rdi,%rax at the start of the memory
        let mut short = Fake::default().register(reg::RSP, STACK);
        short.put(IP - 3, &[0x48, 0x89, 0xf8]);
        assert_eq!(short.number(), None);
    }

    #[test]
    fn any_bytes_end_the_search() {
        let mut state = 1u64;
        for _ in 0..20_000 {
            let mut code = [0u8; WINDOW];
            for byte in &mut code {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                *byte = (state >> 56) as u8;
            }
            let _ = Fake { registers: HashMap::new(), memory: (IP - WINDOW as u64..).zip(code).collect() }
                .number();
        }
    }
}
