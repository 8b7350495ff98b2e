//! Integration tests of the language and the engine, in one binary.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests fail by panicking, and scores are printed"
)]

mod expressions;
mod fuzz_corpus;
mod immediate_names;
mod interrupts;
mod limits;
mod naive;
mod parse_scripts;
mod scripts;
mod stats;
mod store;
mod threads;
