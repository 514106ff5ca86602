//! State that only the target's own threads can ask for, and only in processes that have it: pending signals, timers.
//!
//! The helper looks whether there is any. If so it ends at once, the threads take their signals and ask for the times of their timers, and
//! another helper makes the save. Most programs have none, and pay for a look.

use crate::arrival::ckpt_gathering;
use crate::helper::Job;
use crate::message::Failure;
use crate::pending::{self, Wanted};
use crate::threads::Gathering;
use crate::{threads, timers};
use core::sync::atomic::Ordering;
use sys::{Errno, thread};

/// `ckpt_gathering` when threads have been asked.
const ASKED: u32 = 2;

/// Before anything is asked.
pub fn begin() {
    pending::begin();
    timers::begin();
}

/// Called by the helper, when all threads stand still: whether they must be asked. Says in `job` and in the slots what to ask.
pub fn arise(job: &mut Job) -> Result<bool, Failure> {
    let has_timers = match timers::look(job.pid, job.gathering.is_some()) {
        Err(Failure::Proc(_, Errno::EACCES | Errno::EPERM)) => {
            job.looks_itself = true;
            true
        }
        result => result?,
    };
    let has_main =
        |job: &Job| job.gathering.iter().flat_map(Gathering::parked).any(|slot| slot.own.tid == job.pid);
    // Signals of the process are the main thread's business; the leader's, when that has ended.
    let leader_shares = job.own.tid == job.pid || !has_main(job);
    // A thread that stood still already may have got a signal from one that did not yet.
    let got_more = job.gathering.is_some() && pending::may_be_any(job.pid)?;
    let look = |tid: u32, shares: bool, pending: u64| -> Result<Wanted, Failure> {
        if pending == 0 && !got_more {
            return Ok(Wanted::default());
        }
        Ok(Wanted { takes_shared: shares, ..pending::look(job.pid, tid)? })
    };
    let leader = look(job.own.tid, leader_shares, job.own.pending)?;
    let mut must_ask = has_timers || leader.any();
    for slot in job.gathering.iter().flat_map(Gathering::parked) {
        let wanted = look(slot.own.tid, slot.own.tid == job.pid, slot.own.pending)?;
        if wanted.any() {
            slot.ask(wanted);
            must_ask = true;
        }
    }
    job.wanted = leader;
    Ok(must_ask)
}

/// Called by the leader, when the helper has found that threads must be asked: asks itself and the others. The times of the timers come later.
pub fn answer(job: &Job) -> Result<(), Failure> {
    pending::take(job.own.tid, job.wanted);
    if job.looks_itself {
        // All other threads stand still: nobody sees the descriptor.
        timers::look(job.pid, job.gathering.is_some())?;
    }
    // A thread that is on its way into its sleep sees that the value is another one.
    ckpt_gathering.store(ASKED, Ordering::Release);
    thread::futex_wake(&ckpt_gathering, u32::MAX >> 1);
    for slot in job.gathering.iter().flat_map(Gathering::parked) {
        while slot.is_asked() {
            slot.wait_for_answer();
        }
    }
    Ok(())
}

/// Called by a parked thread whenever it wakes.
pub fn answer_in(slot: &threads::Slot) {
    if let Some(wanted) = slot.question() {
        pending::take(slot.own.tid, wanted);
        slot.answered();
    }
}
