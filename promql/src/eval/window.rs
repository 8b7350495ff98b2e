//! Sliding a window over the samples of one series: two pointers that only move forward, one pass
//! over the samples for all steps.
//!
//! A window is open on the left: samples in `(end - range, end]`. Extended selectors look further
//! out on either side; what the edges mean is the function's affair.

use std::sync::Arc;

use tenbin_model::{FloatHistogram, Interrupt, SampleBuffer, StoreError, TimeRange, is_stale};

use crate::ast::Span;
use crate::error::EvalError;
use crate::eval::column::{Scalars, Series, histogram_size};
use crate::eval::grid::{Grid, Lookups, TimeShift};
use crate::eval::histogram_stats::Buffered;
use crate::eval::notes::Notes;
use crate::eval::stats::Tally;
use crate::value::SampleValue;

/// Where the windows of a call lie.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame {
    pub(crate) grid: Grid,
    pub(crate) time: TimeShift,
    pub(crate) range_ms: i64,
    /// Fetched before the window.
    pub(crate) before_ms: i64,
    /// Fetched after the window.
    pub(crate) after_ms: i64,
    pub(crate) anchored: bool,
    pub(crate) smoothed: bool,
    /// The function regards start timestamps.
    pub(crate) start_times: bool,
    /// Of histograms only count and sum matter.
    pub(crate) stats_only: bool,
}

impl Frame {
    /// All times that any window covers.
    pub(crate) fn covers(&self) -> TimeRange {
        let first = self.time.apply(self.grid.start_ms);
        let last = self.time.apply(self.grid.last());
        TimeRange::new(
            first
                .saturating_sub(self.range_ms)
                .saturating_sub(self.before_ms)
                .saturating_add(1),
            last.saturating_add(self.after_ms),
        )
    }

    /// How far back Prometheus' iterator buffers.
    pub(crate) fn buffered(&self) -> Buffered {
        let first_ms = self.range_ms + self.before_ms + self.after_ms;
        Buffered {
            first_ms,
            later_ms: first_ms.min(self.grid.step_ms),
        }
    }

    /// Whether the modifiers `anchored` or `smoothed` are on.
    pub(crate) fn extended(&self) -> bool {
        self.anchored || self.smoothed
    }
}

/// What a function over windows works with beside the samples.
pub(crate) struct CallState<'c> {
    pub(crate) notes: &'c mut Notes,
    pub(crate) tally: &'c mut Tally,
    /// The name of the series at hand.
    pub(crate) metric: &'c str,
    /// The place of the call's first argument, which annotations point at.
    pub(crate) span: Span,
    /// The scalar arguments in order.
    pub(crate) params: &'c [Scalars],
    /// Memory for functions that sort or select.
    pub(crate) scratch: &'c mut Vec<f64>,
}

/// The float samples of one window.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window<'s> {
    /// Timestamps in milliseconds.
    pub(crate) times: &'s [i64],
    pub(crate) values: &'s [f64],
    /// Start timestamps; empty when unknown or not wanted.
    pub(crate) starts: &'s [i64],
    /// Position of the first sample among all samples of the series.
    pub(crate) first: usize,
    pub(crate) step: usize,
    /// The evaluation time.
    pub(crate) eval_ms: i64,
    /// The edges: the start is exclusive.
    pub(crate) start_ms: i64,
    pub(crate) end_ms: i64,
}

/// The samples of one window of a series that has histograms.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MixedWindow<'s> {
    pub(crate) floats: Window<'s>,
    /// Timestamps of the histograms.
    pub(crate) times: &'s [i64],
    pub(crate) histograms: &'s [Arc<FloatHistogram>],
    /// Start timestamps of the histograms; empty when unknown or not wanted.
    pub(crate) starts: &'s [i64],
    /// The frame's modifiers.
    pub(crate) anchored: bool,
    pub(crate) smoothed: bool,
    pub(crate) range_ms: i64,
}

fn starts_of(starts: &[i64], low: usize, high: usize) -> &[i64] {
    starts.get(low..high).unwrap_or(&[])
}

/// Calls `f` for every window that holds samples and puts what it returns into `out`. The series
/// has no histograms.
#[inline]
pub(crate) fn slide<'s>(
    samples: &'s SampleBuffer,
    frame: &Frame,
    tally: &mut Tally,
    out: &mut Series,
    mut f: impl FnMut(&Window<'s>) -> Option<f64>,
) {
    let times = samples.timestamps_ms.as_slice();
    let values = &samples.values[..times.len()];
    let starts: &[i64] = if frame.start_times {
        &samples.start_timestamps_ms
    } else {
        &[]
    };
    let lookups = Lookups::new(frame.time, &frame.grid);
    let (range_ms, before_ms, after_ms) = (frame.range_ms, frame.before_ms, frame.after_ms);
    let (mut low, mut high, mut seen) = (0, 0, 0);
    out.fill_floats(|step| {
        if tally.is_stopped() {
            return None;
        }
        let end_ms = lookups.at(step);
        let start_ms = end_ms.saturating_sub(range_ms);
        let (from, to) = (
            start_ms.saturating_sub(before_ms),
            end_ms.saturating_add(after_ms),
        );
        while high < times.len() && times[high] <= to {
            high += 1;
        }
        while low < high && times[low] <= from {
            low += 1;
        }
        if low == high {
            return None;
        }
        tally.window(step, (high - low) as u64, (high - seen.max(low)) as u64);
        seen = high;
        f(&Window {
            times: &times[low..high],
            values: &values[low..high],
            starts: starts_of(starts, low, high),
            first: low,
            step,
            eval_ms: frame.grid.time(step),
            start_ms,
            end_ms,
        })
    });
}

/// [`slide`] for kernels that may take long over one window: they look up, and the first that gives up ends it.
pub(crate) fn slide_until<'s>(
    samples: &'s SampleBuffer,
    frame: &Frame,
    tally: &mut Tally,
    out: &mut Series,
    mut f: impl FnMut(&Window<'s>, &Interrupt) -> Result<Option<f64>, StoreError>,
) -> Result<(), EvalError> {
    let (interrupt, mut given_up) = (tally.interrupt(), Ok(()));
    slide(samples, frame, tally, out, |window| {
        if given_up.is_err() {
            return None;
        }
        let found = f(window, &interrupt);
        found.unwrap_or_else(|error| {
            given_up = Err(error.into());
            None
        })
    });
    given_up
}

/// Where a window lies among the samples of its series, for kernels that need no more.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Positions of the first sample and after the last one.
    pub(crate) low: usize,
    pub(crate) high: usize,
    /// The edges: the start is exclusive.
    pub(crate) start_ms: i64,
    pub(crate) end_ms: i64,
}

/// [`slide`] for kernels whose work does not depend on the length of the window; for plain frames.
/// Samples are counted for many steps at once.
#[inline]
pub(crate) fn slide_bounds(
    times: &[i64],
    frame: &Frame,
    tally: &mut Tally,
    out: &mut Series,
    mut f: impl FnMut(&Bounds) -> Option<f64>,
) {
    const STEPS_AT_ONCE: usize = 1 << 12;
    let lookups = Lookups::new(frame.time, &frame.grid);
    let per_step = tally.per_step.is_some();
    let (mut low, mut high, mut seen) = (0, 0, 0);
    let (mut all, mut new, mut widest) = (0, 0, 0);
    out.fill_floats(|step| {
        let end_ms = lookups.at(step);
        let start_ms = end_ms.saturating_sub(frame.range_ms);
        while high < times.len() && times[high] <= end_ms {
            high += 1;
        }
        while low < high && times[low] <= start_ms {
            low += 1;
        }
        let size = (high - low) as u64;
        all += size;
        widest = size.max(widest);
        new += (high - seen.max(low)) as u64;
        seen = high;
        if per_step {
            tally.window(step, all, new);
            (all, new) = (0, 0);
        } else if step % STEPS_AT_ONCE == STEPS_AT_ONCE - 1 {
            tally.windows(all, new, widest);
            (all, new) = (0, 0);
        }
        if low == high || tally.is_stopped() {
            return None;
        }
        f(&Bounds {
            low,
            high,
            start_ms,
            end_ms,
        })
    });
    tally.windows(all, new, widest);
}

/// [`slide`] for a series with histograms, or with floats and histograms.
pub(crate) fn slide_mixed(
    samples: &SampleBuffer,
    frame: &Frame,
    state: &mut CallState<'_>,
    out: &mut Series,
    f: fn(&MixedWindow<'_>, &mut CallState<'_>) -> Result<Option<SampleValue>, EvalError>,
) -> Result<(), EvalError> {
    let times = samples.timestamps_ms.as_slice();
    let histogram_times = samples.histogram_timestamps_ms.as_slice();
    let (starts, histogram_starts): (&[i64], &[i64]) = if frame.start_times {
        (
            &samples.start_timestamps_ms,
            &samples.histogram_start_timestamps_ms,
        )
    } else {
        (&[], &[])
    };
    let mut floats = Pointers::default();
    let mut histograms = Pointers::default();
    for step in 0..frame.grid.steps {
        if state.tally.is_stopped() {
            break;
        }
        let eval_ms = frame.grid.time(step);
        let end_ms = frame.time.apply(eval_ms);
        let start_ms = end_ms.saturating_sub(frame.range_ms);
        let (from, to) = (
            start_ms.saturating_sub(frame.before_ms),
            end_ms.saturating_add(frame.after_ms),
        );
        floats.advance(times, from, to);
        histograms.advance(histogram_times, from, to);
        if floats.is_empty() && histograms.is_empty() {
            continue;
        }
        let size = |from: usize, to: usize| -> u64 {
            let inside = samples.histograms.get(from..to).unwrap_or(&[]);
            inside.iter().map(|h| histogram_size(h)).sum()
        };
        let all = size(histograms.low, histograms.high) + (floats.high - floats.low) as u64;
        let new = size(histograms.seen.max(histograms.low), histograms.high)
            + (floats.high - floats.seen.max(floats.low)) as u64;
        state.tally.window(step, all, new);
        floats.seen = floats.high;
        histograms.seen = histograms.high;
        let window = MixedWindow {
            floats: Window {
                times: &times[floats.low..floats.high],
                values: &samples.values[floats.low..floats.high],
                starts: starts_of(starts, floats.low, floats.high),
                first: floats.low,
                step,
                eval_ms,
                start_ms,
                end_ms,
            },
            times: &histogram_times[histograms.low..histograms.high],
            histograms: &samples.histograms[histograms.low..histograms.high],
            starts: starts_of(histogram_starts, histograms.low, histograms.high),
            anchored: frame.anchored,
            smoothed: frame.smoothed,
            range_ms: frame.range_ms,
        };
        if let Some(value) = f(&window, state)? {
            out.set(step, value);
        }
    }
    Ok(())
}

/// The ends of a window in one of the sample columns.
#[derive(Debug, Default)]
struct Pointers {
    low: usize,
    high: usize,
    seen: usize,
}

impl Pointers {
    fn advance(&mut self, times: &[i64], from: i64, to: i64) {
        while self.high < times.len() && times[self.high] <= to {
            self.high += 1;
        }
        while self.low < self.high && times[self.low] <= from {
            self.low += 1;
        }
    }

    fn is_empty(&self) -> bool {
        self.low == self.high
    }
}

/// Removes the staleness markers, which no window holds.
pub(crate) fn remove_stale(samples: &mut SampleBuffer) {
    if samples.values.iter().any(|v| is_stale(*v)) {
        let keep: Vec<bool> = samples.values.iter().map(|v| !is_stale(*v)).collect();
        retain(&mut samples.timestamps_ms, &keep);
        retain(&mut samples.start_timestamps_ms, &keep);
        retain(&mut samples.values, &keep);
    }
    if samples.histograms.iter().any(|h| h.is_stale()) {
        let keep: Vec<bool> = samples.histograms.iter().map(|h| !h.is_stale()).collect();
        retain(&mut samples.histogram_timestamps_ms, &keep);
        retain(&mut samples.histogram_start_timestamps_ms, &keep);
        retain(&mut samples.histograms, &keep);
    }
}

/// Keeps the elements marked in `keep`; an empty list stays empty.
fn retain<T>(list: &mut Vec<T>, keep: &[bool]) {
    let mut at = 0;
    list.retain(|_| {
        at += 1;
        keep.get(at - 1).copied().unwrap_or(false)
    });
}
