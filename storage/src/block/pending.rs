//! Series of a block that is being written, kept small until the ranks of their pairs are known: one
//! byte string for all of them, and postings by counting instead of a list per pair.

use super::series::SeriesRecord;
use crate::codec::Malformed;
use crate::codec::bytes::{Cursor, put_uvarint};

/// Records in the order in which they were added, with provisional pair ids.
#[derive(Debug, Default)]
pub(super) struct PendingSeries {
    bytes: Vec<u8>,
    count: usize,
}

impl PendingSeries {
    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn push(&mut self, record: &SeriesRecord) {
        self.count += 1;
        let out = &mut self.bytes;
        put_uvarint(out, record.pairs.len() as u64);
        for pair in &record.pairs {
            put_uvarint(out, u64::from(*pair));
        }
        put_uvarint(out, record.sample_count as u64);
        put_uvarint(out, record.times_at as u64);
        put_uvarint(out, record.values_at as u64);
        put_uvarint(out, record.run_bytes.len() as u64);
        for bytes in &record.run_bytes {
            put_uvarint(out, *bytes as u64);
        }
    }

    /// Calls `each` with every record in turn, its pairs replaced by their ranks and sorted.
    ///
    /// # Errors
    /// Only if memory does not hold what was written to it.
    pub(super) fn each(
        &self,
        ranks: &[u32],
        mut each: impl FnMut(&SeriesRecord),
    ) -> Result<(), Malformed> {
        let mut record = SeriesRecord::default();
        let mut cursor = Cursor::new(&self.bytes);
        let number = |cursor: &mut Cursor<'_>| {
            usize::try_from(cursor.uvarint()?).map_err(|_| Malformed("number exceeds its range"))
        };
        for _ in 0..self.count {
            record.pairs.clear();
            for _ in 0..number(&mut cursor)? {
                let rank = ranks.get(number(&mut cursor)?);
                record.pairs.push(*rank.ok_or(Malformed("unknown pair"))?);
            }
            record.pairs.sort_unstable();
            record.sample_count = number(&mut cursor)?;
            record.times_at = number(&mut cursor)?;
            record.values_at = number(&mut cursor)?;
            record.run_bytes.clear();
            for _ in 0..number(&mut cursor)? {
                record.run_bytes.push(number(&mut cursor)?);
            }
            each(&record);
        }
        Ok(())
    }
}

/// The series of each pair, ascending, in one list.
#[derive(Debug)]
pub(super) struct PairLists {
    /// Where each pair's list begins; one more at the end.
    starts: Vec<usize>,
    series: Vec<u32>,
}

impl PairLists {
    /// Gathers the lists of `pairs` pairs.
    ///
    /// # Errors
    /// As for [`PendingSeries::each`].
    pub(super) fn of(
        pending: &PendingSeries,
        ranks: &[u32],
        pairs: usize,
    ) -> Result<Self, Malformed> {
        let mut starts = vec![0_usize; pairs + 1];
        pending.each(ranks, |record| {
            for pair in &record.pairs {
                starts[*pair as usize + 1] += 1;
            }
        })?;
        for pair in 0..pairs {
            starts[pair + 1] += starts[pair];
        }
        let mut next = starts.clone();
        let mut series = vec![0; starts[pairs]];
        let mut ordinal = 0;
        pending.each(ranks, |record| {
            for pair in &record.pairs {
                let place = &mut next[*pair as usize];
                series[*place] = ordinal;
                *place += 1;
            }
            ordinal += 1;
        })?;
        Ok(Self { starts, series })
    }

    /// The lists in the order of the ranks.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[u32]> {
        self.starts.windows(2).map(|w| &self.series[w[0]..w[1]])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn records_come_back_with_ranks_and_lists(
            records in prop::collection::vec(
                (prop::collection::btree_set(0_u32..20, 0..8), 0_usize..1 << 40,
                 prop::collection::vec(0_usize..5000, 0..4)), 0..40),
        ) {
            let ranks: Vec<u32> = (0..20).map(|id| 19 - id).collect();
            let mut pending = PendingSeries::default();
            let mut expected = Vec::new();
            let mut lists = vec![Vec::new(); 20];
            for (ordinal, (pairs, at, runs)) in records.iter().enumerate() {
                let mut record = SeriesRecord {
                    pairs: pairs.iter().copied().collect(),
                    sample_count: at % 1000,
                    times_at: at / 7,
                    values_at: *at,
                    run_bytes: runs.clone(),
                };
                pending.push(&record);
                record.pairs = pairs.iter().rev().map(|id| 19 - id).collect();
                for pair in &record.pairs {
                    lists[*pair as usize].push(ordinal as u32);
                }
                expected.push(record);
            }
            let mut found = Vec::new();
            pending.each(&ranks, |record| found.push(record.clone())).unwrap();
            prop_assert_eq!((found, pending.len()), (expected, records.len()));
            let gathered = PairLists::of(&pending, &ranks, 20).unwrap();
            let gathered: Vec<Vec<u32>> = gathered.iter().map(<[u32]>::to_vec).collect();
            prop_assert_eq!(gathered, lists);
        }
    }
}
