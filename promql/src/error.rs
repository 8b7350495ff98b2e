//! Why a query has no result.

use tenbin_model::StoreError;

use crate::ast::Span;

/// A query text that is no valid expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    /// The reason, in Prometheus' words.
    pub message: String,
    /// Where in the query.
    pub span: Span,
    /// `line:col` of the span's start, both from 1, columns in bytes; empty when unknown.
    pub position: String,
}

/// `1:5: parse error: reason`
impl std::fmt::Display for ParseError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.position.is_empty() {
            write!(f, "parse error: {}", self.message)
        } else {
            write!(f, "{}: parse error: {}", self.position, self.message)
        }
    }
}

impl std::error::Error for ParseError {}

/// Why an evaluation failed. The API maps each kind to an error type and status
/// (compat: `bad_data`, `execution`, `timeout`, `canceled`, `internal`).
#[derive(Debug, Clone, thiserror::Error)]
pub enum EvalError {
    /// The query cannot be set up: wrong type for a range query, bad duration expression.
    #[error("{0}")]
    BadQuery(String),
    /// The evaluation failed. The text is Prometheus' where Prometheus has the case.
    #[error("{0}")]
    Execution(String),
    /// A construct that is parsed but not evaluated yet; the text names it.
    #[error("{0} is not supported by this version of Tenbin")]
    Unsupported(String),
    /// The time limit was hit in the phase named.
    #[error("query timed out in {0}")]
    Timeout(&'static str),
    /// The client went away, or the query was cancelled, in the phase named.
    #[error("query was canceled in {0}")]
    Canceled(&'static str),
    /// The store failed.
    #[error("expanding series: {0}")]
    Store(#[from] StoreError),
}

impl EvalError {
    /// The error for a query whose buffers would hold more than `limit` bytes.
    #[must_use]
    pub fn too_much_memory(limit: u64) -> Self {
        Self::Execution(format!(
            "query would hold more than {limit} bytes in memory (flag --query.max-memory)"
        ))
    }

    /// The error for a query that holds more samples than `--query.max-samples`.
    #[must_use]
    pub fn too_many_samples() -> Self {
        Self::Execution(
            "query processing would load too many samples into memory in query execution"
                .to_owned(),
        )
    }
}
