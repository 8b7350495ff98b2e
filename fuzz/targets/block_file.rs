//! Target `block_file`: see `tenbin_storage::fuzzing::block_file`.
#![no_main]

#[path = "../src/memory.rs"]
mod memory;

libfuzzer_sys::fuzz_target!(|data: &[u8]| tenbin_storage::fuzzing::block_file(data));
