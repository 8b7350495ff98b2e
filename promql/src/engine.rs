//! The engine's front door: a parsed expression, a time range and a store in; a result out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tenbin_model::Queryable;

use crate::ast::Expr;
use crate::error::EvalError;
use crate::options::EngineOptions;
use crate::value::QueryResult;

/// When and how an expression is evaluated.
#[derive(Debug, Clone)]
pub struct QueryRange {
    /// First evaluation time, milliseconds.
    pub start_ms: i64,
    /// Last evaluation time, milliseconds; equal to the start for an instant query.
    pub end_ms: i64,
    /// Milliseconds between evaluations; 0 makes it an instant query.
    pub step_ms: i64,
}

impl QueryRange {
    /// An instant query at `time_ms`.
    #[must_use]
    pub fn instant(time_ms: i64) -> Self {
        Self {
            start_ms: time_ms,
            end_ms: time_ms,
            step_ms: 0,
        }
    }
}

/// A switch by which another thread stops a query; checked at every batch of work.
#[derive(Debug, Clone, Default)]
pub struct CancelToken(Arc<AtomicBool>);

impl CancelToken {
    /// Stops the query.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the query was stopped.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Evaluates `expr` over `store`. `options` holds this query's lookback, limits and timeout.
///
/// # Errors
/// See [`EvalError`].
pub fn evaluate(
    _store: &dyn Queryable,
    _query_text: &str,
    _expr: &Expr,
    _range: &QueryRange,
    _options: &EngineOptions,
    _cancel: &CancelToken,
) -> Result<QueryResult, EvalError> {
    Err(EvalError::Unsupported("evaluation".to_owned()))
}
