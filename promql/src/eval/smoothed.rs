//! Selectors with `smoothed` and `anchored` outside of functions: values interpolated between
//! samples, and windows with values at both edges.
//!
//! Source: Prometheus `smoothSeries` and `extendFloats`.

use std::sync::Arc;

use tenbin_model::{CounterResetHint, Labels, SampleBuffer};

use crate::error::EvalError;
use crate::eval::Evaluator;
use crate::eval::column::Series;
use crate::eval::grid::Grid;
use crate::eval::plan::Selector;
use crate::eval::window::{CallState, Window, remove_stale};
use crate::functions::histogram::extended;
use crate::functions::rate::{edge_values, extended_bounds, interpolate};

/// The samples around a time: the first at or after it, and how many lie in the window before.
struct Around {
    low: usize,
    next: usize,
    high: usize,
}

fn around(times: &[i64], at_ms: i64, lookback_ms: i64) -> Around {
    Around {
        low: times.partition_point(|t| *t <= at_ms.saturating_sub(lookback_ms)),
        next: times.partition_point(|t| *t < at_ms),
        high: times.partition_point(|t| *t <= at_ms.saturating_add(lookback_ms)),
    }
}

impl Evaluator<'_> {
    /// Fills a column with the values of a smoothed instant selector.
    pub(crate) fn fill_smoothed(
        &mut self,
        samples: &mut SampleBuffer,
        selector: &Selector<'_>,
        labels: &Labels,
        grid: &Grid,
        out: &mut Series,
    ) {
        remove_stale(samples);
        let lookback_ms = self.options.lookback_ms;
        let mut scratch = Vec::new();
        let mut state = CallState {
            notes: &mut self.notes,
            tally: &mut self.tally,
            metric: labels.metric_name(),
            span: selector.span,
            params: &[],
            scratch: &mut scratch,
        };
        for step in 0..grid.steps {
            let at_ms = selector.time.apply(grid.time(step));
            let floats = around(&samples.timestamps_ms, at_ms, lookback_ms);
            let histograms = around(&samples.histogram_timestamps_ms, at_ms, lookback_ms);
            let (has_floats, has_histograms) =
                (floats.low < floats.high, histograms.low < histograms.high);
            if has_floats && has_histograms {
                state
                    .notes
                    .mixed_floats_histograms(state.metric, state.span);
            } else if has_histograms {
                smooth_histogram(samples, &histograms, at_ms, step, out, &mut state);
            } else if has_floats {
                smooth_float(samples, &floats, at_ms, step, out);
            }
        }
    }
}

fn smooth_float(
    samples: &SampleBuffer,
    around: &Around,
    at_ms: i64,
    step: usize,
    out: &mut Series,
) {
    let (times, values) = (&samples.timestamps_ms, &samples.values);
    let next = around.next;
    if next < around.high && times[next] == at_ms {
        out.set_float(step, values[next]);
    } else if next > around.low {
        let previous = (times[next - 1], values[next - 1]);
        let value = if next < around.high {
            interpolate(previous, (times[next], values[next]), at_ms, false)
        } else {
            previous.1
        };
        out.set_float(step, value);
    }
}

fn smooth_histogram(
    samples: &SampleBuffer,
    around: &Around,
    at_ms: i64,
    step: usize,
    out: &mut Series,
    state: &mut CallState<'_>,
) {
    let (times, all) = (&samples.histogram_timestamps_ms, &samples.histograms);
    let next = around.next;
    if next < around.high && times[next] == at_ms {
        out.set_histogram(step, Arc::clone(&all[next]));
        return;
    }
    if next == around.low {
        return;
    }
    let previous = &all[next - 1];
    if next == around.high {
        let mut carried = (**previous).clone();
        carried.counter_reset_hint = CounterResetHint::Unknown;
        out.set_histogram(step, Arc::new(carried));
        return;
    }
    let following = &all[next];
    if previous.uses_custom_buckets() != following.uses_custom_buckets() {
        state.notes.mixed_bucket_schemas(state.metric, state.span);
        return;
    }
    let counter = [previous, following]
        .iter()
        .any(|h| h.counter_reset_hint != CounterResetHint::Gauge);
    let between = extended::interpolate(
        (times[next - 1], previous),
        (times[next], following),
        at_ms,
        counter,
        state,
    );
    if let Some(histogram) = between {
        out.set_histogram(step, Arc::new(histogram));
    }
}

/// The points of an anchored or smoothed range selector: values at both edges and the samples
/// between. Nothing when no sample lies after the start.
pub(crate) fn extended_points(
    samples: &SampleBuffer,
    start_ms: i64,
    end_ms: i64,
    smoothed: bool,
) -> Result<Vec<(i64, f64)>, EvalError> {
    if !samples.histograms.is_empty() {
        let modifier = if smoothed { "smoothed" } else { "anchored" };
        return Err(EvalError::Execution(format!(
            "{modifier} modifier is not supported with histograms"
        )));
    }
    let times = &samples.timestamps_ms;
    let Some(bounds) = extended_bounds(times, start_ms, end_ms, smoothed) else {
        return Ok(Vec::new());
    };
    let window = Window {
        times,
        values: &samples.values,
        starts: &[],
        first: 0,
        step: 0,
        eval_ms: end_ms,
        start_ms,
        end_ms,
    };
    let (left, right) = edge_values(&window, bounds, smoothed, false);
    let mut points = vec![(start_ms, left)];
    let inside = times
        .iter()
        .zip(&samples.values)
        .filter(|(time, _)| start_ms < **time && **time < end_ms);
    points.extend(inside.map(|(time, value)| (*time, *value)));
    points.push((end_ms, right));
    Ok(points)
}
