//! In front of every route: who may pass, and the headers of every answer.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;

use crate::api::response::text_error;
use crate::server::App;
use crate::server::page::CONTENT_SECURITY_POLICY;

/// No answer is guessed to be something else than it says, and pages do what ours do.
fn protect(headers: &mut HeaderMap) {
    let nosniff = HeaderValue::from_static("nosniff");
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    let content_type = headers.get(header::CONTENT_TYPE);
    if content_type.is_some_and(|value| value.as_bytes().starts_with(b"text/html")) {
        let policy = HeaderValue::from_static(CONTENT_SECURITY_POLICY);
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
}

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
    protect(response.headers_mut());
    for (name, value) in &config.headers {
        response.headers_mut().insert(name.clone(), value.clone());
    }
    response
}
