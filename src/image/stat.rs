//! `/proc/self/stat` (`man 5 proc_pid_stat`; fs/proc/array.c, `do_task_stat`).

use crate::format::MemoryMap;
use crate::number::{take_decimal, take_signed};

/// The fields that matter here. Numbers in comments are those of the man page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat<'a> {
    /// 1: process id.
    pub pid: u32,
    /// 2: name of the thread, without its parentheses. It may hold blanks, newlines and parentheses of its own.
    pub comm: &'a [u8],
    /// 3: state letter.
    pub state: u8,
    /// 4: parent.
    pub ppid: u32,
    /// 5: process group.
    pub pgrp: u32,
    /// 6: session.
    pub session: u32,
    /// 7: controlling terminal as a device number, or 0.
    pub tty_nr: i32,
    /// 8: foreground process group of that terminal, or -1.
    pub tpgid: i32,
    /// 9: flags of the kernel's (`PF_*`, include/linux/sched.h).
    pub flags: u32,
    /// 20: number of threads.
    pub num_threads: u32,
    /// 22: start time in clock ticks after boot.
    pub starttime: u64,
    /// 26 to 28, 45 to 51: address-space layout; zero where the kernel does not tell. `brk` is not in the text: it is what
    /// brk(2) with zero returns.
    pub mm: MemoryMap,
}

impl<'a> Stat<'a> {
    /// Parses the whole text; `None` when it is not that of Linux 3.5 or newer.
    pub fn parse(text: &'a [u8]) -> Option<Self> {
        let (pid, rest) = take_decimal(text)?;
        let rest = rest.strip_prefix(b" (")?;
        // Behind the name there are only numbers, so that the last parenthesis is its end.
        let close = rest.iter().rposition(|byte| *byte == b')')?;
        let (comm, rest) = rest.split_at_checked(close)?;
        let [b')', b' ', state, numbers @ ..] = rest else { return None };
        let mut stat = Self {
            pid: u32::try_from(pid).ok()?,
            comm,
            state: *state,
            ppid: 0,
            pgrp: 0,
            session: 0,
            tty_nr: 0,
            tpgid: 0,
            flags: 0,
            num_threads: 0,
            starttime: 0,
            mm: MemoryMap::default(),
        };
        let mut fields = Fields(numbers);
        stat.ppid = fields.small()?; // 4
        stat.pgrp = fields.small()?;
        stat.session = fields.small()?;
        stat.tty_nr = fields.signed()?;
        stat.tpgid = fields.signed()?; // 8
        stat.flags = fields.small()?;
        fields.skip(10)?;
        stat.num_threads = fields.small()?; // 20
        fields.skip(1)?;
        stat.starttime = fields.number()?; // 22
        fields.skip(3)?;
        stat.mm.start_code = fields.number()?; // 26
        stat.mm.end_code = fields.number()?;
        stat.mm.start_stack = fields.number()?; // 28
        fields.skip(16)?;
        stat.mm.start_data = fields.number()?; // 45
        stat.mm.end_data = fields.number()?;
        stat.mm.start_brk = fields.number()?;
        stat.mm.arg_start = fields.number()?;
        stat.mm.arg_end = fields.number()?;
        stat.mm.env_start = fields.number()?;
        stat.mm.env_end = fields.number()?; // 51
        Some(stat)
    }
}

/// Numbers, each with a blank before it.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn number(&mut self) -> Option<u64> {
        let (value, rest) = take_decimal(self.0.strip_prefix(b" ")?)?;
        self.0 = rest;
        Some(value)
    }

    fn small(&mut self) -> Option<u32> {
        u32::try_from(self.number()?).ok()
    }

    fn signed(&mut self) -> Option<i32> {
        let (value, rest) = take_signed(self.0.strip_prefix(b" ")?)?;
        self.0 = rest;
        i32::try_from(value).ok()
    }

    /// Passes over fields of any sign.
    fn skip(&mut self, count: usize) -> Option<()> {
        for _ in 0..count {
            let rest = self.0.strip_prefix(b" ")?;
            let end = rest.iter().position(|byte| *byte == b' ')?;
            self.0 = rest.get(end..)?;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    const CAT: &[u8] = b"6516 (cat) R 6512 6512 4870 0 -1 4194304 100 0 0 0 0 0 0 0 20 0 1 0 141403 3133440 384 \
        18446744073709551615 94783963238400 94783963258281 140736014952160 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0 94783963274288 \
        94783963275904 94784815992832 140736014953171 140736014953191 140736014953191 140736014954475 0\n";

    #[test]
    fn a_real_line() {
        let stat = Stat::parse(CAT).unwrap();
        assert_eq!((stat.pid, stat.comm, stat.state), (6516, &b"cat"[..], b'R'));
        assert_eq!((stat.ppid, stat.pgrp, stat.session), (6512, 6512, 4870));
        assert_eq!((stat.tty_nr, stat.tpgid, stat.num_threads, stat.starttime), (0, -1, 1, 141_403));
        let mm = MemoryMap {
            start_code: 94_783_963_238_400,
            end_code: 94_783_963_258_281,
            start_stack: 140_736_014_952_160,
            start_data: 94_783_963_274_288,
            end_data: 94_783_963_275_904,
            start_brk: 94_784_815_992_832,
            arg_start: 140_736_014_953_171,
            arg_end: 140_736_014_953_191,
            env_start: 140_736_014_953_191,
            env_end: 140_736_014_954_475,
            ..MemoryMap::default()
        };
        assert_eq!(stat.mm, mm);
    }

    #[test]
    fn names_that_try_to_look_like_fields() {
        for name in [&b""[..], b"a) R 1 (b", b") S 1 2 3 (", b"tab\tnl\n", b"((((", b"))))"] {
            let text = [b"1 (", name, b") S", CAT.strip_prefix(b"6516 (cat) R").unwrap()].concat();
            let stat = Stat::parse(&text).unwrap();
            assert_eq!((stat.comm, stat.state, stat.ppid), (name, b'S', 6512));
        }
    }

    #[test]
    fn no_prefix_of_a_line_is_a_line() {
        // All that is needed ends two fields before the end.
        let end = CAT.len() - b"140736014954475 0\n".len();
        for len in 0..=end {
            assert_eq!(Stat::parse(&CAT[..len]), None, "{len}");
        }
    }

    #[test]
    fn this_process() {
        let text: Vec<u8> = std::fs::read("/proc/self/stat").unwrap();
        let stat = Stat::parse(&text).unwrap();
        assert_eq!(stat.pid, std::process::id());
        assert!(stat.mm.start_code < stat.mm.end_code && stat.mm.env_start < stat.mm.env_end);
    }
}
