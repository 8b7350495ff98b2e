//! A remote-read client: messages by prost, independent of the server's encoder.

use prost::Message;

use crate::http::{Answer, Client};
use crate::sender::{Label, TimeSeries};

/// `prometheus.ReadRequest`
#[derive(Clone, PartialEq, Message)]
pub struct ReadRequest {
    /// The queries.
    #[prost(message, repeated, tag = "1")]
    pub queries: Vec<Query>,
    /// 0 = samples, 1 = streamed chunks.
    #[prost(int32, repeated, tag = "2")]
    pub accepted_response_types: Vec<i32>,
}

/// `prometheus.Query`
#[derive(Clone, PartialEq, Message)]
pub struct Query {
    /// First millisecond.
    #[prost(int64, tag = "1")]
    pub start_timestamp_ms: i64,
    /// Last millisecond.
    #[prost(int64, tag = "2")]
    pub end_timestamp_ms: i64,
    /// The matchers.
    #[prost(message, repeated, tag = "3")]
    pub matchers: Vec<LabelMatcher>,
}

/// `prometheus.LabelMatcher`
#[derive(Clone, PartialEq, Eq, Message)]
pub struct LabelMatcher {
    /// 0 `=`, 1 `!=`, 2 `=~`, 3 `!~`.
    #[prost(int32, tag = "1")]
    pub kind: i32,
    /// The label.
    #[prost(string, tag = "2")]
    pub name: String,
    /// Value or pattern.
    #[prost(string, tag = "3")]
    pub value: String,
}

/// `prometheus.ReadResponse`
#[derive(Clone, PartialEq, Message)]
pub struct ReadResponse {
    /// One for each query.
    #[prost(message, repeated, tag = "1")]
    pub results: Vec<QueryResult>,
}

/// `prometheus.QueryResult`
#[derive(Clone, PartialEq, Message)]
pub struct QueryResult {
    /// The series.
    #[prost(message, repeated, tag = "1")]
    pub timeseries: Vec<TimeSeries>,
}

/// `prometheus.ChunkedReadResponse`
#[derive(Clone, PartialEq, Message)]
pub struct ChunkedReadResponse {
    /// The series.
    #[prost(message, repeated, tag = "1")]
    pub chunked_series: Vec<ChunkedSeries>,
    /// Which query.
    #[prost(int64, tag = "2")]
    pub query_index: i64,
}

/// `prometheus.ChunkedSeries`
#[derive(Clone, PartialEq, Message)]
pub struct ChunkedSeries {
    /// The labels.
    #[prost(message, repeated, tag = "1")]
    pub labels: Vec<Label>,
    /// The chunks.
    #[prost(message, repeated, tag = "2")]
    pub chunks: Vec<Chunk>,
}

/// `prometheus.Chunk`
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Chunk {
    /// First timestamp.
    #[prost(int64, tag = "1")]
    pub min_time_ms: i64,
    /// Last timestamp.
    #[prost(int64, tag = "2")]
    pub max_time_ms: i64,
    /// 1 = XOR, 2 = histograms, 3 = float histograms.
    #[prost(int32, tag = "3")]
    pub kind: i32,
    /// The samples.
    #[prost(bytes = "vec", tag = "4")]
    pub data: Vec<u8>,
}

/// A query with matchers `(kind, name, value)`.
#[must_use]
pub fn query(start_ms: i64, end_ms: i64, matchers: &[(i32, &str, &str)]) -> Query {
    let made = matchers.iter().map(|(kind, name, value)| LabelMatcher {
        kind: *kind,
        name: (*name).to_owned(),
        value: (*value).to_owned(),
    });
    Query {
        start_timestamp_ms: start_ms,
        end_timestamp_ms: end_ms,
        matchers: made.collect(),
    }
}

/// Sends a request to the server at `url`.
///
/// # Errors
/// When there is no answer.
///
/// # Panics
/// When snappy fails, which it does not for bodies that fit memory.
pub fn read(client: &Client, url: &str, request: &ReadRequest) -> Result<Answer, String> {
    let body = snap::raw::Encoder::new().compress_vec(&request.encode_to_vec());
    let headers = [
        ("Content-Encoding", "snappy"),
        ("Content-Type", "application/x-protobuf"),
        ("X-Prometheus-Remote-Read-Version", "0.1.0"),
    ];
    let body = body.expect("snappy takes any body");
    client.post(&format!("{url}/api/v1/read"), &headers, &body)
}

/// The samples of an answer.
///
/// # Errors
/// When it is no such answer.
pub fn samples(answer: &Answer) -> Result<ReadResponse, String> {
    let unpacked = snap::raw::Decoder::new().decompress_vec(&answer.body);
    let unpacked = unpacked.map_err(|e| format!("{} {e}", answer.status))?;
    ReadResponse::decode(&unpacked[..]).map_err(|e| e.to_string())
}

/// The frames of an answer with their sizes.
///
/// # Errors
/// When it is no such answer.
pub fn frames(answer: &Answer) -> Result<Vec<(usize, ChunkedReadResponse)>, String> {
    let mut rest = &answer.body[..];
    let mut frames = Vec::new();
    while !rest.is_empty() {
        let length = prost::decode_length_delimiter(&mut rest).map_err(|e| e.to_string())?;
        if rest.len() < length + 4 {
            return Err("the answer is cut off".into());
        }
        let (frame, after) = rest[4..].split_at(length);
        let message = ChunkedReadResponse::decode(frame).map_err(|e| e.to_string())?;
        frames.push((length, message));
        rest = after;
    }
    Ok(frames)
}
