//! `/api/v1/admin/tsdb/*`, behind `--web.enable-admin-api`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use tenbin_storage::DbError;

use super::error::{ApiError, ErrorKind};
use super::params::{Params, bool_param};
use super::response::success;
use super::series::series_lookup;
use crate::server::{App, Store};

/// `POST /api/v1/admin/tsdb/flush`: everything in the head goes into blocks; answers 204 when it is
/// there. Not in Prometheus.
pub async fn flush(State(app): State<Arc<App>>, Store(db): Store) -> Response {
    run(&app, move || db.flush().map(|_| ())).await
}

/// `POST /api/v1/admin/tsdb/compact`: blocks are merged all the way to the final level; answers 204
/// when that is done. Not in Prometheus.
pub async fn compact(State(app): State<Arc<App>>, Store(db): Store) -> Response {
    run(&app, move || db.compact().map(|_| ())).await
}

/// `POST /api/v1/admin/tsdb/delete_series`: samples of the series of any `match[]` between `start` and
/// `end` are deleted; answers 204 when that is durable.
pub async fn delete_series(
    State(app): State<Arc<App>>,
    Store(db): Store,
    params: Params,
) -> Response {
    if !app.admin_enabled {
        return disabled();
    }
    let lookup = match series_lookup(&app, &params) {
        Ok(lookup) => lookup,
        Err(error) => return error.into_response(),
    };
    run(&app, move || {
        let report = db.delete_series(&lookup.matcher_sets, lookup.range)?;
        tracing::info!(?report, range = ?lookup.range, "deleted series");
        Ok(())
    })
    .await
}

/// `POST /api/v1/admin/tsdb/clean_tombstones`: blocks with deletions are rewritten; answers 204 when
/// that is done.
pub async fn clean_tombstones(State(app): State<Arc<App>>, Store(db): Store) -> Response {
    run(&app, move || db.clean_tombstones().map(|_| ())).await
}

/// `POST /api/v1/admin/tsdb/snapshot`: a copy of the database under `snapshots/` in the data directory,
/// by hard links; with `skip_head=true` without what is not in blocks yet. Answers with its name.
pub async fn snapshot(State(app): State<Arc<App>>, Store(db): Store, params: Params) -> Response {
    if !app.admin_enabled {
        return disabled();
    }
    let skip_head = match bool_param(&params, "skip_head") {
        Ok(skip_head) => skip_head,
        Err(error) => return error.into_response(),
    };
    let name = snapshot_name();
    let named = name.clone();
    match tokio::task::spawn_blocking(move || db.snapshot(&named, skip_head)).await {
        Ok(Ok(())) => success(|out| {
            out.extend_from_slice(format!("{{\"name\":\"{name}\"}}").as_bytes());
        }),
        Ok(Err(error)) => {
            let text = format!("create snapshot: {error}");
            ApiError::new(ErrorKind::Internal, text).into_response()
        }
        Err(_) => ApiError::new(ErrorKind::Internal, "storage thread panicked").into_response(),
    }
}

/// As Prometheus names them: the time in UTC and 16 random hexadecimal digits.
fn snapshot_name() -> String {
    use std::hash::{BuildHasher, Hasher};
    let random = std::hash::RandomState::new().build_hasher().finish();
    let now = jiff::Timestamp::now();
    format!("{}-{random:016x}", now.strftime("%Y%m%dT%H%M%SZ"))
}

fn disabled() -> Response {
    ApiError::new(ErrorKind::Unavailable, "admin APIs disabled").into_response()
}

async fn run(app: &App, work: impl FnOnce() -> Result<(), DbError> + Send + 'static) -> Response {
    if !app.admin_enabled {
        return disabled();
    }
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(())) => StatusCode::NO_CONTENT.into_response(),
        Ok(Err(error)) => ApiError::new(ErrorKind::Internal, error.to_string()).into_response(),
        Err(_) => ApiError::new(ErrorKind::Internal, "storage thread panicked").into_response(),
    }
}
