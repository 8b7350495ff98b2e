//! The results kept, and which of them leaves when room is needed: the one that has not been used for
//! the longest, roughly (second chance).
//!
//! Invariant: `bytes` is the sum of all entries' `byte_len`, and at most the limit after every `put`.

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::HashMap;

use crate::eval::grid::Grid;
use crate::value::MatrixSeries;

/// What an entry costs beside what it holds: places in table and queue.
const ENTRY_BYTES: u64 = 256;

/// A result: one value for each step of a grid, from data of one version.
#[derive(Debug)]
pub(super) struct Entry {
    /// First and last evaluation time.
    start_ms: i64,
    last_ms: i64,
    pub(super) version: u64,
    /// Sorted by labels.
    pub(super) series: Vec<MatrixSeries>,
}

impl Entry {
    pub(super) fn new(grid: &Grid, version: u64, series: Vec<MatrixSeries>) -> Self {
        Self {
            start_ms: grid.start_ms,
            last_ms: grid.last(),
            version,
            series,
        }
    }

    pub(super) fn byte_len(&self, key: &str) -> u64 {
        let series: u64 = self.series.iter().map(MatrixSeries::byte_len).sum();
        series + 2 * key.len() as u64 + ENTRY_BYTES
    }

    /// The last step of `grid` up to which all are known from its first on, when data did not change
    /// before a time and a step sees what lies at most `reach_ms` behind it. The grids have one step
    /// and one phase.
    pub(super) fn last_valid(
        &self,
        grid: &Grid,
        unchanged_before_ms: i64,
        reach_ms: i64,
    ) -> Option<i64> {
        if grid.start_ms < self.start_ms {
            return None;
        }
        // A step sees data up to itself, inclusive.
        let valid_ms = unchanged_before_ms
            .saturating_sub(reach_ms)
            .saturating_sub(1);
        let last_ms = valid_ms.min(self.last_ms).min(grid.last());
        let steps = last_ms.checked_sub(grid.start_ms)?;
        if steps < 0 {
            return None;
        }
        Some(last_ms - steps.rem_euclid(grid.step_ms))
    }
}

#[derive(Debug)]
struct Slot {
    entry: Arc<Entry>,
    bytes: u64,
    /// Used since it was last considered for leaving.
    is_used: bool,
}

/// All entries by key.
#[derive(Debug, Default)]
pub(super) struct Entries {
    slots: HashMap<Arc<str>, Slot>,
    /// Each key once.
    queue: VecDeque<Arc<str>>,
    bytes: u64,
    evictions: u64,
}

impl Entries {
    /// The entry of a key, which stays longer for it.
    pub(super) fn get(&mut self, key: &str) -> Option<Arc<Entry>> {
        let slot = self.slots.get_mut(key)?;
        slot.is_used = true;
        Some(Arc::clone(&slot.entry))
    }

    /// Puts an entry, which must fit, in the place of the one with its key.
    pub(super) fn put(&mut self, key: String, entry: Arc<Entry>, max_bytes: u64) {
        let bytes = entry.byte_len(&key);
        self.bytes += bytes;
        if let Some(slot) = self.slots.get_mut(key.as_str()) {
            self.bytes -= slot.bytes;
            (slot.entry, slot.bytes) = (entry, bytes);
        } else {
            let key: Arc<str> = key.into();
            let is_used = false;
            let slot = Slot {
                entry,
                bytes,
                is_used,
            };
            self.slots.insert(Arc::clone(&key), slot);
            self.queue.push_back(key);
        }
        while self.bytes > max_bytes {
            let Some(oldest) = self.queue.pop_front() else {
                return;
            };
            if let Some(slot) = self.slots.get_mut(&oldest)
                && std::mem::take(&mut slot.is_used)
            {
                self.queue.push_back(oldest);
            } else if let Some(slot) = self.slots.remove(&oldest) {
                self.bytes -= slot.bytes;
                self.evictions += 1;
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn evictions(&self) -> u64 {
        self.evictions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(start_ms: i64, steps: usize) -> Grid {
        Grid {
            start_ms,
            step_ms: 10,
            steps,
        }
    }

    #[test]
    fn steps_are_known_up_to_the_last_whose_data_did_not_change() {
        let entry = Entry::new(&grid(5, 10), 1, Vec::new());
        let known = |start, steps, before| entry.last_valid(&grid(start, steps), before, 0);
        assert_eq!(known(5, 10, i64::MAX), Some(95));
        assert_eq!(
            known(5, 20, i64::MAX),
            Some(95),
            "what is behind it is missing"
        );
        assert_eq!(known(25, 3, i64::MAX), Some(45), "a part");
        assert_eq!(
            known(-5, 10, i64::MAX),
            None,
            "what is before it is missing"
        );
        assert_eq!(known(105, 10, i64::MAX), None);
        assert_eq!(
            known(5, 10, 95),
            Some(85),
            "a change at a step is seen by it"
        );
        assert_eq!(known(5, 10, 96), Some(95));
        assert_eq!(known(5, 10, 5), None);
        assert_eq!(known(5, 10, i64::MIN), None);
        assert_eq!(
            entry.last_valid(&grid(5, 10), 95, 10),
            Some(75),
            "it looks ahead"
        );
    }

    #[test]
    fn what_was_not_used_leaves_first_and_bytes_are_kept() {
        let mut entries = Entries::default();
        let entry = || Arc::new(Entry::new(&grid(0, 1), 1, Vec::new()));
        let each = entry().byte_len("a");
        for key in ["a", "b", "c"] {
            entries.put(key.to_owned(), entry(), 3 * each);
        }
        assert!(entries.get("a").is_some());
        entries.put("a".to_owned(), entry(), 3 * each);
        assert_eq!((entries.bytes(), entries.evictions()), (3 * each, 0));
        entries.put("d".to_owned(), entry(), 3 * each);
        assert_eq!((entries.bytes(), entries.evictions()), (3 * each, 1));
        assert!(entries.get("b").is_none());
        assert!(["a", "c", "d"].iter().all(|key| entries.get(key).is_some()));
    }
}
