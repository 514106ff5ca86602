//! What the fuzzers found interesting, once more: `tests/fuzz` holds the targets and their inputs.

#[path = "../../../tests/fuzz/targets/image.rs"]
mod image_target;
#[path = "../../../tests/fuzz/targets/maps.rs"]
mod maps_target;

use image_target::{Parts, disassemble};
use std::path::{Path, PathBuf};

/// Runs every input of a corpus, in the order of their names, and tells how many there were.
fn replay(name: &str, run: fn(&[u8])) -> usize {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus").join(name);
    let mut inputs: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    inputs.sort();
    for input in inputs.iter().step_by(if cfg!(miri) { 100 } else { 1 }) {
        // Seen only if the input fails.
        println!("{}", input.display());
        run(&std::fs::read(input).unwrap());
    }
    inputs.len()
}

#[test]
fn maps() {
    assert!(replay("maps", maps_target::run) > 100);
}

#[test]
fn image() {
    assert!(replay("image", image_target::run) > 100);
}

/// The fuzzer begins with an image that is taken; without it, it would take it long to find one.
#[test]
fn the_corpus_holds_a_sound_image() {
    let (_, file) = Parts::one_of_everything().image();
    let input = disassemble(&file);
    let seed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus/image/sound");
    if std::env::var_os("CKPT_WRITE_SEED").is_some() {
        std::fs::write(&seed, &input).unwrap();
    }
    assert!(std::fs::read(&seed).unwrap() == input, "write it anew with CKPT_WRITE_SEED=1");
    assert_eq!(image_target::outcome(&input), Some(Ok(())));
}
