//! A shell command that takes an image on its standard input. The writer runs it, never the program.

use crate::config::{self, PATH_MAX};
use crate::message::Failure;
use core::ffi::{CStr, c_char};
use sys::fd::{self, fcntl, open_flag};
use sys::line::Line;
use sys::memory::{self, map, prot};
use sys::{process, terminal};

/// What shells say of a command that cannot be run.
const CANNOT_RUN: i32 = 126;
/// What the environment of a command has of the save.
const VARIABLES: [&[u8]; 3] = [b"CKPT_PID=", b"CKPT_SAVE=", b"CKPT_NAME="];

/// The command.
pub struct Command {
    text: Line<PATH_MAX>,
    /// The writing end of its standard input, or -1.
    pub fd: i32,
    pid: u32,
    /// `CKPT_PID`, `CKPT_SAVE` and `CKPT_NAME` of its environment.
    names: [Line<32>; 3],
}

impl Command {
    /// One that is not running yet.
    pub fn new(text: &[u8], target: u32, generation: u32) -> Self {
        let mut line = Line::new();
        line.bytes(text).bytes(b"\0");
        let mut names = VARIABLES.map(|name| {
            let mut line = Line::new();
            line.bytes(name);
            line
        });
        let [pid, save, name] = &mut names;
        pid.dec(u64::from(target));
        save.dec(u64::from(generation));
        let comm = process::name().unwrap_or_default();
        name.bytes(comm.split(|byte| *byte == 0).next().unwrap_or_default());
        for line in &mut names {
            line.bytes(b"\0");
        }
        Self { text: line, fd: -1, pid: 0, names }
    }

    /// Runs it: `/bin/sh -c`, with the program's environment, our variables in it, and its working directory.
    pub fn start(&mut self, target: i32) -> Result<(), Failure> {
        let [input, output] = fd::pipe(open_flag::CLOEXEC).map_err(Failure::Command)?;
        // SAFETY: the child uses raw system calls and its own copy of the stack only.
        match unsafe { process::fork_silently() } {
            Ok(0) => self.become_it(input, target),
            Ok(pid) => {
                let _ = fd::close(input);
                (self.pid, self.fd) = (pid, output);
                Ok(())
            }
            Err(errno) => {
                let _ = (fd::close(input), fd::close(output));
                Err(Failure::Command(errno))
            }
        }
    }

    fn become_it(&self, input: i32, target: i32) -> ! {
        give_up_terminal();
        let flags = open_flag::WRONLY | open_flag::APPEND | open_flag::NOCTTY | open_flag::CLOEXEC;
        let errors = fd::open_at(target, b"fd/2\0", flags, 0)
            .or_else(|_| fd::open_at(fd::AT_FDCWD, b"/dev/null\0", flags, 0))
            .unwrap_or(-1);
        // Out of the way of 0, 1 and 2 first, which may be any of them now.
        let [input, errors] =
            [input, errors].map(|fd| fd::control(fd, fcntl::DUPFD_CLOEXEC, 3).map_or(-1, |fd| fd as i32));
        for (from, to) in [(input, 0), (errors, 1), (errors, 2)] {
            let _ = fd::duplicate(from, to);
        }
        let _ = sys::signal::set_mask(0);
        let argv = [
            c"/bin/sh".as_ptr().cast(),
            c"-c".as_ptr().cast(),
            self.text.as_bytes().as_ptr(),
            core::ptr::null(),
        ];
        // SAFETY: the arguments are strings and end with a null; the environment is the program's.
        let _ = unsafe { process::execute(b"/bin/sh\0", argv.as_ptr(), self.environment()) };
        process::exit_group(CANNOT_RUN)
    }

    /// The program's environment with our variables instead of its own of these names. In a process of its own, which becomes the command.
    fn environment(&self) -> *const *const c_char {
        let theirs = config::environment();
        let entry = |at: usize| {
            // SAFETY: an array of strings that ends with a null pointer, up to which it is read.
            let entry = unsafe { *theirs.add(at) };
            // SAFETY: not null, so a string.
            (!entry.is_null()).then(|| (entry, unsafe { CStr::from_ptr(entry) }.to_bytes()))
        };
        let count = if theirs.is_null() { 0 } else { (0..).map_while(entry).count() };
        let len = (count + self.names.len() + 1) * size_of::<*const c_char>();
        let flags = map::PRIVATE | map::ANONYMOUS;
        // SAFETY: a new mapping, at an address of the kernel's choice.
        let room = unsafe { memory::mmap(0, len as u64, prot::READ | prot::WRITE, flags, -1, 0) };
        let Ok(room) = room else { process::exit_group(CANNOT_RUN) };
        let room = room as *mut *const c_char;
        let ours = self.names.iter().map(|line| line.as_bytes().as_ptr().cast());
        let is_ours = |text: &[u8]| VARIABLES.iter().any(|name| text.starts_with(name));
        let theirs = (0..count).filter_map(entry).filter(|(_, text)| !is_ours(text)).map(|(entry, _)| entry);
        for (at, entry) in ours.chain(theirs).enumerate() {
            // SAFETY: there is room for as many and a null, which is there.
            unsafe { room.add(at).write(entry) };
        }
        room
    }

    /// Closes its input and waits until it has ended.
    pub fn finish(&mut self) -> Result<(), Failure> {
        let _ = fd::close(self.fd);
        self.fd = -1;
        match process::wait_for(self.pid) {
            Ok(0) => Ok(()),
            Ok(status) => Err(Failure::CommandFailed(status)),
            Err(errno) => Err(Failure::Command(errno)),
        }
    }

    /// Ends it: half an image must not look like a whole one.
    pub fn discard(&mut self) {
        if self.fd >= 0 {
            process::kill(self.pid);
            let _ = self.finish();
        }
    }

    /// Appends its text.
    pub fn describe<const N: usize>(&self, line: &mut Line<N>) {
        line.text("|").escaped(self.text.as_bytes().strip_suffix(b"\0").unwrap_or_default());
    }
}

/// In a group in the background, a command that asked somebody on the program's terminal would be stopped, and all later saves would wait for it.
fn give_up_terminal() {
    let flags = open_flag::RDWR | open_flag::NOCTTY | open_flag::NONBLOCK | open_flag::CLOEXEC;
    if let Ok(terminal) = fd::open_at(fd::AT_FDCWD, b"/dev/tty\0", flags, 0) {
        terminal::give_up(terminal);
        let _ = fd::close(terminal);
    }
}
