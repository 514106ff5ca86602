//! The program that is saved. It reads commands from standard input, one a line, and answers each with a line of numbers.
//!
//! Times are nanoseconds. `stop` answers twice: once in this process, and once in each that is restarted from the image.
//!
//! | command | answer |
//! | --- | --- |
//! | `fork` | time of fork(2); the child ends at once |
//! | `stop` | 0, when the signal was sent, when the next instruction ran; in a restarted process: 1, when it ran, by the wall clock |
//! | `write N FILE` | time to write N bytes into a new file; `sync N FILE`: fsync(2) included |
//! | `random N` | time of N writes to random pages |
//! | `save N` | the same, while the image is written |
//! | `forked N FILE` | the same, while a forked child writes the memory into a file |
//! | `sum` | checksum of the memory |

use crate::clock::{now, wall};
use crate::limits::write_file;
use crate::memory::Memory;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, fork, getpid};
use std::io::{BufRead, Write};
use std::path::Path;

/// Runs until standard input ends.
pub fn main(memory: &str) -> ! {
    let memory = Memory::make(memory);
    answer(&[memory.sum()]);
    loop {
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line).expect("standard input");
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [] => std::process::exit(0),
            ["fork"] => answer(&[fork_time(&memory)]),
            ["stop"] => stop(&memory),
            ["write", len, file] => answer(&[written(&memory, len, file, false)]),
            ["sync", len, file] => answer(&[written(&memory, len, file, true)]),
            ["random", count] => {
                memory.touch();
                answer(&[random_time(&memory, number(count))]);
            }
            ["save", count] => {
                memory.touch();
                kill(getpid(), Signal::SIGUSR2).expect("kill");
                answer(&[random_time(&memory, number(count))]);
            }
            ["forked", count, file] => answer(&[forked(&memory, number(count), file)]),
            ["sum"] => answer(&[memory.sum()]),
            _ => panic!("unknown command: {line}"),
        }
    }
}

fn number(text: &str) -> usize {
    text.parse().expect("a number")
}

fn answer(numbers: &[u64]) {
    let line: Vec<String> = numbers.iter().map(u64::to_string).collect();
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", line.join(" ")).and_then(|()| out.flush()).expect("standard output");
}

fn fork_time(memory: &Memory) -> u64 {
    memory.touch();
    let before = now();
    // SAFETY: the child ends without touching anything.
    match unsafe { fork() }.expect("fork") {
        ForkResult::Child => exit_at_once(),
        ForkResult::Parent { child } => {
            let time = now() - before;
            waitpid(child, None).expect("waitpid");
            time
        }
    }
}

fn exit_at_once() -> ! {
    // SAFETY: ends the process, without the handlers of its parent.
    unsafe { nix::libc::_exit(0) }
}

fn stop(memory: &Memory) {
    memory.touch();
    let (pid, before) = (getpid(), restarts());
    let sent = now();
    // The signal is taken before kill(2) returns: there is no other thread.
    let result = kill(pid, Signal::SIGUSR2);
    let (back, time) = (now(), wall());
    result.expect("kill");
    if restarts() == before { answer(&[0, sent, back]) } else { answer(&[1, time]) }
}

/// How often libckpt says that this process has been restarted: its id may be the one that it had at the save.
fn restarts() -> u32 {
    // SAFETY: the name ends with a NUL.
    let function = unsafe { nix::libc::dlsym(nix::libc::RTLD_DEFAULT, c"ckpt_restarts".as_ptr()) };
    assert!(!function.is_null(), "libckpt.so is not loaded");
    // SAFETY: the type that include/ckpt.h declares.
    let function: extern "C" fn() -> u32 = unsafe { std::mem::transmute(function) };
    function()
}

fn written(memory: &Memory, len: &str, file: &str, sync: bool) -> u64 {
    write_file(memory.bytes(), number(len), Path::new(file), sync)
}

fn random_time(memory: &Memory, count: usize) -> u64 {
    let before = now();
    memory.write_randomly(count);
    now() - before
}

fn forked(memory: &Memory, count: usize, file: &str) -> u64 {
    memory.touch();
    let bytes = memory.bytes();
    // SAFETY: the child writes memory to a file, and ends.
    match unsafe { fork() }.expect("fork") {
        ForkResult::Child => {
            write_file(bytes, bytes.len(), Path::new(file), false);
            exit_at_once()
        }
        ForkResult::Parent { child } => {
            let time = random_time(memory, count);
            waitpid(child, None).expect("waitpid");
            time
        }
    }
}
