//! `make soak`: saves and restarts programs at random moments for as many seconds as asked, in turn, and counts the pairs; in between, SIGKILL strikes at
//! random moments of saves, and is counted too. All that in a PID namespace of its own, where ids are small, as in a container; they are the most likely to be
//! taken for something else.

use harness::killed::{VICTIMS, Victim};
use harness::soak::{MORE_SUBJECTS, Random, SUBJECTS, Subject};
use harness::tool;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

const USAGE: &str = "usage: soak [SECONDS [SEED [WORD]]]: WORD is part of the names of what is wanted";

/// Whether a name is meant: a word that is a whole name means no other, and no word means those that are soaked for short.
fn wanted(name: &str, word: &str) -> bool {
    let is_whole = SUBJECTS.into_iter().chain(MORE_SUBJECTS).any(|name| name == word);
    match word {
        "" => !MORE_SUBJECTS.contains(&name),
        word if is_whole => name == word,
        word => name.contains(word),
    }
}

/// Goes on in a PID namespace of its own, with small ids.
fn go_where_ids_are_small() {
    const THERE: &str = "SOAK_IN_NAMESPACE";
    if std::env::var_os(THERE).is_some() {
        return;
    }
    let mut command = Command::new(tool("unshare"));
    if !nix::unistd::Uid::effective().is_root() {
        command.args(["--user", "--map-current-user"]);
    }
    command.args(["--pid", "--fork", "--mount-proc"]).arg(std::env::current_exe().expect("a path"));
    let error = command.args(std::env::args_os().skip(1)).env(THERE, "1").exec();
    panic!("unshare: {error}");
}

fn main() {
    go_where_ids_are_small();
    let mut args = std::env::args().skip(1);
    let mut number = |default: u64| args.next().map_or(default, |text| text.parse().expect(USAGE));
    let (seconds, seed) = (number(60), number(0x9e37_79b9_7f4a_7c15));
    let word = args.next().unwrap_or_default();
    let mut random = Random(seed.max(1));
    let start = Instant::now();
    let names = SUBJECTS.into_iter().chain(MORE_SUBJECTS).filter(|name| wanted(name, &word));
    let mut subjects: Vec<Subject> = names.map(Subject::start).collect();
    let victims = VICTIMS.into_iter().filter(|(name, ..)| wanted(name, &word));
    let mut victims: Vec<Victim> = victims.map(Victim::start).collect();
    assert!(subjects.len() + victims.len() > 0, "{USAGE}");
    let mut told = 0;
    while start.elapsed() < Duration::from_secs(seconds) {
        let which = random.below((subjects.len() + victims.len()) as u64) as usize;
        match subjects.get_mut(which) {
            Some(subject) => subject.pair(&mut random),
            None => victims[which - subjects.len()].strike(&mut random),
        }
        let pairs: usize = subjects.iter().map(|subject| subject.pairs).sum();
        let kills: usize = victims.iter().map(|victim| victim.kills.count()).sum();
        if pairs + kills >= told + 500 {
            told = pairs + kills;
            println!("{pairs} pairs and {kills} kills in {} s", start.elapsed().as_secs());
        }
    }
    let mut total = 0;
    for subject in subjects {
        let (name, pairs) = subject.end();
        println!("{name:<16} {pairs:>6} pairs of a save and a restart, nothing wrong");
        total += pairs;
    }
    let mut killed = 0;
    for victim in victims {
        let name = victim.name;
        let kills = victim.end();
        println!("{name}: {kills}");
        killed += kills.count();
    }
    println!("{total} pairs and {killed} kills in {} s", start.elapsed().as_secs());
}
