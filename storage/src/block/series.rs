//! Series records: which pairs a series has and where its samples are.
//!
//! A record is coded against the one before; every 16th against nothing (no pairs, zeros). Record: `uvarint
//! head`, whose bit 0 says that samples and timestamp column are those of the record before, whose bits 1-2
//! say how many pairs more than the record before it has (0: as many, 1: one more, 2: one less, 3: another
//! number, a varint that follows), and whose other bits say which pairs of the record before (by place) it
//! does not have; the pairs that it has instead, ascending, each as varint difference, first to those that
//! went, then to the pair coded before; unless bit 0 is set, `varint` differences of samples and of the
//! offset of the timestamp column; then for each run of 1,024 samples `uvarint bytes` of its values.
//! Pairs ascend, and at most 32 of the record before can go one by one; of a longer one all go: bits 3-34.
//!
//! Values lie one after another in the order of the records. `SERIES_STARTS` holds for every 16th record
//! `u64 record offset, u64 values offset`, so that any record is at most 15 records away.
//!
//! Up to version 2 a record stands alone: `uvarint pairs, uvarint pair ids..., uvarint samples, uvarint
//! offset of its timestamp column`, then the bytes of the runs.

use super::format::{SERIES, SERIES_STARTS, VALUES};
use super::pages::Pages;
use crate::codec::Malformed;
use crate::codec::bytes::{Cursor, put_uvarint, put_varint};
use crate::codec::timestamps::MAX_COLUMN;
use crate::codec::values::MAX_RUN;
use crate::error::Corruption;
use crate::wal::record::MAX_PAIRS;

const RESTART: usize = 16;
const START_BYTES: usize = 16;

/// How much of the section is looked at for one record before trying with all of it.
const USUAL_BYTES: usize = 4096;

/// A series of a block.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SeriesRecord {
    pub(crate) pairs: Vec<u32>,
    pub(crate) sample_count: usize,
    /// Offset of the timestamp column in its section.
    pub(crate) times_at: usize,
    /// Offset of the first run of values in its section.
    pub(crate) values_at: usize,
    /// Bytes of each run of values.
    pub(crate) run_bytes: Vec<usize>,
}

impl SeriesRecord {
    pub(crate) fn borrowed(&self) -> Record<'_> {
        Record {
            pairs: &self.pairs,
            sample_count: self.sample_count,
            times_at: self.times_at,
            values_at: self.values_at,
            run_bytes: &self.run_bytes,
        }
    }
}

/// A [`SeriesRecord`] that somebody else holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record<'r> {
    pub(crate) pairs: &'r [u32],
    pub(crate) sample_count: usize,
    pub(crate) times_at: usize,
    pub(crate) values_at: usize,
    pub(crate) run_bytes: &'r [usize],
}

/// Most pairs of a record of which the next may keep some.
const MAX_KEPT: usize = 32;

/// First version whose records are coded against the one before.
const CHAINED_VERSION: u16 = 3;

/// Builds the two sections.
#[derive(Debug, Default)]
pub(crate) struct SeriesWriter {
    pub(crate) records: Vec<u8>,
    pub(crate) starts: Vec<u8>,
    before: SeriesRecord,
    count: usize,
}

impl SeriesWriter {
    /// Adds a record; its pairs ascend.
    pub(crate) fn push(&mut self, record: &SeriesRecord) {
        debug_assert!(record.pairs.is_sorted());
        if self.count.is_multiple_of(RESTART) {
            let at = self.records.len() as u64;
            self.starts.extend_from_slice(&at.to_le_bytes());
            self.starts
                .extend_from_slice(&(record.values_at as u64).to_le_bytes());
            self.before = SeriesRecord::default();
        }
        self.count += 1;
        self.put(record);
        for bytes in &record.run_bytes {
            put_uvarint(&mut self.records, *bytes as u64);
        }
        self.before.clone_from(record);
    }

    /// Appends what differs from the record before.
    fn put(&mut self, record: &SeriesRecord) {
        let (before, out) = (&self.before, &mut self.records);
        let kept: &[u32] = match before.pairs.len() {
            0..=MAX_KEPT => &before.pairs,
            _ => &[],
        };
        let goes = |pair: &u32| record.pairs.binary_search(pair).is_err();
        let mut gone = 0_u64;
        for (place, pair) in kept.iter().enumerate() {
            gone |= u64::from(goes(pair)) << place;
        }
        let more = record.pairs.len() as i64 - before.pairs.len() as i64;
        let count_code = match more {
            0 => 0,
            1 => 1,
            -1 => 2,
            _ => 3,
        };
        let samples = record.sample_count as i64 - before.sample_count as i64;
        let times = record.times_at as i64 - before.times_at as i64;
        let same = samples == 0 && times == 0;
        put_uvarint(out, gone << 3 | count_code << 1 | u64::from(same));
        if count_code == 3 {
            put_varint(out, more);
        }
        let mut went = kept.iter().filter(|pair| goes(pair));
        let new = |pair: &&u32| kept.binary_search(pair).is_err();
        let mut last = 0;
        for pair in record.pairs.iter().filter(new) {
            let base = went.next().copied().unwrap_or(last);
            put_varint(out, i64::from(*pair) - i64::from(base));
            last = *pair;
        }
        if !same {
            put_varint(out, samples);
            put_varint(out, times);
        }
    }
}

/// `before` moved by a varint.
fn moved(cursor: &mut Cursor<'_>, before: usize) -> Result<usize, Malformed> {
    let after = (before as i64).checked_add(cursor.varint()?);
    let after = after.and_then(|after| usize::try_from(after).ok());
    after.ok_or(Malformed("number exceeds its range"))
}

/// Changes the pairs of `record` into those of the next.
fn next_pairs(
    cursor: &mut Cursor<'_>,
    record: &mut SeriesRecord,
    head: u64,
) -> Result<(), Malformed> {
    let before = record.pairs.len();
    let count = match head >> 1 & 3 {
        0 => before,
        1 => before + 1,
        2 => before.saturating_sub(1),
        _ => moved(cursor, before)?,
    };
    let gone = head >> 3;
    let mut went = [0; MAX_KEPT];
    let mut went_count = 0;
    if before > MAX_KEPT {
        record.pairs.clear();
    } else if gone == 0 && count == before {
        return Ok(());
    } else {
        let mut place = 0;
        record.pairs.retain(|pair| {
            let goes = gone >> place & 1 == 1;
            place += 1;
            if goes {
                went[went_count] = *pair;
                went_count += 1;
            }
            !goes
        });
    }
    if count > MAX_PAIRS || count < record.pairs.len() {
        return Err(Malformed("a number of pairs that cannot be"));
    }
    let mut last = 0;
    for number in 0..count - record.pairs.len() {
        let base = went[..went_count].get(number).copied().unwrap_or(last);
        let pair = moved(cursor, base as usize)?;
        last = u32::try_from(pair).map_err(|_| Malformed("number exceeds 32 bits"))?;
        record.pairs.push(last);
    }
    record.pairs.sort_unstable();
    Ok(())
}

/// Reads the record at the front of `cursor` into `record`, which holds the one before (none at a
/// restart).
fn read_next(
    cursor: &mut Cursor<'_>,
    record: &mut SeriesRecord,
    version: u16,
) -> Result<(), Malformed> {
    let skipped: usize = record.run_bytes.iter().sum();
    record.values_at = record
        .values_at
        .checked_add(skipped)
        .ok_or(Malformed("values offset is absurd"))?;
    record.run_bytes.clear();
    if version >= CHAINED_VERSION {
        let head = cursor.uvarint()?;
        next_pairs(cursor, record, head)?;
        if head & 1 == 0 {
            record.sample_count = moved(cursor, record.sample_count)?;
            record.times_at = moved(cursor, record.times_at)?;
        }
    } else {
        record.pairs.clear();
        for _ in 0..cursor.count(1, MAX_PAIRS)? {
            record.pairs.push(cursor.uvarint32()?);
        }
        record.sample_count = cursor.count(0, MAX_COLUMN)?;
        record.times_at = cursor.count(0, usize::MAX)?;
    }
    if record.sample_count > MAX_COLUMN {
        return Err(Malformed("a series has too many samples"));
    }
    for _ in 0..record.sample_count.div_ceil(MAX_RUN) {
        record.run_bytes.push(cursor.count(0, u32::MAX as usize)?);
    }
    Ok(())
}

/// The record read last; the next ones of its group of 16 are read from there.
#[derive(Debug)]
pub(crate) struct RecordCache {
    record: SeriesRecord,
    /// Its number; `None` before anything was read.
    ordinal: Option<u32>,
    /// Offset of the record after it in its section.
    next_at: usize,
}

impl RecordCache {
    pub(crate) const EMPTY: Self = Self {
        record: SeriesRecord {
            pairs: Vec::new(),
            sample_count: 0,
            times_at: 0,
            values_at: 0,
            run_bytes: Vec::new(),
        },
        ordinal: None,
        next_at: 0,
    };

    /// Forgets what was read, as is due before another block.
    pub(crate) fn forget(&mut self) {
        self.ordinal = None;
    }

    /// The record of series `ordinal`.
    pub(crate) fn read(
        &mut self,
        pages: &Pages,
        ordinal: u32,
    ) -> Result<&SeriesRecord, Corruption> {
        if self.ordinal != Some(ordinal) {
            self.go_to(pages, ordinal)?;
        }
        Ok(&self.record)
    }

    fn go_to(&mut self, pages: &Pages, ordinal: u32) -> Result<(), Corruption> {
        let group = ordinal as usize / RESTART;
        let known = self.ordinal.take();
        let known = known.filter(|known| *known < ordinal && *known as usize / RESTART == group);
        let mut left = match known {
            Some(known) => ordinal - known,
            None => {
                self.restart(pages, group)?;
                ordinal - (group * RESTART) as u32 + 1
            }
        };
        let usual = pages.bytes_up_to(SERIES, self.next_at, USUAL_BYTES)?;
        if self.walk(usual, left, pages.header.version).is_err() {
            self.restart(pages, group)?;
            left = ordinal - (group * RESTART) as u32 + 1;
            let at = self.next_at;
            let all = pages.bytes_up_to(SERIES, at, usize::MAX)?;
            let walked = self.walk(all, left, pages.header.version);
            walked.map_err(|m| pages.damage(SERIES, at, m))?;
        }
        let values: usize = self.record.run_bytes.iter().sum();
        if self.record.values_at.saturating_add(values) > pages.section_len(VALUES) {
            let wrong = Malformed("values beyond their section");
            return Err(pages.damage(SERIES, self.next_at, wrong));
        }
        self.ordinal = Some(ordinal);
        Ok(())
    }

    /// Goes before the first record of a group.
    fn restart(&mut self, pages: &Pages, group: usize) -> Result<(), Corruption> {
        let start_at = group * START_BYTES;
        let start = pages.bytes(SERIES_STARTS, start_at, START_BYTES)?;
        let mut fields = Cursor::new(start);
        let mut parse = || Ok::<_, Malformed>((fields.u64()?, fields.u64()?));
        let (at, values_at) = parse().map_err(|m| pages.damage(SERIES_STARTS, start_at, m))?;
        let record = &mut self.record;
        record.pairs.clear();
        record.run_bytes.clear();
        (record.sample_count, record.times_at) = (0, 0);
        record.values_at = values_at as usize;
        self.next_at = at as usize;
        Ok(())
    }

    /// Reads `count` records on.
    fn walk(&mut self, bytes: &[u8], count: u32, version: u16) -> Result<(), Malformed> {
        let mut cursor = Cursor::new(bytes);
        for _ in 0..count {
            read_next(&mut cursor, &mut self.record, version)?;
        }
        self.next_at += bytes.len() - cursor.remaining();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use proptest::prelude::*;

    fn records() -> impl Strategy<Value = Vec<SeriesRecord>> {
        let pairs = prop_oneof![
            8 => prop::collection::btree_set(0_u32..12, 1..9),
            2 => prop::collection::btree_set(any::<u32>(), 0..9),
            1 => prop::collection::btree_set(0_u32..60, 30..50),
        ];
        let times = prop_oneof![Just((3_usize, 7_usize)), (0_usize..3000, 0_usize..1 << 40)];
        let record = (pairs, times, 0_usize..70_000);
        prop::collection::vec(record, 1..60).prop_map(|all| {
            let mut values_at = 0;
            let record = |(pairs, (sample_count, times_at), bytes): (
                BTreeSet<u32>,
                (usize, usize),
                usize,
            )| {
                let run_bytes = vec![bytes; sample_count.div_ceil(MAX_RUN)];
                let record = SeriesRecord {
                    pairs: pairs.into_iter().collect(),
                    sample_count,
                    times_at,
                    values_at,
                    run_bytes,
                };
                values_at += record.run_bytes.iter().sum::<usize>();
                record
            };
            all.into_iter().map(record).collect()
        })
    }

    proptest! {
        #[test]
        fn records_come_back_one_after_another_and_from_every_restart(records in records()) {
            let mut writer = SeriesWriter::default();
            for record in &records {
                writer.push(record);
            }
            for (group, starts) in writer.starts.chunks(START_BYTES).enumerate() {
                let mut fields = Cursor::new(starts);
                let at = fields.u64().unwrap() as usize;
                let mut cursor = Cursor::new(&writer.records[at..]);
                let mut record = SeriesRecord {
                    values_at: fields.u64().unwrap() as usize,
                    ..SeriesRecord::default()
                };
                for expected in records.iter().skip(group * RESTART).take(RESTART) {
                    read_next(&mut cursor, &mut record, CHAINED_VERSION).unwrap();
                    prop_assert_eq!(&record, expected);
                }
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), version in 1_u16..4) {
            let mut record = SeriesRecord::default();
            let mut cursor = Cursor::new(&bytes);
            while !cursor.is_empty() && read_next(&mut cursor, &mut record, version).is_ok() {}
        }
    }
}
