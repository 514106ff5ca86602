//! Files without a name and without a peer: `anon_inode:...`.

use super::info::Info;
use super::{CLOSE, Table, refused, timerfd};
use crate::helper::Stop;
use crate::message::{Failure, Kind};
use image::details::{Eventfd, Signalfd};
use image::format::{OpenFile, file_kind};
use image::plain::bytes_of;
use sys::{Errno, fd};

const PREFIX: &[u8] = b"anon_inode:";

/// Whether a link of `/proc/self/fd` is that of such a file.
pub fn is(link: &[u8]) -> bool {
    link.starts_with(PREFIX) || link.starts_with(b"pidfd:")
}

const ALARM: Kind = Kind {
    what: "a timer that wakes the machine up, which the process may not make again",
    advice: "save and restart it as root",
};

/// What is refused, and what it is called. Linux puts some names in brackets and others not.
const REFUSED: [(&[u8], Kind); 15] = [
    (
        b"io_uring",
        Kind {
            what: "an io_uring",
            advice: "close it before the save, or run it where the kernel gives none (sysctl kernel.io_uring_disabled=2, or a seccomp profile such as Docker's)",
        },
    ),
    (b"userfaultfd", refused("a userfaultfd")),
    (b"perf_event", refused("a performance counter (perf_event_open)")),
    (b"bpf", refused("an eBPF object")),
    (b"fanotify", refused("a fanotify group")),
    (b"landlock-ruleset", refused("a Landlock ruleset")),
    (b"seccomp notify", refused("a seccomp notifier")),
    (b"kvm", refused("a virtual machine (KVM)")),
    (b"fscontext", refused("a file system context (fsopen)")),
    (b"mount", refused("a detached mount")),
    (b"dma_fence", refused("a synchronisation file of a graphics device")),
    (b"sync_file", refused("a synchronisation file of a graphics device")),
    (b"vfio", refused("a VFIO device")),
    (b"secretmem", refused("secret memory (memfd_secret)")),
    (b"gpio", refused("a GPIO line")),
];

/// Fills in kind and detail, or refuses.
pub fn describe(table: &mut Table<'_>, number: u32, info: &Info, file: &mut OpenFile) -> Result<(), Stop> {
    let link = table.scratch.blob(file.path);
    let name = link.strip_prefix(PREFIX).unwrap_or(link);
    let name = name.strip_prefix(b"[").unwrap_or(name);
    let name = name.strip_suffix(b"]").unwrap_or(name);
    match name {
        b"eventfd" => {
            file.kind = file_kind::EVENTFD;
            let semaphore = match info.semaphore {
                Some(semaphore) => semaphore,
                None => is_semaphore(number as i32, info.count)?,
            };
            let detail = Eventfd { count: info.count, semaphore: u32::from(semaphore), reserved: 0 };
            file.detail = table.scratch.bytes(bytes_of(&detail))?;
        }
        b"timerfd" => {
            file.kind = file_kind::TIMERFD;
            // The clocks that wake a machine up need a privilege, which may have been given up.
            match sys::descriptor::new_timer(info.clock) {
                Ok(trial) => drop(fd::close(trial)),
                Err(Errno::EPERM) => return Err(Failure::Descriptor(number as i32, ALARM).into()),
                Err(errno) => return Err(Failure::Ask("timerfd_create", errno).into()),
            }
            file.detail = table.scratch.bytes(bytes_of(&timerfd::detail(info)))?;
        }
        b"signalfd" => {
            file.kind = file_kind::SIGNALFD;
            file.detail = table.scratch.bytes(bytes_of(&Signalfd { mask: info.mask }))?;
        }
        b"eventpoll" => {
            file.kind = file_kind::EPOLL;
            // Completed when all files are known.
            file.detail = info.items;
        }
        b"inotify" => file.kind = file_kind::INOTIFY,
        b"pidfd" if info.pid == i64::from(table.target.pid) => file.kind = file_kind::PIDFD_SELF,
        b"pidfd" => {
            let kind = Kind { what: "a pidfd of another process", advice: CLOSE };
            return Err(Failure::Descriptor(number as i32, kind).into());
        }
        name => {
            let known = REFUSED.iter().find(|(start, _)| name.starts_with(start));
            let kind = known.map_or(refused("of a kind that cannot be restored"), |(_, kind)| *kind);
            return Err(Failure::Descriptor(number as i32, kind).into());
        }
    }
    Ok(())
}

/// Before Linux 6.5 only reading tells: a semaphore gives one at a time. What is taken out goes back in at once, while the program stands still.
fn is_semaphore(number: i32, count: u64) -> Result<bool, Failure> {
    let ask = |errno| Failure::Ask("eventfd", errno);
    /// Room for two more; the highest count is `u64::MAX - 1`.
    const HIGHEST: u64 = u64::MAX - 3;
    if count > HIGHEST {
        return Ok(false);
    }
    fd::write(number, &2u64.to_ne_bytes()).map_err(ask)?;
    let mut taken = [0; 8];
    fd::read(number, &mut taken).map_err(ask)?;
    let semaphore = u64::from_ne_bytes(taken) == 1;
    if semaphore {
        fd::read(number, &mut taken).map_err(ask)?;
    } else if count > 0 {
        fd::write(number, &count.to_ne_bytes()).map_err(ask)?;
    }
    Ok(semaphore)
}
