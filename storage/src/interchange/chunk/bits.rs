//! The bit codecs of Prometheus' chunks: a growing writer, varbit numbers of both kinds, varints that
//! need not start at a byte, and the XOR coding of values.
//!
//! A signed field of n bits holds `-(2^(n-1) - 1) ..= 2^(n-1)`: unlike two's complement, the extreme
//! positive number is in and the extreme negative one is not. Source: Prometheus `tsdb/chunkenc`.

use crate::codec::Malformed;
use crate::codec::bits::{BitReader, put_bits};
use crate::codec::bytes::unzigzag;

/// Widths of varbit numbers by the count of ones in their prefix, less one.
const VARBIT_WIDTHS: [u32; 8] = [3, 6, 9, 12, 18, 25, 56, 64];

/// Appends bits to a buffer that it owns.
#[derive(Debug, Default)]
pub(super) struct BitWriter {
    bytes: Vec<u8>,
    at: usize,
}

impl BitWriter {
    /// Writes the low `count` bits (at most 64) of `value`.
    pub(super) fn put(&mut self, value: u64, count: u32) {
        let needed = self.at / 8 + 18;
        if self.bytes.len() < needed {
            self.bytes.resize(needed + 128, 0);
        }
        self.at = put_bits(&mut self.bytes, self.at, value, count);
    }

    pub(super) fn put_uvarint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.put(value & 0x7f | 0x80, 8);
            value >>= 7;
        }
        self.put(value, 8);
    }

    pub(super) fn put_varint(&mut self, value: i64) {
        self.put_uvarint(crate::codec::bytes::zigzag(value));
    }

    fn put_prefixed(&mut self, width_number: usize, value: u64) {
        let ones = width_number as u32 + 1;
        // The last prefix needs no zero at its end.
        let (prefix, bits) = if width_number == VARBIT_WIDTHS.len() - 1 {
            (0xff, 8)
        } else {
            ((1 << (ones + 1)) - 2, ones + 1)
        };
        self.put(prefix, bits);
        self.put(value, VARBIT_WIDTHS[width_number]);
    }

    pub(super) fn put_varbit(&mut self, value: i64) {
        if value == 0 {
            return self.put(0, 1);
        }
        let fits = |width: &u32| *width == 64 || fits_signed(value, *width);
        let number = VARBIT_WIDTHS.iter().position(fits).unwrap_or(7);
        self.put_prefixed(number, value as u64);
    }

    pub(super) fn put_varbit_unsigned(&mut self, value: u64) {
        if value == 0 {
            return self.put(0, 1);
        }
        let fits = |width: &u32| *width == 64 || value < 1 << *width;
        let number = VARBIT_WIDTHS.iter().position(fits).unwrap_or(7);
        self.put_prefixed(number, value);
    }

    /// Bits written so far.
    #[cfg(test)]
    pub(super) fn at_for_tests(&self) -> usize {
        self.at
    }

    /// The bytes, the last one filled up with zeros.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.bytes.truncate(self.at.div_ceil(8));
        self.bytes
    }
}

/// Whether a signed field of `width` bits (below 64) holds `value`.
pub(super) fn fits_signed(value: i64, width: u32) -> bool {
    let half = 1_i64 << (width - 1);
    -(half - 1) <= value && value <= half
}

/// A signed field of `width` bits.
pub(super) fn read_signed(bits: &mut BitReader<'_>, width: u32) -> Result<i64, Malformed> {
    let raw = bits.bits(width)?;
    if width < 64 && raw > 1 << (width - 1) {
        return Ok((raw as i64) - (1 << width));
    }
    Ok(raw as i64)
}

/// Which width follows; `None` for the number 0.
fn read_prefix(bits: &mut BitReader<'_>) -> Result<Option<u32>, Malformed> {
    for ones in 0..8_usize {
        if !bits.bit()? {
            return Ok(ones.checked_sub(1).map(|number| VARBIT_WIDTHS[number]));
        }
    }
    Ok(Some(64))
}

pub(super) fn read_varbit(bits: &mut BitReader<'_>) -> Result<i64, Malformed> {
    match read_prefix(bits)? {
        Some(width) => read_signed(bits, width),
        None => Ok(0),
    }
}

pub(super) fn read_varbit_unsigned(bits: &mut BitReader<'_>) -> Result<u64, Malformed> {
    match read_prefix(bits)? {
        Some(width) => bits.bits(width),
        None => Ok(0),
    }
}

pub(super) fn read_uvarint(bits: &mut BitReader<'_>) -> Result<u64, Malformed> {
    let mut value = 0;
    for at in 0..10 {
        let byte = bits.bits(8)?;
        if at == 9 && byte > 1 {
            return Err(Malformed("varint exceeds 64 bits"));
        }
        value |= (byte & 0x7f) << (7 * at);
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(Malformed("varint does not end"))
}

pub(super) fn read_varint(bits: &mut BitReader<'_>) -> Result<i64, Malformed> {
    read_uvarint(bits).map(unzigzag)
}

/// The window of significant bits that XOR coding reuses; none before the first new one.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Window {
    leading: u32,
    /// 0 before the first window.
    significant: u32,
}

impl Window {
    fn trailing(self) -> u32 {
        64 - self.leading - self.significant
    }

    /// Writes `value` against `base`: `0` same, `10` inside the window, `11` with a new window.
    pub(super) fn put(&mut self, out: &mut BitWriter, base: f64, value: f64) {
        let xor = base.to_bits() ^ value.to_bits();
        if xor == 0 {
            return out.put(0, 1);
        }
        let (leading, trailing) = (xor.leading_zeros().min(31), xor.trailing_zeros());
        if self.significant > 0 && leading >= self.leading && trailing >= self.trailing() {
            out.put(0b10, 2);
        } else {
            self.leading = leading;
            self.significant = 64 - leading - trailing;
            out.put(0b11, 2);
            out.put(u64::from(leading), 5);
            // 64 is written as 0.
            out.put(u64::from(self.significant), 6);
        }
        out.put(xor >> self.trailing(), self.significant);
    }

    /// Reads a value against `base`.
    pub(super) fn read(&mut self, bits: &mut BitReader<'_>, base: f64) -> Result<f64, Malformed> {
        if !bits.bit()? {
            return Ok(base);
        }
        if bits.bit()? {
            self.read_new(bits)?;
        }
        self.read_inside(bits, base)
    }

    /// Reads a new window.
    pub(super) fn read_new(&mut self, bits: &mut BitReader<'_>) -> Result<(), Malformed> {
        self.leading = bits.bits(5)? as u32;
        self.significant = match bits.bits(6)? as u32 {
            0 => 64,
            count => count,
        };
        if self.leading + self.significant > 64 {
            return Err(Malformed("value window exceeds 64 bits"));
        }
        Ok(())
    }

    /// Reads the bits inside the window.
    pub(super) fn read_inside(self, bits: &mut BitReader<'_>, base: f64) -> Result<f64, Malformed> {
        if self.significant == 0 {
            return Err(Malformed("value window is not set"));
        }
        let xor = bits.bits(self.significant)? << self.trailing();
        Ok(f64::from_bits(base.to_bits() ^ xor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Numbers of every size.
    fn number() -> impl Strategy<Value = i64> {
        (any::<i64>(), 0_u32..64).prop_map(|(number, shift)| number >> shift)
    }

    #[test]
    fn extremes_take_the_documented_widths() {
        for (value, bits) in [
            (0_i64, 1),
            (4, 5),
            (-3, 5),
            (-4, 9),
            (5, 9),
            (32, 9),
            (256, 13),
            (-2047, 17),
            (131_072, 24),
            (16_777_216, 32),
            (1 << 55, 64),
            ((1 << 55) + 1, 72),
            (i64::MIN, 72),
        ] {
            let mut out = BitWriter::default();
            out.put_varbit(value);
            assert_eq!(out.at, bits, "{value}");
            let bytes = out.finish();
            let mut reader = BitReader::new(&bytes, bytes.len() * 8);
            assert_eq!(read_varbit(&mut reader), Ok(value));
        }
    }

    proptest! {
        #[test]
        fn numbers_and_values_come_back(
            numbers in prop::collection::vec(number(), 0..60),
            values in prop::collection::vec(any::<u64>(), 0..60),
        ) {
            let mut out = BitWriter::default();
            let (mut window, mut base) = (Window::default(), 0.0);
            for number in &numbers {
                out.put_varbit(*number);
                out.put_varbit_unsigned(*number as u64);
                out.put_varint(*number);
            }
            for bits in &values {
                let value = f64::from_bits(*bits >> (bits % 50));
                window.put(&mut out, base, value);
                base = value;
            }
            let bytes = out.finish();
            let mut reader = BitReader::new(&bytes, bytes.len() * 8);
            for number in &numbers {
                prop_assert_eq!(read_varbit(&mut reader), Ok(*number));
                prop_assert_eq!(read_varbit_unsigned(&mut reader), Ok(*number as u64));
                prop_assert_eq!(read_varint(&mut reader), Ok(*number));
            }
            let (mut window, mut base) = (Window::default(), 0.0);
            for bits in &values {
                base = window.read(&mut reader, base).unwrap();
                prop_assert_eq!(base.to_bits(), *bits >> (bits % 50));
            }
        }
    }
}
