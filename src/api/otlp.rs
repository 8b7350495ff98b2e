//! `POST /api/v1/otlp/v1/metrics`: metrics from OpenTelemetry, binary or JSON, gzip or plain.
//!
//! 200 with an empty body when all is stored and durable. What can be translated and stored is, also
//! where other parts cannot; the statuses and texts are then Prometheus': 400 where the store refused
//! samples for their time or value, 500 where something could not be translated. Source: Prometheus
//! `storage/remote/write_otlp_handler.go`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tenbin_model::write::{AppendReport, RejectReason};
use tenbin_storage::{Commit, Db};

use super::body::{Refusal, gunzip, header_text, read_body};
use super::stored::{durable, off_the_workers, refused_append};
use crate::ingest::otlp::settings::OtlpSettings;
use crate::ingest::otlp::{OtlpError, Translated, json, translate};
use crate::limits::WriteLimits;
use crate::server::{App, Peer, Store};

/// The form of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Form {
    json: bool,
    gzip: bool,
}

/// `POST /api/v1/otlp/v1/metrics`
pub async fn metrics(
    State(app): State<Arc<App>>,
    Store(db): Store,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request<Body>,
) -> Response {
    let (parts, body) = request.into_parts();
    let stored = async {
        let form = form(&parts.headers)?;
        let body = read_body(body, &app.write_limits, &app.bodies, &parts.headers).await?;
        let settings = OtlpSettings {
            file: app.config.current().otlp.clone(),
            deltas: app.otlp_deltas.clone(),
            type_and_unit_labels: app.engine.features.type_and_unit_labels,
            lookback_ms: app.engine.lookback_ms,
        };
        let shared = Arc::clone(&app);
        let (outcome, commit) = off_the_workers(move || {
            let limits = &shared.write_limits;
            let unpacked = form.gzip.then(|| gunzip(&body, limits)).transpose()?;
            let body = unpacked.as_deref().unwrap_or(&body);
            store(&db, peer, form, body, &settings, limits)
        })
        .await?;
        durable(commit).await?;
        outcome
    };
    match stored.await {
        Ok(()) => StatusCode::OK.into_response(),
        Err(refusal) => {
            tracing::debug!(
                status = refusal.0.as_u16(),
                text = refusal.1,
                "OTLP: refused"
            );
            refusal.into_response()
        }
    }
}

fn form(headers: &HeaderMap) -> Result<Form, Refusal> {
    let json = match header_text(headers, header::CONTENT_TYPE) {
        "application/x-protobuf" => false,
        "application/json" => true,
        other => {
            return Err(Refusal::bad(format!(
                "unsupported content type: {other}, \
                 supported: [application/json, application/x-protobuf]"
            )));
        }
    };
    let gzip = match header_text(headers, header::CONTENT_ENCODING) {
        "" => false,
        "gzip" => true,
        other => {
            return Err(Refusal::bad(format!(
                "unsupported compression: {other}. Only \"gzip\" or no compression supported"
            )));
        }
    };
    Ok(Form { json, gzip })
}

/// Translates and appends; the outcome is what to answer once that is durable.
fn store(
    db: &Db,
    peer: Peer,
    form: Form,
    body: &[u8],
    settings: &OtlpSettings,
    limits: &WriteLimits,
) -> Result<(Result<(), Refusal>, Commit), Refusal> {
    let refused = |error: OtlpError| match error {
        OtlpError::Decode(text) | OtlpError::Limit(text) => Refusal::bad(text),
    };
    let converted = form
        .json
        .then(|| json::to_binary(body))
        .transpose()
        .map_err(refused)?;
    let message = converted.as_deref().unwrap_or(body);
    let translated = translate(message, settings, limits).map_err(refused)?;
    let appended = db.append(peer.connection, &translated.batch);
    let (report, commit) = appended.map_err(|error| refused_append(&error))?;
    Ok((outcome(&translated, &report), commit))
}

fn outcome(translated: &Translated<'_>, report: &AppendReport) -> Result<(), Refusal> {
    let mut lines = translated.failures.clone();
    let mut status = StatusCode::INTERNAL_SERVER_ERROR;
    for (_, reason) in &report.rejections {
        let own = match reason {
            RejectReason::SeriesLimit { .. } => StatusCode::TOO_MANY_REQUESTS,
            RejectReason::InvalidHistogram(_) | RejectReason::HistogramTooLarge { .. } => status,
            _ => StatusCode::BAD_REQUEST,
        };
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            status = own;
        }
        lines.push(reason.to_string());
    }
    lines.extend(report.invalid.iter().map(|(_, reason)| reason.to_string()));
    if lines.is_empty() {
        return Ok(());
    }
    let said = (translated.failures.len() + report.rejections.len() + report.invalid.len()) as u64;
    let all = translated.failures.len() as u64
        + translated.more_failures
        + report.rejected_samples
        + report.invalid_entries;
    if all > said {
        lines.push(format!("and {} more", all - said));
    }
    Err(Refusal(status, lines.join("\n")))
}
