//! The envelope around every answer of `/api/v1`.
//!
//! Fields in Prometheus' order: `status`, `data`, `errorType`, `error`, `warnings`, `infos`; the
//! last two only when not empty.

use std::convert::Infallible;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use tenbin_model::annotations::MAX_RENDERED;
use tenbin_model::{Annotations, Severity};

use super::error::ApiError;
use super::json::{push_list, push_string};

fn json_response(status: StatusCode, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}

/// The most of an error's text that is answered. Prometheus gives back whatever it was sent.
const MAX_ERROR_BYTES: usize = 16 << 10;

/// A text without its end, if it is longer than it may be.
#[must_use]
pub fn cut(mut text: String, max_bytes: usize) -> String {
    if text.len() > max_bytes {
        let end = text.floor_char_boundary(max_bytes);
        let more = text.len() - end;
        text.truncate(end);
        text.push_str(&format!("... ({more} bytes more)"));
    }
    text
}

/// A success whose data `push` writes.
pub fn success(push: impl FnOnce(&mut Vec<u8>)) -> Response {
    success_annotated(push, &Annotations::default(), "")
}

/// A success with warnings and infos; `query` is the text that their positions refer to.
pub fn success_annotated(
    push: impl FnOnce(&mut Vec<u8>),
    annotations: &Annotations,
    query: &str,
) -> Response {
    let infallible = |out: &mut Vec<u8>| {
        push(out);
        Ok::<(), Infallible>(())
    };
    match try_success_annotated(infallible, annotations, query) {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// As [`success_annotated`], where writing the data may fail.
///
/// # Errors
/// When `push` does.
pub fn try_success_annotated<E>(
    push: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    annotations: &Annotations,
    query: &str,
) -> Result<Response, E> {
    let mut body = Vec::with_capacity(1024);
    body.extend_from_slice(b"{\"status\":\"success\",\"data\":");
    push(&mut body)?;
    for (severity, key) in [(Severity::Warning, "warnings"), (Severity::Info, "infos")] {
        let texts = annotations.render(severity, query, MAX_RENDERED);
        if !texts.is_empty() {
            body.extend_from_slice(format!(",\"{key}\":").as_bytes());
            push_list(&mut body, &texts, |out, text| push_string(out, text));
        }
    }
    body.push(b'}');
    Ok(json_response(StatusCode::OK, body))
}

/// A success whose data is a list of strings.
pub fn success_strings(strings: &[String], annotations: &Annotations) -> Response {
    success_annotated(
        |out| push_list(out, strings, |out, text| push_string(out, text)),
        annotations,
        "",
    )
}

/// A success with a JSON value.
pub fn success_json(value: &serde_json::Value) -> Response {
    success(|out| push_json(out, value))
}

/// Appends a JSON value with Prometheus' string escapes.
pub fn push_json(out: &mut Vec<u8>, value: &serde_json::Value) {
    match value {
        serde_json::Value::String(text) => push_string(out, text),
        serde_json::Value::Array(items) => push_list(out, items, push_json),
        serde_json::Value::Object(fields) => {
            out.push(b'{');
            for (i, (name, value)) in fields.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                push_string(out, name);
                out.push(b':');
                push_json(out, value);
            }
            out.push(b'}');
        }
        other => out.extend_from_slice(other.to_string().as_bytes()),
    }
}

/// An error answer.
#[must_use]
pub fn error_response(error: &ApiError) -> Response {
    let mut body = b"{\"status\":\"error\",\"errorType\":".to_vec();
    push_string(&mut body, error.kind.as_str());
    body.extend_from_slice(b",\"error\":");
    push_string(&mut body, &cut(error.message.clone(), MAX_ERROR_BYTES));
    body.push(b'}');
    json_response(error.kind.status(), body)
}

/// A plain-text answer as Go's `http.Error` gives it.
#[must_use]
pub fn text_error(status: StatusCode, text: &str) -> Response {
    let text = cut(text.to_owned(), MAX_ERROR_BYTES);
    let mut response = Response::new(Body::from(format!("{text}\n")));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    async fn body_of(response: Response) -> String {
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(cut("abc".into(), 3), "abc");
        assert_eq!(cut("a\u{e9}bc".into(), 2), "a... (4 bytes more)");
    }

    #[tokio::test]
    async fn envelopes_have_prometheus_fields_in_order() {
        let mut annotations = Annotations::default();
        annotations.warn("results truncated due to limit");
        let response = success_strings(&["a<b".into()], &annotations);
        assert_eq!(response.headers()["content-type"], "application/json");
        assert_eq!(
            body_of(response).await,
            r#"{"status":"success","data":["a\u003cb"],"warnings":["results truncated due to limit"]}"#
        );
        let response = error_response(&ApiError::invalid_parameter("query", "1:1: parse error: x"));
        assert_eq!(response.status(), 400);
        assert_eq!(
            body_of(response).await,
            r#"{"status":"error","errorType":"bad_data","error":"invalid parameter \"query\": 1:1: parse error: x"}"#
        );
    }
}
