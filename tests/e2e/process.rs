//! The process that comes back is whole: one victim for each kind of state, which checks itself.

use harness::{Place, Program, User, survives, survives_as, wait};

#[test]
fn every_register_keeps_its_value() {
    survives("registers");
}

#[test]
fn tid_address_that_is_not_there() {
    survives("tid_address");
    survives_as(Program::victim("tid_address").arg("kept"));
}

#[test]
fn red_zone_is_untouched() {
    survives("redzone");
}

#[test]
fn errno_is_untouched() {
    survives("errno_kept");
}

#[test]
fn stack_still_grows() {
    survives("recursion");
}

#[test]
fn break_goes_on_where_it_was() {
    survives("heap_break");
}

#[test]
fn heap_stack_vdso_arguments_and_name_are_known_to_the_kernel() {
    survives_as(Program::victim("names").arg("an argument").arg("").arg("another").env("VARIABLE", "value"));
}

#[test]
fn time_goes_on_through_the_vdso() {
    survives("vdso_time");
}

#[test]
fn vdso_does_not_trap_after_restart() {
    for user in User::each() {
        let place = Place::new(user);
        let mut process = place.start(&Program::victim("vdso_time"));
        process.ready();
        let image = process.save();
        process.kill();
        let process = image.restart_by(image.traced("trace", "clock_gettime,gettimeofday,time"));
        process.passes();
        let trace = place.text("trace");
        // The victim makes two calls of its own for each clock, and hundreds through the vdso. Two of the others are myrestart's, which compares the clocks.
        assert_eq!(trace.matches("clock_gettime(CLOCK_BOOTTIME").count(), 4, "{trace}");
        assert!(trace.matches("clock_gettime(").count() < 16, "{trace}");
        assert!(!trace.contains("gettimeofday("), "{trace}");
    }
}

#[test]
fn rseq_is_registered_again() {
    survives("rseq_cpu");
}

#[test]
fn rseq_areas_of_the_program_are_registered_again() {
    for place in ["static", "thread", "threads", "long"] {
        survives_as(Program::victim("own_rseq").arg(place));
    }
}

#[test]
fn rseq_areas_that_cannot_be_registered_again_are_refused() {
    for user in User::each() {
        for (place, why) in [("mapped", "does not tell where"), ("signature", "signature")] {
            let mut process = Place::new(user).start(&Program::victim("own_rseq").arg(place));
            process.ready();
            let line = process.try_save().err().expect("an image");
            assert!(line.contains("rseq(2) area") && line.contains(why), "{line}");
            process.passes_in_spite_of_a_line();
        }
    }
}

#[test]
fn segments_of_the_program_are_refused_as_long_as_there_are_any() {
    for user in User::each() {
        let mut process = Place::new(user).start(&Program::victim("own_segments"));
        process.ready();
        let line = process.try_save().err().expect("an image");
        assert!(line.contains("modify_ldt"), "{line}");
        process.go();
        process.ready();
        process.save();
        process.passes_in_spite_of_a_line();
    }
}

#[test]
fn libc_and_kernel_agree_about_the_thread() {
    survives("libc_lives");
}

#[test]
fn signal_actions_mask_and_alternate_stack_are_kept() {
    survives("signal_state");
}

#[test]
fn working_directory_and_umask_are_kept() {
    for user in User::each() {
        let place = Place::new(user);
        let mut process = place.start(&Program::victim("cwd_umask"));
        process.ready();
        // Relative to the working directory at the save.
        process.image = "a directory/myckpt".into();
        process.generations(3).passes();
    }
}

#[test]
fn files_and_directories_stay_open() {
    survives("files");
}

#[test]
fn child_is_saved_by_its_own_pid() {
    for user in User::each() {
        let place = Place::new(user);
        let mut process = place.start(&Program::victim("forks"));
        let child = wait(|| {
            place
                .text("out")
                .split_inclusive('\n')
                .find_map(|l| l.strip_prefix("child ")?.strip_suffix('\n')?.parse().ok())
        });
        let Some(child) = child else { process.fail("no child") };
        process.follow(child);
        process.ready();
        // Its parent has the name.
        process.image = format!("myckpt.{child}").into();
        let image = process.save();
        process.kill();
        let mut process = image.restart();
        process.image = "myckpt".into();
        process.generations(2).passes();
    }
}
