//! Target `index_sections`: see `tenbin_storage::fuzzing::index_sections`.
#![no_main]

include!("../src/memory.rs");

libfuzzer_sys::fuzz_target!(|data: &[u8]| tenbin_storage::fuzzing::index_sections(data));
