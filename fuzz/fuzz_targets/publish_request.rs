#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sockway::fuzz::publish_request(data));
