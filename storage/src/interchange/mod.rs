//! Moving in and out: blocks of Prometheus, read and written.
//!
//! A block is a folder `<ULID>/` with `meta.json`, `index`, `chunks/000001` and on, and `tombstones`.
//! Numbers are big-endian, checksums CRC-32C. Format code works on bytes; `source`, `import` and
//! `export` are the only ones that know files and the database. Bytes are judged before they are
//! believed: what is damaged is named with file, offset, expectation and finding. Source: Prometheus
//! `tsdb/docs/format`, `tsdb/index`, `tsdb/chunks`, `tsdb/chunkenc`.

mod bytes;
mod chunk;
mod error;
mod export;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod import;
mod index;
mod meta;
mod segments;
mod source;
mod tombstones;
mod ulid;
mod wire;

pub use error::InterchangeError;
pub use export::{ExportOptions, ExportProgress, ExportReport, compatible_block_ms};
pub use import::{ImportProgress, ImportReport};
pub use wire::{WireChunk, wire_chunks};
