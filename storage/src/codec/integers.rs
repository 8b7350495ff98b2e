//! Runs of integers: delta order 0 to 2, a common divisor taken out, and bit-packed mini-blocks.
//!
//! Layout: `u8 options` (bits 0-1 delta order, bit 2 divisor present, bits 3-4 form), `uvarint
//! divisor`?, then the first `order` values as zigzag varints, then the residuals. Form 1, uniform:
//! one varint for all. Form 2, sparse: `varint common, uvarint n, n x uvarint gap` and the n others
//! in mini-blocks. Form 0: mini-blocks of up to 64:
//! `u8 width | 0x80 if patched, varint min, ceil(len * width / 8) bytes LSB first`, and when patched
//! `u8 count, u8 high_width, count x u8 position, ceil(count * high_width / 8) bytes of high parts`.
//! All arithmetic wraps, so every `i64` sequence survives.

use super::Malformed;
use super::bytes::{Cursor, put_uvarint, put_varint, uvarint_len, zigzag};

const MINI: usize = 64;
const MAX_PATCHES: usize = 12;
const PATCHED: u8 = 0x80;
const HAS_DIVISOR: u8 = 4;
const UNIFORM: u8 = 8;
const SPARSE: u8 = 16;

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

/// How residuals are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Minis,
    Uniform,
    /// Most residuals are this.
    Sparse(i64),
}

/// The value that more than half of the residuals have, if there is one.
fn majority(residuals: &[i64]) -> Option<i64> {
    let (mut candidate, mut lead) = (0, 0_usize);
    for residual in residuals {
        if lead == 0 {
            candidate = *residual;
        }
        lead = if *residual == candidate {
            lead + 1
        } else {
            lead - 1
        };
    }
    let count = residuals.iter().filter(|r| **r == candidate).count();
    (count * 2 > residuals.len()).then_some(candidate)
}

/// What differs from `common`: gaps between the places, and the values.
fn outliers(residuals: &[i64], common: i64) -> (Vec<u64>, Vec<i64>) {
    let (mut gaps, mut values) = (Vec::new(), Vec::new());
    let mut next = 0;
    for (at, residual) in residuals.iter().enumerate() {
        if *residual != common {
            gaps.push((at - next) as u64);
            values.push(*residual);
            next = at + 1;
        }
    }
    (gaps, values)
}

/// The shortest form and its bytes.
fn best_form(residuals: &[i64]) -> (Form, usize) {
    let minis = (Form::Minis, minis_len(residuals));
    let Some(common) = majority(residuals) else {
        return minis;
    };
    let head = uvarint_len(zigzag(common));
    let (gaps, values) = outliers(residuals, common);
    if values.is_empty() {
        return (Form::Uniform, head);
    }
    let gaps_len: usize = gaps.iter().map(|gap| uvarint_len(*gap)).sum();
    let count_len = uvarint_len(values.len() as u64);
    let sparse = head + count_len + gaps_len + minis_len(&values);
    if sparse < minis.1 {
        (Form::Sparse(common), sparse)
    } else {
        minis
    }
}

/// Residuals of one delta order, ready to be written.
struct Candidate {
    order: usize,
    divisor: u64,
    residuals: Vec<i64>,
    form: Form,
    bytes: usize,
}

fn candidate(order: usize, heads: &[i64], residuals: &[i64]) -> Candidate {
    let divisor = common_divisor(residuals);
    // i64::MIN has no positive twin, so a divisor must stay inside i64.
    let divisible = divisor > 1 && i64::try_from(divisor).is_ok();
    let divisor = if divisible { divisor } else { 1 };
    let scaled: Vec<i64> = if divisible {
        residuals.iter().map(|r| r / divisor as i64).collect()
    } else {
        residuals.to_vec()
    };
    let (form, bytes) = best_form(&scaled);
    let heads: usize = heads.iter().map(|head| uvarint_len(zigzag(*head))).sum();
    let divisor_len = if divisible { uvarint_len(divisor) } else { 0 };
    Candidate {
        order,
        divisor,
        residuals: scaled,
        form,
        bytes: bytes + heads + divisor_len,
    }
}

/// Appends the smallest encoding of `values`.
pub(crate) fn encode(out: &mut Vec<u8>, values: &[i64]) {
    let mut heads = [0_i64; 2];
    let mut residuals = values.to_vec();
    let mut best = candidate(0, &[], &residuals);
    for order in 1..=2 {
        // Where every residual is the same, another difference cannot be shorter by much.
        let Some(first) = residuals.first().filter(|_| best.form != Form::Uniform) else {
            break;
        };
        heads[order - 1] = *first;
        difference(&mut residuals);
        let next = candidate(order, &heads[..order], &residuals);
        if next.bytes >= best.bytes {
            // One more difference would only add noise.
            break;
        }
        best = next;
    }
    let divisor_flag = if best.divisor > 1 { HAS_DIVISOR } else { 0 };
    let form_flag = match best.form {
        Form::Minis => 0,
        Form::Uniform => UNIFORM,
        Form::Sparse(_) => SPARSE,
    };
    out.push(best.order as u8 | divisor_flag | form_flag);
    if best.divisor > 1 {
        put_uvarint(out, best.divisor);
    }
    for head in &heads[..best.order] {
        put_varint(out, *head);
    }
    match best.form {
        Form::Minis => put_minis(out, &best.residuals),
        Form::Uniform => put_varint(out, best.residuals[0]),
        Form::Sparse(common) => {
            let (gaps, outlying) = outliers(&best.residuals, common);
            put_varint(out, common);
            put_uvarint(out, gaps.len() as u64);
            for gap in gaps {
                put_uvarint(out, gap);
            }
            put_minis(out, &outlying);
        }
    }
}

fn take_minis(cursor: &mut Cursor<'_>, count: usize, out: &mut Vec<i64>) -> Result<(), Malformed> {
    let mut left = count;
    while left > 0 {
        let len = left.min(MINI);
        take_mini(cursor, len, out)?;
        left -= len;
    }
    Ok(())
}

fn take_sparse(cursor: &mut Cursor<'_>, count: usize, out: &mut Vec<i64>) -> Result<(), Malformed> {
    let common = cursor.varint()?;
    let outlying = cursor.count(1, count)?;
    let start = out.len();
    out.resize(start + count, common);
    let mut places = Vec::with_capacity(outlying);
    let mut next = start;
    for _ in 0..outlying {
        let at = next.saturating_add(cursor.count(0, count)?);
        places.push(at);
        next = at.saturating_add(1);
    }
    let mut values = Vec::with_capacity(outlying);
    take_minis(cursor, outlying, &mut values)?;
    for (at, value) in places.into_iter().zip(values) {
        *out.get_mut(at)
            .ok_or(Malformed("outlier lies outside its run"))? = value;
    }
    Ok(())
}

/// Appends `count` values.
pub(crate) fn decode(
    cursor: &mut Cursor<'_>,
    count: usize,
    out: &mut Vec<i64>,
) -> Result<(), Malformed> {
    let options = cursor.u8()?;
    let order = usize::from(options & 3);
    let form = options & (UNIFORM | SPARSE);
    if order > 2 || options > 31 || form == UNIFORM | SPARSE || order > count {
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
    // Heads are put back by summing up, so their places are kept free.
    out.resize(start + order, 0);
    match form {
        UNIFORM => {
            let common = cursor.varint()?;
            out.resize(start + count, common);
        }
        SPARSE => take_sparse(cursor, count - order, out)?,
        _ => take_minis(cursor, count - order, out)?,
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
