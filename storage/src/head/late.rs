//! Late samples of a lane: those that came behind their series' newest sample, kept beside the
//! chunks until the next flush, sorted and one per timestamp.

use hashbrown::HashMap;
use tenbin_model::TimeRange;

/// Late samples by series.
#[derive(Debug, Default)]
pub(crate) struct LateSamples {
    by_series: HashMap<u32, Vec<(i64, u64)>, foldhash::fast::RandomState>,
}

impl LateSamples {
    /// The value bits at a timestamp.
    pub(crate) fn at(&self, id: u32, timestamp_ms: i64) -> Option<u64> {
        let samples = self.by_series.get(&id)?;
        let at = samples.binary_search_by_key(&timestamp_ms, |s| s.0).ok()?;
        Some(samples[at].1)
    }

    /// Adds a sample; the one that is there at its timestamp stays.
    pub(crate) fn insert(&mut self, id: u32, timestamp_ms: i64, bits: u64) {
        let samples = self.by_series.entry(id).or_default();
        if let Err(at) = samples.binary_search_by_key(&timestamp_ms, |s| s.0) {
            samples.insert(at, (timestamp_ms, bits));
        }
    }

    /// Removes the samples of a series inside a range; returns how many.
    pub(crate) fn remove(&mut self, id: u32, range: TimeRange) -> u64 {
        let Some(samples) = self.by_series.get_mut(&id) else {
            return 0;
        };
        let before = samples.len();
        samples.retain(|sample| !range.contains(sample.0));
        let removed = before - samples.len();
        if samples.is_empty() {
            self.by_series.remove(&id);
        }
        removed as u64
    }

    pub(crate) fn of(&self, id: u32) -> &[(i64, u64)] {
        self.by_series.get(&id).map_or(&[], Vec::as_slice)
    }

    /// Samples of all series.
    pub(crate) fn count(&self) -> usize {
        self.by_series.values().map(Vec::len).sum()
    }

    /// Timestamps of all samples.
    pub(crate) fn times(&self) -> impl Iterator<Item = i64> {
        self.by_series.values().flatten().map(|sample| sample.0)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_series.is_empty()
    }

    pub(crate) fn series(&self) -> impl Iterator<Item = u32> {
        self.by_series.keys().copied()
    }

    /// Adds everything from `newer`; samples that are here stay.
    pub(crate) fn absorb(&mut self, newer: Self) {
        for (id, samples) in newer.by_series {
            for (timestamp_ms, bits) in samples {
                self.insert(id, timestamp_ms, bits);
            }
        }
    }
}
