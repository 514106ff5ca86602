//! What the figures were measured on.

use std::fs::read_to_string;
use std::process::Command;

/// The machine, the moment, and how busy it was.
pub struct Machine {
    /// Model of the CPU and how many there are.
    pub cpu: String,
    /// Memory in GiB.
    pub memory: u64,
    /// `uname -r`.
    pub kernel: String,
    /// The setting of transparent huge pages.
    pub huge_pages: String,
    /// Day in UTC.
    pub date: String,
    /// Load average before the first figure.
    pub load: String,
}

impl Machine {
    /// Looks.
    pub fn look() -> Self {
        let read = |path: &str| read_to_string(path).unwrap_or_default();
        let cpuinfo = read("/proc/cpuinfo");
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            line.split_once(':').map_or(String::new(), |(_, value)| value.trim().to_owned())
        };
        let cpus = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
        let memory = field(&read("/proc/meminfo"), "MemTotal");
        let memory: u64 = memory.trim_end_matches(" kB").parse().unwrap_or(0);
        let huge_pages = read("/sys/kernel/mm/transparent_hugepage/enabled");
        let chosen = huge_pages.split(['[', ']']).nth(1).unwrap_or("unknown");
        Self {
            cpu: format!("{cpus} x {}", field(&cpuinfo, "model name")),
            memory: memory.div_ceil(1 << 20),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            huge_pages: chosen.to_owned(),
            date: today(),
            load: load(),
        }
    }
}

/// The load averages of now.
pub fn load() -> String {
    let text = read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// Memory that could be used, in MiB.
pub fn available() -> u64 {
    let text = read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<u64>().map_or(0, |kib| kib / 1024)
}

fn today() -> String {
    let output = Command::new("date").args(["-u", "+%Y-%m-%d"]).output();
    output.map_or_else(|_| "unknown".into(), |output| String::from_utf8_lossy(&output.stdout).trim().into())
}
