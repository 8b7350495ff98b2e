//! `/api/v1/labels` and `/api/v1/label/<name>/values`.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{OriginalUri, Path, State};
use axum::response::{IntoResponse, Response};
use tenbin_model::text::quote::quoted;
use tenbin_model::{Annotations, Matcher, Querier, Queryable, StoreError};

use super::error::ApiError;
use super::params::Params;
use super::query::TRUNCATED;
use super::response::success_strings;
use super::series::{Lookup, in_background, lookup_range, matcher_sets};
use crate::server::paths::not_found;
use crate::server::{App, Store};

/// `GET|POST /api/v1/labels`
pub async fn names(State(app): State<Arc<App>>, Store(db): Store, params: Params) -> Response {
    answer(&app, db, &params, |querier, matchers| {
        querier.label_names(matchers)
    })
    .await
}

/// `GET /api/v1/label/<name>/values`
pub async fn values(
    State(app): State<Arc<App>>,
    Store(db): Store,
    name: Result<Path<String>, PathRejection>,
    uri: OriginalUri,
    params: Params,
) -> Response {
    let Ok(Path(name)) = name else {
        let shown = quoted_bytes(uri.path());
        return ApiError::bad_data(format!("invalid label name: {shown}")).into_response();
    };
    if name.contains('/') {
        // Prometheus' router sees two segments.
        return not_found().await;
    }
    let name = unescape_name(&name);
    if name.is_empty() {
        let error = ApiError::bad_data(format!("invalid label name: {}", quoted(&name)));
        return error.into_response();
    }
    answer(&app, db, &params, move |querier, matchers| {
        querier.label_values(&name, matchers)
    })
    .await
}

/// The label name of a path that is no UTF-8, quoted as by Go's `%q`.
fn quoted_bytes(path: &str) -> String {
    let path = path.strip_suffix("/values").unwrap_or(path);
    let name = path.rsplit('/').next().unwrap_or_default();
    let bytes: Vec<u8> = percent_decoded(name.as_bytes());
    let mut out = String::new();
    for chunk in bytes.utf8_chunks() {
        let text = quoted(chunk.valid());
        out.push_str(&text[1..text.len() - 1]);
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    format!("\"{out}\"")
}

fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let (mut out, mut at) = (Vec::new(), 0);
    while at < text.len() {
        let digits = text.get(at + 1..at + 3).filter(|_| text[at] == b'%');
        let code = digits
            .and_then(|d| std::str::from_utf8(d).ok())
            .and_then(|d| u8::from_str_radix(d, 16).ok());
        out.push(code.unwrap_or(text[at]));
        at += if code.is_some() { 3 } else { 1 };
    }
    out
}

async fn answer(
    app: &Arc<App>,
    db: Arc<tenbin_storage::Db>,
    params: &Params,
    list: impl Fn(&dyn Querier, &[Matcher]) -> Result<Vec<String>, StoreError> + Send + 'static,
) -> Response {
    let lookup = lookup_range(params).and_then(|(range, limit)| {
        let matcher_sets = matcher_sets(app, params).map_err(ApiError::bad_data)?;
        Ok(Lookup {
            matcher_sets,
            range,
            limit,
        })
    });
    let lookup = match lookup {
        Ok(lookup) => lookup,
        Err(error) => return error.into_response(),
    };
    in_background(app, move || {
        let stats = db.stats();
        let is_outside = stats
            .min_time_ms
            .is_none_or(|min| lookup.range.max_ms < min)
            || stats
                .max_time_ms
                .is_none_or(|max| lookup.range.min_ms > max)
            || lookup.range.max_ms < lookup.range.min_ms;
        if is_outside {
            return Ok(success_strings(&[], &Annotations::default()));
        }
        let querier = db.querier(lookup.range)?;
        let mut strings = match lookup.matcher_sets.as_slice() {
            [] => list(&*querier, &[])?,
            [matchers] => list(&*querier, matchers)?,
            sets => {
                let mut union = BTreeSet::new();
                for matchers in sets {
                    union.extend(list(&*querier, matchers)?);
                }
                union.into_iter().collect()
            }
        };
        let mut annotations = Annotations::default();
        if lookup.limit > 0 && strings.len() > lookup.limit {
            strings.truncate(lookup.limit);
            annotations.warn(TRUNCATED);
        }
        Ok(success_strings(&strings, &annotations))
    })
    .await
}

/// Undoes the "values" escaping of names in paths: after the prefix `U__`, `__` is an underscore
/// and `_<hex>_` a code point. A malformed name stays as it is.
/// Source: `prometheus/common/model`, `UnescapeName`.
fn unescape_name(name: &str) -> String {
    let Some(escaped) = name.strip_prefix("U__") else {
        return name.to_owned();
    };
    let mut out = String::new();
    let mut rest = escaped;
    while let Some(at) = rest.find('_') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let Some(end) = after.find('_') else {
            return name.to_owned();
        };
        let (code, following) = (&after[..end], &after[end + 1..]);
        if code.is_empty() {
            out.push('_');
        } else {
            // Its own escaping of code points above U+FFFFF does not come back in Prometheus.
            let point = (code.len() <= 5 && code.bytes().all(|b| b.is_ascii_hexdigit()))
                .then(|| u32::from_str_radix(code, 16).ok().and_then(char::from_u32))
                .flatten();
            let Some(point) = point else {
                return name.to_owned();
            };
            out.push(point);
        }
        rest = following;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_no_text_are_shown_as_bytes() {
        assert_eq!(quoted_bytes("/label/a%ff%22/values"), r#""a\xff\"""#);
    }

    #[test]
    fn escaped_names_are_read_back() {
        for (escaped, expected) in [
            ("job", "job"),
            ("U__my_2e_metric", "my.metric"),
            ("U__a__b", "a_b"),
            ("U___1f600_", "\u{1f600}"),
            ("U__bad_zz_", "U__bad_zz_"),
            ("U__open_2e", "U__open_2e"),
            ("U__long_0002e_", "long."),
            ("U__long_00002e_", "U__long_00002e_"),
        ] {
            assert_eq!(unescape_name(escaped), expected);
        }
    }
}
