//! The label values that a thread took from a block's dictionaries last: the series of a selection
//! share most of their pairs, and a dictionary is read from the last restart on for each.

use std::cell::RefCell;

/// Values kept.
const SLOTS: usize = 256;

/// Longer values are not kept.
const MAX_KEPT_BYTES: usize = 256;

/// Values of one block by pair id; a value lives until another with its slot comes.
pub(super) struct TextCache {
    /// The block's number in this process.
    instance: u64,
    slots: Vec<(u32, String)>,
    /// Memory for the values of one series.
    pub(super) joined: String,
}

thread_local! {
    static TEXTS: RefCell<TextCache> = const {
        RefCell::new(TextCache { instance: u64::MAX, slots: Vec::new(), joined: String::new() })
    };
}

impl TextCache {
    /// Lends the thread's cache, with values of this block only.
    pub(super) fn with<T>(instance: u64, use_it: impl FnOnce(&mut Self) -> T) -> T {
        TEXTS.with_borrow_mut(|cache| {
            if cache.instance != instance {
                // A number that has another slot: no value.
                let empty = (1..=SLOTS as u32).map(|other| (other, String::new()));
                cache.slots = empty.collect();
                cache.instance = instance;
            }
            use_it(cache)
        })
    }

    pub(super) fn get(&self, pair: u32) -> Option<&str> {
        let (kept, value) = &self.slots[pair as usize % SLOTS];
        (*kept == pair).then_some(value)
    }

    pub(super) fn put(&mut self, pair: u32, value: String) {
        if value.len() <= MAX_KEPT_BYTES {
            self.slots[pair as usize % SLOTS] = (pair, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_the_block_and_the_pair() {
        let read =
            |instance, pair| TextCache::with(instance, |cache| cache.get(pair).map(str::to_owned));
        TextCache::with(1, |cache| cache.put(7, "a".into()));
        assert_eq!(read(1, 7).as_deref(), Some("a"));
        TextCache::with(1, |cache| cache.put(7 + SLOTS as u32, "b".into()));
        assert_eq!(read(1, 7), None);
        assert_eq!(read(1, 7 + SLOTS as u32).as_deref(), Some("b"));
        assert_eq!(read(2, 7 + SLOTS as u32), None);
        TextCache::with(2, |cache| cache.put(3, "x".repeat(MAX_KEPT_BYTES + 1)));
        assert!((0..=SLOTS as u32).all(|pair| read(2, pair).is_none()));
    }
}
