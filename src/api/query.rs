//! `/api/v1/query`, `/api/v1/query_range`, `/api/v1/format_query`, `/api/v1/parse_query`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use tenbin_model::text::quote::quoted;
use tenbin_promql::ast::{Expr, ValueType};
use tenbin_promql::options::EngineOptions;
use tenbin_promql::value::{QueryResult, QueryStats, Value};
use tenbin_promql::{CancelToken, EvalError, QueryRange, ResultCache};

use super::error::ApiError;
use super::json::{push_list, push_timestamp, push_value};
use super::params::Params;
use super::response::{success, try_success_annotated};
use super::times::{limit_param, parse_duration_param_ms, parse_time_ms, time_param};
use crate::server::query_log::{LoggedQuery, Origin};
use crate::server::{App, Store};
use crate::telemetry::Telemetry;
use tenbin_storage::Db;

/// A range query may have this many steps beyond its first.
const MAX_STEPS: f64 = 11_000.0;

/// The warning on a result cut by `limit`.
pub const TRUNCATED: &str = "results truncated due to limit";

/// What is asked, and by whom.
struct Asked {
    text: String,
    range: QueryRange,
    origin: Origin,
}

/// What both query endpoints take.
struct Request {
    asked: Arc<Asked>,
    expr: Expr,
    options: EngineOptions,
    limit: usize,
    stats: String,
    /// Known results may be used, and this one kept.
    may_cache: bool,
}

/// `GET|POST /api/v1/query`
pub async fn instant(
    State(app): State<Arc<App>>,
    Store(db): Store,
    origin: Origin,
    params: Params,
) -> Response {
    let request = match instant_request(&app, origin, &params) {
        Ok(request) => request,
        Err(error) => return error.into_response(),
    };
    run(&app, db, request).await
}

/// `GET|POST /api/v1/query_range`
pub async fn range(
    State(app): State<Arc<App>>,
    Store(db): Store,
    origin: Origin,
    params: Params,
) -> Response {
    let request = match range_request(&app, origin, &params) {
        Ok(request) => request,
        Err(error) => return error.into_response(),
    };
    run(&app, db, request).await
}

fn instant_request(app: &App, origin: Origin, params: &Params) -> Result<Request, ApiError> {
    let limit = limit_param(params)?;
    let time_ms = time_param(params, "time", app.clock.now_ms())?;
    let options = engine_options(app, params)?;
    let (text, expr) = parse_query(app, params)?;
    let range = QueryRange::instant(time_ms);
    Ok(Request {
        asked: Arc::new(Asked {
            text,
            range,
            origin,
        }),
        expr,
        options,
        limit,
        stats: params.first("stats").to_owned(),
        may_cache: false,
    })
}

fn range_request(app: &App, origin: Origin, params: &Params) -> Result<Request, ApiError> {
    let limit = limit_param(params)?;
    let time = |name: &str| {
        parse_time_ms(params.first(name)).map_err(|e| ApiError::invalid_parameter(name, e))
    };
    let (start_ms, end_ms) = (time("start")?, time("end")?);
    if end_ms < start_ms {
        return Err(ApiError::invalid_parameter(
            "end",
            "end timestamp must not be before start time",
        ));
    }
    let step = parse_duration_param_ms(params.first("step"))
        .map_err(|e| ApiError::invalid_parameter("step", e))?;
    if step <= 0.0 {
        return Err(ApiError::invalid_parameter(
            "step",
            "zero or negative query resolution step widths are not accepted. \
             Try a positive integer",
        ));
    }
    if ((end_ms as f64 - start_ms as f64) / step).trunc() > MAX_STEPS {
        return Err(ApiError::bad_data(
            "exceeded maximum resolution of 11,000 points per timeseries. \
             Try decreasing the query resolution (?step=XX)",
        ));
    }
    let options = engine_options(app, params)?;
    let (text, expr) = parse_query(app, params)?;
    let value_type = expr.value_type();
    if !matches!(value_type, ValueType::Scalar | ValueType::Vector) {
        return Err(ApiError::invalid_parameter(
            "query",
            format!(
                "invalid expression type {} for range query, must be Scalar or instant Vector",
                quoted(value_type.documented_name())
            ),
        ));
    }
    // The engine's clock has milliseconds: a finer step evaluates every millisecond, where Prometheus'
    // engine divides by zero.
    let step_ms = (step as i64).max(1);
    let range = QueryRange {
        start_ms,
        end_ms,
        step_ms,
    };
    Ok(Request {
        asked: Arc::new(Asked {
            text,
            range,
            origin,
        }),
        expr,
        options,
        limit,
        stats: params.first("stats").to_owned(),
        // Statistics are those of a whole evaluation.
        may_cache: params.first("stats").is_empty() && !is_on(params.first("nocache")),
    })
}

fn parse_query(app: &App, params: &Params) -> Result<(String, Expr), ApiError> {
    let text = params.first("query").to_owned();
    let expr = tenbin_promql::parse(&text, &app.engine.features)
        .map_err(|e| ApiError::invalid_parameter("query", e))?;
    Ok((text, expr))
}

/// Whether a switch of ours among the parameters is on.
fn is_on(value: &str) -> bool {
    !matches!(value, "" | "0" | "false")
}

/// The engine's options with this request's `timeout` and `lookback_delta`.
fn engine_options(app: &App, params: &Params) -> Result<EngineOptions, ApiError> {
    let mut options = app.engine;
    if !params.first("timeout").is_empty() {
        let timeout_ms = parse_duration_param_ms(params.first("timeout"))
            .map_err(|e| ApiError::invalid_parameter("timeout", e))?;
        options.timeout_ms = options.timeout_ms.min(timeout_ms.max(0.0) as u64);
    }
    if !params.first("lookback_delta").is_empty() {
        let lookback_ms = parse_duration_param_ms(params.first("lookback_delta")).map_err(|e| {
            ApiError::bad_data(format!("error parsing lookback delta duration: {e}"))
        })?;
        if lookback_ms > 0.0 {
            options.lookback_ms = lookback_ms as i64;
        }
    }
    Ok(options)
}

/// Evaluates on a query thread and writes the answer there too.
async fn run(app: &Arc<App>, db: Arc<Db>, request: Request) -> Response {
    if request.options.timeout_ms == 0 {
        return ApiError::from(EvalError::Timeout("query execution")).into_response();
    }
    let timeout = Duration::from_millis(request.options.timeout_ms);
    let (asked, running) = (Arc::clone(&request.asked), Arc::clone(app));
    let queued = Instant::now();
    let work = app.query_threads.run(timeout, move |turn| {
        let started = Instant::now();
        let mut request = request;
        // The time in the queue counts.
        let left = timeout.saturating_sub(turn.waited);
        request.options.timeout_ms = left.as_millis() as u64;
        let cache = request.may_cache.then_some(&*running.result_cache);
        let result = evaluate(&db, cache, &request, &turn.cancel);
        let (outcome, took) = (result.as_ref().map(|r| &r.stats), started.elapsed());
        let telemetry = &running.telemetry.query;
        telemetry.observe(turn.waited, took, outcome.ok());
        log(&running, &request.asked, outcome, turn.waited, took);
        let written = result.and_then(|result| {
            let guard = Guard {
                cancel: &turn.cancel,
                deadline: started.checked_add(left),
                max_bytes: request.options.max_memory_bytes,
            };
            answer(&request, result, turn.waited, &guard)
        });
        written.unwrap_or_else(|error| ApiError::from(error).into_response())
    });
    match work.await {
        Ok(response) => response,
        Err(error) => {
            let error = EvalError::from(error);
            log(app, &asked, Err(&error), queued.elapsed(), Duration::ZERO);
            ApiError::from(error).into_response()
        }
    }
}

/// Writes the query log, if there is one.
fn log(
    app: &App,
    asked: &Asked,
    outcome: Result<&QueryStats, &EvalError>,
    waited: Duration,
    took: Duration,
) {
    let Some(log) = app.config.query_log() else {
        return;
    };
    let mut stats = Vec::new();
    match outcome {
        Ok(of_query) => push_stats(&mut stats, of_query, waited, true),
        Err(_) => {
            // What a failed query has read is not known; its time was spent evaluating.
            let of_query = QueryStats {
                eval_total_s: took.as_secs_f64(),
                ..QueryStats::default()
            };
            push_stats(&mut stats, &of_query, waited, true);
        }
    }
    let query = LoggedQuery {
        text: &asked.text,
        range: &asked.range,
        error: outcome.err().map(ToString::to_string),
        stats: &stats,
        origin: &asked.origin,
    };
    if log.write(&query, app.clock.now_ms()).is_err() {
        Telemetry::add(&app.telemetry.query.log_failures, 1);
    }
}

fn evaluate(
    db: &Db,
    cache: Option<&ResultCache>,
    request: &Request,
    cancel: &CancelToken,
) -> Result<QueryResult, EvalError> {
    let Request {
        asked,
        expr,
        options,
        ..
    } = request;
    let Asked { text, range, .. } = &**asked;
    match cache {
        Some(cache) => cache.evaluate(db, text, expr, range, options, cancel),
        None => tenbin_promql::evaluate(db, text, expr, range, options, cancel),
    }
}

/// What may end the writing of an answer.
struct Guard<'g> {
    cancel: &'g CancelToken,
    deadline: Option<Instant>,
    max_bytes: u64,
}

impl Guard<'_> {
    /// Fails when the query was cancelled, is out of time, or holds more than it may.
    fn check(&self, held_bytes: u64) -> Result<(), EvalError> {
        const PHASE: &str = "expression evaluation";
        if self.cancel.is_cancelled() {
            return Err(EvalError::Canceled(PHASE));
        }
        if self.deadline.is_some_and(|at| Instant::now() >= at) {
            return Err(EvalError::Timeout(PHASE));
        }
        if self.max_bytes > 0 && held_bytes > self.max_bytes {
            return Err(EvalError::too_much_memory(self.max_bytes));
        }
        Ok(())
    }
}

/// Writes the answer. Series are given up as they are written, so that the value and its text are
/// not both held whole.
fn answer(
    request: &Request,
    mut result: QueryResult,
    waited: Duration,
    guard: &Guard<'_>,
) -> Result<Response, EvalError> {
    if request.limit > 0 && truncate(&mut result.value, request.limit) {
        result.annotations.warn(TRUNCATED);
    }
    if !matches!(request.stats.as_str(), "" | "true" | "all") {
        result.annotations.warn(format!(
            "value {} for parameter \"stats\" is deprecated and will be rejected in the next \
             major release, use \"true\" or \"all\"",
            quoted(&request.stats)
        ));
    }
    let mut value_bytes = result.value.byte_len();
    let QueryResult {
        value,
        annotations,
        stats,
    } = result;
    let push = |out: &mut Vec<u8>| {
        out.push(b'{');
        push_value(out, value, &mut |out, given_up| {
            value_bytes = value_bytes.saturating_sub(given_up);
            guard.check(value_bytes.saturating_add(out.capacity() as u64))
        })?;
        if !request.stats.is_empty() {
            out.extend_from_slice(b",\"stats\":");
            push_stats(out, &stats, waited, request.stats == "all");
        }
        out.push(b'}');
        Ok(())
    };
    try_success_annotated(push, &annotations, &request.asked.text)
}

/// Cuts a vector or matrix to `limit` series; says whether anything was cut.
fn truncate(value: &mut Value, limit: usize) -> bool {
    let before = match value {
        Value::Vector(samples) => {
            let before = samples.len();
            samples.truncate(limit);
            before
        }
        Value::Matrix(series) => {
            let before = series.len();
            series.truncate(limit);
            before
        }
        Value::Scalar { .. } | Value::String { .. } => 0,
    };
    before > limit
}

fn push_stats(out: &mut Vec<u8>, stats: &QueryStats, waited: Duration, per_step: bool) {
    let queue_s = waited.as_secs_f64();
    let timings = [
        ("evalTotalTime", stats.eval_total_s),
        ("resultSortTime", stats.result_sort_s),
        ("queryPreparationTime", stats.preparation_s),
        ("innerEvalTime", stats.inner_eval_s),
        ("execQueueTime", queue_s),
        ("execTotalTime", queue_s + stats.eval_total_s),
    ];
    let timings = timings.map(|(name, seconds)| format!("\"{name}\":{seconds}"));
    let text = format!("{{\"timings\":{{{}}},\"samples\":{{", timings.join(","));
    out.extend_from_slice(text.as_bytes());
    if let Some(per_step) = stats.samples_per_step.as_ref().filter(|_| per_step) {
        out.extend_from_slice(b"\"totalQueryableSamplesPerStep\":");
        push_list(out, per_step, |out, (timestamp_ms, count)| {
            out.push(b'[');
            push_timestamp(out, *timestamp_ms);
            out.extend_from_slice(format!(",{count}]").as_bytes());
        });
        out.push(b',');
    }
    out.extend_from_slice(
        format!(
            "\"totalQueryableSamples\":{},\"samplesRead\":{},\"peakSamples\":{}}}}}",
            stats.total_queryable_samples, stats.samples_read, stats.peak_samples
        )
        .as_bytes(),
    );
}

impl From<crate::server::workers::QueueError> for EvalError {
    fn from(error: crate::server::workers::QueueError) -> Self {
        use crate::server::workers::QueueError;
        match error {
            QueueError::TimedOut => Self::Timeout("query queue"),
            QueueError::Stopping => Self::Canceled("query queue"),
            QueueError::Panicked => Self::Execution(
                "the query failed by a bug in Tenbin (a thread panicked); see the log".to_owned(),
            ),
        }
    }
}

/// `GET|POST /api/v1/format_query`
pub async fn format_query(State(app): State<Arc<App>>, params: Params) -> Response {
    match parse_query(&app, &params) {
        Ok((_, expr)) => {
            let text = tenbin_promql::prettify(&expr);
            success(|out| super::json::push_string(out, &text))
        }
        Err(error) => error.into_response(),
    }
}

/// `GET|POST /api/v1/parse_query`
pub async fn parse_query_tree(State(app): State<Arc<App>>, params: Params) -> Response {
    match parse_query(&app, &params) {
        Ok((_, expr)) => super::response::success_json(&tenbin_promql::ast_json(&expr)),
        Err(error) => error.into_response(),
    }
}
