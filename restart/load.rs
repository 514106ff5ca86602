//! Reads pages into place, on several CPUs, and checks the sum of each chunk while it is in the cache.

use crate::exit::{Code, Failure, Result};
use crate::op::Op;
use crate::probe::shrunk;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use image::crc::crc32c_append;
use image::format::PAGE;
use image::read::{Image, Sums};
use sys::fd::IoVec;
use sys::{Errno, Sysno, worker};

/// The most threads that read by default: more do not read faster.
const MOST_WORKERS: usize = 8;
/// The most that can be asked for.
pub const WORKERS_LIMIT: usize = 64;
/// So many bytes to read are worth a thread: starting one and waiting for its end takes as long as reading a megabyte, and more where others use the CPUs.
const WORTH_A_WORKER: u64 = 8 << 20;
/// Stack of a worker in bytes.
const STACK: usize = 32 * 1024;
/// `IOV_MAX` of preadv(2).
const IOV_MAX: usize = 1024;

/// How many threads read so many bytes; with `jobs`, as many as are asked for.
pub fn workers(jobs: u32, cpus: u32, bytes: u64) -> usize {
    if jobs != 0 {
        return (jobs as usize).min(WORKERS_LIMIT);
    }
    let worth = (bytes / WORTH_A_WORKER) as usize;
    (cpus as usize).min(MOST_WORKERS).min(worth).max(1)
}

/// A stack for one worker.
#[repr(C, align(64))]
pub struct Stack {
    bytes: [u8; STACK],
}

/// What all workers share.
#[repr(C)]
struct Shared {
    ops: *const Op,
    count: usize,
    /// The next op that nobody has taken.
    next: AtomicUsize,
    /// Nobody takes another one.
    failed: AtomicBool,
    data_off: u64,
    chunk: u64,
    sums: *const Sums<'static>,
    scratch: u64,
    scratch_len: u64,
}

/// One worker.
#[repr(C)]
struct Worker {
    shared: *const Shared,
    number: u64,
    /// Thread id; the kernel clears it when the thread is gone.
    tid: AtomicU32,
    /// The op that failed, or `usize::MAX`.
    failed_op: AtomicUsize,
    /// Its errno; 0: the sum was wrong; -1: the file is shorter than it was.
    errno: AtomicU32,
}

const SHORT: u32 = u32::MAX;
const NO_OP: usize = usize::MAX;

/// Reads what the plan says.
pub struct Loader<'a> {
    /// The sums of the page data.
    pub sums: Sums<'static>,
    /// Whether they are checked: not with `--lazy`.
    pub checks: bool,
    /// Offset of the page data in the image.
    pub data_off: u64,
    /// Bytes in a chunk.
    pub chunk: u64,
    /// How many threads are asked for; 0: as many as are worth it.
    pub jobs: u32,
    /// The most threads that there is room for.
    pub workers: usize,
    /// Where skipped bytes go: as many pieces of one chunk as there are workers. The plan names the first.
    pub scratch: u64,
    /// Address of a [`Stack`] for each worker but the first.
    pub stacks: u64,
    /// Name of the image.
    pub name: &'a [u8],
}

impl<'a> Loader<'a> {
    /// Makes the preadv(2) calls `ops`.
    ///
    /// # Errors
    ///
    /// [`Code::Corrupt`] when a sum is wrong, [`Code::Io`] when the image cannot be read.
    ///
    /// # Safety
    ///
    /// The memory of every iovec is mapped and nobody's; scratch and stacks are as described.
    pub unsafe fn run(&self, ops: &[Op]) -> Result<'a, ()> {
        let shared = Shared {
            ops: ops.as_ptr(),
            count: ops.len(),
            next: AtomicUsize::new(0),
            failed: AtomicBool::new(false),
            data_off: self.data_off,
            chunk: self.chunk.max(PAGE),
            sums: if self.checks { &raw const self.sums } else { core::ptr::null() },
            scratch: self.scratch,
            scratch_len: self.chunk,
        };
        let mut crew: [Worker; WORKERS_LIMIT] = core::array::from_fn(|number| Worker {
            shared: &raw const shared,
            number: number as u64,
            tid: AtomicU32::new(0),
            failed_op: AtomicUsize::new(NO_OP),
            errno: AtomicU32::new(0),
        });
        // With `--lazy` there is much less to read than there is in the image.
        let bytes = ops.iter().map(|op| op.expect).sum();
        let wanted = workers(self.jobs, self.workers as u32, bytes).min(self.workers).min(ops.len());
        let mut started = crew.iter_mut();
        let Some(first) = started.next() else { return Ok(()) };
        for one in started.take(wanted.saturating_sub(1)) {
            self.start(one);
        }
        // SAFETY: the caller answers for the ops; the worker's parts are in this frame, which outlives all of them.
        unsafe { work(first) };
        for one in &crew {
            worker::wait(&one.tid);
        }
        // Of several failures the first one in the file is told.
        let failure = crew.iter().min_by_key(|worker| worker.failed_op.load(Ordering::Relaxed));
        match failure
            .map(|worker| (worker.failed_op.load(Ordering::Relaxed), worker.errno.load(Ordering::Relaxed)))
        {
            None | Some((NO_OP, _)) => Ok(()),
            Some((_, 0)) => Err(Failure::new(
                Code::Corrupt,
                self.name,
                "the image is damaged (the checksum of a chunk of pages is wrong)",
                "restart from another image",
            )),
            Some((_, SHORT)) => Err(shrunk(self.name)),
            Some((_, errno)) => {
                let errno = Errno::new(errno as i32);
                Err(Failure::os(Code::Io, self.name, "cannot read pages", errno, "").by_errno())
            }
        }
    }

    /// Reads the page data at `offset` of the image into `place`, by whole chunks, for their sums.
    ///
    /// # Errors
    ///
    /// As [`Loader::run`].
    pub fn read(&self, image: &Image, fd: i32, mut offset: u64, mut place: &mut [u8]) -> Result<'a, ()> {
        let data_end = self.data_off + image.head().data_len;
        while !place.is_empty() {
            let chunk = self.chunk.max(PAGE);
            let skipped = offset.saturating_sub(self.data_off) & (chunk - 1);
            let start = offset - skipped;
            let len = chunk.min(data_end.saturating_sub(start));
            let wanted = len.saturating_sub(skipped).min(place.len() as u64);
            let Some((piece, rest)) = place.split_at_mut_checked(wanted as usize) else { return Ok(()) };
            let behind = len - skipped - wanted;
            let scratch = |at: u64, len: u64| IoVec { base: (self.scratch + at) as usize, len: len as usize };
            let pieces = [
                scratch(0, skipped),
                IoVec { base: piece.as_mut_ptr() as usize, len: piece.len() },
                scratch(skipped, behind),
            ];
            let list = pieces.as_ptr() as u64;
            // SAFETY: the pieces are `place`, which is borrowed, and the scratch memory.
            unsafe { self.run(&[Op::exact(Sysno::preadv, [fd as u64, list, 3, start, 0], len)]) }?;
            offset += wanted;
            place = rest;
        }
        Ok(())
    }

    /// Starts a worker. When that fails there is one worker less.
    fn start(&self, one: &Worker) {
        let top = self.stacks + one.number * size_of::<Stack>() as u64;
        // SAFETY: the stack is this worker's alone, and `one` outlives the thread, which `run` waits for.
        let _ = unsafe { worker::start(top, &one.tid, worker_main, one) };
    }
}

/// Where a thread begins.
///
/// # Safety
///
/// `worker` outlives the thread.
unsafe extern "C" fn worker_main(worker: *const Worker) {
    // SAFETY: the caller's promise.
    unsafe { work(&*worker) };
}

/// Takes ops until there are none left.
///
/// # Safety
///
/// As [`Loader::run`].
unsafe fn work(worker: &Worker) {
    // SAFETY: `run` waits for its workers before the shared part goes.
    let shared = unsafe { &*worker.shared };
    // SAFETY: as above; the ops are the plan's.
    let ops = unsafe { core::slice::from_raw_parts(shared.ops, shared.count) };
    while !shared.failed.load(Ordering::Relaxed) {
        let index = shared.next.fetch_add(1, Ordering::Relaxed);
        let Some(op) = ops.get(index) else { return };
        // SAFETY: the iovecs of the op are the plan's, and no other worker takes this op.
        if let Err(errno) = unsafe { read(shared, worker.number, op) } {
            worker.errno.store(errno, Ordering::Relaxed);
            worker.failed_op.store(index, Ordering::Relaxed);
            shared.failed.store(true, Ordering::Relaxed);
        }
    }
}

/// Makes one preadv(2), and checks the sum of the chunk.
///
/// # Safety
///
/// The memory of the iovecs is nobody else's.
unsafe fn read(shared: &Shared, number: u64, op: &Op) -> core::result::Result<(), u32> {
    let [fd, list, count, offset, ..] = op.args;
    // SAFETY: the plan made the list.
    let planned = unsafe { core::slice::from_raw_parts(list as *const IoVec, count as usize) };
    // Each worker has a scratch of its own; and what is left of a call that the kernel cut short goes on from here.
    let mut pieces = [IoVec { base: 0, len: 0 }; IOV_MAX];
    let scratch = shared.scratch..shared.scratch + shared.scratch_len;
    for (piece, plan) in pieces.iter_mut().zip(planned) {
        let shift = if scratch.contains(&(plan.base as u64)) { number * shared.scratch_len } else { 0 };
        *piece = IoVec { base: plan.base + shift as usize, len: plan.len };
    }
    let pieces = pieces.get_mut(..planned.len()).unwrap_or_default();

    let mut left = op.expect as usize;
    let mut at = offset;
    let mut todo = &mut *pieces;
    while left > 0 {
        let args = [fd as usize, todo.as_ptr() as usize, todo.len(), at as usize, 0, 0];
        // SAFETY: the memory of the pieces is ours to fill.
        let done = unsafe { sys::call(Sysno::preadv, args) };
        let done = done.map_err(|errno| errno.into_raw() as u32)?;
        if done == 0 {
            return Err(SHORT);
        }
        left = left.saturating_sub(done);
        at += done as u64;
        todo = skip(todo, done);
    }

    // SAFETY: null, or the sums that outlive the workers.
    let Some(sums) = (unsafe { shared.sums.as_ref() }) else { return Ok(()) };
    let mut crc = 0;
    for plan in planned {
        let shift = if scratch.contains(&(plan.base as u64)) { number * shared.scratch_len } else { 0 };
        // SAFETY: just filled, and nobody writes to it.
        let bytes =
            unsafe { core::slice::from_raw_parts((plan.base + shift as usize) as *const u8, plan.len) };
        crc = crc32c_append(crc, bytes);
    }
    let chunk = (offset - shared.data_off).checked_div(shared.chunk).unwrap_or(0) as usize;
    if sums.get(chunk) == Some(crc) { Ok(()) } else { Err(0) }
}

/// The pieces without their first `done` bytes.
fn skip(mut pieces: &mut [IoVec], mut done: usize) -> &mut [IoVec] {
    loop {
        match pieces {
            [first, ..] if first.len > done => {
                first.base += done;
                first.len -= done;
                return pieces;
            }
            [first, rest @ ..] => {
                done -= first.len;
                pieces = rest;
            }
            [] => return pieces,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_to_read_takes_one_worker() {
        assert_eq!(workers(0, 64, 1 << 20), 1);
        assert_eq!(workers(0, 2, 1 << 30), 2);
        assert_eq!(workers(0, 64, 1 << 40), MOST_WORKERS);
        assert_eq!(workers(5, 2, 0), 5);
    }

    #[test]
    fn skipping_goes_over_whole_pieces() {
        let mut pieces = [IoVec { base: 100, len: 10 }, IoVec { base: 200, len: 10 }];
        let rest = skip(&mut pieces, 15);
        assert_eq!(rest.iter().map(|p| (p.base, p.len)).collect::<std::vec::Vec<_>>(), [(205, 5)]);
        assert!(skip(&mut pieces, 10).len() == 1);
    }
}
