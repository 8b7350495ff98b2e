//! The functions of PromQL: one table from names to implementations, one file per family.
//!
//! Signatures stand in `signatures.rs`. Source of all semantics: Prometheus 3.14
//! `promql/functions.go`.

pub(crate) mod absent;
pub(crate) mod changes;
pub(crate) mod extremes;
pub(crate) mod histogram;
pub(crate) mod info;
pub(crate) mod label;
mod lanes;
pub(crate) mod math;
pub(crate) mod over_time;
pub(crate) mod quantile;
pub(crate) mod rate;
pub(crate) mod regression;
pub(crate) mod sort;
pub(crate) mod time;
pub(crate) mod vector;

use tenbin_model::SampleBuffer;

use crate::ast::StringLiteral;
use crate::error::EvalError;
use crate::eval::Evaluator;
use crate::eval::column::{Data, Series};
use crate::eval::grid::Grid;
use crate::eval::plan::{Call, Kind};
use crate::eval::window::{CallState, Frame, MixedWindow};
use crate::value::SampleValue;

/// A function and how it is evaluated.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) name: &'static str,
    pub(crate) implementation: Implementation,
    /// The value can differ between evaluation times though the arguments do not.
    pub(crate) depends_on_time: bool,
}

/// The ways to evaluate a function.
#[derive(Debug)]
pub(crate) enum Implementation {
    /// On every float of a vector by itself; histograms are left out, the name is dropped.
    Math(fn(f64) -> f64),
    /// On windows of samples.
    Window(WindowFunction),
    /// In its own way.
    Other(Evaluate),
}

/// Evaluates a call.
pub(crate) type Evaluate = fn(&mut Evaluator<'_>, &Call<'_>, &Grid) -> Result<Data, EvalError>;

/// Evaluates a function over all windows of a series without histograms.
pub(crate) type OnFloats =
    fn(&SampleBuffer, &Frame, &mut CallState<'_>, &mut Series) -> Result<(), EvalError>;

/// Evaluates a function over one window of a series that has histograms.
pub(crate) type OnMixed =
    fn(&MixedWindow<'_>, &mut CallState<'_>) -> Result<Option<SampleValue>, EvalError>;

/// A function over windows of samples.
#[derive(Debug)]
pub(crate) struct WindowFunction {
    pub(crate) floats: OnFloats,
    pub(crate) mixed: OnMixed,
    /// The result is a sample of the series and keeps its name.
    pub(crate) keeps_name: bool,
    /// Series that do not look like counters are remarked on.
    pub(crate) is_for_counters: bool,
    /// Start timestamps count as resets.
    pub(crate) start_times: bool,
    /// Works with `anchored`.
    pub(crate) anchored: bool,
    /// Works with `smoothed`.
    pub(crate) smoothed: bool,
    /// The result says where nothing is.
    pub(crate) makes_absence: bool,
}

impl WindowFunction {
    const fn new(floats: OnFloats, mixed: OnMixed) -> Self {
        Self {
            floats,
            mixed,
            keeps_name: false,
            is_for_counters: false,
            start_times: false,
            anchored: false,
            smoothed: false,
            makes_absence: false,
        }
    }

    /// Fails when the selector has a modifier that the function cannot work with.
    pub(crate) fn check_modifiers(
        &self,
        name: &str,
        anchored: bool,
        smoothed: bool,
    ) -> Result<(), EvalError> {
        let (modifier, allowed) = match (anchored, smoothed) {
            (true, _) if !self.anchored => ("anchored", "changes, delta, increase, rate, resets"),
            (false, true) if !self.smoothed => ("smoothed", "delta, increase, rate"),
            _ => return Ok(()),
        };
        Err(EvalError::Execution(format!(
            "{modifier} modifier can only be used with: {allowed} - not with {name}"
        )))
    }
}

const fn math(name: &'static str, f: fn(f64) -> f64) -> Function {
    Function {
        name,
        implementation: Implementation::Math(f),
        depends_on_time: false,
    }
}

const fn other(name: &'static str, f: Evaluate) -> Function {
    Function {
        name,
        implementation: Implementation::Other(f),
        depends_on_time: false,
    }
}

const fn of_time(name: &'static str, f: Evaluate) -> Function {
    Function {
        name,
        implementation: Implementation::Other(f),
        depends_on_time: true,
    }
}

const fn window(name: &'static str, floats: OnFloats, mixed: OnMixed) -> Function {
    Function {
        name,
        implementation: Implementation::Window(WindowFunction::new(floats, mixed)),
        depends_on_time: false,
    }
}

const fn window_with(name: &'static str, function: WindowFunction) -> Function {
    Function {
        name,
        implementation: Implementation::Window(function),
        depends_on_time: false,
    }
}

/// All functions, sorted by name. `start`, `end`, `range` and `step` are constants of the plan.
static FUNCTIONS: &[Function] = &[
    math("abs", f64::abs),
    other("absent", absent::absent),
    window_with(
        "absent_over_time",
        WindowFunction {
            makes_absence: true,
            ..WindowFunction::new(over_time::present_floats, over_time::present_mixed)
        },
    ),
    math("acos", math::acos),
    math("acosh", math::acosh),
    math("asin", math::asin),
    math("asinh", math::asinh),
    math("atan", math::atan),
    math("atanh", math::atanh),
    window("avg_over_time", over_time::avg_floats, over_time::avg_mixed),
    math("ceil", f64::ceil),
    window_with(
        "changes",
        WindowFunction {
            anchored: true,
            ..WindowFunction::new(changes::changes_floats, changes::changes_mixed)
        },
    ),
    other("clamp", math::clamp),
    other("clamp_max", math::clamp_max),
    other("clamp_min", math::clamp_min),
    math("cos", math::cos),
    math("cosh", math::cosh),
    window(
        "count_over_time",
        over_time::count_floats,
        over_time::count_mixed,
    ),
    of_time("day_of_month", time::day_of_month),
    of_time("day_of_week", time::day_of_week),
    of_time("day_of_year", time::day_of_year),
    of_time("days_in_month", time::days_in_month),
    math("deg", math::deg),
    window_with(
        "delta",
        WindowFunction {
            anchored: true,
            smoothed: true,
            ..WindowFunction::new(rate::delta_floats, rate::delta_mixed)
        },
    ),
    window("deriv", regression::deriv_floats, regression::deriv_mixed),
    window(
        "double_exponential_smoothing",
        regression::smoothing_floats,
        regression::smoothing_mixed,
    ),
    math("exp", math::exp),
    window_with(
        "first_over_time",
        WindowFunction {
            keeps_name: true,
            ..WindowFunction::new(extremes::first_floats, extremes::first_mixed)
        },
    ),
    math("floor", f64::floor),
    other("histogram_avg", histogram::avg),
    other("histogram_count", histogram::count),
    other("histogram_fraction", histogram::fraction),
    other("histogram_quantile", histogram::quantile),
    other("histogram_quantiles", histogram::quantiles),
    other("histogram_stddev", histogram::stddev),
    other("histogram_stdvar", histogram::stdvar),
    other("histogram_sum", histogram::sum),
    of_time("hour", time::hour),
    window("idelta", rate::idelta_floats, rate::idelta_mixed),
    window_with(
        "increase",
        WindowFunction {
            anchored: true,
            smoothed: true,
            is_for_counters: true,
            start_times: true,
            ..WindowFunction::new(rate::increase_floats, rate::increase_mixed)
        },
    ),
    other("info", info::info),
    window_with(
        "irate",
        WindowFunction {
            start_times: true,
            ..WindowFunction::new(rate::irate_floats, rate::irate_mixed)
        },
    ),
    other("label_join", label::label_join),
    other("label_replace", label::label_replace),
    window_with(
        "last_over_time",
        WindowFunction {
            keeps_name: true,
            ..WindowFunction::new(extremes::last_floats, extremes::last_mixed)
        },
    ),
    math("ln", math::ln),
    math("log10", math::log10),
    math("log2", math::log2),
    window("mad_over_time", over_time::mad_floats, over_time::mad_mixed),
    other("max_of", math::max_of),
    window("max_over_time", extremes::max_floats, extremes::max_mixed),
    other("min_of", math::min_of),
    window("min_over_time", extremes::min_floats, extremes::min_mixed),
    of_time("minute", time::minute),
    of_time("month", time::month),
    other("pi", math::pi),
    Function {
        name: "predict_linear",
        implementation: Implementation::Window(WindowFunction::new(
            regression::predict_floats,
            regression::predict_mixed,
        )),
        depends_on_time: true,
    },
    window(
        "present_over_time",
        over_time::present_floats,
        over_time::present_mixed,
    ),
    window(
        "quantile_over_time",
        over_time::quantile_floats,
        over_time::quantile_mixed,
    ),
    math("rad", math::rad),
    window_with(
        "rate",
        WindowFunction {
            anchored: true,
            smoothed: true,
            is_for_counters: true,
            start_times: true,
            ..WindowFunction::new(rate::rate_floats, rate::rate_mixed)
        },
    ),
    window_with(
        "resets",
        WindowFunction {
            anchored: true,
            start_times: true,
            ..WindowFunction::new(changes::resets_floats, changes::resets_mixed)
        },
    ),
    other("round", math::round),
    other("scalar", vector::scalar),
    math("sgn", math::sgn),
    math("sin", math::sin),
    math("sinh", math::sinh),
    other("sort", sort::sort),
    other("sort_by_label", sort::sort_by_label),
    other("sort_by_label_desc", sort::sort_by_label_desc),
    other("sort_desc", sort::sort_desc),
    math("sqrt", f64::sqrt),
    other("start_timestamp", time::start_timestamp),
    window(
        "stddev_over_time",
        over_time::stddev_floats,
        over_time::stddev_mixed,
    ),
    window(
        "stdvar_over_time",
        over_time::stdvar_floats,
        over_time::stdvar_mixed,
    ),
    window("sum_over_time", over_time::sum_floats, over_time::sum_mixed),
    math("tan", math::tan),
    math("tanh", math::tanh),
    of_time("time", time::time),
    of_time("timestamp", time::timestamp),
    window(
        "ts_of_first_over_time",
        extremes::time_of_first_floats,
        extremes::time_of_first_mixed,
    ),
    window(
        "ts_of_last_over_time",
        extremes::time_of_last_floats,
        extremes::time_of_last_mixed,
    ),
    window(
        "ts_of_max_over_time",
        extremes::time_of_max_floats,
        extremes::time_of_max_mixed,
    ),
    window(
        "ts_of_min_over_time",
        extremes::time_of_min_floats,
        extremes::time_of_min_mixed,
    ),
    other("vector", vector::vector),
    of_time("year", time::year),
];

/// The function called `name`.
pub(crate) fn find(name: &str) -> Option<&'static Function> {
    FUNCTIONS
        .binary_search_by(|function| function.name.cmp(name))
        .ok()
        .map(|at| &FUNCTIONS[at])
}

/// Evaluates a call.
pub(crate) fn call(
    evaluator: &mut Evaluator<'_>,
    call: &Call<'_>,
    grid: &Grid,
) -> Result<Data, EvalError> {
    match &call.function.implementation {
        Implementation::Math(f) => math::element_wise(evaluator, call, grid, *f),
        Implementation::Window(function) => evaluator.window_call(call, function, grid),
        Implementation::Other(f) => f(evaluator, call, grid),
    }
}

/// Evaluates the argument at `index`, a scalar.
pub(crate) fn scalar_arg(
    evaluator: &mut Evaluator<'_>,
    call: &Call<'_>,
    index: usize,
    grid: &Grid,
) -> Result<crate::eval::column::Scalars, EvalError> {
    evaluator.eval_scalar(&call.args[index], grid)
}

/// The text of the argument at `index`, a string literal.
pub(crate) fn text_arg<'c>(call: &'c Call<'_>, index: usize) -> Result<&'c str, EvalError> {
    match call.args.get(index).map(|arg| &arg.kind) {
        Some(Kind::Text(text)) => Ok(&text.value),
        _ => Err(EvalError::BadQuery(format!(
            "expected a string in the call of {}",
            call.name
        ))),
    }
}

/// Whether a string can name a label: any text that is valid UTF-8 and not empty.
pub(crate) fn is_label_name(text: &StringLiteral) -> bool {
    !text.value.is_empty() && text.invalid_bytes.is_none()
}

/// The argument at `index`, a string literal that names a label; `what` says which.
pub(crate) fn label_arg<'c>(
    call: &'c Call<'_>,
    index: usize,
    what: &str,
) -> Result<&'c str, EvalError> {
    let text = text_arg(call, index)?;
    match &call.args[index].kind {
        Kind::Text(literal) if is_label_name(literal) => Ok(text),
        _ => Err(EvalError::Execution(format!(
            "invalid {what} label name in {}(): {text}",
            call.name
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_sorted_and_complete() {
        assert!(FUNCTIONS.windows(2).all(|w| w[0].name < w[1].name));
        for signature in crate::signatures::FUNCTIONS {
            let constant = matches!(signature.name, "start" | "end" | "range" | "step");
            assert_eq!(
                find(signature.name).is_some(),
                !constant,
                "{}",
                signature.name
            );
        }
    }
}
