//! Files whose other end is outside: a terminal, a pipe to another program. The restarter's own 0, 1, 2 take their place.

use super::found::{Found, Way};
use super::unsupported;
use crate::exit::Result;
use crate::op::Op;
use crate::plan::Builder;
use image::details::{Terminal, terminal_flag};
use image::format::{NONE, OpenFile, file_kind};
use sys::Sysno;
use sys::fd::{AT_FDCWD, fcntl, open_flag};
use sys::signal::sig;

/// `TCSETS2` (ioctl_tty(2)): takes a `struct termios2`.
const TCSETS2: u64 = 0x402c_542b;
/// `TIOCSPTLCK` (ioctl_tty(2)): takes an `int`, zero to unlock.
const TIOCSPTLCK: u64 = 0x4004_5431;
/// `TIOCGPTPEER` (ioctl_tty(2)): takes flags of open(2).
const TIOCGPTPEER: u64 = 0x5441;
/// Device number of `/dev/tty`, the controlling terminal of whoever opens it.
const DEV_TTY: u64 = 5 << 8;

/// What the restarter has as 0, 1 or 2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Own {
    /// Whether it is open.
    pub open: bool,
    /// Its flags (`F_GETFL`).
    pub flags: u32,
    /// It is the controlling terminal, and the restarter is in its foreground process group.
    pub foreground: bool,
    /// Size of its window, if it is a terminal.
    pub window: Option<[u16; 4]>,
}

impl<'a> Builder<'a, '_> {
    /// Whether one of the restarter's own descriptors takes the place of `file`.
    fn is_own(&self, index: u32, file: &OpenFile) -> bool {
        match self.found(index).way {
            Way::Own(_) => true,
            Way::Held => false,
            _ => match file.kind {
                file_kind::STANDARD => true,
                file_kind::TERMINAL => !self.is_reopened(file),
                _ => false,
            },
        }
    }

    /// A terminal that was opened by its name, other than those on 0, 1, 2, and is none that follows the process: a serial line.
    fn is_reopened(&self, file: &OpenFile) -> bool {
        let image = self.inputs.image;
        let detail: Terminal = image.detail(file);
        if file.rdev == DEV_TTY {
            return self.inputs.has_terminal;
        }
        let on_standard =
            image.descriptors().iter().take_while(|descriptor| descriptor.number < 3).any(|descriptor| {
                let other = image.open_files().get(descriptor.file as usize);
                other.is_some_and(|other| other.kind == file_kind::TERMINAL && other.rdev == file.rdev)
            });
        !on_standard && detail.flags & terminal_flag::CONTROLLING == 0
    }

    /// Keeps 0, 1, 2 where the process had such a file there, each for itself: whoever restarts may have sent them different
    /// ways. Its other descriptors become duplicates.
    pub(super) fn keep_standard(&mut self) -> Result<'a, ()> {
        let image = self.inputs.image;
        let mut sources = [NONE; 3];
        for descriptor in image.descriptors().iter() {
            let Some(file) = image.open_files().get(descriptor.file as usize) else { continue };
            if !self.is_own(descriptor.file, &file) {
                continue;
            }
            let own = match self.found(descriptor.file).way {
                Way::Own(own) => own,
                _ if descriptor.number < 3 => descriptor.number,
                _ => self.stands_for(descriptor.file, &file),
            };
            if !self.inputs.standard.get(own as usize).is_some_and(|own| own.open) {
                return Err(unsupported(image.c_str(file.path), file.kind));
            }
            if own == descriptor.number {
                self.numbers.set_back(own);
            } else if descriptor.number > 2 {
                self.duplicate(own, &descriptor)?;
            } else if let Some(source) = sources.get_mut(descriptor.number as usize) {
                // 0, 1, 2 among themselves come last, because one may stand where another has to go.
                *source = own;
            }
        }
        self.exchange(sources)
    }

    /// Puts the restarter's own 0, 1, 2 on others of these numbers, by way of duplicates.
    fn exchange(&mut self, sources: [u32; 3]) -> Result<'a, ()> {
        let mut aside = [NONE; 3];
        let cloexec = u64::from(open_flag::CLOEXEC);
        for (source, aside) in sources.iter().zip(&mut aside).filter(|(source, _)| **source != NONE) {
            *aside = self.numbers.take();
            let number = u64::from(*aside);
            self.early(Op::exact(Sysno::dup3, [u64::from(*source), number, cloexec], number))?;
        }
        for (number, aside) in (0u32..).zip(aside).filter(|(_, aside)| *aside != NONE) {
            let descriptors = self.inputs.image.descriptors();
            if let Some(descriptor) = descriptors.iter().find(|descriptor| descriptor.number == number) {
                self.duplicate(aside, &descriptor)?;
            }
            self.early(Op::zero(Sysno::close, [u64::from(aside)]))?;
            self.numbers.give_back(aside);
        }
        Ok(())
    }

    /// Which own descriptor stands for a file that the process did not have as 0, 1 or 2 itself.
    fn stands_for(&self, index: u32, file: &OpenFile) -> u32 {
        let image = self.inputs.image;
        let alike = |other: &OpenFile| {
            matches!(other.kind, file_kind::STANDARD | file_kind::TERMINAL)
                && (other.dev, other.ino) == (file.dev, file.ino)
        };
        let by_twin = self.numbers.twin(index).filter(|twin| *twin < 3);
        let by_inode = || {
            image.descriptors().iter().take_while(|descriptor| descriptor.number < 3).find_map(|descriptor| {
                let other = image.open_files().get(descriptor.file as usize).filter(alike)?;
                let fits = other.flags & open_flag::ACCMODE == file.flags & open_flag::ACCMODE;
                fits.then_some(descriptor.number)
            })
        };
        let by_mode = || u32::from(file.flags & open_flag::ACCMODE == open_flag::WRONLY);
        by_twin.or_else(by_inode).unwrap_or_else(by_mode)
    }

    /// Opens a terminal by its name; gives the number, which is in use for a moment.
    pub(super) fn open_terminal(&mut self, file: &OpenFile, found: &Found) -> Result<'a, u32> {
        let image = self.inputs.image;
        let detail: Terminal = image.detail(file);
        if detail.flags & terminal_flag::HUNG_UP != 0 && file.rdev != DEV_TTY {
            return self.open_hung_up(file);
        }
        let path = if file.rdev == DEV_TTY { b"/dev/tty\0" } else { self.path_of(file, found) };
        let flags = file.flags & super::path::KEPT | open_flag::NOCTTY | open_flag::CLOEXEC;
        let number = self.open_named(path, found.identity, flags, [0; 2])?;
        if file.rdev != DEV_TTY && detail.termios != [0; 44] {
            let modes = self.keep(detail.termios)?;
            self.early(Op::any(Sysno::ioctl, [u64::from(number), TCSETS2, modes]))?;
        }
        Ok(number)
    }

    /// A terminal that has hung up: the other side of a new pseudo-terminal, whose controlling side is closed.
    fn open_hung_up(&mut self, file: &OpenFile) -> Result<'a, u32> {
        let cwd = i64::from(AT_FDCWD) as u64;
        let flags = u64::from(open_flag::RDWR | open_flag::NOCTTY | open_flag::CLOEXEC);
        let master = self.opened(Sysno::openat, [cwd, c"/dev/ptmx".as_ptr() as u64, flags, 0])?;
        let unlocked = self.keep(0u32)?;
        self.early(Op::zero(Sysno::ioctl, [u64::from(master), TIOCSPTLCK, unlocked]))?;
        // The kernel would keep O_CLOEXEC among the flags of the file, too.
        let flags = file.flags & super::path::KEPT | open_flag::NOCTTY;
        let other = self.opened(Sysno::ioctl, [u64::from(master), TIOCGPTPEER, u64::from(flags), 0])?;
        self.early(Op::zero(Sysno::fcntl, [u64::from(other), u64::from(fcntl::SETFD), 1]))?;
        self.let_go(master)?;
        Ok(other)
    }

    /// Flags of 0, 1, 2 that the program has set, and modes of the terminal, if both the process then and the restarter now are in its foreground. A
    /// window of another size is told to the program as the kernel would.
    pub(super) fn own_files(&mut self) -> Result<'a, ()> {
        let image = self.inputs.image;
        let mut resized = false;
        let mut is_set = false;
        for descriptor in image.descriptors().iter().take_while(|descriptor| descriptor.number < 3) {
            let Some(own) = self.inputs.standard.get(descriptor.number as usize).copied() else { continue };
            let Some(file) = image.open_files().get(descriptor.file as usize) else { continue };
            if !self.is_own(descriptor.file, &file) || self.found(descriptor.file).way != Way::Same {
                continue;
            }
            let number = u64::from(descriptor.number);
            if (own.flags ^ file.flags) & open_flag::NONBLOCK != 0 {
                let flags = own.flags & !open_flag::NONBLOCK | file.flags & open_flag::NONBLOCK;
                self.early(Op::zero(Sysno::fcntl, [number, u64::from(fcntl::SETFL), u64::from(flags)]))?;
            }
            let (file_kind::TERMINAL, Some(window)) = (file.kind, own.window) else { continue };
            let detail: Terminal = image.detail(&file);
            if own.foreground && detail.flags & terminal_flag::FOREGROUND != 0 && detail.termios != [0; 44] {
                if !is_set {
                    let modes = self.keep(detail.termios)?;
                    self.early(Op::zero(Sysno::ioctl, [number, TCSETS2, modes]))?;
                    is_set = true;
                }
                resized |= window != detail.window;
            }
        }
        if resized {
            self.early(Op::zero(Sysno::kill, [u64::from(self.inputs.pid), u64::from(sig::WINCH)]))?;
        }
        Ok(())
    }
}
