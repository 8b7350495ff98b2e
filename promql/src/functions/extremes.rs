//! `min_over_time`, `max_over_time`, `first_over_time`, `last_over_time` and the `ts_of_...`
//! family: one sample of a window, or its time.
//!
//! Source: Prometheus `compareOverTime`, `funcFirstOverTime`, `funcLastOverTime` and their kin.

use std::sync::Arc;

use tenbin_model::SampleBuffer;

use crate::error::EvalError;
use crate::eval::column::Series;
use crate::eval::window::{CallState, Frame, MixedWindow, Window, slide, slide_bounds};
use crate::value::SampleValue;

/// The position of the sample that no later one is `better` than. NaN loses against everything.
fn extreme(window: &Window<'_>, better: impl Fn(f64, f64) -> bool) -> usize {
    let (mut best, mut at) = (window.values[0], 0);
    for (position, value) in window.values.iter().enumerate() {
        if better(*value, best) || best.is_nan() {
            best = *value;
            at = position;
        }
    }
    at
}

fn time_s(time_ms: i64) -> f64 {
    time_ms as f64 / 1000.0
}

/// Remarks on histograms in a window whose floats alone count; `None` without floats.
fn floats_only<'w, 's>(
    window: &'w MixedWindow<'s>,
    state: &mut CallState<'_>,
) -> Option<&'w Window<'s>> {
    if window.floats.times.is_empty() {
        return None;
    }
    if !window.times.is_empty() {
        state
            .notes
            .histogram_ignored_in_range(state.metric, state.span);
    }
    Some(&window.floats)
}

macro_rules! on_extreme {
    ($floats:ident, $mixed:ident, $better:expr, $result:expr) => {
        pub(crate) fn $floats(
            samples: &SampleBuffer,
            frame: &Frame,
            state: &mut CallState<'_>,
            out: &mut Series,
        ) -> Result<(), EvalError> {
            slide(samples, frame, state.tally, out, |window: &Window<'_>| {
                Some($result(window, extreme(window, $better)))
            });
            Ok(())
        }

        pub(crate) fn $mixed(
            window: &MixedWindow<'_>,
            state: &mut CallState<'_>,
        ) -> Result<Option<SampleValue>, EvalError> {
            Ok(floats_only(window, state)
                .map(|floats| SampleValue::Float($result(floats, extreme(floats, $better)))))
        }
    };
}

fn value_at(window: &Window<'_>, at: usize) -> f64 {
    window.values[at]
}

fn time_at(window: &Window<'_>, at: usize) -> f64 {
    time_s(window.times[at])
}

/// The extreme values of all windows in one pass: a queue of the samples that are, or may become
/// when those before them leave, the extreme of a window. Of equal samples the first is the extreme;
/// NaN is it only if there is nothing else.
fn slide_extremes(
    samples: &SampleBuffer,
    frame: &Frame,
    state: &mut CallState<'_>,
    out: &mut Series,
    better: impl Fn(f64, f64) -> bool,
) {
    let times = samples.timestamps_ms.as_slice();
    let values = &samples.values[..times.len()];
    // Positions, best first; those before `head` have left.
    let mut queue: Vec<usize> = Vec::new();
    let (mut head, mut taken) = (0, 0);
    slide_bounds(times, frame, state.tally, out, |bounds| {
        taken = taken.max(bounds.low);
        for at in taken..bounds.high {
            let value = values[at];
            if value.is_nan() {
                continue;
            }
            while queue.len() > head && better(value, values[queue[queue.len() - 1]]) {
                queue.pop();
            }
            queue.push(at);
        }
        taken = bounds.high;
        while head < queue.len() && queue[head] < bounds.low {
            head += 1;
        }
        let best = queue.get(head).copied().unwrap_or(bounds.high - 1);
        Some(values[best])
    });
}

macro_rules! extreme_value {
    ($floats:ident, $mixed:ident, $better:expr) => {
        pub(crate) fn $floats(
            samples: &SampleBuffer,
            frame: &Frame,
            state: &mut CallState<'_>,
            out: &mut Series,
        ) -> Result<(), EvalError> {
            slide_extremes(samples, frame, state, out, $better);
            Ok(())
        }

        pub(crate) fn $mixed(
            window: &MixedWindow<'_>,
            state: &mut CallState<'_>,
        ) -> Result<Option<SampleValue>, EvalError> {
            Ok(floats_only(window, state)
                .map(|floats| SampleValue::Float(value_at(floats, extreme(floats, $better)))))
        }
    };
}

extreme_value!(max_floats, max_mixed, |value, best| value > best);
extreme_value!(min_floats, min_mixed, |value, best| value < best);
on_extreme!(
    time_of_max_floats,
    time_of_max_mixed,
    |value, best| value >= best,
    time_at
);
on_extreme!(
    time_of_min_floats,
    time_of_min_mixed,
    |value, best| value <= best,
    time_at
);

pub(crate) fn first_floats(
    samples: &SampleBuffer,
    frame: &Frame,
    state: &mut CallState<'_>,
    out: &mut Series,
) -> Result<(), EvalError> {
    slide(samples, frame, state.tally, out, |window| {
        window.values.first().copied()
    });
    Ok(())
}

pub(crate) fn last_floats(
    samples: &SampleBuffer,
    frame: &Frame,
    state: &mut CallState<'_>,
    out: &mut Series,
) -> Result<(), EvalError> {
    slide(samples, frame, state.tally, out, |window| {
        window.values.last().copied()
    });
    Ok(())
}

pub(crate) fn first_mixed(
    window: &MixedWindow<'_>,
    _state: &mut CallState<'_>,
) -> Result<Option<SampleValue>, EvalError> {
    let float = window
        .floats
        .times
        .first()
        .zip(window.floats.values.first());
    let histogram = window.times.first().zip(window.histograms.first());
    Ok(match (float, histogram) {
        (Some((_, value)), None) => Some(SampleValue::Float(*value)),
        (Some((time, value)), Some((other, _))) if time < other => Some(SampleValue::Float(*value)),
        (_, Some((_, histogram))) => Some(SampleValue::Histogram(Arc::clone(histogram))),
        (None, None) => None,
    })
}

pub(crate) fn last_mixed(
    window: &MixedWindow<'_>,
    _state: &mut CallState<'_>,
) -> Result<Option<SampleValue>, EvalError> {
    let float = window.floats.times.last().zip(window.floats.values.last());
    let histogram = window.times.last().zip(window.histograms.last());
    Ok(match (float, histogram) {
        (Some((_, value)), None) => Some(SampleValue::Float(*value)),
        (Some((time, value)), Some((other, _))) if time > other => Some(SampleValue::Float(*value)),
        (_, Some((_, histogram))) => Some(SampleValue::Histogram(Arc::clone(histogram))),
        (None, None) => None,
    })
}

pub(crate) fn time_of_first_floats(
    samples: &SampleBuffer,
    frame: &Frame,
    state: &mut CallState<'_>,
    out: &mut Series,
) -> Result<(), EvalError> {
    slide(samples, frame, state.tally, out, |window| {
        window.times.first().map(|t| time_s(*t))
    });
    Ok(())
}

pub(crate) fn time_of_last_floats(
    samples: &SampleBuffer,
    frame: &Frame,
    state: &mut CallState<'_>,
    out: &mut Series,
) -> Result<(), EvalError> {
    // Prometheus starts from time zero when it looks for the later kind of sample.
    slide(samples, frame, state.tally, out, |window| {
        window.times.last().map(|t| time_s((*t).max(0)))
    });
    Ok(())
}

pub(crate) fn time_of_first_mixed(
    window: &MixedWindow<'_>,
    _state: &mut CallState<'_>,
) -> Result<Option<SampleValue>, EvalError> {
    let first = window.floats.times.iter().chain(window.times).min();
    Ok(first.map(|t| SampleValue::Float(time_s(*t))))
}

pub(crate) fn time_of_last_mixed(
    window: &MixedWindow<'_>,
    _state: &mut CallState<'_>,
) -> Result<Option<SampleValue>, EvalError> {
    let last = window.floats.times.last().max(window.times.last());
    let both = !window.floats.times.is_empty() && !window.times.is_empty();
    let floor = if both { i64::MIN } else { 0 };
    Ok(last.map(|t| SampleValue::Float(time_s((*t).max(floor)))))
}
