//! Why a way to the old ids is none here, in words.

use crate::crew::Lost;
use sys::Errno;
use sys::line::Line;

/// What was being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Step {
    /// A process or thread of a given id, by clone3(2).
    Set = 1,
    /// Nothing: numbers have gone past the id.
    Passed,
    /// Nothing: the id is too many numbers away.
    Far,
    /// A process or thread, by clone(2).
    Clone,
    /// A user namespace, and others in it.
    User,
    /// A PID namespace.
    Namespaces,
    /// The user and group of the user namespace.
    Map,
    /// The clocks of the time namespace.
    Clocks,
    /// A mount namespace with a `/proc`.
    Proc,
    /// A pipe.
    Pipe,
    /// The process of this step was killed.
    Killed,
    /// The process has its id, and the threads have not.
    HasId,
}

/// All steps, by their numbers from one.
const STEPS: [Step; 12] = [
    Step::Set,
    Step::Passed,
    Step::Far,
    Step::Clone,
    Step::User,
    Step::Namespaces,
    Step::Map,
    Step::Clocks,
    Step::Proc,
    Step::Pipe,
    Step::Killed,
    Step::HasId,
];

/// A step that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Why {
    /// Which.
    step: Step,
    /// The id that it was about, or zero.
    id: u32,
    /// The number of the error, or zero.
    errno: u32,
}

impl Why {
    /// A step that the kernel refused.
    pub fn refused(step: Step, errno: Errno) -> Self {
        Self { step, id: 0, errno: errno.into_raw() as u32 }
    }

    /// A step without an error.
    pub fn plain(step: Step) -> Self {
        Self { step, id: 0, errno: 0 }
    }

    /// A process or thread that has not got its id; `set` says that it was asked for by clone3(2).
    pub fn lost(lost: Lost, set: bool) -> Self {
        match lost {
            Lost::Refused(id, errno) => {
                let step = if set { Step::Set } else { Step::Clone };
                Self { step, id, errno: errno.into_raw() as u32 }
            }
            Lost::Passed(id) => Self { step: Step::Passed, id, errno: 0 },
            Lost::Far(id) => Self { step: Step::Far, id, errno: 0 },
        }
    }

    /// Whether the kernel does not take ids, so that counting is another way.
    pub fn is_no_set_tid(self) -> bool {
        let errnos = [Errno::ENOSYS, Errno::EPERM, Errno::E2BIG];
        self.step == Step::Set && errnos.iter().any(|errno| errno.into_raw() as u32 == self.errno)
    }

    /// As numbers, to be told to another process.
    pub fn numbers(self) -> [u32; 3] {
        [self.step as u32, self.id, self.errno]
    }

    /// From [`Why::numbers`].
    pub fn of([step, id, errno]: [u32; 3]) -> Self {
        let step = STEPS.get((step as usize).wrapping_sub(1)).copied().unwrap_or(Step::Killed);
        Self { step, id, errno }
    }

    /// Writes it.
    pub fn write<const N: usize>(self, line: &mut Line<N>) -> &mut Line<N> {
        let errno = Errno::new(self.errno as i32);
        let id = u64::from(self.id);
        match (self.step, errno) {
            (Step::Set, Errno::EEXIST) => return line.text("id ").dec(id).text(" is in use"),
            (Step::Set, Errno::EINVAL) => {
                return line.text("id ").dec(id).text(" is higher than /proc/sys/kernel/pid_max");
            }
            (Step::Set, Errno::EPERM) => {
                return line.text("clone3(2) with an id needs CAP_CHECKPOINT_RESTORE");
            }
            (Step::Set, Errno::ENOSYS) => {
                return line.text("no clone3(2): an old kernel, or a seccomp profile such as Docker's");
            }
            (Step::Set, Errno::E2BIG) => return line.text("clone3(2) takes no ids before Linux 5.5"),
            (Step::Set, _) => line.text("clone3(2) of id ").dec(id),
            (Step::Passed, _) => return line.text("id ").dec(id).text(" has been given to somebody else"),
            (Step::Far, _) => return line.text("id ").dec(id).text(" is too many numbers away"),
            (Step::Clone, _) => line.text("clone(2)"),
            (Step::User, _) => line.text("a user namespace (").text(switch()).text(")"),
            (Step::Namespaces, _) => line.text("a PID namespace"),
            (Step::Map, _) => line.text("the ids of a user namespace"),
            (Step::Clocks, _) => line.text("the clocks of a time namespace"),
            (Step::Proc, _) => {
                line.text("a /proc of its own (parts of /proc are hidden here, as in containers)")
            }
            (Step::Pipe, _) => line.text("a pipe"),
            (Step::Killed, _) => return line.text("a process of the restart was killed"),
            (Step::HasId, _) => return line.text("myrestart has the id of the process itself"),
        };
        line.text(": ").errno(errno)
    }
}

/// What forbids user namespaces: a setting that can be read, or something that cannot.
fn switch() -> &'static str {
    let number = |path: &[u8]| {
        let mut text = [0u8; 32];
        crate::probe::proc_text(path, &mut text).and_then(image::number::decimal)
    };
    if number(b"/proc/sys/user/max_user_namespaces\0") == Some(0) {
        "user.max_user_namespaces"
    } else if number(b"/proc/sys/kernel/unprivileged_userns_clone\0") == Some(0) {
        "kernel.unprivileged_userns_clone"
    } else if number(b"/proc/sys/kernel/apparmor_restrict_unprivileged_userns\0") == Some(1) {
        "kernel.apparmor_restrict_unprivileged_userns"
    } else {
        "forbidden by a seccomp profile or a chroot(2)"
    }
}
