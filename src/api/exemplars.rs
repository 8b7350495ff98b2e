//! `/api/v1/query_exemplars`: the exemplars of all series that a query selects.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tenbin_model::{Matcher, TimeRange};
use tenbin_storage::{ExemplarSeries, StoredExemplar};

use super::error::ApiError;
use super::json::{push_labels, push_list, push_sample, push_timestamp};
use super::params::Params;
use super::response::success;
use super::series::in_background;
use super::times::{MAX_TIME_MS, MIN_TIME_MS, time_param};
use crate::server::{App, Store};

/// The selectors of the query and the time range.
fn lookup(app: &App, params: &Params) -> Result<(Vec<Vec<Matcher>>, TimeRange), ApiError> {
    let start_ms = time_param(params, "start", MIN_TIME_MS)?;
    let end_ms = time_param(params, "end", MAX_TIME_MS)?;
    if end_ms < start_ms {
        let text = "end timestamp must not be before start timestamp";
        return Err(ApiError::bad_data(text));
    }
    let expr = tenbin_promql::parse(params.first("query"), &app.engine.features)
        .map_err(|e| ApiError::bad_data(e.to_string()))?;
    let selectors = tenbin_promql::selectors(&expr).into_iter();
    let sets = selectors.map(<[Matcher]>::to_vec).collect();
    Ok((sets, TimeRange::new(start_ms, end_ms)))
}

/// `GET|POST /api/v1/query_exemplars`
pub async fn exemplars(State(app): State<Arc<App>>, Store(db): Store, params: Params) -> Response {
    let (sets, range) = match lookup(&app, &params) {
        Ok(lookup) => lookup,
        Err(error) => return error.into_response(),
    };
    if sets.is_empty() {
        // As in Prometheus: nothing to look up, nothing to answer.
        return StatusCode::NO_CONTENT.into_response();
    }
    in_background(&app, move || {
        let found = db.exemplars(&sets, range)?;
        Ok(success(|out| push_list(out, &found, push_series)))
    })
    .await
}

fn push_series(out: &mut Vec<u8>, series: &ExemplarSeries) {
    out.extend_from_slice(b"{\"seriesLabels\":");
    push_labels(out, &series.labels);
    out.extend_from_slice(b",\"exemplars\":");
    push_list(out, &series.exemplars, push_exemplar);
    out.push(b'}');
}

fn push_exemplar(out: &mut Vec<u8>, exemplar: &StoredExemplar) {
    out.extend_from_slice(b"{\"labels\":");
    push_labels(out, &exemplar.labels);
    out.extend_from_slice(b",\"value\":");
    push_sample(out, exemplar.value);
    out.extend_from_slice(b",\"timestamp\":");
    push_timestamp(out, exemplar.timestamp_ms);
    out.push(b'}');
}
