//! A lane: a part of the head that owns its series with all that belongs to them.
//!
//! Invariant: in-order samples at or after `min_valid_ms` are in chunks, samples before it that are
//! still in memory are in `late` or, during a flush, in `flushing_late` and in chunks that the flush
//! is about to drop.

use croaring::Bitmap;
use hashbrown::HashMap;
use tenbin_model::{Labels, TimeRange};

use super::chunk::{self, ChunkBytes};
use super::dictionary::Dictionary;
use super::histograms::Histograms;
use super::journal::Journal;
use super::label_arena::{LabelArena, PairIds};
use super::late::LateSamples;
use super::paged::Paged;
use super::series::{
    DEAD, HAS_LATE, HAS_ROW, HAS_SAMPLES, HAS_SEALED, HAS_SIDE, LAST_GONE, LAST_IS_HISTOGRAM,
    Series,
};
use super::slab::{NO_CLASS, Slab};
use super::starts::Starts;
use crate::codec::Malformed;
use crate::histogram::point::Point;
use crate::wal::record::RecordBuilder;

/// What memory holds at a timestamp.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Stored {
    /// A float, by its bits.
    Float(u64),
    Histogram(Point),
}

/// What a deletion took out of a series.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deleted {
    pub(crate) samples: u64,
    /// The newest in-order sample among them.
    pub(crate) newest_row_ms: i64,
}

impl Default for Deleted {
    fn default() -> Self {
        Self {
            samples: 0,
            newest_row_ms: i64::MIN,
        }
    }
}

/// Part of the head behind one lock.
pub(crate) struct Lane {
    pub(crate) number: u32,
    pub(crate) series: Paged<Series, 1024>,
    hashes: Paged<u128, 1024>,
    free: Vec<u32>,
    /// Ids in use.
    pub(crate) live: Bitmap,
    slab: Slab,
    pub(crate) dictionary: Dictionary,
    label_arena: LabelArena,
    /// Pair ids of the series that was added last; they may mean something else by now.
    last_pairs: Vec<u32>,
    pub(crate) late: LateSamples,
    pub(crate) flushing_late: LateSamples,
    sealed: HashMap<u32, Vec<ChunkBytes>, foldhash::fast::RandomState>,
    pub(crate) histograms: Histograms,
    /// Start timestamps of the float samples.
    pub(crate) starts: Starts,
    /// In-order samples before this are in blocks.
    pub(crate) min_valid_ms: i64,
    /// Grows with every eviction, so that a reader sees that ids may have changed hands.
    pub(crate) evictions: u64,
    /// Chunks in use, open and sealed.
    pub(crate) chunk_count: u64,
    pub(crate) record: RecordBuilder,
    /// What open snapshots must not see.
    pub(crate) journal: Journal,
}

impl Lane {
    pub(crate) fn new(number: u32, min_valid_ms: i64) -> Self {
        Self {
            number,
            series: Paged::default(),
            hashes: Paged::default(),
            free: Vec::new(),
            live: Bitmap::new(),
            slab: Slab::default(),
            dictionary: Dictionary::default(),
            label_arena: LabelArena::default(),
            last_pairs: Vec::new(),
            late: LateSamples::default(),
            flushing_late: LateSamples::default(),
            sealed: HashMap::default(),
            histograms: Histograms::default(),
            starts: Starts::default(),
            min_valid_ms,
            evictions: 0,
            chunk_count: 0,
            record: RecordBuilder::default(),
            journal: Journal::default(),
        }
    }

    /// Adds a series with canonical label pairs.
    pub(crate) fn add_series(&mut self, key_hash: u64, hash: u128, pairs: &[(&str, &str)]) -> u32 {
        // Neighbours share most of their pairs, which are then found without a table.
        let mut ids = std::mem::take(&mut self.last_pairs);
        ids.resize(pairs.len(), u32::MAX);
        for (id, (name, value)) in ids.iter_mut().zip(pairs) {
            if !self.dictionary.is(*id, name, value) {
                *id = self.dictionary.intern(name, value);
            }
        }
        let series = self.add_series_of(key_hash, hash, &ids);
        self.last_pairs = ids;
        series
    }

    /// Adds a series with pairs of the dictionary, in name order.
    pub(crate) fn add_series_of(&mut self, key_hash: u64, hash: u128, pairs: &[u32]) -> u32 {
        let id = self.free.pop().unwrap_or(self.series.len() as u32);
        let labels = self.label_arena.push(pairs);
        for pair in pairs {
            self.dictionary.pair_mut(*pair).series.add(id);
        }
        let series = Series::new(id, key_hash, labels);
        if id as usize == self.series.len() {
            self.series.push(series);
            self.hashes.push(hash);
        } else {
            self.series[id as usize] = series;
            self.hashes[id as usize] = hash;
        }
        self.live.add(id);
        id
    }

    /// Takes out a series and returns its two hashes.
    pub(crate) fn remove_series(&mut self, id: u32) -> (u64, u128) {
        self.drop_chunks(id);
        self.histograms.remove(id);
        self.starts.remove(id);
        for pair in self.pairs(id) {
            self.dictionary.release(pair, id);
        }
        self.label_arena.forget(self.series[id as usize].labels);
        let series = &mut self.series[id as usize];
        let key_hash = series.key_hash;
        series.key_hash = 0;
        series.flags = DEAD;
        self.live.remove(id);
        self.free.push(id);
        self.evictions += 1;
        (key_hash, self.hashes[id as usize])
    }

    /// Gives memory back that evictions and a flush have freed.
    pub(crate) fn shrink(&mut self) {
        self.slab.shrink();
        if !self.label_arena.is_wasteful() {
            return;
        }
        let mut arena = LabelArena::default();
        for series in self.series.iter_mut() {
            if !series.has(DEAD) {
                series.labels = arena.push(&self.label_arena.pairs(series.labels));
            }
        }
        self.label_arena = arena;
    }

    pub(crate) fn hash(&self, id: u32) -> u128 {
        self.hashes[id as usize]
    }

    /// The pair ids of a series, in name order.
    pub(crate) fn pairs(&self, id: u32) -> PairIds {
        self.label_arena.pairs(self.series[id as usize].labels)
    }

    pub(crate) fn labels(&self, id: u32) -> Labels {
        let pairs: Vec<(&str, &str)> = self
            .pairs(id)
            .iter()
            .map(|pair| self.dictionary.text(*pair))
            .collect();
        Labels::from_sorted(&pairs)
    }

    /// Brings the end of the open chunk of a series into the cache while the rest of the request is
    /// still being looked up.
    #[inline]
    pub(crate) fn prefetch(&self, id: u32) {
        let series = &self.series[id as usize];
        self.slab
            .prefetch(series.class, series.slot, series.bit_len);
    }

    /// Adds a float that is newer than all of its series.
    #[inline]
    pub(crate) fn push(&mut self, id: u32, timestamp_ms: i64, bits: u64) {
        if !chunk::has_room(&self.series[id as usize]) && self.series[id as usize].count > 0 {
            self.seal(id);
        }
        let series = &mut self.series[id as usize];
        if series.count == 0 {
            self.chunk_count += 1;
        }
        chunk::append(series, &mut self.slab, timestamp_ms, bits);
        series.flags = series.flags & !(LAST_IS_HISTOGRAM | LAST_GONE) | HAS_SAMPLES;
    }

    /// Adds a histogram that is newer than all of its series. The open chunk ends: its coding goes
    /// on from `last_ms`.
    pub(crate) fn push_histogram(&mut self, id: u32, point: &Point) {
        if self.series[id as usize].count > 0 {
            self.seal(id);
        }
        self.histograms.push(id, point);
        let series = &mut self.series[id as usize];
        series.last_ms = point.at_ms;
        series.flags = series.flags & !LAST_GONE | HAS_SAMPLES | HAS_SIDE | LAST_IS_HISTOGRAM;
    }

    /// Whether floats of a series have start timestamps.
    pub(crate) fn has_starts(&self, id: u32) -> bool {
        self.series[id as usize].has(HAS_SIDE) && self.starts.has(id)
    }

    /// Notes the start timestamp (0 = unknown) of the in-order float added last.
    pub(crate) fn push_start(&mut self, id: u32, timestamp_ms: i64, start_ms: i64) {
        if start_ms != 0 || self.has_starts(id) {
            self.series[id as usize].set(HAS_SIDE, true);
            self.starts.push(id, timestamp_ms, start_ms);
        }
    }

    /// Moves the full open chunk aside.
    fn seal(&mut self, id: u32) {
        let series = &mut self.series[id as usize];
        if let Some(full) = ChunkBytes::of(series, &self.slab) {
            self.slab.free(series.class, series.slot);
            series.class = NO_CLASS;
            series.count = 0;
            series.run = 0;
            series.set(HAS_SEALED, true);
            self.sealed.entry(id).or_default().push(full);
        }
    }

    fn drop_chunks(&mut self, id: u32) {
        let series = &mut self.series[id as usize];
        if series.count > 0 {
            self.slab.free(series.class, series.slot);
            series.class = NO_CLASS;
            (series.count, series.run, series.bit_len) = (0, 0, 0);
            self.chunk_count -= 1;
        }
        if series.has(HAS_SEALED) {
            series.set(HAS_SEALED, false);
            let sealed = self.sealed.remove(&id).unwrap_or_default();
            self.chunk_count -= sealed.len() as u64;
        }
    }

    /// Takes the samples of a series inside a range out of memory. The newest sample stays known, so
    /// that what is older is still late and the log's next row has its base.
    pub(crate) fn delete(&mut self, id: u32, range: TimeRange) -> Result<Deleted, Malformed> {
        let mut deleted = Deleted::default();
        let series = &mut self.series[id as usize];
        let has_side = series.has(HAS_SIDE);
        if range.contains(series.last_ms) {
            // Also when a block has it: a sample of the same time is a new one then.
            series.set(LAST_GONE, series.has(HAS_SAMPLES));
        }
        if has_side {
            self.starts.remove_late(id, range);
        }
        if self.series[id as usize].has(HAS_LATE) {
            deleted.samples += self.late.remove(id, range) + self.flushing_late.remove(id, range);
            deleted.samples += self.histograms.delete_late(id, range);
            let floats = !self.late.of(id).is_empty() || !self.flushing_late.of(id).is_empty();
            let left = floats || self.histograms.has_late_of(id);
            self.series[id as usize].set(HAS_LATE, left);
        }
        if has_side {
            let (count, newest) = self.histograms.delete(id, range)?;
            deleted.samples += count;
            deleted.newest_row_ms = newest;
            let series = &mut self.series[id as usize];
            if newest == series.last_ms && count > 0 {
                series.set(LAST_GONE, true);
            }
        }
        let last_ms = self.series[id as usize].last_ms;
        let touched = |first| range.overlaps(TimeRange::new(first, last_ms));
        if !self.first_float_ms(id).is_some_and(touched) {
            return Ok(deleted);
        }
        let (mut times, mut values) = (Vec::new(), Vec::new());
        self.chunk_samples(id, &mut times, &mut values)?;
        let gone = times.iter().filter(|t| range.contains(**t));
        let (count, newest) = gone.fold((0, i64::MIN), |(n, _), t| (n + 1, *t));
        if count == 0 {
            return Ok(deleted);
        }
        deleted.samples += count;
        deleted.newest_row_ms = deleted.newest_row_ms.max(newest);
        let last_bits = self.series[id as usize].last_bits;
        let was_gone = self.series[id as usize].has(LAST_GONE);
        let was_histogram = self.series[id as usize].has(LAST_IS_HISTOGRAM);
        self.drop_chunks(id);
        for (at, value) in times.iter().zip(&values) {
            if !range.contains(*at) {
                self.push(id, *at, value.to_bits());
            }
        }
        // The next sample begins a chunk of its own: it does not follow the newest one that is left.
        self.seal(id);
        let series = &mut self.series[id as usize];
        (series.last_ms, series.last_bits) = (last_ms, last_bits);
        series.set(LAST_GONE, newest == last_ms || was_gone);
        series.set(LAST_IS_HISTOGRAM, was_histogram);
        Ok(deleted)
    }

    /// Remembers a late sample.
    pub(crate) fn push_late(&mut self, id: u32, timestamp_ms: i64, bits: u64) {
        self.late.insert(id, timestamp_ms, bits);
        self.series[id as usize].set(HAS_LATE, true);
    }

    /// Remembers the start timestamp of a late float.
    pub(crate) fn push_late_start(&mut self, id: u32, timestamp_ms: i64, start_ms: i64) {
        self.series[id as usize].set(HAS_SIDE, true);
        self.starts.push_late(id, timestamp_ms, start_ms);
    }

    /// Remembers a late histogram.
    pub(crate) fn push_late_histogram(&mut self, id: u32, point: Point) {
        self.histograms.push_late(id, point);
        let series = &mut self.series[id as usize];
        series.flags |= HAS_LATE | HAS_SIDE;
    }

    /// What memory holds for a series at a timestamp.
    pub(crate) fn stored_at(&self, id: u32, timestamp_ms: i64) -> Option<Stored> {
        if self.series[id as usize].has(HAS_LATE) {
            let late = self.flushing_late.at(id, timestamp_ms);
            if let Some(bits) = late.or_else(|| self.late.at(id, timestamp_ms)) {
                return Some(Stored::Float(bits));
            }
        }
        if self.series[id as usize].has(HAS_SIDE)
            && let Some(point) = self.histograms.stored_at(id, timestamp_ms)
        {
            return Some(Stored::Histogram(point));
        }
        let (mut times, mut values) = (Vec::new(), Vec::new());
        self.chunk_samples(id, &mut times, &mut values).ok()?;
        let at = times.binary_search(&timestamp_ms).ok()?;
        Some(Stored::Float(values[at].to_bits()))
    }

    /// Timestamp of the newest late sample of a series in memory.
    pub(crate) fn newest_late_ms(&self, id: u32) -> Option<i64> {
        if !self.series[id as usize].has(HAS_LATE) {
            return None;
        }
        let floats = [self.late.of(id).last(), self.flushing_late.of(id).last()];
        let floats = floats.into_iter().flatten().map(|sample| sample.0);
        let histograms = self.histograms.late(id).iter().map(|point| point.at_ms);
        floats.chain(histograms).max()
    }

    /// Timestamp of the oldest in-order sample of a series in memory.
    pub(crate) fn first_ms(&self, id: u32) -> Option<i64> {
        let float = self.first_float_ms(id);
        if !self.series[id as usize].has(HAS_SIDE) {
            return float;
        }
        let histogram = self.histograms.first_ms(id);
        [float, histogram].into_iter().flatten().min()
    }

    fn first_float_ms(&self, id: u32) -> Option<i64> {
        let series = &self.series[id as usize];
        if series.has(HAS_SEALED)
            && let Some(oldest) = self.sealed.get(&id).and_then(|s| s.first())
        {
            return Some(oldest.first_ms());
        }
        (series.count > 0).then(|| chunk::first_ms(self.slab.get(series.class, series.slot)))
    }

    /// Appends the in-order samples of a series.
    pub(crate) fn chunk_samples(
        &self,
        id: u32,
        times: &mut Vec<i64>,
        values: &mut Vec<f64>,
    ) -> Result<(), Malformed> {
        let series = &self.series[id as usize];
        if series.has(HAS_SEALED) {
            for sealed in self.sealed.get(&id).into_iter().flatten() {
                sealed.decode(times, values)?;
            }
        }
        chunk::decode_open(series, &self.slab, times, values)
    }

    /// Copies of the chunks of a series, oldest first.
    pub(crate) fn copy_chunks(&self, id: u32) -> Vec<ChunkBytes> {
        let series = &self.series[id as usize];
        let mut chunks = Vec::new();
        if series.has(HAS_SEALED) {
            chunks.extend(self.sealed.get(&id).into_iter().flatten().cloned());
        }
        chunks.extend(ChunkBytes::of(series, &self.slab));
        chunks
    }

    /// Begins a flush of everything before `before_ms`, and of all late samples.
    pub(crate) fn begin_flush(&mut self, before_ms: i64) {
        self.min_valid_ms = self.min_valid_ms.max(before_ms);
        self.journal.flushes = self.journal.flushes.wrapping_add(1);
        let late = std::mem::take(&mut self.late);
        self.flushing_late.absorb(late);
        self.histograms.begin_flush();
        self.starts.begin_flush();
    }

    /// Drops the in-order samples of a series before `before_ms`, which a block has.
    pub(crate) fn drop_before(&mut self, id: u32, before_ms: i64) -> Result<(), Malformed> {
        if self.series[id as usize].has(HAS_SIDE) {
            self.starts.drop_before(id, before_ms);
            self.histograms.drop_before(id, before_ms)?;
        }
        if self
            .first_float_ms(id)
            .is_none_or(|first| first >= before_ms)
        {
            return Ok(());
        }
        if self.series[id as usize].last_ms < before_ms {
            self.drop_chunks(id);
            return Ok(());
        }
        let (mut times, mut values) = (Vec::new(), Vec::new());
        self.chunk_samples(id, &mut times, &mut values)?;
        self.drop_chunks(id);
        let from = times.partition_point(|t| *t < before_ms);
        let series = &self.series[id as usize];
        let (last_ms, flags) = (series.last_ms, series.flags);
        for (at, value) in times[from..].iter().zip(&values[from..]) {
            self.push(id, *at, value.to_bits());
        }
        let newest = flags & (LAST_IS_HISTOGRAM | LAST_GONE);
        if newest != 0 {
            // The newest sample is no float of these: what was before stays as it was.
            self.seal(id);
            let series = &mut self.series[id as usize];
            series.last_ms = last_ms;
            series.flags |= newest;
        }
        Ok(())
    }

    /// Drops the late samples that a block has.
    pub(crate) fn end_flush(&mut self) {
        let flushed = std::mem::take(&mut self.flushing_late);
        let histograms = self.histograms.end_flush();
        self.starts.end_flush();
        for id in flushed.series().chain(histograms) {
            let has_late = !self.late.of(id).is_empty() || !self.histograms.late(id).is_empty();
            self.series[id as usize].set(HAS_LATE, has_late);
        }
    }

    /// Marks a series as defined in WAL segment `epoch`, writing the definition if it is not there.
    /// Returns the base that its next row value is XORed with.
    #[inline]
    pub(crate) fn wal_base(&mut self, id: u32, epoch: u32) -> u64 {
        let series = &mut self.series[id as usize];
        if series.wal_epoch == epoch {
            return if series.has(HAS_ROW) {
                series.last_bits
            } else {
                0
            };
        }
        series.wal_epoch = epoch;
        series.set(HAS_ROW, false);
        self.define_in_wal(id, epoch);
        0
    }

    /// Whether the newest in-order sample is a staleness marker.
    pub(crate) fn is_stale(&self, id: u32) -> bool {
        let series = &self.series[id as usize];
        if series.has(LAST_IS_HISTOGRAM) {
            return self.histograms.newest(id).is_some_and(|(_, stale)| stale);
        }
        tenbin_model::is_stale(f64::from_bits(series.last_bits))
    }

    fn define_in_wal(&mut self, id: u32, epoch: u32) {
        let pairs = self.pairs(id);
        for pair in &pairs {
            if self.dictionary.pair(*pair).wal_epoch != epoch {
                self.dictionary.pair_mut(*pair).wal_epoch = epoch;
                let (name, value) = self.dictionary.text(*pair);
                self.record.symbol(*pair, name, value);
            }
        }
        self.record.series(id, pairs.iter().copied());
    }

    /// Timestamp of the oldest in-order sample in memory.
    pub(crate) fn oldest_ms(&self) -> Option<i64> {
        self.live.iter().filter_map(|id| self.first_ms(id)).min()
    }

    /// Whether an in-order sample before `before_ms` is in memory.
    pub(crate) fn holds_before(&self, before_ms: i64) -> bool {
        self.live
            .iter()
            .any(|id| self.first_ms(id).is_some_and(|first| first < before_ms))
    }

    /// Bytes of chunk memory.
    pub(crate) fn chunk_bytes(&self) -> u64 {
        let sealed = self.sealed.values().flatten();
        let sealed = sealed.map(|c| c.bytes.len() as u64).sum::<u64>();
        self.slab.bytes() + sealed + self.histograms.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deletion_leaves_the_rest_and_the_order_of_arrival() {
        let mut lane = Lane::new(0, i64::MIN);
        let id = lane.add_series(1, 1, &[("__name__", "up")]);
        for i in 0..100 {
            lane.push(id, i * 10, i as u64);
        }
        lane.push_late(id, 5, 77);
        lane.push_late(id, 995, 78);
        let deleted = lane.delete(id, TimeRange::new(3, 94)).unwrap();
        assert_eq!((deleted.samples, deleted.newest_row_ms), (10, 90));
        assert_eq!(lane.delete(id, TimeRange::new(3, 94)).unwrap().samples, 0);
        let deleted = lane.delete(id, TimeRange::new(500, 2000)).unwrap();
        assert_eq!((deleted.samples, deleted.newest_row_ms), (51, 990));
        assert!(!lane.series[id as usize].has(HAS_LATE));
        let series = &lane.series[id as usize];
        assert_eq!((series.last_ms, series.last_bits), (990, 99));
        assert!(series.has(LAST_GONE));
        lane.push(id, 1000, 5);
        let (mut times, mut values) = (Vec::new(), Vec::new());
        lane.chunk_samples(id, &mut times, &mut values).unwrap();
        let expected: Vec<i64> = [0].into_iter().chain((100..500).step_by(10)).collect();
        assert_eq!(times[..times.len() - 1], expected);
        assert_eq!((times.last(), lane.chunk_count), (Some(&1000), 2));
        lane.delete(id, TimeRange::ALL).unwrap();
        assert_eq!((lane.first_ms(id), lane.chunk_count), (None, 0));
    }

    #[test]
    fn a_flush_leaves_the_rest_of_a_chunk() {
        let mut lane = Lane::new(0, i64::MIN);
        let id = lane.add_series(1, 1, &[("__name__", "up"), ("job", "x")]);
        for i in 0..100 {
            lane.push(id, i * 10, (i % 7) as u64);
        }
        lane.push_late(id, 5, 77);
        lane.begin_flush(500);
        lane.push_late(id, 15, 78);
        assert_eq!(lane.stored_at(id, 5), Some(Stored::Float(77)));
        assert_eq!(lane.first_ms(id), Some(0));
        lane.drop_before(id, 500).unwrap();
        lane.end_flush();
        assert_eq!(lane.first_ms(id), Some(500));
        assert_eq!(lane.stored_at(id, 5), None);
        assert_eq!(lane.stored_at(id, 15), Some(Stored::Float(78)));
        assert_eq!(lane.stored_at(id, 990), Some(Stored::Float(99 % 7)));
        assert_eq!(lane.series[id as usize].last_ms, 990);
        lane.drop_before(id, 1000).unwrap();
        assert_eq!((lane.first_ms(id), lane.chunk_count), (None, 0));
        assert_eq!(lane.delete(id, TimeRange::new(20, 989)).unwrap().samples, 0);
        assert!(!lane.series[id as usize].has(LAST_GONE));
        assert_eq!(lane.delete(id, TimeRange::new(20, 990)).unwrap().samples, 0);
        assert!(lane.series[id as usize].has(LAST_GONE), "it was in a block");
        assert_eq!(lane.labels(id).to_string(), "{__name__=\"up\", job=\"x\"}");
        assert_eq!(lane.remove_series(id), (1, 1));
        lane.shrink();
        assert_eq!(lane.add_series(2, 2, &[("__name__", "b")]), id);
        assert_eq!(lane.labels(id).metric_name(), "b");
    }
}
