//! Plots with two logarithmic axes, as SVG written by hand.

use crate::figures::Table;
use crate::peers::Peer;
use crate::sample::Sample;
use crate::series::Series;
use std::fmt::Write;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 190.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 50.0;

/// A line of a plot.
struct Line {
    label: &'static str,
    colour: &'static str,
    dashed: bool,
    points: Vec<(f64, f64)>,
}

/// All plots, each with the name of its file.
pub fn all(table: &Table) -> Vec<(&'static str, String)> {
    const OURS: &str = "#0b6e4f";
    const SECOND: &str = "#1f78b4";
    const THIRD: &str = "#b15928";
    const LIMIT: &str = "#777777";
    type Pick = fn(&Series) -> &Sample;
    let line = |points: &[(u64, Series)], label, colour, dashed, pick: Pick| Line {
        label,
        colour,
        dashed,
        points: points.iter().map(|(x, series)| (*x as f64, pick(series).millis())).collect(),
    };
    let sizes = |label, colour, dashed, pick: Pick| line(&table.sizes, label, colour, dashed, pick);
    let regions = |label, colour, dashed, pick: Pick| line(&table.regions, label, colour, dashed, pick);
    // Other tools, by the same sizes.
    let peer = |tool: &'static str, label, colour, pick: fn(&Peer) -> &Sample| {
        let of = |(memory, peers): &(String, Vec<Peer>)| {
            let mib: f64 = memory.strip_prefix("random:")?.parse().ok()?;
            Some((mib, pick(peers.iter().find(|peer| peer.tool == tool)?).millis()))
        };
        let points: Vec<_> = table.peers.iter().filter_map(of).collect();
        (!points.is_empty()).then_some(Line { label, colour, dashed: false, points })
    };
    let criu = |pick| peer("CRIU", "CRIU", "#7b3294", pick);
    let dmtcp = |pick| peer("DMTCP --no-gzip", "DMTCP", "#d95f02", pick);
    let with = |mut lines: Vec<Line>, pick: fn(&Peer) -> &Sample| {
        lines.extend([criu(pick), dmtcp(pick)].into_iter().flatten());
        lines
    };
    let plots = [
        (
            "stop.svg",
            "How long the program stands still",
            "MiB of memory",
            with(
                vec![
                    sizes("ckpt", OURS, false, |s| &s.stop),
                    sizes("limit: fork(2)", LIMIT, true, |s| &s.fork),
                ],
                |peer| &peer.pause,
            ),
        ),
        (
            "restart.svg",
            "From the restart command to the program's next instruction",
            "MiB of memory",
            with(
                vec![
                    sizes("ckpt", OURS, false, |s| &s.restart),
                    sizes("ckpt, one CPU", SECOND, false, |s| &s.alone),
                    sizes("ckpt --lazy", THIRD, false, |s| &s.lazy),
                    sizes("limit: read(2)", LIMIT, true, |s| &s.read),
                ],
                |peer| &peer.restart,
            ),
        ),
        (
            "image.svg",
            "From the signal to the image under its name (tmpfs)",
            "MiB of memory",
            vec![
                sizes("ckpt", OURS, false, |s| &s.image),
                sizes("limit: write(2)", LIMIT, true, |s| &s.write),
            ],
        ),
        (
            "regions.svg",
            "A program with many regions of one page",
            "regions",
            vec![
                regions("stop", OURS, false, |s| &s.stop),
                regions("signal to image", SECOND, false, |s| &s.image),
                regions("restart", THIRD, false, |s| &s.restart),
                regions("limit: fork(2)", LIMIT, true, |s| &s.fork),
            ],
        ),
    ];
    let drawn = plots.into_iter().filter(|(_, _, _, lines)| lines.iter().all(|line| !line.points.is_empty()));
    drawn.map(|(file, title, axis, lines)| (file, draw(title, axis, &lines))).collect()
}

fn draw(title: &str, axis: &str, lines: &[Line]) -> String {
    let all = || lines.iter().flat_map(|line| &line.points);
    let x = Axis::over(all().map(|(x, _)| *x), LEFT, WIDTH - RIGHT);
    let y = Axis::over(all().map(|(_, y)| *y), HEIGHT - BOTTOM, TOP);
    let mut svg = String::new();
    let _ = write!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"22\" font-size=\"15\">{title}</text>\n"
    );
    for tick in x.ticks() {
        let at = x.place(tick);
        let (top, bottom) = (TOP, HEIGHT - BOTTOM);
        let _ = writeln!(
            svg,
            "<line x1=\"{at:.1}\" y1=\"{top}\" x2=\"{at:.1}\" y2=\"{bottom}\" stroke=\"#e5e5e5\"/>\
             <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{tick}</text>",
            bottom + 18.0
        );
    }
    for tick in y.ticks() {
        let at = y.place(tick);
        let right = WIDTH - RIGHT;
        let _ = writeln!(
            svg,
            "<line x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{right}\" y2=\"{at:.1}\" stroke=\"#e5e5e5\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{tick} ms</text>",
            LEFT - 6.0,
            at + 4.0
        );
    }
    let middle = (LEFT + WIDTH - RIGHT) / 2.0;
    let _ =
        writeln!(svg, "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{axis}</text>", HEIGHT - 10.0);
    let mut labels: Vec<f64> = Vec::new();
    for line in lines {
        let places: Vec<String> =
            line.points.iter().map(|(px, py)| format!("{:.1},{:.1}", x.place(*px), y.place(*py))).collect();
        let dash = if line.dashed { " stroke-dasharray=\"6 4\"" } else { "" };
        let Line { label, colour, .. } = line;
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"{dash}/>",
            places.join(" ")
        );
        for (px, py) in &line.points {
            let _ = write!(
                svg,
                "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"2.5\" fill=\"{colour}\"/>",
                x.place(*px),
                y.place(*py)
            );
        }
        let last = line.points.last().map_or(TOP, |(_, py)| y.place(*py));
        // A label stands at the end of its line, but not on another label.
        let mut at = last + 4.0;
        while labels.iter().any(|taken| (taken - at).abs() < 14.0) {
            at += 1.0;
        }
        labels.push(at);
        let _ = writeln!(
            svg,
            "\n<text x=\"{}\" y=\"{at:.1}\" fill=\"{colour}\">{label}</text>",
            WIDTH - RIGHT + 8.0
        );
    }
    svg + "</svg>\n"
}

/// A logarithmic axis from one power of ten to another.
struct Axis {
    low: i32,
    high: i32,
    from: f64,
    to: f64,
}

impl Axis {
    fn over(values: impl Iterator<Item = f64> + Clone, from: f64, to: f64) -> Self {
        let least = values.clone().fold(f64::INFINITY, f64::min).max(1e-3);
        let most = values.fold(0.0, f64::max).max(least);
        let low = least.log10().floor() as i32;
        Self { low, high: (most.log10().ceil() as i32).max(low + 1), from, to }
    }

    fn place(&self, value: f64) -> f64 {
        let part = (value.max(1e-3).log10() - f64::from(self.low)) / f64::from(self.high - self.low);
        self.from + part * (self.to - self.from)
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        (self.low..=self.high).map(|power| 10f64.powi(power))
    }
}
