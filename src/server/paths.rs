//! Spellings of paths: percent-encoded letters mean the letters, and a path with empty or dot segments is
//! redirected to its clean form, as Go's multiplexer does.

use axum::extract::Request;
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::api::response::text_error;

/// Undoes the encoding of characters that need none (RFC 3986, 6.2.2.2); nothing else is touched.
fn decode_plain(path: &str) -> Option<String> {
    if !path.contains('%') {
        return None;
    }
    let bytes = path.as_bytes();
    let (mut out, mut at) = (String::with_capacity(path.len()), 0);
    while at < bytes.len() {
        let code = path
            .get(at + 1..at + 3)
            .filter(|_| bytes[at] == b'%')
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match code {
            Some(byte) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
                out.push(char::from(byte));
                at += 3;
            }
            _ => {
                // The path of a URI is ASCII.
                out.push(char::from(bytes[at]));
                at += 1;
            }
        }
    }
    (out != path).then_some(out)
}

/// Middleware before the routes: gives them the plain spelling, and redirects from unclean paths.
pub async fn plain_path(mut request: Request, next: Next) -> Response {
    if let Some(path) = decode_plain(request.uri().path()) {
        let target = match request.uri().query() {
            Some(query) => format!("{path}?{query}"),
            None => path,
        };
        let mut parts = request.uri().clone().into_parts();
        if let Ok(target) = PathAndQuery::try_from(target) {
            parts.path_and_query = Some(target);
            if let Ok(uri) = Uri::from_parts(parts) {
                *request.uri_mut() = uri;
            }
        }
    }
    let uri = request.uri();
    let cleaned = clean(uri.path());
    if cleaned != uri.path() && uri.path().starts_with('/') {
        let target = match uri.query() {
            Some(query) => format!("{cleaned}?{query}"),
            None => cleaned,
        };
        return redirect(StatusCode::MOVED_PERMANENTLY, &target);
    }
    next.run(request).await
}

/// The path without empty and dot segments, as Go's `path.Clean` with a final slash kept.
fn clean(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            segment => segments.push(segment),
        }
    }
    let mut out = format!("/{}", segments.join("/"));
    if path.ends_with('/') && out != "/" {
        out.push('/');
    }
    out
}

/// Marks answers that no route gave: they carry no CORS headers.
#[derive(Debug, Clone, Copy)]
pub struct Unrouted;

/// An answer that no route gave.
pub fn unrouted(status: StatusCode, text: &str) -> Response {
    let mut response = text_error(status, text);
    response.extensions_mut().insert(Unrouted);
    response
}

/// What no route matches.
pub async fn not_found() -> Response {
    unrouted(StatusCode::NOT_FOUND, "404 page not found")
}

/// Text for a page, escaped as Go's `html.EscapeString` does.
pub fn escape_html(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&#34;")
        .replace('\'', "&#39;")
}

/// A redirect with the small page that Go's `http.Redirect` sends.
pub fn redirect(status: StatusCode, target: &str) -> Response {
    let escaped = escape_html(target);
    let reason = status.canonical_reason().unwrap_or_default();
    let body = format!("<a href=\"{escaped}\">{reason}</a>.\n\n");
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    if let Ok(target) = HeaderValue::from_str(target) {
        headers.insert(header::LOCATION, target);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_become_plain() {
        assert_eq!(decode_plain("/api/%71uery").as_deref(), Some("/api/query"));
        assert_eq!(decode_plain("/%2e%2E/x").as_deref(), Some("/../x"));
        for kept in ["/a%2Fb", "/%", "/%zz", "/%22", "/%c3%a9", "/plain"] {
            assert_eq!(decode_plain(kept), None);
        }
        assert_eq!(clean("//api//v1/./query"), "/api/v1/query");
        assert_eq!(clean("/a/../../b/"), "/b/");
        assert_eq!(clean("/"), "/");
        assert_eq!(clean("//"), "/");
    }
}
