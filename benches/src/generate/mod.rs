//! Data as a scraping Prometheus sends it: the same settings give the same bytes.
//!
//! ```text
//! catalogue (what targets expose) -> fleet (targets, churn, jitter, resets) -> request (bodies)
//!            values (how series move)          pool (labels, encoded once)
//! ```
//!
//! Memory is that of the targets' present values; bodies are handed out one at a time.

mod catalogue;
mod fleet;
mod native;
mod pool;
mod random;
mod request;
#[cfg(test)]
mod tests;
mod values;
mod wire;

pub(crate) use fleet::{Fleet, FleetSettings, STALE, Totals};
pub(crate) use native::NativeFleet;
pub(crate) use random::Random;
pub(crate) use request::{Protocol, Request};
