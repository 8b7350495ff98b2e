//! Request parameters with the semantics of Go's `Request.FormValue`.
//!
//! A POST with a form body gives its values first, then those of the URL (with a multipart form the other way
//! round); other requests give the URL's alone. A parameter that may occur once takes the first value, a repeated one all of them.
//! Unknown parameters are ignored.

use std::collections::HashMap;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::{Method, header};
use axum::response::Response;
use http_body_util::{BodyExt, Limited};
use tenbin_model::text::quote::quoted;

use super::error::ApiError;
use super::multipart;

/// The largest form body, bytes: what Go's `ParseForm` reads.
const MAX_FORM_BYTES: usize = 10 << 20;

/// All parameters of a request.
#[derive(Debug, Clone, Default)]
pub struct Params {
    values: HashMap<String, Vec<String>>,
    /// Where the values of the URL begin among those of a name; absent = at the first.
    url_from: HashMap<String, usize>,
    /// What is wrong with the form, if anything; the rest of it counts all the same.
    error: Option<String>,
}

impl Params {
    /// As Go's `url.ParseQuery`: pairs with a semicolon or a bad escape are left out.
    fn add(&mut self, encoded: &[u8]) {
        let mut error = None;
        for pair in encoded.split(|b| *b == b'&') {
            if pair.contains(&b';') {
                error = Some("invalid semicolon separator in query".to_owned());
                continue;
            }
            if pair.is_empty() {
                continue;
            }
            let at = pair.iter().position(|b| *b == b'=');
            let (name, value) =
                at.map_or((pair, b"".as_slice()), |at| (&pair[..at], &pair[at + 1..]));
            match (unescape(name), unescape(value)) {
                (Ok(name), Ok(value)) => self.values.entry(name).or_default().push(value),
                (Err(reason), _) | (_, Err(reason)) => {
                    error.get_or_insert(reason);
                }
            }
        }
        if self.error.is_none() {
            self.error = error;
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

    /// The first value of `name` in the URL, empty where absent: a few handlers do not look into forms.
    #[must_use]
    pub fn first_of_url(&self, name: &str) -> &str {
        let from = self.url_from.get(name).copied().unwrap_or(0);
        self.all(name).get(from).map_or("", String::as_str)
    }

    /// All values of `name`.
    #[must_use]
    pub fn all(&self, name: &str) -> &[String] {
        self.values.get(name).map_or(&[], Vec::as_slice)
    }

    /// For handlers that want the form without mistakes.
    ///
    /// # Errors
    /// When a part of it could not be read.
    pub fn whole_form(&self) -> Result<(), ApiError> {
        match &self.error {
            None => Ok(()),
            Some(reason) => Err(ApiError::bad_data(format!(
                "error parsing form values: {reason}"
            ))),
        }
    }
}

/// Undoes percent-encoding; a plus is a blank. What is no UTF-8 becomes the replacement character.
fn unescape(text: &[u8]) -> Result<String, String> {
    let hex = |at: usize| {
        let digit = text.get(at).copied().map(char::from)?;
        digit.to_digit(16).map(|digit| digit as u8)
    };
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match byte {
            b'%' => {
                let (Some(high), Some(low)) = (hex(at + 1), hex(at + 2)) else {
                    let rest = &text[at..text.len().min(at + 3)];
                    let rest = String::from_utf8_lossy(rest);
                    return Err(format!("invalid URL escape {}", quoted(&rest)));
                };
                out.push(high << 4 | low);
                at += 3;
            }
            b'+' => {
                out.push(b' ');
                at += 1;
            }
            byte => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    Ok(match String::from_utf8(out) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    })
}

impl<S: Send + Sync> FromRequest<S> for Params {
    type Rejection = Response;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Response> {
        let (parts, body) = request.into_parts();
        let mut params = Self::default();
        let content_type = parts.headers.get(header::CONTENT_TYPE);
        let content_type = content_type.and_then(|v| v.to_str().ok()).unwrap_or("");
        let media_type = content_type.split(';').next().unwrap_or("");
        let has_form = matches!(parts.method, Method::POST | Method::PUT | Method::PATCH);
        let boundary = multipart::boundary(content_type).filter(|_| has_form);
        if let Some(boundary) = boundary {
            // Behind those of the URL, unlike those of the usual form.
            params.add(parts.uri.query().unwrap_or("").as_bytes());
            let bytes = read_body(body).await?;
            for (name, value) in multipart::fields(&bytes, boundary) {
                let value = String::from_utf8_lossy(value).into_owned();
                params.values.entry(name).or_default().push(value);
            }
            return Ok(params);
        }
        let is_form = media_type
            .trim()
            .eq_ignore_ascii_case("application/x-www-form-urlencoded");
        if is_form && has_form {
            let bytes = read_body(body).await?;
            params.add(&bytes);
            params.url_from = params
                .values
                .iter()
                .map(|(name, values)| (name.clone(), values.len()))
                .collect();
        }
        params.add(parts.uri.query().unwrap_or("").as_bytes());
        Ok(params)
    }
}

/// A boolean as Go's `strconv.ParseBool` reads it; false where absent or empty.
pub(super) fn bool_param(params: &Params, name: &str) -> Result<bool, ApiError> {
    match params.first(name) {
        "" => Ok(false),
        text => parse_bool(text).map_err(|reason| ApiError::invalid_parameter(name, reason)),
    }
}

/// Go's `strconv.ParseBool` with its error text.
pub(super) fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        other => Err(format!(
            "strconv.ParseBool: parsing {}: invalid syntax",
            quoted(other)
        )),
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
    async fn multipart_values_come_behind_the_urls() {
        let body = "--B\r\nContent-Disposition: form-data; name=\"query\"\r\n\r\nform\r\n--B--\r\n";
        let ask = async |uri: &str| {
            let request = Request::builder()
                .method("POST")
                .uri(uri)
                .header("content-type", "multipart/form-data; boundary=B")
                .body(Body::from(body))
                .unwrap();
            Params::from_request(request, &()).await.unwrap()
        };
        assert_eq!(ask("/x").await.first("query"), "form");
        assert_eq!(ask("/x?query=url").await.all("query"), ["url", "form"]);
    }

    #[test]
    fn mistakes_are_left_out_and_remembered() {
        let params = Params::from_encoded("a=1&b=%zz&c;d=2&&e=%C3%A9+x&a=%e");
        assert_eq!(params.all("a"), ["1"]);
        assert_eq!(params.first("e"), "é x");
        assert_eq!(params.first("b"), "");
        let error = params.whole_form().unwrap_err().message;
        let expected = "error parsing form values: invalid semicolon separator in query";
        assert_eq!(error, expected);
        let error = Params::from_encoded("b=%zz").whole_form().unwrap_err();
        assert!(error.message.ends_with("invalid URL escape \"%zz\""));
        assert!(Params::from_encoded("a=b").whole_form().is_ok());
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
