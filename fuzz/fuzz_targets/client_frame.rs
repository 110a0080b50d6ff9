#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sockway::fuzz::client_frame(data));
