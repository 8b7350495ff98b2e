//! Float samples and the staleness marker.
//!
//! Values are compared and stored by their bits: every NaN payload, -0 and the infinities survive.

/// The bit pattern that marks a series as stale: a signalling NaN that no computation produces.
/// Source: Prometheus `model/value`.
pub const STALE_NAN_BITS: u64 = 0x7ff0_0000_0000_0002;

/// The bit pattern of an ordinary NaN as Prometheus writes it.
pub const NORMAL_NAN_BITS: u64 = 0x7ff8_0000_0000_0001;

/// One float sample.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
    /// The value; its bits are kept as they came.
    pub value: f64,
    /// When the counter behind the sample began, in milliseconds since the Unix epoch; 0 = unknown.
    pub start_timestamp_ms: i64,
}

impl Sample {
    /// A sample without a start timestamp.
    #[must_use]
    pub fn new(timestamp_ms: i64, value: f64) -> Self {
        Self {
            timestamp_ms,
            value,
            start_timestamp_ms: 0,
        }
    }
}

/// Samples are equal when time, value bits and start time are.
impl PartialEq for Sample {
    fn eq(&self, other: &Self) -> bool {
        self.timestamp_ms == other.timestamp_ms
            && self.value.to_bits() == other.value.to_bits()
            && self.start_timestamp_ms == other.start_timestamp_ms
    }
}

/// Whether `value` is the staleness marker (and not just any NaN).
#[inline]
#[must_use]
pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE_NAN_BITS
}

/// The staleness marker as a value.
#[must_use]
pub fn stale_nan() -> f64 {
    f64::from_bits(STALE_NAN_BITS)
}
