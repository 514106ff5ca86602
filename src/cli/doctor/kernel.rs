//! What the kernel and this process's limits allow.

use super::{Finding, State};
use crate::names;
use crate::text::size;
use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::utsname::uname;
use std::arch::x86_64::{__cpuid, _xgetbv};
use std::fs::{self, File};
use std::os::fd::AsRawFd;

/// All of it.
pub fn findings() -> Vec<Finding> {
    vec![
        release(),
        proc(),
        page_map(),
        memory_layout(),
        descriptors(),
        timers(),
        map_count(),
        limits(),
        cpu(),
    ]
}

fn release() -> Finding {
    let name = uname().map(|name| name.release().to_string_lossy().into_owned()).unwrap_or_default();
    let mut numbers = name.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let state = if version >= OLDEST { State::Ok } else { State::Missing };
    Finding::new("kernel", state, format!("Linux {name}, {}.{} or later is needed", OLDEST.0, OLDEST.1))
}

/// pidfd_open(2), clone3(2) and close_range(2) are there.
const OLDEST: (u32, u32) = (5, 9);

fn proc() -> Finding {
    let wanted = ["maps", "smaps", "stat", "fd", "fdinfo", "environ"];
    let unreadable = wanted.iter().find(|name| fs::metadata(format!("/proc/self/{name}")).is_err());
    match unreadable {
        None => Finding::new("/proc", State::Ok, "mounted and readable"),
        Some(name) => Finding::new(
            "/proc",
            State::Missing,
            format!("/proc/self/{name} cannot be read; mount proc on /proc"),
        ),
    }
}

/// `struct pm_scan_arg` (include/uapi/linux/fs.h, Linux 6.7).
#[repr(C)]
#[derive(Default)]
struct ScanArguments {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vec: u64,
    vec_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}
nix::ioctl_readwrite!(pagemap_scan, b'f', 16, ScanArguments);

fn page_map() -> Finding {
    const PRESENT: u64 = 1 << 3;
    let finding = |state, note| Finding::new("page map", state, note);
    let Ok(file) = File::open("/proc/self/pagemap") else {
        return finding(State::Limited, "no /proc/self/pagemap: every page is read, untouched ones too");
    };
    let page = std::ptr::from_ref(&file) as u64 & !0xfff;
    let mut arguments = ScanArguments {
        size: size_of::<ScanArguments>() as u64,
        start: page,
        end: page + 0x1000,
        category_mask: PRESENT,
        return_mask: PRESENT,
        ..ScanArguments::default()
    };
    // SAFETY: without a vector the kernel only walks the range and writes `walk_end`.
    match unsafe { pagemap_scan(file.as_raw_fd(), &raw mut arguments) } {
        Ok(_) => finding(State::Ok, "PAGEMAP_SCAN: only touched pages are read"),
        Err(_) => finding(State::Limited, "no PAGEMAP_SCAN (Linux 6.7): touched pages are found one by one"),
    }
}

/// prctl(2) with numbers and addresses that the kernel only writes to.
fn prctl(option: i32, arguments: [u64; 4]) -> nix::Result<i32> {
    let [a, b, c, d] = arguments;
    // SAFETY: each caller's arguments are numbers, or the address of a live variable of the size that its option stores.
    Errno::result(unsafe { libc::prctl(option, a, b, c, d) })
}

fn memory_layout() -> Finding {
    let mut size = 0u32;
    let size_at = (&raw mut size) as u64;
    let map = prctl(libc::PR_SET_MM, [libc::PR_SET_MM_MAP_SIZE as u64, size_at, 0, 0]);
    let mut address = 0u64;
    let address_at = (&raw mut address) as u64;
    let tid = prctl(libc::PR_GET_TID_ADDRESS, [address_at, 0, 0, 0]);
    match (map, tid) {
        (Ok(_), Ok(_)) => Finding::new(
            "checkpointing",
            State::Ok,
            "CONFIG_CHECKPOINT_RESTORE: heap end, arguments and tid address come back",
        ),
        _ => Finding::new(
            "checkpointing",
            State::Limited,
            "the kernel has no CONFIG_CHECKPOINT_RESTORE: ps(1) shows the restarter's arguments, and brk(2) does not go on",
        ),
    }
}

fn descriptors() -> Finding {
    const KCMP_FILE: i32 = 0;
    let pid = std::process::id();
    // SAFETY: kcmp(2) takes numbers.
    let same = Errno::result(unsafe { libc::syscall(libc::SYS_kcmp, pid, pid, KCMP_FILE, 2, 2) });
    match same {
        Ok(_) => Finding::new("descriptors", State::Ok, "kcmp(2): those that dup(2) made are told apart"),
        Err(errno) => Finding::new(
            "descriptors",
            State::Limited,
            format!(
                "kcmp(2) fails ({errno}): before Linux 6.10 a program with several descriptors of a file is not saved"
            ),
        ),
    }
}

fn timers() -> Finding {
    const PR_TIMER_CREATE_RESTORE_IDS: i32 = 77;
    const GET: u64 = 2;
    match prctl(PR_TIMER_CREATE_RESTORE_IDS, [GET, 0, 0, 0]) {
        Ok(_) => Finding::new(
            "timers",
            State::Ok,
            "PR_TIMER_CREATE_RESTORE_IDS: POSIX timers get their ids directly",
        ),
        Err(_) => Finding::new(
            "timers",
            State::Ok,
            "POSIX timers get their ids by counting up to them (Linux 6.15 does better)",
        ),
    }
}

fn map_count() -> Finding {
    let text = fs::read_to_string("/proc/sys/vm/max_map_count").unwrap_or_default();
    match text.trim().parse::<u64>() {
        Ok(count) if count < 65_530 => Finding::new(
            "regions",
            State::Limited,
            format!(
                "vm.max_map_count is {count}, less than usual: programs with more regions cannot restart"
            ),
        ),
        Ok(count) => Finding::new("regions", State::Ok, format!("vm.max_map_count is {count}")),
        Err(_) => Finding::new("regions", State::Ok, "vm.max_map_count is not readable"),
    }
}

fn limits() -> Finding {
    let wanted = [
        (Resource::RLIMIT_FSIZE, "file size (ulimit -f)"),
        (Resource::RLIMIT_AS, "address space (ulimit -v)"),
        (Resource::RLIMIT_DATA, "data (ulimit -d)"),
    ];
    let limited = wanted.iter().filter_map(|(resource, name)| {
        let (soft, _) = getrlimit(*resource).ok()?;
        (soft != libc::RLIM_INFINITY).then(|| format!("{name} {}", size(soft)))
    });
    let limited: Vec<_> = limited.collect();
    if limited.is_empty() {
        Finding::new("limits", State::Ok, "none on files and memory")
    } else {
        Finding::new(
            "limits",
            State::Limited,
            format!("larger programs and images will not fit: {}", limited.join(", ")),
        )
    }
}

fn cpu() -> Finding {
    const OSXSAVE: u32 = 1 << 27;
    if __cpuid(1).ecx & OSXSAVE == 0 {
        return Finding::new("cpu", State::Ok, "registers: x87 sse (no XSAVE)");
    }
    // SAFETY: XGETBV exists where CPUID says OSXSAVE; register 0 always exists.
    let xcr0 = unsafe { read_xcr0() };
    Finding::new("cpu", State::Ok, format!("registers: {}", names::register_sets(xcr0).join(" ")))
}

#[target_feature(enable = "xsave")]
fn read_xcr0() -> u64 {
    // SAFETY: register 0 exists wherever the instruction does.
    unsafe { _xgetbv(0) }
}
