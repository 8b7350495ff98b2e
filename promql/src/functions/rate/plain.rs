//! The common case of `rate` and its kin: plain windows, no start timestamps.
//!
//! Most windows of a regularly sampled series lie alike, so the factor of the extrapolation is
//! remembered from one to the next; a window then takes its two ends and a multiplication. Source:
//! Prometheus `extrapolatedRate`.

use tenbin_model::SampleBuffer;

use super::{Extent, Growth, extrapolate};
use crate::eval::column::Series;
use crate::eval::grid::seconds;
use crate::eval::window::{CallState, Frame, slide_bounds};

/// The extrapolation of the window before, which most windows of a regularly sampled series share:
/// it depends on where the samples lie in the window only, unless the zero point comes in between.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    /// Distances from the window's start to the first sample, on to the last, on to the end.
    distances: (i64, i64, i64),
    samples: usize,
    factor: f64,
    /// The extrapolated and the sampled length, for the question whether the zero point matters.
    to_start: f64,
    sampled: f64,
    valid: bool,
}

impl Remembered {
    /// The factor for a window without a start timestamp inside, if it was computed before.
    #[inline]
    pub(super) fn factor(
        &self,
        extent: &Extent,
        growth: Growth,
        raw: f64,
        first: f64,
    ) -> Option<f64> {
        let known =
            self.valid && self.samples == extent.samples && self.distances == distances(extent);
        if !known {
            return None;
        }
        if growth.counter && raw > 0.0 && first >= 0.0 {
            // With the first value at least the growth, the zero point lies at least as far back
            // as the samples reach, so there is no need to divide.
            let far = first >= raw && self.sampled >= self.to_start;
            if !far && self.sampled * (first / raw) < self.to_start {
                return None;
            }
        }
        Some(self.factor)
    }
}

impl Remembered {
    /// The growth in a window without a start timestamp, computed anew and remembered.
    #[cold]
    pub(super) fn compute(
        &mut self,
        extent: &Extent,
        range_s: f64,
        growth: Growth,
        raw: f64,
        first: f64,
    ) -> Option<f64> {
        let found = extrapolate(extent, range_s, growth, raw, first)?;
        if !found.limited {
            *self = Self {
                distances: distances(extent),
                samples: extent.samples,
                factor: found.factor,
                to_start: found.to_start,
                sampled: found.sampled,
                valid: true,
            };
        }
        Some(raw * found.factor)
    }
}

#[inline]
fn distances(extent: &Extent) -> (i64, i64, i64) {
    (
        extent.first_ms - extent.start_ms,
        extent.last_ms - extent.first_ms,
        extent.end_ms - extent.last_ms,
    )
}

/// The growth in plain windows of samples without start timestamps.
pub(super) fn plain_growth(
    samples: &SampleBuffer,
    frame: &Frame,
    state: &mut CallState<'_>,
    out: &mut Series,
    growth: Growth,
    resets: &[usize],
) {
    let range_s = seconds(frame.range_ms);
    let times = samples.timestamps_ms.as_slice();
    let values = &samples.values[..times.len()];
    let mut rest = resets;
    let mut remembered = Remembered::default();
    slide_bounds(times, frame, state.tally, out, |bounds| {
        let (low, last) = (bounds.low, bounds.high - 1);
        let first = values[low];
        let mut raw = values[last] - first;
        while rest.first().is_some_and(|at| *at <= low) {
            rest = &rest[1..];
        }
        for at in rest.iter().take_while(|at| **at <= last) {
            raw += values[at - 1];
        }
        let extent = Extent {
            first_ms: times[low],
            last_ms: times[last],
            samples: bounds.high - low,
            first_start: 0,
            start_ms: bounds.start_ms,
            end_ms: bounds.end_ms,
        };
        if let Some(factor) = remembered.factor(&extent, growth, raw, first) {
            return Some(raw * factor);
        }
        remembered.compute(&extent, range_s, growth, raw, first)
    });
}
