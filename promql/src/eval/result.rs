//! From the columns of the root node to the value of the query.
//!
//! An instant query keeps the order of its series, a range query's series are sorted by labels. A
//! range selector at the root of an instant query returns its samples as they are. Source:
//! `execEvalStmt` and `matrixSelector` in Prometheus' `promql/engine.go`.

use std::sync::Arc;

use hashbrown::HashMap;
use tenbin_model::sorting::sort_checked;
use tenbin_model::{Labels, SampleBuffer, TimeRange};

use crate::error::EvalError;
use crate::eval::budget::Budget;
use crate::eval::column::{Data, Series, histogram_size};
use crate::eval::grid::Grid;
use crate::eval::names::{drop_marked_names, have_duplicates, same_labelset, without_name};
use crate::eval::plan::{Kind, Node, RangeSelector, Subquery};
use crate::eval::range_call::series_of;
use crate::eval::smoothed::extended_points;
use crate::eval::window::remove_stale;
use crate::eval::{Evaluator, Fate};
use crate::value::{MatrixSeries, SampleValue, Value, VectorSample};

/// Evaluates the root of a query.
pub(crate) fn evaluate(
    evaluator: &mut Evaluator<'_>,
    root: &Node<'_>,
    grid: &Grid,
    is_instant: bool,
) -> Result<Value, EvalError> {
    match &root.kind {
        Kind::Range(range) => return evaluator.raw_range(range, grid).map(Value::Matrix),
        Kind::Subquery(subquery) => return evaluator.raw_subquery(subquery, grid),
        _ => {}
    }
    if !is_instant && evaluator.hands_on(root) {
        return evaluator.stream_matrix(root, grid).map(Value::Matrix);
    }
    let data = evaluator.eval(root, grid)?;
    if let Data::Scalar(_) = &data {
        evaluator.budget.touch(grid.steps as u64)?;
    }
    let all = match data {
        Data::Text(value) => {
            return Ok(Value::String {
                timestamp_ms: grid.start_ms,
                value,
            });
        }
        Data::Scalar(scalars) if is_instant => {
            return Ok(Value::Scalar {
                timestamp_ms: grid.start_ms,
                value: scalars.at(0),
            });
        }
        Data::Scalar(scalars) => vec![series_of(&scalars, grid)],
        Data::Vector(all) => evaluator.final_names(all)?,
    };
    if is_instant {
        let samples = samples_of(all, grid.start_ms, &mut evaluator.budget)?;
        return Ok(Value::Vector(samples));
    }
    evaluator.matrix_of(all, grid).map(Value::Matrix)
}

/// The value with its series in their final order.
pub(crate) fn sorted(mut value: Value, budget: &Budget) -> Result<Value, EvalError> {
    if let Value::Matrix(all) = &mut value {
        let order = |a: &MatrixSeries, b: &MatrixSeries| a.labels.cmp(&b.labels);
        sort_checked(all, order, || budget.check())?;
    }
    Ok(value)
}

fn samples_of(
    all: Vec<Series>,
    timestamp_ms: i64,
    budget: &mut Budget,
) -> Result<Vec<VectorSample>, EvalError> {
    let mut samples = Vec::with_capacity(all.len());
    for (at, series) in all.into_iter().enumerate() {
        budget.check_at(at)?;
        let Some(value) = series.get(0) else {
            continue;
        };
        let sample = VectorSample {
            labels: series.labels,
            timestamp_ms,
            value,
        };
        budget.charge_bytes(sample.byte_len())?;
        samples.push(sample);
    }
    Ok(samples)
}

fn matrix_series(series: &Series, grid: &Grid) -> MatrixSeries {
    let mut floats = Vec::with_capacity(series.floats.count());
    if series.floats.is_full() {
        let timed = series.values.iter().enumerate();
        floats.extend(timed.map(|(step, value)| (grid.time(step), *value)));
    } else {
        let present = series.floats.iter();
        floats.extend(present.map(|step| (grid.time(step), series.values[step])));
    }
    let histograms = series
        .histograms
        .iter()
        .flatten()
        .enumerate()
        .filter_map(|(step, slot)| Some((grid.time(step), Arc::clone(slot.as_ref()?))))
        .collect();
    MatrixSeries {
        labels: series.labels.clone(),
        floats,
        histograms,
    }
}

/// Joins series of equal labels, whose samples must not lie at equal times.
fn joined(all: Vec<MatrixSeries>, budget: &Budget) -> Result<Vec<MatrixSeries>, EvalError> {
    if !have_duplicates(all.iter().map(|series| &series.labels), budget)? {
        return Ok(all);
    }
    let mut places: HashMap<Labels, usize> = HashMap::new();
    let mut joined: Vec<MatrixSeries> = Vec::new();
    for (number, series) in all.into_iter().enumerate() {
        budget.check_at(number)?;
        if let Some(at) = places.get(&series.labels) {
            let first: &mut MatrixSeries = &mut joined[*at];
            first.floats.extend(series.floats);
            first.histograms.extend(series.histograms);
        } else {
            places.insert(series.labels.clone(), joined.len());
            joined.push(series);
        }
    }
    for (number, series) in joined.iter_mut().enumerate() {
        budget.check_at(number)?;
        series.floats.sort_by_key(|(time, _)| *time);
        series.histograms.sort_by_key(|(time, _)| *time);
        let twice = series.floats.windows(2).any(|w| w[0].0 == w[1].0)
            || series.histograms.windows(2).any(|w| w[0].0 == w[1].0);
        if twice {
            return Err(same_labelset());
        }
    }
    Ok(joined)
}

impl Evaluator<'_> {
    /// Columns as the series of a matrix.
    fn matrix_of(&mut self, all: Vec<Series>, grid: &Grid) -> Result<Vec<MatrixSeries>, EvalError> {
        let mut matrix = Vec::with_capacity(all.len());
        for series in all {
            self.budget.check()?;
            let finished = matrix_series(&series, grid);
            self.budget.charge_bytes(finished.byte_len())?;
            matrix.push(finished);
        }
        Ok(matrix)
    }

    fn final_names(&self, all: Vec<Series>) -> Result<Vec<Series>, EvalError> {
        if self.delayed_name_removal() {
            drop_marked_names(all, &self.budget)
        } else {
            Ok(all)
        }
    }

    /// Evaluates a root whose series come one at a time, without ever holding their columns.
    fn stream_matrix(
        &mut self,
        root: &Node<'_>,
        grid: &Grid,
    ) -> Result<Vec<MatrixSeries>, EvalError> {
        let mut all = Vec::new();
        let delayed = self.delayed_name_removal();
        self.for_each_series(root, grid, &mut |evaluator, series| {
            let mut finished = matrix_series(series, grid);
            evaluator.budget.charge_bytes(finished.byte_len())?;
            if delayed && series.drop_name {
                finished.labels = without_name(&finished.labels);
            }
            all.push(finished);
            Ok(Fate::Kept)
        })?;
        joined(all, &self.budget)
    }

    /// The samples of a range selector as they are stored.
    fn raw_range(
        &mut self,
        range: &RangeSelector<'_>,
        grid: &Grid,
    ) -> Result<Vec<MatrixSeries>, EvalError> {
        let selector = &range.selector;
        let set = self.select(selector, grid, range.range_ms)?;
        let end_ms = selector.time.apply(grid.start_ms);
        let start_ms = end_ms.saturating_sub(range.range_ms);
        let lookback_ms = self.options.lookback_ms;
        let extended = selector.anchored || selector.smoothed;
        let covers = TimeRange::new(
            start_ms
                .saturating_sub(if extended { lookback_ms } else { 0 })
                .saturating_add(1),
            end_ms.saturating_add(if selector.smoothed { lookback_ms } else { 0 }),
        );
        let mut samples = SampleBuffer::default();
        let mut result = Vec::new();
        for at in 0..set.len() {
            self.budget.check()?;
            set.read(at, covers, &mut samples)?;
            remove_stale(&mut samples);
            if samples.is_empty() {
                continue;
            }
            if extended {
                let points = extended_points(&samples, start_ms, end_ms, selector.smoothed)?;
                samples.clear();
                (samples.timestamps_ms, samples.values) = points.into_iter().unzip();
                if samples.is_empty() {
                    continue;
                }
            }
            let sizes: u64 = samples.histograms.iter().map(|h| histogram_size(h)).sum();
            let size = samples.timestamps_ms.len() as u64 + sizes;
            self.budget.charge(size)?;
            self.tally.sample(0, size);
            let finished = MatrixSeries {
                labels: set.labels(at)?,
                floats: zipped(&samples.timestamps_ms, samples.values.iter().copied()),
                histograms: zipped(
                    &samples.histogram_timestamps_ms,
                    samples.histograms.iter().cloned(),
                ),
            };
            self.budget.charge_bytes(finished.byte_len())?;
            result.push(finished);
        }
        Ok(result)
    }

    /// The result of a subquery at the root: all its inner steps.
    fn raw_subquery(&mut self, subquery: &Subquery<'_>, grid: &Grid) -> Result<Value, EvalError> {
        let (all, inner) = self.eval_subquery(subquery, grid)?;
        let all = self.final_names(all)?;
        for series in &all {
            let steps = (0..series.steps()).filter_map(|step| series.get(step));
            let size: u64 = steps
                .map(|value| match value {
                    SampleValue::Float(_) => 1,
                    SampleValue::Histogram(h) => histogram_size(&h),
                })
                .sum();
            self.tally.total += size;
        }
        self.matrix_of(all, &inner).map(Value::Matrix)
    }
}

fn zipped<T>(times: &[i64], values: impl Iterator<Item = T>) -> Vec<(i64, T)> {
    times.iter().copied().zip(values).collect()
}
