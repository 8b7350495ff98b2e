//! Aggregations that make one series per group: `sum`, `avg`, `count`, `min`, `max`, `group`,
//! `stddev`, `stdvar`, `quantile`, `count_values`.
//!
//! Input series come one at a time, in the store's order, and are added to the columns of their
//! group; only `quantile` has to keep them. Sums are compensated exactly as in Prometheus. Source:
//! `aggregation` and `aggregationCountValues` in Prometheus' `promql/engine.go`.

mod accumulate;

use hashbrown::HashMap;
use tenbin_model::Labels;
use tenbin_model::labels::LabelsBuilder;
use tenbin_model::sorting::sort_checked;
use tenbin_model::text::float::format_f;

use crate::ast::{AggregateOp, Expr, Span};
use crate::error::EvalError;
use crate::eval::binary::totals;
use crate::eval::column::{Presence, Scalars, Series};
use crate::eval::grid::Grid;
use crate::eval::grouping::{Grouping, Groups};
use crate::eval::histogram_sum::HistogramSums;
use crate::eval::names::settle_duplicates;
use crate::eval::plan::{Aggregate, Kind};
use crate::eval::{Evaluator, Fate};
use crate::functions::is_label_name;
use crate::functions::quantile::{nan_first, quantile_of_sorted};
use accumulate::Accumulator;

/// A group on its way to becoming a series.
struct Group {
    labels: Labels,
    accumulator: Accumulator,
    /// Steps at which a float was added.
    seen: Presence,
    /// Histograms added, for `sum` and `avg`.
    histograms: Option<Box<HistogramSums>>,
    /// Steps at which a series whose name is to be dropped was added.
    name_drops: Presence,
}

/// Least and greatest value of a parameter over all steps.
pub(crate) struct ParamRange {
    pub(crate) min: f64,
    pub(crate) max: f64,
    pub(crate) has_nan: bool,
}

impl ParamRange {
    pub(crate) fn of(param: &Scalars) -> Self {
        let mut range = Self {
            min: f64::MAX,
            max: -f64::MAX,
            has_nan: false,
        };
        let values = match param {
            Scalars::Same(value) => std::slice::from_ref(value),
            Scalars::PerStep(values) => values,
        };
        for value in values {
            range.min = crate::functions::math::min(range.min, *value);
            range.max = crate::functions::math::max(range.max, *value);
            range.has_nan |= value.is_nan();
        }
        range
    }
}

/// A value as `count_values` writes it.
fn counted_text(series: &Series, step: usize) -> Result<String, EvalError> {
    match series.histogram(step) {
        // Times infinity it counts NaN around zero, where Prometheus cannot write it either.
        Some(histogram) if histogram.uses_custom_buckets() && histogram.zero_count != 0.0 => {
            let text = "histograms with custom buckets have no zero bucket";
            Err(EvalError::Execution(text.to_owned()))
        }
        Some(histogram) => Ok(histogram.to_string()),
        None => Ok(format_f(series.values[step])),
    }
}

impl<'a> Evaluator<'a> {
    /// Evaluates an aggregation.
    pub(crate) fn aggregate(
        &mut self,
        aggregate: &Aggregate<'_>,
        grid: &Grid,
    ) -> Result<Vec<Series>, EvalError> {
        match aggregate.op {
            AggregateOp::Topk
            | AggregateOp::Bottomk
            | AggregateOp::Limitk
            | AggregateOp::LimitRatio => self.pick(aggregate, grid),
            AggregateOp::CountValues => self.count_values(aggregate, grid),
            AggregateOp::Quantile => self.quantile(aggregate, grid),
            _ => self.accumulate(aggregate, grid),
        }
    }

    /// The value of an aggregation's parameter at every step.
    pub(crate) fn aggregation_param(
        &mut self,
        aggregate: &Aggregate<'_>,
        grid: &Grid,
    ) -> Result<(Scalars, Span), EvalError> {
        match &aggregate.param {
            Some(param) => Ok((self.eval_scalar(param, grid)?, param.span)),
            None => Ok((Scalars::Same(0.0), aggregate.span)),
        }
    }

    fn accumulate(
        &mut self,
        aggregate: &Aggregate<'_>,
        grid: &Grid,
    ) -> Result<Vec<Series>, EvalError> {
        let grouping = Grouping {
            names: &aggregate.grouping,
            without: aggregate.without,
        };
        let span = aggregate.input.span;
        let op = aggregate.op;
        let mut numbers = Groups::default();
        let mut groups: Vec<Group> = Vec::new();
        self.for_each_series(&aggregate.input, grid, &mut |evaluator, series| {
            let number = numbers.number(&grouping, &series.labels);
            if number == groups.len() {
                evaluator.budget.charge_bytes(32 * grid.steps as u64)?;
                groups.push(Group {
                    labels: grouping.group_labels(&series.labels),
                    accumulator: Accumulator::new(op, grid.steps),
                    seen: Presence::none(grid.steps),
                    histograms: None,
                    name_drops: Presence::none(grid.steps),
                });
            }
            evaluator.add_to_group(&mut groups[number], series, op, span);
            Ok(Fate::Done)
        })?;
        let mut all = Vec::with_capacity(groups.len());
        for (at, group) in groups.into_iter().enumerate() {
            self.budget.check_at(at)?;
            self.budget.release_bytes(32 * grid.steps as u64);
            if let Some(series) = self.finish_group(group, span) {
                self.budget.charge_series(&series)?;
                all.push(series);
            }
        }
        Ok(all)
    }

    fn add_to_group(&mut self, group: &mut Group, series: &Series, op: AggregateOp, span: Span) {
        if series.drop_name && self.delayed_name_removal() {
            group.name_drops.union_with(&series.occupied());
        }
        if series.histograms.is_none() {
            group.accumulator.add(series, &mut group.seen);
            return;
        }
        match op {
            AggregateOp::Count | AggregateOp::Group => {
                let mut counted = series.clone();
                counted.floats = series.occupied();
                group.accumulator.add(&counted, &mut group.seen);
            }
            AggregateOp::Sum | AggregateOp::Avg => {
                group.accumulator.add(series, &mut group.seen);
                let sums = group
                    .histograms
                    .get_or_insert_with(|| Box::new(HistogramSums::new(op, series.steps())));
                sums.add(series, &group.seen, span, &mut self.notes);
            }
            _ => {
                self.notes.histogram_ignored(op.as_str(), span);
                group.accumulator.add(series, &mut group.seen);
            }
        }
    }

    fn finish_group(&mut self, group: Group, span: Span) -> Option<Series> {
        let steps = group.accumulator.steps();
        let mut series = Series::new(group.labels, steps);
        group.accumulator.finish(&group.seen, &mut series.values);
        series.floats = group.seen;
        if let Some(sums) = group.histograms {
            sums.finish(&mut series, span, &mut self.notes);
        }
        let last = series.occupied().iter().last();
        series.drop_name = last.is_some_and(|step| group.name_drops.get(step));
        last.is_some().then_some(series)
    }

    fn quantile(
        &mut self,
        aggregate: &Aggregate<'_>,
        grid: &Grid,
    ) -> Result<Vec<Series>, EvalError> {
        let (param, param_span) = self.aggregation_param(aggregate, grid)?;
        let span = aggregate.input.span;
        let input = self.eval_beside(1, &aggregate.input, grid)?;
        self.budget.touch(grid.steps as u64)?;
        let range = ParamRange::of(&param);
        if range.has_nan {
            self.notes.invalid_quantile(f64::NAN, param_span);
        }
        if range.max > 1.0 {
            self.notes.invalid_quantile(range.max, param_span);
        }
        if range.min < 0.0 {
            self.notes.invalid_quantile(range.min, param_span);
        }
        let grouping = Grouping {
            names: &aggregate.grouping,
            without: aggregate.without,
        };
        let mut numbers = Groups::default();
        let mut groups: Vec<Vec<&Series>> = Vec::new();
        for (at, series) in input.iter().enumerate() {
            self.budget.check_at(at)?;
            if series.histograms.is_some() {
                self.notes.histogram_ignored("quantile", span);
            }
            let number = numbers.number(&grouping, &series.labels);
            if number == groups.len() {
                groups.push(Vec::new());
            }
            groups[number].push(series);
        }
        let mut all = Vec::with_capacity(groups.len());
        let mut values = Vec::new();
        for members in groups {
            self.budget.check()?;
            let mut series = Series::new(grouping.group_labels(&members[0].labels), grid.steps);
            for step in 0..grid.steps {
                self.budget.check()?;
                values.clear();
                values.extend(members.iter().filter_map(|member| member.float(step)));
                if !values.is_empty() {
                    sort_checked(
                        &mut values,
                        |a, b| nan_first(*a, *b),
                        || self.budget.check(),
                    )?;
                    series.set_float(step, quantile_of_sorted(param.at(step), &values));
                    series.drop_name = members
                        .iter()
                        .any(|member| member.drop_name && member.floats.get(step));
                }
            }
            if !series.is_empty() {
                all.push(series);
            }
        }
        self.budget.release_series(&input);
        for series in &all {
            self.budget.charge_series(series)?;
        }
        Ok(all)
    }

    fn count_values(
        &mut self,
        aggregate: &Aggregate<'_>,
        grid: &Grid,
    ) -> Result<Vec<Series>, EvalError> {
        let label = match aggregate.param.as_ref().map(|param| &param.kind) {
            Some(Kind::Text(text)) if is_label_name(text) => text.value.as_str(),
            Some(Kind::Text(text)) => {
                let shown = crate::print::print(&Expr::String((*text).clone()));
                let text = format!("invalid label name {shown}");
                return Err(EvalError::Execution(text));
            }
            _ => return Err(EvalError::BadQuery("string expected".to_owned())),
        };
        let mut names = aggregate.grouping.clone();
        if !aggregate.without {
            names.push(label);
            names.sort_unstable();
        }
        let grouping = Grouping {
            names: &names,
            without: aggregate.without,
        };
        let mut places: HashMap<Labels, usize> = HashMap::new();
        let mut all: Vec<Series> = Vec::new();
        let mut inputs = (0, 0);
        self.for_each_series(&aggregate.input, grid, &mut |evaluator, series| {
            let (size, at_last) = totals(std::slice::from_ref(series), grid);
            inputs = (inputs.0 + size, inputs.1 + at_last);
            // Neighbouring steps often hold the same value.
            let mut known: Option<(u64, usize)> = None;
            for step in series.occupied().iter() {
                let bits = series.float(step).map(f64::to_bits);
                let place = match (bits, known) {
                    (Some(bits), Some((last, place))) if bits == last => place,
                    _ => {
                        let text = counted_text(series, step)?;
                        let mut builder = LabelsBuilder::from_labels(&series.labels);
                        builder.set(label, &text);
                        let labels = grouping.group_labels(&builder.build());
                        match places.get(&labels) {
                            Some(place) => *place,
                            None => {
                                evaluator.budget.check()?;
                                all.push(Series::new(labels.clone(), grid.steps));
                                places.insert(labels, all.len() - 1);
                                all.len() - 1
                            }
                        }
                    }
                };
                known = bits.map(|bits| (bits, place));
                let counted = &mut all[place];
                match counted.float(step) {
                    Some(count) => counted.values[step] = count + 1.0,
                    None => {
                        evaluator.budget.charge(1)?;
                        counted.set_float(step, 1.0);
                    }
                }
            }
            Ok(Fate::Done)
        })?;
        // Prometheus holds the input, that of the step at hand once more, and the result.
        self.budget.touch(inputs.0 + inputs.1)?;
        let delayed = self.delayed_name_removal();
        settle_duplicates(all, grid, delayed, &self.budget)
    }
}
