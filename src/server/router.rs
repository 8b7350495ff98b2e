//! All routes in one place.
//!
//! Prometheus' statuses for what is not there: 404 `404 page not found`, 405 for a known path with
//! another method (Grafana tries POST first and falls back to GET on 405).

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, RawQuery, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;

use super::{App, cors};
use crate::api::response::text_error;
use crate::api::{
    admin, exemplars, federate, labels, metadata, otlp, query, remote_read, series, status, write,
};
use crate::telemetry::exposition;

/// The page at `/query`.
const QUERY_PAGE: &str = include_str!("../../ui/query.html");

/// The whole HTTP surface.
pub fn router(app: &Arc<App>) -> Router {
    let api = Router::new()
        .route("/query", get(query::instant).post(query::instant))
        .route("/query_range", get(query::range).post(query::range))
        .route(
            "/query_exemplars",
            get(exemplars::exemplars).post(exemplars::exemplars),
        )
        .route(
            "/format_query",
            get(query::format_query).post(query::format_query),
        )
        .route(
            "/parse_query",
            get(query::parse_query_tree).post(query::parse_query_tree),
        )
        .route("/series", get(series::series).post(series::series))
        .route("/labels", get(labels::names).post(labels::names))
        .route("/label/{name}/values", get(labels::values))
        .route("/metadata", get(metadata::metadata))
        .route("/rules", get(status::rules))
        .route("/alerts", get(status::alerts))
        .route("/targets", get(status::targets))
        .route("/alertmanagers", get(status::alertmanagers))
        .route("/status/buildinfo", get(status::buildinfo))
        .route("/status/flags", get(status::flags))
        .route("/status/runtimeinfo", get(status::runtimeinfo))
        .route("/status/tsdb", get(status::tsdb))
        .route("/status/walreplay", get(status::walreplay))
        .route("/admin/tsdb/flush", post(admin::flush).put(admin::flush))
        .route(
            "/admin/tsdb/compact",
            post(admin::compact).put(admin::compact),
        )
        .route(
            "/admin/tsdb/delete_series",
            post(admin::delete_series).put(admin::delete_series),
        )
        .route(
            "/admin/tsdb/clean_tombstones",
            post(admin::clean_tombstones).put(admin::clean_tombstones),
        )
        .route(
            "/admin/tsdb/snapshot",
            post(admin::snapshot).put(admin::snapshot),
        )
        .layer(CompressionLayer::new())
        .route("/write", post(write::write))
        .route("/read", post(remote_read::read))
        .route("/otlp/v1/metrics", post(otlp::metrics))
        .layer(from_fn_with_state(Arc::clone(app), cors::layer));
    Router::new()
        .nest("/api/v1", api)
        .route("/", get(to_query_page))
        .route("/graph", get(to_query_page))
        .route("/query", get(|| async { Html(QUERY_PAGE) }))
        .route("/metrics", get(metrics))
        .route(
            "/federate",
            get(federate::federate).layer(CompressionLayer::new()),
        )
        .route("/-/healthy", get(healthy))
        .route("/-/ready", get(ready))
        .route("/-/quit", post(quit).put(quit))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(Arc::clone(app), count))
        .with_state(Arc::clone(app))
}

/// 302 to the page, keeping the parameters of old links.
async fn to_query_page(RawQuery(query): RawQuery) -> Response {
    let target = query.map_or_else(|| "/query".to_owned(), |query| format!("/query?{query}"));
    (StatusCode::FOUND, [(header::LOCATION, target)]).into_response()
}

async fn not_found() -> Response {
    text_error(StatusCode::NOT_FOUND, "404 page not found")
}

async fn method_not_allowed() -> Response {
    text_error(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed")
}

fn panicked(_: Box<dyn std::any::Any + Send>) -> Response {
    text_error(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal error: a request handler panicked; see the log",
    )
}

async fn healthy() -> &'static str {
    "Prometheus Server is Healthy.\n"
}

async fn ready(State(app): State<Arc<App>>) -> Response {
    match app.store() {
        Some(_) => "Prometheus Server is Ready.\n".into_response(),
        None => app.not_ready(),
    }
}

async fn quit(State(app): State<Arc<App>>) -> Response {
    if !app.lifecycle_enabled {
        return text_error(StatusCode::FORBIDDEN, "Lifecycle API is not enabled.");
    }
    app.stop.notify_one();
    "Requesting termination... Goodbye!".into_response()
}

async fn metrics(State(app): State<Arc<App>>) -> Response {
    let stats = app.store().map(|db| db.stats());
    let text = exposition::render(&app, stats.as_ref());
    let mut response = text.into_response();
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"),
    );
    response
}

/// Counts every request under its route and status.
async fn count(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let route = request.extensions().get::<MatchedPath>().map_or_else(
        || "unknown".to_owned(),
        |path| prometheus_route(path.as_str()),
    );
    let response = next.run(request).await;
    app.telemetry
        .http
        .observe(&route, response.status().as_u16(), started.elapsed());
    response
}

/// Prometheus writes path parameters as `:name`.
fn prometheus_route(route: &str) -> String {
    route.replace('{', ":").replace('}', "")
}
