//! Attributes of the process.

use super::Builder;
use crate::exit::Result;
use crate::files::Identity;
use crate::op::Op;
use image::format::{Limit, NONE, Pending, cpu_feature};
use image::sender;
use sys::Sysno;
use sys::fd::{AT_FDCWD, open_flag};
use sys::line::Line;
use sys::process::{NOFILE, pr};
use sys::signal::sig;

/// Second argument of `prctl(PR_SET_MM, ...)`.
const PR_SET_MM_MAP: u64 = 14;
/// arch_prctl(2): asks for the permission to use a register set.
const ARCH_REQ_XCOMP_PERM: u64 = 0x1023;
/// Number of the register set of AMX tile data.
const XFEATURE_XTILE_DATA: u64 = 18;
/// Signals whose actions cannot be set.
const UNCHANGEABLE: [u64; 2] = [sig::KILL as u64, sig::STOP as u64];
/// Size of the kernel's signal set in bytes.
const SIGSET: u64 = 8;

/// `struct prctl_mm_map` (include/uapi/linux/prctl.h).
#[repr(C)]
#[derive(Clone, Copy)]
struct MmMap {
    /// From `start_code` to `env_end`, in the order of [`image::format::MemoryMap`].
    addresses: [u64; 11],
    auxv: u64,
    auxv_size: u32,
    exe_fd: i32,
}
const _: () = assert!(size_of::<MmMap>() == 104);

impl<'a> Builder<'a, '_> {
    /// What the process as a whole has, in an order in which nothing stands in the way of what follows: limits last.
    pub(super) fn process(&mut self) -> Result<'a, ()> {
        let image = self.inputs.image;
        let process = *image.process();
        self.early(Op::success(Sysno::umask, [u64::from(process.umask)], u64::from(self.inputs.umask)))?;
        if process.cpu & cpu_feature::AMX != 0 {
            self.early(Op::zero(Sysno::arch_prctl, [ARCH_REQ_XCOMP_PERM, XFEATURE_XTILE_DATA]))?;
        }
        self.session()?;
        self.actions()?;
        self.prctls()?;
        self.proc_files()?;
        self.membarriers()?;
        if let Some(leader) = image.threads().get(0) {
            self.thread_attributes(&leader, false)?;
        }
        self.pending(0)?;
        self.timers()?;
        self.memory_map(-1, false)?;
        self.exe = self.open_executable()?;
        self.limits()
    }

    /// The working directory, before the descriptors: a socket may be bound to a path below it.
    pub(super) fn working_directory(&mut self) -> Result<'a, ()> {
        let cwd = self.inputs.cwd;
        if matches!(cwd, [] | [0]) {
            return Ok(());
        }
        let held = self.hold(cwd, Identity::default(), open_flag::DIRECTORY)?;
        self.early(Op::zero(Sysno::fchdir, [u64::from(held)]))?;
        self.let_go(held)
    }

    /// Session and process group are the business of whoever starts a process. A shell with job control has made this one the leader of a group, as it
    /// did with the saved one. Without a terminal nobody did, and nobody minds: then a leader of a session or of a group becomes one again.
    fn session(&mut self) -> Result<'a, ()> {
        let process = *self.inputs.image.process();
        let pid = self.inputs.pid;
        if self.inputs.has_terminal || self.inputs.group == pid {
            return Ok(());
        }
        if process.sid == process.pid {
            self.early(Op::exact(Sysno::setsid, [], u64::from(pid)))
        } else if process.pgid == process.pid {
            self.early(Op::zero(Sysno::setpgid, [0, 0]))
        } else {
            Ok(())
        }
    }

    /// Attributes that are files of `/proc`.
    fn proc_files(&mut self) -> Result<'a, ()> {
        let process = *self.inputs.image.process();
        if process.oom_score_adj != self.inputs.oom_score_adj {
            let mut text = Line::<16>::new();
            text.int(i64::from(process.oom_score_adj));
            // Without privilege it cannot become lower than it is.
            self.write_file(b"/proc/self/oom_score_adj\0", &mut text)?;
        }
        if process.coredump_filter != self.inputs.coredump_filter {
            let mut text = Line::<16>::new();
            text.hex(u64::from(process.coredump_filter));
            self.write_file(b"/proc/self/coredump_filter\0", &mut text)?;
        }
        Ok(())
    }

    /// Writes a file of `/proc`, if the kernel lets it.
    fn write_file(&mut self, path: &'static [u8], text: &mut Line<16>) -> Result<'a, ()> {
        let number = u64::from(self.numbers.lowest());
        if number >= self.inputs.limits.get(NOFILE as usize).map_or(0, |limit| limit.soft) {
            return Ok(());
        }
        let flags = u64::from(open_flag::WRONLY | open_flag::CLOEXEC);
        let args = [i64::from(AT_FDCWD) as u64, path.as_ptr() as u64, flags];
        self.early(Op::exact(Sysno::openat, args, number))?;
        let len = text.as_bytes().len() as u64;
        let bytes = self.keep_bytes(text.text("\0").as_bytes())?;
        let mut write = Op::any(Sysno::write, [number, bytes, len]);
        write.expect = len;
        self.early(write)?;
        self.early(Op::zero(Sysno::close, [number]))
    }

    /// What every signal does.
    fn actions(&mut self) -> Result<'a, ()> {
        for (signal, action) in (1u64..).zip(self.inputs.image.sigactions().iter()) {
            if !UNCHANGEABLE.contains(&signal) {
                let action = self.keep(action)?;
                self.early(Op::zero(Sysno::rt_sigaction, [signal, action, 0, SIGSET]))?;
            }
        }
        Ok(())
    }

    fn prctls(&mut self) -> Result<'a, ()> {
        let process = *self.inputs.image.process();
        // What the kernel tells is a flag of whether, and those that refine it (Linux 6.18); it wants them apart.
        let (disable, flags) = (process.thp_disable & 1, process.thp_disable & !1);
        self.early(Op::zero(
            Sysno::prctl,
            [u64::from(pr::SET_THP_DISABLE), u64::from(disable), u64::from(flags)],
        ))?;
        if process.subreaper != 0 {
            self.prctl(pr::SET_CHILD_SUBREAPER, process.subreaper, false)?;
        }
        self.credentials(false)?;
        if process.memory_merge != 0 {
            self.early(Op::zero(Sysno::prctl, [u64::from(pr::SET_MEMORY_MERGE), 1, 0, 0, 0]))?;
        }
        // 2, "readable by root only", comes from the executable's mode and cannot be set.
        if process.dumpable < 2 {
            self.prctl(pr::SET_DUMPABLE, process.dumpable, false)?;
        }
        Ok(())
    }

    /// What the kernel keeps for each thread, and a process has in common: the same in all of them, each of which sets it for itself.
    pub(super) fn credentials(&mut self, late: bool) -> Result<'a, ()> {
        let process = *self.inputs.image.process();
        if process.personality != self.inputs.personality {
            let now = u64::from(self.inputs.personality);
            self.put(late, Op::exact(Sysno::personality, [u64::from(process.personality)], now))?;
        }
        for (option, value) in
            [(pr::SET_KEEPCAPS, process.keepcaps), (pr::SET_NO_NEW_PRIVS, process.no_new_privs)]
        {
            if value != 0 {
                self.prctl(option, value, late)?;
            }
        }
        const PR_TSC_SIGSEGV: u32 = 2;
        if process.tsc == PR_TSC_SIGSEGV {
            self.prctl(pr::SET_TSC, process.tsc, late)?;
        }
        const PR_MCE_KILL_SET: u64 = 1;
        if let Some(kind) = process.mce_kill.checked_sub(1) {
            let args = [u64::from(pr::MCE_KILL), PR_MCE_KILL_SET, u64::from(kind), 0, 0];
            self.put(late, Op::zero(Sysno::prctl, args))?;
        }
        if process.securebits != self.inputs.securebits {
            self.prctl(pr::SET_SECUREBITS, process.securebits, late)?;
        }
        Ok(())
    }

    fn prctl(&mut self, option: u32, value: u32, late: bool) -> Result<'static, ()> {
        self.put(late, Op::zero(Sysno::prctl, [u64::from(option), u64::from(value)]))
    }

    /// membarrier(2): each bit of the registrations is the command that made it.
    fn membarriers(&mut self) -> Result<'a, ()> {
        let registered = self.inputs.image.process().membarrier;
        for command in (0..32).map(|bit| 1u32 << bit).filter(|command| registered & command != 0) {
            self.early(Op::zero(Sysno::membarrier, [u64::from(command), 0, 0]))?;
        }
        Ok(())
    }

    /// Queues the signals that were pending for thread `index`; with the first thread, those for the process as well.
    pub(super) fn pending(&mut self, index: u32) -> Result<'a, ()> {
        let saved = self.inputs.image.threads().get(0).map_or(0, |leader| leader.tid);
        for Pending { thread, mut info, .. } in self.inputs.image.pending().iter() {
            sender::rename(&mut info, saved, self.inputs.pid);
            let [a, b, c, d, ..] = info;
            let signal = u64::from(u32::from_le_bytes([a, b, c, d]));
            let pid = u64::from(self.inputs.pid);
            if thread == NONE && index == 0 {
                let info = self.keep(info)?;
                self.early(Op::zero(Sysno::rt_sigqueueinfo, [pid, signal, info]))?;
            } else if thread == index && index == 0 {
                let info = self.keep(info)?;
                self.early(Op::zero(Sysno::rt_tgsigqueueinfo, [pid, pid, signal, info]))?;
            }
        }
        Ok(())
    }

    /// Where program, heap, stack, arguments and environment are. A kernel that refuses it leaves a process that runs: brk(2) fails
    /// then, and allocators fall back to mmap(2).
    fn memory_map(&mut self, exe_fd: i32, late: bool) -> Result<'a, ()> {
        let image = self.inputs.image;
        let mm = image.process().mm;
        let auxv = image.bytes(image.process().auxv);
        let auxv_size = auxv.len() as u32;
        let auxv = if late { self.keep_bytes(auxv)? } else { auxv.as_ptr() as u64 };
        let map = MmMap {
            addresses: [
                mm.start_code,
                mm.end_code,
                mm.start_data,
                mm.end_data,
                mm.start_brk,
                mm.brk,
                mm.start_stack,
                mm.arg_start,
                mm.arg_end,
                mm.env_start,
                mm.env_end,
            ],
            auxv,
            auxv_size,
            exe_fd,
        };
        let map = self.keep(map)?;
        let args = [u64::from(pr::SET_MM), PR_SET_MM_MAP, map, size_of::<MmMap>() as u64, 0];
        self.put(late, Op::any(Sysno::prctl, args))
    }

    /// `/proc/self/exe`, which can be set only when nothing of the present one is mapped any more, and by the privileged.
    /// Then descriptor `fd` is the executable, and is closed.
    pub(super) fn executable(&mut self, fd: u32) -> Result<'a, ()> {
        self.memory_map(fd as i32, true)?;
        self.late(Op::zero(Sysno::close, [u64::from(fd)]))
    }

    /// Opens the executable, if it can be set at all; gives the number of the descriptor.
    pub(super) fn open_executable(&mut self) -> Result<'a, Option<u32>> {
        let number = self.numbers.lowest();
        let nofile = self.inputs.limits.get(NOFILE as usize).map_or(0, |limit| limit.soft);
        let Some(exe) = self.inputs.exe.filter(|_| u64::from(number) < nofile) else { return Ok(None) };
        self.open_named(exe.path, exe.identity, open_flag::CLOEXEC, [0; 2]).map(Some)
    }

    /// Resource limits. Without privilege a hard limit can only be lowered: then it stays as near as it can.
    fn limits(&mut self) -> Result<'a, ()> {
        let saved = self.inputs.image.process().limits;
        for (number, (saved, now)) in (0u64..).zip(saved.into_iter().zip(self.inputs.limits)) {
            let hard = if self.inputs.privileged { saved.hard } else { saved.hard.min(now.hard) };
            let wanted = Limit { soft: saved.soft.min(hard), hard };
            if wanted != now {
                let limit = self.keep(wanted)?;
                self.early(Op::zero(Sysno::prlimit64, [0, number, limit, 0]))?;
            }
        }
        Ok(())
    }
}
