//! Looking into images.

use super::Ckpt;
use harness::{Program, User, tool};
use serde_json::Value;
use std::fs;
use std::process::Command;

#[test]
fn show_tells_what_the_kernel_told_of_the_process() {
    let ckpt = Ckpt::new(User::ordinary());
    let mut sleeper = ckpt.sleeper();
    let (maps, fds) = (sleeper.proc("maps"), sleeper.descriptors());
    let image = sleeper.save();
    let all = ckpt.json(["show", "--json", "myckpt"]);
    let summary = &all["summary"];
    assert_eq!(summary["pid"], sleeper.pid());
    assert_eq!(summary["command"], serde_json::json!([tool("sleep"), "1000"]));
    assert_eq!(summary["exe"], fs::canonicalize(tool("sleep")).unwrap().to_str().unwrap());
    assert_eq!(summary["cwd"], ckpt.place.cwd().to_str().unwrap());
    assert_eq!((&summary["bytes"], &summary["generation"]), (&image.len().into(), &1.into()));
    assert_eq!((&summary["signal"], &summary["threads"]), (&"SIGUSR2".into(), &1.into()));

    let shown: Vec<_> = all["maps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|map| {
            let text = |key: &str| map[key].as_str().unwrap().trim_start_matches("0x").to_owned();
            (format!("{}-{}", text("start"), text("end")), text("protection"))
        })
        .collect();
    let of_kernel: Vec<_> = maps
        .lines()
        .filter(|line| !line.ends_with("[vsyscall]"))
        .map(|line| {
            let mut words = line.split_whitespace();
            let range = words
                .next()
                .unwrap()
                .split('-')
                .map(|part| part.trim_start_matches('0'))
                .collect::<Vec<_>>()
                .join("-");
            (range, words.next().unwrap().to_owned())
        })
        .collect();
    assert_eq!(shown, of_kernel);

    let shown: Vec<_> = all["fds"]
        .as_array()
        .unwrap()
        .iter()
        .map(|fd| (fd["fd"].as_u64().unwrap() as u32, fd["name"].as_str().unwrap().to_owned()))
        .collect();
    assert_eq!(shown, fds);
    assert_eq!(all["threads"][0]["name"], "sleep");
}

#[test]
fn show_prints_the_sections_that_were_asked_for() {
    let ckpt = Ckpt::new(User::Myself);
    ckpt.image();
    let summary = ckpt.shows(["show", "myckpt"]);
    assert!(
        summary.starts_with("image       myckpt, ")
            && summary.contains("\ncommand     /usr/bin/sleep 1000\n"),
        "{summary}"
    );
    let maps = ckpt.shows(["show", "--maps", "myckpt"]);
    assert!(maps.starts_with("ADDRESSES ") && maps.contains("[stack]") && !maps.contains("OFFSET"), "{maps}");
    let both = ckpt.shows(["show", "--fds", "--regs", "myckpt"]);
    assert!(both.contains("/dev/null") && both.contains("  rip     0000"), "{both}");
    let paths = ckpt.shows(["show", "--paths", "myckpt"]);
    let has = |what: &str, path: &str| {
        paths.lines().any(|line| {
            line.ends_with(&format!(" {path}")) && line.split_whitespace().any(|word| word == what)
        })
    };
    let cwd = ckpt.place.cwd();
    assert!(
        has("cwd", cwd.to_str().unwrap()) && has("executable", "/usr/bin/sleep") && has("0", "/dev/null"),
        "{paths}"
    );
    let notes = ckpt.shows(["show", "--notes", "myckpt"]);
    assert!(notes.contains("NT_PRSTATUS") && notes.contains("\nCKPT   HEAD "), "{notes}");
    let json = ckpt.json(["show", "--json", "--fds", "myckpt"]);
    assert_eq!(json.as_object().unwrap().keys().collect::<Vec<_>>(), ["fds"]);
}

#[test]
fn registers_are_those_that_gdb_shows() {
    let ckpt = Ckpt::new(User::Myself);
    let image = ckpt.image();
    let json = ckpt.json(["show", "--json", "--regs", "myckpt"]);
    let output = Command::new(tool("gdb"))
        .args(["-nx", "-batch", "-ex", "info registers rax rsp rip rbp fs_base eflags"])
        .arg(tool("sleep"))
        .arg(&image.path)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    for name in ["rax", "rsp", "rip", "rbp", "fs_base", "eflags"] {
        let line = text
            .lines()
            .find(|line| line.split_whitespace().next() == Some(name))
            .unwrap_or_else(|| panic!("{text}"));
        assert_eq!(line.split_whitespace().nth(1), json["threads"][0]["registers"][name].as_str(), "{name}");
    }
}

#[test]
fn colours_are_for_terminals_that_want_them() {
    let ckpt = Ckpt::new(User::Myself);
    ckpt.image();
    assert!(!ckpt.shows(["show", "myckpt"]).contains('\x1b'));
    let on_terminal = |variable: &str| {
        let mut command = Command::new(tool("script"));
        let shown = format!("{} show myckpt", ckpt.place.artifact(harness::Artifact::Command).display());
        command.args(["-qec", &shown, "/dev/null"]).current_dir(ckpt.place.cwd()).env_remove("NO_COLOR");
        command.env("TERM", "xterm").env(variable, "1");
        String::from_utf8_lossy(&command.output().unwrap().stdout).into_owned()
    };
    assert!(on_terminal("NOTHING").contains("\x1b[1m"));
    assert!(!on_terminal("NO_COLOR").contains("\x1b["));
}

#[test]
fn every_damaged_byte_is_found_and_named() {
    let ckpt = Ckpt::new(User::ordinary());
    let image = ckpt.image();
    let whole = fs::read(&image.path).unwrap();
    assert!(ckpt.shows(["verify", "myckpt"]).starts_with("myckpt: whole: "));
    let step = whole.len() / 40;
    for at in (0..whole.len()).step_by(step).chain([whole.len() - 1]) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        ckpt.place.write("flipped", &bytes);
        let said = ckpt.say(["verify", "flipped"]);
        assert!([65, 67, 68, 69, 71].contains(&said.code), "byte {at}: {said:?}");
        assert!(said.out.is_empty() && said.err.lines().count() == 1, "byte {at}: {said:?}");
    }
    // In the middle there is page data: whose it is, is said.
    let mut bytes = whole.clone();
    bytes[whole.len() / 2] ^= 1;
    ckpt.place.write("flipped", &bytes);
    let said = ckpt.say(["verify", "flipped", "myckpt"]);
    assert_eq!(said.code, 71);
    assert!(said.err.contains("memory of /") && said.out.starts_with("myckpt: whole"), "{said:?}");

    let told = ckpt.say(["verify", "--json", "flipped", "myckpt"]);
    assert_eq!((told.code, &told.err), (71, &said.err));
    let found: serde_json::Value = serde_json::from_str(&told.out).unwrap();
    let error = found[0]["error"].as_str().unwrap();
    assert!(
        said.err == format!("ckpt: {error}\n") && found[0]["code"] == 71 && found[0]["whole"] == false,
        "{found}"
    );
    assert_eq!((&found[1]["image"], &found[1]["whole"]), (&"myckpt".into(), &true.into()), "{found}");
    assert_eq!(
        (&found[1]["bytes"], &found[1]["error"]),
        (&whole.len().into(), &serde_json::Value::Null),
        "{found}"
    );
    assert!(found[1]["chunks"].as_u64() > Some(0) && found.as_array().unwrap().len() == 2, "{found}");
}

#[test]
fn what_is_no_image_has_its_own_code() {
    let ckpt = Ckpt::new(User::ordinary());
    let image = ckpt.image();
    let whole = fs::read(&image.path).unwrap();
    ckpt.place.write("empty", b"");
    ckpt.place.write("text", b"hello\n");
    ckpt.place.write("short", &whole[..whole.len() - 1]);
    ckpt.place.write("long", &[&whole[..], b"x"].concat());
    let mut newer = whole.clone();
    let head = newer.windows(5).position(|w| w == b"CKPT\0").unwrap() + 8;
    newer[head] = 9;
    ckpt.place.write("newer", &newer);
    nix::unistd::mkfifo(&ckpt.place.file("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    ckpt.place.own(&ckpt.place.file("fifo"));
    let cases = [
        ("nothing", 66),
        ("empty", 65),
        ("text", 65),
        ("/bin/sh", 65),
        (".", 81),
        ("fifo", 81),
        ("/dev/null", 81),
        ("short", 69),
        ("long", 71),
        ("newer", 68),
    ];
    for (name, code) in cases {
        for command in ["show", "verify"] {
            let said = ckpt.say([command, name]);
            assert_eq!((said.code, said.out.as_str()), (code, ""), "{command} {name}: {said:?}");
            assert!(
                said.err.starts_with(&format!("ckpt: {name}: ")) && said.err.lines().count() == 1,
                "{said:?}"
            );
        }
    }
}

#[test]
fn diff_finds_the_pages_and_descriptors_that_changed() {
    let ckpt = Ckpt::new(User::Myself);
    let script = "
import mmap, sys
# Of a file, so that the kernel makes it no part of another region.
with open('pages', 'w+b') as file:
    file.truncate(64 * 4096)
    memory = mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE)
for i in range(64): memory[i * 4096] = 1
more = open('/dev/zero')
print('ready', flush=True)
sys.stdin.readline()
for i in range(0, 64, 2): memory[i * 4096 + 7] = 9
more.close()
new = open('/etc/passwd'); new.seek(10)
print('ready', flush=True)
sys.stdin.readline()";
    let mut command = ckpt.place.command_for(&Program::tool("python3").args(["-c", script]));
    command.stdin(std::process::Stdio::piped());
    command.stdout(ckpt.place.output("out")).stderr(ckpt.place.output("err"));
    let (read, write) = nix::unistd::pipe().unwrap();
    command.stdin(read);
    let mut process = harness::Process::spawn(&ckpt.place, command);
    process.ready();
    process.save().copy("first");
    nix::unistd::write(&write, b"\n").unwrap();
    process.ready();
    process.save();

    let same = ckpt.say(["diff", "first", "first"]);
    assert_eq!((same.code, same.out.as_str()), (0, ""));
    let differ = ckpt.say(["diff", "--json", "first", "myckpt"]);
    assert_eq!(differ.code, 1);
    let json: Value = serde_json::from_str(&differ.out).unwrap();
    let regions = json["regions"].as_array().unwrap();
    assert!(regions.iter().any(|region| region["pages"] == 32), "{json}");
    let changes = json["descriptors"].as_array().unwrap();
    let closed =
        changes.iter().find(|change| change["a"]["name"] == "/dev/zero").unwrap_or_else(|| panic!("{json}"));
    assert_eq!(closed["b"]["name"], "/etc/passwd");
    let text = ckpt.say(["diff", "first", "myckpt"]);
    assert!(text.out.contains("32 of ") && text.out.contains("/dev/zero -> file /etc/passwd"), "{text:?}");
    assert_eq!(ckpt.say(["diff", "--quiet", "first", "myckpt"]).out, "");
}

#[test]
fn ls_lists_images_and_what_is_wrong_with_them() {
    let ckpt = Ckpt::new(User::ordinary());
    let image = ckpt.image();
    let whole = fs::read(&image.path).unwrap();
    ckpt.place.write("cut", &whole[..100_000]);
    ckpt.place.write("text", b"hello\n");
    let text = ckpt.shows(["ls"]);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(lines[1].contains("cut") && lines[1].contains("(the image is cut short: 98 KiB of "), "{text}");
    assert!(lines[2].ends_with("myckpt  /usr/bin/sleep 1000"), "{text}");
    let json = ckpt.json(["ls", "--json", ckpt.place.cwd().to_str().unwrap()]);
    assert_eq!(json[1]["image"]["name"], "sleep");
    assert_eq!(ckpt.say(["ls", "/nowhere"]).code, 66);
}

#[test]
fn extract_gives_files_and_regions_back() {
    let ckpt = Ckpt::new(User::ordinary());
    let mut process = ckpt.place.start(&Program::victim("registers"));
    process.ready();
    process.save();
    ckpt.shows(["extract", "myckpt", "--exe", "-o", "exe"]);
    let (original, extracted) = (ckpt.place.read("registers"), ckpt.place.read("exe"));
    let readelf = |name: &str| {
        let output = Command::new(tool("readelf")).arg("-Wl").arg(ckpt.place.file(name)).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let segments =
        |text: &str| text.lines().filter(|line| line.contains("LOAD")).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(segments(&readelf("exe")), segments(&readelf("registers")));
    // Text is what it was, byte for byte.
    let text = readelf("registers");
    let text = text.lines().find(|line| line.contains("LOAD") && line.contains("R E")).unwrap();
    let number = |at: usize| {
        usize::from_str_radix(text.split_whitespace().nth(at).unwrap().trim_start_matches("0x"), 16).unwrap()
    };
    let range = number(1)..number(1) + number(4);
    assert_eq!(extracted[range.clone()], original[range]);
    let dynamic = Command::new(tool("readelf")).arg("-Wd").arg(ckpt.place.file("exe")).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&dynamic.stderr), "");
    assert!(String::from_utf8_lossy(&dynamic.stdout).contains("Shared library: [libc.so.6]"));

    let stack = ["extract", "myckpt", "--region", "[stack]", "-o", "-"];
    let stack = ckpt.command_as(User::ordinary(), stack).output().unwrap();
    assert!(stack.status.success());
    let name = ckpt.place.artifact(harness::Artifact::Library);
    let holds = |bytes: &[u8], word: &[u8]| bytes.windows(word.len()).any(|window| window == word);
    assert!(holds(&stack.stdout, format!("LD_PRELOAD={}", name.display()).as_bytes()));
    assert_eq!(ckpt.say(["extract", "myckpt", "--region", "0x10", "-o", "x"]).code, 94);
    assert_eq!(ckpt.say(["extract", "myckpt", "--file", "/no/such", "-o", "x"]).code, 94);
    assert_eq!(ckpt.say(["extract", "myckpt", "-o", "x"]).code, 64);
}

#[test]
fn gdb_shows_every_thread_with_its_name() {
    let ckpt = Ckpt::new(User::Myself);
    let mut process = ckpt.place.start(&Program::victim("threads"));
    process.ready();
    process.save();
    let options = ["-nx", "-batch", "-ex", "info threads", "-ex", "thread apply all -q bt"];
    let output = ckpt.command_as(User::Myself, ["gdb", "myckpt", "--"]).args(options).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let lines = |part: &str| text.lines().filter(|line| line.contains(part)).count();
    for number in 0..8 {
        let name = format!("\"victim-{number}\"");
        assert_eq!(lines(&name), 1, "{name} in:\n{text}");
    }
    assert_eq!(lines("\"threads\""), 1, "{text}");
    let frames = |function: &str| {
        text.lines().filter(|line| line.starts_with('#') && line.contains(&format!(" {function} ("))).count()
    };
    assert_eq!((frames("work"), frames("main")), (8, 1), "{text}");
    process.passes();
}

#[test]
fn gdb_gets_the_executable_of_the_image_when_it_is_gone() {
    let ckpt = Ckpt::new(User::Myself);
    let mut process = ckpt.place.start(&Program { copied: true, ..Program::tool("sleep").arg("1000") });
    process.until("its wait", |process| process.proc("wchan").contains("nanosleep"));
    process.save();
    let backtrace = || {
        let mut command =
            ckpt.command_as(User::Myself, ["gdb", "myckpt", "--", "-nx", "-batch", "-ex", "bt"]);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let with_symbols = backtrace();
    assert!(with_symbols.contains("in __libc_start_call_main "), "{with_symbols}");
    fs::remove_file(ckpt.place.file("sleep")).unwrap();
    let without = backtrace();
    assert!(without.contains("in __GI___nanosleep "), "{without}");
}
