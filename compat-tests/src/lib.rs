//! What the compatibility tests are made of: real processes, an HTTP client, a remote-write sender,
//! and comparison of answers.
//!
//! The tests start the real server beside real peers (Prometheus, promtool, node_exporter). Where a
//! peer is missing its tests are reported as ignored, with the reason, and never as passed.
#![forbid(unsafe_code)]

pub mod answers;
pub mod crash;
pub mod dataset;
pub mod generator;
pub mod histograms;
pub mod http;
pub mod peers;
pub mod process;
pub mod prometheus;
pub mod random;
pub mod raw;
pub mod reader;
pub mod rewrite;
pub mod sender;
pub mod sender_v2;
