//! Any body decodes or fails, and what `prost` decodes too says the same. Used by the fuzz target and
//! by a test that replays the committed inputs.
//!
//! The first byte chooses: an even one version 1, an odd one version 2; from 128 on the body is
//! decompressed first.

use prost::Message;
use tenbin_model::write::{HistogramSample, WriteRequest};

use crate::ingest::remote_write_v1::RemoteWriteV1;
use crate::ingest::remote_write_v2::RemoteWriteV2;
use crate::ingest::{DecodeError, decompress};
use crate::limits::WriteLimits;

#[derive(Clone, PartialEq, Message)]
struct Request1 {
    #[prost(message, repeated, tag = "1")]
    timeseries: Vec<Series1>,
    #[prost(message, repeated, tag = "3")]
    metadata: Vec<Metadata1>,
}

#[derive(Clone, PartialEq, Message)]
struct Metadata1 {
    #[prost(int32, tag = "1")]
    kind: i32,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(string, tag = "4")]
    help: String,
    #[prost(string, tag = "5")]
    unit: String,
}

#[derive(Clone, PartialEq, Message)]
struct Series1 {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
    #[prost(message, repeated, tag = "3")]
    exemplars: Vec<Exemplar1>,
    #[prost(message, repeated, tag = "4")]
    histograms: Vec<Histogram>,
}

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Sample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
    #[prost(int64, tag = "3")]
    start_timestamp: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Exemplar1 {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(double, tag = "2")]
    value: f64,
    #[prost(int64, tag = "3")]
    timestamp: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Histogram {
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
    #[prost(uint64, optional, tag = "6")]
    zero_count_int: Option<u64>,
    #[prost(double, optional, tag = "7")]
    zero_count_float: Option<f64>,
    #[prost(message, repeated, tag = "8")]
    negative_spans: Vec<Span>,
    #[prost(sint64, repeated, tag = "9")]
    negative_deltas: Vec<i64>,
    #[prost(double, repeated, tag = "10")]
    negative_counts: Vec<f64>,
    #[prost(message, repeated, tag = "11")]
    positive_spans: Vec<Span>,
    #[prost(sint64, repeated, tag = "12")]
    positive_deltas: Vec<i64>,
    #[prost(double, repeated, tag = "13")]
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

#[derive(Clone, Copy, PartialEq, Message)]
struct Span {
    #[prost(sint32, tag = "1")]
    offset: i32,
    #[prost(uint32, tag = "2")]
    length: u32,
}

#[derive(Clone, PartialEq, Message)]
struct Request2 {
    #[prost(string, repeated, tag = "4")]
    symbols: Vec<String>,
    #[prost(message, repeated, tag = "5")]
    timeseries: Vec<Series2>,
}

#[derive(Clone, PartialEq, Message)]
struct Series2 {
    #[prost(uint32, repeated, tag = "1")]
    labels_refs: Vec<u32>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
    #[prost(message, repeated, tag = "3")]
    histograms: Vec<Histogram>,
    #[prost(message, repeated, tag = "4")]
    exemplars: Vec<Exemplar2>,
    #[prost(message, optional, tag = "5")]
    metadata: Option<Metadata2>,
}

#[derive(Clone, PartialEq, Message)]
struct Exemplar2 {
    #[prost(uint32, repeated, tag = "1")]
    labels_refs: Vec<u32>,
    #[prost(double, tag = "2")]
    value: f64,
    #[prost(int64, tag = "3")]
    timestamp: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Metadata2 {
    #[prost(int32, tag = "1")]
    kind: i32,
    #[prost(uint32, tag = "3")]
    help_ref: u32,
    #[prost(uint32, tag = "4")]
    unit_ref: u32,
}

/// Looks at everything that the store would.
fn walk(request: &dyn WriteRequest) {
    let (mut labels, mut exemplars) = (Vec::new(), Vec::new());
    for entry in 0..request.len() {
        let _ = request.labels(entry, &mut labels);
        let _ = request.identity_hash(entry, 7);
        request.exemplars(entry, &mut exemplars);
        assert_eq!(exemplars.len(), request.exemplar_count(entry));
        for histogram in request.histograms(entry) {
            let _ = histogram.histogram.validate();
        }
    }
    let _ = request.metadata();
}

fn same_points(request: &dyn WriteRequest, entry: usize, floats: &[Sample], others: &[Histogram]) {
    let ours = request.samples(entry);
    assert_eq!(ours.len(), floats.len());
    for (ours, theirs) in ours.iter().zip(floats) {
        assert_eq!(ours.timestamp_ms, theirs.timestamp);
        assert_eq!(ours.value.to_bits(), theirs.value.to_bits());
    }
    let ours: &[HistogramSample] = request.histograms(entry);
    assert_eq!(ours.len(), others.len());
    for (ours, theirs) in ours.iter().zip(others) {
        assert_eq!(ours.timestamp_ms, theirs.timestamp);
        let float = ours.histogram.to_float();
        assert_eq!(float.sum.to_bits(), theirs.sum.to_bits());
        assert_eq!(float.schema, theirs.schema);
        assert_eq!(float.positive_spans.len(), theirs.positive_spans.len());
    }
}

fn same_labels(request: &dyn WriteRequest, entry: usize, mut theirs: Vec<(&str, &str)>) {
    let mut ours = Vec::new();
    if request.labels(entry, &mut ours).is_ok() {
        theirs.retain(|(_, value)| !value.is_empty());
        theirs.sort_unstable();
        assert_eq!(ours, theirs);
    }
}

/// What prost takes and we do not must be a limit, or one of the wire types that are history.
fn may_refuse(error: &DecodeError) {
    let text = error.to_string();
    let known = matches!(error, DecodeError::Limit(_)) || text.contains("wire type");
    assert!(known, "prost decodes it: {text}");
}

fn version_1(body: &[u8], limits: &WriteLimits) {
    let ours = RemoteWriteV1::decode(body, limits);
    let theirs = Request1::decode(body);
    match (&ours, theirs) {
        (Ok(ours), Ok(theirs)) => {
            assert_eq!(ours.len(), theirs.timeseries.len());
            for (entry, series) in theirs.timeseries.iter().enumerate() {
                same_points(ours, entry, &series.samples, &series.histograms);
                let labels = series.labels.iter();
                let labels = labels.map(|l| (l.name.as_str(), l.value.as_str()));
                same_labels(ours, entry, labels.collect());
            }
        }
        (Err(error), Ok(_)) => may_refuse(error),
        _ => {}
    }
    if let Ok(ours) = ours {
        walk(&ours);
    }
}

fn version_2(body: &[u8], limits: &WriteLimits) {
    let ours = RemoteWriteV2::decode(body, limits);
    let theirs = Request2::decode(body);
    match (&ours, theirs) {
        (Ok(ours), Ok(theirs)) => {
            assert_eq!(ours.len(), theirs.timeseries.len());
            for (entry, series) in theirs.timeseries.iter().enumerate() {
                if ours.bad_metadata().iter().any(|(bad, _)| *bad == entry) {
                    assert!(series.metadata.is_some());
                    same_points(ours, entry, &[], &[]);
                    continue;
                }
                same_points(ours, entry, &series.samples, &series.histograms);
                let text = |at: u32| theirs.symbols.get(at as usize).map(String::as_str);
                let labels = series.labels_refs.chunks_exact(2);
                let labels = labels.map(|pair| Some((text(pair[0])?, text(pair[1])?)));
                if let Some(labels) = labels.collect() {
                    same_labels(ours, entry, labels);
                }
            }
        }
        (Err(error), Ok(_)) => may_refuse(error),
        _ => {}
    }
    if let Ok(ours) = ours {
        walk(&ours);
    }
}

pub(crate) fn target(data: &[u8]) {
    let Some((choice, mut body)) = data.split_first() else {
        return;
    };
    let limits = WriteLimits::default();
    let mut plain = Vec::new();
    if *choice >= 128 {
        if decompress::snappy(body, 1 << 20, &mut plain).is_err() {
            return;
        }
        body = &plain;
    }
    if choice % 2 == 0 {
        version_1(body, &limits);
    } else {
        version_2(body, &limits);
    }
}

/// Bodies of both versions with everything in them.
#[cfg(test)]
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let histogram = |float: bool| Histogram {
        count_int: (!float).then_some(3),
        count_float: float.then_some(3.0),
        sum: 4.5,
        schema: 1,
        zero_count_int: (!float).then_some(1),
        positive_spans: vec![Span {
            offset: -1,
            length: 2,
        }],
        positive_deltas: vec![1, 0],
        positive_counts: if float { vec![1.0, 1.0] } else { vec![] },
        timestamp: 1000,
        ..Histogram::default()
    };
    let sample = Sample {
        value: 1.5,
        timestamp: 1000,
        start_timestamp: 5,
    };
    let label = |name: &str, value: &str| Label {
        name: name.to_owned(),
        value: value.to_owned(),
    };
    let first = Request1 {
        timeseries: vec![Series1 {
            labels: vec![label("__name__", "up"), label("job", "x")],
            samples: vec![sample; 2],
            exemplars: vec![Exemplar1 {
                labels: vec![label("id", "a")],
                value: 1.0,
                timestamp: 1000,
            }],
            histograms: vec![histogram(false), histogram(true)],
        }],
        metadata: vec![Metadata1 {
            kind: 1,
            name: "up".to_owned(),
            help: "Is it?".to_owned(),
            unit: String::new(),
        }],
    };
    let second = Request2 {
        symbols: ["", "__name__", "up", "job", "x"]
            .map(str::to_owned)
            .to_vec(),
        timeseries: vec![Series2 {
            labels_refs: vec![1, 2, 3, 4],
            samples: vec![sample],
            histograms: vec![histogram(true)],
            exemplars: vec![Exemplar2 {
                labels_refs: vec![3, 4],
                value: 1.0,
                timestamp: 1000,
            }],
            metadata: Some(Metadata2 {
                kind: 2,
                help_ref: 4,
                unit_ref: 0,
            }),
        }],
    };
    let (first, second) = (first.encode_to_vec(), second.encode_to_vec());
    let packed = snap::raw::Encoder::new().compress_vec(&first);
    let with = |choice: u8, body: &[u8]| [&[choice], body].concat();
    vec![
        with(0, &first),
        with(1, &second),
        with(128, &packed.unwrap_or_default()),
    ]
}
