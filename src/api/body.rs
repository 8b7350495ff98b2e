//! Bodies of requests, read and unpacked within limits, and the plain-text refusals of the endpoints
//! that are no part of the JSON API.

use std::io::Read as _;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::response::text_error;
use crate::limits::WriteLimits;
use crate::server::buffers::{Buffer, Buffers};

/// A refusal of the whole request: status and text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal(pub(super) StatusCode, pub(super) String);

impl Refusal {
    /// 400.
    pub(super) fn bad(text: impl Into<String>) -> Self {
        Self(StatusCode::BAD_REQUEST, text.into())
    }

    /// 413.
    pub(super) fn too_large(text: impl Into<String>) -> Self {
        Self(StatusCode::PAYLOAD_TOO_LARGE, text.into())
    }

    /// 500.
    pub(super) fn internal(text: impl Into<String>) -> Self {
        Self(StatusCode::INTERNAL_SERVER_ERROR, text.into())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = text_error(self.0, &self.1);
        if self.0 == StatusCode::SERVICE_UNAVAILABLE {
            let headers = response.headers_mut();
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        response
    }
}

/// Reads a body of at most `--web.max-body-bytes`.
pub(super) async fn read_body(
    body: Body,
    limits: &WriteLimits,
    bodies: &Arc<Buffers>,
    headers: &HeaderMap,
) -> Result<Buffer, Refusal> {
    let limit = limits.max_body_bytes;
    let too_large = || {
        Refusal::too_large(format!(
            "request body exceeds the {limit} bytes limit (flag --web.max-body-bytes)"
        ))
    };
    let declared = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|v| v.to_str().ok());
    if declared
        .and_then(|v| v.parse::<u64>().ok())
        .is_some_and(|n| n > limit as u64)
    {
        return Err(too_large());
    }
    let mut body = Limited::new(body, limit);
    let mut gathered = bodies.take();
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => {
                if let Ok(bytes) = frame.into_data() {
                    gathered.extend_from_slice(&bytes);
                }
            }
            Err(error) if error.downcast_ref::<LengthLimitError>().is_some() => {
                return Err(too_large());
            }
            Err(error) => return Err(Refusal::bad(format!("reading the body: {error}"))),
        }
    }
    Ok(gathered)
}

/// A header as text, empty where absent.
pub(super) fn header_text(headers: &HeaderMap, name: header::HeaderName) -> &str {
    headers.get(name).map_or("", |v| v.to_str().unwrap_or("?"))
}

/// Unpacks a gzip body of at most `--web.max-decoded-body-bytes`.
pub(super) fn gunzip(body: &[u8], limits: &WriteLimits) -> Result<Vec<u8>, Refusal> {
    let limit = limits.max_decoded_body_bytes;
    let mut out = Vec::new();
    let unpacked = flate2::read::MultiGzDecoder::new(body)
        .take(limit as u64 + 1)
        .read_to_end(&mut out);
    if out.len() > limit {
        return Err(Refusal::too_large(format!(
            "decompressed body exceeds the limit of {limit} bytes \
             (flag --web.max-decoded-body-bytes)"
        )));
    }
    match unpacked {
        Ok(_) => Ok(out),
        Err(error) => Err(Refusal::bad(format!("gzip: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn gzip_is_bounded() {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&vec![b'x'; 10_000]).unwrap();
        let packed = encoder.finish().unwrap();
        let mut limits = WriteLimits {
            max_decoded_body_bytes: 10_000,
            ..WriteLimits::default()
        };
        assert_eq!(gunzip(&packed, &limits).unwrap().len(), 10_000);
        limits.max_decoded_body_bytes = 9_999;
        let refused = gunzip(&packed, &limits).unwrap_err();
        assert_eq!(refused.0, 413);
        let cut = gunzip(&packed[..packed.len() / 2], &WriteLimits::default());
        assert_eq!(cut.unwrap_err().0, 400);
        assert_eq!(gunzip(b"plain", &limits).unwrap_err().0, 400);
    }
}
