//! Histogram chunks with float counts (encoding 3, and 6 with start timestamps).
//!
//! After the layout: the first histogram in full, then the time as the change of its difference and
//! every number by XOR, each with a window of its own. Source: Prometheus
//! `tsdb/chunkenc/float_histogram.go`, `float_histogram_st.go`.

use tenbin_model::write::{HistogramSample, HistogramValue};
use tenbin_model::{FloatHistogram, is_stale};

use super::bits::{BitWriter, Window, read_varbit};
use super::histogram::{Header, ResetHeader};
use super::layout::{Layout, bucket_count};
use crate::codec::Malformed;
use crate::codec::bits::BitReader;

/// A number that is written by XOR.
#[derive(Debug, Clone, Copy, Default)]
struct Xored {
    value: f64,
    window: Window,
}

impl Xored {
    fn read(&mut self, bits: &mut BitReader<'_>) -> Result<(), Malformed> {
        self.value = self.window.read(bits, self.value)?;
        Ok(())
    }

    fn put(&mut self, out: &mut BitWriter, value: f64) {
        self.window.put(out, self.value, value);
        self.value = value;
    }
}

/// The layout of a histogram.
pub(super) fn layout_of(histogram: &FloatHistogram) -> Layout {
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
    // Count, zero count, sum, buckets; the first time in full.
    let numbers = 3 + positive + bucket_count(&layout.negative_spans);
    if numbers > bit_count / 64 + 1 {
        return Err(Malformed("more buckets than the chunk has bytes"));
    }
    let mut numbers = vec![Xored::default(); numbers];
    let (mut time_ms, mut difference) = (0_i64, 0_i64);
    for at in 0..header.count {
        let previous_ms = time_ms;
        if at == 0 {
            time_ms = read_varbit(&mut bits)?;
            for number in &mut numbers {
                number.value = f64::from_bits(bits.bits(64)?);
            }
        } else {
            difference = difference.wrapping_add(read_varbit(&mut bits)?);
            time_ms = time_ms.wrapping_add(difference);
            let (front, buckets) = numbers.split_at_mut(3);
            front.iter_mut().try_for_each(|n| n.read(&mut bits))?;
            if !is_stale(front[2].value) {
                buckets.iter_mut().try_for_each(|n| n.read(&mut bits))?;
            }
        }
        let start_timestamp_ms = match &mut header.start {
            Some(start) => start.read(&mut bits, at, time_ms, previous_ms)?,
            None => 0,
        };
        let sum = numbers[2].value;
        let histogram = if is_stale(sum) {
            FloatHistogram {
                sum,
                ..FloatHistogram::default()
            }
        } else {
            let values = |range: &[Xored]| range.iter().map(|n| n.value).collect();
            FloatHistogram {
                counter_reset_hint: header.hint(at),
                schema: layout.schema,
                zero_threshold: layout.zero_threshold,
                count: numbers[0].value,
                zero_count: numbers[1].value,
                sum,
                positive_spans: layout.positive_spans.clone(),
                negative_spans: layout.negative_spans.clone(),
                positive_buckets: values(&numbers[3..3 + positive]),
                negative_buckets: values(&numbers[3 + positive..]),
                custom_values: layout.custom_values.clone(),
            }
        };
        each(HistogramSample {
            timestamp_ms: time_ms,
            start_timestamp_ms,
            histogram: HistogramValue::Float(Box::new(histogram)),
        });
    }
    Ok(())
}

/// The bytes of a chunk of histograms that share a layout, stale ones last.
pub(super) fn encode(samples: &[(i64, &FloatHistogram)], reset: ResetHeader) -> Vec<u8> {
    let mut out = BitWriter::default();
    Header::put(&mut out, samples.len(), reset);
    let mut numbers: Vec<Xored> = Vec::new();
    let (mut last_ms, mut difference) = (0_i64, 0_i64);
    for (at, (time_ms, histogram)) in samples.iter().enumerate() {
        let stale = histogram.is_stale();
        let empty = FloatHistogram {
            sum: histogram.sum,
            ..FloatHistogram::default()
        };
        let histogram = if stale { &empty } else { *histogram };
        let front = [histogram.count, histogram.zero_count, histogram.sum];
        let buckets = histogram.positive_buckets.iter();
        let buckets = buckets.chain(&histogram.negative_buckets);
        let all = front.iter().chain(buckets);
        if at == 0 {
            layout_of(histogram).put(&mut out);
            out.put_varbit(*time_ms);
            for value in all {
                out.put(value.to_bits(), 64);
                numbers.push(Xored {
                    value: *value,
                    window: Window::default(),
                });
            }
        } else {
            let new_difference = time_ms.wrapping_sub(last_ms);
            out.put_varbit(new_difference.wrapping_sub(difference));
            difference = new_difference;
            for (number, value) in numbers.iter_mut().zip(all) {
                number.put(&mut out, *value);
            }
        }
        last_ms = *time_ms;
    }
    out.finish()
}
