//! Names of Prometheus blocks: 48 bits of milliseconds and 80 random ones, as 26 characters of
//! Crockford's base 32.

use std::hash::{BuildHasher, RandomState};

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const CHARACTERS: u32 = 26;

/// A fresh name that sorts by `now_ms`.
pub(super) fn fresh(now_ms: i64) -> String {
    // Each of these is seeded anew by the operating system.
    let random = |salt: u64| u128::from(RandomState::new().hash_one(salt));
    let low = (random(1) << 64 | random(2)) & ((1 << 80) - 1);
    encode((now_ms as u128 & ((1 << 48) - 1)) << 80 | low)
}

fn encode(bits: u128) -> String {
    let digits = (0..CHARACTERS).rev();
    digits
        .map(|at| char::from(ALPHABET[(bits >> (5 * at) & 31) as usize]))
        .collect()
}

/// Whether a folder name is one.
pub(super) fn is_ulid(name: &str) -> bool {
    name.len() == CHARACTERS as usize
        && name.as_bytes()[0] <= b'7'
        && name.bytes().all(|b| ALPHABET.contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_specified() {
        // The example of the specification of ULIDs: its time and its randomness.
        assert_eq!(&encode(1_469_918_176_385_u128 << 80)[..10], "01ARYZ6S41");
        let (a, b) = (fresh(1_700_000_000_000), fresh(1_700_000_000_001));
        assert!(is_ulid(&a) && is_ulid(&b) && a < b && a != fresh(1_700_000_000_000));
        assert!(!is_ulid("01ARYZ6S41TSV4RRFFQ69G5FA") && !is_ulid("chunks_head"));
        assert!(!is_ulid("01ARYZ6S41TSV4RRFFQ69G5FAI"), "I is no digit");
    }
}
