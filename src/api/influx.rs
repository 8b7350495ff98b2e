//! Influx line protocol: `POST /write` (1.x), `POST /api/v2/write` (2.x), and `/ping`.
//!
//! Errors come in Influx' JSON, so that its senders show them. There is no query language of Influx.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderName, HeaderValue, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::body::Refusal;
use super::import::Target;
use super::params::Params;
use crate::ingest::batch::Batch;
use crate::ingest::influx::{Reading, precision_ns, read};
use crate::server::{App, Peer, Store};

/// Which of the two interfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

/// `POST /write?db=...&precision=...`
pub async fn write_v1(
    State(app): State<Arc<App>>,
    Store(db): Store,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request<Body>,
) -> Response {
    write(Target { app, db, peer }, request, Version::V1).await
}

/// `POST /api/v2/write?bucket=...&precision=...`
pub async fn write_v2(
    State(app): State<Arc<App>>,
    Store(db): Store,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request<Body>,
) -> Response {
    write(Target { app, db, peer }, request, Version::V2).await
}

async fn write(target: Target, request: Request<Body>, version: Version) -> Response {
    let (parts, body) = request.into_parts();
    let params = Params::from_encoded(parts.uri.query().unwrap_or(""));
    let stored = async {
        let precision = params.first("precision");
        let Some(unit_ns) = precision_ns(precision) else {
            return Err(Refusal::bad(format!(
                "precision {precision:?} is not one of ns, us, ms, s, m, h"
            )));
        };
        let database = match params.first("db") {
            "" => params.first("bucket").to_owned(),
            database => database.to_owned(),
        };
        let now_ms = target.app.clock.now_ms();
        let fill = move |text: &[u8], batch: &mut Batch<'_>| {
            let reading = Reading {
                unit_ns,
                now_ms,
                database: &database,
            };
            read(text, &reading, batch).map_err(|e| Refusal::bad(e.to_string()))
        };
        target.store(&parts.headers, body, fill).await
    };
    match stored.await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(refusal) => refused(refusal, version),
    }
}

fn refused(refusal: Refusal, version: Version) -> Response {
    let Refusal(status, text) = &refusal;
    let json = match version {
        Version::V1 => serde_json::json!({ "error": text }),
        Version::V2 => {
            let code = match status.as_u16() {
                413 => "request too large",
                429 => "too many requests",
                500..=599 => "internal error",
                _ => "invalid",
            };
            serde_json::json!({ "code": code, "message": text })
        }
    };
    let mut response = refusal.into_response();
    *response.body_mut() = Body::from(format!("{json}\n"));
    let headers = response.headers_mut();
    let content_type = HeaderValue::from_static("application/json");
    headers.insert(header::CONTENT_TYPE, content_type);
    response
}

/// `GET|HEAD /ping`: senders ask whether somebody is there, and of which version.
pub async fn ping() -> Response {
    let version = HeaderName::from_static("x-influxdb-version");
    let headers = [(version, HeaderValue::from_static("1.8.0"))];
    (StatusCode::NO_CONTENT, headers).into_response()
}
