//! Target `protocols`: see `src/protocols.rs`. The decoders come in as files, as in `remote_write`.
#![no_main]
#![allow(dead_code, reason = "of the decoders only a part is called")]

#[path = "../src/memory.rs"]
mod memory;

#[path = "../../src/ingest/mod.rs"]
pub mod ingest;
#[path = "../../src/limits.rs"]
pub mod limits;
#[path = "../src/protocols.rs"]
mod protocols;

libfuzzer_sys::fuzz_target!(|data: &[u8]| protocols::target(data));
