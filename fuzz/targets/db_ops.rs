//! Target `db_ops`: each byte decides a choice of the model test of the store.
#![no_main]
#![allow(
    dead_code,
    unused_imports,
    reason = "of the test helpers only a part is called"
)]

#[path = "../src/memory.rs"]
mod memory;

#[path = "../../storage/tests/it/harness.rs"]
mod harness;
#[path = "../../storage/tests/it/model.rs"]
mod model;

libfuzzer_sys::fuzz_target!(|data: &[u8]| model::run_bytes(data));
