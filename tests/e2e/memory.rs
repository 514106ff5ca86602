//! Memory of each kind.

use harness::{Image, Place, Program, User, survives, survives_as};
use std::fs;

#[test]
fn shared_anonymous_memory_stays_shared() {
    survives("shared_anonymous");
}

#[test]
fn file_mappings_show_their_files() {
    survives("file_mappings");
}

#[test]
fn protected_guarded_and_growing_memory() {
    survives("protections");
}

#[test]
fn advice_and_locks() {
    survives("advised");
}

#[test]
fn future_memory_is_locked() {
    survives("locked_future");
}

#[test]
fn sealed_memory_stays_sealed_and_droppable_memory_comes_back_empty() {
    survives("sealed");
}

#[test]
fn memfds_keep_contents_seals_and_mappings() {
    survives("memfds");
}

#[test]
fn files_without_a_name_keep_their_contents() {
    survives("nameless_files");
}

#[test]
fn memory_files_out_of_sight_come_back() {
    survives("mem_out_of_sight");
}

#[test]
fn what_children_do_not_get_is_saved() {
    survives("mem_not_in_children");
    survives_as(Program::victim("mem_not_in_children").env("CKPT_FOREGROUND", "1"));
}

#[test]
fn sparse_memory_stays_sparse() {
    survives("mem_sparse");
}

/// What is a hole in the file is not read.
#[test]
fn large_private_mappings_of_files_with_holes() {
    survives("mem_holes");
}

#[test]
fn everything_is_locked_again() {
    survives("mem_locked_all");
}

#[test]
fn mapped_files_without_their_names() {
    survives("mem_lost_names");
}

#[test]
fn many_memfds_each_under_its_number() {
    survives("mem_many_memfds");
}

/// Saves of memory that cannot be restored: one line that names it, no image, and the program goes on.
#[test]
fn memory_that_cannot_be_restored_is_named() {
    for (what, expected) in [
        ("secret mapping", "secret memory (memfd_secret)"),
        ("secret descriptor", "secret memory (memfd_secret)"),
        ("huge memfd", "huge pages of hugetlbfs"),
        ("write-only memfd", "descriptor 4 is a file without a name that cannot be read"),
        ("shared file out of reach", "a shared mapping of a file that"),
    ] {
        let mut process = Place::new(User::ordinary()).start(&Program::victim("mem_refused").arg(what));
        process.ready();
        match process.try_save() {
            Ok(_) => process.fail("saved what cannot be restored"),
            Err(line) => assert!(line.contains(expected), "{what}: {line}"),
        }
        assert_eq!(process.place.text("err").lines().count(), 1, "{}", process.place.text("err"));
        assert!(
            !process.place.names().iter().any(|name| name.contains("myckpt")),
            "{:?}",
            process.place.names()
        );
        process.go();
        let place = process.place.clone();
        let outcome = process.finish();
        assert!(outcome.status.success() && place.text("out").ends_with("PASS\n"), "{what}: {outcome:?}");
    }
}

/// What is different when no child writes the image.
#[test]
fn memory_saved_in_the_foreground() {
    for victim in
        ["shared_anonymous", "memfds", "protections", "advised", "mem_out_of_sight", "mem_locked_all"]
    {
        let mut process =
            Place::new(User::ordinary()).start(&Program::victim(victim).env("CKPT_FOREGROUND", "1"));
        process.ready();
        process.generations(2).passes();
    }
}

/// A process with mapped files, saved and killed.
fn with_mapped_files(user: User) -> Image {
    let mut process = Place::new(user).start(&Program::victim("mem_changing_files"));
    process.ready();
    let image = process.save();
    process.kill();
    image
}

#[test]
fn private_mappings_do_not_follow_what_became_of_their_files() {
    let other = vec![b'?'; 8 * 4096];
    let changes: [fn(&Place, &[u8]); 4] = [
        |place, other| place.write("private", other),
        |place, other| place.write("private", &other[..100]),
        |place, _| fs::remove_file(place.file("private")).unwrap(),
        |place, other| {
            place.write("new", other);
            fs::rename(place.file("new"), place.file("private")).unwrap();
        },
    ];
    for change in changes {
        let image = with_mapped_files(User::ordinary());
        change(image.place(), &other);
        image.restart().generations(1).passes();
    }
}

#[test]
fn shared_mappings_need_their_files() {
    for user in User::each() {
        let image = with_mapped_files(user);
        let place = image.place().clone();
        if !is_memory(&place) {
            fs::rename(place.file("shared"), place.file("moved")).unwrap();
            let (code, said) = image.refused(&[]);
            assert_eq!(code, 72, "{said}");
            assert!(said.contains("/shared: ") && said.lines().count() == 1, "{said}");
            fs::rename(place.file("moved"), place.file("shared")).unwrap();
        }
        image.restart().passes();

        // Shorter than its mapping now: the pages that are left are there.
        let image = with_mapped_files(user);
        let shared = fs::OpenOptions::new().write(true).open(image.place().file("shared")).unwrap();
        shared.set_len(2 * 4096).unwrap();
        image.restart_with(&["--changed-files=accept"]).generations(1).passes();
    }
}

/// Whether the files of a place are memory more than files: a copy of those that are mapped is in the image.
fn is_memory(place: &Place) -> bool {
    ["/dev/shm/", "/tmp/", "/run/"].iter().any(|folder| place.cwd().starts_with(folder))
}

/// As the counters of a JVM, whose file another JVM or a reboot removes.
#[test]
fn a_mapped_file_that_is_memory_may_be_gone() {
    for user in User::each() {
        let image = with_mapped_files(user);
        let place = image.place().clone();
        if !is_memory(&place) {
            return; // CKPT_TEST_DIR leads elsewhere
        }
        let before = place.read("shared");
        fs::remove_file(place.file("shared")).unwrap();
        let process = image.restart();
        let map = process.proc("maps");
        let line = map.lines().find(|line| line.contains(" rw-s ") && line.ends_with("(deleted)"));
        assert!(line.is_some(), "{map}");
        process.kill();
        assert!(!place.file("shared").exists());
        // It can be made a file again: what the process writes to it is there, as the victim looks.
        let image = with_mapped_files(user);
        let place = image.place().clone();
        fs::remove_file(place.file("shared")).unwrap();
        image.restart_with(&["--missing-files=create"]).passes();
        let mut after = place.read("shared");
        after[2] = before[2];
        assert!(after == before, "other contents");
    }
}

#[test]
fn a_process_that_nobody_may_look_into() {
    survives_as(Program::victim("mem_not_dumpable").env("CKPT_UNDUMPABLE", "1"));
}

#[test]
fn what_is_wiped_in_a_child_is_not_in_an_image() {
    survives("mem_wiped_sealed");
}
