//! The Tenbin server: HTTP, protocols, configuration, operations.
//!
//! Joins `tenbin-storage` and `tenbin-promql`, which do not know each other. Everything that
//! speaks HTTP, JSON or async lives here and only here.
#![forbid(unsafe_code)]

pub mod ingest;
pub mod limits;
