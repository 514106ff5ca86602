//! What is in an image, and what is not.

use harness::{Place, Program, User, survives, survives_as, tool};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

#[test]
fn more_than_65534_segments() {
    survives("segments");
    let place = Place::new(User::Myself);
    let mut process = place.start(&Program::victim("segments"));
    process.ready();
    let image = process.save();
    let output = Command::new(tool("readelf")).arg("-hW").arg(&image.path).output().unwrap();
    let header = String::from_utf8(output.stdout).unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let count = header.lines().find_map(|line| line.trim().strip_prefix("Number of program headers:"));
    let count = count.unwrap_or_else(|| panic!("{header}")).trim();
    let real =
        count.split_once('(').expect("PN_XNUM, and the real number in brackets").1.trim_end_matches(')');
    assert!(real.parse::<u32>().unwrap() > 66_000, "{header}");
}

#[test]
fn untouched_pages_and_zeros_take_no_space() {
    survives("zeros");
    let place = Place::new(User::Myself);
    let mut process = place.start(&Program::victim("zeros"));
    process.ready();
    let image = process.save();
    // libc, the loader, the program and a few pages of its own: not a trace of the 768 MiB.
    assert!(image.len() < 4 << 20, "{} bytes", image.len());
    let blocks = fs::metadata(&image.path).unwrap().blocks();
    assert!(blocks * 512 < 4 << 20, "{blocks} blocks");
}

#[test]
fn image_is_private_and_alone() {
    for user in User::each() {
        let place = Place::new(user);
        let mut process = place.start(&Program::victim("cwd_umask"));
        process.ready();
        process.image = "a directory/myckpt".into();
        let image = process.save();
        let metadata = fs::metadata(&image.path).unwrap();
        assert_eq!(metadata.mode() & 0o7777, 0o600, "whatever the umask");
        assert_eq!(metadata.uid(), user.ids().0);
        let names: Vec<_> =
            fs::read_dir(place.file("a directory")).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["myckpt"], "no temporary file is left");
    }
}

#[test]
fn next_image_is_another_file() {
    let place = Place::new(User::ordinary());
    let mut process = place.start(&Program::victim("quiet"));
    process.ready();
    let image = process.save();
    // As a restarted process that has pages of it mapped would see it.
    let (kept, contents) = (fs::File::open(&image.path).unwrap(), fs::read(&image.path).unwrap());
    process.save();
    assert_eq!(kept.metadata().unwrap().nlink(), 0, "replaced, not rewritten");
    let mut old = vec![];
    std::io::Read::read_to_end(&mut &kept, &mut old).unwrap();
    assert!(old == contents, "the old file was written to");
}

#[test]
fn one_image_restarts_often_and_at_once() {
    let place = Place::new(User::ordinary());
    let mut process = place.start(&Program::victim("heap_break"));
    process.ready();
    let image = process.save();
    process.kill();
    let mut all: Vec<_> = (0..5).map(|_| image.restart()).collect();
    for process in &mut all {
        process.go();
    }
    for process in all {
        assert!(process.finish().status.success());
    }
}

#[test]
fn image_stands_alone_when_program_and_libraries_are_deleted() {
    for user in User::each() {
        let place = Place::new(user);
        fs::create_dir(place.file("lib")).unwrap();
        for name in ["libc.so.6", "libm.so.6"] {
            let library = fs::read(format!("/lib/x86_64-linux-gnu/{name}")).unwrap();
            place.write(&format!("lib/{name}"), &library);
        }
        let program = Program::victim("unlinked").env("LD_LIBRARY_PATH", place.file("lib"));
        let mut process = place.start(&program);
        process.ready();
        assert!(process.proc("maps").contains("cwd/lib/libm.so.6"), "{}", process.report());
        let image = process.save();
        process.kill();
        fs::remove_dir_all(place.file("lib")).unwrap();
        fs::remove_file(place.file("unlinked")).unwrap();
        fs::remove_file(place.artifact(harness::Artifact::Library)).unwrap();
        // Twice more: now the mapped files have no names.
        image.restart().generations(2).passes();
    }
}

#[test]
fn libraries_that_were_upgraded_do_not_matter() {
    let place = Place::new(User::ordinary());
    let mut process = place.start(&Program::victim("unlinked"));
    process.ready();
    let image = process.save();
    process.kill();
    // Same name, other contents: must not be mapped.
    let mut other = fs::read(place.file("unlinked")).unwrap();
    fs::remove_file(place.file("unlinked")).unwrap();
    other.iter_mut().skip(4096).for_each(|byte| *byte = 0xcc);
    place.write("unlinked", &other);
    image.restart().generations(1).passes();
}

#[test]
fn musl_program() {
    survives("musl");
}

#[test]
fn environment_names_the_image() {
    let program = Program::victim("heap_break").env("CKPT_IMAGE", "another name");
    let place = Place::new(User::ordinary());
    let mut process = place.start(&program);
    process.ready();
    process.generations(2).passes();
    assert!(!place.names().contains(&"myckpt".to_owned()));
    survives_as(Program::victim("heap_break").env("CKPT_FOREGROUND", "1"));
}
