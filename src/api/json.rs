//! JSON as Prometheus writes it, straight into a byte buffer.
//!
//! Two string forms: label names and values in query and series results are not HTML-escaped,
//! every other string is. Sample values are strings, timestamps are numbers with three decimals
//! where the seconds are not whole. Source: Prometheus `web/api/v1/json_codec.go`,
//! `util/jsonutil`.

use std::io::Write as _;

use tenbin_model::histogram::Bucket;
use tenbin_model::text::float;
use tenbin_model::{FloatHistogram, Labels};
use tenbin_promql::value::{MatrixSeries, SampleValue, Value, VectorSample};

/// Appends `text` quoted, with `<`, `>`, `&` and the line separators escaped.
pub fn push_string(out: &mut Vec<u8>, text: &str) {
    push_escaped(out, text, true);
}

/// Appends `text` quoted, escaping only what JSON demands.
pub fn push_plain_string(out: &mut Vec<u8>, text: &str) {
    push_escaped(out, text, false);
}

fn push_escaped(out: &mut Vec<u8>, text: &str, html: bool) {
    out.push(b'"');
    let mut clean_from = 0;
    for (at, c) in text.char_indices() {
        let escape: Option<&[u8]> = match c {
            '"' => Some(b"\\\""),
            '\\' => Some(b"\\\\"),
            '\n' => Some(b"\\n"),
            '\r' => Some(b"\\r"),
            '\t' => Some(b"\\t"),
            '<' if html => Some(b"\\u003c"),
            '>' if html => Some(b"\\u003e"),
            '&' if html => Some(b"\\u0026"),
            '\u{2028}' if html => Some(b"\\u2028"),
            '\u{2029}' if html => Some(b"\\u2029"),
            _ => None,
        };
        let control = (c as u32) < 0x20;
        if escape.is_none() && !control {
            continue;
        }
        out.extend_from_slice(&text.as_bytes()[clean_from..at]);
        match escape {
            Some(escape) => out.extend_from_slice(escape),
            None => push_fmt(out, format_args!("\\u{:04x}", c as u32)),
        }
        clean_from = at + c.len_utf8();
    }
    out.extend_from_slice(&text.as_bytes()[clean_from..]);
    out.push(b'"');
}

fn push_fmt(out: &mut Vec<u8>, arguments: std::fmt::Arguments<'_>) {
    // Writing to a Vec cannot fail.
    let _ = out.write_fmt(arguments);
}

/// Appends a list, comma between elements.
pub fn push_list<T>(
    out: &mut Vec<u8>,
    items: impl IntoIterator<Item = T>,
    mut push: impl FnMut(&mut Vec<u8>, T),
) {
    out.push(b'[');
    for (i, item) in items.into_iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        push(out, item);
    }
    out.push(b']');
}

/// Appends a label set as an object.
pub fn push_labels(out: &mut Vec<u8>, labels: &Labels) {
    out.push(b'{');
    for (i, (name, value)) in labels.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        push_plain_string(out, name);
        out.push(b':');
        push_plain_string(out, value);
    }
    out.push(b'}');
}

/// Appends milliseconds as seconds: whole, or with three decimals.
pub fn push_timestamp(out: &mut Vec<u8>, timestamp_ms: i64) {
    let magnitude = timestamp_ms.unsigned_abs();
    if timestamp_ms < 0 {
        out.push(b'-');
    }
    let (seconds, ms) = (magnitude / 1000, (magnitude % 1000) as u16);
    out.extend_from_slice(itoa::Buffer::new().format(seconds).as_bytes());
    if ms != 0 {
        let digit = |number: u16| b'0' + (number % 10) as u8;
        out.extend_from_slice(&[b'.', digit(ms / 100), digit(ms / 10), digit(ms)]);
    }
}

/// Appends a sample value as a string.
pub fn push_sample(out: &mut Vec<u8>, value: f64) {
    out.push(b'"');
    float::push_sample(out, value);
    out.push(b'"');
}

/// Bytes of most points.
const POINT_BYTES: usize = 48;

fn push_point(out: &mut Vec<u8>, timestamp_ms: i64, push: impl FnOnce(&mut Vec<u8>)) {
    out.reserve(POINT_BYTES);
    out.push(b'[');
    push_timestamp(out, timestamp_ms);
    out.push(b',');
    push(out);
    out.push(b']');
}

/// Looks at what was written so far and at the bytes of the value that were given up since the
/// last time; may end the writing.
pub type Watch<'w, E> = &'w mut dyn FnMut(&Vec<u8>, u64) -> Result<(), E>;

/// Points written between two looks of a [`Watch`]: a millisecond at most.
const POINTS_BETWEEN_LOOKS: usize = 1 << 12;

/// Appends the value of a query: `"resultType":...,"result":...` without the braces around.
///
/// # Errors
/// When `watch` ends it.
pub fn push_value<E>(out: &mut Vec<u8>, value: Value, watch: Watch<'_, E>) -> Result<(), E> {
    push_fmt(
        out,
        format_args!(
            "\"resultType\":\"{}\",\"result\":",
            value.value_type().api_name()
        ),
    );
    match value {
        Value::Scalar {
            timestamp_ms,
            value,
        } => {
            // Scalars never use an exponent.
            push_point(out, timestamp_ms, |out| {
                push_plain_string(out, &float::format_f(value));
            });
        }
        Value::String {
            timestamp_ms,
            value,
        } => {
            push_point(out, timestamp_ms, |out| push_string(out, &value));
        }
        Value::Vector(samples) => {
            let mut given_up = 0;
            push_all(out, samples, |out, at, sample| {
                push_vector_sample(out, &sample);
                given_up += sample.byte_len();
                if at % 64 == 63 {
                    watch(out, std::mem::take(&mut given_up))?;
                }
                Ok(())
            })?;
        }
        Value::Matrix(series) => push_all(out, series, |out, _, series| {
            push_series(out, &series, watch)?;
            watch(out, series.byte_len())
        })?,
    }
    Ok(())
}

/// Appends a list whose elements may fail; `push` gets the position, too.
fn push_all<T, E>(
    out: &mut Vec<u8>,
    items: impl IntoIterator<Item = T>,
    mut push: impl FnMut(&mut Vec<u8>, usize, T) -> Result<(), E>,
) -> Result<(), E> {
    out.push(b'[');
    for (at, item) in items.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        push(out, at, item)?;
    }
    out.push(b']');
    Ok(())
}

fn push_vector_sample(out: &mut Vec<u8>, sample: &VectorSample) {
    out.extend_from_slice(b"{\"metric\":");
    push_labels(out, &sample.labels);
    match &sample.value {
        SampleValue::Float(value) => {
            out.extend_from_slice(b",\"value\":");
            push_point(out, sample.timestamp_ms, |out| push_sample(out, *value));
        }
        SampleValue::Histogram(histogram) => {
            out.extend_from_slice(b",\"histogram\":");
            push_point(out, sample.timestamp_ms, |out| {
                push_histogram(out, histogram);
            });
        }
    }
    out.push(b'}');
}

fn push_series<E>(out: &mut Vec<u8>, series: &MatrixSeries, watch: Watch<'_, E>) -> Result<(), E> {
    out.extend_from_slice(b"{\"metric\":");
    push_labels(out, &series.labels);
    if !series.floats.is_empty() {
        out.extend_from_slice(b",\"values\":");
        push_all(out, &series.floats, |out, at, (timestamp_ms, value)| {
            push_point(out, *timestamp_ms, |out| push_sample(out, *value));
            if at % POINTS_BETWEEN_LOOKS == POINTS_BETWEEN_LOOKS - 1 {
                watch(out, 0)?;
            }
            Ok(())
        })?;
    }
    if !series.histograms.is_empty() {
        out.extend_from_slice(b",\"histograms\":");
        push_all(
            out,
            &series.histograms,
            |out, _, (timestamp_ms, histogram)| {
                push_point(out, *timestamp_ms, |out| push_histogram(out, histogram));
                watch(out, 0)
            },
        )?;
    }
    out.push(b'}');
    Ok(())
}

fn push_histogram(out: &mut Vec<u8>, histogram: &FloatHistogram) {
    out.extend_from_slice(b"{\"count\":");
    push_sample(out, histogram.count);
    out.extend_from_slice(b",\"sum\":");
    push_sample(out, histogram.sum);
    let mut buckets = histogram.all_buckets();
    buckets.retain(|bucket| bucket.count != 0.0);
    if !buckets.is_empty() {
        out.extend_from_slice(b",\"buckets\":");
        push_list(out, &buckets, |out, bucket| {
            push_fmt(out, format_args!("[{},", boundary_rule(bucket)));
            push_sample(out, bucket.lower);
            out.push(b',');
            push_sample(out, bucket.upper);
            out.push(b',');
            push_sample(out, bucket.count);
            out.push(b']');
        });
    }
    out.push(b'}');
}

/// Which bounds belong to the bucket: 0 = the upper, 1 = the lower, 2 = none, 3 = both.
fn boundary_rule(bucket: &Bucket) -> u8 {
    match (bucket.lower_inclusive, bucket.upper_inclusive) {
        (false, true) => 0,
        (true, false) => 1,
        (false, false) => 2,
        (true, true) => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenbin_model::BucketSpan;

    fn text(push: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        push(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn written(value: Value) -> String {
        let never = &mut |_: &Vec<u8>, _| Ok::<(), std::convert::Infallible>(());
        text(|out| assert!(push_value(out, value, never).is_ok()))
    }

    #[test]
    fn writing_stops_inside_one_long_series() {
        let value = Value::Matrix(vec![MatrixSeries {
            floats: (0..100_000).map(|t| (t, 1.0)).collect(),
            ..MatrixSeries::default()
        }]);
        let mut out = Vec::new();
        let watch = &mut |out: &Vec<u8>, _: u64| if out.len() > 50_000 { Err(()) } else { Ok(()) };
        assert_eq!(push_value(&mut out, value, watch), Err(()));
        assert!(out.len() < 200_000, "{}", out.len());
    }

    #[test]
    fn strings_escape_as_go_does() {
        assert_eq!(
            text(|o| push_string(o, "a<b>&\"\\\n\u{1}é")),
            r#""a\u003cb\u003e\u0026\"\\\n\u0001é""#
        );
        assert_eq!(text(|o| push_plain_string(o, "a<b>&\t")), r#""a<b>&\t""#);
    }

    #[test]
    fn timestamps_have_no_or_three_decimals() {
        for (ms, expected) in [
            (0, "0"),
            (1500, "1.500"),
            (10, "0.010"),
            (-1, "-0.001"),
            (-2000, "-2"),
        ] {
            assert_eq!(text(|o| push_timestamp(o, ms)), expected);
        }
    }

    #[test]
    fn values_have_prometheus_shape() {
        let labels = Labels::from_pairs(&[("__name__", "up"), ("job", "<x>")]);
        let vector = Value::Vector(vec![VectorSample {
            labels: labels.clone(),
            timestamp_ms: 1_500,
            value: SampleValue::Float(1e-7),
        }]);
        assert_eq!(
            written(vector),
            r#""resultType":"vector","result":[{"metric":{"__name__":"up","job":"<x>"},"value":[1.500,"1e-07"]}]"#
        );
        let matrix = Value::Matrix(vec![MatrixSeries {
            labels,
            floats: vec![(1000, 1.0), (2000, f64::NAN)],
            histograms: vec![],
        }]);
        assert_eq!(
            written(matrix),
            r#""resultType":"matrix","result":[{"metric":{"__name__":"up","job":"<x>"},"values":[[1,"1"],[2,"NaN"]]}]"#
        );
        let scalar = Value::Scalar {
            timestamp_ms: 0,
            value: 1e21,
        };
        assert_eq!(
            written(scalar),
            r#""resultType":"scalar","result":[0,"1000000000000000000000"]"#
        );
    }

    #[test]
    fn histograms_list_their_filled_buckets() {
        let histogram = FloatHistogram {
            schema: 0,
            zero_threshold: 0.001,
            zero_count: 2.0,
            count: 9.0,
            sum: 1.5,
            positive_spans: vec![BucketSpan {
                offset: 0,
                length: 2,
            }],
            positive_buckets: vec![1.0, 0.0],
            negative_spans: vec![BucketSpan {
                offset: 1,
                length: 2,
            }],
            negative_buckets: vec![4.0, 2.0],
            ..FloatHistogram::default()
        };
        assert_eq!(
            text(|o| push_histogram(o, &histogram)),
            r#"{"count":"9","sum":"1.5","buckets":[[1,"-4","-2","2"],[1,"-2","-1","4"],[3,"-0.001","0.001","2"],[0,"0.5","1","1"]]}"#
        );
    }
}
