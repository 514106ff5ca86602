//! What every end-to-end test needs: build a victim, run it under the checkpointer as an ordinary user and as root,
//! save it, kill it, restart it, and say everything that is known when something goes wrong.
//!
//! ```text
//! Program  what to run           Program::victim("errno"), Program::tool("python3")
//! Place    where                 a directory of its own, owned by the user it runs as
//! Process  one that runs         started by Place::start or by Image::restart; killed when dropped
//! Image    what a save left      checked to be new: the name holds another inode than before
//! Outcome  what it came to       exit status, output, messages
//! ```
//!
//! Nothing here sleeps to give something time to happen: each wait is for a condition, and fails at a deadline.

mod artifact;
pub mod audit;
pub mod faults;
mod image;
pub mod killed;
mod place;
mod process;
mod program;
pub mod soak;
pub mod tracer;
mod unharmed;
mod user;
mod wait;
pub mod waves;
mod writers;

pub use artifact::{Artifact, root};
pub use image::Image;
pub use place::Place;
pub use process::{Outcome, Process};
pub use program::{Program, compiled, tool, victims};
pub use unharmed::unharmed;
pub use user::User;
pub use wait::wait;

/// Runs a victim that checks itself, as each user: with a save while it runs, and through three generations of save, kill and
/// restart; and as an ordinary user through three more whose images are written in the foreground. Each time it must end with PASS.
#[track_caller]
pub fn survives(victim: &str) {
    survives_as(Program::victim(victim));
}

/// [`survives`] for a victim with arguments or an environment.
#[track_caller]
pub fn survives_as(program: Program) {
    for user in User::each() {
        let place = Place::new(user);
        let mut saved = place.start(&program);
        saved.ready();
        saved.save();
        saved.passes();

        let place = Place::new(user);
        let mut process = place.start(&program);
        process.ready();
        process.generations(3).passes();
    }
    // The same with images that the process waits for: another way to get at its memory.
    let mut process = Place::new(User::ordinary()).start(&program.env("CKPT_FOREGROUND", "1"));
    process.ready();
    process.generations(3).passes();
}

/// Saves, kills and restarts a victim with its own ids three times, as each user; its images must have evidence of that kind that it needs them.
#[track_caller]
pub fn survives_kept(program: &Program, evidence: u32) {
    for user in User::each() {
        let mut process = Place::new(user).start(program);
        process.ready();
        for _ in 0..3 {
            // What a save has started belongs to the group of the program: it is to be over before that is killed.
            process.held = true;
            let image = process.save();
            let found = image.evidence();
            assert!(found.contains(&evidence), "{program:?}: evidence of the kinds {found:?} only");
            process.kill();
            process = image.restart_kept(&["--pid=namespace"]);
        }
        process.passes();
    }
}

/// Saves, kills and restarts a victim with new ids three times, as each user.
#[track_caller]
pub fn survives_with_new_ids(program: &Program) {
    for user in User::each() {
        let place = Place::new(user);
        let mut process = place.start(program);
        process.ready();
        for _ in 0..3 {
            let image = process.save();
            process.kill();
            process = image.restart_with(&["--pid=new"]);
        }
        process.go();
        let outcome = process.finish();
        let said = [outcome.messages.clone(), place.text("restart.err")].concat();
        let is_warned = said.lines().all(|line| line.starts_with("myrestart: ids are new; "));
        assert!(
            outcome.code() == 0 && outcome.output.ends_with(b"PASS\n") && is_warned,
            "{program:?}: {}: {}{said}",
            outcome.status,
            String::from_utf8_lossy(&outcome.output)
        );
    }
}

/// Runs a victim that nobody touches: it must pass, or its other tests would prove nothing.
#[track_caller]
pub fn passes_by_itself(program: &Program, user: User) {
    let place = Place::new(user);
    place.release_all();
    place.start(&program.clone().without_preload()).has_passed();
}
