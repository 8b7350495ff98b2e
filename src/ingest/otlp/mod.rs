//! OTLP metrics: from the messages of OpenTelemetry to series, by Prometheus' rules.
//!
//! The message is walked in place: for each resource and scope first what stands around the metrics,
//! then metric by metric, point by point, straight into a [`super::batch::Batch`]. JSON is turned into
//! the binary form first (`json.rs`), so that there is one translation. Source: Prometheus
//! `storage/remote/otlptranslator`, opentelemetry-proto `metrics/v1`.

mod any_value;
mod buckets;
mod exemplar;
pub mod json;
mod labels;
pub mod names;
mod point;
pub mod settings;
mod translate;

use super::DecodeError;
use super::protobuf::WireError;

pub use translate::{Translated, translate};

/// Why a body is no message, or too much of one. What cannot be translated is no such error: it stands
/// in [`Translated`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OtlpError {
    /// It is none.
    #[error("{0}")]
    Decode(String),
    /// It exceeds a limit. The text names limit, value and flag.
    #[error("{0}")]
    Limit(String),
}

impl From<WireError> for OtlpError {
    fn from(error: WireError) -> Self {
        Self::Decode(error.to_string())
    }
}

impl From<DecodeError> for OtlpError {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::Wire(error) => error.into(),
            DecodeError::Limit(text) => Self::Limit(text),
        }
    }
}

fn utf8(bytes: &[u8]) -> Result<&str, OtlpError> {
    let text = std::str::from_utf8(bytes);
    text.map_err(|_| OtlpError::Decode("a name or value is not valid UTF-8".to_owned()))
}
