//! Rice coding of integers in two streams: the high parts in unary, the low parts packed.
//!
//! Layout: `u8 low width | 0x80 if zigzag, varint base, unary bits, low bits, extras`. What is coded is
//! the distance of each integer from the base: as it is (the base is the least) or zigzag. Its low
//! `width` bits stand in the low stream; what is above, at most 24, stands in the unary stream as so many
//! zeros and a one, least significant bit first. Each stream ends at a whole byte. For each 24 in
//! the unary stream, `uvarint` by how much the high part exceeds 24 follows at the end.
//!
//! Streams apart decode several times faster than one: the low parts have fixed places, and the ones of a
//! word are found one after another. Sums of many integers need no single high part: the zeros before the nth
//! one are the sum of n of them.

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

/// The word at a place of a stream, as if zeros followed its end.
#[inline]
fn word(bytes: &[u8], number: usize) -> u64 {
    let from = (number * 8).min(bytes.len());
    let rest = &bytes[from..];
    match rest.first_chunk::<8>() {
        Some(eight) => u64::from_le_bytes(*eight),
        None => {
            let mut eight = [0; 8];
            eight[..rest.len()].copy_from_slice(rest);
            u64::from_le_bytes(eight)
        }
    }
}

/// The place behind the `count`th one, in bits.
fn behind_one(bytes: &[u8], count: usize) -> Result<usize, Malformed> {
    let mut left = count;
    if left == 0 {
        return Ok(0);
    }
    for number in 0..bytes.len().div_ceil(8) {
        let mut word = word(bytes, number);
        let ones = word.count_ones() as usize;
        if ones < left {
            left -= ones;
            continue;
        }
        for _ in 1..left {
            word &= word - 1;
        }
        return Ok(number * 64 + word.trailing_zeros() as usize + 1);
    }
    Err(Malformed("bits end early"))
}

/// Reads integers one mini-block after another.
pub(super) struct Reader<'a> {
    low: u32,
    base: i64,
    zigzag_coded: bool,
    unary: &'a [u8],
    /// Which word of `unary` is looked at, and its ones that were not read yet.
    number: usize,
    word: u64,
    /// The bit behind the one that was read last.
    next: usize,
    /// The low parts and what follows them.
    packed: &'a [u8],
    /// Integers that were read.
    count: usize,
    /// What follows the two streams.
    extras: Cursor<'a>,
}

impl<'a> Reader<'a> {
    /// Opens `count` integers at the front of what remains.
    pub(super) fn open(cursor: &mut Cursor<'a>, count: usize) -> Result<Self, Malformed> {
        let options = cursor.u8()?;
        let low = u32::from(options & !ZIGZAG);
        if low > MAX_LOW {
            return Err(Malformed("low parts are too wide"));
        }
        let base = cursor.varint()?;
        let used = behind_one(cursor.rest(), count)?;
        let unary = cursor.take(used.div_ceil(8))?;
        let packed = cursor.rest();
        cursor.take(packed_len(count, low))?;
        Ok(Self {
            low,
            base,
            zigzag_coded: options & ZIGZAG != 0,
            unary,
            number: 0,
            word: word(unary, 0),
            next: 0,
            packed,
            count: 0,
            extras: cursor.clone(),
        })
    }

    /// What follows the integers, once all were read.
    pub(super) fn rest(self) -> Cursor<'a> {
        self.extras
    }

    /// Whether [`Reader::sum`] may be asked.
    pub(super) fn has_sums(&self) -> bool {
        !self.zigzag_coded && self.extras.is_empty()
    }

    /// Passes over whole mini-blocks, none of which was read yet, with `count` integers; returns their sum.
    pub(super) fn sum(&mut self, count: usize) -> Result<i64, Malformed> {
        let next = behind_one(self.unary, count)?;
        (self.next, self.count) = (next, count);
        self.number = next / 64;
        self.word = word(self.unary, self.number) & u64::MAX << (next % 64);
        // Each one ends a high part, so the zeros before it are all high parts.
        let mut sum = ((next - count) as u64) << self.low;
        let mut lows = [0; MINI];
        for from in (0..count).step_by(MINI) {
            unpack_block(
                &self.packed[packed_len(from, self.low)..],
                self.low,
                &mut lows,
            );
            sum = lows.iter().fold(sum, |sum, low| sum.wrapping_add(*low));
        }
        Ok((count as i64)
            .wrapping_mul(self.base)
            .wrapping_add(sum as i64))
    }

    /// Reads the next mini-block: as many integers as `out` has, a whole one unless it is the last.
    #[inline]
    pub(super) fn read(&mut self, out: &mut [i64]) -> Result<(), Malformed> {
        let mut lows = [0; MINI];
        let lows = &mut lows[..out.len()];
        // A whole mini-block ends at a whole byte.
        unpack_block(
            &self.packed[packed_len(self.count, self.low)..],
            self.low,
            lows,
        );
        let mut most = 0;
        for (out, low) in out.iter_mut().zip(lows) {
            while self.word == 0 {
                self.number += 1;
                if self.number * 8 >= self.unary.len() {
                    return Err(Malformed("bits end early"));
                }
                self.word = word(self.unary, self.number);
            }
            let at = self.number * 64 + self.word.trailing_zeros() as usize;
            self.word &= self.word - 1;
            let high = (at - self.next) as u64;
            self.next = at + 1;
            most = most.max(high);
            *out = (high << self.low | *low) as i64;
        }
        self.count += out.len();
        if most >= MOST {
            for out in out
                .iter_mut()
                .filter(|out| **out as u64 >> self.low >= MOST)
            {
                let more = self.extras.uvarint()? << self.low;
                *out = out.wrapping_add(more as i64);
            }
        }
        if self.zigzag_coded {
            for out in out {
                *out = self.base.wrapping_add(unzigzag(*out as u64));
            }
        } else {
            for out in out {
                *out = self.base.wrapping_add(*out);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(reader: &mut Reader<'_>, count: usize) -> Result<Vec<i64>, Malformed> {
        let mut all = vec![0; count];
        for mini in all.chunks_mut(MINI) {
            reader.read(mini)?;
        }
        Ok(all)
    }

    fn round_trip(values: &[i64]) -> usize {
        let least = values.iter().copied().min().unwrap_or(0);
        let plan = plan(values, least, usize::MAX, &mut Vec::new());
        let Some(plan) = plan else { return 0 };
        let mut out = Vec::new();
        encode(&mut out, values, plan);
        assert_eq!(out.len(), plan.bytes);
        let mut reader = Reader::open(&mut Cursor::new(&out), values.len()).unwrap();
        let whole = values.len() / MINI * MINI;
        if reader.has_sums() {
            let mut passing = Reader::open(&mut Cursor::new(&out), values.len()).unwrap();
            let sum = values[..whole]
                .iter()
                .fold(0_i64, |sum, v| sum.wrapping_add(*v));
            assert_eq!(passing.sum(whole).unwrap(), sum);
            assert_eq!(
                read(&mut passing, values.len() - whole).unwrap(),
                values[whole..]
            );
        }
        assert_eq!(read(&mut reader, values.len()).unwrap(), values);
        assert!(reader.rest().is_empty());
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
            if let Ok(mut reader) = Reader::open(&mut Cursor::new(&bytes), count) {
                let _ = read(&mut reader, count);
            }
            if let Ok(mut reader) = Reader::open(&mut Cursor::new(&bytes), count) {
                let _ = reader.sum(count / MINI * MINI);
            }
        }
    }
}
