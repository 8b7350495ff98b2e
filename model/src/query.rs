//! What the PromQL engine and the HTTP API ask of a store.
//!
//! A [`Querier`] is a consistent snapshot: what it returned once it returns again, whatever is
//! written, flushed or compacted meanwhile. A [`SeriesSet`] hands out labels and samples per series
//! on demand and from several threads, so that a consumer can compute grouping keys from labels
//! first, decode one series at a time into reused buffers, and never hold all samples at once.

use std::sync::Arc;

use crate::histogram::FloatHistogram;
use crate::interrupt::Interrupt;
use crate::labels::Labels;
use crate::matcher::Matcher;
use crate::write::{HistogramSample, HistogramValue};

/// A closed range of timestamps in milliseconds: both ends are included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeRange {
    /// First timestamp inside.
    pub min_ms: i64,
    /// Last timestamp inside.
    pub max_ms: i64,
}

impl TimeRange {
    /// All of time.
    pub const ALL: Self = Self {
        min_ms: i64::MIN,
        max_ms: i64::MAX,
    };

    /// The range `[min_ms, max_ms]`.
    #[must_use]
    pub fn new(min_ms: i64, max_ms: i64) -> Self {
        Self { min_ms, max_ms }
    }

    /// Whether no timestamp is inside.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.min_ms > self.max_ms
    }

    /// Whether `timestamp_ms` is inside.
    #[must_use]
    pub fn contains(&self, timestamp_ms: i64) -> bool {
        self.min_ms <= timestamp_ms && timestamp_ms <= self.max_ms
    }

    /// Whether the two ranges share a timestamp.
    #[must_use]
    pub fn overlaps(&self, other: Self) -> bool {
        self.min_ms <= other.max_ms && other.min_ms <= self.max_ms
    }
}

/// Why a store could not answer. User-visible texts; see the API for how each becomes a status.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Data needed for the answer failed its checksum or could not be decoded.
    #[error("corrupt data in {file} at offset {offset}: {what}")]
    Corrupt {
        /// The damaged file, relative to the data directory.
        file: String,
        /// Byte offset of the damaged unit.
        offset: u64,
        /// What was expected and what was found.
        what: String,
    },
    /// Reading failed.
    #[error("reading {file}: {reason}")]
    Io {
        /// The file, relative to the data directory.
        file: String,
        /// The operating system's reason.
        reason: String,
    },
    /// A configured limit would be exceeded. The text names limit, value and flag.
    #[error("{0}")]
    Limit(String),
    /// The store is closing or not open yet.
    #[error("TSDB not ready")]
    NotReady,
    /// Nobody waits for the answer any more: see [`Interrupt`].
    #[error("the query was given up")]
    Interrupted,
}

/// What the consumer of a selection will do with it. A store may use hints to read less; it may
/// also ignore them.
#[derive(Debug, Clone, Default)]
pub struct SelectHints {
    /// Milliseconds between evaluation steps; 0 for an instant query.
    pub step_ms: i64,
    /// The function or aggregation around the selector, empty if none.
    pub function: String,
    /// Window of the surrounding range selector in milliseconds; 0 for an instant selector.
    pub range_ms: i64,
    /// Series are wanted in label order.
    pub sorted: bool,
    /// At most this many series are wanted; 0 = all.
    pub limit: usize,
    /// Of floats only the timestamps are looked at, and whether they are staleness markers: a store
    /// may hand out any other float for a value that is none.
    pub presence_only: bool,
    /// Whether anybody still waits for the selection and for what is read from it.
    pub interrupt: Interrupt,
}

/// A store that can be asked for snapshots.
pub trait Queryable: Send + Sync {
    /// A consistent view of all samples inside `range`.
    ///
    /// # Errors
    /// When the store is not open.
    fn querier(&self, range: TimeRange) -> Result<Box<dyn Querier>, StoreError>;

    /// A first look at [`Querier::unchanged_before`], without a snapshot: every change that was over
    /// when this was called is counted.
    fn unchanged_before(&self, _version: u64) -> i64 {
        i64::MIN
    }
}

/// A consistent snapshot of a store over a time range.
pub trait Querier: Send + Sync {
    /// The series that satisfy all matchers and may have samples inside the snapshot's range.
    /// Unsorted unless the hints ask for order, but always in the same order for the same data.
    ///
    /// # Errors
    /// When data is damaged, unreadable, or a limit is exceeded.
    fn select(
        &self,
        matchers: &[Matcher],
        hints: &SelectHints,
    ) -> Result<Box<dyn SeriesSet>, StoreError>;

    /// All label names on series that satisfy all matchers; sorted, unique.
    ///
    /// # Errors
    /// As for [`Querier::select`].
    fn label_names(&self, matchers: &[Matcher]) -> Result<Vec<String>, StoreError>;

    /// All values of label `name` on series that satisfy all matchers; sorted, unique.
    ///
    /// # Errors
    /// As for [`Querier::select`].
    fn label_values(&self, name: &str, matchers: &[Matcher]) -> Result<Vec<String>, StoreError>;

    /// The version of the data that the snapshot shows; `None` when the store keeps no versions.
    fn version(&self) -> Option<u64> {
        None
    }

    /// A time before which the store shows the same samples in this snapshot as in an earlier one
    /// of the version given. `i64::MIN`: anything may have changed.
    fn unchanged_before(&self, _version: u64) -> i64 {
        i64::MIN
    }
}

/// The series of one selection, addressed by position `0..len()`.
pub trait SeriesSet: Send + Sync {
    /// Number of series.
    fn len(&self) -> usize;

    /// Whether there is no series.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The labels of a series.
    ///
    /// # Errors
    /// When the index is damaged.
    fn labels(&self, series: usize) -> Result<Labels, StoreError>;

    /// Replaces the content of `out` by the samples of a series inside `range`, staleness markers
    /// included, in time order, one per timestamp.
    ///
    /// # Errors
    /// When samples are damaged or unreadable.
    fn read(
        &self,
        series: usize,
        range: TimeRange,
        out: &mut SampleBuffer,
    ) -> Result<(), StoreError>;

    /// As [`SeriesSet::read`], with histograms in the form in which they are stored: what came with
    /// integer counts comes back so, and what is known about counter resets is kept. For remote
    /// read, federation and export.
    ///
    /// # Errors
    /// As for [`SeriesSet::read`].
    fn read_raw(
        &self,
        series: usize,
        range: TimeRange,
        out: &mut RawSamples,
    ) -> Result<(), StoreError> {
        let mut buffer = SampleBuffer::default();
        self.read(series, range, &mut buffer)?;
        out.clear();
        let starts = &buffer.histogram_start_timestamps_ms;
        let histograms = buffer.histogram_timestamps_ms.iter().zip(buffer.histograms);
        for (at, (timestamp_ms, histogram)) in histograms.enumerate() {
            out.histograms.push(HistogramSample {
                timestamp_ms: *timestamp_ms,
                start_timestamp_ms: starts.get(at).copied().unwrap_or(0),
                histogram: HistogramValue::Float(Box::new(Arc::unwrap_or_clone(histogram))),
            });
        }
        out.timestamps_ms = buffer.timestamps_ms;
        out.values = buffer.values;
        out.start_timestamps_ms = buffer.start_timestamps_ms;
        Ok(())
    }
}

/// Decoded samples of one series as they are stored: floats as columns, histograms in their own
/// form. A timestamp occurs in at most one of them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RawSamples {
    /// Timestamps of the float samples, ascending.
    pub timestamps_ms: Vec<i64>,
    /// Float values, as many as timestamps.
    pub values: Vec<f64>,
    /// Start timestamps of the float samples: as many as timestamps, or none when all are unknown.
    pub start_timestamps_ms: Vec<i64>,
    /// Histograms with their timestamps, ascending.
    pub histograms: Vec<HistogramSample>,
}

impl RawSamples {
    /// Empties the buffer and keeps its memory.
    pub fn clear(&mut self) {
        self.timestamps_ms.clear();
        self.values.clear();
        self.start_timestamps_ms.clear();
        self.histograms.clear();
    }

    /// Whether there is no sample.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.timestamps_ms.is_empty() && self.histograms.is_empty()
    }
}

/// Decoded samples of one series, as columns. Floats and histograms stand apart; a timestamp occurs
/// in at most one of them.
#[derive(Debug, Clone, Default)]
pub struct SampleBuffer {
    /// Timestamps of the float samples, ascending.
    pub timestamps_ms: Vec<i64>,
    /// Float values, as many as timestamps.
    pub values: Vec<f64>,
    /// Start timestamps of the float samples: as many as timestamps, or none when all are unknown.
    pub start_timestamps_ms: Vec<i64>,
    /// Timestamps of the histogram samples, ascending.
    pub histogram_timestamps_ms: Vec<i64>,
    /// Histograms, as many as their timestamps.
    pub histograms: Vec<Arc<FloatHistogram>>,
    /// Start timestamps of the histograms: as many as timestamps, or none when all are unknown.
    pub histogram_start_timestamps_ms: Vec<i64>,
}

impl SampleBuffer {
    /// Empties the buffer and keeps its memory.
    pub fn clear(&mut self) {
        self.timestamps_ms.clear();
        self.values.clear();
        self.start_timestamps_ms.clear();
        self.histogram_timestamps_ms.clear();
        self.histograms.clear();
        self.histogram_start_timestamps_ms.clear();
    }

    /// Number of samples of both kinds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.timestamps_ms.len() + self.histogram_timestamps_ms.len()
    }

    /// Whether there is no sample.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
