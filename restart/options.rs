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

/// What becomes of a file that is not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Missing {
    /// No restart.
    #[default]
    Refuse,
    /// It is made anew, empty.
    Create,
    /// `/dev/null` takes its place.
    Null,
}

/// What is looked at before a process is restarted, and can be left out (`--force`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Check {
    /// The image is this user's, and nobody else can write to it.
    Owner = 1,
    /// The process was this user's.
    User = 2,
    /// It was under no more seccomp filters.
    Filters = 4,
    /// With `--lazy`: the image cannot go away.
    Lazy = 8,
    /// With `--pid`: the namespace has a /proc.
    Proc = 16,
    /// Nobody else can have put a file in the place of one that the process writes to.
    Paths = 32,
    /// This process has no capability, no group and no label of a security module that the process had not.
    Privileges = 64,
}

/// The words for them.
const CHECKS: [(&[u8], Check); 7] = [
    (b"owner", Check::Owner),
    (b"user", Check::User),
    (b"filters", Check::Filters),
    (b"lazy", Check::Lazy),
    (b"proc", Check::Proc),
    (b"paths", Check::Paths),
    (b"privileges", Check::Privileges),
];

/// Which file standard input, output and error are, where the process had regular files there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stdio {
    /// The restarter's own where that is the same file, and else the saved one.
    #[default]
    Same,
    /// The saved one, at its saved offset.
    Saved,
    /// The restarter's own.
    Own,
}

/// What a descriptor of the process is to be instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// The file of this path, which has its NUL.
    Path(&'a [u8]),
    /// The restarter's own descriptor: 0, 1 or 2.
    Own(u32),
}

/// Which process id the process gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pid {
    /// The one that it had, in whatever way it can be had, if the process may need it.
    #[default]
    Auto,
    /// The restarter's.
    New,
    /// The one that it had, in the present namespaces.
    Keep,
    /// The one that it had, in a PID namespace of its own.
    Namespace,
}

/// How many `--fd` there may be.
const REDIRECTIONS: usize = 32;
/// How many `--map` there may be.
pub const MAPS: usize = 16;

/// The options.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options<'a> {
    /// What to do.
    pub mode: Mode,
    /// Path of the image, with its NUL; `-` is stdin.
    pub image: &'a [u8],
    /// Map pages from the image instead of reading them.
    pub lazy: bool,
    /// [`Check`]s that are left out.
    pub forced: u32,
    /// Threads that read pages; 0: as many as there are CPUs.
    pub jobs: u32,
    /// Cut files that the process had open for writing back to their length at the save.
    pub roll_back: bool,
    /// What becomes of files that are not there.
    pub missing: Missing,
    /// Files that the process read and wrote may be other than they were.
    pub accepts_changes: bool,
    /// What 0, 1 and 2 are.
    pub stdio: Stdio,
    /// The working directory instead of the saved one, with its NUL; empty: none was given.
    pub cwd: &'a [u8],
    /// Folders that are elsewhere now: old without, new with its NUL.
    pub maps: [Option<(&'a [u8], &'a [u8])>; MAPS],
    /// Which process id.
    pub pid: Pid,
    /// Capabilities come from the file of this program (`AT_SECURE` of getauxval(3)).
    pub secure: bool,
    /// Descriptors that are to be something else.
    redirections: [Option<(u32, Target<'a>)>; REDIRECTIONS],
}

impl<'a> Options<'a> {
    /// Whether a check is to be left out.
    pub fn forces(&self, check: Check) -> bool {
        self.forced & check as u32 != 0
    }

    /// Descriptors that are to be something else.
    pub fn redirected(&self) -> impl Iterator<Item = &(u32, Target<'a>)> {
        self.redirections.iter().flatten()
    }
}

/// What `--help` prints.
pub const HELP: &str = "\
usage: myrestart [OPTION]... IMAGE
Rebuild a process from its checkpoint IMAGE ('-': stdin), in this process.

  --lazy        map pages from IMAGE when they are touched, instead of reading them all
                first; page data is not checked then, and IMAGE must not be altered
  --plan        print the system calls of the restart, and make none of them
  --verify      check every checksum of IMAGE, and do nothing else
  --force=CHECK[,CHECK]...
                go on although a check says no: owner (the image is somebody else's, or others
                can write to it), user (the process was), filters (of seccomp: those that it was
                under are not there), lazy (the image can go away), proc (there is none in the
                namespace of --pid), paths (others can change where a file that it writes to is),
                privileges (groups or a label of a security module that it did not have)
  --jobs=N      read pages with N threads (default: one for each CPU, at most 8)
  --fd N=PATH   let descriptor N of the process be PATH instead (at its end, if the process
                writes to it); N=&M: descriptor M of myrestart itself, 0, 1 or 2
  --missing-files=refuse|create|null
                when a file of the process is not there: give up, make it anew, or take
                /dev/null (default: refuse)
  --changed-files=refuse|accept
                when a file that the process had open for reading and writing, or mapped so, is
                not what it was at the save: give up, or go on with it (default: refuse)
  --map OLD=NEW
                take NEW for the folder OLD in all paths of the process; any number of times
  --cwd DIR     the working directory
  --stdio=saved|own
                0, 1 and 2, where they were files: as saved, or those of myrestart (default: those
                of myrestart where they are the same file, else as saved)
  --rollback-files
                cut files that the process only wrote to, but standard error, back to their length
                at the save
  --pid=auto|new|keep|namespace
                ids of the process and its threads: the old ones if it may need them, in
                whatever way they can be had (default); new ones; the old ones here; the old
                ones in a PID namespace, where its clocks go on as well. Where the process
                becomes a child, myrestart waits for it, passes signals to it, and ends as it does
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
  85 other system call failed   93 a lock or address is taken
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
pub fn parse<'a>(mut args: impl Iterator<Item = &'a CStr>) -> Result<'a, Options<'a>> {
    let mut options = Options::default();
    let mut only_operands = false;
    while let Some(arg) = args.next() {
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
            b"--rollback-files" => options.roll_back = true,
            b"--map" => map(&mut options, args.next().map_or(&b""[..], CStr::to_bytes_with_nul))?,
            b"--cwd" => folder(&mut options, args.next().map_or(&b""[..], CStr::to_bytes_with_nul))?,
            b"--fd" => {
                let redirection = args.next().map_or(&b""[..], CStr::to_bytes_with_nul);
                redirect(&mut options, redirection)?;
            }
            _ => with_value(&mut options, arg)?,
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

/// An option of the form `--name=value`.
fn with_value<'a>(options: &mut Options<'a>, arg: &'a CStr) -> Result<'a, ()> {
    let (bytes, whole) = (arg.to_bytes(), arg.to_bytes_with_nul());
    if let Some(number) = bytes.strip_prefix(b"--jobs=") {
        options.jobs = image::number::decimal(number)
            .and_then(|n| u32::try_from(n).ok())
            .filter(|n| (1..=64).contains(n))
            .ok_or(usage(bytes, "not a number from 1 to 64"))?;
    } else if let Some(what) = bytes.strip_prefix(b"--missing-files=") {
        options.missing = match what {
            b"refuse" => Missing::Refuse,
            b"create" => Missing::Create,
            b"null" => Missing::Null,
            _ => return Err(usage(bytes, "not one of refuse, create, null")),
        };
    } else if let Some(what) = bytes.strip_prefix(b"--pid=") {
        options.pid = match what {
            b"auto" => Pid::Auto,
            b"new" => Pid::New,
            b"keep" => Pid::Keep,
            b"namespace" => Pid::Namespace,
            _ => return Err(usage(bytes, "not one of auto, new, keep, namespace")),
        };
    } else if let Some(checks) = bytes.strip_prefix(b"--force=") {
        for word in checks.split(|byte| *byte == b',') {
            let check = CHECKS.iter().find(|(name, _)| *name == word);
            let (_, check) = check
                .ok_or(usage(bytes, "not a list of owner, user, filters, lazy, proc, paths, privileges"))?;
            options.forced |= *check as u32;
        }
    } else if let Some(what) = bytes.strip_prefix(b"--changed-files=") {
        options.accepts_changes = match what {
            b"refuse" => false,
            b"accept" => true,
            _ => return Err(usage(bytes, "not one of refuse, accept")),
        };
    } else if let Some(what) = bytes.strip_prefix(b"--stdio=") {
        options.stdio = match what {
            b"saved" => Stdio::Saved,
            b"own" => Stdio::Own,
            _ => return Err(usage(bytes, "not one of saved, own")),
        };
    } else if let Some(text) = whole.strip_prefix(b"--map=") {
        map(options, text)?;
    } else if let Some(text) = whole.strip_prefix(b"--cwd=") {
        folder(options, text)?;
    } else if let Some(redirection) = whole.strip_prefix(b"--fd=") {
        redirect(options, redirection)?;
    } else if matches!(
        bytes,
        b"--jobs" | b"--missing-files" | b"--changed-files" | b"--stdio" | b"--pid" | b"--force"
    ) {
        return Err(usage(bytes, "its value must follow an equals sign"));
    } else {
        return Err(usage(bytes, "unknown option"));
    }
    Ok(())
}

/// `OLD=NEW`, with a NUL. OLD may have an equals sign in it when NEW has none.
fn map<'a>(options: &mut Options<'a>, text: &'a [u8]) -> Result<'a, ()> {
    let wrong = usage(text, "not of the form --map OLD=NEW, OLD an absolute path");
    let equals = text.iter().rposition(|byte| *byte == b'=').ok_or(wrong)?;
    let (old, new) = text.split_at_checked(equals).ok_or(wrong)?;
    let end = old.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
    let (old, new) = (old.get(..end).unwrap_or_default(), new.get(1..).unwrap_or_default());
    if !old.starts_with(b"/") || matches!(new, [] | [0]) {
        return Err(wrong);
    }
    let free = options.maps.iter_mut().find(|slot| slot.is_none());
    *free.ok_or(usage(text, "more --map than can be remembered"))? = Some((old, new));
    Ok(())
}

/// The path of `--cwd`, with a NUL.
fn folder<'a>(options: &mut Options<'a>, text: &'a [u8]) -> Result<'a, ()> {
    if matches!(text, [] | [0]) {
        return Err(usage(text, "no folder given with --cwd"));
    }
    options.cwd = text;
    Ok(())
}

/// `N=PATH` or `N=&M`, with a NUL.
fn redirect<'a>(options: &mut Options<'a>, text: &'a [u8]) -> Result<'a, ()> {
    let wrong = usage(text, "not of the form --fd N=PATH or --fd N=&M");
    let (number, rest) = image::number::take_decimal(text).ok_or(wrong)?;
    let number = u32::try_from(number).map_err(|_| wrong)?;
    let target = match rest.strip_prefix(b"=").ok_or(wrong)? {
        [b'&', own @ (b'0' | b'1' | b'2'), 0] => Target::Own(u32::from(own - b'0')),
        [] | [0] | [b'&', ..] => return Err(wrong),
        path => Target::Path(path),
    };
    let free = options.redirections.iter_mut().find(|slot| slot.is_none());
    *free.ok_or(usage(text, "more --fd than can be remembered"))? = Some((number, target));
    Ok(())
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
        let options = run(&[c"--lazy", c"x", c"--jobs=3", c"--force=paths,owner", c"--plan"]);
        let expected = Options {
            mode: Mode::Plan,
            image: b"x\0",
            lazy: true,
            forced: Check::Paths as u32 | Check::Owner as u32,
            jobs: 3,
            ..Options::default()
        };
        assert_eq!(options, Ok(expected));
    }

    #[test]
    fn files_can_be_sent_elsewhere() {
        let options =
            run(&[c"--fd", c"3=/tmp/x", c"--fd=1=&2", c"--missing-files=null", c"--rollback-files", c"x"]);
        let options = options.expect("these are right");
        let all: Vec<_> = options.redirected().copied().collect();
        assert_eq!(all, [(3, Target::Path(b"/tmp/x\0")), (1, Target::Own(2))]);
        assert_eq!((options.missing, options.roll_back), (Missing::Null, true));
    }

    #[test]
    fn folders_can_be_elsewhere() {
        let options = run(&[c"--map", c"/a/b/=/c", c"--map=/x=y=z", c"--cwd=here", c"--stdio=own", c"i"]);
        let options = options.expect("these are right");
        let maps: Vec<_> = options.maps.iter().flatten().copied().collect();
        assert_eq!(maps, [(&b"/a/b"[..], &b"/c\0"[..]), (b"/x=y", b"z\0")]);
        assert_eq!((options.cwd, options.stdio), (&b"here\0"[..], Stdio::Own));
    }

    #[test]
    fn process_id_is_what_is_needed_unless_asked_for() {
        let pid = |args: &[&'static CStr]| run(args).map(|options| options.pid);
        assert_eq!(pid(&[c"x"]), Ok(Pid::Auto));
        assert_eq!(pid(&[c"--pid=keep", c"--pid=auto", c"x"]), Ok(Pid::Auto));
        assert_eq!(pid(&[c"--pid=keep", c"x"]), Ok(Pid::Keep));
        assert_eq!(pid(&[c"--pid=namespace", c"x"]), Ok(Pid::Namespace));
        assert_eq!(pid(&[c"--pid=keep", c"--pid=new", c"x"]), Ok(Pid::New));
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
            (&[c"--missing-files=what", c"x"], b"--missing-files=what"),
            (&[c"--pid=1", c"x"], b"--pid=1"),
            (&[c"--force", c"x"], b"--force"),
            (&[c"--force=owner,all", c"x"], b"--force=owner,all"),
            (&[c"--fd", c"3", c"x"], b"3\0"),
            (&[c"--fd", c"3=&3", c"x"], b"3=&3\0"),
            (&[c"--fd"], b""),
            (&[c"--map", c"a=/b", c"x"], b"a=/b\0"),
            (&[c"--map=/a=", c"x"], b"/a=\0"),
            (&[c"--cwd"], b""),
            (&[c"--stdio=theirs", c"x"], b"--stdio=theirs"),
            (&[c"--changed-files=yes", c"x"], b"--changed-files=yes"),
            (&[c"a", c"b"], b"b"),
            (&[], b""),
            (&[c""], b""),
        ] {
            let failure = run(args).expect_err("must be refused");
            assert_eq!((failure.code, failure.thing), (Code::Usage, thing));
        }
    }
}
