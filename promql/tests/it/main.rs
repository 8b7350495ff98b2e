//! Integration tests of the language and the engine, in one binary.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests fail by panicking, and scores are printed"
)]

mod limits;
mod naive;
mod scripts;
mod stats;
