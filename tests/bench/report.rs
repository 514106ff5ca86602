//! The results as text for people (Markdown) and for programs (JSON).

use crate::figures::Table;
use crate::machine::{self, Machine};
use crate::options::Options;
use crate::plot;
use crate::sample::{Figure, Sample, Value};
use crate::series::Series;
use serde_json::{Value as Json, json};
use std::fmt::Write;

/// Writes all of it, and shows the table.
pub fn write(options: &Options, machine: &Machine, table: &Table) {
    std::fs::create_dir_all(&options.out).expect("a directory for the results");
    let write = |name: &str, text: &str| std::fs::write(options.out.join(name), text).expect("a result");
    let text = markdown(options, machine, table);
    print!("{text}");
    write("BENCH.md", &text);
    let json = serde_json::to_string_pretty(&json(options, machine, table)).expect("JSON");
    write("bench.json", &(json + "\n"));
    for (name, svg) in plot::all(table) {
        write(name, &svg);
    }
}

fn markdown(options: &Options, machine: &Machine, table: &Table) -> String {
    let mut text = String::from("# Measured\n\n");
    let Machine { cpu, memory, kernel, huge_pages, date, load } = machine;
    let class = if options.realtime { ", everything under SCHED_FIFO" } else { "" };
    let _ = writeln!(
        text,
        "{date}, {cpu}, {memory} GiB, Linux {kernel}, transparent huge pages: {huge_pages}. Load before {load}, after {}{class}.\n\
         Medians of {} rounds, each of which takes the limit and the figure in turn; in brackets the best and the worst.\n",
        machine::load(),
        options.rounds,
    );
    text += "| figure | measured | limit in the same rounds | ratio | to reach | reached |\n";
    text += "| --- | --- | --- | --- | --- | --- |\n";
    for figure in &table.figures {
        let Figure { what, beside, goal, .. } = figure;
        let (own, limit) = match &figure.value {
            Value::Time(own, None) => (time(own), String::new()),
            Value::Time(own, Some(limit)) => (time(own), format!("{}: {}", beside, time(limit))),
            Value::Size(own, limit) => (size(*own), format!("{}: {}", beside, size(*limit))),
        };
        let ratio = figure.value.ratio().map_or(String::new(), |ratio| format!("{ratio:.3}"));
        let reached = if figure.reached { "yes" } else { "**no**" };
        let _ = writeln!(text, "| {what} | {own} | {limit} | {ratio} | {goal} | {reached} |");
    }
    for (unit, points) in [("MiB", &table.sizes), ("regions", &table.regions)] {
        if points.is_empty() {
            continue;
        }
        let _ =
            writeln!(text, "\n| {unit} | fork | stop | write | image | read | restart | one CPU | --lazy |");
        text += "| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n";
        for (x, s) in points {
            let _ = write!(text, "| {x} ");
            for sample in [&s.fork, &s.stop, &s.write, &s.image, &s.read, &s.restart, &s.alone, &s.lazy] {
                let _ = write!(text, "| {} ", millis(sample.millis()));
            }
            text += "|\n";
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
    format!("{:.2} MiB", bytes as f64 / f64::from(1 << 20))
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
    json!({
        "machine": {
            "cpu": machine.cpu, "memory_gib": machine.memory, "kernel": machine.kernel,
            "transparent_huge_pages": machine.huge_pages, "date": machine.date,
            "load_before": machine.load, "load_after": machine::load(),
        },
        "rounds": options.rounds, "realtime": options.realtime,
        "figures": table.figures.iter().map(figure).collect::<Vec<_>>(),
        "by_mib": points(&table.sizes), "by_regions": points(&table.regions),
    })
}
