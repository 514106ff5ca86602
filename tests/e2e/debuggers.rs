//! The image is an ELF core: the usual tools open it, and show the program, not the checkpointer.

use harness::{Image, Place, Program, User, tool};
use std::process::Command;

/// An image of `debuggee`, which is in `inner`, called by `middle`, called by `main`.
fn image() -> Image {
    let place = Place::new(User::Myself);
    let mut process = place.start(&Program::victim("debuggee"));
    process.ready();
    process.save()
}

/// What a tool writes, output and messages together.
fn says(mut command: Command) -> String {
    let output = command.env("LC_ALL", "C").env_remove("DEBUGINFOD_URLS").output().unwrap();
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// gdb's answers to commands.
fn gdb(image: &Image, commands: &[&str]) -> String {
    let mut command = Command::new(tool("gdb"));
    command.current_dir(image.place().cwd()).args(["-nx", "-batch"]);
    for text in commands {
        command.args(["-ex", text]);
    }
    says({
        command.arg("debuggee").arg(&image.path);
        command
    })
}

#[track_caller]
fn contains(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no {part:?} in:\n{text}");
    }
}

#[test]
fn gdb_shows_the_user_s_backtrace_without_warnings() {
    let image = image();
    let text = gdb(
        &image,
        &[
            "bt",
            "frame function inner",
            "p local",
            "p *where",
            "up",
            "p mine.name",
            "p global",
            "p $_siginfo.si_signo",
        ],
    );
    contains(&text, &["#0 ", " inner (depth=42, ", "#1 ", " middle (depth=41)", "#2 ", " main (argc=1, "]);
    contains(
        &text,
        &[
            "$1 = 42041",
            "{x = 41, y = -41, name = ",
            "\"mine\"",
            "{x = 3, y = 4, name = ",
            "\"the point\"",
            "$5 = 12",
        ],
    );
    let complaints =
        ["warning", "Warning", "not in executable format", "<signal handler called>", "??", "rror"];
    assert!(!complaints.iter().any(|word| text.contains(word)), "{text}");
}

#[test]
fn gdb_shows_auxv_mappings_and_libraries() {
    let image = image();
    let text = gdb(
        &image,
        &[
            "info auxv",
            "info proc mappings",
            "info sharedlibrary",
            "info symbol sin",
            "info symbol malloc",
            "info proc",
        ],
    );
    contains(&text, &["AT_SYSINFO_EHDR", "AT_PHDR", "AT_ENTRY", "AT_EXECFN"]);
    contains(
        &text,
        &["Mapped address spaces", "/cwd/debuggee", "libc.so.6", "ld-linux-x86-64.so.2", "libckpt.so"],
    );
    contains(&text, &["malloc in section .text of /lib/x86_64-linux-gnu/libc.so.6", "exe = './debuggee'"]);
    assert!(!text.contains("arning"), "{text}");
    // Every library's symbols were read.
    let libraries: Vec<_> =
        text.lines().filter(|line| line.starts_with("0x") && line.contains(".so")).collect();
    let loaded = libraries.iter().filter(|line| line.contains(" Yes ")).count();
    assert!(loaded >= 3, "{text}");
}

#[test]
fn gdb_shows_every_register() {
    let place = Place::new(User::Myself);
    let mut process = place.start(&Program::victim("registers"));
    process.ready();
    let image = process.save();
    let mut command = Command::new(tool("gdb"));
    command.current_dir(place.cwd()).args(["-nx", "-batch", "-ex", "p/x $rbx == loaded.general[1]"]);
    command.args([
        "-ex",
        "p/x $r15 == loaded.general[14]",
        "-ex",
        "p/x $mxcsr == loaded.mxcsr",
        "-ex",
        "p/x $fctrl == loaded.x87_control",
    ]);
    command.args(["-ex", "p $st0 == loaded.x87[0]", "-ex", "p $st7 == loaded.x87[7]"]);
    command.args([
        "-ex",
        "p $xmm3.v2_int64[1] == *(long *)&loaded.vector[3][8]",
        "-ex",
        "p $fs_base != 0",
        "-ex",
        "p $gs_base != 0",
    ]);
    command.args(["-ex", "p $_siginfo.si_signo == 12"]);
    let wide = std::fs::read_to_string("/proc/cpuinfo").unwrap();
    let mut count = 10;
    if wide.contains(" avx ") {
        command.args(["-ex", "p $ymm3.v4_int64[3] == *(long *)&loaded.vector[3][24]"]);
        count += 1;
    }
    if wide.contains(" avx512f ") && wide.contains(" avx512bw ") {
        command.args([
            "-ex",
            "p $zmm31.v8_int64[7] == *(long *)&loaded.vector[31][56]",
            "-ex",
            "p $k7 == loaded.mask[7]",
        ]);
        count += 2;
    }
    command.arg("registers").arg(&image.path);
    let text = says(command);
    let right = text
        .lines()
        .filter(|line| line.starts_with('$') && (line.ends_with("= 1") || line.ends_with("= 0x1")))
        .count();
    assert_eq!(right, count, "{text}");
}

#[test]
fn lldb_shows_the_user_s_backtrace() {
    let image = image();
    let mut command = Command::new(tool("lldb"));
    command.current_dir(image.place().cwd()).args([
        "--no-lldbinit",
        "--batch",
        "-o",
        "bt",
        "-o",
        "frame variable",
    ]);
    command.args(["-o", "target variable global", "--core"]).arg(&image.path).arg("debuggee");
    let text = says(command);
    contains(
        &text,
        &[
            "`inner(depth=42",
            "`middle(depth=41)",
            "`main(argc=1",
            "(int) local = 42041",
            "name = ",
            "the point",
        ],
    );
    assert!(!text.contains("error:") && !text.contains("warning:"), "{text}");
}

#[test]
fn readelf_reads_it_without_complaint() {
    let image = image();
    for (name, words) in [
        (
            "readelf",
            [
                "CORE (Core file)",
                "NT_PRSTATUS",
                "NT_PRPSINFO",
                "NT_AUXV",
                "NT_FILE",
                "NT_SIGINFO",
                "NT_X86_XSTATE",
                "NT_FPREGSET",
            ],
        ),
        (
            "eu-readelf",
            ["CORE (Core file)", "PRSTATUS", "PRPSINFO", "AUXV", "FILE", "SIGINFO", "X86_XSTATE", "FPREGSET"],
        ),
    ] {
        let mut command = Command::new(tool(name));
        command.args(["-h", "-l", "-n", "-W"]).arg(&image.path);
        if name == "eu-readelf" {
            command = Command::new(tool(name));
            command.args(["-h", "-l", "-n"]).arg(&image.path);
        }
        let output = command.env("LC_ALL", "C").output().unwrap();
        let (text, messages) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && messages.is_empty(), "{name}: {messages}");
        contains(&text, &words);
        assert!(
            !text.contains("arning") && !text.contains("rror:") && !text.contains("invalid"),
            "{name}: {text}"
        );
        // Debian's readelf cannot decode the 64-bit NT_FILE note.
        contains(&text, if name == "readelf" { &["(mapped files)"] } else { &["/debuggee", "libc.so.6"] });
    }
}
