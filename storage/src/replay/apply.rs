//! Applies the records of WAL segments to the head. Several appliers may run at once, each for the
//! records of its lanes.
//!
//! A series that moved between lanes since may then be filled from two sides; what comes behind its
//! newest sample is kept as late, so the content is the same.

use hashbrown::HashMap;
use parking_lot::MutexGuard;
use smallvec::SmallVec;
use tenbin_model::TimeRange;
use tenbin_model::labels::hash128_of_sorted;
use tenbin_model::write::MetadataEntry;

use super::sparse::{Absent, Place, Sparse};
use crate::exemplars::{StoredExemplar, check_texts};
use crate::head::label_arena::LabelArena;
use crate::head::lane::Lane;
use crate::head::series::HAS_SAMPLES;
use crate::head::{Head, SeriesRef};
use crate::histogram::Layout;
use crate::histogram::point::Point;
use crate::wal::record::RecordSink;
use crate::wal::row::Row;

/// "Not defined" and "not created yet" in a [`Slot`] and a [`Symbol`].
const NONE: u32 = u32::MAX;

/// A label pair as one segment defines it.
#[derive(Clone, Copy)]
struct Symbol {
    /// Name and then value in the texts.
    start: usize,
    name_len: u32,
    value_len: u32,
    /// Its id in the lane's dictionary or [`NONE`], as of so many evictions of the lane.
    interned: u32,
    evictions: u64,
}

impl Absent for Symbol {
    const ABSENT: Self = Self {
        start: usize::MAX,
        name_len: 0,
        value_len: 0,
        interned: NONE,
        evictions: 0,
    };

    fn is_absent(&self) -> bool {
        self.start == usize::MAX
    }
}

impl Symbol {
    fn text<'t>(&self, texts: &'t str) -> (&'t str, &'t str) {
        let value = self.start + self.name_len as usize;
        let end = value + self.value_len as usize;
        (&texts[self.start..value], &texts[value..end])
    }

    /// The id in a lane's dictionary.
    fn intern(&mut self, texts: &str, lane: &mut Lane) -> u32 {
        // Pairs are freed by evictions only.
        if self.interned == NONE || self.evictions != lane.evictions {
            let (name, value) = self.text(texts);
            self.interned = lane.dictionary.intern(name, value);
            self.evictions = lane.evictions;
        }
        self.interned
    }
}

/// A series as one segment defines it; small, since a segment may define millions.
#[derive(Clone, Copy)]
struct Slot {
    /// Value bits that the next row is XORed with.
    base: u64,
    /// Place of its symbols, or [`NONE`].
    pairs: u32,
    /// The series, packed, or [`NONE`].
    at: u32,
}

impl Absent for Slot {
    const ABSENT: Self = Self {
        base: 0,
        pairs: NONE,
        at: NONE,
    };

    fn is_absent(&self) -> bool {
        self.pairs == NONE
    }
}

/// What one segment defines for one lane.
#[derive(Default)]
struct Definitions {
    symbols: Sparse<Symbol>,
    texts: String,
    series: Sparse<Slot>,
    arena: LabelArena,
}

impl Definitions {
    /// The label hash of a series; leaves the places of its symbols in `symbols`. `None` when they
    /// are not all known or are no label set.
    fn hash(
        &mut self,
        series: Place,
        symbols: &mut Vec<Place>,
        scratch: &mut Vec<u8>,
    ) -> Option<u128> {
        let first = symbols.len();
        for pair in self.arena.pairs(self.series.at(series).pairs) {
            symbols.push(self.symbols.place(pair)?);
        }
        let symbols = symbols[first..].iter();
        let texts: SmallVec<[_; 16]> = symbols
            .map(|place| self.symbols.at(*place).text(&self.texts))
            .collect();
        let ascending = texts.windows(2).all(|w| w[0].0 < w[1].0);
        if !ascending || check_texts(&texts).is_err() {
            return None;
        }
        Some(hash128_of_sorted(&texts, scratch))
    }
}

/// Series to be created together, and memory for that.
#[derive(Default)]
struct Wanted {
    series: Vec<Place>,
    hashes: Vec<u128>,
    symbols: Vec<Place>,
    /// Where the symbols of each end.
    ends: Vec<usize>,
    scratch: Vec<u8>,
}

/// Applies the records of some lanes, segment after segment.
pub(crate) struct Applier<'a> {
    flushed_ms: i64,
    /// Late samples of this segment are in blocks.
    pub(crate) skip_late: bool,
    /// This applier has the lanes whose number leaves this remainder.
    share: (u32, u32),
    definitions: HashMap<u32, Definitions>,
    wanted: Wanted,
    /// Places of a row's series.
    places: Vec<Place>,
    pub(crate) target: Target<'a>,
    /// Newest in-order sample of this segment.
    pub(crate) max_row_ms: i64,
}

/// What is filled.
pub(crate) struct Target<'a> {
    head: &'a Head,
    locked: Option<MutexGuard<'a, Lane>>,
    pub(crate) samples: u64,
    /// Samples whose base was lost to damage.
    pub(crate) dropped: u64,
    pub(crate) newest_ms: i64,
}

impl Target<'_> {
    fn lane(&mut self, number: u32) -> &mut Lane {
        if self.locked.as_ref().is_some_and(|l| l.number != number) {
            self.locked = None;
        }
        let head = self.head;
        self.locked.get_or_insert_with(|| head.lane(number))
    }

    /// Touches the chunk of a series when its lane is locked.
    #[inline]
    fn prefetch(&self, at: u32) {
        if let Some(lane) = self.locked.as_deref()
            && at != NONE
        {
            let at = SeriesRef::unpacked(at, self.head.lane_count());
            if at.lane == lane.number {
                lane.prefetch(at.id);
            }
        }
    }

    fn sample(&mut self, at: u32, timestamp_ms: i64, bits: u64) {
        if at == NONE {
            self.dropped += 1;
            return;
        }
        let at = SeriesRef::unpacked(at, self.head.lane_count());
        self.samples += 1;
        self.newest_ms = self.newest_ms.max(timestamp_ms);
        let lane = self.lane(at.lane);
        let series = &lane.series[at.id as usize];
        if !series.has(HAS_SAMPLES) || timestamp_ms > series.last_ms {
            lane.push(at.id, timestamp_ms, bits);
        } else if lane.stored_at(at.id, timestamp_ms).is_none() {
            lane.push_late(at.id, timestamp_ms, bits);
        }
    }
}

impl<'a> Applier<'a> {
    /// Number `share.0` of `share.1` appliers.
    pub(crate) fn new(head: &'a Head, flushed_ms: i64, share: (u32, u32)) -> Self {
        Self {
            flushed_ms,
            skip_late: false,
            share,
            definitions: HashMap::default(),
            wanted: Wanted::default(),
            places: Vec::new(),
            target: Target {
                head,
                locked: None,
                samples: 0,
                dropped: 0,
                newest_ms: i64::MIN,
            },
            max_row_ms: i64::MIN,
        }
    }

    /// Forgets what the segment before defined.
    pub(crate) fn begin_segment(&mut self, skip_late: bool) {
        self.skip_late = skip_late;
        self.definitions.clear();
        self.target.locked = None;
        self.max_row_ms = i64::MIN;
    }

    /// Lets others have the lane.
    pub(crate) fn end_segment(&mut self) {
        self.target.locked = None;
    }

    /// Finds or creates the series of `wanted`; of some no label set may be known.
    fn create(&mut self, lane: u32) {
        let Some(definitions) = self.definitions.get_mut(&lane) else {
            return;
        };
        let wanted = &mut self.wanted;
        wanted.hashes.clear();
        wanted.symbols.clear();
        wanted.ends.clear();
        wanted.series.retain(|place| {
            let first = wanted.symbols.len();
            let hash = definitions.hash(*place, &mut wanted.symbols, &mut wanted.scratch);
            match hash {
                Some(hash) => wanted.hashes.push(hash),
                None => wanted.symbols.truncate(first),
            }
            if hash.is_some() {
                wanted.ends.push(wanted.symbols.len());
            }
            hash.is_some()
        });
        self.target.locked = None;
        let mut interned: SmallVec<[u32; 16]> = SmallVec::new();
        let (head, symbols) = (self.target.head, &mut definitions.symbols);
        let found = head.replay_series(lane, &wanted.hashes, |lane, i| {
            let first = if i == 0 { 0 } else { wanted.ends[i - 1] };
            interned.clear();
            for place in &wanted.symbols[first..wanted.ends[i]] {
                let symbol = symbols.at_mut(*place);
                interned.push(symbol.intern(&definitions.texts, lane));
            }
            lane.add_series_of(0, wanted.hashes[i], &interned)
        });
        for (place, at) in wanted.series.drain(..).zip(found) {
            definitions.series.at_mut(place).at = at.packed(head.lane_count());
        }
    }

    /// The series of a slot, created when it is needed first.
    fn resolve(&mut self, lane: u32, id: u32) -> Option<SeriesRef> {
        let place = self.definitions.get_mut(&lane)?.series.place(id)?;
        if self.definitions.get(&lane)?.series.at(place).at == NONE {
            self.wanted.series.push(place);
            self.create(lane);
        }
        let at = self.definitions.get(&lane)?.series.at(place).at;
        (at != NONE).then(|| SeriesRef::unpacked(at, self.target.head.lane_count()))
    }

    /// The lane's copy of a layout.
    fn interned(&mut self, lane: u32, layout: &Layout) -> std::sync::Arc<Layout> {
        self.target.lane(lane).histograms.intern(layout.clone())
    }

    /// Turns a row into values and finds its series; returns whether both can be trusted.
    fn resolve_row(&mut self, row: &mut Row) -> bool {
        let Some(definitions) = self.definitions.get_mut(&row.lane) else {
            return false;
        };
        self.places.clear();
        for id in &row.ids {
            let Some(place) = definitions.series.place(*id) else {
                return false;
            };
            self.places.push(place);
        }
        let target = &self.target;
        let resolved = row.resolve(|i| {
            let slot = definitions.series.at(self.places[i]);
            target.prefetch(slot.at);
            slot.base
        });
        if !resolved {
            return false;
        }
        for (place, at_ms) in self.places.iter().zip(&row.timestamps_ms) {
            if definitions.series.at(*place).at == NONE && *at_ms >= self.flushed_ms {
                self.wanted.series.push(*place);
            }
        }
        if !self.wanted.series.is_empty() {
            self.create(row.lane);
        }
        true
    }
}

impl RecordSink for Applier<'_> {
    fn wants(&self, lane: u32) -> bool {
        lane % self.share.1 == self.share.0
    }

    fn symbol(&mut self, lane: u32, pair: u32, name: &str, value: &str) {
        let definitions = self.definitions.entry(lane).or_default();
        let start = definitions.texts.len();
        definitions.texts.push_str(name);
        definitions.texts.push_str(value);
        let symbol = Symbol {
            start,
            name_len: name.len() as u32,
            value_len: value.len() as u32,
            ..Symbol::ABSENT
        };
        definitions.symbols.put(pair, symbol);
    }

    fn series(&mut self, lane: u32, id: u32, pairs: &[u32]) {
        let definitions = self.definitions.entry(lane).or_default();
        let slot = Slot {
            pairs: definitions.arena.push(pairs),
            ..Slot::ABSENT
        };
        definitions.series.put(id, slot);
    }

    fn row(&mut self, row: &mut Row) {
        if !self.resolve_row(row) {
            self.target.dropped += row.ids.len() as u64;
            return;
        }
        let Some(definitions) = self.definitions.get_mut(&row.lane) else {
            return;
        };
        let samples = row.timestamps_ms.iter().zip(&row.xors);
        for (place, (at_ms, bits)) in self.places.iter().zip(samples) {
            let slot = definitions.series.at_mut(*place);
            slot.base = *bits;
            self.max_row_ms = self.max_row_ms.max(*at_ms);
            if *at_ms < self.flushed_ms {
                self.target.newest_ms = self.target.newest_ms.max(*at_ms);
            } else {
                self.target.sample(slot.at, *at_ms, *bits);
            }
        }
    }

    fn late(&mut self, lane: u32, id: u32, timestamp_ms: i64, bits: u64) {
        if self.skip_late {
            return;
        }
        let Some(at) = self.resolve(lane, id) else {
            self.target.dropped += 1;
            return;
        };
        self.target.samples += 1;
        self.target
            .lane(at.lane)
            .push_late(at.id, timestamp_ms, bits);
    }

    fn exemplar(&mut self, lane: u32, id: u32, exemplar: StoredExemplar) {
        // A series that is not known lost its samples too.
        if let Some(at) = self.resolve(lane, id) {
            let head = self.target.head;
            let lane = self.target.lane(at.lane);
            let labels = || lane.labels(at.id);
            head.exemplars.restore(lane.hash(at.id), labels, exemplar);
        }
    }

    fn metadata(&mut self, entry: &MetadataEntry<'_>) {
        self.target.head.metadata.note(entry);
    }

    fn tombstone(&mut self, lane: u32, id: u32, range: TimeRange) {
        if let Some(at) = self.resolve(lane, id) {
            // What is in memory was written by this process: it decodes.
            let _ = self.target.lane(at.lane).delete(at.id, range);
        }
    }

    fn histogram(&mut self, lane: u32, id: u32, late: bool, mut point: Point) {
        let at_ms = point.at_ms;
        if late && self.skip_late {
            return;
        }
        if !late {
            self.max_row_ms = self.max_row_ms.max(at_ms);
            self.target.newest_ms = self.target.newest_ms.max(at_ms);
            if at_ms < self.flushed_ms {
                return;
            }
        }
        let Some(at) = self.resolve(lane, id) else {
            self.target.dropped += 1;
            return;
        };
        self.target.samples += 1;
        point.layout = self.interned(at.lane, &point.layout);
        let lane = self.target.lane(at.lane);
        let series = &lane.series[at.id as usize];
        if !late && (!series.has(HAS_SAMPLES) || at_ms > series.last_ms) {
            lane.push_histogram(at.id, &point);
        } else if late || lane.stored_at(at.id, at_ms).is_none() {
            lane.push_late_histogram(at.id, point);
        }
    }

    fn start(&mut self, lane: u32, id: u32, timestamp_ms: i64, start_ms: i64, late: bool) {
        if (late && self.skip_late) || (!late && timestamp_ms < self.flushed_ms) {
            return;
        }
        // A series that is not known lost its samples too.
        if let Some(at) = self.resolve(lane, id) {
            let lane = self.target.lane(at.lane);
            if late {
                lane.push_late_start(at.id, timestamp_ms, start_ms);
            } else {
                lane.push_start(at.id, timestamp_ms, start_ms);
            }
        }
    }
}
