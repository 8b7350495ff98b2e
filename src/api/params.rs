//! Request parameters with the semantics of Go's `Request.FormValue`.
//!
//! A POST with a form body gives its values first, then those of the URL; other requests give the
//! URL's alone. A parameter that may occur once takes the first value, a repeated one all of them.
//! Unknown parameters are ignored.

use std::collections::HashMap;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::{Method, header};
use axum::response::Response;
use http_body_util::{BodyExt, Limited};

use super::error::ApiError;

/// The largest form body, bytes: what Go's `ParseForm` reads.
const MAX_FORM_BYTES: usize = 10 << 20;

/// All parameters of a request.
#[derive(Debug, Clone, Default)]
pub struct Params {
    values: HashMap<String, Vec<String>>,
}

impl Params {
    fn add(&mut self, encoded: &[u8]) {
        for (name, value) in form_urlencoded::parse(encoded) {
            self.values
                .entry(name.into_owned())
                .or_default()
                .push(value.into_owned());
        }
    }

    /// Parameters from an encoded string, as they stand in a URL.
    #[must_use]
    pub fn from_encoded(encoded: &str) -> Self {
        let mut params = Self::default();
        params.add(encoded.as_bytes());
        params
    }

    /// The first value of `name`, empty where absent.
    #[must_use]
    pub fn first(&self, name: &str) -> &str {
        self.values
            .get(name)
            .and_then(|all| all.first())
            .map_or("", String::as_str)
    }

    /// All values of `name`.
    #[must_use]
    pub fn all(&self, name: &str) -> &[String] {
        self.values.get(name).map_or(&[], Vec::as_slice)
    }
}

impl<S: Send + Sync> FromRequest<S> for Params {
    type Rejection = Response;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Response> {
        let (parts, body) = request.into_parts();
        let mut params = Self::default();
        let is_form = parts
            .headers
            .get(header::CONTENT_TYPE)
            .and_then(|v| v.to_str().ok())
            .and_then(|v| v.split(';').next())
            .is_some_and(|v| {
                v.trim()
                    .eq_ignore_ascii_case("application/x-www-form-urlencoded")
            });
        if is_form && matches!(parts.method, Method::POST | Method::PUT | Method::PATCH) {
            let bytes = read_body(body).await?;
            params.add(&bytes);
        }
        params.add(parts.uri.query().unwrap_or("").as_bytes());
        Ok(params)
    }
}

/// A boolean as Go's `strconv.ParseBool` reads it; false where absent or empty.
pub(super) fn bool_param(params: &Params, name: &str) -> Result<bool, ApiError> {
    match params.first(name) {
        "" | "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        other => {
            let reason = format!(
                "strconv.ParseBool: parsing {}: invalid syntax",
                tenbin_model::text::quote::quoted(other)
            );
            Err(ApiError::invalid_parameter(name, reason))
        }
    }
}

async fn read_body(body: Body) -> Result<bytes::Bytes, Response> {
    match Limited::new(body, MAX_FORM_BYTES).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(_) => Err(axum::response::IntoResponse::into_response(
            ApiError::bad_data("error parsing form values: http: request body too large"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn form_values_come_before_the_urls() {
        let request = Request::builder()
            .method("POST")
            .uri("/x?query=url&match%5B%5D=b&other=1")
            .header(
                "content-type",
                "application/x-www-form-urlencoded; charset=utf-8",
            )
            .body(Body::from("query=form+x&match[]=a"))
            .unwrap();
        let params = Params::from_request(request, &()).await.unwrap();
        assert_eq!(params.first("query"), "form x");
        assert_eq!(params.all("match[]"), ["a", "b"]);
        assert_eq!(params.first("other"), "1");
        assert_eq!(params.first("absent"), "");
    }

    #[tokio::test]
    async fn a_get_ignores_its_body() {
        let request = Request::builder()
            .uri("/x?query=url")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Body::from("query=form"))
            .unwrap();
        let params = Params::from_request(request, &()).await.unwrap();
        assert_eq!(params.first("query"), "url");
    }
}
