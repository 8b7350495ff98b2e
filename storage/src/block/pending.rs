//! Series of a block that is being written, kept small until the ranks of their pairs are known: one
//! byte string for all of them, each coded against the one before it, and postings by counting
//! instead of a list per pair.

use std::ops::Range;

use super::series::SeriesRecord;
use crate::codec::Malformed;
use crate::codec::bytes::{Cursor, put_uvarint, put_varint};

/// Pairs of a record that can be taken over from the one before by their place.
const MAX_SHARED: usize = 64;

/// Numbers in the lists that are gathered together, at least.
const MIN_GATHERED: usize = 1 << 20;

/// Parts in which the lists are gathered at most, each a walk over all records.
const MAX_PARTS: usize = 8;

/// Records in the order in which they were added, with provisional pair ids. Values stand one behind
/// the other.
#[derive(Debug, Default)]
pub(super) struct PendingSeries {
    bytes: Vec<u8>,
    count: usize,
    /// Pairs and times of the record added last.
    last_pairs: Vec<u32>,
    last_times_at: usize,
}

impl PendingSeries {
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Adds a record; its values begin where those of the one before end.
    pub(super) fn push(&mut self, record: &SeriesRecord) {
        self.count += 1;
        let out = &mut self.bytes;
        put_uvarint(out, record.pairs.len() as u64);
        let mut shared = 0_u64;
        let both = record.pairs.iter().zip(&self.last_pairs).take(MAX_SHARED);
        for (at, (pair, last)) in both.enumerate() {
            shared |= u64::from(pair == last) << at;
        }
        put_uvarint(out, shared);
        for (at, pair) in record.pairs.iter().enumerate() {
            if !is_shared(shared, at) {
                put_uvarint(out, u64::from(*pair));
            }
        }
        put_uvarint(out, record.sample_count as u64);
        put_varint(out, record.times_at.wrapping_sub(self.last_times_at) as i64);
        put_uvarint(out, record.run_bytes.len() as u64);
        for bytes in &record.run_bytes {
            put_uvarint(out, *bytes as u64);
        }
        self.last_pairs.clone_from(&record.pairs);
        self.last_times_at = record.times_at;
    }

    /// Calls `each` with every record in turn, its pairs replaced by their ranks, in no order.
    ///
    /// # Errors
    /// Only if memory does not hold what was written to it.
    pub(super) fn each(
        &self,
        ranks: &[u32],
        mut each: impl FnMut(&mut SeriesRecord),
    ) -> Result<(), Malformed> {
        let mut record = SeriesRecord::default();
        let mut pairs: Vec<u32> = Vec::new();
        let mut cursor = Cursor::new(&self.bytes);
        let number = |cursor: &mut Cursor<'_>| {
            usize::try_from(cursor.uvarint()?).map_err(|_| Malformed("number exceeds its range"))
        };
        for _ in 0..self.count {
            pairs.resize(number(&mut cursor)?, 0);
            let shared = cursor.uvarint()?;
            for (at, pair) in pairs.iter_mut().enumerate() {
                if !is_shared(shared, at) {
                    *pair = number(&mut cursor)? as u32;
                }
            }
            record.pairs.clear();
            for pair in &pairs {
                let rank = ranks.get(*pair as usize);
                record.pairs.push(*rank.ok_or(Malformed("unknown pair"))?);
            }
            record.sample_count = number(&mut cursor)?;
            let times = cursor.varint()? as usize;
            record.times_at = record.times_at.wrapping_add(times);
            record.values_at += record.run_bytes.iter().sum::<usize>();
            record.run_bytes.clear();
            for _ in 0..number(&mut cursor)? {
                record.run_bytes.push(number(&mut cursor)?);
            }
            each(&mut record);
        }
        Ok(())
    }

    /// Calls `each` with the series of every pair, ascending, in the order of the ranks. Lists are
    /// gathered in a few parts, so that they never take much memory together.
    ///
    /// # Errors
    /// As for [`Self::each`].
    pub(super) fn lists(
        &self,
        ranks: &[u32],
        mut each: impl FnMut(&[u32]),
    ) -> Result<(), Malformed> {
        let mut lengths = vec![0_u32; ranks.len()];
        self.each(ranks, |record| {
            for pair in &record.pairs {
                lengths[*pair as usize] += 1;
            }
        })?;
        let all: usize = lengths.iter().map(|len| *len as usize).sum();
        let part = MIN_GATHERED.max(all.div_ceil(MAX_PARTS));
        let (mut from, mut gathered) = (0, 0);
        for pair in 0..ranks.len() {
            gathered += lengths[pair] as usize;
            if gathered >= part || pair + 1 == ranks.len() {
                self.gather(ranks, from..pair + 1, &lengths, &mut each)?;
                (from, gathered) = (pair + 1, 0);
            }
        }
        Ok(())
    }

    fn gather(
        &self,
        ranks: &[u32],
        pairs: Range<usize>,
        lengths: &[u32],
        each: &mut impl FnMut(&[u32]),
    ) -> Result<(), Malformed> {
        let mut next = Vec::with_capacity(pairs.len());
        let mut all = 0;
        for len in &lengths[pairs.clone()] {
            next.push(all);
            all += *len as usize;
        }
        let mut series = vec![0; all];
        let mut ordinal = 0;
        self.each(ranks, |record| {
            for pair in &record.pairs {
                let place = (*pair as usize).checked_sub(pairs.start);
                if let Some(place) = place.and_then(|at| next.get_mut(at)) {
                    series[*place] = ordinal;
                    *place += 1;
                }
            }
            ordinal += 1;
        })?;
        let mut start = 0;
        for end in next {
            each(&series[start..end]);
            start = end;
        }
        Ok(())
    }
}

fn is_shared(shared: u64, at: usize) -> bool {
    at < MAX_SHARED && shared >> at & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn records_come_back_with_ranks_and_lists(
            records in prop::collection::vec(
                (prop::collection::btree_set(0_u32..20, 0..8), any::<u32>(),
                 prop::collection::vec(0_usize..5000, 0..4)), 0..40),
        ) {
            let ranks: Vec<u32> = (0..20).map(|id| 19 - id).collect();
            let mut pending = PendingSeries::default();
            let mut expected = Vec::new();
            let mut lists = vec![Vec::new(); 20];
            let mut values_at = 0;
            for (ordinal, (pairs, at, runs)) in records.iter().enumerate() {
                let mut record = SeriesRecord {
                    pairs: pairs.iter().copied().collect(),
                    sample_count: *at as usize % 1000,
                    times_at: *at as usize,
                    values_at,
                    run_bytes: runs.clone(),
                };
                values_at += runs.iter().sum::<usize>();
                pending.push(&record);
                record.pairs = pairs.iter().map(|id| 19 - id).collect();
                for pair in &record.pairs {
                    lists[*pair as usize].push(ordinal as u32);
                }
                expected.push(record);
            }
            let mut found = Vec::new();
            pending.each(&ranks, |record| found.push(record.clone())).unwrap();
            prop_assert_eq!((found, pending.len()), (expected, records.len()));
            let mut gathered = Vec::new();
            pending.lists(&ranks, |list| gathered.push(list.to_vec())).unwrap();
            prop_assert_eq!(gathered, lists);
        }
    }

    #[test]
    fn lists_in_parts_and_records_with_many_pairs() {
        let mut pending = PendingSeries::default();
        let mut record = SeriesRecord::default();
        for series in 0..20_000_u32 {
            record.pairs = (0..100).chain([100 + series % 50]).collect();
            pending.push(&record);
        }
        let ranks: Vec<u32> = (0..150).collect();
        let mut lengths = Vec::new();
        let each = |list: &[u32]| {
            assert!(list.is_sorted());
            lengths.push(list.len());
        };
        pending.lists(&ranks, each).unwrap();
        let expected: Vec<usize> = (0..150)
            .map(|p| if p < 100 { 20_000 } else { 400 })
            .collect();
        assert_eq!(lengths, expected);
    }
}
