//! Applies the records of WAL segments to the head. Several appliers may run at once, each for the
//! records of its lanes.
//!
//! A series that moved between lanes since may then be filled from two sides; what comes behind its
//! newest sample is kept as late, so the content is the same.

use hashbrown::HashMap;
use parking_lot::MutexGuard;
use tenbin_model::TimeRange;
use tenbin_model::labels::hash128_of_sorted;
use tenbin_model::write::MetadataEntry;

use crate::exemplars::{StoredExemplar, check_texts};
use crate::head::label_arena::LabelArena;
use crate::head::lane::Lane;
use crate::head::paged::Paged;
use crate::head::series::HAS_SAMPLES;
use crate::head::{Head, SeriesRef};
use crate::histogram::Layout;
use crate::histogram::point::Point;
use crate::wal::record::RecordSink;
use crate::wal::row::Row;

/// Slots that are found together.
const PAGE: u32 = 16;

/// Ids whose pages are found together; few, since ids may be anything.
const REGION: u32 = 1 << 12;

/// Pages of a region.
const PAGES: usize = (REGION / PAGE) as usize;

/// A label pair as one segment defines it.
struct Symbol {
    name: Box<str>,
    value: Box<str>,
    /// Its id in the lane's dictionary, as of so many evictions of the lane.
    interned: Option<(u64, u32)>,
}

/// "Not defined" and "not created yet" in a [`Slot`].
const NONE: u32 = u32::MAX;

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

const UNDEFINED: Slot = Slot {
    base: 0,
    pairs: NONE,
    at: NONE,
};

/// What one segment defines for one lane.
#[derive(Default)]
struct Definitions {
    symbols: HashMap<u32, Symbol, foldhash::fast::RandomState>,
    /// By id / [`REGION`]: place in `regions`.
    region_places: HashMap<u32, usize, foldhash::fast::RandomState>,
    last_region: Option<(u32, usize)>,
    /// Places in `slots` of the pages of a region, or [`NONE`].
    regions: Vec<[u32; PAGES]>,
    slots: Paged<[Slot; PAGE as usize], 256>,
    arena: LabelArena,
}

impl Definitions {
    #[inline]
    fn slot(&mut self, id: u32) -> Option<&mut Slot> {
        let number = id / REGION;
        let region = match self.last_region {
            Some((last, at)) if last == number => at,
            _ => {
                let at = *self.region_places.get(&number)?;
                self.last_region = Some((number, at));
                at
            }
        };
        let page = self.regions[region][(id % REGION / PAGE) as usize];
        if page == NONE {
            return None;
        }
        let slot = &mut self.slots[page as usize][(id % PAGE) as usize];
        (slot.pairs != NONE).then_some(slot)
    }

    fn define(&mut self, id: u32, pairs: &[u32]) {
        let regions = &mut self.regions;
        let region = *self.region_places.entry(id / REGION).or_insert_with(|| {
            regions.push([NONE; PAGES]);
            regions.len() - 1
        });
        let page = &mut regions[region][(id % REGION / PAGE) as usize];
        if *page == NONE {
            *page = self.slots.len() as u32;
            self.slots.push([UNDEFINED; PAGE as usize]);
        }
        self.slots[*page as usize][(id % PAGE) as usize] = Slot {
            pairs: self.arena.push(pairs),
            ..UNDEFINED
        };
    }
}

/// Applies the records of some lanes, segment after segment.
pub(crate) struct Applier<'a> {
    head: &'a Head,
    flushed_ms: i64,
    /// Late samples of this segment are in blocks.
    pub(crate) skip_late: bool,
    /// This applier has the lanes whose number leaves this remainder.
    share: (u32, u32),
    definitions: HashMap<u32, Definitions>,
    locked: Option<MutexGuard<'a, Lane>>,
    pub(crate) samples: u64,
    /// Samples whose base was lost to damage.
    pub(crate) dropped: u64,
    /// Newest in-order sample of this segment.
    pub(crate) max_row_ms: i64,
    pub(crate) newest_ms: i64,
    scratch: String,
}

impl<'a> Applier<'a> {
    /// Number `share.0` of `share.1` appliers.
    pub(crate) fn new(head: &'a Head, flushed_ms: i64, share: (u32, u32)) -> Self {
        Self {
            head,
            flushed_ms,
            skip_late: false,
            share,
            definitions: HashMap::default(),
            locked: None,
            samples: 0,
            dropped: 0,
            max_row_ms: i64::MIN,
            newest_ms: i64::MIN,
            scratch: String::new(),
        }
    }

    /// Forgets what the segment before defined.
    pub(crate) fn begin_segment(&mut self, skip_late: bool) {
        self.skip_late = skip_late;
        self.definitions.clear();
        self.locked = None;
        self.max_row_ms = i64::MIN;
    }

    /// Lets others have the lane.
    pub(crate) fn end_segment(&mut self) {
        self.locked = None;
    }

    /// The series of a slot, created when it is needed first.
    fn resolve(&mut self, lane: u32, id: u32) -> Option<SeriesRef> {
        let definitions = self.definitions.get_mut(&lane)?;
        let slot = definitions.slot(id)?;
        let lanes = self.head.lane_count();
        if slot.at != NONE {
            return Some(SeriesRef::unpacked(slot.at, lanes));
        }
        let place = slot.pairs;
        let pairs = definitions.arena.pairs(place);
        let mut texts = Vec::with_capacity(pairs.len());
        for pair in &pairs {
            let symbol = definitions.symbols.get(pair)?;
            texts.push((&*symbol.name, &*symbol.value));
        }
        let ascending = texts.windows(2).all(|w| w[0].0 < w[1].0);
        if !ascending || check_texts(&texts).is_err() {
            return None;
        }
        let hash = hash128_of_sorted(&texts, &mut self.scratch);
        drop(texts);
        self.locked = None;
        let mut interned = Vec::with_capacity(pairs.len());
        let symbols = &mut definitions.symbols;
        let at = self.head.replay_series(lane, hash, |lane| {
            for pair in &pairs {
                if let Some(symbol) = symbols.get_mut(pair) {
                    interned.push(intern(lane, symbol));
                }
            }
            lane.add_series_of(0, hash, &interned)
        });
        definitions.slot(id)?.at = at.packed(lanes);
        Some(at)
    }

    fn lane(&mut self, number: u32) -> &mut Lane {
        if self.locked.as_ref().is_some_and(|l| l.number != number) {
            self.locked = None;
        }
        let head = self.head;
        self.locked.get_or_insert_with(|| head.lane(number))
    }

    /// The lane's copy of a layout.
    fn interned(&mut self, lane: u32, layout: &Layout) -> std::sync::Arc<Layout> {
        self.lane(lane).histograms.intern(layout.clone())
    }

    fn sample(&mut self, at: SeriesRef, timestamp_ms: i64, bits: u64) {
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

/// The id of a symbol in a lane's dictionary.
fn intern(lane: &mut Lane, symbol: &mut Symbol) -> u32 {
    match symbol.interned {
        // Pairs are freed by evictions only.
        Some((evictions, pair)) if evictions == lane.evictions => pair,
        _ => {
            let pair = lane.dictionary.intern(&symbol.name, &symbol.value);
            symbol.interned = Some((lane.evictions, pair));
            pair
        }
    }
}

impl RecordSink for Applier<'_> {
    fn wants(&self, lane: u32) -> bool {
        lane % self.share.1 == self.share.0
    }

    fn symbol(&mut self, lane: u32, pair: u32, name: &str, value: &str) {
        let symbol = Symbol {
            name: name.into(),
            value: value.into(),
            interned: None,
        };
        let definitions = self.definitions.entry(lane).or_default();
        definitions.symbols.insert(pair, symbol);
    }

    fn series(&mut self, lane: u32, id: u32, pairs: &[u32]) {
        self.definitions.entry(lane).or_default().define(id, pairs);
    }

    fn row(&mut self, row: &mut Row) {
        let lane = row.lane;
        let definitions = self.definitions.entry(lane).or_default();
        let locked = self.locked.as_deref();
        let lanes = self.head.lane_count();
        let resolved = row.resolve(|id| {
            let slot = definitions.slot(id)?;
            if let Some(lane) = locked
                && slot.at != NONE
            {
                let at = SeriesRef::unpacked(slot.at, lanes);
                if at.lane == lane.number {
                    lane.prefetch(at.id);
                }
            }
            Some(slot.base)
        });
        if !resolved {
            self.dropped += row.ids.len() as u64;
            return;
        }
        for ((id, at_ms), bits) in row.ids.iter().zip(&row.timestamps_ms).zip(&row.xors) {
            let slot = self.definitions.get_mut(&lane).and_then(|d| d.slot(*id));
            let mut known = None;
            if let Some(slot) = slot {
                slot.base = *bits;
                known = (slot.at != NONE).then(|| SeriesRef::unpacked(slot.at, lanes));
            }
            self.max_row_ms = self.max_row_ms.max(*at_ms);
            if *at_ms < self.flushed_ms {
                self.newest_ms = self.newest_ms.max(*at_ms);
                continue;
            }
            match known.or_else(|| self.resolve(lane, *id)) {
                Some(at) => self.sample(at, *at_ms, *bits),
                None => self.dropped += 1,
            }
        }
    }

    fn late(&mut self, lane: u32, id: u32, timestamp_ms: i64, bits: u64) {
        if self.skip_late {
            return;
        }
        let Some(at) = self.resolve(lane, id) else {
            self.dropped += 1;
            return;
        };
        self.samples += 1;
        self.lane(at.lane).push_late(at.id, timestamp_ms, bits);
    }

    fn exemplar(&mut self, lane: u32, id: u32, exemplar: StoredExemplar) {
        // A series that is not known lost its samples too.
        if let Some(at) = self.resolve(lane, id) {
            let head = self.head;
            let lane = self.lane(at.lane);
            let labels = || lane.labels(at.id);
            head.exemplars.restore(lane.hash(at.id), labels, exemplar);
        }
    }

    fn metadata(&mut self, entry: &MetadataEntry<'_>) {
        self.head.metadata.note(entry);
    }

    fn tombstone(&mut self, lane: u32, id: u32, range: TimeRange) {
        if let Some(at) = self.resolve(lane, id) {
            // What is in memory was written by this process: it decodes.
            let _ = self.lane(at.lane).delete(at.id, range);
        }
    }

    fn histogram(&mut self, lane: u32, id: u32, late: bool, mut point: Point) {
        let at_ms = point.at_ms;
        if late && self.skip_late {
            return;
        }
        if !late {
            self.max_row_ms = self.max_row_ms.max(at_ms);
            self.newest_ms = self.newest_ms.max(at_ms);
            if at_ms < self.flushed_ms {
                return;
            }
        }
        let Some(at) = self.resolve(lane, id) else {
            self.dropped += 1;
            return;
        };
        self.samples += 1;
        point.layout = self.interned(at.lane, &point.layout);
        let lane = self.lane(at.lane);
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
            let lane = self.lane(at.lane);
            if late {
                lane.push_late_start(at.id, timestamp_ms, start_ms);
            } else {
                lane.push_start(at.id, timestamp_ms, start_ms);
            }
        }
    }
}
