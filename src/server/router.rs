//! All routes in one place; those under `/api/v1` are in `endpoints`.
//!
//! Prometheus' statuses for what is not there: 404 `404 page not found`, 405 for a known path with
//! another method (Grafana tries POST first and falls back to GET on 405). Who may ask is decided in
//! front of all of it, see `web_config::guard`.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{OriginalUri, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any, get, post};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::SizeAbove;

use super::paths::{not_found, plain_path, redirect, unrouted};
use super::{
    App, compression, counted, drain, endpoints, methods, operations, page, read_timeout,
    same_origin, web_config,
};
use crate::api::response::text_error;
use crate::api::{federate, influx};
use crate::telemetry::exposition;

/// The whole HTTP surface.
pub fn router(app: &Arc<App>) -> Router {
    let prefix = app.external_url.route_prefix.clone();
    let routes = routes(app)
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(not_found);
    let prefixed = if prefix.is_empty() {
        routes
    } else {
        let home = prefix.clone();
        Router::new()
            .route(
                "/",
                get(move || async move { redirect(StatusCode::FOUND, &home) }),
            )
            .route(&format!("{prefix}/"), get(to_query_page))
            .nest(&prefix, routes)
            .fallback(not_found)
    };
    let counting = prefixed
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(Arc::clone(app), counted::layer))
        .with_state(Arc::clone(app));
    // What has to happen before a route is looked for.
    Router::new()
        .fallback_service(counting)
        .layer(from_fn_with_state(Arc::clone(app), read_timeout::layer))
        .layer(from_fn(methods::layer))
        .layer(from_fn_with_state(Arc::clone(app), same_origin::layer))
        .layer(from_fn(plain_path))
        .layer(from_fn_with_state(
            Arc::clone(app),
            web_config::guard::layer,
        ))
        .layer(from_fn(drain::layer))
}

/// Pages and files that are asked for by GET, each also with a slash behind it.
const WITHOUT_SLASH: [&str; 7] = [
    "/query",
    "/graph",
    "/version",
    "/metrics",
    "/federate",
    "/-/healthy",
    "/-/ready",
];

/// What is asked for by POST or PUT, and refused for GET.
const OPERATIONS_WITHOUT_SLASH: [&str; 2] = ["/-/reload", "/-/quit"];

/// Redirects of paths with a slash too many, as Prometheus' router gives them.
fn slashes() -> Router<Arc<App>> {
    let mut router = Router::new();
    for path in WITHOUT_SLASH.into_iter().chain(OPERATIONS_WITHOUT_SLASH) {
        router = router.route(&format!("{path}/"), any(without_slash));
    }
    router
}

async fn without_slash(OriginalUri(uri): OriginalUri, method: Method) -> Response {
    let path = uri.path().trim_end_matches('/');
    let target = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let is_operation = OPERATIONS_WITHOUT_SLASH
        .iter()
        .any(|end| path.ends_with(end));
    match method {
        Method::GET => redirect(StatusCode::MOVED_PERMANENTLY, &target),
        Method::POST | Method::PUT if is_operation => {
            let mut response = redirect(StatusCode::TEMPORARY_REDIRECT, &target);
            // Go writes a page only for GET and HEAD.
            *response.body_mut() = Body::empty();
            response.headers_mut().remove(header::CONTENT_TYPE);
            response
        }
        _ => not_found().await,
    }
}

/// What is not under `/api/v1`, and that.
fn routes(app: &Arc<App>) -> Router<Arc<App>> {
    Router::new()
        .merge(slashes())
        .nest("/api/v1", endpoints::router(app))
        .route("/", get(to_query_page))
        .route("/graph", get(graph_to_query_page))
        .merge(page::router())
        .route("/version", get(operations::version))
        .route("/write", post(influx::write_v1))
        .route("/api/v2/write", post(influx::write_v2))
        .route("/ping", get(influx::ping))
        .route("/metrics", get(metrics))
        .route(
            "/federate",
            get(federate::federate)
                .layer(CompressionLayer::new().compress_when(SizeAbove::new(0)))
                .layer(from_fn(compression::layer)),
        )
        .route("/-/healthy", get(operations::healthy))
        .route("/-/ready", get(operations::ready))
        .route("/-/reload", operation(operations::reload))
        .route("/-/quit", operation(operations::quit))
}

/// What POST and PUT do, and GET is refused for.
fn operation<H, T>(handler: H) -> MethodRouter<Arc<App>>
where
    H: axum::handler::Handler<T, Arc<App>>,
    T: 'static,
{
    post(handler.clone())
        .put(handler)
        .get(operations::only_post_or_put)
}

/// 302 to the page.
async fn to_query_page(State(app): State<Arc<App>>) -> Response {
    redirect(
        StatusCode::FOUND,
        &format!("{}/query", app.external_url.path),
    )
}

/// 302 to the page, keeping the parameters of old links.
async fn graph_to_query_page(State(app): State<Arc<App>>, request: Request) -> Response {
    let query = request.uri().query().unwrap_or("");
    let target = format!("{}/query?{query}", app.external_url.path);
    redirect(StatusCode::FOUND, &target)
}

pub(super) async fn method_not_allowed() -> Response {
    unrouted(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed")
}

fn panicked(_: Box<dyn std::any::Any + Send>) -> Response {
    text_error(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal error: a request handler panicked; see the log",
    )
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
