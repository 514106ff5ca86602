//! Real programs: killed and restarted at several moments, they come to the same end as in one piece.

use crate::{Place, Program, User, root};
use std::fs;

/// Runs `program` to its end in one piece, and then in `generations + 1` pieces, as each user, and compares. `files` are what it writes
/// beside its output.
#[track_caller]
pub fn unharmed(program: Program, generations: u64, files: &[&str]) {
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
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
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
