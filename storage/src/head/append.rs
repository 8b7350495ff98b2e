//! From a decoded request to samples in lanes and a record in the WAL.
//!
//! Two passes under the lane's lock: resolve every entry to a series (predicted successor, then
//! identity table, then labels), then admit its samples. Nothing is changed by the first pass, so it
//! can be given up and repeated with all lanes locked when a request touches several lanes.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::MutexGuard;
use tenbin_model::labels::hash128_of_sorted;
use tenbin_model::write::{AppendReport, InvalidLabels, RejectReason, WriteRequest};
use tenbin_model::{STALE_NAN_BITS, Sample};

use super::lane::{Lane, Stored};
use super::series::{HAS_ROW, HAS_SAMPLES, LAST_GONE, LAST_IS_HISTOGRAM};
use super::tables::Tables;
use super::{Head, SeriesRef};
use crate::error::AppendError;
use crate::wal::commit::Commit;
use crate::wal::writer::Wal;

/// In-order samples may be this far behind the newest sample of the head, as in Prometheus (half of
/// its two-hour chunk range).
const IN_ORDER_SPAN_MS: i64 = 60 * 60 * 1000;

/// What an append is admitted by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) now_ms: i64,
    /// How far behind the newest sample of the database a late sample may be; 0 = not at all.
    pub(crate) late_window_ms: i64,
}

/// What an entry was resolved to.
#[derive(Clone, Copy)]
enum Resolved {
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
enum Locked<'a> {
    One(MutexGuard<'a, Lane>),
    All(Vec<MutexGuard<'a, Lane>>),
}

impl Locked<'_> {
    fn get(&mut self, number: u32) -> Option<&mut Lane> {
        match self {
            Self::One(lane) => (lane.number == number).then_some(&mut **lane),
            Self::All(lanes) => lanes.get_mut(number as usize).map(|lane| &mut **lane),
        }
    }

    /// The record of everything that the lanes took, for about so many samples.
    fn payload(&mut self, samples: usize) -> Vec<u8> {
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
struct Pass<'r, R> {
    request: &'r R,
    resolved: Vec<Resolved>,
    new: Vec<NewSeries>,
    /// Label pairs of the new series.
    pairs: Vec<(&'r str, &'r str)>,
    invalid: Vec<(usize, InvalidLabels)>,
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

    fn covers(&self, entry: usize) -> bool {
        entry
            .checked_sub(self.first)
            .is_some_and(|at| at < self.key_hashes.len())
    }

    /// Hash and series of an entry that was looked up.
    fn get(&self, entry: usize) -> Option<(u64, Option<SeriesRef>)> {
        let at = entry.checked_sub(self.first)?;
        Some((*self.key_hashes.get(at)?, self.found[at]))
    }
}

impl<R> Pass<'_, R> {
    /// Leaves the list's memory to the thread's next request.
    fn give_back(&mut self) {
        let mut resolved = std::mem::take(&mut self.resolved);
        if resolved.capacity() <= MAX_KEPT {
            resolved.clear();
            RESOLVED.set(resolved);
        }
    }
}

impl Head {
    /// Appends a request and hands its record to the WAL.
    pub(crate) fn append<R: WriteRequest>(
        &self,
        wal: &Wal,
        connection: u64,
        request: &R,
        terms: Terms,
    ) -> Result<(AppendReport, Commit), AppendError> {
        wal.admit()?;
        let home = self.home_lane(connection, request);
        let one = Locked::One(self.lane(home));
        let done = match self.append_locked(wal, home, one, request, terms) {
            Some(done) => done,
            None => {
                let all = Locked::All(self.all_lanes());
                match self.append_locked(wal, home, all, request, terms) {
                    Some(done) => done,
                    None => return Err(AppendError::Limit("series moved between lanes".into())),
                }
            }
        };
        wal.rotate_if_full();
        Ok(done)
    }

    /// The lane of the first entry, or for a new series the one where the connection's now go.
    fn home_lane<R: WriteRequest>(&self, connection: u64, request: &R) -> u32 {
        let first = (!request.is_empty()).then(|| request.identity_hash(0, self.seed));
        match first.and_then(|hash| self.tables.identity(hash)) {
            Some(at) => at.lane,
            None => self.homes.lane(connection, request.len(), |lane| {
                self.lane_series[lane as usize].load(Ordering::Relaxed)
            }),
        }
    }

    /// `None` when a lane is needed that is not locked.
    fn append_locked<R: WriteRequest>(
        &self,
        wal: &Wal,
        home: u32,
        mut locked: Locked<'_>,
        request: &R,
        terms: Terms,
    ) -> Option<(AppendReport, Commit)> {
        let mut pass = Pass {
            request,
            resolved: RESOLVED.take(),
            new: Vec::new(),
            pairs: Vec::new(),
            invalid: Vec::new(),
            missed: Vec::new(),
        };
        let created = self
            .resolve(&mut pass, &mut locked)
            .and_then(|()| self.create(&pass, &mut locked, home));
        let Some(created) = created else {
            pass.give_back();
            return None;
        };
        let turn = wal.turn();
        let mut admission = Admission {
            head: self,
            epoch: turn.seq() as u32,
            terms,
            newest_ms: self.newest_ms(),
            max_row_ms: i64::MIN,
            samples: 0,
            histograms: 0,
            report: AppendReport::default(),
        };
        admission.invalid(&mut pass.invalid);
        let mut previous: Option<SeriesRef> = None;
        for (entry, resolved) in pass.resolved.iter().enumerate() {
            let at = match resolved {
                Resolved::Known(at) => Some(*at),
                Resolved::Renamed(at, key_hash) => {
                    self.rename(&mut locked, *at, *key_hash);
                    Some(*at)
                }
                Resolved::New(index) => match created[*index] {
                    Some(at) => Some(at),
                    None => {
                        let histograms = request.histograms(entry).len();
                        admission.over_limit(entry, request.samples(entry).len() + histograms);
                        None
                    }
                },
                Resolved::Invalid => None,
            };
            let Some(at) = at else { continue };
            if let Some(before) = previous
                && before.lane == at.lane
                && let Some(lane) = locked.get(at.lane)
            {
                lane.series[before.id as usize].next_id = at.id;
            }
            previous = Some(at);
            let lane = locked.get(at.lane)?;
            for sample in request.samples(entry) {
                admission.sample(lane, entry, at.id, sample);
            }
            for sample in request.histograms(entry) {
                admission.histogram(lane, entry, at.id, sample);
            }
            if request.exemplar_count(entry) > 0 {
                admission.exemplars(lane, entry, at.id, request);
            }
        }
        let statements = request.metadata();
        if !statements.is_empty() {
            admission.metadata(locked.get(home)?, &statements);
        }
        self.raise_newest(admission.newest_ms);
        let floats = admission.samples - admission.histograms;
        count(&self.counters.samples, floats);
        count(&self.counters.histograms, admission.histograms);
        pass.give_back();
        let payload = locked.payload(request.len());
        // Even a request of duplicates waits for what it duplicates.
        let commit = if payload.is_empty() {
            wal.commit_of_all()
        } else {
            turn.submit(payload, admission.max_row_ms)
        };
        Some((admission.report, commit))
    }

    fn resolve<'r, R: WriteRequest>(
        &self,
        pass: &mut Pass<'r, R>,
        locked: &mut Locked<'_>,
    ) -> Option<()> {
        let mut previous: Option<SeriesRef> = None;
        let mut ahead = Ahead::default();
        for entry in 0..pass.request.len() {
            let (key_hash, mut at) = match ahead.get(entry) {
                Some(found) => found,
                None => (pass.request.identity_hash(entry, self.seed), None),
            };
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
            if at.is_none() && !ahead.covers(entry) {
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
    fn create<R>(
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
    fn rename(&self, locked: &mut Locked<'_>, at: SeriesRef, key_hash: u64) {
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

pub(super) fn count(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

/// Where a sample belongs.
pub(super) enum Place {
    /// Behind the newest in-order sample of its series.
    InOrder,
    /// At the timestamp of that sample.
    Newest,
    /// Before it, inside the out-of-order window.
    Late,
    Refused(RejectReason),
}

/// Decides about samples and applies them.
pub(super) struct Admission<'a> {
    pub(super) head: &'a Head,
    pub(super) epoch: u32,
    terms: Terms,
    newest_ms: i64,
    max_row_ms: i64,
    /// Samples of both kinds that were stored.
    samples: u64,
    /// Histograms among them.
    pub(super) histograms: u64,
    pub(super) report: AppendReport,
}

impl Admission<'_> {
    /// Where a sample at `at_ms` belongs.
    #[inline]
    pub(super) fn place(&self, lane: &Lane, id: u32, at_ms: i64) -> Place {
        let limits = &self.head.limits;
        let horizon = self.terms.now_ms.saturating_add(limits.max_future_ms);
        if limits.max_future_ms > 0 && at_ms > horizon {
            return Place::Refused(RejectReason::TooFarInFuture);
        }
        let series = &lane.series[id as usize];
        let has_samples = series.has(HAS_SAMPLES);
        if has_samples && at_ms == series.last_ms && !series.has(LAST_GONE) {
            return Place::Newest;
        }
        let newer = !has_samples || at_ms > series.last_ms;
        let span_from_ms = self.newest_ms.saturating_sub(IN_ORDER_SPAN_MS);
        if newer && at_ms >= span_from_ms {
            if at_ms >= lane.min_valid_ms {
                return Place::InOrder;
            }
            // Chunks begin behind the last flush, but for its series the sample is in order: it is
            // taken whatever the window is.
            if lane.newest_late_ms(id).is_none_or(|late| at_ms >= late) {
                return Place::Late;
            }
        }
        let window_ms = self.terms.late_window_ms;
        if window_ms <= 0 {
            return Place::Refused(if at_ms < span_from_ms {
                RejectReason::OutOfBounds
            } else {
                RejectReason::OutOfOrder
            });
        }
        if at_ms < self.newest_ms.saturating_sub(window_ms) {
            return Place::Refused(RejectReason::TooOld);
        }
        Place::Late
    }

    fn sample(&mut self, lane: &mut Lane, entry: usize, id: u32, sample: &Sample) {
        let at_ms = sample.timestamp_ms;
        let bits = sample.value.to_bits();
        match self.place(lane, id, at_ms) {
            Place::InOrder => {
                if bits == STALE_NAN_BITS && lane.series[id as usize].has(LAST_IS_HISTOGRAM) {
                    return self.stale_histogram(lane, entry, id, sample);
                }
                let base = lane.wal_base(id, self.epoch);
                let number = lane.number;
                let start_ms = sample.start_timestamp_ms;
                if start_ms != 0 || lane.has_starts(id) {
                    lane.record.start(id, at_ms, start_ms, false);
                    lane.push_start(id, at_ms, start_ms);
                }
                lane.push(id, at_ms, bits);
                lane.series[id as usize].flags |= HAS_ROW;
                lane.record.sample(number, id, at_ms, bits, base);
                self.took_in_order(lane, id, at_ms);
                self.report.samples_written += 1;
            }
            Place::Newest => {
                let series = &lane.series[id as usize];
                if series.has(LAST_IS_HISTOGRAM) {
                    let stale = bits == STALE_NAN_BITS && lane.is_stale(id);
                    if stale {
                        self.duplicate();
                    } else {
                        self.histogram_stands(entry, sample);
                    }
                    return;
                }
                if bits == series.last_bits {
                    return self.duplicate();
                }
                let existing = f64::from_bits(series.last_bits);
                self.other_value(entry, sample, existing);
            }
            Place::Late => match lane.stored_at(id, at_ms) {
                Some(Stored::Float(stored)) if stored == bits => self.duplicate(),
                Some(Stored::Float(stored)) => {
                    self.other_value(entry, sample, f64::from_bits(stored));
                }
                Some(Stored::Histogram(_)) => self.histogram_stands(entry, sample),
                None => {
                    lane.wal_base(id, self.epoch);
                    lane.push_late(id, at_ms, bits);
                    lane.record.late(id, at_ms, bits);
                    if sample.start_timestamp_ms != 0 {
                        lane.push_late_start(id, at_ms, sample.start_timestamp_ms);
                        let start_ms = sample.start_timestamp_ms;
                        lane.record.start(id, at_ms, start_ms, true);
                    }
                    self.took_late(lane, id, at_ms);
                    self.report.samples_written += 1;
                }
            },
            Place::Refused(reason) => self.reject(entry, reason),
        }
    }

    /// Notes an in-order sample that was added and logged.
    #[inline]
    pub(super) fn took_in_order(&mut self, lane: &mut Lane, id: u32, at_ms: i64) {
        lane.journal.sample(id, at_ms);
        self.newest_ms = self.newest_ms.max(at_ms);
        self.max_row_ms = self.max_row_ms.max(at_ms);
        self.samples += 1;
    }

    /// Notes a late sample that was added and logged.
    pub(super) fn took_late(&mut self, lane: &mut Lane, id: u32, at_ms: i64) {
        lane.journal.late(id, at_ms);
        self.samples += 1;
        count(&self.head.counters.late, 1);
    }

    fn invalid(&mut self, entries: &mut Vec<(usize, InvalidLabels)>) {
        for (entry, reason) in entries.drain(..) {
            self.report.invalid(entry, reason);
            count(&self.head.counters.invalid_entries, 1);
        }
    }

    pub(super) fn duplicate(&mut self) {
        self.report.samples_written += 1;
        count(&self.head.counters.duplicates, 1);
    }

    fn other_value(&mut self, entry: usize, sample: &Sample, existing: f64) {
        self.reject(
            entry,
            RejectReason::Duplicate {
                timestamp_ms: sample.timestamp_ms,
                existing,
                new: sample.value,
            },
        );
    }

    fn over_limit(&mut self, entry: usize, samples: usize) {
        let limit = self.head.limits.max_series;
        for _ in 0..samples {
            self.reject(entry, RejectReason::SeriesLimit { limit });
        }
    }

    fn histogram_stands(&mut self, entry: usize, sample: &Sample) {
        self.reject(
            entry,
            RejectReason::DuplicateHistogram {
                timestamp_ms: sample.timestamp_ms,
                new: sample.value,
            },
        );
    }

    pub(super) fn reject(&mut self, entry: usize, reason: RejectReason) {
        let counters = &self.head.counters;
        let counter = match reason {
            RejectReason::OutOfOrder => &counters.out_of_order,
            RejectReason::OutOfBounds => &counters.out_of_bounds,
            RejectReason::TooOld => &counters.too_old,
            RejectReason::TooFarInFuture => &counters.too_far_in_future,
            RejectReason::Duplicate { .. }
            | RejectReason::DuplicateHistogram { .. }
            | RejectReason::DuplicateTimestamp => &counters.duplicate_other_value,
            RejectReason::SeriesLimit { .. } => &counters.series_limit,
            RejectReason::InvalidHistogram(_) | RejectReason::HistogramTooLarge { .. } => {
                &counters.invalid_histograms
            }
        };
        count(counter, 1);
        self.report.reject(entry, reason);
    }
}
