//! What `make install` puts where: the C interface, pkg-config, the hand-written manual pages.

use super::Ckpt;
use harness::{Artifact, Process, User, root, tool};
use std::fs;
use std::path::Path;
use std::process::Command;

/// What ckpt_checkpoint returned, and how many restarts there were before and after.
const PROGRAM: &str = r#"
#include <ckpt.h>
#include <stdio.h>
int main(void)
{
    if (!ckpt_is_loaded()) {
        puts("not loaded");
        return 2;
    }
    unsigned int before = ckpt_restarts();
    int result = ckpt_checkpoint();
    printf("%d %u %u\n", result, before, ckpt_restarts());
    return 0;
}
"#;

/// Compiles [`PROGRAM`].
#[track_caller]
fn compile(ckpt: &Ckpt, compiler: &str, options: &[String]) {
    ckpt.place.write("program.c", PROGRAM.as_bytes());
    let mut command = Command::new(tool(compiler));
    command.current_dir(ckpt.place.cwd()).args(["-Wall", "-Wextra", "-Werror", "-o", "program", "program.c"]);
    let output =
        command.arg(format!("-I{}", root().join("include").display())).args(options).output().unwrap();
    assert!(output.status.success(), "{compiler}: {}", String::from_utf8_lossy(&output.stderr));
    ckpt.place.own(&ckpt.place.file("program"));
}

/// Runs a command of the place with its output in a file of its own; what it wrote.
#[track_caller]
fn output_of(ckpt: &Ckpt, mut command: Command, name: &str) -> String {
    command.stdout(ckpt.place.output(name)).stderr(ckpt.place.output("err"));
    Process::spawn(&ckpt.place, command).finish();
    assert_eq!(ckpt.place.text("err"), "");
    ckpt.place.text(name)
}

#[test]
fn a_program_saves_itself_if_the_library_is_there() {
    let ways = [
        ("gcc", vec![]),
        ("gcc", vec!["-no-pie"]),
        ("g++", vec!["-x", "c++"]),
        ("musl-gcc", vec![]),
        ("gcc", vec!["-static"]),
    ];
    for (compiler, options) in ways {
        let ckpt = Ckpt::new(User::ordinary());
        compile(&ckpt, compiler, &options.iter().map(|option| (*option).to_owned()).collect::<Vec<_>>());
        let program = ckpt.place.file("program");
        assert_eq!(output_of(&ckpt, ckpt.place.command(&program), "alone"), "not loaded\n");
        if options == ["-static"] {
            continue;
        }
        let run = ckpt.command_as(ckpt.place.user, ["run", "./program"]);
        assert_eq!(output_of(&ckpt, run, "out"), "0 0 0\n", "{compiler} {options:?}");
        for (name, expected) in [("second", "1 0 1\n"), ("third", "1 0 1\n")] {
            // Output goes on where it was: in the file that the program had open.
            ckpt.place.write("out", b"");
            let restart = ckpt.command_as(ckpt.place.user, ["restart", "myckpt"]);
            assert_eq!(output_of(&ckpt, restart, name), "");
            assert_eq!(ckpt.place.text("out"), expected, "{compiler} {options:?}");
        }
        assert!(ckpt.shows(["show", "myckpt"]).contains(", by call, save number 1\n"));
    }
}

#[test]
fn a_program_that_is_linked_with_the_library_needs_no_preload() {
    let ckpt = Ckpt::new(User::Myself);
    let folder = ckpt.place.artifact(Artifact::Library).parent().unwrap().display().to_string();
    let linked = ["-Wl,--push-state,--no-as-needed", "-lckpt", "-Wl,--pop-state"].map(str::to_owned);
    let options = [vec![format!("-L{folder}"), format!("-Wl,-rpath,{folder}")], linked.to_vec()].concat();
    compile(&ckpt, "gcc", &options);
    let program = ckpt.place.file("program");
    assert_eq!(output_of(&ckpt, ckpt.place.command(&program), "out"), "0 0 0\n");
}

/// `make install` without the build.
fn install(ckpt: &Ckpt) -> std::path::PathBuf {
    let to = ckpt.place.file("root");
    let build = Artifact::Command.path();
    let output = Command::new(root().join("packaging/install"))
        .arg(build.parent().unwrap())
        .args([to.to_str().unwrap(), "/opt/ckpt", "/opt/ckpt/lib"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    to
}

#[test]
fn what_is_installed_works_where_it_is() {
    let ckpt = Ckpt::new(User::Myself);
    let to = install(&ckpt);
    let output = Command::new(to.join("opt/ckpt/bin/ckpt")).args(["doctor", "--json"]).output().unwrap();
    let findings = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && findings.contains("/opt/ckpt/lib/libckpt.so"), "{findings}");

    let pkg_config = |option: &str| {
        let mut command = Command::new(tool("pkg-config"));
        command.env("PKG_CONFIG_PATH", to.join("opt/ckpt/lib/pkgconfig")).args([option, "ckpt"]);
        String::from_utf8(command.output().unwrap().stdout).unwrap().trim().to_owned()
    };
    assert_eq!(pkg_config("--cflags"), "-I/opt/ckpt/include");
    assert!(pkg_config("--libs").starts_with("-L/opt/ckpt/lib ") && pkg_config("--libs").contains("-lckpt"));
    assert_eq!(pkg_config("--modversion"), env!("CARGO_PKG_VERSION"));
    for page in [
        "man1/ckpt.1",
        "man1/ckpt-run.1",
        "man1/myrestart.1",
        "man3/ckpt_checkpoint.3",
        "man5/ckpt-image.5",
        "man7/libckpt.7",
    ] {
        assert!(to.join("opt/ckpt/share/man").join(page).is_file(), "{page}");
    }
}

/// The hand-written pages.
fn page(name: &str) -> String {
    fs::read_to_string(root().join("docs/man").join(name)).unwrap()
}

#[test]
fn the_manual_of_myrestart_has_what_its_help_has() {
    let output = Command::new(Artifact::Restarter.path()).arg("--help").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let manual = page("myrestart.1").replace('\\', "");
    let mut options = 0;
    for line in help.lines().filter(|line| line.starts_with("  --")) {
        let option = line.split_whitespace().next().unwrap().split('=').next().unwrap();
        assert!(manual.contains(option), "{option} is not in myrestart(1)");
        options += 1;
    }
    assert!(options >= 5, "{help}");
    let mut codes = 0;
    for code in
        help.split_whitespace().filter(|word| word.len() == 2 && word.parse::<u32>().is_ok_and(|n| n >= 64))
    {
        assert!(
            manual.lines().any(|line| line.starts_with(&format!("{code}@"))),
            "{code} is not in myrestart(1)"
        );
        codes += 1;
    }
    assert!(codes >= 20, "{help}");
}

#[test]
fn the_manual_of_the_library_has_its_variables() {
    let source = fs::read_to_string(root().join("src/preload/config.rs")).unwrap();
    let names: Vec<_> = source
        .split("strip_prefix(b\"")
        .skip(1)
        .filter_map(|rest| rest.split_once("=\""))
        .map(|(name, _)| name)
        // The loader's.
        .filter(|name| *name != "LD_PRELOAD")
        .collect();
    assert!(names.contains(&"IMAGE"), "{names:?}");
    for name in names {
        assert!(page("libckpt.7").contains(&format!(".B CKPT_{name}\n")), "CKPT_{name} is not in libckpt(7)");
    }
}

#[test]
fn hand_written_pages_are_clean() {
    let folder = root().join("docs/man");
    let pages = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let mut count = 0;
    for page in pages {
        clean(&page);
        count += 1;
    }
    assert!(count >= 4);
}

#[track_caller]
fn clean(page: &Path) {
    let output = Command::new(tool("groff"))
        .args(["-man", "-t", "-ww", "-z", "-Tutf8", "-rLL=100n"])
        .arg(page)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{}", page.display());
}
