//! The newest samples, mutable and in memory.
//!
//! The head is a set of lanes. A lane owns its series with everything about them (labels, postings,
//! chunks, late samples) behind one lock, so a request slice is applied, logged and made visible at
//! once. Series ids are dense per lane and grow in arrival order: the series of one target are
//! neighbours. Lock order: lanes ascending, then table shards, then the WAL gate, then its queue.

pub(crate) mod append;
mod append_exemplars;
mod append_histograms;
pub(crate) mod chunk;
mod delete;
pub(crate) mod dictionary;
pub(crate) mod histograms;
mod homes;
pub(crate) mod journal;
pub(crate) mod label_arena;
pub(crate) mod lane;
pub(crate) mod late;
mod own_line;
pub(crate) mod paged;
pub(crate) mod postings;
pub(crate) mod read;
mod resolve;
pub(crate) mod series;
pub(crate) mod slab;
pub(crate) mod starts;
mod tables;

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use parking_lot::{Mutex, MutexGuard};

use self::homes::Homes;
use self::lane::Lane;
use self::own_line::OwnLine;
use self::tables::Tables;
use crate::changes::Changes;
use crate::exemplars::Exemplars;
use crate::metadata::MetadataStore;

/// Where a series of the head lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SeriesRef {
    pub(crate) lane: u32,
    pub(crate) id: u32,
}

impl SeriesRef {
    /// Both numbers as one, for tables with millions of entries.
    #[inline]
    pub(crate) fn packed(self, lanes: u32) -> u32 {
        self.id * lanes + self.lane
    }

    /// What was [`Self::packed`] for as many lanes.
    #[inline]
    pub(crate) fn unpacked(packed: u32, lanes: u32) -> Self {
        Self {
            lane: packed % lanes,
            id: packed / lanes,
        }
    }
}

/// Admission limits, all in milliseconds; see [`crate::Options`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeadLimits {
    pub(crate) max_future_ms: i64,
    pub(crate) max_series: u64,
    pub(crate) max_exemplars: usize,
    /// How late an exemplar may be behind the newest of its series.
    pub(crate) exemplar_window_ms: i64,
}

/// What was taken and refused since start.
#[derive(Debug, Default)]
pub(crate) struct HeadCounters {
    pub(crate) samples: AtomicU64,
    pub(crate) duplicates: AtomicU64,
    pub(crate) late: AtomicU64,
    pub(crate) out_of_order: AtomicU64,
    pub(crate) out_of_bounds: AtomicU64,
    pub(crate) too_old: AtomicU64,
    pub(crate) too_far_in_future: AtomicU64,
    pub(crate) duplicate_other_value: AtomicU64,
    pub(crate) series_limit: AtomicU64,
    pub(crate) histograms: AtomicU64,
    pub(crate) invalid_histograms: AtomicU64,
    pub(crate) exemplars: AtomicU64,
    pub(crate) out_of_order_exemplars: AtomicU64,
    pub(crate) invalid_entries: AtomicU64,
    pub(crate) series_created: AtomicU64,
    pub(crate) series_evicted: AtomicU64,
}

fn count(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

/// All lanes and what they share.
pub(crate) struct Head {
    lanes: Vec<Mutex<Lane>>,
    tables: Tables,
    limits: HeadLimits,
    /// Key of the identity hashes, random per process.
    seed: u64,
    /// Newest timestamp ever admitted, flushed ones included; `i64::MIN` when there is none.
    newest_ms: AtomicI64,
    /// Series of each lane.
    lane_series: Vec<OwnLine<AtomicU64>>,
    homes: Homes,
    pub(crate) counters: HeadCounters,
    pub(crate) exemplars: Exemplars,
    pub(crate) metadata: MetadataStore,
    /// Changes to what queries see, those of blocks included.
    pub(crate) changes: Changes,
}

impl Head {
    pub(crate) fn new(lane_count: u32, limits: HeadLimits, flushed_ms: i64) -> Self {
        use std::hash::{BuildHasher, Hasher};
        let lane = |number| Mutex::new(Lane::new(number, flushed_ms));
        Self {
            lanes: (0..lane_count.max(1)).map(lane).collect(),
            tables: Tables::new(lane_count.max(1)),
            limits,
            seed: std::hash::RandomState::new().build_hasher().finish(),
            newest_ms: AtomicI64::new(i64::MIN),
            lane_series: (0..lane_count.max(1)).map(|_| OwnLine::default()).collect(),
            homes: Homes::new(lane_count.max(1)),
            counters: HeadCounters::default(),
            exemplars: Exemplars::new(limits.max_exemplars, limits.exemplar_window_ms),
            metadata: MetadataStore::default(),
            changes: Changes::default(),
        }
    }

    pub(crate) fn lane_count(&self) -> u32 {
        self.lanes.len() as u32
    }

    pub(crate) fn lane(&self, number: u32) -> MutexGuard<'_, Lane> {
        self.lanes[number as usize % self.lanes.len()].lock()
    }

    /// All lanes, locked in order.
    pub(crate) fn all_lanes(&self) -> Vec<MutexGuard<'_, Lane>> {
        self.lanes.iter().map(Mutex::lock).collect()
    }

    pub(crate) fn newest_ms(&self) -> i64 {
        self.newest_ms.load(Ordering::Relaxed)
    }

    /// Tells the head of samples that it never held (in blocks).
    pub(crate) fn raise_newest(&self, timestamp_ms: i64) {
        self.newest_ms.fetch_max(timestamp_ms, Ordering::Relaxed);
    }

    pub(crate) fn series_count(&self) -> u64 {
        let lanes = self.lane_series.iter();
        lanes.map(|lane| lane.load(Ordering::Relaxed)).sum()
    }

    /// Removes a series whose samples are all in blocks. The lane is locked by the caller.
    pub(crate) fn evict(&self, lane: &mut Lane, id: u32) {
        let (key_hash, hash) = lane.remove_series(id);
        lane.journal.evict(id, hash);
        let at = SeriesRef {
            lane: lane.number,
            id,
        };
        self.tables.remove_identity(key_hash, at);
        self.tables.remove_canonical(hash);
        self.lane_series[lane.number as usize].fetch_sub(1, Ordering::Relaxed);
        self.counters.series_evicted.fetch_add(1, Ordering::Relaxed);
    }

    /// Adds new series to a lane: `add` creates the one with an index, in order. `Err` is the series
    /// that stands already: twice in the batch, or another lane was faster.
    fn register(
        &self,
        lane: &mut Lane,
        hashes: impl Iterator<Item = u128>,
        mut add: impl FnMut(&mut Lane, usize) -> u32,
    ) -> Vec<Result<SeriesRef, SeriesRef>> {
        let number = lane.number;
        let mut entries: Vec<(u128, SeriesRef)> = Vec::with_capacity(hashes.size_hint().0);
        for (i, hash) in hashes.enumerate() {
            let id = add(lane, i);
            entries.push((hash, SeriesRef { lane: number, id }));
        }
        let mut lost = Vec::new();
        let tables = &self.tables;
        tables.insert_canonicals(&entries, |i, known| lost.push((i, known)));
        let added = entries.len() - lost.len();
        self.lane_series[number as usize].fetch_add(added as u64, Ordering::Relaxed);
        let mut all: Vec<_> = entries.iter().map(|(_, at)| Ok(*at)).collect();
        for (i, known) in lost {
            lane.remove_series(entries[i].1.id);
            all[i] = Err(known);
        }
        all
    }

    /// Finds series by label hash or lets `add` create the one with an index, while the log is
    /// replayed.
    pub(crate) fn replay_series(
        &self,
        lane: u32,
        hashes: &[u128],
        mut add: impl FnMut(&mut Lane, usize) -> u32,
    ) -> Vec<SeriesRef> {
        let mut lane = self.lane(lane);
        let known = self.tables.canonicals(hashes);
        let new: Vec<usize> = (0..hashes.len()).filter(|i| known[*i].is_none()).collect();
        let new_hashes = new.iter().map(|i| hashes[*i]);
        let added = self.register(&mut lane, new_hashes, |lane, i| add(lane, new[i]));
        let mut added = added.into_iter();
        let mut next = || added.next().map(|at| at.unwrap_or_else(|known| known));
        let known = known.into_iter();
        known.filter_map(|known| known.or_else(&mut next)).collect()
    }
}
