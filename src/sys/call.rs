//! The one place where a `syscall` instruction is.

use crate::{Errno, Result, Sysno};

/// Makes system call `nr`.
///
/// # Safety
///
/// The arguments are what the call's man page asks for; memory that it changes is not borrowed.
#[inline(always)]
pub unsafe fn call(nr: Sysno, args: [usize; 6]) -> Result<usize> {
    let [a, b, c, d, e, f] = args;
    // SAFETY: the caller answers for the arguments.
    Errno::from_ret(unsafe { syscalls::raw::syscall6(nr as usize, a, b, c, d, e, f) })
}

/// Makes a system call by name, with as many arguments as it takes.
macro_rules! sc {
    ($nr:ident $(, $arg:expr)*) => {
        $crate::call($crate::Sysno::$nr, $crate::call::pad([$($arg as usize),*]))
    };
}
pub(crate) use sc;

/// Fills up the arguments of a call with zeros.
#[inline(always)]
pub(crate) const fn pad<const N: usize>(args: [usize; N]) -> [usize; 6] {
    let mut all = [0; 6];
    let mut i = 0;
    while i < N && i < 6 {
        all[i] = args[i];
        i += 1;
    }
    all
}
