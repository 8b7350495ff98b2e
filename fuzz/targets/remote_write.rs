//! Target `remote_write`: see `src/remote_write.rs`. The decoders come in as files, since the server
//! that they belong to takes long to build.
#![no_main]
#![allow(dead_code, reason = "of the decoders only a part is called")]

#[path = "../src/memory.rs"]
mod memory;

#[path = "../../src/ingest/mod.rs"]
pub mod ingest;
#[path = "../../src/limits.rs"]
pub mod limits;
#[path = "../src/remote_write.rs"]
mod remote_write;

libfuzzer_sys::fuzz_target!(|data: &[u8]| remote_write::target(data));
