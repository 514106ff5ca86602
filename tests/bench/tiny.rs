//! The benchmark runs, measures something for each figure, and finds every restarted process whole.

use std::process::Command;

#[test]
fn a_tiny_run_measures_every_figure() {
    let out = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
    command.arg("--tiny").arg(format!("--out={}", out.path().display()));
    command.arg(format!("--disk={}", env!("CARGO_TARGET_TMPDIR")));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = std::fs::read_to_string(out.path().join("bench.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let names: Vec<&str> =
        json["figures"].as_array().unwrap().iter().map(|figure| figure["name"].as_str().unwrap()).collect();
    for name in [
        "stop-random",
        "stop-huge",
        "stop-small",
        "image-memory",
        "image-disk",
        "restart",
        "restart-alone",
        "lazy-small",
        "lazy",
        "lazy-large",
        "size-zeros",
        "size-sparse",
        "size-alternate",
        "python-stop",
        "python-restart",
        "python-lazy",
        "many",
        "many-private",
        "writer-slowed",
        "start-up",
    ] {
        assert!(names.contains(&name), "no figure {name} in {names:?}");
    }
    for plot in ["stop.svg", "restart.svg", "image.svg", "regions.svg"] {
        let svg = std::fs::read_to_string(out.path().join(plot)).unwrap();
        assert!(svg.starts_with("<svg") && svg.contains("<polyline"), "{plot}");
    }
}
