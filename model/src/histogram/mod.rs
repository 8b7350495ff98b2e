//! Native histograms: the integer form as it arrives and is stored, the float form that PromQL
//! computes with.
//!
//! Buckets of one side (positive, negative) are a run of counts laid out by spans: each span skips
//! `offset` bucket indexes after the previous span and covers `length` of them. Schemas -4..=8 are
//! exponential (bucket `i` covers `(base^(i-1), base^i]` with `base = 2^(2^-schema)`); schema -53
//! has custom upper bounds in `custom_values`. Source: Prometheus `model/histogram`.

mod algebra;
pub mod bounds;
mod buckets;
mod layout;
mod reset;
mod text;
mod trim;
mod validity;
mod zero;

pub use algebra::{Combined, IncompatibleSchemas};
pub use buckets::Bucket;
pub use trim::Keep;
pub use validity::InvalidHistogram;

use crate::sample::is_stale;

/// The schema number of histograms with custom bucket bounds.
pub const CUSTOM_BUCKETS_SCHEMA: i32 = -53;

/// A run of consecutive buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BucketSpan {
    /// Bucket indexes skipped since the end of the previous span (for the first: the index of the
    /// first bucket).
    pub offset: i32,
    /// Number of buckets in the run.
    pub length: u32,
}

/// What is known about a counter reset between this histogram and the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum CounterResetHint {
    /// Nothing: compare to find out.
    #[default]
    Unknown,
    /// There was a reset.
    Reset,
    /// There was none.
    NotReset,
    /// The histogram is a gauge: resets mean nothing.
    Gauge,
}

/// A native histogram with integer counts, as exporters send it.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    /// Reset information.
    pub counter_reset_hint: CounterResetHint,
    /// Resolution, or [`CUSTOM_BUCKETS_SCHEMA`].
    pub schema: i32,
    /// Observations with an absolute value up to this are in the zero bucket.
    pub zero_threshold: f64,
    /// Observations in the zero bucket.
    pub zero_count: u64,
    /// All observations.
    pub count: u64,
    /// Sum of all observations; the staleness marker here makes the histogram stale.
    pub sum: f64,
    /// Layout of the positive buckets.
    pub positive_spans: Vec<BucketSpan>,
    /// Layout of the negative buckets.
    pub negative_spans: Vec<BucketSpan>,
    /// Positive bucket counts, each as the difference to the bucket before it.
    pub positive_deltas: Vec<i64>,
    /// Negative bucket counts, each as the difference to the bucket before it.
    pub negative_deltas: Vec<i64>,
    /// Upper bounds of custom buckets, ascending, without +Inf.
    pub custom_values: Vec<f64>,
}

/// A native histogram with float counts, absolute per bucket: what PromQL computes with.
#[derive(Debug, Clone, Default)]
pub struct FloatHistogram {
    /// Reset information.
    pub counter_reset_hint: CounterResetHint,
    /// Resolution, or [`CUSTOM_BUCKETS_SCHEMA`].
    pub schema: i32,
    /// Observations with an absolute value up to this are in the zero bucket.
    pub zero_threshold: f64,
    /// Observations in the zero bucket.
    pub zero_count: f64,
    /// All observations.
    pub count: f64,
    /// Sum of all observations; the staleness marker here makes the histogram stale.
    pub sum: f64,
    /// Layout of the positive buckets.
    pub positive_spans: Vec<BucketSpan>,
    /// Layout of the negative buckets.
    pub negative_spans: Vec<BucketSpan>,
    /// Positive bucket counts.
    pub positive_buckets: Vec<f64>,
    /// Negative bucket counts.
    pub negative_buckets: Vec<f64>,
    /// Upper bounds of custom buckets, ascending, without +Inf.
    pub custom_values: Vec<f64>,
}

impl Histogram {
    /// The same histogram in float form.
    #[must_use]
    pub fn to_float(&self) -> FloatHistogram {
        let absolute = |deltas: &[i64]| {
            let mut count = 0_i64;
            deltas
                .iter()
                .map(|delta| {
                    count = count.wrapping_add(*delta);
                    count as f64
                })
                .collect()
        };
        FloatHistogram {
            counter_reset_hint: self.counter_reset_hint,
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            zero_count: self.zero_count as f64,
            count: self.count as f64,
            sum: self.sum,
            positive_spans: self.positive_spans.clone(),
            negative_spans: self.negative_spans.clone(),
            positive_buckets: absolute(&self.positive_deltas),
            negative_buckets: absolute(&self.negative_deltas),
            custom_values: self.custom_values.clone(),
        }
    }

    /// Whether the histogram is a staleness marker.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        is_stale(self.sum)
    }
}

impl FloatHistogram {
    /// Whether the histogram is a staleness marker.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        is_stale(self.sum)
    }

    /// Whether the buckets have custom bounds.
    #[must_use]
    pub fn uses_custom_buckets(&self) -> bool {
        self.schema == CUSTOM_BUCKETS_SCHEMA
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deltas_become_absolute_counts() {
        let histogram = Histogram {
            counter_reset_hint: CounterResetHint::Unknown,
            schema: 0,
            zero_threshold: 0.001,
            zero_count: 2,
            count: 12,
            sum: 18.4,
            positive_spans: vec![BucketSpan {
                offset: 0,
                length: 2,
            }],
            negative_spans: vec![BucketSpan {
                offset: 1,
                length: 2,
            }],
            positive_deltas: vec![1, 1],
            negative_deltas: vec![4, -1],
            custom_values: vec![],
        };
        let float = histogram.to_float();
        assert_eq!(float.positive_buckets, [1.0, 2.0]);
        assert_eq!(float.negative_buckets, [4.0, 3.0]);
        assert!(!float.is_stale());
    }
}
