//! The parser of maps against one that uses all of std, on texts that the kernel could print and on some that it could not.

use image::lines::{Lines, LinesError};
use image::maps::{self, LONGEST_LINE, MapsLine, parse_line, unescape};
use proptest::prelude::*;
use std::convert::Infallible;

/// One line, the easy way.
fn naive(line: &str) -> Option<MapsLine<'_>> {
    let hex = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        digits.then(|| u64::from_str_radix(text, 16).ok())?
    };
    let (range, rest) = line.split_once(' ')?;
    let (permissions, rest) = rest.split_once(' ')?;
    let (offset, rest) = rest.split_once(' ')?;
    let (device, rest) = rest.split_once(' ')?;
    let (ino, name) = rest.split_once(' ').unwrap_or((rest, ""));
    let (start, end) = range.split_once('-')?;
    let (major, minor) = device.split_once(':')?;
    let (start, end, major, minor) = (hex(start)?, hex(end)?, hex(major)?, hex(minor)?);
    let permissions: [u8; 4] = permissions.as_bytes().try_into().ok()?;
    let mut prot = 0;
    for (i, letter) in b"rwx".iter().enumerate() {
        match permissions[i] {
            b'-' => {}
            found if found == *letter => prot |= 1 << i,
            _ => return None,
        }
    }
    if !ino.bytes().all(|byte| byte.is_ascii_digit()) || !b"sp".contains(&permissions[3]) {
        return None;
    }
    if start >= end || major >= 4096 || minor >= 1 << 20 {
        return None;
    }
    Some(MapsLine {
        start,
        end,
        prot,
        shared: permissions[3] == b's',
        offset: hex(offset)?,
        dev: (minor & 0xff) + (major << 8) + ((minor >> 8) << 20),
        ino: ino.parse().ok()?,
        name: name.trim_start_matches([' ', '\t']).as_bytes(),
    })
}

/// All lines of a text that is read in pieces of the given sizes, over and over.
fn lines_in_pieces<const N: usize>(
    text: &[u8],
    sizes: &[usize],
) -> Result<Vec<Vec<u8>>, LinesError<Infallible>> {
    let mut lines = Lines::<N>::new();
    let mut rest = text;
    let mut sizes = sizes.iter().cycle();
    let mut ended = false;
    let mut read = |buf: &mut [u8]| {
        assert!(!buf.is_empty() && !ended, "a read that can bring nothing");
        let len = rest.len().min(buf.len()).min(*sizes.next().unwrap());
        let (now, later) = rest.split_at(len);
        buf[..len].copy_from_slice(now);
        rest = later;
        ended = len == 0;
        Ok(len)
    };
    let mut all = Vec::new();
    while let Some(line) = lines.next_line(&mut read)? {
        all.push(line.to_vec());
    }
    assert_eq!(lines.next_line(&mut read), Ok(None), "the end stays the end");
    Ok(all)
}

/// A line as `show_map_vma` prints it: the name begins in column 74, or behind one blank if the numbers reach further.
fn kernel_line() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        3 => Just(String::new()),
        1 => prop::sample::select(vec!["[heap]", "[stack]", "[vdso]", "[vvar]", "[vvar_vclock]", "[anon: glibc: malloc]"])
            .prop_map(String::from),
        4 => "/[ -\\[\\]-~]{0,60}",
        1 => "/[a-z]{1,20}(\\\\012[a-z ]{0,9}){1,4}( \\(deleted\\))?",
    ];
    (any::<(u64, u64)>(), 0u32..8, any::<bool>(), any::<u64>(), 0u32..4096, 0u32..1 << 20, any::<u64>(), name)
        .prop_map(|((a, b), prot, shared, offset, major, minor, ino, name)| {
            let (start, end) = (a.min(b), a.max(b).max(1));
            let letter = |bit: u32, letter: char| if prot & bit != 0 { letter } else { '-' };
            let numbers = format!(
                "{start:08x}-{end:08x} {}{}{}{} {offset:08x} {major:02x}:{minor:02x} {ino} ",
                letter(1, 'r'),
                letter(2, 'w'),
                letter(4, 'x'),
                if shared { 's' } else { 'p' },
            );
            if name.is_empty() { numbers } else { format!("{numbers:<72} {name}") }
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 5 } else { 300 }))]

    #[test]
    fn agrees_with_the_naive_parser_however_it_is_read(
        text in prop::collection::vec(kernel_line(), 0..30),
        sizes in prop::collection::vec(1usize..3000, 1..10),
        last_newline: bool,
    ) {
        let mut joined = text.join("\n");
        if last_newline && !text.is_empty() {
            joined.push('\n');
        }
        let lines = lines_in_pieces::<512>(joined.as_bytes(), &sizes).unwrap();
        prop_assert_eq!(lines.len(), text.len());
        for (line, expected) in lines.iter().zip(&text) {
            prop_assert_eq!(line, expected.as_bytes());
            let parsed = parse_line(line);
            prop_assert!(parsed.is_some());
            prop_assert_eq!(parsed, naive(expected));
        }
    }

    #[test]
    fn agrees_with_the_naive_parser_on_lines_with_a_mistake(line in kernel_line(), at: prop::sample::Index, with in "[ -~]?") {
        let at = at.index(line.len());
        let mut wrong = line.clone();
        wrong.replace_range(at..=at, &with);
        prop_assert_eq!(parse_line(wrong.as_bytes()), naive(&wrong), "{}", wrong);
    }

    #[test]
    fn any_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        parse_line(&bytes);
        image::smaps::vm_flags(&bytes);
        image::stat::Stat::parse(&bytes);
        image::fields::FdInfo::parse(&bytes);
        unescape(&bytes, &mut [0; 20]);
    }

    #[test]
    fn lines_are_those_of_split(
        text in prop::collection::vec(prop_oneof![1 => Just(b'\n'), 6 => any::<u8>()], 0..400),
        sizes in prop::collection::vec(1usize..40, 1..10),
    ) {
        let mut expected: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
        if expected.last().is_some_and(|last| last.is_empty()) {
            expected.pop();
        }
        let result = lines_in_pieces::<32>(&text, &sizes);
        // A last line without a newline needs one byte more to see that the text ends.
        if expected.iter().any(|line| line.len() >= 32) {
            prop_assert_eq!(result, Err(LinesError::TooLong));
        } else {
            prop_assert_eq!(result.unwrap(), expected);
        }
    }

    #[test]
    fn unescaping_undoes_what_the_kernel_does(name in "[a-z\n\\\\]{0,40}", room in 0usize..50) {
        // A name that holds the four characters of an escape in earnest cannot be told apart: see `unescape`.
        prop_assume!(!name.contains("\\012"));
        let escaped = name.replace('\n', "\\012");
        let mut buf = vec![0; room];
        let len = unescape(escaped.as_bytes(), &mut buf);
        if room < name.len() {
            prop_assert_eq!(len, None);
        } else {
            prop_assert_eq!(len.map(|len| &buf[..len]), Some(name.as_bytes()));
        }
    }
}

/// As printed by Linux 6.18, 5.10 (one vvar) and an Android kernel (names of anonymous memory).
const REAL: &str = "\
55adb2b94000-55adb2b96000 r--p 00000000 fe:00 247030                     /usr/bin/cat
55adb2b9b000-55adb2b9e000 r--p 00007000 fe:00 247030                     /usr/bin/cat (deleted)
55adb2ba0000-55adb2bc1000 rw-p 00000000 00:00 0                          [heap]
7f1c40000000-7f1c80000000 rw-s 00000000 00:01 1027                       /dev/zero (deleted)
7f1c80000000-7f1c80021000 rw-p 00000000 00:00 0 
7f1c8a000000-7f1c8a001000 rw-s 10000000000 103:102 18446744073709551615  /mnt/a b\\012c
7f1c8b000000-7f1c8b100000 ---p 00000000 00:00 0                          [anon:stack and tls]
7f1c8c000000-7f1c8c200000 rw-s 00000000 00:0f 30232                      /anon_hugepage (deleted)
7ffd3a5c4000-7ffd3a5e6000 rw-p 00000000 00:00 0                          [stack]
7ffd3a5f2000-7ffd3a5f6000 r--p 00000000 00:00 0                          [vvar]
7ffd3a5f6000-7ffd3a5f8000 r--p 00000000 00:00 0                          [vvar_vclock]
7ffd3a5f8000-7ffd3a5fa000 r-xp 00000000 00:00 0                          [vdso]
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]
";

#[test]
fn lines_as_the_kernel_prints_them() {
    let lines: Vec<_> = REAL.lines().map(|line| parse_line(line.as_bytes()).expect(line)).collect();
    let text = MapsLine {
        start: 0x55ad_b2b9_4000,
        end: 0x55ad_b2b9_6000,
        prot: 1,
        shared: false,
        offset: 0,
        dev: 0xfe00,
        ino: 247_030,
        name: b"/usr/bin/cat",
    };
    assert_eq!(lines[0], text);
    assert_eq!(lines[0].len(), 0x2000);
    assert_eq!(
        (lines[1].name, lines[1].deleted()),
        (&b"/usr/bin/cat (deleted)"[..], Some(&b"/usr/bin/cat"[..]))
    );
    assert_eq!(lines[0].deleted(), None);
    assert_eq!((lines[2].name, lines[2].prot, lines[2].ino), (&b"[heap]"[..], 3, 0));
    assert!(lines[3].shared && lines[3].dev == 1);
    assert_eq!(lines[4].name, b"");
    let far = lines[5];
    assert_eq!((far.offset, far.ino, far.name), (1 << 40, u64::MAX, &br"/mnt/a b\012c"[..]));
    assert_eq!(far.dev, 0x10_0002 | 0x103 << 8, "large minor numbers are split");
    assert_eq!((lines[6].prot, lines[6].name), (0, &b"[anon:stack and tls]"[..]));
    assert_eq!(lines[12].end, 0xffff_ffff_ff60_1000);
}

#[test]
fn this_process() {
    use std::io::Read;
    use std::os::linux::fs::MetadataExt;
    let mut maps = std::fs::File::open("/proc/self/maps").unwrap();
    let mut lines = Lines::<LONGEST_LINE>::new();
    let exe = std::fs::metadata("/proc/self/exe").unwrap();
    let (mut last, mut own) = (0, 0);
    while let Some(line) = lines.next_line(&mut |buf: &mut [u8]| maps.read(buf)).unwrap() {
        let region = parse_line(line).unwrap();
        assert!(last <= region.start);
        last = region.end;
        own += usize::from(region.ino == exe.st_ino() && region.dev == exe.st_dev());
    }
    assert!(own >= 2, "the text and data of this test");
}

#[test]
fn what_is_no_line_of_maps() {
    for line in [
        "",
        "Size:                  8 kB",
        "VmFlags: rd mr mw me ",
        "Anonymous:             0 kB",
        "55adb2b94000-55adb2b96000",
        "55adb2b94000-55adb2b96000 r--p 00000000 fe:00",
        "55adb2b94000-55adb2b96000 r--p 00000000 fe:00 247030x /bin/cat",
        "55adb2b96000-55adb2b94000 r--p 00000000 fe:00 247030 /bin/cat",
        "55adb2b94000-55adb2b94000 r--p 00000000 fe:00 247030 /bin/cat",
        "155adb2b9400055ad-155adb2b9400055ae r--p 00000000 fe:00 247030 /bin/cat",
        "55adb2b94000-55adb2b96000 r--- 00000000 fe:00 247030 /bin/cat",
        "55adb2b94000-55adb2b96000 w--p 00000000 fe:00 247030 /bin/cat",
        "55adb2b94000-55adb2b96000 r--p 00000000 1000:00 247030 /bin/cat",
        "55adb2b94000-55adb2b96000 r--p 00000000 00:100000 247030 /bin/cat",
    ] {
        assert_eq!(parse_line(line.as_bytes()), None, "{line}");
    }
}

#[test]
fn the_longest_path_fits() {
    // 4095 bytes, all newlines but the first.
    let line = format!(
        "{:<72} /{}",
        format!("{0:x}-{0:x}0 rw-p {0:x} fff:fffff {0}", u64::MAX >> 4),
        "\\012".repeat(4094)
    );
    let lines =
        lines_in_pieces::<LONGEST_LINE>(format!("{line}\n{line}\n").as_bytes(), &[4096, 1, 3000]).unwrap();
    assert_eq!(lines, [line.as_bytes(), line.as_bytes()]);
    let region = parse_line(&lines[0]).unwrap();
    let mut path = [0; 4095];
    assert_eq!(unescape(region.name, &mut path), Some(4095));
    assert!(path[0] == b'/' && path[1..].iter().all(|byte| *byte == b'\n'));
    assert_eq!(unescape(region.name, &mut path[..4094]), None);
}

#[test]
fn a_line_that_does_not_fit_is_an_error_and_never_cut() {
    let text = |len: usize| [vec![b'a'; len], b"\nnext\n".to_vec()].concat();
    assert_eq!(lines_in_pieces::<64>(&text(63), &[7]).unwrap(), [&[b'a'; 63][..], b"next"]);
    assert_eq!(lines_in_pieces::<64>(&text(64), &[7]), Err(LinesError::TooLong));
    assert_eq!(lines_in_pieces::<64>(&text(1000), &[5000]), Err(LinesError::TooLong));
    // It stays one.
    let mut lines = Lines::<8>::new();
    let mut read = |buf: &mut [u8]| {
        buf.fill(b'x');
        Ok::<_, Infallible>(buf.len())
    };
    assert_eq!(lines.next_line(&mut read), Err(LinesError::TooLong));
    assert_eq!(lines.next_line(&mut read), Err(LinesError::TooLong));
}

#[test]
fn a_failed_read_is_told_and_can_be_repeated() {
    let mut lines = Lines::<64>::new();
    let mut calls = 0;
    let mut read = |buf: &mut [u8]| {
        calls += 1;
        match calls {
            1 => {
                buf[..3].copy_from_slice(b"hal");
                Ok(3)
            }
            2 => Err("interrupted"),
            3 => {
                buf[..3].copy_from_slice(b"f\n\n");
                Ok(3)
            }
            _ => Ok(0),
        }
    };
    assert_eq!(lines.next_line(&mut read), Err(LinesError::Read("interrupted")));
    assert_eq!(lines.next_line(&mut read), Ok(Some(&b"half"[..])));
    assert_eq!(lines.next_line(&mut read), Ok(Some(&b""[..])));
    assert_eq!(lines.next_line(&mut read), Ok(None));
    assert_eq!(lines.next_line(&mut read), Ok(None));
    assert_eq!(calls, 4);
}

#[test]
fn device_numbers_are_those_of_stat() {
    assert_eq!(maps::device(8, 1), Some(0x801));
    assert_eq!(maps::device(0xfff, 0xf_ffff), Some(0xffff_ffff));
    assert_eq!(maps::device(0, 0x12345), Some(0x1230_0045));
    assert_eq!(maps::device(0x1000, 0), None);
    assert_eq!(maps::device(0, 0x10_0000), None);
}
