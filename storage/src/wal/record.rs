//! The records inside a frame: `u8 type, uvarint length, body`.
//!
//! | type | body |
//! |---|---|
//! | 1 SYMBOL | `uvarint lane, uvarint n, n x (uvarint pair, text name, text value)` |
//! | 2 SERIES | `uvarint lane, uvarint n, n x (varint id - previous id, uvarint pairs, pair...)` |
//! | 3 ROW | see [`super::row`] |
//! | 5 LATE | `uvarint lane, uvarint n, n x (varint id difference, varint time difference, u64 bits)` |
//! | 6 HISTOGRAM, 10 START | see [`super::histogram`] |
//! | 7 EXEMPLAR, 8 METADATA | see [`super::side`] |
//! | 9 TOMBSTONE | `uvarint lane, uvarint n, n x (varint id difference, varint from, varint to)` |
//!
//! A reader skips types it does not know; what it must not skip raises the segment's read version.

use tenbin_model::TimeRange;
use tenbin_model::write::MetadataEntry;

use super::histogram::{HistogramsBuilder, StartsBuilder, read_histograms, read_starts};
use super::row::{Row, RowBuilder};
use super::side::{SideBuilder, read_exemplars, read_metadata};
use crate::codec::Malformed;
use crate::codec::bytes::{Cursor, put_text, put_uvarint, put_varint};
use crate::exemplars::StoredExemplar;
use crate::histogram::point::Point;

const SYMBOL: u8 = 1;
const SERIES: u8 = 2;
const ROW: u8 = 3;
const LATE: u8 = 5;
const HISTOGRAM: u8 = 6;
const EXEMPLAR: u8 = 7;
const METADATA: u8 = 8;
const TOMBSTONE: u8 = 9;
const START: u8 = 10;

/// Most label pairs that one series may have on disk.
pub(crate) const MAX_PAIRS: usize = 1 << 16;

/// Collects what one request writes for one lane. Emptied by [`RecordBuilder::finish`].
#[derive(Debug, Default)]
pub(crate) struct RecordBuilder {
    symbols: Vec<u8>,
    symbol_count: u64,
    series: Vec<u8>,
    series_count: u64,
    last_id: u32,
    pub(crate) row: RowBuilder,
    full_rows: Vec<u8>,
    late: Vec<u8>,
    late_count: u64,
    last_late: (u32, i64),
    histograms: HistogramsBuilder,
    starts: StartsBuilder,
    side: SideBuilder,
    tombstones: Vec<u8>,
    tombstone_count: u64,
    last_tombstone: u32,
    scratch: Vec<u8>,
}

fn put_record(out: &mut Vec<u8>, kind: u8, body: &[u8]) {
    out.push(kind);
    put_text(out, body);
}

impl RecordBuilder {
    pub(crate) fn is_empty(&self) -> bool {
        self.row.is_empty()
            && self.late_count == 0
            && self.full_rows.is_empty()
            && self.tombstone_count == 0
            && self.histograms.is_empty()
            && self.side.is_empty()
    }

    /// Defines a label pair for this segment.
    pub(crate) fn symbol(&mut self, pair: u32, name: &str, value: &str) {
        put_uvarint(&mut self.symbols, u64::from(pair));
        put_text(&mut self.symbols, name.as_bytes());
        put_text(&mut self.symbols, value.as_bytes());
        self.symbol_count += 1;
    }

    /// Defines a series for this segment.
    pub(crate) fn series(&mut self, id: u32, pairs: impl ExactSizeIterator<Item = u32>) {
        put_varint(&mut self.series, i64::from(id) - i64::from(self.last_id));
        self.last_id = id;
        put_uvarint(&mut self.series, pairs.len() as u64);
        for pair in pairs {
            put_uvarint(&mut self.series, u64::from(pair));
        }
        self.series_count += 1;
    }

    /// Adds an in-order sample.
    #[inline]
    pub(crate) fn sample(&mut self, lane: u32, id: u32, timestamp_ms: i64, bits: u64, base: u64) {
        if self.row.is_full() {
            self.scratch.clear();
            self.row.finish(lane, &mut self.scratch);
            put_record(&mut self.full_rows, ROW, &self.scratch);
        }
        self.row.push(id, timestamp_ms, bits, base);
    }

    /// Adds a late sample.
    pub(crate) fn late(&mut self, id: u32, timestamp_ms: i64, bits: u64) {
        let (last_id, last_ms) = self.last_late;
        put_varint(&mut self.late, i64::from(id) - i64::from(last_id));
        put_varint(&mut self.late, timestamp_ms.wrapping_sub(last_ms));
        self.late.extend_from_slice(&bits.to_le_bytes());
        self.last_late = (id, timestamp_ms);
        self.late_count += 1;
    }

    /// Adds a histogram.
    pub(crate) fn histogram(&mut self, id: u32, point: &Point, late: bool) {
        self.histograms.push(id, point, late);
    }

    /// Adds the start timestamp of a float sample of this record.
    pub(crate) fn start(&mut self, id: u32, timestamp_ms: i64, start_ms: i64, late: bool) {
        self.starts.push(id, timestamp_ms, start_ms, late);
    }

    /// Adds an exemplar.
    pub(crate) fn exemplar(&mut self, id: u32, exemplar: &StoredExemplar) {
        self.side.exemplar(id, exemplar);
    }

    /// Adds a statement about a metric family.
    pub(crate) fn metadata(&mut self, entry: &MetadataEntry<'_>) {
        self.side.metadata(entry);
    }

    /// Deletes the samples that a series has inside a range at this point of the log.
    pub(crate) fn tombstone(&mut self, id: u32, range: TimeRange) {
        put_varint(
            &mut self.tombstones,
            i64::from(id) - i64::from(self.last_tombstone),
        );
        put_varint(&mut self.tombstones, range.min_ms);
        put_varint(&mut self.tombstones, range.max_ms);
        self.last_tombstone = id;
        self.tombstone_count += 1;
    }

    /// Appends all records to `out` and empties the builder.
    pub(crate) fn finish(&mut self, lane: u32, out: &mut Vec<u8>) {
        for (kind, count, bytes) in [
            (SYMBOL, &mut self.symbol_count, &mut self.symbols),
            (SERIES, &mut self.series_count, &mut self.series),
        ] {
            counted(out, kind, lane, count, bytes, &mut self.scratch);
        }
        out.append(&mut self.full_rows);
        if !self.row.is_empty() {
            self.scratch.clear();
            self.row.finish(lane, &mut self.scratch);
            put_record(out, ROW, &self.scratch);
        }
        let late = (&mut self.late_count, &mut self.late);
        counted(out, LATE, lane, late.0, late.1, &mut self.scratch);
        if !self.histograms.is_empty() {
            self.scratch.clear();
            self.histograms.finish(lane, &mut self.scratch);
            put_record(out, HISTOGRAM, &self.scratch);
        }
        let starts = (&mut self.starts.count, &mut self.starts.bytes);
        counted(out, START, lane, starts.0, starts.1, &mut self.scratch);
        self.starts.reset();
        let side = &mut self.side;
        for (kind, count, bytes) in [
            (EXEMPLAR, &mut side.exemplar_count, &mut side.exemplars),
            (METADATA, &mut side.metadata_count, &mut side.metadata),
        ] {
            counted(out, kind, lane, count, bytes, &mut self.scratch);
        }
        side.reset();
        let gone = (&mut self.tombstone_count, &mut self.tombstones);
        counted(out, TOMBSTONE, lane, gone.0, gone.1, &mut self.scratch);
        self.last_id = 0;
        self.last_late = (0, 0);
        self.last_tombstone = 0;
    }
}

/// Appends a record of `count` items unless there are none, and empties the parts.
fn counted(
    out: &mut Vec<u8>,
    kind: u8,
    lane: u32,
    count: &mut u64,
    items: &mut Vec<u8>,
    scratch: &mut Vec<u8>,
) {
    if *count > 0 {
        scratch.clear();
        put_uvarint(scratch, u64::from(lane));
        put_uvarint(scratch, *count);
        scratch.extend_from_slice(items);
        put_record(out, kind, scratch);
        items.clear();
        *count = 0;
    }
}

/// Receives the records of a frame in order.
pub(crate) trait RecordSink {
    /// Whether the records of a lane are to be decoded at all.
    fn wants(&self, _lane: u32) -> bool {
        true
    }
    fn symbol(&mut self, lane: u32, pair: u32, name: &str, value: &str);
    fn series(&mut self, lane: u32, id: u32, pairs: &[u32]);
    fn row(&mut self, row: &mut Row);
    fn late(&mut self, lane: u32, id: u32, timestamp_ms: i64, bits: u64);
    fn histogram(&mut self, lane: u32, id: u32, late: bool, point: Point);
    fn start(&mut self, lane: u32, id: u32, timestamp_ms: i64, start_ms: i64, late: bool);
    fn tombstone(&mut self, lane: u32, id: u32, range: TimeRange);
    fn exemplar(&mut self, lane: u32, id: u32, exemplar: StoredExemplar);
    fn metadata(&mut self, entry: &MetadataEntry<'_>);
}

/// Scratch memory for decoding.
#[derive(Debug, Default)]
pub(crate) struct RecordReader {
    row: Row,
    pairs: Vec<u32>,
}

impl RecordReader {
    /// Hands every record of a frame's payload to `sink`.
    pub(crate) fn read(
        &mut self,
        payload: &[u8],
        sink: &mut impl RecordSink,
    ) -> Result<(), Malformed> {
        let mut cursor = Cursor::new(payload);
        while !cursor.is_empty() {
            let kind = cursor.u8()?;
            let len = cursor.count(1, usize::MAX)?;
            let body = cursor.take(len)?;
            if matches!(
                kind,
                SYMBOL | SERIES | ROW | LATE | HISTOGRAM | EXEMPLAR | METADATA | TOMBSTONE | START
            ) && !sink.wants(Cursor::new(body).uvarint32()?)
            {
                continue;
            }
            match kind {
                SYMBOL => read_symbols(body, sink)?,
                SERIES => self.read_series(body, sink)?,
                ROW => {
                    self.row.decode(body)?;
                    sink.row(&mut self.row);
                }
                LATE => read_late(body, sink)?,
                HISTOGRAM => read_histograms(body, |lane, id, late, point| {
                    sink.histogram(lane, id, late, point);
                })?,
                EXEMPLAR => read_exemplars(body, |lane, id, exemplar| {
                    sink.exemplar(lane, id, exemplar);
                })?,
                METADATA => read_metadata(body, |entry| sink.metadata(entry))?,
                START => read_starts(body, |lane, id, at_ms, start_ms, late| {
                    sink.start(lane, id, at_ms, start_ms, late);
                })?,
                TOMBSTONE => read_tombstones(body, sink)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn read_series(&mut self, body: &[u8], sink: &mut impl RecordSink) -> Result<(), Malformed> {
        let mut cursor = Cursor::new(body);
        let lane = cursor.uvarint32()?;
        let mut id = 0_i64;
        for _ in 0..cursor.count(2, usize::MAX)? {
            id = id.wrapping_add(cursor.varint()?);
            let id = u32::try_from(id).map_err(|_| Malformed("series id leaves 32 bits"))?;
            self.pairs.clear();
            for _ in 0..cursor.count(1, MAX_PAIRS)? {
                self.pairs.push(cursor.uvarint32()?);
            }
            sink.series(lane, id, &self.pairs);
        }
        Ok(())
    }
}

fn read_symbols(body: &[u8], sink: &mut impl RecordSink) -> Result<(), Malformed> {
    let mut cursor = Cursor::new(body);
    let lane = cursor.uvarint32()?;
    for _ in 0..cursor.count(3, usize::MAX)? {
        let pair = cursor.uvarint32()?;
        let name = cursor.text()?;
        sink.symbol(lane, pair, name, cursor.text()?);
    }
    Ok(())
}

fn read_late(body: &[u8], sink: &mut impl RecordSink) -> Result<(), Malformed> {
    let mut cursor = Cursor::new(body);
    let lane = cursor.uvarint32()?;
    let (mut id, mut at_ms) = (0_i64, 0_i64);
    for _ in 0..cursor.count(10, usize::MAX)? {
        id = id.wrapping_add(cursor.varint()?);
        at_ms = at_ms.wrapping_add(cursor.varint()?);
        let id = u32::try_from(id).map_err(|_| Malformed("series id leaves 32 bits"))?;
        sink.late(lane, id, at_ms, cursor.u64()?);
    }
    Ok(())
}

fn read_tombstones(body: &[u8], sink: &mut impl RecordSink) -> Result<(), Malformed> {
    let mut cursor = Cursor::new(body);
    let lane = cursor.uvarint32()?;
    let mut id = 0_i64;
    for _ in 0..cursor.count(3, usize::MAX)? {
        id = id.wrapping_add(cursor.varint()?);
        let range = TimeRange::new(cursor.varint()?, cursor.varint()?);
        let id = u32::try_from(id).map_err(|_| Malformed("series id leaves 32 bits"))?;
        sink.tombstone(lane, id, range);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Default, PartialEq, Debug)]
    struct Heard(Vec<String>);

    impl RecordSink for Heard {
        fn symbol(&mut self, lane: u32, pair: u32, name: &str, value: &str) {
            self.0.push(format!("symbol {lane} {pair} {name}={value}"));
        }
        fn series(&mut self, lane: u32, id: u32, pairs: &[u32]) {
            self.0.push(format!("series {lane} {id} {pairs:?}"));
        }
        fn row(&mut self, row: &mut Row) {
            assert!(row.resolve(|_| 0));
            self.0
                .push(format!("row {} {:?} {:?}", row.lane, row.ids, row.xors));
        }
        fn late(&mut self, lane: u32, id: u32, timestamp_ms: i64, bits: u64) {
            self.0
                .push(format!("late {lane} {id} {timestamp_ms} {bits}"));
        }
        fn histogram(&mut self, lane: u32, id: u32, late: bool, point: Point) {
            let at_ms = point.at_ms;
            self.0.push(format!("histogram {lane} {id} {late} {at_ms}"));
        }
        fn start(&mut self, lane: u32, id: u32, at_ms: i64, start_ms: i64, late: bool) {
            let text = format!("start {lane} {id} {at_ms} {start_ms} {late}");
            self.0.push(text);
        }
        fn tombstone(&mut self, lane: u32, id: u32, range: TimeRange) {
            let (min, max) = (range.min_ms, range.max_ms);
            self.0.push(format!("tombstone {lane} {id} {min} {max}"));
        }
        fn exemplar(&mut self, lane: u32, id: u32, exemplar: StoredExemplar) {
            let (at_ms, labels) = (exemplar.timestamp_ms, exemplar.labels);
            self.0
                .push(format!("exemplar {lane} {id} {at_ms} {labels}"));
        }
        fn metadata(&mut self, entry: &MetadataEntry<'_>) {
            let (kind, help) = (entry.kind.as_str(), entry.help);
            self.0
                .push(format!("metadata {} {kind} {help}", entry.metric));
        }
    }

    #[test]
    fn records_come_back_in_order() {
        let mut builder = RecordBuilder::default();
        builder.symbol(4, "job", "x");
        builder.series(9, [4, 7].into_iter());
        builder.series(2, [4].into_iter());
        builder.sample(1, 9, 1000, 5, 0);
        builder.late(9, -50, 6);
        builder.late(2, 70, 7);
        builder.start(9, 1000, 12, false);
        let point = Point {
            at_ms: 1500,
            start_ms: 0,
            hint: tenbin_model::CounterResetHint::Gauge,
            layout: std::sync::Arc::default(),
            fields: [1, 2, 3].into(),
        };
        builder.histogram(9, &point, true);
        let exemplar = |timestamp_ms| StoredExemplar {
            labels: tenbin_model::Labels::from_pairs(&[("id", "a")]),
            value: 1.0,
            timestamp_ms,
        };
        builder.exemplar(9, &exemplar(5));
        builder.exemplar(2, &exemplar(-5));
        builder.metadata(&MetadataEntry {
            metric: "up",
            kind: tenbin_model::write::MetricType::Gauge,
            help: "Is it up?",
            unit: "",
        });
        builder.tombstone(9, TimeRange::new(i64::MIN, 5));
        builder.tombstone(2, TimeRange::new(-7, i64::MAX));
        assert!(!builder.is_empty());
        let mut payload = Vec::new();
        builder.finish(1, &mut payload);
        assert!(builder.is_empty());
        payload.extend([99, 1, 0]);
        let mut heard = Heard::default();
        RecordReader::default().read(&payload, &mut heard).unwrap();
        assert_eq!(
            heard.0,
            [
                "symbol 1 4 job=x",
                "series 1 9 [4, 7]",
                "series 1 2 [4]",
                "row 1 [9] [5]",
                "late 1 9 -50 6",
                "late 1 2 70 7",
                "histogram 1 9 true 1500",
                "start 1 9 1000 12 false",
                "exemplar 1 9 5 {id=\"a\"}",
                "exemplar 1 2 -5 {id=\"a\"}",
                "metadata up gauge Is it up?",
                &format!("tombstone 1 9 {} 5", i64::MIN),
                &format!("tombstone 1 2 -7 {}", i64::MAX)
            ]
        );
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            struct Nothing;
            impl RecordSink for Nothing {
                fn symbol(&mut self, _: u32, _: u32, _: &str, _: &str) {}
                fn series(&mut self, _: u32, _: u32, _: &[u32]) {}
                fn row(&mut self, row: &mut Row) { row.resolve(|_| 0); }
                fn late(&mut self, _: u32, _: u32, _: i64, _: u64) {}
                fn histogram(&mut self, _: u32, _: u32, _: bool, _: Point) {}
                fn start(&mut self, _: u32, _: u32, _: i64, _: i64, _: bool) {}
                fn tombstone(&mut self, _: u32, _: u32, _: TimeRange) {}
                fn exemplar(&mut self, _: u32, _: u32, _: StoredExemplar) {}
                fn metadata(&mut self, _: &MetadataEntry<'_>) {}
            }
            let _ = RecordReader::default().read(&bytes, &mut Nothing);
        }
    }
}
