//! The lines of the table.

use crate::machine;
use crate::options::Options;
use crate::peers::{self, Peer};
use crate::place::{Place, built};
use crate::sample::{Figure, Sample, Value};
use crate::series::{self, Series};
use crate::target::{self, Target};
use std::fs::read_to_string;
use std::process::{Command, Stdio};

const MIB: u64 = 1 << 20;

/// Everything that was measured.
#[derive(Default)]
pub struct Table {
    /// The table.
    pub figures: Vec<Figure>,
    /// By size of the memory in MiB.
    pub sizes: Vec<(u64, Series)>,
    /// By number of regions.
    pub regions: Vec<(u64, Series)>,
    /// By memory, of which the plots take the random ones.
    pub peers: Vec<(String, Vec<Peer>)>,
}

impl Table {
    fn time(
        &mut self,
        name: &str,
        what: &str,
        own: &Sample,
        limit: Option<(&'static str, &Sample)>,
        goal: Goal,
    ) {
        let value = Value::Time(own.clone(), limit.map(|(_, limit)| limit.clone()));
        let ratio = value.ratio().unwrap_or(f64::INFINITY);
        let (words, reached) = match goal {
            Goal::Times(most) => (format!("{most} x"), ratio <= most),
            Goal::Millis(most) => (format!("{most} ms"), own.millis() <= most),
            Goal::Told => (TOLD.into(), true),
        };
        let beside = limit.map_or("", |(name, _)| name);
        let (name, what) = (name.to_owned(), what.to_owned());
        self.figures.push(Figure { name, what, beside, value, goal: words, reached });
    }

    fn size(&mut self, name: &str, what: &str, beside: &'static str, own: u64, limit: u64, most: f64) {
        let (value, reached) = (Value::Size(own, limit), own as f64 <= limit as f64 * most);
        let goal = format!("{most} x");
        let (name, what) = (name.to_owned(), what.to_owned());
        self.figures.push(Figure { name, what, beside, value, goal, reached });
    }
}

/// The goal of a figure that has none.
pub const TOLD: &str = "";

/// What is to be reached.
enum Goal {
    /// At most so many times the limit.
    Times(f64),
    /// At most so many milliseconds.
    Millis(f64),
    /// No limit is set.
    Told,
}

/// A group of figures: their names begin with the first word.
type Group = (&'static str, fn(&Options, &mut Table));

const GROUPS: [Group; 13] = [
    ("start-up", start_up),
    ("python", python),
    ("random", random),
    ("huge", huge),
    ("small", small),
    ("disk", disk),
    ("size", sizes_of_images),
    ("many", many),
    ("foreground", foreground),
    ("numbers", numbers),
    ("scaling", scaling),
    ("writer", slowed_writer),
    ("peers", compare),
];

/// Measures what is wanted.
pub fn measure(options: &Options) -> Table {
    target::adopt_orphans();
    let mut table = Table::default();
    for (name, measure) in GROUPS.into_iter().filter(|(name, _)| options.wants(name)) {
        eprintln!("bench: {name} (load {})", machine::load());
        measure(options, &mut table);
    }
    table
}

/// 1 GiB of random bytes.
fn random(options: &Options, table: &mut Table) {
    let place = Place::memory();
    let series = Series::measure(&format!("random:{}", options.mib(1024)), &place, options.rounds);
    let fork = Some(("fork(2)", &series.fork));
    table.time("stop-random", "stop, 1 GiB of random pages", &series.stop, fork, Goal::Times(1.25));
    let write = Some(("write(2) of as many bytes", &series.write));
    table.time("image-memory", "signal to image, 1 GiB, tmpfs", &series.image, write, Goal::Times(1.25));
    let read = Some(("read(2) of the image into fresh memory", &series.read));
    table.time("restart", "restart, 1 GiB, two CPUs", &series.restart, read, Goal::Times(0.8));
    table.time("restart-alone", "restart, 1 GiB, one CPU", &series.alone, read, Goal::Times(1.15));
    let exec = Some(("fork, exec and exit of myrestart", &series.exec));
    table.time("lazy", "restart --lazy, 1 GiB", &series.lazy, exec, Goal::Millis(1.5));
    table.sizes.push((options.mib(1024), series));
}

fn huge(options: &Options, table: &mut Table) {
    let place = Place::memory();
    // A huge page has 2 MiB.
    let size = options.mib(1024).max(2);
    let series = Series::measure(&format!("huge:{size}"), &place, options.rounds);
    let fork = Some(("fork(2)", &series.fork));
    table.time("stop-huge", "stop, 1 GiB in huge pages", &series.stop, fork, Goal::Millis(1.5));
    let read = Some(("read(2) of the image into fresh memory", &series.read));
    table.time("restart-huge", "restart, 1 GiB in huge pages", &series.restart, read, Goal::Times(0.8));
}

fn small(options: &Options, table: &mut Table) {
    let place = Place::memory();
    let series = Series::measure(&format!("random:{}", options.mib(16)), &place, options.rounds.max(15));
    let fork = Some(("fork(2)", &series.fork));
    table.time("stop-small", "stop, 16 MiB", &series.stop, fork, Goal::Millis(1.5));
    let series = Series::measure("random:1", &place, options.rounds.max(15));
    let exec = Some(("fork, exec and exit of myrestart", &series.exec));
    table.time("lazy-small", "restart --lazy, 1 MiB", &series.lazy, exec, Goal::Millis(1.5));
}

/// 1 GiB on a disk, fsync(2) included on both sides.
fn disk(options: &Options, table: &mut Table) {
    let place = Place::under(&options.disk);
    let series = Series::saves(&format!("random:{}", options.mib(1024)), &place, options.rounds, true).0;
    let write = Some(("write(2) and fsync(2) of as many bytes", &series.write));
    table.time("image-disk", "signal to image, 1 GiB, disk", &series.image, write, Goal::Times(1.25));
}

fn sizes_of_images(options: &Options, table: &mut Table) {
    let place = Place::memory();
    let zeros = options.mib(1024);
    series::save_once(&format!("zeros:{zeros}"), &place);
    // What the program needs besides its memory is in every image.
    let with_zeros = place.image_len();
    series::save_once("zeros:0", &place);
    let empty = place.image_len();
    let own = with_zeros.saturating_sub(empty);
    table.size("size-zeros", "image of 1 GiB of zeros", "bytes touched", own, zeros * MIB, 0.01);

    let sparse = if options.tiny { 32 } else { 8192 };
    series::save_once(&format!("sparse:{sparse}"), &place);
    let touched = sparse * MIB / 4096 / 100 * 4096;
    let own = place.image_len() - empty;
    table.size("size-sparse", "image of 8 GiB, 1% touched", "bytes touched", own, touched, 1.02);

    let alternate = options.mib(600);
    let sum = series::save_once(&format!("alternate:{alternate}"), &place);
    let own = place.image_len() - empty;
    let touched = alternate * MIB / 2;
    let what = "image of 600 MiB, every second page touched";
    table.size("size-alternate", what, "bytes touched", own, touched, 1.05);
    for (name, what, mode) in [
        // With new ids, the process is the child of this one, which looks at its maps.
        ("restart-alternate", "restart, every second page of 600 MiB", &["--pid=new"][..]),
        ("lazy-alternate", "restart --lazy, every second page of 600 MiB", &["--pid=new", "--lazy"]),
    ] {
        let mut times = Sample::default();
        for _ in 0..options.rounds {
            let mut target = Target::restart(&place, mode);
            times.0.push(target.resumed());
            let maps = read_to_string(format!("/proc/{}/maps", target.pid())).expect("maps").lines().count();
            let most: usize = read_to_string("/proc/sys/vm/max_map_count").unwrap().trim().parse().unwrap();
            assert!(maps <= most, "{maps} regions of {most}");
            assert_eq!(target.ask("sum"), [sum], "the memory of the restarted process");
        }
        table.time(name, what, &times, None, Goal::Told);
    }
}

fn python(options: &Options, table: &mut Table) {
    let place = Place::memory();
    let script = place.path().join("dict.py");
    std::fs::write(&script, include_str!("dict.py")).expect("a script");
    let mut command = Command::new("python3");
    command.arg(&script).arg(if options.tiny { "1000" } else { "1000000" }).env("PYTHONHASHSEED", "0");
    let mut target = Target::preloaded(command, &place);
    let sum = target.hear()[0];
    let mut series = Series::default();
    for _ in 0..options.rounds {
        // Before both: freeing the pages of an image leaves nothing of the program's in the CPU's caches, and whoever comes next pays for it.
        place.clear();
        target.ask("fork");
        series.fork.0.push(target.ask("fork")[0]);
        series.stop.0.push(target.save(&place).stop);
    }
    drop(target);
    series.restarts(&place, sum, options.rounds);
    let fork = Some(("os.fork()", &series.fork));
    let what = "python3, dict of a million: ";
    table.time("python-stop", &format!("{what}stop"), &series.stop, fork, Goal::Millis(3.0));
    let read = Some(("read(2) of the image into fresh memory", &series.read));
    table.time("python-restart", &format!("{what}restart"), &series.restart, read, Goal::Millis(60.0));
    let exec = Some(("fork, exec and exit of myrestart", &series.exec));
    table.time("python-lazy", &format!("{what}restart --lazy"), &series.lazy, exec, Goal::Millis(3.0));
}

/// Many restarts of one image at once.
fn many(options: &Options, table: &mut Table) {
    let place = Place::memory();
    let count = if options.tiny { 5 } else { 200 };
    series::save_once(&format!("random:{}", options.mib(1024)), &place);
    let (mut times, mut private) = (Sample::default(), 0);
    // Only one of them could have the old id. With new ids, each is a child of this process, which looks at its memory.
    let mode = &["--pid=new", "--lazy"];
    for _ in 0..options.rounds {
        let mut targets: Vec<Target> = (0..count).map(|_| Target::restart(&place, mode)).collect();
        let first = targets[0].executed;
        let last = targets.iter_mut().map(|target| target.executed + target.resumed()).max().unwrap_or(first);
        times.0.push(last - first);
        private = targets.iter().map(|target| anonymous(target.pid())).sum();
    }
    let what = format!("{count} restarts --lazy of 1 GiB at once");
    table.time("many", &what, &times, None, Goal::Millis(1000.0));
    let what = format!("private memory of {count} restarts --lazy of 1 GiB");
    table.size("many-private", &what, "as many images", private, count as u64 * place.image_len(), 0.01);
}

/// Bytes of memory that a process shares with nobody.
fn anonymous(pid: u32) -> u64 {
    let text = read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("smaps_rollup");
    let line = text.lines().find_map(|line| line.strip_prefix("Anonymous:")).expect("Anonymous");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

/// What a program that writes all over its memory notices of a save.
fn slowed_writer(options: &Options, table: &mut Table) {
    options.share();
    let place = Place::memory();
    let size = options.mib(1024);
    let writes = size * MIB / 4096;
    let mut target = Target::victim(&format!("random:{size}"), &place);
    target.hear();
    let copy = place.path().join("copy");
    let (mut quiet, mut saved, mut forked) = (Sample::default(), Sample::default(), Sample::default());
    for _ in 0..options.rounds {
        quiet.0.push(target.ask(&format!("random {writes}"))[0]);
        forked.0.push(target.ask(&format!("forked {writes} {}", copy.display()))[0]);
        place.clear();
        saved.0.push(target.ask(&format!("save {writes}"))[0]);
        target.reap_writer();
    }
    let what = format!("{writes} random writes while 1 GiB is ");
    let beside = Some(("the same without", &quiet));
    table.time("writer-slowed", &format!("{what}saved"), &saved, beside, Goal::Told);
    table.time("writer-forked", &format!("{what}written by a forked child"), &forked, beside, Goal::Told);
}

/// The life of a short program with the library and without.
fn start_up(options: &Options, table: &mut Table) {
    let rounds = if options.tiny { 3 } else { 400 };
    let run = |preload: bool| {
        let mut command = Command::new("/bin/true");
        if preload {
            command.env("LD_PRELOAD", built("libckpt.so"));
        }
        let before = crate::clock::now();
        let status = command.stdin(Stdio::null()).status().expect("/bin/true");
        assert!(status.success());
        crate::clock::now() - before
    };
    let (mut with, mut without) = (Sample::default(), Sample::default());
    for _ in 0..rounds {
        without.0.push(run(false));
        with.0.push(run(true));
    }
    let more = with.median().saturating_sub(without.median());
    let cost = Sample(vec![more]);
    table.time(
        "start-up",
        "start-up cost on /bin/true",
        &cost,
        Some(("/bin/true", &without)),
        Goal::Millis(0.15),
    );
}

/// A save that the program waits for, of the smallest memory: where it comes nearest to being the shorter stop.
fn foreground(options: &Options, table: &mut Table) {
    let (front, back) = (Place::memory(), Place::memory());
    let mut waiting = Target::victim_with("random:1", &front, &[("CKPT_FOREGROUND", "1")]);
    let mut running = Target::victim("random:1", &back);
    waiting.hear();
    running.hear();
    let (mut foreground, mut background) = (Sample::default(), Sample::default());
    for _ in 0..options.rounds.max(15) {
        foreground.0.push(waiting.save_here(&front));
        background.0.push(running.save(&back).image);
    }
    let what = "signal to image, 1 MiB, CKPT_FOREGROUND=1 (the program waits for all of it)";
    let beside = Some(("in the background", &background));
    table.time("foreground", what, &foreground, beside, Goal::Told);
}

/// Memory full of numbers that have the values of the threads' ids, as every memory has where ids are small; beside memory without.
fn numbers(options: &Options, table: &mut Table) {
    let (places, size) = ([Place::memory(), Place::memory()], options.mib(64));
    let kinds = [format!("near:{size}"), format!("far:{size}")];
    let mut targets = [0, 1].map(|which| Target::victim(&kinds[which], &places[which]));
    for target in &mut targets {
        target.hear();
    }
    let mut times = [Sample::default(), Sample::default()];
    for _ in 0..options.rounds.max(15) {
        for which in [0, 1] {
            times[which].0.push(targets[which].save(&places[which]).image);
        }
    }
    let [near, far] = times;
    let what = "signal to image, 64 MiB of small numbers, ids of nine threads among them";
    table.time("numbers", what, &near, Some(("the same without ids", &far)), Goal::Times(1.1));
}

/// Other tools, with the same program.
fn compare(options: &Options, table: &mut Table) {
    options.share();
    let sizes: &[u64] = if options.tiny { &[1] } else { &[1, 16, 64, 256, 1024, 4096, 8192] };
    let fits = |size: u64| size <= options.most && size * 9 / 4 <= machine::available();
    for size in sizes.iter().filter(|size| fits(**size)) {
        let rounds = match *size {
            ..1024 => options.rounds.min(5),
            1024 => options.rounds.min(3),
            _ => 1,
        };
        let memory = format!("random:{size}");
        let peers = peers::measure(options, &memory, rounds);
        table.peers.push((memory, peers));
    }
    let others: &[&str] = if options.tiny { &["zeros:1"] } else { &["zeros:1024", "sparse:8192"] };
    for memory in others {
        let peers = peers::measure(options, memory, options.rounds.min(3));
        table.peers.push(((*memory).into(), peers));
    }
}

/// By size, and by number of regions.
fn scaling(options: &Options, table: &mut Table) {
    let sizes: &[u64] = if options.tiny { &[1, 4] } else { &[1, 4, 16, 64, 256, 1024, 4096, 8192, 16384] };
    let place = Place::memory();
    for &size in sizes.iter().filter(|size| **size <= options.most) {
        // The memory and its image, and something for the rest.
        if size * 9 / 4 > machine::available() {
            eprintln!("bench: {size} MiB: not enough memory");
            continue;
        }
        let series = match table.sizes.iter().position(|(known, _)| *known == size) {
            Some(known) => table.sizes.remove(known).1,
            // The large ones take long, and scatter less.
            None if size > 1024 => Series::measure(&format!("random:{size}"), &place, options.rounds.min(3)),
            None => Series::measure(&format!("random:{size}"), &place, options.rounds.min(5)),
        };
        place.clear();
        table.sizes.push((size, series));
    }
    table.sizes.sort_by_key(|(size, _)| *size);
    if let Some((size, series)) = table.sizes.last() {
        let (what, lazy, exec) =
            (format!("restart --lazy, {size} MiB"), series.lazy.clone(), series.exec.clone());
        let exec = Some(("fork, exec and exit of myrestart", &exec));
        table.time("lazy-large", &what, &lazy, exec, Goal::Millis(1.5));
    }
    let counts: &[u64] = if options.tiny { &[10, 100] } else { &[10, 100, 1000, 10_000, 60_000] };
    for &count in counts {
        let series = Series::measure(&format!("regions:{count}"), &place, options.rounds.min(5));
        table.regions.push((count, series));
    }
}
