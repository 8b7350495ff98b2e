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
mod metric;
pub mod names;
mod point;
pub mod settings;
pub mod sums;
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

/// Most parts of one kind in a part of a message: what is listed takes more memory than on the wire.
const MAX_PARTS: usize = 1 << 20;

/// Most attributes of a point, resource or scope, and most values in a list or map of one.
const MAX_ATTRIBUTES: usize = 4096;

/// Checks that a list of `count` may take one more.
fn check_room(count: usize, limit: usize, what: &str) -> Result<(), OtlpError> {
    if count < limit {
        return Ok(());
    }
    Err(OtlpError::Limit(format!(
        "more than {limit} {what} in one place, which is the limit"
    )))
}

fn utf8(bytes: &[u8]) -> Result<&str, OtlpError> {
    let text = std::str::from_utf8(bytes);
    text.map_err(|_| OtlpError::Decode("a name or value is not valid UTF-8".to_owned()))
}
