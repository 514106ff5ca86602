//! `make faults`: every system call of a save and of a restart fails, at each occurrence and in each way; every one is the last.

use harness::User;
use harness::faults::{Extent, Subject, Tally, by_phase, kills, sweep_restart};
use std::time::Instant;

fn main() {
    let mut wanted: Vec<String> = std::env::args().skip(1).collect();
    let first = wanted.iter().position(|word| word == "--first").map(|at| wanted.remove(at));
    let extent = if first.is_some() { Extent::First } else { Extent::All };
    let wants = |name: &str| wanted.is_empty() || wanted.iter().any(|word| name.contains(word.as_str()));
    let mut wrong = 0;
    let mut tell = |name: &str, run: &dyn Fn() -> Tally| {
        if !wants(name) {
            return;
        }
        let start = Instant::now();
        let tally = run();
        println!("{name}: {tally}, {} went wrong; {} s", tally.wrong.len(), start.elapsed().as_secs());
        for line in &tally.wrong {
            println!("    {line}");
        }
        wrong += tally.wrong.len();
    };
    let user = User::ordinary();
    for (mode, args, env) in [
        ("in the background", &[][..], &[][..]),
        ("in the foreground", &[], &[("CKPT_FOREGROUND", "1")]),
        ("with threads", &["threads"], &[]),
    ] {
        tell(&format!("save {mode}"), &|| {
            let mut subject = Subject::start(args, env, user);
            let calls = subject.calls();
            println!("save {mode}: calls by phase {:?}", by_phase(&calls));
            subject.sweep(extent)
        });
        tell(&format!("kill {mode}"), &|| {
            let mut subject = Subject::start(args, env, user);
            let calls = subject.calls();
            subject.sweep_over(&kills(&calls, extent))
        });
    }
    for (mode, args, options) in [
        ("", &[][..], &[][..]),
        (" --lazy", &[], &["--lazy"]),
        (" with threads", &["threads"], &["--jobs=2"]),
    ] {
        tell(&format!("restart{mode}"), &|| sweep_restart(args, options, user, extent));
    }
    std::process::exit(i32::from(wrong > 0));
}
