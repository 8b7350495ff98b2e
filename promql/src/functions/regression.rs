//! `deriv`, `predict_linear` and `double_exponential_smoothing`.
//!
//! Source: Prometheus `linearRegression`, `funcDoubleExponentialSmoothing`.

use tenbin_model::{Interrupt, SampleBuffer, StoreError, kahan};

use crate::error::EvalError;
use crate::eval::column::Series;
use crate::eval::window::{CallState, Frame, MixedWindow, Window, slide, slide_until};
use crate::value::SampleValue;

/// Samples of one window after which the sums look up.
const BETWEEN_LOOKS: usize = 1 << 16;

/// Slope and value at `origin_ms` of the least-squares line through the samples.
fn regression(
    window: &Window<'_>,
    origin_ms: i64,
    interrupt: &Interrupt,
) -> Result<(f64, f64), StoreError> {
    let first = window.values[0];
    let mut constant = true;
    let mut count = 0.0;
    let (mut x_sum, mut x_c) = (0.0, 0.0);
    let (mut y_sum, mut y_c) = (0.0, 0.0);
    let (mut xy_sum, mut xy_c) = (0.0, 0.0);
    let (mut x2_sum, mut x2_c) = (0.0, 0.0);
    for (at, (time, value)) in window.times.iter().zip(window.values).enumerate() {
        if at % BETWEEN_LOOKS == BETWEEN_LOOKS - 1 {
            interrupt.check()?;
        }
        if constant && at > 0 && *value != first {
            constant = false;
        }
        count += 1.0;
        let x = (time - origin_ms) as f64 / 1e3;
        (x_sum, x_c) = kahan::add(x, x_sum, x_c);
        (y_sum, y_c) = kahan::add(*value, y_sum, y_c);
        (xy_sum, xy_c) = kahan::add(x * value, xy_sum, xy_c);
        (x2_sum, x2_c) = kahan::add(x * x, x2_sum, x2_c);
    }
    if constant {
        if first.is_infinite() {
            return Ok((f64::NAN, f64::NAN));
        }
        return Ok((0.0, first));
    }
    x_sum += x_c;
    y_sum += y_c;
    xy_sum += xy_c;
    x2_sum += x2_c;
    let covariance = xy_sum - x_sum * y_sum / count;
    let variance = x2_sum - x_sum * x_sum / count;
    let slope = covariance / variance;
    Ok((slope, y_sum / count - slope * x_sum / count))
}

fn derivative(window: &Window<'_>, interrupt: &Interrupt) -> Result<Option<f64>, StoreError> {
    if window.times.len() < 2 {
        return Ok(None);
    }
    let (slope, _) = regression(window, window.times[0], interrupt)?;
    Ok(Some(slope))
}

fn prediction(
    window: &Window<'_>,
    ahead_s: f64,
    interrupt: &Interrupt,
) -> Result<Option<f64>, StoreError> {
    if window.times.len() < 2 {
        return Ok(None);
    }
    let (slope, intercept) = regression(window, window.eval_ms, interrupt)?;
    Ok(Some(slope * ahead_s + intercept))
}

/// Holt's linear smoothing.
fn smoothed(values: &[f64], smoothing: f64, trend: f64) -> Option<f64> {
    if values.len() < 2 {
        return None;
    }
    let mut before = 0.0;
    let mut level = values[0];
    let mut slope = values[1] - values[0];
    for (at, value) in values.iter().enumerate().skip(1) {
        let scaled = smoothing * value;
        if at > 1 {
            slope = trend * (level - before) + (1.0 - trend) * slope;
        }
        let carried = (1.0 - smoothing) * (level + slope);
        (before, level) = (level, scaled + carried);
    }
    Some(level)
}

/// Remarks on histograms beside the floats that the result comes from.
fn remark(window: &MixedWindow<'_>, state: &mut CallState<'_>) {
    if !window.floats.times.is_empty() && !window.times.is_empty() {
        state
            .notes
            .histogram_ignored_in_range(state.metric, state.span);
    }
}

pub(crate) fn deriv_floats(
    samples: &SampleBuffer,
    frame: &Frame,
    state: &mut CallState<'_>,
    out: &mut Series,
) -> Result<(), EvalError> {
    slide_until(samples, frame, state.tally, out, derivative)
}

pub(crate) fn deriv_mixed(
    window: &MixedWindow<'_>,
    state: &mut CallState<'_>,
) -> Result<Option<SampleValue>, EvalError> {
    remark(window, state);
    let slope = derivative(&window.floats, &state.tally.interrupt())?;
    Ok(slope.map(SampleValue::Float))
}

pub(crate) fn predict_floats(
    samples: &SampleBuffer,
    frame: &Frame,
    state: &mut CallState<'_>,
    out: &mut Series,
) -> Result<(), EvalError> {
    let Some(ahead) = state.params.first() else {
        return Ok(());
    };
    slide_until(samples, frame, state.tally, out, |window, interrupt| {
        prediction(window, ahead.at(window.step), interrupt)
    })
}

pub(crate) fn predict_mixed(
    window: &MixedWindow<'_>,
    state: &mut CallState<'_>,
) -> Result<Option<SampleValue>, EvalError> {
    remark(window, state);
    let Some(ahead) = state.params.first() else {
        return Ok(None);
    };
    let floats = &window.floats;
    let found = prediction(floats, ahead.at(floats.step), &state.tally.interrupt())?;
    Ok(found.map(SampleValue::Float))
}

/// The two factors of the smoothing at a step.
fn factors(state: &CallState<'_>, step: usize) -> Result<(f64, f64), EvalError> {
    let [smoothing, trend] = state.params else {
        return Err(EvalError::BadQuery("two factors expected".to_owned()));
    };
    let (smoothing, trend) = (smoothing.at(step), trend.at(step));
    // NaN passes, as in Prometheus.
    if smoothing <= 0.0 || smoothing >= 1.0 {
        return Err(EvalError::Execution(format!(
            "invalid smoothing factor. Expected: 0 < sf < 1, got: {}",
            six_decimals(smoothing)
        )));
    }
    if trend <= 0.0 || trend >= 1.0 {
        return Err(EvalError::Execution(format!(
            "invalid trend factor. Expected: 0 < tf < 1, got: {}",
            six_decimals(trend)
        )));
    }
    Ok((smoothing, trend))
}

/// Go's `%f`.
fn six_decimals(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    format!("{value:.6}")
}

pub(crate) fn smoothing_floats(
    samples: &SampleBuffer,
    frame: &Frame,
    state: &mut CallState<'_>,
    out: &mut Series,
) -> Result<(), EvalError> {
    let all: Vec<_> = (0..frame.grid.steps)
        .map(|step| factors(state, step))
        .collect();
    let mut failed = None;
    slide(samples, frame, state.tally, out, |window| {
        match &all[window.step] {
            Ok((smoothing, trend)) => smoothed(window.values, *smoothing, *trend),
            Err(error) => {
                failed.get_or_insert_with(|| error.clone());
                None
            }
        }
    });
    failed.map_or(Ok(()), Err)
}

pub(crate) fn smoothing_mixed(
    window: &MixedWindow<'_>,
    state: &mut CallState<'_>,
) -> Result<Option<SampleValue>, EvalError> {
    let (smoothing, trend) = factors(state, window.floats.step)?;
    remark(window, state);
    Ok(smoothed(window.floats.values, smoothing, trend).map(SampleValue::Float))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window<'s>(times: &'s [i64], values: &'s [f64]) -> Window<'s> {
        Window {
            times,
            values,
            starts: &[],
            first: 0,
            step: 0,
            eval_ms: 3000,
            start_ms: 0,
            end_ms: 3000,
        }
    }

    #[test]
    fn fits_a_line() {
        let window = window(&[0, 1000, 2000], &[1.0, 3.0, 5.0]);
        let never = Interrupt::default();
        assert_eq!(derivative(&window, &never).unwrap(), Some(2.0));
        assert_eq!(prediction(&window, 1.0, &never).unwrap(), Some(9.0));
    }

    #[test]
    fn constants_have_no_slope() {
        let slope = |times: &[i64], values: &[f64]| {
            derivative(&window(times, values), &Interrupt::default()).unwrap()
        };
        assert_eq!(slope(&[0, 1000], &[2.0, 2.0]), Some(0.0));
        assert!(slope(&[0, 1000], &[f64::INFINITY; 2]).is_some_and(f64::is_nan));
        assert_eq!(slope(&[0], &[2.0]), None);
    }

    #[test]
    fn smoothing_follows_the_trend() {
        assert_eq!(smoothed(&[1.0, 2.0, 3.0], 0.5, 0.5), Some(3.0));
        assert_eq!(smoothed(&[1.0], 0.5, 0.5), None);
    }
}
