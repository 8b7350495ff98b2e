//! What a decoded write request offers to the store, and what the store answers.
//!
//! The request stays borrowed from the bytes that arrived: the store first asks for the identity
//! hash of an entry (one pass over its encoded labels), and only when it does not know that
//! identity for the labels themselves. So the steady state touches no label string.

use std::fmt;

use crate::histogram::{FloatHistogram, Histogram};
use crate::labels::METRIC_NAME;
use crate::sample::Sample;
use crate::text::float::format_g;

/// A decoded request: a list of entries, each a series with its samples. One series may occur in
/// several entries.
pub trait WriteRequest {
    /// Number of entries.
    fn len(&self) -> usize;

    /// Whether there is no entry.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A hash of the entry's labels as they are encoded, keyed by `seed`: within one request kind,
    /// equal bytes give equal hashes; different bytes give equal hashes with chance 2^-64. Two
    /// encodings of one label set may have different hashes.
    fn identity_hash(&self, entry: usize, seed: u64) -> u64;

    /// Replaces `out` by the entry's labels in canonical form: sorted by name, no empty value, no
    /// name twice. (See [`canonicalise`].)
    ///
    /// # Errors
    /// When the labels are no valid series identity; the store then skips the entry and counts it.
    fn labels<'r>(
        &'r self,
        entry: usize,
        out: &mut Vec<(&'r str, &'r str)>,
    ) -> Result<(), InvalidLabels>;

    /// The entry's float samples.
    fn samples(&self, entry: usize) -> &[Sample];

    /// The entry's histogram samples.
    fn histograms(&self, _entry: usize) -> &[HistogramSample] {
        &[]
    }
}

/// A native histogram sample as it arrived.
#[derive(Debug, Clone, PartialEq)]
pub struct HistogramSample {
    /// Milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
    /// When the counter began, in milliseconds since the Unix epoch; 0 = unknown.
    pub start_timestamp_ms: i64,
    /// The histogram.
    pub histogram: HistogramValue,
}

/// Either form of a native histogram.
#[derive(Debug, Clone)]
pub enum HistogramValue {
    /// Integer counts.
    Integer(Box<Histogram>),
    /// Float counts.
    Float(Box<FloatHistogram>),
}

impl PartialEq for HistogramValue {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Integer(a), Self::Integer(b)) => a == b,
            (Self::Float(a), Self::Float(b)) => format!("{a:?}") == format!("{b:?}"),
            _ => false,
        }
    }
}

/// Why a label set is no series identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLabels {
    /// A name or value is no UTF-8.
    #[error("label name or value is not valid UTF-8")]
    Utf8,
    /// A label has an empty name.
    #[error("label name is empty")]
    EmptyName,
    /// There is no metric name.
    #[error("metric name is missing")]
    NoMetricName,
    /// A name occurs twice.
    #[error("duplicated label {0}")]
    Duplicate(String),
    /// A reference into a symbol table leads nowhere. The text says which.
    #[error("{0}")]
    Reference(String),
    /// The label bytes are no labels.
    #[error("label cannot be decoded")]
    Malformed,
    /// A limit on labels is exceeded. The text names limit, value and flag.
    #[error("{0}")]
    Limit(String),
}

/// Brings labels into canonical form: sorts by name, drops empty values, refuses empty names,
/// duplicate names and a missing metric name.
///
/// # Errors
/// Names the first rule that the labels break.
pub fn canonicalise(labels: &mut Vec<(&str, &str)>) -> Result<(), InvalidLabels> {
    if labels.iter().any(|(name, _)| name.is_empty()) {
        return Err(InvalidLabels::EmptyName);
    }
    if !labels.windows(2).all(|w| w[0].0 < w[1].0) {
        labels.sort_unstable();
        if let Some(twice) = labels.windows(2).find(|w| w[0].0 == w[1].0) {
            return Err(InvalidLabels::Duplicate(twice[0].0.to_owned()));
        }
    }
    labels.retain(|(_, value)| !value.is_empty());
    if labels
        .binary_search_by(|(name, _)| (*name).cmp(METRIC_NAME))
        .is_err()
    {
        return Err(InvalidLabels::NoMetricName);
    }
    Ok(())
}

/// Why the store did not take a sample. `Display` gives Prometheus' text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RejectReason {
    /// Older than the newest sample of its series, with no out-of-order window.
    OutOfOrder,
    /// Older than anything the head accepts.
    OutOfBounds,
    /// Older than the out-of-order window.
    TooOld,
    /// Too far ahead of the clock.
    TooFarInFuture,
    /// Another value is stored for this timestamp.
    Duplicate {
        /// The timestamp.
        timestamp_ms: i64,
        /// The stored value.
        existing: f64,
        /// The refused value.
        new: f64,
    },
    /// A histogram stands at this timestamp.
    DuplicateHistogram {
        /// The timestamp.
        timestamp_ms: i64,
    },
    /// A new series would exceed the configured limit on active series.
    SeriesLimit {
        /// The limit (`--storage.max-series`).
        limit: u64,
    },
    /// The store does not keep native histograms yet.
    HistogramsUnsupported,
}

impl fmt::Display for RejectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfOrder => f.write_str("out of order sample"),
            Self::OutOfBounds => f.write_str("out of bounds"),
            Self::TooOld => f.write_str("too old sample"),
            Self::TooFarInFuture => {
                f.write_str("out of bounds: timestamp is too far in the future")
            }
            Self::Duplicate {
                timestamp_ms,
                existing,
                new,
            } => write!(
                f,
                "duplicate sample for timestamp {timestamp_ms}; overrides not allowed: \
                 existing {}, new value {}",
                format_g(*existing),
                format_g(*new)
            ),
            Self::DuplicateHistogram { timestamp_ms } => write!(
                f,
                "duplicate sample for timestamp {timestamp_ms}; overrides not allowed: \
                 existing is a histogram"
            ),
            Self::SeriesLimit { limit } => write!(
                f,
                "active series limit of {limit} reached (flag --storage.max-series); \
                 existing series are still written"
            ),
            Self::HistogramsUnsupported => f.write_str("native histograms are not stored yet"),
        }
    }
}

/// What became of a request's samples.
#[derive(Debug, Clone, Default)]
pub struct AppendReport {
    /// Float samples stored, exact duplicates of stored samples included.
    pub samples_written: u64,
    /// Histogram samples stored, exact duplicates included.
    pub histograms_written: u64,
    /// Entries skipped for invalid labels.
    pub invalid_entries: u64,
    /// The first of them, each with its position; at most [`MAX_REPORTED_REJECTIONS`].
    pub invalid: Vec<(usize, InvalidLabels)>,
    /// Samples refused.
    pub rejected_samples: u64,
    /// The first refusals, each with entry position; at most [`MAX_REPORTED_REJECTIONS`].
    pub rejections: Vec<(usize, RejectReason)>,
}

/// How many refusals a report spells out.
pub const MAX_REPORTED_REJECTIONS: usize = 16;

impl AppendReport {
    /// Notes a refused sample of `entry`.
    pub fn reject(&mut self, entry: usize, reason: RejectReason) {
        self.rejected_samples += 1;
        if self.rejections.len() < MAX_REPORTED_REJECTIONS {
            self.rejections.push((entry, reason));
        }
    }

    /// Notes an entry with invalid labels.
    pub fn invalid(&mut self, entry: usize, reason: InvalidLabels) {
        self.invalid_entries += 1;
        if self.invalid.len() < MAX_REPORTED_REJECTIONS {
            self.invalid.push((entry, reason));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_form_is_sorted_and_checked() {
        let mut labels = vec![("b", "1"), ("__name__", "up"), ("a", "")];
        canonicalise(&mut labels).unwrap();
        assert_eq!(labels, [("__name__", "up"), ("b", "1")]);
        assert_eq!(
            canonicalise(&mut vec![("b", "1"), ("__name__", "x"), ("b", "2")]),
            Err(InvalidLabels::Duplicate("b".into()))
        );
        assert_eq!(
            canonicalise(&mut vec![("b", "1")]),
            Err(InvalidLabels::NoMetricName)
        );
        assert_eq!(
            canonicalise(&mut vec![("__name__", "")]),
            Err(InvalidLabels::NoMetricName)
        );
        assert_eq!(
            canonicalise(&mut vec![("", "1")]),
            Err(InvalidLabels::EmptyName)
        );
    }

    #[test]
    fn reasons_read_as_in_prometheus() {
        let reason = RejectReason::Duplicate {
            timestamp_ms: 5,
            existing: 1.0,
            new: 2.5,
        };
        assert_eq!(
            reason.to_string(),
            "duplicate sample for timestamp 5; overrides not allowed: existing 1, new value 2.5"
        );
    }
}
