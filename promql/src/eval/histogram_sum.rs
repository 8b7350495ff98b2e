//! `sum` and `avg` of native histograms, per group and step.
//!
//! A step whose group has floats too, or exponential beside custom buckets, has no result. Source:
//! the histogram parts of `aggregation` in Prometheus' `promql/engine.go`.

use std::sync::Arc;

use tenbin_model::FloatHistogram;

use crate::ast::{AggregateOp, Span};
use crate::eval::column::{Presence, Series};
use crate::eval::notes::HistogramOperation::Aggregation;
use crate::eval::notes::Notes;
use crate::functions::histogram::over_time::{HintsSeen, RunningMean};

/// What the histograms of a step came to.
#[derive(Debug)]
enum Total {
    Sum {
        value: FloatHistogram,
        lost: Option<FloatHistogram>,
    },
    Mean(RunningMean),
    /// There was a float before, so there will be no result.
    AfterFloat,
    /// Exponential and custom buckets came together.
    Incompatible {
        /// A float had come before that.
        had_float: bool,
    },
}

#[derive(Debug)]
struct Step {
    total: Total,
    hints: HintsSeen,
}

/// The histograms of one group.
#[derive(Debug)]
pub(crate) struct HistogramSums {
    mean: bool,
    steps: Vec<Option<Box<Step>>>,
}

impl HistogramSums {
    pub(crate) fn new(op: AggregateOp, steps: usize) -> Self {
        Self {
            mean: op == AggregateOp::Avg,
            steps: std::iter::repeat_with(|| None).take(steps).collect(),
        }
    }

    /// Adds the histograms of a series; `floats_seen` tells at which steps floats came before.
    pub(crate) fn add(
        &mut self,
        series: &Series,
        floats_seen: &Presence,
        span: Span,
        notes: &mut Notes,
    ) {
        let columns = series.histograms.iter().flatten();
        for (step, slot) in columns.enumerate() {
            let Some(histogram) = slot else { continue };
            let had_float = floats_seen.get(step);
            match &mut self.steps[step] {
                Some(known) => known.add(histogram, had_float, series, span, notes),
                fresh => *fresh = Some(Box::new(Step::new(histogram, had_float, self.mean))),
            }
        }
    }

    /// Puts the results into the series of the group, which already holds the sums of floats.
    pub(crate) fn finish(self, series: &mut Series, span: Span, notes: &mut Notes) {
        for (step, slot) in self.steps.into_iter().enumerate() {
            let Some(known) = slot else { continue };
            let mut mixed = series.floats.get(step);
            series.floats.clear(step);
            let result = match known.total {
                Total::AfterFloat => {
                    mixed = true;
                    None
                }
                Total::Incompatible { had_float } => {
                    mixed = had_float;
                    None
                }
                Total::Sum { mut value, lost } => match lost.map(|lost| value.add(&lost)) {
                    Some(Err(_)) => None,
                    _ => Some(value),
                },
                Total::Mean(mean) => mean.finish().ok(),
            };
            if mixed {
                notes.mixed_in_aggregation(span);
                continue;
            }
            let Some(mut result) = result else { continue };
            result.compact();
            if known.hints.collide() {
                notes.counter_reset_collision(Aggregation, span);
            }
            series.set_histogram(step, Arc::new(result));
        }
    }
}

impl Step {
    fn new(first: &FloatHistogram, had_float: bool, mean: bool) -> Self {
        let mut hints = HintsSeen::default();
        let total = if had_float {
            Total::AfterFloat
        } else if mean {
            hints.add(first);
            Total::Mean(RunningMean::new(first))
        } else {
            hints.add(first);
            Total::Sum {
                value: first.clone(),
                lost: None,
            }
        };
        Self { total, hints }
    }

    fn add(
        &mut self,
        histogram: &FloatHistogram,
        had_float: bool,
        series: &Series,
        span: Span,
        notes: &mut Notes,
    ) {
        let outcome = match &mut self.total {
            Total::AfterFloat | Total::Incompatible { .. } => return,
            Total::Sum { value, lost } => value
                .add_compensated(histogram, lost)
                .map(|combined| combined.bounds_reconciled),
            Total::Mean(mean) => mean.add(histogram),
        };
        self.hints.add(histogram);
        match outcome {
            Ok(true) => notes.custom_buckets_reconciled(Aggregation, span),
            Ok(false) => {}
            Err(_) => {
                notes.mixed_bucket_schemas(series.labels.metric_name(), span);
                self.total = Total::Incompatible { had_float };
            }
        }
    }
}
