//! Target `chunk_roundtrip`: see `tenbin_storage::fuzzing::chunk_roundtrip`.
#![no_main]

#[path = "../src/memory.rs"]
mod memory;

libfuzzer_sys::fuzz_target!(|data: &[u8]| tenbin_storage::fuzzing::chunk_roundtrip(data));
