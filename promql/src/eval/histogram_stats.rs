//! Histograms of which only count and sum are wanted.
//!
//! Prometheus leaves out the buckets then, and finds counter resets itself, between samples that
//! its iterator passes one after the other. Results show which samples these are, since a reset
//! between two of them becomes an explicit hint. So the iterator's moves are followed here: it
//! steps from sample to sample, but jumps over gaps longer than what it buffers, and a jump forgets
//! the sample before. Source: Prometheus `promql/histogram_stats_iterator.go`,
//! `storage/memoized_iterator.go`, `storage/buffer.go`.

use std::sync::Arc;

use tenbin_model::{CounterResetHint, FloatHistogram, SampleBuffer};

use crate::eval::grid::{Grid, TimeShift};

/// How far back the iterator buffers: at the first step, and from the second on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Buffered {
    pub(crate) first_ms: i64,
    pub(crate) later_ms: i64,
}

/// Replaces the histograms by ones without buckets.
pub(crate) fn keep_stats(
    samples: &mut SampleBuffer,
    grid: &Grid,
    time: TimeShift,
    after_ms: i64,
    buffered: Buffered,
) {
    let mut walk = Walk::new(samples);
    for step in 0..grid.steps {
        let target = time.apply(grid.time(step)).saturating_add(after_ms);
        let back = if step == 0 {
            buffered.first_ms
        } else {
            buffered.later_ms
        };
        walk.seek(samples, target, target.saturating_sub(back));
        if walk.ended() || step > 0 && time.at_ms.is_some() {
            break;
        }
    }
    let hints = walk.hints;
    for (histogram, hint) in samples.histograms.iter_mut().zip(hints) {
        *histogram = Arc::new(FloatHistogram {
            counter_reset_hint: hint,
            schema: histogram.schema,
            count: histogram.count,
            sum: histogram.sum,
            ..FloatHistogram::default()
        });
    }
}

/// The iterator: where it stands among the samples of both kinds.
struct Walk {
    /// Time of each sample, and its position among the histograms if it is one.
    order: Vec<(i64, Option<usize>)>,
    at: usize,
    reached_ms: i64,
    /// The histogram last looked at.
    last: Option<usize>,
    hints: Vec<CounterResetHint>,
}

impl Walk {
    fn new(samples: &SampleBuffer) -> Self {
        let floats = samples.timestamps_ms.iter().map(|time| (*time, None));
        let histograms = samples.histogram_timestamps_ms.iter().zip(0..);
        let mut order: Vec<(i64, Option<usize>)> = floats
            .chain(histograms.map(|(time, at)| (*time, Some(at))))
            .collect();
        order.sort_unstable_by_key(|(time, _)| *time);
        Self {
            order,
            at: 0,
            reached_ms: i64::MIN,
            last: None,
            hints: samples
                .histograms
                .iter()
                .map(|histogram| histogram.counter_reset_hint)
                .collect(),
        }
    }

    fn ended(&self) -> bool {
        self.at >= self.order.len()
    }

    /// Moves to the first sample at or after `target`, passing all samples since `from`.
    fn seek(&mut self, samples: &SampleBuffer, target: i64, from: i64) {
        if !self.ended() && from > self.reached_ms {
            if from > self.order[self.at].0 {
                self.last = None;
                let skipped = self.order[self.at..].partition_point(|(time, _)| *time < from);
                self.at += skipped;
            }
            if self.ended() {
                return;
            }
            self.reached_ms = self.order[self.at].0;
        }
        while !self.ended() && self.reached_ms < target {
            self.look(samples);
            self.at += 1;
            if let Some((time, _)) = self.order.get(self.at) {
                self.reached_ms = *time;
            }
        }
        if !self.ended() && self.reached_ms == target {
            self.look(samples);
        }
    }

    /// Looks at the present sample: compares it with the one looked at before.
    fn look(&mut self, samples: &SampleBuffer) {
        let Some(at) = self.order[self.at].1 else {
            return;
        };
        let histogram = &samples.histograms[at];
        if histogram.is_stale() || self.last == Some(at) {
            return;
        }
        if let Some(last) = self.last
            && histogram.counter_reset_hint == CounterResetHint::Unknown
        {
            self.hints[at] = if histogram.detect_reset(&samples.histograms[last]) {
                CounterResetHint::Reset
            } else {
                CounterResetHint::NotReset
            };
        }
        self.last = Some(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_come_from_neighbours_unless_a_gap_is_jumped() {
        let mut samples = SampleBuffer::default();
        for (time, count) in [(0, 1.0), (10, 2.0), (20, 1.0), (1000, 5.0)] {
            samples.histogram_timestamps_ms.push(time);
            samples.histograms.push(Arc::new(FloatHistogram {
                count,
                ..FloatHistogram::default()
            }));
        }
        let grid = Grid {
            start_ms: 20,
            step_ms: 980,
            steps: 2,
        };
        let buffered = Buffered {
            first_ms: 100,
            later_ms: 100,
        };
        keep_stats(&mut samples, &grid, TimeShift::default(), 0, buffered);
        let hints: Vec<_> = samples
            .histograms
            .iter()
            .map(|h| h.counter_reset_hint)
            .collect();
        use CounterResetHint::{NotReset, Reset, Unknown};
        assert_eq!(hints, [Unknown, NotReset, Reset, Unknown]);
    }
}
