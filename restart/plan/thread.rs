//! Threads: what each one has of its own, and how it is started.

use super::Builder;
use crate::execute::Record;
use crate::exit::Result;
use crate::op::Op;
use image::format::Thread;
use sys::Sysno;
use sys::process::pr;

/// Stack for the first steps of each thread in libckpt, in bytes: the resume contract asks for 4 KiB.
pub(super) const STACK: usize = 8192;
/// Bytes that the details of a thread take in the arena: name, affinity, scheduling.
pub(super) const DETAILS: usize = 2048;

const ARCH_SET_GS: u64 = 0x1001;
const ARCH_SET_FS: u64 = 0x1002;
/// `ioprio_set(2)`: one thread.
const IOPRIO_WHO_PROCESS: u64 = 1;
/// `PRIO_PROCESS` of setpriority(2): one thread.
const PRIO_PROCESS: u64 = 0;

/// `struct sched_attr` (include/uapi/linux/sched/types.h), 56 bytes.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct SchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    deadline: [u64; 3],
    util: [u32; 2],
}
const _: () = assert!(size_of::<SchedAttr>() == 56);
/// Bit that sched_getscheduler(2) adds to the policy, and its counterpart for sched_setattr(2).
const SCHED_RESET_ON_FORK: u32 = 0x4000_0000;
const SCHED_FLAG_RESET_ON_FORK: u64 = 1;

impl<'a> Builder<'a, '_> {
    /// The ops of every thread, and the main thread's that start the others. The main thread has begun with those that
    /// bring the memory home.
    pub(super) fn threads(&mut self) -> Result<'a, ()> {
        let image = self.inputs.image;
        let leader = image.threads().get(0).unwrap_or_default();
        if let Some(fd) = self.exe {
            self.executable(fd)?;
        }
        self.late(Op::zero(Sysno::arch_prctl, [ARCH_SET_FS, leader.fs_base]))?;
        self.late(Op::zero(Sysno::arch_prctl, [ARCH_SET_GS, leader.gs_base]))?;
        let pid = u64::from(self.inputs.pid);
        self.late(Op::success(Sysno::set_tid_address, [leader.tid_address], pid))?;
        self.registrations(&leader)?;
        // The memory that they are registered in is at home.
        let home = self.keep(0u32)?;
        if image.threads().len() > 1 {
            self.late(Op::wake(home))?;
        }
        self.start_timers()?;
        let mdwe = image.process().mdwe;
        if mdwe != 0 {
            // From here on, nothing can become executable.
            self.late(Op::zero(Sysno::prctl, [u64::from(pr::SET_MDWE), u64::from(mdwe), 0, 0, 0]))?;
        }
        self.give_up_rights()?;
        let before_last = self.keep(image.threads().len() as u32)?;
        self.close_stderr()?;
        self.record(0, &leader, 0, before_last)?;
        for index in 1..image.threads().len() {
            let Some(thread) = image.threads().get(index) else { break };
            let first = self.late.len();
            self.late(Op::sleep(home))?;
            self.late(Op::zero(Sysno::arch_prctl, [ARCH_SET_FS, thread.fs_base]))?;
            self.late(Op::zero(Sysno::arch_prctl, [ARCH_SET_GS, thread.gs_base]))?;
            let tid = self.inputs.tid(index as u32);
            self.late(Op::success(Sysno::set_tid_address, [thread.tid_address], u64::from(tid)))?;
            self.registrations(&thread)?;
            self.credentials(true)?;
            self.thread_attributes(&thread, true)?;
            self.give_up_rights()?;
            self.close_stderr()?;
            self.record(index, &thread, first, before_last)?;
        }
        Ok(())
    }

    /// The restarter's own standard error, when nobody can have to tell anything any more. It is gone, whatever close(2) says.
    fn close_stderr(&mut self) -> Result<'a, ()> {
        if self.inputs.stderr > 2 {
            self.late(Op::last(Sysno::close, [self.inputs.stderr as u64]))?;
        }
        Ok(())
    }

    /// What this process may do and the one of the image might not, be it by its user, by a user namespace or by the file of the restarter. Each thread has groups
    /// and capabilities of its own.
    fn give_up_rights(&mut self) -> Result<'a, ()> {
        let (rights, kept) = (self.inputs.rights, self.inputs.kept);
        // In a user namespace of its own, a process has no groups to set, and its capabilities are good for nothing outside.
        if !kept.namespace {
            if let Some(groups) = rights.groups {
                let args = [groups.len() as u64, groups.as_ptr() as u64];
                self.late(Op::zero(Sysno::setgroups, args))?;
            }
            let bits = |set: u64| (0..u64::BITS).filter(move |bit| set >> bit & 1 != 0);
            for capability in bits(rights.unbound) {
                let args = [u64::from(pr::CAPBSET_DROP), u64::from(capability), 0, 0, 0];
                self.late(Op::zero(Sysno::prctl, args))?;
            }
            if let Some(ambient) = rights.ambient {
                const RAISE: u64 = 2;
                const CLEAR_ALL: u64 = 4;
                let option = u64::from(pr::CAP_AMBIENT);
                self.late(Op::zero(Sysno::prctl, [option, CLEAR_ALL, 0, 0, 0]))?;
                for capability in bits(ambient) {
                    self.late(Op::zero(Sysno::prctl, [option, RAISE, u64::from(capability), 0, 0]))?;
                }
            }
        }
        let stay = if kept.drops_capabilities { Some([0; 3]) } else { rights.capabilities };
        let Some([effective, permitted, inheritable]) = stay else { return Ok(()) };
        let header = self.keep([sys::process::CAPABILITY_VERSION, 0])?;
        // The low halves, then the high ones.
        let sets = [effective, permitted, inheritable];
        let sets = self.keep([sets.map(|set| set as u32), sets.map(|set| (set >> 32) as u32)])?;
        self.late(Op::zero(Sysno::capset, [header, sets]))
    }

    /// Addresses that the kernel keeps for a thread.
    fn registrations(&mut self, thread: &Thread) -> Result<'a, ()> {
        if thread.robust_list != 0 {
            self.late(Op::zero(Sysno::set_robust_list, [thread.robust_list, thread.robust_len]))?;
        }
        if thread.rseq != 0 {
            let args = [thread.rseq, u64::from(thread.rseq_len), 0, u64::from(thread.rseq_sig)];
            self.late(Op::zero(Sysno::rseq, args))?;
        }
        Ok(())
    }

    /// What thread `index` does in the executor: the late ops from `first` on.
    fn record(&mut self, index: usize, thread: &Thread, first: usize, before_last: u64) -> Result<'a, ()> {
        let hole = self.inputs.layout.hole;
        let ops = self.late.next_address() - ((self.late.len() - first) * size_of::<Op>()) as u64;
        self.records.push(Record {
            outside: if index == 0 { 0 } else { crate::crew::outside() },
            ops,
            end: self.late.next_address(),
            context: thread.context,
            resume_ip: self.inputs.image.process().resume_ip,
            index: index as u64,
            hole_start: hole.start,
            hole_len: hole.end - hole.start,
            threads: self.inputs.image.threads().len() as u64,
            stack_top: self.stacks + ((index + 1) * STACK) as u64,
            lines: 0,
            stderr: self.inputs.stderr as u64,
            before_last,
        })
    }

    /// What a thread has of its own, where it differs from what the restarter has: the main thread sets it early, the others in the executor.
    pub(super) fn thread_attributes(&mut self, thread: &Thread, late: bool) -> Result<'a, ()> {
        let image = self.inputs.image;
        let name = self.keep(thread.comm)?;
        self.put(late, Op::zero(Sysno::prctl, [u64::from(pr::SET_NAME), name]))?;
        if thread.timerslack != 0 && thread.timerslack != self.inputs.timerslack {
            self.put(late, Op::zero(Sysno::prctl, [u64::from(pr::SET_TIMERSLACK), thread.timerslack]))?;
        }
        if thread.pdeathsig != 0 {
            let args = [u64::from(pr::SET_PDEATHSIG), u64::from(thread.pdeathsig)];
            self.put(late, Op::zero(Sysno::prctl, args))?;
        }
        let affinity = image.bytes(thread.affinity);
        if affinity != self.inputs.affinity && !affinity.is_empty() {
            let mask = self.keep_bytes(affinity)?;
            // Not an error on a machine with other CPUs.
            self.put(late, Op::any(Sysno::sched_setaffinity, [0, affinity.len() as u64, mask]))?;
        }
        // Without clamps, or on a kernel that has none.
        let plain = thread.policy == 0 && matches!(thread.util_clamp, [0, 1024 | 0]);
        if plain && thread.nice != self.inputs.nice {
            let nice = i64::from(thread.nice) as u64;
            self.put(late, Op::any(Sysno::setpriority, [PRIO_PROCESS, 0, nice]))?;
        }
        if !plain {
            let attr = SchedAttr {
                size: size_of::<SchedAttr>() as u32,
                policy: thread.policy & !SCHED_RESET_ON_FORK,
                flags: if thread.policy & SCHED_RESET_ON_FORK != 0 { SCHED_FLAG_RESET_ON_FORK } else { 0 },
                nice: thread.nice,
                priority: thread.priority,
                deadline: thread.deadline,
                util: thread.util_clamp,
            };
            let attr = self.keep(attr)?;
            self.put(late, Op::any(Sysno::sched_setattr, [0, attr, 0]))?;
        }
        if thread.ioprio != 0 {
            let args = [IOPRIO_WHO_PROCESS, 0, u64::from(thread.ioprio)];
            self.put(late, Op::any(Sysno::ioprio_set, args))?;
        }
        Ok(())
    }
}
