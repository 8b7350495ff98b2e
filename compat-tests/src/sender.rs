//! A remote-write 1.0 sender: bodies by prost and snappy, independent of the server's decoder.

use prost::Message;

use crate::histograms::Histogram;
use crate::http::{Answer, Client};

/// `prometheus.WriteRequest`
#[derive(Clone, PartialEq, Message)]
pub struct WriteRequest {
    /// The series.
    #[prost(message, repeated, tag = "1")]
    pub timeseries: Vec<TimeSeries>,
}

/// `prometheus.TimeSeries`
#[derive(Clone, PartialEq, Message)]
pub struct TimeSeries {
    /// The labels.
    #[prost(message, repeated, tag = "1")]
    pub labels: Vec<Label>,
    /// The samples.
    #[prost(message, repeated, tag = "2")]
    pub samples: Vec<Sample>,
    /// The native histograms.
    #[prost(message, repeated, tag = "4")]
    pub histograms: Vec<Histogram>,
}

/// `prometheus.Label`
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Label {
    /// The name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The value.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// `prometheus.Sample`
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Sample {
    /// The value.
    #[prost(double, tag = "1")]
    pub value: f64,
    /// Milliseconds since the epoch.
    #[prost(int64, tag = "2")]
    pub timestamp: i64,
}

/// A series with samples `(timestamp_ms, value)`.
#[must_use]
pub fn series(labels: &[(&str, &str)], samples: &[(i64, f64)]) -> TimeSeries {
    TimeSeries {
        labels: labels
            .iter()
            .map(|(name, value)| Label {
                name: (*name).into(),
                value: (*value).into(),
            })
            .collect(),
        samples: samples
            .iter()
            .map(|(t, v)| Sample {
                value: *v,
                timestamp: *t,
            })
            .collect(),
        histograms: Vec::new(),
    }
}

/// The HTTP body of a request.
///
/// # Panics
/// When snappy fails, which it does not for bodies that fit memory.
#[must_use]
pub fn body(timeseries: Vec<TimeSeries>) -> Vec<u8> {
    let message = WriteRequest { timeseries }.encode_to_vec();
    snap::raw::Encoder::new()
        .compress_vec(&message)
        .expect("snappy accepts any body")
}

/// The headers of a remote-write 1.0 request.
pub const HEADERS: [(&str, &str); 3] = [
    ("Content-Encoding", "snappy"),
    ("Content-Type", "application/x-protobuf"),
    ("X-Prometheus-Remote-Write-Version", "0.1.0"),
];

/// Sends series to the server at `url`.
///
/// # Errors
/// When there is no answer.
pub fn send(client: &Client, url: &str, timeseries: Vec<TimeSeries>) -> Result<Answer, String> {
    client.post(&format!("{url}/api/v1/write"), &HEADERS, &body(timeseries))
}
