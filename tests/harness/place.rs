//! The directory in which a target runs.

use crate::process::ENTRY;
use crate::{Artifact, Process, Program, User};
use nix::errno::Errno;
use nix::libc;
use nix::unistd::{Gid, Uid, chown};
use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use tempfile::TempDir;

/// Two directories of one target: `bin`, with copies of the artifacts that every user can run, and `cwd`, which belongs to the
/// user. Removed when the last one who uses it is dropped, unless `CKPT_TEST_KEEP` is set.
#[derive(Clone)]
pub struct Place {
    /// Who runs the target.
    pub user: User,
    top: Arc<TempDir>,
}

impl Place {
    /// A new one: on tmpfs where there is one, else in the directory for temporary files, or in `$CKPT_TEST_DIR`.
    pub fn new(user: User) -> Self {
        let shm = Path::new("/dev/shm");
        let base = match std::env::var_os("CKPT_TEST_DIR") {
            Some(dir) => PathBuf::from(dir),
            None if shm.is_dir() => shm.to_owned(),
            None => std::env::temp_dir(),
        };
        let mut top = tempfile::Builder::new().prefix("ckpt-test-").tempdir_in(base).unwrap();
        top.disable_cleanup(std::env::var_os("CKPT_TEST_KEEP").is_some());
        fs::set_permissions(top.path(), Permissions::from_mode(0o755)).unwrap();
        let place = Self { user, top: Arc::new(top) };
        fs::create_dir(place.top.path().join("bin")).unwrap();
        fs::create_dir(place.cwd()).unwrap();
        place.own(&place.cwd());
        // One page that victims may map shared: `Process::go` writes to it.
        place.write("control", &[0; 4096]);
        place
    }

    /// A copy of an artifact that every user can run.
    #[track_caller]
    pub fn artifact(&self, artifact: Artifact) -> PathBuf {
        let copy = self.top.path().join("bin").join(artifact.name());
        if !copy.exists() {
            fs::copy(artifact.path(), &copy).unwrap();
            fs::set_permissions(&copy, Permissions::from_mode(0o755)).unwrap();
        }
        copy
    }

    /// The working directory of the target.
    pub fn cwd(&self) -> PathBuf {
        self.top.path().join("cwd")
    }

    /// A file of the working directory.
    pub fn file(&self, name: impl AsRef<Path>) -> PathBuf {
        self.cwd().join(name)
    }

    /// Contents of a file of the working directory; none when it does not exist.
    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.file(name)).unwrap_or_default()
    }

    /// [`Place::read`] as text.
    pub fn text(&self, name: &str) -> String {
        String::from_utf8_lossy(&self.read(name)).into_owned()
    }

    /// Makes a file of the working directory that belongs to the user.
    pub fn write(&self, name: &str, contents: &[u8]) {
        fs::write(self.file(name), contents).unwrap();
        self.own(&self.file(name));
    }

    /// Names in the working directory, sorted.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.cwd()).unwrap();
        let mut names: Vec<_> =
            entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// Lets a victim pass each of its waits at once.
    pub fn release_all(&self) {
        for n in 1..=9 {
            self.write(&format!("go.{n}"), b"");
        }
        self.write("control", &[1; 4096]);
    }

    /// Gives a file to the user who runs the target.
    pub fn own(&self, file: &Path) {
        if self.user != User::Myself {
            let (uid, gid) = self.user.ids();
            chown(file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))).unwrap();
        }
    }

    /// A command that runs as the user in the working directory, with an environment that does not depend on the caller's.
    pub fn command(&self, file: &Path) -> Command {
        let mut command = Command::new(file);
        command.current_dir(self.cwd()).env_clear().stdin(Stdio::null());
        command
            .env("PATH", "/usr/bin:/bin")
            .env("LC_ALL", "C.UTF-8")
            .env("HOME", self.cwd())
            .env("VICTIM_DIR", self.cwd());
        self.user.run(&mut command);
        close_descriptors(&mut command);
        command
    }

    /// Where `program` is run from: its own place, or a copy in the working directory.
    pub fn executable(&self, program: &Program) -> PathBuf {
        if !program.copied {
            return program.file.clone();
        }
        let name = program.file.file_name().unwrap();
        let copy = self.file(name);
        if !copy.exists() {
            fs::copy(&program.file, &copy).unwrap();
            self.own(&copy);
        }
        Path::new(".").join(name)
    }

    /// The command that runs `program`, with neither output nor error redirected yet.
    pub fn command_for(&self, program: &Program) -> Command {
        let file = self.executable(program);
        let mut command = self.command(&file);
        let ours = program.preload.then(|| self.artifact(Artifact::Library));
        let preloaded: Vec<_> = ours.iter().chain(&program.libraries).map(|path| path.as_os_str()).collect();
        if !preloaded.is_empty() {
            command.env("LD_PRELOAD", preloaded.join(OsStr::new(":")));
        }
        command.args(&program.args).envs(program.env.iter().map(|(name, value)| (name, value)));
        if let Some(input) = &program.input {
            command.stdin(File::open(self.file(input)).unwrap());
        }
        command
    }

    /// Starts a program: output to the file `out`, messages to `err`.
    #[track_caller]
    pub fn start(&self, program: &Program) -> Process {
        let mut command = self.command_for(program);
        command.stdout(self.output("out")).stderr(self.output("err"));
        let mut process = Process::spawn(self, command);
        // What the checkpointer was told in its environment.
        let told = |name: &str| program.env.iter().find(|(key, _)| key == name).map(|(_, value)| value);
        if let Some(number) = told("CKPT_SIGNAL").and_then(|text| text.to_str()?.parse().ok()) {
            process.signal = number;
        }
        if program.entered {
            process.signal = ENTRY;
        }
        if let Some(image) = told("CKPT_IMAGE") {
            process.image = image.into();
        }
        process
    }

    /// Creates a file for output, open for appending if it is for messages: the target and its restarter share it.
    pub fn output(&self, name: &str) -> File {
        let path = self.file(name);
        let mut options = File::options();
        options.create(true);
        if name == "err" {
            options.append(true)
        } else {
            options.write(true).truncate(true)
        };
        let file = options.open(&path).unwrap();
        self.own(&path);
        file
    }
}

/// Keeps the descriptors of the one who runs the tests, but 0 to 2, from a command.
fn close_descriptors(command: &mut Command) {
    // SAFETY: one system call between fork and exec; it marks descriptors and touches no memory.
    unsafe {
        command.pre_exec(|| {
            let first: libc::c_uint = 3;
            Errno::result(libc::syscall(
                libc::SYS_close_range,
                first,
                libc::c_uint::MAX,
                libc::CLOSE_RANGE_CLOEXEC,
            ))?;
            Ok(())
        });
    }
}
