#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mfe_fuzz::control::run(data));
