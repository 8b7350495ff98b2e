//! The series of one selection: what was copied from the head, and references into blocks.

use std::cell::RefCell;
use std::sync::Arc;

use hashbrown::HashMap;
use tenbin_model::sorting::sort_checked;
use tenbin_model::{
    CounterResetHint, FloatHistogram, Interrupt, Labels, RawSamples, SampleBuffer, SelectHints,
    SeriesSet, StoreError, TimeRange,
};

use super::merge::{Columns, Samples, merge_samples};
use super::records::Records;
use crate::block::reader::{Block, Detail};
use crate::block::series::Record;
use crate::error::Corruption;
use crate::head::journal::Cut;
use crate::head::read::HeadSeries;
use crate::histogram::point::Point;
use crate::histogram::to_float;
use crate::tombstones::Tombstones;

/// A block of the selection, what was deleted in it, and its series.
pub(super) struct Source {
    pub(super) block: Arc<Block>,
    pub(super) tombstones: Tombstones,
    pub(super) records: Records,
}

impl Source {
    /// Replaces `out` by what is left of a series inside a range.
    pub(super) fn read(
        &self,
        ordinal: u32,
        known: Option<Record<'_>>,
        range: TimeRange,
        detail: Detail,
        out: &mut Samples,
    ) -> Result<(), Corruption> {
        let range = (range.min_ms, range.max_ms);
        self.block.read_detail(ordinal, known, range, detail, out)?;
        self.tombstones.apply(ordinal, out);
        Ok(())
    }

    /// The labels of a series, by its place among the records.
    fn labels(&self, place: u32) -> Result<Labels, Corruption> {
        match self.records.kept(place) {
            Some(record) => self.block.labels_of(record.pairs),
            None => {
                let record = self.block.record(self.records.ordinal(place))?;
                self.block.labels_of(&record.pairs)
            }
        }
    }
}

/// One occurrence of a series in a source. Blocks are sources in order of publication; the head
/// comes last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Part {
    pub(super) hash: u128,
    pub(super) source: u32,
    /// Place of the series among the records of the source; in the head its number in the selection.
    pub(super) place: u32,
}

/// Blocks that a flush listed after the snapshot; they may have newer samples too.
#[derive(Default)]
pub(super) struct Newer {
    /// Number of their first source.
    pub(super) from: usize,
    /// Which flush each is of.
    pub(super) flushes: Vec<u32>,
    /// The newer samples, by label hash.
    pub(super) cuts: HashMap<u128, Cut>,
}

impl Newer {
    fn flush_of(&self, source: u32) -> Option<u32> {
        let at = (source as usize).checked_sub(self.from)?;
        self.flushes.get(at).copied()
    }
}

/// A selection. Series are ordered by label hash, or by labels when asked for.
pub(super) struct Selection {
    range: TimeRange,
    /// What [`SeriesSet::read`] is to hand out.
    detail: Detail,
    blocks: Vec<Source>,
    newer: Newer,
    head: Vec<HeadSeries>,
    parts: Vec<Part>,
    /// For each series its parts.
    groups: Vec<std::ops::Range<u32>>,
    /// In the order of `groups`; empty unless they were needed for sorting.
    labels: Vec<Labels>,
    interrupt: Interrupt,
}

#[derive(Default)]
struct Scratch {
    merged: Samples,
    part: Samples,
    spare: Columns,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl Selection {
    pub(super) fn new(
        range: TimeRange,
        blocks: Vec<Source>,
        newer: Newer,
        head: Vec<HeadSeries>,
        mut parts: Vec<Part>,
        hints: &SelectHints,
    ) -> Result<Self, StoreError> {
        sort_checked(&mut parts, Ord::cmp, || hints.interrupt.check())?;
        let mut groups: Vec<std::ops::Range<u32>> = Vec::new();
        for (at, part) in parts.iter().enumerate() {
            let at = at as u32;
            match groups.last_mut() {
                Some(group) if parts[group.start as usize].hash == part.hash => group.end = at + 1,
                _ => groups.push(at..at + 1),
            }
        }
        let detail = if hints.presence_only {
            Detail::Markers
        } else {
            Detail::Values
        };
        let mut selection = Self {
            range,
            detail,
            blocks,
            newer,
            head,
            parts,
            groups,
            labels: Vec::new(),
            interrupt: hints.interrupt.clone(),
        };
        if hints.sorted {
            selection.sort()?;
        }
        Ok(selection)
    }

    fn sort(&mut self) -> Result<(), StoreError> {
        let mut keyed = Vec::with_capacity(self.groups.len());
        for series in 0..self.groups.len() {
            self.interrupt.check_at(series)?;
            keyed.push((self.labels(series)?, self.groups[series].clone()));
        }
        sort_checked(&mut keyed, |a, b| a.0.cmp(&b.0), || self.interrupt.check())?;
        (self.labels, self.groups) = keyed.into_iter().unzip();
        Ok(())
    }

    fn parts_of(&self, series: usize) -> &[Part] {
        let group = &self.groups[series];
        &self.parts[group.start as usize..group.end as usize]
    }

    /// Replaces `scratch.merged` by the samples of a series.
    fn merge_parts(
        &self,
        series: usize,
        range: TimeRange,
        detail: Detail,
        scratch: &mut Scratch,
    ) -> Result<(), StoreError> {
        let range = TimeRange::new(
            range.min_ms.max(self.range.min_ms),
            range.max_ms.min(self.range.max_ms),
        );
        let Scratch {
            merged,
            part: into,
            spare,
        } = scratch;
        merged.clear();
        for (number, part) in self.parts_of(series).iter().enumerate() {
            // Whoever reads looks up between series.
            if number > 0 {
                self.interrupt.check()?;
            }
            let Some(source) = self.blocks.get(part.source as usize) else {
                let series = &self.head[part.place as usize];
                let samples = &series.samples;
                samples.read(range, series.last_ms, merged, into, spare)?;
                continue;
            };
            let (ordinal, known) = (
                source.records.ordinal(part.place),
                source.records.kept(part.place),
            );
            source.read(ordinal, known, range, detail, into)?;
            if let Some(flush) = self.newer.flush_of(part.source)
                && let Some(cut) = self.newer.cuts.get(&part.hash)
            {
                into.retain(|at_ms| cut.keeps(at_ms, flush));
            }
            if merged.is_empty() {
                std::mem::swap(merged, into);
            } else {
                merge_samples(merged, into, spare);
            }
        }
        Ok(())
    }
}

/// What the hint of a stored histogram is for a reader: as in Prometheus, where it is only known
/// that a reset was seen or told, the reader compares.
fn read_hint(stored: CounterResetHint) -> CounterResetHint {
    match stored {
        CounterResetHint::Reset => CounterResetHint::Unknown,
        hint => hint,
    }
}

/// Histograms as floats; equal neighbours share one.
fn push_histograms(points: &[Point], out: &mut SampleBuffer) {
    let mut last: Option<(&Point, Arc<FloatHistogram>)> = None;
    for point in points {
        let hint = read_hint(point.hint);
        let known = last.as_ref().filter(|(before, float)| {
            Arc::ptr_eq(&before.layout, &point.layout)
                && before.fields == point.fields
                && float.counter_reset_hint == hint
        });
        let float = known.map_or_else(
            || Arc::new(to_float(&point.layout, &point.fields, hint)),
            |(_, float)| Arc::clone(float),
        );
        out.histogram_timestamps_ms.push(point.at_ms);
        out.histograms.push(Arc::clone(&float));
        last = Some((point, float));
    }
    if points.iter().any(|point| point.start_ms != 0) {
        let starts = points.iter().map(|point| point.start_ms);
        out.histogram_start_timestamps_ms.extend(starts);
    }
}

impl SeriesSet for Selection {
    fn len(&self) -> usize {
        self.groups.len()
    }

    fn labels(&self, series: usize) -> Result<Labels, StoreError> {
        if let Some(labels) = self.labels.get(series) {
            return Ok(labels.clone());
        }
        // The head has labels at hand; it is the last source.
        let parts = self.parts_of(series);
        let part = parts[parts.len() - 1];
        match self.blocks.get(part.source as usize) {
            Some(source) => Ok(source.labels(part.place)?),
            None => Ok(self.head[part.place as usize].labels.clone()),
        }
    }

    fn read(
        &self,
        series: usize,
        range: TimeRange,
        out: &mut SampleBuffer,
    ) -> Result<(), StoreError> {
        out.clear();
        SCRATCH.with_borrow_mut(|scratch| {
            self.merge_parts(series, range, self.detail, scratch)?;
            // Handed over, not copied: the reader's memory serves the next series.
            let floats = &mut scratch.merged.floats;
            std::mem::swap(&mut out.timestamps_ms, &mut floats.times);
            std::mem::swap(&mut out.values, &mut floats.values);
            std::mem::swap(&mut out.start_timestamps_ms, &mut floats.starts);
            push_histograms(&scratch.merged.histograms, out);
            Ok(())
        })
    }

    fn read_raw(
        &self,
        series: usize,
        range: TimeRange,
        out: &mut RawSamples,
    ) -> Result<(), StoreError> {
        out.clear();
        SCRATCH.with_borrow_mut(|scratch| {
            self.merge_parts(series, range, Detail::Values, scratch)?;
            let floats = &scratch.merged.floats;
            out.timestamps_ms.extend_from_slice(&floats.times);
            out.values.extend_from_slice(&floats.values);
            out.start_timestamps_ms.extend_from_slice(&floats.starts);
            let points = scratch.merged.histograms.iter();
            out.histograms.extend(points.map(Point::to_sample));
            Ok(())
        })
    }
}
