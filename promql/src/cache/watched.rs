//! A store that remembers of which version the snapshot was that it gave out.

use std::sync::Mutex;
use std::sync::PoisonError;

use tenbin_model::{Querier, Queryable, StoreError, TimeRange};

/// What was seen of the snapshot.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub(super) version: Option<u64>,
    /// Before this the snapshot shows what the version asked about showed.
    pub(super) unchanged_before_ms: i64,
}

/// A store around another, for one query.
pub(super) struct Watched<'s> {
    store: &'s dyn Queryable,
    since: Option<u64>,
    seen: Mutex<Option<Seen>>,
}

impl<'s> Watched<'s> {
    /// `since` is the version to compare with.
    pub(super) fn new(store: &'s dyn Queryable, since: Option<u64>) -> Self {
        Self {
            store,
            since,
            seen: Mutex::default(),
        }
    }

    /// What was seen; nothing is known of a store that was not asked.
    pub(super) fn seen(&self) -> Seen {
        let seen = *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.unwrap_or(Seen {
            version: None,
            unchanged_before_ms: i64::MIN,
        })
    }
}

impl Queryable for Watched<'_> {
    fn querier(&self, range: TimeRange) -> Result<Box<dyn Querier>, StoreError> {
        let querier = self.store.querier(range)?;
        let seen = Seen {
            version: querier.version(),
            unchanged_before_ms: self
                .since
                .map_or(i64::MIN, |version| querier.unchanged_before(version)),
        };
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
        Ok(querier)
    }
}
