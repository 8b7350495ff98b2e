//! Exemplars: a bounded memory of the newest ones, in the log until a flush has rewritten their file.
//!
//! Admission as in Prometheus: labels up to 128 characters; the same exemplar again is a success
//! without effect; one that is older than the newest of its series by more than the out-of-order
//! window is refused. Of one timestamp those with the lesser value come first, then by label hash.
//! When there are too many, those that arrived first leave. Source: Prometheus `tsdb/exemplar.go`.

use std::collections::VecDeque;

use hashbrown::HashMap;
use parking_lot::Mutex;
use tenbin_model::labels::MAX_LABELS_TEXT_BYTES;
use tenbin_model::write::{ExemplarError, MAX_EXEMPLAR_LABEL_CHARS};
use tenbin_model::{Labels, Matcher, StoreError, TimeRange};

use crate::codec::Malformed;
use crate::codec::bytes::{Cursor, put_text, put_uvarint, put_varint};
use crate::db::Db;
use crate::wal::record::MAX_PAIRS;

/// An exemplar as it is stored.
#[derive(Debug, Clone)]
pub struct StoredExemplar {
    /// Its own labels, without those of the series.
    pub labels: Labels,
    /// The value.
    pub value: f64,
    /// Milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
}

impl StoredExemplar {
    fn order(&self, other: &Self) -> std::cmp::Ordering {
        let at = self.timestamp_ms.cmp(&other.timestamp_ms);
        at.then_with(|| self.value.total_cmp(&other.value))
            .then_with(|| self.labels.hash128().cmp(&other.labels.hash128()))
    }
}

/// Equal when labels, time and the bits of the value are.
impl PartialEq for StoredExemplar {
    fn eq(&self, other: &Self) -> bool {
        self.labels == other.labels
            && self.timestamp_ms == other.timestamp_ms
            && self.value.to_bits() == other.value.to_bits()
    }
}

/// The exemplars of a series, ascending by time.
#[derive(Debug, Clone, PartialEq)]
pub struct ExemplarSeries {
    /// Labels of the series.
    pub labels: Labels,
    /// Its exemplars.
    pub exemplars: Vec<StoredExemplar>,
}

/// What became of an exemplar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    New,
    /// It was there.
    Known,
}

struct Series {
    labels: Labels,
    exemplars: VecDeque<StoredExemplar>,
}

#[derive(Default)]
struct Ring {
    series: HashMap<u128, Series, foldhash::fast::RandomState>,
    /// Series of the exemplars in order of arrival.
    arrivals: VecDeque<u128>,
    changed: bool,
}

/// All exemplars.
pub(crate) struct Exemplars {
    ring: Mutex<Ring>,
    max: usize,
    window_ms: i64,
}

/// Whether the labels are short enough.
pub(crate) fn check_length<'a>(
    labels: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<(), ExemplarError> {
    let chars = labels.map(|(name, value)| name.chars().count() + value.chars().count());
    if chars.sum::<usize>() > MAX_EXEMPLAR_LABEL_CHARS {
        return Err(ExemplarError::LabelLength);
    }
    Ok(())
}

impl Exemplars {
    /// Keeps at most `max` exemplars (0: takes and drops all).
    pub(crate) fn new(max: usize, window_ms: i64) -> Self {
        Self {
            ring: Mutex::default(),
            max,
            window_ms,
        }
    }

    /// Offers an exemplar; `labels` are asked for when its series has none yet.
    pub(crate) fn add(
        &self,
        series: u128,
        labels: impl FnOnce() -> Labels,
        exemplar: StoredExemplar,
    ) -> Result<Taken, ExemplarError> {
        self.insert(series, labels, exemplar, self.window_ms)
    }

    /// As [`Exemplars::add`] for one that was admitted before.
    pub(crate) fn restore(
        &self,
        series: u128,
        labels: impl FnOnce() -> Labels,
        exemplar: StoredExemplar,
    ) {
        let _ = self.insert(series, labels, exemplar, i64::MAX);
    }

    fn insert(
        &self,
        hash: u128,
        labels: impl FnOnce() -> Labels,
        exemplar: StoredExemplar,
        window_ms: i64,
    ) -> Result<Taken, ExemplarError> {
        check_length(exemplar.labels.iter())?;
        if self.max == 0 {
            return Ok(Taken::Known);
        }
        let mut ring = self.ring.lock();
        let series = ring.series.entry(hash).or_insert_with(|| Series {
            labels: labels(),
            exemplars: VecDeque::new(),
        });
        let place = series.exemplars.binary_search_by(|e| e.order(&exemplar));
        let Err(at) = place else {
            return Ok(Taken::Known);
        };
        if let Some(newest) = series.exemplars.back()
            && at < series.exemplars.len()
            && (window_ms <= 0
                || exemplar.timestamp_ms < newest.timestamp_ms.saturating_sub(window_ms))
        {
            return Err(ExemplarError::OutOfOrder);
        }
        series.exemplars.insert(at, exemplar);
        ring.arrivals.push_back(hash);
        ring.changed = true;
        if ring.arrivals.len() > self.max {
            ring.drop_oldest();
        }
        Ok(Taken::New)
    }

    /// Exemplars inside a range of the series that satisfy all matchers of one of the sets, by
    /// labels.
    fn select(&self, sets: &[Vec<Matcher>], range: TimeRange) -> Vec<ExemplarSeries> {
        let ring = self.ring.lock();
        let wanted = |labels: &Labels| {
            let holds = |m: &Matcher| m.matches(labels.value_of(m.name()));
            sets.iter().any(|matchers| matchers.iter().all(holds))
        };
        let mut found = Vec::new();
        for series in ring.series.values().filter(|s| wanted(&s.labels)) {
            let inside = series.exemplars.iter();
            let inside = inside.filter(|e| range.contains(e.timestamp_ms));
            let exemplars: Vec<StoredExemplar> = inside.cloned().collect();
            if !exemplars.is_empty() {
                found.push(ExemplarSeries {
                    labels: series.labels.clone(),
                    exemplars,
                });
            }
        }
        drop(ring);
        found.sort_by(|a, b| a.labels.cmp(&b.labels));
        found
    }

    pub(crate) fn len(&self) -> usize {
        self.ring.lock().arrivals.len()
    }

    /// All exemplars as bytes, unless the last such bytes still hold.
    pub(crate) fn encode(&self) -> Option<Vec<u8>> {
        let mut ring = self.ring.lock();
        if !std::mem::take(&mut ring.changed) {
            return None;
        }
        let mut out = Vec::new();
        put_uvarint(&mut out, ring.series.len() as u64);
        for series in ring.series.values() {
            put_labels(&mut out, series.labels.iter());
            put_uvarint(&mut out, series.exemplars.len() as u64);
            for exemplar in &series.exemplars {
                put_varint(&mut out, exemplar.timestamp_ms);
                out.extend_from_slice(&exemplar.value.to_bits().to_le_bytes());
                put_labels(&mut out, exemplar.labels.iter());
            }
        }
        Some(out)
    }

    /// Says that the bytes were not kept.
    pub(crate) fn mark_changed(&self) {
        self.ring.lock().changed = true;
    }

    /// Adds what [`Exemplars::encode`] wrote.
    pub(crate) fn decode(&self, bytes: &[u8]) -> Result<(), Malformed> {
        let mut cursor = Cursor::new(bytes);
        for _ in 0..cursor.count(2, usize::MAX)? {
            let labels = read_labels(&mut cursor)?;
            let hash = labels.hash128();
            for _ in 0..cursor.count(10, usize::MAX)? {
                let timestamp_ms = cursor.varint()?;
                let value = f64::from_bits(cursor.u64()?);
                let exemplar = StoredExemplar {
                    timestamp_ms,
                    value,
                    labels: read_labels(&mut cursor)?,
                };
                self.restore(hash, || labels.clone(), exemplar);
            }
        }
        self.ring.lock().changed = false;
        Ok(())
    }
}

impl Ring {
    fn drop_oldest(&mut self) {
        let Some(hash) = self.arrivals.pop_front() else {
            return;
        };
        if let Some(series) = self.series.get_mut(&hash) {
            series.exemplars.pop_front();
            if series.exemplars.is_empty() {
                self.series.remove(&hash);
            }
        }
    }
}

/// Appends labels: `uvarint n, n x (text name, text value)`.
pub(crate) fn put_labels<'a>(
    out: &mut Vec<u8>,
    labels: impl ExactSizeIterator<Item = (&'a str, &'a str)>,
) {
    put_uvarint(out, labels.len() as u64);
    for (name, value) in labels {
        put_text(out, name.as_bytes());
        put_text(out, value.as_bytes());
    }
}

/// What [`Labels`] takes for granted of texts that ascend by name.
pub(crate) fn check_texts<S: AsRef<str>>(pairs: &[(&str, S)]) -> Result<(), Malformed> {
    if pairs.iter().any(|(_, value)| value.as_ref().is_empty()) {
        return Err(Malformed("a label has no value"));
    }
    let bytes: usize = pairs.iter().map(|p| p.0.len() + p.1.as_ref().len()).sum();
    if bytes > MAX_LABELS_TEXT_BYTES {
        return Err(Malformed("labels are too long"));
    }
    Ok(())
}

/// Reads labels.
pub(crate) fn read_labels(cursor: &mut Cursor<'_>) -> Result<Labels, Malformed> {
    let mut pairs = Vec::new();
    for _ in 0..cursor.count(2, MAX_PAIRS)? {
        pairs.push((cursor.text()?, cursor.text()?));
    }
    if !pairs.windows(2).all(|w| w[0].0 < w[1].0) {
        return Err(Malformed("label names do not ascend"));
    }
    check_texts(&pairs)?;
    Ok(Labels::from_sorted(&pairs))
}

impl Db {
    /// The exemplars inside a range of all series that satisfy the matchers of any of the sets,
    /// sorted by labels.
    ///
    /// # Errors
    /// When the database is closed.
    pub fn exemplars(
        &self,
        sets: &[Vec<Matcher>],
        range: TimeRange,
    ) -> Result<Vec<ExemplarSeries>, StoreError> {
        if self.is_closed() {
            return Err(StoreError::NotReady);
        }
        Ok(self.store().head.exemplars.select(sets, range))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn exemplar(timestamp_ms: i64, value: f64, id: &str) -> StoredExemplar {
        StoredExemplar {
            labels: Labels::from_pairs(&[("trace_id", id)]),
            value,
            timestamp_ms,
        }
    }

    fn series(name: &str) -> Labels {
        Labels::from_pairs(&[("__name__", name)])
    }

    fn add(all: &Exemplars, name: &str, exemplar: StoredExemplar) -> Result<Taken, ExemplarError> {
        let labels = series(name);
        all.add(labels.hash128(), || labels.clone(), exemplar)
    }

    #[test]
    fn admission_is_that_of_prometheus() {
        let all = Exemplars::new(100, 0);
        assert_eq!(add(&all, "a", exemplar(10, 1.0, "x")), Ok(Taken::New));
        assert_eq!(add(&all, "a", exemplar(10, 1.0, "x")), Ok(Taken::Known));
        assert_eq!(add(&all, "a", exemplar(10, 2.0, "x")), Ok(Taken::New));
        let late = Err(ExemplarError::OutOfOrder);
        assert_eq!(add(&all, "a", exemplar(10, 1.5, "x")), late);
        assert_eq!(add(&all, "a", exemplar(9, 3.0, "x")), late);
        assert_eq!(add(&all, "b", exemplar(9, 3.0, "x")), Ok(Taken::New));
        let long = add(&all, "a", exemplar(11, 1.0, &"ü".repeat(121)));
        assert_eq!(long, Err(ExemplarError::LabelLength));
        assert_eq!(
            add(&all, "a", exemplar(11, 1.0, &"ü".repeat(120))),
            Ok(Taken::New)
        );
        let lenient = Exemplars::new(100, 5);
        assert_eq!(add(&lenient, "a", exemplar(10, 1.0, "x")), Ok(Taken::New));
        assert_eq!(add(&lenient, "a", exemplar(5, 1.0, "x")), Ok(Taken::New));
        assert_eq!(add(&lenient, "a", exemplar(4, 1.0, "x")), late);
    }

    #[test]
    fn the_first_to_arrive_leave_first() {
        let all = Exemplars::new(3, 0);
        for at in 0..3 {
            add(
                &all,
                if at == 0 { "a" } else { "b" },
                exemplar(at, 1.0, "x"),
            )
            .unwrap();
        }
        add(&all, "b", exemplar(3, 1.0, "x")).unwrap();
        let any = [vec![
            Matcher::new(tenbin_model::MatchOp::Regex, "__name__", ".+").unwrap(),
        ]];
        let found = all.select(&any, TimeRange::new(2, 9));
        assert_eq!((found.len(), found[0].exemplars.len()), (1, 2));
        assert_eq!(found[0].labels, series("b"));
        assert_eq!(all.len(), 3);
        let none = Exemplars::new(0, 0);
        assert_eq!(add(&none, "a", exemplar(1, 1.0, "x")), Ok(Taken::Known));
        assert_eq!(none.len(), 0);
    }

    proptest! {
        #[test]
        fn bytes_bring_all_back(
            samples in prop::collection::vec((0_usize..3, any::<i64>(), any::<f64>(), ".{0,5}"), 0..20),
        ) {
            let all = Exemplars::new(100, i64::MAX);
            for (name, at, value, id) in samples {
                let _ = add(&all, ["a", "b", "c"][name], exemplar(at, value, &id));
            }
            let any = [vec![]];
            let Some(bytes) = all.encode() else {
                prop_assert_eq!(all.len(), 0);
                return Ok(());
            };
            prop_assert!(all.encode().is_none());
            let back = Exemplars::new(100, 0);
            back.decode(&bytes).unwrap();
            prop_assert_eq!(back.select(&any, TimeRange::ALL), all.select(&any, TimeRange::ALL));
            for len in 0..bytes.len() {
                let _ = Exemplars::new(100, 0).decode(&bytes[..len]);
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = Exemplars::new(100, 0).decode(&bytes);
        }
    }
}
