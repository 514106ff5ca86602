#![no_main]
#![doc = "The parsers of `/proc` texts."]

#[path = "targets/maps.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|input: &[u8]| target::run(input));
