//! The store as a whole, against a simple model, on disks that crash and fail.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod compaction;
mod crash;
mod damage;
mod faults;
mod fixtures;
mod harness;
mod histograms;
mod interchange;
mod interrupts;
mod lifecycle;
mod model;
mod old_blocks;
mod queries;
mod rich;
mod rot;
mod side;
mod snapshots;
mod sweep;
