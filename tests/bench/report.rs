//! The results as text for people (Markdown) and for programs (JSON).

use crate::figures::{TOLD, Table};
use crate::machine::{self, Machine};
use crate::options::Options;
use crate::pages;
use crate::peers::Peer;
use crate::plot;
use crate::sample::{Figure, Sample, Value};
use crate::series::Series;
use serde_json::{Value as Json, json};
use std::fmt::Write;
use std::path::Path;

/// Writes all of it, and shows the tables.
pub fn write(options: &Options, machine: &Machine, table: &Table) {
    let machine_line = machine_line(options, machine);
    let tables = [
        ("machine", machine_line),
        ("figures", figures(table.figures.iter())),
        ("summary", figures(table.figures.iter().filter(|figure| SUMMARY.contains(&figure.name.as_str())))),
        ("sizes", points("MiB", &table.sizes)),
        ("regions", points("regions", &table.regions)),
        ("peers", peers(table)),
    ];
    let mut text = String::from("# Measured\n");
    for (_, part) in tables.iter().filter(|(name, part)| *name != "summary" && !part.is_empty()) {
        let _ = write!(text, "\n{part}");
    }
    print!("{text}");
    let json = serde_json::to_string_pretty(&json(options, machine, table)).expect("JSON") + "\n";
    let plots = plot::all(table);
    let save = |directory: &Path| {
        std::fs::create_dir_all(directory).expect("a directory for the results");
        let write = |name: &str, text: &str| std::fs::write(directory.join(name), text).expect("a result");
        write("bench.json", &json);
        for (name, svg) in &plots {
            write(name, svg);
        }
    };
    save(&options.out);
    std::fs::write(options.out.join("BENCH.md"), &text).expect("a result");
    if let Some(root) = &options.pages {
        save(&root.join("docs/bench"));
        pages::update(root, &tables);
    }
}

/// Figures for the first page.
const SUMMARY: [&str; 9] = [
    "stop-random",
    "stop-huge",
    "image-memory",
    "restart",
    "lazy",
    "lazy-large",
    "python-stop",
    "python-restart",
    "many",
];

/// What it was measured on, and how.
fn machine_line(options: &Options, machine: &Machine) -> String {
    let Machine { cpu, memory, kernel, huge_pages, date, load } = machine;
    let class = if options.realtime {
        " Everything but the slowed writer and the comparison of tools ran under SCHED_FIFO."
    } else {
        ""
    };
    let note = if options.note.is_empty() { String::new() } else { format!(" {}", options.note) };
    format!(
        "{date}, {cpu}, {memory} GiB, Linux {kernel}, transparent huge pages: {huge_pages}. Load before {load}, after {}.{class}{note}\n\
         Medians of {} rounds (fewer above 1 GiB), each of which takes the limit and the figure in turn; in brackets the best and the worst.\n",
        machine::load(),
        options.rounds,
    )
}

fn figures<'a>(figures: impl Iterator<Item = &'a Figure>) -> String {
    let mut text =
        String::from("| figure | measured | limit in the same rounds | ratio | to reach | reached |\n");
    text += "| --- | --- | --- | --- | --- | --- |\n";
    for figure in figures {
        let Figure { what, beside, goal, .. } = figure;
        let (own, limit) = match &figure.value {
            Value::Time(own, None) => (time(own), String::new()),
            Value::Time(own, Some(limit)) => (time(own), format!("{}: {}", beside, time(limit))),
            Value::Size(own, limit) => (size(*own), format!("{}: {}", beside, size(*limit))),
        };
        let ratio = figure.value.ratio().map_or(String::new(), |ratio| format!("{ratio:.3}"));
        let reached = match (goal.as_str(), figure.reached) {
            (TOLD, _) => "",
            (_, true) => "yes",
            (_, false) => "**no**",
        };
        let _ = writeln!(text, "| {what} | {own} | {limit} | {ratio} | {goal} | {reached} |");
    }
    text
}

fn points(unit: &str, points: &[(u64, Series)]) -> String {
    if points.is_empty() {
        return String::new();
    }
    let mut text = format!("| {unit} | fork | stop | write | image | read | restart | one CPU | --lazy |\n");
    text += "| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n";
    for (x, s) in points {
        let _ = write!(text, "| {x} ");
        for sample in [&s.fork, &s.stop, &s.write, &s.image, &s.read, &s.restart, &s.alone, &s.lazy] {
            let _ = write!(text, "| {} ", millis(sample.millis()));
        }
        text += "|\n";
    }
    text
}

fn peers(table: &Table) -> String {
    if table.peers.is_empty() {
        return String::new();
    }
    let mut text = String::from("| memory | tool | pause | save | image | restart |\n");
    text += "| --- | --- | --- | --- | --- | --- |\n";
    for (memory, peers) in &table.peers {
        let (kind, mib) = memory.split_once(':').expect("KIND:N");
        for peer in peers {
            let Peer { tool, pause, save, image, restart } = peer;
            let (pause, save, restart) = (time(pause), time(save), time(restart));
            let _ = writeln!(
                text,
                "| {mib} MiB, {kind} | {tool} | {pause} | {save} | {} | {restart} |",
                size(*image)
            );
        }
    }
    text
}

fn millis(millis: f64) -> String {
    match millis {
        small if small < 10.0 => format!("{small:.2}"),
        middle if middle < 100.0 => format!("{middle:.1}"),
        large => format!("{large:.0}"),
    }
}

fn time(sample: &Sample) -> String {
    let text = |nanos: u64| millis(nanos as f64 / 1e6);
    if sample.0.len() == 1 {
        return format!("{} ms", text(sample.median()));
    }
    format!("{} ms ({} to {})", text(sample.median()), text(sample.best()), text(sample.worst()))
}

fn size(bytes: u64) -> String {
    let mib = bytes as f64 / f64::from(1 << 20);
    if mib < 100.0 { format!("{mib:.2} MiB") } else { format!("{mib:.0} MiB") }
}

fn json(options: &Options, machine: &Machine, table: &Table) -> Json {
    let figure = |figure: &Figure| {
        let value = match &figure.value {
            Value::Time(own, limit) => {
                json!({ "ns": own.0, "limit_ns": limit.as_ref().map(|limit| &limit.0) })
            }
            Value::Size(own, limit) => json!({ "bytes": own, "limit_bytes": limit }),
        };
        json!({
            "name": figure.name, "what": figure.what, "limit": figure.beside, "value": value,
            "ratio": figure.value.ratio(), "to_reach": figure.goal, "reached": figure.reached,
        })
    };
    let points = |points: &[(u64, Series)]| -> Vec<Json> {
        let point = |(x, s): &(u64, Series)| {
            json!({
                "x": x, "fork_ns": s.fork.0, "stop_ns": s.stop.0, "write_ns": s.write.0, "image_ns": s.image.0,
                "read_ns": s.read.0, "restart_ns": s.restart.0, "restart_one_cpu_ns": s.alone.0,
                "restart_lazy_ns": s.lazy.0, "exec_ns": s.exec.0,
            })
        };
        points.iter().map(point).collect()
    };
    let peer = |peer: &Peer| {
        json!({
            "tool": peer.tool, "pause_ns": peer.pause.0, "save_ns": peer.save.0, "image_bytes": peer.image,
            "restart_ns": peer.restart.0,
        })
    };
    let compared: Vec<Json> = (table.peers.iter())
        .map(|(memory, peers)| json!({ "memory": memory, "tools": peers.iter().map(peer).collect::<Vec<_>>() }))
        .collect();
    json!({
        "machine": {
            "cpu": machine.cpu, "memory_gib": machine.memory, "kernel": machine.kernel,
            "transparent_huge_pages": machine.huge_pages, "date": machine.date,
            "load_before": machine.load, "load_after": machine::load(),
        },
        "rounds": options.rounds, "realtime": options.realtime,
        "figures": table.figures.iter().map(figure).collect::<Vec<_>>(),
        "note": options.note, "peers": compared,
        "by_mib": points(&table.sizes), "by_regions": points(&table.regions),
    })
}
