//! `changes` and `resets`: how often a series changed or restarted inside a window.
//!
//! Source: Prometheus `funcChanges`, `funcResets` and `pickFirstSampleIndices`.

use std::sync::Arc;

use tenbin_model::{FloatHistogram, SampleBuffer};

use crate::error::EvalError;
use crate::eval::column::Series;
use crate::eval::window::{CallState, Frame, MixedWindow, Window, slide};
use crate::functions::rate::started_anew;
use crate::value::SampleValue;

/// Whether two values differ, NaN being equal to NaN.
fn differs(previous: f64, value: f64) -> bool {
    value != previous && !(value.is_nan() && previous.is_nan())
}

/// The first sample of an anchored window that counts: the last at or before its start. `None`
/// when no sample lies after the start.
fn anchor(times: &[i64], start_ms: i64) -> Option<usize> {
    let after = times.partition_point(|t| *t <= start_ms);
    (after < times.len()).then(|| after.saturating_sub(1))
}

/// Counts, for every window, the positions at which `event` holds between a sample and the one
/// before it. The running total over the series makes a window two look-ups.
fn count_events(
    samples: &SampleBuffer,
    frame: &Frame,
    state: &mut CallState<'_>,
    out: &mut Series,
    event: impl Fn(usize) -> bool,
) {
    let totals = &mut *state.scratch;
    totals.clear();
    let mut total = 0.0;
    for at in 0..samples.values.len() {
        if at > 0 && event(at) {
            total += 1.0;
        }
        totals.push(total);
    }
    slide(samples, frame, state.tally, out, |window: &Window<'_>| {
        let skipped = if frame.anchored {
            anchor(window.times, window.start_ms)?
        } else {
            0
        };
        let last = window.first + window.times.len() - 1;
        Some(totals[last] - totals[window.first + skipped])
    });
}

pub(crate) fn changes_floats(
    samples: &SampleBuffer,
    frame: &Frame,
    state: &mut CallState<'_>,
    out: &mut Series,
) -> Result<(), EvalError> {
    let values = &samples.values;
    count_events(samples, frame, state, out, |at| {
        differs(values[at - 1], values[at])
    });
    Ok(())
}

pub(crate) fn resets_floats(
    samples: &SampleBuffer,
    frame: &Frame,
    state: &mut CallState<'_>,
    out: &mut Series,
) -> Result<(), EvalError> {
    let (values, times) = (&samples.values, &samples.timestamps_ms);
    let starts: &[i64] = if frame.start_times {
        &samples.start_timestamps_ms
    } else {
        &[]
    };
    count_events(samples, frame, state, out, |at| {
        values[at] < values[at - 1]
            || (at < starts.len()
                && started_anew(starts[at - 1], times[at - 1], starts[at], times[at]))
    });
    Ok(())
}

/// A sample of either kind.
#[derive(Clone, Copy)]
enum Either<'s> {
    Float(f64),
    Histogram(&'s Arc<FloatHistogram>),
}

#[derive(Clone, Copy)]
struct Timed<'s> {
    time_ms: i64,
    start_ms: i64,
    value: Either<'s>,
}

/// The samples of a window in time order, from the anchor on if it is anchored.
fn in_order<'s>(window: &MixedWindow<'s>) -> Option<Vec<Timed<'s>>> {
    let floats = &window.floats;
    let mut all: Vec<Timed<'s>> = Vec::with_capacity(floats.times.len() + window.times.len());
    let (mut float, mut histogram) = (0, 0);
    while float < floats.times.len() || histogram < window.times.len() {
        let float_next = histogram >= window.times.len()
            || (float < floats.times.len() && floats.times[float] < window.times[histogram]);
        if float_next {
            all.push(Timed {
                time_ms: floats.times[float],
                start_ms: floats.starts.get(float).copied().unwrap_or(0),
                value: Either::Float(floats.values[float]),
            });
            float += 1;
        } else {
            all.push(Timed {
                time_ms: window.times[histogram],
                start_ms: window.starts.get(histogram).copied().unwrap_or(0),
                value: Either::Histogram(&window.histograms[histogram]),
            });
            histogram += 1;
        }
    }
    if window.anchored {
        let times: Vec<i64> = all.iter().map(|s| s.time_ms).collect();
        all.drain(..anchor(&times, floats.start_ms)?);
    }
    Some(all)
}

fn count_pairs(
    window: &MixedWindow<'_>,
    event: impl Fn(&Timed<'_>, &Timed<'_>) -> bool,
) -> Option<SampleValue> {
    let all = in_order(window)?;
    let count = all.windows(2).filter(|w| event(&w[0], &w[1])).count();
    Some(SampleValue::Float(count as f64))
}

pub(crate) fn changes_mixed(
    window: &MixedWindow<'_>,
    _state: &mut CallState<'_>,
) -> Result<Option<SampleValue>, EvalError> {
    Ok(count_pairs(window, |previous, current| {
        match (previous.value, current.value) {
            (Either::Float(a), Either::Float(b)) => differs(a, b),
            (Either::Histogram(a), Either::Histogram(b)) => !b.equals(a),
            _ => true,
        }
    }))
}

pub(crate) fn resets_mixed(
    window: &MixedWindow<'_>,
    _state: &mut CallState<'_>,
) -> Result<Option<SampleValue>, EvalError> {
    Ok(count_pairs(window, |previous, current| {
        let anew = started_anew(
            previous.start_ms,
            previous.time_ms,
            current.start_ms,
            current.time_ms,
        );
        match (previous.value, current.value) {
            (Either::Float(a), Either::Float(b)) => b < a || anew,
            (Either::Histogram(a), Either::Histogram(b)) => anew || b.detect_reset(a),
            _ => true,
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anchors_on_the_last_sample_before_the_start() {
        assert_eq!(anchor(&[1, 2, 3], 2), Some(1));
        assert_eq!(anchor(&[3, 4], 2), Some(0));
        assert_eq!(anchor(&[1, 2], 2), None);
        assert!(!differs(f64::NAN, f64::NAN));
        assert!(differs(f64::NAN, 1.0));
    }
}
