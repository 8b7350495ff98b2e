//! Growth of native histograms: `rate`, `increase`, `delta`, `irate`, `idelta`.
//!
//! Source: Prometheus `histogramRate`, `extendedHistogramRate` and the histogram parts of
//! `extrapolatedRate` and `instantValue`.

use std::sync::Arc;

use tenbin_model::histogram::IncompatibleSchemas;
use tenbin_model::{CounterResetHint, FloatHistogram};

use super::extended;
use crate::error::EvalError;
use crate::eval::grid::seconds;
use crate::eval::notes::HistogramOperation::{Addition, Subtraction};
use crate::eval::window::{CallState, MixedWindow};
use crate::functions::rate::{Extent, Growth, extrapolate, started_anew, starts_overlap};
use crate::value::SampleValue;

/// Adds in place and remarks on what is met. `None` when the layouts cannot be brought together.
pub(super) fn add(
    base: &mut FloatHistogram,
    other: &FloatHistogram,
    state: &mut CallState<'_>,
) -> Option<()> {
    let combined = remark_on_schemas(base.add(other), state)?;
    if combined {
        state.notes.custom_buckets_reconciled(Addition, state.span);
    }
    Some(())
}

/// As [`add`], but subtracts.
pub(super) fn subtract(
    base: &mut FloatHistogram,
    other: &FloatHistogram,
    state: &mut CallState<'_>,
) -> Option<()> {
    let combined = remark_on_schemas(base.sub(other), state)?;
    if combined {
        state
            .notes
            .custom_buckets_reconciled(Subtraction, state.span);
    }
    Some(())
}

/// Whether bounds were reconciled; `None` and a remark for incompatible schemas.
fn remark_on_schemas(
    outcome: Result<tenbin_model::histogram::Combined, IncompatibleSchemas>,
    state: &mut CallState<'_>,
) -> Option<bool> {
    match outcome {
        Ok(combined) => Some(combined.bounds_reconciled),
        Err(IncompatibleSchemas) => {
            state.notes.mixed_bucket_schemas(state.metric, state.span);
            None
        }
    }
}

fn is_gauge(histogram: &FloatHistogram) -> bool {
    histogram.counter_reset_hint == CounterResetHint::Gauge
}

/// Whether the start timestamps tell of a reset at sample `at`.
fn started_at(window: &MixedWindow<'_>, at: usize) -> bool {
    at < window.starts.len()
        && started_anew(
            window.starts[at - 1],
            window.times[at - 1],
            window.starts[at],
            window.times[at],
        )
}

/// The growth between first and last histogram, resets added up.
fn raw_growth(
    window: &MixedWindow<'_>,
    state: &mut CallState<'_>,
    counter: bool,
) -> Option<FloatHistogram> {
    let all = window.histograms;
    let (first, last) = (all.first()?, all.last()?);
    let second = all.get(1)?;
    if counter && (is_gauge(first) || is_gauge(last)) {
        state.notes.histogram_not_counter(state.metric, state.span);
    }
    // After a reset between the first two the first does not matter, whatever its layout.
    let empty;
    let mut previous: &FloatHistogram = first;
    if counter && (started_at(window, 1) || second.detect_reset(first)) {
        empty = FloatHistogram {
            schema: second.schema,
            custom_values: second.custom_values.clone(),
            ..FloatHistogram::default()
        };
        previous = &empty;
    }
    let custom = previous.uses_custom_buckets();
    if last.uses_custom_buckets() != custom {
        state.notes.mixed_bucket_schemas(state.metric, state.span);
        return None;
    }
    let mut schema = last.schema.min(previous.schema);
    if counter {
        for histogram in &all[1..all.len() - 1] {
            if is_gauge(histogram) {
                state.notes.histogram_not_counter(state.metric, state.span);
            }
            schema = schema.min(histogram.schema);
            if histogram.uses_custom_buckets() != custom {
                state.notes.mixed_bucket_schemas(state.metric, state.span);
                return None;
            }
        }
    }
    let mut result = last.to_schema(schema);
    subtract(&mut result, previous, state)?;
    if counter {
        let mut overlaps = false;
        for (at, histogram) in all.iter().enumerate().skip(1) {
            overlaps |= at < window.starts.len()
                && starts_overlap(
                    window.starts[at - 1],
                    window.times[at - 1],
                    window.starts[at],
                );
            if started_at(window, at) || histogram.detect_reset(previous) {
                add(&mut result, previous, state)?;
            }
            previous = histogram;
        }
        if overlaps {
            state.notes.start_time_overlap(state.metric, 1, state.span);
        }
    } else if !is_gauge(first) || !is_gauge(last) {
        state.notes.histogram_not_gauge(state.metric, state.span);
    }
    result.counter_reset_hint = CounterResetHint::Gauge;
    result.compact();
    Some(result)
}

/// `rate`, `increase` and `delta` of a window with histograms only.
pub(crate) fn growth(
    window: &MixedWindow<'_>,
    state: &mut CallState<'_>,
    growth: Growth,
) -> Result<Option<SampleValue>, EvalError> {
    let result = if window.anchored || window.smoothed {
        extended::growth(window, state, growth)
    } else {
        extrapolated(window, state, growth)
    };
    Ok(result.map(|histogram| SampleValue::Histogram(Arc::new(histogram))))
}

fn extrapolated(
    window: &MixedWindow<'_>,
    state: &mut CallState<'_>,
    growth: Growth,
) -> Option<FloatHistogram> {
    let first = window.histograms.first()?;
    let mut result = None;
    if window.histograms.len() > 1 {
        result = Some(raw_growth(window, state, growth.counter)?);
    }
    let extent = Extent {
        first_ms: *window.times.first()?,
        last_ms: *window.times.last()?,
        samples: window.times.len(),
        first_start: window.starts.first().copied().unwrap_or(0),
        start_ms: window.floats.start_ms,
        end_ms: window.floats.end_ms,
    };
    let raw_count = result.as_ref().map_or(0.0, |raw| raw.count);
    let range_s = seconds(window.range_ms);
    let found = extrapolate(&extent, range_s, growth, raw_count, first.count)?;
    let mut result = match (result, found.add_first) {
        (Some(mut raw), true) => {
            add(&mut raw, first, state)?;
            raw
        }
        (Some(raw), false) => raw,
        (None, true) => (**first).clone(),
        (None, false) => return None,
    };
    result.mul(found.factor);
    Some(result)
}

/// `irate` and `idelta` of a window that has histograms: between the last two samples of any kind.
pub(crate) fn instant(
    window: &MixedWindow<'_>,
    state: &mut CallState<'_>,
    per_second: bool,
) -> Result<Option<SampleValue>, EvalError> {
    let floats = &window.floats;
    let newest_float = floats.times.last().copied();
    let (histograms, times) = (window.histograms, window.times);
    if floats.times.len() + times.len() < 2 {
        return Ok(None);
    }
    let older_than_floats = |at: usize| newest_float.is_some_and(|float| times[at] < float);
    let last = times.len() - 1;
    if older_than_floats(last) {
        let second_float = floats.times.len().checked_sub(2).map(|at| floats.times[at]);
        if second_float.is_some_and(|float| float > times[last]) {
            return Ok(crate::functions::rate::instant(floats, per_second).map(SampleValue::Float));
        }
        state
            .notes
            .mixed_floats_histograms(state.metric, state.span);
        return Ok(None);
    }
    let before = match last.checked_sub(1) {
        Some(before) if !older_than_floats(before) => before,
        _ => {
            state
                .notes
                .mixed_floats_histograms(state.metric, state.span);
            return Ok(None);
        }
    };
    let interval = times[last] - times[before];
    if interval == 0 {
        return Ok(None);
    }
    let (current, previous) = (&histograms[last], &histograms[before]);
    if per_second && (is_gauge(current) || is_gauge(previous)) {
        state.notes.histogram_not_counter(state.metric, state.span);
    }
    let gauges = is_gauge(current) && is_gauge(previous);
    if !per_second && !gauges {
        state.notes.histogram_not_gauge(state.metric, state.span);
    }
    let mut result = (**current).clone();
    let reset = per_second && (started_at(window, last) || current.detect_reset(previous));
    if !reset && subtract(&mut result, previous, state).is_none() {
        return Ok(None);
    }
    result.counter_reset_hint = CounterResetHint::Gauge;
    result.compact();
    if per_second {
        result.div(interval as f64 / 1000.0);
    }
    Ok(Some(SampleValue::Histogram(Arc::new(result))))
}
