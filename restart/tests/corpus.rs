//! What the fuzzer found interesting in the planner, once more: `tests/fuzz` holds the target and its inputs.

#[path = "../../tests/fuzz/targets/plan.rs"]
mod plan_target;

use plan_target::{Parts, SEED, disassemble};
use std::path::{Path, PathBuf};

#[test]
fn plan() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus/plan");
    let mut inputs: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    inputs.sort();
    let mut plans = 0;
    for input in inputs.iter().step_by(if cfg!(miri) { 100 } else { 1 }) {
        // Seen only if the input fails.
        println!("{}", input.display());
        plans += usize::from(plan_target::outcome(&std::fs::read(input).unwrap()) == Some(true));
    }
    println!("{plans} plans of {} inputs", inputs.len());
    assert!(plans > if cfg!(miri) { 0 } else { 100 }, "{plans}");
}

/// The fuzzer begins with an image of which a plan can be made; without it, it would take it long to find one.
#[test]
fn the_corpus_holds_a_sound_image() {
    let (_, file) = Parts::one_of_everything().image();
    let input = [SEED.to_vec(), disassemble(&file)].concat();
    let seed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus/plan/sound");
    if std::env::var_os("CKPT_WRITE_SEED").is_some() {
        std::fs::write(&seed, &input).unwrap();
    }
    assert!(std::fs::read(&seed).unwrap() == input, "write it anew with CKPT_WRITE_SEED=1");
    assert_eq!(plan_target::outcome(&input), Some(true));
}
