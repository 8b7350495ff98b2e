//! Aggregations that pick series: `topk`, `bottomk`, `limitk`, `limit_ratio`.
//!
//! The picked samples keep their labels. Which of several equal values is picked, and in which
//! order an instant query returns them, follows from the binary heap that Prometheus uses, so the
//! heap here makes the same moves. Source: `aggregationK` in Prometheus' `promql/engine.go`, Go's
//! `container/heap`.

use tenbin_model::Labels;
use tenbin_model::text::float::format_g;
use xxhash_rust::xxh64::xxh64;

use crate::ast::AggregateOp;
use crate::error::EvalError;
use crate::eval::Evaluator;
use crate::eval::aggregate::ParamRange;
use crate::eval::budget::Budget;
use crate::eval::column::{Presence, Scalars, Series};
use crate::eval::grid::Grid;
use crate::eval::grouping::{Grouping, Groups};
use crate::eval::plan::Aggregate;
use crate::functions::sort::sort_by_value;

/// The greatest float below 2^63, and -2^63.
const MAX_INT64: f64 = 9_223_372_036_854_774_784.0;
const MIN_INT64: f64 = -9_223_372_036_854_775_808.0;

/// A picked sample: the position of its series and its value (0 for a histogram).
#[derive(Debug, Clone, Copy)]
struct Candidate {
    series: usize,
    value: f64,
}

/// A binary heap in Go's manner; the candidate on top is the one to go first.
#[derive(Debug, Default)]
struct Heap {
    list: Vec<Candidate>,
    /// The greatest is on top instead of the least.
    greatest_first: bool,
}

impl Heap {
    fn less(&self, a: usize, b: usize) -> bool {
        let (a, b) = (self.list[a].value, self.list[b].value);
        a.is_nan() || if self.greatest_first { a > b } else { a < b }
    }

    fn push(&mut self, candidate: Candidate) {
        self.list.push(candidate);
        self.up(self.list.len() - 1);
    }

    fn up(&mut self, mut at: usize) {
        while at > 0 {
            let parent = (at - 1) / 2;
            if !self.less(at, parent) {
                break;
            }
            self.list.swap(parent, at);
            at = parent;
        }
    }

    /// Replaces the top.
    fn replace_top(&mut self, candidate: Candidate) {
        self.list[0] = candidate;
        let mut at = 0;
        loop {
            let left = 2 * at + 1;
            if left >= self.list.len() {
                break;
            }
            let right = left + 1;
            let child = if right < self.list.len() && self.less(right, left) {
                right
            } else {
                left
            };
            if !self.less(child, at) {
                break;
            }
            self.list.swap(at, child);
            at = child;
        }
    }

    /// Offers a candidate to the best `limit` ones.
    fn offer(&mut self, candidate: Candidate, limit: usize) {
        if self.list.len() < limit {
            self.push(candidate);
            return;
        }
        let (top, value) = (self.list[0].value, candidate.value);
        let better = if self.greatest_first {
            top > value
        } else {
            top < value
        };
        if better || (top.is_nan() && !value.is_nan()) {
            self.replace_top(candidate);
        }
    }
}

/// The place of a series between 0 and 1 that `limit_ratio` samples by: a hash of its labels as
/// Prometheus lays them out.
fn sampling_offset(labels: &Labels) -> f64 {
    let mut bytes = Vec::new();
    let mut push = |text: &str| {
        if text.len() < 255 {
            bytes.push(text.len() as u8);
        } else {
            bytes.push(255);
            bytes.extend_from_slice(&(text.len() as u32).to_le_bytes()[..3]);
        }
        bytes.extend_from_slice(text.as_bytes());
    };
    for (name, value) in labels.iter() {
        push(name);
        push(value);
    }
    xxh64(&bytes, 0) as f64 / u64::MAX as f64
}

fn is_sampled(offset: f64, ratio: f64) -> bool {
    (ratio >= 0.0 && offset < ratio) || (ratio < 0.0 && offset >= 1.0 + ratio)
}

/// A picking aggregation at work.
struct Picker<'i> {
    op: AggregateOp,
    input: &'i [Series],
    /// The group of each input series.
    group_of: Vec<usize>,
    heaps: Vec<Heap>,
    /// Sampling offsets, for `limit_ratio`.
    offsets: Vec<f64>,
}

impl Picker<'_> {
    /// Fills the heaps for one step. Returns whether histograms were left out.
    fn pick_at(&mut self, step: usize, param: f64, budget: &Budget) -> Result<bool, EvalError> {
        let mut left_out = false;
        for heap in &mut self.heaps {
            heap.list.clear();
        }
        let limit = (param as i64).clamp(0, self.input.len() as i64) as usize;
        let by_ratio = self.op == AggregateOp::LimitRatio;
        if (by_ratio && param == 0.0) || (!by_ratio && limit == 0) {
            return Ok(false);
        }
        let ratio = param.clamp(-1.0, 1.0);
        for (at, series) in self.input.iter().enumerate() {
            budget.check_at(at)?;
            let float = series.float(step);
            if float.is_none() && series.histogram(step).is_none() {
                continue;
            }
            let heap = &mut self.heaps[self.group_of[at]];
            let candidate = Candidate {
                series: at,
                value: float.unwrap_or(0.0),
            };
            match self.op {
                AggregateOp::LimitRatio => {
                    if is_sampled(self.offsets[at], ratio) {
                        heap.push(candidate);
                    }
                }
                AggregateOp::Limitk => {
                    if heap.list.len() < limit {
                        heap.push(candidate);
                    }
                }
                _ if float.is_none() => left_out = true,
                _ => heap.offer(candidate, limit),
            }
        }
        Ok(left_out)
    }
}

impl Evaluator<'_> {
    /// Evaluates a picking aggregation.
    pub(crate) fn pick(
        &mut self,
        aggregate: &Aggregate<'_>,
        grid: &Grid,
    ) -> Result<Vec<Series>, EvalError> {
        let (param, _) = self.aggregation_param(aggregate, grid)?;
        let input = self.eval_beside(1, &aggregate.input, grid)?;
        self.budget.touch(grid.steps as u64)?;
        if !self.check_param(aggregate, &param)? {
            self.budget.release_series(&input);
            return Ok(Vec::new());
        }
        let grouping = Grouping {
            names: &aggregate.grouping,
            without: aggregate.without,
        };
        let mut numbers = Groups::default();
        let mut group_of = Vec::with_capacity(input.len());
        for (at, series) in input.iter().enumerate() {
            self.budget.check_at(at)?;
            group_of.push(numbers.number(&grouping, &series.labels));
        }
        let offsets = if aggregate.op == AggregateOp::LimitRatio {
            input.iter().map(|s| sampling_offset(&s.labels)).collect()
        } else {
            Vec::new()
        };
        let heaps = (0..numbers.len())
            .map(|_| Heap {
                list: Vec::new(),
                greatest_first: aggregate.op == AggregateOp::Bottomk,
            })
            .collect();
        let mut picker = Picker {
            op: aggregate.op,
            input: &input,
            group_of,
            heaps,
            offsets,
        };
        let mut kept = vec![Presence::none(grid.steps); input.len()];
        let mut order = Vec::new();
        for step in 0..grid.steps {
            self.budget.check()?;
            if picker.pick_at(step, param.at(step), &self.budget)? {
                self.notes
                    .histogram_ignored(aggregate.op.as_str(), aggregate.span);
            }
            for heap in &mut picker.heaps {
                for candidate in &heap.list {
                    kept[candidate.series].set(step);
                }
                if grid.is_instant() {
                    let descending = aggregate.op == AggregateOp::Topk;
                    if descending || aggregate.op == AggregateOp::Bottomk {
                        sort_by_value(&mut heap.list, |c| c.value, descending, &self.budget)?;
                    }
                    order.extend(heap.list.iter().map(|candidate| candidate.series));
                }
            }
        }
        self.keep_picked(input, &kept, &order, grid)
    }

    /// Checks the parameter. `false`: nothing will be picked at any step.
    fn check_param(
        &mut self,
        aggregate: &Aggregate<'_>,
        param: &Scalars,
    ) -> Result<bool, EvalError> {
        let range = ParamRange::of(param);
        let span = aggregate.param.as_ref().map_or(aggregate.span, |p| p.span);
        let failed = |text: String| Err(EvalError::Execution(text));
        if aggregate.op == AggregateOp::LimitRatio {
            if range.max == 0.0 && range.min == 0.0 {
                return Ok(false);
            }
            if range.has_nan {
                return failed("Ratio value is NaN".to_owned());
            }
            if range.max > 1.0 {
                self.notes.invalid_ratio(range.max, 1.0, span);
            }
            if range.min < -1.0 {
                self.notes.invalid_ratio(range.min, -1.0, span);
            }
            return Ok(true);
        }
        if range.max < 1.0 {
            return Ok(false);
        }
        if range.has_nan {
            return failed("Parameter value is NaN".to_owned());
        }
        if range.min <= MIN_INT64 {
            let text = format!("Scalar value {} underflows int64", format_g(range.min));
            return failed(text);
        }
        if range.max >= MAX_INT64 {
            let text = format!("Scalar value {} overflows int64", format_g(range.max));
            return failed(text);
        }
        Ok(true)
    }

    fn keep_picked(
        &mut self,
        input: Vec<Series>,
        kept: &[Presence],
        order: &[usize],
        grid: &Grid,
    ) -> Result<Vec<Series>, EvalError> {
        let mut input: Vec<Option<Series>> = input.into_iter().map(Some).collect();
        for (at, (slot, keep)) in input.iter_mut().zip(kept).enumerate() {
            self.budget.check_at(at)?;
            if let Some(series) = slot {
                let before = series.size();
                series.retain(keep);
                self.budget.adjust(before, series.size())?;
            }
        }
        if grid.is_instant() {
            return Ok(order.iter().filter_map(|at| input[*at].take()).collect());
        }
        Ok(input
            .into_iter()
            .flatten()
            .filter(|series| !series.is_empty())
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heap_keeps_the_best() {
        for (greatest_first, expected) in [(false, [3.0, 4.0]), (true, [1.0, 2.0])] {
            let mut heap = Heap {
                greatest_first,
                ..Heap::default()
            };
            for (series, value) in [f64::NAN, 3.0, 1.0, 4.0, 2.0].into_iter().enumerate() {
                heap.offer(Candidate { series, value }, 2);
            }
            let mut values: Vec<f64> = heap.list.iter().map(|c| c.value).collect();
            values.sort_by(f64::total_cmp);
            assert_eq!(values, expected);
        }
    }

    #[test]
    fn ratio_takes_complements() {
        for offset in [0.0, 0.3, 0.999] {
            assert_ne!(is_sampled(offset, 0.4), is_sampled(offset, -0.6));
        }
        let offset = sampling_offset(&Labels::from_pairs(&[("a", "b")]));
        assert!((0.0..1.0).contains(&offset));
    }
}
