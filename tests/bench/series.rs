//! The figures of one program, taken in rounds: first its saves, then the restarts from its last image.

use crate::clock::now;
use crate::place::{Place, built};
use crate::sample::Sample;
use crate::target::{Target, own_path};
use std::process::{Command, Stdio};

/// Times of everything that one program can be asked.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// fork(2).
    pub fork: Sample,
    /// Signal to the next instruction.
    pub stop: Sample,
    /// Signal to the image under its name.
    pub image: Sample,
    /// write(2) of as many bytes, perhaps with fsync(2).
    pub write: Sample,
    /// read(2) of the image into fresh memory.
    pub read: Sample,
    /// execve(2) of the restarter to the program's next instruction.
    pub restart: Sample,
    /// The same with one thread.
    pub alone: Sample,
    /// The same with `--lazy`.
    pub lazy: Sample,
    /// fork, exec and exit of a restarter that does nothing.
    pub exec: Sample,
}

impl Series {
    /// Measures everything with one memory.
    pub fn measure(memory: &str, place: &Place, rounds: usize) -> Self {
        let (mut series, sum) = Self::saves(memory, place, rounds, false);
        series.restarts(place, sum, rounds);
        series
    }

    /// Measures the saves; also returns the checksum of the memory.
    pub fn saves(memory: &str, place: &Place, rounds: usize, sync: bool) -> (Self, u64) {
        let mut series = Self::default();
        let mut target = Target::victim(memory, place);
        let sum = target.hear()[0];
        let copy = place.path().join("copy");
        // Warms everything up, and tells how long images are.
        target.save(place);
        let len = place.image_len();
        for _ in 0..rounds {
            // Before the save, so that there is never room for two images to be had.
            place.clear();
            let word = if sync { "sync" } else { "write" };
            series.write.0.push(target.ask(&format!("{word} {len} {}", copy.display()))[0]);
            series.fork.0.push(target.ask("fork")[0]);
            let saved = target.save(place);
            series.stop.0.push(saved.stop);
            series.image.0.push(saved.image);
        }
        (series, sum)
    }

    /// Measures restarts from the image in `place`, of a process whose memory has the checksum `sum`.
    pub fn restarts(&mut self, place: &Place, sum: u64, rounds: usize) {
        for round in 0..rounds {
            self.read.0.push(read_time(place));
            self.exec.0.push(exec_time());
            for (options, times) in [
                (&[][..], &mut self.restart),
                (&["--jobs=1"], &mut self.alone),
                (&["--lazy"], &mut self.lazy),
            ] {
                let mut target = Target::restart(place, options);
                times.0.push(target.resumed());
                if round == 0 {
                    assert_eq!(target.ask("sum"), [sum], "the memory after a restart with {options:?}");
                }
            }
        }
    }
}

/// Saves a victim once; returns the checksum of its memory.
pub fn save_once(memory: &str, place: &Place) -> u64 {
    let mut target = Target::victim(memory, place);
    let sum = target.hear()[0];
    target.save(place);
    sum
}

fn read_time(place: &Place) -> u64 {
    let output = Command::new(own_path()).arg("read").arg(place.image()).stderr(Stdio::inherit()).output();
    let output = output.expect("bench read");
    assert!(output.status.success());
    String::from_utf8_lossy(&output.stdout).trim().parse().expect("a number")
}

fn exec_time() -> u64 {
    let mut command = Command::new(built("myrestart"));
    command.arg("--version").stdout(Stdio::null());
    let before = now();
    assert!(command.status().expect("myrestart").success());
    now() - before
}
