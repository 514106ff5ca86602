//! Telling from the code around an instruction whether a libc is about to use the id of a thread.

use crate::interrupted::SYSCALL;

/// getpid(2), gettid(2).
const QUESTIONS: [u32; 2] = [39, 186];
/// Calls that take the id of a thread: sched_setparam(2) to sched_getscheduler(2), tkill(2), sched_setaffinity(2), sched_getaffinity(2), tgkill(2),
/// rt_tgsigqueueinfo(2).
const CALLS: [u32; 9] = [142, 143, 144, 145, 200, 203, 204, 234, 297];
/// How far before its system call a libc has the id, in bytes.
const NEAR: usize = 48;
/// How far before the `syscall` instruction its number is loaded, in bytes.
const ARGUMENTS: usize = 16;

/// `mov eax, number`
fn load_number(number: u32) -> [u8; 5] {
    let [a, b, c, d] = number.to_le_bytes();
    [0xb8, a, b, c, d]
}

fn position(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

/// Whether the code that ends here asked the kernel for an id, which is now in rax.
pub fn is_behind_question(before: &[u8]) -> bool {
    let Some((code, syscall)) = before.split_last_chunk::<2>() else { return false };
    *syscall == SYSCALL && QUESTIONS.iter().any(|number| code.ends_with(&load_number(*number)))
}

/// Whether the place is in a function that asks the kernel for an id, before it has been asked or right behind that.
pub fn is_in_question(before: &[u8], behind: &[u8]) -> bool {
    let asks = |number: &u32| {
        let load = load_number(*number);
        let is_ahead = behind.strip_prefix(&[0xf3, 0x0f, 0x1e, 0xfa]).unwrap_or(behind);
        is_ahead.strip_prefix(&load).is_some_and(|rest| rest.starts_with(&SYSCALL))
            || before.ends_with(&load) && behind.starts_with(&SYSCALL)
    };
    QUESTIONS.iter().any(asks) || is_behind_question(before)
}

/// Whether the code that begins here soon makes a call that takes the id of a thread. `rax` is the number of the call, if that is loaded already.
pub fn leads_to_call(behind: &[u8], rax: u64) -> bool {
    let soon = |bytes: &[u8], limit: usize| position(bytes.get(..limit).unwrap_or(bytes), &SYSCALL).is_some();
    CALLS.iter().any(|number| {
        let near = behind.get(..NEAR).unwrap_or(behind);
        u64::from(*number) == rax && soon(behind, ARGUMENTS)
            || position(near, &load_number(*number))
                .and_then(|at| behind.get(at + 5..))
                .is_some_and(|rest| soon(rest, ARGUMENTS))
    })
}

/// Whether the code that ends here has loaded a thread's id from its thread structure, `mov reg, fs:[offset]`: only a libc knows where that is.
pub fn has_loaded(before: &[u8], offset: u64) -> bool {
    let Ok(offset) = u32::try_from(offset) else { return false };
    let [a, b, c, d] = offset.to_le_bytes();
    // The register is in the third byte, or in the second and fourth.
    let is_load = |code: &[u8]| {
        let code = if code.get(1) == Some(&0x44) { code.get(2..) } else { code.get(1..) };
        let Some([0x8b, modrm, rest @ ..]) = code else { return false };
        modrm & 0xc7 == 4 && rest.starts_with(&[0x25, a, b, c, d])
    };
    before.windows(9).any(|code| code.first() == Some(&0x64) && is_load(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// raise(3) of glibc 2.36 from its gettid(2) on, and the getpid(2) that it calls.
    const RAISE: [u8; 38] = [
        0xb8, 0xba, 0, 0, 0, 0x0f, 0x05, 0x89, 0xc3, 0xe8, 1, 2, 3, 4, 0x44, 0x89, 0xe2, 0x89, 0xde, 0x89,
        0xc7, 0xb8, 0xea, 0, 0, 0, 0x0f, 0x05, 0x89, 0xc5, 0xf7, 0xdd, 0x3d, 0x00, 0xf0, 0xff, 0xff, 0xc3,
    ];
    const GETPID: [u8; 8] = [0xb8, 39, 0, 0, 0, 0x0f, 0x05, 0xc3];

    #[test]
    fn ids_in_raise_are_known_from_the_first_question_to_the_call() {
        let instructions = [0, 5, 7, 9, 14, 17, 19, 21, 26, 28, 30];
        let known = instructions.map(|at| {
            let (before, behind) = RAISE.split_at(at);
            let rax = if at == 26 { 234 } else { 28252 };
            is_behind_question(before) || leads_to_call(behind, rax)
        });
        assert_eq!(known, instructions.map(|at| at < 28));
    }

    #[test]
    fn the_function_that_asks_is_recognised_at_each_instruction_up_to_its_return() {
        let inside = |at: usize| is_in_question(&GETPID[..at], &GETPID[at..]);
        assert_eq!([0, 5, 7, 8].map(inside), [true, true, true, false]);
        assert!(is_in_question(&[], &[&[0xf3, 0x0f, 0x1e, 0xfa][..], &GETPID].concat()));
    }

    #[test]
    fn other_calls_do_not_take_ids() {
        // write(2)
        assert!(!leads_to_call(&[0xb8, 1, 0, 0, 0, 0x0f, 0x05, 0xc3], 28252));
        assert!(!leads_to_call(&[0x0f, 0x05, 0xc3], 1));
        assert!(!is_behind_question(&[0xb8, 1, 0, 0, 0, 0x0f, 0x05]));
        // Too far away.
        assert!(!leads_to_call(&[&[0x90; 60][..], &[0xb8, 0xea, 0, 0, 0, 0x0f, 0x05]].concat(), 0));
    }

    #[test]
    fn loads_are_told_by_their_offset() {
        let low = [0x64, 0x8b, 0x04, 0x25, 0xd0, 2, 0, 0, 0x90];
        let high = [0x90, 0x64, 0x44, 0x8b, 0x2c, 0x25, 0xd0, 2, 0, 0];
        for code in [&low[..], &high] {
            assert!(has_loaded(code, 0x2d0));
            assert!(!has_loaded(code, 0x10) && !has_loaded(code, u64::MAX));
        }
        let store = [0x64, 0x89, 0x04, 0x25, 0xd0, 2, 0, 0, 0x90];
        assert!(!has_loaded(&store, 0x2d0));
    }
}
