//! The Tenbin server: HTTP, protocols, configuration, operations.
//!
//! Joins `tenbin-storage` and `tenbin-promql`, which do not know each other. Everything that
//! speaks HTTP, JSON or async lives here and only here. Start reading at [`server::router`] (all
//! routes) and [`server::run`] (start to stop).
#![forbid(unsafe_code)]

pub mod api;
pub mod cli;
pub mod commands;
pub mod config;
pub mod ingest;
pub mod limits;
mod log_lines;
pub mod server;
pub mod settings;
pub mod telemetry;
