//! Reading from the head: matching, and copies of what a selection needs.

use croaring::Bitmap;
use hashbrown::HashMap;
use tenbin_model::{Labels, Matcher, StoreError, TimeRange};

use super::Head;
use super::chunk::ChunkBytes;
use super::journal::{Cut, TooOld};
use super::lane::Lane;
use super::series::HAS_LATE;
use crate::query::matching::{LabelIndex, select};

/// Series copied before the lane's lock is given up for a moment.
const SLICE: usize = 256;

/// After so many evictions during a selection the lock is kept to the end.
const MAX_RESTARTS: usize = 3;

/// A copy of a head series: labels and compressed samples.
pub(crate) struct HeadSeries {
    pub(crate) hash: u128,
    pub(crate) labels: Labels,
    /// In-order samples, oldest chunk first.
    pub(crate) chunks: Vec<ChunkBytes>,
    /// In-order samples behind this are newer than the snapshot.
    pub(crate) last_ms: i64,
    /// Late samples, first stored first where two have one timestamp.
    pub(crate) late: Vec<(i64, u64)>,
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
        accept: &mut dyn FnMut(&str) -> bool,
        target: &mut Bitmap,
    ) -> Result<(), StoreError> {
        for pair in self.dictionary.pairs_of(name) {
            let pair = self.dictionary.pair(*pair);
            if pair.value.starts_with(prefix) && accept(&pair.value) {
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
        for pair in self.dictionary.pairs_of(name) {
            if self.pair_touches(*pair, within) {
                each(&self.dictionary.pair(*pair).value);
            }
        }
        Ok(())
    }

    fn names(&self, within: Option<&Bitmap>, each: &mut dyn FnMut(&str)) -> Result<(), StoreError> {
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
        let Some(within) = within else { return true };
        let mut series = Bitmap::new();
        self.dictionary.pair(pair).series.add_to(&mut series);
        series.intersect(within)
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
        if !in_order && late.is_empty() {
            return None;
        }
        Some(HeadSeries {
            hash: self.hash(id),
            labels: self.labels(id),
            chunks: if in_order {
                self.copy_chunks(id)
            } else {
                Vec::new()
            },
            last_ms,
            late,
        })
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
                    restart,
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
        restart: usize,
        found: &mut Vec<HeadSeries>,
    ) -> Result<bool, StoreError> {
        let mut lane = self.lane(number);
        let ids = select(&*lane, matchers)?.to_vec();
        let evictions = lane.evictions;
        let mut cuts = HashMap::new();
        for (slice, slice_ids) in ids.chunks(SLICE).enumerate() {
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
