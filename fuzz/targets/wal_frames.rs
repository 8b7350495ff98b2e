//! Target `wal_frames`: see `tenbin_storage::fuzzing::wal_frames`.
#![no_main]

include!("../src/memory.rs");

libfuzzer_sys::fuzz_target!(|data: &[u8]| tenbin_storage::fuzzing::wal_frames(data));
