//! What a thread says of itself while it stops. Its own questions take a fraction of what the texts of `/proc` take, and all CPUs work on them; with a
//! thousand threads that is half of the stop.

use core::sync::atomic::{AtomicU32, Ordering};
use image::number::take_decimal;
use sys::line::Line;
use sys::process::{self, Shared, capability, pr};
use sys::{fd, thread};

/// Namespaces that one thread of several can leave, those in use first. A mount namespace of its own comes with a working directory of its own; user
/// namespaces are all threads'.
const NAMESPACES: [&str; 6] = ["net", "uts", "ipc", "cgroup", "pid_for_children", "time_for_children"];

/// The leader's id, which the others compare themselves with; zero when nobody is asked.
static LEADER: AtomicU32 = AtomicU32::new(0);
/// How many of the [`NAMESPACES`] each looks at.
static NAMESPACES_ASKED: AtomicU32 = AtomicU32::new(0);

/// Group lists up to this length are compared here.
const GROUPS: usize = 32;

/// Who the thread is to the kernel.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Credentials {
    /// Real, effective and saved ids.
    users: [u32; 3],
    groups: [u32; 3],
    /// Ids for files: setfsuid(2), setfsgid(2).
    file_ids: [u32; 2],
    supplementary: [u32; GROUPS],
    supplementary_len: u32,
    /// As capget(2) has them.
    capabilities: [u32; 6],
    /// Of a thread without any capability it is left out: it limits only what a program would get that it executes.
    bounding: u64,
    ambient: u64,
}

/// What else must be the same in all threads.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Settings {
    no_new_privs: u32,
    securebits: u32,
    has_shadow_stack: bool,
}

/// A thread's answers.
#[derive(Clone, Copy, Default)]
pub struct Answers {
    /// They say all that there is to say. With a seccomp filter they do not: only `/proc` tells how many there are, and a question may be fatal.
    pub complete: bool,
    /// Users, groups, capabilities.
    pub credentials: Credentials,
    /// Security settings.
    pub settings: Settings,
    /// It has a table of descriptors of its own.
    pub own_files: bool,
    /// It has a working directory, root and umask of its own.
    pub own_fs: bool,
    /// Numbers of the [`NAMESPACES`]; zero where it is not known, or was not asked.
    pub namespaces: [u64; NAMESPACES.len()],
}

impl Answers {
    /// Called by the leader of a process with `threads` threads, before it gathers them.
    pub fn of_leader(tid: u32, threads: u32) -> Self {
        // To leave a namespace takes CAP_SYS_ADMIN. Who has given it up since had it for the network, as a rule.
        const MANY: u32 = 100;
        let may_leave = process::capability_sets().is_ok_and(|sets| permits(&sets, capability::SYS_ADMIN));
        let namespaces = match (may_leave, threads) {
            (false, _) => 1,
            (true, MANY..) => 3,
            (true, _) => NAMESPACES.len() as u32,
        };
        NAMESPACES_ASKED.store(namespaces, Ordering::Relaxed);
        LEADER.store(tid, Ordering::Relaxed);
        let this = Self::ask(tid);
        if !this.complete {
            LEADER.store(0, Ordering::Relaxed);
        }
        this
    }

    /// Asks for those of the calling thread. Needs no descriptor.
    pub fn ask(tid: u32) -> Self {
        Self::all(tid, LEADER.load(Ordering::Relaxed)).unwrap_or_default()
    }

    fn all(tid: u32, leader: u32) -> Option<Self> {
        if leader == 0 || process::prctl_value(pr::GET_SECCOMP) != Ok(0) {
            return None;
        }
        // Where kcmp(2) is forbidden, nothing can be said; that they share it is the rule.
        let has_own = |part| tid != leader && process::share(part, leader, tid) == Ok(false);
        let mut namespaces = [0; NAMESPACES.len()];
        for (number, name) in namespaces.iter_mut().zip(asked_namespaces()) {
            *number = namespace(process::pid(), tid, name);
        }
        Some(Self {
            complete: true,
            credentials: credentials()?,
            settings: Settings {
                no_new_privs: process::prctl_value(pr::GET_NO_NEW_PRIVS).ok()?,
                securebits: process::prctl_value(pr::GET_SECUREBITS).ok()?,
                has_shadow_stack: thread::has_shadow_stack(),
            },
            own_files: has_own(Shared::Files),
            own_fs: has_own(Shared::Fs),
            namespaces,
        })
    }
}

/// The namespaces that are looked at: each costs every thread some microseconds of the stop.
pub fn asked_namespaces() -> impl Iterator<Item = &'static str> {
    NAMESPACES.into_iter().take(NAMESPACES_ASKED.load(Ordering::Relaxed) as usize)
}

/// Number of a namespace, from a link of `/proc/PID/task/TID/ns`: `net:[4026531840]`. Zero when it cannot be read.
pub fn namespace(pid: u32, tid: u32, name: &str) -> u64 {
    let mut path = Line::<96>::new();
    path.text("/proc/")
        .dec(u64::from(pid))
        .text("/task/")
        .dec(u64::from(tid))
        .text("/ns/")
        .text(name)
        .text("\0");
    let mut link = [0; 48];
    let text = fd::read_link(fd::AT_FDCWD, path.as_bytes(), &mut link).unwrap_or_default();
    let number = text.split(|byte| *byte == b'[').nth(1).and_then(take_decimal);
    number.map_or(0, |(number, _)| number)
}

/// Whether a capability is a permitted one.
fn permits(sets: &[u32; 6], capability: u32) -> bool {
    let [_, low, _, _, high, _] = sets;
    (u64::from(*high) << 32 | u64::from(*low)) >> capability & 1 != 0
}

/// `None` where they do not fit.
fn credentials() -> Option<Credentials> {
    let mut supplementary = [0; GROUPS];
    let supplementary_len = process::supplementary_groups(&mut supplementary).ok()? as u32;
    let capabilities = process::capability_sets().ok()?;
    let [_, permitted_low, inheritable_low, _, permitted_high, inheritable_high] = capabilities;
    let has_any = permitted_low | permitted_high != 0;
    // An ambient capability is a permitted and inheritable one.
    let may_be_ambient = permitted_low & inheritable_low | permitted_high & inheritable_high != 0;
    Some(Credentials {
        users: process::user_ids().ok()?,
        groups: process::group_ids().ok()?,
        file_ids: process::file_ids(),
        supplementary,
        supplementary_len,
        capabilities,
        bounding: if has_any { process::bounding_capabilities() } else { 0 },
        ambient: if may_be_ambient { process::ambient_capabilities() } else { 0 },
    })
}
