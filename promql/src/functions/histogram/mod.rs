//! Functions of histograms, classic and native.
//!
//! Classic histograms are series of buckets that differ in the label `le` only; which series form
//! one is found once, from the labels. Source: Prometheus `resetHistograms`,
//! `funcHistogramQuantile`, `funcHistogramFraction`.

mod classic;
pub(crate) mod over_time;
pub(crate) mod rate;

use tenbin_model::labels::LabelsBuilder;
use tenbin_model::text::float::format_open_metrics;

use crate::ast::Span;
use crate::error::EvalError;
use crate::eval::Evaluator;
use crate::eval::column::{Data, Scalars, Series};
use crate::eval::grid::Grid;
use crate::eval::names::settle_duplicates;
use crate::eval::plan::Call;
use crate::functions::quantile::{bucket_fraction, bucket_quantile};
use crate::functions::{scalar_arg, text_arg};
use classic::Classic;

fn unsupported(what: &str) -> EvalError {
    EvalError::Unsupported(format!("{what} of native histograms"))
}

fn of_native(
    evaluator: &mut Evaluator<'_>,
    call: &Call<'_>,
    grid: &Grid,
) -> Result<Data, EvalError> {
    let all = evaluator.eval_vector(&call.args[0], grid)?;
    if all.iter().any(|series| series.histograms.is_some()) {
        return Err(unsupported(call.name));
    }
    evaluator.budget.release_series(&all);
    Ok(Data::Vector(Vec::new()))
}

macro_rules! of_native {
    ($($name:ident),*) => {
        $(pub(crate) fn $name(
            evaluator: &mut Evaluator<'_>,
            call: &Call<'_>,
            grid: &Grid,
        ) -> Result<Data, EvalError> {
            of_native(evaluator, call, grid)
        })*
    };
}

of_native!(avg, count, stddev, stdvar, sum);

/// Remarks on every quantile outside 0 to 1.
fn check_quantiles(evaluator: &mut Evaluator<'_>, quantiles: &Scalars, grid: &Grid, span: Span) {
    for step in 0..grid.steps {
        let quantile = quantiles.at(step);
        if !(0.0..=1.0).contains(&quantile) {
            evaluator.notes.invalid_quantile(quantile, span);
        }
        if matches!(quantiles, Scalars::Same(_)) {
            return;
        }
    }
}

/// What is computed from a histogram at a step.
#[derive(Clone, Copy)]
enum Figure<'s> {
    Quantile(&'s Scalars),
    Fraction(&'s Scalars, &'s Scalars),
}

/// Computes a figure of every histogram in `input`, which is argument number `arg`.
fn figures(
    evaluator: &mut Evaluator<'_>,
    input: &[Series],
    figure: Figure<'_>,
    span: Span,
    grid: &Grid,
) -> Result<Vec<Series>, EvalError> {
    if input.iter().any(|series| series.histograms.is_some()) {
        return Err(unsupported("quantiles and fractions"));
    }
    let mut result = Vec::new();
    let delayed = evaluator.delayed_name_removal();
    for classic in Classic::all(input, delayed, &mut evaluator.notes, span) {
        evaluator.budget.check()?;
        let mut series = Series::new(classic.labels.clone(), grid.steps);
        let mut buckets = Vec::new();
        for step in 0..grid.steps {
            classic.buckets_at(input, step, &mut buckets);
            if buckets.is_empty() {
                continue;
            }
            let value = match figure {
                Figure::Quantile(quantiles) => {
                    let (value, forced) = bucket_quantile(quantiles.at(step), &mut buckets);
                    if let Some(figures) = forced {
                        let metric = if delayed {
                            classic.labels.metric_name()
                        } else {
                            ""
                        };
                        let time_ms = grid.time(step);
                        evaluator
                            .notes
                            .forced_monotonicity(metric, time_ms, figures, span);
                    }
                    value
                }
                Figure::Fraction(lower, upper) => {
                    bucket_fraction(lower.at(step), upper.at(step), &mut buckets)
                }
            };
            series.set_float(step, value);
        }
        if !series.is_empty() {
            evaluator.drop_name(&mut series);
            evaluator.budget.charge_series(&series)?;
            result.push(series);
        }
    }
    Ok(result)
}

pub(crate) fn quantile(
    evaluator: &mut Evaluator<'_>,
    call: &Call<'_>,
    grid: &Grid,
) -> Result<Data, EvalError> {
    let quantiles = scalar_arg(evaluator, call, 0, grid)?;
    let input = evaluator.eval_vector(&call.args[1], grid)?;
    check_quantiles(evaluator, &quantiles, grid, call.args[0].span);
    let figure = Figure::Quantile(&quantiles);
    let result = figures(evaluator, &input, figure, call.args[1].span, grid)?;
    evaluator.budget.release_series(&input);
    let delayed = evaluator.delayed_name_removal();
    settle_duplicates(result, grid, delayed).map(Data::Vector)
}

pub(crate) fn fraction(
    evaluator: &mut Evaluator<'_>,
    call: &Call<'_>,
    grid: &Grid,
) -> Result<Data, EvalError> {
    let lower = scalar_arg(evaluator, call, 0, grid)?;
    let upper = scalar_arg(evaluator, call, 1, grid)?;
    let input = evaluator.eval_vector(&call.args[2], grid)?;
    let figure = Figure::Fraction(&lower, &upper);
    let result = figures(evaluator, &input, figure, call.args[2].span, grid)?;
    evaluator.budget.release_series(&input);
    let delayed = evaluator.delayed_name_removal();
    settle_duplicates(result, grid, delayed).map(Data::Vector)
}

pub(crate) fn quantiles(
    evaluator: &mut Evaluator<'_>,
    call: &Call<'_>,
    grid: &Grid,
) -> Result<Data, EvalError> {
    let label = text_arg(call, 1)?;
    let input = evaluator.eval_vector(&call.args[0], grid)?;
    let mut result = Vec::new();
    for index in 2..call.args.len() {
        let quantiles = scalar_arg(evaluator, call, index, grid)?;
        check_quantiles(evaluator, &quantiles, grid, call.args[index].span);
        let figure = Figure::Quantile(&quantiles);
        let all = figures(evaluator, &input, figure, call.args[0].span, grid)?;
        for series in all {
            result.extend(labelled(series, label, &quantiles));
        }
    }
    evaluator.budget.release_series(&input);
    let delayed = evaluator.delayed_name_removal();
    settle_duplicates(result, grid, delayed).map(Data::Vector)
}

/// The series with the quantile as a label; one series per value if the quantile varies.
fn labelled(series: Series, label: &str, quantiles: &Scalars) -> Vec<Series> {
    let with_label = |value: f64| {
        let mut builder = LabelsBuilder::from_labels(&series.labels);
        builder.set(label, &format_open_metrics(value));
        builder.build()
    };
    if let Scalars::Same(quantile) = quantiles {
        let labels = with_label(*quantile);
        return vec![Series { labels, ..series }];
    }
    let mut all: Vec<(u64, Series)> = Vec::new();
    for step in series.floats.iter() {
        let quantile = quantiles.at(step);
        let bits = quantile.to_bits();
        let at = all.iter().position(|(known, _)| *known == bits);
        let at = at.unwrap_or_else(|| {
            let mut fresh = Series::new(with_label(quantile), series.steps());
            fresh.drop_name = series.drop_name;
            all.push((bits, fresh));
            all.len() - 1
        });
        all[at].1.set_float(step, series.values[step]);
    }
    all.into_iter().map(|(_, series)| series).collect()
}
