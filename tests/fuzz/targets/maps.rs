//! The parsers of `/proc` texts, on any text.

use image::lines::{Lines, LinesError};
use image::maps::{parse_line, unescape};
use image::{fields, smaps, stat};
use std::convert::Infallible;

/// The first byte says how large the pieces are in which the rest is read.
pub fn run(input: &[u8]) {
    let Some((size, text)) = input.split_first() else { return };
    let size = usize::from(*size).max(1);
    let mut rest = text;
    let mut lines = Lines::<256>::new();
    let mut whole = text.split(|byte| *byte == b'\n');
    loop {
        let next = lines.next_line(&mut |buf: &mut [u8]| {
            let (now, later) = rest.split_at(size.min(buf.len()).min(rest.len()));
            buf[..now.len()].copy_from_slice(now);
            rest = later;
            Ok::<_, Infallible>(now.len())
        });
        match next {
            Ok(Some(line)) => {
                assert_eq!(Some(line), whole.next(), "a line is what stands between newlines");
                each(line);
            }
            Ok(None) => {
                assert!(whole.all(<[u8]>::is_empty), "the text ends where the lines do");
                break;
            }
            Err(LinesError::TooLong) => {
                assert!(whole.next().is_some_and(|line| line.len() >= 256));
                break;
            }
        }
    }
    if let Some(stat) = stat::Stat::parse(text) {
        assert!(text.windows(stat.comm.len() + 2).any(|part| part.starts_with(b"(") && part.ends_with(b")")));
    }
    if let Some(info) = fields::FdInfo::parse(text) {
        assert_eq!(fields::find(text, b"ino:").and_then(image::number::decimal), info.ino);
    }
}

fn each(line: &[u8]) {
    if let Some(region) = parse_line(line) {
        assert!(region.start < region.end && region.prot <= 7 && !region.is_empty());
        assert!(
            line.ends_with(region.name) && region.deleted().is_none_or(|name| region.name.starts_with(name))
        );
        let mut buf = [0; 256];
        let len = unescape(region.name, &mut buf).expect("a name gets no longer");
        assert!(len <= region.name.len() && region.name.len() <= 4 * len);
        assert!(smaps::vm_flags(line).is_none() && !smaps::has_huge_pages(line), "no line is two things");
    }
    smaps::protection_key(line);
    for parse in [image::number::decimal, image::number::hex, image::number::octal] {
        parse(line);
    }
    image::number::signed(line);
}
