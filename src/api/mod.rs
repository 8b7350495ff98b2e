//! The query API under `/api/v1`: one file per endpoint family.
//!
//! Handlers read parameters in Prometheus' order (so that the first error is the same), run the
//! work on the query threads, and write the answer straight to bytes.

mod accept;
pub mod admin;
mod body;
pub mod error;
pub mod exemplars;
pub mod features;
pub mod federate;
pub mod import;
pub mod influx;
pub mod json;
pub mod labels;
pub mod metadata;
mod multipart;
pub mod notifications;
pub mod openapi;
pub mod otlp;
pub mod params;
pub mod query;
pub mod remote_read;
pub mod response;
pub mod rules;
pub mod search;
pub mod self_metrics;
pub mod series;
pub mod status;
mod stored;
pub mod targets;
pub mod times;
pub mod write;
pub mod write_message;
pub mod write_outcome;
