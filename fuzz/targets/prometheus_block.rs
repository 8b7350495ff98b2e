//! Target `prometheus_block`: see `tenbin_storage::fuzzing::prometheus_block`.
#![no_main]

include!("../src/memory.rs");

libfuzzer_sys::fuzz_target!(|data: &[u8]| tenbin_storage::fuzzing::prometheus_block(data));
