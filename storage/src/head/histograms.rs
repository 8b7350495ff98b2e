//! Histograms of a lane, beside the float chunks: per series runs of samples with one layout, coded
//! against the sample before, and the late ones, kept one by one until the next flush.
//!
//! A sample in a run, in memory only: `varint` second difference of timestamps, `u8` hint (bits 0-1)
//! and whether the start timestamp changed (bit 2), then its `varint` difference; `uvarint` number
//! of changed fields, for each `uvarint` fields skipped and the `uvarint` change (zigzag difference of
//! counts, reversed bytes of the XOR of floats).

use std::sync::Arc;

use hashbrown::HashMap;
use tenbin_model::write::HistogramValue;
use tenbin_model::{CounterResetHint, TimeRange};

use crate::codec::Malformed;
use crate::codec::bytes::{Cursor, put_uvarint, put_varint, unzigzag, zigzag};
use crate::histogram::point::{Point, hint_bits, hint_of, retain_points};
use crate::histogram::reset::{View, decide};
use crate::histogram::{Layout, Layouts, fields_into};

/// A run is closed beyond so many bytes or samples, so that copies of open ones stay small.
const RUN_BYTES: usize = 4096;
const RUN_SAMPLES: u32 = 240;

const START_CHANGED: u8 = 4;

/// Samples of one layout, in order.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    layout: Arc<Layout>,
    first_ms: i64,
    last_ms: i64,
    count: u32,
    bytes: Vec<u8>,
}

/// What the next sample of a run is coded against, beside the fields.
#[derive(Debug, Clone, Copy)]
struct Tail {
    at_ms: i64,
    delta_ms: i64,
    start_ms: i64,
}

const BEGIN: Tail = Tail {
    at_ms: 0,
    delta_ms: 0,
    start_ms: 0,
};

impl Run {
    fn new(layout: Arc<Layout>, first_ms: i64) -> Self {
        Self {
            layout,
            first_ms,
            last_ms: first_ms,
            count: 0,
            bytes: Vec::new(),
        }
    }

    /// A run of any bytes.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn of_bytes(layout: Arc<Layout>, count: u32, bytes: Vec<u8>) -> Self {
        Self {
            count,
            bytes,
            ..Self::new(layout, 0)
        }
    }

    fn is_full(&self) -> bool {
        self.bytes.len() > RUN_BYTES || self.count >= RUN_SAMPLES
    }

    fn push(
        &mut self,
        tail: &mut Tail,
        before: &[u64],
        (at_ms, start_ms, hint): (i64, i64, CounterResetHint),
        fields: &[u64],
    ) {
        let delta_ms = at_ms.wrapping_sub(tail.at_ms);
        put_varint(&mut self.bytes, delta_ms.wrapping_sub(tail.delta_ms));
        let start_changed = start_ms != tail.start_ms;
        let flags = hint_bits(hint) | if start_changed { START_CHANGED } else { 0 };
        self.bytes.push(flags);
        if start_changed {
            put_varint(&mut self.bytes, start_ms.wrapping_sub(tail.start_ms));
        }
        let changed = fields.iter().zip(before).filter(|(now, old)| now != old);
        put_uvarint(&mut self.bytes, changed.count() as u64);
        let mut next = 0;
        for (at, (now, old)) in fields.iter().zip(before).enumerate() {
            if now == old {
                continue;
            }
            put_uvarint(&mut self.bytes, (at - next) as u64);
            next = at + 1;
            let change = if self.layout.is_float(at) {
                (now ^ old).swap_bytes()
            } else {
                zigzag(now.wrapping_sub(*old) as i64)
            };
            put_uvarint(&mut self.bytes, change);
        }
        // The first difference is the timestamp itself; it says nothing about the next one.
        let delta_ms = if self.count == 0 { 0 } else { delta_ms };
        *tail = Tail {
            at_ms,
            delta_ms,
            start_ms,
        };
        self.last_ms = at_ms;
        self.count += 1;
    }

    /// Appends all samples.
    pub(crate) fn decode(&self, out: &mut Vec<Point>) -> Result<(), Malformed> {
        let mut cursor = Cursor::new(&self.bytes);
        let mut fields = vec![0; self.layout.width()];
        let mut tail = BEGIN;
        for number in 0..self.count {
            let delta_ms = tail.delta_ms.wrapping_add(cursor.varint()?);
            tail.at_ms = tail.at_ms.wrapping_add(delta_ms);
            tail.delta_ms = if number == 0 { 0 } else { delta_ms };
            let flags = cursor.u8()?;
            if flags & START_CHANGED != 0 {
                tail.start_ms = tail.start_ms.wrapping_add(cursor.varint()?);
            }
            let mut next = 0;
            for _ in 0..cursor.count(2, fields.len())? {
                let at = next + cursor.count(0, fields.len())?;
                let change = cursor.uvarint()?;
                let field = fields.get_mut(at);
                let field = field.ok_or(Malformed("field lies outside its histogram"))?;
                if self.layout.is_float(at) {
                    *field ^= change.swap_bytes();
                } else {
                    *field = field.wrapping_add(unzigzag(change) as u64);
                }
                next = at + 1;
            }
            out.push(Point {
                at_ms: tail.at_ms,
                start_ms: tail.start_ms,
                hint: hint_of(flags),
                layout: Arc::clone(&self.layout),
                fields: fields.as_slice().into(),
            });
        }
        Ok(())
    }
}

/// The in-order histograms of a series.
#[derive(Debug)]
struct SeriesRuns {
    closed: Vec<Arc<Run>>,
    open: Option<(Run, Tail)>,
    /// The newest histogram, also when it is in a block by now.
    layout: Arc<Layout>,
    fields: Vec<u64>,
    hint: CounterResetHint,
}

impl SeriesRuns {
    fn push(&mut self, point: (i64, i64, CounterResetHint), layout: &Arc<Layout>, fields: &[u64]) {
        let same = |run: &Run| Arc::ptr_eq(&run.layout, layout) || *run.layout == **layout;
        let fits = |run: &Run| !run.is_full() && same(run);
        if !self.open.as_ref().is_some_and(|(run, _)| fits(run)) {
            self.close();
        }
        let zeros;
        let (mut open, before) = match self.open.take() {
            Some(open) => (open, &self.fields[..]),
            None => {
                zeros = vec![0; fields.len()];
                let run = Run::new(Arc::clone(layout), point.0);
                ((run, BEGIN), &zeros[..])
            }
        };
        open.0.push(&mut open.1, before, point, fields);
        self.open = Some(open);
        self.layout = Arc::clone(layout);
        self.hint = point.2;
        self.fields.clear();
        self.fields.extend_from_slice(fields);
    }

    fn close(&mut self) {
        if let Some((mut run, _)) = self.open.take() {
            run.bytes.shrink_to_fit();
            self.closed.push(Arc::new(run));
        }
    }

    fn runs(&self) -> impl DoubleEndedIterator<Item = &Run> {
        let open = self.open.iter().map(|(run, _)| run);
        self.closed.iter().map(|run| &**run).chain(open)
    }
}

type BySeries<T> = HashMap<u32, T, foldhash::fast::RandomState>;

/// All histograms of a lane.
#[derive(Debug, Default)]
pub(crate) struct Histograms {
    series: BySeries<SeriesRuns>,
    late: BySeries<Vec<Point>>,
    flushing_late: BySeries<Vec<Point>>,
    layouts: Layouts,
    scratch: Vec<u64>,
}

/// The point at a timestamp.
fn at(points: Option<&Vec<Point>>, at_ms: i64) -> Option<&Point> {
    let points = points?;
    let at = points.binary_search_by_key(&at_ms, |p| p.at_ms).ok()?;
    points.get(at)
}

/// Adds a point; the one that is there at its timestamp stays.
fn insert(points: &mut Vec<Point>, point: Point) {
    if let Err(at) = points.binary_search_by_key(&point.at_ms, |p| p.at_ms) {
        points.insert(at, point);
    }
}

impl Histograms {
    /// A point of a histogram that was sent, with what is known about resets after the newest one
    /// of its series. `after_float` says that a float came in between.
    pub(crate) fn point(
        &mut self,
        id: u32,
        (at_ms, start_ms): (i64, i64),
        value: &HistogramValue,
        after_float: bool,
    ) -> Point {
        fields_into(value, &mut self.scratch);
        let last = self.series.get(&id);
        let layout = match last {
            Some(last) if last.layout.fits(value) => Arc::clone(&last.layout),
            _ => self.layouts.intern(Layout::of(value)),
        };
        let before = last.filter(|_| !after_float).map(|last| View {
            layout: &last.layout,
            fields: &last.fields,
            hint: last.hint,
        });
        let now = View {
            layout: &layout,
            fields: &self.scratch,
            hint: value.hint(),
        };
        let hint = decide(before, now);
        Point {
            at_ms,
            start_ms,
            hint,
            layout,
            fields: self.scratch.as_slice().into(),
        }
    }

    /// The shared copy of a layout.
    pub(crate) fn intern(&mut self, layout: Layout) -> Arc<Layout> {
        self.layouts.intern(layout)
    }

    /// Adds a point that is newer than all of its series.
    pub(crate) fn push(&mut self, id: u32, point: &Point) {
        let runs = self.series.entry(id).or_insert_with(|| SeriesRuns {
            closed: Vec::new(),
            open: None,
            layout: Arc::clone(&point.layout),
            fields: Vec::new(),
            hint: CounterResetHint::Unknown,
        });
        let head = (point.at_ms, point.start_ms, point.hint);
        runs.push(head, &point.layout, &point.fields);
    }

    pub(crate) fn push_late(&mut self, id: u32, mut point: Point) {
        if point.hint != CounterResetHint::Gauge {
            point.hint = CounterResetHint::Unknown;
        }
        insert(self.late.entry(id).or_default(), point);
    }

    /// Whether the newest histogram of a series is float-coded and whether it is stale.
    pub(crate) fn newest(&self, id: u32) -> Option<(bool, bool)> {
        let last = self.series.get(&id)?;
        let sum = f64::from_bits(*last.fields.get(crate::histogram::SUM)?);
        Some((last.layout.float, tenbin_model::is_stale(sum)))
    }

    /// Whether the newest histogram of a series equals another in everything but the hint.
    pub(crate) fn newest_equals(&self, id: u32, value: &HistogramValue) -> bool {
        let Some(last) = self.series.get(&id) else {
            return false;
        };
        let mut fields = Vec::new();
        fields_into(value, &mut fields);
        last.layout.fits(value) && last.fields == fields
    }

    /// The histogram that memory holds at a timestamp.
    pub(crate) fn stored_at(&self, id: u32, at_ms: i64) -> Option<Point> {
        let late = at(self.flushing_late.get(&id), at_ms);
        if let Some(point) = late.or_else(|| at(self.late.get(&id), at_ms)) {
            return Some(point.clone());
        }
        let runs = self.series.get(&id)?;
        let inside = |run: &&Run| run.first_ms <= at_ms && at_ms <= run.last_ms;
        let mut points = Vec::new();
        runs.runs().find(inside)?.decode(&mut points).ok()?;
        points.into_iter().find(|point| point.at_ms == at_ms)
    }

    /// Timestamp of the oldest in-order histogram of a series in memory.
    pub(crate) fn first_ms(&self, id: u32) -> Option<i64> {
        Some(self.series.get(&id)?.runs().next()?.first_ms)
    }

    /// Copies of the runs of a series, oldest first; closed ones are shared.
    pub(crate) fn copy_runs(&self, id: u32) -> Vec<Arc<Run>> {
        let Some(runs) = self.series.get(&id) else {
            return Vec::new();
        };
        let open = runs.open.iter().map(|(run, _)| Arc::new(run.clone()));
        runs.closed.iter().cloned().chain(open).collect()
    }

    /// Late histograms that a flush is about to write.
    pub(crate) fn flushing_late(&self, id: u32) -> &[Point] {
        self.flushing_late.get(&id).map_or(&[], Vec::as_slice)
    }

    /// Late histograms that came after the last flush began.
    pub(crate) fn late(&self, id: u32) -> &[Point] {
        self.late.get(&id).map_or(&[], Vec::as_slice)
    }

    /// Series with late histograms that a flush is about to write.
    pub(crate) fn flushing_late_series(&self) -> impl Iterator<Item = u32> {
        self.flushing_late.keys().copied()
    }

    /// Timestamps of these histograms.
    pub(crate) fn flushing_late_times(&self) -> impl Iterator<Item = i64> {
        self.flushing_late.values().flatten().map(|p| p.at_ms)
    }

    pub(crate) fn has_late_of(&self, id: u32) -> bool {
        !self.late(id).is_empty() || !self.flushing_late(id).is_empty()
    }

    /// Deletes the late histograms of a series inside a range; returns how many.
    pub(crate) fn delete_late(&mut self, id: u32, range: TimeRange) -> u64 {
        let mut deleted = 0;
        for late in [&mut self.late, &mut self.flushing_late] {
            let Some(points) = late.get_mut(&id) else {
                continue;
            };
            let before = points.len();
            points.retain(|point| !range.contains(point.at_ms));
            deleted += before - points.len();
            if points.is_empty() {
                late.remove(&id);
            }
        }
        deleted as u64
    }

    /// Deletes the in-order histograms of a series inside a range; returns how many and the
    /// timestamp of the newest. The newest one of all stays known.
    pub(crate) fn delete(&mut self, id: u32, range: TimeRange) -> Result<(u64, i64), Malformed> {
        let mut deleted = (0, i64::MIN);
        let Some(runs) = self.series.get_mut(&id) else {
            return Ok(deleted);
        };
        let touched = |run: &Run| range.overlaps(TimeRange::new(run.first_ms, run.last_ms));
        if !runs.runs().any(touched) {
            return Ok(deleted);
        }
        let mut points = Vec::new();
        for run in runs.runs() {
            run.decode(&mut points)?;
        }
        for point in points.iter().filter(|p| range.contains(p.at_ms)) {
            deleted = (deleted.0 + 1, point.at_ms);
        }
        retain_points(&mut points, |at_ms| !range.contains(at_ms));
        let newest = (Arc::clone(&runs.layout), runs.fields.clone(), runs.hint);
        runs.closed.clear();
        runs.open = None;
        for point in &points {
            let head = (point.at_ms, point.start_ms, point.hint);
            runs.push(head, &point.layout, &point.fields);
        }
        runs.close();
        (runs.layout, runs.fields, runs.hint) = newest;
        Ok(deleted)
    }

    pub(crate) fn has_late(&self) -> bool {
        !self.late.is_empty() || !self.flushing_late.is_empty()
    }

    pub(crate) fn begin_flush(&mut self) {
        for (id, points) in std::mem::take(&mut self.late) {
            let flushing = self.flushing_late.entry(id).or_default();
            for point in points {
                insert(flushing, point);
            }
        }
    }

    /// Drops the late histograms that a block has and returns their series.
    pub(crate) fn end_flush(&mut self) -> Vec<u32> {
        self.layouts.prune();
        let flushed = std::mem::take(&mut self.flushing_late);
        flushed.into_keys().collect()
    }

    /// Drops the in-order histograms of a series before `before_ms`.
    pub(crate) fn drop_before(&mut self, id: u32, before_ms: i64) -> Result<(), Malformed> {
        let Some(runs) = self.series.get_mut(&id) else {
            return Ok(());
        };
        let gone = runs.closed.partition_point(|run| run.last_ms < before_ms);
        runs.closed.drain(..gone);
        if let Some(run) = runs.closed.first_mut() {
            if run.first_ms < before_ms {
                let rest = rest_of(run, before_ms)?;
                *run = Arc::new(rest.0);
            }
        } else if let Some((run, _)) = &runs.open
            && run.first_ms < before_ms
        {
            let rest = (run.last_ms >= before_ms).then(|| rest_of(run, before_ms));
            runs.open = rest.transpose()?;
        }
        Ok(())
    }

    pub(crate) fn remove(&mut self, id: u32) {
        self.series.remove(&id);
        self.late.remove(&id);
        self.flushing_late.remove(&id);
    }

    /// Bytes of sample memory.
    pub(crate) fn bytes(&self) -> u64 {
        let runs = self.series.values().flat_map(SeriesRuns::runs);
        let late = self.late.values().chain(self.flushing_late.values());
        let late = late
            .flatten()
            .map(|point| 8 * point.fields.len() as u64 + 64);
        let newest = self
            .series
            .values()
            .map(|runs| 8 * runs.fields.len() as u64);
        runs.map(|run| run.bytes.len() as u64).sum::<u64>()
            + late.sum::<u64>()
            + newest.sum::<u64>()
            + self.layouts.bytes()
    }
}

/// The samples of a run from `from_ms` on, coded anew.
fn rest_of(run: &Run, from_ms: i64) -> Result<(Run, Tail), Malformed> {
    let mut points = Vec::new();
    run.decode(&mut points)?;
    let rest = points.partition_point(|point| point.at_ms < from_ms);
    let first_ms = points.get(rest).map_or(from_ms, |point| point.at_ms);
    let mut left = (Run::new(Arc::clone(&run.layout), first_ms), BEGIN);
    let mut before = vec![0; run.layout.width()];
    for point in &points[rest..] {
        let head = (point.at_ms, point.start_ms, point.hint);
        left.0.push(&mut left.1, &before, head, &point.fields);
        before.copy_from_slice(&point.fields);
    }
    Ok(left)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::wire::tests::{any_fields, any_layout};
    use proptest::prelude::*;

    fn points() -> impl Strategy<Value = Vec<Point>> {
        let sample = any_layout().prop_flat_map(|layout| {
            let fields = prop::collection::vec((any_fields(&layout), 0_u8..4, 0_i64..3), 1..6);
            (Just(layout), fields)
        });
        let step = prop_oneof![Just(15_000_i64), 1_i64..1 << 40];
        (
            prop::collection::vec(sample, 1..4),
            prop::collection::vec(step, 20),
            any::<i32>(),
        )
            .prop_map(|(groups, steps, start)| {
                let (mut at_ms, mut points) = (i64::from(start), Vec::new());
                for (layout, samples) in groups {
                    let layout = Arc::new(layout);
                    for (fields, hint, start_ms) in samples {
                        at_ms += steps[points.len() % steps.len()];
                        points.push(Point {
                            at_ms,
                            start_ms,
                            hint: hint_of(hint),
                            layout: Arc::clone(&layout),
                            fields: fields.into(),
                        });
                    }
                }
                points
            })
    }

    fn held(histograms: &Histograms) -> Vec<Point> {
        let mut found = Vec::new();
        for run in histograms.copy_runs(7) {
            run.decode(&mut found).unwrap();
        }
        found
    }

    proptest! {
        #[test]
        fn any_histograms_survive_and_leave_from_the_front(points in points(), cut in 0_usize..20) {
            let mut histograms = Histograms::default();
            for point in &points {
                histograms.push(7, point);
            }
            prop_assert_eq!(&held(&histograms), &points);
            for point in &points {
                let stored = histograms.stored_at(7, point.at_ms);
                prop_assert_eq!(stored.as_ref(), Some(point));
            }
            let cut = cut.min(points.len() - 1);
            histograms.drop_before(7, points[cut].at_ms).unwrap();
            prop_assert_eq!(&held(&histograms), &points[cut..]);
            prop_assert_eq!(histograms.first_ms(7), Some(points[cut].at_ms));
            let next = Point { at_ms: points[points.len() - 1].at_ms + 1, ..points[0].clone() };
            histograms.push(7, &next);
            let mut expected = points[cut..].to_vec();
            expected.push(next);
            prop_assert_eq!(&held(&histograms), &expected);
            let gone = TimeRange::new(expected[0].at_ms, expected[expected.len() / 2].at_ms);
            let deleted = histograms.delete(7, gone).unwrap();
            prop_assert_eq!(deleted, (expected.len() as u64 / 2 + 1, gone.max_ms));
            expected.drain(..=expected.len() / 2);
            let held_now = held(&histograms);
            prop_assert_eq!(held_now.len(), expected.len());
            for (held, expected) in held_now.iter().zip(&expected) {
                prop_assert_eq!((held.at_ms, &held.fields), (expected.at_ms, &expected.fields));
            }
            histograms.drop_before(7, i64::MAX).unwrap();
            prop_assert_eq!(histograms.first_ms(7), None);
        }
    }

    #[test]
    fn a_steady_histogram_costs_few_bytes() {
        let layout = Arc::new(Layout {
            positive_spans: vec![tenbin_model::BucketSpan {
                offset: 0,
                length: 100,
            }],
            ..Layout::default()
        });
        let mut histograms = Histograms::default();
        for i in 0..200_u64 {
            let mut fields = vec![5; 103];
            (fields[0], fields[10], fields[50]) = (2 * i, i, i);
            let point = Point {
                at_ms: i as i64 * 15_000,
                start_ms: 1_700_000_000_000,
                hint: CounterResetHint::NotReset,
                layout: Arc::clone(&layout),
                fields: fields.into(),
            };
            histograms.push(1, &point);
        }
        let bytes = histograms.bytes();
        assert!(bytes < 200 * 12 + 2000, "{bytes}");
    }

    #[test]
    fn late_ones_wait_for_the_flush() {
        let point = |at_ms, count| Point {
            at_ms,
            start_ms: 0,
            hint: CounterResetHint::NotReset,
            layout: Arc::default(),
            fields: [count, 0, 0].into(),
        };
        let mut histograms = Histograms::default();
        histograms.push_late(1, point(20, 1));
        histograms.push_late(1, point(10, 2));
        histograms.push_late(1, point(20, 3));
        let times: Vec<_> = histograms
            .late(1)
            .iter()
            .map(|p| (p.at_ms, p.fields[0]))
            .collect();
        assert_eq!(times, [(10, 2), (20, 1)]);
        assert_eq!(histograms.late(1)[0].hint, CounterResetHint::Unknown);
        histograms.begin_flush();
        assert!(histograms.late(1).is_empty() && histograms.has_late());
        assert_eq!(histograms.flushing_late(1).len(), 2);
        assert_eq!(histograms.stored_at(1, 10).unwrap().fields[0], 2);
        assert_eq!(histograms.end_flush(), [1]);
        assert!(!histograms.has_late() && histograms.stored_at(1, 10).is_none());
    }
}
