//! Which remote-write message a body holds, as its headers say, and whether this server takes it.
//!
//! Source: Prometheus `storage/remote/write_handler.go` and the handler of its client library.

use std::str::FromStr;

use axum::http::{HeaderMap, StatusCode, header};

use super::body::{Refusal, header_text};

/// A remote-write message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteMessage {
    /// Remote write 1.0.
    V1,
    /// Remote write 2.0.
    V2,
}

impl WriteMessage {
    /// All there are.
    pub const ALL: [Self; 2] = [Self::V1, Self::V2];

    /// The protobuf message's full name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::V1 => "prometheus.WriteRequest",
            Self::V2 => "io.prometheus.write.v2.Request",
        }
    }
}

impl FromStr for WriteMessage {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|message| message.name() == name);
        found.ok_or_else(|| {
            format!(
                "unknown type for remote write protobuf message {name}, supported: {}",
                names(&Self::ALL)
            )
        })
    }
}

fn names(messages: &[WriteMessage]) -> String {
    let names: Vec<&str> = messages.iter().map(|message| message.name()).collect();
    names.join(", ")
}

/// Judges Content-Encoding and Content-Type; says which message the body should hold.
pub(super) fn check_headers(
    headers: &HeaderMap,
    accepted: &[WriteMessage],
) -> Result<WriteMessage, Refusal> {
    let encoding = header_text(headers, header::CONTENT_ENCODING);
    let refuse = |text: String| Refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, text);
    if !encoding.is_empty() && !encoding.eq_ignore_ascii_case("snappy") {
        return Err(refuse(format!(
            "{encoding} encoding (compression) is not accepted by this server; \
             only snappy is acceptable"
        )));
    }
    let content_type = header_text(headers, header::CONTENT_TYPE);
    let message = message(content_type).map_err(refuse)?;
    if !accepted.contains(&message) {
        return Err(refuse(format!(
            "{} protobuf message is not accepted by this server; only accepts {}",
            message.name(),
            names(accepted)
        )));
    }
    Ok(message)
}

fn message(content_type: &str) -> Result<WriteMessage, String> {
    let mut parts = content_type.split(';').map(str::trim);
    let media_type = parts.next().unwrap_or("");
    if media_type.is_empty() {
        return Ok(WriteMessage::V1);
    }
    if !media_type.eq_ignore_ascii_case("application/x-protobuf") {
        return Err(format!(
            "expected application/x-protobuf as the first (media) part, got {content_type} \
             content-type"
        ));
    }
    for part in parts {
        if let Some((name, message)) = part.split_once('=')
            && name.trim().eq_ignore_ascii_case("proto")
        {
            return message.trim().trim_matches('"').parse();
        }
    }
    Ok(WriteMessage::V1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(encoding: &str, content_type: &str) -> Result<WriteMessage, Refusal> {
        check_of(encoding, content_type, &WriteMessage::ALL)
    }

    fn check_of(
        encoding: &str,
        content_type: &str,
        accepted: &[WriteMessage],
    ) -> Result<WriteMessage, Refusal> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_ENCODING, encoding.parse().unwrap());
        headers.insert(header::CONTENT_TYPE, content_type.parse().unwrap());
        check_headers(&headers, accepted)
    }

    #[test]
    fn headers_are_judged_as_prometheus_does() {
        assert_eq!(check("", ""), Ok(WriteMessage::V1));
        assert_eq!(
            check("snappy", "application/x-protobuf"),
            Ok(WriteMessage::V1)
        );
        let v1 = "application/x-protobuf; proto=prometheus.WriteRequest";
        assert_eq!(check("snappy", v1), Ok(WriteMessage::V1));
        let v2 = "application/x-protobuf;proto=io.prometheus.write.v2.Request";
        assert_eq!(check("snappy", v2), Ok(WriteMessage::V2));
        let refused = |encoding, content_type| check(encoding, content_type).unwrap_err();
        assert_eq!(refused("gzip", "application/x-protobuf").0, 415);
        assert_eq!(
            refused("gzip", "").1,
            "gzip encoding (compression) is not accepted by this server; \
             only snappy is acceptable"
        );
        assert_eq!(refused("snappy", "application/json").0, 415);
        assert_eq!(refused("snappy", "application/x-protobuf;proto=foo").0, 415);
        let Refusal(status, text) = check_of("", v1, &[WriteMessage::V2]).unwrap_err();
        assert_eq!(status, 415);
        assert_eq!(
            text,
            "prometheus.WriteRequest protobuf message is not accepted by this server; \
             only accepts io.prometheus.write.v2.Request"
        );
    }
}
