//! What ends the program when its stand-in is killed, where no init of a namespace does. SIGKILL gives the stand-in no chance to pass itself on, and a death
//! signal (PR_SET_PDEATHSIG) would be one that the program can see, and that a save would take for its own.

use super::stand_in::{close_all_but, read};
use super::why::{Step, Why};
use sys::fd::open_flag;
use sys::{Errno, process, signal};

/// The stand-in's side of it.
#[derive(Clone, Copy, Debug)]
pub struct Guard {
    /// Its process id.
    id: u32,
    /// The end of a pipe that only the stand-in keeps open.
    life: i32,
}

const ENDED: &[u8] = b".";

impl Guard {
    /// Starts it, before there is anybody to watch.
    pub fn start() -> Result<Self, Why> {
        let [end, life] =
            sys::fd::pipe(open_flag::CLOEXEC).map_err(|errno| Why::refused(Step::Pipe, errno))?;
        // SAFETY: there is one thread; the child does nothing but what `run` says.
        match unsafe { process::fork() } {
            Ok(0) => run(end),
            Ok(id) => {
                let _ = sys::fd::close(end);
                Ok(Self { id, life })
            }
            Err(errno) => Err(Why::refused(Step::Clone, errno)),
        }
    }

    /// Says whom it watches.
    pub fn watch(self, program: u32) {
        let _ = sys::fd::write(self.life, &program.to_ne_bytes());
    }

    /// In the program: lets go of the pipe.
    pub fn leave(self) {
        let _ = sys::fd::close(self.life);
    }

    /// There is nobody to watch.
    pub fn dismiss(self) {
        let _ = sys::fd::close(self.life);
        let _ = process::wait_for(self.id);
    }

    /// The program has ended by itself.
    pub fn let_go(self) {
        let _ = sys::fd::write(self.life, ENDED);
    }

    /// The descriptor that the stand-in has to keep.
    pub fn pipe(self) -> i32 {
        self.life
    }
}

/// What it does. Every signal is blocked; in a session of its own it is not among those that somebody kills with the stand-in.
fn run(end: i32) -> ! {
    process::set_name(b"myrestart-guard\0");
    let _ = process::new_session();
    close_all_but([end, -1, -1, -1]);
    let mut id = [0; 4];
    if read(end, &mut id) == id.len() {
        let id = u32::from_ne_bytes(id);
        // The stand-in has not waited for it: the number is still the program's.
        let program = process::open_pid(id);
        if read(end, &mut [0]) == 0 {
            match program {
                Ok(program) => {
                    let _ = signal::send_by(program, signal::sig::KILL);
                }
                // Before Linux 5.3.
                Err(Errno::ENOSYS) => process::kill(id),
                // It has ended.
                Err(_) => {}
            }
        }
    }
    process::exit_group(0)
}
