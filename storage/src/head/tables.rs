//! Which lane has a series: by identity hash (what a sender repeats) and by canonical hash (what the
//! labels are). Sharded; an entry for a lane changes only while that lane is locked.
//!
//! The tables of a million series are far larger than a cache, so a probe is a memory access or two.
//! Batches are handled shard by shard: one lock for a shard's keys, and their accesses overlap.

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

    fn identity_shard(&self, key_hash: u64) -> usize {
        usize::from(self.shard_of[(key_hash >> (64 - SHARD_BITS)) as usize])
    }

    fn canonical_shard(&self, hash: u128) -> usize {
        usize::from(self.shard_of[(hash >> (128 - SHARD_BITS)) as usize])
    }

    fn identities_of(&self, key_hash: u64) -> &Mutex<HashTable<Identity>> {
        &self.identities[self.identity_shard(key_hash)]
    }

    fn canonicals_of(&self, hash: u128) -> &Mutex<HashTable<Canonical>> {
        &self.canonicals[self.canonical_shard(hash)]
    }

    pub(crate) fn identity(&self, key_hash: u64) -> Option<SeriesRef> {
        let shard = self.identities_of(key_hash).lock();
        shard
            .find(spread(key_hash), |entry| entry.key_hash() == key_hash)
            .map(|entry| SeriesRef::unpacked(entry.at, self.lanes))
    }

    pub(crate) fn insert_identity(&self, key_hash: u64, at: SeriesRef) {
        let mut shard = self.identities_of(key_hash).lock();
        put_identity(&mut shard, key_hash, at.packed(self.lanes));
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

    /// [`Self::identity`] of each key.
    pub(crate) fn identities(&self, key_hashes: &[u64], found: &mut Vec<Option<SeriesRef>>) {
        found.clear();
        found.resize(key_hashes.len(), None);
        let shard_of = |i: usize| self.identity_shard(key_hashes[i]);
        by_shard(key_hashes.len(), shard_of, |shard, members| {
            let shard = self.identities[shard].lock();
            for i in members {
                let key_hash = key_hashes[*i as usize];
                found[*i as usize] = shard
                    .find(spread(key_hash), |entry| entry.key_hash() == key_hash)
                    .map(|entry| SeriesRef::unpacked(entry.at, self.lanes));
            }
        });
    }

    /// [`Self::canonical`] of each hash.
    pub(crate) fn canonicals(&self, hashes: &[u128]) -> Vec<Option<SeriesRef>> {
        let mut found = vec![None; hashes.len()];
        let shard_of = |i: usize| self.canonical_shard(hashes[i]);
        by_shard(hashes.len(), shard_of, |shard, members| {
            let shard = self.canonicals[shard].lock();
            for i in members {
                let hash = parts(hashes[*i as usize]);
                found[*i as usize] = shard
                    .find(spread_of(hash), |entry| entry.hash == hash)
                    .map(|entry| SeriesRef::unpacked(entry.at, self.lanes));
            }
        });
        found
    }

    /// [`Self::insert_identity`] of all.
    pub(crate) fn insert_identities(&self, entries: &[(u64, SeriesRef)]) {
        let shard_of = |i: usize| self.identity_shard(entries[i].0);
        by_shard(entries.len(), shard_of, |shard, members| {
            let mut shard = self.identities[shard].lock();
            for i in members {
                let (key_hash, at) = entries[*i as usize];
                put_identity(&mut shard, key_hash, at.packed(self.lanes));
            }
        });
    }

    /// Adds series by their label hashes. Calls `taken` with the index of each whose hash is there
    /// already, and the series that has it; these are not added.
    pub(crate) fn insert_canonicals(
        &self,
        entries: &[(u128, SeriesRef)],
        mut taken: impl FnMut(usize, SeriesRef),
    ) {
        let shard_of = |i: usize| self.canonical_shard(entries[i].0);
        by_shard(entries.len(), shard_of, |shard, members| {
            let mut shard = self.canonicals[shard].lock();
            for i in members {
                let (hash, at) = entries[*i as usize];
                let hash = parts(hash);
                let entry = shard.entry(
                    spread_of(hash),
                    |entry| entry.hash == hash,
                    |e| spread_of(e.hash),
                );
                match entry {
                    Entry::Occupied(known) => {
                        let known = SeriesRef::unpacked(known.get().at, self.lanes);
                        taken(*i as usize, known);
                    }
                    Entry::Vacant(place) => {
                        let at = at.packed(self.lanes);
                        place.insert(Canonical { hash, at });
                    }
                }
            }
        });
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

fn put_identity(shard: &mut HashTable<Identity>, key_hash: u64, at: u32) {
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

/// Calls `visit` for each shard that has members of a batch of `count`, with their indices, which
/// ascend.
fn by_shard(count: usize, shard_of: impl Fn(usize) -> usize, mut visit: impl FnMut(usize, &[u32])) {
    let mut starts = [0_u32; SHARDS + 1];
    for i in 0..count {
        starts[shard_of(i) + 1] += 1;
    }
    for shard in 0..SHARDS {
        starts[shard + 1] += starts[shard];
    }
    let mut order = vec![0_u32; count];
    let mut next = starts;
    for i in 0..count {
        let place = &mut next[shard_of(i)];
        order[*place as usize] = i as u32;
        *place += 1;
    }
    for shard in 0..SHARDS {
        let members = &order[starts[shard] as usize..starts[shard + 1] as usize];
        if !members.is_empty() {
            visit(shard, members);
        }
    }
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
        let mut taken = Vec::new();
        let entries = [(7 << 64, a), (8, b), (7 << 64, b)];
        tables.insert_canonicals(&entries, |i, known| taken.push((i, known)));
        assert_eq!(taken, [(2, a)]);
        let found = tables.canonicals(&[8, 9, 7 << 64]);
        assert_eq!(found, [Some(b), None, Some(a)]);
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
    fn batches_do_what_single_calls_do() {
        let tables = Tables::new(3);
        let key = |i: u64| i.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let at = |i: u64| SeriesRef {
            lane: (i % 3) as u32,
            id: i as u32,
        };
        let entries: Vec<(u64, SeriesRef)> = (0..5000).map(|i| (key(i), at(i))).collect();
        tables.insert_identities(&entries);
        let keys: Vec<u64> = (0..6000).map(key).collect();
        let mut found = vec![Some(at(1))];
        tables.identities(&keys, &mut found);
        for (i, found) in found.iter().enumerate() {
            let expected = (i < 5000).then(|| at(i as u64));
            assert_eq!((*found, tables.identity(keys[i])), (expected, expected));
        }
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
