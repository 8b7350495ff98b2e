//! Which times the data changed at, version by version: what a result that was computed once is still
//! worth.
//!
//! A version is a state of the data that a snapshot saw. Invariants: whoever changes what queries see
//! says so while it holds at least one lane's lock, in the same critical section as the change;
//! a version is taken while all lanes are locked. So a change belongs to a version exactly when
//! snapshots of that version show it. A flush and a merge change nothing that a query sees. Times in
//! milliseconds.
//!
//! An append costs one atomic minimum per request. Of the past only what answers can depend on is
//! kept: versions whose smallest changed time is below that of all later ones.

use std::sync::atomic::{AtomicI64, Ordering};

use parking_lot::Mutex;

/// Entries kept at most; beyond, neighbours are taken together, which tells of more change than
/// there was.
const MAX_ENTRIES: usize = 4096;

/// The changes since the process started.
#[derive(Debug)]
pub(crate) struct Changes {
    /// Smallest time changed since the last version was taken; `i64::MAX` for none.
    pending_ms: AtomicI64,
    past: Mutex<Past>,
}

#[derive(Debug, Default)]
struct Past {
    version: u64,
    /// Versions and the smallest time by whose change they came to be; both ascend.
    smallest: Vec<(u64, i64)>,
}

impl Past {
    /// Begins a new version if there was a change.
    fn advance(&mut self, changed_ms: i64) {
        if changed_ms == i64::MAX {
            return;
        }
        self.version += 1;
        while self.smallest.pop_if(|(_, ms)| *ms >= changed_ms).is_some() {}
        self.smallest.push((self.version, changed_ms));
        if self.smallest.len() > MAX_ENTRIES {
            // Of two neighbours the later version with the earlier time.
            let pairs = self.smallest.chunks(2);
            let joined = pairs.map(|pair| (pair[pair.len() - 1].0, pair[0].1));
            self.smallest = joined.collect();
        }
    }

    /// The smallest time changed by versions after one.
    fn smallest_since(&self, version: u64) -> i64 {
        let at = self.smallest.partition_point(|(of, _)| *of <= version);
        self.smallest.get(at).map_or(i64::MAX, |(_, ms)| *ms)
    }
}

impl Default for Changes {
    fn default() -> Self {
        Self {
            pending_ms: AtomicI64::new(i64::MAX),
            past: Mutex::default(),
        }
    }
}

impl Changes {
    /// Says that samples at `at_ms` and later may be others from now on. A lane is locked.
    pub(crate) fn note(&self, at_ms: i64) {
        // A lane's lock orders this before the version that is taken next.
        self.pending_ms.fetch_min(at_ms, Ordering::Relaxed);
    }

    /// The version of now. All lanes are locked.
    pub(crate) fn version(&self) -> u64 {
        let mut past = self.past.lock();
        let changed_ms = self.pending_ms.swap(i64::MAX, Ordering::Relaxed);
        past.advance(changed_ms);
        past.version
    }

    /// A time before which nothing changed since `version`, what is noted at this moment included.
    pub(crate) fn unchanged_before(&self, version: u64) -> i64 {
        let past = self.past.lock();
        let pending_ms = self.pending_ms.load(Ordering::SeqCst);
        past.smallest_since(version).min(pending_ms)
    }
}

/// The samples that one request changes: noted as one when it is done.
pub(crate) struct Touched<'c> {
    changes: &'c Changes,
    min_ms: i64,
}

impl<'c> Touched<'c> {
    pub(crate) fn new(changes: &'c Changes) -> Self {
        let min_ms = i64::MAX;
        Self { changes, min_ms }
    }

    /// Takes a sample's time in.
    #[inline]
    pub(crate) fn at(&mut self, at_ms: i64) {
        self.min_ms = self.min_ms.min(at_ms);
    }
}

/// Also when a request ends early: what it did is done. The lanes it locked are locked still.
impl Drop for Touched<'_> {
    fn drop(&mut self) {
        if self.min_ms < i64::MAX {
            self.changes.note(self.min_ms);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn never_tells_of_less_change_than_there_was(
            steps in prop::collection::vec((0_i64..60, any::<bool>()), 1..300),
        ) {
            let changes = Changes::default();
            let mut noted = Vec::new();
            let mut versions = vec![(changes.version(), 0)];
            for (at_ms, takes_version) in steps {
                changes.note(at_ms);
                noted.push(at_ms);
                if takes_version {
                    versions.push((changes.version(), noted.len()));
                }
                for (version, before) in &versions {
                    let expected = noted[*before..].iter().copied().min().unwrap_or(i64::MAX);
                    prop_assert_eq!(changes.unchanged_before(*version), expected);
                }
            }
        }
    }

    #[test]
    fn a_long_past_is_kept_short_and_errs_on_the_safe_side() {
        let changes = Changes::default();
        let steps = 3 * MAX_ENTRIES as i64;
        let mut versions = vec![changes.version()];
        for at_ms in 0..steps {
            changes.note(at_ms);
            versions.push(changes.version());
        }
        assert!(changes.past.lock().smallest.len() <= MAX_ENTRIES);
        for (at, version) in versions.iter().enumerate() {
            let exact = at as i64;
            let told = changes.unchanged_before(*version);
            assert!(
                told <= exact || (told == i64::MAX && exact == steps),
                "{at}: {told}"
            );
        }
        let newest = versions[versions.len() - 2];
        assert_eq!(changes.unchanged_before(newest), steps - 1);
    }
}
