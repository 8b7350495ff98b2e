//! From the entries of a request to series: predicted successor, then identity table, then labels.
//!
//! The first pass changes nothing, so it can be given up and repeated with all lanes locked when a
//! request touches several. What it does not know comes in numbers (a new target, a restart), so it
//! is looked up and created in batches.

use std::cell::Cell;
use std::sync::atomic::Ordering;

use parking_lot::MutexGuard;
use tenbin_model::labels::hash128_of_sorted;
use tenbin_model::write::{InvalidLabels, WriteRequest};

use super::lane::Lane;
use super::tables::Tables;
use super::{Head, SeriesRef, count};

/// What an entry was resolved to.
#[derive(Clone, Copy)]
pub(super) enum Resolved {
    Known(SeriesRef),
    /// Known by its labels; the identity hash is new.
    Renamed(SeriesRef, u64),
    /// Index into the new series.
    New(usize),
    Invalid,
}

struct NewSeries {
    key_hash: u64,
    hash: u128,
    pairs: std::ops::Range<usize>,
}

/// The lanes that an append has locked.
pub(super) enum Locked<'a> {
    One(MutexGuard<'a, Lane>),
    All(Vec<MutexGuard<'a, Lane>>),
}

impl Locked<'_> {
    pub(super) fn get(&mut self, number: u32) -> Option<&mut Lane> {
        match self {
            Self::One(lane) => (lane.number == number).then_some(&mut **lane),
            Self::All(lanes) => lanes.get_mut(number as usize).map(|lane| &mut **lane),
        }
    }

    /// The record of everything that the lanes took, for about so many samples.
    pub(super) fn payload(&mut self, samples: usize) -> Vec<u8> {
        // A changed sample takes about two bytes.
        let mut payload = Vec::with_capacity(256 + 3 * samples);
        self.each(|lane| {
            if !lane.record.is_empty() {
                lane.record.finish(lane.number, &mut payload);
            }
        });
        payload
    }

    fn each(&mut self, mut f: impl FnMut(&mut Lane)) {
        match self {
            Self::One(lane) => f(lane),
            Self::All(lanes) => lanes.iter_mut().for_each(|lane| f(lane)),
        }
    }
}

/// Entries for which a thread keeps memory between requests.
const MAX_KEPT: usize = 1 << 15;

thread_local! {
    static RESOLVED: Cell<Vec<Resolved>> = const { Cell::new(Vec::new()) };
}

/// A request with what became of its entries so far.
pub(super) struct Pass<'r, R> {
    request: &'r R,
    pub(super) resolved: Vec<Resolved>,
    new: Vec<NewSeries>,
    /// Label pairs of the new series.
    pairs: Vec<(&'r str, &'r str)>,
    pub(super) invalid: Vec<(usize, InvalidLabels)>,
    /// Entries whose identity is not known, with its hash.
    missed: Vec<(usize, u64)>,
}

/// Entries behind a new series that are looked up together: new series come in numbers.
const LOOK_AHEAD: usize = 64;

/// Identities of the entries to come.
#[derive(Default)]
struct Ahead {
    first: usize,
    key_hashes: Vec<u64>,
    found: Vec<Option<SeriesRef>>,
}

impl Ahead {
    fn look<R: WriteRequest>(&mut self, tables: &Tables, request: &R, first: usize, seed: u64) {
        self.first = first;
        self.key_hashes.clear();
        let entries = first..request.len().min(first + LOOK_AHEAD);
        let hashes = entries.map(|entry| request.identity_hash(entry, seed));
        self.key_hashes.extend(hashes);
        tables.identities(&self.key_hashes, &mut self.found);
    }

    /// Hash and series of an entry that was looked up.
    fn get(&self, entry: usize) -> Option<(u64, Option<SeriesRef>)> {
        let at = entry.checked_sub(self.first)?;
        Some((*self.key_hashes.get(at)?, self.found[at]))
    }
}

impl<'r, R> Pass<'r, R> {
    pub(super) fn new(request: &'r R) -> Self {
        Self {
            request,
            resolved: RESOLVED.take(),
            new: Vec::new(),
            pairs: Vec::new(),
            invalid: Vec::new(),
            missed: Vec::new(),
        }
    }

    /// Leaves the list's memory to the thread's next request.
    pub(super) fn give_back(&mut self) {
        let mut resolved = std::mem::take(&mut self.resolved);
        if resolved.capacity() <= MAX_KEPT {
            resolved.clear();
            RESOLVED.set(resolved);
        }
    }
}

impl Head {
    /// The lane of the first entry, or for a new series the one where the connection's now go.
    pub(super) fn home_lane<R: WriteRequest>(&self, connection: u64, request: &R) -> u32 {
        let first = (!request.is_empty()).then(|| request.identity_hash(0, self.seed));
        match first.and_then(|hash| self.tables.identity(hash)) {
            Some(at) => at.lane,
            None => self.homes.lane(connection, request.len(), |lane| {
                self.lane_series[lane as usize].load(Ordering::Relaxed)
            }),
        }
    }

    /// Finds the series of every entry; changes nothing. `None` when a lane is needed that is not locked.
    pub(super) fn resolve<'r, R: WriteRequest>(
        &self,
        pass: &mut Pass<'r, R>,
        locked: &mut Locked<'_>,
    ) -> Option<()> {
        let mut previous: Option<SeriesRef> = None;
        let mut ahead = Ahead::default();
        for entry in 0..pass.request.len() {
            let looked_up = ahead.get(entry);
            let (key_hash, mut at) =
                looked_up.unwrap_or_else(|| (pass.request.identity_hash(entry, self.seed), None));
            if at.is_none()
                && let Some(before) = previous
                && let Some(lane) = locked.get(before.lane)
            {
                let predicted = lane.series[before.id as usize].next_id;
                if lane
                    .series
                    .get(predicted as usize)
                    .is_some_and(|s| s.key_hash == key_hash)
                {
                    lane.prefetch(predicted);
                    at = Some(SeriesRef {
                        lane: before.lane,
                        id: predicted,
                    });
                }
            }
            if at.is_none() && looked_up.is_none() {
                at = self.tables.identity(key_hash);
                if at.is_none() {
                    ahead.look(&self.tables, pass.request, entry + 1, self.seed);
                }
            }
            match at {
                Some(at) => {
                    locked.get(at.lane)?;
                    pass.resolved.push(Resolved::Known(at));
                    previous = Some(at);
                }
                None => {
                    pass.missed.push((entry, key_hash));
                    // Until its labels were looked at.
                    pass.resolved.push(Resolved::Invalid);
                }
            }
        }
        self.resolve_missed(pass, locked)
    }

    /// The slow path: looks at the labels of the entries whose identity is not known.
    fn resolve_missed<R: WriteRequest>(
        &self,
        pass: &mut Pass<'_, R>,
        locked: &mut Locked<'_>,
    ) -> Option<()> {
        let (mut labels, mut scratch) = (Vec::new(), Vec::new());
        let mut entries = Vec::with_capacity(pass.missed.len());
        for (entry, key_hash) in std::mem::take(&mut pass.missed) {
            if let Err(reason) = pass.request.labels(entry, &mut labels) {
                pass.invalid.push((entry, reason));
                continue;
            }
            let start = pass.pairs.len();
            let hash = hash128_of_sorted(&labels, &mut scratch);
            pass.pairs.append(&mut labels);
            entries.push(entry);
            pass.new.push(NewSeries {
                key_hash,
                hash,
                pairs: start..pass.pairs.len(),
            });
        }
        let hashes: Vec<u128> = pass.new.iter().map(|new| new.hash).collect();
        let known = self.tables.canonicals(&hashes);
        let mut new = 0;
        let mut at = 0;
        pass.new.retain(|series| {
            let (entry, known) = (entries[at], known[at]);
            at += 1;
            pass.resolved[entry] = match known {
                Some(at) => Resolved::Renamed(at, series.key_hash),
                None => Resolved::New(new),
            };
            new += usize::from(known.is_none());
            known.is_none()
        });
        for at in known.into_iter().flatten() {
            locked.get(at.lane)?;
        }
        Some(())
    }

    /// Creates the new series; `None` inside where the limit forbids it, outside when another lane
    /// got one of them meanwhile.
    pub(super) fn create<R>(
        &self,
        pass: &Pass<'_, R>,
        locked: &mut Locked<'_>,
        home: u32,
    ) -> Option<Vec<Option<SeriesRef>>> {
        let limit = self.limits.max_series;
        let mut created = Vec::with_capacity(pass.new.len());
        while let Some(next) = pass.new.get(created.len()) {
            let room = match limit {
                0 => u64::MAX,
                _ => limit.saturating_sub(self.series_count()),
            };
            if room == 0 {
                let known = self.tables.canonical(next.hash);
                if let Some(known) = known {
                    locked.get(known.lane)?;
                }
                created.push(known);
                continue;
            }
            let batch = &pass.new[created.len()..];
            let batch = &batch[..batch.len().min(room as usize)];
            let lane = locked.get(home)?;
            let hashes = batch.iter().map(|new| new.hash);
            let all = self.register(lane, hashes, |lane, i| {
                let new = &batch[i];
                lane.add_series(new.key_hash, new.hash, &pass.pairs[new.pairs.clone()])
            });
            let added = batch.iter().zip(&all);
            let added = added.filter_map(|(new, at)| Some((new.key_hash, at.ok()?)));
            let added: Vec<(u64, SeriesRef)> = added.collect();
            self.tables.insert_identities(&added);
            count(&self.counters.series_created, added.len() as u64);
            for at in all {
                let at = at.unwrap_or_else(|known| known);
                locked.get(at.lane)?;
                created.push(Some(at));
            }
        }
        Some(created)
    }

    /// Gives a series the identity hash of the sender that wrote it last.
    pub(super) fn rename(&self, locked: &mut Locked<'_>, at: SeriesRef, key_hash: u64) {
        if let Some(lane) = locked.get(at.lane) {
            let series = &mut lane.series[at.id as usize];
            if series.key_hash != 0 {
                self.tables.remove_identity(series.key_hash, at);
            }
            series.key_hash = key_hash;
            self.tables.insert_identity(key_hash, at);
        }
    }
}
