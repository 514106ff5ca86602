//! There is no unlucky layout: targets that occupy what the restarter would like to have.

use harness::{Place, Program, User, survives};

#[test]
fn memory_at_the_restarter_s_own_address() {
    survives("layout_at_restarter");
}

#[test]
fn program_linked_at_the_restarter_s_own_address() {
    survives("layout_linked_there");
}

#[test]
fn lowest_memory_and_0x400000() {
    survives("layout_low");
}

#[test]
fn everything_where_a_fresh_process_has_stack_vdso_and_libraries() {
    survives("layout_high");
}

#[test]
fn reservation_of_64_gib() {
    survives("layout_reserved");
}

#[test]
fn twenty_thousand_regions() {
    survives("layout_regions");
}

#[test]
fn heap_over_everything_low() {
    survives("layout_heap");
}

#[test]
fn memory_that_borders_on_new_mappings() {
    survives("layout_borders");
}

#[test]
fn nothing_of_the_restarter_is_left() {
    for user in User::each() {
        let place = Place::new(user);
        let mut process = place.start(&Program::victim("quiet"));
        process.ready();
        let maps = process.proc("maps");
        let descriptors = process.descriptors();
        for generation in 1..=4 {
            process = process.generations(1);
            let now = process.proc("maps");
            assert!(same_map(&maps, &now), "generation {generation}\n--- before\n{maps}--- after\n{now}");
            assert_eq!(process.descriptors(), descriptors, "generation {generation}");
        }
        process.passes();
    }
}

/// Whether two texts of `/proc/PID/maps` agree but for blanks and the lower end of the stack, which grows as the save runs.
fn same_map(before: &str, after: &str) -> bool {
    let lines =
        |text: &str| -> Vec<String> {
            let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
            text.lines()
                .map(words)
                .map(|line| {
                    if line.ends_with("[stack]") { line.split_once('-').unwrap().1.to_owned() } else { line }
                })
                .collect()
        };
    lines(before) == lines(after)
}
