//! Saving and restarting at random moments.

use crate::{Place, Process, Program, User};
use std::time::{Duration, Instant};

/// What is soaked: the modes of the victim `soak`, and an interpreter that collects garbage.
pub const SUBJECTS: [&str; 9] =
    ["alloc", "signals", "recursion", "pipe", "vector", "maps", "forks", "threads", "python"];

/// What is soaked when it is asked for by name, because all at once would have no CPU left: exceptions of C++, and the modes of the victim `churn`, with glibc
/// and, after `musl`, with musl.
pub const MORE_SUBJECTS: [&str; 41] = [
    "exceptions",
    "timers",
    "births",
    "cancels",
    "locks",
    "turns",
    "robust",
    "kills",
    "attributes",
    "ids",
    "executes",
    "jumps",
    "sleeps",
    "alarms",
    "stdio",
    "heaps",
    "data",
    "memory",
    "pipes",
    "shares",
    "loads",
    "aio",
    "musl timers",
    "musl births",
    "musl cancels",
    "musl locks",
    "musl turns",
    "musl robust",
    "musl kills",
    "musl attributes",
    "musl ids",
    "musl executes",
    "musl jumps",
    "musl sleeps",
    "musl alarms",
    "musl stdio",
    "musl heaps",
    "musl data",
    "musl memory",
    "musl pipes",
    "musl shares",
];

/// A small generator, so that a run can be repeated.
pub struct Random(pub u64);

impl Random {
    /// The next number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// Passes so many microseconds on the CPU: a sleep would be woken at a moment of the kernel's choice.
pub fn spin(micros: u64) {
    let until = Instant::now() + Duration::from_micros(micros);
    while Instant::now() < until {
        std::hint::spin_loop();
    }
}

/// One program that is saved, killed and restarted again and again.
pub struct Subject {
    name: &'static str,
    process: Option<Process>,
    /// Pairs of a save and a restart so far.
    pub pairs: usize,
}

impl Subject {
    /// Starts it as an ordinary user. With `CKPT_FOREGROUND` in the environment, images are written in the foreground.
    pub fn start(name: &'static str) -> Self {
        let place = Place::new(User::ordinary());
        let mut program = match name {
            "python" => {
                place.write("soak.py", PYTHON.as_bytes());
                Program::tool("python3").arg(place.file("soak.py"))
            }
            "exceptions" => Program::victim(name),
            mode if SUBJECTS.contains(&mode) => Program::victim("soak").arg(mode),
            mode => match mode.strip_prefix("musl ") {
                Some(mode) => Program::victim("churn_musl").arg(mode),
                None => Program::victim("churn").arg(mode),
            },
        };
        if let Some(value) = std::env::var_os("CKPT_FOREGROUND") {
            program = program.env("CKPT_FOREGROUND", value);
        }
        // Some are between fork(2) and wait(2), and know that a child may be gone after a restart.
        let mut process = place.start(&program.env("CKPT_CHILDREN", "ignore"));
        process.ready();
        Self { name, process: Some(process), pairs: 0 }
    }

    /// A random moment, a save, a kill, and a restart.
    pub fn pair(&mut self, random: &mut Random) {
        let mut process = self.process.take().expect("a running process");
        spin(random.below(3000));
        let image = process.save();
        process.kill();
        self.process = Some(image.restart());
        self.pairs += 1;
    }

    /// Lets it end; it must have found nothing wrong.
    pub fn end(mut self) -> (&'static str, usize) {
        self.process.take().expect("a running process").passes();
        (self.name, self.pairs)
    }
}

/// Makes garbage in cycles and checks what must stay.
const PYTHON: &str = r#"
import gc, os, sys
keep, n = {}, 0
os.write(1, b"ready\n")
while not os.path.exists("go.1"):
    for _ in range(300):
        n += 1
        cycle = [n]; cycle.append(cycle)
        keep[n % 5000] = (n, str(n) * 3)
    for key, (value, text) in keep.items():
        assert value % 5000 == key and text == str(value) * 3, (key, value, text)
    gc.collect(0)
os.write(1, b"PASS\n")
"#;
