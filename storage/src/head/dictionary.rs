//! The label pairs of a lane: text to id and back, and the series of each pair.
//!
//! A pair lives as long as a series has it; then its id is reused.

use std::hash::BuildHasher;

use hashbrown::{HashMap, HashTable};

use super::postings::Postings;

/// A label name and the pairs that have it.
#[derive(Debug)]
pub(crate) struct Name {
    pub(crate) text: Box<str>,
    pub(crate) pairs: Vec<u32>,
}

/// A label pair.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) name: u32,
    pub(crate) value: Box<str>,
    pub(crate) series: Postings,
    /// The WAL segment that has this pair's symbol.
    pub(crate) wal_epoch: u32,
    /// Position in [`Name::pairs`].
    position: u32,
}

/// All pairs of a lane.
#[derive(Debug, Default)]
pub(crate) struct Dictionary {
    names: Vec<Name>,
    name_ids: HashMap<Box<str>, u32, foldhash::fast::RandomState>,
    pairs: Vec<Pair>,
    pair_ids: HashTable<u32>,
    free: Vec<u32>,
    hasher: foldhash::fast::RandomState,
}

impl Dictionary {
    fn pair_hash(&self, name: u32, value: &str) -> u64 {
        self.hasher.hash_one((name, value))
    }

    fn name_id(&mut self, text: &str) -> u32 {
        if let Some(id) = self.name_ids.get(text) {
            return *id;
        }
        let id = self.names.len() as u32;
        self.names.push(Name {
            text: text.into(),
            pairs: Vec::new(),
        });
        self.name_ids.insert(text.into(), id);
        id
    }

    /// The id of a pair, new if need be.
    pub(crate) fn intern(&mut self, name: &str, value: &str) -> u32 {
        let name = self.name_id(name);
        let hash = self.pair_hash(name, value);
        let pairs = &self.pairs;
        let same = |id: &u32| {
            let pair = &pairs[*id as usize];
            pair.name == name && *pair.value == *value
        };
        if let Some(id) = self.pair_ids.find(hash, same) {
            return *id;
        }
        let siblings = &mut self.names[name as usize].pairs;
        let pair = Pair {
            name,
            value: value.into(),
            series: Postings::default(),
            wal_epoch: 0,
            position: siblings.len() as u32,
        };
        let id = match self.free.pop() {
            Some(id) => {
                self.pairs[id as usize] = pair;
                id
            }
            None => {
                self.pairs.push(pair);
                self.pairs.len() as u32 - 1
            }
        };
        siblings.push(id);
        let (pairs, hasher) = (&self.pairs, &self.hasher);
        self.pair_ids.insert_unique(hash, id, |id| {
            let pair = &pairs[*id as usize];
            hasher.hash_one((pair.name, &*pair.value))
        });
        id
    }

    pub(crate) fn find(&self, name: &str, value: &str) -> Option<u32> {
        let name = *self.name_ids.get(name)?;
        let hash = self.pair_hash(name, value);
        let same = |id: &u32| {
            let pair = &self.pairs[*id as usize];
            pair.name == name && *pair.value == *value
        };
        self.pair_ids.find(hash, same).copied()
    }

    /// Whether an id, of this dictionary or not, is that of a pair with at least one series.
    #[inline]
    pub(crate) fn is(&self, id: u32, name: &str, value: &str) -> bool {
        let Some(pair) = self.pairs.get(id as usize) else {
            return false;
        };
        // A pair that was given back has no value.
        !value.is_empty() && *pair.value == *value && *self.names[pair.name as usize].text == *name
    }

    pub(crate) fn pair(&self, id: u32) -> &Pair {
        &self.pairs[id as usize]
    }

    pub(crate) fn pair_mut(&mut self, id: u32) -> &mut Pair {
        &mut self.pairs[id as usize]
    }

    /// Name and value of a pair.
    pub(crate) fn text(&self, id: u32) -> (&str, &str) {
        let pair = self.pair(id);
        (&self.names[pair.name as usize].text, &pair.value)
    }

    /// Pairs in use.
    pub(crate) fn len(&self) -> usize {
        self.pair_ids.len()
    }

    /// The text of a label name, by its number in [`Pair`].
    pub(crate) fn name(&self, number: u32) -> &str {
        &self.names[number as usize].text
    }

    /// Names that a series has, in no order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &Name> {
        self.names.iter().filter(|name| !name.pairs.is_empty())
    }

    /// The pairs of a name.
    pub(crate) fn pairs_of(&self, name: &str) -> &[u32] {
        self.name_ids
            .get(name)
            .map_or(&[], |id| &self.names[*id as usize].pairs)
    }

    /// Takes a series out of a pair, and the pair out when that was its last.
    pub(crate) fn release(&mut self, id: u32, series: u32) {
        if !self.pairs[id as usize].series.remove(series) {
            return;
        }
        let pair = &mut self.pairs[id as usize];
        let (name, position) = (pair.name, pair.position as usize);
        let value = std::mem::take(&mut pair.value);
        let hash = self.hasher.hash_one((name, &*value));
        if let Ok(entry) = self.pair_ids.find_entry(hash, |other| *other == id) {
            entry.remove();
        }
        let siblings = &mut self.names[name as usize].pairs;
        siblings.swap_remove(position);
        if let Some(moved) = siblings.get(position) {
            self.pairs[*moved as usize].position = position as u32;
        }
        self.free.push(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_shared_released_and_reused() {
        let mut dictionary = Dictionary::default();
        let a = dictionary.intern("job", "a");
        let b = dictionary.intern("job", "b");
        assert_eq!(dictionary.intern("job", "a"), a);
        dictionary.pair_mut(a).series.add(1);
        dictionary.pair_mut(a).series.add(2);
        dictionary.pair_mut(b).series.add(1);
        dictionary.release(a, 1);
        assert_eq!(dictionary.find("job", "a"), Some(a));
        dictionary.release(a, 2);
        assert_eq!(dictionary.find("job", "a"), None);
        assert_eq!(dictionary.pairs_of("job"), [b]);
        dictionary.release(b, 1);
        assert_eq!(dictionary.names().count(), 0);
        let c = dictionary.intern("job", "c");
        assert!([a, b].contains(&c), "ids are reused");
        assert_eq!(dictionary.text(c), ("job", "c"));
    }
}
