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

/// Samples found are counted for many steps at once.
const SAMPLES_AT_ONCE: u64 = 1 << 12;

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
    let per_step = tally.per_step.is_some();
    let (mut next, mut found, mut stopped) = (0, 0, false);
    out.fill_floats(|step| {
        let at_ms = lookups.at(step);
        while next < times.len() && times[next] <= at_ms {
            next += 1;
        }
        if stopped || next == 0 || times[next - 1] <= at_ms.saturating_sub(lookback_ms) {
            return None;
        }
        let value = values[next - 1];
        if is_stale(value) {
            return None;
        }
        found += 1;
        if per_step {
            tally.sample(step, 1);
        } else if found % SAMPLES_AT_ONCE == 0 {
            tally.samples(SAMPLES_AT_ONCE);
            stopped = tally.is_stopped();
        }
        Some(value)
    });
    if !per_step {
        tally.samples(found % SAMPLES_AT_ONCE);
    }
}

impl<'a> Evaluator<'a> {
    /// Asks the store for the series of a selector.
    pub(crate) fn select(
        &self,
        selector: &Selector<'_>,
        grid: &Grid,
        range_ms: i64,
    ) -> Result<Box<dyn SeriesSet>, EvalError> {
        let hints = SelectHints {
            step_ms: if grid.is_instant() { 0 } else { grid.step_ms },
            function: selector.around.to_owned(),
            range_ms,
            presence_only: selector.presence_only.get(),
            interrupt: self.budget.interrupt(),
            ..SelectHints::default()
        };
        Ok(self.querier.select(selector.matchers, &hints)?)
    }

    /// Asks the store for the series that satisfy matchers of a function's own.
    pub(crate) fn select_for(
        &self,
        matchers: &[Matcher],
        grid: &Grid,
        function: &str,
    ) -> Result<Box<dyn SeriesSet>, EvalError> {
        let hints = SelectHints {
            step_ms: if grid.is_instant() { 0 } else { grid.step_ms },
            function: function.to_owned(),
            interrupt: self.budget.interrupt(),
            ..SelectHints::default()
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
        let set = self.select(selector, grid, 0)?;
        let lookback_ms = self.options.lookback_ms;
        let mut range = self.lookback_range(selector.time, grid);
        if selector.smoothed {
            range.max_ms = range.max_ms.saturating_add(lookback_ms);
        }
        let mut samples = std::mem::take(&mut self.buffer);
        let mut out = Series::new(Labels::empty(), grid.steps);
        let mut held = 0;
        for at in 0..set.len() {
            self.budget.check()?;
            set.read(at, range, &mut samples)?;
            if samples.is_empty() {
                continue;
            }
            // Prometheus does not count what it reads, only what it finds.
            let read_bytes = 16 * samples.len() as u64;
            self.budget.charge_bytes(read_bytes)?;
            out.reset();
            if selector.stats_only && !samples.histograms.is_empty() {
                let buffered = Buffered {
                    first_ms: lookback_ms,
                    later_ms: lookback_ms,
                };
                keep_stats(&mut samples, grid, selector.time, 0, buffered);
            }
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
            self.budget.release_bytes(read_bytes);
            if self.tally.is_stopped() {
                self.budget.check()?;
            }
            if !out.is_empty() {
                out.labels = set.labels(at)?;
                held += self.hand_on(&mut out, visit)?;
            }
        }
        self.budget.release(held);
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

    /// Charges a series and hands it on. Returns what is to be released when all series were handed
    /// on: until then Prometheus holds those that were only looked at, too.
    pub(crate) fn hand_on(
        &mut self,
        series: &mut Series,
        visit: Visit<'_, 'a>,
    ) -> Result<u64, EvalError> {
        let size = series.size();
        self.budget.charge(size)?;
        Ok(match visit(self, series)? {
            Fate::Done => size,
            Fate::Kept => 0,
        })
    }
}
