//! Compressed answers by Prometheus' rule: the first token of `Accept-Encoding` that is exactly `gzip` or
//! `deflate` (in zlib framing) wins; `Vary` is said only of answers that are compressed.
//!
//! Weights (`gzip;q=1`) are understood too, which Prometheus does not do: clients send them.
//! Source: Prometheus `util/httputil/compression.go`.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;

/// The encoding that the client may get.
fn choose(headers: &HeaderMap) -> Option<&'static str> {
    let accepted = headers.get(header::ACCEPT_ENCODING)?.to_str().ok()?;
    accepted.split(',').find_map(|entry| {
        let (token, parameters) = entry.split_once(';').unwrap_or((entry, ""));
        let weight = parameters.trim().strip_prefix("q=").unwrap_or("1");
        if weight.trim().parse().is_ok_and(|weight: f32| weight == 0.0) {
            return None;
        }
        match token.trim() {
            "gzip" => Some("gzip"),
            "deflate" => Some("deflate"),
            _ => None,
        }
    })
}

/// In front of the layer that compresses: leaves it one choice, and tidies `Vary` behind it.
pub async fn layer(mut request: Request, next: Next) -> Response {
    let chosen = choose(request.headers()).unwrap_or("identity");
    let value = HeaderValue::from_static(chosen);
    request.headers_mut().insert(header::ACCEPT_ENCODING, value);
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.remove(header::VARY);
    if headers.contains_key(header::CONTENT_ENCODING) {
        headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_known_token_wins() {
        let chosen = |accepted: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(
                header::ACCEPT_ENCODING,
                HeaderValue::from_str(accepted).unwrap(),
            );
            choose(&headers)
        };
        assert_eq!(chosen("br, gzip, deflate"), Some("gzip"));
        assert_eq!(chosen("deflate,gzip"), Some("deflate"));
        assert_eq!(chosen("gzip;q=0.5"), Some("gzip"));
        assert_eq!(chosen("gzip;q=0, deflate"), Some("deflate"));
        assert_eq!(chosen("GZIP, *, identity"), None);
        assert_eq!(choose(&HeaderMap::new()), None);
    }
}
