//! `/api/v1/metadata`: type, help and unit per metric family.
//!
//! Prometheus knows them from its scrapes; here they are what remote write 1.0 and 2.0 said.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use tenbin_storage::Metadata;

use super::error::ApiError;
use super::json::{push_list, push_string};
use super::params::Params;
use super::response::success;
use super::series::in_background;
use super::times::parse_integer;
use crate::server::{App, Store};

/// A count; without one, or with one below 1 as in Prometheus for families, all.
fn count(params: &Params, name: &str) -> Result<usize, ApiError> {
    let text = params.first(name);
    if text.is_empty() {
        return Ok(usize::MAX);
    }
    match parse_integer(text) {
        Ok(count) => Ok(usize::try_from(count).unwrap_or(usize::MAX)),
        Err(_) => Err(ApiError::bad_data(format!("{name} must be a number"))),
    }
}

/// `GET /api/v1/metadata`
pub async fn metadata(State(app): State<Arc<App>>, Store(db): Store, params: Params) -> Response {
    let limits =
        count(&params, "limit").and_then(|limit| Ok((limit, count(&params, "limit_per_metric")?)));
    let (limit, per_metric) = match limits {
        Ok(limits) => limits,
        Err(error) => return error.into_response(),
    };
    // Prometheus takes 0 entries per metric for all of them, but 0 metrics for none.
    let per_metric = if per_metric == 0 {
        usize::MAX
    } else {
        per_metric
    };
    let metric = params.first("metric").to_owned();
    in_background(&app, move || {
        let all = db.metadata(&metric)?;
        Ok(success(|out| {
            out.push(b'{');
            for (at, (metric, list)) in all.iter().take(limit).enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                push_string(out, metric);
                out.push(b':');
                let shown = &list[..list.len().min(per_metric)];
                push_list(out, shown, push_metadata);
            }
            out.push(b'}');
        }))
    })
    .await
}

fn push_metadata(out: &mut Vec<u8>, metadata: &Metadata) {
    out.extend_from_slice(b"{\"type\":");
    push_string(out, metadata.kind.as_str());
    out.extend_from_slice(b",\"help\":");
    push_string(out, &metadata.help);
    out.extend_from_slice(b",\"unit\":");
    push_string(out, &metadata.unit);
    out.push(b'}');
}
