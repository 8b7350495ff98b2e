//! Target `promql_parse`: see `src/promql_parse.rs`.
#![no_main]

#[path = "../src/memory.rs"]
mod memory;

#[path = "../src/promql_parse.rs"]
mod promql_parse;

libfuzzer_sys::fuzz_target!(|data: &[u8]| promql_parse::target(data));
