//! Metric families to text 0.0.4 and to protobuf: the counterpart of the text parser.
//!
//! A family ends where the name or the kind of value changes, so one name may come as several
//! families. Source: prometheus/common `expfmt/text_create.go`; client_model `metrics.proto`:
//! MetricFamily{name=1, type=3, metric=4}, Metric{label=1, untyped=5, timestamp_ms=6, histogram=7},
//! LabelPair{name=1, value=2}, Untyped{value=1}, Histogram{sample_sum=2, bucket=3,
//! sample_count_float=4, schema=5, zero_threshold=6, zero_count_float=8, negative_span=9,
//! negative_count=11, positive_span=12, positive_count=14}, Bucket{upper_bound=2,
//! cumulative_count_float=4}, BucketSpan{offset=1, length=2}.

use tenbin_model::labels::is_legacy_metric_name;
use tenbin_model::text::float::format_g;
use tenbin_model::{BucketSpan, CounterResetHint, FloatHistogram};

use super::super::accept::{Escaping, Format};
use crate::ingest::protobuf_writer as put;

/// A value.
pub(super) enum Value {
    Float(f64),
    Histogram(Box<FloatHistogram>),
}

/// A series' sample.
pub(super) struct Metric {
    pub(super) name: String,
    /// Without the name, in the order in which they are written.
    pub(super) labels: Vec<(String, String)>,
    pub(super) time_ms: i64,
    pub(super) value: Value,
}

/// Kinds of families, by their numbers in protobuf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Untyped = 3,
    Histogram = 4,
    GaugeHistogram = 5,
}

/// Writes metrics that come by name.
pub(super) struct Writer {
    format: Format,
    escaping: Escaping,
    out: Vec<u8>,
    /// The family that is being written.
    family: Option<(String, Kind)>,
    /// Its metrics, in protobuf.
    metrics: Vec<u8>,
}

impl Writer {
    pub(super) fn new(format: Format, escaping: Escaping) -> Self {
        Self {
            format,
            escaping,
            out: Vec::new(),
            family: None,
            metrics: Vec::new(),
        }
    }

    /// Adds a metric; leaves it out where the format cannot carry it.
    pub(super) fn push(&mut self, metric: &Metric) {
        let kind = match &metric.value {
            Value::Float(_) => Kind::Untyped,
            Value::Histogram(h) if self.format == Format::Text && !h.uses_custom_buckets() => {
                return;
            }
            Value::Histogram(h) if h.counter_reset_hint == CounterResetHint::Gauge => {
                Kind::GaugeHistogram
            }
            Value::Histogram(_) => Kind::Histogram,
        };
        let same = self.family.as_ref();
        if same.is_none_or(|(name, open)| *name != metric.name || *open != kind) {
            self.end_family();
            self.family = Some((metric.name.clone(), kind));
            if self.format == Format::Text {
                self.type_line(&metric.name, kind);
            }
        }
        match self.format {
            Format::Text => self.lines(metric),
            Format::Protobuf => {
                let escaping = self.escaping;
                put::message(&mut self.metrics, 4, |out| {
                    put_metric(out, metric, escaping);
                });
            }
        }
    }

    /// The whole exposition.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.end_family();
        self.out
    }

    fn end_family(&mut self) {
        let Some((name, kind)) = self.family.take() else {
            return;
        };
        if self.format == Format::Protobuf {
            let name = self.escaping.name(&name);
            let metrics = std::mem::take(&mut self.metrics);
            put::length_prefixed(&mut self.out, |out| {
                put::bytes_always(out, 1, name.as_bytes());
                put::number_always(out, 3, kind as u64);
                out.extend_from_slice(&metrics);
            });
        }
    }

    fn type_line(&mut self, name: &str, kind: Kind) {
        let name = self.escaping.name(name);
        self.out.extend_from_slice(b"# TYPE ");
        push_name(&mut self.out, &name);
        let kind: &[u8] = match kind {
            Kind::Untyped => b" untyped\n",
            Kind::Histogram | Kind::GaugeHistogram => b" histogram\n",
        };
        self.out.extend_from_slice(kind);
    }

    fn lines(&mut self, metric: &Metric) {
        match &metric.value {
            Value::Float(value) => self.line(metric, "", None, *value),
            Value::Histogram(histogram) => {
                for (bound, count) in cumulative(histogram) {
                    self.line(metric, "_bucket", Some(bound), count);
                }
                self.line(metric, "_bucket", Some(f64::INFINITY), histogram.count);
                self.line(metric, "_sum", None, histogram.sum);
                self.line(metric, "_count", None, histogram.count);
            }
        }
    }

    fn line(&mut self, metric: &Metric, suffix: &str, le: Option<f64>, value: f64) {
        let name = self.escaping.name(&metric.name).into_owned() + suffix;
        let out = &mut self.out;
        let mut separator = b'{';
        if is_legacy_metric_name(&name) {
            out.extend_from_slice(name.as_bytes());
        } else {
            out.push(separator);
            push_name(out, &name);
            separator = b',';
        }
        for (name, value) in &metric.labels {
            out.push(separator);
            separator = b',';
            push_name(out, &self.escaping.name(name));
            out.extend_from_slice(b"=\"");
            push_escaped(out, value);
            out.push(b'"');
        }
        if let Some(le) = le {
            out.push(separator);
            separator = b',';
            out.extend_from_slice(format!("le=\"{}\"", format_g(le)).as_bytes());
        }
        if separator == b',' {
            out.push(b'}');
        }
        // Both zeros are written alike.
        let value = if value == 0.0 { 0.0 } else { value };
        out.extend_from_slice(format!(" {} {}\n", format_g(value), metric.time_ms).as_bytes());
    }
}

/// A name, quoted where it is none of the classic ones.
fn push_name(out: &mut Vec<u8>, name: &str) {
    if is_legacy_metric_name(name) {
        return out.extend_from_slice(name.as_bytes());
    }
    out.push(b'"');
    push_escaped(out, name);
    out.push(b'"');
}

fn push_escaped(out: &mut Vec<u8>, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'"' => out.extend_from_slice(b"\\\""),
            byte => out.push(byte),
        }
    }
}

/// The custom buckets of a histogram by upper bound, cumulative, without `+Inf`.
fn cumulative(histogram: &FloatHistogram) -> Vec<(f64, f64)> {
    let mut counts = vec![0.0; histogram.custom_values.len()];
    let mut index = 0_i64;
    let mut buckets = histogram.positive_buckets.iter();
    for span in &histogram.positive_spans {
        index += i64::from(span.offset);
        for (_, count) in (0..span.length).zip(&mut buckets) {
            let place = usize::try_from(index).ok();
            if let Some(slot) = place.and_then(|place| counts.get_mut(place)) {
                *slot = *count;
            }
            index += 1;
        }
    }
    let mut sum = 0.0;
    let bounds = histogram.custom_values.iter().zip(counts);
    bounds
        .map(|(bound, count)| {
            sum += count;
            (*bound, sum)
        })
        .collect()
}

fn put_metric(out: &mut Vec<u8>, metric: &Metric, escaping: Escaping) {
    for (name, value) in &metric.labels {
        put::message(out, 1, |out| {
            put::bytes_always(out, 1, escaping.name(name).as_bytes());
            put::bytes_always(out, 2, value.as_bytes());
        });
    }
    if let Value::Float(value) = &metric.value {
        put::message(out, 5, |out| put::double_always(out, 1, *value));
    }
    put::number_always(out, 6, metric.time_ms as u64);
    if let Value::Histogram(histogram) = &metric.value {
        put::message(out, 7, |out| put_histogram(out, histogram));
    }
}

fn put_spans(out: &mut Vec<u8>, field: u32, spans: &[BucketSpan]) {
    for span in spans {
        put::message(out, field, |out| {
            put::number_always(out, 1, put::zigzag(i64::from(span.offset)));
            put::number_always(out, 2, u64::from(span.length));
        });
    }
}

fn put_histogram(out: &mut Vec<u8>, histogram: &FloatHistogram) {
    put::double_always(out, 2, histogram.sum);
    if histogram.uses_custom_buckets() {
        for (bound, count) in cumulative(histogram) {
            put::message(out, 3, |out| {
                put::double_always(out, 2, bound);
                put::double_always(out, 4, count);
            });
        }
        return put::double_always(out, 4, histogram.count);
    }
    put::double_always(out, 4, histogram.count);
    put::number_always(out, 5, put::zigzag(i64::from(histogram.schema)));
    put::double_always(out, 6, histogram.zero_threshold);
    put::double_always(out, 8, histogram.zero_count);
    put_spans(out, 9, &histogram.negative_spans);
    for count in &histogram.negative_buckets {
        put::double_always(out, 11, *count);
    }
    put_spans(out, 12, &histogram.positive_spans);
    for count in &histogram.positive_buckets {
        put::double_always(out, 14, *count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metric(name: &str, labels: &[(&str, &str)], value: Value) -> Metric {
        let labels = labels.iter().map(|(n, v)| ((*n).into(), (*v).into()));
        Metric {
            name: name.into(),
            labels: labels.collect(),
            time_ms: 1500,
            value,
        }
    }

    fn text(metrics: &[Metric], escaping: Escaping) -> String {
        let mut writer = Writer::new(Format::Text, escaping);
        for metric in metrics {
            writer.push(metric);
        }
        String::from_utf8(writer.finish()).unwrap()
    }

    #[test]
    fn text_is_that_of_prometheus() {
        let custom = FloatHistogram {
            schema: -53,
            count: 10.0,
            sum: 7.5,
            custom_values: vec![0.1, 1.0, 1e6],
            positive_spans: vec![
                BucketSpan {
                    offset: 0,
                    length: 1,
                },
                BucketSpan {
                    offset: 1,
                    length: 2,
                },
            ],
            positive_buckets: vec![2.0, 3.0, 5.0],
            ..FloatHistogram::default()
        };
        let exponential = FloatHistogram {
            count: 1.0,
            ..FloatHistogram::default()
        };
        let labels = [("a", "x\"\\\n"), ("dotted.name", "1"), ("instance", "")];
        let metrics = [
            metric("up", &labels, Value::Float(-0.0)),
            metric("up", &[], Value::Float(12_345_678.0)),
            metric("hist", &[("a", "b")], Value::Histogram(Box::new(custom))),
            metric("native", &[], Value::Histogram(Box::new(exponential))),
            metric("odd.name", &[], Value::Float(f64::INFINITY)),
            metric("odd.name", &[("l", "v")], Value::Float(f64::NAN)),
        ];
        assert_eq!(
            text(&metrics, Escaping::AllowUtf8),
            "# TYPE up untyped\n\
             up{a=\"x\\\"\\\\\\n\",\"dotted.name\"=\"1\",instance=\"\"} 0 1500\n\
             up 1.2345678e+07 1500\n\
             # TYPE hist histogram\n\
             hist_bucket{a=\"b\",le=\"0.1\"} 2 1500\n\
             hist_bucket{a=\"b\",le=\"1\"} 2 1500\n\
             hist_bucket{a=\"b\",le=\"1e+06\"} 5 1500\n\
             hist_bucket{a=\"b\",le=\"+Inf\"} 10 1500\n\
             hist_sum{a=\"b\"} 7.5 1500\n\
             hist_count{a=\"b\"} 10 1500\n\
             # TYPE \"odd.name\" untyped\n\
             {\"odd.name\"} +Inf 1500\n\
             {\"odd.name\",l=\"v\"} NaN 1500\n"
        );
        assert!(text(&metrics[4..5], Escaping::Values).contains("U__odd_2e_name +Inf"));
    }
}
