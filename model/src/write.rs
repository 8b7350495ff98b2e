//! What a decoded write request offers to the store, and what the store answers.
//!
//! The request stays borrowed from the bytes that arrived: the store first asks for the identity
//! hash of an entry (one pass over its encoded labels), and only when it does not know that
//! identity for the labels themselves. So the steady state touches no label string.

use std::fmt;

use crate::histogram::{CounterResetHint, FloatHistogram, Histogram, InvalidHistogram};
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

    /// How many exemplars the entry carries; cheap, so that requests without any pay nothing.
    fn exemplar_count(&self, _entry: usize) -> usize {
        0
    }

    /// Replaces `out` by the entry's exemplars, in the order sent. One whose labels cannot be read
    /// comes as the reason.
    fn exemplars<'r>(&'r self, _entry: usize, out: &mut Vec<Result<Exemplar<'r>, InvalidLabels>>) {
        out.clear();
    }

    /// What the request says about metric families, each statement once if that is cheap.
    fn metadata(&self) -> Vec<MetadataEntry<'_>> {
        Vec::new()
    }
}

/// An exemplar as it arrived.
#[derive(Debug, Clone, PartialEq)]
pub struct Exemplar<'r> {
    /// Labels, sorted by name, no empty value, no name twice; may be none.
    pub labels: Vec<(&'r str, &'r str)>,
    /// The value.
    pub value: f64,
    /// Milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
}

/// The most characters that names and values of an exemplar's labels may have together.
pub const MAX_EXEMPLAR_LABEL_CHARS: usize = 128;

/// What is wrong with an exemplar. `Display` gives Prometheus' text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ExemplarError {
    /// Labels are too long.
    #[error("label length for exemplar exceeds maximum of 128 UTF-8 characters")]
    LabelLength,
    /// Older than the newest exemplar of its series.
    #[error("out of order exemplar")]
    OutOfOrder,
    /// The labels cannot be read.
    #[error("exemplar labels cannot be decoded")]
    Labels,
    /// Its series does not exist.
    #[error("unknown series for exemplar")]
    UnknownSeries,
}

/// The type of a metric family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum MetricType {
    /// Not said, or none of the others.
    #[default]
    Unknown,
    /// A counter.
    Counter,
    /// A gauge.
    Gauge,
    /// A histogram.
    Histogram,
    /// A histogram that may decrease.
    GaugeHistogram,
    /// A summary.
    Summary,
    /// An info metric.
    Info,
    /// A set of states.
    StateSet,
}

impl MetricType {
    /// The type with a number of both versions of remote write; what is not known is unknown.
    #[must_use]
    pub fn from_number(number: u64) -> Self {
        match number {
            1 => Self::Counter,
            2 => Self::Gauge,
            3 => Self::Histogram,
            4 => Self::GaugeHistogram,
            5 => Self::Summary,
            6 => Self::Info,
            7 => Self::StateSet,
            _ => Self::Unknown,
        }
    }

    /// The inverse of [`MetricType::from_number`].
    #[must_use]
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The name in the HTTP API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::GaugeHistogram => "gaugehistogram",
            Self::Summary => "summary",
            Self::Info => "info",
            Self::StateSet => "stateset",
        }
    }
}

/// A statement about a metric family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MetadataEntry<'r> {
    /// Name of the family.
    pub metric: &'r str,
    /// Its type.
    pub kind: MetricType,
    /// Help text.
    pub help: &'r str,
    /// Unit.
    pub unit: &'r str,
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

/// Either form of a native histogram. Equal when all fields are, floats by their bits.
#[derive(Debug, Clone)]
pub enum HistogramValue {
    /// Integer counts.
    Integer(Box<Histogram>),
    /// Float counts.
    Float(Box<FloatHistogram>),
}

impl HistogramValue {
    /// The form that PromQL computes with.
    #[must_use]
    pub fn to_float(&self) -> FloatHistogram {
        match self {
            Self::Integer(histogram) => histogram.to_float(),
            Self::Float(histogram) => (**histogram).clone(),
        }
    }

    /// What is known about counter resets.
    #[must_use]
    pub fn hint(&self) -> CounterResetHint {
        match self {
            Self::Integer(histogram) => histogram.counter_reset_hint,
            Self::Float(histogram) => histogram.counter_reset_hint,
        }
    }

    /// Checks the histogram as a store does before it takes it.
    ///
    /// # Errors
    /// Names the first rule that is broken.
    pub fn validate(&self) -> Result<(), InvalidHistogram> {
        match self {
            Self::Integer(histogram) => histogram.validate(),
            Self::Float(histogram) => histogram.validate(),
        }
    }
}

fn same_bits(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}

impl PartialEq for HistogramValue {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Integer(a), Self::Integer(b)) => {
                a.counter_reset_hint == b.counter_reset_hint
                    && a.schema == b.schema
                    && same_bits(&[a.zero_threshold, a.sum], &[b.zero_threshold, b.sum])
                    && (a.zero_count, a.count) == (b.zero_count, b.count)
                    && a.positive_spans == b.positive_spans
                    && a.negative_spans == b.negative_spans
                    && a.positive_deltas == b.positive_deltas
                    && a.negative_deltas == b.negative_deltas
                    && same_bits(&a.custom_values, &b.custom_values)
            }
            (Self::Float(a), Self::Float(b)) => {
                let numbers = |h: &FloatHistogram| [h.zero_threshold, h.sum, h.zero_count, h.count];
                a.counter_reset_hint == b.counter_reset_hint
                    && a.schema == b.schema
                    && same_bits(&numbers(a), &numbers(b))
                    && a.positive_spans == b.positive_spans
                    && a.negative_spans == b.negative_spans
                    && same_bits(&a.positive_buckets, &b.positive_buckets)
                    && same_bits(&a.negative_buckets, &b.negative_buckets)
                    && same_bits(&a.custom_values, &b.custom_values)
            }
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
#[derive(Debug, Clone, PartialEq)]
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
    /// A histogram stands at the timestamp of a float.
    DuplicateHistogram {
        /// The timestamp.
        timestamp_ms: i64,
        /// The refused value.
        new: f64,
    },
    /// Something else stands at the timestamp of a histogram.
    DuplicateTimestamp,
    /// The histogram breaks a rule.
    InvalidHistogram(Box<InvalidHistogram>),
    /// The histogram has more buckets than the store keeps.
    HistogramTooLarge {
        /// Its buckets.
        buckets: usize,
        /// The limit.
        limit: usize,
    },
    /// A new series would exceed the configured limit on active series.
    SeriesLimit {
        /// The limit (`--storage.max-series`).
        limit: u64,
    },
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
            Self::DuplicateHistogram { timestamp_ms, new } => write!(
                f,
                "duplicate sample for timestamp {timestamp_ms}; overrides not allowed: \
                 existing is a histogram, new value {}",
                format_g(*new)
            ),
            Self::DuplicateTimestamp => f.write_str("duplicate sample for timestamp"),
            Self::InvalidHistogram(reason) => reason.fmt(f),
            Self::HistogramTooLarge { buckets, limit } => write!(
                f,
                "histogram has {buckets} buckets and spans, which exceeds the limit of {limit}"
            ),
            Self::SeriesLimit { limit } => write!(
                f,
                "active series limit of {limit} reached (flag --storage.max-series); \
                 existing series are still written"
            ),
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
    /// Exemplars stored, repetitions of the newest one included.
    pub exemplars_written: u64,
    /// The first refused exemplars, each with entry position; at most
    /// [`MAX_REPORTED_REJECTIONS`].
    pub exemplar_errors: Vec<(usize, ExemplarError)>,
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

    /// Notes a refused exemplar of `entry`.
    pub fn reject_exemplar(&mut self, entry: usize, reason: ExemplarError) {
        if self.exemplar_errors.len() < MAX_REPORTED_REJECTIONS {
            self.exemplar_errors.push((entry, reason));
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
