//! Reading from the head: matching, and copies of what a selection needs.

use std::collections::BTreeSet;
use std::sync::Arc;

use croaring::Bitmap;
use hashbrown::HashMap;
use tenbin_model::{Interrupt, Labels, Matcher, StoreError, TimeRange};

use super::Head;
use super::chunk::ChunkBytes;
use super::histograms::Run;
use super::journal::{Cut, TooOld};
use super::lane::Lane;
use super::series::{HAS_LATE, HAS_SIDE};
use super::starts::SeriesStarts;
use crate::error::Corruption;
use crate::histogram::point::Point;
use crate::query::matching::{LabelIndex, select_until};
use crate::query::merge::{Columns, Samples, merge_samples};

/// Series copied before the lane's lock is given up for a moment.
const SLICE: usize = 256;

/// After so many evictions during a selection the lock is kept to the end.
const MAX_RESTARTS: usize = 3;

/// A copy of a head series: labels and compressed samples.
pub(crate) struct HeadSeries {
    pub(crate) hash: u128,
    pub(crate) labels: Labels,
    pub(crate) samples: HeadSamples,
    /// In-order samples behind this are newer than the snapshot.
    pub(crate) last_ms: i64,
}

/// A copy of the samples of a series.
#[derive(Default)]
pub(crate) struct HeadSamples {
    /// In-order floats, oldest chunk first.
    chunks: Vec<ChunkBytes>,
    /// In-order histograms, oldest run first.
    runs: Vec<Arc<Run>>,
    /// Late floats, one per timestamp.
    late: Vec<(i64, u64)>,
    late_histograms: Vec<Point>,
    starts: Option<Box<SeriesStarts>>,
}

impl HeadSamples {
    fn is_empty(&self) -> bool {
        self.chunks.is_empty()
            && self.runs.is_empty()
            && self.late.is_empty()
            && self.late_histograms.is_empty()
    }

    /// Merges the samples inside `range` into `out`, of the in-order ones those up to `last_ms`.
    /// `part` and `spare` are memory to work with.
    pub(crate) fn read(
        &self,
        range: TimeRange,
        last_ms: i64,
        out: &mut Samples,
        part: &mut Samples,
        spare: &mut Columns,
    ) -> Result<(), Corruption> {
        let damaged =
            |m: crate::codec::Malformed| Corruption::new("head (memory)", 0, "a chunk", m.0);
        part.clear();
        for chunk in &self.chunks {
            let floats = &mut part.floats;
            chunk
                .decode(&mut floats.times, &mut floats.values)
                .map_err(damaged)?;
        }
        for run in &self.runs {
            run.decode(&mut part.histograms).map_err(damaged)?;
        }
        if let Some(starts) = &self.starts {
            starts.of(&part.floats.times, &mut part.floats.starts);
        }
        part.clip(range.min_ms, range.max_ms.min(last_ms));
        merge_samples(out, part, spare);
        if self.late.is_empty() && self.late_histograms.is_empty() {
            return Ok(());
        }
        part.clear();
        let floats = &mut part.floats;
        floats.times.extend(self.late.iter().map(|s| s.0));
        let values = self.late.iter().map(|s| f64::from_bits(s.1));
        floats.values.extend(values);
        if let Some(starts) = &self.starts {
            starts.of_late(&floats.times, &mut floats.starts);
        }
        part.histograms.extend_from_slice(&self.late_histograms);
        part.clip(range.min_ms, range.max_ms);
        merge_samples(out, part, spare);
        Ok(())
    }
}

fn too_old(TooOld: TooOld) -> StoreError {
    StoreError::Limit("the query took so long that its snapshot of the head is gone".into())
}

impl LabelIndex for Lane {
    fn all(&self) -> Bitmap {
        self.live.clone()
    }

    fn add_pair(&self, name: &str, value: &str, target: &mut Bitmap) -> Result<(), StoreError> {
        if let Some(pair) = self.dictionary.find(name, value) {
            self.dictionary.pair(pair).series.add_to(target);
        }
        Ok(())
    }

    fn add_values(
        &self,
        name: &str,
        prefix: &str,
        accept: &mut dyn FnMut(&str) -> Result<bool, StoreError>,
        target: &mut Bitmap,
    ) -> Result<(), StoreError> {
        for pair in self.dictionary.pairs_of(name) {
            let pair = self.dictionary.pair(*pair);
            if pair.value.starts_with(prefix) && accept(&pair.value)? {
                pair.series.add_to(target);
            }
        }
        Ok(())
    }

    fn values(
        &self,
        name: &str,
        within: Option<&Bitmap>,
        each: &mut dyn FnMut(&str),
    ) -> Result<(), StoreError> {
        let pairs = self.dictionary.pairs_of(name);
        if let Some(few) = within.filter(|w| w.cardinality() < pairs.len() as u64) {
            // Cheaper to look at these series than at the postings of all values.
            let name = pairs.first().map(|pair| self.dictionary.pair(*pair).name);
            let mut found = BTreeSet::new();
            for id in few.iter() {
                let own = |pair: &u32| Some(self.dictionary.pair(*pair).name) == name;
                found.extend(self.pairs(id).into_iter().find(own));
            }
            for pair in found {
                each(&self.dictionary.pair(pair).value);
            }
            return Ok(());
        }
        for pair in pairs {
            if self.pair_touches(*pair, within) {
                each(&self.dictionary.pair(*pair).value);
            }
        }
        Ok(())
    }

    fn names(&self, within: Option<&Bitmap>, each: &mut dyn FnMut(&str)) -> Result<(), StoreError> {
        let all_pairs = self.dictionary.len() as u64;
        if let Some(few) = within.filter(|w| w.cardinality() < all_pairs) {
            let mut found = BTreeSet::new();
            for id in few.iter() {
                for pair in self.pairs(id) {
                    found.insert(self.dictionary.pair(pair).name);
                }
            }
            for name in found {
                each(self.dictionary.name(name));
            }
            return Ok(());
        }
        for name in self.dictionary.names() {
            if name.pairs.iter().any(|p| self.pair_touches(*p, within)) {
                each(&name.text);
            }
        }
        Ok(())
    }
}

impl Lane {
    fn pair_touches(&self, pair: u32, within: Option<&Bitmap>) -> bool {
        within.is_none_or(|within| self.dictionary.pair(pair).series.intersects(within))
    }

    /// A copy of a series, if it may have samples inside `range`.
    fn copy_series(&self, id: u32, range: TimeRange, cut: Option<&Cut>) -> Option<HeadSeries> {
        let last_ms = cut.map_or(i64::MAX, |cut| cut.last_ms);
        let keeps =
            |at_ms| range.contains(at_ms) && cut.is_none_or(|cut| cut.keeps(at_ms, u32::MAX));
        let series = &self.series[id as usize];
        let in_order = self.first_ms(id).is_some_and(|first| {
            first <= last_ms && range.overlaps(TimeRange::new(first, series.last_ms))
        });
        let mut late: Vec<(i64, u64)> = Vec::new();
        if series.has(HAS_LATE) {
            let flushing = self.flushing_late.of(id).iter();
            late.extend(flushing.filter(|s| keeps(s.0)));
            let first_stored = late.len();
            for sample in self.late.of(id).iter().filter(|s| keeps(s.0)) {
                if late[..first_stored]
                    .binary_search_by_key(&sample.0, |s| s.0)
                    .is_err()
                {
                    late.push(*sample);
                }
            }
            late.sort_unstable_by_key(|s| s.0);
        }
        let mut samples = HeadSamples {
            late,
            ..HeadSamples::default()
        };
        if in_order {
            samples.chunks = self.copy_chunks(id);
        }
        if series.has(HAS_SIDE) {
            if in_order {
                samples.runs = self.histograms.copy_runs(id);
            }
            let late = self.late_histograms(id).into_iter();
            samples.late_histograms = late.filter(|p| keeps(p.at_ms)).collect();
        }
        if samples.is_empty() {
            return None;
        }
        if self.has_starts(id) {
            samples.starts = Some(Box::new(self.starts.copy(id)));
        }
        Some(HeadSeries {
            hash: self.hash(id),
            labels: self.labels(id),
            samples,
            last_ms,
        })
    }

    /// Late histograms, one per timestamp: what a flush is writing was stored first.
    fn late_histograms(&self, id: u32) -> Vec<Point> {
        let mut all = self.histograms.flushing_late(id).to_vec();
        crate::histogram::point::merge_points(&mut all, &mut self.histograms.late(id).to_vec());
        all
    }

    /// What a flush takes of a series: in-order samples before `before_ms` and others are inside,
    /// and late ones inside `late`.
    pub(crate) fn copy_flushing(
        &self,
        id: u32,
        before_ms: i64,
        late: TimeRange,
    ) -> Option<HeadSamples> {
        let series = &self.series[id as usize];
        let floats = self.flushing_late.of(id).iter();
        let mut samples = HeadSamples {
            late: floats.filter(|s| late.contains(s.0)).copied().collect(),
            ..HeadSamples::default()
        };
        let in_order = self.first_ms(id).is_some_and(|first| first < before_ms);
        if in_order {
            samples.chunks = self.copy_chunks(id);
        }
        if series.has(HAS_SIDE) {
            if in_order {
                samples.runs = self.histograms.copy_runs(id);
            }
            let points = self.histograms.flushing_late(id).iter();
            let points = points.filter(|p| late.contains(p.at_ms));
            samples.late_histograms = points.cloned().collect();
        }
        if self.has_starts(id) {
            samples.starts = Some(Box::new(self.starts.copy_flushing(id)));
        }
        (!samples.is_empty()).then_some(samples)
    }
}

impl Head {
    /// Opens a snapshot: a journal position of each lane. `locked` is called while nothing can be
    /// appended.
    pub(crate) fn open_snapshot<T>(&self, locked: impl FnOnce() -> T) -> (Vec<u64>, T) {
        let mut lanes = self.all_lanes();
        let positions = lanes.iter_mut().map(|lane| lane.journal.open()).collect();
        (positions, locked())
    }

    /// Ends a snapshot.
    pub(crate) fn close_snapshot(&self, snapshot: &[u64]) {
        for (number, position) in snapshot.iter().enumerate() {
            self.lane(number as u32).journal.close(*position);
        }
    }

    /// By label hash, what the head took after a snapshot.
    pub(crate) fn cuts(&self, snapshot: &[u64]) -> Result<HashMap<u128, Cut>, StoreError> {
        let mut cuts = HashMap::new();
        for (number, position) in snapshot.iter().enumerate() {
            let lane = self.lane(number as u32);
            let cut = lane
                .journal
                .cut_hashes(*position, |id| lane.hash(id), &mut cuts);
            cut.map_err(too_old)?;
        }
        Ok(cuts)
    }

    /// Copies what a snapshot has of the series that match and may have samples inside `range`.
    pub(crate) fn select(
        &self,
        snapshot: &[u64],
        matchers: &[Matcher],
        range: TimeRange,
        interrupt: &Interrupt,
    ) -> Result<Vec<HeadSeries>, StoreError> {
        let mut found = Vec::new();
        for (number, position) in snapshot.iter().enumerate() {
            let start = found.len();
            for restart in 0.. {
                found.truncate(start);
                if self.select_lane(
                    (number as u32, *position),
                    matchers,
                    range,
                    (restart, interrupt),
                    &mut found,
                )? {
                    break;
                }
            }
        }
        Ok(found)
    }

    /// One lane's part; false when series were evicted meanwhile and all must be done again.
    fn select_lane(
        &self,
        (number, mut position): (u32, u64),
        matchers: &[Matcher],
        range: TimeRange,
        (restart, interrupt): (usize, &Interrupt),
        found: &mut Vec<HeadSeries>,
    ) -> Result<bool, StoreError> {
        let mut lane = self.lane(number);
        let ids = select_until(&*lane, matchers, interrupt)?.to_vec();
        let evictions = lane.evictions;
        let mut cuts = HashMap::new();
        for (slice, slice_ids) in ids.chunks(SLICE).enumerate() {
            interrupt.check()?;
            let ids_left = &ids[slice * SLICE..];
            if slice > 0 && restart < MAX_RESTARTS {
                // Lets waiting appends in.
                drop(lane);
                lane = self.lane(number);
                if lane.evictions != evictions {
                    return Ok(false);
                }
            }
            let cut = lane.journal.cut(position, ids_left, &mut cuts);
            position = cut.map_err(too_old)?;
            let copies = slice_ids
                .iter()
                .filter_map(|id| lane.copy_series(*id, range, cuts.get(id)));
            found.extend(copies);
        }
        Ok(true)
    }

    /// Runs `f` on every lane in turn.
    pub(crate) fn each_lane<E>(
        &self,
        mut f: impl FnMut(&mut Lane) -> Result<(), E>,
    ) -> Result<(), E> {
        (0..self.lane_count()).try_for_each(|number| f(&mut self.lane(number)))
    }
}
