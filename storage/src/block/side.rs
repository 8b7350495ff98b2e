//! What few series of a block have: histograms, and start timestamps of floats.
//!
//! SIDE INDEX: per series that has any, by number, `u32 series, u32 bytes, u64 offset in SIDE`.
//! LAYOUTS: `uvarint n, n layouts` (see [`crate::histogram::wire`]).
//! SIDE, per series: `u8 contents` (bit 0: start timestamps, bit 1: histograms), then
//! - start timestamps of its floats: `uvarint runs`, each `uvarint samples, varint start - start before`
//!   (0 = unknown), until all samples are covered;
//! - histograms: `uvarint groups` of neighbours with one layout, each `uvarint bytes`, then `uvarint
//!   layout, uvarint samples`, and columns: timestamps, counter reset hints, start timestamps, and one
//!   per field: integers, or for floats `uvarint bytes` and values in the codecs of all values.

use std::sync::Arc;

use hashbrown::HashMap;

use super::format::{SIDE, SIDE_INDEX};
use super::pages::Pages;
use crate::codec::bytes::{Cursor, put_text, put_uvarint, put_varint};
use crate::codec::values::{Chooser, MAX_RUN};
use crate::codec::{Malformed, integers, values};
use crate::error::Corruption;
use crate::histogram::Layout;
use crate::histogram::point::{Point, hint_bits, hint_of};
use crate::histogram::wire::{put_layout, read_layout};
use crate::query::merge::Samples;

const STARTS: u8 = 1;
const HISTOGRAMS: u8 = 2;

const ENTRY_BYTES: usize = 16;

/// Most fields of a group of several samples; bounds what a damaged count can allocate.
const MAX_FIELDS: usize = 1 << 20;

/// Layouts of a block by number.
pub(crate) type Layouts = Vec<Arc<Layout>>;

/// Builds the three sections.
#[derive(Debug, Default)]
pub(crate) struct SideWriter {
    side: Vec<u8>,
    index: Vec<u8>,
    known: HashMap<Arc<Layout>, u64, foldhash::fast::RandomState>,
    layouts: Vec<u8>,
    scratch: Vec<u8>,
}

impl SideWriter {
    pub(crate) fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Adds what a series has; numbers ascend.
    pub(crate) fn series(&mut self, ordinal: u32, samples: &Samples) {
        let starts = &samples.floats.starts;
        let has_starts = starts.iter().any(|start| *start != 0);
        let has_histograms = !samples.histograms.is_empty();
        if !has_starts && !has_histograms {
            return;
        }
        let at = self.side.len();
        let contents = (u8::from(has_starts) * STARTS) | (u8::from(has_histograms) * HISTOGRAMS);
        self.side.push(contents);
        if has_starts {
            put_starts(&mut self.side, starts);
        }
        if has_histograms {
            self.histograms(&samples.histograms);
        }
        let len = (self.side.len() - at) as u32;
        self.index.extend_from_slice(&ordinal.to_le_bytes());
        self.index.extend_from_slice(&len.to_le_bytes());
        self.index.extend_from_slice(&(at as u64).to_le_bytes());
    }

    fn histograms(&mut self, points: &[Point]) {
        let same = |a: &Point, b: &Point| Arc::ptr_eq(&a.layout, &b.layout) || a.layout == b.layout;
        let groups: Vec<&[Point]> = points
            .chunk_by(same)
            .flat_map(|group| {
                let most = MAX_FIELDS / group[0].layout.width();
                group.chunks(most.clamp(1, MAX_RUN))
            })
            .collect();
        put_uvarint(&mut self.side, groups.len() as u64);
        for group in groups {
            self.scratch.clear();
            let layout = self.layout(&group[0].layout);
            put_uvarint(&mut self.scratch, layout);
            put_group(&mut self.scratch, group);
            put_text(&mut self.side, &self.scratch);
        }
    }

    fn layout(&mut self, layout: &Arc<Layout>) -> u64 {
        let next = self.known.len() as u64;
        let number = *self.known.entry(Arc::clone(layout)).or_insert(next);
        if number == next {
            put_layout(&mut self.layouts, layout);
        }
        number
    }

    /// The sections SIDE, SIDE INDEX and LAYOUTS.
    pub(crate) fn finish(&mut self) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
        let mut layouts = Vec::new();
        put_uvarint(&mut layouts, self.known.len() as u64);
        layouts.append(&mut self.layouts);
        let (side, index) = (&mut self.side, &mut self.index);
        (std::mem::take(side), std::mem::take(index), layouts)
    }
}

fn put_starts(out: &mut Vec<u8>, starts: &[i64]) {
    let runs: Vec<&[i64]> = starts.chunk_by(|a, b| a == b).collect();
    put_uvarint(out, runs.len() as u64);
    let mut before = 0;
    for run in runs {
        put_uvarint(out, run.len() as u64);
        put_varint(out, run[0].wrapping_sub(before));
        before = run[0];
    }
}

/// Samples and columns of a group.
fn put_group(out: &mut Vec<u8>, group: &[Point]) {
    put_uvarint(out, group.len() as u64);
    let mut column: Vec<i64> = Vec::with_capacity(group.len());
    let mut integers = |of: &dyn Fn(&Point) -> i64, out: &mut Vec<u8>| {
        column.clear();
        column.extend(group.iter().map(of));
        integers::encode(out, &column);
    };
    integers(&|p| p.at_ms, out);
    integers(&|p| i64::from(hint_bits(p.hint)), out);
    integers(&|p| p.start_ms, out);
    let layout = &group[0].layout;
    let mut chooser = Chooser::default();
    let (mut floats, mut encoded) = (Vec::with_capacity(group.len()), Vec::new());
    for field in 0..layout.width() {
        if layout.is_float(field) {
            floats.clear();
            floats.extend(group.iter().map(|p| f64::from_bits(p.fields[field])));
            encoded.clear();
            chooser.encode(&mut encoded, &floats);
            put_text(out, &encoded);
        } else {
            integers(&|p| p.fields[field] as i64, out);
        }
    }
}

/// The layouts of a block; none when there is no such section.
pub(crate) fn decode_layouts(section: &[u8]) -> Result<Layouts, Malformed> {
    let mut layouts = Vec::new();
    if section.is_empty() {
        return Ok(layouts);
    }
    let mut cursor = Cursor::new(section);
    for _ in 0..cursor.count(13, usize::MAX)? {
        layouts.push(Arc::new(read_layout(&mut cursor)?));
    }
    Ok(layouts)
}

/// Where a series' part of SIDE stands.
fn find(pages: &Pages, ordinal: u32) -> Result<Option<(usize, usize)>, Corruption> {
    let entry = |at: usize| {
        let bytes = pages.bytes(SIDE_INDEX, at * ENTRY_BYTES, ENTRY_BYTES)?;
        let mut fields = Cursor::new(bytes);
        let mut parse = || Ok::<_, Malformed>((fields.u32()?, fields.u32()?, fields.u64()?));
        parse().map_err(|m| pages.damage(SIDE_INDEX, at * ENTRY_BYTES, m))
    };
    let (mut low, mut high) = (0, pages.section_len(SIDE_INDEX) / ENTRY_BYTES);
    while low < high {
        let middle = usize::midpoint(low, high);
        let (found, len, at) = entry(middle)?;
        match found.cmp(&ordinal) {
            std::cmp::Ordering::Equal => return Ok(Some((at as usize, len as usize))),
            std::cmp::Ordering::Less => low = middle + 1,
            std::cmp::Ordering::Greater => high = middle,
        }
    }
    Ok(None)
}

/// Adds to `out`, which has the floats `from..to` of `count`, their start timestamps and the
/// histograms inside `[min_ms, max_ms]`.
pub(crate) fn read(
    pages: &Pages,
    layouts: &Layouts,
    ordinal: u32,
    floats: (usize, usize, usize),
    (min_ms, max_ms): (i64, i64),
    out: &mut Samples,
) -> Result<(), Corruption> {
    let Some((at, len)) = find(pages, ordinal)? else {
        return Ok(());
    };
    let bytes = pages.bytes(SIDE, at, len)?;
    decode(bytes, layouts, floats, (min_ms, max_ms), out).map_err(|m| pages.damage(SIDE, at, m))
}

fn decode(
    bytes: &[u8],
    layouts: &Layouts,
    (count, from, to): (usize, usize, usize),
    range: (i64, i64),
    out: &mut Samples,
) -> Result<(), Malformed> {
    let mut cursor = Cursor::new(bytes);
    let contents = cursor.u8()?;
    if contents & STARTS != 0 {
        let (mut next, mut start_ms) = (0_usize, 0_i64);
        for _ in 0..cursor.count(2, usize::MAX)? {
            let samples = cursor.count(0, count - next)?;
            start_ms = start_ms.wrapping_add(cursor.varint()?);
            let (first, end) = (next.max(from), (next + samples).min(to));
            next += samples;
            if first < end {
                let starts = &mut out.floats.starts;
                starts.resize(starts.len() + end - first, start_ms);
            }
        }
        if next != count {
            return Err(Malformed("start timestamps of another number of samples"));
        }
        if out.floats.starts.iter().all(|start| *start == 0) {
            out.floats.starts.clear();
        }
    }
    if contents & HISTOGRAMS != 0 {
        let mut last_ms = None;
        for _ in 0..cursor.count(4, usize::MAX)? {
            let len = cursor.count(1, usize::MAX)?;
            let mut group = Cursor::new(cursor.take(len)?);
            read_group(
                &mut group,
                layouts,
                range,
                &mut last_ms,
                &mut out.histograms,
            )?;
        }
    }
    Ok(())
}

fn read_group(
    cursor: &mut Cursor<'_>,
    layouts: &Layouts,
    (min_ms, max_ms): (i64, i64),
    last_ms: &mut Option<i64>,
    out: &mut Vec<Point>,
) -> Result<(), Malformed> {
    let layout = layouts.get(cursor.count(0, usize::MAX)?);
    let layout = layout.ok_or(Malformed("histograms of an unknown layout"))?;
    let count = cursor.count(0, MAX_RUN)?;
    let width = layout.width();
    // A field takes two bytes at least.
    let too_wide = width > cursor.remaining() / 2;
    if count == 0 || too_wide || (count > 1 && count * width > MAX_FIELDS) {
        return Err(Malformed("a group of histograms of absurd size"));
    }
    let mut column = Vec::with_capacity(count);
    integers::decode(cursor, count, &mut column)?;
    let ascending = column.windows(2).all(|w| w[0] < w[1]);
    if !ascending || last_ms.is_some_and(|last| last >= column[0]) {
        return Err(Malformed("timestamps do not ascend"));
    }
    *last_ms = column.last().copied();
    if column[0] > max_ms || column[count - 1] < min_ms {
        return Ok(());
    }
    let (mut hints, mut starts) = (Vec::with_capacity(count), Vec::with_capacity(count));
    integers::decode(cursor, count, &mut hints)?;
    integers::decode(cursor, count, &mut starts)?;
    let mut fields: Vec<Vec<u64>> = vec![vec![0; width]; count];
    let (mut numbers, mut floats) = (Vec::with_capacity(count), Vec::with_capacity(count));
    for field in 0..width {
        numbers.clear();
        if layout.is_float(field) {
            floats.clear();
            let len = cursor.count(1, usize::MAX)?;
            values::decode(cursor.take(len)?, count, &mut floats)?;
            for (fields, value) in fields.iter_mut().zip(&floats) {
                fields[field] = value.to_bits();
            }
        } else {
            integers::decode(cursor, count, &mut numbers)?;
            for (fields, number) in fields.iter_mut().zip(&numbers) {
                fields[field] = *number as u64;
            }
        }
    }
    let samples = column.iter().zip(hints).zip(starts).zip(fields);
    for (((at_ms, hint), start_ms), fields) in samples {
        if min_ms <= *at_ms && *at_ms <= max_ms {
            out.push(Point {
                at_ms: *at_ms,
                start_ms,
                hint: hint_of(hint as u8),
                layout: Arc::clone(layout),
                fields: fields.into(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::wire::tests::{any_fields, any_layout};
    use crate::query::merge::Columns;
    use proptest::prelude::*;

    fn any_samples() -> impl Strategy<Value = Samples> {
        let sample = any_layout().prop_flat_map(|layout| {
            let one = (any_fields(&layout), 0_u8..4, 0_i64..3, 1_i64..1 << 30);
            (Just(Arc::new(layout)), prop::collection::vec(one, 1..6))
        });
        let starts = prop::collection::vec(prop_oneof![Just(0_i64), Just(7), any::<i64>()], 0..20);
        (prop::collection::vec(sample, 0..4), starts).prop_map(|(groups, starts)| {
            let mut samples = Samples {
                floats: Columns {
                    times: (0..starts.len() as i64).collect(),
                    values: vec![1.0; starts.len()],
                    starts,
                },
                histograms: Vec::new(),
            };
            let mut at_ms = 100;
            for (layout, group) in groups {
                for (fields, hint, start_ms, step) in group {
                    at_ms += step;
                    samples.histograms.push(Point {
                        at_ms,
                        start_ms,
                        hint: hint_of(hint),
                        layout: Arc::clone(&layout),
                        fields: fields.into(),
                    });
                }
            }
            samples
        })
    }

    proptest! {
        #[test]
        fn any_samples_survive(samples in any_samples(), from in 0_usize..20, to in 0_usize..20) {
            let mut writer = SideWriter::default();
            writer.series(4, &samples);
            let (side, index, layouts) = writer.finish();
            if index.is_empty() {
                prop_assert!(samples.histograms.is_empty());
                return Ok(());
            }
            let layouts = decode_layouts(&layouts).unwrap();
            let count = samples.floats.times.len();
            let to = to.min(count);
            let from = from.min(to);
            let mut back = Samples::default();
            let all = (i64::MIN, i64::MAX);
            decode(&side, &layouts, (count, from, to), all, &mut back).unwrap();
            prop_assert_eq!(&back.histograms, &samples.histograms);
            if !back.floats.starts.is_empty() {
                prop_assert_eq!(&back.floats.starts[..], &samples.floats.starts[from..to]);
            } else {
                prop_assert!(samples.floats.starts[from..to].iter().all(|s| *s == 0));
            }
            if let Some(middle) = samples.histograms.get(samples.histograms.len() / 2) {
                let mut back = Samples::default();
                let range = (middle.at_ms, middle.at_ms);
                decode(&side, &layouts, (count, from, to), range, &mut back).unwrap();
                prop_assert_eq!(&back.histograms[..], std::slice::from_ref(middle));
            }
            for len in 0..side.len() {
                let all = (i64::MIN, i64::MAX);
                prop_assert!(decode(&side[..len], &layouts, (count, from, to), all, &mut Samples::default()).is_err());
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..120),
            layout in any_layout(),
        ) {
            let layouts = vec![Arc::new(layout)];
            let all = (i64::MIN, i64::MAX);
            let _ = decode(&bytes, &layouts, (9, 2, 7), all, &mut Samples::default());
            let _ = decode_layouts(&bytes);
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
        let point = |i: u64| {
            let mut fields = vec![5; 103];
            (fields[0], fields[10], fields[50]) = (2 * i, i, i);
            Point {
                at_ms: i as i64 * 15_000,
                start_ms: 1_700_000_000_000,
                hint: hint_of(2),
                layout: Arc::clone(&layout),
                fields: fields.into(),
            }
        };
        let samples = Samples {
            histograms: (0..480).map(point).collect(),
            ..Samples::default()
        };
        let mut writer = SideWriter::default();
        writer.series(0, &samples);
        assert!(writer.finish().0.len() < 480, "below a byte per histogram");
    }
}
