//! A remote-write 2.0 sender: messages by prost, independent of the server's decoder.

use prost::Message;

pub use crate::histograms::{Histogram, Span};
use crate::http::{Answer, Client};

/// `io.prometheus.write.v2.Request`
#[derive(Clone, PartialEq, Message)]
pub struct Request {
    /// All strings; the first is empty.
    #[prost(string, repeated, tag = "4")]
    pub symbols: Vec<String>,
    /// The series.
    #[prost(message, repeated, tag = "5")]
    pub timeseries: Vec<TimeSeries>,
}

/// `io.prometheus.write.v2.TimeSeries`
#[derive(Clone, PartialEq, Message)]
pub struct TimeSeries {
    /// Pairs of references to names and values.
    #[prost(uint32, repeated, tag = "1")]
    pub labels_refs: Vec<u32>,
    /// The samples.
    #[prost(message, repeated, tag = "2")]
    pub samples: Vec<Sample>,
    /// The native histograms.
    #[prost(message, repeated, tag = "3")]
    pub histograms: Vec<Histogram>,
    /// The exemplars.
    #[prost(message, repeated, tag = "4")]
    pub exemplars: Vec<Exemplar>,
    /// What is said about the metric.
    #[prost(message, optional, tag = "5")]
    pub metadata: Option<Metadata>,
    /// When the counter began, milliseconds since the epoch: a field of drafts of the protocol.
    #[prost(int64, tag = "6")]
    pub created_timestamp: i64,
}

/// `io.prometheus.write.v2.Sample`
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Sample {
    /// The value.
    #[prost(double, tag = "1")]
    pub value: f64,
    /// Milliseconds since the epoch.
    #[prost(int64, tag = "2")]
    pub timestamp: i64,
    /// When the counter began, milliseconds since the epoch; 0 = not said.
    #[prost(int64, tag = "3")]
    pub start_timestamp: i64,
}

/// `io.prometheus.write.v2.Metadata`
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Metadata {
    /// The type's number: 1 = counter, 2 = gauge, 3 = histogram, 4 = gauge histogram, 5 = summary,
    /// 6 = info, 7 = state set.
    #[prost(int32, tag = "1")]
    pub kind: i32,
    /// Reference to the help text.
    #[prost(uint32, tag = "3")]
    pub help_ref: u32,
    /// Reference to the unit.
    #[prost(uint32, tag = "4")]
    pub unit_ref: u32,
}

/// `io.prometheus.write.v2.Exemplar`
#[derive(Clone, PartialEq, Message)]
pub struct Exemplar {
    /// Pairs of references to names and values.
    #[prost(uint32, repeated, tag = "1")]
    pub labels_refs: Vec<u32>,
    /// The value.
    #[prost(double, tag = "2")]
    pub value: f64,
    /// Milliseconds since the epoch.
    #[prost(int64, tag = "3")]
    pub timestamp: i64,
}

/// The `Content-Type` of a 2.0 request.
pub const CONTENT_TYPE: &str = "application/x-protobuf;proto=io.prometheus.write.v2.Request";

impl Request {
    /// A request with the empty symbol.
    #[must_use]
    pub fn new() -> Self {
        Self {
            symbols: vec![String::new()],
            timeseries: vec![],
        }
    }

    /// The reference of a text, which is added when it is new.
    pub fn symbol(&mut self, text: &str) -> u32 {
        let found = self.symbols.iter().position(|s| s == text);
        let at = found.unwrap_or_else(|| {
            self.symbols.push(text.to_owned());
            self.symbols.len() - 1
        });
        at as u32
    }

    /// Adds a series with samples `(timestamp_ms, value)` and as many exemplars as told.
    pub fn push(&mut self, labels: &[(&str, &str)], samples: &[(i64, f64)], exemplars: usize) {
        let labels_refs = labels
            .iter()
            .flat_map(|(n, v)| [self.symbol(n), self.symbol(v)])
            .collect();
        let trace = vec![self.symbol("trace_id"), self.symbol("abc")];
        let exemplar = Exemplar {
            labels_refs: trace,
            value: 1.0,
            timestamp: samples.first().map_or(0, |s| s.0),
        };
        let samples = samples
            .iter()
            .map(|(t, v)| Sample {
                value: *v,
                timestamp: *t,
                start_timestamp: 0,
            })
            .collect();
        let exemplars = vec![exemplar; exemplars];
        self.timeseries.push(TimeSeries {
            labels_refs,
            samples,
            exemplars,
            ..TimeSeries::default()
        });
    }

    /// Sends the request to the server at `url`.
    ///
    /// # Errors
    /// When there is no answer.
    ///
    /// # Panics
    /// When snappy fails, which it does not for bodies that fit memory.
    pub fn send(&self, client: &Client, url: &str) -> Result<Answer, String> {
        let body = snap::raw::Encoder::new().compress_vec(&self.encode_to_vec());
        let headers = [
            ("Content-Encoding", "snappy"),
            ("Content-Type", CONTENT_TYPE),
            ("X-Prometheus-Remote-Write-Version", "2.0.0"),
        ];
        client.post(
            &format!("{url}/api/v1/write"),
            &headers,
            &body.expect("snappy takes any body"),
        )
    }
}
