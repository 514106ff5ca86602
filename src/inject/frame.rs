//! The signal frame that the kernel would have made, of what ptrace(2) tells of a thread.

use image::boot::Frame;
use image::elf::UserRegs;
use image::plain::{bytes_of, write};
use std::arch::x86_64::__cpuid_count;

/// What the kernel knows of a thread's rseq(2) area (`struct ptrace_rseq_configuration`).
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct Rseq {
    pub pointer: u64,
    pub size: u32,
    pub signature: u32,
    pub flags: u32,
    pub pad: u32,
}

/// A stopped thread.
#[derive(Clone)]
pub struct State {
    pub regs: UserRegs,
    pub mask: u64,
    /// `NT_X86_XSTATE`.
    pub xstate: Vec<u8>,
    pub rseq: Rseq,
}

/// Bytes behind the start of a frame's register area that a frame of any CPU ends within.
pub const LARGEST: u64 = 16 * 1024;

const EINTR: u64 = -4_i64 as u64;
/// What the kernel leaves in rax of a call that it will make again, in the same way: `ERESTARTSYS`, `ERESTARTNOINTR`, `ERESTARTNOHAND` (include/linux/errno.h).
const AGAIN: [u64; 3] = [-512_i64 as u64, -513_i64 as u64, -514_i64 as u64];
/// `ERESTART_RESTARTBLOCK`: it goes on with what it has kept of the call.
const CONTINUE: u64 = -516_i64 as u64;
/// Length of a syscall instruction.
const INSTRUCTION: u64 = 2;

/// Calls that return `EINTR` where a thread is stopped, even without a handler (signal(7), last section), and have done nothing then.
const STOPPED: [libc::c_long; 25] = [
    libc::SYS_epoll_wait,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_semop,
    libc::SYS_semtimedop,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_io_getevents,
    IO_PGETEVENTS,
    libc::SYS_io_uring_enter,
    libc::SYS_futex,
    libc::SYS_msgrcv,
    libc::SYS_msgsnd,
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_recvmmsg,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_connect,
];
/// io_pgetevents(2), which the libc crate does not name.
const IO_PGETEVENTS: libc::c_long = 333;

/// The number of the call that the thread was stopped in.
fn call(regs: &UserRegs) -> Option<u64> {
    (regs.orig_rax as i64 >= 0).then_some(regs.orig_rax)
}

/// Registers with which the thread makes its call again, if the stop alone has ended it with `EINTR`.
pub fn undisturbed(regs: &UserRegs) -> Option<UserRegs> {
    let number = call(regs)?;
    let is_stopped = regs.rax == EINTR && STOPPED.contains(&(number as libc::c_long));
    is_stopped.then_some(UserRegs { rax: AGAIN[2], ..*regs })
}

/// Registers with which the thread goes on from anywhere, without the kernel's knowing of an interrupted call.
pub fn standalone(regs: &UserRegs) -> UserRegs {
    let mut alone = UserRegs { orig_rax: u64::MAX, ..*regs };
    if let Some(number) = call(regs)
        && (AGAIN.contains(&regs.rax) || regs.rax == CONTINUE || undisturbed(regs).is_some())
    {
        alone.rax = number;
        alone.rip = regs.rip.wrapping_sub(INSTRUCTION);
    }
    alone
}

/// The frame at `address`, with its register area behind it. `info` is the start of the `siginfo_t`.
pub fn make(state: &State, address: u64, restorer: u64, info: [u64; 6]) -> Vec<u8> {
    /// `UC_FP_XSTATE`, `UC_SIGCONTEXT_SS`, `UC_STRICT_RESTORE_SS`.
    const FLAGS: u64 = 1 | 2 | 4;
    let regs = &state.regs;
    let area = (address + size_of::<Frame>() as u64).next_multiple_of(64);
    let (mut rax, mut rip) = (regs.rax, regs.rip);
    let mut number = call(regs);
    if let Some(number) = number {
        if AGAIN.contains(&rax) {
            (rax, rip) = (number, rip.wrapping_sub(INSTRUCTION));
        } else if rax == CONTINUE {
            // libckpt has the kernel continue it.
            rax = EINTR;
        }
    }
    let continues = number == Some(libc::SYS_restart_syscall as u64);
    if continues {
        // Which call that is, nobody tells.
        number = None;
    }
    let frame = Frame {
        restorer,
        uc_flags: FLAGS,
        gregs: [
            regs.r8,
            regs.r9,
            regs.r10,
            regs.r11,
            regs.r12,
            regs.r13,
            regs.r14,
            regs.r15,
            regs.rdi,
            regs.rsi,
            regs.rbp,
            regs.rbx,
            regs.rdx,
            rax,
            regs.rcx,
            regs.rsp,
            rip,
            regs.eflags,
        ],
        segments: regs.cs & 0xffff | (regs.gs & 0xffff) << 16 | (regs.fs & 0xffff) << 32 | regs.ss << 48,
        fpstate: area,
        sigmask: state.mask,
        info,
        onward: if continues { Frame::CONTINUES } else { 0 },
        entered: 1,
        call: number.map_or(0, |number| number + 1),
        rseq: state.rseq.pointer,
        rseq_len: if state.rseq.pointer == 0 { 0 } else { state.rseq.size },
        rseq_sig: state.rseq.signature,
        ..Frame::default()
    };
    let mut bytes = bytes_of(&frame).to_vec();
    bytes.resize((area - address) as usize, 0);
    bytes.extend(register_area(&state.xstate));
    bytes
}

/// The register area of a frame, of `NT_X86_XSTATE`, which has XCR0 where a frame describes itself (`struct _fpx_sw_bytes`,
/// arch/x86/include/uapi/asm/sigcontext.h), and room for every register set of the CPU.
fn register_area(xstate: &[u8]) -> Vec<u8> {
    const SOFTWARE: usize = 464;
    const HEADER: usize = 512;
    /// The tiles of AMX, for which a thread has no room until it uses them.
    const TILES: u64 = 1 << 18;
    const MAGIC1: u32 = 0x4650_5853;
    const MAGIC2: u32 = 0x4650_5845;
    let word = |at| image::plain::read::<u64>(xstate, at).unwrap_or(0);
    let mut features = word(SOFTWARE);
    if word(HEADER) & TILES == 0 {
        features &= !TILES;
    }
    let size = size_of_sets(features).min(xstate.len());
    let mut area = xstate[..size].to_vec();
    area[SOFTWARE..HEADER].fill(0);
    let _ = write(&mut area, SOFTWARE, &MAGIC1);
    let _ = write(&mut area, SOFTWARE + 4, &(size as u32 + 4));
    let _ = write(&mut area, SOFTWARE + 8, &features);
    let _ = write(&mut area, SOFTWARE + 16, &(size as u32));
    area.extend(MAGIC2.to_le_bytes());
    area
}

/// Bytes up to the end of the last of some register sets in the standard form (Intel SDM volume 1, 13.4.3; CPUID leaf 0x0d).
fn size_of_sets(features: u64) -> usize {
    const FIRST: usize = 576;
    let places = (2..63).filter(|number| features >> number & 1 != 0).map(|number| {
        let place = __cpuid_count(0x0d, number);
        (place.eax + place.ebx) as usize
    });
    places.max().unwrap_or(0).max(FIRST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stopped(rax: i64, number: i64) -> UserRegs {
        UserRegs { rax: rax as u64, orig_rax: number as u64, rip: 1000, ..UserRegs::default() }
    }

    fn state(regs: UserRegs) -> State {
        State { regs, mask: 7, xstate: vec![0; 4096], rseq: Rseq::default() }
    }

    fn frame(regs: UserRegs) -> Frame {
        image::plain::read(&make(&state(regs), 8, 5, [0; 6]), 0).unwrap()
    }

    #[test]
    fn a_call_is_made_again_as_the_kernel_would() {
        for code in [-512, -513, -514] {
            let frame = frame(stopped(code, libc::SYS_pause));
            assert_eq!((frame.gregs[13], frame.gregs[16], frame.call), (34, 998, 35), "{code}");
        }
    }

    #[test]
    fn a_call_that_the_kernel_continues_says_that_it_was_interrupted() {
        let frame = frame(stopped(-516, libc::SYS_nanosleep));
        assert_eq!((frame.gregs[13] as i64, frame.gregs[16], frame.call), (-4, 1000, 36));
        let frame = self::frame(stopped(-516, libc::SYS_restart_syscall));
        assert_eq!((frame.gregs[13] as i64, frame.call, frame.onward), (-4, 0, Frame::CONTINUES));
    }

    #[test]
    fn a_stop_ends_no_call() {
        assert_eq!(undisturbed(&stopped(-4, libc::SYS_epoll_wait)).unwrap().rax as i64, -514);
        assert_eq!(undisturbed(&stopped(-4, libc::SYS_close)), None);
        assert_eq!(undisturbed(&stopped(-4, -1)), None);
        assert_eq!(undisturbed(&stopped(0, libc::SYS_epoll_wait)), None);
    }

    #[test]
    fn outside_of_calls_nothing_changes() {
        let regs = stopped(-514, -1);
        assert_eq!(standalone(&regs), regs);
        assert_eq!((frame(regs).gregs[13] as i64, frame(regs).call), (-514, 0));
    }

    #[test]
    fn the_register_area_describes_itself() {
        let mut xstate = vec![0; 4096];
        xstate[464] = 7;
        let area = register_area(&xstate);
        let word = |at: usize| u32::from_le_bytes(area[at..at + 4].try_into().unwrap());
        let size = word(480) as usize;
        assert_eq!((word(464), word(468) as usize, word(472)), (0x4650_5853, size + 4, 7));
        assert_eq!((area.len(), word(size)), (size + 4, 0x4650_5845));
    }
}
