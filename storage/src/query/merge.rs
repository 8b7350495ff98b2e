//! Sorted runs of samples into one: in time order, one sample per timestamp, the earlier run
//! winning. Floats and histograms of a series are one timeline.

use crate::histogram::point::{Point, merge_points, retain_points};

/// Float samples as columns, reused between series.
#[derive(Debug, Default, Clone)]
pub(crate) struct Columns {
    pub(crate) times: Vec<i64>,
    pub(crate) values: Vec<f64>,
    /// Start timestamps, 0 = unknown: as many as timestamps, or none when all are unknown.
    pub(crate) starts: Vec<i64>,
}

/// Samples of both kinds; a timestamp occurs once.
#[derive(Debug, Default, Clone)]
pub(crate) struct Samples {
    pub(crate) floats: Columns,
    pub(crate) histograms: Vec<Point>,
}

impl Samples {
    pub(crate) fn clear(&mut self) {
        self.floats.clear();
        self.histograms.clear();
    }

    /// Keeps only the samples whose timestamps `keep` takes.
    pub(crate) fn retain(&mut self, keep: impl Fn(i64) -> bool) {
        self.floats.retain(&keep);
        retain_points(&mut self.histograms, keep);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.floats.is_empty() && self.histograms.is_empty()
    }

    /// Keeps only the samples inside `[min_ms, max_ms]`.
    pub(crate) fn clip(&mut self, min_ms: i64, max_ms: i64) {
        self.floats.clip(min_ms, max_ms);
        self.histograms
            .retain(|point| min_ms <= point.at_ms && point.at_ms <= max_ms);
    }

    /// First and last timestamp.
    pub(crate) fn extent(&self) -> Option<(i64, i64)> {
        let times = &self.floats.times;
        let points = &self.histograms;
        let first = [times.first().copied(), points.first().map(|p| p.at_ms)];
        let last = [times.last().copied(), points.last().map(|p| p.at_ms)];
        let first = first.into_iter().flatten().min()?;
        Some((first, last.into_iter().flatten().max()?))
    }
}

/// Merges `later`, which is used up, into `first`, using `scratch` for memory. On equal timestamps
/// `first` wins, whatever the kinds.
pub(crate) fn merge_samples(first: &mut Samples, later: &mut Samples, scratch: &mut Columns) {
    if !first.histograms.is_empty() && !later.floats.is_empty() {
        let taken = &first.histograms;
        let is_free = |at_ms: i64| taken.binary_search_by_key(&at_ms, |p| p.at_ms).is_err();
        later.floats.retain(is_free);
    }
    if !later.histograms.is_empty() {
        let taken = &first.floats.times;
        let points = &mut later.histograms;
        points.retain(|point| taken.binary_search(&point.at_ms).is_err());
        merge_points(&mut first.histograms, points);
    }
    merge(&mut first.floats, &later.floats, scratch);
}

impl Columns {
    pub(crate) fn clear(&mut self) {
        self.times.clear();
        self.values.clear();
        self.starts.clear();
    }

    /// The start timestamp of a sample.
    fn start(&self, at: usize) -> i64 {
        self.starts.get(at).copied().unwrap_or(0)
    }

    fn append(&mut self, later: &Self) {
        if !self.starts.is_empty() || !later.starts.is_empty() {
            self.starts.resize(self.times.len(), 0);
            self.starts.extend_from_slice(&later.starts);
            self.starts.resize(self.times.len() + later.times.len(), 0);
        }
        self.times.extend_from_slice(&later.times);
        self.values.extend_from_slice(&later.values);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// Keeps only the samples whose timestamps `keep` takes.
    pub(crate) fn retain(&mut self, keep: impl Fn(i64) -> bool) {
        let mut kept = 0;
        for at in 0..self.times.len() {
            if keep(self.times[at]) {
                self.times[kept] = self.times[at];
                self.values[kept] = self.values[at];
                if !self.starts.is_empty() {
                    self.starts[kept] = self.starts[at];
                }
                kept += 1;
            }
        }
        self.times.truncate(kept);
        self.values.truncate(kept);
        self.starts.truncate(kept);
    }

    /// Keeps only the samples inside `[min_ms, max_ms]`; the run is sorted.
    pub(crate) fn clip(&mut self, min_ms: i64, max_ms: i64) {
        let from = self.times.partition_point(|t| *t < min_ms);
        let to = self.times.partition_point(|t| *t <= max_ms).max(from);
        self.times.truncate(to);
        self.values.truncate(to);
        self.starts.truncate(to);
        if from > 0 {
            self.times.drain(..from);
            self.values.drain(..from);
            let starts = from.min(self.starts.len());
            self.starts.drain(..starts);
        }
    }
}

/// Merges `later` into `first`, using `scratch` for memory. On equal timestamps `first` wins.
pub(crate) fn merge(first: &mut Columns, later: &Columns, scratch: &mut Columns) {
    let (Some(start), Some(end)) = (later.times.first(), first.times.last()) else {
        first.append(later);
        return;
    };
    if end < start {
        first.append(later);
        return;
    }
    scratch.clear();
    let has_starts = !first.starts.is_empty() || !later.starts.is_empty();
    let (mut a, mut b) = (0, 0);
    while a < first.times.len() || b < later.times.len() {
        let take_first = match (first.times.get(a), later.times.get(b)) {
            (Some(x), Some(y)) => {
                b += usize::from(x == y);
                x <= y
            }
            (Some(_), None) => true,
            _ => false,
        };
        let (from, at) = if take_first {
            (&*first, &mut a)
        } else {
            (later, &mut b)
        };
        scratch.times.push(from.times[*at]);
        scratch.values.push(from.values[*at]);
        if has_starts {
            scratch.starts.push(from.start(*at));
        }
        *at += 1;
    }
    std::mem::swap(first, scratch);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn columns(samples: &BTreeMap<i64, u32>) -> Columns {
        Columns {
            times: samples.keys().copied().collect(),
            values: samples.values().map(|v| f64::from(*v)).collect(),
            starts: Vec::new(),
        }
    }

    /// What a run holds by timestamp: kind, number, start timestamp.
    fn both(samples: &BTreeMap<i64, (bool, u32, i64)>) -> Samples {
        let mut run = Samples::default();
        for (at_ms, (is_histogram, number, start_ms)) in samples {
            if *is_histogram {
                run.histograms.push(Point {
                    at_ms: *at_ms,
                    start_ms: *start_ms,
                    hint: tenbin_model::CounterResetHint::Gauge,
                    layout: std::sync::Arc::default(),
                    fields: [u64::from(*number), 0, 0].into(),
                });
            } else {
                run.floats.times.push(*at_ms);
                run.floats.values.push(f64::from(*number));
                run.floats.starts.push(*start_ms);
            }
        }
        if run.floats.starts.iter().all(|start| *start == 0) {
            run.floats.starts.clear();
        }
        run
    }

    fn any_run() -> impl Strategy<Value = BTreeMap<i64, (bool, u32, i64)>> {
        let start = prop_oneof![4 => Just(0_i64), 1 => 1_i64..3];
        prop::collection::btree_map(0_i64..80, (any::<bool>(), any::<u32>(), start), 0..30)
    }

    proptest! {
        #[test]
        fn both_kinds_merge_like_a_map(a in any_run(), b in any_run(), range in (0_i64..80, 0_i64..80)) {
            let mut first = both(&a);
            merge_samples(&mut first, &mut both(&b), &mut Columns::default());
            let mut model = b;
            model.extend(a);
            for clip in [false, true] {
                if clip {
                    first.clip(range.0, range.1);
                    model.retain(|t, _| range.0 <= *t && *t <= range.1);
                }
                let expected = both(&model);
                prop_assert_eq!(first.extent(), expected.extent());
                prop_assert_eq!(&first.floats.times, &expected.floats.times);
                prop_assert_eq!(&first.floats.values, &expected.floats.values);
                let starts = |run: &Samples| (0..run.floats.times.len()).map(|at| run.floats.start(at)).collect::<Vec<_>>();
                prop_assert_eq!(starts(&first), starts(&expected));
                prop_assert_eq!(&first.histograms, &expected.histograms);
            }
        }

        #[test]
        fn merges_like_a_map(
            a in prop::collection::btree_map(0_i64..100, any::<u32>(), 0..40),
            b in prop::collection::btree_map(0_i64..150, any::<u32>(), 0..40),
            range in (0_i64..150, 0_i64..150),
        ) {
            let mut first = columns(&a);
            merge(&mut first, &columns(&b), &mut Columns::default());
            let mut model = b.clone();
            model.extend(a);
            let expected = columns(&model);
            prop_assert_eq!(&first.times, &expected.times);
            prop_assert_eq!(&first.values, &expected.values);
            first.clip(range.0, range.1);
            model.retain(|t, _| range.0 <= *t && *t <= range.1);
            prop_assert_eq!(first.times, columns(&model).times);
        }
    }
}
