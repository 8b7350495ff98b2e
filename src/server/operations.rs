//! `/-/healthy`, `/-/ready`, `/-/reload`, `/-/quit`, `/version`: for those who run the server.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::App;
use crate::api::response::text_error;
use crate::api::status::build_info;

/// `GET /-/healthy`
pub async fn healthy() -> &'static str {
    "Prometheus Server is Healthy.\n"
}

/// `GET /-/ready`
pub async fn ready(State(app): State<Arc<App>>) -> Response {
    match app.store() {
        Some(_) => "Prometheus Server is Ready.\n".into_response(),
        None => app.not_ready(),
    }
}

/// `GET /version`; as Prometheus without a JSON content type.
pub async fn version() -> Response {
    format!("{}\n", build_info()).into_response()
}

/// What GET on an operation gets.
pub async fn only_post_or_put() -> Response {
    let text = "Only POST or PUT requests allowed";
    (StatusCode::METHOD_NOT_ALLOWED, text).into_response()
}

fn not_enabled() -> Response {
    (StatusCode::FORBIDDEN, "Lifecycle API is not enabled.").into_response()
}

/// `POST /-/reload`: the configuration files are read again; answers when that is done.
pub async fn reload(State(app): State<Arc<App>>) -> Response {
    if !app.lifecycle_enabled {
        return not_enabled();
    }
    let reloading = Arc::clone(&app);
    match tokio::task::spawn_blocking(move || reloading.reload()).await {
        Ok(Ok(())) => StatusCode::OK.into_response(),
        Ok(Err(error)) => text_error(
            StatusCode::INTERNAL_SERVER_ERROR,
            &format!("failed to reload config: {error}"),
        ),
        Err(_) => text_error(
            StatusCode::INTERNAL_SERVER_ERROR,
            "failed to reload config: a thread panicked; see the log",
        ),
    }
}

/// `POST /-/quit`
pub async fn quit(State(app): State<Arc<App>>) -> Response {
    if !app.lifecycle_enabled {
        return not_enabled();
    }
    app.stop.notify_one();
    "Requesting termination... Goodbye!".into_response()
}
