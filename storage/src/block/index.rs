//! The label index of a block: dictionary lookups and postings.
//!
//! `POSTINGS_DIRECTORY` has 9 bytes per pair: `u8 kind, u32 a, u32 b`; kind 1: the series `a .. a +
//! b`; kind 2: a portable roaring bitmap of `b` bytes at offset `a` of `POSTINGS`.

use std::collections::BTreeSet;

use croaring::{Bitmap, Portable};
use smallvec::SmallVec;
use tenbin_model::{Labels, Matcher, StoreError};

use super::format::{PAIRS, POSTINGS, POSTINGS_DIRECTORY};
use super::pages::Pages;
use super::pairs::{NameEntry, Values};
use super::reader::Block;
use super::texts::TextCache;
use crate::codec::Malformed;
use crate::codec::bytes::Cursor;
use crate::error::Corruption;
use crate::exemplars::check_texts;
use crate::query::matching::LabelIndex;

const ENTRY_BYTES: usize = 9;
const RUN: u8 = 1;
const BITMAP: u8 = 2;

/// Where the series of a pair are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DirectoryEntry {
    Run { start: u32, len: u32 },
    Bitmap { at: u32, len: u32 },
}

impl DirectoryEntry {
    pub(crate) fn encode(self, out: &mut Vec<u8>) {
        let (kind, a, b) = match self {
            Self::Run { start, len } => (RUN, start, len),
            Self::Bitmap { at, len } => (BITMAP, at, len),
        };
        out.push(kind);
        out.extend_from_slice(&a.to_le_bytes());
        out.extend_from_slice(&b.to_le_bytes());
    }

    fn read(pages: &Pages, pair: u32) -> Result<Self, Corruption> {
        let at = pair as usize * ENTRY_BYTES;
        let mut fields = Cursor::new(pages.bytes(POSTINGS_DIRECTORY, at, ENTRY_BYTES)?);
        let mut parse = || Ok((fields.u8()?, fields.u32()?, fields.u32()?));
        let entry = parse().and_then(|(kind, a, b)| match kind {
            RUN => Ok(Self::Run { start: a, len: b }),
            BITMAP => Ok(Self::Bitmap { at: a, len: b }),
            _ => Err(Malformed("unknown kind of postings")),
        });
        entry.map_err(|m| pages.damage(POSTINGS_DIRECTORY, at, m))
    }
}

impl Block {
    fn name(&self, name: &str) -> Option<&NameEntry> {
        let at = self
            .names
            .binary_search_by(|entry| entry.text.as_str().cmp(name))
            .ok()?;
        self.names.get(at)
    }

    fn values_of(&self, name: &NameEntry) -> Result<Values<'_>, Corruption> {
        let (at, len) = (name.dictionary.start, name.dictionary.len());
        let dictionary = self.pages.bytes(PAIRS, at, len)?;
        Values::new(dictionary, name.pairs.len()).map_err(|m| self.pages.damage(PAIRS, at, m))
    }

    fn add_series_of(&self, pair: u32, target: &mut Bitmap) -> Result<(), Corruption> {
        let series_count = self.pages.header.series_count;
        match DirectoryEntry::read(&self.pages, pair)? {
            DirectoryEntry::Run { start, len } => {
                let end = start.checked_add(len).filter(|end| *end <= series_count);
                let wrong = Malformed("postings beyond the last series");
                let at = pair as usize * ENTRY_BYTES;
                let end = end.ok_or_else(|| self.pages.damage(POSTINGS_DIRECTORY, at, wrong))?;
                target.add_range(start..end);
            }
            DirectoryEntry::Bitmap { at, len } => {
                let bytes = self.pages.bytes(POSTINGS, at as usize, len as usize)?;
                let bitmap = Bitmap::try_deserialize::<Portable>(bytes).filter(|b| {
                    b.internal_validate().is_ok() && b.maximum().is_none_or(|m| m < series_count)
                });
                let wrong = Malformed("postings that are no bitmap of this block's series");
                let bitmap =
                    bitmap.ok_or_else(|| self.pages.damage(POSTINGS, at as usize, wrong))?;
                target.or_inplace(&bitmap);
            }
        }
        Ok(())
    }

    fn touches(&self, pair: u32, within: Option<&Bitmap>) -> Result<bool, Corruption> {
        let Some(within) = within else {
            return Ok(true);
        };
        let mut series = Bitmap::new();
        self.add_series_of(pair, &mut series)?;
        Ok(series.intersect(within))
    }

    /// Name and value of a pair.
    pub(crate) fn pair_text(&self, pair: u32) -> Result<(&str, String), Corruption> {
        let name = self.name_of(pair)?;
        let rank = (pair - name.pairs.start) as usize;
        let value = self.values_of(name)?.get(rank);
        let value = value.map_err(|m| self.pages.damage(PAIRS, name.dictionary.start, m))?;
        Ok((&name.text, value))
    }

    fn name_of(&self, pair: u32) -> Result<&NameEntry, Corruption> {
        let at = self.names.partition_point(|name| name.pairs.end <= pair);
        let unknown = || self.pages.damage(PAIRS, 0, Malformed("unknown pair id"));
        self.names.get(at).ok_or_else(unknown)
    }

    /// The labels that pair ids stand for.
    pub(crate) fn labels_of(&self, pairs: &[u32]) -> Result<Labels, Corruption> {
        TextCache::with(self.instance, |cache| {
            let mut values = std::mem::take(&mut cache.joined);
            values.clear();
            let mut ends: SmallVec<[(&str, usize); 16]> = SmallVec::new();
            for pair in pairs {
                let name = self.name_of(*pair)?;
                if ends.last().is_some_and(|(last, _)| *last >= &*name.text) {
                    let wrong = Malformed("label names of a series do not ascend");
                    return Err(self.pages.damage(PAIRS, 0, wrong));
                }
                match cache.get(*pair) {
                    Some(value) => values.push_str(value),
                    None => {
                        let (_, value) = self.pair_text(*pair)?;
                        values.push_str(&value);
                        cache.put(*pair, value);
                    }
                }
                ends.push((&name.text, values.len()));
            }
            let mut start = 0;
            let texts = ends.iter().map(|(name, end)| {
                let value = &values[start..*end];
                start = *end;
                (*name, value)
            });
            let texts: SmallVec<[(&str, &str); 16]> = texts.collect();
            check_texts(&texts).map_err(|m| self.pages.damage(PAIRS, 0, m))?;
            let labels = Labels::from_sorted(&texts);
            drop(texts);
            cache.joined = values;
            Ok(labels)
        })
    }

    /// Calls `each` with pair and value of `name`, for values that begin with `prefix`, until it
    /// fails.
    fn each_value<E: From<Corruption>>(
        &self,
        name: &str,
        prefix: &str,
        mut each: impl FnMut(u32, &str) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(name) = self.name(name) else {
            return Ok(());
        };
        let mut failed = Ok(());
        let values = self.values_of(name)?;
        let first = values.rank_before(prefix);
        let first = first.map_err(|m| self.pages.damage(PAIRS, name.dictionary.start, m))?;
        let scanned = values.scan(first, |rank, value| {
            if value.starts_with(prefix) {
                failed = each(name.pairs.start + rank as u32, value);
                failed.is_ok()
            } else {
                value < prefix
            }
        });
        failed?;
        Ok(scanned.map_err(|m| self.pages.damage(PAIRS, name.dictionary.start, m))?)
    }
}

impl LabelIndex for Block {
    fn all(&self) -> Bitmap {
        Bitmap::from_range(0..self.pages.header.series_count)
    }

    fn add_pair(&self, name: &str, value: &str, target: &mut Bitmap) -> Result<(), StoreError> {
        if let Some(name) = self.name(name) {
            let rank = self.values_of(name)?.find(value);
            let rank = rank.map_err(|m| self.pages.damage(PAIRS, name.dictionary.start, m))?;
            if let Some(rank) = rank {
                self.add_series_of(name.pairs.start + rank as u32, target)?;
            }
        }
        Ok(())
    }

    fn add_values(
        &self,
        name: &str,
        prefix: &str,
        accept: &mut dyn FnMut(&str) -> Result<bool, StoreError>,
        target: &mut Bitmap,
    ) -> Result<(), StoreError> {
        self.each_value(name, prefix, |pair, value| {
            if accept(value)? {
                self.add_series_of(pair, target)?;
            }
            Ok(())
        })
    }

    fn remembered(&self, matcher: &Matcher) -> Option<Bitmap> {
        self.matches.get(matcher)
    }

    fn remember(&self, matcher: &Matcher, series: &Bitmap) {
        self.matches.put(matcher, series);
    }

    fn values(
        &self,
        name: &str,
        within: Option<&Bitmap>,
        each: &mut dyn FnMut(&str),
    ) -> Result<(), StoreError> {
        let pairs = self.name(name).map_or(0..0, |name| name.pairs.clone());
        if let Some(few) = within.filter(|w| w.cardinality() < u64::from(pairs.end - pairs.start)) {
            // Cheaper to look at these series than at the postings of all values.
            let mut found = BTreeSet::new();
            for ordinal in few.iter() {
                let record = self.record(ordinal)?;
                found.extend(record.pairs.into_iter().filter(|pair| pairs.contains(pair)));
            }
            for pair in found {
                each(&self.pair_text(pair)?.1);
            }
            return Ok(());
        }
        self.each_value(name, "", |pair, value| {
            if self.touches(pair, within)? {
                each(value);
            }
            Ok(())
        })
    }

    fn names(&self, within: Option<&Bitmap>, each: &mut dyn FnMut(&str)) -> Result<(), StoreError> {
        let all_pairs = self.names.last().map_or(0, |name| name.pairs.end);
        if let Some(few) = within.filter(|w| w.cardinality() < u64::from(all_pairs)) {
            let mut found = vec![false; self.names.len()];
            for ordinal in few.iter() {
                for pair in self.record(ordinal)?.pairs {
                    let at = self.names.partition_point(|name| name.pairs.end <= pair);
                    if let Some(found) = found.get_mut(at) {
                        *found = true;
                    }
                }
            }
            let found = self.names.iter().zip(found).filter(|(_, found)| *found);
            found.for_each(|(name, _)| each(&name.text));
            return Ok(());
        }
        for name in &self.names {
            for pair in name.pairs.clone() {
                if self.touches(pair, within)? {
                    each(&name.text);
                    break;
                }
            }
        }
        Ok(())
    }
}
