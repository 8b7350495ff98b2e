//! `POST /api/v1/import/prometheus`: exposition text and OpenMetrics, samples of any age inside the
//! retention time. Query parameters as VictoriaMetrics has them: `timestamp` (milliseconds, for lines
//! without a time) and `extra_label=name=value`.
//!
//! 204 when every line is stored and durable; else 400, and each bad line is named. What is good is
//! stored all the same.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tenbin_model::write::{AppendReport, RejectReason};
use tenbin_storage::{Commit, Db};

use super::body::{Refusal, gunzip, header_text, read_body};
use super::params::Params;
use super::stored::{durable, off_the_workers, refused_append};
use crate::ingest::batch::Batch;
use crate::ingest::exposition::{self, Reading};
use crate::ingest::lines::Problems;
use crate::limits::WriteLimits;
use crate::server::{App, Peer, Store};

/// What a body of lines came to: stored, or what is wrong with which lines and the status for that.
pub(super) type Outcome = Result<(), Refusal>;

/// Where lines go: the store and the connection that they come from.
pub(super) struct Target {
    pub(super) app: Arc<App>,
    pub(super) db: Arc<Db>,
    pub(super) peer: Peer,
}

impl Target {
    /// Reads, unpacks and stores a body of lines: `fill` reads them into the batch.
    pub(super) async fn store(
        self,
        headers: &HeaderMap,
        body: Body,
        fill: impl FnOnce(&[u8], &mut Batch<'_>) -> Result<Problems, Refusal> + Send + 'static,
    ) -> Outcome {
        let gzip = match header_text(headers, header::CONTENT_ENCODING) {
            "" | "identity" => false,
            "gzip" => true,
            other => {
                let text = format!("unsupported compression: {other}; only gzip or none");
                return Err(Refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
            }
        };
        let app = self.app;
        let body = read_body(body, &app.write_limits, &app.bodies, headers).await?;
        let (outcome, commit) = off_the_workers(move || {
            let limits = &app.write_limits;
            let unpacked = gzip.then(|| gunzip(&body, limits)).transpose()?;
            let body = unpacked.as_deref().unwrap_or(&body);
            append(&self.db, self.peer, limits, |batch| fill(body, batch))
        })
        .await?;
        durable(commit).await?;
        outcome
    }
}

fn append(
    db: &Db,
    peer: Peer,
    limits: &WriteLimits,
    fill: impl FnOnce(&mut Batch<'_>) -> Result<Problems, Refusal>,
) -> Result<(Outcome, Commit), Refusal> {
    let mut batch = Batch::new(limits);
    let problems = fill(&mut batch)?;
    let appended = db.backfill(peer.connection, &batch);
    let (report, commit) = appended.map_err(|error| refused_append(&error))?;
    Ok((outcome(problems, &report, &batch), commit))
}

fn outcome(mut problems: Problems, report: &AppendReport, batch: &Batch<'_>) -> Outcome {
    let mut status = StatusCode::BAD_REQUEST;
    for (entry, reason) in &report.invalid {
        problems.add(batch.origin(*entry), &reason.to_string());
    }
    for (entry, reason) in &report.rejections {
        if matches!(reason, RejectReason::SeriesLimit { .. }) {
            status = StatusCode::TOO_MANY_REQUESTS;
        }
        problems.add(batch.origin(*entry), &reason.to_string());
    }
    for (entry, reason) in &report.exemplar_errors {
        problems.add(batch.origin(*entry), &reason.to_string());
    }
    let named = (report.invalid.len() + report.rejections.len()) as u64;
    problems.add_unseen(report.invalid_entries + report.rejected_samples - named);
    if problems.is_empty() {
        return Ok(());
    }
    Err(Refusal(status, problems.lines().join("\n")))
}

/// `name=value`, repeated.
fn extra_labels(params: &Params) -> Result<Vec<(String, String)>, Refusal> {
    let pairs = params.all("extra_label").iter().map(|text| {
        let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
        let pair = pair.map(|(name, value)| (name.to_owned(), value.to_owned()));
        pair.ok_or_else(|| Refusal::bad(format!("extra_label {text:?} is not name=value")))
    });
    pairs.collect()
}

/// `POST /api/v1/import/prometheus`
pub async fn prometheus(
    State(app): State<Arc<App>>,
    Store(db): Store,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request<Body>,
) -> Response {
    let (parts, body) = request.into_parts();
    // The body is no form, whatever its Content-Type says: curl calls everything one.
    let params = Params::from_encoded(parts.uri.query().unwrap_or(""));
    let stored = async {
        let extra_labels = extra_labels(&params)?;
        let now_ms = match params.first("timestamp") {
            "" => app.clock.now_ms(),
            text => text.parse().map_err(|_| {
                Refusal::bad(format!("timestamp {text:?} is no number of milliseconds"))
            })?,
        };
        let content_type = header_text(&parts.headers, header::CONTENT_TYPE);
        let media_type = content_type
            .split(';')
            .next()
            .unwrap_or("")
            .trim()
            .to_owned();
        let target = Target { app, db, peer };
        let fill = move |text: &[u8], batch: &mut Batch<'_>| {
            let open_metrics = match media_type.as_str() {
                "application/openmetrics-text" => true,
                "text/plain" => false,
                _ => exposition::ends_as_open_metrics(text),
            };
            let reading = Reading {
                open_metrics,
                now_ms,
                extra_labels: &extra_labels,
            };
            exposition::read(text, &reading, batch).map_err(|e| Refusal::bad(e.to_string()))
        };
        target.store(&parts.headers, body, fill).await
    };
    match stored.await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(refusal) => refusal.into_response(),
    }
}
