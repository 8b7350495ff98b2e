//! A run of values of one series, in the smallest of several codecs. Always bit-exact.
//!
//! Codecs (the first byte): 0 CONST `f64`; 1 INT: `u8 scale, uvarint exception count, (uvarint
//! position gap, u64 bits)*, integers` where value = integer / 10^e (scale 0..=15) or integer * 10^e
//! (scale 16 + e); 5 XOR; 6 RAW. A linear run needs no codec of its own: INT with delta order 2 or 1
//! packs its residuals in zero bits.
//!
//! An exception is a value that the scale does not reproduce (NaN payloads, infinities, -0, odd
//! fractions); its place in the integers repeats the one before.

use super::Malformed;
use super::bytes::{Cursor, put_uvarint};
use super::{integers, xor};

const CONST: u8 = 0;
const INT: u8 = 1;
const XOR: u8 = 5;
const RAW: u8 = 6;

/// Longest run that one block of values may hold.
pub(crate) const MAX_RUN: usize = 1024;

const POWERS: [f64; 16] = [
    1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
];

/// Scales in the order in which they are tried: likely and small first.
const SCALES: [u8; 14] = [0, 1, 2, 3, 4, 6, 9, 5, 19, 22, 25, 18, 7, 8];

/// Above this share of exceptions another codec is better anyway.
const EXCEPTIONS_PER_CENT: usize = 3;

/// Integers beyond this are not exact as `f64`.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

fn to_integer(value: f64, scale: u8) -> f64 {
    match POWERS.get(usize::from(scale)) {
        Some(power) => value * power,
        None => value / POWERS[usize::from(scale - 16) & 15],
    }
}

#[inline]
fn from_integer(integer: i64, scale: u8) -> f64 {
    match POWERS.get(usize::from(scale)) {
        Some(power) => integer as f64 / power,
        None => integer as f64 * POWERS[usize::from(scale - 16) & 15],
    }
}

/// The integer that reproduces the bits of `value` at `scale`.
fn exact(value: f64, scale: u8) -> Option<i64> {
    let scaled = to_integer(value, scale).round_ties_even();
    if scaled.abs() > MAX_EXACT || scaled.is_nan() {
        return None;
    }
    let integer = scaled as i64;
    (from_integer(integer, scale).to_bits() == value.to_bits()).then_some(integer)
}

/// Integers and exceptions of all values at `scale`, or `None` with too many exceptions.
fn scaled(values: &[f64], scale: u8) -> Option<(Vec<i64>, Vec<usize>)> {
    let allowed = values.len() * EXCEPTIONS_PER_CENT / 100 + 1;
    let mut integers = Vec::with_capacity(values.len());
    let mut exceptions = Vec::new();
    for (at, value) in values.iter().enumerate() {
        match exact(*value, scale) {
            Some(integer) => integers.push(integer),
            None => {
                exceptions.push(at);
                if exceptions.len() > allowed {
                    return None;
                }
                integers.push(integers.last().copied().unwrap_or(0));
            }
        }
    }
    Some((integers, exceptions))
}

/// Whether a few values spread over the run fit the scale, the cheap test before the full one.
fn plausible(values: &[f64], scale: u8) -> bool {
    let step = values.len().div_ceil(16).max(1);
    let mut misses = 0;
    for value in values.iter().step_by(step) {
        misses += usize::from(exact(*value, scale).is_none());
    }
    misses <= 1
}

fn encode_int(values: &[f64]) -> Option<Vec<u8>> {
    let scale = SCALES
        .iter()
        .find(|scale| plausible(values, **scale) && scaled(values, **scale).is_some())?;
    let (numbers, exceptions) = scaled(values, *scale)?;
    let mut out = vec![INT, *scale];
    put_uvarint(&mut out, exceptions.len() as u64);
    let mut next = 0;
    for at in exceptions {
        put_uvarint(&mut out, (at - next) as u64);
        out.extend_from_slice(&values[at].to_bits().to_le_bytes());
        next = at + 1;
    }
    integers::encode(&mut out, &numbers);
    Some(out)
}

/// Appends the smallest encoding of `values` (1 to [`MAX_RUN`] of them).
pub(crate) fn encode(out: &mut Vec<u8>, values: &[f64]) {
    debug_assert!(!values.is_empty() && values.len() <= MAX_RUN);
    if let Some(first) = values.first()
        && values.iter().all(|v| v.to_bits() == first.to_bits())
    {
        out.push(CONST);
        out.extend_from_slice(&first.to_bits().to_le_bytes());
        return;
    }
    let mut best = vec![XOR];
    xor::encode(&mut best, values);
    if let Some(int) = encode_int(values)
        && int.len() <= best.len()
    {
        best = int;
    }
    if best.len() > values.len() * 8 + 1 {
        out.push(RAW);
        out.extend(values.iter().flat_map(|v| v.to_bits().to_le_bytes()));
    } else {
        out.extend_from_slice(&best);
    }
}

fn decode_int(cursor: &mut Cursor<'_>, count: usize, out: &mut Vec<f64>) -> Result<(), Malformed> {
    let scale = cursor.u8()?;
    if scale > 31 {
        return Err(Malformed("unknown decimal scale"));
    }
    let exception_count = cursor.count(9, count)?;
    let mut exceptions = Vec::with_capacity(exception_count);
    let mut next = 0_usize;
    for _ in 0..exception_count {
        let at = next.saturating_add(cursor.count(0, count)?);
        exceptions.push((at, f64::from_bits(cursor.u64()?)));
        next = at.saturating_add(1);
    }
    let mut numbers = Vec::with_capacity(count);
    integers::decode(cursor, count, &mut numbers)?;
    let start = out.len();
    out.extend(numbers.iter().map(|n| from_integer(*n, scale)));
    for (at, value) in exceptions {
        *out.get_mut(start + at)
            .ok_or(Malformed("exception lies outside its run"))? = value;
    }
    Ok(())
}

/// Appends `count` values (at most [`MAX_RUN`]) decoded from `bytes`.
pub(crate) fn decode(bytes: &[u8], count: usize, out: &mut Vec<f64>) -> Result<(), Malformed> {
    if count > MAX_RUN {
        return Err(Malformed("run of values is too long"));
    }
    let mut cursor = Cursor::new(bytes);
    match cursor.u8()? {
        CONST => {
            let value = f64::from_bits(cursor.u64()?);
            out.resize(out.len() + count, value);
            Ok(())
        }
        INT => decode_int(&mut cursor, count, out),
        XOR => xor::decode(cursor.take(cursor.remaining())?, count, out),
        RAW => {
            for _ in 0..count {
                out.push(f64::from_bits(cursor.u64()?));
            }
            Ok(())
        }
        _ => Err(Malformed("unknown value codec")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn round_trip(values: &[f64]) -> Vec<u8> {
        let mut out = Vec::new();
        encode(&mut out, values);
        let mut back = Vec::new();
        decode(&out, values.len(), &mut back).unwrap();
        let bits = |v: &[f64]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&back), bits(values));
        out
    }

    #[test]
    fn each_codec_is_chosen_where_it_should_be() {
        assert_eq!(round_trip(&[4.5; 100])[0], CONST);
        let decimal: Vec<f64> = (0..100).map(|i| f64::from(i * i % 37) / 100.0).collect();
        assert_eq!(round_trip(&decimal)[0], INT);
        let linear: Vec<f64> = (0..512).map(|i| f64::from(i) * 1000.0).collect();
        assert!(round_trip(&linear).len() < 32);
        let mut stale = decimal.clone();
        stale[99] = tenbin_model::stale_nan();
        stale[3] = -0.0;
        assert_eq!(round_trip(&stale)[0], INT, "exceptions keep the codec");
        let noise: Vec<f64> = (1..50).map(|i| (f64::from(i)).sqrt().sin()).collect();
        assert!(round_trip(&noise)[0] >= XOR);
        let mut seed = 1_u64;
        let random: Vec<f64> = (0..64)
            .map(|_| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                f64::from_bits(seed)
            })
            .collect();
        assert_eq!(round_trip(&random)[0], RAW);
    }

    fn any_value() -> impl Strategy<Value = f64> {
        prop_oneof![
            any::<u64>().prop_map(f64::from_bits),
            (-1000_i32..1000).prop_map(f64::from),
            (-100_000_i32..100_000).prop_map(|i| f64::from(i) / 1000.0),
            (0_i64..1 << 60).prop_map(|i| i as f64),
            Just(-0.0),
            Just(f64::INFINITY),
            Just(f64::NEG_INFINITY),
            Just(tenbin_model::stale_nan()),
            Just(f64::from_bits(tenbin_model::sample::NORMAL_NAN_BITS)),
            Just(f64::MIN_POSITIVE / 8.0),
        ]
    }

    proptest! {
        #[test]
        fn any_mixture_is_bit_exact(values in prop::collection::vec(any_value(), 1..200)) {
            round_trip(&values);
        }

        #[test]
        fn runs_of_one_kind_are_bit_exact(kind in 0_u8..6, seeds in prop::collection::vec(any::<i32>(), 1..400)) {
            let mut sum = 0.0;
            let values: Vec<f64> = seeds.iter().map(|s| {
                let small = f64::from(s % 1000);
                match kind {
                    0 => small,
                    1 => small / 100.0,
                    2 => { sum += small.abs(); sum }
                    3 => { sum += small.abs() * 0.001; sum }
                    4 => small * 4096.0,
                    _ => small * 1e6,
                }
            }).collect();
            round_trip(&values);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), count in 0_usize..1100) {
            let _ = decode(&bytes, count, &mut Vec::new());
        }
    }
}
