//! The command line.

use crate::exit::{Code, Failure, Result};
use core::ffi::CStr;

/// What to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Become the process.
    #[default]
    Restart,
    /// Print the plan.
    Plan,
    /// Check every sum.
    Verify,
    /// Print the help.
    Help,
    /// Print the version.
    Version,
}

/// The options.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options<'a> {
    /// What to do.
    pub mode: Mode,
    /// Path of the image, with its NUL; `-` is stdin.
    pub image: &'a [u8],
    /// Map pages from the image instead of reading them.
    pub lazy: bool,
    /// Go on where a mismatch can be survived.
    pub force: bool,
    /// Threads that read pages; 0: as many as there are CPUs.
    pub jobs: u32,
}

/// What `--help` prints.
pub const HELP: &str = "\
usage: myrestart [OPTION]... IMAGE
Rebuild a process from its checkpoint IMAGE ('-': stdin), in this process.

  --lazy        map pages from IMAGE when they are touched, instead of reading them all
                first; page data is not checked then, and IMAGE must not be altered
  --plan        print the system calls of the restart, and make none of them
  --verify      check every checksum of IMAGE, and do nothing else
  --force       go on where a mismatch with this machine can be survived
  --jobs=N      read pages with N threads (default: one for each CPU, at most 8)
  --help        print this
  --version     print the version

Exit status: that of the restarted program; or, when nothing was restarted:
  64 wrong arguments            65 not an ELF core file       66 image cannot be opened
  67 core of something else     68 other version              69 image cut short
  70 bug in myrestart           71 image damaged              72 a file is missing
  73 a file has changed         74 image cannot be read       75 CPU feature missing
  76 kernel feature missing     77 permission missing         78 out of memory
  79 resource limit             80 no room in address space   81 image is no regular file
  82 state not supported        83 process id not to be had   84 failed in the last steps
  85 other system call failed
";

const ADVICE: &str = "see myrestart --help";

fn usage<'a>(thing: &'a [u8], cause: &'static str) -> Failure<'a> {
    Failure::new(Code::Usage, thing, cause, ADVICE)
}

/// Reads the arguments behind the name of the program.
///
/// # Errors
///
/// [`Code::Usage`].
pub fn parse<'a>(args: impl Iterator<Item = &'a CStr>) -> Result<'a, Options<'a>> {
    let mut options = Options::default();
    let mut only_operands = false;
    for arg in args {
        let bytes = arg.to_bytes();
        if only_operands || bytes == b"-" || !bytes.starts_with(b"-") {
            if !options.image.is_empty() {
                return Err(usage(bytes, "a second image; one process can be only one process"));
            }
            options.image = arg.to_bytes_with_nul();
            continue;
        }
        match bytes {
            b"--" => only_operands = true,
            b"--help" | b"-h" => options.mode = Mode::Help,
            b"--version" | b"-V" => options.mode = Mode::Version,
            b"--plan" => options.mode = Mode::Plan,
            b"--verify" => options.mode = Mode::Verify,
            b"--lazy" => options.lazy = true,
            b"--force" => options.force = true,
            _ => match bytes.strip_prefix(b"--jobs=") {
                Some(number) => {
                    options.jobs = image::number::decimal(number)
                        .and_then(|n| u32::try_from(n).ok())
                        .filter(|n| (1..=64).contains(n))
                        .ok_or(usage(bytes, "not a number from 1 to 64"))?;
                }
                None => return Err(usage(bytes, "unknown option")),
            },
        }
        if matches!(options.mode, Mode::Help | Mode::Version) {
            return Ok(options);
        }
    }
    match options.image {
        b"" => Err(usage(b"", "no image given")),
        b"\0" => Err(usage(b"", "the name of the image is empty")),
        _ => Ok(options),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run<'a>(args: &[&'a CStr]) -> Result<'a, Options<'a>> {
        parse(args.iter().copied())
    }

    #[test]
    fn an_image_is_enough() {
        assert_eq!(run(&[c"myckpt"]), Ok(Options { image: b"myckpt\0", ..Options::default() }));
        assert_eq!(run(&[c"-"]).map(|o| o.image), Ok(&b"-\0"[..]));
        assert_eq!(run(&[c"--", c"--lazy"]).map(|o| o.image), Ok(&b"--lazy\0"[..]));
    }

    #[test]
    fn options_may_stand_anywhere() {
        let options = run(&[c"--lazy", c"x", c"--jobs=3", c"--force", c"--plan"]);
        let expected = Options { mode: Mode::Plan, image: b"x\0", lazy: true, force: true, jobs: 3 };
        assert_eq!(options, Ok(expected));
    }

    #[test]
    fn help_needs_no_image() {
        assert_eq!(run(&[c"--help"]).map(|o| o.mode), Ok(Mode::Help));
        assert_eq!(run(&[c"-V"]).map(|o| o.mode), Ok(Mode::Version));
    }

    #[test]
    fn wrong_arguments_are_named() {
        for (args, thing) in [
            (&[c"--jobs=0", c"x"][..], &b"--jobs=0"[..]),
            (&[c"--jobs=many", c"x"], b"--jobs=many"),
            (&[c"--jobs", c"x"], b"--jobs"),
            (&[c"-x"], b"-x"),
            (&[c"a", c"b"], b"b"),
            (&[], b""),
            (&[c""], b""),
        ] {
            let failure = run(args).expect_err("must be refused");
            assert_eq!((failure.code, failure.thing), (Code::Usage, thing));
        }
    }
}
