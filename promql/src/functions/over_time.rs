//! Aggregations over the samples of a window: `sum_over_time`, `avg_over_time`,
//! `count_over_time`, `stddev_over_time`, `stdvar_over_time`, `quantile_over_time`,
//! `mad_over_time`, `present_over_time`.
//!
//! Sums are compensated, in the order of the samples. Source: Prometheus `promql/functions.go`.

use tenbin_model::{Interrupt, SampleBuffer, StoreError, kahan};

use crate::error::EvalError;
use crate::eval::column::Series;
use crate::eval::window::{CallState, Frame, MixedWindow, Window, slide, slide_bounds};
use crate::functions::histogram::over_time as histogram_over_time;
use crate::functions::quantile::{nan_first, quantile_of, quantile_of_sorted, sort_values};
use crate::value::SampleValue;

type Outcome = Result<Option<SampleValue>, EvalError>;

fn sum_of(values: &[f64]) -> f64 {
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
fn average_of(values: &[f64]) -> f64 {
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

fn variance_of(values: &[f64]) -> f64 {
    let mut count = 0.0;
    let (mut mean, mut mean_c) = (0.0, 0.0);
    let (mut aux, mut aux_c) = (0.0, 0.0);
    for value in values {
        count += 1.0;
        let delta = value - (mean + mean_c);
        (mean, mean_c) = kahan::add(delta / count, mean, mean_c);
        (aux, aux_c) = kahan::add(delta * (value - (mean + mean_c)), aux, aux_c);
    }
    (aux + aux_c) / count
}

fn deviation_of(values: &[f64]) -> f64 {
    variance_of(values).sqrt()
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

/// How many windows are summed side by side: a compensated sum is a chain of dependent operations,
/// several of which fit into the time of one.
const LANES: usize = 8;

/// Values that a lane takes at once, so that its bounds are checked once for all of them.
const BLOCK: usize = 8;

/// Adds the next value of each lane to the lane's sum.
#[inline(always)]
fn add_lanes(
    sums: &mut [f64; LANES],
    lost: &mut [f64; LANES],
    mut value: impl FnMut(usize) -> f64,
) {
    for lane in 0..LANES {
        (sums[lane], lost[lane]) = kahan::add_finite(value(lane), sums[lane], lost[lane]);
    }
}

/// The sums of windows of one length that begin at `starts`, added up as [`sum_of`] does, or
/// `from_first` as [`average_of`] does. `None` when one of them overflows.
#[inline]
fn sums_of(
    values: &[f64],
    starts: &[usize; LANES],
    len: usize,
    from_first: bool,
) -> Option<([f64; LANES], [f64; LANES])> {
    let mut lanes = [&values[..0]; LANES];
    for (lane, start) in lanes.iter_mut().zip(starts) {
        *lane = values.get(*start..start + len)?;
    }
    let (mut sums, mut lost) = ([0.0; LANES], [0.0; LANES]);
    if from_first {
        for (sum, lane) in sums.iter_mut().zip(&mut lanes) {
            let (first, rest) = lane.split_first()?;
            (*sum, *lane) = (*first, rest);
        }
    }
    let split = lanes.map(<[f64]>::as_chunks::<BLOCK>);
    for number in 0..split[0].0.len() {
        let mut blocks = [&[0.0; BLOCK]; LANES];
        for (block, (whole, _)) in blocks.iter_mut().zip(&split) {
            *block = whole.get(number)?;
        }
        for at in 0..BLOCK {
            add_lanes(&mut sums, &mut lost, |lane| blocks[lane][at]);
        }
    }
    for at in 0..split[0].1.len() {
        add_lanes(&mut sums, &mut lost, |lane| {
            split[lane].1.get(at).copied().unwrap_or(0.0)
        });
    }
    // An infinity on the way leaves its trace in the sum, or NaN in one of both.
    let finite = sums.iter().chain(&lost).all(|sum| sum.is_finite());
    finite.then_some((sums, lost))
}

/// Sums or averages of all windows, several at a time where neighbours have equal lengths.
fn slide_sums(
    samples: &SampleBuffer,
    frame: &Frame,
    state: &mut CallState<'_>,
    out: &mut Series,
    average: bool,
) {
    let values = &samples.values;
    let single = if average { average_of } else { sum_of };
    let mut pending: [(usize, usize); LANES] = [(0, 0); LANES];
    let mut waiting = 0;
    let mut results: Vec<(usize, f64)> = Vec::new();
    let mut len = 0;
    let mut flush = |pending: &[(usize, usize)], len: usize| {
        if let Ok(full) = <&[(usize, usize); LANES]>::try_from(pending)
            && let Some((sums, lost)) = sums_of(values, &full.map(|(_, low)| low), len, average)
        {
            let n = len as f64;
            for ((sum, lost), (step, _)) in sums.iter().zip(lost).zip(full) {
                let value = if average {
                    sum / n + lost / n
                } else {
                    sum + lost
                };
                results.push((*step, value));
            }
            return;
        }
        for (step, low) in pending {
            results.push((*step, single(&values[*low..low + len])));
        }
    };
    slide(samples, frame, state.tally, out, |window| {
        if waiting == LANES || (waiting > 0 && len != window.values.len()) {
            flush(&pending[..waiting], len);
            waiting = 0;
        }
        len = window.values.len();
        pending[waiting] = (window.step, window.first);
        waiting += 1;
        Some(0.0)
    });
    flush(&pending[..waiting], len);
    for (step, value) in results {
        out.values[step] = value;
    }
}

pub(crate) fn sum_floats(
    samples: &SampleBuffer,
    frame: &Frame,
    state: &mut CallState<'_>,
    out: &mut Series,
) -> Result<(), EvalError> {
    slide_sums(samples, frame, state, out, false);
    Ok(())
}

pub(crate) fn avg_floats(
    samples: &SampleBuffer,
    frame: &Frame,
    state: &mut CallState<'_>,
    out: &mut Series,
) -> Result<(), EvalError> {
    slide_sums(samples, frame, state, out, true);
    Ok(())
}

of_values!(stddev_floats, deviation_of);
of_values!(stdvar_floats, variance_of);
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
            Ok(floats_only(window, state).map(|floats| SampleValue::Float($f(floats.values))))
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
    let (interrupt, mut given_up) = (state.tally.interrupt(), Ok(()));
    slide(samples, frame, state.tally, out, |window| {
        if given_up.is_err() {
            return None;
        }
        let found = mad_of(window.values, scratch, &interrupt);
        found.map_err(|e| given_up = Err(e.into())).ok()
    });
    given_up
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
    let (interrupt, mut given_up) = (state.tally.interrupt(), Ok(()));
    let mut sorted = SortedWindow::new(&samples.values, state.scratch);
    slide(samples, frame, state.tally, out, |window| {
        if given_up.is_err() {
            return None;
        }
        let quantile = quantiles.at(window.step);
        if is_invalid_quantile(quantile) {
            notes.invalid_quantile(quantile, span);
        }
        let end = window.first + window.values.len();
        if let Err(e) = sorted.move_to(window.first, end, &interrupt) {
            given_up = Err(e.into());
            return None;
        }
        Some(quantile_of_sorted(quantile, sorted.values))
    });
    given_up
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
        assert_eq!(variance_of(&[1.0, 3.0]), 1.0);
        assert_eq!(deviation_of(&[2.0, 6.0]), 2.0);
        let mad = |values: &[f64]| mad_of(values, &mut Vec::new(), &Interrupt::default());
        assert_eq!(mad(&[1.0, 2.0, 9.0]).unwrap(), 1.0);
        assert!(mad(&[f64::NAN, 1.0]).unwrap().is_nan());
    }
}
