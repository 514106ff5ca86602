//! The first process of a PID namespace, which gets the children of those that have ended. Without it there would be nobody to take in
//! what the program started in the background and left behind: that lives on, as it would have without a namespace.

use super::ADVICE;
use super::stand_in::close_all_but;
use crate::exit::{Code, Failure, Result};
use sys::fd::open_flag;
use sys::signal::sig;

/// The stand-in's ends of two pipes.
#[derive(Clone, Copy, Debug)]
pub struct Init {
    /// Its id.
    id: u32,
    /// Says that the program has ended, or by being closed that the stand-in was killed.
    word: i32,
    /// Says that there are others to wait for, or by being closed that there is nobody.
    answer: i32,
}

/// Starts it; `process` is going to be the id of the program.
pub fn start<'a>(process: u32) -> Result<'a, Init> {
    let fail = |errno| Failure::os(Code::Pid, b"", "there cannot be a PID namespace", errno, ADVICE);
    let [word_end, word] = sys::fd::pipe(open_flag::CLOEXEC).map_err(fail)?;
    let [answer, answer_end] = sys::fd::pipe(open_flag::CLOEXEC).map_err(fail)?;
    // SAFETY: there is one thread; the child does nothing but what `run` says.
    match unsafe { sys::process::fork() }.map_err(fail)? {
        0 => run(word_end, answer_end, process),
        id => {
            let _ = sys::fd::close(word_end);
            let _ = sys::fd::close(answer_end);
            Ok(Init { id, word, answer })
        }
    }
}

impl Init {
    /// The program has ended by itself. Comes back when the init has ended too, or has to stay.
    pub fn let_go(self) {
        let _ = sys::fd::write(self.word, WORD);
        if read(self.answer) == 0 {
            let _ = sys::process::wait_for(self.id);
        }
    }

    /// Descriptors that the stand-in has to keep open, and the program not.
    pub fn pipes(self) -> [i32; 2] {
        [self.word, self.answer]
    }
}

const WORD: &[u8] = b".";

/// What it does: every signal is blocked, and the kernel takes ended children away.
fn run(word: i32, answer: i32, process: u32) -> ! {
    sys::process::set_name(b"myrestart-init\0");
    sys::signal::set_simple(sig::CHLD, sys::signal::IGNORE);
    // A pipe or a terminal must not stay open on account of it, nor a directory in use.
    close_all_but([word, answer, -1]);
    if read(word) == 0 {
        // What ends the stand-in without a chance to pass it on ends the program.
        sys::process::kill(process);
    }
    if sys::process::has_children() {
        let _ = sys::fd::write(answer, WORD);
    }
    sys::process::wait_for_all();
    sys::process::exit_group(0)
}

/// Reads a byte; how many there were.
fn read(fd: i32) -> usize {
    let mut word = [0u8; 1];
    loop {
        match sys::fd::read(fd, &mut word) {
            Err(sys::Errno::EINTR) => {}
            other => return other.unwrap_or(0),
        }
    }
}
