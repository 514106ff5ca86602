//! What is not a good image: one line that names the thing, the cause and what to do, and an exit code for each class of failure.

use harness::{Artifact, Image, Place, Process, Program, User, tool};
use image::crc::crc32c;
use image::error::ImageError;
use image::format::{self, Head, OWNER, note};
use image::plain::{read, write};
use image::read::{Image as ImageReader, prefix_len};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

// The codes that `myrestart --help` documents.
const USAGE: i32 = 64;
const NOT_AN_IMAGE: i32 = 65;
const NO_IMAGE: i32 = 66;
const FOREIGN: i32 = 67;
const VERSION: i32 = 68;
const TRUNCATED: i32 = 69;
const CORRUPT: i32 = 71;
const FILE_MISSING: i32 = 72;
const CPU: i32 = 75;
const PERMISSION: i32 = 77;
const NOT_REGULAR: i32 = 81;
const UNSUPPORTED: i32 = 82;

/// Runs `myrestart` in a place as its user: the code, and that there is one line with each of `words` and nothing else.
#[track_caller]
fn fails(place: &Place, args: &[&str], code: i32, words: &[&str]) {
    let mut command = place.command(&place.artifact(Artifact::Restarter));
    command.args(args).stdout(place.output("restart.out")).stderr(place.output("restart.err"));
    let outcome = Process::spawn(place, command).finish();
    let said = place.text("restart.err");
    assert_eq!(outcome.status.code(), Some(code), "{args:?}: {said}");
    let one_line = said.starts_with("myrestart: ") && said.ends_with('\n') && said.lines().count() == 1;
    assert!(one_line, "{args:?}: {said:?}");
    for word in words {
        assert!(said.contains(word), "{args:?}: no {word:?} in {said:?}");
    }
    assert_eq!(place.text("restart.out"), "", "{args:?}");
}

/// A good image of a small program that has ended.
fn good(user: User) -> Image {
    let place = Place::new(user);
    let mut process = place.start(&Program::victim("quiet"));
    process.ready();
    let image = process.save();
    process.kill();
    image
}

/// A copy of an image with changes, under another name.
fn changed(image: &Image, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(&image.path).unwrap();
    change(&mut bytes);
    image.place().write(name, &bytes);
}

/// Where the contents of the first CKPT note of a type begin.
pub fn note_at(bytes: &[u8], wanted: u32) -> usize {
    let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
    let phdrs = u64_at(32);
    let mut at = u64_at(phdrs + 8);
    let end = at + u64_at(phdrs + 32);
    while at < end {
        let (name, desc, kind) = (u32_at(at), u32_at(at + 4), u32_at(at + 8));
        let contents = at + 12 + name.next_multiple_of(4);
        if kind == wanted as usize && bytes[at + 12..].starts_with(OWNER) {
            return contents;
        }
        at = contents + desc.next_multiple_of(4);
    }
    panic!("no note of type {wanted}");
}

/// Makes the checksum of the notes right again.
pub fn reseal(bytes: &mut [u8]) {
    let at = note_at(bytes, note::HEAD);
    let mut head: Head = read(bytes, at).unwrap();
    head.notes_crc = 0;
    write(bytes, at, &head).unwrap();
    head.notes_crc = crc32c(&bytes[head.notes_off as usize..][..head.notes_len as usize]);
    write(bytes, at, &head).unwrap();
}

#[test]
fn wrong_arguments() {
    let place = Place::new(User::ordinary());
    fails(&place, &[], USAGE, &["image"]);
    fails(&place, &["one", "two"], USAGE, &["two"]);
    fails(&place, &["--no-such-option", "one"], USAGE, &["--no-such-option"]);
}

#[test]
fn what_is_not_there_or_not_a_file() {
    for user in User::each() {
        let place = Place::new(user);
        fails(&place, &["nothing"], NO_IMAGE, &["nothing", "ENOENT"]);
        fs::create_dir(place.file("directory")).unwrap();
        fails(&place, &["directory"], NOT_REGULAR, &["directory"]);
        mkfifo(&place.file("fifo"), Mode::from_bits_truncate(0o666)).unwrap();
        fails(&place, &["fifo"], NOT_REGULAR, &["fifo", "a pipe"]);
        fails(&place, &["/dev/null"], NOT_REGULAR, &["/dev/null"]);
    }
}

#[test]
fn what_is_not_an_image() {
    let place = Place::new(User::ordinary());
    place.write("empty", b"");
    fails(&place, &["empty"], NOT_AN_IMAGE, &["empty"]);
    place.write("text", "just a text\n".repeat(1000).as_bytes());
    fails(&place, &["text"], NOT_AN_IMAGE, &["text"]);
    place.write("short", b"\x7fELF");
    fails(&place, &["short"], TRUNCATED, &["short"]);
    place.write("program", &fs::read("/bin/true").unwrap());
    fails(&place, &["program"], NOT_AN_IMAGE, &["program"]);
}

#[test]
fn image_that_may_not_be_read() {
    let place = Place::new(User::ordinary());
    place.write("secret", b"");
    fs::set_permissions(place.file("secret"), PermissionsExt::from_mode(0o000)).unwrap();
    fails(&place, &["secret"], NO_IMAGE, &["secret", "EACCES"]);
}

#[test]
fn core_of_another_program() {
    let place = Place::new(User::Myself);
    let mut process = place.start(&Program::victim("quiet").without_preload());
    process.ready();
    let mut gdb = Command::new(tool("gdb"));
    gdb.current_dir(place.cwd()).args(["-nx", "-batch", "-ex", "generate-core-file other", "-p"]);
    let output = gdb.arg(process.pid().to_string()).output().unwrap();
    assert!(place.file("other").exists(), "{}", String::from_utf8_lossy(&output.stderr));
    fails(&place, &["other"], FOREIGN, &["other", "core"]);
}

#[test]
fn core_of_another_machine() {
    let image = good(User::ordinary());
    // e_machine: AArch64.
    changed(&image, "arm", |bytes| bytes[18] = 183);
    fails(image.place(), &["arm"], FOREIGN, &["arm"]);
}

#[test]
fn image_of_another_version() {
    let image = good(User::ordinary());
    changed(&image, "newer", |bytes| {
        let at = note_at(bytes, note::HEAD);
        bytes[at] += 1;
        reseal(bytes);
    });
    fails(image.place(), &["newer"], VERSION, &["newer", "version"]);
}

#[test]
fn image_cut_short() {
    let image = good(User::ordinary());
    let bytes = fs::read(&image.path).unwrap();
    let head: Head = read(&bytes, note_at(&bytes, note::HEAD)).unwrap();
    let bounds = [
        head.phdr_off,
        head.notes_off,
        head.notes_off + head.notes_len,
        head.data_off,
        head.sums_off,
        head.file_len,
    ];
    for bound in bounds {
        for len in [bound - 1, bound, bound + 1] {
            if (64..head.file_len).contains(&len) {
                image.place().write("cut", &bytes[..len as usize]);
                fails(image.place(), &["cut"], TRUNCATED, &["cut"]);
            }
        }
    }
    // Something behind the end is not the image that was written either.
    image.place().write("longer", &[bytes, vec![0; 10]].concat());
    fails(image.place(), &["longer"], CORRUPT, &["longer"]);
}

#[test]
fn flipped_bits() {
    let image = good(User::ordinary());
    let bytes = fs::read(&image.path).unwrap();
    let head: Head = read(&bytes, note_at(&bytes, note::HEAD)).unwrap();
    // In the program headers, the notes, at the edges of the data, and in the sums.
    for at in [
        head.phdr_off + 70,
        head.notes_off + 500,
        head.data_off,
        head.sums_off - 1,
        head.sums_off + 20,
        head.file_len - 1,
    ] {
        eprintln!("byte {at:#x} of {:#x}", head.file_len);
        let mut flipped = bytes.clone();
        flipped[at as usize] ^= 0x10;
        image.place().write("flipped", &flipped);
        fails(image.place(), &["flipped"], CORRUPT, &["flipped", "damaged"]);
    }
}

#[test]
fn a_flipped_bit_in_any_chunk_is_found() {
    let image = good(User::ordinary());
    let bytes = fs::read(&image.path).unwrap();
    let head: Head = read(&bytes, note_at(&bytes, note::HEAD)).unwrap();
    let chunk = u64::from(head.chunk);
    let mut flips = 0;
    for start in (0..head.data_len).step_by(chunk as usize) {
        // Another place in each: most chunks are copies of libraries that are there, which no restart needs.
        let at = (head.data_off + start + start / chunk * 7919 % chunk.min(head.data_len - start)) as usize;
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (flips % 8);
        image.place().write("flipped", &flipped);
        fails(image.place(), &["flipped"], CORRUPT, &["flipped", "checksum"]);
        flips += 1;
    }
    assert!(flips > 4, "{flips} chunks");
}

#[test]
fn a_flipped_bit_in_any_table_is_found() {
    let image = good(User::ordinary());
    let mut bytes = fs::read(&image.path).unwrap();
    let len = bytes.len() as u64;
    let head: Head = read(&bytes, note_at(&bytes, note::HEAD)).unwrap();
    let reads = |bytes: &[u8]| -> Result<(), ImageError> {
        let prefix = prefix_len(bytes, len)? as usize;
        let image = ImageReader::parse(&bytes[..prefix], len)?;
        image.sums(&bytes[head.sums_off as usize..]).map(drop)
    };
    reads(&bytes).unwrap();
    // Every bit of what is read before anything can be summed, then every so many bytes.
    let first = (0..192u64).flat_map(|at| (0..8).map(move |bit| (at, bit)));
    let tables = (192..head.data_off).chain(head.sums_off..head.file_len).step_by(11);
    let mut flips = 0;
    for (at, bit) in first.chain(tables.map(|at| (at, (at % 8) as u8))) {
        bytes[at as usize] ^= 1 << bit;
        assert!(reads(&bytes).is_err(), "bit {bit} of byte {at:#x} of {len:#x}");
        bytes[at as usize] ^= 1 << bit;
        flips += 1;
    }
    println!("{flips} bits");
}

#[test]
fn cpu_that_lacks_a_feature() {
    let image = good(User::ordinary());
    changed(&image, "wide", |bytes| {
        let at = note_at(bytes, note::PROCESS);
        let mut process: format::Process = read(bytes, at).unwrap();
        // A register set that no CPU has yet.
        process.xcr0 |= 1 << 40;
        write(bytes, at, &process).unwrap();
        reseal(bytes);
    });
    fails(image.place(), &["wide"], CPU, &["wide"]);
}

#[test]
fn file_that_was_open_and_is_gone() {
    let place = Place::new(User::ordinary());
    let mut process = place.start(&Program::victim("files"));
    process.ready();
    let image = process.save();
    process.kill();
    fs::remove_file(place.file("data")).unwrap();
    fails(&place, &["myckpt"], FILE_MISSING, &["/data"]);
    assert!(!image.is_empty() && place.read("go.1").is_empty(), "nothing ran");
}

#[test]
fn image_of_another_user() {
    // Only root can make one.
    if User::ordinary() == User::Myself {
        return;
    }
    let image = good(User::Nobody);
    image.place().write("of another", &fs::read(&image.path).unwrap());
    nix::unistd::chown(&image.place().file("of another"), Some(1234.into()), None).unwrap();
    fs::set_permissions(image.place().file("of another"), PermissionsExt::from_mode(0o644)).unwrap();
    fails(image.place(), &["of another"], PERMISSION, &["of another", "--force"]);
}

#[test]
fn lazy_restart_where_the_image_can_go_away() {
    for user in User::each() {
        let image = good(user);
        let place = image.place();
        // myrestart is told that the image is on another file system: its type is the first word that fstatfs(2) stores.
        let run = |kind: &str, options: &[&str]| {
            let mut command = place.command(&tool("strace"));
            let poke = format!("inject=fstatfs:poke_exit=@arg2={kind}");
            command.args(["-o", "trace", "-e", "trace=fstatfs", "-e", &poke]);
            command.arg(place.artifact(Artifact::Restarter)).args(options).arg("myckpt");
            command.stdout(place.output("restart.out")).stderr(place.output("restart.err"));
            (command.status().unwrap().code(), place.text("restart.err"))
        };
        const NFS: &str = "6969000000000000";
        const FUSE: &str = "4655736500000000";
        const TMPFS: &str = "9419020100000000";
        for kind in [NFS, FUSE] {
            let (code, said) = run(kind, &["--lazy"]);
            assert_eq!(code, Some(UNSUPPORTED), "{said}");
            assert!(said.contains("myckpt") && said.contains("leave --lazy out"), "{said}");
            assert!(place.text("trace").contains("INJECTED"), "{}", place.text("trace"));
        }
        for (kind, options) in [
            (NFS, &["--plan"][..]),
            (NFS, &["--lazy", "--plan", "--force=lazy"]),
            (TMPFS, &["--lazy", "--plan"]),
        ] {
            let (code, said) = run(kind, options);
            assert_eq!((code, said.as_str()), (Some(0), ""), "{options:?}");
        }
    }
}
