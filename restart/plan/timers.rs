//! Timers: made early, where that is possible, so that a kernel that refuses one does so in time; started as late as possible, so
//! that their time begins with the program's.

use super::Builder;
use crate::exit::{Code, Failure, Result};
use crate::op::Op;
use image::format::{NONE, PosixTimer, Time};
use image::timers::notify;
use sys::Sysno;
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
    /// Starts all timers.
    pub(super) fn start_timers(&mut self) -> Result<'a, ()> {
        for timer in self.inputs.image.timers().iter().filter(|timer| is_set(timer.timer.value)) {
            let id = u64::from(timer.id);
            let time = self.keep(timer.timer)?;
            self.late(Op::zero(Sysno::timer_settime, [id, 0, time, 0]))?;
        }
        self.interval_timers()
    }

    /// Makes all timers.
    pub(super) fn timers(&mut self) -> Result<'a, ()> {
        let timers = self.inputs.image.timers();
        if timers.is_empty() {
            return Ok(());
        }
        let takes_ids = self.inputs.takes_timer_ids;
        let take_ids = |on| Op::zero(Sysno::prctl, [u64::from(pr::TIMER_CREATE_RESTORE_IDS), on, 0, 0, 0]);
        if takes_ids {
            self.early(take_ids(1))?;
        }
        let mut next = 0;
        for timer in timers.iter() {
            if !takes_ids {
                self.count_to(timer.id, next)?;
                next = timer.id + 1;
            }
            self.make_timer(&timer)?;
            if !takes_ids {
                // Fails unless the timer has this id.
                self.early(Op::zero(Sysno::timer_getoverrun, [u64::from(timer.id)]))?;
            }
        }
        if takes_ids {
            self.early(take_ids(0))?;
        }
        Ok(())
    }

    /// Without help of the kernel: a process counts its timers, from zero, and never uses an id twice.
    fn count_to(&mut self, id: u32, next: u32) -> Result<'a, ()> {
        if id > HIGHEST_COUNTED {
            let cause = "the id of a timer (timer_create) is too high for this kernel";
            return Err(Failure::new(Code::Kernel, b"", cause, "restart it on Linux 6.15 or newer"));
        }
        for id in next..id {
            let slot = self.keep(0u32)?;
            self.early(Op::zero(Sysno::timer_create, [0, 0, slot]))?;
            self.early(Op::zero(Sysno::timer_delete, [u64::from(id)]))?;
        }
        Ok(())
    }

    fn make_timer(&mut self, timer: &PosixTimer) -> Result<'a, ()> {
        let mut event =
            SigEvent { value: timer.value, signal: timer.signal, notify: timer.notify, tid: 0, pad: [0; 11] };
        if timer.notify & notify::THREAD_ID != 0 && timer.thread == NONE {
            // Its thread had ended: it expires, and nobody notices.
            event.notify = notify::NONE;
        }
        if timer.thread != NONE {
            event.tid = self.inputs.tid(timer.thread);
        }
        let event = self.keep(event)?;
        let id = self.keep(timer.id)?;
        self.early(Op::zero(Sysno::timer_create, [u64::from(timer.clock as u32), event, id]))
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
