//! Files of events: eventfd, timerfd, signalfd, epoll, inotify, pidfd. What they watch comes when every descriptor is back.

use crate::exit::Result;
use crate::op::Op;
use crate::plan::Builder;
use image::details::{Epoll, EpollItem, Eventfd, Inotify, InotifyWatch, Signalfd, Timerfd};
use image::format::{OpenFile, Time, file_kind};
use sys::Sysno;
use sys::fd::{fcntl, open_flag};

/// `EPOLLET`.
const EDGE: u32 = 1 << 31;
const EPOLL_CTL_ADD: u64 = 1;
/// `INOTIFY_IOC_SETNEXTWD` (include/uapi/linux/inotify.h).
const SETNEXTWD: u64 = 0x4004_4900;
/// `TFD_IOC_SET_TICKS` (include/uapi/linux/timerfd.h).
const SET_TICKS: u64 = 0x4008_5400;
/// `IN_DONT_FOLLOW`: the path is that of the watched file itself.
const DONT_FOLLOW: u32 = 0x0200_0000;
/// What inotify_add_watch(2) takes: events, `IN_EXCL_UNLINK` and `IN_ONESHOT`.
const WATCHABLE: u32 = 0xfff | 1 << 26 | 1 << 31;
const CLOCK_REALTIME: i32 = 0;
const CLOCK_REALTIME_ALARM: i32 = 8;
const TFD_TIMER_ABSTIME: u32 = 1;

impl<'a> Builder<'a, '_> {
    /// Makes the file itself, as descriptor `number`.
    pub(super) fn open_event(&mut self, file: &OpenFile, number: u32, cloexec: bool) -> Result<'a, ()> {
        let image = self.inputs.image;
        let cloexec_flag = if cloexec { open_flag::CLOEXEC } else { 0 };
        let flags = u64::from(file.flags & open_flag::NONBLOCK | cloexec_flag);
        let expect = u64::from(number);
        match file.kind {
            file_kind::EVENTFD => {
                let detail: Eventfd = image.detail(file);
                let small = u32::try_from(detail.count).ok();
                let args = [u64::from(small.unwrap_or(0)), flags | u64::from(detail.semaphore & 1)];
                self.early(Op::exact(Sysno::eventfd2, args, expect))?;
                if small.is_none() {
                    let count = self.keep(detail.count)?;
                    self.early(Op::exact(Sysno::write, [expect, count, 8], 8))?;
                }
                Ok(())
            }
            file_kind::TIMERFD => {
                let detail: Timerfd = image.detail(file);
                self.early(Op::exact(Sysno::timerfd_create, [detail.clock as u64, flags], expect))
            }
            file_kind::SIGNALFD => {
                let detail: Signalfd = image.detail(file);
                let mask = self.keep(detail.mask)?;
                self.early(Op::exact(Sysno::signalfd4, [u64::MAX, mask, 8, flags], expect))
            }
            file_kind::EPOLL => {
                self.early(Op::exact(Sysno::epoll_create1, [u64::from(cloexec_flag)], expect))
            }
            file_kind::INOTIFY => self.early(Op::exact(Sysno::inotify_init1, [flags], expect)),
            _ => {
                // A pidfd is close-on-exec from the start. O_EXCL is PIDFD_THREAD.
                let flags = u64::from(file.flags & (open_flag::NONBLOCK | open_flag::EXCL));
                let args = [u64::from(self.inputs.pid), flags];
                self.early(Op::exact(Sysno::pidfd_open, args, expect))?;
                if cloexec {
                    return Ok(());
                }
                self.early(Op::zero(Sysno::fcntl, [expect, u64::from(fcntl::SETFD), 0]))
            }
        }
    }

    /// Lets every epoll watch what it watched.
    ///
    /// Adding an entry reports what is ready, edge-triggered entries included. Where nothing was waiting to be fetched at the save, that is
    /// fetched and forgotten; what others can have made ready meanwhile is added behind that, so that no edge is lost.
    pub(super) fn fill_epolls(&mut self) -> Result<'a, ()> {
        for outside in [false, true] {
            for (index, file) in self.of_kind(file_kind::EPOLL) {
                let detail: Epoll = self.inputs.image.detail(&file);
                let Some(epoll) = self.numbers.twin(index) else { continue };
                let mut edges = false;
                for item in self.inputs.image.entries::<EpollItem>(detail.items).iter() {
                    let kind =
                        self.inputs.image.open_files().get(item.file as usize).map_or(0, |file| file.kind);
                    if is_outside(kind) == outside {
                        self.add_to_epoll(epoll, &item)?;
                        edges |= item.events & EDGE != 0;
                    }
                }
                if edges && detail.ready == 0 && !outside {
                    self.forget_edges(epoll, detail.items.len as usize / size_of::<EpollItem>())?;
                }
            }
        }
        Ok(())
    }

    /// Open files of a kind, with their indices.
    pub(super) fn of_kind(&self, kind: u32) -> impl Iterator<Item = (u32, OpenFile)> + use<'a> {
        let files = (0u32..).zip(self.inputs.image.open_files().iter());
        files.filter(move |(_, file)| file.kind == kind)
    }

    fn add_to_epoll(&mut self, epoll: u32, item: &EpollItem) -> Result<'a, ()> {
        let Some(twin) = self.numbers.twin(item.file) else { return Ok(()) };
        let here = self.inputs.image.descriptors();
        let place = here.partition_point(|descriptor| descriptor.number < item.number);
        let present = here.get(place).filter(|descriptor| descriptor.number == item.number);
        // `struct epoll_event` is packed on x86-64: events, then data.
        let [a, b, c, d] = item.events.to_ne_bytes();
        let [e, f, g, h, i, j, k, l] = item.data.to_ne_bytes();
        let event = self.keep([a, b, c, d, e, f, g, h, i, j, k, l])?;
        let number = u64::from(item.number);
        let add = Op::zero(Sysno::epoll_ctl, [u64::from(epoll), EPOLL_CTL_ADD, number, event]);
        match present {
            Some(descriptor) if descriptor.file == item.file => self.early(add),
            // The number was closed or given to another file since. It becomes a duplicate of the watched file for a moment.
            Some(descriptor) => {
                let aside = self.numbers.take();
                let cloexec = u64::from(open_flag::CLOEXEC);
                self.early(Op::exact(Sysno::dup3, [number, u64::from(aside), cloexec], u64::from(aside)))?;
                self.early(Op::exact(Sysno::dup3, [u64::from(twin), number, cloexec], number))?;
                self.early(add)?;
                self.duplicate(aside, &descriptor)?;
                self.early(Op::zero(Sysno::close, [u64::from(aside)]))?;
                self.numbers.give_back(aside);
                Ok(())
            }
            None => {
                let cloexec = u64::from(open_flag::CLOEXEC);
                self.early(Op::exact(Sysno::dup3, [u64::from(twin), number, cloexec], number))?;
                self.early(add)?;
                self.early(Op::zero(Sysno::close, [number]))
            }
        }
    }

    /// Fetches all that is ready.
    fn forget_edges(&mut self, epoll: u32, count: usize) -> Result<'a, ()> {
        let events = self.arena.zeros(count.saturating_mul(12))?.as_ptr() as u64;
        self.early(Op::any(Sysno::epoll_wait, [u64::from(epoll), events, count as u64, 0]))
    }

    /// Lets every inotify watch what it watched, under the same watch descriptors.
    pub(super) fn fill_inotifies(&mut self) -> Result<'a, ()> {
        let image = self.inputs.image;
        for (index, file) in self.of_kind(file_kind::INOTIFY) {
            let detail: Inotify = image.detail(&file);
            let Some(number) = self.numbers.twin(index).map(u64::from) else { continue };
            let mut next = 1;
            for watch in image.entries::<InotifyWatch>(detail.watches).iter() {
                if watch.wd != next {
                    self.early(Op::zero(Sysno::ioctl, [number, SETNEXTWD, u64::from(watch.wd)]))?;
                }
                let path = self.inputs.paths.now(image.c_str(watch.path), self.arena)?.as_ptr() as u64;
                let mask = u64::from(watch.mask & WATCHABLE | DONT_FOLLOW);
                self.early(Op::exact(Sysno::inotify_add_watch, [number, path, mask], u64::from(watch.wd)))?;
                next = watch.wd + 1;
            }
        }
        Ok(())
    }

    /// Starts the timers: what was left at the save is left now, but a time of day stays that time of day.
    pub(super) fn start_timerfds(&mut self) -> Result<'a, ()> {
        const NEVER: Time = Time { sec: 0, frac: 0 };
        let process = *self.inputs.image.process();
        for (index, file) in self.of_kind(file_kind::TIMERFD) {
            let detail: Timerfd = self.inputs.image.detail(&file);
            let Some(number) = self.numbers.twin(index).map(u64::from) else { continue };
            let is_time_of_day = matches!(detail.clock, CLOCK_REALTIME | CLOCK_REALTIME_ALARM)
                && detail.flags & TFD_TIMER_ABSTIME != 0;
            let mut timer = detail.timer;
            if timer.value != NEVER {
                let flags = if is_time_of_day { u64::from(detail.flags & 3) } else { 0 };
                if is_time_of_day {
                    timer.value = sum(timer.value, process.realtime);
                }
                // `struct itimerspec`: period, then time.
                let spec = self.keep(timer)?;
                self.early(Op::zero(Sysno::timerfd_settime, [number, flags, spec, 0]))?;
            }
            if detail.ticks != 0 {
                let ticks = self.keep(detail.ticks)?;
                self.early(Op::zero(Sysno::ioctl, [number, SET_TICKS, ticks]))?;
            }
        }
        Ok(())
    }
}

/// Whether others can have made a file ready between the save and now.
fn is_outside(kind: u32) -> bool {
    matches!(
        kind,
        file_kind::STANDARD
            | file_kind::TERMINAL
            | file_kind::FIFO
            | file_kind::TCP
            | file_kind::UDP
            | file_kind::UNIX_SOCKET
            | file_kind::INOTIFY
            | file_kind::SIGNALFD
    )
}

fn sum(a: Time, b: Time) -> Time {
    const SECOND: i64 = 1_000_000_000;
    let frac = a.frac.saturating_add(b.frac);
    let carry = i64::from(frac >= SECOND);
    Time { sec: a.sec.saturating_add(b.sec).saturating_add(carry), frac: frac - carry * SECOND }
}
