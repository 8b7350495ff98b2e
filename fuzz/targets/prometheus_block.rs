//! Target `prometheus_block`: see `tenbin_storage::fuzzing::prometheus_block`.
#![no_main]

#[path = "../src/memory.rs"]
mod memory;

libfuzzer_sys::fuzz_target!(|data: &[u8]| tenbin_storage::fuzzing::prometheus_block(data));
