//! Which lane has a series: by identity hash (what a sender repeats) and by canonical hash (what the
//! labels are). Sharded; an entry for a lane changes only while that lane is locked.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use parking_lot::Mutex;

use super::SeriesRef;

const SHARDS: usize = 64;

struct Identity {
    key_hash: u64,
    at: SeriesRef,
}

struct Canonical {
    hash: [u64; 2],
    at: SeriesRef,
}

/// Both tables.
pub(crate) struct Tables {
    identities: Vec<Mutex<HashTable<Identity>>>,
    canonicals: Vec<Mutex<HashTable<Canonical>>>,
}

impl Default for Tables {
    fn default() -> Self {
        Self {
            identities: (0..SHARDS).map(|_| Mutex::default()).collect(),
            canonicals: (0..SHARDS).map(|_| Mutex::default()).collect(),
        }
    }
}

/// The top bits choose the shard, the rest the place inside.
fn shard_of(hash: u64) -> usize {
    (hash >> 58) as usize
}

fn halves(hash: u128) -> [u64; 2] {
    [hash as u64, (hash >> 64) as u64]
}

/// Hash for the place inside a shard: without the bits that chose the shard.
fn spread(hash: u64) -> u64 {
    hash.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl Tables {
    pub(crate) fn identity(&self, key_hash: u64) -> Option<SeriesRef> {
        let shard = self.identities[shard_of(key_hash)].lock();
        shard
            .find(spread(key_hash), |entry| entry.key_hash == key_hash)
            .map(|entry| entry.at)
    }

    pub(crate) fn insert_identity(&self, key_hash: u64, at: SeriesRef) {
        let mut shard = self.identities[shard_of(key_hash)].lock();
        let hash = spread(key_hash);
        match shard.find_mut(hash, |entry| entry.key_hash == key_hash) {
            Some(entry) => entry.at = at,
            None => {
                shard.insert_unique(hash, Identity { key_hash, at }, |e| spread(e.key_hash));
            }
        }
    }

    pub(crate) fn remove_identity(&self, key_hash: u64, at: SeriesRef) {
        let mut shard = self.identities[shard_of(key_hash)].lock();
        let same = |entry: &Identity| entry.key_hash == key_hash && entry.at == at;
        if let Ok(entry) = shard.find_entry(spread(key_hash), same) {
            entry.remove();
        }
    }

    pub(crate) fn canonical(&self, hash: u128) -> Option<SeriesRef> {
        let parts = halves(hash);
        let shard = self.canonicals[shard_of(parts[1])].lock();
        shard
            .find(parts[0], |entry| entry.hash == parts)
            .map(|entry| entry.at)
    }

    /// The series that is there, or the one that `create` makes meanwhile.
    pub(crate) fn canonical_or_insert(
        &self,
        hash: u128,
        create: impl FnOnce() -> SeriesRef,
    ) -> Result<SeriesRef, SeriesRef> {
        let parts = halves(hash);
        let mut shard = self.canonicals[shard_of(parts[1])].lock();
        let entry = shard.entry(parts[0], |entry| entry.hash == parts, |e| e.hash[0]);
        match entry {
            Entry::Occupied(known) => Err(known.get().at),
            Entry::Vacant(place) => {
                let at = create();
                place.insert(Canonical { hash: parts, at });
                Ok(at)
            }
        }
    }

    pub(crate) fn remove_canonical(&self, hash: u128) {
        let parts = halves(hash);
        let mut shard = self.canonicals[shard_of(parts[1])].lock();
        if let Ok(entry) = shard.find_entry(parts[0], |entry| entry.hash == parts) {
            entry.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found_replaced_and_removed() {
        let tables = Tables::default();
        let (a, b) = (SeriesRef { lane: 0, id: 1 }, SeriesRef { lane: 1, id: 1 });
        tables.insert_identity(5, a);
        tables.insert_identity(5, b);
        assert_eq!(tables.identity(5), Some(b));
        tables.remove_identity(5, a);
        assert_eq!(tables.identity(5), Some(b), "another series' entry stays");
        tables.remove_identity(5, b);
        assert_eq!(tables.identity(5), None);
        assert_eq!(tables.canonical_or_insert(7 << 64, || a), Ok(a));
        assert_eq!(tables.canonical_or_insert(7 << 64, || b), Err(a));
        tables.remove_canonical(7 << 64);
        assert_eq!(tables.canonical(7 << 64), None);
    }
}
