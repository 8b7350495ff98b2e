//! The parameters that all searches share, judged in Prometheus' order with its texts.

use tenbin_model::text::quote::quoted;
use tenbin_model::{Matcher, TimeRange};

use super::score::{Algorithm, Search};
use crate::api::error::{ApiError, ErrorKind};
use crate::api::params::{Params, parse_bool};
use crate::api::series::matcher_sets;
use crate::api::times::{parse_integer, parse_time_ms};
use crate::server::App;

/// Terms at most.
const MAX_TERMS: usize = 32;

/// Results in a line, and results at all, unless asked otherwise.
const DEFAULT_COUNT: usize = 100;

/// Without `start` the last hour is searched, milliseconds.
const DEFAULT_RANGE_MS: i64 = 3_600_000;

/// A request as understood, without what belongs to one endpoint alone.
pub(super) struct Request {
    pub(super) matcher_sets: Vec<Vec<Matcher>>,
    pub(super) range: TimeRange,
    pub(super) search: Search,
    pub(super) by_score: bool,
    pub(super) descending: bool,
    pub(super) with_score: bool,
    /// Results at most, above zero.
    pub(super) limit: usize,
    /// Results in a line, above zero.
    pub(super) batch: usize,
}

impl Request {
    /// Reads the parameters; `endpoint` is named in a text.
    ///
    /// # Errors
    /// `unavailable` when the feature is off, else `bad_data`.
    pub(super) fn read(app: &App, params: &Params, endpoint: &str) -> Result<Self, ApiError> {
        let Some(max_limit) = app.search_max_limit else {
            return Err(ApiError::new(ErrorKind::Unavailable, "search API disabled"));
        };
        params.whole_form()?;
        let now_ms = app.clock.now_ms();
        let start_ms = time(params, "start", now_ms - DEFAULT_RANGE_MS)?;
        let end_ms = time(params, "end", now_ms)?;
        if end_ms < start_ms {
            let text = "end timestamp must not be before start timestamp";
            return Err(ApiError::bad_data(text));
        }
        let matcher_sets = matcher_sets(app, params).map_err(ApiError::bad_data)?;
        let search = read_search(params)?;
        let with_score = bool_param(params, "include_score", false)?;
        let (sort_by, sort_dir) = (params.first("sort_by"), params.first("sort_dir"));
        let has_terms = !params.all("search[]").is_empty();
        if let Some(text) = wrong_order(sort_by, sort_dir, has_terms) {
            return Err(ApiError::bad_data(text));
        }
        let limit = read_limit(params, max_limit)?;
        let batch = count(params, "batch_size")?.unwrap_or(DEFAULT_COUNT);
        if !["", "alpha", "score"].contains(&sort_by) {
            return Err(ApiError::bad_data(format!(
                "invalid sort_by {} for {endpoint}: must be \"alpha\" or \"score\"",
                quoted(sort_by)
            )));
        }
        Ok(Self {
            matcher_sets,
            range: TimeRange::new(start_ms, end_ms),
            search,
            by_score: sort_by == "score",
            descending: sort_dir == "dsc",
            with_score,
            limit,
            batch,
        })
    }
}

/// An optional time, whose error does not begin with the parameter here.
fn time(params: &Params, name: &str, default_ms: i64) -> Result<i64, ApiError> {
    match params.first(name) {
        "" => Ok(default_ms),
        text => parse_time_ms(text).map_err(|reason| {
            ApiError::bad_data(format!("invalid time value for '{name}': {reason}"))
        }),
    }
}

/// A boolean as Go reads it.
pub(super) fn bool_param(params: &Params, name: &str, default: bool) -> Result<bool, ApiError> {
    match params.first(name) {
        "" => Ok(default),
        text => parse_bool(text).map_err(|_| {
            ApiError::bad_data(format!("invalid {name} {}: must be boolean", quoted(text)))
        }),
    }
}

/// A count above zero; nothing where absent.
fn count(params: &Params, name: &str) -> Result<Option<usize>, ApiError> {
    let text = params.first(name);
    if text.is_empty() {
        return Ok(None);
    }
    let number = parse_integer(text).ok();
    match number.and_then(|n| usize::try_from(n).ok()) {
        Some(0) | None => {
            let text = format!(
                "invalid {name} {}: must be a positive integer",
                quoted(text)
            );
            Err(ApiError::bad_data(text))
        }
        number => Ok(number),
    }
}

/// `limit`, at most what the flag allows; a flag of zero allows everything.
fn read_limit(params: &Params, max_limit: usize) -> Result<usize, ApiError> {
    let max = if max_limit == 0 {
        usize::MAX
    } else {
        max_limit
    };
    match count(params, "limit")? {
        None => Ok(DEFAULT_COUNT.min(max)),
        Some(limit) if limit > max => Err(ApiError::bad_data(format!(
            "limit {limit} exceeds the configured maximum ({max}, see --web.search.max-limit)"
        ))),
        Some(limit) => Ok(limit),
    }
}

/// What is wrong with `sort_dir`, or with `sort_by` beside it.
fn wrong_order(sort_by: &str, sort_dir: &str, has_terms: bool) -> Option<String> {
    match (sort_by, sort_dir) {
        ("", "") => None,
        ("", _) => Some("sort_dir is only valid when sort_by is set".to_owned()),
        ("score", "") if !has_terms => Some("sort_by=score requires search[] to be set".to_owned()),
        ("score", "") => None,
        ("score", _) => Some("sort_dir is not supported for sort_by=score".to_owned()),
        (_, "" | "asc" | "dsc") => None,
        (_, other) => Some(format!(
            "invalid sort_dir {}: must be \"asc\" or \"dsc\"",
            quoted(other)
        )),
    }
}

fn read_search(params: &Params) -> Result<Search, ApiError> {
    let terms = params.all("search[]");
    if terms.len() > MAX_TERMS {
        return Err(ApiError::bad_data(format!(
            "too many search[] terms: got {}, maximum is {MAX_TERMS}",
            terms.len()
        )));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_those_of_the_flag() {
        let limit = |text: &str, max: usize| {
            read_limit(&Params::from_encoded(text), max).map_err(|e| e.message)
        };
        assert_eq!(limit("", 10_000), Ok(100));
        assert_eq!(limit("", 7), Ok(7));
        assert_eq!(limit("", 0), Ok(100));
        assert_eq!(limit("limit=20000", 0), Ok(20_000));
        assert_eq!(
            limit("limit=8", 7).unwrap_err(),
            "limit 8 exceeds the configured maximum (7, see --web.search.max-limit)"
        );
        for wrong in ["0", "-1", "x", "99999999999999999999"] {
            assert_eq!(
                limit(&format!("limit={wrong}"), 0).unwrap_err(),
                format!("invalid limit \"{wrong}\": must be a positive integer")
            );
        }
    }

    #[test]
    fn orders_are_judged_in_prometheus_order() {
        let wrong =
            |by: &str, dir: &str, terms: bool| wrong_order(by, dir, terms).unwrap_or_default();
        assert_eq!(wrong("", "", false), "");
        assert_eq!(wrong("alpha", "dsc", false), "");
        assert_eq!(wrong("score", "", true), "");
        // Judged later, with the name of the endpoint.
        assert_eq!(wrong("x", "asc", true), "");
        assert!(wrong("x", "up", true).starts_with("invalid sort_dir \"up\""));
        assert!(wrong("", "asc", true).starts_with("sort_dir is only valid"));
        assert!(wrong("score", "junk", false).starts_with("sort_dir is not supported"));
        assert!(wrong("score", "", false).starts_with("sort_by=score requires"));
    }

    #[test]
    fn terms_are_counted_and_thresholds_bounded() {
        let many = "search[]=a&".repeat(33);
        let message = |text: &str| {
            read_search(&Params::from_encoded(text))
                .unwrap_err()
                .message
        };
        assert_eq!(
            message(&many),
            "too many search[] terms: got 33, maximum is 32"
        );
        assert_eq!(
            message("fuzz_threshold=101"),
            "invalid fuzz_threshold \"101\": must be 0-100"
        );
        assert_eq!(
            message("fuzz_alg=x"),
            "unsupported fuzz_alg \"x\": must be one of [subsequence jarowinkler]"
        );
        assert_eq!(
            message("case_sensitive=2"),
            "invalid case_sensitive \"2\": must be boolean"
        );
    }
}
