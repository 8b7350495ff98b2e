//! The engine's front door: a parsed expression, a time range and a store in; a result out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use std::time::Instant;

use tenbin_model::{Annotations, Queryable, SampleBuffer};

use crate::ast::{Expr, ValueType};
use crate::duration::resolve;
use crate::error::EvalError;
use crate::eval::budget::Budget;
use crate::eval::grid::Grid;
use crate::eval::kept::Kept;
use crate::eval::notes::Notes;
use crate::eval::stats::Tally;
use crate::eval::{Evaluator, plan, result, sharing};
use crate::options::EngineOptions;
use crate::value::{QueryResult, QueryStats, Value};

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
pub struct CancelToken(Arc<Switch>);

#[derive(Debug, Default)]
struct Switch {
    is_on: AtomicBool,
    /// Looks until it goes on by itself; 0 = never.
    looks: AtomicU64,
}

impl CancelToken {
    /// A switch that goes on by itself when it is looked at for the `looks`-th time: shows a test
    /// where a query looks up from its work. 0 means never.
    #[must_use]
    pub fn at_look(looks: u64) -> Self {
        Self(Arc::new(Switch {
            is_on: AtomicBool::new(false),
            looks: AtomicU64::new(looks),
        }))
    }

    /// Looks that are left until the switch goes on by itself; 0 when it does not, or did.
    #[must_use]
    pub fn looks_left(&self) -> u64 {
        self.0.looks.load(Ordering::Relaxed)
    }

    /// Stops the query.
    pub fn cancel(&self) {
        self.0.is_on.store(true, Ordering::Relaxed);
    }

    /// Whether the query was stopped.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        let Switch { is_on, looks } = &*self.0;
        let count_down = |left: u64| left.checked_sub(1);
        if looks.fetch_update(Ordering::Relaxed, Ordering::Relaxed, count_down) == Ok(1) {
            self.cancel();
        }
        is_on.load(Ordering::Relaxed)
    }
}

/// Evaluates `expr` over `store`. `options` holds this query's lookback, limits and timeout.
///
/// # Errors
/// See [`EvalError`].
pub fn evaluate(
    store: &dyn Queryable,
    _query_text: &str,
    expr: &Expr,
    range: &QueryRange,
    options: &EngineOptions,
    cancel: &CancelToken,
) -> Result<QueryResult, EvalError> {
    evaluate_as(store, expr, range, options, cancel, Sharing::On)
}

/// Whether equal subtrees are evaluated once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// They are.
    On,
    /// Every occurrence is evaluated: what the tests compare with.
    #[cfg(test)]
    Off,
}

/// As [`evaluate`].
pub(crate) fn evaluate_as(
    store: &dyn Queryable,
    expr: &Expr,
    range: &QueryRange,
    options: &EngineOptions,
    cancel: &CancelToken,
    sharing: Sharing,
) -> Result<QueryResult, EvalError> {
    let is_instant = range.step_ms == 0;
    let value_type = expr.value_type();
    if !is_instant && !matches!(value_type, ValueType::Scalar | ValueType::Vector) {
        return Err(EvalError::BadQuery(format!(
            "invalid expression type {:?} for range query, must be Scalar or instant Vector",
            value_type.documented_name()
        )));
    }
    let started = Instant::now();
    let mut range = range.clone();
    if is_instant {
        range.end_ms = range.start_ms;
    }
    let (range, end_ms) = (&range, range.end_ms);
    let mut resolved = expr.clone();
    resolve(&mut resolved, range.start_ms, end_ms, range.step_ms)?;
    let plan = plan::plan(&resolved, range, options)?;
    if plan.selectors > 1 && sharing == Sharing::On {
        sharing::mark(&plan.root);
    }
    let querier = store.querier(plan.range)?;
    let preparation_s = started.elapsed().as_secs_f64();
    let Some(grid) = Grid::new(range.start_ms, end_ms, range.step_ms)? else {
        return Ok(QueryResult {
            value: Value::Matrix(Vec::new()),
            annotations: Annotations::default(),
            stats: QueryStats::default(),
        });
    };
    let budget = Budget::new(options, cancel);
    let _metered = budget.meter().enter();
    let mut evaluator = Evaluator {
        querier: &*querier,
        options,
        notes: Notes::default(),
        tally: Tally::new(grid.steps, options.features.per_step_stats, &budget),
        budget,
        buffer: SampleBuffer::default(),
        kept: Kept::default(),
    };
    let inner = Instant::now();
    let value = result::evaluate(&mut evaluator, &plan.root, &grid, is_instant)
        .map_err(|error| evaluator.budget.why(error))?;
    let inner_eval_s = inner.elapsed().as_secs_f64();
    let sorting = Instant::now();
    let value = result::sorted(value, &evaluator.budget)?;
    let tally = evaluator.tally;
    let stats = QueryStats {
        preparation_s,
        inner_eval_s,
        result_sort_s: sorting.elapsed().as_secs_f64(),
        eval_total_s: started.elapsed().as_secs_f64(),
        total_queryable_samples: tally.total,
        samples_read: tally.read,
        peak_samples: evaluator.budget.peak_samples(),
        samples_per_step: tally.per_step.map(|counts| {
            let timed = counts.into_iter().enumerate();
            timed.map(|(step, n)| (grid.time(step), n)).collect()
        }),
    };
    Ok(QueryResult {
        value,
        annotations: evaluator.notes.finish(),
        stats,
    })
}
