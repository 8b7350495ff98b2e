//! Aggregations over the samples of a window: `sum_over_time`, `avg_over_time`,
//! `count_over_time`, `stddev_over_time`, `stdvar_over_time`, `quantile_over_time`,
//! `mad_over_time`, `present_over_time`.
//!
//! Sums are compensated, in the order of the samples; several windows at once, see [`super::lanes`]. Source: Prometheus `promql/functions.go`.

use tenbin_model::{Interrupt, SampleBuffer, StoreError, kahan};

use crate::error::EvalError;
use crate::eval::column::Series;
use crate::eval::window::{
    CallState, Frame, MixedWindow, Window, slide, slide_bounds, slide_until,
};
use crate::functions::histogram::over_time as histogram_over_time;
use crate::functions::lanes::{self, slide_side_by_side};
use crate::functions::quantile::{nan_first, quantile_of, quantile_of_sorted, sort_values};
use crate::value::SampleValue;

type Outcome = Result<Option<SampleValue>, EvalError>;

pub(super) fn sum_of(values: &[f64]) -> f64 {
    let (mut sum, mut compensation) = (0.0, 0.0);
    for value in values {
        (sum, compensation) = kahan::add(*value, sum, compensation);
    }
    if sum.is_infinite() {
        sum
    } else {
        sum + compensation
    }
}

/// The mean: of the compensated sum while that does not overflow, incremental from there on.
pub(super) fn average_of(values: &[f64]) -> f64 {
    let (mut sum, mut compensation, mut count) = (values[0], 0.0, 1.0);
    let mut mean = 0.0;
    let mut incremental = false;
    for (at, value) in values.iter().enumerate().skip(1) {
        count = (at + 1) as f64;
        if !incremental {
            let (new_sum, new_compensation) = kahan::add(*value, sum, compensation);
            if !new_sum.is_infinite() {
                (sum, compensation) = (new_sum, new_compensation);
                continue;
            }
            incremental = true;
            mean = sum / (count - 1.0);
            compensation /= count - 1.0;
        }
        let weight = (count - 1.0) / count;
        (mean, compensation) = kahan::add(*value / count, weight * mean, weight * compensation);
    }
    if incremental {
        mean + compensation
    } else {
        sum / count + compensation / count
    }
}

/// Values of one window after which its kernel looks up.
const BETWEEN_LOOKS: usize = 1 << 16;

pub(super) fn variance_of(values: &[f64], interrupt: &Interrupt) -> Result<f64, StoreError> {
    let mut count = 0.0;
    let (mut mean, mut mean_c) = (0.0, 0.0);
    let (mut aux, mut aux_c) = (0.0, 0.0);
    for values in values.chunks(BETWEEN_LOOKS) {
        for value in values {
            count += 1.0;
            let delta = value - (mean + mean_c);
            (mean, mean_c) = kahan::add(delta / count, mean, mean_c);
            (aux, aux_c) = kahan::add(delta * (value - (mean + mean_c)), aux, aux_c);
        }
        if values.len() == BETWEEN_LOOKS {
            interrupt.check()?;
        }
    }
    Ok((aux + aux_c) / count)
}

/// Median of the absolute deviations from the median.
fn mad_of(
    values: &[f64],
    scratch: &mut Vec<f64>,
    interrupt: &Interrupt,
) -> Result<f64, StoreError> {
    if values.iter().any(|v| v.is_nan()) {
        return Ok(f64::NAN);
    }
    scratch.clear();
    scratch.extend_from_slice(values);
    let median = quantile_of(0.5, scratch, interrupt)?;
    for value in scratch.iter_mut() {
        *value = (*value - median).abs();
    }
    quantile_of(0.5, scratch, interrupt)
}

/// The floats of a window in which histograms do not count.
fn floats_only<'s>(window: &MixedWindow<'s>, state: &mut CallState<'_>) -> Option<Window<'s>> {
    if window.floats.times.is_empty() {
        return None;
    }
    if !window.times.is_empty() {
        state
            .notes
            .histogram_ignored_in_range(state.metric, state.span);
    }
    Some(window.floats)
}

/// Kernels that need nothing but the values of a window.
macro_rules! of_values {
    ($floats:ident, $f:expr) => {
        pub(crate) fn $floats(
            samples: &SampleBuffer,
            frame: &Frame,
            state: &mut CallState<'_>,
            out: &mut Series,
        ) -> Result<(), EvalError> {
            slide(samples, frame, state.tally, out, |window| {
                Some($f(window.values))
            });
            Ok(())
        }
    };
}

/// A kernel of one window at a time, and the same for several windows side by side.
macro_rules! side_by_side {
    ($floats:ident, $several:expr, $single:expr) => {
        pub(crate) fn $floats(
            samples: &SampleBuffer,
            frame: &Frame,
            state: &mut CallState<'_>,
            out: &mut Series,
        ) -> Result<(), EvalError> {
            let interrupt = state.tally.interrupt();
            slide_side_by_side(samples, frame, state, out, $several, |values| {
                $single(values, &interrupt)
            })
        }
    };
}

side_by_side!(sum_floats, lanes::sums, |values, _: &Interrupt| Ok(sum_of(
    values
)));
side_by_side!(avg_floats, lanes::averages, |values, _: &Interrupt| Ok(
    average_of(values)
));
side_by_side!(stdvar_floats, lanes::variances, variance_of);
side_by_side!(stddev_floats, lanes::deviations, deviation_of);

pub(super) fn deviation_of(values: &[f64], interrupt: &Interrupt) -> Result<f64, StoreError> {
    Ok(variance_of(values, interrupt)?.sqrt())
}

of_values!(present_floats, |_: &[f64]| 1.0);

pub(crate) fn count_floats(
    samples: &SampleBuffer,
    frame: &Frame,
    state: &mut CallState<'_>,
    out: &mut Series,
) -> Result<(), EvalError> {
    let times = &samples.timestamps_ms;
    slide_bounds(times, frame, state.tally, out, |bounds| {
        Some((bounds.high - bounds.low) as f64)
    });
    Ok(())
}

/// Mixed windows of functions on which histograms have no effect but a remark.
macro_rules! histograms_ignored {
    ($mixed:ident, $f:expr) => {
        pub(crate) fn $mixed(window: &MixedWindow<'_>, state: &mut CallState<'_>) -> Outcome {
            let Some(floats) = floats_only(window, state) else {
                return Ok(None);
            };
            let found = $f(floats.values, &state.tally.interrupt())?;
            Ok(Some(SampleValue::Float(found)))
        }
    };
}

histograms_ignored!(stddev_mixed, deviation_of);
histograms_ignored!(stdvar_mixed, variance_of);

pub(crate) fn count_mixed(window: &MixedWindow<'_>, _state: &mut CallState<'_>) -> Outcome {
    let count = window.floats.times.len() + window.times.len();
    Ok(Some(SampleValue::Float(count as f64)))
}

pub(crate) fn present_mixed(_window: &MixedWindow<'_>, _state: &mut CallState<'_>) -> Outcome {
    Ok(Some(SampleValue::Float(1.0)))
}

/// Whether a window has samples of one kind only; remarks if it has both.
fn is_pure(window: &MixedWindow<'_>, state: &mut CallState<'_>) -> bool {
    let mixed = !window.floats.times.is_empty() && !window.times.is_empty();
    if mixed {
        state
            .notes
            .mixed_floats_histograms(state.metric, state.span);
    }
    !mixed
}

pub(crate) fn sum_mixed(window: &MixedWindow<'_>, state: &mut CallState<'_>) -> Outcome {
    if !is_pure(window, state) {
        return Ok(None);
    }
    if window.times.is_empty() {
        return Ok(Some(SampleValue::Float(sum_of(window.floats.values))));
    }
    histogram_over_time::sum(window.histograms, state)
}

pub(crate) fn avg_mixed(window: &MixedWindow<'_>, state: &mut CallState<'_>) -> Outcome {
    if !is_pure(window, state) {
        return Ok(None);
    }
    if window.times.is_empty() {
        return Ok(Some(SampleValue::Float(average_of(window.floats.values))));
    }
    histogram_over_time::average(window.histograms, state)
}

pub(crate) fn mad_floats(
    samples: &SampleBuffer,
    frame: &Frame,
    state: &mut CallState<'_>,
    out: &mut Series,
) -> Result<(), EvalError> {
    let scratch = &mut *state.scratch;
    slide_until(samples, frame, state.tally, out, |window, interrupt| {
        mad_of(window.values, scratch, interrupt).map(Some)
    })
}

pub(crate) fn mad_mixed(window: &MixedWindow<'_>, state: &mut CallState<'_>) -> Outcome {
    let Some(floats) = floats_only(window, state) else {
        return Ok(None);
    };
    let interrupt = state.tally.interrupt();
    let found = mad_of(floats.values, state.scratch, &interrupt)?;
    Ok(Some(SampleValue::Float(found)))
}

fn is_invalid_quantile(quantile: f64) -> bool {
    !(0.0..=1.0).contains(&quantile)
}

pub(crate) fn quantile_floats(
    samples: &SampleBuffer,
    frame: &Frame,
    state: &mut CallState<'_>,
    out: &mut Series,
) -> Result<(), EvalError> {
    let Some(quantiles) = state.params.first() else {
        return Ok(());
    };
    let notes = &mut *state.notes;
    let span = state.span;
    let mut sorted = SortedWindow::new(&samples.values, state.scratch);
    slide_until(samples, frame, state.tally, out, |window, interrupt| {
        let quantile = quantiles.at(window.step);
        if is_invalid_quantile(quantile) {
            notes.invalid_quantile(quantile, span);
        }
        let end = window.first + window.values.len();
        sorted.move_to(window.first, end, interrupt)?;
        Ok(Some(quantile_of_sorted(quantile, sorted.values)))
    })
}

/// The values of a window in order, kept up to date as the window moves on.
struct SortedWindow<'s> {
    all: &'s [f64],
    values: &'s mut Vec<f64>,
    low: usize,
    high: usize,
    /// Zeros of both signs are equal, but not the same: their order is that of the samples.
    has_negative_zero: bool,
}

impl<'s> SortedWindow<'s> {
    fn new(all: &'s [f64], values: &'s mut Vec<f64>) -> Self {
        values.clear();
        Self {
            all,
            values,
            low: 0,
            high: 0,
            has_negative_zero: all.iter().any(|v| *v == 0.0 && v.is_sign_negative()),
        }
    }

    /// Where a value stands or belongs.
    fn place(&self, value: f64) -> usize {
        if self.values.len() > 64 {
            return self
                .values
                .partition_point(|v| nan_first(*v, value).is_lt());
        }
        // Counting has no branches to mispredict. NaN comes first.
        let is_smaller = |v: &&f64| (**v < value) | (v.is_nan() & !value.is_nan());
        self.values.iter().filter(is_smaller).count()
    }

    /// Moves the window forward.
    fn move_to(
        &mut self,
        low: usize,
        high: usize,
        interrupt: &Interrupt,
    ) -> Result<(), StoreError> {
        let changed = (low - self.low) + (high - self.high);
        if self.has_negative_zero || low >= self.high || changed > 8 {
            self.values.clear();
            self.values.extend_from_slice(&self.all[low..high]);
            sort_values(self.values, interrupt)?;
        } else {
            for at in self.low..low {
                let place = self.place(self.all[at]);
                self.values.remove(place);
            }
            for at in self.high..high {
                let place = self.place(self.all[at]);
                self.values.insert(place, self.all[at]);
            }
        }
        (self.low, self.high) = (low, high);
        Ok(())
    }
}

pub(crate) fn quantile_mixed(window: &MixedWindow<'_>, state: &mut CallState<'_>) -> Outcome {
    let Some(floats) = floats_only(window, state) else {
        return Ok(None);
    };
    let Some(quantile) = state.params.first().map(|q| q.at(floats.step)) else {
        return Ok(None);
    };
    if is_invalid_quantile(quantile) {
        state.notes.invalid_quantile(quantile, state.span);
    }
    state.scratch.clear();
    state.scratch.extend_from_slice(floats.values);
    let found = quantile_of(quantile, state.scratch, &state.tally.interrupt())?;
    Ok(Some(SampleValue::Float(found)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_do_not_overflow() {
        assert_eq!(average_of(&[f64::MAX, f64::MAX]), f64::MAX);
        assert_eq!(average_of(&[1.0, 2.0, 6.0]), 3.0);
        assert_eq!(sum_of(&[1e100, 1.0, -1e100]), 1.0);
        assert_eq!(sum_of(&[f64::INFINITY, 1.0]), f64::INFINITY);
    }

    #[test]
    fn spread_is_that_of_the_population() {
        let never = Interrupt::default();
        assert_eq!(variance_of(&[1.0, 3.0], &never).unwrap(), 1.0);
        assert_eq!(deviation_of(&[2.0, 6.0], &never).unwrap(), 2.0);
        let mad = |values: &[f64]| mad_of(values, &mut Vec::new(), &Interrupt::default());
        assert_eq!(mad(&[1.0, 2.0, 9.0]).unwrap(), 1.0);
        assert!(mad(&[f64::NAN, 1.0]).unwrap().is_nan());
    }
}
