//! Real programs with threads: killed and restarted at several moments, their output and exit status are byte for byte those of an uninterrupted
//! run without the checkpointer.

use harness::{Program, unharmed};

#[test]
fn openmp() {
    unharmed(Program::compiled("grains.c", "gcc -O2 -fopenmp -lm"), 4, &[]);
}

/// The pool in C++.
fn cpp() -> Program {
    Program::compiled("workers.cc", "g++ -O2 -std=c++17 -pthread")
}

#[test]
fn cpp_threads_and_futures() {
    unharmed(cpp(), 4, &[]);
}

#[test]
fn cpp_threads_on_jemalloc() {
    unharmed(cpp().library("libjemalloc.so.2", "libjemalloc2"), 3, &[]);
}

#[test]
fn cpp_threads_on_mimalloc() {
    unharmed(cpp().library("libmimalloc.so.2", "libmimalloc2.0"), 3, &[]);
}

#[test]
fn rust_threads_and_rayon() {
    let program = Program::at(env!("CARGO_BIN_EXE_workers").into());
    unharmed(Program { copied: true, ..program }, 4, &[]);
}

#[test]
fn python_threads() {
    unharmed(Program::tool("python3").arg("workers.py"), 4, &[]);
}

#[test]
fn python_threads_on_jemalloc() {
    let program = Program::tool("python3").arg("workers.py").env("PYTHONMALLOC", "malloc");
    unharmed(program.library("libjemalloc.so.2", "libjemalloc2"), 3, &[]);
}

#[test]
fn sqlite_shared_by_threads() {
    unharmed(Program::tool("python3").arg("shelves.py"), 4, &[]);
}

#[test]
fn ruby_threads() {
    unharmed(Program::tool("ruby").arg("workers.rb"), 4, &[]);
}

#[test]
fn pigz_in_mid_stream() {
    unharmed(Program::tool("pigz").args(["-n", "-c", "-p", "3"]).input("text"), 3, &[]);
}

#[test]
fn zstd_with_threads_in_mid_stream() {
    unharmed(Program::tool("zstd").args(["-7", "-c", "-T2", "-B512K"]).input("text"), 3, &[]);
}

#[test]
fn xz_with_threads_in_mid_stream() {
    unharmed(Program::tool("xz").args(["-1", "-c", "-T2", "--block-size=256KiB"]).input("text"), 3, &[]);
}

#[test]
#[ignore = "large packages: make check-programs"]
fn numpy_on_blas_threads() {
    unharmed(Program::tool("python3").arg("matrices.py").env("OPENBLAS_NUM_THREADS", "3"), 3, &[]);
}

#[test]
#[ignore = "large packages: make check-programs"]
fn node() {
    unharmed(Program::tool("node").arg("ledger.js"), 3, &[]);
}

#[test]
#[ignore = "large packages: make check-programs"]
fn java_takes_another_signal() {
    // HotSpot has SIGUSR2 for itself.
    let program = Program::tool("java").args(["-Xmx128m", "Ledger.java"]).env("CKPT_SIGNAL", "40");
    unharmed(program, 3, &[]);
}

#[test]
#[ignore = "large packages: make check-programs"]
fn go_takes_another_signal() {
    // Go handles every signal but those that it leaves to libcs, of which glibc has given up 34.
    unharmed(Program::compiled("ledger.go", "go build").env("CKPT_SIGNAL", "34"), 3, &[]);
}
