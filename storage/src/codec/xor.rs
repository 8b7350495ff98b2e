//! Gorilla coding of values alone: each value XORed with the one before; `0` same, `10` inside the
//! previous window of significant bits, `11` + 5 bits leading zeros + 6 bits (length - 1) + bits.

use super::Malformed;
use super::bits::{BitReader, put_bits};

/// Most bits that one value can take.
const MAX_VALUE_BITS: usize = 2 + 5 + 6 + 64;

/// Bytes that [`encode`] takes.
pub(super) fn size(values: &[f64]) -> usize {
    let (mut bits, mut last, mut lead, mut significant) = (0, 0_u64, 64_u32, 0_u32);
    for value in values {
        let xor = value.to_bits() ^ last;
        last = value.to_bits();
        if xor == 0 {
            bits += 1;
            continue;
        }
        let zeros = xor.leading_zeros().min(31);
        let trail = xor.trailing_zeros();
        bits += 2;
        if lead > zeros || 64 - lead - significant > trail {
            lead = zeros;
            significant = 64 - lead - trail;
            bits += 5 + 6;
        }
        bits += significant as usize;
    }
    bits.div_ceil(8)
}

/// Appends the coded bits of `values`.
pub(super) fn encode(out: &mut Vec<u8>, values: &[f64]) {
    let mut buffer = vec![0; (values.len() * MAX_VALUE_BITS).div_ceil(8) + 9];
    let (mut at, mut last, mut lead, mut significant) = (0, 0_u64, 64_u32, 0_u32);
    for value in values {
        let xor = value.to_bits() ^ last;
        last = value.to_bits();
        if xor == 0 {
            at = put_bits(&mut buffer, at, 0, 1);
            continue;
        }
        let zeros = xor.leading_zeros().min(31);
        let trail = xor.trailing_zeros();
        if lead <= zeros && 64 - lead - significant <= trail {
            at = put_bits(&mut buffer, at, 0b10, 2);
        } else {
            lead = zeros;
            significant = 64 - lead - trail;
            at = put_bits(&mut buffer, at, 0b11, 2);
            at = put_bits(&mut buffer, at, u64::from(lead), 5);
            at = put_bits(&mut buffer, at, u64::from(significant - 1), 6);
        }
        at = put_bits(
            &mut buffer,
            at,
            xor >> (64 - lead - significant),
            significant,
        );
    }
    out.extend_from_slice(&buffer[..at.div_ceil(8)]);
}

/// Appends `count` values decoded from `bytes`.
pub(super) fn decode(bytes: &[u8], count: usize, out: &mut Vec<f64>) -> Result<(), Malformed> {
    let mut reader = BitReader::new(bytes, bytes.len() * 8);
    let (mut last, mut lead, mut significant) = (0_u64, 0_u32, 0_u32);
    for _ in 0..count {
        if reader.bit()? {
            if reader.bit()? {
                lead = reader.bits(5)? as u32;
                significant = reader.bits(6)? as u32 + 1;
                if lead + significant > 64 {
                    return Err(Malformed("value window exceeds 64 bits"));
                }
            }
            if significant == 0 {
                return Err(Malformed("value window is not set"));
            }
            last ^= reader.bits(significant)? << (64 - lead - significant);
        }
        out.push(f64::from_bits(last));
    }
    Ok(())
}
