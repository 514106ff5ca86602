//! Which ids the process and its threads get: `--pid`.
//!
//! A program may have written its ids down, and nobody can tell where. So the old ones are what a program gets that may have done so, and the way to them
//! is a ladder, of which the first rung that holds is taken:
//!
//! ```text
//! 1  one thread, no evidence, clocks not behind     a new id: nothing to do
//! 2  the ids here        `myrestart` has the process id already, or clone3(2) gives it (`set_tid`)
//! 3  a namespace         PID, mount and time, in a user namespace for those who are not privileged
//! 4  the ids here, again by counting up to them with clone(2): in a young PID namespace, such as a container's
//! 5  new ids             with a line that says so; not for several threads with evidence
//! ```
//!
//! Where the process becomes a child of `myrestart`, that stays as a stand-in ([`stand_in`]): whoever started it and knows its number can do with it what
//! could be done with the program. It is never changed itself: a namespace is made by a process in between, which hands its children to it (CLONE_PARENT).
//!
//! ```text
//! here                                   in a namespace
//!
//! myrestart   stand-in                   myrestart   stand-in
//!  |- .       its guard (guard.rs)        |- 1       its init (init.rs), unless the process is that
//!  `- N       the process                 `- N       the process, with a /proc and clocks of the namespace
//! ```
//!
//! All ids are had, or not, before a page is read.

mod guard;
mod init;
mod namespace;
mod stand_in;
mod why;

use crate::crew::{self, Crew, Ids, Lost};
use crate::exit::{self, Code, Failure, Result};
use crate::options::{Check, Options, Pid};
use crate::plan::clocks::Ahead;
use core::sync::atomic::AtomicU32;
use guard::Guard;
use image::format::{Evidence, NONE, evidence_kind};
use image::plain::Table;
use image::read::Image;
use image::stat::Stat;
use stand_in::{Family, StandIn};
use sys::fd::open_flag;
use sys::line::Line;
use sys::{Errno, process};
use why::{Step, Why};

/// What the rest of the restart has to know of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// The process is in a user namespace of its own: its capabilities are good for nothing outside.
    pub namespace: bool,
    /// It has capabilities that its user would not have; each thread gives them up at its end.
    pub drops_capabilities: bool,
    /// The clocks go on from what they were, in a time namespace.
    pub clocks: bool,
    /// How its ids were had.
    pub rung: Rung,
}

/// Rungs of the ladder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Rung {
    /// They are new.
    #[default]
    New,
    /// The process had its own already.
    InPlace,
    /// The kernel gave what it was asked for.
    Set,
    /// In a namespace.
    Namespace,
    /// By counting.
    Counted,
}

impl Rung {
    /// What `--plan` says of it.
    pub fn text(self) -> &'static str {
        match self {
            Self::New => "new ones",
            Self::InPlace => "the old ones, here: myrestart has that of the process",
            Self::Set => "the old ones, here: clone3 gives them",
            Self::Namespace => "the old ones, in a namespace",
            Self::Counted => "the old ones, here, by counting up to them",
        }
    }
}

/// What an image asks for.
#[derive(Clone, Copy)]
pub struct Need<'a> {
    image: &'a Image<'a>,
    threads: usize,
    evidence: Option<Evidence>,
    ahead: Ahead,
    /// The process that is to become the one of the image, if it can.
    me: u32,
    /// Only to see what would come of it ([`rehearse`]).
    is_rehearsal: bool,
}

/// Room for a line about ids.
type Text = Line<1536>;

impl<'a> Need<'a> {
    /// Of an image whose writer has seen `evidence`, under clocks that its own are `ahead` of.
    pub fn new(image: &'a Image<'a>, evidence: Table<'_, Evidence>, ahead: Ahead) -> Self {
        // The strongest: words that are only like an id come last.
        let evidence = evidence.iter().min_by_key(|entry| entry.kind);
        let me = process::pid();
        Self { image, threads: image.threads().len(), evidence, ahead, me, is_rehearsal: false }
    }

    /// Whether a new id does for it. Most programs have some word that is like their id: that alone is no reason for a namespace.
    fn is_content(&self) -> bool {
        self.threads <= 1 && self.evidence.is_none_or(|entry| entry.kind == evidence_kind::WORD)
    }

    /// Whether it must not go on with new ids unless somebody has asked for that.
    fn insists(&self) -> bool {
        self.threads > 1 && self.evidence.is_some_and(|entry| entry.kind != evidence_kind::WORD)
    }

    /// Says what becomes of what the program has planned by its clocks.
    fn explain_clocks(&self, tried: &Tried, line: &mut Text) {
        let Ahead { monotonic, boottime } = self.ahead;
        let behind = monotonic.max(boottime).max(0) as u64;
        line.text("the clocks since boot are ").dec(behind / 1_000_000_000 + 1);
        line.text(" s behind those of the image: what the program waits for by its own reckoning comes so much later");
        if let Some((_, why)) = tried.ways.into_iter().flatten().find(|(way, _)| *way == Way::Namespace) {
            why.write(line.text("; they could go on in a namespace, but: "));
        }
    }

    /// Says where the evidence lies.
    fn explain(&self, line: &mut Text) {
        let Some(entry) = self.evidence else { return };
        line.text(match entry.kind {
            evidence_kind::LOCK => "a lock",
            evidence_kind::SHARED_LOCK => "a lock in shared memory",
            evidence_kind::REGISTER => "a register",
            evidence_kind::TIMER => "a timer",
            evidence_kind::UNSEEN => "perhaps one of many locks",
            _ => "a word",
        });
        if entry.addr != 0 {
            line.text(" at ").hex(entry.addr);
        }
        let tid = self.image.threads().get(entry.thread as usize).map_or(0, |thread| thread.tid);
        line.text(" has the id ").dec(u64::from(tid));
    }
}

/// A way to the old ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Here,
    Namespace,
    Counting,
}

/// The ways that were tried, each with what was wrong with it.
#[derive(Clone, Copy, Debug, Default)]
struct Tried {
    ways: [Option<(Way, Why)>; 3],
}

impl Tried {
    fn add(&mut self, way: Way, why: Why) {
        if let Some(slot) = self.ways.iter_mut().find(|slot| slot.is_none()) {
            *slot = Some((way, why));
        }
    }

    fn write<'l>(&self, line: &'l mut Text) -> &'l mut Text {
        let mut first = true;
        for (way, why) in self.ways.into_iter().flatten() {
            line.text(if core::mem::take(&mut first) { "" } else { ", " });
            line.text(match way {
                Way::Here => "here: ",
                Way::Namespace => "in a namespace: ",
                Way::Counting => "by counting: ",
            });
            why.write(line);
        }
        line
    }
}

/// What a way came to, in the process that goes on.
type Attempt<'a> = Result<'a, core::result::Result<(Kept, Crew), Why>>;

/// Comes back in the process that becomes the one of the image, with all of its threads. Where that is a child, the one that called it never comes back.
///
/// # Errors
///
/// [`Code::Limit`] when there may be no more threads. Where the ids that it must have cannot be had, the process ends with [`Code::Pid`] and a line.
pub fn take<'a>(need: &Need<'_>, options: &Options<'_>) -> Result<'a, (Kept, Crew)> {
    let mut tried = Tried::default();
    for way in ways(need, options.pid).into_iter().flatten() {
        let attempt = match way {
            Way::Here => here(need, options.pid),
            Way::Namespace => {
                in_namespace(need, options.forces(Check::Proc) && options.pid == Pid::Namespace)
            }
            Way::Counting => by_counting(need),
        };
        match attempt? {
            Ok((kept, crew)) => {
                if need.ahead.is_behind() && !kept.clocks {
                    let mut line = Text::new();
                    need.explain_clocks(&tried, line.text("myrestart: "));
                    exit::say(&mut line);
                }
                return Ok((kept, crew));
            }
            Err(why) => tried.add(way, why),
        }
    }
    new(need, options.pid, &tried)
}

/// What [`take`] would come to: a child climbs the ladder, and who comes out of it says where. The lines of the restart are written; where it would give up, none
/// of its ids is told.
pub fn rehearse<'a>(need: &Need<'_>, options: &Options<'_>) -> Result<'a, Option<Kept>> {
    let need = Need { is_rehearsal: true, ..*need };
    let fail = |errno| Failure::os(Code::Call, b"", "cannot find out which ids there are", errno, "");
    let [news, news_end] = sys::fd::pipe(open_flag::CLOEXEC).map_err(fail)?;
    // SAFETY: there is one thread; the child goes on from here as its parent would have.
    let child = unsafe { process::fork() }.map_err(fail)?;
    if child == 0 {
        let _ = sys::signal::set_mask(u64::MAX);
        let (kept, _) = take(&need, options)?;
        let text = [
            kept.rung as u8,
            u8::from(kept.namespace),
            u8::from(kept.drops_capabilities),
            u8::from(kept.clocks),
        ];
        let _ = sys::fd::write(news_end, &text);
        process::exit_group(0);
    }
    let _ = sys::fd::close(news_end);
    let mut text = [0u8; 4];
    let heard = stand_in::read(news, &mut text);
    let _ = sys::fd::close(news);
    let _ = process::wait_for(child);
    let [rung, namespace, drops_capabilities, clocks] = text;
    let rungs = [Rung::New, Rung::InPlace, Rung::Set, Rung::Namespace, Rung::Counted];
    let rung = rungs.into_iter().find(|known| *known as u8 == rung).unwrap_or_default();
    let kept = Kept {
        namespace: namespace != 0,
        drops_capabilities: drops_capabilities != 0,
        clocks: clocks != 0,
        rung,
    };
    Ok((heard == text.len()).then_some(kept))
}

/// The ways to try, in order.
fn ways(need: &Need<'_>, how: Pid) -> [Option<Way>; 3] {
    let all = [Some(Way::Here), Some(Way::Namespace), Some(Way::Counting)];
    if matches!(need.image.process().pid, 0 | NONE) {
        return [None; 3];
    }
    match (how, need.is_content(), need.ahead.is_behind()) {
        (Pid::New, ..) | (Pid::Auto, true, false) => [None; 3],
        (Pid::Keep, ..) => [all[0], all[2], None],
        (Pid::Namespace, ..) | (Pid::Auto, true, true) => [all[1], None, None],
        (Pid::Auto, false, false) => all,
        (Pid::Auto, false, true) => [all[1], all[0], all[2]],
    }
}

/// New ids, if they will do; else one line, and the end.
fn new<'a>(need: &Need<'_>, how: Pid, tried: &Tried) -> Result<'a, (Kept, Crew)> {
    let mut line = Text::new();
    line.text("myrestart: ");
    if matches!(how, Pid::Keep | Pid::Namespace) || how == Pid::Auto && need.insists() {
        tried.write(line.text("the old ids cannot be had: "));
        if need.insists() {
            need.explain(line.text("; the process may need them ("));
            line.text(")");
        }
        exit::last_line(Code::Pid, line.text("; --pid=new restarts it without them"));
    }
    if !need.is_content() {
        line.text("ids are new");
        if how == Pid::Auto {
            tried.write(line.text(": "));
        }
        line.text("; a program that keeps its ids may fail, see --pid");
    }
    if need.ahead.is_behind() {
        need.explain_clocks(tried, line.text(if need.is_content() { "" } else { "; " }));
    }
    if line.as_bytes().len() > b"myrestart: ".len() {
        exit::say(&mut line);
    }
    match Crew::start(need.image, Ids::New)? {
        Ok(crew) => Ok((Kept::default(), crew)),
        Err(Lost::Refused(_, errno)) => Err(no_threads(errno)),
        Err(_) => Err(no_threads(Errno::EAGAIN)),
    }
}

fn no_threads<'a>(errno: Errno) -> Failure<'a> {
    let cause = "a thread cannot be started";
    Failure::os(Code::Limit, b"", cause, errno, "there may be no more threads (ulimit -u)")
}

/// The threads with their old ids: by clone3(2), where it is to be had, else by counting.
fn old_threads<'a>(image: &Image) -> Result<'a, core::result::Result<Crew, Why>> {
    let set = match Crew::start(image, Ids::Set)? {
        Ok(crew) => return Ok(Ok(crew)),
        Err(lost) => Why::lost(lost, true),
    };
    if !set.is_no_set_tid() {
        return Ok(Err(set));
    }
    Ok(Crew::start(image, Ids::Counted)?.map_err(|lost| Why::lost(lost, false)))
}

/// The ids in the present namespaces: in place, or in a child.
fn here<'a>(need: &Need<'_>, how: Pid) -> Attempt<'a> {
    let image = need.image;
    let id = image.process().pid;
    if need.me == id {
        let kept = Kept { rung: Rung::InPlace, ..Kept::default() };
        // A rehearsal is another process, and has used up a number itself.
        let crew = if need.is_rehearsal { Ok(Crew::default()) } else { old_threads(image)? };
        return Ok(crew.map(|crew| (kept, crew)));
    }
    if !may_set() {
        return Ok(Err(Why::lost(Lost::Refused(id, Errno::EPERM), true)));
    }
    let stand_in = StandIn::new();
    let verdict = match sys::fd::pipe(open_flag::CLOEXEC) {
        Ok(ends) => ends,
        Err(errno) => return Ok(Err(Why::refused(Step::Pipe, errno))),
    };
    let guard = match Guard::start() {
        Ok(guard) => guard,
        Err(why) => return Ok(Err(why)),
    };
    match fork_as(id, how) {
        Ok(0) => {
            guard.leave();
            stand_in.settle(image.process());
            let kept = Kept { rung: Rung::Set, ..Kept::default() };
            report(verdict, old_threads(image)?.map(|crew| (kept, crew)))
        }
        Ok(child) => {
            guard.watch(child);
            let family = Family { child, init: None, guard: Some(guard) };
            Ok(Err(stand_in.hear(verdict, family)))
        }
        Err(errno) => {
            guard.dismiss();
            close(verdict);
            Ok(Err(Why::lost(Lost::Refused(id, errno), true)))
        }
    }
}

/// Whether the kernel may give ids of one's choice to this process: in a PID namespace of its own user namespace or of one below.
fn may_set() -> bool {
    let capabilities = process::capabilities().unwrap_or(0);
    [process::capability::CHECKPOINT_RESTORE, process::capability::SYS_ADMIN]
        .iter()
        .any(|capability| capabilities >> capability & 1 != 0)
}

/// A child with this id in the present namespace. Where the process was killed a moment ago, the last that had its id or that of its group may not be gone
/// yet: that is waited for, but not for somebody who lives.
fn fork_as(id: u32, how: Pid) -> sys::Result<u32> {
    const PAUSE_NS: u64 = 10_000_000;
    let tries = if how == Pid::Keep { 100 } else { 5 };
    let nothing = AtomicU32::new(0);
    for _ in 1..tries {
        // SAFETY: there is one thread; the child goes on from here as its parent would have.
        match unsafe { process::fork_as(id) } {
            Err(Errno::EEXIST) if !lives(id) => {}
            other => return other,
        }
        let _ = sys::thread::futex_wait(&nothing, 0, PAUSE_NS);
    }
    Err(Errno::EEXIST)
}

/// Whether the process or thread of this id has not ended.
fn lives(id: u32) -> bool {
    let mut path = Line::<32>::new();
    path.text("/proc/").dec(u64::from(id)).text("/stat\0");
    let mut text = [0u8; 512];
    let state =
        crate::probe::proc_text(path.as_bytes(), &mut text).and_then(Stat::parse).map(|stat| stat.state);
    match state {
        Some(state) => !matches!(state, b'Z' | b'X'),
        None => process::exists(id),
    }
}

/// Counts up to the id, and then to those of the threads.
fn by_counting<'a>(need: &Need<'_>) -> Attempt<'a> {
    let image = need.image;
    let id = image.process().pid;
    if need.me == id {
        // Then the threads' are those that are not to be had.
        return Ok(Err(Why::plain(Step::HasId)));
    }
    // Before the first number is used up: is it worth it?
    let highest = image.threads().iter().map(|thread| thread.tid).max().unwrap_or(id);
    if let Err(lost) = crew::is_near(highest, crew::last_id()).and_then(|()| crew::reach(id, crew::last_id()))
    {
        return Ok(Err(Why::lost(lost, false)));
    }
    let stand_in = StandIn::new();
    let (verdict, go) = match (sys::fd::pipe(open_flag::CLOEXEC), sys::fd::pipe(open_flag::CLOEXEC)) {
        (Ok(verdict), Ok(go)) => (verdict, go),
        (Err(errno), _) | (_, Err(errno)) => return Ok(Err(Why::refused(Step::Pipe, errno))),
    };
    // SAFETY: there is one thread; the child goes on from here as its parent would have.
    match unsafe { process::fork() } {
        Ok(0) => {
            let threads = if process::pid() == id {
                stand_in.settle(image.process());
                Crew::start(image, Ids::Counted)?.map_err(|lost| Why::lost(lost, false))
            } else {
                Err(Why::lost(Lost::Passed(id), false))
            };
            let kept = Kept { rung: Rung::Counted, ..Kept::default() };
            let done = report(verdict, threads.map(|crew| (kept, crew)));
            // Not before there is a guard, which needs a number too.
            let [word, word_end] = go;
            let _ = sys::fd::close(word_end);
            if sys::fd::read(word, &mut [0]) != Ok(1) {
                process::exit_group(Code::Pid as i32);
            }
            let _ = sys::fd::close(word);
            done
        }
        Ok(child) => Ok(Err(stand_in.hear_and_guard(verdict, child, go))),
        Err(errno) => {
            close(verdict);
            close(go);
            Ok(Err(Why::refused(Step::Clone, errno)))
        }
    }
}

/// In the child: tells the stand-in what the ids came to. Comes back when they are had.
fn report<'a>(verdict: [i32; 2], done: core::result::Result<(Kept, Crew), Why>) -> Attempt<'a> {
    let [news, news_end] = verdict;
    let _ = sys::fd::close(news);
    match done {
        Ok(_) => stand_in::tell(news_end, stand_in::News::Ready),
        Err(why) => {
            stand_in::tell(news_end, stand_in::News::Failed(why));
            process::exit_group(Code::Pid as i32)
        }
    }
    let _ = sys::fd::close(news_end);
    Ok(done)
}

fn close(pipe: [i32; 2]) {
    for end in pipe {
        let _ = sys::fd::close(end);
    }
}

/// PID, mount and time namespaces.
fn in_namespace<'a>(need: &Need<'_>, without_proc: bool) -> Attempt<'a> {
    let image = need.image;
    let stand_in = StandIn::new();
    let plan = match namespace::Plan::new(image.process()) {
        Ok(plan) => plan,
        Err(why) => return Ok(Err(why)),
    };
    // SAFETY: there is one thread; the child does what `launch` says.
    match unsafe { process::fork() } {
        // Comes back in the process itself.
        Ok(0) => {
            let entered = plan.launch();
            stand_in.settle(image.process());
            let done = match namespace::own_proc() {
                Err(why) if !without_proc => Err(why),
                _ => old_threads(image)?,
            };
            let drops = process::effective_uid() != 0 && process::capabilities().unwrap_or(0) != 0;
            let kept = Kept {
                namespace: entered.user,
                drops_capabilities: drops,
                clocks: entered.clocks,
                rung: Rung::Namespace,
            };
            report(plan.verdict(), done.map(|crew| (kept, crew)))
        }
        Ok(launcher) => Ok(Err(stand_in.hear_of(&plan, launcher))),
        Err(errno) => {
            plan.undo();
            Ok(Err(Why::refused(Step::Clone, errno)))
        }
    }
}
