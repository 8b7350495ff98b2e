//! Rules and alerts: there is no rule engine, so no group and no alert; parameters are checked as in
//! Prometheus (`web/api/v1/api.go`, `rules`).

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tenbin_model::text::quote::quoted;

use super::error::ApiError;
use super::params::{Params, parse_bool};
use super::response::success_json;
use super::series::matcher_sets;
use super::times::parse_integer_as;
use crate::server::App;

fn check(app: &App, params: &Params) -> Result<(), ApiError> {
    params.whole_form()?;
    matcher_sets(app, params).map_err(ApiError::bad_data)?;
    let kind = params.first_of_url("type").to_lowercase();
    if !matches!(kind.as_str(), "" | "alert" | "record") {
        let text = format!("not supported value {}", quoted(&kind));
        return Err(ApiError::invalid_parameter("type", text));
    }
    let exclude = params.first_of_url("exclude_alerts").to_lowercase();
    if !exclude.is_empty() {
        parse_bool(&exclude).map_err(|e| {
            let text = format!("error converting exclude_alerts: {e}");
            ApiError::invalid_parameter("exclude_alerts", text)
        })?;
    }
    let (limit, token) = (
        params.first_of_url("group_limit"),
        params.first_of_url("group_next_token"),
    );
    if limit.is_empty() {
        if token.is_empty() {
            return Ok(());
        }
        let text = "group_limit needs to be present in order to paginate over the groups";
        return Err(ApiError::invalid_parameter("group_next_token", text));
    }
    let limit = parse_integer_as("ParseInt", limit).map_err(|e| {
        let text = format!("group_limit needs to be a valid number: {e}");
        ApiError::invalid_parameter("group_limit", text)
    })?;
    if limit <= 0 {
        let text = "group_limit needs to be greater than 0";
        return Err(ApiError::invalid_parameter("group_limit", text));
    }
    if !token.is_empty() {
        let text = format!("invalid group_next_token '{token}'. were rule groups changed?");
        return Err(ApiError::invalid_parameter("group_next_token", text));
    }
    Ok(())
}

/// `GET /api/v1/rules`
pub async fn rules(State(app): State<Arc<App>>, params: Params) -> Response {
    match check(&app, &params) {
        Ok(()) => success_json(&json!({ "groups": [] })),
        Err(error) => error.into_response(),
    }
}

/// `GET /api/v1/alerts`
pub async fn alerts() -> Response {
    success_json(&json!({ "alerts": [] }))
}
