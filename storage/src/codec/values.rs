//! A run of values of one series, in the smallest of several codecs. Always bit-exact.
//!
//! Codecs (the first byte): 0 CONST `f64`; 1 INT: `u8 scale, uvarint exception count, (uvarint
//! position gap, u64 bits)*, integers` where value = integer / 10^e (scale 0..=15), integer * 10^e
//! (16 + e) or integer * 10^-e (32 + e: another rounding than the division); 2 DECIMAL CONST: `u8
//! scale, varint integer`; 4 ULP: as INT, then integers to be added to the bits of the values; 5 XOR;
//! 6 RAW; 7 BITS: integers that are the values' bits. Linear and sparse runs need no codec of their
//! own: integers have delta orders and a sparse form.
//!
//! An exception is a value that the scale does not reproduce (NaN payloads, infinities, -0, odd
//! fractions); its place in the integers repeats the one before.

use super::Malformed;
use super::bytes::{Cursor, put_uvarint, put_varint};
use super::{integers, xor};

const CONST: u8 = 0;
const INT: u8 = 1;
const DECIMAL_CONST: u8 = 2;
const ULP: u8 = 4;
const XOR: u8 = 5;
const RAW: u8 = 6;
const BITS: u8 = 7;

/// Longest run that one block of values may hold.
pub(crate) const MAX_RUN: usize = 1024;

const POWERS: [f64; 16] = [
    1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
];

const INVERSES: [f64; 16] = [
    1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-11, 1e-12, 1e-13, 1e-14,
    1e-15,
];

/// Scales in the order in which they are tried: likely and small first.
const SCALES: [u8; 19] = [
    0, 1, 2, 3, 35, 4, 6, 38, 9, 41, 5, 34, 33, 36, 37, 22, 25, 7, 8,
];

/// Decimal places tried where values are near decimals, but not exactly.
const ULP_SCALES: [u8; 4] = [3, 6, 9, 11];

/// At this many bytes per hundred values the decimal integers are good enough.
const CHEAP_PER_CENT: usize = 300;

/// Above this share of exceptions another codec is better anyway.
const EXCEPTIONS_PER_CENT: usize = 3;

/// Integers beyond this are not exact as `f64`.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

/// The factor of a scale and whether integers are multiplied by it.
fn factor(scale: u8) -> (f64, bool) {
    let power = POWERS[usize::from(scale & 15)];
    match scale >> 4 {
        0 => (power, false),
        1 => (power, true),
        _ => (INVERSES[usize::from(scale & 15)], true),
    }
}

fn to_integer(value: f64, scale: u8) -> f64 {
    let power = POWERS[usize::from(scale & 15)];
    if scale >> 4 == 1 {
        value / power
    } else {
        value * power
    }
}

#[inline]
fn from_integer(integer: i64, (factor, multiply): (f64, bool)) -> f64 {
    if multiply {
        integer as f64 * factor
    } else {
        integer as f64 / factor
    }
}

/// The nearest integer to `value` at `scale`, if it is exact as `f64`.
fn nearest(value: f64, scale: u8) -> Option<i64> {
    let scaled = to_integer(value, scale).round_ties_even();
    (scaled.abs() <= MAX_EXACT).then_some(scaled as i64)
}

/// The integer that reproduces the bits of `value` at `scale`.
fn exact(value: f64, scale: u8) -> Option<i64> {
    let integer = nearest(value, scale)?;
    (from_integer(integer, factor(scale)).to_bits() == value.to_bits()).then_some(integer)
}

/// Integers and exceptions of all values by `integer_of`, or `None` with too many exceptions.
fn integers_of(
    values: &[f64],
    integer_of: impl Fn(f64) -> Option<i64>,
) -> Option<(Vec<i64>, Vec<usize>)> {
    let allowed = values.len() * EXCEPTIONS_PER_CENT / 100 + 1;
    let mut integers = Vec::with_capacity(values.len());
    let mut exceptions = Vec::new();
    for (at, value) in values.iter().enumerate() {
        match integer_of(*value) {
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

fn put_exceptions(out: &mut Vec<u8>, values: &[f64], exceptions: &[usize]) {
    put_uvarint(out, exceptions.len() as u64);
    let mut next = 0;
    for at in exceptions {
        put_uvarint(out, (at - next) as u64);
        out.extend_from_slice(&values[*at].to_bits().to_le_bytes());
        next = at + 1;
    }
}

/// INT at `scale`, unless too many values do not fit.
fn encode_int(values: &[f64], scale: u8) -> Option<Vec<u8>> {
    if !plausible(values, scale) {
        return None;
    }
    let (numbers, exceptions) = integers_of(values, |v| exact(v, scale))?;
    let mut out = vec![INT, scale];
    put_exceptions(&mut out, values, &exceptions);
    integers::encode(&mut out, &numbers);
    Some(out)
}

/// ULP at `scale`, unless too many values are no numbers of that size.
fn encode_ulp(values: &[f64], scale: u8) -> Option<Vec<u8>> {
    let (numbers, exceptions) = integers_of(values, |v| nearest(v, scale))?;
    let factor = factor(scale);
    let mut distances = Vec::with_capacity(values.len());
    for (value, number) in values.iter().zip(&numbers) {
        let near = from_integer(*number, factor).to_bits();
        distances.push(value.to_bits().wrapping_sub(near) as i64);
    }
    for at in &exceptions {
        distances[*at] = 0;
    }
    let mut out = vec![ULP, scale];
    put_exceptions(&mut out, values, &exceptions);
    integers::encode(&mut out, &numbers);
    integers::encode(&mut out, &distances);
    Some(out)
}

fn encode_bits(values: &[f64]) -> Vec<u8> {
    let numbers: Vec<i64> = values.iter().map(|v| v.to_bits() as i64).collect();
    let mut out = vec![BITS];
    integers::encode(&mut out, &numbers);
    out
}

fn encode_const(out: &mut Vec<u8>, value: f64) {
    let mut short = Vec::new();
    if let Some((scale, integer)) = SCALES
        .iter()
        .find_map(|scale| Some((*scale, exact(value, *scale)?)))
    {
        short.extend([DECIMAL_CONST, scale]);
        put_varint(&mut short, integer);
    }
    if short.is_empty() || short.len() > 9 {
        out.push(CONST);
        out.extend_from_slice(&value.to_bits().to_le_bytes());
    } else {
        out.extend_from_slice(&short);
    }
}

/// Chooses codecs; remembers what was best for the run before, of the same series as a rule.
#[derive(Debug, Default)]
pub(crate) struct Chooser {
    last_scale: u8,
}

impl Chooser {
    /// Appends the smallest encoding of `values` (1 to [`MAX_RUN`] of them).
    pub(crate) fn encode(&mut self, out: &mut Vec<u8>, values: &[f64]) {
        debug_assert!(!values.is_empty() && values.len() <= MAX_RUN);
        let Some(first) = values.first() else { return };
        if values.iter().all(|v| v.to_bits() == first.to_bits()) {
            encode_const(out, *first);
            return;
        }
        let best = self.best(values);
        if best.len() > values.len() * 8 + 1 {
            out.push(RAW);
            out.extend(values.iter().flat_map(|v| v.to_bits().to_le_bytes()));
        } else {
            out.extend_from_slice(&best);
        }
    }

    fn best(&mut self, values: &[f64]) -> Vec<u8> {
        // Scales are tried from the likely and small on, so the first that fits is the smallest.
        let mut best = None;
        for scale in SCALES {
            best = encode_int(values, scale);
            if best.is_some() {
                break;
            }
        }
        if let Some(int) = &best
            && int.len() <= values.len() * CHEAP_PER_CENT / 100
        {
            return best.unwrap_or_default();
        }
        let mut keep = |other: Option<Vec<u8>>| {
            let Some(other) = other else { return false };
            let better = best.as_ref().is_none_or(|b| other.len() < b.len());
            if better {
                best = Some(other);
            }
            better
        };
        keep(Some(encode_bits(values)));
        if keep(encode_ulp(values, self.last_scale)) && self.last_scale != 0 {
            // What was best for the last run is good here: no other scale is tried.
        } else {
            for scale in ULP_SCALES {
                if scale != self.last_scale && keep(encode_ulp(values, scale)) {
                    self.last_scale = scale;
                }
            }
        }
        let mut bits = vec![XOR];
        xor::encode(&mut bits, values);
        keep(Some(bits));
        best.unwrap_or_default()
    }
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

fn decode_int(
    cursor: &mut Cursor<'_>,
    with_ulps: bool,
    count: usize,
    out: &mut Vec<f64>,
) -> Result<(), Malformed> {
    let scale = take_scale(cursor)?;
    let exceptions = take_exceptions(cursor, count)?;
    let mut numbers = Vec::with_capacity(count);
    integers::decode(cursor, count, &mut numbers)?;
    let start = out.len();
    if with_ulps {
        let mut distances = Vec::with_capacity(count);
        integers::decode(cursor, count, &mut distances)?;
        out.extend(numbers.iter().zip(&distances).map(|(n, distance)| {
            let near = from_integer(*n, scale).to_bits();
            f64::from_bits(near.wrapping_add(*distance as u64))
        }));
    } else {
        out.extend(numbers.iter().map(|n| from_integer(*n, scale)));
    }
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
        DECIMAL_CONST => {
            let scale = take_scale(&mut cursor)?;
            let value = from_integer(cursor.varint()?, scale);
            out.resize(out.len() + count, value);
            Ok(())
        }
        INT => decode_int(&mut cursor, false, count, out),
        ULP => decode_int(&mut cursor, true, count, out),
        BITS => {
            let mut numbers = Vec::with_capacity(count);
            integers::decode(&mut cursor, count, &mut numbers)?;
            out.extend(numbers.iter().map(|bits| f64::from_bits(*bits as u64)));
            Ok(())
        }
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
        Chooser::default().encode(&mut out, values);
        let mut back = Vec::new();
        decode(&out, values.len(), &mut back).unwrap();
        let bits = |v: &[f64]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&back), bits(values));
        out
    }

    #[test]
    fn each_codec_is_chosen_where_it_should_be() {
        assert_eq!(round_trip(&[4.5; 100])[0], DECIMAL_CONST);
        assert_eq!(round_trip(&[-0.0; 100])[0], CONST);
        let decimal: Vec<f64> = (0..100).map(|i| f64::from(i * i % 37) / 100.0).collect();
        assert_eq!(round_trip(&decimal)[0], INT);
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
        assert_eq!(round_trip(&products)[..2], [INT, 35]);
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
        }
    }
}
