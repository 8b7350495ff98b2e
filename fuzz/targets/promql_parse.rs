//! Target `promql_parse`: see `src/promql_parse.rs`.
#![no_main]

include!("../src/memory.rs");

#[path = "../src/promql_parse.rs"]
mod promql_parse;

libfuzzer_sys::fuzz_target!(|data: &[u8]| promql_parse::target(data));
