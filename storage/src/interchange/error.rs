//! Why an import or an export failed.

use std::path::PathBuf;

use tenbin_model::StoreError;

use crate::error::{Corruption, DbError};

/// Why an import or an export failed.
#[derive(Debug, thiserror::Error)]
pub enum InterchangeError {
    /// The database or a file failed.
    #[error(transparent)]
    Db(#[from] DbError),
    /// Reading the database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A path holds no block.
    #[error("{} holds no Prometheus block (a folder with meta.json, index and chunks)", .0.display())]
    NoBlocks(PathBuf),
    /// The time range is empty.
    #[error("--start ({start_ms} ms) lies after --end ({end_ms} ms)")]
    EmptyRange {
        /// First millisecond wanted.
        start_ms: i64,
        /// Last millisecond wanted.
        end_ms: i64,
    },
}

impl From<Corruption> for InterchangeError {
    fn from(damage: Corruption) -> Self {
        Self::Db(damage.into())
    }
}
