//! One file for all targets: each runs the decoder that it is named after.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tests::decoders::run(env!("CARGO_BIN_NAME"), bytes));
