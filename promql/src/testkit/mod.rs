//! The promqltest language: scripts that load samples, evaluate queries and state results.
//!
//! The same scripts run against Prometheus, so they compare the two engines. Everything here is
//! independent of the engine's own arithmetic. The language is described in Prometheus'
//! `promql/promqltest/README.md`.

mod compare;
mod histogram;
mod nhcb;
mod rerun;
mod run;
mod script;
mod series;
mod store;

pub use run::{Failure, ScriptReport, run_script, suite_options};
pub use store::TestStore;
