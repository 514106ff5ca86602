//! Takes in what is loaded of libckpt.so: the file that `CKPT_LIBRARY` names, which the Makefile builds first.

use std::path::PathBuf;
use std::{env, fs};

fn main() {
    println!("cargo:rerun-if-env-changed=CKPT_LIBRARY");
    println!("cargo:rerun-if-changed=build.rs");
    let is_release = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let library = match env::var_os("CKPT_LIBRARY").filter(|path| !path.is_empty()) {
        Some(path) => {
            let path = PathBuf::from(path);
            println!("cargo:rerun-if-changed={}", path.display());
            let file = fs::read(&path).unwrap_or_else(|e| panic!("CKPT_LIBRARY={}: {e}", path.display()));
            loaded(&file).unwrap_or_else(|| panic!("CKPT_LIBRARY={}: no ELF library", path.display()))
        }
        // cargo check, clippy and the unit tests have no use for it; `ckpt` says what it lacks.
        None if !is_release => vec![],
        None => panic!(
            "CKPT_LIBRARY is not set: build ckpt with make, which builds libckpt.so first and tells where it is"
        ),
    };
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("libckpt.bin");
    fs::write(&out, library).unwrap_or_else(|e| panic!("{}: {e}", out.display()));
}

/// The file up to the last byte that a loader maps: without symbols and debugging information.
fn loaded(file: &[u8]) -> Option<Vec<u8>> {
    let word = |at: usize| Some(u64::from_le_bytes(file.get(at..at + 8)?.try_into().ok()?) as usize);
    let half = |at: usize| Some(usize::from(u16::from_le_bytes(file.get(at..at + 2)?.try_into().ok()?)));
    let headers = word(32)?;
    let mut end = 0;
    for number in 0..half(56)? {
        let header = headers + number * 56;
        if file.get(header..header + 4)? == [1, 0, 0, 0] {
            end = end.max(word(header + 8)? + word(header + 32)?);
        }
    }
    file.starts_with(b"\x7fELF\x02").then_some(file.get(..end)?.to_vec())
}
