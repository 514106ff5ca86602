//! Who has sent a pending signal.

use crate::plain;

/// `siginfo_t` of kill(2), sigqueue(3) and tgkill(2): its `si_pid` is the sender's id (include/uapi/asm-generic/siginfo.h).
const SENT: [i32; 3] = [0, -1, -6];

/// In a signal that process `old` has sent, the sender's id becomes `new`: a process that has sent it to itself finds its own id there after a restart,
/// and glibc takes its own signals from nobody else.
pub fn rename(info: &mut [u8; 128], old: u32, new: u32) {
    const CODE: usize = 8;
    const PID: usize = 16;
    let is_sent = plain::read::<u32>(info, CODE).is_some_and(|code| SENT.contains(&(code as i32)));
    if is_sent && plain::read(info, PID) == Some(old) {
        let _ = plain::write(info, PID, &new);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn renamed(code: i32, pid: u32) -> u32 {
        let mut info = [0; 128];
        plain::write(&mut info, 8, &(code as u32)).unwrap();
        plain::write(&mut info, 16, &pid).unwrap();
        rename(&mut info, 5, 9);
        plain::read(&info, 16).unwrap()
    }

    #[test]
    fn a_process_that_sent_itself_a_signal_has_its_new_id() {
        assert_eq!([0, -1, -6].map(|code| renamed(code, 5)), [9, 9, 9]);
        assert_eq!(renamed(-6, 6), 6, "from another process");
        assert_eq!(
            [-2, 0x80, 1].map(|code| renamed(code, 5)),
            [5, 5, 5],
            "not a process's id: of a timer, the kernel, a child"
        );
    }
}
