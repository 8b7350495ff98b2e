//! In front of every route: who may pass, and the headers of every answer.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;

use crate::api::response::text_error;
use crate::server::App;

/// Middleware around the whole server, unknown paths included.
pub async fn layer(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let config = app.web_config.current();
    let admitted = match &config.users {
        None => true,
        Some(users) => {
            let authorization = request.headers().get(header::AUTHORIZATION);
            users.admit(authorization.map(HeaderValue::as_bytes)).await
        }
    };
    let mut response = if admitted {
        next.run(request).await
    } else {
        let mut response = text_error(StatusCode::UNAUTHORIZED, "Unauthorized");
        response
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic"));
        response
    };
    for (name, value) in &config.headers {
        response.headers_mut().insert(name.clone(), value.clone());
    }
    response
}
