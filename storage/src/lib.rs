//! Tenbin's storage: the write-ahead log, the head, blocks, and one consistent view over them.
//!
//! ```text
//! append:  request -> head lane (visible) -> WAL record -> fdatasync -> Commit resolves
//! compact: blocks of a window -> merged series by series -> one manifest edit -> inputs removed
//! flush:   head before T -> block file -> fsync -> rename -> manifest -> head and WAL let go
//! query:   matchers -> bitmaps per lane and block -> series joined by label hash -> merged samples
//! restart: manifest -> blocks mapped -> WAL replayed -> new segment
//! ```
//!
//! Direction of dependencies: [`Db`] knows all; flush, query, replay and retention know head, block
//! and WAL; those know the codecs. Only [`vfs`] touches files, only the clock tells time.
//! Formats on disk: `docs/format/`.

mod background;
mod block;
mod changes;
mod clock;
mod codec;
mod compact;
mod db;
mod delete;
mod error;
mod exemplars;
mod flush;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod head;
mod histogram;
pub mod inspect;
mod interchange;
mod manifest;
mod metadata;
mod options;
mod query;
mod replay;
mod retention;
mod sidecar;
mod snapshot;
mod stats;
mod tombstones;
pub mod vfs;
mod wal;

pub use clock::{Clock, SystemClock};
pub use compact::CompactReport;
pub use db::Db;
pub use delete::DeleteReport;
pub use error::{AppendError, Corruption, DbError, OpenError};
pub use exemplars::{ExemplarSeries, StoredExemplar};
pub use flush::FlushReport;
pub use interchange::{
    ExportOptions, ExportProgress, ExportReport, ImportProgress, ImportReport, InterchangeError,
    WireChunk, compatible_block_ms, wire_chunks,
};
pub use metadata::Metadata;
pub use options::{Options, WalSync};
pub use replay::ReplayProgress;
pub use stats::{BlockSummary, CardinalityStats, DbStats, NamedCount, RejectedStats};
pub use wal::commit::Commit;
