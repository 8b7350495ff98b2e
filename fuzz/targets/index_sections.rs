//! Target `index_sections`: see `tenbin_storage::fuzzing::index_sections`.
#![no_main]

#[path = "../src/memory.rs"]
mod memory;

libfuzzer_sys::fuzz_target!(|data: &[u8]| tenbin_storage::fuzzing::index_sections(data));
