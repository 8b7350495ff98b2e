//! Growth of native histograms over anchored and smoothed windows, and interpolation between two
//! histograms.
//!
//! Source: Prometheus `extendedHistogramRate`, `interpolateHistograms` and
//! `correctForCounterResetsHistogram`.

use std::sync::Arc;

use tenbin_model::{CounterResetHint, FloatHistogram};

use super::rate::{add, subtract};
use crate::eval::grid::seconds;
use crate::eval::window::{CallState, MixedWindow};
use crate::functions::rate::{Growth, extended_bounds};

/// The histogram at `time_ms` on the line between two. For a counter that was reset between them
/// the line starts at zero.
pub(crate) fn interpolate(
    (first_ms, first): (i64, &FloatHistogram),
    (second_ms, second): (i64, &FloatHistogram),
    time_ms: i64,
    counter: bool,
    state: &mut CallState<'_>,
) -> Option<FloatHistogram> {
    if time_ms == first_ms {
        return Some(first.clone());
    }
    let mut result = second.clone();
    if time_ms == second_ms {
        return Some(result);
    }
    let fraction = (time_ms - first_ms) as f64 / (second_ms - first_ms) as f64;
    if counter && second.detect_reset(first) {
        result.mul(fraction);
        return Some(result);
    }
    subtract(&mut result, first, state)?;
    result.mul(fraction);
    add(&mut result, first, state)?;
    Some(result)
}

/// The growth between the edges of a window.
pub(super) fn growth(
    window: &MixedWindow<'_>,
    state: &mut CallState<'_>,
    growth: Growth,
) -> Option<FloatHistogram> {
    let (times, all) = (window.times, window.histograms);
    let (start_ms, end_ms) = (window.floats.start_ms, window.floats.end_ms);
    let (first, last) = extended_bounds(times, start_ms, end_ms, window.smoothed)?;
    check_layouts(&all[first..=last], state, growth.counter)?;
    let counter = growth.counter;
    let sample = |at: usize| (times[at], &*all[at]);
    let left = if window.smoothed && times[first] < start_ms {
        interpolate(sample(first), sample(first + 1), start_ms, counter, state)?
    } else {
        (*all[first]).clone()
    };
    let right = if window.smoothed && last > 0 && times[last] > end_ms {
        interpolate(sample(last - 1), sample(last), end_ms, counter, state)?
    } else {
        (*all[last]).clone()
    };
    let is_gauge = |h: &FloatHistogram| h.counter_reset_hint == CounterResetHint::Gauge;
    let gauges = is_gauge(&left) && is_gauge(&right);
    if !counter && !gauges {
        state.notes.histogram_not_gauge(state.metric, state.span);
    }
    let mut result = right.clone();
    subtract(&mut result, &left, state)?;
    if counter {
        let edges = Edges {
            first,
            last,
            left: &left,
            right: &right,
        };
        if let Some(correction) = correction(window, &edges, state)? {
            add(&mut result, &correction, state)?;
        }
    }
    if growth.per_second {
        result.div(seconds(window.range_ms));
    }
    result.counter_reset_hint = CounterResetHint::Gauge;
    result.compact();
    Some(result)
}

/// Remarks on gauges among counters, and on exponential beside custom buckets, which ends it.
fn check_layouts(
    all: &[Arc<FloatHistogram>],
    state: &mut CallState<'_>,
    counter: bool,
) -> Option<()> {
    let custom = all.first()?.uses_custom_buckets();
    for histogram in all {
        if histogram.uses_custom_buckets() != custom {
            state.notes.mixed_bucket_schemas(state.metric, state.span);
            return None;
        }
        if counter && histogram.counter_reset_hint == CounterResetHint::Gauge {
            state.notes.histogram_not_counter(state.metric, state.span);
        }
    }
    Some(())
}

/// The samples at the edges of a window and the values there.
struct Edges<'e> {
    first: usize,
    last: usize,
    left: &'e FloatHistogram,
    right: &'e FloatHistogram,
}

/// What counter resets inside the window took away: the sum of the histograms before them. The
/// outer `None` means that they cannot be added.
#[allow(
    clippy::option_option,
    reason = "no correction and no result are two things"
)]
fn correction(
    window: &MixedWindow<'_>,
    edges: &Edges<'_>,
    state: &mut CallState<'_>,
) -> Option<Option<FloatHistogram>> {
    let all = window.histograms;
    let mut next = edges.first + 1;
    let mut previous = edges.left;
    if window.smoothed
        && window.times[edges.first] < window.floats.start_ms
        && all[next].detect_reset(&all[edges.first])
    {
        // The value at the left edge already begins after this reset.
        previous = &all[next];
        next += 1;
    }
    if next > edges.last {
        return Some(None);
    }
    let mut total: Option<FloatHistogram> = None;
    let mut take = |histogram: &FloatHistogram, state: &mut CallState<'_>| match &mut total {
        Some(total) => add(total, histogram, state),
        None => {
            total = Some(histogram.clone());
            Some(())
        }
    };
    // The last sample is represented by the right edge.
    for histogram in &all[next..edges.last] {
        if histogram.detect_reset(previous) {
            take(previous, state)?;
        }
        previous = histogram;
    }
    if edges.right.detect_reset(previous) {
        take(previous, state)?;
    }
    Some(total)
}
