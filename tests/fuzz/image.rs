#![no_main]
#![doc = "The image reader."]

#[path = "targets/image.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|input: &[u8]| target::run(input));
