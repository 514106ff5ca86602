//! The victims themselves: each must pass when nobody touches it, or its other tests would prove nothing.

use harness::{Program, User, passes_by_itself, tool, victims};
use std::process::Command;

#[test]
fn every_victim_passes_by_itself() {
    for name in victims() {
        for user in User::each() {
            passes_by_itself(&Program::victim(&name), user);
        }
    }
}

#[test]
fn a_program_is_compiled_in_the_way_that_the_test_says() {
    let ways = [("gcc -O2 -lm", true), ("gcc -O2 -static -lm", false), ("musl-gcc -O2 -static -lm", false)];
    let files = ways.map(|(how, is_dynamic)| {
        let program = Program::compiled("sieve.c", how);
        let output = Command::new(tool("readelf")).arg("-lW").arg(&program.file).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let is_interpreted = String::from_utf8_lossy(&output.stdout).contains("INTERP");
        assert_eq!(is_interpreted, is_dynamic, "{how}: {}", program.file.display());
        program.file
    });
    let [_, glibc, musl] = files.map(|file| std::fs::read(file).unwrap());
    assert!(glibc != musl, "of glibc and of musl");
}
