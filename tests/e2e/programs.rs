//! Real programs with one thread: killed and restarted at several moments, their output, files and exit status are byte for byte those of an
//! uninterrupted run without the checkpointer.

use harness::{Program, unharmed};

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
