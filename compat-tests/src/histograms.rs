//! Native histograms as remote write carries them, made from plain counts: 1.0 and 2.0 have one form, and 2.0
//! a start timestamp beside.

use prost::Message;

/// The schema of custom buckets.
pub const CUSTOM: i32 = -53;

/// `prometheus.Histogram` and `io.prometheus.write.v2.Histogram`: counts are either all integers or all floats.
#[derive(Clone, PartialEq, Message)]
pub struct Histogram {
    /// Observations, as an integer.
    #[prost(uint64, optional, tag = "1")]
    pub count_int: Option<u64>,
    /// Observations, as a float.
    #[prost(double, optional, tag = "2")]
    pub count_float: Option<f64>,
    /// Sum of the observations.
    #[prost(double, tag = "3")]
    pub sum: f64,
    /// Resolution; [`CUSTOM`] for explicit bounds.
    #[prost(sint32, tag = "4")]
    pub schema: i32,
    /// Half the width of the zero bucket.
    #[prost(double, tag = "5")]
    pub zero_threshold: f64,
    /// Content of the zero bucket, as an integer.
    #[prost(uint64, optional, tag = "6")]
    pub zero_count_int: Option<u64>,
    /// Content of the zero bucket, as a float.
    #[prost(double, optional, tag = "7")]
    pub zero_count_float: Option<f64>,
    /// Which negative buckets follow.
    #[prost(message, repeated, tag = "8")]
    pub negative_spans: Vec<Span>,
    /// Their counts, each less the one before.
    #[prost(sint64, repeated, tag = "9")]
    pub negative_deltas: Vec<i64>,
    /// Their counts as floats.
    #[prost(double, repeated, tag = "10")]
    pub negative_counts: Vec<f64>,
    /// Which positive buckets follow.
    #[prost(message, repeated, tag = "11")]
    pub positive_spans: Vec<Span>,
    /// Their counts, each less the one before.
    #[prost(sint64, repeated, tag = "12")]
    pub positive_deltas: Vec<i64>,
    /// Their counts as floats.
    #[prost(double, repeated, tag = "13")]
    pub positive_counts: Vec<f64>,
    /// 0 = unknown, 1 = reset, 2 = no reset, 3 = gauge.
    #[prost(int32, tag = "14")]
    pub reset_hint: i32,
    /// Milliseconds since the epoch.
    #[prost(int64, tag = "15")]
    pub timestamp: i64,
    /// Upper bounds of custom buckets.
    #[prost(double, repeated, tag = "16")]
    pub custom_values: Vec<f64>,
    /// When the counter began, milliseconds since the epoch; 0 = not said. In 2.0 alone.
    #[prost(int64, tag = "17")]
    pub start_timestamp: i64,
}

/// `prometheus.BucketSpan`
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Span {
    /// Buckets left out before these.
    #[prost(sint32, tag = "1")]
    pub offset: i32,
    /// How many buckets.
    #[prost(uint32, tag = "2")]
    pub length: u32,
}

/// What a test histogram consists of: absolute counts of neighbouring buckets.
#[derive(Debug, Clone, Copy)]
pub struct Shape<'a> {
    /// The resolution.
    pub schema: i32,
    /// Index of the first positive bucket.
    pub first: i32,
    /// Counts of the positive buckets.
    pub positive: &'a [i64],
    /// Counts of the negative buckets.
    pub negative: &'a [i64],
    /// Count of the zero bucket.
    pub zero: u64,
    /// Float counts, half as large again.
    pub float: bool,
    /// It can go down.
    pub gauge: bool,
    /// Upper bounds of custom buckets.
    pub bounds: &'a [f64],
}

fn spans(first: i32, buckets: usize) -> Vec<Span> {
    let span = Span {
        offset: first,
        length: buckets as u32,
    };
    (buckets > 0).then_some(span).into_iter().collect()
}

fn deltas(counts: &[i64]) -> Vec<i64> {
    let mut before = 0;
    let delta = |count: &i64| count - std::mem::replace(&mut before, *count);
    counts.iter().map(delta).collect()
}

/// The histogram of a shape.
#[must_use]
pub fn histogram(timestamp: i64, shape: &Shape<'_>) -> Histogram {
    let all = shape.positive.iter().chain(shape.negative);
    let count = all.sum::<i64>() as u64 + shape.zero;
    let floats = |counts: &[i64]| counts.iter().map(|c| *c as f64 * 1.5).collect();
    let mut made = Histogram {
        sum: count as f64 * 0.75,
        schema: shape.schema,
        zero_threshold: if shape.schema == CUSTOM { 0.0 } else { 0.001 },
        positive_spans: spans(shape.first, shape.positive.len()),
        negative_spans: spans(1, shape.negative.len()),
        reset_hint: if shape.gauge { 3 } else { 0 },
        timestamp,
        custom_values: shape.bounds.to_vec(),
        ..Histogram::default()
    };
    if shape.float {
        made.count_float = Some(count as f64 * 1.5);
        made.zero_count_float = Some(shape.zero as f64 * 1.5);
        made.positive_counts = floats(shape.positive);
        made.negative_counts = floats(shape.negative);
    } else {
        made.count_int = Some(count);
        made.zero_count_int = Some(shape.zero);
        made.positive_deltas = deltas(shape.positive);
        made.negative_deltas = deltas(shape.negative);
    }
    made
}

/// A staleness marker.
#[must_use]
pub fn stale(timestamp: i64) -> Histogram {
    Histogram {
        count_int: Some(0),
        zero_count_int: Some(0),
        sum: f64::from_bits(0x7ff0_0000_0000_0002),
        timestamp,
        ..Histogram::default()
    }
}
