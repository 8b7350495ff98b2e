//! `/api/v1/search/*` (feature `search-api`): names for completion, ranked, as lines of JSON.
//!
//! All that fits is found before the first line is sent, so an error is always an envelope and never
//! the last line of a stream. Source: Prometheus `web/api/v1/search.go`.

mod request;
mod score;

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use tenbin_model::text::float::format_sample;
use tenbin_model::{METRIC_NAME, Matcher, Querier, Queryable};
use tenbin_storage::Db;

use self::request::Request;
use super::error::ApiError;
use super::json::{push_list, push_string};
use super::params::Params;
use super::series::in_background;
use crate::server::{App, Store};

/// What is searched.
#[derive(Debug, Clone)]
enum Subject {
    MetricNames { with_metadata: bool },
    LabelNames,
    LabelValues(String),
}

/// `GET|POST /api/v1/search/metric_names`
pub async fn metric_names(
    State(app): State<Arc<App>>,
    Store(db): Store,
    params: Params,
) -> Response {
    let subject = request::bool_param(&params, "include_metadata", false)
        .map(|with_metadata| Subject::MetricNames { with_metadata });
    answer(&app, db, &params, "metric_names", subject).await
}

/// `GET|POST /api/v1/search/label_names`
pub async fn label_names(
    State(app): State<Arc<App>>,
    Store(db): Store,
    params: Params,
) -> Response {
    answer(&app, db, &params, "label_names", Ok(Subject::LabelNames)).await
}

/// `GET|POST /api/v1/search/label_values`
pub async fn label_values(
    State(app): State<Arc<App>>,
    Store(db): Store,
    params: Params,
) -> Response {
    let subject = match params.first("label") {
        "" => Err(ApiError::bad_data("missing required parameter \"label\"")),
        label => Ok(Subject::LabelValues(label.to_owned())),
    };
    answer(&app, db, &params, "label_values", subject).await
}

async fn answer(
    app: &Arc<App>,
    db: Arc<Db>,
    params: &Params,
    endpoint: &str,
    subject: Result<Subject, ApiError>,
) -> Response {
    // What belongs to one endpoint alone is judged last.
    let understood = Request::read(app, params, endpoint).and_then(|r| Ok((r, subject?)));
    let (request, subject) = match understood {
        Ok(both) => both,
        Err(error) => return error.into_response(),
    };
    in_background(app, move || {
        let found = find(&db, &request, &subject)?;
        Ok(lines(&db, &request, &subject, &found))
    })
    .await
}

/// Everything that fits, in the order asked for, and whether there is more.
struct Found {
    names: Vec<(String, f64)>,
    has_more: bool,
}

fn find(db: &Db, request: &Request, subject: &Subject) -> Result<Found, ApiError> {
    let querier = db.querier(request.range)?;
    let list = |querier: &dyn Querier, matchers: &[Matcher]| match subject {
        Subject::MetricNames { .. } => querier.label_values(METRIC_NAME, matchers),
        Subject::LabelNames => querier.label_names(matchers),
        Subject::LabelValues(label) => querier.label_values(label, matchers),
    };
    let mut all = BTreeSet::new();
    if request.matcher_sets.is_empty() {
        all.extend(list(&*querier, &[])?);
    }
    for matchers in &request.matcher_sets {
        all.extend(list(&*querier, matchers)?);
    }
    let mut names: Vec<(String, f64)> = all
        .into_iter()
        .filter_map(|name| request.search.score(&name).map(|score| (name, score)))
        .collect();
    if request.by_score {
        names.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    } else if request.descending {
        names.reverse();
    }
    let has_more = names.len() > request.limit;
    names.truncate(request.limit);
    Ok(Found { names, has_more })
}

/// The lines: batches of results, at least one, then how it ended.
fn lines(db: &Db, request: &Request, subject: &Subject, found: &Found) -> Response {
    let mut body = Vec::new();
    let mut push_line = |batch: &[(String, f64)]| {
        body.extend_from_slice(b"{\"results\":");
        push_list(&mut body, batch, |out, (name, score)| {
            push_record(out, subject, name, request.with_score.then_some(*score));
            if let Subject::MetricNames {
                with_metadata: true,
            } = subject
            {
                push_metadata(out, db, name);
            }
            out.push(b'}');
        });
        body.extend_from_slice(b"}\n");
    };
    if found.names.is_empty() {
        push_line(&[]);
    }
    found.names.chunks(request.batch).for_each(&mut push_line);
    let ending = format!(
        "{{\"status\":\"success\",\"has_more\":{}}}\n",
        found.has_more
    );
    body.extend_from_slice(ending.as_bytes());
    let mut response = body.into_response();
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/x-ndjson; charset=utf-8"),
    );
    response
}

/// A result without its closing brace.
fn push_record(out: &mut Vec<u8>, subject: &Subject, name: &str, score: Option<f64>) {
    let key: &[u8] = match subject {
        Subject::LabelValues(_) => b"{\"value\":",
        Subject::MetricNames { .. } | Subject::LabelNames => b"{\"name\":",
    };
    out.extend_from_slice(key);
    push_string(out, name);
    if let Some(score) = score {
        out.extend_from_slice(format!(",\"score\":{}", format_sample(score)).as_bytes());
    }
}

/// What is known first about a metric, as further fields of its record; empty texts are left out.
fn push_metadata(out: &mut Vec<u8>, db: &Db, name: &str) {
    let known = db.metadata(name).unwrap_or_default();
    let first = known
        .into_iter()
        .next()
        .and_then(|(_, all)| all.into_iter().next());
    let Some(metadata) = first else {
        return;
    };
    for (field, text) in [
        ("type", metadata.kind.as_str()),
        ("help", &metadata.help),
        ("unit", &metadata.unit),
    ] {
        if !text.is_empty() {
            out.extend_from_slice(format!(",\"{field}\":").as_bytes());
            push_string(out, text);
        }
    }
}
