//! Requests that stop, reload or delete must not come from another site's page.
//!
//! A browser says where a page comes from (`Sec-Fetch-Site`, `Origin`); programs say nothing and pass.
//! Prometheus documents that it has no such protection.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;

use super::App;
use crate::api::response::text_error;

/// What stands between `://` and the path.
fn authority(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    rest.split('/').next()
}

/// Whether the headers say that a page of another site asks.
fn is_cross_site(headers: &HeaderMap, external_url: &str) -> bool {
    let text = |name: &str| headers.get(name).map(|v| v.to_str().unwrap_or("?"));
    if matches!(text("sec-fetch-site"), Some("same-origin" | "none")) {
        return false;
    }
    let Some(origin) = text(header::ORIGIN.as_str()) else {
        return text("sec-fetch-site").is_some();
    };
    let origin = authority(origin);
    let is_ours = |own: Option<&str>| own.is_some() && own == origin;
    !is_ours(text(header::HOST.as_str())) && !is_ours(authority(external_url))
}

/// Middleware: guards what operates the server.
pub async fn layer(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let path = path
        .strip_prefix(app.external_url.route_prefix.as_str())
        .unwrap_or(path);
    let operates = path.starts_with("/-/") || path.starts_with("/api/v1/admin/");
    let asks = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    );
    if operates && !asks && is_cross_site(request.headers(), &app.external_url.url) {
        return text_error(StatusCode::FORBIDDEN, "cross-site request refused");
    }
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderName, HeaderValue};

    fn cross(pairs: &[(&'static str, &'static str)]) -> bool {
        let headers = pairs
            .iter()
            .map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v)));
        is_cross_site(&headers.collect(), "https://tenbin.example/x")
    }

    #[test]
    fn only_pages_of_other_sites_are_refused() {
        assert!(!cross(&[]));
        assert!(!cross(&[("host", "a:9090"), ("origin", "http://a:9090")]));
        assert!(!cross(&[
            ("host", "a:9090"),
            ("origin", "https://tenbin.example")
        ]));
        assert!(!cross(&[
            ("sec-fetch-site", "same-origin"),
            ("origin", "http://x")
        ]));
        for origin in ["null", "http://evil", "http://a:9091", "http://a:9090.evil"] {
            assert!(cross(&[("host", "a:9090"), ("origin", origin)]), "{origin}");
        }
        assert!(cross(&[("sec-fetch-site", "cross-site")]));
        assert!(cross(&[("sec-fetch-site", "same-site")]));
        assert!(cross(&[("origin", "null")]));
    }
}
