//! Warms up once and branches many runs from the image; then does the same runs without, and prints the time saved.
//!
//! `branches [RUNS]`, with `ckpt` on the search path.

use ckpt_api::{self as ckpt, Outcome};
use std::io::{Write, stdin};
use std::process::{Command, Stdio};
use std::time::Instant;

/// What takes long: here, the number of steps that the Collatz sequence of each number below four million takes to reach 1.
fn warm_up() -> Vec<u16> {
    const LIMIT: usize = 4_000_000;
    let mut steps = vec![0u16; LIMIT];
    for start in 2..LIMIT {
        let (mut n, mut count) = (start, 0);
        while n >= start {
            n = if n % 2 == 0 { n / 2 } else { 3 * n + 1 };
            count += 1;
        }
        steps[start] = steps[n] + count;
    }
    steps
}

/// The program itself. With libckpt.so loaded, its image is taken when it is warm.
fn program() {
    let steps = warm_up();
    if ckpt::is_loaded() && ckpt::checkpoint().expect("an image") == Outcome::Saved {
        return;
    }
    let mut line = String::new();
    stdin().read_line(&mut line).expect("standard input");
    let n: usize = line.trim().parse().expect("a number");
    println!("{}", steps[n]);
}

/// One run of a command: a line in, a line out.
fn ask(command: &mut Command, n: usize) -> String {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the program");
    writeln!(child.stdin.take().expect("a pipe"), "{n}").expect("its standard input");
    let output = child.wait_with_output().expect("its output");
    assert!(output.status.success(), "{}", output.status);
    String::from_utf8(output.stdout).expect("text")
}

/// Runs the program both ways.
fn compare(runs: usize) {
    let me = std::env::current_exe().expect("this program");
    let image = std::env::temp_dir().join(format!("branches-{}.ckpt", std::process::id()));
    let numbers: Vec<_> = (0..runs).map(|run| 3_999_999 - 17 * run).collect();

    let start = Instant::now();
    let cold: Vec<_> = numbers.iter().map(|n| ask(Command::new(&me).arg("--program"), *n)).collect();
    let without = start.elapsed().as_secs_f64();

    let start = Instant::now();
    let mut run = Command::new("ckpt");
    run.args(["run", "--image"]).arg(&image).arg(&me).arg("--program").stdin(Stdio::null());
    assert!(run.status().expect("ckpt on the search path").success());
    let restart = ["restart", "--fd", "0=&0", "--fd", "1=&1", "--lazy"];
    let warm: Vec<_> =
        numbers.iter().map(|n| ask(Command::new("ckpt").args(restart).arg(&image), *n)).collect();
    let with_image = start.elapsed().as_secs_f64();
    let _ = std::fs::remove_file(image);

    assert_eq!(warm, cold, "the runs differ");
    println!("{runs} runs, each from the start: {without:.2} s");
    println!("{runs} runs from one image:       {with_image:.2} s, the image included");
    println!("saved: {:.2} s, {:.1} times as fast", without - with_image, without / with_image);
}

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("--program") => program(),
        runs => compare(runs.map_or(20, |runs| runs.parse().expect("a number of runs"))),
    }
}
