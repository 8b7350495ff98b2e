//! Target `chunk_decode`: see `tenbin_storage::fuzzing::chunk_decode`.
#![no_main]

#[path = "../src/memory.rs"]
mod memory;

libfuzzer_sys::fuzz_target!(|data: &[u8]| tenbin_storage::fuzzing::chunk_decode(data));
