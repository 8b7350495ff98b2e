//! Runs of integers: delta order 0 to 2, a common divisor taken out, and bit-packed mini-blocks.
//!
//! Layout: `u8 options` (bits 0-1 delta order, bit 2 divisor present), `uvarint divisor`?, then the
//! first `order` values as zigzag varints, then the residuals in mini-blocks of up to 64:
//! `u8 width | 0x80 if patched, varint min, ceil(len * width / 8) bytes LSB first`, and when patched
//! `u8 count, u8 high_width, count x u8 position, ceil(count * high_width / 8) bytes of high parts`.
//! All arithmetic wraps, so every `i64` sequence survives.

use super::Malformed;
use super::bytes::{Cursor, put_uvarint, put_varint, uvarint_len, zigzag};

const MINI: usize = 64;
const MAX_PATCHES: usize = 12;
const PATCHED: u8 = 0x80;
const HAS_DIVISOR: u8 = 4;

/// How a mini-block is packed.
#[derive(Clone, Copy)]
struct Packing {
    width: u32,
    patches: usize,
    high_width: u32,
    min: i64,
    bytes: usize,
}

fn bit_width(value: u64) -> u32 {
    64 - value.leading_zeros()
}

/// The cheapest packing of up to 64 residuals.
fn packing(residuals: &[i64]) -> Packing {
    let min = residuals.iter().copied().min().unwrap_or(0);
    let mut histogram = [0_usize; 65];
    let mut widest = 0;
    for residual in residuals {
        let width = bit_width(residual.wrapping_sub(min) as u64);
        histogram[width as usize] += 1;
        widest = widest.max(width);
    }
    let head = 1 + uvarint_len(zigzag(min));
    let plain = head + (residuals.len() * widest as usize).div_ceil(8);
    let mut best = Packing {
        width: widest,
        patches: 0,
        high_width: 0,
        min,
        bytes: plain,
    };
    let (mut above, mut width) = (0, widest);
    while width > 0 {
        above += histogram[width as usize];
        width -= 1;
        if above > MAX_PATCHES {
            break;
        }
        let high_width = widest - width;
        let bytes = head
            + (residuals.len() * width as usize).div_ceil(8)
            + 2
            + above
            + (above * high_width as usize).div_ceil(8);
        if bytes < best.bytes {
            best = Packing {
                width,
                patches: above,
                high_width,
                min,
                bytes,
            };
        }
    }
    best
}

/// Appends the low `width` bits of each value, least significant bit first.
fn pack(out: &mut Vec<u8>, values: impl Iterator<Item = u64>, width: u32) {
    if width == 0 {
        return;
    }
    let mask = u64::MAX >> (64 - width);
    let (mut window, mut filled) = (0_u128, 0);
    for value in values {
        window |= u128::from(value & mask) << filled;
        filled += width;
        while filled >= 8 {
            out.push(window as u8);
            window >>= 8;
            filled -= 8;
        }
    }
    if filled > 0 {
        out.push(window as u8);
    }
}

/// Reads value `index` of a packed run of `width`-bit values.
#[inline]
fn unpack(bytes: &[u8], index: usize, width: u32) -> u64 {
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

fn put_minis(out: &mut Vec<u8>, residuals: &[i64]) {
    for mini in residuals.chunks(MINI) {
        let p = packing(mini);
        out.push(p.width as u8 | if p.patches > 0 { PATCHED } else { 0 });
        put_varint(out, p.min);
        let offsets = mini.iter().map(|r| r.wrapping_sub(p.min) as u64);
        pack(out, offsets.clone(), p.width);
        if p.patches > 0 {
            let high = offsets
                .enumerate()
                .filter(|(_, offset)| bit_width(*offset) > p.width);
            out.push(p.patches as u8);
            out.push(p.high_width as u8);
            out.extend(high.clone().map(|(at, _)| at as u8));
            pack(out, high.map(|(_, offset)| offset >> p.width), p.high_width);
        }
    }
}

fn take_mini(cursor: &mut Cursor<'_>, len: usize, out: &mut Vec<i64>) -> Result<(), Malformed> {
    let tag = cursor.u8()?;
    let width = u32::from(tag & !PATCHED);
    if width > 64 {
        return Err(Malformed("bit width exceeds 64"));
    }
    let min = cursor.varint()?;
    let packed = cursor.take((len * width as usize).div_ceil(8))?;
    let start = out.len();
    out.extend((0..len).map(|i| min.wrapping_add(unpack(packed, i, width) as i64)));
    if tag & PATCHED != 0 {
        let count = usize::from(cursor.u8()?);
        let high_width = u32::from(cursor.u8()?);
        if count > MINI || high_width + width > 64 || width == 64 {
            return Err(Malformed("patches exceed their block"));
        }
        let positions = cursor.take(count)?;
        let highs = cursor.take((count * high_width as usize).div_ceil(8))?;
        for (i, position) in positions.iter().enumerate() {
            let value = out
                .get_mut(start + usize::from(*position))
                .ok_or(Malformed("patch lies outside its block"))?;
            *value = value.wrapping_add((unpack(highs, i, high_width) << width) as i64);
        }
    }
    Ok(())
}

fn minis_len(residuals: &[i64]) -> usize {
    residuals.chunks(MINI).map(|mini| packing(mini).bytes).sum()
}

/// Replaces each value by its difference to the one before, in place; drops the first.
fn difference(values: &mut Vec<i64>) {
    for i in (1..values.len()).rev() {
        values[i] = values[i].wrapping_sub(values[i - 1]);
    }
    values.remove(0);
}

fn common_divisor(values: &[i64]) -> u64 {
    let mut divisor = 0_u64;
    for value in values {
        let (mut a, mut b) = (value.unsigned_abs(), divisor);
        while a != 0 {
            (a, b) = (b % a, a);
        }
        divisor = b;
        if divisor == 1 {
            break;
        }
    }
    divisor
}

/// Appends the smallest encoding of `values`.
pub(crate) fn encode(out: &mut Vec<u8>, values: &[i64]) {
    let mut order = 0_usize;
    let mut heads: [i64; 2] = [0; 2];
    let mut best: Option<(usize, usize, u64, Vec<i64>)> = None;
    let mut residuals = values.to_vec();
    loop {
        let divisor = common_divisor(&residuals);
        // i64::MIN has no positive twin, so a divisor must stay inside i64.
        let divisible = divisor > 1 && i64::try_from(divisor).is_ok();
        let scaled: Vec<i64> = if divisible {
            residuals.iter().map(|r| r / divisor as i64).collect()
        } else {
            residuals.clone()
        };
        let divisor = if divisible { divisor } else { 1 };
        let heads_len: usize = heads[..order]
            .iter()
            .map(|head| uvarint_len(zigzag(*head)))
            .sum();
        let size =
            heads_len + minis_len(&scaled) + if divisor > 1 { uvarint_len(divisor) } else { 0 };
        if best.as_ref().is_none_or(|b| size < b.0) {
            best = Some((size, order, divisor, scaled));
        }
        if order == 2 || residuals.len() < 2 {
            break;
        }
        heads[order] = residuals[0];
        difference(&mut residuals);
        order += 1;
    }
    if let Some((_, order, divisor, residuals)) = best {
        out.push(order as u8 | if divisor > 1 { HAS_DIVISOR } else { 0 });
        if divisor > 1 {
            put_uvarint(out, divisor);
        }
        for head in &heads[..order] {
            put_varint(out, *head);
        }
        put_minis(out, &residuals);
    }
}

/// Appends `count` decoded values to `out`; the caller has bounded `count`.
pub(crate) fn decode(
    cursor: &mut Cursor<'_>,
    count: usize,
    out: &mut Vec<i64>,
) -> Result<(), Malformed> {
    let options = cursor.u8()?;
    let order = usize::from(options & 3);
    if order > 2 || options > 7 || order > count {
        return Err(Malformed("unknown integer options"));
    }
    let divisor = if options & HAS_DIVISOR != 0 {
        i64::try_from(cursor.uvarint()?).map_err(|_| Malformed("divisor is absurd"))?
    } else {
        1
    };
    let mut heads = [0; 2];
    for head in &mut heads[..order] {
        *head = cursor.varint()?;
    }
    let start = out.len();
    let mut left = count - order;
    // Heads are put back by summing up, so their places are kept free.
    out.resize(start + order, 0);
    while left > 0 {
        let len = left.min(MINI);
        take_mini(cursor, len, out)?;
        left -= len;
    }
    let values = &mut out[start..];
    if divisor != 1 {
        for value in &mut values[order..] {
            *value = value.wrapping_mul(divisor);
        }
    }
    for level in (0..order).rev() {
        values[level] = heads[level];
        for i in level + 1..values.len() {
            values[i] = values[i].wrapping_add(values[i - 1]);
        }
    }
    Ok(())
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
        assert!(round_trip(&line) < 30, "{}", round_trip(&line));
        assert!(round_trip(&[7; 512]) < 30);
        let mut spiky = vec![0; 512];
        spiky[100] = i64::MAX;
        assert!(round_trip(&spiky) < 50, "patches keep one spike cheap");
        round_trip(&[]);
        round_trip(&[i64::MIN, i64::MAX, i64::MIN, 0, -1]);
        round_trip(&[i64::MIN; 3]);
    }

    proptest! {
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
