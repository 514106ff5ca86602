//! `ckpt run`: a program with libckpt.so preloaded.

use crate::args::{Resume, Run};
use crate::exit::{Code, Failure, Result};
use crate::opened::Opened;
use crate::restart::{c_string, cannot_run};
use crate::text::{shown, shown_bytes};
use crate::{program, signal, supervisor, tools};
use nix::errno::Errno;
use nix::unistd::execve;
use std::convert::Infallible;
use std::ffi::{CString, OsStr, OsString};
use std::io::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// What is to be executed.
pub struct Exec {
    file: PathBuf,
    args: Vec<CString>,
    env: Vec<CString>,
    /// `CKPT_IMAGE` of a program that is started; empty for the default.
    image: Option<OsString>,
    /// Signal that asks for a save.
    pub signal: u32,
}

/// Runs it. Comes back only if it cannot be run.
pub fn run(args: &Run, quiet: bool) -> Result<Code> {
    let supervised = args.every.is_some()
        || args.on_term
        || args.exit_after_save.is_some()
        || args.exit_on_signal.is_some()
        || args.remove_when_done;
    let image = image_name(args)?;
    // The one file that the image is; what needs it says so if there is none.
    let file = if args.resume.is_some() || args.remove_when_done { Some(constant(&image)?) } else { None };
    let exec = match file.as_deref().filter(|_| args.resume.is_some()) {
        Some(file) if exists(file)? => restart(args, file, quiet)?,
        _ => start(args, &image)?,
    };
    if args.close_fds {
        // They close when the program is executed, so that messages until then still find their way.
        // SAFETY: nothing here uses a descriptor across an exec.
        let _ = unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    }
    if !supervised {
        match exec.now()? {}
    }
    supervisor::run(args, &exec, file.as_deref().filter(|_| args.remove_when_done))
}

impl Exec {
    /// Executes it; comes back with why that failed.
    pub fn now(&self) -> Result<Infallible> {
        let mut env = self.env.clone();
        if let Some(image) = &self.image {
            // Whose image that is: its children inherit the name.
            let mark =
                [format!("CKPT_IMAGE_OF={}:", std::process::id()).as_bytes(), image.as_bytes()].concat();
            env.push(c_string(OsStr::from_bytes(&mark))?);
        }
        match execve(&c_string(self.file.as_os_str())?, &self.args, &env) {
            // A script without `#!`: a shell runs it, as execvp(3) has it.
            Err(Errno::ENOEXEC) => {
                let mut args = vec![c"sh".to_owned(), c_string(self.file.as_os_str())?];
                args.extend(self.args.iter().skip(1).cloned());
                execve(c"/bin/sh", &args, &env)
            }
            other => other,
        }
        .map_err(|errno| cannot_run(&self.file, errno))
    }
}

/// The program itself, with its environment.
fn start(args: &Run, image: &Image) -> Result<Exec> {
    let file = program::find(&args.program[0])?;
    program::check_preload(&file)?;
    let library = tools::library()?;
    if library.as_os_str().as_bytes().iter().any(|byte| b" :".contains(byte)) {
        let text =
            format!("{}: has a blank or a colon, which LD_PRELOAD cannot hold; move it", shown(&library));
        return Err(Failure::new(Code::NoTool, text));
    }
    let mut env: Vec<(OsString, OsString)> = std::env::vars_os().collect();
    let set = |env: &mut Vec<(OsString, OsString)>, name: &str, value: OsString| {
        env.retain(|(key, _)| key != name);
        env.push((name.into(), value));
    };
    // First, so that it stays ours whatever else is preloaded.
    let mut preload = library.into_os_string();
    if let Some(others) = std::env::var_os("LD_PRELOAD").filter(|others| !others.is_empty()) {
        preload.push(":");
        preload.push(others);
    }
    set(&mut env, "LD_PRELOAD", preload);
    if let Image::Given(name) | Image::Absolute(name) = image {
        set(&mut env, "CKPT_IMAGE", name.clone());
    }
    env.retain(|(key, _)| key != "CKPT_IMAGE_OF");
    let image = env.iter().find(|(key, _)| key == "CKPT_IMAGE").map(|(_, value)| value.clone());
    set(&mut env, "CKPT_COMMAND", OsString::from_vec(record(&args.program)));
    if args.files {
        set(&mut env, "CKPT_FILES", "written".into());
    }
    if let Some(number) = args.signal {
        set(&mut env, "CKPT_SIGNAL", number.to_string().into());
    }
    let entry = |(name, value): (OsString, OsString)| {
        let mut entry = name;
        entry.push("=");
        entry.push(value);
        c_string(&entry)
    };
    Ok(Exec {
        file,
        args: args.program.iter().map(|arg| c_string(arg)).collect::<Result<_>>()?,
        env: env.into_iter().map(entry).collect::<Result<_>>()?,
        image: Some(image.unwrap_or_default()),
        signal: args.signal.or_else(configured_signal).unwrap_or(signal::DEFAULT),
    })
}

fn configured_signal() -> Option<u32> {
    signal::parse(std::env::var("CKPT_SIGNAL").ok()?.as_str()).ok()
}

/// The restart of an image.
fn restart(args: &Run, image: &Path, quiet: bool) -> Result<Exec> {
    let opened = Opened::new(image)?;
    let parsed = opened.image()?;
    let saved_signal = parsed.process().signal;
    let of = image_command(&parsed);
    if args.resume != Some(Resume::Any) && !is_of(&parsed, &args.program) {
        let text = format!(
            "{}: is an image of {}, not of {}; name another one with --image, or restart this one with --resume=any",
            shown(image),
            shown_bytes(&of),
            shown_bytes(&record(&args.program))
        );
        return Err(Failure::new(Code::OtherCommand, text));
    }
    if !quiet {
        let process = parsed.process();
        let saved = crate::time::local(&crate::show::saved(process.realtime));
        let of = shown_bytes(&of);
        let _ = writeln!(
            std::io::stderr(),
            "ckpt: {}: goes on with {of}, saved {saved}, save number {}",
            shown(image),
            process.generation
        );
    }
    let entry = |(name, value): (OsString, OsString)| {
        c_string(OsStr::from_bytes(&[name.as_bytes(), b"=", value.as_bytes()].concat()))
    };
    Ok(Exec {
        file: tools::restarter()?,
        args: [OsString::from("myrestart")]
            .into_iter()
            .chain(args.restart.arguments())
            .chain([image.into()])
            .map(|arg| c_string(&arg))
            .collect::<Result<_>>()?,
        env: std::env::vars_os().map(entry).collect::<Result<_>>()?,
        image: None,
        signal: args.signal.unwrap_or(saved_signal),
    })
}

/// A command line as a shell takes it, for `CKPT_COMMAND`: what tells one program from another when an image is resumed. A long one ends in a sum.
fn record(words: &[OsString]) -> Vec<u8> {
    const LONGEST: usize = 1900;
    let quoted = words.iter().map(|word| {
        let word = word.as_bytes();
        if !word.is_empty()
            && word.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_./=:,+@%".contains(byte))
        {
            return word.to_vec();
        }
        [b"'", &word.split(|byte| *byte == b'\'').collect::<Vec<_>>().join(&br"'\''"[..])[..], b"'"].concat()
    });
    let mut line = quoted.collect::<Vec<_>>().join(&b' ');
    if line.len() > LONGEST {
        let (first, second) = line.split_at(line.len() / 2);
        let sum = [first, second].map(image::crc::crc32c);
        let end = format!("... ({} bytes, {:08x}{:08x})", line.len(), sum[0], sum[1]);
        line.truncate(LONGEST);
        line.extend(end.bytes());
    }
    line
}

/// The command line that an image is of.
fn image_command(image: &image::read::Image<'_>) -> Vec<u8> {
    match image.bytes(image.process().command) {
        b"" => record(&arguments(image)),
        line => line.to_vec(),
    }
}

/// The arguments of the process in an image.
fn arguments(image: &image::read::Image<'_>) -> Vec<OsString> {
    let bytes = image.bytes(image.process().cmdline);
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    bytes.split(|byte| *byte == 0).map(|word| OsStr::from_bytes(word).into()).collect()
}

/// Whether an image is of a command line. One that `ckpt run` has not started tells its arguments only: those of a script begin with its interpreter.
fn is_of(image: &image::read::Image<'_>, command: &[OsString]) -> bool {
    match image.bytes(image.process().command) {
        b"" => {
            let arguments = arguments(image);
            let skipped = arguments.len().saturating_sub(command.len());
            let name = |word: Option<&OsString>| {
                word.map(|word| word.as_bytes().rsplit(|byte| *byte == b'/').next().map(<[u8]>::to_vec))
            };
            arguments.get(skipped..).is_some_and(|own| {
                own.get(1..) == command.get(1..) && name(own.first()) == name(command.first())
            })
        }
        line => line == record(command),
    }
}

/// What `CKPT_IMAGE` is to be.
enum Image {
    /// As it is: the library's own default, or what the environment says.
    Inherited,
    /// A command, or a name of the environment, which stays as it is.
    Given(OsString),
    /// A file, from the root: the program may change its directory.
    Absolute(OsString),
}

fn image_name(args: &Run) -> Result<Image> {
    let is_command = |name: &OsStr| name.as_bytes().starts_with(b"|");
    match &args.image {
        Some(name) if is_command(name.as_os_str()) => Ok(Image::Given(name.clone().into())),
        Some(name) => absolute(name),
        // Whoever resumes must find the file where the program puts it.
        None if args.resume.is_some() || args.remove_when_done => {
            match std::env::var_os("CKPT_IMAGE").filter(|name| !name.is_empty()) {
                Some(name) if is_command(&name) => Ok(Image::Given(name)),
                Some(name) => absolute(Path::new(&name)),
                None => absolute(Path::new("myckpt")),
            }
        }
        None => Ok(Image::Inherited),
    }
}

/// A name from the root; the folder's `%`, which the library would expand, are doubled.
fn absolute(name: &Path) -> Result<Image> {
    if name.is_absolute() {
        return Ok(Image::Absolute(name.into()));
    }
    let here = std::env::current_dir()
        .map_err(|e| Failure::file(Code::Io, Path::new("."), "has no path any more", e))?;
    let mut bytes = vec![];
    for byte in here.into_os_string().into_vec() {
        bytes.extend(std::iter::repeat_n(byte, if byte == b'%' { 2 } else { 1 }));
    }
    Ok(Image::Absolute(Path::new(OsStr::from_bytes(&bytes)).join(name).into()))
}

/// The file that the image is each time, which `--resume` and `--remove-when-done` must know.
fn constant(image: &Image) -> Result<PathBuf> {
    let refuse = |what: &str| {
        let text = format!("--resume and --remove-when-done: {what}; name one file with --image");
        Err(Failure::new(Code::Usage, text))
    };
    let Image::Absolute(name) = image else {
        return refuse("an image that goes down a pipe cannot be found again");
    };
    match unexpanded(name.as_bytes()) {
        Some(file) => Ok(PathBuf::from(OsString::from_vec(file))),
        None => refuse("%p, %e and %n make a new name each time"),
    }
}

fn exists(file: &Path) -> Result<bool> {
    file.try_exists().map_err(|e| Failure::file(Code::NoImage, file, "cannot be looked for", e))
}

/// The name that `CKPT_IMAGE` stands for if it is always the same one.
fn unexpanded(name: &[u8]) -> Option<Vec<u8>> {
    let mut out = vec![];
    let mut rest = name;
    loop {
        (out, rest) = match rest {
            [] => return Some(out),
            [b'%', b'p' | b'e' | b'n', ..] => return None,
            [b'%', b'%', rest @ ..] => ([&out[..], b"%"].concat(), rest),
            [byte, rest @ ..] => {
                out.push(*byte);
                (out, rest)
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines_are_told_apart() {
        let record = |words: &[&str]| {
            let words: Vec<_> = words.iter().map(OsString::from).collect();
            String::from_utf8(super::record(&words)).unwrap()
        };
        assert_eq!(record(&["./job", "-n", "3"]), "./job -n 3");
        assert_eq!(record(&["a b", "", "it's"]), r"'a b' '' 'it'\''s'");
        let long = |end: &str| record(&["x", &"y".repeat(5000), end]);
        assert!(long("1") != long("2") && long("1").len() < 2000);
    }

    #[test]
    fn only_a_constant_name_can_be_resumed() {
        assert_eq!(unexpanded(b"/a/100%%/b"), Some(b"/a/100%/b".to_vec()));
        assert_eq!(unexpanded(b"/a/%x"), Some(b"/a/%x".to_vec()));
        assert_eq!(unexpanded(b"/a/%p"), None);
        assert_eq!(unexpanded(b"/a/%%%n"), None);
    }
}
