//! A run of values of one series, in the smallest of several codecs. Always bit-exact.
//!
//! Codecs (the first byte): 0 CONST `f64`; 1 INT: `u8 scale, uvarint exception count, (uvarint
//! position gap, u64 bits)*, integers` where value = integer / 10^e (scale 0..=15), integer * 10^e
//! (16 + e) or integer * 10^-e (32 + e: another rounding than the division); 2 DECIMAL CONST: `u8
//! scale, varint integer` (read only); 4 ULP: as INT, then integers to be added to the bits of the values; 5 XOR;
//! 6 RAW; 7 BITS: integers that are the values' bits; 32 + i PLAIN INT: INT without exceptions, at scale i of
//! [`SCALES`]; 64 + i PLAIN CONST: `varint integer` at scale i; 128 + n SMALL CONST: n. Linear and sparse runs need no codec of their
//! own: integers have delta orders and a sparse form.
//!
//! An exception is a value that the scale does not reproduce (NaN payloads, infinities, -0, odd
//! fractions); its place in the integers repeats the one before.

use super::Malformed;
use super::bytes::Cursor;
pub(crate) use super::chooser::Chooser;
use super::{integers, xor};

pub(super) const CONST: u8 = 0;
pub(super) const INT: u8 = 1;
/// Read only; [`PLAIN_CONST`] is what is written.
pub(super) const DECIMAL_CONST: u8 = 2;
pub(super) const ULP: u8 = 4;
pub(super) const XOR: u8 = 5;
pub(super) const RAW: u8 = 6;
pub(super) const BITS: u8 = 7;
/// Plus the place of the scale in [`SCALES`].
pub(super) const PLAIN_INT: u8 = 0x20;
/// Plus the place of the scale in [`SCALES`].
pub(super) const PLAIN_CONST: u8 = 0x40;
/// Plus the value.
pub(super) const SMALL_CONST: u8 = 0x80;

/// Longest run that one block of values may hold.
pub(crate) const MAX_RUN: usize = 1024;

const POWERS: [f64; 16] = [
    1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
];

const INVERSES: [f64; 16] = [
    1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-11, 1e-12, 1e-13, 1e-14,
    1e-15,
];

/// Scales in the order in which they are tried: likely and small first. Part of the format.
pub(super) const SCALES: [u8; 19] = [
    0, 1, 2, 3, 35, 4, 6, 38, 9, 41, 5, 34, 33, 36, 37, 22, 25, 7, 8,
];

/// Above this share of exceptions another codec is better anyway.
pub(super) const EXCEPTIONS_PER_CENT: usize = 3;

/// Integers beyond this are not exact as `f64`.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

/// The factor of a scale and whether integers are multiplied by it.
pub(super) fn factor(scale: u8) -> (f64, bool) {
    let power = power(scale);
    match scale >> 4 {
        0 => (power, false),
        1 => (power, true),
        _ => (INVERSES[usize::from(scale & 15)], true),
    }
}

/// Ten to the number of decimal places of a scale.
pub(super) fn power(scale: u8) -> f64 {
    POWERS[usize::from(scale & 15)]
}

fn to_integer(value: f64, scale: u8) -> f64 {
    let power = power(scale);
    if scale >> 4 == 1 {
        value / power
    } else {
        value * power
    }
}

#[inline]
pub(super) fn from_integer(integer: i64, (factor, multiply): (f64, bool)) -> f64 {
    if multiply {
        integer as f64 * factor
    } else {
        integer as f64 / factor
    }
}

/// The nearest integer to `value` at `scale`, if it is exact as `f64`.
pub(super) fn nearest(value: f64, scale: u8) -> Option<i64> {
    let scaled = to_integer(value, scale).round_ties_even();
    (scaled.abs() <= MAX_EXACT).then_some(scaled as i64)
}

/// The integer that reproduces the bits of `value` at `scale`.
pub(super) fn exact(value: f64, scale: u8) -> Option<i64> {
    let integer = nearest(value, scale)?;
    (from_integer(integer, factor(scale)).to_bits() == value.to_bits()).then_some(integer)
}

fn take_exceptions(cursor: &mut Cursor<'_>, count: usize) -> Result<Vec<(usize, f64)>, Malformed> {
    let exception_count = cursor.count(9, count)?;
    let mut exceptions = Vec::with_capacity(exception_count);
    let mut next = 0_usize;
    for _ in 0..exception_count {
        let at = next.saturating_add(cursor.count(0, count)?);
        exceptions.push((at, f64::from_bits(cursor.u64()?)));
        next = at.saturating_add(1);
    }
    Ok(exceptions)
}

fn take_scale(cursor: &mut Cursor<'_>) -> Result<(f64, bool), Malformed> {
    let scale = cursor.u8()?;
    if scale > 47 {
        return Err(Malformed("unknown decimal scale"));
    }
    Ok(factor(scale))
}

/// The scale at a place of [`SCALES`].
fn listed_scale(index: u8) -> Result<(f64, bool), Malformed> {
    let scale = SCALES.get(usize::from(index));
    let scale = scale.ok_or(Malformed("unknown decimal scale"))?;
    Ok(factor(*scale))
}

/// Appends the values `from..to` of integers at a scale.
fn decode_scaled(
    cursor: &mut Cursor<'_>,
    (factor, multiply): (f64, bool),
    count: usize,
    range: (usize, usize),
    out: &mut Vec<f64>,
) -> Result<(), Malformed> {
    // One loop for each kind, so that neither asks at every value.
    if multiply {
        integers::decode_part(cursor, count, range, |block| {
            out.extend(block.iter().map(|n| *n as f64 * factor));
        })
    } else if factor == 1.0 {
        integers::decode_part(cursor, count, range, |block| {
            out.extend(block.iter().map(|n| *n as f64));
        })
    } else {
        integers::decode_part(cursor, count, range, |block| {
            out.extend(block.iter().map(|n| *n as f64 / factor));
        })
    }
}

fn decode_int(
    cursor: &mut Cursor<'_>,
    with_ulps: bool,
    count: usize,
    (from, to): (usize, usize),
    out: &mut Vec<f64>,
) -> Result<(), Malformed> {
    let scale = take_scale(cursor)?;
    let exceptions = take_exceptions(cursor, count)?;
    let start = out.len();
    if with_ulps {
        // To the end, behind which the distances begin.
        decode_scaled(cursor, scale, count, (from, count), out)?;
        out.truncate(start + (to - from));
        let mut near = out[start..].iter_mut();
        integers::decode_part(cursor, count, (from, to), |block| {
            // In this order: whoever comes first in a zip is asked once too often.
            for (distance, value) in block.iter().zip(near.by_ref()) {
                *value = f64::from_bits(value.to_bits().wrapping_add(*distance as u64));
            }
        })?;
    } else {
        decode_scaled(cursor, scale, count, (from, to), out)?;
    }
    for (at, value) in exceptions {
        if at >= count {
            return Err(Malformed("exception lies outside its run"));
        }
        if (from..to).contains(&at) {
            out[start + at - from] = value;
        }
    }
    Ok(())
}

/// Appends `count` values (at most [`MAX_RUN`]) decoded from `bytes`.
pub(crate) fn decode(bytes: &[u8], count: usize, out: &mut Vec<f64>) -> Result<(), Malformed> {
    decode_part(bytes, count, (0, count), out)
}

/// Appends the values `from..to` of the `count` (at most [`MAX_RUN`]) in `bytes`. What does not concern them
/// is looked at only as far as it costs nothing.
pub(crate) fn decode_part(
    bytes: &[u8],
    count: usize,
    (from, to): (usize, usize),
    out: &mut Vec<f64>,
) -> Result<(), Malformed> {
    if count > MAX_RUN || from > to || to > count {
        return Err(Malformed("run of values is too long"));
    }
    let wanted = to - from;
    let mut cursor = Cursor::new(bytes);
    match cursor.u8()? {
        small @ SMALL_CONST.. => {
            out.resize(out.len() + wanted, f64::from(small - SMALL_CONST));
            Ok(())
        }
        plain @ PLAIN_CONST..SMALL_CONST => {
            let scale = listed_scale(plain - PLAIN_CONST)?;
            let value = from_integer(cursor.varint()?, scale);
            out.resize(out.len() + wanted, value);
            Ok(())
        }
        plain @ PLAIN_INT..PLAIN_CONST => {
            let scale = listed_scale(plain - PLAIN_INT)?;
            decode_scaled(&mut cursor, scale, count, (from, to), out)
        }
        CONST => {
            let value = f64::from_bits(cursor.u64()?);
            out.resize(out.len() + wanted, value);
            Ok(())
        }
        DECIMAL_CONST => {
            let scale = take_scale(&mut cursor)?;
            let value = from_integer(cursor.varint()?, scale);
            out.resize(out.len() + wanted, value);
            Ok(())
        }
        INT => decode_int(&mut cursor, false, count, (from, to), out),
        ULP => decode_int(&mut cursor, true, count, (from, to), out),
        BITS => integers::decode_part(&mut cursor, count, (from, to), |block| {
            out.extend(block.iter().map(|bits| f64::from_bits(*bits as u64)));
        }),
        XOR => {
            let start = out.len();
            xor::decode(cursor.take(cursor.remaining())?, to, out)?;
            out.drain(start..start + from);
            Ok(())
        }
        RAW => {
            cursor.take(8 * from)?;
            for _ in from..to {
                out.push(f64::from_bits(cursor.u64()?));
            }
            Ok(())
        }
        _ => Err(Malformed("unknown value codec")),
    }
}

/// As [`decode_part`], for a reader who only asks whether values are staleness markers: those that are
/// none may become any other. Where the codec tells, nothing is decoded.
pub(crate) fn decode_markers(
    bytes: &[u8],
    count: usize,
    (from, to): (usize, usize),
    out: &mut Vec<f64>,
) -> Result<(), Malformed> {
    if count > MAX_RUN || from > to || to > count {
        return Err(Malformed("run of values is too long"));
    }
    let mut cursor = Cursor::new(bytes);
    let has_no_markers = |codec| codec >= PLAIN_INT || codec == DECIMAL_CONST;
    match cursor.u8()? {
        codec if has_no_markers(codec) => {
            out.resize(out.len() + to - from, 0.0);
            Ok(())
        }
        INT => {
            take_scale(&mut cursor)?;
            let start = out.len();
            out.resize(start + to - from, 0.0);
            for (at, value) in take_exceptions(&mut cursor, count)? {
                if at >= count {
                    return Err(Malformed("exception lies outside its run"));
                }
                if (from..to).contains(&at) {
                    out[start + at - from] = value;
                }
            }
            Ok(())
        }
        _ => decode_part(bytes, count, (from, to), out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tenbin_model::is_stale;

    fn round_trip(values: &[f64]) -> Vec<u8> {
        let mut out = Vec::new();
        Chooser::default().encode(&mut out, values);
        let mut back = Vec::new();
        decode(&out, values.len(), &mut back).unwrap();
        let bits = |v: &[f64]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&back), bits(values));
        let mut marked = vec![1.0];
        decode_markers(&out, values.len(), (0, values.len()), &mut marked).unwrap();
        let markers = |v: &[f64]| v.iter().map(|x| is_stale(*x)).collect::<Vec<_>>();
        assert_eq!(markers(&marked[1..]), markers(values));
        for (from, to) in [
            (0, 1),
            (1, values.len()),
            (values.len() / 3, values.len() / 2),
        ] {
            let (from, to) = (from.min(values.len()), to.min(values.len()));
            let mut part = vec![3.0];
            decode_part(&out, values.len(), (from, to), &mut part).unwrap();
            assert_eq!(bits(&part[1..]), bits(&values[from..to]));
            part.truncate(1);
            decode_markers(&out, values.len(), (from, to), &mut part).unwrap();
            assert_eq!(markers(&part[1..]), markers(&values[from..to]));
        }
        out
    }

    #[test]
    fn each_codec_is_chosen_where_it_should_be() {
        assert_eq!(round_trip(&[4.5; 100])[0], PLAIN_CONST + 1);
        assert_eq!(round_trip(&[1.0; 100]), [SMALL_CONST + 1]);
        assert_eq!(round_trip(&[-0.0; 100])[0], CONST);
        let decimal: Vec<f64> = (0..100).map(|i| f64::from(i * i % 37) / 100.0).collect();
        assert_eq!(round_trip(&decimal)[0], PLAIN_INT + 2);
        let linear: Vec<f64> = (0..512).map(|i| f64::from(i) * 1000.0).collect();
        assert!(round_trip(&linear).len() < 12);
        let mut sum = 0.0;
        let seconds: Vec<f64> = (0..300)
            .map(|i| {
                sum += f64::from(i * 7919 % 101) * 0.001_234_567;
                sum
            })
            .collect();
        assert_eq!(round_trip(&seconds)[0], ULP);
        let mut rare = vec![std::f64::consts::PI; 300];
        rare[100..].fill(std::f64::consts::E);
        let rare = round_trip(&rare);
        assert!(rare[0] == BITS && rare.len() < 40, "{}", rare.len());
        let products: Vec<f64> = (0..300).map(|i| f64::from(i * i) * 0.001).collect();
        assert_eq!(round_trip(&products)[0], PLAIN_INT + 4);
        let mut stale = decimal.clone();
        stale[99] = tenbin_model::stale_nan();
        stale[3] = -0.0;
        assert_eq!(round_trip(&stale)[0], INT, "exceptions keep the codec");
        let noise: Vec<f64> = (1..50).map(|i| (f64::from(i)).sqrt().sin()).collect();
        assert!(round_trip(&noise)[0] >= ULP);
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
            for range in [(0, count), (count / 3, count / 2), (count, 0)] {
                let _ = decode_part(&bytes, count, range, &mut Vec::new());
                let _ = decode_markers(&bytes, count, range, &mut Vec::new());
            }
        }
    }
}
