//! `/api/v1/openapi.yaml`: the endpoints with their methods and parameters.

use std::collections::BTreeMap;

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::error::ApiError;
use super::params::Params;
use super::status::PROMETHEUS_VERSION;

/// Path under `/api/v1`, methods, parameters, what it answers.
type Endpoint = (
    &'static str,
    &'static [&'static str],
    &'static str,
    &'static str,
);

const ASK: &[&str] = &["get", "post"];
const GET: &[&str] = &["get"];
const POST: &[&str] = &["post"];
const DO: &[&str] = &["post", "put"];
const SEARCH: &str = "match[] search[] fuzz_threshold fuzz_alg case_sensitive sort_by sort_dir \
                      include_score start end limit batch_size";

const ENDPOINTS: &[Endpoint] = &[
    (
        "/query",
        ASK,
        "query time timeout limit lookback_delta stats",
        "Evaluate at one time",
    ),
    (
        "/query_range",
        ASK,
        "query start end step timeout limit lookback_delta stats",
        "Evaluate at many times",
    ),
    (
        "/query_exemplars",
        ASK,
        "query start end",
        "Exemplars of the selected series",
    ),
    ("/format_query", ASK, "query", "A query, laid out"),
    ("/parse_query", ASK, "query", "A query as a tree"),
    (
        "/series",
        ASK,
        "match[] start end limit",
        "Series by matchers",
    ),
    ("/labels", ASK, "match[] start end limit", "Label names"),
    (
        "/label/{name}/values",
        GET,
        "match[] start end limit",
        "Values of a label",
    ),
    (
        "/metadata",
        GET,
        "metric limit limit_per_metric",
        "Type, help and unit of metrics",
    ),
    ("/search/metric_names", ASK, SEARCH, "Metric names, ranked"),
    ("/search/label_names", ASK, SEARCH, "Label names, ranked"),
    (
        "/search/label_values",
        ASK,
        SEARCH,
        "Values of a label, ranked",
    ),
    (
        "/rules",
        GET,
        "type exclude_alerts match[] group_limit group_next_token",
        "Rules: none",
    ),
    ("/alerts", GET, "", "Alerts: none"),
    ("/targets", GET, "state scrapePool", "Targets: none"),
    (
        "/targets/metadata",
        GET,
        "match_target metric limit",
        "Metadata of targets: none",
    ),
    (
        "/targets/relabel_steps",
        GET,
        "scrapePool labels",
        "Relabelling: no scrape pool",
    ),
    ("/scrape_pools", GET, "", "Scrape pools: none"),
    (
        "/scrape_pools/config",
        GET,
        "scrapePool",
        "Configuration of a scrape pool: none",
    ),
    ("/alertmanagers", GET, "", "Alertmanagers: none"),
    ("/status/config", GET, "", "The configuration in force"),
    ("/status/flags", GET, "", "The flags in force"),
    ("/status/runtimeinfo", GET, "", "The process"),
    ("/status/buildinfo", GET, "", "The version"),
    ("/status/tsdb", GET, "limit", "What the head consists of"),
    ("/status/tsdb/blocks", GET, "", "The blocks"),
    ("/status/walreplay", GET, "", "How the replay at start goes"),
    (
        "/status/self_metrics",
        GET,
        "metric_name_pattern",
        "The server's metrics",
    ),
    ("/features", GET, "", "What the server can do"),
    ("/notifications", GET, "", "What an operator should know"),
    (
        "/notifications/live",
        GET,
        "",
        "The same as a stream of events",
    ),
    ("/openapi.yaml", GET, "openapi_version", "This"),
    ("/write", POST, "", "Remote write"),
    ("/read", POST, "", "Remote read"),
    ("/otlp/v1/metrics", POST, "", "Metrics from OpenTelemetry"),
    (
        "/import/prometheus",
        POST,
        "timestamp extra_label",
        "Exposition text or OpenMetrics",
    ),
    ("/admin/tsdb/flush", DO, "", "The head goes into blocks"),
    (
        "/admin/tsdb/compact",
        DO,
        "",
        "Blocks merge to their final level",
    ),
    (
        "/admin/tsdb/delete_series",
        DO,
        "match[] start end",
        "Delete samples",
    ),
    (
        "/admin/tsdb/clean_tombstones",
        DO,
        "",
        "Deleted samples leave the files",
    ),
    (
        "/admin/tsdb/snapshot",
        DO,
        "skip_head",
        "A copy of the database",
    ),
];

fn operation(method: &str, path: &str, parameters: &str, summary: &str) -> Value {
    let in_path = path.contains("{name}").then(|| {
        json!({ "name": "name", "in": "path", "required": true, "schema": { "type": "string" } })
    });
    let in_query = parameters.split_whitespace().map(|name| {
        let kind = if name.ends_with("[]") {
            json!({ "type": "array", "items": { "type": "string" } })
        } else {
            json!({ "type": "string" })
        };
        json!({ "name": name, "in": "query", "schema": kind })
    });
    let parameters: Vec<Value> = in_path.into_iter().chain(in_query).collect();
    let id: String = path
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    json!({
        "operationId": format!("{method}{id}"),
        "summary": summary,
        "parameters": parameters,
        "responses": {
            "200": { "description": "Success" },
            "default": { "description": "Error" },
        },
    })
}

/// The document.
fn document(version: &str) -> Value {
    let mut paths: BTreeMap<String, BTreeMap<&str, Value>> = BTreeMap::new();
    for (path, methods, parameters, summary) in ENDPOINTS {
        let operations = paths.entry((*path).to_owned()).or_default();
        for method in *methods {
            operations.insert(method, operation(method, path, parameters, summary));
        }
    }
    json!({
        "openapi": version,
        "info": { "title": "Tenbin: Prometheus API", "version": PROMETHEUS_VERSION },
        "servers": [{ "url": "/api/v1" }],
        "paths": paths,
    })
}

/// `GET /api/v1/openapi.yaml`
pub async fn openapi(params: Params) -> Response {
    let version = match params.first("openapi_version") {
        "" | "3.1" => "3.1.0",
        "3.2" => "3.2.0",
        _ => return ApiError::bad_data("openapi_version must be 3.1 or 3.2").into_response(),
    };
    let mut response = serde_saphyr::to_string(&document(version))
        .unwrap_or_default()
        .into_response();
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/yaml; charset=utf-8"),
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_described() {
        let source = include_str!("../server/router.rs");
        let api = source.split("fn api(").nth(1).unwrap_or_default();
        let api = api.split("cors::layer").next().unwrap_or_default();
        let mut count = 0;
        for part in api.split(".route(").skip(1) {
            let path = part.trim_start().trim_start_matches('"');
            let path = path.split('"').next().unwrap_or_default();
            let is_there = ENDPOINTS.iter().any(|endpoint| endpoint.0 == path);
            assert!(is_there, "{path} is not described");
            count += 1;
        }
        assert!(count >= 30, "{count}");
        let yaml = serde_saphyr::to_string(&document("3.1.0")).unwrap();
        let read: Value = serde_saphyr::from_str(&yaml).unwrap();
        assert_eq!(read["paths"]["/query"]["post"]["operationId"], "post-query");
        assert_eq!(read["openapi"], "3.1.0");
    }
}
