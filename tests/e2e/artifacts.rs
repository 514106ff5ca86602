//! What the built files are: small, self-contained, and without anything that could disturb a program they are loaded into.

use harness::{Artifact, tool};
use std::process::Command;

/// What a tool prints about a file.
fn shown(name: &str, options: &[&str], artifact: Artifact) -> String {
    let output =
        Command::new(tool(name)).args(options).arg(artifact.path()).env("LC_ALL", "C").output().unwrap();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn library_needs_no_other() {
    let dynamic = shown("readelf", &["-Wd"], Artifact::Library);
    assert!(dynamic.contains("(SONAME)"), "{dynamic}");
    assert!(!dynamic.contains("(NEEDED)"), "{dynamic}");
}

#[test]
fn library_text_is_never_written() {
    let dynamic = shown("readelf", &["-Wd"], Artifact::Library);
    assert!(!dynamic.contains("TEXTREL"), "{dynamic}");
    for artifact in [Artifact::Library, Artifact::Restarter] {
        let segments = shown("readelf", &["-Wl"], artifact);
        let loads: Vec<_> = segments.lines().filter(|line| line.trim_start().starts_with("LOAD")).collect();
        assert!(!loads.is_empty(), "{segments}");
        assert!(!loads.iter().any(|line| line.contains("RWE")), "{segments}");
    }
}

#[test]
fn library_has_no_thread_local_storage() {
    let segments = shown("readelf", &["-Wl"], Artifact::Library);
    assert!(!segments.lines().any(|line| line.trim_start().starts_with("TLS")), "{segments}");
    let code = shown("objdump", &["-d", "--no-show-raw-insn"], Artifact::Library);
    assert!(code.contains("syscall"), "{code}");
    let touches: Vec<_> =
        code.lines().filter(|line| line.contains("%fs:") || line.contains("%gs:")).collect();
    assert!(touches.is_empty(), "{touches:?}");
}

#[test]
fn library_exports_its_interface_and_imports_nothing_it_needs() {
    let symbols = shown("nm", &["-D"], Artifact::Library);
    let exported: Vec<_> =
        symbols.lines().filter_map(|l| l.split_once(" T ").map(|(_, name)| name)).collect();
    assert_eq!(exported, ["ckpt_after_restart", "ckpt_checkpoint", "ckpt_restarts"], "{symbols}");
    let others: Vec<_> = symbols.lines().filter(|l| !l.contains(" T ")).map(str::trim).collect();
    // Of libc, and only if it has them: where a thread keeps its rseq area, the environment, and whether the program gained privileges.
    let weak = ["w __environ", "w getauxval", "w __rseq_flags", "w __rseq_offset", "w __rseq_size"];
    // And the table for tracers, which is data (src/image/boot.rs).
    let known = |line: &str| weak.contains(&line) || line.ends_with(" D ckpt_boot");
    assert!(others.iter().all(|line| known(line)), "{symbols}");
}

#[test]
fn library_stack_is_not_executable() {
    let segments = shown("readelf", &["-Wl"], Artifact::Library);
    let stack = segments.lines().find(|line| line.contains("GNU_STACK")).unwrap_or("none");
    assert!(stack.contains("RW ") && !stack.contains("RWE"), "{segments}");
}

#[test]
fn restarter_is_static_and_starts_by_itself() {
    let segments = shown("readelf", &["-Wl"], Artifact::Restarter);
    assert!(!segments.contains("INTERP") && !segments.contains("DYNAMIC"), "{segments}");
    let header = shown("readelf", &["-Wh"], Artifact::Restarter);
    assert!(header.contains("EXEC (Executable file)"), "{header}");
    assert!(!header.lines().any(|line| line.contains("Entry point") && line.ends_with(" 0x0")), "{header}");
}
