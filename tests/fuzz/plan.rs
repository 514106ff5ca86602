#![no_main]
#![doc = "The planner."]

#[path = "targets/plan.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|input: &[u8]| target::run(input));
