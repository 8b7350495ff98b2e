//! From a decoded request to samples in lanes and a record in the WAL.
//!
//! Two passes under the lane's lock: resolve every entry to a series ([`super::resolve`]), then admit
//! its samples.

use tenbin_model::write::{AppendReport, InvalidLabels, RejectReason, WriteRequest};
use tenbin_model::{STALE_NAN_BITS, Sample};

use super::lane::{Lane, Stored};
use super::resolve::{Locked, Pass, Resolved};
use super::series::{HAS_ROW, HAS_SAMPLES, LAST_GONE, LAST_IS_HISTOGRAM};
use super::{Head, SeriesRef, count};
use crate::changes::Touched;
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

    /// `None` when a lane is needed that is not locked.
    fn append_locked<R: WriteRequest>(
        &self,
        wal: &Wal,
        home: u32,
        mut locked: Locked<'_>,
        request: &R,
        terms: Terms,
    ) -> Option<(AppendReport, Commit)> {
        let mut pass = Pass::new(request);
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
            touched: Touched::new(&self.changes),
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
    touched: Touched<'a>,
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
        self.touched.at(at_ms);
        self.newest_ms = self.newest_ms.max(at_ms);
        self.max_row_ms = self.max_row_ms.max(at_ms);
        self.samples += 1;
    }

    /// Notes a late sample that was added and logged.
    pub(super) fn took_late(&mut self, lane: &mut Lane, id: u32, at_ms: i64) {
        lane.journal.late(id, at_ms);
        self.touched.at(at_ms);
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
