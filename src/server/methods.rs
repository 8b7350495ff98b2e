//! Methods that a route does not have, answered as Prometheus' router does: HEAD is a method of its own that only
//! the health checks and `/ping` have, `Allow` is a sorted list with OPTIONS, and OPTIONS outside the API says
//! what is allowed.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;

/// Paths with HEAD.
fn has_head(path: &str) -> bool {
    ["/-/healthy", "/-/ready", "/ping"]
        .iter()
        .any(|known| path.ends_with(known))
}

/// `GET,HEAD,POST` as `GET, OPTIONS, POST`.
fn allow(given: &str, has_head: bool) -> String {
    let mut methods: Vec<&str> = given
        .split(',')
        .map(str::trim)
        .filter(|method| !method.is_empty() && (has_head || *method != "HEAD"))
        .collect();
    methods.push("OPTIONS");
    methods.sort_unstable();
    methods.join(", ")
}

/// Middleware around the routes.
pub async fn layer(mut request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let has_head = has_head(request.uri().path());
    if method == Method::HEAD && !has_head {
        // No route has this one either, and unlike HEAD it does not fall back to GET.
        *request.method_mut() = Method::TRACE;
    }
    let mut response = next.run(request).await;
    let is_options = method == Method::OPTIONS;
    match response.status() {
        StatusCode::METHOD_NOT_ALLOWED => {
            let given = response.headers().get(header::ALLOW);
            let value = given
                .and_then(|v| v.to_str().ok())
                .and_then(|given| HeaderValue::from_str(&allow(given, has_head)).ok());
            if is_options {
                response = Response::new(Body::empty());
            }
            if let Some(value) = value {
                response.headers_mut().insert(header::ALLOW, value);
            }
        }
        StatusCode::NO_CONTENT if is_options => {
            response.headers_mut().remove(header::ALLOW);
        }
        StatusCode::OK if method == Method::HEAD => {
            response.headers_mut().remove(header::CONTENT_TYPE);
        }
        _ => {}
    }
    response
}

#[cfg(test)]
mod tests {
    #[test]
    fn allow_is_a_sorted_list() {
        assert_eq!(super::allow("POST,GET,HEAD", false), "GET, OPTIONS, POST");
        assert_eq!(super::allow("GET,HEAD", true), "GET, HEAD, OPTIONS");
        assert_eq!(super::allow("", false), "OPTIONS");
    }
}
