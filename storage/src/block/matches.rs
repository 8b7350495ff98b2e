//! Remembers which series of a block a matcher decides about: a block never changes, and dashboards
//! ask with the same patterns again and again.

use croaring::{Bitmap, Portable};
use hashbrown::HashMap;
use parking_lot::Mutex;
use tenbin_model::Matcher;

/// Bytes kept for one block; the oldest results go first.
const MAX_BYTES: usize = 1 << 20;

/// Bytes counted for a result besides its content.
const ENTRY_BYTES: usize = 128;

type Key = (&'static str, String, String);

#[derive(Default)]
struct Entries {
    results: HashMap<Key, (u64, usize, Bitmap)>,
    bytes: usize,
    clock: u64,
}

/// Results by matcher.
#[derive(Default)]
pub(super) struct MatchCache(Mutex<Entries>);

fn key(matcher: &Matcher) -> Key {
    let (name, value) = (matcher.name().to_owned(), matcher.value().to_owned());
    (matcher.op().as_str(), name, value)
}

impl MatchCache {
    pub(super) fn get(&self, matcher: &Matcher) -> Option<Bitmap> {
        let mut entries = self.0.lock();
        entries.clock += 1;
        let now = entries.clock;
        let (used, _, series) = entries.results.get_mut(&key(matcher))?;
        *used = now;
        Some(series.clone())
    }

    pub(super) fn put(&self, matcher: &Matcher, series: &Bitmap) {
        let key = key(matcher);
        let content = series.get_serialized_size_in_bytes::<Portable>();
        let bytes = content + key.1.len() + key.2.len() + ENTRY_BYTES;
        if bytes > MAX_BYTES / 4 {
            return;
        }
        let mut entries = self.0.lock();
        while entries.bytes + bytes > MAX_BYTES {
            let oldest = entries.results.iter().min_by_key(|(_, entry)| entry.0);
            let Some(oldest) = oldest.map(|(key, _)| key.clone()) else {
                break;
            };
            if let Some((_, gone, _)) = entries.results.remove(&oldest) {
                entries.bytes -= gone;
            }
        }
        entries.clock += 1;
        let entry = (entries.clock, bytes, series.clone());
        if let Some((_, replaced, _)) = entries.results.insert(key, entry) {
            entries.bytes -= replaced;
        }
        entries.bytes += bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenbin_model::MatchOp;

    #[test]
    fn results_come_back_and_are_bounded() {
        let cache = MatchCache::default();
        let matcher = |i: u32| Matcher::new(MatchOp::Regex, "a", format!("x{i}.*")).unwrap();
        let series: Bitmap = (0..2000).map(|i| i * 7).collect();
        cache.put(&matcher(0), &series);
        assert_eq!(cache.get(&matcher(0)), Some(series.clone()));
        let negated = Matcher::new(MatchOp::NotRegex, "a", "x0.*").unwrap();
        assert_eq!(cache.get(&negated), None);
        for i in 1..600 {
            cache.put(&matcher(i), &series);
            assert!(cache.get(&matcher(0)).is_some(), "what is used stays");
        }
        let entries = cache.0.lock();
        assert!(entries.bytes <= MAX_BYTES && entries.results.len() > 100);
        let sum: usize = entries.results.values().map(|entry| entry.1).sum();
        assert_eq!(sum, entries.bytes);
    }
}
