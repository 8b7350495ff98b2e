//! Native histograms to the wire, as remote read sends them: the counterpart of `histogram.rs`.

use tenbin_model::write::{HistogramSample, HistogramValue};
use tenbin_model::{BucketSpan, CounterResetHint};

use super::protobuf_writer::{
    double, double_always, message, number, number_always, packed_doubles, packed_numbers, zigzag,
};

fn spans(out: &mut Vec<u8>, field: u32, spans: &[BucketSpan]) {
    for span in spans {
        message(out, field, |out| {
            number(out, 1, zigzag(i64::from(span.offset)));
            number(out, 2, u64::from(span.length));
        });
    }
}

fn deltas(out: &mut Vec<u8>, field: u32, deltas: &[i64]) {
    packed_numbers(out, field, deltas.iter().map(|delta| zigzag(*delta)));
}

/// Appends the fields of a `prometheus.Histogram`.
pub fn push_histogram(out: &mut Vec<u8>, sample: &HistogramSample) {
    let custom_values = match &sample.histogram {
        HistogramValue::Integer(h) => {
            number_always(out, 1, h.count);
            double(out, 3, h.sum);
            number(out, 4, zigzag(i64::from(h.schema)));
            double(out, 5, h.zero_threshold);
            number_always(out, 6, h.zero_count);
            spans(out, 8, &h.negative_spans);
            deltas(out, 9, &h.negative_deltas);
            spans(out, 11, &h.positive_spans);
            deltas(out, 12, &h.positive_deltas);
            &h.custom_values
        }
        HistogramValue::Float(h) => {
            double_always(out, 2, h.count);
            double(out, 3, h.sum);
            number(out, 4, zigzag(i64::from(h.schema)));
            double(out, 5, h.zero_threshold);
            double_always(out, 7, h.zero_count);
            spans(out, 8, &h.negative_spans);
            packed_doubles(out, 10, &h.negative_buckets);
            spans(out, 11, &h.positive_spans);
            packed_doubles(out, 13, &h.positive_buckets);
            &h.custom_values
        }
    };
    let hint = match sample.histogram.hint() {
        CounterResetHint::Unknown => 0,
        CounterResetHint::Reset => 1,
        CounterResetHint::NotReset => 2,
        CounterResetHint::Gauge => 3,
    };
    number(out, 14, hint);
    number(out, 15, sample.timestamp_ms as u64);
    packed_doubles(out, 16, custom_values);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::histogram::decode_histogram;
    use tenbin_model::{FloatHistogram, Histogram};

    #[test]
    fn what_is_written_is_read() {
        let spans = |offset| vec![BucketSpan { offset, length: 2 }];
        let integer = Histogram {
            counter_reset_hint: CounterResetHint::Gauge,
            schema: -4,
            zero_threshold: 0.001,
            zero_count: 0,
            count: 12,
            sum: -18.4,
            positive_spans: spans(-3),
            negative_spans: spans(7),
            positive_deltas: vec![1, -1],
            negative_deltas: vec![4, -300],
            custom_values: vec![],
        };
        let float = FloatHistogram {
            custom_values: vec![0.5, 1.0],
            schema: -53,
            count: 0.0,
            ..integer.to_float()
        };
        for histogram in [
            HistogramValue::Integer(Box::new(integer)),
            HistogramValue::Float(Box::new(float)),
        ] {
            let sample = HistogramSample {
                timestamp_ms: -5,
                start_timestamp_ms: 0,
                histogram,
            };
            let mut out = Vec::new();
            push_histogram(&mut out, &sample);
            assert_eq!(decode_histogram(&out), Ok(sample));
        }
    }
}
