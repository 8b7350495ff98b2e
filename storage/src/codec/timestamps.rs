//! A column of ascending timestamps: `uvarint count, integers`. A regular column costs a few bytes
//! whatever its length, because the second differences of a line are zero.

use super::bytes::{Cursor, put_uvarint};
use super::{Malformed, integers};

/// Longest column that a block may hold; bounds what a damaged count can allocate.
pub(crate) const MAX_COLUMN: usize = 1 << 24;

/// Appends a column.
pub(crate) fn encode(out: &mut Vec<u8>, timestamps_ms: &[i64]) {
    put_uvarint(out, timestamps_ms.len() as u64);
    integers::encode(out, timestamps_ms);
}

/// Replaces `out` by the column of `expected` timestamps at the front of `bytes`.
pub(crate) fn decode(bytes: &[u8], expected: usize, out: &mut Vec<i64>) -> Result<(), Malformed> {
    out.clear();
    let mut cursor = Cursor::new(bytes);
    // A regular column takes a few bytes whatever its length, so its bytes do not bound it.
    let count = cursor.count(0, MAX_COLUMN)?;
    if count != expected {
        return Err(Malformed("a timestamp column of another length"));
    }
    integers::decode(&mut cursor, count, out)?;
    // An early end would cost more than it saves.
    let mut wrong = false;
    for pair in out.windows(2) {
        wrong |= pair[0] >= pair[1];
    }
    if wrong {
        return Err(Malformed("timestamps do not ascend"));
    }
    Ok(())
}

/// A column whose timestamps are all equally far apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Regular {
    first_ms: i64,
    step_ms: i64,
    count: usize,
}

impl Regular {
    /// The column of `expected` timestamps at the front of `bytes`, if it is regular and written as such; of
    /// any other nothing is said.
    pub(crate) fn read(bytes: &[u8], expected: usize) -> Option<Self> {
        let mut cursor = Cursor::new(bytes);
        let count = cursor.count(0, MAX_COLUMN).ok()?;
        let (first_ms, step_ms) = integers::line(&mut cursor)?;
        let last = (count as i64).checked_mul(step_ms)?.checked_add(first_ms);
        let valid = count == expected && count > 1 && step_ms > 0 && last.is_some();
        valid.then_some(Self {
            first_ms,
            step_ms,
            count,
        })
    }

    /// How many timestamps are at or before `ms`.
    fn until(self, ms: i64) -> usize {
        match ms.checked_sub(self.first_ms) {
            // The difference overflows only far behind the end, or far before the start.
            None if ms > self.first_ms => self.count,
            Some(distance) if distance >= 0 => {
                let steps = distance / self.step_ms;
                usize::try_from(steps).map_or(self.count, |steps| self.count.min(steps + 1))
            }
            _ => 0,
        }
    }

    /// The places of the timestamps inside a range, both ends included.
    pub(crate) fn within(self, min_ms: i64, max_ms: i64) -> (usize, usize) {
        let before = min_ms.checked_sub(1).map_or(0, |ms| self.until(ms));
        (before, self.until(max_ms).max(before))
    }

    /// Appends the timestamps `from..to`.
    pub(crate) fn extend(self, (from, to): (usize, usize), out: &mut Vec<i64>) {
        let at = |place: usize| self.first_ms + place as i64 * self.step_ms;
        out.extend((from..to).map(at));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_regular_column_is_tiny_and_disorder_is_refused() {
        let column: Vec<i64> = (0..240).map(|i| 1_700_000_000_123 + i * 15_000).collect();
        let mut bytes = Vec::new();
        encode(&mut bytes, &column);
        assert!(bytes.len() < 14, "{}", bytes.len());
        let mut back = Vec::new();
        decode(&bytes, column.len(), &mut back).unwrap();
        assert_eq!(back, column);
        assert!(decode(&bytes, 1 << 40, &mut back).is_err());
        bytes.clear();
        encode(&mut bytes, &[5, 4]);
        assert!(decode(&bytes, 2, &mut back).is_err());
    }

    proptest! {
        #[test]
        fn a_regular_column_is_read_without_decoding(
            first in -1000_i64..1000, step in 1_i64..500, count in 2_usize..300,
            min in prop_oneof![-2000_i64..90_000, Just(i64::MIN), Just(i64::MAX)],
            max in prop_oneof![-2000_i64..90_000, Just(i64::MIN), Just(i64::MAX)],
        ) {
            let column: Vec<i64> = (0..count as i64).map(|i| first + i * step).collect();
            let mut bytes = Vec::new();
            encode(&mut bytes, &column);
            let Some(regular) = Regular::read(&bytes, count) else {
                prop_assert!(count < 6, "short columns may be smaller otherwise");
                return Ok(());
            };
            prop_assert_eq!(Regular::read(&bytes, count + 1), None);
            let from = column.partition_point(|t| *t < min);
            let to = column.partition_point(|t| *t <= max).max(from);
            prop_assert_eq!(regular.within(min, max), (from, to));
            let mut part = Vec::new();
            regular.extend((from, to), &mut part);
            prop_assert_eq!(&part, &column[from..to]);
        }

        #[test]
        fn arbitrary_bytes_are_no_regular_column_beyond_its_range(bytes in prop::collection::vec(any::<u8>(), 0..20), count in 0_usize..300) {
            if let Some(regular) = Regular::read(&bytes, count) {
                let (mut all, mut decoded) = (Vec::new(), Vec::new());
                regular.extend((0, count), &mut all);
                decode(&bytes, count, &mut decoded).unwrap();
                prop_assert_eq!(all, decoded);
            }
        }

        #[test]
        fn any_column_survives(start in any::<i32>(), steps in prop::collection::vec(1_i64..1 << 40, 0..200)) {
            let mut at = i64::from(start);
            let column: Vec<i64> = steps.iter().map(|s| { at += s; at }).collect();
            let mut bytes = Vec::new();
            encode(&mut bytes, &column);
            let mut back = Vec::new();
            decode(&bytes, column.len(), &mut back).unwrap();
            prop_assert_eq!(back, column);
        }
    }
}
