//! What a test runs: a victim of ours, or a program of the distribution.

use crate::artifact::root;
use nix::fcntl::{Flock, FlockArg};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

/// Name of a tool and of the Debian package that has it, for the message when it is missing.
const PACKAGES: &[(&str, &str)] = &[
    ("btrfs", "btrfs-progs"),
    ("eu-readelf", "elfutils"),
    ("lua5.4", "lua5.4"),
    ("mkfs.btrfs", "btrfs-progs"),
    ("mkfs.ext4", "e2fsprogs"),
    ("musl-gcc", "musl-tools"),
    ("nm", "binutils"),
    ("objdump", "binutils"),
    ("readelf", "binutils"),
    ("setcap", "libcap2-bin"),
    ("setpriv", "util-linux"),
    ("su", "util-linux"),
    ("vim.basic", "vim"),
    ("groff", "groff-base"),
    ("go", "golang-go"),
    ("java", "openjdk-17-jdk-headless"),
    ("node", "nodejs"),
    ("pkg-config", "pkgconf"),
    ("redis-cli", "redis-tools"),
    ("script", "bsdutils"),
    ("systemd-analyze", "systemd"),
    ("umount", "mount"),
    ("unshare", "util-linux"),
    ("xz", "xz-utils"),
];

/// A program with its arguments and how to run it.
#[derive(Clone, Debug)]
pub struct Program {
    /// The executable.
    pub file: PathBuf,
    /// Its arguments, without its name.
    pub args: Vec<OsString>,
    /// Environment beside `LD_PRELOAD`, `PATH` and the locale.
    pub env: Vec<(OsString, OsString)>,
    /// Whether `libckpt.so` is preloaded.
    pub preload: bool,
    /// Whether saves are made by entering it (`ckpt save`).
    pub entered: bool,
    /// Other libraries to preload, behind ours.
    pub libraries: Vec<PathBuf>,
    /// A file of the working directory to be standard input; else `/dev/null`.
    pub input: Option<PathBuf>,
    /// Whether to copy the executable to the working directory and run it as `./NAME`.
    pub copied: bool,
}

impl Program {
    /// The victim `tests/victims/NAME.c`, `.cc` or `.S`, compiled unless that was done before. The working directory gets a copy,
    /// so that every user can run it, and may delete it.
    ///
    /// A line `build: COMMAND` in the source is how: the default is `gcc -O2`.
    pub fn victim(name: &str) -> Self {
        Self { copied: true, ..Self::at(compiled(name)) }
    }

    /// The ordinary program `tests/programs/SOURCE`, compiled as `how` says.
    pub fn compiled(source: &str, how: &str) -> Self {
        Self { copied: true, ..Self::at(compile(&root().join("tests/programs").join(source), how)) }
    }

    /// A program of the distribution, looked up where Debian installs it: `PATH` may begin with other versions.
    pub fn tool(name: &str) -> Self {
        Self::at(tool(name))
    }

    /// The executable at a path.
    pub fn at(file: PathBuf) -> Self {
        Self {
            file,
            args: vec![],
            env: vec![],
            preload: true,
            entered: false,
            libraries: vec![],
            input: None,
            copied: false,
        }
    }

    /// One more argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().into());
        self
    }

    /// More arguments.
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().into()));
        self
    }

    /// One more variable of the environment.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.into(), value.as_ref().into()));
        self
    }

    /// One more library to preload: a file of the multiarch directory of Debian. Panics with the name of its package when it is not there.
    #[track_caller]
    pub fn library(mut self, name: &str, package: &str) -> Self {
        let file = Path::new("/usr/lib/x86_64-linux-gnu").join(name);
        assert!(
            file.exists(),
            "this test needs {name}: apt-get install {package} (tests/setup installs all of them)"
        );
        self.libraries.push(file);
        self
    }

    /// Standard input from a file of the working directory.
    pub fn input(mut self, file: impl Into<PathBuf>) -> Self {
        self.input = Some(file.into());
        self
    }

    /// As it would run if the checkpointer did not exist; `ckpt save` enters it.
    pub fn entered(self) -> Self {
        Self { entered: true, ..self.without_preload() }
    }

    /// As it would run if the checkpointer did not exist.
    pub fn without_preload(mut self) -> Self {
        self.preload = false;
        self
    }
}

/// Where a tool is. Panics with the name of the package when it is not installed.
#[track_caller]
pub fn tool(name: &str) -> PathBuf {
    let found = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"]
        .iter()
        .map(|dir| Path::new(dir).join(name))
        .find(|f| f.exists());
    found.unwrap_or_else(|| {
        let package = PACKAGES.iter().find(|(tool, _)| *tool == name).map_or(name, |(_, package)| package);
        panic!("this test needs {name}: apt-get install {package} (tests/setup installs all of them)")
    })
}

/// Names of all victims.
pub fn victims() -> Vec<String> {
    let entries = fs::read_dir(root().join("tests/victims")).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|file| file.extension().is_some_and(|kind| kind != "h"))
        .map(|file| file.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Compiles a victim and returns the executable.
#[track_caller]
pub fn compiled(name: &str) -> PathBuf {
    let folder = root().join("tests/victims");
    let source =
        ["c", "cc", "S"].iter().map(|kind| folder.join(format!("{name}.{kind}"))).find(|f| f.exists());
    let source = source.unwrap_or_else(|| panic!("no victim {name} in {}", folder.display()));
    let text = fs::read_to_string(&source).unwrap();
    let how = text.lines().find_map(|line| line.split_once("build: ")).map_or("gcc -O2", |(_, how)| how);
    compile(&source, how.trim_end_matches("*/"))
}

/// When a source, or what it includes of the files beside it, was last changed.
fn changed(source: &Path) -> Option<SystemTime> {
    let text = fs::read_to_string(source).ok()?;
    let included = text.lines().filter_map(|line| line.strip_prefix("#include \"")?.strip_suffix('"'));
    let own = fs::metadata(source).and_then(|file| file.modified()).ok();
    included.filter_map(|name| changed(&source.with_file_name(name))).chain(own).max()
}

/// Compiles a source as `how` says, and returns the executable, or the one compiled before in the same way if nothing of the source has changed.
#[track_caller]
fn compile(source: &Path, how: &str) -> PathBuf {
    // Each way has a folder of its own, named after it: several tests compile the same source, each in its way.
    let words: Vec<_> = how.split_whitespace().map(|word| word.replace('/', "%")).collect();
    let folder = root().join("target/victims").join(words.join("~"));
    fs::create_dir_all(&folder).unwrap();
    let name = source.file_stem().unwrap().to_str().unwrap();
    let done = folder.join(name);

    // Tests of other processes may want the same one at the same time.
    let lock = File::create(folder.join(format!(".{name}.lock"))).unwrap();
    let _lock = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, errno)| errno).unwrap();
    let compiled = fs::metadata(&done).and_then(|file| file.modified()).ok();
    if compiled > changed(source) {
        return done;
    }

    let mut words = how.split_whitespace();
    let fresh = folder.join(format!(".{name}.new"));
    let compiler = tool(words.next().unwrap());
    // Libraries come behind what needs them.
    let (before, after): (Vec<&str>, Vec<&str>) = words.partition(|word| !word.starts_with("-l"));
    let mut command = Command::new(&compiler);
    let warnings: &[&str] =
        if compiler.ends_with("go") { &[] } else { &["-g", "-Wall", "-Wextra", "-Werror"] };
    // For Go, `build` comes first.
    command.args(before).args(warnings);
    let output = command.arg("-o").args([&fresh, source]).args(after).output().unwrap();
    assert!(
        output.status.success(),
        "{how} {}:\n{}",
        source.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    fs::rename(&fresh, &done).unwrap();
    done
}
