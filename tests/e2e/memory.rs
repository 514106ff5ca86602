//! Memory of each kind.

use harness::{Place, Program, User, survives, survives_as};

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
