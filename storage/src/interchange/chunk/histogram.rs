//! Histogram chunks with integer counts (encoding 2, and 5 with start timestamps).
//!
//! After the layout: the first histogram in full, then changes: times, counts and buckets as the
//! change of their difference, the sum by XOR. A stale histogram has no buckets; after one only stale
//! ones follow. Source: Prometheus `tsdb/chunkenc/histogram.go`, `histogram_st.go`.

use tenbin_model::write::{HistogramSample, HistogramValue};
use tenbin_model::{CounterResetHint, Histogram, is_stale};

use super::bits::{BitWriter, Window, read_varbit, read_varbit_unsigned};
use super::float::StartHeader;
use super::layout::{Layout, bucket_count};
use crate::codec::Malformed;
use crate::codec::bits::BitReader;

/// What is known about a reset at the front of a chunk: the two highest bits of its third byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ResetHeader {
    Unknown = 0b00,
    NotReset = 0b01,
    Reset = 0b10,
    Gauge = 0b11,
}

/// What stands before the bit stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    pub(super) count: usize,
    pub(super) gauge: bool,
    /// Present in chunks with start timestamps.
    pub(super) start: Option<StartHeader>,
    pub(super) bytes: usize,
}

impl Header {
    /// `u16 count, u8 flags`, or with start timestamps 2 bits of flags, 14 bits of count, `u8`.
    pub(super) fn read(data: &[u8], with_start: bool) -> Result<Self, Malformed> {
        let three = data.first_chunk::<3>();
        let [high, low, third] = *three.ok_or(Malformed("chunk is shorter than its header"))?;
        let (high, flags, start) = if with_start {
            (high & 0x3f, high, Some(StartHeader::new(third)))
        } else {
            (high, third, None)
        };
        Ok(Self {
            count: usize::from(u16::from_be_bytes([high, low])),
            gauge: flags >> 6 == ResetHeader::Gauge as u8,
            start,
            bytes: 3,
        })
    }

    pub(super) fn put(out: &mut BitWriter, count: usize, reset: ResetHeader) {
        out.put(count as u64, 16);
        out.put((reset as u64) << 6, 8);
    }

    /// Inside a chunk no counter was reset; at its front it may have been.
    pub(super) fn hint(&self, at: usize) -> CounterResetHint {
        match (self.gauge, at) {
            (true, _) => CounterResetHint::Gauge,
            (false, 0) => CounterResetHint::Unknown,
            (false, _) => CounterResetHint::NotReset,
        }
    }
}

/// A number that changes steadily.
#[derive(Debug, Clone, Copy, Default)]
struct Steady {
    value: i64,
    difference: i64,
}

impl Steady {
    fn read(&mut self, bits: &mut BitReader<'_>) -> Result<(), Malformed> {
        self.difference = self.difference.wrapping_add(read_varbit(bits)?);
        self.value = self.value.wrapping_add(self.difference);
        Ok(())
    }

    fn put(&mut self, out: &mut BitWriter, value: i64) {
        let difference = value.wrapping_sub(self.value);
        out.put_varbit(difference.wrapping_sub(self.difference));
        *self = Self { value, difference };
    }
}

/// A stale histogram as readers show it.
pub(super) fn stale_histogram(sum: f64) -> Histogram {
    Histogram {
        counter_reset_hint: CounterResetHint::Unknown,
        schema: 0,
        zero_threshold: 0.0,
        zero_count: 0,
        count: 0,
        sum,
        positive_spans: vec![],
        negative_spans: vec![],
        positive_deltas: vec![],
        negative_deltas: vec![],
        custom_values: vec![],
    }
}

/// The layout of a histogram.
pub(super) fn layout_of(histogram: &Histogram) -> Layout {
    Layout {
        schema: histogram.schema,
        zero_threshold: histogram.zero_threshold,
        positive_spans: histogram.positive_spans.clone(),
        negative_spans: histogram.negative_spans.clone(),
        custom_values: histogram.custom_values.clone(),
    }
}

/// Calls `each` with every histogram of a chunk.
pub(super) fn decode(
    data: &[u8],
    with_start: bool,
    each: &mut dyn FnMut(HistogramSample),
) -> Result<(), Malformed> {
    let mut header = Header::read(data, with_start)?;
    let stream = &data[header.bytes..];
    if header.count == 0 {
        return Ok(());
    }
    let bit_count = stream.len() * 8;
    let mut bits = BitReader::new(stream, bit_count);
    let layout = Layout::read(&mut bits, bit_count)?;
    let positive = bucket_count(&layout.positive_spans);
    let buckets = positive + bucket_count(&layout.negative_spans);
    if buckets > bit_count {
        return Err(Malformed("more buckets than the chunk has bits"));
    }
    let mut steady = vec![Steady::default(); buckets];
    let (mut time, mut count, mut zero) = (Steady::default(), Steady::default(), Steady::default());
    let (mut window, mut sum) = (Window::default(), 0.0);
    for at in 0..header.count {
        let previous_ms = time.value;
        if at == 0 {
            time.value = read_varbit(&mut bits)?;
            count.value = read_varbit_unsigned(&mut bits)? as i64;
            zero.value = read_varbit_unsigned(&mut bits)? as i64;
            sum = f64::from_bits(bits.bits(64)?);
            for bucket in &mut steady {
                bucket.value = read_varbit(&mut bits)?;
            }
        } else {
            time.read(&mut bits)?;
            count.read(&mut bits)?;
            zero.read(&mut bits)?;
            sum = window.read(&mut bits, sum)?;
            if !is_stale(sum) {
                steady.iter_mut().try_for_each(|b| b.read(&mut bits))?;
            }
        }
        let start_timestamp_ms = match &mut header.start {
            Some(start) => start.read(&mut bits, at, time.value, previous_ms)?,
            None => 0,
        };
        let histogram = if is_stale(sum) {
            stale_histogram(sum)
        } else {
            let values = |range: &[Steady]| range.iter().map(|b| b.value).collect();
            Histogram {
                counter_reset_hint: header.hint(at),
                schema: layout.schema,
                zero_threshold: layout.zero_threshold,
                zero_count: zero.value as u64,
                count: count.value as u64,
                sum,
                positive_spans: layout.positive_spans.clone(),
                negative_spans: layout.negative_spans.clone(),
                positive_deltas: values(&steady[..positive]),
                negative_deltas: values(&steady[positive..]),
                custom_values: layout.custom_values.clone(),
            }
        };
        each(HistogramSample {
            timestamp_ms: time.value,
            start_timestamp_ms,
            histogram: HistogramValue::Integer(Box::new(histogram)),
        });
    }
    Ok(())
}

/// The bytes of a chunk of histograms that share a layout, stale ones last.
pub(super) fn encode(samples: &[(i64, &Histogram)], reset: ResetHeader) -> Vec<u8> {
    let mut out = BitWriter::default();
    Header::put(&mut out, samples.len(), reset);
    let mut steady: Vec<Steady> = Vec::new();
    let (mut time, mut count, mut zero) = (Steady::default(), Steady::default(), Steady::default());
    let (mut window, mut sum) = (Window::default(), 0.0);
    for (at, (time_ms, histogram)) in samples.iter().enumerate() {
        let stale = histogram.is_stale();
        let empty = stale_histogram(histogram.sum);
        let histogram = if stale { &empty } else { *histogram };
        let deltas = histogram.positive_deltas.iter();
        let deltas = deltas.chain(&histogram.negative_deltas);
        if at == 0 {
            layout_of(histogram).put(&mut out);
            out.put_varbit(*time_ms);
            out.put_varbit_unsigned(histogram.count);
            out.put_varbit_unsigned(histogram.zero_count);
            out.put(histogram.sum.to_bits(), 64);
            time.value = *time_ms;
            count.value = histogram.count as i64;
            zero.value = histogram.zero_count as i64;
            for delta in deltas {
                out.put_varbit(*delta);
                steady.push(Steady {
                    value: *delta,
                    difference: 0,
                });
            }
        } else {
            time.put(&mut out, *time_ms);
            if stale {
                out.put_varbit(0);
                out.put_varbit(0);
            } else {
                count.put(&mut out, histogram.count as i64);
                zero.put(&mut out, histogram.zero_count as i64);
            }
            window.put(&mut out, sum, histogram.sum);
            for (bucket, delta) in steady.iter_mut().zip(deltas) {
                bucket.put(&mut out, *delta);
            }
        }
        sum = histogram.sum;
    }
    out.finish()
}
