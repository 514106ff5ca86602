//! What stays in the place of `myrestart` when the program is a child of it: passes on signals, stops and goes on with the program, ends
//! as it does.
//!
//! The program gets a process group of its own, and the terminal if `myrestart` had it. So what the terminal sends reaches the program and nobody
//! else, what is sent to `myrestart` or to its group reaches it through the stand-in, and nothing arrives twice.

use super::init::Init;
use image::format::Process;
use sys::Errno;
use sys::fd::{AT_FDCWD, open_flag};
use sys::signal::{Info, bit, sig};

/// RLIMIT_CORE of getrlimit(2).
const RLIMIT_CORE: u32 = 4;
/// All signals.
const EVERY: u64 = u64::MAX;

/// What it needs to know from before there was a child.
#[derive(Clone, Copy, Debug)]
pub struct StandIn {
    /// The controlling terminal, or -1.
    terminal: i32,
    /// Its own process group.
    group: u32,
}

impl StandIn {
    /// Looks around.
    pub fn new() -> Self {
        let flags = open_flag::RDWR | open_flag::CLOEXEC | open_flag::NOCTTY;
        let terminal = sys::fd::open_at(AT_FDCWD, b"/dev/tty\0", flags, 0).unwrap_or(-1);
        // An inherited "ignore" would keep the news of the child from its parent.
        sys::signal::set_simple(sig::CHLD, sys::signal::DEFAULT);
        Self { terminal, group: sys::process::group() }
    }

    /// Whether `group` is in the foreground of the terminal.
    fn has_terminal(self, group: u32) -> bool {
        self.terminal >= 0 && sys::terminal::foreground_group(self.terminal) == Ok(group)
    }

    fn give_terminal(self, group: u32) {
        if self.terminal >= 0 {
            sys::terminal::set_foreground_group(self.terminal, group);
        }
    }

    /// In the child: a process group of its own, like a job of a shell; where there is no terminal, a session if it led one.
    pub fn settle(self, process: &Process) {
        if self.terminal < 0 && process.sid == process.pid {
            let _ = sys::process::new_session();
            return;
        }
        let front = self.has_terminal(sys::process::group());
        let _ = sys::process::set_group(0, 0);
        if front {
            self.give_terminal(sys::process::group());
        }
        if self.terminal >= 0 {
            let _ = sys::fd::close(self.terminal);
        }
    }

    /// Waits for the program to end.
    pub fn run(self, child: u32, init: Option<Init>) -> ! {
        let [word, answer] = init.map_or([-1; 2], Init::pipes);
        close_all_but([self.terminal, word, answer]);
        loop {
            match sys::signal::next(EVERY) {
                Ok((sig::CHLD, _)) => self.news(child, init),
                Ok((signal, info)) => pass_on(child, signal, &info),
                Err(_) => {}
            }
        }
    }

    /// The child has stopped or ended.
    fn news(self, child: u32, init: Option<Init>) {
        /// Low byte of a wait status: the signal that stopped it is in the next one.
        const STOPPED: i32 = 0x7f;
        while let Ok(Some(status)) = sys::process::news_of(child) {
            let second = status as u32 >> 8 & 0xff;
            if status & 0xff == STOPPED {
                self.stop(child, second);
                continue;
            }
            let had = self.has_terminal(child);
            if had {
                self.give_terminal(self.group);
            }
            if let Some(init) = init {
                init.let_go();
            }
            match status as u32 & 0x7f {
                0 => sys::process::exit_group(second as i32),
                signal => self.die(signal, had),
            }
        }
    }

    /// Stops as the child did, so that a shell takes note; when it goes on, so does the child. A child that was stopped by SIGSTOP is somebody's
    /// own business.
    fn stop(self, child: u32, signal: u32) {
        if signal == sig::STOP {
            return;
        }
        let had = self.has_terminal(child);
        if had {
            self.give_terminal(self.group);
        }
        // A terminal stops all of its foreground group: the stand-in's is what the shell knows.
        let group = if had && signal == sig::TSTP { self.group } else { 0 };
        suffer(signal, group);
        let _ = sys::signal::take(bit(sig::CONT));
        if self.has_terminal(self.group) {
            self.give_terminal(child);
        }
        sys::process::send_group(child, sig::CONT);
    }

    /// Ends by the signal that ended the child, without a core file of its own. A terminal's interrupt would have reached the whole group.
    fn die(self, signal: u32, had: bool) -> ! {
        let _ = sys::process::set_limit(RLIMIT_CORE, [0, 0]);
        let group = if had && matches!(signal, sig::INT | sig::QUIT) { self.group } else { 0 };
        suffer(signal, group);
        // The first process of a PID namespace does not die of signals.
        sys::process::exit_group(128 + signal as i32)
    }
}

/// Lets a signal have its default effect, on the members of `group` too if that is not zero.
fn suffer(signal: u32, group: u32) {
    if signal != sig::KILL {
        sys::signal::set_simple(signal, sys::signal::DEFAULT);
    }
    if group != 0 {
        sys::process::send_group(group, signal);
    } else {
        sys::process::send(sys::process::pid(), signal);
    }
    // A signal that is pending takes effect before the call returns.
    let _ = sys::signal::set_mask(EVERY & !bit(signal));
    let _ = sys::signal::set_mask(EVERY);
}

/// Passes a signal on. What the kernel sends to `myrestart` has nothing to do with the program, but for a terminal that hangs up, which it says to the
/// leader of the session only.
fn pass_on(child: u32, signal: u32, info: &Info) {
    let code = sys::signal::code(info);
    if code > 0 && signal != sig::HUP {
        return;
    }
    // With its value, if it has one; kill(2) is not for others to imitate.
    let queued = if code < 0 { sys::signal::queue_process(child, signal, info) } else { Err(Errno::EPERM) };
    if queued.is_err() {
        sys::process::send(child, signal);
    }
}

/// Closes every descriptor but these, of which those below zero are none, and leaves the working directory.
pub fn close_all_but(kept: [i32; 3]) {
    let mut first = 0;
    loop {
        let next = kept.into_iter().filter(|fd| *fd >= first).min();
        let last = next.map_or(u32::MAX, |next| (next as u32).wrapping_sub(1));
        if next != Some(first) {
            let _ = sys::fd::close_range(first as u32, last);
        }
        match next {
            Some(next) => first = next.saturating_add(1),
            None => break,
        }
    }
    let _ = sys::fd::change_dir(b"/\0");
}
