//! The times at which an expression is evaluated.

use crate::error::EvalError;

/// Most steps that one grid may have, whatever the sample limit: columns have a slot for each.
const MAX_STEPS: u64 = 50_000_000;

/// Evaluation times `start, start + step, ...`; at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grid {
    /// First evaluation time.
    pub(crate) start_ms: i64,
    /// Distance between evaluation times, at least 1.
    pub(crate) step_ms: i64,
    /// Number of evaluation times.
    pub(crate) steps: usize,
}

impl Grid {
    /// The grid from `start_ms` to at most `end_ms`, `None` when there is no time in it.
    pub(crate) fn new(start_ms: i64, end_ms: i64, step_ms: i64) -> Result<Option<Self>, EvalError> {
        let step_ms = step_ms.max(1);
        if end_ms < start_ms {
            return Ok(None);
        }
        let steps = (i128::from(end_ms) - i128::from(start_ms)) / i128::from(step_ms) + 1;
        match u64::try_from(steps) {
            Ok(steps) if steps <= MAX_STEPS => Ok(Some(Self {
                start_ms,
                step_ms,
                steps: steps as usize,
            })),
            _ => Err(EvalError::too_many_samples()),
        }
    }

    /// The time of a step.
    #[inline]
    pub(crate) fn time(&self, step: usize) -> i64 {
        self.start_ms
            .saturating_add((step as i64).saturating_mul(self.step_ms))
    }

    /// The time of the last step.
    pub(crate) fn last(&self) -> i64 {
        self.time(self.steps - 1)
    }

    /// The grid of the first step alone.
    pub(crate) fn first_step(&self) -> Self {
        Self { steps: 1, ..*self }
    }

    /// Whether results are those of an instant query, whose order carries meaning.
    pub(crate) fn is_instant(&self) -> bool {
        self.steps == 1
    }
}

/// The time that a selector or subquery looks at: the evaluation time or a fixed one, shifted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct TimeShift {
    /// `@`: this time instead of the evaluation time.
    pub(crate) at_ms: Option<i64>,
    /// `offset`: so far into the past.
    pub(crate) offset_ms: i64,
}

impl TimeShift {
    /// The time looked at when evaluating at `eval_ms`.
    #[inline]
    pub(crate) fn apply(self, eval_ms: i64) -> i64 {
        self.at_ms.unwrap_or(eval_ms).saturating_sub(self.offset_ms)
    }
}

/// The times that a selector looks at, step by step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lookups {
    first_ms: i64,
    step_ms: i64,
}

impl Lookups {
    pub(crate) fn new(time: TimeShift, grid: &Grid) -> Self {
        Self {
            first_ms: time.apply(grid.start_ms),
            step_ms: if time.at_ms.is_some() {
                0
            } else {
                grid.step_ms
            },
        }
    }

    /// The time looked at in a step.
    #[inline]
    pub(crate) fn at(&self, step: usize) -> i64 {
        self.first_ms
            .wrapping_add((step as i64).wrapping_mul(self.step_ms))
    }
}

/// A duration in seconds, rounded as Go's `Duration.Seconds`.
pub(crate) fn seconds(duration_ms: i64) -> f64 {
    (duration_ms / 1000) as f64 + ((duration_ms % 1000) * 1_000_000) as f64 / 1e9
}
