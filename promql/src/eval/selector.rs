//! Instant selectors: the newest sample of each series in `(t - lookback, t]` at every step.
//!
//! A staleness marker hides what lies before it. Source: Prometheus `vectorSelectorSingle` and
//! `smoothSeries` in `promql/engine.go`.

use std::sync::Arc;

use tenbin_model::{FloatHistogram, Labels, SampleBuffer, SelectHints, SeriesSet, TimeRange};
use tenbin_model::{Matcher, is_stale};

use crate::error::EvalError;
use crate::eval::column::{Series, histogram_size};
use crate::eval::grid::{Grid, Lookups, TimeShift};
use crate::eval::histogram_stats::{Buffered, keep_stats};
use crate::eval::plan::Selector;
use crate::eval::stats::Tally;
use crate::eval::{Evaluator, Fate, Visit};

/// A sample that an instant selector found.
pub(crate) enum Found<'s> {
    /// A float, at its position among the floats.
    Float(usize, f64),
    /// A histogram, at its position among the histograms.
    Histogram(usize, &'s Arc<FloatHistogram>),
}

/// Calls `f` for every step at which the samples have a current value.
pub(crate) fn current_values<'s>(
    samples: &'s SampleBuffer,
    grid: &Grid,
    time: TimeShift,
    lookback_ms: i64,
    mut f: impl FnMut(usize, Found<'s>),
) {
    let times = samples.timestamps_ms.as_slice();
    let histogram_times = samples.histogram_timestamps_ms.as_slice();
    let (mut next, mut next_histogram) = (0, 0);
    for step in 0..grid.steps {
        let at_ms = time.apply(grid.time(step));
        let oldest = at_ms.saturating_sub(lookback_ms);
        while next < times.len() && times[next] <= at_ms {
            next += 1;
        }
        while next_histogram < histogram_times.len() && histogram_times[next_histogram] <= at_ms {
            next_histogram += 1;
        }
        let float_ms = next.checked_sub(1).map(|at| times[at]);
        let histogram_ms = next_histogram.checked_sub(1).map(|at| histogram_times[at]);
        if float_ms.max(histogram_ms).is_none_or(|ms| ms <= oldest) {
            continue;
        }
        if histogram_ms > float_ms {
            let histogram = &samples.histograms[next_histogram - 1];
            if !histogram.is_stale() {
                f(step, Found::Histogram(next_histogram - 1, histogram));
            }
        } else {
            let value = samples.values[next - 1];
            if !is_stale(value) {
                f(step, Found::Float(next - 1, value));
            }
        }
    }
}

/// [`current_values`] of a series without histograms, into a column.
fn fill_floats(
    samples: &SampleBuffer,
    grid: &Grid,
    time: TimeShift,
    lookback_ms: i64,
    tally: &mut Tally,
    out: &mut Series,
) {
    let times = samples.timestamps_ms.as_slice();
    let values = &samples.values[..times.len()];
    let lookups = Lookups::new(time, grid);
    let mut next = 0;
    out.fill_floats(|step| {
        let at_ms = lookups.at(step);
        while next < times.len() && times[next] <= at_ms {
            next += 1;
        }
        if next == 0 || times[next - 1] <= at_ms.saturating_sub(lookback_ms) {
            return None;
        }
        let value = values[next - 1];
        if is_stale(value) {
            return None;
        }
        tally.sample(step, 1);
        Some(value)
    });
}

impl<'a> Evaluator<'a> {
    /// Asks the store for series.
    pub(crate) fn select(
        &self,
        matchers: &[Matcher],
        grid: &Grid,
        around: &str,
        range_ms: i64,
    ) -> Result<Box<dyn SeriesSet>, EvalError> {
        let hints = SelectHints {
            step_ms: if grid.is_instant() { 0 } else { grid.step_ms },
            function: around.to_owned(),
            range_ms,
            sorted: false,
            limit: 0,
        };
        Ok(self.querier.select(matchers, &hints)?)
    }

    /// The times that an instant selector looks at.
    pub(crate) fn lookback_range(&self, time: TimeShift, grid: &Grid) -> TimeRange {
        TimeRange::new(
            time.apply(grid.start_ms)
                .saturating_sub(self.options.lookback_ms.saturating_sub(1)),
            time.apply(grid.last()),
        )
    }

    /// Hands on the series of an instant selector.
    pub(crate) fn visit_selector(
        &mut self,
        selector: &Selector<'_>,
        grid: &Grid,
        visit: Visit<'_, 'a>,
    ) -> Result<(), EvalError> {
        let set = self.select(selector.matchers, grid, selector.around, 0)?;
        let lookback_ms = self.options.lookback_ms;
        let mut range = self.lookback_range(selector.time, grid);
        if selector.smoothed {
            range.max_ms = range.max_ms.saturating_add(lookback_ms);
        }
        let mut samples = std::mem::take(&mut self.buffer);
        let mut out = Series::new(Labels::empty(), grid.steps);
        for at in 0..set.len() {
            self.budget.check()?;
            set.read(at, range, &mut samples)?;
            if samples.is_empty() {
                continue;
            }
            self.budget.charge(samples.len() as u64)?;
            out.reset();
            if selector.stats_only && !samples.histograms.is_empty() {
                let buffered = Buffered {
                    first_ms: lookback_ms,
                    later_ms: lookback_ms,
                };
                keep_stats(&mut samples, grid, selector.time, 0, buffered);
            }
            let held = samples.len() as u64;
            if selector.smoothed {
                let labels = set.labels(at)?;
                self.fill_smoothed(&mut samples, selector, &labels, grid, &mut out);
            } else if samples.histograms.is_empty() {
                fill_floats(
                    &samples,
                    grid,
                    selector.time,
                    lookback_ms,
                    &mut self.tally,
                    &mut out,
                );
            } else {
                self.fill_mixed(&samples, selector, grid, &mut out);
            }
            self.budget.release(held);
            if self.tally.is_stopped() {
                self.budget.check()?;
            }
            if !out.is_empty() {
                out.labels = set.labels(at)?;
                self.hand_on(&mut out, visit)?;
            }
        }
        self.buffer = samples;
        Ok(())
    }

    fn fill_mixed(
        &mut self,
        samples: &SampleBuffer,
        selector: &Selector<'_>,
        grid: &Grid,
        out: &mut Series,
    ) {
        let lookback_ms = self.options.lookback_ms;
        let tally = &mut self.tally;
        current_values(
            samples,
            grid,
            selector.time,
            lookback_ms,
            |step, found| match found {
                Found::Float(_, value) => {
                    tally.sample(step, 1);
                    out.set_float(step, value);
                }
                Found::Histogram(_, histogram) => {
                    tally.sample(step, histogram_size(histogram));
                    out.set_histogram(step, Arc::clone(histogram));
                }
            },
        );
    }

    /// Charges a series, hands it on, and releases it unless it was kept.
    pub(crate) fn hand_on(
        &mut self,
        series: &mut Series,
        visit: Visit<'_, 'a>,
    ) -> Result<(), EvalError> {
        let size = series.size();
        self.budget.charge(size)?;
        if let Fate::Done = visit(self, series)? {
            self.budget.release(size);
        }
        Ok(())
    }
}
