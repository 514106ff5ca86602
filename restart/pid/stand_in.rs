//! What stays in the place of `myrestart` when the program is a child of it: passes on signals, stops and goes on with the program, ends
//! as it does.
//!
//! The program gets a process group of its own, and the terminal if `myrestart` had it. So what the terminal sends reaches the program and nobody
//! else, what is sent to `myrestart` or to its group reaches it through the stand-in, and nothing arrives twice.

use super::guard::Guard;
use super::init::Init;
use super::namespace::Plan;
use super::why::{Step, Why};
use image::format::Process;
use sys::Errno;
use sys::fd::{AT_FDCWD, open_flag};
use sys::signal::{Info, bit, sig};

/// RLIMIT_CORE of getrlimit(2).
const RLIMIT_CORE: u32 = 4;
/// All signals.
const EVERY: u64 = u64::MAX;

/// Whom it has around it.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// The program.
    pub child: u32,
    /// The first process of its namespace.
    pub init: Option<Init>,
    /// Who watches the stand-in.
    pub guard: Option<Guard>,
}

impl Family {
    /// The program has ended by itself.
    fn let_go(self) {
        if let Some(init) = self.init {
            init.let_go();
        }
        if let Some(guard) = self.guard {
            guard.let_go();
        }
    }

    /// There is no program.
    fn dissolve(self) {
        if let Some(init) = self.init {
            init.dismiss();
        }
        if let Some(guard) = self.guard {
            guard.dismiss();
        }
    }
}

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

    /// Hears from the process what its ids came to, and stands in for it. Comes back when they are not to be had, and nobody of the family is left.
    pub fn hear(self, verdict: [i32; 2], family: Family) -> Why {
        let [news, news_end] = verdict;
        let _ = sys::fd::close(news_end);
        let heard = next_news(news);
        let _ = sys::fd::close(news);
        match heard {
            Some(News::Ready) => self.run(family),
            other => {
                let _ = sys::process::wait_for(family.child);
                family.dissolve();
                why(other)
            }
        }
    }

    /// [`StandIn::hear`] of a process that goes on only when it has a guard, and has got a byte from the pipe `go`.
    pub fn hear_and_guard(self, verdict: [i32; 2], child: u32, go: [i32; 2]) -> Why {
        let [news, news_end] = verdict;
        let _ = sys::fd::close(news_end);
        let heard = next_news(news);
        let _ = sys::fd::close(news);
        let [word_end, word] = go;
        let _ = sys::fd::close(word_end);
        let guard = match heard {
            Some(News::Ready) => Guard::start(),
            other => Err(why(other)),
        };
        match guard {
            Ok(guard) => {
                guard.watch(child);
                let _ = sys::fd::write(word, b".");
                let _ = sys::fd::close(word);
                self.run(Family { child, init: None, guard: Some(guard) })
            }
            Err(why) => {
                let _ = sys::fd::close(word);
                let _ = sys::process::wait_for(child);
                why
            }
        }
    }

    /// [`StandIn::hear`] of a process that the process `launcher` makes.
    pub fn hear_of(self, plan: &Plan, launcher: u32) -> Why {
        plan.keep_own();
        let [news, _] = plan.verdict();
        let (mut child, mut init, mut is_ready) = (None, None, false);
        // The process may be heard before its launcher tells of it.
        let failed = loop {
            match next_news(news) {
                Some(News::Init(id)) => init = Some(plan.init(id)),
                Some(News::Program(id)) => {
                    child = Some(id);
                    if let Some(guard) = plan.guard() {
                        guard.watch(id);
                    }
                }
                Some(News::Ready) => is_ready = true,
                other => break Some(why(other)),
            }
            if is_ready && child.is_some() {
                break None;
            }
        };
        let _ = sys::fd::close(news);
        let _ = sys::process::wait_for(launcher);
        if init.is_none() {
            for end in plan.init(0).pipes() {
                let _ = sys::fd::close(end);
            }
        }
        match (failed, child) {
            (None, Some(child)) => self.run(Family { child, init, guard: plan.guard() }),
            (failed, child) => {
                // In this order: an init ends when nobody else of its namespace is left, those that were not waited for among them.
                if let Some(child) = child {
                    let _ = sys::process::wait_for(child);
                }
                if let Some(init) = init {
                    init.dismiss();
                }
                if let Some(guard) = plan.guard() {
                    guard.dismiss();
                }
                failed.unwrap_or(Why::plain(Step::Killed))
            }
        }
    }

    /// Waits for the program to end.
    fn run(self, family: Family) -> ! {
        let [word, answer] = family.init.map_or([-1; 2], Init::pipes);
        close_all_but([self.terminal, word, answer, family.guard.map_or(-1, Guard::pipe)]);
        loop {
            match sys::signal::next(EVERY) {
                Ok((sig::CHLD, _)) => self.news(family),
                Ok((signal, info)) => pass_on(family.child, signal, &info),
                Err(_) => {}
            }
        }
    }

    /// A child has stopped or ended: the program, or as the first process of a PID namespace or a subreaper somebody whose parent has ended.
    fn news(self, family: Family) {
        /// Low byte of a wait status: the signal that stopped it is in the next one.
        const STOPPED: i32 = 0x7f;
        while let Ok(Some((id, status))) = sys::process::news() {
            let second = status as u32 >> 8 & 0xff;
            if id != family.child {
                continue;
            }
            if status & 0xff == STOPPED {
                self.stop(family.child, second);
                continue;
            }
            let had = self.has_terminal(family.child);
            if had {
                self.give_terminal(self.group);
            }
            family.let_go();
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
        // With one byte there is none, neither in a file nor by a program that takes core files, as there would be with zero (core(5)).
        let _ = sys::process::set_limit(RLIMIT_CORE, [1, 1]);
        let group = if had && matches!(signal, sig::INT | sig::QUIT) { self.group } else { 0 };
        suffer(signal, group);
        // The first process of a PID namespace does not die of signals.
        sys::process::exit_group(128 + signal as i32)
    }
}

/// What the process, or who makes it, has to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// It has its ids.
    Ready,
    /// It has not, and has ended.
    Failed(Why),
    /// The init has this id.
    Init(u32),
    /// The process has this id.
    Program(u32),
}

/// Writes it to a pipe, in one piece.
pub fn tell(to: i32, news: News) {
    let [step, id, errno] = match news {
        News::Failed(why) => why.numbers(),
        News::Init(id) | News::Program(id) => [id, 0, 0],
        News::Ready => [0; 3],
    };
    let kind = match news {
        News::Ready => 0u32,
        News::Failed(_) => 1,
        News::Init(_) => 2,
        News::Program(_) => 3,
    };
    let mut bytes = [0u8; 16];
    for (place, number) in bytes.chunks_exact_mut(4).zip([kind, step, id, errno]) {
        place.copy_from_slice(&number.to_ne_bytes());
    }
    let _ = sys::fd::write(to, &bytes);
}

/// The next piece of news; none when nobody has any more.
fn next_news(from: i32) -> Option<News> {
    let mut bytes = [0u8; 16];
    if read(from, &mut bytes) != bytes.len() {
        return None;
    }
    let mut numbers = [0u32; 4];
    for (number, place) in numbers.iter_mut().zip(bytes.as_chunks().0) {
        *number = u32::from_ne_bytes(*place);
    }
    let [kind, step, id, errno] = numbers;
    Some(match kind {
        0 => News::Ready,
        2 => News::Init(step),
        3 => News::Program(step),
        _ => News::Failed(Why::of([step, id, errno])),
    })
}

fn why(heard: Option<News>) -> Why {
    match heard {
        Some(News::Failed(why)) => why,
        _ => Why::plain(Step::Killed),
    }
}

/// Reads once; how many bytes there were.
pub fn read(fd: i32, buf: &mut [u8]) -> usize {
    loop {
        match sys::fd::read(fd, buf) {
            Err(Errno::EINTR) => {}
            other => return other.unwrap_or(0),
        }
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
pub fn close_all_but(kept: [i32; 4]) {
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
