//! Series records: which pairs a series has and where its samples are.
//!
//! Record: `uvarint pairs, uvarint pair ids..., uvarint samples, uvarint offset of its timestamp
//! column`, then for each run of 1,024 samples `uvarint bytes` of its values. Values lie one after
//! another in the order of the records. `SERIES_STARTS` holds for every 16th record `u64 record
//! offset, u64 values offset`, so that any record is at most 15 records away.

use super::format::{SERIES, SERIES_STARTS, VALUES};
use super::pages::Pages;
use crate::codec::Malformed;
use crate::codec::bytes::{Cursor, put_uvarint};
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

/// Builds the two sections.
#[derive(Debug, Default)]
pub(crate) struct SeriesWriter {
    pub(crate) records: Vec<u8>,
    pub(crate) starts: Vec<u8>,
    count: usize,
}

impl SeriesWriter {
    pub(crate) fn push(&mut self, record: &SeriesRecord) {
        if self.count.is_multiple_of(RESTART) {
            let at = self.records.len() as u64;
            self.starts.extend_from_slice(&at.to_le_bytes());
            self.starts
                .extend_from_slice(&(record.values_at as u64).to_le_bytes());
        }
        self.count += 1;
        put_uvarint(&mut self.records, record.pairs.len() as u64);
        for pair in &record.pairs {
            put_uvarint(&mut self.records, u64::from(*pair));
        }
        put_uvarint(&mut self.records, record.sample_count as u64);
        put_uvarint(&mut self.records, record.times_at as u64);
        for bytes in &record.run_bytes {
            put_uvarint(&mut self.records, *bytes as u64);
        }
    }
}

/// Reads the record at the front of `cursor` into `record`, whose values follow those of the record
/// that it held before.
fn read_next(cursor: &mut Cursor<'_>, record: &mut SeriesRecord) -> Result<(), Malformed> {
    let skipped: usize = record.run_bytes.iter().sum();
    record.values_at = record
        .values_at
        .checked_add(skipped)
        .ok_or(Malformed("values offset is absurd"))?;
    record.pairs.clear();
    record.run_bytes.clear();
    for _ in 0..cursor.count(1, MAX_PAIRS)? {
        record.pairs.push(cursor.uvarint32()?);
    }
    record.sample_count = cursor.count(0, MAX_COLUMN)?;
    record.times_at = cursor.count(0, usize::MAX)?;
    for _ in 0..record.sample_count.div_ceil(MAX_RUN) {
        record.run_bytes.push(cursor.count(0, u32::MAX as usize)?);
    }
    Ok(())
}

/// Reads the record of series `ordinal`.
pub(crate) fn read(pages: &Pages, ordinal: u32) -> Result<SeriesRecord, Corruption> {
    let start_at = ordinal as usize / RESTART * START_BYTES;
    let start = pages.bytes(SERIES_STARTS, start_at, START_BYTES)?;
    let mut fields = Cursor::new(start);
    let mut parse = || Ok::<_, Malformed>((fields.u64()?, fields.u64()?));
    let (at, values_at) = parse().map_err(|m| pages.damage(SERIES_STARTS, start_at, m))?;
    let (at, values_at) = (at as usize, values_at as usize);
    let walk = |bytes: &[u8]| {
        let mut cursor = Cursor::new(bytes);
        let mut record = SeriesRecord {
            values_at,
            ..SeriesRecord::default()
        };
        for _ in 0..=ordinal as usize % RESTART {
            read_next(&mut cursor, &mut record)?;
        }
        Ok(record)
    };
    let usual = pages.bytes_up_to(SERIES, at, USUAL_BYTES)?;
    let record = match walk(usual) {
        Ok(record) => Ok(record),
        Err(_) => walk(pages.bytes_up_to(SERIES, at, usize::MAX)?),
    };
    let record = record.map_err(|m| pages.damage(SERIES, at, m))?;
    let values: usize = record.run_bytes.iter().sum();
    if record.values_at.saturating_add(values) > pages.section_len(VALUES) {
        return Err(pages.damage(SERIES, at, Malformed("values beyond their section")));
    }
    Ok(record)
}
