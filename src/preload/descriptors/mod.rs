//! Descriptors and the open file descriptions behind them.
//!
//! The helper looks at its own copy of the target's table. It disturbs nothing: no offset moves, no flag changes, nothing that is queued is
//! taken out. Several passes, because what a file is may depend on the others: a pipe whose other end is in the table is restored with
//! it, one whose other end is elsewhere cannot be.
//!
//! ```text
//! numbers     which numbers are open, and which of them share an open file description
//! info        /proc/PID/fdinfo: offset, flags, locks, and what each kind has of its own
//! named       files that are opened by a path; files without one
//! anonymous   eventfd, signalfd, pidfd; what is refused by name
//! timerfd epoll inotify pipe terminal socket unix inet     the rest, by kind
//! ```

mod anonymous;
mod diag;
mod epoll;
mod inet;
mod info;
pub mod inherited;
pub mod inotify;
mod multicast;
mod named;
mod numbers;
mod pipe;
pub mod search;
mod socket;
mod terminal;
mod timerfd;
mod unix;

use crate::helper::{Job, Stop};
use crate::message::{Failure, Kind};
use crate::report::Report;
use crate::scratch::{List, Scratch};
use core::cmp::Ordering;
use diag::{Diag, UnixState};
use image::format::{Blob, Descriptor, NONE, OpenFile, Time, file_kind};
use info::{Info, Target};
use sys::fd::{self, Stat, fcntl, open_flag};
use sys::line::Line;
use sys::{descriptor, process};

/// File types of `st_mode` (inode(7)).
mod mode {
    pub const TYPE: u32 = 0o170_000;
    pub const REGULAR: u32 = 0o100_000;
    pub const DIRECTORY: u32 = 0o040_000;
    pub const CHARACTER: u32 = 0o020_000;
    pub const BLOCK: u32 = 0o060_000;
    pub const FIFO: u32 = 0o010_000;
    pub const SOCKET: u32 = 0o140_000;
    pub const LINK: u32 = 0o120_000;
}

/// Device number of `/dev/null`.
const NULL: u64 = 0x103;
/// `FD_CLOEXEC`.
const CLOEXEC: u32 = 1;
/// What most refusals advise.
const CLOSE: &str = "close it before the save";

const fn refused(what: &'static str) -> Kind {
    Kind { what, advice: CLOSE }
}

/// Lets the helper, whose table and limits are its own, use numbers beyond the target's limit: the target may have used all that it has. Gives the target's
/// limit back when there was something to raise.
pub fn make_room() -> Option<[u64; 2]> {
    let [soft, hard] = process::limit(process::NOFILE).ok()?;
    (soft < hard && process::set_limit(process::NOFILE, [hard, hard]).is_ok()).then_some([soft, hard])
}

/// Closes all of the helper's or the writer's descriptors but these (negative ones do not count): neither may keep open what the target closes.
pub fn keep_only(keep: &[i32]) {
    let mut first = 0u32;
    loop {
        match keep.iter().filter(|fd| **fd >= 0).map(|fd| *fd as u32).filter(|fd| *fd >= first).min() {
            Some(next) => {
                if next > first {
                    let _ = fd::close_range(first, next - 1);
                }
                first = next + 1;
            }
            None => {
                let _ = fd::close_range(first, u32::MAX);
                return;
            }
        }
    }
}

/// The target's table, as far as it is known.
pub struct Table<'a> {
    scratch: &'a mut Scratch,
    target: Target,
    /// By ascending number.
    descriptors: List<Descriptor>,
    files: List<OpenFile>,
    /// The first number of each file.
    numbers: List<u32>,
    /// The files' indexes, ordered by device, inode and kcmp(2); the first `files.len()` of them.
    order: List<u32>,
    /// For questions about unix sockets, when there are any.
    diag: Option<Diag>,
    /// Where there are many: the answers for each file, or nothing.
    states: List<UnixState>,
    /// What a new socket has, of the kind that was looked at last.
    fresh: Option<socket::Fresh>,
}

/// Reads the table, without the descriptors of the report.
#[inline(never)] // its buffers are off the stack again when it returns
pub fn read(
    job: &Job,
    scratch: &mut Scratch,
    report: &mut Report,
) -> Result<(List<OpenFile>, List<Descriptor>), Stop> {
    let target = Target::new(job.pid, report.target);
    let open = numbers::open(scratch, &[report.fd, report.target])?;
    let numbers = zeros(scratch, open.len())?;
    let order = zeros(scratch, open.len())?;
    let mut descriptors = scratch.list::<Descriptor>();
    for &number in open.iter() {
        scratch.push(&mut descriptors, Descriptor { number, file: NONE, flags: 0 })?;
    }
    let files = scratch.list::<OpenFile>();
    let mut table = Table {
        scratch,
        target,
        descriptors,
        files,
        numbers,
        order,
        diag: None,
        states: List::default(),
        fresh: None,
    };
    for at in 0..table.descriptors.len() {
        table.add(at, report)?;
    }
    unix::ask_for_all(&mut table)?;
    for index in 0..table.files.len() {
        table.connect(index).or_else(|stop| tell(stop, report))?;
    }
    for index in 0..table.files.len() {
        unix::check_names(&mut table, index).or_else(|stop| tell(stop, report))?;
        epoll::check(&table, index).or_else(|stop| tell(stop, report))?;
    }
    Ok((table.files, table.descriptors))
}

/// A table that is filled in later: only the last one can grow.
fn zeros(scratch: &mut Scratch, count: usize) -> Result<List<u32>, Stop> {
    let mut list = scratch.list();
    for _ in 0..count {
        scratch.push(&mut list, 0)?;
    }
    Ok(list)
}

/// A check goes on behind a refusal.
fn tell(stop: Stop, report: &mut Report) -> Result<(), Stop> {
    match stop {
        Stop::Failed(failure) if failure.is_refusal() => report.refuse(failure),
        stop => Err(stop),
    }
}

impl Table<'_> {
    /// First pass: the open file description of entry `at`, one that is known or a new one.
    fn add(&mut self, at: usize, report: &mut Report) -> Result<(), Stop> {
        let Some(&Descriptor { number, .. }) = self.descriptors.get(at) else { return Ok(()) };
        let stat = fd::stat_fd(number as i32).map_err(|errno| Failure::Ask("fstat", errno))?;
        let (file, flags) = match self.find(number, &stat)? {
            Ok(known) => {
                let flags = fd::control(number as i32, fcntl::GETFD, 0)
                    .map_err(|errno| Failure::Ask("fcntl", errno))?;
                (known, flags as u32 & CLOEXEC)
            }
            Err(place) => {
                let (file, flags) = match self.describe(number, &stat) {
                    Ok(described) => described,
                    Err(stop) => {
                        tell(stop, report)?;
                        (OpenFile { dev: stat.dev, ino: stat.ino, ..OpenFile::default() }, 0)
                    }
                };
                let index = self.files.len();
                self.scratch.push(&mut self.files, file)?;
                self.insert(index, number, place);
                (index as u32, flags)
            }
        };
        if let Some(entry) = self.descriptors.get_mut(at) {
            (entry.file, entry.flags) = (file, flags);
        }
        Ok(())
    }

    /// The files that are known, in their order.
    fn ordered(&self) -> &[u32] {
        self.order.get(..self.files.len()).unwrap_or_default()
    }

    fn identity(&self, index: u32) -> (u64, u64) {
        identity(&self.files, index)
    }

    /// The file that `number` shares with an earlier descriptor, or the place of a new one in the order.
    fn find(&self, number: u32, stat: &Stat) -> Result<Result<u32, usize>, Stop> {
        let wanted = (stat.dev, stat.ino);
        let ordered = self.ordered();
        let mut low = ordered.partition_point(|index| self.identity(*index) < wanted);
        let mut high = ordered.partition_point(|index| self.identity(*index) <= wanted);
        while low < high {
            let middle = low.midpoint(high);
            let index = ordered.get(middle).copied().unwrap_or(NONE);
            let other = self.number(index as usize);
            match descriptor::compare(self.target.own, number as i32, other) {
                Ok(Ordering::Equal) => return Ok(Ok(index)),
                Ok(Ordering::Less) => high = middle,
                Ok(Ordering::Greater) => low = middle + 1,
                Err(_) => {
                    return self.find_unordered(number, ordered.get(low..high).unwrap_or_default(), high);
                }
            }
        }
        Ok(Err(low))
    }

    /// [`Table::find`] where kcmp(2) is forbidden or missing.
    fn find_unordered(&self, number: u32, alike: &[u32], place: usize) -> Result<Result<u32, usize>, Stop> {
        for &index in alike {
            match descriptor::is_duplicate(number as i32, self.number(index as usize)) {
                Ok(true) => return Ok(Ok(index)),
                Ok(false) => {}
                Err(_) => {
                    let kind = Kind {
                        what: "open on the same file as another one, and the kernel does not tell whether they share an offset",
                        advice: "allow kcmp(2), which a seccomp filter may forbid, or use Linux 6.10 or newer",
                    };
                    return Err(Failure::Descriptor(number as i32, kind).into());
                }
            }
        }
        Ok(Err(place))
    }

    /// Notes a new file.
    fn insert(&mut self, index: usize, number: u32, place: usize) {
        if let Some(first) = self.numbers.get_mut(index) {
            *first = number;
        }
        let mut carried = index as u32;
        for slot in self.order.iter_mut().take(index + 1).skip(place) {
            core::mem::swap(slot, &mut carried);
        }
    }

    /// The first number of a file.
    fn number(&self, index: usize) -> i32 {
        self.numbers.get(index).map_or(-1, |number| *number as i32)
    }

    /// A file of the table.
    fn file(&self, index: usize) -> OpenFile {
        self.files.get(index).copied().unwrap_or_default()
    }

    /// The files with the inode of a file, that one included.
    fn same_inode(&self, file: &OpenFile) -> impl Iterator<Item = usize> {
        with_inode(&self.files, self.ordered(), (file.dev, file.ino))
    }

    /// The socket of the table that has inode `ino`, of the same device as socket `index`.
    fn socket_of_inode(&self, index: usize, ino: u32) -> Option<usize> {
        socket_of_inode(&self.files, self.ordered(), index, ino)
    }

    /// A number of the file that is 0, 1 or 2.
    fn standard(&self, index: usize) -> Option<u32> {
        let number = self.number(index);
        (0..=2).contains(&number).then_some(number as u32)
    }

    /// The kind of a file whose other end is outside: what stands on 0, 1 or 2 is replaced by the restarter's own, and so is another open file
    /// description of the same thing; anything else is refused.
    fn outside(&mut self, index: usize, kind: Kind) -> Result<(), Stop> {
        let file = self.file(index);
        let own = self.standard(index).map(|_| index);
        let Some(leader) =
            own.or_else(|| self.same_inode(&file).find(|other| self.standard(*other).is_some()))
        else {
            if inherited::was_there(self.number(index) as u32, file.ino) {
                return self.drop_file(index);
            }
            return Err(Failure::Descriptor(self.number(index), kind).into());
        };
        if let Some(file) = self.files.get_mut(index) {
            file.kind = file_kind::STANDARD;
            file.peer = if leader == index { NONE } else { leader as u32 };
        }
        Ok(())
    }

    /// `CKPT_DROP_FDS=outside`: the file is `/dev/null` after a restart.
    fn drop_file(&mut self, index: usize) -> Result<(), Stop> {
        const KEPT: u32 = open_flag::ACCMODE | open_flag::NONBLOCK;
        let path = self.scratch.bytes(b"/dev/null")?;
        if let Some(file) = self.files.get_mut(index) {
            *file = OpenFile {
                kind: file_kind::DEVICE,
                flags: file.flags & KEPT,
                // Its place among the others is by these.
                dev: file.dev,
                ino: file.ino,
                rdev: NULL,
                mode: mode::CHARACTER | 0o666,
                object: NONE,
                peer: NONE,
                owner_type: -1,
                path,
                ..OpenFile::default()
            };
        }
        Ok(())
    }

    /// What a link of `/proc/self/fd` says, as a blob.
    fn link(&mut self, number: u32) -> Result<Blob, Stop> {
        let mut link = Line::<64>::new();
        link.text("/proc/self/fd/").dec(u64::from(number)).text("\0");
        let len = fd::read_link(fd::AT_FDCWD, link.as_bytes(), self.scratch.room())
            .map_err(|errno| Failure::Proc("/proc/self/fd", errno))?
            .len();
        Ok(self.scratch.keep(len)?)
    }

    /// The open file description behind `number`, and the descriptor's own flags.
    fn describe(&mut self, number: u32, stat: &Stat) -> Result<(OpenFile, u32), Stop> {
        let path = self.link(number)?;
        let is_timer = self.scratch.blob(path) == b"anon_inode:[timerfd]";
        let ran = is_timer && timerfd::bring_up_to_date(number);
        let info = Info { ran, ..info::read(self, number)? };
        let mut file = OpenFile {
            kind: 0,
            flags: info.flags & !open_flag::CLOEXEC,
            pos: info.pos,
            dev: stat.dev,
            ino: stat.ino,
            rdev: stat.rdev,
            size: stat.size as u64,
            mtime: Time { sec: stat.mtime, frac: stat.mtime_nsec as i64 },
            ctime: Time { sec: stat.ctime, frac: stat.ctime_nsec as i64 },
            mode: stat.mode,
            uid: stat.uid,
            gid: stat.gid,
            object: NONE,
            peer: NONE,
            owner_type: -1,
            path,
            flock: info.flock,
            locks: info.locks,
            ..OpenFile::default()
        };
        let refuse = |kind| Stop::from(Failure::Descriptor(number as i32, kind));
        if info.lease {
            return Err(refuse(Kind {
                what: "a file with a lease",
                advice: "give it up before the save (F_SETLEASE)",
            }));
        }
        let is_path = file.flags & open_flag::PATH != 0;
        match stat.mode & mode::TYPE {
            _ if is_path => named::path_only(self, number, stat, &mut file)?,
            mode::REGULAR if anonymous::is(self.scratch.blob(path)) => {
                anonymous::describe(self, number, &info, &mut file)?;
            }
            mode::REGULAR | mode::DIRECTORY => named::describe(self, number, stat, &mut file)?,
            mode::CHARACTER => {
                terminal::device(number, &mut file).map_err(refuse)?;
                if file.kind == file_kind::DEVICE {
                    named::device(self, &mut file).map_err(refuse)?;
                }
            }
            mode::FIFO => file.kind = pipe::kind(self.scratch.blob(path)),
            mode::SOCKET => file.kind = socket::UNDECIDED,
            mode::BLOCK => return Err(refuse(refused("a block device"))),
            _ => anonymous::describe(self, number, &info, &mut file)?,
        }
        if !is_path {
            owner(number, self.target.pid, &mut file)?;
        }
        // A file of TIOCGPTPEER may have O_CLOEXEC among its own flags, whatever those of the descriptor are.
        let mut flags = u32::from(info.flags & open_flag::CLOEXEC != 0);
        if file.kind == file_kind::TERMINAL && flags != 0 {
            let own = fd::control(number as i32, fcntl::GETFD, 0);
            flags = own.map_err(|errno| Failure::Ask("fcntl", errno))? as u32 & CLOEXEC;
        }
        Ok((file, flags))
    }

    /// Second pass: what depends on other files, and what is better asked twice.
    fn connect(&mut self, index: usize) -> Result<(), Stop> {
        match self.file(index).kind {
            file_kind::TERMINAL => terminal::describe(self, index),
            file_kind::PIPE | file_kind::FIFO => pipe::describe(self, index),
            file_kind::TIMERFD => timerfd::look_again(self, index),
            file_kind::EPOLL => epoll::describe(self, index),
            file_kind::INOTIFY => inotify::describe(self, index),
            socket::UNDECIDED => socket::describe(self, index),
            _ => Ok(()),
        }
    }
}

fn identity(files: &[OpenFile], index: u32) -> (u64, u64) {
    files.get(index as usize).map_or((0, 0), |file| (file.dev, file.ino))
}

/// The files with a device and inode. `order`: all files, by those.
fn with_inode<'f>(
    files: &'f [OpenFile],
    order: &'f [u32],
    wanted: (u64, u64),
) -> impl Iterator<Item = usize> + use<'f> {
    let low = order.partition_point(|index| identity(files, *index) < wanted);
    let alike = order.get(low..).unwrap_or_default().iter();
    alike.map(|index| *index as usize).take_while(move |index| identity(files, *index as u32) == wanted)
}

/// [`Table::socket_of_inode`].
fn socket_of_inode(files: &[OpenFile], order: &[u32], index: usize, ino: u32) -> Option<usize> {
    let dev = files.get(index)?.dev;
    let order = order.get(..files.len()).unwrap_or_default();
    with_inode(files, order, (dev, u64::from(ino))).next().filter(|_| ino != 0)
}

/// Who gets the signals of a file, and which (fcntl(2), "Managing signals").
fn owner(number: u32, pid: u32, file: &mut OpenFile) -> Result<(), Stop> {
    let fd = number as i32;
    let owner = descriptor::owner(fd).map_err(|errno| Failure::Ask("fcntl", errno))?;
    file.signal = fd::control(fd, fcntl::GETSIG, 0).map_err(|errno| Failure::Ask("fcntl", errno))? as u32;
    if owner.id == 0 {
        return Ok(());
    }
    (file.owner_type, file.owner) = (owner.kind, owner.id);
    let own = match owner.kind {
        descriptor::OWNER_GROUP => owner.id as u32 == process::group_of(pid).unwrap_or(0),
        _ => owner.id as u32 == pid,
    };
    let kind = Kind {
        what: "set to send signals to another process",
        advice: "make the process itself its owner before the save (F_SETOWN)",
    };
    if own { Ok(()) } else { Err(Failure::Descriptor(fd, kind).into()) }
}
