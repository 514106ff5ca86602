//! Images that somebody has made for harm, with right sums: the commands say what is wrong, or show what is there. They do not crash, hang, take memory without
//! bound, or write where nobody told them to.
//!
//! A mutation changes words of tables, of the text that they refer to, and of the memory that holds the dynamic linker's list of libraries; then all sums are made
//! right. Each run makes a few; `CKPT_FUZZ_SECONDS=600 cargo nextest run -E 'test(mutations)'` makes as many as there is time for.

use super::Ckpt;
use super::security::peak;
use harness::{Program, User};
use image::crc::crc32c;
use image::format::{Head, OWNER, SumsHeader, note};
use image::plain::{bytes_of, read, write};
use nix::sys::resource::{Resource, setrlimit};
use std::fs::{self, Permissions};
use std::ops::Range;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::time::{Duration, Instant};

/// Numbers that are the same in every run (xorshift64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// The contents of our notes: where they are in the file.
fn notes(bytes: &[u8]) -> Vec<(u32, Range<usize>)> {
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let long = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
    let phdr = long(32);
    let (mut at, end) = (long(phdr + 8), long(phdr + 8) + long(phdr + 32));
    let mut all = vec![];
    while at < end {
        let (name, desc, kind) = (word(at) as usize, word(at + 4) as usize, word(at + 8));
        let start = at + 12 + name.next_multiple_of(4);
        if bytes[at + 12..].starts_with(OWNER) {
            all.push((kind, start..start + desc));
        }
        at = start + desc.next_multiple_of(4);
    }
    all
}

/// Makes every sum right: of the chunks, of their table, of the headers and of the notes.
fn reseal(bytes: &mut [u8]) {
    let head_at = notes(bytes).iter().find(|(kind, _)| *kind == note::HEAD).unwrap().1.start;
    let mut head: Head = read(bytes, head_at).unwrap();
    let [data_off, data_len, sums_off, sums_len] =
        [head.data_off, head.data_len, head.sums_off, head.sums_len].map(|n| n as usize);
    let sums: Vec<u32> =
        bytes[data_off..data_off + data_len].chunks(head.chunk as usize).map(crc32c).collect();
    let mut at = sums_off + size_of::<SumsHeader>();
    for sum in sums {
        bytes[at..at + 4].copy_from_slice(&sum.to_le_bytes());
        at += 4;
    }
    let crc = crc32c(&bytes[sums_off + 8..sums_off + sums_len]);
    bytes[sums_off + 4..sums_off + 8].copy_from_slice(&crc.to_le_bytes());
    head.tables_crc = crc32c(&bytes[..head.notes_off as usize]);
    head.notes_crc = 0;
    write(bytes, head_at, &head).unwrap();
    head.notes_crc = crc32c(&bytes[head.notes_off as usize..][..head.notes_len as usize]);
    bytes[head_at..head_at + size_of::<Head>()].copy_from_slice(bytes_of(&head));
}

/// Changes a few words.
fn mutate(bytes: &mut [u8], random: &mut Random) {
    const LARGE: [u64; 8] = [0, 1, 0xfff, 0x1000, 1 << 32, 1 << 46, 1 << 62, u64::MAX];
    const PATHS: [&[u8]; 6] = [b"/../../x", b"-ex", b"//", b"/a/..", b"/dev/tty", b"\x1b]0;x\x07"];
    let all = notes(bytes);
    let tables: Vec<_> = all.iter().filter(|(kind, range)| *kind != note::HEAD && range.len() > 8).collect();
    let head_at = all.iter().find(|(kind, _)| *kind == note::HEAD).unwrap().1.start;
    let head: Head = read(bytes, head_at).unwrap();
    let data = head.data_off as usize..(head.data_off + head.data_len) as usize;
    let headers = head.phdr_off as usize + 56..head.notes_off as usize;
    for _ in 0..=random.below(3) {
        let word = |bytes: &[u8], at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        let range = match random.below(8) {
            0 => headers.clone(),
            1..=3 => data.clone(),
            _ => random.of(&tables).1.clone(),
        };
        let mut at = range.start + random.below(range.len() - 8) / 4 * 4;
        if range == data {
            // Where the list of libraries is: words that are addresses, rather than text and numbers.
            at =
                (at / 8 * 8..data.end - 8).step_by(8).find(|at| word(bytes, *at) >> 40 == 0x7f).unwrap_or(at);
        }
        if let (0, Some((_, text))) = (random.below(4), all.iter().find(|(kind, _)| *kind == note::BYTES)) {
            let piece = random.of(&PATHS);
            let at = text.start + random.below(text.len() - piece.len());
            bytes[at..at + piece.len()].copy_from_slice(piece);
            continue;
        }
        let old = word(bytes, at);
        let new = match random.below(5) {
            0 => *random.of(&LARGE),
            1 => old ^ 1 << random.below(64),
            2 => old.wrapping_add(*random.of(&[1, 8, 0x1000, u64::MAX, 0u64.wrapping_sub(0x1000)])),
            3 => word(bytes, range.start + random.below(range.len() - 8) / 4 * 4),
            _ => random.next(),
        };
        let len = if random.below(2) == 0 { 4 } else { 8 };
        bytes[at..at + len].copy_from_slice(&new.to_le_bytes()[..len]);
    }
}

#[test]
fn commands_bear_mutations_with_right_sums() {
    /// KiB.
    const MOST_MEMORY: i64 = 400 << 10;
    let limit =
        std::env::var("CKPT_FUZZ_SECONDS").ok().map(|text| Duration::from_secs(text.parse().unwrap()));
    let ckpt = Ckpt::new(User::Myself);
    let script = "import mmap, os, signal\n\
        shared = mmap.mmap(-1, 1 << 20); shared[4096] = 7\n\
        fd = os.memfd_create('some'); os.truncate(fd, 1 << 40); os.pwrite(fd, b'some', 1 << 30)\n\
        print('ready', flush=True)\n\
        while True: signal.pause()";
    let mut process = ckpt.place.start(&Program::tool("python3").args(["-c", script]));
    process.ready();
    let image = process.save();
    process.kill();
    let good = fs::read(&image.path).unwrap();
    let tools = ckpt.place.file("tools");
    fs::create_dir(&tools).unwrap();
    fs::write(tools.join("gdb"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(tools.join("gdb"), Permissions::from_mode(0o755)).unwrap();
    let temporary = ckpt.place.file("temporary");
    fs::create_dir(&temporary).unwrap();
    let commands: [&[&str]; 7] = [
        &["show", "--json", "mutated"],
        &["diff", "mutated", "myckpt"],
        &["extract", "--exe", "-o", "piece", "mutated"],
        &["extract", "--object", "0", "-o", "piece", "mutated"],
        &["extract", "--region", "[stack]", "-o", "-", "mutated"],
        &["gdb", "mutated"],
        &["verify", "mutated"],
    ];
    let mut random = Random(0x1234_5678_9abc_def1);
    let (start, mut rounds, mut shown) = (Instant::now(), 0, 0);
    let names = |ckpt: &Ckpt| {
        let mut names = ckpt.place.names();
        names.retain(|name| name != "piece" && name != "mutated");
        names
    };
    let before = names(&ckpt);
    while limit.map_or(rounds < 12, |limit| start.elapsed() < limit) {
        let mut bytes = good.clone();
        mutate(&mut bytes, &mut random);
        reseal(&mut bytes);
        ckpt.place.write("mutated", &bytes);
        for words in commands {
            let mut command = ckpt.command_as(User::Myself, words);
            command.env("PATH", &tools).env("TMPDIR", &temporary);
            // SAFETY: a system call between fork and exec.
            unsafe { command.pre_exec(|| setrlimit(Resource::RLIMIT_CPU, 20, 20).map_err(Into::into)) };
            let (code, memory) = peak(command);
            let keep = || fs::copy(ckpt.place.file("mutated"), std::env::temp_dir().join("ckpt-mutated"));
            if !matches!(code, 0 | 1 | 64..=82) || memory > MOST_MEMORY {
                keep().unwrap();
                panic!("round {rounds}, {words:?}: {code}, {memory} KiB; the image is kept");
            }
            shown += usize::from(code == 0);
        }
        assert_eq!(names(&ckpt), before, "round {rounds}");
        assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0, "round {rounds}");
        rounds += 1;
    }
    // Some are as good as the image was: else everything would end at the first check.
    assert!(shown > 0, "{rounds} rounds");
    println!("{rounds} rounds, {shown} commands came to their end");
}
