//! Which lane has a series: by identity hash (what a sender repeats) and by canonical hash (what the
//! labels are). Sharded; an entry for a lane changes only while that lane is locked.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use parking_lot::Mutex;

use super::SeriesRef;
use super::own_line::OwnLine;

const SHARDS: usize = 64;

/// Bits of a hash that choose the shard.
const SHARD_BITS: u32 = 12;

/// Halves, so that no padding follows; the series is packed.
struct Identity {
    key_hash: [u32; 2],
    at: u32,
}

impl Identity {
    fn key_hash(&self) -> u64 {
        u64::from(self.key_hash[0]) | u64::from(self.key_hash[1]) << 32
    }
}

/// Of the 128 bits 108 are compared: these 96, and those that choose the shard.
struct Canonical {
    hash: [u32; 3],
    at: u32,
}

/// Both tables.
pub(crate) struct Tables {
    lanes: u32,
    /// Shards differ in size by up to two, so that they do not all double at the same time: the
    /// memory of the whole grows evenly.
    shard_of: Box<[u8]>,
    identities: Vec<OwnLine<Mutex<HashTable<Identity>>>>,
    canonicals: Vec<OwnLine<Mutex<HashTable<Canonical>>>>,
}

fn parts(hash: u128) -> [u32; 3] {
    [hash as u32, (hash >> 32) as u32, (hash >> 64) as u32]
}

/// Hash for the place inside a shard: without the bits that chose the shard.
fn spread(hash: u64) -> u64 {
    hash.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl Tables {
    /// Tables for this many lanes.
    pub(crate) fn new(lanes: u32) -> Self {
        let weight = |shard: usize| 2_f64.powf(shard as f64 / SHARDS as f64);
        let all: f64 = (0..SHARDS).map(weight).sum();
        let mut shard_of = Vec::with_capacity(1 << SHARD_BITS);
        let mut end = 0.0;
        for shard in 0..SHARDS {
            end += weight(shard) / all * f64::from(1 << SHARD_BITS);
            shard_of.resize((end.round() as usize).min(1 << SHARD_BITS), shard as u8);
        }
        shard_of.resize(1 << SHARD_BITS, SHARDS as u8 - 1);
        Self {
            lanes,
            shard_of: shard_of.into(),
            identities: (0..SHARDS).map(|_| OwnLine::default()).collect(),
            canonicals: (0..SHARDS).map(|_| OwnLine::default()).collect(),
        }
    }

    fn identities_of(&self, key_hash: u64) -> &Mutex<HashTable<Identity>> {
        let shard = self.shard_of[(key_hash >> (64 - SHARD_BITS)) as usize];
        &self.identities[usize::from(shard)]
    }

    fn canonicals_of(&self, hash: u128) -> &Mutex<HashTable<Canonical>> {
        let shard = self.shard_of[(hash >> (128 - SHARD_BITS)) as usize];
        &self.canonicals[usize::from(shard)]
    }

    pub(crate) fn identity(&self, key_hash: u64) -> Option<SeriesRef> {
        let shard = self.identities_of(key_hash).lock();
        shard
            .find(spread(key_hash), |entry| entry.key_hash() == key_hash)
            .map(|entry| SeriesRef::unpacked(entry.at, self.lanes))
    }

    pub(crate) fn insert_identity(&self, key_hash: u64, at: SeriesRef) {
        let at = at.packed(self.lanes);
        let mut shard = self.identities_of(key_hash).lock();
        let hash = spread(key_hash);
        match shard.find_mut(hash, |entry| entry.key_hash() == key_hash) {
            Some(entry) => entry.at = at,
            None => {
                let entry = Identity {
                    key_hash: [key_hash as u32, (key_hash >> 32) as u32],
                    at,
                };
                shard.insert_unique(hash, entry, |e| spread(e.key_hash()));
            }
        }
    }

    pub(crate) fn remove_identity(&self, key_hash: u64, at: SeriesRef) {
        let at = at.packed(self.lanes);
        let mut shard = self.identities_of(key_hash).lock();
        let same = |entry: &Identity| entry.key_hash() == key_hash && entry.at == at;
        if let Ok(entry) = shard.find_entry(spread(key_hash), same) {
            entry.remove();
        }
    }

    pub(crate) fn canonical(&self, hash: u128) -> Option<SeriesRef> {
        let shard = self.canonicals_of(hash).lock();
        let hash = parts(hash);
        shard
            .find(spread_of(hash), |entry| entry.hash == hash)
            .map(|entry| SeriesRef::unpacked(entry.at, self.lanes))
    }

    /// The series that is there, or the one that `create` makes meanwhile.
    pub(crate) fn canonical_or_insert(
        &self,
        hash: u128,
        create: impl FnOnce() -> SeriesRef,
    ) -> Result<SeriesRef, SeriesRef> {
        let mut shard = self.canonicals_of(hash).lock();
        let hash = parts(hash);
        let entry = shard.entry(
            spread_of(hash),
            |entry| entry.hash == hash,
            |e| spread_of(e.hash),
        );
        match entry {
            Entry::Occupied(known) => Err(SeriesRef::unpacked(known.get().at, self.lanes)),
            Entry::Vacant(place) => {
                let at = create();
                place.insert(Canonical {
                    hash,
                    at: at.packed(self.lanes),
                });
                Ok(at)
            }
        }
    }

    pub(crate) fn remove_canonical(&self, hash: u128) {
        let mut shard = self.canonicals_of(hash).lock();
        let hash = parts(hash);
        if let Ok(entry) = shard.find_entry(spread_of(hash), |entry| entry.hash == hash) {
            entry.remove();
        }
    }
}

fn spread_of(hash: [u32; 3]) -> u64 {
    spread(u64::from(hash[0]) | u64::from(hash[1]) << 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found_replaced_and_removed() {
        let tables = Tables::new(2);
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
        let far = SeriesRef {
            lane: 1,
            id: 1 << 30,
        };
        tables.insert_identity(9, far);
        assert_eq!(tables.identity(9), Some(far));
    }

    #[test]
    fn shards_differ_in_size_and_cover_all_hashes() {
        let tables = Tables::new(1);
        let mut sizes = [0; SHARDS];
        for shard in &tables.shard_of {
            sizes[usize::from(*shard)] += 1;
        }
        assert_eq!(sizes.iter().sum::<usize>(), 1 << SHARD_BITS);
        assert!(sizes.is_sorted_by(|a, b| *a <= b + 1));
        assert!(
            sizes[0] > 40 && sizes[SHARDS - 1] < 2 * sizes[0] + 4,
            "{sizes:?}"
        );
    }
}
