//! `/api/v1/admin/tsdb/*`, behind `--web.enable-admin-api`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use tenbin_storage::DbError;

use super::error::{ApiError, ErrorKind};
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

async fn run(app: &App, work: impl FnOnce() -> Result<(), DbError> + Send + 'static) -> Response {
    if !app.admin_enabled {
        return ApiError::new(ErrorKind::Unavailable, "admin APIs disabled").into_response();
    }
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(())) => StatusCode::NO_CONTENT.into_response(),
        Ok(Err(error)) => ApiError::new(ErrorKind::Internal, error.to_string()).into_response(),
        Err(_) => ApiError::new(ErrorKind::Internal, "storage thread panicked").into_response(),
    }
}
