//! `/api/v1/series`, and the matcher parameters that it shares with the label endpoints.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use tenbin_model::{Annotations, Labels, Matcher, Queryable, SelectHints, TimeRange};

use super::error::ApiError;
use super::json::{push_labels, push_list};
use super::params::Params;
use super::query::TRUNCATED;
use super::response::success_annotated;
use super::times::{MAX_TIME_MS, MIN_TIME_MS, limit_param, time_param};
use crate::server::{App, Store};

/// What the metadata endpoints have in common.
pub(super) struct Lookup {
    /// One matcher set per `match[]`; a series satisfies one of them.
    pub(super) matcher_sets: Vec<Vec<Matcher>>,
    /// The time range.
    pub(super) range: TimeRange,
    /// At most this many results; 0 = all.
    pub(super) limit: usize,
}

/// Reads `limit`, `start` and `end`.
pub(super) fn lookup_range(params: &Params) -> Result<(TimeRange, usize), ApiError> {
    let limit = limit_param(params)?;
    let start_ms = time_param(params, "start", MIN_TIME_MS)?;
    let end_ms = time_param(params, "end", MAX_TIME_MS)?;
    Ok((TimeRange::new(start_ms, end_ms), limit))
}

/// Parses every `match[]`. Each set needs a matcher that does not match the empty string.
pub(super) fn matcher_sets(app: &App, params: &Params) -> Result<Vec<Vec<Matcher>>, String> {
    let mut sets = Vec::new();
    for text in params.all("match[]") {
        let matchers =
            tenbin_promql::parse_matchers(text, &app.engine.features).map_err(|e| e.to_string())?;
        if matchers.iter().all(Matcher::matches_empty) {
            return Err("match[] must contain at least one non-empty matcher".to_owned());
        }
        sets.push(matchers);
    }
    Ok(sets)
}

/// `GET|POST /api/v1/series`
pub async fn series(State(app): State<Arc<App>>, Store(db): Store, params: Params) -> Response {
    let lookup = match series_lookup(&app, &params) {
        Ok(lookup) => lookup,
        Err(error) => return error.into_response(),
    };
    in_background(&app, move || {
        let (labels, truncated) = find_series(&*db, &lookup)?;
        let mut annotations = Annotations::default();
        if truncated {
            annotations.warn(TRUNCATED);
        }
        Ok(success_annotated(
            |out| push_list(out, &labels, push_labels),
            &annotations,
            "",
        ))
    })
    .await
}

/// What `/series` and `delete_series` ask for.
pub(super) fn series_lookup(app: &App, params: &Params) -> Result<Lookup, ApiError> {
    params.whole_form()?;
    if params.all("match[]").is_empty() {
        return Err(ApiError::bad_data("no match[] parameter provided"));
    }
    let (range, limit) = lookup_range(params)?;
    let matcher_sets =
        matcher_sets(app, params).map_err(|e| ApiError::invalid_parameter("match[]", e))?;
    Ok(Lookup {
        matcher_sets,
        range,
        limit,
    })
}

/// All label sets that satisfy one of the matcher sets: sorted, unique, cut to the limit.
fn find_series(store: &dyn Queryable, lookup: &Lookup) -> Result<(Vec<Labels>, bool), ApiError> {
    let querier = store.querier(lookup.range)?;
    let hints = SelectHints {
        function: "series".to_owned(),
        sorted: true,
        ..SelectHints::default()
    };
    let mut found = Vec::new();
    for matchers in &lookup.matcher_sets {
        let set = querier.select(matchers, &hints)?;
        for series in 0..set.len() {
            found.push(set.labels(series)?);
        }
    }
    found.sort_unstable();
    found.dedup();
    let truncated = lookup.limit > 0 && found.len() > lookup.limit;
    if truncated {
        found.truncate(lookup.limit);
    }
    Ok((found, truncated))
}

/// Runs a lookup on the query threads under the server's query timeout.
pub(super) async fn in_background(
    app: &Arc<App>,
    work: impl FnOnce() -> Result<Response, ApiError> + Send + 'static,
) -> Response {
    let timeout = Duration::from_millis(app.engine.timeout_ms);
    let done = app.query_threads.run(timeout, move |_| match work() {
        Ok(response) => response,
        Err(error) => error.into_response(),
    });
    match done.await {
        Ok(response) => response,
        Err(error) => ApiError::from(tenbin_promql::EvalError::from(error)).into_response(),
    }
}
