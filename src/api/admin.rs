//! `/api/v1/admin/tsdb/*`, behind `--web.enable-admin-api`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::error::{ApiError, ErrorKind};
use crate::server::{App, Store};

/// `POST /api/v1/admin/tsdb/flush`: everything in the head goes into blocks; answers 204 when it is
/// there. Not in Prometheus.
pub async fn flush(State(app): State<Arc<App>>, Store(db): Store) -> Response {
    if !app.admin_enabled {
        return ApiError::new(ErrorKind::Unavailable, "admin APIs disabled").into_response();
    }
    match tokio::task::spawn_blocking(move || db.flush()).await {
        Ok(Ok(_)) => StatusCode::NO_CONTENT.into_response(),
        Ok(Err(error)) => ApiError::new(ErrorKind::Internal, error.to_string()).into_response(),
        Err(_) => ApiError::new(ErrorKind::Internal, "flush thread panicked").into_response(),
    }
}
