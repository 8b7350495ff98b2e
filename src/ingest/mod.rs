//! From bytes on the wire to the store's [`tenbin_model::write::WriteRequest`].
//!
//! Decoders are pure: bytes in, borrowed entries out, no I/O, no clock. They never allocate by a
//! length that the sender claims before that length is checked, and never recurse.

pub mod batch;
pub mod decompress;
pub mod exposition;
pub mod histogram;
pub mod histogram_writer;
pub mod influx;
pub mod lines;
pub mod otlp;
pub mod protobuf;
pub mod protobuf_writer;
pub mod read_request;
mod recycle;
pub mod remote_write_v1;
pub mod remote_write_v2;
#[cfg(test)]
mod replay;

/// Why a body is no acceptable request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not the message that the request's version asks for.
    #[error(transparent)]
    Wire(#[from] protobuf::WireError),
    /// More of something than allowed. The text names limit, value and flag.
    #[error("{0}")]
    Limit(String),
}
