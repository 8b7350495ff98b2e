//! `POST /api/v1/read`: remote read, as samples or as streamed chunks.
//!
//! Samples are one snappy-compressed `prometheus.ReadResponse`. Chunks are frames `uvarint length,
//! u32 CRC-32C (big endian), prometheus.ChunkedReadResponse`, one series a frame, those in label
//! order, a long series in several frames; they leave while the next ones are read, so that an answer
//! of any size needs little memory. Staleness markers and histograms go out as they are stored.
//! Source: Prometheus `storage/remote/read_handler.go`, `codec.go`, `chunked.go`.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, Request, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame};
use tenbin_model::query::RawSamples;
use tenbin_model::{Labels, MatchOp, Matcher, Queryable, SelectHints, SeriesSet, TimeRange};
use tenbin_promql::CancelToken;
use tenbin_storage::{Db, WireChunk, wire_chunks};
use tokio::sync::mpsc;

use super::body::{Refusal, read_body};
use crate::ingest::decompress::snappy;
use crate::ingest::histogram_writer::push_histogram;
use crate::ingest::protobuf_writer as put;
use crate::ingest::read_request::{ReadQuery, ReadRequest};
use crate::server::{App, Store};
use crate::settings::file::ConfigFile;

/// Frames that wait for the client at most.
const FRAMES_AHEAD: usize = 4;

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Samples,
    Chunks,
}

/// `POST /api/v1/read`
pub async fn read(
    State(app): State<Arc<App>>,
    Store(db): Store,
    request: Request<Body>,
) -> Response {
    let (parts, body) = request.into_parts();
    let answer = async {
        let body = read_body(body, &app.write_limits, &app.bodies, &parts.headers).await?;
        let mut decoded = Vec::new();
        let unpacked = snappy(&body, app.write_limits.max_decoded_body_bytes, &mut decoded);
        unpacked.map_err(|e| Refusal::bad(e.to_string()))?;
        let request = ReadRequest::decode(&decoded).map_err(|e| Refusal::bad(e.to_string()))?;
        match negotiate(&request.accepted)? {
            Form::Samples => samples(&app, db, request).await,
            Form::Chunks => chunks(app, db, request).await,
        }
    };
    answer.await.unwrap_or_else(IntoResponse::into_response)
}

fn negotiate(accepted: &[u64]) -> Result<Form, Refusal> {
    if accepted.is_empty() {
        return Ok(Form::Samples);
    }
    let form = accepted.iter().find_map(|number| match number {
        0 => Some(Form::Samples),
        1 => Some(Form::Chunks),
        _ => None,
    });
    form.ok_or_else(|| {
        let numbers: Vec<String> = accepted.iter().take(16).map(u64::to_string).collect();
        Refusal::bad(format!(
            "server does not support any of the requested response types: [{}]; \
             supported: map[SAMPLES:{{}} STREAMED_XOR_CHUNKS:{{}}]",
            numbers.join(" ")
        ))
    })
}

/// What one query selects, in label order.
struct Selection {
    set: Box<dyn SeriesSet>,
    range: TimeRange,
    /// Only labels are wanted.
    labels_only: bool,
}

/// The value of an external label, empty where there is none.
fn external<'s>(settings: &'s ConfigFile, name: &str) -> &'s str {
    let found = settings.global.external_labels.get(name);
    found.map_or("", String::as_str)
}

fn matchers(query: &ReadQuery, settings: &ConfigFile) -> Result<Vec<Matcher>, Refusal> {
    let made = query.matchers.iter().map(|(kind, name, value)| {
        let op = match kind {
            // External labels are not in the store.
            0 if external(settings, name) == value => {
                return Ok(Matcher::equal(name, ""));
            }
            0 => MatchOp::Equal,
            1 => MatchOp::NotEqual,
            2 => MatchOp::Regex,
            3 => MatchOp::NotRegex,
            _ => return Err(Refusal::internal("invalid matcher type")),
        };
        Matcher::new(op, name, value).map_err(|e| Refusal::internal(e.to_string()))
    });
    made.collect()
}

fn select(db: &Db, query: &ReadQuery, settings: &ConfigFile) -> Result<Selection, Refusal> {
    let matchers = matchers(query, settings)?;
    let mut range = TimeRange::new(query.start_ms, query.end_ms);
    let mut hints = SelectHints {
        sorted: true,
        ..SelectHints::default()
    };
    if let Some(asked) = &query.hints {
        // Clients that only name a function leave the times at 0.
        if (asked.start_ms, asked.end_ms) != (0, 0) {
            range.min_ms = range.min_ms.max(asked.start_ms);
            range.max_ms = range.max_ms.min(asked.end_ms);
        }
        hints.step_ms = asked.step_ms;
        hints.range_ms = asked.range_ms;
        hints.function.clone_from(&asked.function);
    }
    let internal = |e: tenbin_model::StoreError| Refusal::internal(e.to_string());
    let set = db.querier(range).map_err(internal)?;
    let set = set.select(&matchers, &hints).map_err(internal)?;
    Ok(Selection {
        set,
        range,
        labels_only: hints.function == "series",
    })
}

/// The labels of a series with the external ones that it lacks.
fn merged(labels: &Labels, settings: &ConfigFile) -> Vec<(String, String)> {
    let own = labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned()));
    let mut all: Vec<(String, String)> = own.collect();
    let missing = settings.global.external_labels.iter();
    let missing = missing.filter(|(n, _)| labels.get(n).is_none());
    all.extend(missing.map(|(n, v)| (n.clone(), v.clone())));
    all.sort_unstable();
    all
}

fn put_labels(out: &mut Vec<u8>, labels: &[(String, String)]) {
    for (name, value) in labels {
        put::message(out, 1, |out| {
            put::bytes(out, 1, name.as_bytes());
            put::bytes(out, 2, value.as_bytes());
        });
    }
}

/// Calls `each` with every series that has samples, until the work is cancelled or it fails.
fn for_each_series(
    selection: &Selection,
    settings: &ConfigFile,
    cancel: &CancelToken,
    mut each: impl FnMut(&[(String, String)], &RawSamples) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    let internal = |e: tenbin_model::StoreError| Refusal::internal(e.to_string());
    let mut samples = RawSamples::default();
    for series in 0..selection.set.len() {
        if cancel.is_cancelled() {
            return Err(Refusal::internal("the read was cancelled"));
        }
        if !selection.labels_only {
            let read = selection
                .set
                .read_raw(series, selection.range, &mut samples);
            read.map_err(internal)?;
            if samples.is_empty() {
                continue;
            }
        }
        let labels = selection.set.labels(series).map_err(internal)?;
        each(&merged(&labels, settings), &samples)?;
    }
    Ok(())
}

/// Appends the floats of a series to a `TimeSeries`, then its histograms.
fn put_samples(out: &mut Vec<u8>, samples: &RawSamples) {
    for (time_ms, value) in samples.timestamps_ms.iter().zip(&samples.values) {
        put::message(out, 2, |out| {
            put::double(out, 1, *value);
            put::number(out, 2, *time_ms as u64);
        });
    }
    for histogram in &samples.histograms {
        put::message(out, 4, |out| push_histogram(out, histogram));
    }
}

/// The whole `ReadResponse`, compressed.
fn response_of_samples(
    db: &Db,
    request: &ReadRequest,
    settings: &ConfigFile,
    max_samples: u64,
    cancel: &CancelToken,
) -> Result<Vec<u8>, Refusal> {
    let mut out = Vec::new();
    for query in &request.queries {
        let selection = select(db, query, settings)?;
        let mut count = 0;
        let mut result = Vec::new();
        for_each_series(&selection, settings, cancel, |labels, samples| {
            count += (samples.values.len() + samples.histograms.len()) as u64;
            if max_samples > 0 && count > max_samples {
                let text = format!("exceeded sample limit ({max_samples})");
                return Err(Refusal::bad(text));
            }
            put::message(&mut result, 1, |out| {
                put_labels(out, labels);
                put_samples(out, samples);
            });
            Ok(())
        })?;
        put::bytes_always(&mut out, 1, &result);
    }
    let packed = snap::raw::Encoder::new().compress_vec(&out);
    packed.map_err(|e| Refusal::internal(format!("snappy: {e}")))
}

async fn samples(app: &Arc<App>, db: Arc<Db>, request: ReadRequest) -> Result<Response, Refusal> {
    let timeout = Duration::from_millis(app.engine.timeout_ms);
    let settings = app.config.current();
    let max_samples = app.read_limits.max_samples;
    let done = app.read_threads.run(timeout, move |turn| {
        response_of_samples(&db, &request, &settings, max_samples, &turn.cancel)
    });
    let body = match done.await {
        Ok(body) => body?,
        Err(error) => return Err(not_run(error)),
    };
    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    let content_type = HeaderValue::from_static("application/x-protobuf");
    headers.insert(header::CONTENT_TYPE, content_type);
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("snappy"));
    Ok(response)
}

fn not_run(error: crate::server::workers::QueueError) -> Refusal {
    Refusal::internal(tenbin_promql::EvalError::from(error).to_string())
}

/// What the reading thread hands to the answer.
type Handed = Result<Bytes, Refusal>;

async fn chunks(app: Arc<App>, db: Arc<Db>, request: ReadRequest) -> Result<Response, Refusal> {
    let timeout = Duration::from_millis(app.engine.timeout_ms);
    let settings = app.config.current();
    let max_frame_bytes = app.read_limits.max_frame_bytes;
    let (hand, mut frames) = mpsc::channel::<Handed>(FRAMES_AHEAD);
    tokio::spawn(async move {
        let failed = hand.clone();
        let work = app.read_threads.run(timeout, move |turn| {
            let send = |frame| {
                // The client is gone.
                let gone = |_| Refusal::internal("the client went away");
                hand.blocking_send(Ok(frame)).map_err(gone)
            };
            stream(
                &db,
                &request,
                &settings,
                max_frame_bytes,
                &turn.cancel,
                send,
            )
        });
        if let Err(refusal) = work.await.unwrap_or_else(|error| Err(not_run(error))) {
            // Nobody listens when the client is gone.
            let _ = failed.send(Err(refusal)).await;
        }
    });
    // What fails before the first frame still has a status.
    let first = frames.recv().await.transpose()?;
    let mut response = Response::new(Body::new(Frames { first, frames }));
    let headers = response.headers_mut();
    let content_type = "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse";
    let content_type = HeaderValue::from_static(content_type);
    headers.insert(header::CONTENT_TYPE, content_type);
    let sniff = HeaderName::from_static("x-content-type-options");
    headers.insert(sniff, HeaderValue::from_static("nosniff"));
    Ok(response)
}

/// Reads all queries and sends their frames.
fn stream(
    db: &Db,
    request: &ReadRequest,
    settings: &ConfigFile,
    max_frame_bytes: usize,
    cancel: &CancelToken,
    send: impl Fn(Bytes) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    for (number, query) in request.queries.iter().enumerate() {
        let selection = select(db, query, settings)?;
        for_each_series(&selection, settings, cancel, |labels, samples| {
            let mut label_bytes = Vec::new();
            put_labels(&mut label_bytes, labels);
            let room = max_frame_bytes.saturating_sub(label_bytes.len());
            for chunks in frames_of(&wire_chunks(samples), room) {
                send(frame(&label_bytes, chunks, number as u64))?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// Cuts the chunks of a series into frames: each takes chunks until it has `room` bytes or more.
fn frames_of(chunks: &[WireChunk], room: usize) -> impl Iterator<Item = &[WireChunk]> {
    let mut rest = chunks;
    std::iter::from_fn(move || {
        let (mut bytes, mut count) = (0, 0);
        for chunk in rest {
            // Times, type and tags take about so many.
            bytes += chunk.data.len() + 20;
            count += 1;
            if bytes >= room {
                break;
            }
        }
        let (now, later) = rest.split_at(count);
        rest = later;
        (!now.is_empty()).then_some(now)
    })
}

/// One frame: length, checksum, message.
fn frame(label_bytes: &[u8], chunks: &[WireChunk], query: u64) -> Bytes {
    let mut message = Vec::new();
    put::message(&mut message, 1, |out| {
        out.extend_from_slice(label_bytes);
        for chunk in chunks {
            put::message(out, 2, |out| {
                put::number(out, 1, chunk.min_ms as u64);
                put::number(out, 2, chunk.max_ms as u64);
                put::number(out, 3, u64::from(chunk.encoding));
                put::bytes(out, 4, &chunk.data);
            });
        }
    });
    put::number(&mut message, 2, query);
    let mut out = Vec::with_capacity(message.len() + 14);
    put::put_varint(&mut out, message.len() as u64);
    out.extend_from_slice(&crc32c::crc32c(&message).to_be_bytes());
    out.extend_from_slice(&message);
    out.into()
}

/// The frames as they come. A failure behind the first one breaks the connection, so that nobody
/// takes half an answer for a whole one.
struct Frames {
    first: Option<Bytes>,
    frames: mpsc::Receiver<Handed>,
}

impl HttpBody for Frames {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        let handed = self.frames.poll_recv(context);
        handed.map(|handed| {
            handed.map(|frame| match frame {
                Ok(frame) => Ok(Frame::data(frame)),
                Err(Refusal(_, text)) => {
                    tracing::error!(error = text, "remote read broke off");
                    Err(std::io::Error::other(text))
                }
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_known_form_is_taken() {
        assert_eq!(negotiate(&[]), Ok(Form::Samples));
        assert_eq!(negotiate(&[0, 1]), Ok(Form::Samples));
        assert_eq!(negotiate(&[9, 1, 0]), Ok(Form::Chunks));
        assert_eq!(
            negotiate(&[9, 7]).unwrap_err().1,
            "server does not support any of the requested response types: [9 7]; \
             supported: map[SAMPLES:{} STREAMED_XOR_CHUNKS:{}]"
        );
    }

    #[test]
    fn frames_are_cut_after_the_limit() {
        let chunk = |bytes| WireChunk {
            min_ms: 0,
            max_ms: 0,
            encoding: 1,
            data: vec![0; bytes],
        };
        let chunks: Vec<WireChunk> = (0..5).map(|_| chunk(80)).collect();
        let sizes = |room| -> Vec<usize> { frames_of(&chunks, room).map(<[_]>::len).collect() };
        assert_eq!(sizes(0), [1; 5]);
        assert_eq!(sizes(150), [2, 2, 1]);
        assert_eq!(sizes(1 << 20), [5]);
        assert_eq!(frames_of(&[], 10).count(), 0);
    }

    #[test]
    fn external_labels_are_merged_and_matched() {
        let mut settings = ConfigFile::default();
        for (name, value) in [("dc", "1"), ("job", "x")] {
            let external = &mut settings.global.external_labels;
            external.insert(name.into(), value.into());
        }
        let labels = Labels::from_pairs(&[("__name__", "up"), ("job", "own")]);
        let pairs = [("__name__", "up"), ("dc", "1"), ("job", "own")];
        let expected = pairs.map(|(n, v)| (n.to_owned(), v.to_owned()));
        assert_eq!(merged(&labels, &settings), expected);
        let query = ReadQuery {
            matchers: vec![(0, "dc".into(), "1".into()), (2, "dc".into(), "1".into())],
            ..ReadQuery::default()
        };
        let made = matchers(&query, &settings).unwrap();
        assert!(made[0].matches("") && !made[0].matches("1"));
        assert!(!made[1].matches("") && made[1].matches("1"));
    }
}
