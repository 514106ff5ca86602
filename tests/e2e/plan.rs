//! `myrestart --plan` says what a restart does, in strace's own words.

use harness::{Place, Program, User, tool, wait};

/// A call without its result, and without what is in structs and arrays: the plan does not spell those out.
fn call(line: &str) -> String {
    let line = line.rsplit_once(" = ").map_or(line, |(call, _)| call).trim_end();
    let mut depth = 0;
    let mut quoted = false;
    let mut escaped = false;
    let mut out = String::new();
    for c in line.chars() {
        if quoted {
            quoted = escaped || c != '"';
            escaped = !escaped && c == '\\';
        } else if c == '"' {
            quoted = true;
        } else if c == '{' || c == '[' {
            depth += 1;
            if depth == 1 {
                out.push(c);
            }
            continue;
        } else if c == '}' || c == ']' {
            depth -= 1;
        }
        if depth == 0 {
            out.push(c);
        }
    }
    out
}

#[test]
fn strace_of_a_restart_shows_the_lines_of_the_plan_in_order() {
    let place = Place::new(User::ordinary());
    let mut process = place.start(&Program::victim("files"));
    process.ready();
    let image = process.save();
    process.kill();
    // The plan depends on where the kernel has put myrestart's own stack and vdso: both times at the same place.
    let fixed = |inner: std::process::Command| {
        let mut command = place.command(&tool("setarch"));
        command.arg("-R").arg(inner.get_program()).args(inner.get_args());
        command.stdout(place.output("restart.out")).stderr(place.output("restart.err"));
        command
    };
    let status = fixed(image.command(["--plan", "--jobs=1"])).status().unwrap();
    assert!(status.success(), "{}", place.text("restart.err"));
    let plan = place.text("restart.out");

    let mut traced = place.command(&tool("strace"));
    traced
        .args(["-f", "-s", "4096", "-o", "trace"])
        .arg(image.command([""; 0]).get_program())
        .args(["--jobs=1", "myckpt"]);
    let mut restart = fixed(traced).spawn().unwrap();
    let text = wait(|| Some(place.text("trace")).filter(|text| text.contains("rt_sigreturn(")))
        .expect("no restart in the trace");
    place.release_all();
    restart.wait().unwrap();

    let trace: Vec<String> = text
        .lines()
        .map(|line| call(line.split_once(' ').map_or(line, |(_, rest)| rest.trim_start())))
        .collect();
    let mut from = 0;
    let mut count = 0;
    for line in plan.lines().filter(|line| line.contains('(')) {
        let wanted = call(line);
        let at = trace[from..].iter().position(|seen| *seen == wanted);
        let Some(at) = at else {
            panic!("the trace does not show\n{wanted}\nbehind line {from}:\n{}", trace[from..].join("\n"));
        };
        from += at + 1;
        count += 1;
    }
    assert!(count > 80, "only {count} calls in the plan:\n{plan}");
}
