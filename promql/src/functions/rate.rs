//! `rate`, `increase`, `delta`, `irate`, `idelta`: how much a series grew inside a window.
//!
//! The plain forms extrapolate from the samples to the window's edges; with `anchored` or
//! `smoothed` the values at the edges are taken or interpolated instead. Counter resets are found
//! once per series; a window without one needs only its first and last sample. Source: Prometheus
//! `extrapolatedRate`, `extendedRate` and `instantValue`.

mod plain;

use tenbin_model::SampleBuffer;

use crate::error::EvalError;
use crate::eval::column::Series;
use crate::eval::grid::seconds;
use crate::eval::window::{CallState, Frame, MixedWindow, Window, slide};
use crate::functions::histogram::rate as histogram_rate;
use crate::value::SampleValue;
use plain::{Remembered, plain_growth};

/// Which of the family is computed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Growth {
    /// Resets are added up, and the extrapolation does not go below zero.
    pub(crate) counter: bool,
    /// The result is per second.
    pub(crate) per_second: bool,
}

const RATE: Growth = Growth {
    counter: true,
    per_second: true,
};
const INCREASE: Growth = Growth {
    counter: true,
    per_second: false,
};
const DELTA: Growth = Growth {
    counter: false,
    per_second: false,
};

/// Whether the counter began anew between two samples, judged by their start timestamps.
pub(crate) fn started_anew(prev_start: i64, prev_ms: i64, start: i64, time_ms: i64) -> bool {
    if start == 0 || start >= time_ms || start < prev_ms {
        return false;
    }
    if start > prev_ms {
        return true;
    }
    // The sample starts where the one before it lies: a delta, or a counter whose start is not
    // known. Only if the start of the one before is known it is a delta.
    prev_start <= prev_ms && prev_start != 0 && prev_start != prev_ms
}

/// Whether a sample claims to start before the sample before it, but not where that one started.
pub(crate) fn starts_overlap(prev_start: i64, prev_ms: i64, start: i64) -> bool {
    start != 0 && start < prev_ms && start != prev_start
}

/// Where the samples of a window begin and end.
pub(crate) struct Extent {
    pub(crate) first_ms: i64,
    pub(crate) last_ms: i64,
    pub(crate) samples: usize,
    /// Start timestamp of the first sample, 0 if unknown.
    pub(crate) first_start: i64,
    /// The window's edges.
    pub(crate) start_ms: i64,
    pub(crate) end_ms: i64,
}

/// What to make of the growth between the first and the last sample.
pub(crate) struct Extrapolation {
    /// Multiply by this.
    pub(crate) factor: f64,
    /// But first add the first sample: the counter started at zero inside the window.
    pub(crate) add_first: bool,
    /// The counter's zero point cut the extrapolation short.
    limited: bool,
    /// Seconds extrapolated before the first sample, and between first and last.
    to_start: f64,
    sampled: f64,
}

/// Extrapolates to the window's edges. `raw` is the growth between the samples and `first` the
/// value of the first one, by which a counter's zero point is found.
pub(crate) fn extrapolate(
    extent: &Extent,
    range_s: f64,
    growth: Growth,
    raw: f64,
    first: f64,
) -> Option<Extrapolation> {
    let mut to_start = (extent.first_ms - extent.start_ms) as f64 / 1000.0;
    let mut to_end = (extent.end_ms - extent.last_ms) as f64 / 1000.0;
    let mut sampled = (extent.last_ms - extent.first_ms) as f64 / 1000.0;
    let average = if extent.samples > 1 {
        sampled / (extent.samples - 1) as f64
    } else {
        0.0
    };
    let threshold = average * 1.1;
    let mut limited = false;
    let start = extent.first_start;
    let add_first =
        growth.counter && start != 0 && start > extent.start_ms && start < extent.first_ms;
    if add_first {
        to_start = 0.0;
        sampled = (extent.last_ms - start) as f64 / 1000.0;
    } else if extent.samples < 2 {
        return None;
    } else {
        if to_start >= threshold {
            to_start = average / 2.0;
        }
        if growth.counter && raw > 0.0 && first >= 0.0 {
            let to_zero = sampled * (first / raw);
            if to_zero < to_start {
                to_start = to_zero;
                limited = true;
            }
        }
    }
    if to_end >= threshold {
        to_end = average / 2.0;
    }
    let mut factor = 1.0;
    if sampled != 0.0 {
        factor = (sampled + to_start + to_end) / sampled;
    }
    if growth.per_second {
        factor /= range_s;
    }
    Some(Extrapolation {
        factor,
        add_first,
        limited,
        to_start,
        sampled,
    })
}

/// The growth in a window; `resets` are the positions of resets among all samples of the series,
/// ascending, of which those after the window's first sample count.
#[inline]
fn extrapolated(
    window: &Window<'_>,
    range_s: f64,
    growth: Growth,
    resets: &[usize],
    remembered: &mut Remembered,
) -> Option<f64> {
    let (times, values) = (window.times, window.values);
    let last = times.len() - 1;
    let mut raw = values[last] - values[0];
    for at in resets {
        let inside = at - window.first;
        if inside > last {
            break;
        }
        raw += values[inside - 1];
    }
    let extent = Extent {
        first_ms: times[0],
        last_ms: times[last],
        samples: times.len(),
        first_start: window.starts.first().copied().unwrap_or(0),
        start_ms: window.start_ms,
        end_ms: window.end_ms,
    };
    if extent.first_start == 0 {
        return match remembered.factor(&extent, growth, raw, values[0]) {
            Some(factor) => Some(raw * factor),
            None => remembered.compute(&extent, range_s, growth, raw, values[0]),
        };
    }
    let found = extrapolate(&extent, range_s, growth, raw, values[0])?;
    if found.add_first {
        raw += values[0];
    }
    Some(raw * found.factor)
}

/// Positions of samples that follow a counter reset.
fn resets_of(values: &[f64], times: &[i64], starts: &[i64]) -> Vec<usize> {
    let mut resets = Vec::new();
    for at in 1..values.len() {
        if values[at] < values[at - 1]
            || (at < starts.len()
                && started_anew(starts[at - 1], times[at - 1], starts[at], times[at]))
        {
            resets.push(at);
        }
    }
    resets
}

/// Positions of samples whose start timestamp overlaps with the sample before them.
fn overlaps_of(times: &[i64], starts: &[i64]) -> Vec<usize> {
    (1..starts.len())
        .filter(|at| starts_overlap(starts[at - 1], times[at - 1], starts[*at]))
        .collect()
}

/// Whether a position of the ascending list lies in `(first, first + len)`.
fn any_inside(list: &[usize], first: usize, len: usize) -> bool {
    let from = list.partition_point(|at| *at <= first);
    list.get(from).is_some_and(|at| *at < first + len)
}

fn growth_floats(
    samples: &SampleBuffer,
    frame: &Frame,
    state: &mut CallState<'_>,
    out: &mut Series,
    growth: Growth,
) {
    let range_s = seconds(frame.range_ms);
    let starts: &[i64] = if frame.start_times {
        &samples.start_timestamps_ms
    } else {
        &[]
    };
    let times = &samples.timestamps_ms;
    let (mut resets, mut overlaps) = (Vec::new(), Vec::new());
    if growth.counter {
        resets = resets_of(&samples.values, times, starts);
        overlaps = overlaps_of(times, starts);
    }
    let mut overlapping_windows = 0;
    let mut passed = 0;
    let mut remembered = Remembered::default();
    if frame.extended() {
        slide(samples, frame, state.tally, out, |window| {
            extended(window, frame, growth)
        });
    } else if starts.is_empty() {
        plain_growth(samples, frame, state, out, growth, &resets);
    } else {
        slide(samples, frame, state.tally, out, |window| {
            while resets.get(passed).is_some_and(|at| *at <= window.first) {
                passed += 1;
            }
            if !overlaps.is_empty() && any_inside(&overlaps, window.first, window.times.len()) {
                overlapping_windows += 1;
            }
            extrapolated(window, range_s, growth, &resets[passed..], &mut remembered)
        });
    }
    if overlapping_windows > 0 {
        state
            .notes
            .start_time_overlap(state.metric, overlapping_windows, state.span);
    }
}

fn growth_mixed(
    window: &MixedWindow<'_>,
    state: &mut CallState<'_>,
    growth: Growth,
) -> Result<Option<SampleValue>, EvalError> {
    let floats = &window.floats;
    if !floats.times.is_empty() && !window.times.is_empty() {
        state
            .notes
            .mixed_floats_histograms(state.metric, state.span);
        return Ok(None);
    }
    if floats.times.is_empty() {
        return histogram_rate::growth(window, state, growth);
    }
    let range_s = seconds(window.range_ms);
    let mut resets = Vec::new();
    if growth.counter {
        resets = resets_of(floats.values, floats.times, floats.starts);
        for at in &mut resets {
            *at += floats.first;
        }
        if !overlaps_of(floats.times, floats.starts).is_empty() {
            state.notes.start_time_overlap(state.metric, 1, state.span);
        }
    }
    let value = if window.anchored || window.smoothed {
        extended_in(floats, window.smoothed, range_s, growth)
    } else {
        extrapolated(floats, range_s, growth, &resets, &mut Remembered::default())
    };
    Ok(value.map(SampleValue::Float))
}

/// The value at `time_ms` on the line between two samples. For a counter that was reset between
/// them the line starts at zero.
pub(crate) fn interpolate(
    (first_ms, first): (i64, f64),
    (second_ms, second): (i64, f64),
    time_ms: i64,
    counter: bool,
) -> f64 {
    let from = if counter && second < first {
        0.0
    } else {
        first
    };
    from + (second - from) * (time_ms - first_ms) as f64 / (second_ms - first_ms) as f64
}

/// The samples of an extended window that matter: the one at or before its start, or else the
/// first, and the one at or after its end, or else the last. `None` without growth to measure.
pub(crate) fn extended_bounds(
    times: &[i64],
    start_ms: i64,
    end_ms: i64,
    smoothed: bool,
) -> Option<(usize, usize)> {
    let mut last = times.len().checked_sub(1)?;
    let first = times[..last]
        .partition_point(|t| *t <= start_ms)
        .saturating_sub(1);
    if smoothed {
        last = times[..last].partition_point(|t| *t < end_ms);
    }
    if times[last] <= start_ms || (smoothed && times[first] > end_ms) {
        return None;
    }
    Some((first, last))
}

/// The values at the edges of an extended window.
pub(crate) fn edge_values(
    window: &Window<'_>,
    (first, last): (usize, usize),
    smoothed: bool,
    counter: bool,
) -> (f64, f64) {
    let sample = |at: usize| (window.times[at], window.values[at]);
    let left = if smoothed && window.times[first] < window.start_ms {
        interpolate(sample(first), sample(first + 1), window.start_ms, counter)
    } else {
        window.values[first]
    };
    let right = if smoothed && last > 0 && window.times[last] > window.end_ms {
        interpolate(sample(last - 1), sample(last), window.end_ms, counter)
    } else {
        window.values[last]
    };
    (left, right)
}

fn extended(window: &Window<'_>, frame: &Frame, growth: Growth) -> Option<f64> {
    extended_in(window, frame.smoothed, seconds(frame.range_ms), growth)
}

fn extended_in(window: &Window<'_>, smoothed: bool, range_s: f64, growth: Growth) -> Option<f64> {
    let bounds = extended_bounds(window.times, window.start_ms, window.end_ms, smoothed)?;
    let (left, right) = edge_values(window, bounds, smoothed, growth.counter);
    let mut result = right - left;
    if growth.counter {
        let (mut first, mut end) = (bounds.0, bounds.1 + 1);
        if window.times[bounds.0] <= window.start_ms {
            first += 1;
        }
        if window.times[bounds.1] >= window.end_ms {
            end -= 1;
        }
        result += reset_correction(left, right, window.values.get(first..end).unwrap_or(&[]));
    }
    if growth.per_second {
        result /= range_s;
    }
    Some(result)
}

/// The sum of the values before each drop from `left` over `inside` to `right`.
fn reset_correction(left: f64, right: f64, inside: &[f64]) -> f64 {
    let mut correction = 0.0;
    let mut previous = left;
    for value in inside {
        if *value < previous {
            correction += previous;
        }
        previous = *value;
    }
    if right < previous {
        correction += previous;
    }
    correction
}

/// `irate` and `idelta`: the growth between the last two samples.
pub(crate) fn instant(window: &Window<'_>, per_second: bool) -> Option<f64> {
    let last = window.times.len().checked_sub(1)?;
    let before = last.checked_sub(1)?;
    let interval = window.times[last] - window.times[before];
    if interval == 0 {
        return None;
    }
    let (value, previous) = (window.values[last], window.values[before]);
    if !per_second {
        return Some(value - previous);
    }
    let start = |at: usize| window.starts.get(at).copied().unwrap_or(0);
    let reset = value < previous
        || started_anew(
            start(before),
            window.times[before],
            start(last),
            window.times[last],
        );
    let growth = if reset { value } else { value - previous };
    Some(growth / (interval as f64 / 1000.0))
}

fn instant_mixed(
    window: &MixedWindow<'_>,
    state: &mut CallState<'_>,
    per_second: bool,
) -> Result<Option<SampleValue>, EvalError> {
    if window.times.is_empty() {
        return Ok(instant(&window.floats, per_second).map(SampleValue::Float));
    }
    histogram_rate::instant(window, state, per_second)
}

macro_rules! family {
    ($floats:ident, $mixed:ident, $growth:expr) => {
        pub(crate) fn $floats(
            samples: &SampleBuffer,
            frame: &Frame,
            state: &mut CallState<'_>,
            out: &mut Series,
        ) -> Result<(), EvalError> {
            growth_floats(samples, frame, state, out, $growth);
            Ok(())
        }

        pub(crate) fn $mixed(
            window: &MixedWindow<'_>,
            state: &mut CallState<'_>,
        ) -> Result<Option<SampleValue>, EvalError> {
            growth_mixed(window, state, $growth)
        }
    };
}

family!(rate_floats, rate_mixed, RATE);
family!(increase_floats, increase_mixed, INCREASE);
family!(delta_floats, delta_mixed, DELTA);

macro_rules! instant_family {
    ($floats:ident, $mixed:ident, $per_second:expr) => {
        pub(crate) fn $floats(
            samples: &SampleBuffer,
            frame: &Frame,
            state: &mut CallState<'_>,
            out: &mut Series,
        ) -> Result<(), EvalError> {
            slide(samples, frame, state.tally, out, |window| {
                instant(window, $per_second)
            });
            Ok(())
        }

        pub(crate) fn $mixed(
            window: &MixedWindow<'_>,
            state: &mut CallState<'_>,
        ) -> Result<Option<SampleValue>, EvalError> {
            instant_mixed(window, state, $per_second)
        }
    };
}

instant_family!(irate_floats, irate_mixed, true);
instant_family!(idelta_floats, idelta_mixed, false);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_timestamps_tell_resets() {
        assert!(!started_anew(0, 10, 0, 20));
        assert!(started_anew(0, 10, 15, 20));
        assert!(!started_anew(0, 10, 20, 20), "start equal to the sample");
        assert!(started_anew(5, 10, 10, 20), "delta");
        assert!(!started_anew(10, 10, 10, 20), "unknown start");
        assert!(!started_anew(11, 10, 10, 20), "invalid start before");
        assert!(starts_overlap(2, 10, 5));
        assert!(!starts_overlap(5, 10, 5));
        assert!(!starts_overlap(2, 10, 10));
    }

    #[test]
    fn interpolation_restarts_at_zero_after_a_reset() {
        assert_eq!(interpolate((0, 10.0), (10, 20.0), 5, true), 15.0);
        assert_eq!(interpolate((0, 10.0), (10, 4.0), 5, true), 2.0);
        assert_eq!(interpolate((0, 10.0), (10, 4.0), 5, false), 7.0);
    }

    #[test]
    fn extended_bounds_take_the_sample_at_the_start() {
        let times = [10, 20, 30, 40];
        assert_eq!(extended_bounds(&times, 25, 35, false), Some((1, 3)));
        assert_eq!(extended_bounds(&times, 25, 35, true), Some((1, 3)));
        assert_eq!(extended_bounds(&times, 5, 30, true), Some((0, 2)));
        assert_eq!(extended_bounds(&times, 40, 50, false), None);
    }
}
