//! Rice coding of integers in two streams: the high parts in unary, the low parts packed.
//!
//! Layout: `u8 low width | 0x80 if zigzag, varint base, unary bits, low bits, extras`. What is coded is
//! the distance of each integer from the base: as it is (the base is the least) or zigzag. Its low
//! `width` bits stand in the low stream; what is above, at most 24, stands in the unary stream as so many
//! zeros and a one, least significant bit first. Each stream ends at a whole byte. For each 24 in
//! the unary stream, `uvarint` by how much the high part exceeds 24 follows at the end.
//!
//! Streams apart decode several times faster than one: the low parts have fixed places, and the ones of a
//! word are found one after another.

use super::Malformed;
use super::bytes::{Cursor, put_uvarint, put_varint, unzigzag, uvarint_len, zigzag};
use super::integers::{MINI, pack, packed_len, unpack_block};

/// Most zeros of a high part.
const MOST: u64 = 24;
const ZIGZAG: u8 = 0x80;
/// Widest low part; far more than pays.
const MAX_LOW: u32 = 38;

/// How integers are to be written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    low: u32,
    zigzag: bool,
    base: i64,
    /// All of it.
    pub(super) bytes: usize,
}

#[inline]
fn distance(value: i64, base: i64, zigzag_coded: bool) -> u64 {
    let distance = value.wrapping_sub(base);
    if zigzag_coded {
        zigzag(distance)
    } else {
        distance as u64
    }
}

/// A middle value, by a few of them.
fn middle(values: &[i64]) -> i64 {
    let mut few = [0; 15];
    let step = values.len().div_ceil(few.len()).max(1);
    let mut count = 0;
    for (place, value) in few.iter_mut().zip(values.iter().step_by(step)) {
        *place = *value;
        count += 1;
    }
    few[..count].sort_unstable();
    few[..count].get(count / 2).copied().unwrap_or(0)
}

/// The sum of distances; far outliers neither dominate nor overflow it.
fn sum(values: &[i64], base: i64, zigzag_coded: bool) -> u64 {
    let distances = values.iter().map(|v| distance(*v, base, zigzag_coded));
    distances.map(|d| d.min(1 << MAX_LOW)).sum()
}

/// Bits of the unary stream, and bytes of the extras.
fn unary(distances: &[u64], low: u32, most: u64) -> (usize, usize) {
    if most >> low < MOST {
        let zeros: u64 = distances.iter().map(|d| d >> low).sum();
        return (distances.len() + zeros as usize, 0);
    }
    let (mut zeros, mut extras) = (0, 0);
    for distance in distances {
        let high = distance >> low;
        zeros += high.min(MOST);
        if high >= MOST {
            extras += uvarint_len(high - MOST);
        }
    }
    (distances.len() + zeros as usize, extras)
}

/// A coding of `values`, of which `least` is the least, in less than `limit` bytes. `distances` is a buffer.
pub(super) fn plan(
    values: &[i64],
    least: i64,
    limit: usize,
    distances: &mut Vec<u64>,
) -> Option<Plan> {
    let count = values.len();
    let centre = middle(values);
    let (above, around) = (sum(values, least, false), sum(values, centre, true));
    let (zigzag_coded, base, sum) = if above <= around {
        (false, least, above)
    } else {
        (true, centre, around)
    };
    let start = (sum / count.max(1) as u64).checked_ilog2().unwrap_or(0);
    // What is cut off below a low part is half of it on average.
    let about = |low: u32| count * low as usize + (sum >> low) as usize + count / 2;
    let likely = [start.saturating_sub(1), start];
    let start = likely
        .into_iter()
        .min_by_key(|low| about(*low))?
        .min(MAX_LOW);
    distances.clear();
    distances.extend(values.iter().map(|v| distance(*v, base, zigzag_coded)));
    let most = distances.iter().copied().max()?;
    let outliers = most >> start >= MOST;
    if !outliers && about(start) / 8 > limit {
        return None;
    }
    let sized = |low| {
        let (unary, extras) = unary(distances, low, most);
        let streams = unary.div_ceil(8) + packed_len(count, low);
        Plan {
            low,
            zigzag: zigzag_coded,
            base,
            bytes: 1 + uvarint_len(zigzag(base)) + streams + extras,
        }
    };
    let mut best = sized(start);
    // Outliers make the sum too large, so the way is down.
    while outliers && best.low > 0 {
        let next = sized(best.low - 1);
        if next.bytes >= best.bytes {
            break;
        }
        best = next;
    }
    (best.bytes < limit).then_some(best)
}

/// Appends `values` as planned.
pub(super) fn encode(out: &mut Vec<u8>, values: &[i64], plan: Plan) {
    out.push(plan.low as u8 | if plan.zigzag { ZIGZAG } else { 0 });
    put_varint(out, plan.base);
    let distances = values.iter().map(|v| distance(*v, plan.base, plan.zigzag));
    let (mut window, mut filled) = (0_u64, 0);
    for distance in distances.clone() {
        // At most 7 + 25 bits are in the window.
        let zeros = (distance >> plan.low).min(MOST) as u32;
        window |= 1 << (filled + zeros);
        filled += zeros + 1;
        while filled >= 8 {
            out.push(window as u8);
            window >>= 8;
            filled -= 8;
        }
    }
    if filled > 0 {
        out.push(window as u8);
    }
    pack(out, distances.clone(), plan.low);
    for high in distances.map(|d| d >> plan.low).filter(|h| *h >= MOST) {
        put_uvarint(out, high - MOST);
    }
}

/// Reads `count` high parts at the front of `bytes` into `out`; returns the bytes that they take.
fn take_unary(bytes: &[u8], count: usize, out: &mut Vec<i64>) -> Result<usize, Malformed> {
    if count == 0 {
        return Ok(0);
    }
    let mut left = count;
    let mut next = 0_usize;
    for (number, chunk) in bytes.chunks(8).enumerate() {
        let mut eight = [0; 8];
        eight[..chunk.len()].copy_from_slice(chunk);
        let mut word = u64::from_le_bytes(eight);
        let start = number * 64;
        while word != 0 {
            let at = start + word.trailing_zeros() as usize;
            word &= word - 1;
            out.push((at - next) as i64);
            next = at + 1;
            left -= 1;
            if left == 0 {
                return Ok(next.div_ceil(8));
            }
        }
    }
    Err(Malformed("bits end early"))
}

/// Appends `count` values.
pub(super) fn decode(
    cursor: &mut Cursor<'_>,
    count: usize,
    out: &mut Vec<i64>,
) -> Result<(), Malformed> {
    let options = cursor.u8()?;
    let low = u32::from(options & !ZIGZAG);
    if low > MAX_LOW {
        return Err(Malformed("low parts are too wide"));
    }
    let base = cursor.varint()?;
    let start = out.len();
    // Every value takes at least a bit, so that a damaged count allocates little.
    if count > cursor.remaining().saturating_mul(8) {
        return Err(Malformed("bits end early"));
    }
    out.reserve(count);
    let used = take_unary(cursor.rest(), count, out)?;
    cursor.take(used)?;
    let packed = cursor.take(packed_len(count, low))?;
    let values = &mut out[start..];
    let zigzag_coded = options & ZIGZAG != 0;
    let mut extras = 0;
    let mut lows = [0; MINI];
    for (number, values) in values.chunks_mut(MINI).enumerate() {
        // A whole chunk ends at a whole byte.
        let from = packed_len(number * MINI, low);
        let lows = &mut lows[..values.len()];
        unpack_block(&packed[from..], low, lows);
        for (value, low_part) in values.iter_mut().zip(lows) {
            let high = *value as u64;
            extras += usize::from(high >= MOST);
            let distance = high << low | *low_part;
            let step = if zigzag_coded {
                unzigzag(distance)
            } else {
                distance as i64
            };
            *value = base.wrapping_add(step);
        }
    }
    if extras > 0 {
        take_extras(cursor, values, (low, base, zigzag_coded))?;
    }
    Ok(())
}

/// Adds what does not fit the unary stream.
fn take_extras(
    cursor: &mut Cursor<'_>,
    values: &mut [i64],
    (low, base, zigzag_coded): (u32, i64, bool),
) -> Result<(), Malformed> {
    for value in values {
        let before = distance(*value, base, zigzag_coded);
        if before >> low < MOST {
            continue;
        }
        let after = before.wrapping_add(cursor.uvarint()? << low);
        let step = if zigzag_coded {
            unzigzag(after)
        } else {
            after as i64
        };
        *value = base.wrapping_add(step);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn round_trip(values: &[i64]) -> usize {
        let least = values.iter().copied().min().unwrap_or(0);
        let plan = plan(values, least, usize::MAX, &mut Vec::new());
        let Some(plan) = plan else { return 0 };
        let mut out = Vec::new();
        encode(&mut out, values, plan);
        assert_eq!(out.len(), plan.bytes);
        let mut back = vec![77];
        let mut cursor = Cursor::new(&out);
        decode(&mut cursor, values.len(), &mut back).unwrap();
        assert_eq!(&back[1..], values);
        assert!(cursor.is_empty());
        out.len()
    }

    #[test]
    fn skewed_integers_take_less_than_their_widest() {
        let skewed: Vec<i64> = (0..512_i64).map(|i| (i * i * 7919 % 101) / 40).collect();
        assert!(round_trip(&skewed) < 512 * 2 / 8);
        let mut reset = skewed;
        reset[100] = -1_000_000_000_000;
        assert!(round_trip(&reset) < 512 * 3 / 8);
        round_trip(&[]);
        round_trip(&[i64::MIN, i64::MAX, 0, 1, 1, 1, 1, 1]);
    }

    proptest! {
        #[test]
        fn any_values_survive(
            small in prop::collection::vec(-300_i64..300, 0..200),
            large in prop::collection::vec(any::<i64>(), 0..3),
            base in any::<i64>(),
            shift in 0_u32..40,
        ) {
            let mut values: Vec<i64> = small.iter().map(|v| base.wrapping_add(v << shift)).collect();
            values.extend(large);
            round_trip(&values);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..100), count in 0_usize..300) {
            let _ = decode(&mut Cursor::new(&bytes), count, &mut Vec::new());
        }
    }
}
