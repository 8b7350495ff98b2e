//! `GET /federate`: the newest sample of every selected series, for another Prometheus to scrape.
//!
//! All families are untyped, except native histograms, which only protobuf can carry; those with
//! custom buckets go out as classic ones in both formats. What is stale or older than the lookback is
//! left out. Series stand by metric name, then by labels. Labels that the configuration names for all
//! series, and an empty `instance`, are added where a series has none. Source: Prometheus
//! `web/federate.go`.

mod family;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tenbin_model::query::RawSamples;
use tenbin_model::write::HistogramValue;
use tenbin_model::{
    FloatHistogram, Labels, Matcher, Queryable, SelectHints, StoreError, TimeRange, is_stale,
};
use tenbin_storage::Db;

use super::accept::{content_type, negotiate};
use super::body::{Refusal, header_text};
use super::params::Params;
use crate::server::{App, Store};
use crate::settings::file::ConfigFile;
use family::{Metric, Value, Writer};

/// `GET /federate`
pub async fn federate(
    State(app): State<Arc<App>>,
    Store(db): Store,
    headers: HeaderMap,
    params: Params,
) -> Response {
    let mut sets = Vec::new();
    for text in params.all("match[]") {
        match tenbin_promql::parse_matchers(text, &app.engine.features) {
            Ok(matchers) => sets.push(matchers),
            Err(error) => return Refusal::bad(error.to_string()).into_response(),
        }
    }
    let (format, escaping) = negotiate(header_text(&headers, header::ACCEPT));
    let now_ms = app.clock.now_ms();
    let range = TimeRange::new(now_ms - app.engine.lookback_ms, now_ms);
    let settings = app.config.current();
    let timeout = Duration::from_millis(app.engine.timeout_ms);
    let done = app.query_threads.run(timeout, move |turn| {
        let found = newest(&db, &sets, range, &|| turn.cancel.is_cancelled())?;
        let mut writer = Writer::new(format, escaping);
        for metric in with_external_labels(found, &settings) {
            writer.push(&metric);
        }
        Ok::<_, Refusal>(writer.finish())
    });
    let body = match done.await {
        Ok(Ok(body)) => body,
        Ok(Err(refusal)) => return refusal.into_response(),
        Err(error) => {
            let text = tenbin_promql::EvalError::from(error).to_string();
            return Refusal(StatusCode::SERVICE_UNAVAILABLE, text).into_response();
        }
    };
    let mut response = Response::new(Body::from(body));
    let content_type = HeaderValue::from_str(&content_type(format, escaping));
    if let Ok(content_type) = content_type {
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, content_type);
    }
    response
}

fn refused(error: StoreError) -> Refusal {
    match error {
        StoreError::NotReady => Refusal(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
        other => Refusal::internal(other.to_string()),
    }
}

/// A series with its newest sample.
struct Newest {
    labels: Labels,
    time_ms: i64,
    value: Value,
}

/// The newest sample of what is read, unless it is stale or there is none.
fn newest_of(samples: &RawSamples) -> Option<(i64, Value)> {
    let float = samples.timestamps_ms.last().zip(samples.values.last());
    let histogram = samples.histograms.last();
    let later = histogram.filter(|h| float.is_none_or(|(time_ms, _)| h.timestamp_ms > *time_ms));
    if let Some(sample) = later {
        let histogram = match &sample.histogram {
            HistogramValue::Integer(h) => h.to_float(),
            HistogramValue::Float(h) => FloatHistogram::clone(h),
        };
        let fresh = !histogram.is_stale();
        return fresh.then(|| (sample.timestamp_ms, Value::Histogram(Box::new(histogram))));
    }
    let (time_ms, value) = float?;
    (!is_stale(*value)).then_some((*time_ms, Value::Float(*value)))
}

/// What all sets select, each series once, by metric name and labels.
fn newest(
    db: &Db,
    sets: &[Vec<Matcher>],
    range: TimeRange,
    is_cancelled: &dyn Fn() -> bool,
) -> Result<Vec<Newest>, Refusal> {
    let querier = db.querier(range).map_err(refused)?;
    let hints = SelectHints::default();
    let mut found = Vec::new();
    let mut samples = RawSamples::default();
    for matchers in sets {
        let set = querier.select(matchers, &hints).map_err(refused)?;
        for series in 0..set.len() {
            if is_cancelled() {
                return Err(Refusal::internal("the request was cancelled"));
            }
            set.read_raw(series, range, &mut samples).map_err(refused)?;
            let Some((time_ms, value)) = newest_of(&samples) else {
                continue;
            };
            let labels = set.labels(series).map_err(refused)?;
            found.push(Newest {
                labels,
                time_ms,
                value,
            });
        }
    }
    found.retain(|one| !one.labels.metric_name().is_empty());
    found.sort_by(|a, b| {
        let name = a.labels.metric_name().cmp(b.labels.metric_name());
        name.then_with(|| a.labels.cmp(&b.labels))
    });
    found.dedup_by(|a, b| a.labels == b.labels);
    Ok(found)
}

/// The labels that every series should have: those of the configuration, and `instance`, so that a
/// scraper with `honor_labels` does not put its own in.
fn with_external_labels(found: Vec<Newest>, settings: &ConfigFile) -> impl Iterator<Item = Metric> {
    let mut external = settings.global.external_labels.clone();
    external.entry("instance".to_owned()).or_default();
    found.into_iter().map(move |one| {
        let own = one.labels.iter().filter(|(name, _)| *name != "__name__");
        let mut labels: Vec<(String, String)> =
            own.map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
        let missing = external.iter();
        let missing = missing.filter(|(name, _)| one.labels.get(name).is_none());
        labels.extend(missing.map(|(n, v)| (n.clone(), v.clone())));
        Metric {
            name: one.labels.metric_name().to_owned(),
            labels,
            time_ms: one.time_ms,
            value: one.value,
        }
    })
}
