//! Texts of `/proc` with one `name: value` per line: `status`, `fdinfo/*` (`man 5 proc_pid_status`, `man 5 proc_pid_fdinfo`).

use crate::number::{decimal, octal, skip_blanks, take_decimal};

/// The value of the line if it is the field `name`, which includes its colon; blanks around the value are cut off.
///
/// ```
/// assert_eq!(image::fields::field(b"Umask:\t0022", b"Umask:"), Some(&b"0022"[..]));
/// ```
#[inline]
pub fn field<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    Some(line.strip_prefix(name)?.trim_ascii())
}

/// The value of the field `name`, which includes its colon, in a whole text of many lines; the first one, if there are several.
pub fn find<'a>(text: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    text.split(|byte| *byte == b'\n').find_map(|line| field(line, name))
}

/// The number in kilobytes of a value like `132 kB`.
pub fn kilobytes(value: &[u8]) -> Option<u64> {
    let (number, unit) = take_decimal(skip_blanks(value))?;
    (unit.trim_ascii() == b"kB").then_some(number)
}

/// What `/proc/self/fdinfo/N` says of every kind of descriptor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FdInfo {
    /// File offset in bytes.
    pub pos: u64,
    /// Access mode and status flags of open(2), `O_CLOEXEC` of the descriptor included.
    pub flags: u32,
    /// Id of the mount, as in `/proc/self/mountinfo`.
    pub mnt_id: u64,
    /// Inode (Linux 5.14 and newer).
    pub ino: Option<u64>,
}

impl FdInfo {
    /// Parses the whole text. `None` when one of `pos`, `flags`, `mnt_id` is missing or wrong.
    pub fn parse(text: &[u8]) -> Option<Self> {
        Some(Self {
            // The kernel prints a signed number, but no descriptor that can be saved has a negative offset.
            pos: decimal(find(text, b"pos:")?)?,
            flags: u32::try_from(octal(find(text, b"flags:")?)?).ok()?,
            mnt_id: decimal(find(text, b"mnt_id:")?)?,
            ino: find(text, b"ino:").and_then(decimal),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fdinfo_of_a_file_a_timer_and_an_epoll() {
        let file = b"pos:\t13\nflags:\t02100001\nmnt_id:\t29\nino:\t13107249\nlock:\t1: FLOCK  ADVISORY  WRITE 423 00:1c:13107249 0 EOF\n";
        let info = FdInfo { pos: 13, flags: 0o2_100_001, mnt_id: 29, ino: Some(13_107_249) };
        assert_eq!(FdInfo::parse(file), Some(info));
        assert_eq!(find(file, b"lock:"), Some(&b"1: FLOCK  ADVISORY  WRITE 423 00:1c:13107249 0 EOF"[..]));

        let timer =
            b"pos:\t0\nflags:\t02\nmnt_id:\t15\nino:\t1060\nclockid: 1\nticks: 0\nsettime flags: 01\n\
            it_value: (0, 999939010)\nit_interval: (1, 0)\n";
        assert_eq!(find(timer, b"settime flags:").and_then(octal), Some(1));
        assert_eq!(find(timer, b"it_value:"), Some(&b"(0, 999939010)"[..]));

        // Linux before 5.14 told no inode; the one in the last line is that of the watched file.
        let epoll = b"pos:\t0\nflags:\t02\nmnt_id:\t15\n\
            tfd:        5 events:       1d data: ffffffffffffffff  pos:0 ino:61af sdev:7\n";
        assert_eq!(FdInfo::parse(epoll), Some(FdInfo { pos: 0, flags: 2, mnt_id: 15, ino: None }));
    }

    #[test]
    fn a_text_that_lacks_something_is_no_fdinfo() {
        assert_eq!(FdInfo::parse(b""), None);
        assert_eq!(FdInfo::parse(b"pos:\t0\nflags:\t02\n"), None);
        assert_eq!(FdInfo::parse(b"pos:\t-1\nflags:\t02\nmnt_id:\t15\n"), None);
        assert_eq!(FdInfo::parse(b"pos:\t1\nflags:\t9\nmnt_id:\t15\n"), None);
    }

    #[test]
    fn status_of_a_python() {
        let status = b"Name:\tpython3\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t4242\nUid:\t1000\t1000\t1000\t1000\n\
            VmLck:\t       0 kB\nVmRSS:\t    9848 kB\nTHP_enabled:\t1\nThreads:\t1\nSigQ:\t0/95830\n\
            SigPnd:\t0000000000000000\nShdPnd:\t0000000000000000\nSigBlk:\t0000000000000000\nNoNewPrivs:\t0\nSeccomp:\t0\n";
        assert_eq!(find(status, b"Umask:").and_then(octal), Some(0o22));
        assert_eq!(find(status, b"VmRSS:").and_then(kilobytes), Some(9848));
        assert_eq!(find(status, b"Seccomp:").and_then(decimal), Some(0));
        assert_eq!(find(status, b"Uid:"), Some(&b"1000\t1000\t1000\t1000"[..]));
        assert_eq!(find(status, b"SigCgt:"), None);
        // A field is a whole name at the start of a line.
        assert_eq!(find(status, b"Pnd:"), None);
        assert_eq!(kilobytes(b"12 MB"), None);
        assert_eq!(kilobytes(b"12"), None);
    }
}
