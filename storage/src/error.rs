//! Error families: opening, appending, everything else, and corruption, which always names file,
//! offset, what was expected and what was found.

use std::io;
use std::path::{Path, PathBuf};

use tenbin_model::StoreError;

/// A unit of a file that cannot be what was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("corrupt data in {file} at offset {offset}: expected {expected}, found {found}")]
pub struct Corruption {
    /// The file, relative to the data directory.
    pub file: String,
    /// Byte offset of the damaged unit.
    pub offset: u64,
    /// What stands there in an intact file.
    pub expected: String,
    /// What stands there.
    pub found: String,
}

impl Corruption {
    /// Describes damage.
    pub fn new(
        file: impl Into<String>,
        offset: u64,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Self {
            file: file.into(),
            offset,
            expected: expected.into(),
            found: found.into(),
        }
    }
}

impl From<Corruption> for StoreError {
    fn from(damage: Corruption) -> Self {
        Self::Corrupt {
            file: damage.file,
            offset: damage.offset,
            what: format!("expected {}, found {}", damage.expected, damage.found),
        }
    }
}

/// Why a database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process owns the directory.
    #[error("data directory {} is in use by another process (lock file {})", dir.display(), lock.display())]
    Locked {
        /// The data directory.
        dir: PathBuf,
        /// The lock file.
        lock: PathBuf,
    },
    /// A file was written by a newer version in a way this one cannot read.
    #[error("{file} has format version {found}; this version reads up to {supported}")]
    TooNew {
        /// The file.
        file: String,
        /// Version needed to read it.
        found: u16,
        /// Version this program reads.
        supported: u16,
    },
    /// A file operation failed.
    #[error("{what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A setting makes no sense.
    #[error("{0}")]
    Options(String),
    /// A background thread could not be started.
    #[error("cannot start a storage thread: {0}")]
    Thread(io::Error),
}

/// Why an operation on an open database failed.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// A file operation failed.
    #[error("{what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Data on disk is damaged.
    #[error(transparent)]
    Corrupt(#[from] Corruption),
    /// Stored data could not be read.
    #[error(transparent)]
    Read(#[from] StoreError),
    /// The write-ahead log cannot take more.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The database is closed.
    #[error("the database is closed")]
    Closed,
}

/// Why a request could not be appended. Nothing was acknowledged; the sender may retry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The disk is full; writes resume by themselves when there is space.
    #[error("no space left for the write-ahead log in {}; writes resume when space is freed", dir.display())]
    NoSpace {
        /// The directory that is full.
        dir: PathBuf,
    },
    /// A write or fsync of the WAL failed; no append is accepted until the process restarts.
    #[error("write-ahead log failed ({reason}); writes are refused until restart")]
    WalFailed {
        /// The first failure.
        reason: String,
    },
    /// The database is closed.
    #[error("the database is closed")]
    Closed,
    /// A limit is exceeded. The text names limit, value and flag.
    #[error("{0}")]
    Limit(String),
}

pub(crate) trait IoContext<T> {
    /// Names the operation and the file that an I/O error belongs to.
    fn doing(self, what: &'static str, path: &Path) -> Result<T, DbError>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn doing(self, what: &'static str, path: &Path) -> Result<T, DbError> {
        self.map_err(|source| DbError::Io {
            what,
            path: path.to_owned(),
            source,
        })
    }
}

impl From<DbError> for OpenError {
    fn from(error: DbError) -> Self {
        match error {
            DbError::Io { what, path, source } => Self::Io { what, path, source },
            other => Self::Io {
                what: "opening",
                path: PathBuf::new(),
                source: io::Error::other(other.to_string()),
            },
        }
    }
}
