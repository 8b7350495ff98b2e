//! Results of range queries, kept for the next time: a dashboard that refreshes asks for the same hours
//! again, of which all but the last seconds are known.
//!
//! An entry is the value of one query over a grid of steps and the version of the data that it was
//! computed from ([`tenbin_model::Querier::version`]). A query with the same key whose range overlaps it
//! takes the steps whose data did not change since, evaluates the later ones, and puts both together.
//! Invariants: an answer with the cache equals the one without, to the bit; `cacheable` says for which
//! expressions that can be promised. Values with histograms, remarks or errors are never kept, and if
//! the later steps have any, the whole query is evaluated instead. Bytes held never exceed the limit.
//!
//! The key is the text as it was sent: printing it anew would be slower, and loses durations below a
//! millisecond.

mod cacheable;
mod entries;
mod splice;
mod watched;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tenbin_model::{Annotations, Queryable};

use crate::ast::Expr;
use crate::engine::{CancelToken, QueryRange, evaluate};
use crate::error::EvalError;
use crate::eval::grid::Grid;
use crate::options::EngineOptions;
use crate::value::{QueryResult, QueryStats, Value};
use entries::{Entries, Entry};
use watched::Watched;

/// An entry may take this part of the limit.
const ENTRY_SHARE: u64 = 4;

/// Known steps are used when they are at least this part of all.
const STEPS_SHARE: usize = 4;

/// Finished range queries; shared by all threads.
#[derive(Debug)]
pub struct ResultCache {
    max_bytes: u64,
    entries: Mutex<Entries>,
    hits: AtomicU64,
    misses: AtomicU64,
}

/// What a cache holds and did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheCounts {
    /// Queries for which known steps were used.
    pub hits: u64,
    /// Queries that could have been known and were not.
    pub misses: u64,
    /// Entries that left for others.
    pub evictions: u64,
    /// Bytes held, keys and labels included.
    pub bytes: u64,
    /// Results held.
    pub entries: u64,
}

/// A query as the cache sees it.
struct Asked<'q> {
    store: &'q dyn Queryable,
    text: &'q str,
    expr: &'q Expr,
    options: &'q EngineOptions,
    cancel: &'q CancelToken,
    /// How far behind an evaluation time the expression looks.
    reach_ms: i64,
}

/// A finished evaluation and the version it saw.
struct Evaluated {
    result: QueryResult,
    version: Option<u64>,
}

impl Asked<'_> {
    fn evaluate(&self, grid: &Grid, since: Option<u64>) -> Result<(Evaluated, i64), EvalError> {
        let watched = Watched::new(self.store, since);
        let range = QueryRange {
            start_ms: grid.start_ms,
            end_ms: grid.last(),
            step_ms: grid.step_ms,
        };
        let (expr, options) = (self.expr, self.options);
        let result = evaluate(&watched, self.text, expr, &range, options, self.cancel)?;
        let seen = watched.seen();
        let version = seen.version;
        Ok((Evaluated { result, version }, seen.unchanged_before_ms))
    }

    /// All that the value depends on beside the steps and the data.
    fn key(&self, grid: &Grid) -> String {
        let phase = grid.start_ms.rem_euclid(grid.step_ms);
        let EngineOptions {
            lookback_ms,
            default_subquery_step_ms: inner_ms,
            features,
            ..
        } = self.options;
        let step_ms = grid.step_ms;
        format!(
            "{}\0{step_ms} {phase} {lookback_ms} {inner_ms} {features:?}",
            self.text
        )
    }
}

impl ResultCache {
    /// A cache that holds at most so many bytes; 0 = nothing.
    #[must_use]
    pub fn new(max_bytes: u64) -> Self {
        Self {
            max_bytes,
            entries: Mutex::default(),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        }
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the cache holds and did.
    #[must_use]
    pub fn counts(&self) -> CacheCounts {
        let entries = self.entries();
        CacheCounts {
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            evictions: entries.evictions(),
            bytes: entries.bytes(),
            entries: entries.len() as u64,
        }
    }

    /// As [`evaluate`], with what is known of earlier queries. The statistics are those of what was
    /// evaluated.
    ///
    /// # Errors
    /// See [`EvalError`].
    pub fn evaluate(
        &self,
        store: &dyn Queryable,
        text: &str,
        expr: &Expr,
        range: &QueryRange,
        options: &EngineOptions,
        cancel: &CancelToken,
    ) -> Result<QueryResult, EvalError> {
        let plain = || evaluate(store, text, expr, range, options, cancel);
        if self.max_bytes == 0 || range.step_ms <= 0 {
            return plain();
        }
        let Some(reach_ms) = cacheable::reach_ms(expr, options) else {
            return plain();
        };
        let Some(grid) = Grid::new(range.start_ms, range.end_ms, range.step_ms)? else {
            return plain();
        };
        let asked = Asked {
            store,
            text,
            expr,
            options,
            cancel,
            reach_ms,
        };
        let key = asked.key(&grid);
        let known = self.entries().get(&key);
        if let Some(known) = known
            && let Some(result) = self.continued(&asked, &key, &grid, &known)
        {
            self.hits.fetch_add(1, Ordering::Relaxed);
            return Ok(result);
        }
        self.misses.fetch_add(1, Ordering::Relaxed);
        let (Evaluated { result, version }, _) = asked.evaluate(&grid, None)?;
        if let Some(version) = version {
            self.keep(key, &grid, version, &result);
        }
        Ok(result)
    }

    /// The value from the known steps and, where they end, the evaluation of those behind them. `None`
    /// when too little is known, or the later steps have more to say than values.
    fn continued(
        &self,
        asked: &Asked<'_>,
        key: &str,
        grid: &Grid,
        known: &Entry,
    ) -> Option<QueryResult> {
        let first_look_ms = asked.store.unchanged_before(known.version);
        let last_ms = known.last_valid(grid, first_look_ms, asked.reach_ms)?;
        let steps = (last_ms - grid.start_ms) / grid.step_ms + 1;
        let missing = grid.steps - usize::try_from(steps).ok()?.min(grid.steps);
        if (grid.steps - missing) * STEPS_SHARE < grid.steps {
            return None;
        }
        let range_ms = (grid.start_ms, last_ms);
        if missing == 0 {
            return Some(finished(splice::cut(&known.series, range_ms)));
        }
        let later = Grid {
            start_ms: last_ms.checked_add(grid.step_ms)?,
            steps: missing,
            ..*grid
        };
        // A failure here is met again by the whole evaluation, and told in its words.
        let (evaluated, unchanged_before_ms) = asked.evaluate(&later, Some(known.version)).ok()?;
        // What changed between the first look and the snapshot.
        if known.last_valid(grid, unchanged_before_ms, asked.reach_ms)? < last_ms {
            return None;
        }
        let Evaluated { result, version } = evaluated;
        let Value::Matrix(tail) = result.value else {
            return None;
        };
        if !result.annotations.is_empty() || splice::has_histograms(&tail) {
            return None;
        }
        let result = QueryResult {
            value: Value::Matrix(splice::joined(&known.series, range_ms, tail)),
            ..result_of(result.stats)
        };
        if let Some(version) = version {
            self.keep(key.to_owned(), grid, version, &result);
        }
        Some(result)
    }

    fn keep(&self, key: String, grid: &Grid, version: u64, result: &QueryResult) {
        let Value::Matrix(series) = &result.value else {
            return;
        };
        let most = self.max_bytes / ENTRY_SHARE;
        if !result.annotations.is_empty()
            || result.value.byte_len() > most
            || splice::has_histograms(series)
        {
            return;
        }
        let entry = Entry::new(grid, version, series.clone());
        if entry.byte_len(&key) > most {
            return;
        }
        self.entries().put(key, Arc::new(entry), self.max_bytes);
    }
}

fn result_of(stats: QueryStats) -> QueryResult {
    QueryResult {
        value: Value::Matrix(Vec::new()),
        annotations: Annotations::default(),
        stats,
    }
}

fn finished(series: Vec<crate::value::MatrixSeries>) -> QueryResult {
    QueryResult {
        value: Value::Matrix(series),
        ..result_of(QueryStats::default())
    }
}
