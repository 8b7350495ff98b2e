//! Cross-origin headers as Prometheus sends them.
//!
//! The policy is an anchored regular expression on the `Origin`; an origin that matches is echoed.
//! (Prometheus' own shortcut to `*` for the default compares with a form of the pattern that it has
//! not compiled since 3.0, so it echoes too.) Source: Prometheus `util/httputil/cors.go`.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tenbin_model::Regex;
use tenbin_model::regex::RegexError;

use super::App;
use super::paths::Unrouted;

/// Which origins are allowed.
#[derive(Debug, Clone)]
pub struct CorsPolicy {
    origin: Regex,
}

impl CorsPolicy {
    /// The policy of `--web.cors.origin`.
    ///
    /// # Errors
    /// When the pattern is no regular expression.
    pub fn new(pattern: &str) -> Result<Self, RegexError> {
        Ok(Self {
            origin: Regex::new(pattern)?,
        })
    }

    fn apply(&self, origin: Option<&HeaderValue>, response: &mut Response) {
        let headers = response.headers_mut();
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
        let Some(origin) = origin else { return };
        let fixed = [
            (
                header::ACCESS_CONTROL_ALLOW_HEADERS,
                "Accept, Authorization, Content-Type, Origin",
            ),
            (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, OPTIONS"),
            (header::ACCESS_CONTROL_EXPOSE_HEADERS, "Date"),
        ];
        for (name, value) in fixed {
            headers.insert(name, HeaderValue::from_static(value));
        }
        // Any bytes may come; the answer gives them back.
        if std::str::from_utf8(origin.as_bytes()).is_ok_and(|text| self.origin.is_match(text)) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        }
    }
}

/// Middleware of the API routes: answers OPTIONS with 204 and adds the headers to every answer
/// of a route.
pub async fn layer(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let origin = request.headers().get(header::ORIGIN).cloned();
    let mut response = if request.method() == Method::OPTIONS {
        StatusCode::NO_CONTENT.into_response()
    } else {
        next.run(request).await
    };
    if response.extensions().get::<Unrouted>().is_none() {
        app.cors.apply(origin.as_ref(), &mut response);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(pattern: &str, origin: &str) -> Option<String> {
        let mut response = Response::default();
        let origin = HeaderValue::from_str(origin).unwrap();
        CorsPolicy::new(pattern)
            .unwrap()
            .apply(Some(&origin), &mut response);
        let header = response.headers().get(header::ACCESS_CONTROL_ALLOW_ORIGIN);
        header.map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned())
    }

    #[test]
    fn origins_are_matched_whole() {
        assert_eq!(
            allowed(".*", "https://a.example"),
            Some("https://a.example".into())
        );
        assert_eq!(allowed(".*", "https://é"), Some("https://é".into()));
        let pattern = "https?://good\\.example";
        assert_eq!(
            allowed(pattern, "https://good.example"),
            Some("https://good.example".into())
        );
        assert_eq!(allowed(pattern, "https://good.example.evil"), None);
        assert_eq!(allowed(pattern, "https://evil-good.example"), None);
    }
}
