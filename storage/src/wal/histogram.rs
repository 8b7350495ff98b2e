//! The HISTOGRAM record: `uvarint lane, uvarint layouts, layouts...` (see
//! [`crate::histogram::wire`]), `uvarint n`, then n times `varint id - id before, varint time - time
//! before, u8 flags` (bits 0-1: counter reset hint; bit 2: late; bit 3: a start timestamp follows),
//! `varint start - time`?, `uvarint layout`, fields. Nothing refers to another record.
//!
//! The START record: `uvarint lane, uvarint n`, n times `varint id - id before, varint time - time
//! before, varint start - start before, u8 late`: the start timestamps (0 = unknown) of float samples
//! of the same frame.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::codec::Malformed;
use crate::codec::bytes::{Cursor, put_uvarint, put_varint};
use crate::histogram::Layout;
use crate::histogram::point::{Point, hint_bits, hint_of};
use crate::histogram::wire::{put_fields, put_layout, read_fields, read_layout};

const LATE: u8 = 4;
const HAS_START: u8 = 8;

/// Collects the histograms of one record.
#[derive(Debug, Default)]
pub(crate) struct HistogramsBuilder {
    /// Numbers of the layouts by their address; `shared` keeps the addresses taken.
    known: HashMap<usize, u64, foldhash::fast::RandomState>,
    shared: Vec<Arc<Layout>>,
    layouts: Vec<u8>,
    samples: Vec<u8>,
    count: u64,
    last: (u32, i64),
}

impl HistogramsBuilder {
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(crate) fn push(&mut self, id: u32, point: &Point, late: bool) {
        let next = self.shared.len() as u64;
        let address = Arc::as_ptr(&point.layout) as usize;
        let layout = *self.known.entry(address).or_insert(next);
        if layout == next {
            self.shared.push(Arc::clone(&point.layout));
            put_layout(&mut self.layouts, &point.layout);
        }
        put_varint(&mut self.samples, i64::from(id) - i64::from(self.last.0));
        put_varint(&mut self.samples, point.at_ms.wrapping_sub(self.last.1));
        self.last = (id, point.at_ms);
        let late = if late { LATE } else { 0 };
        let start = if point.start_ms == 0 { 0 } else { HAS_START };
        self.samples.push(hint_bits(point.hint) | late | start);
        if start != 0 {
            put_varint(&mut self.samples, point.start_ms.wrapping_sub(point.at_ms));
        }
        put_uvarint(&mut self.samples, layout);
        put_fields(&mut self.samples, &point.layout, &point.fields);
        self.count += 1;
    }

    /// Appends the body to `out` and empties the builder.
    pub(crate) fn finish(&mut self, lane: u32, out: &mut Vec<u8>) {
        put_uvarint(out, u64::from(lane));
        put_uvarint(out, self.shared.len() as u64);
        out.append(&mut self.layouts);
        put_uvarint(out, self.count);
        out.append(&mut self.samples);
        self.known.clear();
        self.shared.clear();
        (self.count, self.last) = (0, (0, 0));
    }
}

/// Hands lane, id, whether it is late, and the point of each histogram to `each`.
pub(crate) fn read_histograms(
    body: &[u8],
    mut each: impl FnMut(u32, u32, bool, Point),
) -> Result<(), Malformed> {
    let mut cursor = Cursor::new(body);
    let lane = cursor.uvarint32()?;
    let mut layouts = Vec::new();
    for _ in 0..cursor.count(13, usize::MAX)? {
        layouts.push(Arc::new(read_layout(&mut cursor)?));
    }
    let (mut id, mut at_ms) = (0_i64, 0_i64);
    for _ in 0..cursor.count(14, usize::MAX)? {
        id = id.wrapping_add(cursor.varint()?);
        at_ms = at_ms.wrapping_add(cursor.varint()?);
        let flags = cursor.u8()?;
        let start_ms = match flags & HAS_START {
            0 => 0,
            _ => at_ms.wrapping_add(cursor.varint()?),
        };
        let layout = layouts.get(cursor.count(0, usize::MAX)?);
        let layout = layout.ok_or(Malformed("histogram of an unknown layout"))?;
        let point = Point {
            at_ms,
            start_ms,
            hint: hint_of(flags),
            layout: Arc::clone(layout),
            fields: read_fields(&mut cursor, layout)?,
        };
        let id = u32::try_from(id).map_err(|_| Malformed("series id leaves 32 bits"))?;
        each(lane, id, flags & LATE != 0, point);
    }
    Ok(())
}

/// Collects start timestamps.
#[derive(Debug, Default)]
pub(crate) struct StartsBuilder {
    pub(crate) bytes: Vec<u8>,
    pub(crate) count: u64,
    last: (u32, i64, i64),
}

impl StartsBuilder {
    pub(crate) fn push(&mut self, id: u32, at_ms: i64, start_ms: i64, late: bool) {
        let (last_id, last_ms, last_start_ms) = self.last;
        put_varint(&mut self.bytes, i64::from(id) - i64::from(last_id));
        put_varint(&mut self.bytes, at_ms.wrapping_sub(last_ms));
        put_varint(&mut self.bytes, start_ms.wrapping_sub(last_start_ms));
        self.bytes.push(u8::from(late));
        self.last = (id, at_ms, start_ms);
        self.count += 1;
    }

    /// Forgets what the next entry would refer to.
    pub(crate) fn reset(&mut self) {
        self.last = (0, 0, 0);
    }
}

/// Hands lane, id, timestamp, start timestamp and whether the sample is late to `each`.
pub(crate) fn read_starts(
    body: &[u8],
    mut each: impl FnMut(u32, u32, i64, i64, bool),
) -> Result<(), Malformed> {
    let mut cursor = Cursor::new(body);
    let lane = cursor.uvarint32()?;
    let (mut id, mut at_ms, mut start_ms) = (0_i64, 0_i64, 0_i64);
    for _ in 0..cursor.count(4, usize::MAX)? {
        id = id.wrapping_add(cursor.varint()?);
        at_ms = at_ms.wrapping_add(cursor.varint()?);
        start_ms = start_ms.wrapping_add(cursor.varint()?);
        let id = u32::try_from(id).map_err(|_| Malformed("series id leaves 32 bits"))?;
        each(lane, id, at_ms, start_ms, cursor.u8()? != 0);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::wire::tests::{any_fields, any_layout};
    use proptest::prelude::*;

    fn any_point() -> impl Strategy<Value = Point> {
        let layout = any_layout().prop_map(Arc::new);
        let numbers = (any::<i64>(), any::<i64>(), 0_u8..4);
        let fields = layout.prop_flat_map(|l| (Just(Arc::clone(&l)), any_fields(&l)));
        (fields, numbers).prop_map(|((layout, fields), (at_ms, start_ms, hint))| Point {
            at_ms,
            start_ms,
            hint: hint_of(hint),
            layout,
            fields: fields.into(),
        })
    }

    proptest! {
        #[test]
        fn records_come_back(
            samples in prop::collection::vec((any_point(), any::<u32>(), any::<bool>()), 1..8),
        ) {
            let (mut histograms, mut starts) = (HistogramsBuilder::default(), StartsBuilder::default());
            for _ in 0..2 {
                for (point, id, late) in &samples {
                    histograms.push(*id, point, *late);
                    starts.push(*id, point.at_ms, point.start_ms, *late);
                }
                let mut body = Vec::new();
                histograms.finish(3, &mut body);
                prop_assert!(histograms.is_empty());
                let mut back = Vec::new();
                read_histograms(&body, |lane, id, late, point| back.push((lane, (point, id, late)))).unwrap();
                let expected: Vec<_> = samples.iter().map(|s| (3, s.clone())).collect();
                prop_assert_eq!(back, expected);
                let mut body = vec![3, samples.len() as u8];
                body.append(&mut starts.bytes);
                starts.reset();
                let mut back = Vec::new();
                read_starts(&body, |lane, id, at, start, late| back.push((lane, id, at, start, late))).unwrap();
                let expected: Vec<_> = samples.iter().map(|(p, id, late)| (3, *id, p.at_ms, p.start_ms, *late)).collect();
                prop_assert_eq!(back, expected);
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            let _ = read_histograms(&bytes, |_, _, _, _| {});
            let _ = read_starts(&bytes, |_, _, _, _, _| {});
        }
    }
}
