//! Functions of histograms, classic and native.
//!
//! Classic histograms are series of buckets that differ in the label `le` only; which series form
//! one is found once, from the labels. Source: Prometheus `resetHistograms`,
//! `funcHistogramQuantile`, `funcHistogramFraction`.

mod classic;
pub(crate) mod extended;
mod native;
pub(crate) mod over_time;
pub(crate) mod rate;

use tenbin_model::labels::LabelsBuilder;
use tenbin_model::text::float::format_open_metrics;
use tenbin_model::{FloatHistogram, METRIC_NAME};

use crate::ast::Span;
use crate::error::EvalError;
use crate::eval::Evaluator;
use crate::eval::binary::totals;
use crate::eval::column::{Data, Presence, Scalars, Series};
use crate::eval::grid::Grid;
use crate::eval::names::settle_duplicates;
use crate::eval::plan::Call;
use crate::functions::quantile::{bucket_fraction, bucket_quantile};
use crate::functions::{scalar_arg, text_arg};
use classic::Classic;
use native::Remarks;

/// Computes a number from every native histogram of a vector; floats are left out.
fn of_native(
    evaluator: &mut Evaluator<'_>,
    call: &Call<'_>,
    grid: &Grid,
    figure: fn(&FloatHistogram) -> f64,
) -> Result<Data, EvalError> {
    let all = evaluator.eval_vector(&call.args[0], grid)?;
    let mut kept = Vec::new();
    for mut series in all {
        let before = series.size();
        series.floats = Presence::none(grid.steps);
        for (step, slot) in series.histograms.take().iter().flatten().enumerate() {
            if let Some(histogram) = slot {
                series.set_float(step, figure(histogram));
            }
        }
        evaluator.budget.adjust(before, series.size())?;
        if series.floats.is_empty() {
            continue;
        }
        // Prometheus leaves type and unit here when names are not dropped at the end.
        if !evaluator.delayed_name_removal() {
            series.labels = series.labels.filter(|name| name != METRIC_NAME);
        }
        series.drop_name = true;
        kept.push(series);
    }
    let delayed = evaluator.delayed_name_removal();
    settle_duplicates(kept, grid, delayed, &evaluator.budget).map(Data::Vector)
}

macro_rules! of_native {
    ($($name:ident: $figure:expr),*) => {
        $(pub(crate) fn $name(
            evaluator: &mut Evaluator<'_>,
            call: &Call<'_>,
            grid: &Grid,
        ) -> Result<Data, EvalError> {
            of_native(evaluator, call, grid, $figure)
        })*
    };
}

of_native!(
    avg: |h| h.sum / h.count,
    count: |h| h.count,
    sum: |h| h.sum,
    stddev: |h| native::variance(h).sqrt(),
    stdvar: native::variance
);

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

/// Computes a figure of every histogram in `input`, native and classic. Where both exist under
/// the same labels neither counts.
fn figures(
    evaluator: &mut Evaluator<'_>,
    input: &[Series],
    figure: Figure<'_>,
    span: Span,
    grid: &Grid,
) -> Result<Vec<Series>, EvalError> {
    let mut result = Vec::new();
    let delayed = evaluator.delayed_name_removal();
    let mut all_classic = Classic::all(input, delayed, &mut evaluator.notes, span);
    for native in input.iter().filter(|series| series.histograms.is_some()) {
        evaluator.budget.check()?;
        let mut twin = all_classic
            .iter_mut()
            .find(|classic| classic.labels == native.labels);
        let mut series = Series::new(native.labels.clone(), grid.steps);
        for (step, slot) in native.histograms.iter().flatten().enumerate() {
            let Some(histogram) = slot else { continue };
            if let Some(classic) = &mut twin
                && classic.exists_at(input, step)
            {
                classic.conflicts.push(step);
                let metric = if delayed {
                    native.labels.metric_name()
                } else {
                    ""
                };
                evaluator.notes.mixed_classic_native(metric, span);
                continue;
            }
            let metric = shown_name(native, delayed);
            let mut remarks = Remarks {
                notes: &mut evaluator.notes,
                metric,
                span,
            };
            let value = match figure {
                Figure::Quantile(quantiles) => {
                    native::quantile(quantiles.at(step), histogram, &mut remarks)
                }
                Figure::Fraction(lower, upper) => {
                    native::fraction(lower.at(step), upper.at(step), histogram, &mut remarks)
                }
            };
            series.set_float(step, value);
        }
        finish(evaluator, series, &mut result)?;
    }
    for classic in &all_classic {
        evaluator.budget.check()?;
        let series = classic_figures(evaluator, input, classic, figure, span, grid);
        finish(evaluator, series, &mut result)?;
    }
    Ok(result)
}

/// The name that remarks on a native histogram mention: none once it was dropped.
fn shown_name(series: &Series, delayed: bool) -> &str {
    if delayed {
        series.labels.metric_name()
    } else {
        ""
    }
}

fn finish(
    evaluator: &mut Evaluator<'_>,
    mut series: Series,
    result: &mut Vec<Series>,
) -> Result<(), EvalError> {
    if !series.is_empty() {
        evaluator.drop_name(&mut series);
        evaluator.budget.charge_series(&series)?;
        result.push(series);
    }
    Ok(())
}

fn classic_figures(
    evaluator: &mut Evaluator<'_>,
    input: &[Series],
    classic: &Classic,
    figure: Figure<'_>,
    span: Span,
    grid: &Grid,
) -> Series {
    let metric = if evaluator.delayed_name_removal() {
        classic.labels.metric_name()
    } else {
        ""
    };
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
    series
}

/// Counts what Prometheus holds beside vector and result, the scalars and the operands of the step
/// at hand, and gives the vector back.
fn hold_operands(
    evaluator: &mut Evaluator<'_>,
    input: &[Series],
    scalars: u64,
    grid: &Grid,
) -> Result<(), EvalError> {
    let held = totals(input, grid).1 + scalars * (grid.steps as u64 + 1);
    evaluator.budget.touch(held)?;
    evaluator.budget.release_series(input);
    Ok(())
}

pub(crate) fn quantile(
    evaluator: &mut Evaluator<'_>,
    call: &Call<'_>,
    grid: &Grid,
) -> Result<Data, EvalError> {
    let quantiles = scalar_arg(evaluator, call, 0, grid)?;
    let input = evaluator.eval_beside(1, &call.args[1], grid)?;
    check_quantiles(evaluator, &quantiles, grid, call.args[0].span);
    let figure = Figure::Quantile(&quantiles);
    let result = figures(evaluator, &input, figure, call.args[1].span, grid)?;
    hold_operands(evaluator, &input, 1, grid)?;
    let delayed = evaluator.delayed_name_removal();
    settle_duplicates(result, grid, delayed, &evaluator.budget).map(Data::Vector)
}

pub(crate) fn fraction(
    evaluator: &mut Evaluator<'_>,
    call: &Call<'_>,
    grid: &Grid,
) -> Result<Data, EvalError> {
    let lower = scalar_arg(evaluator, call, 0, grid)?;
    let upper = scalar_arg(evaluator, call, 1, grid)?;
    let input = evaluator.eval_beside(2, &call.args[2], grid)?;
    let figure = Figure::Fraction(&lower, &upper);
    let result = figures(evaluator, &input, figure, call.args[2].span, grid)?;
    hold_operands(evaluator, &input, 2, grid)?;
    let delayed = evaluator.delayed_name_removal();
    settle_duplicates(result, grid, delayed, &evaluator.budget).map(Data::Vector)
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
    settle_duplicates(result, grid, delayed, &evaluator.budget).map(Data::Vector)
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
        let mut named = series;
        named.labels = labels;
        return vec![named];
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
