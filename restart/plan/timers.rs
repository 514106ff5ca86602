//! Timers: made early, where that is possible, so that a kernel that refuses one does so in time; started as late as possible, so
//! that their time begins with the program's.

use super::Builder;
use crate::exit::{Code, Failure, Result};
use crate::op::Op;
use image::format::{NONE, PosixTimer, Time};
use image::timers::notify;
use sys::Sysno;
use sys::fd::IoVec;
use sys::process::pr;

/// `struct sigevent` of the kernel (include/uapi/asm-generic/siginfo.h).
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct SigEvent {
    value: u64,
    signal: u32,
    notify: u32,
    tid: u32,
    pad: [u32; 11],
}
const _: () = assert!(size_of::<SigEvent>() == 64);

/// The highest id that is reached by making and deleting timers, where the kernel does not take ids.
pub(super) const HIGHEST_COUNTED: u32 = 16383;

impl<'a> Builder<'a, '_> {
    /// Makes all timers, unless one of them needs a thread that does not exist before the end.
    pub(super) fn timers(&mut self) -> Result<'a, ()> {
        if self.has_late_timers() { Ok(()) } else { self.make_timers(false) }
    }

    /// Makes the timers that could not be made before, and starts all. Every thread is there; `tids` is the address of an array of their ids.
    pub(super) fn start_timers(&mut self, tids: u64) -> Result<'a, ()> {
        self.tids = tids;
        if self.has_late_timers() {
            self.make_timers(true)?;
        }
        for timer in self.inputs.image.timers().iter().filter(|timer| is_set(timer.timer.value)) {
            let id = u64::from(timer.id);
            let time = self.keep(timer.timer)?;
            self.late(Op::zero(Sysno::timer_settime, [id, 0, time, 0]))?;
        }
        self.interval_timers()
    }

    /// Whether a timer signals a thread other than the first.
    pub(super) fn has_late_timers(&self) -> bool {
        self.inputs.image.timers().iter().any(|timer| timer.thread != NONE && timer.thread != 0)
    }

    fn make_timers(&mut self, late: bool) -> Result<'a, ()> {
        let timers = self.inputs.image.timers();
        if timers.is_empty() {
            return Ok(());
        }
        let takes_ids = self.inputs.takes_timer_ids;
        let take_ids = |on| Op::zero(Sysno::prctl, [u64::from(pr::TIMER_CREATE_RESTORE_IDS), on, 0, 0, 0]);
        if takes_ids {
            self.put(late, take_ids(1))?;
        }
        let mut next = 0;
        for timer in timers.iter() {
            if !takes_ids {
                self.count_to(timer.id, next, late)?;
                next = timer.id + 1;
            }
            self.make_timer(&timer, late)?;
            if !takes_ids {
                // Fails unless the timer has this id.
                self.put(late, Op::zero(Sysno::timer_getoverrun, [u64::from(timer.id)]))?;
            }
        }
        if takes_ids {
            self.put(late, take_ids(0))?;
        }
        Ok(())
    }

    /// Without help of the kernel: a process counts its timers, from zero, and never uses an id twice.
    fn count_to(&mut self, id: u32, next: u32, late: bool) -> Result<'a, ()> {
        if id > HIGHEST_COUNTED {
            let cause = "the id of a timer (timer_create) is too high for this kernel";
            return Err(Failure::new(Code::Kernel, b"", cause, "restart it on Linux 6.15 or newer"));
        }
        for id in next..id {
            let slot = self.keep(0u32)?;
            self.put(late, Op::zero(Sysno::timer_create, [0, 0, slot]))?;
            self.put(late, Op::zero(Sysno::timer_delete, [u64::from(id)]))?;
        }
        Ok(())
    }

    fn make_timer(&mut self, timer: &PosixTimer, late: bool) -> Result<'a, ()> {
        let mut event =
            SigEvent { value: timer.value, signal: timer.signal, notify: timer.notify, tid: 0, pad: [0; 11] };
        if timer.notify & notify::THREAD_ID != 0 && timer.thread == NONE {
            // Its thread had ended: it expires, and nobody notices.
            event.notify = notify::NONE;
        }
        if timer.thread == 0 {
            event.tid = self.inputs.pid;
        }
        let event = self.keep(event)?;
        if timer.thread != NONE && timer.thread != 0 {
            let from = self.tids + u64::from(timer.thread) * size_of::<u32>() as u64;
            self.copy_number(from, event + core::mem::offset_of!(SigEvent, tid) as u64)?;
        }
        let id = self.keep(timer.id)?;
        self.put(late, Op::zero(Sysno::timer_create, [u64::from(timer.clock as u32), event, id]))
    }

    /// Copies 32 bits that are known only when the executor comes to it. The executor makes system calls only; this is one that copies.
    fn copy_number(&mut self, from: u64, to: u64) -> Result<'a, ()> {
        const SIZE: usize = size_of::<u32>();
        let [from, to] = [from, to].map(|base| IoVec { base: base as usize, len: SIZE });
        let (from, to) = (self.keep(from)?, self.keep(to)?);
        let args = [u64::from(self.inputs.pid), from, 1, to, 1, 0];
        self.late(Op::exact(Sysno::process_vm_writev, args, SIZE as u64))
    }

    fn interval_timers(&mut self) -> Result<'a, ()> {
        const ITIMER_REAL: u64 = 0;
        for (which, mut timer) in (0u64..).zip(self.inputs.image.process().itimers) {
            // The kernel starts this one anew when its signal is taken. Until then it seems to be disarmed, but has its period.
            if which == ITIMER_REAL && is_set(timer.interval) && !is_set(timer.value) {
                timer.value.frac = 1;
            }
            if is_set(timer.value) {
                let timer = self.keep(timer)?;
                self.late(Op::zero(Sysno::setitimer, [which, timer, 0]))?;
            }
        }
        Ok(())
    }
}

fn is_set(time: Time) -> bool {
    time.sec != 0 || time.frac != 0
}
