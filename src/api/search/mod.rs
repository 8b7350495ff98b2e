//! `/api/v1/search/*` (feature `search-api`): names for completion, ranked, as lines of JSON.
//!
//! Source: Prometheus `web/api/v1/search.go`. Texts of errors that 3.14 alone has are ours.

mod score;

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tenbin_model::text::quote::quoted;
use tenbin_model::{METRIC_NAME, Matcher, Querier, Queryable, TimeRange};
use tenbin_storage::Db;

use self::score::{Algorithm, Search};
use super::error::{ApiError, ErrorKind};
use super::params::{Params, parse_bool};
use super::response::push_json;
use super::series::{in_background, matcher_sets};
use super::times::{parse_integer, time_param};
use crate::server::{App, Store};

/// Terms at most.
const MAX_TERMS: usize = 32;

/// Results in a line, and results at all, unless asked otherwise.
const DEFAULT_COUNT: usize = 100;

/// Without `start` the last hour is searched.
const DEFAULT_RANGE_MS: i64 = 3_600_000;

/// What is searched.
#[derive(Debug, Clone)]
enum Subject {
    MetricNames { with_metadata: bool },
    LabelNames,
    LabelValues(String),
}

/// A request as understood.
struct Request {
    subject: Subject,
    matcher_sets: Vec<Vec<Matcher>>,
    range: TimeRange,
    search: Search,
    by_score: bool,
    descending: bool,
    with_score: bool,
    limit: usize,
    batch: usize,
}

/// `GET|POST /api/v1/search/metric_names`
pub async fn metric_names(
    State(app): State<Arc<App>>,
    Store(db): Store,
    params: Params,
) -> Response {
    let subject = bool_param(&params, "include_metadata", false)
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
    let request = match read_request(app, params, endpoint, subject) {
        Ok(request) => request,
        Err(error) => return error.into_response(),
    };
    in_background(app, move || {
        let found = find(&db, &request)?;
        Ok(lines(&db, &request, &found))
    })
    .await
}

fn bool_param(params: &Params, name: &str, default: bool) -> Result<bool, ApiError> {
    match params.first(name) {
        "" => Ok(default),
        text => parse_bool(text).map_err(|_| {
            ApiError::bad_data(format!("invalid {name} {}: must be boolean", quoted(text)))
        }),
    }
}

/// A count above zero; where absent or `0` for a batch, the default.
fn count(
    params: &Params,
    name: &str,
    max: usize,
    zero_is_default: bool,
) -> Result<usize, ApiError> {
    let text = params.first(name);
    let wrong = |what: &str| ApiError::bad_data(format!("invalid {name} {}: {what}", quoted(text)));
    if text.is_empty() {
        return Ok(DEFAULT_COUNT.min(max));
    }
    let number = parse_integer(text)
        .ok()
        .and_then(|n| usize::try_from(n).ok());
    match number {
        Some(0) if zero_is_default => Ok(DEFAULT_COUNT),
        Some(0) | None => Err(wrong("must be a positive integer")),
        Some(number) if number > max => Err(wrong(&format!("must not exceed {max}"))),
        Some(number) => Ok(number),
    }
}

fn read_request(
    app: &App,
    params: &Params,
    endpoint: &str,
    subject: Result<Subject, ApiError>,
) -> Result<Request, ApiError> {
    let Some(max_limit) = app.search_max_limit else {
        return Err(ApiError::new(ErrorKind::Unavailable, "search API disabled"));
    };
    params.whole_form()?;
    let now_ms = app.clock.now_ms();
    let start_ms = time_param(params, "start", now_ms - DEFAULT_RANGE_MS)?;
    let end_ms = time_param(params, "end", now_ms)?;
    if end_ms < start_ms {
        let text = "end timestamp must not be before start timestamp";
        return Err(ApiError::bad_data(text));
    }
    let matcher_sets = matcher_sets(app, params).map_err(ApiError::bad_data)?;
    let search = read_search(params)?;
    let with_score = bool_param(params, "include_score", false)?;
    let (sort_by, sort_dir) = (params.first("sort_by"), params.first("sort_dir"));
    let wrong = match (sort_by, sort_dir) {
        ("", "") => None,
        ("", _) => Some("sort_dir is only valid when sort_by is set".to_owned()),
        ("score", "") if params.all("search[]").is_empty() => {
            Some("sort_by=score requires search[] to be set".to_owned())
        }
        ("score", "") | ("alpha", "" | "asc" | "dsc") => None,
        ("score", _) => Some("sort_dir is not supported for sort_by=score".to_owned()),
        ("alpha", other) => Some(format!(
            "invalid sort_dir {}: must be \"asc\" or \"dsc\"",
            quoted(other)
        )),
        (other, _) => Some(format!(
            "invalid sort_by {} for {endpoint}: must be \"alpha\" or \"score\"",
            quoted(other)
        )),
    };
    if let Some(text) = wrong {
        return Err(ApiError::bad_data(text));
    }
    Ok(Request {
        limit: count(params, "limit", max_limit, false)?,
        batch: count(params, "batch_size", usize::MAX, true)?,
        subject: subject?,
        matcher_sets,
        range: TimeRange::new(start_ms, end_ms),
        search,
        by_score: sort_by == "score",
        descending: sort_dir == "dsc",
        with_score,
    })
}

fn read_search(params: &Params) -> Result<Search, ApiError> {
    let terms = params.all("search[]");
    if terms.len() > MAX_TERMS {
        let text = format!("{} search[] terms are more than {MAX_TERMS}", terms.len());
        return Err(ApiError::bad_data(text));
    }
    let threshold = match params.first("fuzz_threshold") {
        "" => 0,
        text => parse_integer(text)
            .ok()
            .filter(|threshold| (0..=100).contains(threshold))
            .ok_or_else(|| {
                let text = format!("invalid fuzz_threshold {}: must be 0-100", quoted(text));
                ApiError::bad_data(text)
            })?,
    };
    let algorithm = match params.first("fuzz_alg") {
        "" | "subsequence" => Algorithm::Subsequence,
        "jarowinkler" => Algorithm::JaroWinkler,
        other => {
            return Err(ApiError::bad_data(format!(
                "unsupported fuzz_alg {}: must be one of [subsequence jarowinkler]",
                quoted(other)
            )));
        }
    };
    let case_sensitive = bool_param(params, "case_sensitive", true)?;
    Ok(Search::new(
        terms,
        algorithm,
        threshold as f64 / 100.0,
        case_sensitive,
    ))
}

/// Everything that fits, in the order asked for, and whether there is more.
struct Found {
    names: Vec<(String, f64)>,
    has_more: bool,
}

fn find(db: &Db, request: &Request) -> Result<Found, ApiError> {
    let querier = db.querier(request.range)?;
    let list = |querier: &dyn Querier, matchers: &[Matcher]| match &request.subject {
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
fn lines(db: &Db, request: &Request, found: &Found) -> Response {
    let mut body = Vec::new();
    let mut push_line = |line: &Value| {
        push_json(&mut body, line);
        body.push(b'\n');
    };
    let records: Vec<Value> = found
        .names
        .iter()
        .map(|(name, score)| record(db, request, name, *score))
        .collect();
    if records.is_empty() {
        push_line(&json!({ "results": [] }));
    }
    for batch in records.chunks(request.batch) {
        push_line(&json!({ "results": batch }));
    }
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

fn record(db: &Db, request: &Request, name: &str, score: f64) -> Value {
    let key = match request.subject {
        Subject::LabelValues(_) => "value",
        _ => "name",
    };
    let mut record = json!({ key: name });
    if request.with_score {
        record["score"] = json!(score);
    }
    if let Subject::MetricNames {
        with_metadata: true,
    } = request.subject
    {
        let known = db.metadata(name).unwrap_or_default();
        if let Some(metadata) = known
            .into_iter()
            .next()
            .and_then(|(_, all)| all.into_iter().next())
        {
            for (field, text) in [
                ("type", metadata.kind.as_str()),
                ("help", &metadata.help),
                ("unit", &metadata.unit),
            ] {
                if !text.is_empty() {
                    record[field] = json!(text);
                }
            }
        }
    }
    record
}
