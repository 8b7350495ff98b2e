//! The words that every part of Tenbin shares: labels, matchers, samples, histograms, annotations,
//! and the two seams between the parts:
//!
//! - [`query::Queryable`]: what the PromQL engine asks of a store (implemented by `tenbin-storage`,
//!   consumed by `tenbin-promql`; neither knows the other);
//! - [`write::WriteRequest`]: what a decoded write request offers to the store (implemented by the
//!   protocol decoders in the server, consumed by `tenbin-storage`).
//!
//! Invariants: no I/O, no threads, no clock, no logging; `unsafe` is forbidden. Timestamps are
//! `i64` milliseconds since the Unix epoch everywhere, and say so in their name or type.
#![forbid(unsafe_code)]

pub mod annotations;
pub mod gomath;
pub mod histogram;
pub mod interrupt;
pub mod kahan;
pub mod labels;
pub mod matcher;
pub mod query;
pub mod regex;
pub mod sample;
pub mod sorting;
pub mod text;
pub mod write;

pub use annotations::{Annotation, Annotations, Severity};
pub use histogram::{BucketSpan, CounterResetHint, FloatHistogram, Histogram};
pub use interrupt::Interrupt;
pub use labels::{Labels, METRIC_NAME};
pub use matcher::{MatchOp, Matcher};
pub use query::{
    Querier, Queryable, RawSamples, SampleBuffer, SelectHints, SeriesSet, StoreError, TimeRange,
};
pub use regex::Regex;
pub use sample::{STALE_NAN_BITS, Sample, is_stale, stale_nan};
