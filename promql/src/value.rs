//! Results of a query.
//!
//! Histograms are shared, never copied: an evaluation that changes one makes a new one.

use std::sync::Arc;

use tenbin_model::{Annotations, FloatHistogram, Labels};

use crate::ast::ValueType;
use crate::eval::column::histogram_size;

/// A float or a native histogram.
#[derive(Debug, Clone)]
pub enum SampleValue {
    /// A float.
    Float(f64),
    /// A native histogram.
    Histogram(Arc<FloatHistogram>),
}

/// One element of an instant vector.
#[derive(Debug, Clone)]
pub struct VectorSample {
    /// The series.
    pub labels: Labels,
    /// The evaluation time in milliseconds.
    pub timestamp_ms: i64,
    /// The value.
    pub value: SampleValue,
}

impl VectorSample {
    /// Bytes that the sample holds.
    #[must_use]
    pub fn byte_len(&self) -> u64 {
        let histogram = match &self.value {
            SampleValue::Float(_) => 0,
            SampleValue::Histogram(histogram) => 16 * histogram_size(histogram),
        };
        (size_of::<Self>() + self.labels.byte_len()) as u64 + histogram
    }
}

impl MatrixSeries {
    /// Bytes that the series holds.
    #[must_use]
    pub fn byte_len(&self) -> u64 {
        let points = 16 * (self.floats.len() + self.histograms.len());
        let histograms = self.histograms.iter();
        let histograms: u64 = histograms.map(|(_, h)| 16 * histogram_size(h)).sum();
        (size_of::<Self>() + self.labels.byte_len() + points) as u64 + histograms
    }
}

/// One series of a matrix. A timestamp occurs in at most one of the two lists.
#[derive(Debug, Clone, Default)]
pub struct MatrixSeries {
    /// The series.
    pub labels: Labels,
    /// Float points `(timestamp_ms, value)`, ascending.
    pub floats: Vec<(i64, f64)>,
    /// Histogram points, ascending.
    pub histograms: Vec<(i64, Arc<FloatHistogram>)>,
}

/// The value of a query.
#[derive(Debug, Clone)]
pub enum Value {
    /// A number at the evaluation time.
    Scalar {
        /// Evaluation time in milliseconds.
        timestamp_ms: i64,
        /// The number.
        value: f64,
    },
    /// A string at the evaluation time.
    String {
        /// Evaluation time in milliseconds.
        timestamp_ms: i64,
        /// The text.
        value: String,
    },
    /// An instant vector; order carries meaning only for sorting queries.
    Vector(Vec<VectorSample>),
    /// Series over time, sorted by labels.
    Matrix(Vec<MatrixSeries>),
}

impl Value {
    /// The type of the value.
    #[must_use]
    pub fn value_type(&self) -> ValueType {
        match self {
            Self::Scalar { .. } => ValueType::Scalar,
            Self::String { .. } => ValueType::String,
            Self::Vector(_) => ValueType::Vector,
            Self::Matrix(_) => ValueType::Matrix,
        }
    }

    /// Bytes that the value holds, histograms counted once per point.
    #[must_use]
    pub fn byte_len(&self) -> u64 {
        match self {
            Self::Scalar { .. } => 0,
            Self::String { value, .. } => value.len() as u64,
            Self::Vector(samples) => samples.iter().map(VectorSample::byte_len).sum(),
            Self::Matrix(series) => series.iter().map(MatrixSeries::byte_len).sum(),
        }
    }
}

/// What a query cost, as `stats=all` shows it. Times are seconds.
#[derive(Debug, Clone, Default)]
pub struct QueryStats {
    /// Preparing: selecting series.
    pub preparation_s: f64,
    /// Evaluating.
    pub inner_eval_s: f64,
    /// Sorting the result.
    pub result_sort_s: f64,
    /// All evaluation.
    pub eval_total_s: f64,
    /// Samples that the evaluation touched, counted per step as Prometheus does.
    pub total_queryable_samples: u64,
    /// Samples read from the store.
    pub samples_read: u64,
    /// Most samples held at once.
    pub peak_samples: u64,
    /// `(timestamp_ms, samples)` per step; only with the per-step feature and `stats=all`.
    pub samples_per_step: Option<Vec<(i64, u64)>>,
}

/// A finished query.
#[derive(Debug, Clone)]
pub struct QueryResult {
    /// The value.
    pub value: Value,
    /// Warnings and infos.
    pub annotations: Annotations,
    /// Costs.
    pub stats: QueryStats,
}
