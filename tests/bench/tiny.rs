//! The benchmark runs, measures something for each figure, and finds every restarted process whole.

use std::fs;
use std::path::Path;
use std::process::Command;

#[test]
fn a_tiny_run_measures_every_figure() {
    let out = tempfile::tempdir().unwrap();
    // Pages with every place that the real ones have.
    let pages = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    fs::create_dir(pages.path().join("docs")).unwrap();
    for name in ["README.md", "docs/performance.md"] {
        fs::copy(root.join(name), pages.path().join(name)).unwrap();
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
    command.arg("--tiny").arg(format!("--out={}", out.path().display()));
    command.arg(format!("--pages={}", pages.path().display())).arg("--note=A note.");
    command.arg(format!("--disk={}", env!("CARGO_TARGET_TMPDIR")));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = fs::read_to_string(out.path().join("bench.json")).unwrap();
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
        "foreground",
        "start-up",
    ] {
        assert!(names.contains(&name), "no figure {name} in {names:?}");
    }
    let tools = json["peers"][0]["tools"].as_array().unwrap();
    assert_eq!([&tools[0]["tool"], &tools[1]["tool"]], ["ckpt", "ckpt --lazy"]);
    for plot in ["stop.svg", "restart.svg", "image.svg", "regions.svg"] {
        let svg = fs::read_to_string(out.path().join(plot)).unwrap();
        assert!(svg.starts_with("<svg") && svg.contains("<polyline"), "{plot}");
    }
    for (name, tables) in [("README.md", 2), ("docs/performance.md", 5)] {
        let text = fs::read_to_string(pages.path().join(name)).unwrap();
        assert_eq!(text.matches("<!-- /bench:").count(), tables, "{name}");
        assert!(text.contains(" A note.") && text.contains("stop, 1 GiB of random pages"), "{name}");
    }
    assert!(pages.path().join("docs/bench/stop.svg").is_file());
}
