//! Targets, scrape pools and alertmanagers: nothing is scraped and nobody is alerted, so these are empty;
//! parameters are checked as in Prometheus.

use axum::response::{IntoResponse, Response};
use serde_json::json;
use tenbin_model::text::quote::quoted;

use super::error::{ApiError, ErrorKind};
use super::params::Params;
use super::response::success_json;
use super::times::parse_integer;

/// `GET /api/v1/targets`
pub async fn targets(params: Params) -> Response {
    let state = params.first_of_url("state").to_lowercase();
    let shows_dropped = matches!(state.as_str(), "" | "any" | "dropped");
    success_json(&json!({
        "activeTargets": [],
        "droppedTargets": [],
        "droppedTargetCounts": if shows_dropped { json!({}) } else { json!(null) },
    }))
}

/// `GET /api/v1/scrape_pools`
pub async fn scrape_pools() -> Response {
    success_json(&json!({ "scrapePools": [] }))
}

/// The pool that a request names; there is none of any name.
fn pool(params: &Params) -> Result<&str, ApiError> {
    match params.first("scrapePool") {
        "" => Err(ApiError::bad_data("no scrapePool parameter provided")),
        name => Ok(name),
    }
}

fn no_pool(name: &str) -> ApiError {
    let text = format!("scrape pool {} not found", quoted(name));
    ApiError::new(ErrorKind::NotFound, text)
}

/// `GET /api/v1/scrape_pools/config`
pub async fn scrape_pool_config(params: Params) -> Response {
    match pool(&params) {
        Ok(name) => no_pool(name).into_response(),
        Err(error) => error.into_response(),
    }
}

/// `GET /api/v1/targets/relabel_steps`
pub async fn relabel_steps(params: Params) -> Response {
    let checked = pool(&params).and_then(|name| {
        let labels = params.first("labels");
        if labels.is_empty() {
            return Err(ApiError::bad_data("no labels parameter provided"));
        }
        serde_json::from_str::<std::collections::BTreeMap<String, String>>(labels)
            .map_err(|e| ApiError::bad_data(format!("error parsing labels: {e}")))?;
        Err::<(), _>(no_pool(name))
    });
    match checked {
        Ok(()) => success_json(&json!({ "steps": [] })),
        Err(error) => error.into_response(),
    }
}

/// `GET /api/v1/targets/metadata`
pub async fn metadata(
    axum::extract::State(app): axum::extract::State<std::sync::Arc<crate::server::App>>,
    params: Params,
) -> Response {
    if parse_integer(params.first("limit")).is_err() && !params.first("limit").is_empty() {
        return ApiError::bad_data("limit must be a number").into_response();
    }
    let target = params.first("match_target");
    if !target.is_empty()
        && let Err(error) = tenbin_promql::parse_matchers(target, &app.engine.features)
    {
        return ApiError::invalid_parameter("match_target", error).into_response();
    }
    success_json(&json!([]))
}

/// `GET /api/v1/alertmanagers`
pub async fn alertmanagers() -> Response {
    success_json(&json!({ "activeAlertmanagers": [], "droppedAlertmanagers": [] }))
}
