//! `/api/v1/status/*`: what the server is, how it was started, and what it holds.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::error::ApiError;
use super::params::Params;
use super::response::success_json;
use super::times::parse_integer;
use crate::server::{App, Store};
use tenbin_storage::{BlockSummary, NamedCount};

/// The version of Prometheus whose behaviour is promised; clients switch features on it.
pub const PROMETHEUS_VERSION: &str = "3.14.0";

/// What `buildinfo` and `/version` say.
#[must_use]
pub fn build_info() -> Value {
    json!({
        "version": PROMETHEUS_VERSION,
        "revision": concat!("tenbin-", env!("CARGO_PKG_VERSION")),
        "branch": "tenbin",
        "buildUser": "",
        "buildDate": "",
        "goVersion": "",
    })
}

/// `GET /api/v1/status/buildinfo`. Grafana takes a server without `features` for Prometheus.
pub async fn buildinfo() -> Response {
    success_json(&build_info())
}

/// `GET /api/v1/status/flags`
pub async fn flags(State(app): State<Arc<App>>) -> Response {
    success_json(&Value::Object(
        app.flags
            .iter()
            .map(|(name, value)| (name.clone(), Value::from(value.as_str())))
            .collect(),
    ))
}

/// `GET /api/v1/status/runtimeinfo`
pub async fn runtimeinfo(State(app): State<Arc<App>>, Store(db): Store) -> Response {
    let text = |ms: i64| {
        jiff::Timestamp::from_millisecond(ms).map_or_else(|_| String::new(), |t| t.to_string())
    };
    let reload = app.config.last_reload();
    let directory = std::env::current_dir()
        .map(|d| d.display().to_string())
        .unwrap_or_default();
    success_json(&json!({
        "startTime": text(app.started_ms),
        "CWD": directory,
        "hostname": crate::telemetry::process::hostname(),
        "serverTime": text(app.clock.now_ms()),
        "reloadConfigSuccess": reload.succeeded,
        "lastConfigTime": text(reload.success_ms.max(app.started_ms)),
        "corruptionCount": db.stats().corruptions.len(),
        "goroutineCount": crate::telemetry::process::thread_count(),
        "GOMAXPROCS": std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        "GOMEMLIMIT": 0,
        "GOGC": "",
        "GODEBUG": "",
        "storageRetention": app.retention_text,
    }))
}

/// `GET /api/v1/status/tsdb`
pub async fn tsdb(Store(db): Store, params: Params) -> Response {
    let limit = match params.first("limit") {
        "" => 10,
        text => match parse_integer(text) {
            Ok(limit) if (1..=10_000).contains(&limit) => limit as usize,
            Ok(limit) if limit > 10_000 => {
                return ApiError::bad_data("limit must not exceed 10000").into_response();
            }
            _ => return ApiError::bad_data("limit must be a positive number").into_response(),
        },
    };
    let answer = tokio::task::spawn_blocking(move || {
        let stats = db.stats();
        let counts = db.cardinality(limit);
        let list = |counts: &[NamedCount]| -> Value {
            counts
                .iter()
                .map(|c| json!({ "name": c.name, "value": c.count }))
                .collect()
        };
        success_json(&json!({
            "headStats": {
                "numSeries": stats.head_series,
                "numLabelPairs": counts.label_pairs,
                "chunkCount": stats.head_chunks,
                // Of an empty head Prometheus shows the ends of time, swapped.
                "minTime": stats.head_min_time_ms.unwrap_or(i64::MAX),
                "maxTime": stats.max_time_ms.unwrap_or(i64::MIN),
            },
            "seriesCountByMetricName": list(&counts.series_by_metric),
            "labelValueCountByLabelName": list(&counts.values_by_label),
            "memoryInBytesByLabelName": list(&counts.bytes_by_label),
            "seriesCountByLabelValuePair": list(&counts.series_by_pair),
        }))
    });
    match answer.await {
        Ok(response) => response,
        Err(_) => ApiError::new(super::error::ErrorKind::Internal, "status thread panicked")
            .into_response(),
    }
}

/// `GET /api/v1/status/walreplay`, which answers before the store is open.
pub async fn walreplay(State(app): State<Arc<App>>) -> Response {
    let read =
        |counter: &std::sync::atomic::AtomicU64| counter.load(std::sync::atomic::Ordering::Relaxed);
    let (min, max, current) = (
        0,
        read(&app.replay.segments_total),
        read(&app.replay.segments_done),
    );
    success_json(&json!({ "min": min, "max": max, "current": current }))
}

/// `GET /api/v1/status/config`: what is in force, flags included.
pub async fn config(State(app): State<Arc<App>>) -> Response {
    success_json(&json!({ "yaml": app.config.current().to_yaml() }))
}

/// `GET /api/v1/status/tsdb/blocks`, in the form of Prometheus' `meta.json`.
pub async fn blocks(Store(db): Store) -> Response {
    let list: Vec<Value> = db.block_list().iter().map(block).collect();
    success_json(&json!({ "blocks": list }))
}

fn block(block: &BlockSummary) -> Value {
    json!({
        "ulid": format!("{:026}", block.number),
        "minTime": block.min_time_ms,
        // Exclusive, as in Prometheus.
        "maxTime": block.max_time_ms.saturating_add(1),
        "stats": {
            "numSamples": block.samples,
            "numSeries": block.series,
            "numTombstones": block.tombstones,
            "numBytes": block.bytes,
        },
        "compaction": {
            "level": u32::from(block.level) + 1,
            "failed": block.is_damaged,
        },
        "version": 1,
    })
}
