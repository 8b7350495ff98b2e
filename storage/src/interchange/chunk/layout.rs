//! The layout of a histogram chunk: what all its histograms have in common, written once at its front.
//!
//! `zero threshold` (a byte; 255 and 64 bits when it is no small power of two), `varbit schema`, the
//! spans of both sides (`varbit count`, per span `varbit length, varbit offset`), and for custom
//! buckets their bounds. Source: Prometheus `tsdb/chunkenc/histogram_meta.go`.

use tenbin_model::BucketSpan;
use tenbin_model::histogram::CUSTOM_BUCKETS_SCHEMA;

use super::bits::{BitWriter, read_varbit, read_varbit_unsigned};
use crate::codec::Malformed;
use crate::codec::bits::BitReader;

/// Most spans of a side that are believed.
const MAX_SPANS: u64 = 1 << 16;

/// The threshold of byte b is 2^(b - 244).
const THRESHOLD_BIAS: i32 = 244;

/// Bounds that are a multiple of 0.001 up to this many thousandths are written as integers.
const MAX_THOUSANDTHS: f64 = 33_554_430.0;

/// What the histograms of a chunk have in common.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Layout {
    pub(super) schema: i32,
    pub(super) zero_threshold: f64,
    pub(super) positive_spans: Vec<BucketSpan>,
    pub(super) negative_spans: Vec<BucketSpan>,
    pub(super) custom_values: Vec<f64>,
}

/// Buckets that spans lay out.
pub(super) fn bucket_count(spans: &[BucketSpan]) -> usize {
    spans.iter().map(|span| span.length as usize).sum()
}

impl Layout {
    pub(super) fn put(&self, out: &mut BitWriter) {
        put_threshold(out, self.zero_threshold);
        out.put_varbit(i64::from(self.schema));
        for spans in [&self.positive_spans, &self.negative_spans] {
            out.put_varbit_unsigned(spans.len() as u64);
            for span in spans {
                out.put_varbit_unsigned(u64::from(span.length));
                out.put_varbit(i64::from(span.offset));
            }
        }
        if self.schema == CUSTOM_BUCKETS_SCHEMA {
            out.put_varbit_unsigned(self.custom_values.len() as u64);
            for bound in &self.custom_values {
                put_bound(out, *bound);
            }
        }
    }

    /// Reads a layout whose histograms follow in a stream of at most `max_buckets` numbers.
    pub(super) fn read(bits: &mut BitReader<'_>, max_buckets: usize) -> Result<Self, Malformed> {
        let mut layout = Self {
            zero_threshold: read_threshold(bits)?,
            ..Self::default()
        };
        layout.schema =
            i32::try_from(read_varbit(bits)?).map_err(|_| Malformed("schema exceeds 32 bits"))?;
        layout.positive_spans = read_spans(bits, max_buckets)?;
        layout.negative_spans = read_spans(bits, max_buckets)?;
        if layout.schema == CUSTOM_BUCKETS_SCHEMA {
            let count = read_varbit_unsigned(bits)?;
            if count > max_buckets as u64 {
                return Err(Malformed("more custom bounds than the chunk has bits"));
            }
            for _ in 0..count {
                layout.custom_values.push(read_bound(bits)?);
            }
        }
        Ok(layout)
    }
}

fn read_spans(bits: &mut BitReader<'_>, max_buckets: usize) -> Result<Vec<BucketSpan>, Malformed> {
    let count = read_varbit_unsigned(bits)?;
    if count > MAX_SPANS {
        return Err(Malformed("more spans than a histogram can have"));
    }
    let (mut spans, mut buckets) = (Vec::new(), 0_u64);
    for _ in 0..count {
        let length = read_varbit_unsigned(bits)?;
        let offset = read_varbit(bits)?;
        buckets = buckets.saturating_add(length);
        // Every bucket takes at least a bit.
        if buckets > max_buckets as u64 {
            return Err(Malformed("more buckets than the chunk has bits"));
        }
        spans.push(BucketSpan {
            offset: i32::try_from(offset).map_err(|_| Malformed("span offset exceeds 32 bits"))?,
            length: length as u32,
        });
    }
    Ok(spans)
}

/// The exponent of a power of two in the range of normal numbers.
fn exponent(value: f64) -> Option<i32> {
    let bits = value.to_bits();
    let is_power = bits >> 63 == 0 && bits << 12 == 0;
    let exponent = (bits >> 52) as i32 - 1023;
    (is_power && value.is_normal()).then_some(exponent)
}

fn put_threshold(out: &mut BitWriter, threshold: f64) {
    if threshold == 0.0 {
        return out.put(0, 8);
    }
    match exponent(threshold).map(|e| e + THRESHOLD_BIAS) {
        Some(byte @ 1..=254) => out.put(byte as u64, 8),
        _ => {
            out.put(255, 8);
            out.put(threshold.to_bits(), 64);
        }
    }
}

fn read_threshold(bits: &mut BitReader<'_>) -> Result<f64, Malformed> {
    match bits.bits(8)? {
        0 => Ok(0.0),
        255 => bits.bits(64).map(f64::from_bits),
        // A power of two in the range of normal numbers has no other bits than its exponent.
        byte => Ok(f64::from_bits(
            (byte as i64 - i64::from(THRESHOLD_BIAS) + 1023) as u64 * (1 << 52),
        )),
    }
}

fn put_bound(out: &mut BitWriter, bound: f64) {
    let thousandths = (bound * 1000.0).round();
    let plain = bound.is_sign_positive()
        && bound * 1000.0 <= MAX_THOUSANDTHS
        && (thousandths / 1000.0).to_bits() == bound.to_bits();
    if plain {
        out.put_varbit_unsigned(thousandths as u64 + 1);
    } else {
        out.put(0, 1);
        out.put(bound.to_bits(), 64);
    }
}

fn read_bound(bits: &mut BitReader<'_>) -> Result<f64, Malformed> {
    match read_varbit_unsigned(bits)? {
        0 => bits.bits(64).map(f64::from_bits),
        thousandths => Ok((thousandths - 1) as f64 / 1000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn usual_thresholds_take_a_byte() {
        for (threshold, byte) in [
            (0.0, 0),
            (2_f64.powi(-128), 116),
            (2_f64.powi(-243), 1),
            (1024.0, 254),
        ] {
            let mut out = BitWriter::default();
            put_threshold(&mut out, threshold);
            assert_eq!(out.finish(), [byte]);
        }
    }

    proptest! {
        #[test]
        fn thresholds_and_bounds_come_back(raw in any::<u64>(), exponent in -300_i32..300, thousandths in 0_u32..40_000_000) {
            for value in [f64::from_bits(raw), 2_f64.powi(exponent), f64::from(thousandths) / 1000.0, -0.0] {
                let mut out = BitWriter::default();
                put_bound(&mut out, value);
                put_threshold(&mut out, value);
                let bytes = out.finish();
                let mut bits = BitReader::new(&bytes, bytes.len() * 8);
                prop_assert_eq!(read_bound(&mut bits).unwrap().to_bits(), value.to_bits());
                let back = read_threshold(&mut bits).unwrap();
                // The format has one zero.
                prop_assert!(back.to_bits() == value.to_bits() || (back == 0.0 && value == 0.0));
            }
        }

        #[test]
        fn layouts_come_back_and_bytes_never_panic(
            spans in prop::collection::vec((any::<i32>(), 0_u32..20), 0..6),
            bounds in prop::collection::vec(0.0_f64..100.0, 0..6),
            custom in any::<bool>(),
            bytes in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            let spans: Vec<_> = spans.iter().map(|(offset, length)| BucketSpan { offset: *offset, length: *length }).collect();
            let layout = Layout {
                schema: if custom { CUSTOM_BUCKETS_SCHEMA } else { 3 },
                zero_threshold: 0.001,
                positive_spans: spans.clone(),
                negative_spans: spans,
                custom_values: if custom { bounds } else { vec![] },
            };
            let mut out = BitWriter::default();
            layout.put(&mut out);
            let written = out.finish();
            let mut bits = BitReader::new(&written, written.len() * 8);
            prop_assert_eq!(Layout::read(&mut bits, 1000).unwrap(), layout);
            let _ = Layout::read(&mut BitReader::new(&bytes, bytes.len() * 8), bytes.len() * 8);
        }
    }
}
