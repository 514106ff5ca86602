//! Real programs: killed and restarted at several moments, their output, files and exit status are byte for byte those of an
//! uninterrupted run without the checkpointer.

use harness::{Place, Program, User, root};
use std::fs;

/// Runs `program` to its end in one piece, and then in `generations + 1` pieces, as each user, and compares. `files` are what it writes
/// beside its output.
#[track_caller]
fn unharmed(program: Program, generations: u64, files: &[&str]) {
    let place = Place::new(User::Myself);
    prepare(&place, &program);
    place.write("go", b"");
    let whole = place.start(&program.clone().without_preload()).finish();
    assert!(whole.messages.is_empty(), "{}", whole.messages);
    let written: Vec<_> = files.iter().map(|name| place.read(name)).collect();
    assert!(written.iter().all(|contents| !contents.is_empty()), "{files:?}");

    for user in User::each() {
        let place = Place::new(user);
        prepare(&place, &program);
        let mut process = place.start(&program);
        // The last one well before the end: most programs wait for "go" after three quarters of it, and
        // compressors, which cannot, are held.
        for generation in 1..=generations {
            process.held = program.input.as_ref().is_some_and(|name| name.ends_with("text"));
            process.reaches(whole.output.len() as u64 * generation / generations / 2);
            process = process.generations(1);
        }
        place.write("go", b"");
        let pieces = process.finish();
        assert_eq!(pieces.status, whole.status, "{}", pieces.messages);
        assert_eq!(pieces.messages, "");
        assert!(
            pieces.output == whole.output,
            "output differs: {}",
            difference(&pieces.output, &whole.output)
        );
        for (name, contents) in files.iter().zip(&written) {
            let now = place.read(name);
            assert!(now == *contents, "{name} differs: {}", difference(&now, contents));
        }
    }
}

/// Copies the scripts, and for compressors something to compress.
fn prepare(place: &Place, program: &Program) {
    for entry in fs::read_dir(root().join("tests/programs")).unwrap() {
        let path = entry.unwrap().path();
        place.write(path.file_name().unwrap().to_str().unwrap(), &fs::read(&path).unwrap());
    }
    if program.input.as_ref().is_some_and(|name| name.ends_with("text")) {
        place.write("text", &text(4 << 20));
    }
}

/// Text of words in a reproducible order, as compressible as prose.
fn text(len: usize) -> Vec<u8> {
    let words = [
        "image ", "process ", "memory ", "of ", "a ", "the ", "signal ", "page\n", "frame ", "that ",
        "run, ", "is ",
    ];
    let mut seed = 42u64;
    let mut text = Vec::with_capacity(len + 16);
    while text.len() < len {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        text.extend(words[(seed >> 33) as usize % words.len()].bytes());
        if seed >> 60 == 0 {
            text.extend(format!("{:x} ", seed >> 20).bytes());
        }
    }
    text
}

/// Where two outputs part.
fn difference(got: &[u8], want: &[u8]) -> String {
    let at = got.iter().zip(want).position(|(a, b)| a != b).unwrap_or(got.len().min(want.len()));
    let near = |bytes: &[u8]| {
        String::from_utf8_lossy(&bytes[at.saturating_sub(60)..(at + 60).min(bytes.len())]).into_owned()
    };
    format!("{} and {} bytes, at {at}:\n{:?}\n{:?}", got.len(), want.len(), near(got), near(want))
}

#[test]
fn python_for_ten_generations() {
    unharmed(Program::tool("python3").arg("ledger.py"), 10, &["journal"]);
}

#[test]
fn perl() {
    unharmed(Program::tool("perl").arg("ledger.pl"), 3, &[]);
}

#[test]
fn bash_for_ten_generations() {
    unharmed(Program::tool("bash").arg("ledger.bash"), 10, &[]);
}

#[test]
fn bash_with_a_trap_has_handlers_of_its_own() {
    // With a trap for EXIT, bash catches every signal that would end it, SIGUSR2 among them.
    unharmed(Program::tool("bash").args(["ledger.bash", "trap"]).env("CKPT_SIGNAL", "40"), 3, &[]);
}

#[test]
fn lua() {
    unharmed(Program::tool("lua5.4").arg("ledger.lua"), 3, &[]);
}

#[test]
fn awk() {
    unharmed(Program::tool("gawk").args(["-f", "ledger.awk"]), 3, &["journal"]);
}

#[test]
fn sqlite_in_a_transaction_for_ten_generations() {
    unharmed(Program::tool("sqlite3").arg("ledger.db").input("ledger.sql"), 10, &["ledger.db"]);
}

#[test]
fn gzip_in_mid_stream() {
    unharmed(Program::tool("gzip").args(["-9", "-n", "-c"]).input("text"), 3, &[]);
}

#[test]
fn c_for_ten_generations() {
    unharmed(Program::compiled("sieve.c", "gcc -O2 -lm"), 10, &[]);
}

#[test]
fn cpp() {
    unharmed(Program::compiled("shapes.cc", "g++ -O2 -std=c++17"), 3, &["journal"]);
}

#[test]
fn xz_in_mid_stream() {
    unharmed(Program::tool("xz").args(["-3", "-c"]).input("text"), 3, &[]);
}
