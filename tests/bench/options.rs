//! The command line of the driver.

use std::path::PathBuf;

const HELP: &str = "\
usage: bench [OPTION]...
Measure stops, saves and restarts beside the limits of this machine.

  --out=DIR      where BENCH.md, bench.json and the plots go (default: target/bench)
  --pages=DIR    also put the tables into README.md and docs/performance.md of this
                 source tree, and the plots and bench.json into its docs/bench
  --only=NAME    only figures whose name begins with NAME; may be given several times
  --rounds=N     rounds for each figure (default 7)
  --most=MIB     the largest memory in the plots (default 8192, as far as memory allows)
  --note=TEXT    what else is to be known of the run; goes beside the machine
  --disk=DIR     a directory on a disk (default: target)
  --realtime     run under SCHED_FIFO all that only needs its own CPU time, on a
                 machine that others use
  --help         print this
  --tiny         one round with small sizes: a test, not a measurement
";

/// The options.
pub struct Options {
    /// Where the results go.
    pub out: PathBuf,
    /// The source tree whose documentation gets them.
    pub pages: Option<PathBuf>,
    /// What else is to be known of the run.
    pub note: String,
    /// Names of figures; none: all.
    pub only: Vec<String>,
    /// Rounds for each figure.
    pub rounds: usize,
    /// Largest memory in the plots in MiB.
    pub most: u64,
    /// A directory on a disk.
    pub disk: PathBuf,
    /// Under SCHED_FIFO.
    pub realtime: bool,
    /// One round with small sizes.
    pub tiny: bool,
}

impl Options {
    /// Reads the arguments; ends the process when they are wrong.
    pub fn parse(args: impl Iterator<Item = String>) -> Self {
        let mut options = Self {
            out: PathBuf::from("target/bench"),
            pages: None,
            note: String::new(),
            only: Vec::new(),
            rounds: 7,
            most: 8192,
            disk: PathBuf::from("target"),
            realtime: false,
            tiny: false,
        };
        for arg in args {
            let (name, value) = arg.split_once('=').unwrap_or((&arg, ""));
            match name {
                "--out" => options.out = value.into(),
                "--pages" => options.pages = Some(value.into()),
                "--note" => options.note = value.into(),
                "--only" => options.only.push(value.into()),
                "--rounds" => options.rounds = value.parse().unwrap_or_else(|_| wrong(&arg)),
                "--most" => options.most = value.parse().unwrap_or_else(|_| wrong(&arg)),
                "--disk" => options.disk = value.into(),
                "--realtime" => options.realtime = true,
                "--tiny" => (options.tiny, options.rounds, options.most) = (true, 1, 4),
                "--help" => {
                    print!("{HELP}");
                    std::process::exit(0)
                }
                _ => wrong(&arg),
            }
        }
        options
    }

    /// Whether a figure is wanted.
    pub fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|wanted| name.starts_with(wanted.as_str()))
    }

    /// A size in MiB, or a small one.
    pub fn mib(&self, size: u64) -> u64 {
        if self.tiny { (size / 256).clamp(1, 8) } else { size }
    }

    /// Takes the scheduling class that was asked for; children inherit it.
    pub fn schedule(&self) {
        if self.realtime {
            class(nix::libc::SCHED_FIFO, 50);
        }
    }

    /// Goes back to the usual class. Under SCHED_FIFO a program whose image is written by as many threads as there are CPUs would wait for
    /// them, as it never does otherwise.
    pub fn share(&self) {
        if self.realtime {
            class(nix::libc::SCHED_OTHER, 0);
        }
    }
}

fn class(policy: i32, priority: i32) {
    let parameters = nix::libc::sched_param { sched_priority: priority };
    // SAFETY: the kernel reads the parameters.
    let result = unsafe { nix::libc::sched_setscheduler(0, policy, &raw const parameters) };
    assert_eq!(result, 0, "--realtime needs the right to it: {}", std::io::Error::last_os_error());
}

fn wrong(arg: &str) -> ! {
    eprint!("bench: {arg}: not an option, or not a value of it\n{HELP}");
    std::process::exit(2)
}
