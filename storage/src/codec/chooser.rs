//! Chooses the codec of a run of values and writes it (codecs: [`super::values`]).
//!
//! Most runs are constant or decimal, and are recognised by a few of their values. For the others the
//! codecs are tried on a window of the run, and only the most promising are sized on all of it. Buffers
//! are kept from run to run; nothing else is, so that a run is always encoded alike.

use super::bytes::{put_uvarint, put_varint, uvarint_len, zigzag};
use super::packer::Packer;
use super::values::{
    BITS, CONST, EXCEPTIONS_PER_CENT, INT, MAX_RUN, PLAIN_CONST, PLAIN_INT, RAW, SCALES,
    SMALL_CONST, ULP, XOR, exact, factor, from_integer, nearest,
};
use super::xor;

/// Decimal places tried where values are near decimals, but not exactly.
const ULP_SCALES: [u8; 4] = [3, 6, 9, 11];

/// At this many bytes per hundred values the decimal integers are good enough.
const CHEAP_PER_CENT: usize = 300;

/// Values on which codecs are tried.
const WINDOW: usize = 96;

/// Two streams with their heads do not pay for fewer values.
const MIN_ULP: usize = 12;

/// How many codecs are sized on the whole run when a window does not cover it.
const FINALISTS: usize = 2;

/// Adding and subtracting it rounds a number below 2^51 to the nearest integer, ties to even, which
/// then stands in the low bits of the sum.
const ROUNDER: f64 = 6_755_399_441_055_744.0;
const ROUNDER_LIMIT: f64 = 2_251_799_813_685_248.0;

/// Values converted together.
const LANES: usize = 16;

/// Integers of a run at a scale, and the places of the values that the scale does not give.
#[derive(Debug, Default)]
struct Numbers {
    integers: Vec<i64>,
    exceptions: Vec<usize>,
}

impl Numbers {
    /// Fills itself with exact integers; false with too many exceptions.
    fn exact(&mut self, values: &[f64], scale: u8) -> bool {
        let (factor, multiply) = factor(scale);
        match (scale, multiply) {
            (0, _) => self.convert(values, scale, |v| v, |n| n),
            (16..32, _) => self.convert(values, scale, |v| v / factor, |n| n * factor),
            (_, false) => self.convert(values, scale, |v| v * factor, |n| n / factor),
            (_, true) => {
                let power = super::values::power(scale);
                self.convert(values, scale, |v| v * power, |n| n * factor)
            }
        }
    }

    /// [`exact`] for all values, by plain arithmetic that the compiler can vectorise where it is
    /// exact and by the slow way elsewhere.
    fn convert(
        &mut self,
        values: &[f64],
        scale: u8,
        to: impl Fn(f64) -> f64,
        from: impl Fn(f64) -> f64,
    ) -> bool {
        self.clear();
        let mut lanes = [0_i64; LANES];
        for chunk in values.chunks(LANES) {
            let mut good = true;
            for (lane, value) in lanes.iter_mut().zip(chunk) {
                let scaled = to(*value);
                let sum = scaled + ROUNDER;
                let back = from(sum - ROUNDER);
                good &= scaled.abs() < ROUNDER_LIMIT;
                good &= back.to_bits() == value.to_bits();
                *lane = sum.to_bits().wrapping_sub(ROUNDER.to_bits()) as i64;
            }
            if good {
                self.integers.extend_from_slice(&lanes[..chunk.len()]);
            } else if !self.extend(values.len(), chunk, |v| exact(v, scale)) {
                return false;
            }
        }
        true
    }

    /// Fills itself with nearest integers; false with too many exceptions.
    fn nearest(&mut self, values: &[f64], scale: u8) -> bool {
        self.clear();
        self.extend(values.len(), values, |v| nearest(v, scale))
    }

    fn clear(&mut self) {
        self.integers.clear();
        self.exceptions.clear();
    }

    /// Goes on with `part` of a run of `len` values.
    fn extend(&mut self, len: usize, part: &[f64], of: impl Fn(f64) -> Option<i64>) -> bool {
        let allowed = len * EXCEPTIONS_PER_CENT / 100 + 1;
        for value in part {
            let integer = of(*value).unwrap_or_else(|| {
                self.exceptions.push(self.integers.len());
                self.integers.last().copied().unwrap_or(0)
            });
            self.integers.push(integer);
        }
        self.exceptions.len() <= allowed
    }

    fn exceptions_len(&self) -> usize {
        let mut next = 0;
        let mut bytes = uvarint_len(self.exceptions.len() as u64);
        for at in &self.exceptions {
            bytes += uvarint_len((at - next) as u64) + 8;
            next = at + 1;
        }
        bytes
    }

    fn put_exceptions(&self, out: &mut Vec<u8>, values: &[f64]) {
        put_uvarint(out, self.exceptions.len() as u64);
        let mut next = 0;
        for at in &self.exceptions {
            put_uvarint(out, (at - next) as u64);
            out.extend_from_slice(&values[*at].to_bits().to_le_bytes());
            next = at + 1;
        }
    }
}

/// Whether a few values spread over the run fit the scale, the cheap test before the full one.
fn plausible(values: &[f64], scale: u8) -> bool {
    let step = values.len().div_ceil(16).max(1);
    let mut misses = 0;
    for value in values.iter().step_by(step) {
        misses += u32::from(exact(*value, scale).is_none());
        if misses > 1 {
            return false;
        }
    }
    true
}

fn encode_const(out: &mut Vec<u8>, value: f64) {
    let scaled = |(index, scale)| Some((index, exact(value, scale)?));
    let found = (0_u8..).zip(SCALES).find_map(scaled);
    match found {
        Some((0, integer @ 0..128)) => out.push(SMALL_CONST | integer as u8),
        Some((index, integer)) if uvarint_len(zigzag(integer)) < 8 => {
            out.push(PLAIN_CONST + index);
            put_varint(out, integer);
        }
        _ => {
            out.push(CONST);
            out.extend_from_slice(&value.to_bits().to_le_bytes());
        }
    }
}

/// A codec that is not ruled out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Codec {
    Bits,
    Ulp(u8),
}

/// Chooses codecs and writes runs.
#[derive(Debug, Default)]
pub(crate) struct Chooser {
    decimals: Numbers,
    packer: Packer,
    nearest: Numbers,
    nearest_packer: Packer,
    distances: Vec<i64>,
    distances_packer: Packer,
}

impl Chooser {
    /// Appends a small encoding of `values` (1 to [`MAX_RUN`] of them).
    pub(crate) fn encode(&mut self, out: &mut Vec<u8>, values: &[f64]) {
        debug_assert!(!values.is_empty() && values.len() <= MAX_RUN);
        let Some(first) = values.first() else { return };
        if values.iter().all(|v| v.to_bits() == first.to_bits()) {
            encode_const(out, *first);
            return;
        }
        let decimal = self.plan_decimal(values);
        if let Some((index, bytes)) = decimal
            && bytes <= values.len() * CHEAP_PER_CENT / 100
        {
            self.put_decimal(out, values, index);
            return;
        }
        let (codec, bytes) = self.best_other(values);
        let xor = xor::size(values) + 1;
        let raw = values.len() * 8 + 1;
        let decimal_bytes = decimal.map_or(usize::MAX, |(_, bytes)| bytes);
        let least = bytes.min(xor).min(raw).min(decimal_bytes);
        if let Some((index, _)) = decimal.filter(|_| decimal_bytes == least) {
            self.put_decimal(out, values, index);
        } else if bytes == least {
            self.put_other(out, values, codec);
        } else if xor == least {
            out.push(XOR);
            xor::encode(out, values);
        } else {
            out.push(RAW);
            out.extend(values.iter().flat_map(|v| v.to_bits().to_le_bytes()));
        }
    }

    /// The first of the scales, likely and small ones first, that gives the values; and the bytes.
    fn plan_decimal(&mut self, values: &[f64]) -> Option<(u8, usize)> {
        let index = (0_u8..).zip(SCALES).find_map(|(index, scale)| {
            let fits = plausible(values, scale) && self.decimals.exact(values, scale);
            fits.then_some(index)
        })?;
        let integers = self.packer.plan(&self.decimals.integers);
        let head = match self.decimals.exceptions.len() {
            0 => 1,
            _ => 2 + self.decimals.exceptions_len(),
        };
        Some((index, head + integers))
    }

    fn put_decimal(&self, out: &mut Vec<u8>, values: &[f64], index: u8) {
        if self.decimals.exceptions.is_empty() {
            out.push(PLAIN_INT + index);
        } else {
            out.extend([INT, SCALES[usize::from(index)]]);
            self.decimals.put_exceptions(out, values);
        }
        self.packer.write(out);
    }

    /// The smallest of the codecs for values that are no decimals, and its bytes.
    fn best_other(&mut self, values: &[f64]) -> (Codec, usize) {
        let from = (values.len() - values.len().min(WINDOW)) / 2;
        let window = &values[from..values.len().min(from + WINDOW)];
        let codecs = ULP_SCALES.map(Codec::Ulp);
        if values.len() < MIN_ULP {
            return (Codec::Bits, self.plan_other(values, Codec::Bits));
        }
        let mut sized = [(usize::MAX, Codec::Bits); 5];
        for (place, codec) in sized
            .iter_mut()
            .zip([Codec::Bits].into_iter().chain(codecs))
        {
            *place = (self.plan_other(window, codec), codec);
        }
        sized.sort_by_key(|(bytes, _)| *bytes);
        let finalists = if window.len() == values.len() {
            1
        } else {
            FINALISTS
        };
        // The best of the window comes last, so that it need not be planned again as a rule.
        let planned = sized[..finalists].iter().rev().map(|(_, codec)| {
            let bytes = self.plan_other(values, *codec);
            (bytes, *codec)
        });
        let best = planned.min_by_key(|(bytes, codec)| (*bytes, *codec != sized[0].1));
        match best {
            // Only this can always be used.
            None | Some((usize::MAX, _)) => (Codec::Bits, self.plan_other(values, Codec::Bits)),
            Some((bytes, codec)) if codec == sized[0].1 => (codec, bytes),
            Some((_, codec)) => (codec, self.plan_other(values, codec)),
        }
    }

    /// Plans a codec; returns the bytes, or `usize::MAX` where it cannot be used.
    fn plan_other(&mut self, values: &[f64], codec: Codec) -> usize {
        let Codec::Ulp(scale) = codec else {
            self.distances.clear();
            self.distances
                .extend(values.iter().map(|v| v.to_bits() as i64));
            return 1 + self.distances_packer.plan(&self.distances);
        };
        if !self.nearest.nearest(values, scale) {
            return usize::MAX;
        }
        let factor = factor(scale);
        self.distances.clear();
        let both = values.iter().zip(&self.nearest.integers);
        self.distances.extend(both.map(|(value, number)| {
            let near = from_integer(*number, factor).to_bits();
            value.to_bits().wrapping_sub(near) as i64
        }));
        for at in &self.nearest.exceptions {
            self.distances[*at] = 0;
        }
        let integers = self.nearest_packer.plan(&self.nearest.integers);
        let distances = self.distances_packer.plan(&self.distances);
        2 + self.nearest.exceptions_len() + integers + distances
    }

    /// Appends what was planned last.
    fn put_other(&self, out: &mut Vec<u8>, values: &[f64], codec: Codec) {
        match codec {
            Codec::Bits => out.push(BITS),
            Codec::Ulp(scale) => {
                out.extend([ULP, scale]);
                self.nearest.put_exceptions(out, values);
                self.nearest_packer.write(out);
            }
        }
        self.distances_packer.write(out);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{reference, values::decode};
    use super::*;

    /// Values as series of one kind have them.
    fn column(kind: u32, len: usize, seed: u64) -> Vec<f64> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut random = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state >> 11
        };
        let mut sum = 0.0;
        let unit = |random: u64| random as f64 / (1_u64 << 53) as f64;
        let step = |i: usize| {
            let (a, b) = (random(), random());
            match kind {
                0 => sum += (a % 1000) as f64,
                1 => sum += f64::from(u8::from(a % 10 == 0)) * (b % 50) as f64,
                2 => return (a % 100_000) as f64 / 1000.0,
                3 => sum += unit(a),
                4 => sum += ((a % 41) as f64 - 20.0) * 4096.0,
                5 => return unit(a) * unit(b),
                6 => sum += (unit(a) * 1e7).round() * 1e-9,
                7 => {
                    sum = if a % 97 == 0 {
                        0.0
                    } else {
                        sum + (-unit(b).ln() * 2.0).floor()
                    }
                }
                8 => return 100.0 + ((i / 40) as f64) * 0.25,
                9 => return f64::NAN,
                10 => return (a % 3000) as f64 * 0.001,
                _ => return f64::from_bits(a.wrapping_mul(b)),
            }
            if kind == 7 && a % 211 == 0 {
                return tenbin_model::stale_nan();
            }
            sum
        };
        (0..len).map(step).collect()
    }

    #[test]
    fn about_as_small_as_trying_everything() {
        let mut chooser = Chooser::default();
        for kind in 0..12 {
            let (mut ours, mut theirs) = (0, 0);
            for (seed, len) in [1, 2, 5, 6, 23, 24, 64, 97, 120, 240, 530, 1024]
                .into_iter()
                .cycle()
                .take(48)
                .enumerate()
            {
                let values = column(kind, len, seed as u64 + 1);
                let (mut out, mut reference) = (Vec::new(), Vec::new());
                chooser.encode(&mut out, &values);
                reference::Chooser::default().encode(&mut reference, &values);
                (ours, theirs) = (ours + out.len(), theirs + reference.len());
                for bytes in [out, reference] {
                    let mut back = Vec::new();
                    decode(&bytes, len, &mut back).unwrap();
                    let same = back
                        .iter()
                        .zip(&values)
                        .all(|(a, b)| a.to_bits() == b.to_bits());
                    assert!(same && back.len() == len, "kind {kind}, {len} values");
                }
            }
            assert!(
                ours * 500 <= theirs * 501,
                "kind {kind}: {ours} and {theirs} bytes"
            );
        }
    }

    #[test]
    fn a_run_is_encoded_alike_whatever_came_before() {
        let mut used = Chooser::default();
        for kind in 0..12 {
            let values = column(kind, 150, 3);
            let (mut first, mut second) = (Vec::new(), Vec::new());
            used.encode(&mut first, &values);
            Chooser::default().encode(&mut second, &values);
            assert_eq!(first, second);
        }
    }
}
