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
