//! Coding of open chunks: joint Gorilla bits, in memory only.
//!
//! The first sample is 64 bits of timestamp and 64 of value. Each further sample has a second
//! difference of timestamps `dod` and a XOR with the value before:
//! `00` one sample, `01` + 10 bits (n - 2) n samples: dod 0 and the same value;
//! `10` dod 0, another value: window code;
//! `11` dod other than 0: 2 bits class (8, 14, 20 bits of dod biased, or the 64-bit timestamp
//! itself), then `0` the same value, or `1` and a window code.
//! Window code: `0` significant bits inside the window before; `1` + 5 bits leading zeros + 6 bits
//! (length - 1): a new window.
//!
//! Unchanged samples are only counted in the header (`run`) until something else comes.

use super::series::Series;
use super::slab::{LARGEST_CLASS, Slab, class_bytes, class_for};
use crate::codec::Malformed;
use crate::codec::bits::{BitReader, PEEKED, put_bits};

/// Most bits that one append can write: a pending run, the sample, and its value.
const MAX_APPEND_BITS: usize = 12 + 4 + 64 + 1 + 12 + 64;

/// Longest run that one code holds.
const MAX_RUN: u16 = 1025;

const DOD_BITS: [u32; 3] = [8, 14, 20];

/// Whether the open chunk can take another sample.
pub(crate) fn has_room(series: &Series) -> bool {
    let largest = series.class == LARGEST_CLASS;
    let full = series.bit_len as usize + MAX_APPEND_BITS > class_bytes(series.class) * 8;
    !(largest && full) && series.count < u16::MAX
}

/// Adds an in-order sample to the open chunk; the caller has made sure of [`has_room`].
#[inline]
pub(crate) fn append(series: &mut Series, slab: &mut Slab, timestamp_ms: i64, bits: u64) {
    if series.count == 0 {
        start(series, slab, timestamp_ms, bits);
        return;
    }
    let delta = timestamp_ms.wrapping_sub(series.last_ms);
    let xor = bits ^ series.last_bits;
    series.last_ms = timestamp_ms;
    series.count += 1;
    if xor == 0 && delta == i64::from(series.delta_ms) && series.run < MAX_RUN {
        series.run += 1;
        return;
    }
    append_changed(series, slab, timestamp_ms, delta, xor);
    series.last_bits = bits;
}

fn start(series: &mut Series, slab: &mut Slab, timestamp_ms: i64, bits: u64) {
    series.class = 0;
    series.slot = slab.alloc(0);
    let buffer = slab.get_mut(0, series.slot);
    let at = put_bits(buffer, 0, timestamp_ms as u64, 64);
    series.bit_len = put_bits(buffer, at, bits, 64) as u32;
    series.last_ms = timestamp_ms;
    series.last_bits = bits;
    (series.delta_ms, series.run, series.count) = (0, 0, 1);
    (series.lead, series.significant) = (0, 0);
}

fn append_changed(series: &mut Series, slab: &mut Slab, timestamp_ms: i64, delta: i64, xor: u64) {
    let dod = delta.wrapping_sub(i64::from(series.delta_ms));
    let needed = series.bit_len as usize + append_bits(series, dod, xor);
    if needed > class_bytes(series.class) * 8 {
        let larger = class_for(needed.div_ceil(8)).unwrap_or(LARGEST_CLASS);
        series.slot = slab.grow(series.class, series.slot, larger);
        series.class = larger;
    }
    let buffer = slab.get_mut(series.class, series.slot);
    let mut at = put_run(buffer, series.bit_len as usize, series.run);
    series.run = 0;
    if dod == 0 && xor != 0 {
        at = put_bits(buffer, at, 0b10, 2);
    } else if dod == 0 {
        // A full run went before: this sample begins the next one.
        series.bit_len = at as u32;
        series.run = 1;
        return;
    } else {
        at = put_dod(buffer, at, dod, timestamp_ms);
        series.delta_ms = i32::try_from(delta).unwrap_or(0);
        at = put_bits(buffer, at, u64::from(xor != 0), 1);
    }
    if xor != 0 {
        at = put_window(series, buffer, at, xor);
    }
    series.bit_len = at as u32;
}

/// Bits that an append takes at most, [`MAX_APPEND_BITS`] at worst.
fn append_bits(series: &Series, dod: i64, xor: u64) -> usize {
    let run = match series.run {
        0 => 0,
        1 => 2,
        _ => 12,
    };
    let time = match dod {
        0 => 2,
        _ if (-(1 << 13)..1 << 13).contains(&dod) => 4 + 14 + 1,
        _ => 4 + 64 + 1,
    };
    let value = match xor {
        0 => 0,
        _ => {
            let new = 12 + 64 - xor.leading_zeros().min(31) - xor.trailing_zeros();
            new.max(1 + u32::from(series.significant))
        }
    };
    run + time + value as usize
}

fn put_run(buffer: &mut [u8], at: usize, run: u16) -> usize {
    match run {
        0 => at,
        1 => put_bits(buffer, at, 0b00, 2),
        _ => put_bits(buffer, at, 0b01 << 10 | u64::from(run - 2), 12),
    }
}

fn put_dod(buffer: &mut [u8], at: usize, dod: i64, timestamp_ms: i64) -> usize {
    for (class, width) in DOD_BITS.iter().enumerate() {
        let half = 1_i64 << (width - 1);
        if (-half..half).contains(&dod) {
            let code = (0b1100 | class as u64) << width | (dod + half) as u64;
            return put_bits(buffer, at, code, *width + 4);
        }
    }
    let at = put_bits(buffer, at, 0b1111, 4);
    put_bits(buffer, at, timestamp_ms as u64, 64)
}

fn put_window(series: &mut Series, buffer: &mut [u8], at: usize, xor: u64) -> usize {
    let lead = xor.leading_zeros().min(31);
    let trail = xor.trailing_zeros();
    let (old_lead, old_len) = (u32::from(series.lead), u32::from(series.significant));
    if old_len > 0 && old_lead <= lead && 64 - old_lead - old_len <= trail {
        let bits = xor >> (64 - old_lead - old_len);
        if old_len < 64 {
            // The leading 0 comes along.
            return put_bits(buffer, at, bits, old_len + 1);
        }
        let at = put_bits(buffer, at, 0, 1);
        return put_bits(buffer, at, bits, old_len);
    }
    let len = 64 - lead - trail;
    (series.lead, series.significant) = (lead as u8, len as u8);
    let window = 1 << 11 | u64::from(lead) << 6 | u64::from(len - 1);
    if len <= 52 {
        return put_bits(buffer, at, window << len | xor >> trail, len + 12);
    }
    let at = put_bits(buffer, at, window, 12);
    put_bits(buffer, at, xor >> trail, len)
}

/// A chunk taken out of a lane: what is needed to decode it.
#[derive(Debug, Clone)]
pub(crate) struct ChunkBytes {
    pub(crate) bytes: Box<[u8]>,
    pub(crate) bit_len: u32,
    pub(crate) run: u16,
    pub(crate) count: u16,
}

impl ChunkBytes {
    /// Copies the open chunk.
    pub(crate) fn of(series: &Series, slab: &Slab) -> Option<Self> {
        (series.count > 0).then(|| Self {
            bytes: slab.get(series.class, series.slot)[..(series.bit_len as usize).div_ceil(8)]
                .into(),
            bit_len: series.bit_len,
            run: series.run,
            count: series.count,
        })
    }

    /// Timestamp of the first sample.
    pub(crate) fn first_ms(&self) -> i64 {
        first_ms(&self.bytes)
    }

    /// Appends all samples.
    pub(crate) fn decode(
        &self,
        times: &mut Vec<i64>,
        values: &mut Vec<f64>,
    ) -> Result<(), Malformed> {
        let reader = BitReader::new(&self.bytes, self.bit_len as usize);
        decode(reader, self.run, self.count, times, values)
    }
}

/// Timestamp of the first sample of a chunk's bytes.
pub(crate) fn first_ms(bytes: &[u8]) -> i64 {
    bytes
        .first_chunk::<8>()
        .map_or(i64::MAX, |eight| i64::from_be_bytes(*eight))
}

/// Appends the samples of an open chunk without copying it first.
pub(crate) fn decode_open(
    series: &Series,
    slab: &Slab,
    times: &mut Vec<i64>,
    values: &mut Vec<f64>,
) -> Result<(), Malformed> {
    if series.count == 0 {
        return Ok(());
    }
    let reader = BitReader::new(slab.get(series.class, series.slot), series.bit_len as usize);
    decode(reader, series.run, series.count, times, values)
}

fn decode(
    mut reader: BitReader<'_>,
    run: u16,
    count: u16,
    times: &mut Vec<i64>,
    values: &mut Vec<f64>,
) -> Result<(), Malformed> {
    let coded = usize::from(count - run);
    let (mut at_ms, mut bits) = (reader.bits(64)? as i64, reader.bits(64)?);
    let (mut delta, mut lead, mut significant) = (0_i64, 0_u32, 0_u32);
    times.push(at_ms);
    values.push(f64::from_bits(bits));
    let mut done = 1;
    while done < coded {
        // Codes and most values lie inside one look ahead.
        let mut ahead = reader.peek();
        let mut used = 2;
        match ahead >> 62 {
            0 => {
                reader.skip(used)?;
                at_ms = at_ms.wrapping_add(delta);
                times.push(at_ms);
                values.push(f64::from_bits(bits));
                done += 1;
                continue;
            }
            1 => {
                let repeats = (ahead >> 52 & 0x3ff) as usize + 2;
                reader.skip(12)?;
                let step = delta;
                times
                    .extend((1..=repeats as i64).map(|n| at_ms.wrapping_add(step.wrapping_mul(n))));
                at_ms = at_ms.wrapping_add(step.wrapping_mul(repeats as i64));
                values.resize(values.len() + repeats, f64::from_bits(bits));
                done += repeats;
                continue;
            }
            2 => at_ms = at_ms.wrapping_add(delta),
            _ => {
                let class = (ahead >> 60 & 3) as usize;
                if let Some(width) = DOD_BITS.get(class) {
                    let dod = (ahead << 4 >> (64 - width)) as i64 - (1 << (width - 1));
                    delta += dod;
                    at_ms = at_ms.wrapping_add(delta);
                    used = 4 + width;
                } else {
                    reader.skip(4)?;
                    let next = reader.bits(64)? as i64;
                    delta = next.wrapping_sub(at_ms);
                    at_ms = next;
                    ahead = reader.peek();
                    used = 0;
                }
                delta = i64::from(i32::try_from(delta).unwrap_or(0));
                let changed = ahead << used >> 63 == 1;
                used += 1;
                if !changed {
                    reader.skip(used)?;
                    times.push(at_ms);
                    values.push(f64::from_bits(bits));
                    done += 1;
                    continue;
                }
            }
        }
        // At most 25 bits went before, so this window code is still ahead.
        let code = ahead << used;
        used += 1;
        if code >> 63 == 1 {
            lead = (code >> 58 & 0x1f) as u32;
            significant = (code >> 52 & 0x3f) as u32 + 1;
            used += 11;
        }
        if lead + significant > 64 || significant == 0 {
            return Err(Malformed("value window exceeds 64 bits"));
        }
        let changed = if used + significant <= PEEKED {
            reader.skip(used + significant)?;
            ahead << used >> (64 - significant)
        } else {
            reader.skip(used)?;
            reader.bits(significant)?
        };
        bits ^= changed << (64 - lead - significant);
        times.push(at_ms);
        values.push(f64::from_bits(bits));
        done += 1;
    }
    for _ in 0..run {
        at_ms = at_ms.wrapping_add(delta);
        times.push(at_ms);
        values.push(f64::from_bits(bits));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn round_trip(samples: &[(i64, u64)]) -> u32 {
        let (mut series, mut slab) = (Series::new(0, 0, 0), Slab::default());
        let mut expected = 0;
        for (at, bits) in samples {
            if has_room(&series) {
                append(&mut series, &mut slab, *at, *bits);
                expected += 1;
                assert!(series.bit_len as usize <= class_bytes(series.class) * 8);
            }
        }
        let (mut times, mut values) = (vec![], vec![]);
        decode_open(&series, &slab, &mut times, &mut values).unwrap();
        let back: Vec<_> = times
            .into_iter()
            .zip(values.into_iter().map(f64::to_bits))
            .collect();
        assert_eq!(back, samples[..expected]);
        let copy = ChunkBytes::of(&series, &slab).unwrap();
        assert_eq!(copy.first_ms(), samples[0].0);
        let (mut times, mut values) = (vec![], vec![]);
        copy.decode(&mut times, &mut values).unwrap();
        assert_eq!(times.len(), expected);
        series.bit_len
    }

    #[test]
    fn a_constant_regular_series_costs_no_bits() {
        let samples: Vec<_> = (0..5000).map(|i| (i * 15_000, 42)).collect();
        assert!(round_trip(&samples) < 128 + 128);
    }

    #[test]
    fn extreme_timestamps_survive() {
        round_trip(&[
            (i64::MIN, 1),
            (0, 2),
            (1, 2),
            (i64::MAX - 1, 3),
            (i64::MAX, 3),
        ]);
    }

    #[test]
    fn the_longest_codes_fit_at_every_length() {
        // Every sample takes the raw timestamp and all value bits.
        let samples: Vec<_> = (0..600_i64)
            .map(|i| ((i * i) << 40, if i % 2 == 0 { u64::MAX } else { 0 }))
            .collect();
        for len in 1..samples.len() {
            round_trip(&samples[..len]);
        }
    }

    #[test]
    fn a_full_chunk_says_so() {
        let samples: Vec<_> = (0..5000_i64)
            .map(|i| {
                (
                    i * 1000 + i % 7,
                    (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15),
                )
            })
            .collect();
        round_trip(&samples);
    }

    proptest! {
        #[test]
        fn any_samples_survive(
            start in any::<i32>(),
            steps in prop::collection::vec(
                (prop_oneof![3 => Just(15_000_i64), 1 => 1_i64..100_000, 1 => 1_i64..1 << 45],
                 prop_oneof![3 => Just(0_u64), 1 => any::<u64>(), 1 => (0_u64..50).prop_map(|i| (i as f64).to_bits())]), 1..300))
        {
            let mut at = i64::from(start);
            let samples: Vec<_> = steps.iter().map(|(step, bits)| { at += step; (at, *bits) }).collect();
            round_trip(&samples);
        }
    }
}
