//! Float chunks: XOR, read and written, and XOR2 with start timestamps, read.
//!
//! XOR: `u16 samples`, then a bit stream: `varint t0, 64 bits v0`, `uvarint t1 - t0, value`, and for
//! each further sample the change of the time difference (`0`; `10` + 14 bits; `110` + 17; `1110` +
//! 20; `1111` + 64) and the value. XOR2 joins the two into one prefix and may carry start timestamps.

use tenbin_model::{STALE_NAN_BITS, is_stale};

use super::bits::{
    BitWriter, Window, fits_signed, read_signed, read_uvarint, read_varbit, read_varint,
};
use crate::codec::Malformed;
use crate::codec::bits::BitReader;
use crate::query::merge::Columns;

/// Widths of the changes of the time difference by the ones in their prefix, less one.
const TIME_WIDTHS: [u32; 4] = [14, 17, 20, 64];

/// The bytes of an XOR chunk. At most `u16::MAX` samples.
pub(super) fn encode_xor(times_ms: &[i64], values: &[f64]) -> Vec<u8> {
    debug_assert!(times_ms.len() == values.len() && times_ms.len() <= usize::from(u16::MAX));
    let mut out = BitWriter::default();
    out.put(times_ms.len() as u64, 16);
    let (mut window, mut base) = (Window::default(), 0.0);
    let (mut last_ms, mut difference) = (0_i64, 0_i64);
    for (at, (time_ms, value)) in times_ms.iter().zip(values).enumerate() {
        let new_difference = time_ms.wrapping_sub(last_ms);
        match at {
            0 => {
                out.put_varint(*time_ms);
                out.put(value.to_bits(), 64);
            }
            1 => out.put_uvarint(new_difference as u64),
            _ => put_change(&mut out, new_difference.wrapping_sub(difference)),
        }
        if at > 0 {
            window.put(&mut out, base, *value);
            difference = new_difference;
        }
        (last_ms, base) = (*time_ms, *value);
    }
    out.finish()
}

fn put_change(out: &mut BitWriter, change: i64) {
    if change == 0 {
        return out.put(0, 1);
    }
    for (ones, width) in TIME_WIDTHS.iter().enumerate().take(3) {
        if fits_signed(change, *width) {
            out.put((1 << (ones + 2)) - 2, ones as u32 + 2);
            return out.put(change as u64, *width);
        }
    }
    out.put(0b1111, 4);
    out.put(change as u64, 64);
}

fn read_change(bits: &mut BitReader<'_>) -> Result<i64, Malformed> {
    for ones in 0..TIME_WIDTHS.len() {
        if !bits.bit()? {
            return ones
                .checked_sub(1)
                .map_or(Ok(0), |number| read_signed(bits, TIME_WIDTHS[number]));
        }
    }
    read_signed(bits, 64)
}

/// The sample count in the first two bytes.
pub(super) fn sample_count(data: &[u8]) -> Result<usize, Malformed> {
    let count = data.first_chunk::<2>();
    let count = count.ok_or(Malformed("chunk is shorter than its header"))?;
    Ok(usize::from(u16::from_be_bytes(*count)))
}

/// Appends the samples of an XOR chunk.
pub(super) fn decode_xor(data: &[u8], out: &mut Columns) -> Result<(), Malformed> {
    let count = sample_count(data)?;
    let stream = &data[2..];
    let mut bits = BitReader::new(stream, stream.len() * 8);
    let (mut window, mut value) = (Window::default(), 0.0);
    let (mut time_ms, mut difference) = (0_i64, 0_i64);
    for at in 0..count {
        match at {
            0 => {
                time_ms = read_varint(&mut bits)?;
                value = f64::from_bits(bits.bits(64)?);
            }
            1 => difference = read_uvarint(&mut bits)? as i64,
            _ => difference = difference.wrapping_add(read_change(&mut bits)?),
        }
        if at > 0 {
            time_ms = time_ms.wrapping_add(difference);
            value = window.read(&mut bits, value)?;
        }
        if !out.starts.is_empty() {
            out.starts.push(0);
        }
        out.times.push(time_ms);
        out.values.push(value);
    }
    Ok(())
}

/// Where start timestamps stand in chunks that have them: byte with bit 7 for the first one known and
/// in bits 0-6 the sample from which on each has a change of it (0: none has).
#[derive(Debug, Clone, Copy)]
pub(super) struct StartHeader {
    first_known: bool,
    first_change: usize,
    difference: i64,
    start_ms: i64,
}

impl StartHeader {
    pub(super) fn new(byte: u8) -> Self {
        Self {
            first_known: byte & 0x80 != 0,
            first_change: usize::from(byte & 0x7f),
            difference: 0,
            start_ms: 0,
        }
    }

    /// Reads what follows sample `at` and returns its start timestamp, 0 when unknown.
    pub(super) fn read(
        &mut self,
        bits: &mut BitReader<'_>,
        at: usize,
        time_ms: i64,
        previous_ms: i64,
    ) -> Result<i64, Malformed> {
        if at == 0 {
            if self.first_known {
                self.start_ms = time_ms.wrapping_sub(read_varint(bits)?);
            }
        } else if self.first_change > 0 && at >= self.first_change {
            // Against the time of the sample before.
            self.difference = self.difference.wrapping_add(read_varbit(bits)?);
            self.start_ms = previous_ms.wrapping_sub(self.difference);
        }
        Ok(self.start_ms)
    }
}

/// A value of an XOR2 chunk after a time: `0` same, `10` inside the window, `110` new window, `111`
/// stale. `None` is the staleness marker, which is no base for what follows.
fn read_value(
    bits: &mut BitReader<'_>,
    window: &mut Window,
    base: f64,
) -> Result<Option<f64>, Malformed> {
    if !bits.bit()? {
        return Ok(Some(base));
    }
    if bits.bit()? {
        if bits.bit()? {
            return Ok(None);
        }
        window.read_new(bits)?;
    }
    window.read_inside(bits, base).map(Some)
}

/// Appends the samples of an XOR2 chunk.
pub(super) fn decode_xor2(data: &[u8], out: &mut Columns) -> Result<(), Malformed> {
    let count = sample_count(data)?;
    let start = *data
        .get(2)
        .ok_or(Malformed("chunk is shorter than its header"))?;
    let mut start = StartHeader::new(start);
    let stream = &data[3..];
    let mut bits = BitReader::new(stream, stream.len() * 8);
    let (mut window, mut base) = (Window::default(), 0.0);
    let (mut time_ms, mut difference) = (0_i64, 0_i64);
    for at in 0..count {
        let previous_ms = time_ms;
        let value = match at {
            0 => {
                time_ms = read_varint(&mut bits)?;
                let first = f64::from_bits(bits.bits(64)?);
                (!is_stale(first)).then_some(first)
            }
            1 => {
                difference = read_uvarint(&mut bits)? as i64;
                read_value(&mut bits, &mut window, base)?
            }
            _ => read_joint(&mut bits, &mut window, base, &mut difference)?,
        };
        if at > 0 {
            time_ms = time_ms.wrapping_add(difference);
        }
        let start_ms = start.read(&mut bits, at, time_ms, previous_ms)?;
        if start_ms != 0 && out.starts.is_empty() {
            out.starts.resize(out.times.len(), 0);
        }
        if start_ms != 0 || !out.starts.is_empty() {
            out.starts.push(start_ms);
        }
        base = value.unwrap_or(base);
        out.times.push(time_ms);
        out.values
            .push(value.unwrap_or(f64::from_bits(STALE_NAN_BITS)));
    }
    Ok(())
}

/// The prefix of the third and later samples: `0` nothing changed; `10` only the value; `110`,
/// `1110`, `11110` another time difference (two's complement) and a value; `11111` stale.
fn read_joint(
    bits: &mut BitReader<'_>,
    window: &mut Window,
    base: f64,
    difference: &mut i64,
) -> Result<Option<f64>, Malformed> {
    let mut ones = 0;
    while ones < 5 && bits.bit()? {
        ones += 1;
    }
    let width = match ones {
        0 => return Ok(Some(base)),
        1 => {
            if bits.bit()? {
                window.read_new(bits)?;
            }
            return window.read_inside(bits, base).map(Some);
        }
        2 => 13,
        3 => 20,
        4 => 64,
        _ => return Ok(None),
    };
    let raw = bits.bits(width)?;
    let change = (raw << (64 - width)) as i64 >> (64 - width);
    *difference = difference.wrapping_add(change);
    read_value(bits, window, base)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Writes XOR2 with a start timestamp per sample (0: unknown), by the description alone.
    fn encode_xor2(times: &[i64], values: &[f64], starts: &[i64]) -> Vec<u8> {
        let change = (1..times.len()).find(|at| starts[*at] != starts[0]);
        // The field has 7 bits; beyond it every sample has to say.
        let change = change.map_or(0, |at| at.min(127));
        let mut out = BitWriter::default();
        out.put(times.len() as u64, 16);
        let known = !times.is_empty() && starts[0] != 0;
        out.put(u64::from(known) << 7 | change as u64, 8);
        let (mut window, mut base) = (Window::default(), 0.0_f64);
        let mut last_difference = 0;
        for at in 0..times.len() {
            let stale = is_stale(values[at]);
            if at == 0 {
                out.put_varint(times[0]);
                out.put(values[0].to_bits(), 64);
                if known {
                    out.put_varint(times[0] - starts[0]);
                }
            } else {
                let difference = times[at] - times[at - 1];
                let dod = difference - last_difference;
                last_difference = difference;
                let mut joint_value = None;
                if at == 1 {
                    out.put_uvarint(difference as u64);
                } else if dod == 0 && stale {
                    out.put(0b11111, 5);
                    joint_value = Some(());
                } else if dod == 0 {
                    joint_value = Some(());
                    if values[at].to_bits() == base.to_bits() {
                        out.put(0, 1);
                    } else {
                        out.put(0b10, 2);
                        let mut plain = BitWriter::default();
                        window.put(&mut plain, base, values[at]);
                        // Without the leading 1 that says that the value differs.
                        let bits = plain.at_for_tests();
                        let bytes = plain.finish();
                        let mut reader = BitReader::new(&bytes, bits);
                        reader.bits(1).unwrap();
                        for _ in 1..bits {
                            out.put(reader.bits(1).unwrap(), 1);
                        }
                    }
                } else if (-4096..4096).contains(&dod) {
                    out.put(0b110, 3);
                    out.put(dod as u64, 13);
                } else if (-524_288..524_288).contains(&dod) {
                    out.put(0b1110, 4);
                    out.put(dod as u64, 20);
                } else {
                    out.put(0b11110, 5);
                    out.put(dod as u64, 64);
                }
                if joint_value.is_none() {
                    put_value(&mut out, &mut window, base, values[at]);
                }
                if change > 0 && at >= change {
                    let now = times[at - 1] - starts[at];
                    let before = if at == change {
                        0
                    } else {
                        times[at - 2] - starts[at - 1]
                    };
                    out.put_varbit(now - before);
                }
            }
            if !stale {
                base = values[at];
            }
        }
        out.finish()
    }

    fn put_value(out: &mut BitWriter, window: &mut Window, base: f64, value: f64) {
        if is_stale(value) {
            return out.put(0b111, 3);
        }
        let mut plain = BitWriter::default();
        window.put(&mut plain, base, value);
        let bits = plain.at_for_tests();
        let bytes = plain.finish();
        let mut reader = BitReader::new(&bytes, bits);
        let is_new = bits > 1 && bytes[0] >> 6 == 0b11;
        if is_new {
            // `11` becomes `110`.
            out.put(0b110, 3);
            reader.bits(2).unwrap();
        }
        for _ in if is_new { 2 } else { 0 }..bits {
            out.put(reader.bits(1).unwrap(), 1);
        }
    }

    fn samples() -> impl Strategy<Value = (Vec<i64>, Vec<f64>, Vec<i64>)> {
        let gap = prop_oneof![Just(15_000_i64), 1_i64..100, 1_i64..10_000_000];
        let value = prop_oneof![
            Just(1.5_f64),
            any::<u64>().prop_map(f64::from_bits),
            (0_u32..100).prop_map(f64::from),
            Just(f64::from_bits(STALE_NAN_BITS))
        ];
        let start = prop_oneof![3 => Just(0_i64), 1 => Just(77_i64), 1 => 1_i64..1000];
        prop::collection::vec((gap, value, start), 0..150).prop_map(|samples| {
            let mut at_ms = 1_700_000_000_000_i64;
            let (mut times, mut values, mut starts) = (vec![], vec![], vec![]);
            for (gap, value, start) in samples {
                at_ms += gap;
                times.push(at_ms);
                values.push(value);
                starts.push(start);
            }
            (times, values, starts)
        })
    }

    fn bits(values: &[f64]) -> Vec<u64> {
        values.iter().map(|v| v.to_bits()).collect()
    }

    #[test]
    fn a_chunk_has_the_documented_bytes() {
        // Worked out by hand from the description of the format.
        let bytes = encode_xor(&[1, 2, 3], &[1.0, 1.0, 1.0]);
        let expected = [0, 3, 2, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0, 1, 0b0000_0000];
        assert_eq!(bytes, expected);
    }

    proptest! {
        #[test]
        fn xor_chunks_come_back((times, values, _) in samples()) {
            let mut back = Columns::default();
            decode_xor(&encode_xor(&times, &values), &mut back).unwrap();
            prop_assert_eq!(back.times, times);
            prop_assert_eq!(bits(&back.values), bits(&values));
        }

        #[test]
        fn xor2_chunks_come_back((times, values, starts) in samples()) {
            let mut back = Columns::default();
            decode_xor2(&encode_xor2(&times, &values, &starts), &mut back).unwrap();
            if starts.iter().all(|start| *start == 0) {
                prop_assert!(back.starts.is_empty());
            } else {
                prop_assert_eq!(back.starts, starts);
            }
            prop_assert_eq!(back.times, times);
            prop_assert_eq!(bits(&back.values), bits(&values));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode_xor(&bytes, &mut Columns::default());
            let _ = decode_xor2(&bytes, &mut Columns::default());
        }
    }
}
