//! Columns that a group's floats are added to, one kind per aggregation.
//!
//! The first value of a step initialises its slot and later ones are combined with it, in the order
//! of the series: the order of additions decides the last bits of a sum.

use tenbin_model::kahan;

use crate::ast::AggregateOp;
use crate::eval::column::{Presence, Series};

/// A step of `avg`.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Average {
    /// The sum, or the mean once `incremental`.
    value: f64,
    compensation: f64,
    count: f64,
    /// The sum would overflow, so the mean is kept instead.
    incremental: bool,
}

/// A step of `stddev` and `stdvar`.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Spread {
    /// Sum of squared differences, or NaN.
    value: f64,
    mean: f64,
    count: f64,
}

/// The columns of one group.
#[derive(Debug)]
pub(super) enum Accumulator {
    Sum { sums: Vec<f64>, lost: Vec<f64> },
    Average(Vec<Average>),
    Count(Vec<f64>),
    Least(Vec<f64>),
    Greatest(Vec<f64>),
    One(usize),
    Spread { steps: Vec<Spread>, root: bool },
}

impl Average {
    fn add(&mut self, value: f64) {
        self.count += 1.0;
        if !self.incremental {
            let (sum, compensation) = kahan::add(value, self.value, self.compensation);
            if !sum.is_infinite() {
                (self.value, self.compensation) = (sum, compensation);
                return;
            }
            self.incremental = true;
            self.value /= self.count - 1.0;
            self.compensation /= self.count - 1.0;
        }
        let weight = (self.count - 1.0) / self.count;
        (self.value, self.compensation) = kahan::add(
            value / self.count,
            weight * self.value,
            weight * self.compensation,
        );
    }

    fn finish(&self) -> f64 {
        if self.incremental {
            self.value + self.compensation
        } else {
            self.value / self.count + self.compensation / self.count
        }
    }
}

impl Spread {
    fn first(value: f64) -> Self {
        Self {
            value: if value.is_finite() { 0.0 } else { f64::NAN },
            mean: value,
            count: 1.0,
        }
    }

    fn add(&mut self, value: f64) {
        self.count += 1.0;
        let delta = value - self.mean;
        self.mean += delta / self.count;
        self.value += delta * (value - self.mean);
    }
}

/// Calls `add` with step, value and whether it is the step's first, for every float of the series.
#[inline]
fn each(series: &Series, seen: &mut Presence, mut add: impl FnMut(usize, f64, bool)) {
    if seen.is_full() && series.floats.is_full() {
        for (step, value) in series.values.iter().enumerate() {
            add(step, *value, false);
        }
        return;
    }
    for step in series.floats.iter() {
        add(step, series.values[step], !seen.get(step));
    }
    seen.union_with(&series.floats);
}

impl Accumulator {
    pub(super) fn new(op: AggregateOp, steps: usize) -> Self {
        match op {
            AggregateOp::Avg => Self::Average(vec![Average::default(); steps]),
            AggregateOp::Count => Self::Count(vec![0.0; steps]),
            AggregateOp::Min => Self::Least(vec![0.0; steps]),
            AggregateOp::Max => Self::Greatest(vec![0.0; steps]),
            AggregateOp::Group => Self::One(steps),
            AggregateOp::Stddev | AggregateOp::Stdvar => Self::Spread {
                steps: vec![Spread::default(); steps],
                root: op == AggregateOp::Stddev,
            },
            _ => Self::Sum {
                sums: vec![0.0; steps],
                lost: vec![0.0; steps],
            },
        }
    }

    pub(super) fn steps(&self) -> usize {
        match self {
            Self::Sum { sums, .. } => sums.len(),
            Self::Average(steps) => steps.len(),
            Self::Count(values) | Self::Least(values) | Self::Greatest(values) => values.len(),
            Self::One(steps) => *steps,
            Self::Spread { steps, .. } => steps.len(),
        }
    }

    /// Adds the floats of a series; `seen` tells at which steps there were others before.
    pub(super) fn add(&mut self, series: &Series, seen: &mut Presence) {
        match self {
            Self::Sum { sums, lost } => add_to_sum(sums, lost, series, seen),
            Self::Average(steps) => each(series, seen, |step, value, first| {
                if first {
                    steps[step] = Average {
                        value,
                        compensation: 0.0,
                        count: 1.0,
                        incremental: false,
                    };
                } else {
                    steps[step].add(value);
                }
            }),
            Self::Count(counts) => each(series, seen, |step, _, _| counts[step] += 1.0),
            Self::Least(values) => each(series, seen, |step, value, first| {
                let least = &mut values[step];
                if first || *least > value || least.is_nan() {
                    *least = value;
                }
            }),
            Self::Greatest(values) => each(series, seen, |step, value, first| {
                let greatest = &mut values[step];
                if first || *greatest < value || greatest.is_nan() {
                    *greatest = value;
                }
            }),
            Self::One(_) => seen.union_with(&series.floats),
            Self::Spread { steps, .. } => each(series, seen, |step, value, first| {
                if first {
                    steps[step] = Spread::first(value);
                } else {
                    steps[step].add(value);
                }
            }),
        }
    }

    /// Writes the results of the steps seen.
    pub(super) fn finish(self, seen: &Presence, out: &mut Vec<f64>) {
        match self {
            Self::Sum { mut sums, lost } => {
                for (sum, lost) in sums.iter_mut().zip(lost) {
                    *sum += lost;
                }
                *out = sums;
            }
            Self::Average(steps) => {
                for step in seen.iter() {
                    out[step] = steps[step].finish();
                }
            }
            Self::Count(values) | Self::Least(values) | Self::Greatest(values) => *out = values,
            Self::One(_) => out.fill(1.0),
            Self::Spread { steps, root } => {
                for step in seen.iter() {
                    let spread = &steps[step];
                    let variance = spread.value / spread.count;
                    out[step] = if root { variance.sqrt() } else { variance };
                }
            }
        }
    }
}

/// Steps whose sums are taken at once.
const SIDE_BY_SIDE: usize = 16;

/// Adds a value to each of several sums.
#[inline]
fn add_side_by_side(
    sums: &mut [f64; SIDE_BY_SIDE],
    lost: &mut [f64; SIDE_BY_SIDE],
    values: &[f64; SIDE_BY_SIDE],
) {
    let (mut new_sums, mut new_lost) = (*sums, *lost);
    let mut trace = 0.0;
    for at in 0..SIDE_BY_SIDE {
        let (sum, compensation) = kahan::add_finite(values[at], sums[at], lost[at]);
        (new_sums[at], new_lost[at]) = (sum, compensation);
        // Zero while all are finite, NaN from then on.
        trace += sum * 0.0 + compensation * 0.0;
    }
    if trace == 0.0 {
        (*sums, *lost) = (new_sums, new_lost);
        return;
    }
    for at in 0..SIDE_BY_SIDE {
        (sums[at], lost[at]) = kahan::add(values[at], sums[at], lost[at]);
    }
}

fn add_to_sum(sums: &mut [f64], lost: &mut [f64], series: &Series, seen: &mut Presence) {
    if seen.is_full() && series.floats.is_full() {
        let (sums, sums_rest) = sums.as_chunks_mut::<SIDE_BY_SIDE>();
        let (lost, lost_rest) = lost.as_chunks_mut::<SIDE_BY_SIDE>();
        let (values, values_rest) = series.values.as_chunks::<SIDE_BY_SIDE>();
        for ((sums, lost), values) in sums.iter_mut().zip(lost).zip(values) {
            add_side_by_side(sums, lost, values);
        }
        let rest = sums_rest.iter_mut().zip(lost_rest).zip(values_rest);
        for ((sum, lost), value) in rest {
            (*sum, *lost) = kahan::add(*value, *sum, *lost);
        }
        return;
    }
    for step in series.floats.iter() {
        let value = series.values[step];
        if seen.get(step) {
            (sums[step], lost[step]) = kahan::add(value, sums[step], lost[step]);
        } else {
            sums[step] = value;
        }
    }
    seen.union_with(&series.floats);
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenbin_model::Labels;

    fn run(op: AggregateOp, columns: &[&[Option<f64>]]) -> Vec<Option<f64>> {
        let steps = columns[0].len();
        let mut accumulator = Accumulator::new(op, steps);
        let mut seen = Presence::none(steps);
        for column in columns {
            let mut series = Series::new(Labels::empty(), steps);
            for (step, value) in column.iter().enumerate() {
                if let Some(value) = value {
                    series.set_float(step, *value);
                }
            }
            accumulator.add(&series, &mut seen);
        }
        let mut out = vec![0.0; steps];
        accumulator.finish(&seen, &mut out);
        (0..steps)
            .map(|step| seen.get(step).then(|| out[step]))
            .collect()
    }

    #[test]
    fn each_step_aggregates_by_itself() {
        let a: &[Option<f64>] = &[Some(1.0), None, Some(1e100)];
        let b: &[Option<f64>] = &[Some(3.0), None, Some(1.0)];
        let c: &[Option<f64>] = &[Some(2.0), Some(7.0), Some(-1e100)];
        let all = [a, b, c];
        let some = |values: [f64; 3]| values.map(Some).to_vec();
        let mut sums = run(AggregateOp::Sum, &all);
        assert_eq!(sums.remove(1), Some(7.0));
        assert_eq!(sums, [Some(6.0), Some(1.0)]);
        assert_eq!(run(AggregateOp::Count, &all), some([3.0, 1.0, 3.0]));
        assert_eq!(run(AggregateOp::Min, &all), some([1.0, 7.0, -1e100]));
        assert_eq!(run(AggregateOp::Max, &all), some([3.0, 7.0, 1e100]));
        assert_eq!(run(AggregateOp::Group, &all), some([1.0; 3]));
        assert_eq!(run(AggregateOp::Avg, &all)[0], Some(2.0));
        assert_eq!(run(AggregateOp::Sum, &[&[None], &[None]]), [None]);
    }

    #[test]
    fn averages_survive_overflow_and_spread_does_not_survive_infinity() {
        let big: &[Option<f64>] = &[Some(f64::MAX)];
        assert_eq!(run(AggregateOp::Avg, &[big, big]), [Some(f64::MAX)]);
        let infinite: &[Option<f64>] = &[Some(f64::INFINITY)];
        let spread = run(AggregateOp::Stddev, &[infinite, big]);
        assert!(spread[0].is_some_and(f64::is_nan));
        let (a, b): (&[_], &[_]) = (&[Some(1.0)], &[Some(3.0)]);
        assert_eq!(run(AggregateOp::Stdvar, &[a, b]), [Some(1.0)]);
    }
}
