//! `make audit`: every system call of a save and of a restart, who makes it, and why.

use harness::audit::{Call, table, traced, unlisted};

fn main() {
    let traced = traced("quiet");
    for (title, calls) in [("A save", &traced.save), ("A restart", &traced.restart)] {
        println!("{title}: {} system calls\n", calls.len());
        print(calls);
        println!();
    }
    let missing = unlisted(&[traced.save, traced.restart].concat());
    if !missing.is_empty() {
        eprintln!("docs/system-calls.md does not list:\n{}", missing.join("\n"));
        std::process::exit(1);
    }
}

fn print(calls: &[Call]) {
    let table = table();
    for call in calls {
        let why = table.get(&(call.phase.to_string(), call.name.clone())).map_or("NOT LISTED", |why| why);
        let text: String = call.text.chars().take(100).collect();
        println!("{:<8} {text:<100}  {why}", call.phase);
    }
}
