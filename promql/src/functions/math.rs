//! Functions of single numbers: roots, logarithms, trigonometry, rounding, clamping.
//!
//! Results must be those of Go's `math` package, from `tenbin_model::gomath`. Source: Prometheus
//! `simpleFloatFunc`,
//! `funcRound`, `clamp`.

use std::f64::consts::PI;

use crate::error::EvalError;
use crate::eval::Evaluator;
use crate::eval::binary::totals;
use crate::eval::column::{Data, Scalars, Series};
use crate::eval::grid::Grid;
use crate::eval::names::settle_duplicates;
use crate::eval::plan::Call;
use crate::functions::scalar_arg;

pub(crate) use tenbin_model::gomath::{
    acos, acosh, asin, asinh, atan, atan2, atanh, cos, cosh, exp, exp2, ln, log2, log10, pow, sin,
    sinh, tan, tanh,
};

pub(crate) fn deg(x: f64) -> f64 {
    x * 180.0 / PI
}

pub(crate) fn rad(x: f64) -> f64 {
    x * PI / 180.0
}

/// The sign; zeros and NaN stay as they are.
pub(crate) fn sgn(x: f64) -> f64 {
    if x < 0.0 {
        -1.0
    } else if x > 0.0 {
        1.0
    } else {
        x
    }
}

/// Go's `math.Max`: +Inf beats NaN, NaN beats the rest, +0 beats -0.
pub(crate) fn max(a: f64, b: f64) -> f64 {
    if a == f64::INFINITY || b == f64::INFINITY {
        f64::INFINITY
    } else if a.is_nan() || b.is_nan() {
        f64::NAN
    } else if a == 0.0 && a == b {
        if a.is_sign_negative() { b } else { a }
    } else if a > b {
        a
    } else {
        b
    }
}

/// Go's `math.Min`: -Inf beats NaN, NaN beats the rest, -0 beats +0.
pub(crate) fn min(a: f64, b: f64) -> f64 {
    if a == f64::NEG_INFINITY || b == f64::NEG_INFINITY {
        f64::NEG_INFINITY
    } else if a.is_nan() || b.is_nan() {
        f64::NAN
    } else if a == 0.0 && a == b {
        if a.is_sign_negative() { a } else { b }
    } else if a < b {
        a
    } else {
        b
    }
}

/// Changes the floats of a vector one by one: `change` gets a series without histograms. The name
/// is dropped. The call has so many scalar arguments.
pub(crate) fn on_floats(
    evaluator: &mut Evaluator<'_>,
    all: Vec<Series>,
    scalars: usize,
    grid: &Grid,
    mut change: impl FnMut(&mut Series),
) -> Result<Data, EvalError> {
    let inputs = totals(&all, grid);
    let mut kept = Vec::with_capacity(all.len());
    for mut series in all {
        evaluator.budget.check()?;
        let before = series.size();
        series.histograms = None;
        change(&mut series);
        evaluator.budget.adjust(before, series.size())?;
        if series.floats.is_empty() {
            continue;
        }
        evaluator.drop_name(&mut series);
        kept.push(series);
    }
    // Prometheus holds the inputs, those of the step at hand once more, and the result.
    let scalars = scalars as u64 * (grid.steps as u64 + 1);
    evaluator.budget.touch(inputs.0 + inputs.1 + scalars)?;
    let delayed = evaluator.delayed_name_removal();
    settle_duplicates(kept, grid, delayed, &evaluator.budget).map(Data::Vector)
}

/// Applies `f` to every float of the call's first argument.
pub(crate) fn element_wise(
    evaluator: &mut Evaluator<'_>,
    call: &Call<'_>,
    grid: &Grid,
    f: fn(f64) -> f64,
) -> Result<Data, EvalError> {
    let all = evaluator.eval_vector(&call.args[0], grid)?;
    on_floats(evaluator, all, 0, grid, |series| {
        for value in &mut series.values {
            *value = f(*value);
        }
    })
}

pub(crate) fn round(
    evaluator: &mut Evaluator<'_>,
    call: &Call<'_>,
    grid: &Grid,
) -> Result<Data, EvalError> {
    let all = evaluator.eval_vector(&call.args[0], grid)?;
    let nearest = if call.args.len() > 1 {
        scalar_arg(evaluator, call, 1, grid)?
    } else {
        Scalars::Same(1.0)
    };
    on_floats(evaluator, all, call.args.len() - 1, grid, |series| {
        for (step, value) in series.values.iter_mut().enumerate() {
            let inverse = 1.0 / nearest.at(step);
            *value = (*value * inverse + 0.5).floor() / inverse;
        }
    })
}

fn clamped(
    evaluator: &mut Evaluator<'_>,
    call: &Call<'_>,
    grid: &Grid,
    low_arg: Option<usize>,
    high_arg: Option<usize>,
) -> Result<Data, EvalError> {
    let all = evaluator.eval_vector(&call.args[0], grid)?;
    let mut bound = |arg: Option<usize>, unbounded: f64| match arg {
        Some(index) => scalar_arg(evaluator, call, index, grid),
        None => Ok(Scalars::Same(unbounded)),
    };
    let low = bound(low_arg, f64::NEG_INFINITY)?;
    let high = bound(high_arg, f64::INFINITY)?;
    on_floats(evaluator, all, call.args.len() - 1, grid, |series| {
        for step in 0..grid.steps {
            let (low, high) = (low.at(step), high.at(step));
            if high < low {
                series.floats.clear(step);
            } else {
                series.values[step] = max(low, min(high, series.values[step]));
            }
        }
    })
}

pub(crate) fn clamp(
    evaluator: &mut Evaluator<'_>,
    call: &Call<'_>,
    grid: &Grid,
) -> Result<Data, EvalError> {
    clamped(evaluator, call, grid, Some(1), Some(2))
}

pub(crate) fn clamp_min(
    evaluator: &mut Evaluator<'_>,
    call: &Call<'_>,
    grid: &Grid,
) -> Result<Data, EvalError> {
    clamped(evaluator, call, grid, Some(1), None)
}

pub(crate) fn clamp_max(
    evaluator: &mut Evaluator<'_>,
    call: &Call<'_>,
    grid: &Grid,
) -> Result<Data, EvalError> {
    clamped(evaluator, call, grid, None, Some(1))
}

pub(crate) fn max_of(
    evaluator: &mut Evaluator<'_>,
    call: &Call<'_>,
    grid: &Grid,
) -> Result<Data, EvalError> {
    let a = scalar_arg(evaluator, call, 0, grid)?;
    let b = scalar_arg(evaluator, call, 1, grid)?;
    Ok(Data::Scalar(a.combine(&b, max)))
}

pub(crate) fn min_of(
    evaluator: &mut Evaluator<'_>,
    call: &Call<'_>,
    grid: &Grid,
) -> Result<Data, EvalError> {
    let a = scalar_arg(evaluator, call, 0, grid)?;
    let b = scalar_arg(evaluator, call, 1, grid)?;
    Ok(Data::Scalar(a.combine(&b, min)))
}

pub(crate) fn pi(
    _evaluator: &mut Evaluator<'_>,
    _call: &Call<'_>,
    _grid: &Grid,
) -> Result<Data, EvalError> {
    Ok(Data::Scalar(Scalars::Same(PI)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extremes_treat_nan_as_go_does() {
        assert_eq!(max(f64::NAN, f64::INFINITY), f64::INFINITY);
        assert!(max(f64::NAN, f64::NEG_INFINITY).is_nan());
        assert_eq!(min(f64::NAN, f64::NEG_INFINITY), f64::NEG_INFINITY);
        assert!(max(-0.0, 0.0).is_sign_positive());
        assert!(min(0.0, -0.0).is_sign_negative());
        assert_eq!((max(1.0, 2.0), min(1.0, 2.0)), (2.0, 1.0));
        assert!(sgn(-0.0).is_sign_negative());
    }
}
