//! Target `wal_frames`: see `tenbin_storage::fuzzing::wal_frames`.
#![no_main]

#[path = "../src/memory.rs"]
mod memory;

libfuzzer_sys::fuzz_target!(|data: &[u8]| tenbin_storage::fuzzing::wal_frames(data));
