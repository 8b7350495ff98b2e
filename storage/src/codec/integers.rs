//! Runs of integers: delta order 0 to 2, a common divisor taken out, and bit-packed mini-blocks.
//!
//! Layout: `u8 options` (bits 0-1 delta order, bit 2 divisor present, bits 3-4 form), `uvarint
//! divisor`?, then the first `order` values as zigzag varints, then the residuals. Form 1, uniform:
//! one varint for all. Form 2, sparse: `varint common, uvarint n, n x uvarint gap` and the n others
//! in mini-blocks. Form 3: [`super::rice`]. Form 0: mini-blocks of up to 64:
//! `u8 width | 0x80 if patched, varint min, ceil(len * width / 8) bytes LSB first`, and when patched
//! `u8 count, u8 high_width, count x u8 position, ceil(count * high_width / 8) bytes of high parts`.
//! All arithmetic wraps, so every `i64` sequence survives. Written by
//! [`super::packer`], read by [`super::blocks`].

use super::Malformed;
pub(crate) use super::blocks::{decode_part, line};
use super::bytes::Cursor;
use super::packer::Packer;
use super::unpack::{BEYOND, MAX_WIDTH, unpack_64};

/// Integers of a mini-block.
pub(super) const MINI: usize = 64;
pub(super) const PATCHED: u8 = 0x80;
pub(super) const HAS_DIVISOR: u8 = 4;
pub(super) const UNIFORM: u8 = 8;
pub(super) const SPARSE: u8 = 16;
pub(super) const RICE: u8 = UNIFORM | SPARSE;

/// Bits that a number needs.
#[inline]
pub(super) fn bit_width(value: u64) -> u32 {
    64 - value.leading_zeros()
}

/// Bytes of `count` packed values.
#[inline]
pub(super) fn packed_len(count: usize, width: u32) -> usize {
    (count * width as usize).div_ceil(8)
}

/// Appends the low `width` bits of each value, least significant bit first.
pub(super) fn pack(out: &mut Vec<u8>, values: impl Iterator<Item = u64>, width: u32) {
    if width == 0 {
        return;
    }
    let mask = u64::MAX >> (64 - width);
    let (mut window, mut filled) = (0_u64, 0);
    for value in values {
        let value = value & mask;
        window |= value << filled;
        filled += width;
        if filled >= 64 {
            out.extend_from_slice(&window.to_le_bytes());
            filled -= 64;
            // What did not fit; nothing when the value ended with the window.
            window = value.checked_shr(width - filled).unwrap_or(0);
        }
    }
    let bytes = (filled as usize).div_ceil(8);
    out.extend_from_slice(&window.to_le_bytes()[..bytes]);
}

/// Reads value `index` of a packed run of `width`-bit values.
#[inline]
pub(super) fn unpack(bytes: &[u8], index: usize, width: u32) -> u64 {
    if width == 0 {
        return 0;
    }
    let bit = index * width as usize;
    let (byte, shift) = (bit / 8, (bit % 8) as u32);
    let mask = u64::MAX >> (64 - width);
    if width <= 57
        && let Some(eight) = bytes[byte..].first_chunk::<8>()
    {
        return (u64::from_le_bytes(*eight) >> shift) & mask;
    }
    let mut window = [0; 16];
    let tail = &bytes[byte..bytes.len().min(byte + 9)];
    window[..tail.len()].copy_from_slice(tail);
    ((u128::from_le_bytes(window) >> shift) as u64) & mask
}

/// Reads as many values of a packed run as `values` has, at most [`MINI`], from the run's front. What follows
/// the run is `packed` too, as far as it is at hand: with it whole blocks need not be copied.
#[inline]
pub(super) fn unpack_block(packed: &[u8], width: u32, values: &mut [u64]) {
    let one_by_one = width > MAX_WIDTH || values.len() > MINI;
    match values.first_chunk_mut::<MINI>() {
        _ if width == 0 => values.fill(0),
        _ if one_by_one => {
            for (i, value) in values.iter_mut().enumerate() {
                *value = unpack(packed, i, width);
            }
        }
        Some(whole) if packed.len() >= packed_len(MINI, width) + BEYOND => {
            unpack_64(packed, width, whole);
        }
        _ => unpack_padded(packed, width, values),
    }
}

/// A block that is not whole, or ends with the file.
fn unpack_padded(packed: &[u8], width: u32, values: &mut [u64]) {
    let mut source = [0; MINI * MAX_WIDTH as usize / 8 + BEYOND];
    let len = packed_len(values.len(), width).min(packed.len());
    source[..len].copy_from_slice(&packed[..len]);
    let mut whole = [0; MINI];
    unpack_64(&source, width, &mut whole);
    values.copy_from_slice(&whole[..values.len()]);
}

/// Appends a small encoding of `values`. Who encodes many runs keeps a [`Packer`].
pub(crate) fn encode(out: &mut Vec<u8>, values: &[i64]) {
    let mut packer = Packer::default();
    packer.plan(values);
    packer.write(out);
}

/// Appends `count` values.
pub(crate) fn decode(
    cursor: &mut Cursor<'_>,
    count: usize,
    out: &mut Vec<i64>,
) -> Result<(), Malformed> {
    decode_part(cursor, count, (0, count), |block| {
        out.extend_from_slice(block);
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn round_trip(values: &[i64]) -> usize {
        let mut out = Vec::new();
        encode(&mut out, values);
        let mut cursor = Cursor::new(&out);
        let mut back = Vec::new();
        decode(&mut cursor, values.len(), &mut back).unwrap();
        assert_eq!(back, values);
        assert!(cursor.is_empty());
        out.len()
    }

    #[test]
    fn regular_sequences_are_tiny() {
        let line: Vec<i64> = (0..512).map(|i| 1_700_000_000_000 + i * 15_000).collect();
        assert!(round_trip(&line) < 12, "{}", round_trip(&line));
        assert!(round_trip(&[7; 512]) < 4);
        let mut spiky = vec![0; 512];
        spiky[100] = i64::MAX;
        assert!(round_trip(&spiky) < 50, "patches keep one spike cheap");
        let mut steps = vec![5; 300];
        steps[20..].fill(6);
        steps[290..].fill(1 << 40);
        assert!(round_trip(&steps) < 24, "few changes take few bytes");
        round_trip(&[]);
        round_trip(&[i64::MIN, i64::MAX, i64::MIN, 0, -1]);
        round_trip(&[i64::MIN; 3]);
    }

    proptest! {
        #[test]
        fn a_block_unpacks_as_its_values_one_by_one(
            values in prop::collection::vec(any::<u64>(), 0..=MINI), width in 0_u32..=64
        ) {
            let mut packed = Vec::new();
            pack(&mut packed, values.iter().copied(), width);
            let mut block = vec![7; values.len()];
            unpack_block(&packed, width, &mut block);
            let single: Vec<u64> = (0..values.len()).map(|i| unpack(&packed, i, width)).collect();
            prop_assert_eq!(block, single);
        }

        #[test]
        fn any_sequence_survives(values in prop::collection::vec(any::<i64>(), 0..200)) {
            round_trip(&values);
        }

        #[test]
        fn small_steps_survive(start in any::<i64>(), steps in prop::collection::vec(-500_i64..500, 0..300), k in 1_i64..5000) {
            let mut at = start;
            let values: Vec<i64> = steps.iter().map(|s| { at = at.wrapping_add(s.wrapping_mul(k)); at }).collect();
            round_trip(&values);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..100), count in 0_usize..300) {
            let mut out = Vec::new();
            let _ = decode(&mut Cursor::new(&bytes), count, &mut out);
            prop_assert!(out.len() <= count + 2);
        }
    }
}
