//! `/api/v1/metadata`: type, help and unit per metric.
//!
//! Remote write 1.0 carries metadata apart from series and nothing stores it yet, so the answer is
//! empty, as Prometheus' is for metrics that it only received.

use axum::response::{IntoResponse, Response};

use super::error::ApiError;
use super::params::Params;
use super::response::success;
use super::times::parse_integer;

/// `GET /api/v1/metadata`
pub async fn metadata(params: Params) -> Response {
    for name in ["limit", "limit_per_metric"] {
        let text = params.first(name);
        if !text.is_empty() && parse_integer(text).is_err() {
            return ApiError::bad_data(format!("{name} must be a number")).into_response();
        }
    }
    success(|out| out.extend_from_slice(b"{}"))
}
