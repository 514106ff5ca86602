//! One planned system call.

use crate::files::Identity;
use sys::Sysno;
use sys::fd::Stat;

/// What result a call must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Check {
    /// Exactly [`Op::expect`].
    Exact = 0,
    /// No error. [`Op::expect`] is what `--plan` shows.
    Success = 1,
    /// Anything: the process is whole enough without it.
    Any = 2,
    /// futex(2) FUTEX_WAIT: made again until the word at the first argument is another than the third.
    Until = 3,
    /// Made by the thread that comes to it last, and not by the others; then anything, as [`Check::Any`].
    Last = 4,
    /// fstat(2) or newfstatat(2): the file must be the [`Identity`] at [`Op::expect`].
    Same = 5,
}

/// Operations of futex(2) (include/uapi/linux/futex.h).
const FUTEX_WAIT_PRIVATE: u64 = 128;
const FUTEX_WAKE_OP_PRIVATE: u64 = 5 | 128;

/// What [`Op::nr`] is when no system call is made, but bytes are copied: to `args[0]`, from `args[1]`, as many as `args[2]`.
pub const COPY: u16 = u16::MAX;

/// A system call with its arguments, and what it must return. `asm/executor.s` reads this.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Op {
    /// Number of the call, or [`COPY`].
    pub nr: u16,
    /// How the result is judged.
    pub check: Check,
    pad: u8,
    /// Number of the line to write when it fails, in [`crate::execute::Record::lines`]; only in the executor.
    pub line: u32,
    /// Arguments in the order of the man page.
    pub args: [u64; 6],
    /// See [`Check`].
    pub expect: u64,
}
const _: () = assert!(size_of::<Op>() == 64);

impl Op {
    /// Makes call `nr`, which returns exactly `expect`.
    pub fn exact<const N: usize>(nr: Sysno, args: [u64; N], expect: u64) -> Self {
        let mut all = [0; 6];
        for (slot, arg) in all.iter_mut().zip(args) {
            *slot = arg;
        }
        Self { nr: nr as u16, check: Check::Exact, pad: 0, line: 0, args: all, expect }
    }

    /// Makes call `nr`, which returns zero.
    pub fn zero<const N: usize>(nr: Sysno, args: [u64; N]) -> Self {
        Self::exact(nr, args, 0)
    }

    /// Makes call `nr`, which must not fail.
    pub fn success<const N: usize>(nr: Sysno, args: [u64; N], shown: u64) -> Self {
        Self { check: Check::Success, ..Self::exact(nr, args, shown) }
    }

    /// Makes call `nr` and goes on, whatever it returns.
    pub fn any<const N: usize>(nr: Sysno, args: [u64; N]) -> Self {
        Self { check: Check::Any, ..Self::exact(nr, args, 0) }
    }

    /// Makes call `nr` in the thread that comes to it last, and goes on, whatever it returns.
    pub fn last<const N: usize>(nr: Sysno, args: [u64; N]) -> Self {
        Self { check: Check::Last, ..Self::exact(nr, args, 0) }
    }

    /// Sleeps while the 32 bits at `word` are zero: until another thread has made [`Op::wake`].
    pub fn sleep(word: u64) -> Self {
        Self { check: Check::Until, ..Self::exact(Sysno::futex, [word, FUTEX_WAIT_PRIVATE, 0, 0], 0) }
    }

    /// Sets the 32 bits at `word` to one, and wakes all that sleep there.
    pub fn wake(word: u64) -> Self {
        /// Operation "set" in bits 28 to 31, its argument, one, in bits 12 to 23; the comparison, equal to zero, wakes one more.
        const SET_ONE: u64 = 1 << 12;
        const ALL: u64 = i32::MAX as u64;
        Self::success(Sysno::futex, [word, FUTEX_WAKE_OP_PRIVATE, ALL, 0, word, SET_ONE], 0)
    }

    /// Makes call `nr`, fstat(2) or newfstatat(2), and wants the file to be the [`Identity`] at address `identity`.
    pub fn same<const N: usize>(nr: Sysno, args: [u64; N], identity: u64) -> Self {
        Self { check: Check::Same, ..Self::exact(nr, args, identity) }
    }

    /// Of an op that [`Op::same`] has made and that was carried out: whether the file is the one that is meant.
    ///
    /// # Safety
    ///
    /// The addresses in it are those of a [`Stat`] and an [`Identity`].
    pub unsafe fn is_same(&self) -> bool {
        let [_, second, third, ..] = self.args;
        let stat = if self.nr == Sysno::fstat as u16 { second } else { third };
        // SAFETY: the caller answers for both addresses; the kernel has filled the first one.
        let (stat, identity) = unsafe { (&*(stat as *const Stat), &*(self.expect as *const Identity)) };
        identity.is(stat)
    }

    /// Copies bytes.
    pub fn copy(to: u64, from: u64, len: u64) -> Self {
        Self { nr: COPY, check: Check::Exact, pad: 0, line: 0, args: [to, from, len, 0, 0, 0], expect: 0 }
    }

    /// Whether the result of the call is the one that was planned.
    pub fn accepts(&self, result: sys::Result<usize>) -> bool {
        match (self.check, result) {
            (Check::Exact, Ok(value)) => value as u64 == self.expect,
            (Check::Success | Check::Same, Ok(_)) | (Check::Any | Check::Last | Check::Until, _) => true,
            (_, Err(_)) => false,
        }
    }

    /// The call, or `None` for [`COPY`].
    pub fn sysno(&self) -> Option<Sysno> {
        Sysno::new(usize::from(self.nr)).filter(|_| self.nr != COPY)
    }
}
