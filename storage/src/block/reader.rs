//! An open block: samples of a series, by its number.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};

use super::format::{
    BlockHeader, HASHES, LAYOUTS, ORDER, PAIRS, SIDE_INDEX, TIMES, VALUES, hash_bytes, stored_hash,
};
use super::matches::MatchCache;
use super::pages::{Pages, PagesError};
use super::pairs::{NameEntry, decode_names};
use super::series::{Record, RecordCache, SeriesRecord};
use super::side::{self, Layouts};
use crate::codec::bytes::Cursor;
use crate::codec::timestamps::Regular;
use crate::codec::values::MAX_RUN;
use crate::codec::{Malformed, timestamps, values};
use crate::error::Corruption;
use crate::query::merge::{Columns, Samples};
use crate::vfs::Mapped;

/// What is wanted of floats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detail {
    /// Their values.
    Values,
    /// Whether they are staleness markers; other values may come out as any.
    Markers,
}

/// A mapped block.
pub(crate) struct Block {
    pub(super) pages: Pages,
    pub(super) names: Vec<NameEntry>,
    pub(super) matches: MatchCache,
    order: u64,
    /// Layouts of the block's histograms.
    layouts: Layouts,
    /// Tells open blocks of this process apart.
    pub(super) instance: u64,
}

static NEXT_INSTANCE: AtomicU64 = AtomicU64::new(0);

/// The timestamp column decoded last: series of one target share it, and stand together.
#[derive(Debug)]
struct TimesCache {
    instance: u64,
    at: usize,
    times: Vec<i64>,
}

/// What was read last: a timestamp column, and a series record, from which the next ones are read.
#[derive(Debug)]
pub(crate) struct ColumnCache {
    times: TimesCache,
    records_of: u64,
    records: RecordCache,
}

impl ColumnCache {
    const EMPTY: Self = Self {
        times: TimesCache {
            instance: u64::MAX,
            at: 0,
            times: Vec::new(),
        },
        records_of: u64::MAX,
        records: RecordCache::EMPTY,
    };
}

impl Default for ColumnCache {
    fn default() -> Self {
        Self::EMPTY
    }
}

thread_local! {
    static LAST_COLUMN: RefCell<ColumnCache> = const { RefCell::new(ColumnCache::EMPTY) };
}

impl Block {
    pub(crate) fn open(map: Mapped, file: String) -> Result<Self, PagesError> {
        let pages = Pages::open(map, file)?;
        let section = pages.section(PAIRS).map_err(PagesError::Corrupt)?;
        let names =
            decode_names(section).map_err(|m| PagesError::Corrupt(pages.damage(PAIRS, 0, m)))?;
        let hash_bytes = hash_bytes(pages.header.version);
        if pages.section_len(HASHES) != pages.header.series_count as usize * hash_bytes {
            let wrong = Malformed("a number of hashes other than of series");
            return Err(PagesError::Corrupt(pages.damage(HASHES, 0, wrong)));
        }
        let order = match pages.section_len(ORDER) {
            0 => pages.header.seq,
            _ => {
                let section = pages.section(ORDER).map_err(PagesError::Corrupt)?;
                let order = Cursor::new(section).uvarint();
                order.map_err(|m| PagesError::Corrupt(pages.damage(ORDER, 0, m)))?
            }
        };
        let section = match pages.section_len(LAYOUTS) {
            0 => &[],
            _ => pages.section(LAYOUTS).map_err(PagesError::Corrupt)?,
        };
        let layouts = side::decode_layouts(section)
            .map_err(|m| PagesError::Corrupt(pages.damage(LAYOUTS, 0, m)))?;
        Ok(Self {
            order,
            layouts,
            matches: MatchCache::default(),
            pages,
            names,
            instance: NEXT_INSTANCE.fetch_add(1, Ordering::Relaxed),
        })
    }

    pub(crate) fn header(&self) -> &BlockHeader {
        &self.pages.header
    }

    /// Where the block stands in the order in which samples were stored.
    pub(crate) fn order(&self) -> u64 {
        self.order
    }

    /// What the file is called in messages.
    pub(crate) fn file(&self) -> &str {
        &self.pages.file
    }

    pub(crate) fn file_bytes(&self) -> u64 {
        self.pages.file_bytes()
    }

    /// Verifies the checksum of every page.
    pub(crate) fn verify(&self) -> Result<(), Corruption> {
        self.pages.verify_all()
    }

    /// The label hash of a series, [`stored_hash`] of it.
    pub(crate) fn hash(&self, ordinal: u32) -> Result<u128, Corruption> {
        let len = hash_bytes(self.pages.header.version);
        let bytes = self.pages.bytes(HASHES, ordinal as usize * len, len)?;
        let bytes = bytes.iter().rev();
        Ok(stored_hash(
            bytes.fold(0, |hash, byte| hash << 8 | u128::from(*byte)),
        ))
    }

    pub(crate) fn record(&self, ordinal: u32) -> Result<SeriesRecord, Corruption> {
        LAST_COLUMN.with_borrow_mut(|cache| self.record_cached(ordinal, cache).cloned())
    }

    /// As [`Block::record`], with a cache of the caller's.
    pub(crate) fn record_cached<'c>(
        &self,
        ordinal: u32,
        cache: &'c mut ColumnCache,
    ) -> Result<&'c SeriesRecord, Corruption> {
        if cache.records_of != self.instance {
            cache.records.forget();
            cache.records_of = self.instance;
        }
        cache.records.read(&self.pages, ordinal)
    }

    /// The record of a series, with a cache of the caller's that serves this block only.
    pub(crate) fn record_from<'c>(
        &self,
        ordinal: u32,
        cache: &'c mut RecordCache,
    ) -> Result<Record<'c>, Corruption> {
        Ok(cache.read(&self.pages, ordinal)?.borrowed())
    }

    /// Replaces `out` by the samples of a series inside a range of timestamps, both ends included. Its record
    /// is looked up unless it is known.
    pub(crate) fn read_detail(
        &self,
        ordinal: u32,
        known: Option<Record<'_>>,
        range: (i64, i64),
        detail: Detail,
        out: &mut Samples,
    ) -> Result<(), Corruption> {
        LAST_COLUMN.with_borrow_mut(|cache| match known {
            Some(record) => self.read_record(ordinal, record, range, detail, &mut cache.times, out),
            None => self.read_into(ordinal, range, detail, cache, out),
        })
    }

    /// As [`Block::read_detail`], with values and a cache of the caller's.
    pub(crate) fn read_cached(
        &self,
        ordinal: u32,
        (min_ms, max_ms): (i64, i64),
        cache: &mut ColumnCache,
        out: &mut Samples,
    ) -> Result<(), Corruption> {
        self.read_into(ordinal, (min_ms, max_ms), Detail::Values, cache, out)
    }

    fn read_into(
        &self,
        ordinal: u32,
        range: (i64, i64),
        detail: Detail,
        cache: &mut ColumnCache,
        out: &mut Samples,
    ) -> Result<(), Corruption> {
        self.record_cached(ordinal, cache)?;
        let ColumnCache { times, records, .. } = cache;
        let record = records.read(&self.pages, ordinal)?.borrowed();
        self.read_record(ordinal, record, range, detail, times, out)
    }

    fn read_record(
        &self,
        ordinal: u32,
        record: Record<'_>,
        (min_ms, max_ms): (i64, i64),
        detail: Detail,
        column: &mut TimesCache,
        out: &mut Samples,
    ) -> Result<(), Corruption> {
        out.clear();
        let TimesCache {
            instance,
            at,
            times,
        } = column;
        let (mut from, mut to) = (0, 0);
        if record.sample_count > 0 {
            if (*instance, *at) == (self.instance, record.times_at) {
                (from, to) = self.part_of(record, times, (min_ms, max_ms), &mut out.floats)?;
            } else if let Some(column) = self.regular(record)? {
                (from, to) = column.within(min_ms, max_ms);
                column.extend((from, to), &mut out.floats.times);
            } else {
                *instance = u64::MAX;
                self.times(record, times)?;
                (*instance, *at) = (self.instance, record.times_at);
                (from, to) = self.part_of(record, times, (min_ms, max_ms), &mut out.floats)?;
            }
            self.values(record, (from, to), detail, &mut out.floats)?;
        }
        if self.pages.section_len(SIDE_INDEX) > 0 {
            let floats = (record.sample_count, from, to);
            let range = (min_ms, max_ms);
            side::read(&self.pages, &self.layouts, ordinal, floats, range, out)?;
        }
        Ok(())
    }

    /// Appends the timestamps of a decoded column that lie inside a range; returns their places.
    fn part_of(
        &self,
        record: Record<'_>,
        times: &[i64],
        (min_ms, max_ms): (i64, i64),
        out: &mut Columns,
    ) -> Result<(usize, usize), Corruption> {
        if times.len() != record.sample_count {
            let wrong = Malformed("a timestamp column of another length");
            return Err(self.pages.damage(TIMES, record.times_at, wrong));
        }
        let from = times.partition_point(|t| *t < min_ms);
        let to = times.partition_point(|t| *t <= max_ms).max(from);
        out.times.extend_from_slice(&times[from..to]);
        Ok((from, to))
    }

    /// The timestamps of a series, if they are regular: such a column need not be decoded.
    fn regular(&self, record: Record<'_>) -> Result<Option<Regular>, Corruption> {
        // Longer than any regular column.
        let bytes = self.pages.bytes_up_to(TIMES, record.times_at, 40)?;
        Ok(Regular::read(bytes, record.sample_count))
    }

    fn times(&self, record: Record<'_>, times: &mut Vec<i64>) -> Result<(), Corruption> {
        let (at, expected) = (record.times_at, record.sample_count);
        // Columns are short; only a damaged or huge one needs more than this.
        let usual = self.pages.bytes_up_to(TIMES, at, 16 << 10)?;
        if timestamps::decode(usual, expected, times).is_ok() {
            return Ok(());
        }
        let all = self.pages.bytes_up_to(TIMES, at, usize::MAX)?;
        timestamps::decode(all, expected, times).map_err(|m| self.pages.damage(TIMES, at, m))
    }

    /// Appends the values of samples `from..to`.
    fn values(
        &self,
        record: Record<'_>,
        (from, to): (usize, usize),
        detail: Detail,
        out: &mut Columns,
    ) -> Result<(), Corruption> {
        let mut at = record.values_at;
        let mut start = 0;
        for bytes in record.run_bytes {
            let len = MAX_RUN.min(record.sample_count - start);
            if start < to && from < start + len {
                let run = self.pages.bytes(VALUES, at, *bytes)?;
                let part = (from.saturating_sub(start), (to - start).min(len));
                let decoded = match detail {
                    Detail::Values => values::decode_part(run, len, part, &mut out.values),
                    Detail::Markers => values::decode_markers(run, len, part, &mut out.values),
                };
                decoded.map_err(|m| self.pages.damage(VALUES, at, m))?;
            }
            at = at.saturating_add(*bytes);
            start += len;
        }
        Ok(())
    }
}
