//! Native histograms on the wire, which remote write 1.0 and 2.0 share.
//!
//! Histogram{count_int=1, count_float=2, sum=3, schema=4 sint32, zero_threshold=5, zero_count_int=6,
//! zero_count_float=7, negative_spans=8, negative_deltas=9 sint64, negative_counts=10,
//! positive_spans=11, positive_deltas=12, positive_counts=13, reset_hint=14, timestamp=15,
//! custom_values=16, start_timestamp=17 (2.0 only)}, BucketSpan{offset=1 sint32, length=2 uint32}.
//! Repeated numbers come packed or one by one. A float histogram is one that says `count_float`.
//! Source: Prometheus `prompb/types.proto`, `prompb/io/prometheus/write/v2/types.proto`.

use tenbin_model::write::{HistogramSample, HistogramValue};
use tenbin_model::{BucketSpan, CounterResetHint, FloatHistogram, Histogram};

use super::protobuf::{Tag, Walker, WireError, wire};

/// All fields as they come; which of them count is decided at the end.
#[derive(Default)]
struct Fields {
    count_int: u64,
    count_float: Option<f64>,
    sum: f64,
    schema: i32,
    zero_threshold: f64,
    zero_count_int: u64,
    zero_count_float: f64,
    negative_spans: Vec<BucketSpan>,
    negative_deltas: Vec<i64>,
    negative_counts: Vec<f64>,
    positive_spans: Vec<BucketSpan>,
    positive_deltas: Vec<i64>,
    positive_counts: Vec<f64>,
    reset_hint: CounterResetHint,
    timestamp_ms: i64,
    start_timestamp_ms: i64,
    custom_values: Vec<f64>,
}

fn zigzag(raw: u64) -> i64 {
    ((raw >> 1) as i64) ^ -((raw & 1) as i64)
}

/// A sint32; bits beyond 32 are dropped before it is decoded, as every protobuf library does.
fn zigzag_32(raw: u64) -> i32 {
    zigzag(u64::from(raw as u32)) as i32
}

fn double(walker: &mut Walker<'_>, tag: Tag) -> Result<f64, WireError> {
    if tag.wire_type != wire::FIXED64 {
        return Err(walker.wrong_type(tag));
    }
    walker.fixed64().map(f64::from_bits)
}

fn varint(walker: &mut Walker<'_>, tag: Tag) -> Result<u64, WireError> {
    if tag.wire_type != wire::VARINT {
        return Err(walker.wrong_type(tag));
    }
    walker.varint()
}

/// A repeated double, packed or single.
fn push_doubles(walker: &mut Walker<'_>, tag: Tag, out: &mut Vec<f64>) -> Result<(), WireError> {
    if tag.wire_type != wire::BYTES {
        out.push(double(walker, tag)?);
        return Ok(());
    }
    let mut packed = Walker::new(walker.bytes()?);
    while !packed.is_done() {
        out.push(f64::from_bits(packed.fixed64()?));
    }
    Ok(())
}

/// A repeated zig-zag number, packed or single.
fn push_zigzags(walker: &mut Walker<'_>, tag: Tag, out: &mut Vec<i64>) -> Result<(), WireError> {
    if tag.wire_type != wire::BYTES {
        out.push(zigzag(varint(walker, tag)?));
        return Ok(());
    }
    let mut packed = Walker::new(walker.bytes()?);
    while !packed.is_done() {
        out.push(zigzag(packed.varint()?));
    }
    Ok(())
}

fn push_span(
    walker: &mut Walker<'_>,
    tag: Tag,
    out: &mut Vec<BucketSpan>,
) -> Result<(), WireError> {
    if tag.wire_type != wire::BYTES {
        return Err(walker.wrong_type(tag));
    }
    let mut message = Walker::new(walker.bytes()?);
    let mut span = BucketSpan {
        offset: 0,
        length: 0,
    };
    while !message.is_done() {
        let tag = message.tag()?;
        match tag.field {
            1 => span.offset = zigzag_32(varint(&mut message, tag)?),
            2 => span.length = varint(&mut message, tag)? as u32,
            _ => message.skip(tag)?,
        }
    }
    out.push(span);
    Ok(())
}

/// Decodes one `Histogram` message.
///
/// # Errors
/// When the bytes are no such message.
pub fn decode_histogram(message: &[u8]) -> Result<HistogramSample, WireError> {
    let mut fields = Fields::default();
    let mut walker = Walker::new(message);
    while !walker.is_done() {
        let tag = walker.tag()?;
        fields.field(&mut walker, tag)?;
    }
    Ok(fields.finish())
}

impl Fields {
    fn field(&mut self, walker: &mut Walker<'_>, tag: Tag) -> Result<(), WireError> {
        match tag.field {
            1 => self.count_int = varint(walker, tag)?,
            2 => self.count_float = Some(double(walker, tag)?),
            3 => self.sum = double(walker, tag)?,
            4 => self.schema = zigzag_32(varint(walker, tag)?),
            5 => self.zero_threshold = double(walker, tag)?,
            6 => self.zero_count_int = varint(walker, tag)?,
            7 => self.zero_count_float = double(walker, tag)?,
            8 => push_span(walker, tag, &mut self.negative_spans)?,
            9 => push_zigzags(walker, tag, &mut self.negative_deltas)?,
            10 => push_doubles(walker, tag, &mut self.negative_counts)?,
            11 => push_span(walker, tag, &mut self.positive_spans)?,
            12 => push_zigzags(walker, tag, &mut self.positive_deltas)?,
            13 => push_doubles(walker, tag, &mut self.positive_counts)?,
            14 => {
                self.reset_hint = match varint(walker, tag)? {
                    1 => CounterResetHint::Reset,
                    2 => CounterResetHint::NotReset,
                    3 => CounterResetHint::Gauge,
                    _ => CounterResetHint::Unknown,
                }
            }
            15 => self.timestamp_ms = varint(walker, tag)? as i64,
            16 => push_doubles(walker, tag, &mut self.custom_values)?,
            17 => self.start_timestamp_ms = varint(walker, tag)? as i64,
            _ => walker.skip(tag)?,
        }
        Ok(())
    }

    fn finish(self) -> HistogramSample {
        let histogram = match self.count_float {
            Some(count) => HistogramValue::Float(Box::new(FloatHistogram {
                counter_reset_hint: self.reset_hint,
                schema: self.schema,
                zero_threshold: self.zero_threshold,
                zero_count: self.zero_count_float,
                count,
                sum: self.sum,
                positive_spans: self.positive_spans,
                negative_spans: self.negative_spans,
                positive_buckets: self.positive_counts,
                negative_buckets: self.negative_counts,
                custom_values: self.custom_values,
            })),
            None => HistogramValue::Integer(Box::new(Histogram {
                counter_reset_hint: self.reset_hint,
                schema: self.schema,
                zero_threshold: self.zero_threshold,
                zero_count: self.zero_count_int,
                count: self.count_int,
                sum: self.sum,
                positive_spans: self.positive_spans,
                negative_spans: self.negative_spans,
                positive_deltas: self.positive_deltas,
                negative_deltas: self.negative_deltas,
                custom_values: self.custom_values,
            })),
        };
        HistogramSample {
            timestamp_ms: self.timestamp_ms,
            start_timestamp_ms: self.start_timestamp_ms,
            histogram,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use prost::Message;

    #[derive(Clone, PartialEq, Message)]
    struct PbHistogram {
        #[prost(uint64, optional, tag = "1")]
        count_int: Option<u64>,
        #[prost(double, optional, tag = "2")]
        count_float: Option<f64>,
        #[prost(double, tag = "3")]
        sum: f64,
        #[prost(sint32, tag = "4")]
        schema: i32,
        #[prost(double, tag = "5")]
        zero_threshold: f64,
        #[prost(uint64, tag = "6")]
        zero_count_int: u64,
        #[prost(double, tag = "7")]
        zero_count_float: f64,
        #[prost(message, repeated, tag = "8")]
        negative_spans: Vec<PbSpan>,
        #[prost(sint64, repeated, tag = "9")]
        negative_deltas: Vec<i64>,
        #[prost(double, repeated, tag = "10")]
        negative_counts: Vec<f64>,
        #[prost(message, repeated, tag = "11")]
        positive_spans: Vec<PbSpan>,
        #[prost(sint64, repeated, packed = "false", tag = "12")]
        positive_deltas: Vec<i64>,
        #[prost(double, repeated, packed = "false", tag = "13")]
        positive_counts: Vec<f64>,
        #[prost(int32, tag = "14")]
        reset_hint: i32,
        #[prost(int64, tag = "15")]
        timestamp: i64,
        #[prost(double, repeated, tag = "16")]
        custom_values: Vec<f64>,
        #[prost(int64, tag = "17")]
        start_timestamp: i64,
    }
    #[derive(Clone, PartialEq, Message)]
    struct PbSpan {
        #[prost(sint32, tag = "1")]
        offset: i32,
        #[prost(uint32, tag = "2")]
        length: u32,
    }

    fn spans(pb: &[PbSpan]) -> Vec<BucketSpan> {
        pb.iter()
            .map(|s| BucketSpan {
                offset: s.offset,
                length: s.length,
            })
            .collect()
    }

    fn any_spans() -> impl Strategy<Value = Vec<PbSpan>> {
        let span = (any::<i32>(), any::<u32>());
        let span = span.prop_map(|(offset, length)| PbSpan { offset, length });
        prop::collection::vec(span, 0..3)
    }

    fn any_histogram() -> impl Strategy<Value = PbHistogram> {
        let counts = (
            any::<Option<u64>>(),
            any::<Option<f64>>(),
            any::<u64>(),
            any::<f64>(),
        );
        let numbers = (
            any::<f64>(),
            any::<i32>(),
            0..5_i32,
            any::<i64>(),
            any::<i64>(),
        );
        let deltas = || prop::collection::vec(any::<i64>(), 0..4);
        let doubles = || prop::collection::vec(any::<f64>(), 0..4);
        let buckets = (deltas(), deltas(), doubles(), doubles(), doubles());
        (counts, numbers, any_spans(), any_spans(), buckets).prop_map(|(c, n, ns, ps, b)| {
            PbHistogram {
                count_int: c.0,
                count_float: c.1,
                sum: c.3,
                schema: n.1,
                zero_threshold: n.0,
                zero_count_int: c.2,
                zero_count_float: c.3,
                negative_spans: ns,
                negative_deltas: b.0,
                negative_counts: b.2,
                positive_spans: ps,
                positive_deltas: b.1,
                positive_counts: b.3,
                reset_hint: n.2,
                timestamp: n.3,
                custom_values: b.4,
                start_timestamp: n.4,
            }
        })
    }

    #[test]
    fn short_numbers_drop_what_is_too_long_for_them() {
        // A sint32 of 35 bits: the upper three count for nothing, not even for the sign.
        let message = [0x20, 0x83, 0x80, 0x80, 0x80, 0x70, 0x18, 0];
        let theirs = PbHistogram::decode(&message[..6]).unwrap();
        let ours = decode_histogram(&message[..6]).unwrap();
        assert_eq!(ours.histogram.to_float().schema, theirs.schema);
        assert_eq!(theirs.schema, -2);
    }

    proptest! {
        #[test]
        fn agrees_with_prost(histogram in any_histogram()) {
            let bytes = histogram.encode_to_vec();
            let pb = PbHistogram::decode(&bytes[..]).unwrap();
            let ours = decode_histogram(&bytes).unwrap();
            prop_assert_eq!(ours.timestamp_ms, pb.timestamp);
            prop_assert_eq!(ours.start_timestamp_ms, pb.start_timestamp);
            match ours.histogram {
                HistogramValue::Float(h) => {
                    prop_assert_eq!(Some(h.count), pb.count_float);
                    prop_assert_eq!(h.zero_count, pb.zero_count_float);
                    prop_assert_eq!(h.positive_buckets, pb.positive_counts);
                    prop_assert_eq!(h.negative_buckets, pb.negative_counts);
                    prop_assert_eq!(h.custom_values, pb.custom_values);
                    prop_assert_eq!(h.positive_spans, spans(&pb.positive_spans));
                }
                HistogramValue::Integer(h) => {
                    prop_assert_eq!(pb.count_float, None);
                    prop_assert_eq!(h.count, pb.count_int.unwrap_or(0));
                    prop_assert_eq!(h.zero_count, pb.zero_count_int);
                    prop_assert_eq!(h.schema, pb.schema);
                    prop_assert_eq!(h.positive_deltas, pb.positive_deltas);
                    prop_assert_eq!(h.negative_deltas, pb.negative_deltas);
                    prop_assert_eq!(h.negative_spans, spans(&pb.negative_spans));
                    prop_assert_eq!(h.zero_threshold, pb.zero_threshold);
                }
            }
        }

        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            if PbHistogram::decode(&bytes[..]).is_ok() {
                prop_assert!(decode_histogram(&bytes).is_ok());
            } else {
                let _ = decode_histogram(&bytes);
            }
        }
    }
}
