//! The first process of a PID namespace, which gets the children of those that have ended. Without it there would be nobody to take in
//! what the program started in the background and left behind: that lives on, as it would have without a namespace.
//!
//! When it ends, the kernel kills all in the namespace: so it ends when the stand-in is killed.

use super::stand_in::{close_all_but, read};
use crate::crew;
use sys::process;
use sys::signal::{self, sig};

/// The stand-in's ends of two pipes.
#[derive(Clone, Copy, Debug)]
pub struct Init {
    /// Its id.
    pub id: u32,
    /// Says that the program has ended, or by being closed that the stand-in was killed.
    pub word: i32,
    /// Says that there are others to wait for, or by being closed that there is nobody.
    pub answer: i32,
}

/// The program has ended by itself.
const ENDED: u8 = b'.';
/// The number that comes next is to be the program's: for a kernel that gives none.
pub const REACH: u8 = b'r';

impl Init {
    /// The program has ended by itself. Comes back when the init has ended too, or has to stay.
    pub fn let_go(self) {
        let _ = sys::fd::write(self.word, &[ENDED]);
        if read(self.answer, &mut [0]) == 0 {
            let _ = process::wait_for(self.id);
        }
    }

    /// There is no program: ends it.
    pub fn dismiss(self) {
        let _ = sys::fd::close(self.word);
        let _ = sys::fd::close(self.answer);
        let _ = process::wait_for(self.id);
    }

    /// Descriptors that the stand-in has to keep open, and the program not.
    pub fn pipes(self) -> [i32; 2] {
        [self.word, self.answer]
    }
}

/// What it does, `program` being the id of the program: every signal is blocked, and the kernel takes ended children away.
pub fn run(word: i32, answer: i32, program: u32) -> ! {
    process::set_name(b"myrestart-init\0");
    process::set_death_signal(sig::KILL);
    signal::set_simple(sig::CHLD, signal::IGNORE);
    // A pipe or a terminal must not stay open on account of it, nor a directory in use.
    close_all_but([word, answer, -1, -1]);
    let mut text = [0u8];
    loop {
        match read(word, &mut text) {
            1 if text == [REACH] => {
                let last = process::pid();
                let done = crew::reach(program, last).is_ok();
                let _ = sys::fd::write(answer, &[u8::from(done)]);
            }
            1 => break,
            // The stand-in was killed, also before there was a death signal.
            _ => process::exit_group(0),
        }
    }
    process::set_death_signal(0);
    if process::has_children() {
        let _ = sys::fd::write(answer, b".");
    }
    process::wait_for_all();
    process::exit_group(0)
}
